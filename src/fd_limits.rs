//! The shares of the descriptor limit: one budget for everything that a running server opens.
//!
//! The rule: the shares add up to the limit, so that no descriptor is promised twice. Sessions and connections never
//! use the descriptors of deliveries. A share covers the descriptors that its owners keep open, and those that they
//! open briefly.

use std::{fmt, fs};

use crate::limits::Limits;

/// The descriptors that depend on the configuration, and on how the process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opens {
    /// Descriptors that were open when the server started: standard streams, the log, and those of the service
    /// manager.
    pub inherited: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// Whether inotify reports changes in mailboxes.
    pub watch: bool,
    /// Whether accounts come from a file.
    pub accounts: bool,
    /// Whether there is a certificate.
    pub certificate: bool,
    /// Whether transcripts are written.
    pub transcripts: bool,
    /// Whether the configuration and the log can be reopened.
    pub reloads: bool,
}

/// The shares, in units of the things that are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// The descriptor limit that is divided.
    pub limit: usize,
    /// Descriptors that do not depend on the limit.
    fixed: usize,
    /// Descriptors of one password worker.
    of_a_password_worker: usize,
    /// Whether inotify watches mailboxes. If too few descriptors are left, the server compares directory times
    /// instead.
    pub watch: bool,
    /// Threads for the disk.
    pub disk_workers: usize,
    /// Threads that scan mailboxes.
    pub scan_workers: usize,
    /// Threads for passwords.
    pub password_workers: usize,
    /// Transcripts open at a time.
    pub transcripts: usize,
    /// Sockets that a reload may open before it closes old ones.
    pub new_listeners: usize,
    /// Mailboxes in sessions or indexed.
    pub mailboxes: usize,
    /// Mailboxes in addition that are being closed.
    pub closing: usize,
    /// Mailboxes that the committer has open.
    pub maildirs: usize,
    /// Messages of one batch of the committer.
    pub batch: usize,
    /// Inbound messages that have a file.
    pub spilled: usize,
    /// Connections.
    pub connections: usize,
}

/// The descriptor limit is lower than a server needs. Prints as a sentence for the operator.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFew {
    /// The lowest sufficient limit.
    pub needed: usize,
    limit: usize,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, limit } = self;
        write!(
            f,
            "with this configuration the server needs {needed} descriptors, and the limit is {limit}: raise it \
             (ulimit -n {needed}; systemd: LimitNOFILE={needed})"
        )
    }
}

impl std::error::Error for TooFew {}

impl Shares {
    /// Divides a limit. Every share gets its minimum first, and a part of the rest; connections get the remainder.
    ///
    /// # Errors
    /// The limit is below the sum of the minimum shares.
    pub fn of(limit: usize, limits: &Limits, opens: &Opens) -> Result<Self, TooFew> {
        let mut shares = Self::least(limit, opens);
        let needed = shares.sum();
        let Some(mut rest) = limit.checked_sub(needed) else { return Err(TooFew { needed, limit }) };
        if opens.watch && rest >= WORTH_A_WATCH {
            shares.watch = true;
            rest -= OF_THE_WATCH;
        }
        let wanted = [limits.disk.workers, limits.index.scan_workers, limits.auth.workers];
        shares.add_workers(wanted, rest / 16);
        if opens.transcripts {
            shares.transcripts += (rest / 32).min(MOST_TRANSCRIPTS - shares.transcripts);
        }
        if opens.reloads {
            shares.new_listeners += rest / 64 / OF_A_LISTENER;
        }
        let closing = (rest / 32 / OF_A_MAILDIR).min(MOST_CLOSING);
        shares.closing += closing;
        shares.mailboxes += (rest / 4 - closing * OF_A_MAILDIR) / OF_A_MAILBOX;
        let maildirs = (rest / 40 * 9).max((rest * 3 / 8).min(OF_USUAL_RECIPIENTS)) / OF_A_MAILDIR;
        shares.maildirs =
            (shares.maildirs + maildirs).min(limits.smtp.max_recipients.saturating_add(1).max(USUAL_HOMES));
        shares.batch = (shares.batch + rest / 16).min(limits.delivery.batch_size);
        shares.spilled = (shares.spilled + rest / 32 / OF_A_SPILLED_MESSAGE).min(MOST_SPILLED);
        shares.connections += limit - shares.sum();
        Ok(shares)
    }

    /// The shares of another configuration or limit, while everything that was started with the shares `running`
    /// stays.
    ///
    /// # Errors
    /// Too few descriptors are left for connections.
    pub fn beside(mut self, running: &Self) -> Result<Self, TooFew> {
        let Self {
            watch, disk_workers, scan_workers, password_workers, transcripts, maildirs, batch, ..
        } = *running;
        self = Self {
            watch,
            disk_workers,
            scan_workers,
            password_workers,
            transcripts,
            maildirs,
            batch,
            connections: LEAST_CONNECTIONS,
            ..self
        };
        let needed = self.sum();
        let rest = self.limit.checked_sub(needed).ok_or(TooFew { needed, limit: self.limit })?;
        self.connections += rest;
        Ok(self)
    }

    /// The minimum of each share.
    fn least(limit: usize, opens: &Opens) -> Self {
        let with = |is_there: bool, count: usize| if is_there { count } else { 0 };
        let fixed = opens.inherited
            + OF_THE_LOOP
            + OF_THE_SPOOL
            + OF_METRICS
            + OF_THE_COMMITTER
            + opens.listeners * OF_A_LISTENER
            + with(opens.accounts, OF_A_POLLER)
            + with(opens.certificate, OF_A_POLLER)
            + with(opens.transcripts, OF_A_PATH)
            + with(opens.reloads, OF_RELOADS);
        Self {
            limit,
            fixed,
            of_a_password_worker: with(opens.accounts, OF_A_CHANGED_PASSWORD),
            watch: false,
            disk_workers: 1,
            scan_workers: 1,
            password_workers: 1,
            transcripts: with(opens.transcripts, 1),
            new_listeners: with(opens.reloads, opens.listeners),
            mailboxes: 1,
            closing: 1,
            maildirs: 2, // a recipient's, and the sender's for the copy
            batch: 1,
            spilled: 1,
            connections: LEAST_CONNECTIONS,
        }
    }

    /// Adds one thread after the other, of each kind in turn, as far as the descriptors suffice.
    fn add_workers(&mut self, wanted: [usize; 3], mut rest: usize) {
        let costs = [OF_A_WORKER, OF_A_WORKER, self.of_a_password_worker];
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

    /// Descriptors of all shares together.
    fn sum(&self) -> usize {
        let parts = [
            (1, self.fixed),
            (usize::from(self.watch), OF_THE_WATCH),
            (self.disk_workers + self.scan_workers, OF_A_WORKER),
            (self.password_workers, self.of_a_password_worker),
            (self.transcripts, 1),
            (self.new_listeners, OF_A_LISTENER),
            (self.mailboxes, OF_A_MAILBOX),
            (self.closing + self.maildirs, OF_A_MAILDIR),
            (self.batch, 1),
            (self.spilled, OF_A_SPILLED_MESSAGE),
            (self.connections + 1, 1), // one is accepted before another is evicted, or before it is rejected
        ];
        parts.into_iter().map(|(count, of_each)| count * of_each).sum()
    }

    /// The largest number of connections.
    pub fn max_connections(&self, limits: &Limits) -> usize {
        if limits.connections.max == 0 {
            self.connections
        } else {
            limits.connections.max.min(self.connections)
        }
    }

    /// The largest number of indexed mailboxes, including those that sessions have open.
    pub fn max_indexes(&self, limits: &Limits) -> usize {
        limits.index.max_mailboxes.min(self.mailboxes)
    }

    /// The largest number of recipients of one message: the committer has all their mailboxes open, and the sender's
    /// for the copy.
    pub fn most_recipients(&self) -> usize {
        self.maildirs - 1
    }

    /// The limits, each lowered to the number that the descriptors allow.
    pub fn lower(&self, limits: &Limits) -> Limits {
        let mut lowered = limits.clone();
        for (limit, most) in [
            (&mut lowered.disk.workers, self.disk_workers),
            (&mut lowered.index.scan_workers, self.scan_workers),
            (&mut lowered.auth.workers, self.password_workers),
            (&mut lowered.smtp.max_recipients, self.most_recipients()),
            (&mut lowered.smtp.max_recipients_unauthenticated, self.most_recipients()),
            (&mut lowered.delivery.batch_size, self.batch),
        ] {
            *limit = most.min(*limit);
        }
        lowered
    }

    /// A descriptor limit that is sufficient for this many connections.
    pub fn limit_for(connections: usize, limits: &Limits, opens: &Opens) -> usize {
        let is_enough = |limit: &usize| {
            Self::of(*limit, limits, opens).is_ok_and(|shares| shares.connections >= connections)
        };
        let mut tries = std::iter::successors(Some(1024_usize), |limit| limit.checked_add(limit / 8));
        tries.find(is_enough).unwrap_or(usize::MAX)
    }
}

/// The number of messages that a tool may have open until it syncs them together. Each is one file of a mailbox, in
/// addition to the descriptors of the tool and its environment.
pub fn max_open_tmp_files() -> usize {
    (raise_fd_limit().saturating_sub(OF_A_TOOL) / 2).clamp(1, 10_000)
}

/// Raises the descriptor limit to the hard limit, and returns it.
pub fn raise_fd_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }); // after a failure the limit stays
    let limit = getrlimit(Resource::Nofile).current.and_then(|n| usize::try_from(n).ok());
    limit.map_or(MOST_DESCRIPTORS, |limit| limit.min(MOST_DESCRIPTORS))
}

/// The number of open descriptors that count against the limit; if /proc is not readable, the number of standard
/// streams.
pub fn open_now() -> usize {
    let limit = raise_fd_limit();
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return STANDARD_STREAMS };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
    let count = numbers.filter(|number| *number < limit).count();
    count.saturating_sub(1).max(STANDARD_STREAMS) // one is for reading the directory
}

const STANDARD_STREAMS: usize = 3;
/// The kernel allows no process more (fs.nr_open is at most 2^30 on 32 bits).
const MOST_DESCRIPTORS: usize = 1 << 30;
/// epoll, its waker, and two for signals.
const OF_THE_LOOP: usize = 4;
/// The spool and its lock, which are three; on NFS a replaced lock file is opened twice.
const OF_THE_SPOOL: usize = 5;
/// On a path each directory is opened before its parent is closed, and links start from the root; then a file.
const OF_A_PATH: usize = 3;
/// The metrics file, in its directory.
const OF_METRICS: usize = OF_A_PATH;
/// The parent directory of a mailbox, or a message and its copy on another file system.
const OF_THE_COMMITTER: usize = 2;
/// The socket, and a spare one.
const OF_A_LISTENER: usize = 2;
/// A thread that reads a file, and four that wait for a disk (`file_poller::MAX_STUCK_THREADS`).
const OF_A_POLLER: usize = 5;
/// The poller of the configuration; a path to a socket; and the log, old and new.
const OF_RELOADS: usize = OF_A_POLLER + OF_A_PATH + 1 + OF_A_PATH;
/// The directory, on a path; the lock; the old file and the new one; the directory again.
const OF_A_CHANGED_PASSWORD: usize = 6;
/// Files that create barriers, one opened once more, and those of inotify.
const OF_THE_WATCH: usize = 8;
/// The directory and its three subdirectories.
const OF_A_MAILDIR: usize = 4;
/// Its lock, with a directory and a file, and a message that is being read.
const OF_A_MAILBOX: usize = OF_A_MAILDIR + 3;
/// Its mailbox and its file.
const OF_A_SPILLED_MESSAGE: usize = OF_A_MAILDIR + 1;
/// A mailbox that is counted or cleaned up, and its list of names.
const OF_A_WORKER: usize = OF_A_MAILDIR + 1;
/// A tool's standard streams, spool, mailbox, index and output, and what its shell has open.
const OF_A_TOOL: usize = 24;

/// One for each service, so that none is without.
pub const LEAST_CONNECTIONS: usize = 4;
/// Descriptors beyond the minimum from which on a watch costs less than a quarter of them.
const WORTH_A_WATCH: usize = 4 * OF_THE_WATCH;
const MOST_TRANSCRIPTS: usize = 64;
const MOST_CLOSING: usize = 16;
const MOST_SPILLED: usize = 256;
/// The mailboxes of a hundred recipients, which every server must accept (RFC 5321 section 4.5.3.1.8).
const OF_USUAL_RECIPIENTS: usize = 100 * OF_A_MAILDIR;
/// Mailboxes that the committer keeps open if messages have few recipients. Reopening one may cost syncs.
const USUAL_HOMES: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = Limits> {
        let workers = || 1..=256_usize;
        let (counts, many) = (1..=1_000_000_usize, 1..=1_000_000_usize);
        (workers(), workers(), workers(), counts, many, 0..=1_000_000_usize, 0..=100_000_usize).prop_map(
            |(
                disk_workers,
                scan_workers,
                password_workers,
                recipients,
                delivery_batch,
                indexed,
                connections,
            )| {
                let mut limits = Limits::default();
                limits.disk.workers = disk_workers;
                limits.index.scan_workers = scan_workers;
                limits.auth.workers = password_workers;
                limits.smtp.max_recipients = recipients;
                limits.delivery.batch_size = delivery_batch;
                limits.index.max_mailboxes = indexed;
                limits.connections.max = connections;
                limits
            },
        )
    }

    fn opens() -> impl Strategy<Value = Opens> {
        (3..50_usize, 1..40_usize, any::<[bool; 5]>()).prop_map(|(inherited, listeners, has)| {
            let [watch, accounts, certificate, transcripts, reloads] = has;
            Opens { inherited, listeners, watch, accounts, certificate, transcripts, reloads }
        })
    }

    /// The descriptors that a development server opens.
    const FEW: Opens = Opens {
        inherited: 3,
        listeners: 2,
        watch: true,
        accounts: false,
        certificate: false,
        transcripts: false,
        reloads: false,
    };

    fn assert_good(shares: &Shares, least: &Shares) {
        assert_eq!(shares.sum(), shares.limit, "{shares:?}");
        let counts = |s: &Shares| {
            [
                s.disk_workers,
                s.scan_workers,
                s.password_workers,
                s.transcripts,
                s.new_listeners,
                s.mailboxes,
                s.closing,
                s.maildirs,
                s.batch,
                s.spilled,
                s.connections,
            ]
        };
        assert!(counts(shares).iter().zip(counts(least)).all(|(has, least)| *has >= least), "{shares:?}");
    }

    proptest! {
        #[test]
        fn at_any_limit_the_shares_add_up_to_it_and_none_is_below_its_least(
            limits in limits(),
            opens in opens(),
            limit in 0..100_000_usize,
        ) {
            let least = Shares::least(limit, &opens);
            match Shares::of(limit, &limits, &opens) {
                Ok(shares) => assert_good(&shares, &least),
                Err(TooFew { needed, .. }) => {
                    assert!(limit < needed && needed == least.sum());
                    assert_good(&Shares::of(needed, &limits, &opens).unwrap(), &Shares::least(needed, &opens));
                }
            }
        }

        #[test]
        fn another_configuration_beside_what_stays_adds_up_too(
            limits in (limits(), limits()),
            opens in (opens(), opens()),
            limit in (300..100_000_usize, 300..100_000_usize),
        ) {
            let running = Shares::of(limit.0, &limits.0, &opens.0);
            let new = Shares::of(limit.1, &limits.1, &opens.1);
            if let (Ok(running), Ok(new)) = (running, new) {
                match new.beside(&running) {
                    Ok(shares) => {
                        assert_eq!(shares.sum(), shares.limit);
                        assert!(shares.connections >= LEAST_CONNECTIONS && shares.maildirs == running.maildirs);
                    }
                    Err(TooFew { needed, limit }) => assert!(needed > limit),
                }
            }
        }

        #[test]
        fn the_limit_that_is_advised_is_enough(connections in 1..200_000_usize, opens in opens()) {
            let limit = Shares::limit_for(connections, &Limits::default(), &opens);
            prop_assert!(Shares::of(limit, &Limits::default(), &opens).unwrap().connections >= connections);
        }
    }

    #[test]
    fn every_limit_up_to_a_hundred_thousand_adds_up() {
        let least = Shares::least(0, &FEW);
        for limit in least.sum()..=100_000 {
            assert_good(&Shares::of(limit, &Limits::default(), &FEW).unwrap(), &least);
        }
    }

    #[test]
    fn a_development_server_runs_with_64_descriptors_and_one_with_48_says_how_many_it_needs() {
        let shares = Shares::of(64, &Limits::default(), &FEW).unwrap();
        assert!(!shares.watch && shares.mailboxes == 1, "{shares:?}");
        let error = Shares::of(48, &Limits::default(), &FEW).unwrap_err();
        let said = error.to_string();
        assert!(error.needed <= 64, "{said}");
        for part in ["the limit is 48", "ulimit -n 61", "LimitNOFILE=61"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn from_a_thousand_on_nearly_a_hundred_recipients_fit_and_limits_are_never_raised() {
        let limits = Limits::default();
        let shares = Shares::of(1024, &limits, &FEW).unwrap();
        assert!(shares.most_recipients() >= 80, "{shares:?}");
        let mut few = Limits::default();
        (few.disk.workers, few.smtp.max_recipients, few.delivery.batch_size) = (1, 1, 1);
        let shares = Shares::of(100_000, &few, &FEW).unwrap();
        assert_eq!(shares.lower(&few), few);
    }
}
