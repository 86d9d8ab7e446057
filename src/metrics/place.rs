//! Where the figures of a server are when its configuration does not say: in a directory for what lives as long
//! as a process, never in the spool, which may be full, shared and slow.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::{Access, access};

/// Where the server of that name writes them that serves that spool. `None`: nowhere.
pub fn to_write(spool: &Path, hostname: &str) -> Option<PathBuf> {
    let name = name(spool, hostname);
    let usable = |directory: &PathBuf| {
        if directory != Path::new(SYSTEM) {
            let _ = fs::create_dir(directory); // it is there, or can't be made
        }
        is_ours(directory) && access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    };
    directories().into_iter().find(usable).map(|directory| directory.join(name))
}

/// Where to read them: the latest ones, if there are any.
pub fn to_read(spool: &Path, hostname: &str) -> Option<PathBuf> {
    let name = name(spool, hostname);
    let there = directories().into_iter().filter(|directory| is_ours(directory)).filter_map(|directory| {
        let path = directory.join(&name);
        let written = fs::metadata(&path).and_then(|about| about.modified()).ok()?;
        Some((written, path))
    });
    there.max_by_key(|(written, _): &(SystemTime, PathBuf)| *written).map(|(_, path)| path)
}

/// The latest ones of any server.
pub fn latest() -> Option<PathBuf> {
    let there = directories().into_iter().filter(|directory| is_ours(directory));
    let files = there.filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let figures = files.filter_map(|entry| {
        let written = entry.metadata().and_then(|about| about.modified()).ok()?;
        entry.file_name().to_str()?.ends_with(ENDING).then(|| (written, entry.path()))
    });
    figures.max_by_key(|(written, _)| *written).map(|(_, path)| path)
}

/// The best first.
fn directories() -> Vec<PathBuf> {
    let given = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = rustix::process::geteuid().as_raw();
    [
        given("RUNTIME_DIRECTORY"), // systemd.exec(5)
        given("XDG_RUNTIME_DIR").map(|path| path.join("restante")),
        Some(PathBuf::from(SYSTEM)),
        Some(env::temp_dir().join(format!("restante-{user}"))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether nobody but root and us can have put something there, who would tell tales.
fn is_ours(directory: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let given = directory == Path::new(SYSTEM); // by root, to the user of the service
    fs::symlink_metadata(directory).is_ok_and(|about| {
        let trusted = given || user == 0 || [0, user].contains(&about.uid());
        about.is_dir() && about.mode() & 0o022 == 0 && trusted
    })
}

fn name(spool: &Path, hostname: &str) -> String {
    let spool = fs::canonicalize(spool).unwrap_or_else(|_| spool.to_owned());
    let mut which = crc32fast::Hasher::new();
    which.update(spool.as_os_str().as_encoded_bytes());
    which.update(hostname.as_bytes());
    format!("{:08x}{ENDING}", which.finalize())
}

/// That of a service; whoever installs it makes it.
const SYSTEM: &str = "/run/restante";
/// What the names of these files end with.
pub(super) const ENDING: &str = ".prom";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_to_is_not_ours() {
        let home = tempfile::tempdir().unwrap();
        assert!(is_ours(home.path()));
        let link = home.path().join("link");
        symlink(home.path(), &link).unwrap();
        assert!(!is_ours(&link) && !is_ours(&home.path().join("not there")));
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_ours(home.path()));
    }

    #[test]
    fn each_spool_and_each_server_has_a_name_of_its_own() {
        let names = [("/a", "x"), ("/b", "x"), ("/a", "y")].map(|(spool, host)| name(Path::new(spool), host));
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert_eq!(name(Path::new("/"), "x"), name(Path::new("/etc/.."), "x"));
    }
}
