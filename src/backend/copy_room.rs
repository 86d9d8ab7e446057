//! The room of COPY in the quota of a user: reserved for all messages before the first one is copied, as for a delivery.
//!
//! A worker says how much the messages need, because a folder may be large. A MOVE needs no room: all folders of a user have
//! one quota.

use std::time::Duration;

use super::{
    imap::Folders,
    imap_context::FolderContext,
    imap_folder::{NextStep, Reserved, WaitingRequest},
    quota::{Fate, QuotaCache},
};
use crate::{
    accounts::Accounts,
    proto::request::{ConnId, Failure, Mailbox},
    workers::folder_job::{Needs, Room, Transfer},
};

impl Folders {
    /// A worker has measured the messages of the first request of a folder. It waits until [`Folders::settle_room`].
    pub(super) fn measured(&mut self, to: &Mailbox, transfer: Box<Transfer>, needs: Needs) {
        if let Some(WaitingRequest { conn, .. }) = self.take_pending(to) {
            self.put_first(to, conn, NextStep::Measured(transfer, needs));
            self.measured.push_back(to.clone());
        }
    }

    /// The COPY of a session has ended. Its first end counts.
    pub(super) fn copy_ended(&mut self, conn: ConnId, fate: Fate) {
        if let Some(reserved) = self.reserved.get_mut(&conn) {
            reserved.fate.get_or_insert(fate);
        }
    }

    /// Reserves room for the measured messages, and settles that of copies which have ended.
    pub(super) fn settle_room(
        &mut self,
        (accounts, quotas, now): (&Accounts, &mut QuotaCache, Duration),
        cx: &mut FolderContext<'_>,
    ) {
        for (_, Reserved { owner, amount, fate }) in
            self.reserved.extract_if(.., |_, reserved| reserved.fate.is_some())
        {
            quotas.settle(&owner, amount, fate.unwrap_or(Fate::Refused), now);
        }
        while let Some(to) = self.measured.pop_front() {
            let Some(WaitingRequest { conn, step }) = self.take_pending(&to) else { continue };
            let NextStep::Measured(mut transfer, Needs { amount, counted }) = step else {
                self.put_first(&to, conn, step);
                continue;
            };
            let owner = to.clone().without_folder();
            if let Some(usage) = counted {
                quotas.insert(owner.clone(), usage, transfer.began, now);
            }
            if quotas.reserve(&owner, amount, accounts, now) {
                transfer.room = Room::Reserved;
                self.reserved.insert(conn, Reserved { owner, amount, fate: None });
                self.put_first(&to, conn, NextStep::Transfer(transfer));
            } else {
                cx.effects.fail(conn, Failure::Quota);
            }
            self.advance(&to, cx);
        }
    }
}
