//! The files that the server replaces, removes or appends to, beside all other files that a configuration names.
//!
//! The rule: no two settings name one file, no such file is in a mailbox, and one that exists has the look of a file that
//! the server writes there. Otherwise the server would write over a file of the operator. Nothing is changed here.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
};

use super::problem::Problem;
use crate::{
    config::{Config, Destination, Service, UnknownRecipients},
    file_rights::{ALL, is_denied},
    logging,
    metrics::publish,
    net::endpoint::Endpoint,
    open_regular::open_regular,
    safe_file::{self, Directory},
};

/// The first reason why the server would write over a file that is not its own. `source` is the configuration file.
pub fn problems(config: &Config, source: Option<&Path>) -> Option<Problem> {
    let looks = || {
        let metrics = config.metrics.file.iter().find_map(|path| Content::Metrics.problem(METRICS, path));
        let log = || log_file(config).and_then(|path| Content::Log.problem(LOG, path));
        metrics.or_else(log)
    };
    clash(config, source).or_else(looks)
}

/// The same for a server that runs: it keeps its file of metrics, and may get another log.
pub fn problems_of_reload(config: &Config, source: Option<&Path>) -> Option<Problem> {
    clash(config, source).or_else(|| log_file(config).and_then(|path| Content::Log.problem(LOG, path)))
}

/// The reason why a start would write over a file that is not its own, to tell the addresses that it has.
pub fn ports_file(path: &Path, config: &Config, source: Option<&Path>) -> Option<Problem> {
    let ports = Named::new(PORTS, path, Use::Write);
    clash_of(&ports, &named_files(config, source), config)
        .map(|why| Problem::new("", why))
        .or_else(|| Content::Ports.problem("", path))
}

/// The first two settings that name one file which the server writes, or a setting that names a file in a mailbox.
fn clash(config: &Config, source: Option<&Path>) -> Option<Problem> {
    let files = named_files(config, source);
    files
        .iter()
        .enumerate()
        .find_map(|(n, file)| clash_of(file, &files[..n], config).map(|why| Problem::new(&file.key, why)))
}

fn clash_of(file: &Named, others: &[Named], config: &Config) -> Option<String> {
    if file.used == Use::Read {
        return None;
    }
    let shown = file.shown.display();
    if let Some(other) = others.iter().find(|other| file.clashes_with(other)) {
        let setting = if other.key.is_empty() {
            "the configuration itself".to_owned()
        } else {
            format!("`{}`", other.key)
        };
        return Some(format!(
            "{shown} is the file of {setting} too, and the server would write over it: name another one"
        ));
    }
    let mailbox = mailbox_around(&real(&config.spool), &file.path)?;
    Some(format!(
        "{shown} is in {}, a place for mail in the spool: name a file outside of the spool",
        mailbox.display()
    ))
}

/// The warnings about files that stand in the spool itself, beside the mailboxes.
pub fn in_spool(config: &Config, source: Option<&Path>) -> Vec<Problem> {
    let spool = real(&config.spool);
    let files = named_files(config, source);
    let is_beside = |file: &&Named| file.path.parent() == Some(&*spool) && file.used != Use::Read;
    let warning = |file: &Named| {
        let why = format!(
            "{} is in the spool, which is for mail alone, so that a copy or a restore of all mail takes it along: name another \
             place, such as {}",
            file.shown.display(),
            better_place(&file.key, &file.path, &spool).display()
        );
        Problem { is_warning: true, ..Problem::new(&file.key, why) }
    };
    files.iter().filter(is_beside).map(warning).collect()
}

/// A place for a file that should not be in the spool: beside the spool if the user of this process may write there.
fn better_place(key: &str, path: &Path, spool: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let above = spool.parent().filter(|above| !is_denied(above, ALL) && above.parent().is_some());
    let usual = Path::new(match key {
        LOG => "/var/log/restante",
        TRANSCRIPTS => "/var/lib/restante",
        _ => "/run/restante",
    });
    above.unwrap_or(usual).join(name)
}

/// The directory of mail that a path is in, or is itself.
fn mailbox_around(spool: &Path, path: &Path) -> Option<PathBuf> {
    let first = path.strip_prefix(spool).ok()?.components().next()?.as_os_str();
    let place = spool.join(first);
    let name = first.to_string_lossy();
    let is_for_mail = name.contains('@') || name.starts_with(".restante") || place.join("cur").is_dir();
    is_for_mail.then_some(place)
}

/// A file that a setting names.
struct Named {
    /// The key of the configuration; empty for the configuration itself.
    key: String,
    used: Use,
    shown: PathBuf,
    /// The path without links and dots.
    path: PathBuf,
    /// Device and number of the file, if it exists: two names may lead to it.
    inode: Option<(u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    /// A socket in the place of a file.
    Bind,
    Write,
}

impl Named {
    fn new(key: &str, path: &Path, used: Use) -> Self {
        let inode = fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
        Self { key: key.to_owned(), used, shown: path.to_owned(), path: real(path), inode }
    }

    /// Whether both are one file, and one of them is written.
    fn clashes_with(&self, other: &Self) -> bool {
        let is_same = self.path == other.path || self.inode.is_some() && self.inode == other.inode;
        is_same && [self.used, other.used].contains(&Use::Write)
    }
}

/// All files of a configuration: those that are written stand behind those that are not.
fn named_files(config: &Config, source: Option<&Path>) -> Vec<Named> {
    let mut files = Vec::new();
    let mut add = |key: &str, path: &Path, used| files.push(Named::new(key, path, used));
    if let Some(source) = source {
        add("", source, Use::Read);
    }
    add("spool", &config.spool, Use::Read);
    if config.unknown_recipients == UnknownRecipients::Reject {
        add("accounts", &config.accounts, Use::Read);
        config.aliases.iter().for_each(|path| add("aliases", path, Use::Read));
    }
    if let Some(pair) = &config.tls {
        add("tls.certificate", &pair.certificate, Use::Read);
        add("tls.key", &pair.key, Use::Read);
    }
    if let Destination::Syslog(path) = &config.log.destination {
        add(LOG, path, Use::Read);
    }
    for (n, listen) in config.listen.iter().enumerate() {
        if let Endpoint::Unix(path) = &listen.address {
            add(&format!("listen.{n}.address"), path, Use::Bind);
        }
    }
    config.transcripts.iter().for_each(|path| add(TRANSCRIPTS, path, Use::Write));
    log_file(config).into_iter().for_each(|path| add(LOG, path, Use::Write));
    config.metrics.file.iter().for_each(|path| add(METRICS, path, Use::Write));
    files
}

fn log_file(config: &Config) -> Option<&Path> {
    match &config.log.destination {
        Destination::File(path) => Some(path),
        Destination::Syslog(_) | Destination::Stderr => None,
    }
}

/// The path without links and dots, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut real = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
        if let Ok(end) = fs::canonicalize(&real) {
            real = end;
        }
    }
    real
}

/// True for a name of the directory of devices, like `/dev/stdout`. Its file system in memory has ordinary files.
fn is_device_name(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

/// The content of a file that the server writes.
#[derive(Clone, Copy)]
enum Content {
    Metrics,
    Ports,
    Log,
}

impl Content {
    /// The reason why a file that exists is none of that content. Links and FIFOs give way to the new file, and lose
    /// nothing.
    fn problem(self, key: &str, path: &Path) -> Option<Problem> {
        let is_log = matches!(self, Self::Log);
        // Lines of the log go to the file at the end of a link.
        let about = if is_log { path.metadata() } else { path.symlink_metadata() }.ok()?;
        let kind = about.file_type();
        let shown = path.display();
        let is_device = kind.is_block_device() || kind.is_char_device() || is_device_name(&real(path));
        if !is_log && is_device {
            let why = format!("{shown} is a device, which a file would replace: name a file of its own");
            return Some(Problem::new(key, why));
        }
        if !kind.is_file() || about.len() == 0 {
            return None;
        }
        // A place where the server writes nothing is told by itself.
        let is_usable = if is_log {
            logging::check_file(path).is_ok()
        } else {
            Directory::trusted_if_root(safe_file::parent(path)).is_ok()
        };
        if !is_usable {
            return None;
        }
        let mut head = Vec::new();
        if let Err(error) = open_regular(path).and_then(|file| file.take(MAX_HEAD).read_to_end(&mut head)) {
            let why = format!("cannot read {shown}, so it may be a file that is not the server's: {error}");
            let closed = (error.kind() == io::ErrorKind::PermissionDenied).then(|| path.to_owned());
            return Some(Problem { closed, ..Problem::denied(key, why) }).filter(|_| !is_log);
        }
        let (is_own, found, would) = match self {
            Self::Metrics => (publish::is_metrics(&head), "begins unlike metrics", "replace and remove it"),
            Self::Ports => (are_addresses(&head), "has other lines than `smtp=127.0.0.1:2525`", "replace it"),
            Self::Log => (logging::is_log(&head), "begins unlike a log of restante", "append to it"),
        };
        let why = || {
            format!(
                "{shown} {found}, so it is a file of somebody else, and the server would {would}: name a new file, or move \
                 this one away"
            )
        };
        (!is_own).then(|| Problem::new(key, why()))
    }
}

/// Whether each line is the name of a service and its address.
fn are_addresses(text: &[u8]) -> bool {
    let is_address = |line: &str| {
        line.split_once('=').is_some_and(|(name, address)| {
            Service::ALL.iter().any(|service| service.name() == name) && address.parse::<Endpoint>().is_ok()
        })
    };
    std::str::from_utf8(text).is_ok_and(|text| text.lines().all(is_address))
}

const METRICS: &str = "metrics.file";
const LOG: &str = "log.destination";
const TRANSCRIPTS: &str = "transcripts";
const PORTS: &str = "--ports-file";
/// Octets at the beginning of a file that show its content.
const MAX_HEAD: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn n63_a_file_is_one_by_whatever_name_it_has() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("users.json"), "{}").unwrap();
        fs::hard_link(at("users.json"), at("second")).unwrap();
        symlink("users.json", at("link")).unwrap();
        symlink(".", at("here")).unwrap();
        let users = Named::new("accounts", &at("users.json"), Use::Read);
        for (name, is_same) in [
            ("users.json", true),
            ("./here/../users.json", false), // above the link's target, as the kernel reads it
            ("here/./users.json", true),
            ("no/../users.json", true),
            ("second", true),
            ("link", true),
            ("other", false),
        ] {
            let file = Named::new(METRICS, &at(name), Use::Write);
            assert_eq!(file.clashes_with(&users), is_same, "{name}");
        }
        let absent = |name: &str| Named::new(LOG, &at(name), Use::Write);
        assert!(absent("new").clashes_with(&absent("here/./new")));
        assert!(!absent("new").clashes_with(&absent("new.prom")));
    }

    #[test]
    fn n63_a_file_that_is_replaced_or_appended_to_has_the_look_of_one_of_ours() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let log = "2026-11-30T08:00:00.000Z [INFO] ready\n";
        for (content, text, is_good) in [
            (Content::Metrics, "", true),
            (Content::Metrics, "# restante 0.3.0 at mx, /spool\n# HELP x y\n", true),
            (Content::Metrics, "{\"alice@example.test\": {}}", false),
            (Content::Metrics, "# a configuration of restante\n", false),
            (Content::Ports, "", true),
            (Content::Ports, "pop3=[::1]:1110\nsmtp=127.0.0.1:2525\nlmtp=unix:/run/l.sock\n", true),
            (Content::Ports, "smtp=127.0.0.1:2525\nshopping list\n", false),
            (Content::Ports, "HOME=127.0.0.1:25\n", false),
            (Content::Ports, "\n", false),
            (Content::Log, "", true),
            (Content::Log, log, true),
            (Content::Log, &format!("2026-11-30T08:00:0\n{log}"), true),
            (Content::Log, "{\"alice@example.test\": {}}", false),
            (Content::Log, &format!("\n\nnotes\n{log}"), false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(content.problem("key", &path).is_none(), is_good, "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Content::Metrics.problem("key", &path).is_none());
        let null = Path::new("/dev/null");
        assert!(Content::Ports.problem("key", null).is_some_and(|it| it.why.contains("is a device")));
        assert!(Content::Log.problem("key", null).is_none());
    }

    #[test]
    fn n145_a_file_in_memory_is_no_device_although_its_path_begins_like_one() {
        assert!(!is_device_name(Path::new("/dev/shm/restante/ports")));
        for device in ["/dev/null", "/dev/fd/1", "/dev/shmem"] {
            assert!(is_device_name(Path::new(device)), "{device}");
        }
    }
}
