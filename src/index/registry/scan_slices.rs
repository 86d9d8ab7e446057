//! Full scans that take more than one turn of a worker.

use std::{ops::ControlFlow, sync::Arc};

use super::{IndexId, Order, PendingDrop, Registry, ScanJob, ScanResult};
use crate::proto::request::Failure;

impl Registry {
    /// Handles the result of a full scan, or of one turn of it.
    pub fn scan_slice_finished(
        &mut self,
        id: IndexId,
        result: Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure>,
    ) {
        match result {
            Ok(ControlFlow::Continue(load)) => self.requeue_scan(id, load),
            Ok(ControlFlow::Break(loaded)) => self.full_scan_finished(id, Ok(loaded)),
            Err(failure) => self.full_scan_finished(id, Err(failure)),
        }
    }

    /// Queues [`Order::Load`] again, because its turn ended before everything was counted: other jobs go first.
    pub fn requeue_scan(&mut self, id: IndexId, load: Box<ScanJob>) {
        let exists = self.entries.contains_key(&id);
        if exists {
            return self.orders.push(Order::Load(id, load));
        }
        self.orders.push(Order::Unwatch(id, Arc::clone(&load.maildir)));
        self.orders.push(Order::Free(PendingDrop::of(load)));
    }
}
