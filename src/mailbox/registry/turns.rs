//! Walks that take more than one turn of a worker.

use std::sync::Arc;

use super::{IndexId, Load, Order, Registry, Spare};

impl Registry {
    /// The turn of [`Order::Load`] is over before everything is counted: others go first.
    pub fn unfinished(&mut self, id: IndexId, load: Box<Load>) {
        let is_held = self.held.contains_key(&id);
        if is_held {
            return self.orders.push(Order::Load(id, load));
        }
        self.orders.push(Order::Unwatch(id, Arc::clone(&load.maildir)));
        self.orders.push(Order::Free(Spare::of(load)));
    }
}
