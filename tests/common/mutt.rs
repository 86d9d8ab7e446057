//! mutt, driven through a terminal of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use super::home;

/// The programs that mutt needs here: mutt wants a terminal, and `script` makes one.
pub(crate) const NEEDS: &[&str] = &["mutt", "script"];

/// Opens a Maildir in mutt, presses those keys, and returns mutt's home directory.
pub(crate) fn mutt(maildir: &Path, options: &str, keys: &str) -> TempDir {
    let home = home();
    let output = mutt_in(home.path(), maildir, options, keys, 20);
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    home
}

/// Does the same with that home directory, and returns the output also after a failure. A key that has no message
/// to act on makes mutt discard all following keys, and wait until so many seconds are over.
pub(crate) fn mutt_in(home: &Path, maildir: &Path, options: &str, keys: &str, seconds: u32) -> Output {
    reader_in("mutt", home, &maildir.display().to_string(), options, keys, seconds)
}

/// Does the same with mutt or NeoMutt, in a folder anywhere.
pub(crate) fn reader_in(
    program: &str,
    home: &Path,
    folder: &str,
    options: &str,
    keys: &str,
    seconds: u32,
) -> Output {
    fs::create_dir_all(home.join("Mail")).unwrap(); // mutt asks if it is not there
    let settings = "set wait_key=no quit=yes move=no mail_check_stats=no delete=yes confirmappend=no pipe_decode=no pipe_split=yes pipe_sep=\"\"";
    let line =
        format!("{program} -n -F /dev/null {options} -f '{folder}' -e '{settings}' -e 'push \"{keys}\"'");
    // mutt outlives `script` for a moment when its time is over. It keeps our pipe open as well, so that the output
    // does not end before mutt does.
    let mut command = Command::new("sh");
    command.args(["-c", "exec timeout \"$0\" script --quiet --return --command \"$1\" /dev/null 3>&1"]);
    command.args([&seconds.to_string(), &line]);
    command.current_dir(home).env("HOME", home).env("TERM", "xterm").env_remove("MAIL");
    command.stdin(Stdio::null()).output().unwrap()
}
