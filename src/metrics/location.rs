//! The default place of the metrics: a runtime directory. Never the spool, which may be full, shared or slow,
//! and never a directory like `/tmp`, where another user could create the predictable name first.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
    process::geteuid,
};

use super::reader::MetricsSnapshot;
use crate::safe_file::Directory;

/// The file for the metrics of the server with that name and spool. `None` if no directory is usable.
pub fn export_path(spool: &Path, hostname: &str) -> Option<PathBuf> {
    let name = name(spool, hostname);
    let usable = |directory: &PathBuf| open_export_directory(directory).is_ok();
    directories().into_iter().find(usable).map(|directory| directory.join(name))
}

/// Whether a server of this user would find a usable directory. It creates none.
pub fn has_export_directory() -> bool {
    directories().into_iter().any(|path| match Directory::trusted(&path) {
        Ok(_) => access(&path, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let may_make = path != Path::new(SYSTEM) || geteuid().is_root();
            let above = path.ancestors().find(|above| above.exists());
            may_make && above.is_some_and(|above| access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok())
        }
        Err(_) => false,
    })
}

/// Opens a directory for writing metrics, and creates it if possible.
fn open_export_directory(path: &Path) -> io::Result<Directory> {
    let directory = if path != Path::new(SYSTEM) || geteuid().is_root() {
        Directory::trusted_or_new(path)?
    } else {
        Directory::trusted(path)?
    };
    access(path, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(directory)
}

/// A readable file of metrics.
#[derive(Debug)]
pub struct MetricsFile {
    directory: Directory,
    name: OsString,
}

impl MetricsFile {
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Reads the metrics.
    ///
    /// # Errors
    /// The file is gone, or is not a file of metrics.
    pub fn read(&self) -> io::Result<MetricsSnapshot> {
        MetricsSnapshot::in_directory(&self.directory, &self.name)
    }
}

/// The files of metrics that were found, and the directories that were refused.
#[derive(Debug, Default)]
pub struct Search {
    /// The files of servers that run, or were killed: the newest first.
    pub files: Vec<MetricsFile>,
    /// One sentence for each directory that another user could have written to.
    pub refused: Vec<String>,
}

/// Finds the metrics of the server with that name and spool.
pub fn find(spool: &Path, hostname: &str) -> Search {
    let name = name(spool, hostname);
    search(|candidate| candidate == name.as_str())
}

/// Finds the metrics of all servers.
pub fn latest() -> Search {
    search(|name| name.to_str().is_some_and(|name| name.ends_with(ENDING)))
}

/// The directories that this user may not read: the servers of other users may write their metrics there.
pub fn closed() -> Vec<PathBuf> {
    let is_closed = |path: &PathBuf| access(path, Access::READ_OK | Access::EXEC_OK) == Err(Errno::ACCESS);
    directories().into_iter().filter(is_closed).collect()
}

/// The metrics of all servers that were started with a configuration file: of those that run, or were killed.
pub fn of_configuration(file: &Path) -> Vec<MetricsSnapshot> {
    let Ok(file) = fs::canonicalize(file) else { return Vec::new() };
    let found = latest().files.into_iter().filter_map(|metrics| metrics.read().ok());
    found.filter(|reading| reading.configuration() == Some(&file)).collect()
}

fn search(such: impl Fn(&OsStr) -> bool) -> Search {
    let mut found = Vec::new();
    let mut refused = Vec::new();
    for path in directories() {
        let open = || {
            if path == Path::new(SYSTEM) { Directory::delegated(&path) } else { Directory::trusted(&path) }
        };
        let names = match open().and_then(|directory| directory.names()) {
            Ok(names) => names,
            // No report for a directory that this user may not read: it does not concern the user.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() =>
            {
                refused.push(format!("{}: {error}", path.display()));
                continue;
            }
            Err(_) => continue, // it does not exist
        };
        for name in names.into_iter().filter(|name| such(name)) {
            let Ok(directory) = open() else { continue };
            found.extend(directory.modified(&name).map(|at| (at, MetricsFile { directory, name })));
        }
    }
    found.sort_by_key(|(written, _)| std::cmp::Reverse(*written));
    Search { files: found.into_iter().map(|(_, metrics)| metrics).collect(), refused }
}

/// The candidates, in order of preference.
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

/// The directory of a service, created at installation, or by a server that root runs.
pub(super) const SYSTEM: &str = "/run/restante";
/// Suffix of the files, as the textfile collector of Prometheus wants it.
pub(super) const ENDING: &str = ".prom";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_to_is_not_ours() {
        let home = tempfile::tempdir().unwrap();
        let ours = home.path().join("restante");
        assert!(open_export_directory(&ours).is_ok() && ours.is_dir());
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open_export_directory(&ours).is_err());
    }

    #[test]
    fn each_spool_and_each_server_has_a_name_of_its_own() {
        let names = [("/a", "x"), ("/b", "x"), ("/a", "y")].map(|(spool, host)| name(Path::new(spool), host));
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert_eq!(name(Path::new("/"), "x"), name(Path::new("/etc/.."), "x"));
    }
}
