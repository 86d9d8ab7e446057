//! System faults, which strace injects into the calls of a running server: it attaches, the calls fail as the test
//! says, it detaches, and the same process goes on.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Server, eventually, home, installed, skip};

/// System calls that strace makes fail or change.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The name of the threads; all threads if it is empty. strace counts calls separately in each thread.
    pub(crate) threads: &'static str,
    /// The calls and their fault, in the syntax of strace: `fsync:error=EIO:when=1`.
    pub(crate) what: String,
    /// Only calls with this path in an argument or as a descriptor; all calls if it is empty.
    pub(crate) path: PathBuf,
}

impl Fault {
    /// A fault in all threads, on all paths.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { threads: "", what: what.into(), path: PathBuf::new() }
    }

    /// The same fault in threads of that name alone.
    pub(crate) fn of(self, threads: &'static str) -> Self {
        Self { threads, ..self }
    }

    /// The same fault on that path alone.
    pub(crate) fn on(self, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// Runs `act` while the calls of the server fail. At least one call must fail.
    #[track_caller]
    pub(crate) fn during<T>(&self, server: &Server, act: impl FnOnce() -> T) -> T {
        let mut done = None;
        self.traced(server, || done = Some(act()));
        done.unwrap()
    }

    /// Runs `act`, and returns the calls of that kind that the server makes meanwhile: one a line, descriptors with
    /// their paths.
    #[track_caller]
    pub(crate) fn traced(&self, server: &Server, act: impl FnOnce()) -> String {
        let tracer = Tracer::attach(self, server);
        act();
        let trace = tracer.detach();
        let hit = ["INJECTED)", "(DELAYED)"].iter().any(|mark| trace.contains(mark))
            || ["signal=KILL", "delay_"].iter().any(|fault| self.what.contains(fault))
                && [" = ?", "<detached", "<unfinished"].iter().any(|mark| trace.contains(mark));
        assert!(hit || !self.what.contains(':'), "{self:?} has hit nothing:\n{trace}");
        trace
    }
}

/// Whether strace may attach to a running process here. If not, prints the reason on the terminal.
pub(crate) fn can_inject(test: &str) -> bool {
    if !installed("strace") {
        skip(test, "strace is not installed");
        return false;
    }
    static ATTACHES: OnceLock<bool> = OnceLock::new();
    let attaches = *ATTACHES.get_or_init(attaches);
    if !attaches {
        skip(test, "strace may not attach to a process here");
    }
    attaches
}

fn attaches() -> bool {
    let mut other = Command::new("sleep").arg("300").spawn().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "-p", &other.id().to_string()]).stderr(Stdio::piped());
    let mut strace = strace.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(strace.stderr.take().unwrap()).read_line(&mut said).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    strace.wait().unwrap();
    said.contains(" attached")
}

struct Tracer {
    strace: Child,
    dir: TempDir,
}

impl Tracer {
    fn attach(fault: &Fault, server: &Server) -> Self {
        let dir = home();
        let calls = fault.what.split(':').next().unwrap();
        let mut strace = Command::new("strace");
        strace.args(["-y", "-e", &format!("trace={calls}"), "-o"]).arg(dir.path().join("trace"));
        if calls != fault.what {
            strace.args(["-e", &format!("inject={}", fault.what)]);
        }
        if !fault.path.as_os_str().is_empty() {
            strace.arg("-P").arg(&fault.path);
        }
        let threads = threads(server, fault.threads);
        assert!(!threads.is_empty(), "there is no thread {:?}", fault.threads);
        if fault.threads.is_empty() {
            strace.args(["-f", "-p", &server.pid().to_string()]);
        } else {
            strace.args(threads.iter().flat_map(|thread| ["-p", thread]));
        }
        let said = dir.path().join("said");
        let mut strace = strace.stdin(Stdio::null()).stderr(File::create(&said).unwrap()).spawn().unwrap();
        // A thread may have ended meanwhile.
        let is_there = |tid: &&String| Path::new(&format!("/proc/{}/task/{tid}", server.pid())).exists();
        eventually("strace is attached", || {
            let there = threads.iter().filter(is_there).count().max(1);
            let expected = if fault.threads.is_empty() { 1 } else { there };
            let said = fs::read_to_string(&said).unwrap();
            if let Some(status) = strace.try_wait().unwrap() {
                panic!("strace ended at once: {status}\n{said}");
            }
            (said.matches(" attached").count() >= expected).then_some(())
        });
        Self { strace, dir }
    }

    /// Detaches strace from the server, and returns its output.
    fn detach(mut self) -> String {
        // strace may have ended with the server, which some faults kill.
        if self.strace.try_wait().unwrap().is_none() {
            let _ = kill_process(Pid::from_child(&self.strace), Signal::INT);
            self.strace.wait().unwrap();
        }
        String::from_utf8_lossy(&fs::read(self.dir.path().join("trace")).unwrap()).into_owned()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.strace), Signal::INT); // strace may have ended already
        let _ = self.strace.wait();
    }
}

/// The threads of the server that have this name, or all of them if it is empty.
fn threads(server: &Server, name: &str) -> Vec<String> {
    let main = server.pid().to_string();
    let named = || -> Vec<(String, String)> {
        let tasks = fs::read_dir(format!("/proc/{main}/task")).unwrap().map(|task| task.unwrap().path());
        let named = tasks.filter_map(|task| {
            let name = fs::read_to_string(task.join("comm")).ok()?; // the thread may have ended meanwhile
            Some((task.file_name()?.to_str()?.to_owned(), name.trim_end().to_owned()))
        });
        named.collect()
    };
    // A new thread has the name of its parent at first, and then sets its own.
    let all = eventually("each thread has a name of its own", || {
        let all = named();
        let of_main = all.iter().find(|(id, _)| *id == main).map(|(_, name)| name.clone());
        (all.iter().filter(|(_, name)| Some(name) == of_main.as_ref()).count() == 1).then_some(all)
    });
    all.into_iter().filter(|(_, of)| name.is_empty() || of == name).map(|(id, _)| id).collect()
}
