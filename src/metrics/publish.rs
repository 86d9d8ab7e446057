//! The thread that writes the metrics to a file every few seconds. The file is replaced as a whole, so that a
//! reader finds it complete.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{METRICS, location, reader::CONFIGURATION};
use crate::{
    file_rights::way_to_make,
    safe_file::{self, Directory, Durability},
};

/// The file of the metrics, and the interval.
#[derive(Debug, Clone)]
pub struct ExportConfig {
    /// The file that the configuration names. Without it, the server looks for a usable directory.
    pub file: Option<PathBuf>,
    /// The server's spool and host name, which identify its metrics.
    pub server: (PathBuf, String),
    /// The configuration file, by which `restante status` finds a server that could not take a change of it.
    pub source: Option<PathBuf>,
    /// Time between two writes of the file.
    pub every: Duration,
}

impl ExportConfig {
    /// The file to write. `None` if there is no usable directory.
    pub fn path(&self) -> Option<PathBuf> {
        let (spool, hostname) = &self.server;
        self.file.clone().or_else(|| location::export_path(spool, hostname))
    }

    /// Starts publishing. The server also runs without it.
    pub fn start(&self) -> Option<Publisher> {
        METRICS.mark_started();
        let Some(path) = self.path() else {
            log::warn!("{}", no_directory(self.source.is_some()));
            return None;
        };
        let (spool, hostname) = &self.server;
        let version = env!("CARGO_PKG_VERSION");
        let one_line = |text: String| text.replace(char::is_control, "?");
        let mut about = one_line(format!("restante {version} at {hostname}, {}", spool.display()));
        if let Some(source) = &self.source {
            about.push('\n');
            about += &one_line(format!("{CONFIGURATION}{}", source.display()));
        }
        let started = Publisher::start(path, about, self.every);
        started.inspect_err(|error| log::error!("metrics not written: {error}")).ok()
    }
}

/// The warning of a server that finds no directory for its metrics. One without a configuration, which runs for the user who
/// types, takes a directory of that user.
pub fn no_directory(is_configured: bool) -> String {
    if !is_configured {
        return "metrics not written: no writable directory; for `restante status`, set XDG_RUNTIME_DIR or HOME to a directory \
                of this user, and start again"
            .into();
    }
    format!(
        "metrics not written: no writable directory; as root, make one with {} at each boot (systemd: \
         RuntimeDirectory=restante), or set `file` in [metrics]",
        way_to_make(Path::new(location::SYSTEM), "755")
    )
}

/// The publishing thread. Dropping it removes the file, so that its metrics are not mistaken for current
/// ones.
#[derive(Debug)]
pub struct Publisher {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Publisher {
    /// Starts the thread that writes the file, at once and then after each interval.
    pub fn start(path: PathBuf, about: String, every: Duration) -> io::Result<Self> {
        METRICS.publish_interval.set(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        let (end, wait) = bounded(0);
        let (tell_ended, ended) = bounded(1);
        thread::Builder::new().name("metrics".into()).spawn(move || {
            run(&path, &about, every, &wait);
            let _ = at(&path).and_then(|(directory, name)| directory.remove(name)); // it may be gone already
            drop(tell_ended);
        })?;
        Ok(Self { end: Some(end), ended })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end = None;
        let _ = self.ended.recv_timeout(STOP_TIMEOUT); // the end of the server does not wait for a hanging disk
    }
}

/// Whether a file that begins so is one of metrics, which may be replaced and removed.
pub fn is_metrics(head: &[u8]) -> bool {
    head.starts_with(b"# restante ")
}

fn run(path: &Path, about: &str, every: Duration, end: &Receiver<()>) {
    remove_stale_files(path);
    let (mut failed, begun) = (false, Instant::now());
    loop {
        match replace(path, format!("# {about}\n{}", METRICS.text()).as_bytes()) {
            Ok(()) => failed = false,
            Err(error) if !failed => {
                failed = true;
                log::warn!("metrics not written: {}: {error}", path.display());
            }
            Err(_) => {}
        }
        // A person who has just started the server sees its first message within a second.
        let pause = if begun.elapsed() < EARLY { every.min(EARLY_INTERVAL) } else { every };
        if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Replaces the file. Every user may read it, because it has numbers and no names. The textfile collector of
/// node_exporter reads only *.prom.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let (directory, name) = at(path)?;
    directory.replace(name, 0o644, text, Durability::Cached)
}

/// Opens the directory each time, because another may have replaced it.
fn at(path: &Path) -> io::Result<(Directory, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((Directory::trusted_if_root(safe_file::parent(path))?, name))
}

/// Removes the files of servers that were killed, if the directory has only metrics.
fn remove_stale_files(path: &Path) {
    let is_metrics_file = |name: &OsStr| {
        let name = name.to_str().and_then(|name| name.strip_suffix(location::ENDING));
        name.is_some_and(|name| name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let Ok((directory, ours)) = at(path) else { return };
    if !is_metrics_file(ours) {
        return;
    }
    let is_old = |name: &OsStr| {
        let written = directory.modified(name);
        written.is_some_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > STALE_AGE))
    };
    let is_removable = |name: &OsStr| is_metrics_file(name) || safe_file::is_tmp_name(name);
    for name in directory.names().unwrap_or_default() {
        if is_removable(&name) && is_old(&name) {
            let _ = directory.remove(&name); // tried again next time
        }
    }
}

/// The time after the start in which the file is written more often.
const EARLY: Duration = Duration::from_secs(5);
const EARLY_INTERVAL: Duration = Duration::from_secs(1);
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
const STALE_AGE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::PermissionsExt,
    };

    use nix::unistd::{Group, Uid, User};

    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_goes_with_the_server() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("restante.prom");
        let publisher = Publisher::start(path.clone(), "restante".into(), Duration::from_millis(1)).unwrap();
        let began = Instant::now();
        let mut seen = 0;
        while seen < 20 {
            assert!(began.elapsed() < Duration::from_secs(60), "{seen}");
            if let Ok(text) = fs::read_to_string(&path) {
                assert!(text.starts_with("# restante\n# HELP ") && text.ends_with('\n'), "{text}");
                assert_eq!(
                    fs::metadata(&path).map(|about| about.permissions().mode() & 0o777).unwrap(),
                    0o644
                );
                seen += 1;
            }
        }
        drop(publisher);
        while fs::read_dir(home.path()).unwrap().count() > 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "the file is still there");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_was_left_behind_long_ago_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * STALE_AGE;
        for name in ["0123abcd.prom", "notes.prom", "89abcdef.prom", "0123abcd.txt"] {
            let file = File::create(home.path().join(name)).unwrap();
            file.set_modified(if name.starts_with('8') { SystemTime::now() } else { old }).unwrap();
        }
        remove_stale_files(&home.path().join("restante.prom"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 4, "not our directory");
        remove_stale_files(&home.path().join("00000000.prom"));
        assert!(!home.path().join("0123abcd.prom").exists());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn n54_a_server_without_a_place_for_its_metrics_tells_the_command_that_makes_one() {
        let user = User::from_uid(Uid::effective()).unwrap().unwrap();
        let group = Group::from_gid(user.gid).unwrap().unwrap().name;
        let command = format!("`install -d -o {} -g {group} -m 755 /run/restante` at each boot", user.name);
        assert!(no_directory(true).contains(&command), "{}", no_directory(true));
        let told = no_directory(false);
        assert!(told.contains("set XDG_RUNTIME_DIR or HOME") && !told.contains("[metrics]"), "{told}");
    }
}
