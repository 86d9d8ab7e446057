//! The tools for a spool, run as a person runs them, on a spool without a server.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::{Maildir, home};

/// The id of a user without rights.
pub(crate) const NOBODY: u32 = 65534;

/// A directory with a spool in it, and other files beside the spool.
pub(crate) struct Desk {
    home: TempDir,
    pub(crate) spool: PathBuf,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let home = home();
        let spool = home.path().join("spool");
        fs::create_dir(&spool).unwrap();
        Self { home, spool }
    }

    /// The path of a file beside the spool.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file beside the spool.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn maildir(&self, name: &str) -> Maildir {
        Maildir { path: self.spool.join(name) }
    }

    /// Gives the spool to a user without rights. Returns `false` if this process is not root, or if that user could
    /// not reach the spool.
    pub(crate) fn give_away(&self) -> bool {
        let is_open = |path: &Path| path.metadata().is_ok_and(|data| data.mode() & 0o001 != 0);
        fs::set_permissions(self.home.path(), Permissions::from_mode(0o755)).unwrap();
        let reachable = geteuid().is_root() && self.home.path().ancestors().all(is_open);
        if reachable {
            let mut all = vec![self.spool.clone()];
            while let Some(path) = all.pop() {
                chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
                if path.is_dir() {
                    all.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                }
            }
        }
        reachable
    }

    /// The command of a tool on this spool, run beside it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = command_on(&self.spool, words);
        command.current_dir(self.home.path());
        command
    }

    /// Runs a tool, which must end with that code. Returns its output and its messages.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str], code: i32) -> (Vec<u8>, String) {
        ended(self.command(words).output().unwrap(), words, code)
    }
}

/// The command of a tool on that spool.
pub(crate) fn command_on(spool: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(words).arg("--spool").arg(spool);
    command
}

/// Returns the output and the messages of a tool, which must have ended with that code.
#[track_caller]
pub(crate) fn ended(output: Output, words: &[&str], code: i32) -> (Vec<u8>, String) {
    let said = String::from_utf8(output.stderr).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{words:?}: {said}\n{}",
        printed.get(..2000).unwrap_or(&printed)
    );
    (output.stdout, said)
}
