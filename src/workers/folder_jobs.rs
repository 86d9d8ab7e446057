//! Jobs for the folders that IMAP sessions have selected, or copy and append to: one at a time for each folder, because each needs
//! its UIDs.
//!
//! A change of files is durable when its job ends. The client hears of it after the index has it, and a job has given the new
//! state to the UIDs.

use std::{sync::Arc, time::SystemTime};

use super::{
    folder_job::{
        ChangeOutcome, ChangeRequest, Changed, FolderChange, FolderJob, FolderKey, FolderOutcome,
        FolderResult, FolderWork, Slice,
    },
    folder_transfer,
    storage::{Storage, log_failure},
};
use crate::{
    index::{UidBook, uid_book::FlagLetters},
    maildir::{
        Change, Error, Kind, Maildir, MessageEntry, MessageRef, Subdir,
        message::{self, Deletion, LinkCheck, Renamed, TrashDeletion},
        name,
        sync_phase::SyncPart,
    },
    proto::{
        imap::{
            command::FlagChange,
            flags::Flags,
            request::{Interruption, MessageState, Refusal, Store},
            sequence_set::NumberSet,
        },
        request::Failure,
    },
};

/// The changes of a slice.
#[derive(Debug, Default)]
struct SliceChanges {
    names: Vec<Change>,
    failure: Option<Failure>,
}

impl SliceChanges {
    /// Notes that a message has another name, or is where it was.
    fn renamed(&mut self, entry: &MessageEntry, Renamed { from, to }: Renamed) {
        let absent = |(subdir, name)| Change::Absent { subdir, name };
        let listed = (entry.subdir, entry.name.clone());
        if from == to && to == listed {
            return;
        }
        self.names.extend([listed, from].into_iter().filter(|name| *name != to).map(absent));
        let (subdir, name) = to;
        self.names.push(Change::Present(MessageEntry { subdir, name, ..entry.clone() }));
    }

    fn fail(&mut self, error: &Error) {
        self.failure = Some(log_failure(error));
    }

    /// Makes the names durable after the last slice. `next` is the first UID of the next one.
    fn finish(
        mut self,
        (maildir, part): (&Maildir, SyncPart),
        mut change: Box<FolderChange>,
        next: Option<u32>,
    ) -> FolderOutcome {
        let end = match next.filter(|_| self.failure.is_none()) {
            Some(next) => {
                change.slice.from = next;
                None
            }
            None => {
                let mut done = change.done.messages;
                for subdir in Subdir::ALL {
                    if let Err(error) = maildir.sync_part(subdir, part) {
                        self.fail(&error);
                        done = 0; // a power cut may undo any of them
                    }
                }
                change.slice.sequence = Arc::default(); // the loop drops no large state
                Some(self.failure.map_or(Ok(()), |failure| Err(Interruption { done, failure })))
            }
        };
        FolderOutcome::Changed(Box::new(ChangeOutcome { change, names: self.names, end }))
    }
}

impl Slice {
    /// The wanted messages of the slice, and the first UID after it.
    pub(super) fn next_wanted(
        &self,
        is_wanted: impl Fn(&MessageState) -> bool,
    ) -> (Vec<(MessageState, &MessageEntry)>, Option<u32>) {
        let messages = &self.sequence.state.messages;
        let first = messages.partition_point(|message| message.uid < self.from);
        let mut wanted = messages[first..].iter().filter(|message| is_wanted(message));
        let some = wanted.by_ref().take(MAX_CHANGES).filter_map(|message| self.sequence.message(message.uid));
        let some = some.collect();
        (some, wanted.next().map(|message| message.uid))
    }
}

/// Runs a job.
pub(super) fn run(storage: &Storage, job: FolderJob) -> (FolderKey, FolderResult) {
    let FolderJob { key, maildir, book, work } = job;
    let is_selected = maildir.is_some();
    let opened = maildir.map_or_else(|| storage.durable_imap_maildir(&key.0).map(Arc::new), Ok);
    let maildir = match opened {
        Ok(maildir) => maildir,
        Err(failure) => {
            let outcome = match (failure, work) {
                (_, FolderWork::Number(_)) => FolderOutcome::Numbered(None),
                (Failure::NoFolder, _) => FolderOutcome::Refused(Refusal::NoFolder),
                (failure, _) => FolderOutcome::Failed(failure),
            };
            return (key, FolderResult { book: None, outcome });
        }
    };
    let mut book = match book_of(storage, &maildir, book) {
        Ok(book) => book,
        Err(error) => {
            let outcome = match (folder_failure(&error), work) {
                (_, FolderWork::Number(_)) => FolderOutcome::Numbered(None),
                (failure, _) => FolderOutcome::Failed(failure),
            };
            return (key, FolderResult { book: None, outcome });
        }
    };
    let outcome = match work {
        FolderWork::Refresh(version, snapshot) => match book.refresh(&maildir, snapshot) {
            Ok(sequence) => FolderOutcome::Refreshed(version, Arc::new(sequence)),
            Err(error) => FolderOutcome::Failed(folder_failure(&error)),
        },
        FolderWork::Change(mut change) => {
            let FolderChange { request, slice, done } = &mut *change;
            let changed = match request {
                ChangeRequest::Store(wanted) => {
                    store(&maildir, &mut book, slice, wanted, done).map(|changed| (changed, SyncPart::Flags))
                }
                ChangeRequest::Expunge(uids) => {
                    Ok((expunge(&maildir, slice, uids.as_ref(), done), SyncPart::Removals))
                }
            };
            match changed {
                Ok(((slice, next), part)) => slice.finish((&maildir, part), change, next),
                Err(outcome) => outcome,
            }
        }
        FolderWork::Transfer(transfer) => {
            folder_transfer::run(storage, &maildir, &mut book, &key.0, transfer)
        }
        FolderWork::Letters(flags, keywords) => match book.letters(&maildir, (flags, &keywords)) {
            Ok(letters) => FolderOutcome::Letters(letters),
            Err(error) => FolderOutcome::Failed(folder_failure(&error)),
        },
        FolderWork::Number(entry) => number(&maildir, &mut book, *entry),
    };
    // Another directory may have the name by the next job.
    (key, FolderResult { book: is_selected.then_some(book), outcome })
}

/// The UIDs of a folder: those in memory, unless another server has given some since.
fn book_of(storage: &Storage, maildir: &Maildir, known: Option<Box<UidBook>>) -> Result<Box<UidBook>, Error> {
    if let Some(book) = known {
        if !book.is_overtaken(maildir)? {
            return Ok(book);
        }
        log::info!("{}: another server has given UIDs, reading them again", maildir.path().display());
    }
    UidBook::load(maildir, SystemTime::now(), &storage.recent_marks).map(Box::new)
}

/// Gives a UID to a message that is stored already, whatever becomes of its UID.
fn number(maildir: &Maildir, book: &mut UidBook, entry: MessageEntry) -> FolderOutcome {
    let uids = book.number(maildir, &[entry]).unwrap_or_else(|error| {
        log_failure(&error);
        Vec::new()
    });
    FolderOutcome::Numbered(uids.first().map(|uid| (book.uid_validity(), *uid)))
}

/// A folder whose UIDs cannot be read or written is no missing message.
fn folder_failure(error: &Error) -> Failure {
    match log_failure(error) {
        Failure::Gone | Failure::Changed | Failure::Truncated => Failure::TempFail,
        failure => failure,
    }
}

/// Changes flags. New keywords get their letters first.
fn store(
    maildir: &Maildir,
    book: &mut UidBook,
    slice: &Slice,
    store: &Store,
    done: &mut Changed,
) -> Result<(SliceChanges, Option<u32>), FolderOutcome> {
    let keywords = book.keywords_mut();
    if store.change != FlagChange::Remove {
        match keywords.add(maildir, &store.keywords) {
            Ok(true) => {}
            Ok(false) => return Err(FolderOutcome::Refused(Refusal::TooManyKeywords)),
            Err(error) => return Err(FolderOutcome::Failed(folder_failure(&error))),
        }
    }
    let numbers = store.keywords.iter().filter_map(|keyword| keywords.number_of(keyword));
    let flags = numbers.fold(store.flags, |flags, number| flags.with(Flags::of_keyword(number)));
    let flag_letters = FlagLetters::of(keywords);
    let mut changes = SliceChanges::default();
    let (messages, next) = slice.next_wanted(|message| store.uids.contains(message.uid));
    for (message, entry) in messages {
        if store.unchanged_since.is_some_and(|since| message.modseq > since) {
            done.modified.push(message.uid);
            continue;
        }
        let mut is_modified = false;
        let mut wanted = Flags::empty();
        let renamed = message::change_flags(maildir, MessageRef::from(entry), |subdir, letters| {
            let now = flag_letters.flags(subdir, letters);
            wanted = match store.change {
                FlagChange::Replace => flags,
                FlagChange::Add => now.with(flags),
                FlagChange::Remove => now.without(flags),
            };
            is_modified = store.unchanged_since.is_some() && now != message.flags;
            if is_modified {
                wanted = now;
            }
            // Letters that are no flags here belong to another program.
            let others = letters.iter().copied().filter(|letter| Flags::of_letter(*letter).is_empty());
            (wanted != now).then(|| others.chain(flag_letters.letters(wanted)).collect())
        });
        match renamed {
            Ok(Some(renamed)) => {
                let (subdir, name) = &renamed.to;
                done.is_partial |= flag_letters.flags(*subdir, name::flags(name)) != wanted;
                changes.renamed(entry, renamed);
                if is_modified {
                    done.modified.push(message.uid);
                } else {
                    done.messages += 1;
                }
            }
            Ok(None) => done.is_partial = true,
            Err(error) if error.kind() == Kind::Changed => done.is_partial = true,
            Err(error) => {
                changes.fail(&error);
                break;
            }
        }
    }
    Ok((changes, next))
}

/// Removes messages that have `\Deleted`, here and on the disk.
fn expunge(
    maildir: &Maildir,
    slice: &Slice,
    uids: Option<&NumberSet>,
    done: &mut Changed,
) -> (SliceChanges, Option<u32>) {
    let mut changes = SliceChanges::default();
    let (messages, next) = slice.next_wanted(|message| {
        message.flags.intersects(Flags::DELETED) && uids.is_none_or(|uids| uids.contains(message.uid))
    });
    let absent = |(subdir, name)| Change::Absent { subdir, name };
    let link_check = LinkCheck::cheapest(messages.len(), slice.sequence.state.messages.len());
    let mut deletion = Deletion::begin(maildir, link_check);
    for (_, entry) in &messages {
        let listed = (entry.subdir, entry.name.clone());
        match deletion.delete_trashed(MessageRef::from(*entry)) {
            Ok(TrashDeletion::Deleted(name)) => {
                done.messages += 1;
                changes.names.extend([listed, name].map(absent));
            }
            Ok(TrashDeletion::Gone) => changes.names.push(absent(listed)),
            Ok(TrashDeletion::Kept) => {}
            Err(error) if error.kind() == Kind::Changed => done.is_partial = true,
            Err(error) => {
                changes.fail(&error);
                break;
            }
        }
    }
    match deletion.finish() {
        Ok(names) => changes.names.extend(names.into_iter().map(absent)),
        Err(error) => changes.fail(&error),
    }
    (changes, next)
}

/// The most messages that one job changes: other jobs go between two of them, and the loop takes in the names of one at once.
const MAX_CHANGES: usize = 250;
