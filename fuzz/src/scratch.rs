//! A directory for the files of one process, in memory where the system has that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        made.expect("a directory for files")
    };
}

/// Its path.
pub(crate) fn directory() -> PathBuf {
    DIRECTORY.with(|directory| directory.path().to_owned())
}

/// A file in it with that content.
pub(crate) fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = directory().join(name);
    fs::write(&path, content).expect("a file that can be written");
    path
}

/// An empty directory in it.
pub(crate) fn fresh(name: &str) -> PathBuf {
    let path = directory().join(name);
    let _ = fs::remove_dir_all(&path); // the first time there is none
    fs::create_dir(&path).expect("a directory that can be made");
    path
}
