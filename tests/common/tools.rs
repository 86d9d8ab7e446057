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

/// A user without rights.
pub(crate) const NOBODY: u32 = 65534;

/// A directory with a spool in it, and files beside the spool.
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

    /// A file beside the spool.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The same, with that content.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn maildir(&self, name: &str) -> Maildir {
        Maildir { path: self.spool.join(name) }
    }

    /// Gives the spool to another user than root, who this is; `false` where that user could not get there.
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

    /// A tool on this spool, run beside it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = command_on(&self.spool, words);
        command.current_dir(self.home.path());
        command
    }

    /// Runs a tool, which must end with that code; what it prints, and what it says.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str], code: i32) -> (Vec<u8>, String) {
        ended(self.command(words).output().unwrap(), words, code)
    }
}

/// A tool on that spool.
pub(crate) fn command_on(spool: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(words).arg("--spool").arg(spool);
    command
}

/// What a tool has printed and said that must have ended with that code.
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
