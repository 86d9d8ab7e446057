//! The terminals of a visitor: one in which a server runs until Ctrl-C, and one in which commands are typed.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::eventually;

/// A new user, in a new clone.
pub(crate) struct Visitor {
    pub(crate) home: PathBuf,
    pub(crate) clone: PathBuf,
    /// The number of that user, if root runs the tests.
    user: Option<u32>,
}

impl Visitor {
    /// Gives a home with its clone to a new user. Root stays root if that user cannot reach the place.
    pub(crate) fn new(home: &Path, clone: PathBuf) -> Self {
        let mut visitor = Self { home: home.to_owned(), clone, user: None };
        fs::create_dir(home.join(".runtime")).unwrap();
        let built = env!("CARGO_BIN_EXE_restante");
        let put = format!("mkdir -p target/release && ln -sfn {built:?} target/release/restante");
        let cargo = format!("#!/bin/sh\n[ \"$*\" = 'build --release' ] && {put}\n");
        fs::write(home.join(CARGO), cargo).unwrap();
        fs::set_permissions(home.join(CARGO), Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            let owner = format!("{NOBODY}:{NOBODY}");
            let given = Command::new("chown").args(["-R", &owner]).arg(home).status().unwrap();
            assert!(given.success(), "chown");
            visitor.user = Some(NOBODY);
            let reaches = visitor.bash(&["-c", &format!("{built:?} --version")]).output();
            visitor.user = visitor.user.filter(|_| reaches.is_ok_and(|output| output.status.success()));
        }
        visitor
    }

    /// A shell with nothing in its environment but what a login gives. cargo has built the program already, and another
    /// cargo puts it where `make build` should.
    fn bash(&self, arguments: &[&str]) -> Command {
        let runtime = self.home.join(".runtime");
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile"]).args(arguments).current_dir(&self.clone).env_clear();
        let variables =
            [("PATH", PATH), ("TERM", "dumb"), ("NO_COLOR", "1"), ("LANG", "C.UTF-8"), ("USER", "me")];
        bash.stdin(Stdio::null()).envs(variables).env("HOME", &self.home).env("XDG_RUNTIME_DIR", runtime);
        bash.env("CARGO", self.home.join(CARGO));
        if let Some(user) = self.user {
            bash.uid(user).gid(user);
        }
        bash
    }

    /// Writes lines to a file for a shell to read, so that the programs in them do not read the shell's own input.
    fn script(&self, lines: &[String]) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = self.home.join(format!(".typed-{number}"));
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        file
    }
}

/// The second terminal: one shell for all commands. They find a terminal, but their questions get no answer.
pub(crate) struct Shell<'a> {
    visitor: &'a Visitor,
    shell: Running,
    input: ChildStdin,
    /// Octets of the screen that belong to earlier commands.
    seen: usize,
}

impl<'a> Shell<'a> {
    pub(crate) fn open(visitor: &'a Visitor) -> Self {
        let mut bash = visitor.bash(&["-c"]);
        let shell = format!("stty -echo -onlcr cols 250; echo; echo {END}; PS1= bash --norc --noprofile");
        bash.arg(format!("exec script -qc '{shell}' /dev/null"));
        bash.stdin(Stdio::piped());
        let mut shell = Running::spawn(bash, visitor.home.join(".second"), Signal::TERM);
        let input = shell.process.stdin.take().unwrap();
        let seen = shell.tells(&format!("{END}\n")).len(); // the terminal repeats no input any more
        Self { visitor, shell, input, seen }
    }

    /// Runs the lines. Returns all that they print, and whether each command succeeded.
    pub(crate) fn run(&mut self, lines: &[String]) -> (String, bool) {
        let file = self.visitor.script(lines);
        writeln!(self.input, "trap 'echo {BAD}' ERR; source {}; echo; echo {END}", file.display()).unwrap();
        let end = format!("\n{END}\n");
        let seen = self.seen;
        let screen = self.shell.prints(|screen| {
            let is_done = screen.get(seen..).is_some_and(|new| new.ends_with(&end));
            (!is_done).then(|| format!("the commands do not end: {lines:?}"))
        });
        self.seen = screen.len();
        let mut is_good = true;
        let mut printed = String::new();
        for line in screen[seen..].lines() {
            match line {
                END => {}
                BAD => is_good = false,
                _ => printed.extend([line, "\n"]),
            }
        }
        let home = self.visitor.home.to_str().unwrap();
        (printed.trim_end_matches('\n').replace(home, "/home/me"), is_good)
    }
}

/// A command that runs until Ctrl-C.
pub(crate) struct Running {
    process: Child,
    printed: PathBuf,
    /// The signal that stands for Ctrl-C.
    end: Signal,
}

impl Running {
    /// Opens a terminal, types what belongs in every one, and then the command.
    pub(crate) fn start(visitor: &Visitor, every: &[String], lines: &[String]) -> Self {
        let file = visitor.script(&[every, lines].concat());
        let bash = visitor.bash(&[file.to_str().unwrap()]);
        Self::spawn(bash, file.with_extension("out"), Signal::INT)
    }

    /// The same in a terminal that the command takes for one, of so many columns.
    pub(crate) fn on_screen(visitor: &Visitor, every: &[String], lines: &[String], columns: u16) -> Self {
        let every = format!("source {} > /dev/null; stty cols {columns}", visitor.script(every).display());
        let file = visitor.script(&[&[every][..], lines].concat());
        let mut bash = visitor.bash(&["-c"]);
        bash.arg(format!("exec script -qc 'bash --norc --noprofile {}' /dev/null", file.display()));
        bash.stdin(Stdio::piped());
        Self::spawn(bash, file.with_extension("out"), Signal::TERM)
    }

    /// Types each answer after its question.
    pub(crate) fn answers(&mut self, dialogue: &[(&str, &str)]) {
        let mut input = self.process.stdin.take().unwrap();
        let mut seen = 0;
        for (question, answer) in dialogue {
            let asked =
                |screen: &str| screen.get(seen..)?.find(question).map(|at| seen + at + question.len());
            let screen =
                self.prints(|screen| asked(screen).is_none().then(|| format!("{question:?} is not asked")));
            seen = asked(&screen).unwrap_or(seen);
            writeln!(input, "{answer}").unwrap();
        }
        self.process.stdin = Some(input);
    }

    fn spawn(mut shell: Command, printed: PathBuf, end: Signal) -> Self {
        let out = fs::File::create(&printed).unwrap();
        shell.stdout(out.try_clone().unwrap()).stderr(out).process_group(0);
        Self { process: shell.spawn().unwrap(), printed, end }
    }

    /// Waits until the screen has that text, and returns all that it has.
    pub(crate) fn tells(&self, text: &str) -> String {
        self.prints(|printed| (!printed.contains(text)).then(|| format!("{text:?} is not there")))
    }

    /// Waits until the screen has no fault any more, and returns all that it has.
    pub(crate) fn prints(&self, fault: impl Fn(&str) -> Option<String>) -> String {
        let mut screen = Screen { text: String::new(), fault: None };
        eventually("the terminal shows what the page has", || {
            screen.text = String::from_utf8_lossy(&fs::read(&self.printed).unwrap()).into_owned();
            screen.fault = fault(&screen.text);
            screen.fault.is_none().then(|| screen.text.clone())
        })
    }
}

/// The text of a terminal, printed if the test fails.
struct Screen {
    text: String,
    fault: Option<String>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}\n--- the terminal shows:\n{}", self.fault, self.text);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.process), self.end); // it may have ended
        let _ = self.process.wait();
    }
}

/// The cargo of a visitor, below the home.
const CARGO: &str = ".cargo-of-a-visitor";
/// Printed after a command that failed.
const BAD: &str = "--a command failed--";
/// A user without rights, who owns nothing else.
const NOBODY: u32 = 65534;
const END: &str = "--end of what was typed--";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
