//! The number of threads that the server needs, and the number that the system allows.
//!
//! All threads are started before the server serves: a failure to start one later would cost a message or a login at
//! a time when no operator is watching.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, geteuid, getrlimit, getuid};

use crate::limits::Limits;

/// The number of threads that sync files beside the committer. A few are enough, because the journal of the file system
/// merges simultaneous syncs; a batch of fewer messages needs fewer.
pub fn sync_helpers(limits: &Limits) -> usize {
    limits.delivery.batch_size.min(MAX_SYNC_THREADS).saturating_sub(1)
}

/// The largest number of threads of a server with these limits.
pub fn required_threads(limits: &Limits) -> usize {
    let workers = limits.disk.workers.saturating_add(limits.index.scan_workers);
    let workers = workers.saturating_add(limits.auth.workers);
    workers.saturating_add(sync_helpers(limits)).saturating_add(WEB_THREADS + OTHER_THREADS)
}

/// The reason why a server cannot have all its threads. Prints as a sentence for the operator.
#[derive(Debug, PartialEq, Eq)]
pub struct ThreadLimitError {
    /// The key in `[limits.…]` that asks for the most threads.
    pub key: &'static str,
    wanted: usize,
    needed: usize,
    budget: ThreadBudget,
}

/// The number of threads that this process may have, and the limit that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ThreadBudget {
    threads: usize,
    limit: String,
}

/// Compares the threads that a server needs with the limits of this process, as far as they can be read. The process
/// has one thread so far.
///
/// # Errors
/// The server needs too many.
pub fn check(limits: &Limits) -> Result<(), ThreadLimitError> {
    let budgets = user_limit().into_iter().chain(cgroup_limits());
    match budgets.min_by_key(|budget| budget.threads) {
        Some(budget) => check_against(limits, budget),
        None => Ok(()),
    }
}

fn check_against(limits: &Limits, budget: ThreadBudget) -> Result<(), ThreadLimitError> {
    let needed = required_threads(limits);
    if needed <= budget.threads {
        return Ok(());
    }
    let workers = [
        ("limits.disk.workers", limits.disk.workers),
        ("limits.index.scan_workers", limits.index.scan_workers),
        ("limits.auth.workers", limits.auth.workers),
    ];
    let (key, wanted) = workers.into_iter().max_by_key(|(_, count)| *count).unwrap_or_default();
    Err(ThreadLimitError { key, wanted, needed, budget })
}

impl fmt::Display for ThreadLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, wanted, needed, budget: ThreadBudget { threads, limit } } = self;
        write!(
            f,
            "with {key} = {wanted} the server needs {needed} threads; {limit} leaves room for {threads}: \
             lower {key}, or raise the limit (systemd: TasksMax=, LimitNPROC=)"
        )
    }
}

impl std::error::Error for ThreadLimitError {}

/// The limit of the user, which does not apply to root (setrlimit(2), RLIMIT_NPROC).
fn user_limit() -> Option<ThreadBudget> {
    let most = getrlimit(Resource::Nproc).current?;
    if geteuid().is_root() {
        return None;
    }
    let others = threads_of_user(getuid().as_raw()).saturating_sub(1);
    let threads = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(others);
    Some(ThreadBudget { threads, limit: format!("RLIMIT_NPROC of {most} (ulimit -u)") })
}

/// Threads of a user, as far as this process may see them.
fn threads_of_user(user: u32) -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = processes.filter(|process| process.metadata().is_ok_and(|about| about.uid() == user));
    own.filter_map(|process| Some(fs::read_dir(process.path().join("task")).ok()?.count())).sum()
}

/// The limits of the control groups of this process.
fn cgroup_limits() -> Vec<ThreadBudget> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(pids_directory).flat_map(|(root, group)| group_limits(&root, &group)).collect()
}

/// The directory of a line of `/proc/self/cgroup` that limits threads: the mount point of the hierarchy, and the
/// group in it (cgroups(7)).
fn pids_directory(line: &str) -> Option<(PathBuf, PathBuf)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let root = match controllers {
        "" => "/sys/fs/cgroup",
        _ if controllers.split(',').any(|controller| controller == "pids") => "/sys/fs/cgroup/pids",
        _ => return None,
    };
    Some((root.into(), group.trim_start_matches('/').into()))
}

/// The limits of a group and of its ancestors.
fn group_limits(root: &Path, group: &Path) -> Vec<ThreadBudget> {
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let room = |group: &Path| {
        let file = root.join(group).join("pids.max");
        let most = number(file.clone())?; // not a number: "max", or unreadable
        let others = number(root.join(group).join("pids.current")).unwrap_or(1).saturating_sub(1);
        let limit = format!("{} of {most}", file.display());
        Some(ThreadBudget { threads: most.saturating_sub(others), limit })
    };
    group.ancestors().filter_map(room).collect()
}

/// Threads that sync and close files at the same time.
pub(crate) const MAX_SYNC_THREADS: usize = 8;
/// The threads that serve the web API. A second one, so that a page need not wait for a search.
pub(crate) const WEB_THREADS: usize = 3;
/// The loop, the log, the metrics, transcripts, accounts, the certificate, a reload, the committer; and two processes
/// that a service manager runs beside the server for a reload.
const OTHER_THREADS: usize = 8 + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_all_above_it_limit_the_threads() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("a/b");
        fs::create_dir_all(&group).unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write("a/pids.max", "30\n");
        write("a/pids.current", "21\n");
        write("a/b/pids.max", "max\n");
        assert_eq!(
            group_limits(root.path(), Path::new("a/b")).iter().map(|room| room.threads).collect::<Vec<_>>(),
            [10]
        );
        write("a/b/pids.max", "7\n");
        let rooms = group_limits(root.path(), Path::new("a/b"));
        assert_eq!(rooms.iter().map(|room| room.threads).collect::<Vec<_>>(), [7, 10]);
        assert!(rooms[0].limit.contains("a/b/pids.max of 7"), "{rooms:?}");
    }

    #[test]
    fn the_group_is_found_in_both_hierarchies() {
        let found = |line| pids_directory(line).map(|(root, group)| root.join(group));
        assert_eq!(found("0::/a/b"), Some("/sys/fs/cgroup/a/b".into()));
        assert_eq!(found("7:cpu,pids:/a"), Some("/sys/fs/cgroup/pids/a".into()));
        for other in ["7:cpu,cpuacct:/a", "", "0", "1:name=systemd:/"] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn threads_that_do_not_fit_are_told_with_the_key_and_the_limit() {
        let mut limits = Limits::default();
        limits.disk.workers = 52;
        let room = |threads| ThreadBudget { threads, limit: "pids.max of 64".into() };
        assert_eq!(check_against(&limits, room(required_threads(&limits))), Ok(()));
        let error = check_against(&limits, room(required_threads(&limits) - 1)).unwrap_err();
        assert_eq!(error.key, "limits.disk.workers");
        for part in ["limits.disk.workers = 52", "pids.max of 64", "TasksMax="] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_committer_that_takes_one_message_at_a_time_syncs_alone() {
        let helpers = |batch_size| {
            let mut limits = Limits::default();
            limits.delivery.batch_size = batch_size;
            sync_helpers(&limits)
        };
        assert_eq!([1, 2, 8, 256].map(helpers), [0, 1, 7, 7]);
    }
}
