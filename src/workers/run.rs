//! The work of each kind of job, on a worker thread.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    Completion, Job, api_jobs, folder_jobs, index_jobs,
    job::{MessageChunk, Update},
    spill,
    storage::{Storage, log_failure},
    update,
};
use crate::{
    accounts::{Credential, HashMemory, UserFile, Verdict},
    index::Snapshot,
    logging,
    maildir::{Maildir, OpenMessage, Usage, folders, tmp_cleanup, trusted_date, usage},
    proto::request::{Failure, Mailbox, Secret},
};

impl Job {
    /// Runs the job, which may wait for a disk or a CPU. `None` if the job has no completion.
    pub fn run(self, storage: &Storage, scratch: &mut HashMemory) -> Option<Completion> {
        Some(match self {
            Self::Verify { conn, credential, password, users } => {
                Completion::Verified(conn, Ok(verify(users.as_ref(), &credential, &password, scratch)))
            }
            Self::Open { conn, mailbox, access, known } => {
                Completion::Opened(conn, index_jobs::open_maildir(storage, &mailbox, access, known))
            }
            Self::Read { conn, maildir, snapshot, message, from, max, open } => {
                Completion::Read(conn, message, read(&maildir, &snapshot, message, (from, max), open))
            }
            Self::ReadAhead { maildir, snapshot, messages, max } => {
                messages
                    .filter_map(|message| snapshot.message_ref(message))
                    .for_each(|wanted| maildir.read_ahead(wanted, max));
                return None;
            }
            Self::Update(update) => {
                let Update { conn, maildir, snapshot, delete, seen, unwatch, lock } = *update;
                if let Some(id) = unwatch {
                    storage.watcher.unwatch(id);
                }
                let (done, result) = update::update(storage, &maildir, &snapshot, &delete, &seen);
                drop(lock);
                Completion::Updated(conn, Some(done), result)
            }
            Self::Spill { conn, to, bytes, last } => {
                let spilled = spill::spill(storage, to, &bytes, last.is_some());
                Completion::Spilled(conn, last, spilled)
            }
            Self::CountUsage { conn, token, mailboxes } => {
                Completion::Counted(conn, token, Ok(count(storage, mailboxes)))
            }
            Self::Index(id, job) => Completion::Index(id, index_jobs::run(storage, id, job)?),
            Self::Folder(job) => {
                let (key, result) = folder_jobs::run(storage, *job);
                Completion::Folder(key, result)
            }
            Self::Hierarchy(job) => Completion::Hierarchy(job.conn, job.run(storage)),
            Self::Imap(read) => Completion::Imap(read.conn, read.run(storage)),
            Self::Api { conn, request, client, .. }
                if client.strong_count() == 0 && !request.action.changes_mail() =>
            {
                Completion::Api(conn, Err(Failure::TempFail))
            }
            Self::Api { conn, request, reading, client: _ } => {
                Completion::Api(conn, api_jobs::run(storage, request, reading))
            }
            Self::CompareMailboxes { reset } => Completion::MailChanged(api_jobs::changes(storage, reset)),
            Self::Release(value) => {
                drop(value);
                return None;
            }
            Self::CheckSpool { log_status } => {
                // Before a spool that hangs: then the operator needs them most.
                if log_status {
                    logging::status();
                }
                storage.refresh();
                return None;
            }
            Self::Tidy { age, date } => {
                remove_leftovers(storage, age, date);
                return None;
            }
        })
    }
}

/// Removes leftovers from `tmp/`, and stores the date.
fn remove_leftovers(storage: &Storage, age: Duration, date: SystemTime) {
    let (removed, errors) = tmp_cleanup::clean_tmp(&storage.spool, date, age);
    for error in errors.iter().chain(&folders::clean_deleted(&storage.spool)) {
        log_failure(error);
    }
    if removed > 0 {
        log::info!("{removed} stale files removed from tmp/");
    }
    if let Err(error) = trusted_date::write(&storage.spool, date) {
        log::debug!("cannot store the trusted date: {}", logging::escape(&error.to_string()));
    }
}

/// Checks a password. If its hash is of an outdated kind, replaces the hash while the password is known. The memory gets no hash
/// that the file does not have, because the next reload would take the one of the file for another password.
fn verify(
    users: Option<&UserFile>,
    credential: &Credential,
    password: &Secret,
    scratch: &mut HashMemory,
) -> Verdict {
    let verdict = credential.verify(password.reveal(), scratch);
    let (Verdict::RightUpgraded { mailbox, user, hash, .. }, Some(users)) = (&verdict, users) else {
        return verdict;
    };
    match users.replace_hash(user, credential.hash_on_file(), hash) {
        Ok(Some(on_file)) if on_file == *hash => verdict,
        Ok(Some(on_file)) => credential.verify_replaced(on_file, password.reveal(), scratch),
        // The file or its account is gone. The accounts in force decide until a reload.
        Ok(None) => Verdict::Right(mailbox.clone()),
        Err(error) => {
            let way = users.way_to_replace().map(|way| format!(": {way}")).unwrap_or_default();
            log_once(&format!(
                "password hashes are not upgraded, upgrade_hashes = false leaves them alone: {}{way}",
                logging::escape(&error.to_string())
            ));
            Verdict::Right(mailbox.clone())
        }
    }
}

/// Logs a failure that each login meets again, until it is another one.
fn log_once(failure: &str) {
    let mut last = LAST_UPGRADE_FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    if *last != failure {
        log::error!("{failure}");
        failure.clone_into(&mut last);
    }
}

static LAST_UPGRADE_FAILURE: Mutex<String> = Mutex::new(String::new());

fn read(
    maildir: &Maildir,
    snapshot: &Snapshot,
    message: usize,
    (from, max): (u64, usize),
    open: Option<OpenMessage>,
) -> Result<MessageChunk, Failure> {
    let open = match open {
        Some(open) => open,
        None => {
            let wanted = snapshot.message_ref(message).ok_or(Failure::Gone)?;
            OpenMessage::open(maildir, wanted).map_err(|error| log_failure(&error))?
        }
    };
    let (bytes, last) = open.read(from, max).map_err(|error| log_failure(&error))?;
    Ok(MessageChunk { bytes, last, still_open: (!last).then_some(open) })
}

/// A mailbox that cannot be counted is left out, and is therefore not regarded as full.
fn count(storage: &Storage, mailboxes: Vec<Mailbox>) -> Vec<(Mailbox, Usage)> {
    let count = |mailbox: Mailbox| match usage::usage(&storage.spool, mailbox.as_str()) {
        Ok(usage) => Some((mailbox, usage)),
        Err(error) => {
            log_failure(&error);
            None
        }
    };
    mailboxes.into_iter().filter_map(count).collect()
}
