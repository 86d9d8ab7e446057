//! Where the figures of a server are when its configuration does not say: in a directory for what lives as long
//! as a process, never in the spool, which may be full, shared and slow, and never in one like `/tmp`, where
//! anybody can be the first to make a directory of a name that can be guessed.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    process::geteuid,
};

use super::reading::Reading;
use crate::safe_file::Directory;

/// Where the server of that name writes them that serves that spool. `None`: nowhere.
pub fn to_write(spool: &Path, hostname: &str) -> Option<PathBuf> {
    let name = name(spool, hostname);
    let usable = |directory: &PathBuf| open_to_write(directory).is_ok();
    directories().into_iter().find(usable).map(|directory| directory.join(name))
}

/// A directory that figures can be written to; it is made if it can be.
fn open_to_write(path: &Path) -> io::Result<Directory> {
    let directory = if path != Path::new(SYSTEM) || geteuid().is_root() {
        Directory::trusted_or_new(path)?
    } else {
        Directory::trusted(path)?
    };
    access(path, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(directory)
}

/// Figures that can be read.
#[derive(Debug)]
pub struct Figures {
    directory: Directory,
    name: OsString,
}

impl Figures {
    /// Where they are.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Reads them.
    ///
    /// # Errors
    /// They are gone, or no figures.
    pub fn read(&self) -> io::Result<Reading> {
        Reading::in_directory(&self.directory, &self.name)
    }
}

/// The figures there are, and the directories that were not looked into, each with the reason.
#[derive(Debug, Default)]
pub struct Search {
    /// The latest first.
    pub figures: Vec<Figures>,
    /// One sentence for each directory that another user could have put figures into.
    pub refused: Vec<String>,
}

/// Those of the server of that name which serves that spool.
pub fn to_read(spool: &Path, hostname: &str) -> Search {
    let name = name(spool, hostname);
    search(|candidate| candidate == name.as_str())
}

/// Those of any server.
pub fn latest() -> Search {
    search(|name| name.to_str().is_some_and(|name| name.ends_with(ENDING)))
}

fn search(such: impl Fn(&OsStr) -> bool) -> Search {
    let mut found = Vec::new();
    let mut refused = Vec::new();
    for path in directories() {
        let open = || {
            if path == Path::new(SYSTEM) { Directory::granted(&path) } else { Directory::trusted(&path) }
        };
        let names = match open().and_then(|directory| directory.names()) {
            Ok(names) => names,
            // (Not for one that this user may not look into: nothing of it is his.)
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() =>
            {
                refused.push(format!("{}: {error}", path.display()));
                continue;
            }
            Err(_) => continue, // it is not there
        };
        for name in names.into_iter().filter(|name| such(name)) {
            let Ok(directory) = open() else { continue };
            found.extend(directory.modified(&name).map(|at| (at, Figures { directory, name })));
        }
    }
    found.sort_by_key(|(written, _)| std::cmp::Reverse(*written));
    Search { figures: found.into_iter().map(|(_, figures)| figures).collect(), refused }
}

/// The best first.
fn directories() -> Vec<PathBuf> {
    let given = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let ours = |path: PathBuf| path.join("restante");
    [
        given("RUNTIME_DIRECTORY"), // systemd.exec(5)
        given("XDG_RUNTIME_DIR").map(ours),
        Some(PathBuf::from(SYSTEM)),
        given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state"))).map(ours),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn name(spool: &Path, hostname: &str) -> String {
    let spool = fs::canonicalize(spool).unwrap_or_else(|_| spool.to_owned());
    let mut which = crc32fast::Hasher::new();
    which.update(spool.as_os_str().as_encoded_bytes());
    which.update(hostname.as_bytes());
    format!("{:08x}{ENDING}", which.finalize())
}

/// That of a service, which whoever installs it makes; and that of a server of root's.
const SYSTEM: &str = "/run/restante";
/// What the names of these files end with.
pub(super) const ENDING: &str = ".prom";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_to_is_not_ours() {
        let home = tempfile::tempdir().unwrap();
        let ours = home.path().join("restante");
        assert!(open_to_write(&ours).is_ok() && ours.is_dir());
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open_to_write(&ours).is_err());
    }

    #[test]
    fn each_spool_and_each_server_has_a_name_of_its_own() {
        let names = [("/a", "x"), ("/b", "x"), ("/a", "y")].map(|(spool, host)| name(Path::new(spool), host));
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert_eq!(name(Path::new("/"), "x"), name(Path::new("/etc/.."), "x"));
    }
}
