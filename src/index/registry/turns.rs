//! Full scans that take more than one turn of a worker.

use std::{ops::ControlFlow, sync::Arc};

use super::{Garbage, IndexId, Order, Registry, ScanJob, ScanResult};
use crate::proto::request::Failure;

impl Registry {
    /// Handles the result of a full scan, or of one turn of it.
    pub fn scanned(&mut self, id: IndexId, result: Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure>) {
        match result {
            Ok(ControlFlow::Continue(load)) => self.unfinished(id, load),
            Ok(ControlFlow::Break(loaded)) => self.loaded(id, Ok(loaded)),
            Err(failure) => self.loaded(id, Err(failure)),
        }
    }

    /// Queues [`Order::Load`] again, because its turn ended before everything was counted: other jobs go first.
    pub fn unfinished(&mut self, id: IndexId, load: Box<ScanJob>) {
        let is_held = self.entries.contains_key(&id);
        if is_held {
            return self.orders.push(Order::Load(id, load));
        }
        self.orders.push(Order::Unwatch(id, Arc::clone(&load.maildir)));
        self.orders.push(Order::Free(Garbage::of(load)));
    }
}
