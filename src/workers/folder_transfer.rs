//! COPY and MOVE: messages of one folder get names in another one, and UIDs there.
//!
//! The job belongs to the folder that gets the messages, because it needs its UIDs and keywords. It copies a slice at a time. If a
//! slice of COPY fails, the copies of the slices before are removed, so that either all messages are copied or none (RFC 9051
//! section 6.4.7). MOVE is done for the messages before the failure, and the client hears of their UIDs (RFC 6851 section 4.3).

use std::time::{Duration, SystemTime};

use super::{
    folder_job::{FolderOutcome, Needs, Room, Transfer, TransferOutcome, Transferred},
    storage::{Storage, log_failure},
};
use crate::{
    index::UidBook,
    maildir::{
        Change, Error, Kind, Maildir, MessageEntry, MessageRef, Usage,
        message_move::{Moved, move_messages},
        name::NameGenerator,
        transfer::{self, Copies, CopyRequest},
        usage,
    },
    proto::{
        imap::{flags::Flags, request::Refusal},
        request::{Failure, Mailbox},
    },
};

/// Copies or moves a slice of messages to the folder with that book.
pub(super) fn run(
    storage: &Storage,
    target: &Maildir,
    book: &mut UidBook,
    key: &Mailbox,
    mut transfer: Box<Transfer>,
) -> FolderOutcome {
    if let Room::Unknown { needs_count } = transfer.room {
        return match measure(storage, key, &transfer, needs_count) {
            Ok(needs) => FolderOutcome::Measured(transfer, needs),
            Err(error) => FolderOutcome::Failed(log_failure(&error)),
        };
    }
    let (mut arrivals, mut departures) = (Vec::new(), Vec::new());
    let ended = slice(storage, (target, key), book, &mut transfer, (&mut arrivals, &mut departures));
    let end = match ended {
        Ok(Some(from)) => {
            transfer.slice.from = from;
            None
        }
        Ok(None) => Some(Ok(())),
        Err(Stop::Refused(refusal)) => {
            undo(target, &mut transfer, &mut arrivals);
            return FolderOutcome::TransferRefused(refusal, target.id(), arrivals);
        }
        Err(Stop::Failed(failure)) => {
            undo(target, &mut transfer, &mut arrivals);
            Some(Err(failure))
        }
    };
    if end.is_some() {
        // The loop drops neither of them, because both may be large.
        (transfer.done.copies, transfer.slice.sequence) = Default::default();
    }
    FolderOutcome::Transferred(Box::new(TransferOutcome {
        transfer,
        target: target.id(),
        arrivals,
        departures,
        end,
    }))
}

/// The reason why a transfer stops.
enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl Stop {
    /// The failure for messages. One that another program has changed is told so, because the client can try again.
    fn of_messages(error: Error) -> Self {
        match error.kind() {
            Kind::Changed => Self::Failed(log_failure(&error)),
            _ => error.into(),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(match log_failure(&error) {
            Failure::Gone | Failure::Changed | Failure::Truncated => Failure::TempFail,
            failure => failure,
        })
    }
}

/// Returns the first UID of the next slice.
fn slice(
    storage: &Storage,
    (target, key): (&Maildir, &Mailbox),
    book: &mut UidBook,
    transfer: &mut Transfer,
    (arrivals, departures): (&mut Vec<Change>, &mut Vec<Change>),
) -> Result<Option<u32>, Stop> {
    let Transfer { source, slice, uids, is_move, host, done, .. } = transfer;
    let (messages, next) = slice.next_wanted(|message| uids.contains(message.uid));
    let used = messages.iter().fold(Flags::empty(), |used, (message, _)| used.with(message.flags));
    let keywords = &slice.sequence.state.keywords;
    let letters = book.translation(target, keywords, used)?;
    let mut names = NameGenerator::new(host, std::process::id());
    let mut date = SystemTime::now();
    let mut requests = Vec::with_capacity(messages.len());
    for (_, entry) in &messages {
        // Names in the order of the UIDs, because this is the order of UIDs in the other folder too.
        date += Duration::from_micros(1);
        let random = getrandom::u64().map_err(|error| {
            log::error!("no random numbers: {error}");
            Stop::Failed(Failure::TempFail)
        })?;
        let name = names.next(date, random);
        requests.push(CopyRequest { wanted: MessageRef::from(*entry), octets: entry.octets, name });
    }
    let translate = |flags: &[u8]| {
        let letter = |flag: &u8| match letters.iter().find(|(from, _)| from == flag) {
            Some((_, to)) => Some(*to),
            None => Some(*flag).filter(|flag| !flag.is_ascii_lowercase()),
        };
        flags.iter().filter_map(letter).collect()
    };
    let is_target_there = || storage.still_resolves_to(key, target);
    let (made, completed) = if *is_move {
        let moved = move_messages((source, target), &requests, translate, is_target_there)
            .map_err(Stop::of_messages)?;
        let Some(Moved { made, done: removed }) = moved else {
            return Err(Stop::Refused(Refusal::NoFolder));
        };
        let gone = messages.iter().zip(&made).filter(|(_, copy)| copy.is_some());
        departures.extend(
            gone.map(|((_, entry), _)| Change::Absent { subdir: entry.subdir, name: entry.name.clone() }),
        );
        (made, removed)
    } else {
        let copies = Copies::make(source, target, &requests, translate).map_err(Stop::of_messages)?;
        // The folder may have been deleted meanwhile, with all that is in it.
        if !is_target_there() {
            copies.undo();
            return Err(Stop::Refused(Refusal::NoFolder));
        }
        (copies.into_entries(), Ok(()))
    };
    let entries: Vec<MessageEntry> = made.iter().flatten().cloned().collect();
    arrivals.extend(entries.iter().cloned().map(Change::Present));
    if !*is_move {
        done.copies.extend(entries.iter().cloned());
    }
    done.messages += entries.len() as u64;
    done.uid_validity = book.uid_validity();
    let uids = match book.number(target, &entries) {
        Ok(uids) => uids,
        // The messages have moved, whatever becomes of their UIDs.
        Err(error) if *is_move => {
            log_failure(&error);
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    if !uids.is_empty() {
        let copied = messages.iter().zip(&made).filter(|(_, copy)| copy.is_some());
        copied.for_each(|((message, _), _)| done.from.push(message.uid));
        uids.into_iter().for_each(|uid| done.to.push(uid));
    }
    completed.map(|()| next).map_err(Stop::of_messages)
}

/// The room that all messages of a COPY need in the quota of the user.
fn measure(storage: &Storage, to: &Mailbox, transfer: &Transfer, needs_count: bool) -> Result<Needs, Error> {
    let sequence = &transfer.slice.sequence;
    let wanted = sequence.state.messages.iter().filter(|message| transfer.uids.contains(message.uid));
    let files = wanted.filter_map(|message| sequence.message(message.uid));
    let amount = files.fold(Usage::default(), |sum, (_, entry)| sum.with(entry.version.bytes));
    let owner = to.clone().without_folder();
    let counted = needs_count.then(|| usage::usage(&storage.spool, owner.as_str())).transpose()?;
    Ok(Needs { amount, counted })
}

/// Removes the copies of all slices. Messages that have moved stay where they are.
fn undo(target: &Maildir, transfer: &mut Transfer, arrivals: &mut Vec<Change>) {
    if transfer.is_move {
        return;
    }
    let Transferred { copies, .. } = std::mem::take(&mut transfer.done);
    transfer::remove_copies(target, copies.iter());
    let absent = |MessageEntry { subdir, name, .. }| Change::Absent { subdir, name };
    *arrivals = copies.into_iter().map(absent).collect();
}
