//! CPU time, memory and descriptors of a server, from `/proc`.

use std::{
    collections::BTreeMap,
    fs, io,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// CPU time of all threads, user and system.
pub(crate) fn cpu(pid: u32) -> io::Result<Duration> {
    // proc_pid_stat(5): utime and stime.
    ticks(&pid.to_string(), &[14, 15])
}

/// CPU time of a process and of all that it started, whether they have ended or not, if each parent waited for its
/// children.
pub(crate) fn cpu_of_tree(pid: u32) -> io::Result<Duration> {
    // proc_pid_stat(5): utime and stime, and those of the children that it waited for, cutime and cstime.
    sum_of_tree(pid, |process| {
        let name = process.to_string();
        // Ticks have the time of threads that have ended too, and the scheduler counts finer.
        Ok(ticks(&name, &[14, 15])?.max(scheduled(process)?) + ticks(&name, &[16, 17])?)
    })
}

/// The time that the threads of a process have run; zero where the kernel does not count it.
fn scheduled(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile. The first number is its time on a processor, in nanoseconds.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Octets in memory of a process and of all that it started, pages that several of them have counted for each.
pub(crate) fn resident_of_tree(pid: u32) -> io::Result<u64> {
    sum_of_tree(pid, |process| Ok(memory(process)?.resident))
}

/// Octets of a process and of all that it started, with the share of each in the pages that several of them have.
pub(crate) fn share_of_tree(pid: u32) -> io::Result<u64> {
    sum_of_tree(pid, |process| kib(&fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?, "Pss:"))
}

/// CPU time of those of our children that have ended and were waited for.
pub(crate) fn cpu_of_children() -> io::Result<Duration> {
    // proc_pid_stat(5): cutime and cstime.
    ticks("self", &[16, 17])
}

/// The sum of some fields of `/proc/<process>/stat`, counted from 1, as a time.
fn ticks(process: &str, fields: &[usize]) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let values = fields.iter().map(|&number| field(&stat, number));
    Ok(Duration::from_millis(values.sum::<io::Result<u64>>()? * 1000 / TICKS_PER_SECOND))
}

/// A field of `/proc/<process>/stat`, counted from 1.
fn field(stat: &str, number: usize) -> io::Result<u64> {
    // The command's name may hold spaces; the numbers follow its closing bracket, from field 3 on.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let text = after_name.split_whitespace().nth(number - 3);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| odd(stat))
}

/// Adds up a figure of a process and of all that it started; those that end meanwhile are left out.
fn sum_of_tree<T: std::iter::Sum>(pid: u32, figure: impl Fn(u32) -> io::Result<T>) -> io::Result<T> {
    let has_gone = |error: &io::Error| {
        // ESRCH, where the process ends after the file was opened.
        error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
    };
    let figures = tree(pid)?.into_iter().map(figure);
    figures.filter(|figure| !figure.as_ref().is_err_and(has_gone)).sum()
}

/// A process and all that it started.
fn tree(pid: u32) -> io::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has just ended has no parent to name.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let parent = u32::try_from(field(&stat, 4)?).map_err(io::Error::other)?;
        children.entry(parent).or_default().push(process);
    }
    let (mut tree, mut next) = (vec![pid], 0);
    while let Some(process) = tree.get(next) {
        tree.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    Ok(tree)
}

/// Octets that the process has read by system calls, from files and sockets, whether or not they were in
/// memory. Mapped files do not count.
pub(crate) fn octets_read(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let octets = text.lines().find_map(|line| line.strip_prefix("rchar:")?.trim().parse().ok());
    octets.ok_or_else(|| odd(&text))
}

/// Ticks of all processors since the start of the machine.
pub(crate) struct Processors {
    all: u64,
    /// Those in which a processor had nothing to do, or only waited for a disk.
    idle: u64,
}

impl Processors {
    pub(crate) fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<u64> = first.filter_map(|number| number.parse().ok()).take(8).collect();
        // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
        let idle = ticks.get(3..5).ok_or_else(|| odd(&stat))?.iter().sum();
        Ok(Self { all: ticks.iter().sum(), idle })
    }

    /// The per cent of the time since then that was idle.
    pub(crate) fn idle_since(&self, then: &Self) -> u64 {
        self.idle.saturating_sub(then.idle) * 100 / self.all.saturating_sub(then.all).max(1)
    }
}

/// Warns if other processes use the processors, because the next measurement would include their load.
pub(crate) fn warn_if_busy() -> io::Result<()> {
    let before = Processors::now()?;
    thread::sleep(Duration::from_millis(500));
    let busy = 100_u64.saturating_sub(Processors::now()?.idle_since(&before));
    if busy > 10 {
        eprintln!("before anything was measured the processors were {busy} % busy: distrust the next line");
    }
    Ok(())
}

/// Octets of memory.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Pages in memory, shared ones counted whole.
    pub(crate) resident: u64,
    /// Pages that only this process has and has written to: what the disk cannot give back.
    pub(crate) private_dirty: u64,
}

/// The memory the process has now.
pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory { resident: kib(&text, "Rss:")?, private_dirty: kib(&text, "Private_Dirty:")? })
}

/// The most that was ever resident, since the start or the last [`forget_peak`].
pub(crate) fn peak(pid: u32) -> io::Result<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// Resets the peak to the memory that is resident now.
pub(crate) fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The number of descriptors that the process has open.
pub(crate) fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Asks a process to stop and waits for it; kills it if it does not.
pub(crate) fn stop(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM); // it may be gone already, which is what we want
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    eprintln!("the server did not stop when asked");
    let _ = child.kill(); // as above
    let _ = child.wait(); // nothing to learn from how it died
}

/// Lifts our own descriptor limit, and that of the processes we start, as far as it goes; returns it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// So many connections, or as many as a server with this limit of descriptors has places for: it keeps about half of
/// them for files and mailboxes. Hundreds, unless so few are wanted.
pub(crate) fn connections_within(descriptors: u64, wanted: usize) -> usize {
    let fit = usize::try_from(descriptors / 100 * 48).unwrap_or(usize::MAX).saturating_sub(100) / 100 * 100;
    wanted.min(fit)
}

fn kib(text: &str, name: &str) -> io::Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    let value: Option<u64> = value.and_then(|number| number.parse().ok());
    value.map(|kib| kib * 1024).ok_or_else(|| odd(text))
}

fn odd(text: &str) -> io::Error {
    io::Error::other(format!("cannot read {text:?}"))
}

/// Linux counts in these for every program, whatever its own clock does (USER_HZ, time(7)).
const TICKS_PER_SECOND: u64 = 100;
