//! Walks that take more than one turn of a worker.

use super::{IndexId, Load, Order, Registry};

impl Registry {
    /// The turn of [`Order::Load`] is over before everything is counted: others go first.
    pub fn unfinished(&mut self, id: IndexId, load: Box<Load>) {
        let is_held = self.held.contains_key(&id);
        let order = if is_held { Order::Load(id, load) } else { Order::Unwatch(id, load.maildir) };
        self.orders.push(order);
    }
}
