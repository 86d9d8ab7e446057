//! The budget of descriptors: the limit, divided among everything that a running server opens.
//!
//! The rule: the parts add up to the limit, so that no descriptor is promised twice. Sessions and connections never
//! use the descriptors of deliveries. A part covers the descriptors that its owners keep open, and those that they
//! open briefly.

use std::{fmt, fs};

use crate::{
    limits::{Limits, MAX_LIST_LENGTH},
    thread_limits::MAX_SYNC_THREADS,
};

/// The descriptors that depend on the configuration, and on how the process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdInputs {
    /// Descriptors that were open when the server started: standard streams, the log, and those of the service
    /// manager.
    pub inherited: usize,
    /// Listening sockets of the configuration.
    pub listeners: usize,
    /// Whether inotify reports changes in mailboxes.
    pub watch: bool,
    /// Whether accounts come from a file.
    pub accounts: bool,
    /// Whether there is a certificate.
    pub certificate: bool,
    /// Whether each session writes a transcript, which is one more file.
    pub transcripts: bool,
    /// Whether the configuration and the log can be reopened.
    pub reloads: bool,
}

/// The budget: the limit on each kind of thing that is opened, counted in these things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdBudget {
    /// The descriptor limit that is divided.
    pub fd_limit: usize,
    /// Descriptors that do not depend on the limit.
    fixed_fds: usize,
    /// Descriptors of one password worker.
    fds_per_password_worker: usize,
    /// Whether inotify watches mailboxes. If too few descriptors are left, the server compares directory times
    /// instead.
    pub watch: bool,
    /// Worker threads for reads and deletions.
    pub disk_workers: usize,
    /// Worker threads that scan mailboxes.
    pub scan_workers: usize,
    /// Worker threads that check passwords.
    pub password_workers: usize,
    /// Transcripts open at a time.
    pub max_transcripts: usize,
    /// Sockets that a reload may open before it closes old ones.
    pub max_new_listeners: usize,
    /// Mailboxes in sessions or indexed.
    pub max_mailboxes: usize,
    /// Mailboxes in addition that are being closed.
    pub max_closing: usize,
    /// Mailboxes that the committer has open.
    pub max_maildirs: usize,
    /// Messages of one batch of the committer.
    pub max_batch: usize,
    /// Inbound messages that have a file.
    pub max_spilled: usize,
    /// Messages that the event loop has read, which are closed together.
    pub max_read_files: usize,
    /// Messages that clients of IMAP and of the web API read in pieces, whose files stay open between two pieces.
    pub max_piece_files: usize,
    /// Connections of all services.
    pub max_connections: usize,
}

/// The descriptor limit is lower than a server needs. Prints as a sentence for the operator.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFewFds {
    /// The lowest limit with which the server starts.
    pub needed: usize,
    limit: usize,
}

impl fmt::Display for TooFewFds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, limit } = self;
        write!(
            f,
            "with this configuration the server needs {needed} descriptors, and the limit is {limit}: raise it \
             (ulimit -n {needed}; systemd: LimitNOFILE={needed})"
        )
    }
}

impl std::error::Error for TooFewFds {}

impl FdBudget {
    /// Divides a limit. Every part gets its minimum first, and then some of the rest; connections get the remainder.
    ///
    /// # Errors
    /// The limit is below the sum of the minimums.
    pub fn allocate(limit: usize, limits: &Limits, inputs: &FdInputs) -> Result<Self, TooFewFds> {
        let mut budget = Self::minimum(limit, inputs);
        let needed = budget.total_fds();
        let Some(mut rest) = limit.checked_sub(needed) else { return Err(TooFewFds { needed, limit }) };
        if inputs.watch && rest >= MIN_SPARE_FDS_FOR_WATCH {
            budget.watch = true;
            rest -= FDS_FOR_WATCH;
        }
        let wanted = [limits.disk.workers, limits.index.scan_workers, limits.auth.workers];
        budget.add_workers(wanted, rest / 16);
        if inputs.transcripts {
            budget.max_transcripts += (rest / 32).min(MAX_TRANSCRIPTS - budget.max_transcripts);
        }
        if inputs.reloads {
            budget.max_new_listeners += rest / 64 / FDS_PER_LISTENER;
        }
        let closing = (rest / 32 / FDS_PER_MAILDIR).min(MAX_CLOSING);
        budget.max_closing += closing;
        budget.max_mailboxes += (rest / 4 - closing * FDS_PER_MAILDIR) / FDS_PER_MAILBOX;
        let maildirs = (rest / 40 * 9).max((rest * 3 / 8).min(FDS_FOR_100_RECIPIENTS)) / FDS_PER_MAILDIR;
        budget.max_maildirs = (budget.max_maildirs + maildirs)
            .min(limits.smtp.max_recipients.max(MAX_LIST_LENGTH).saturating_add(1));
        budget.max_batch = (budget.max_batch + rest / 16).min(limits.delivery.batch_size);
        budget.max_spilled = (budget.max_spilled + rest / 32 / FDS_PER_SPILLED_MESSAGE).min(MAX_SPILLED);
        budget.max_read_files += (rest / 64).min(MAX_READ_FILES);
        budget.max_piece_files += (rest / 64).min(MAX_PIECE_FILES);
        budget.max_connections += limit - budget.total_fds();
        Ok(budget)
    }

    /// This budget, with the threads, watch, transcripts and committer of `running`, which a reload cannot change.
    ///
    /// # Errors
    /// Too few descriptors are left for connections.
    pub fn keeping_running(mut self, running: &Self) -> Result<Self, TooFewFds> {
        self = Self {
            fd_limit: self.fd_limit,
            fixed_fds: self.fixed_fds,
            fds_per_password_worker: self.fds_per_password_worker,
            max_new_listeners: self.max_new_listeners,
            max_mailboxes: self.max_mailboxes,
            max_closing: self.max_closing,
            max_spilled: self.max_spilled,
            max_connections: MIN_CONNECTIONS,
            ..*running
        };
        let needed = self.total_fds();
        let rest = self.fd_limit.checked_sub(needed).ok_or(TooFewFds { needed, limit: self.fd_limit })?;
        self.max_connections += rest;
        Ok(self)
    }

    /// The minimum of each part.
    fn minimum(limit: usize, inputs: &FdInputs) -> Self {
        let with = |is_there: bool, count: usize| if is_there { count } else { 0 };
        let fixed = inputs.inherited
            + FDS_FOR_LOOP
            + FDS_FOR_SPOOL
            + FDS_FOR_METRICS
            + FDS_FOR_COMMITTER
            + inputs.listeners * FDS_PER_LISTENER
            + with(inputs.accounts, FDS_PER_POLLER)
            + with(inputs.certificate, FDS_PER_POLLER)
            + with(inputs.transcripts, FDS_PER_PATH_WALK)
            + with(inputs.reloads, FDS_FOR_RELOADS);
        Self {
            fd_limit: limit,
            fixed_fds: fixed,
            fds_per_password_worker: with(inputs.accounts, FDS_PER_PASSWORD_CHANGE),
            watch: false,
            disk_workers: 1,
            scan_workers: 1,
            password_workers: 1,
            max_transcripts: with(inputs.transcripts, 1),
            max_new_listeners: with(inputs.reloads, inputs.listeners),
            max_mailboxes: 1,
            max_closing: 1,
            max_maildirs: 2, // a recipient's, and the sender's for the copy
            max_batch: 1,
            max_spilled: 1,
            max_read_files: 1,
            max_piece_files: 0,
            max_connections: MIN_CONNECTIONS,
        }
    }

    /// Adds one thread after the other, of each kind in turn, as far as the descriptors suffice.
    fn add_workers(&mut self, wanted: [usize; 3], mut rest: usize) {
        let costs = [FDS_PER_WORKER, FDS_PER_WORKER, self.fds_per_password_worker];
        let mut counts = [self.disk_workers, self.scan_workers, self.password_workers];
        loop {
            let before = counts;
            for ((count, wanted), cost) in counts.iter_mut().zip(wanted).zip(costs) {
                if *count < wanted && rest >= cost {
                    *count += 1;
                    rest -= cost;
                }
            }
            if counts == before {
                break;
            }
        }
        [self.disk_workers, self.scan_workers, self.password_workers] = counts;
    }

    /// Descriptors of all parts together.
    fn total_fds(&self) -> usize {
        let parts = [
            (1, self.fixed_fds),
            (usize::from(self.watch), FDS_FOR_WATCH),
            (self.disk_workers + self.scan_workers, FDS_PER_WORKER),
            (self.password_workers, self.fds_per_password_worker),
            (self.max_transcripts, 1),
            (self.max_new_listeners, FDS_PER_LISTENER),
            (self.max_mailboxes, FDS_PER_MAILBOX),
            (self.max_closing + self.max_maildirs, FDS_PER_MAILDIR),
            (self.max_batch, 1),
            // Those that are closed at a time are open twice: a file without a name ends with its last descriptor.
            (self.max_batch.min(MAX_SYNC_THREADS).saturating_sub(FDS_FOR_COMMITTER), 1),
            (self.max_spilled, FDS_PER_SPILLED_MESSAGE),
            (self.max_read_files - 1, 1), // one is that of its session
            (self.max_piece_files, 1),
            (self.max_connections + 1, 1), // one is accepted before another is evicted, or before it is rejected
        ];
        parts.into_iter().map(|(count, of_each)| count * of_each).sum()
    }

    /// The largest number of connections.
    pub fn capped_connections(&self, limits: &Limits) -> usize {
        if limits.connections.max == 0 {
            self.max_connections
        } else {
            limits.connections.max.min(self.max_connections)
        }
    }

    /// The largest number of indexed mailboxes, including those that sessions have open.
    pub fn capped_indexes(&self, limits: &Limits) -> usize {
        limits.index.max_mailboxes.min(self.max_mailboxes)
    }

    /// The largest number of recipients of one message, and of their mailboxes: the committer has all their mailboxes open, and the sender's
    /// for the copy.
    pub fn max_recipients(&self) -> usize {
        self.max_maildirs - 1
    }

    /// The limits, each lowered to the number that the descriptors allow.
    pub fn cap(&self, limits: &Limits) -> Limits {
        let mut lowered = limits.clone();
        for (limit, max) in [
            (&mut lowered.disk.workers, self.disk_workers),
            (&mut lowered.index.scan_workers, self.scan_workers),
            (&mut lowered.auth.workers, self.password_workers),
            (&mut lowered.smtp.max_recipients, self.max_recipients()),
            (&mut lowered.smtp.max_recipients_unauthenticated, self.max_recipients()),
            (&mut lowered.smtp.max_mailboxes, self.max_recipients()),
            (&mut lowered.delivery.batch_size, self.max_batch),
        ] {
            *limit = max.min(*limit);
        }
        lowered
    }

    /// A descriptor limit that is sufficient for this many connections.
    pub fn fd_limit_for(connections: usize, limits: &Limits, inputs: &FdInputs) -> usize {
        let is_enough = |limit: &usize| {
            Self::allocate(*limit, limits, inputs).is_ok_and(|budget| budget.max_connections >= connections)
        };
        let mut tries = std::iter::successors(Some(1024_usize), |limit| limit.checked_add(limit / 8));
        tries.find(is_enough).unwrap_or(usize::MAX)
    }
}

/// The number of messages that a tool may have open until it syncs them together. Each is one file of a mailbox, in
/// addition to the descriptors of the tool and its environment.
pub fn max_open_tmp_files() -> usize {
    (raise_fd_limit().saturating_sub(FDS_FOR_TOOL) / 2).clamp(1, 10_000)
}

/// Raises the descriptor limit to the hard limit, and returns it.
pub fn raise_fd_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }); // after a failure the limit stays
    let limit = getrlimit(Resource::Nofile).current.and_then(|n| usize::try_from(n).ok());
    limit.map_or(MAX_FDS, |limit| limit.min(MAX_FDS))
}

/// The number of open descriptors that count against the limit; if /proc is not readable, the number of standard
/// streams.
pub fn count_open_fds() -> usize {
    let limit = raise_fd_limit();
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return STANDARD_STREAMS };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
    let count = numbers.filter(|number| *number < limit).count();
    count.saturating_sub(1).max(STANDARD_STREAMS) // one is for reading the directory
}

const STANDARD_STREAMS: usize = 3;
/// The kernel allows no process more (fs.nr_open is at most 2^30 on 32 bits).
const MAX_FDS: usize = 1 << 30;
/// epoll, its waker, and two for signals.
const FDS_FOR_LOOP: usize = 4;
/// The spool and its lock, which are three; on NFS a replaced lock file is opened twice.
const FDS_FOR_SPOOL: usize = 5;
/// On a path each directory is opened before its parent is closed, and links start from the root; then a file.
const FDS_PER_PATH_WALK: usize = 3;
/// The metrics file, in its directory.
const FDS_FOR_METRICS: usize = FDS_PER_PATH_WALK;
/// The parent directory of a mailbox; or a message, open once more, and its copy on another file system; or two
/// messages that are opened once more while they are closed.
const FDS_FOR_COMMITTER: usize = 2;
/// The socket, and a spare one.
const FDS_PER_LISTENER: usize = 2;
/// A thread that reads a file, and four that wait for a disk (`file_poller::MAX_STUCK_THREADS`).
const FDS_PER_RELOADER: usize = 5;
/// The same, the pipe that ends it, and the watch of its files: the old one and the new one.
const FDS_PER_POLLER: usize = FDS_PER_RELOADER + 4;
/// The reader of the configuration; a path to a socket; and the log, old and new.
const FDS_FOR_RELOADS: usize = FDS_PER_RELOADER + FDS_PER_PATH_WALK + 1 + FDS_PER_PATH_WALK;
/// The directory, on a path; the lock; the old file and the new one; the directory again.
const FDS_PER_PASSWORD_CHANGE: usize = 6;
/// The inotify instance.
const FDS_FOR_WATCH: usize = 1;
/// The directory and its three subdirectories.
const FDS_PER_MAILDIR: usize = 4;
/// Its lock, with a directory and a file, and a message that is being read.
const FDS_PER_MAILBOX: usize = FDS_PER_MAILDIR + 3;
/// Its mailbox and its file.
const FDS_PER_SPILLED_MESSAGE: usize = FDS_PER_MAILDIR + 1;
/// A mailbox that is counted or cleaned up, and its list of names.
const FDS_PER_WORKER: usize = FDS_PER_MAILDIR + 1;
/// A tool's standard streams, spool, mailbox, index and output, and what its shell has open.
const FDS_FOR_TOOL: usize = 24;

/// One for each service, so that none is without.
pub const MIN_CONNECTIONS: usize = 4;
/// With this many spare descriptors, a watch takes at most a quarter of them.
const MIN_SPARE_FDS_FOR_WATCH: usize = 4 * FDS_FOR_WATCH;
const MAX_TRANSCRIPTS: usize = 64;
const MAX_CLOSING: usize = 16;
const MAX_SPILLED: usize = 256;
const MAX_READ_FILES: usize = 64;
const MAX_PIECE_FILES: usize = 256;
/// The mailboxes of a hundred recipients, which every server must accept (RFC 5321 section 4.5.3.1.8).
const FDS_FOR_100_RECIPIENTS: usize = 100 * FDS_PER_MAILDIR;

#[cfg(test)]
mod tests;
