//! Programs of others: whether they are there, and how they are run.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use crate::common::installed;

/// One story: it panics when it does not end well.
pub(crate) struct Story {
    pub(crate) name: String,
    /// The programs in it.
    pub(crate) needs: Vec<&'static str>,
    pub(crate) tell: Box<dyn Fn()>,
}

impl Story {
    /// A story with the name of its function.
    pub(crate) fn new<F: Fn() + 'static>(needs: &[&'static str], tell: F) -> Self {
        let path = std::any::type_name::<F>();
        let name = path.rsplit("::").next().unwrap_or(path).to_owned();
        Self { name, needs: needs.to_vec(), tell: Box::new(tell) }
    }
}

/// Why a program can't be run here, if it can't.
pub(crate) fn missing(program: &str) -> Option<String> {
    if !installed(program) {
        return Some(format!("{program} is not installed"));
    }
    if program == UNSHARE && is_root() && !unprivileged("true").status().is_ok_and(|status| status.success())
    {
        return Some("a user namespace is not to be had, and root is nobody to run this for".to_owned());
    }
    if program == POSTFIX && !contained("true").status().is_ok_and(|status| status.success()) {
        return Some("Postfix is run by root only, and here in a namespace of processes".to_owned());
    }
    None
}

/// A program that refuses to work for root. Files of root belong to `mail` in its user namespace.
pub(crate) fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    if !is_root() {
        return limited(program);
    }
    let mut command = limited(UNSHARE);
    // The ids that Debian gives to the user and the group `mail`.
    command.args(["--user", "--map-user=8", "--map-group=8"]).arg(program);
    command
}

/// A program that is ended if it does not end by itself.
pub(crate) fn limited(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "300"]).arg(program);
    command
}

/// A program of root that starts others in the background: all of them end with it, and it with us.
pub(crate) fn contained(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(UNSHARE);
    command.args(["--pid", "--fork", "--kill-child", "timeout", "--kill-after=5", "300"]).arg(program);
    command
}

/// The program for [`contained`].
pub(crate) const POSTFIX: &str = "postfix";
/// The program that [`unprivileged`] and [`contained`] need.
pub(crate) const UNSHARE: &str = "unshare";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets a program be at home in that directory and nowhere else.
pub(crate) fn at_home<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command.current_dir(home).env("HOME", home).env("USER", "mail").env("LOGNAME", "mail").env_remove("MAIL")
}

/// Runs a program with that on its standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = pipe.write_all(input); // a program that ends early says why by itself
        });
        child.wait_with_output().unwrap()
    })
}

/// Panics when a program had to be ended: it waited for something that never came.
#[track_caller]
pub(crate) fn in_time(output: Output) -> Output {
    assert!(![Some(124), Some(137)].contains(&output.status.code()), "a program hangs: {}", said(&output));
    output
}

/// The output of a program, its errors last.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The output of a program that must succeed.
#[track_caller]
pub(crate) fn succeeded(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", said(&output));
    output.stdout
}
