//! The places that the configuration names, looked at before anything is opened in them.
//!
//! The rule: nothing is made or changed here. A problem names the key, the place, and the command that mends it. The
//! server looks before it enters the sandbox, and `restante check` looks in the same way.

use std::{
    fs, io,
    ops::RangeInclusive,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::Uid;
use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{log_place, mailbox_rights::closed_files, problem::Problem};
use crate::{
    command_hint::path_word,
    config::{Config, Destination, UnknownRecipients},
    file_rights::{
        ALL, advice_to_hand_over, closed_directory, group_name, is_denied, is_own, lock_holder, name_of,
        of_its_own, server_words, user_name, way_into, way_to_make,
    },
    logging,
    maildir::{Room, Spool},
    net::{certificate::CertificatePair, endpoint::Endpoint},
    path_hint::did_you_mean,
    safe_file::{self, Directory},
};

/// The problems of all places of a configuration.
pub fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(spool(config));
    if config.unknown_recipients == UnknownRecipients::Reject {
        problems.extend(read_again("accounts", &config.accounts));
        problems.extend(config.aliases.iter().filter_map(|path| read_again("aliases", path)));
    }
    problems.extend(certificate(config));
    problems.extend(config.transcripts.iter().filter_map(|path| transcripts(config, path)));
    match &config.log.destination {
        Destination::File(path) => problems.extend(log_file(path)),
        Destination::Syslog(path) => problems.extend(syslog(path)),
        Destination::Stderr => {}
    }
    problems.extend(config.metrics.file.iter().filter_map(|path| metrics(path)));
    for (n, listen) in config.listen.iter().enumerate() {
        if let Endpoint::Unix(path) = &listen.address {
            problems.extend(missing_name(&format!("listen.{n}.address"), "the socket", path, None));
        }
    }
    problems
}

fn spool(config: &Config) -> Option<Problem> {
    let (key, path) = (SPOOL, &*config.spool);
    match kind(path) {
        Ok(Kind::Directory) => match access(path, ALL) {
            Err(Errno::ROFS) => Some(Problem {
                is_warning: true,
                ..Problem::new(
                    key,
                    format!(
                        "{} is read-only: no mail arrives, and IMAP opens no folder with a message that has no UID yet; POP3 \
                         and the web inbox can read all mail",
                        path.display()
                    ),
                )
            }),
            Err(Errno::ACCESS | Errno::PERM) => match option_for(config, path, "--spool DIR") {
                Some(advice) => Some(Problem::closed(key, path, no_permission(path, "the spool", &advice))),
                None => spool_rights(path),
            },
            _ => match Spool::open_existing(path) {
                Ok(spool) => closed_files(path)
                    .map(|why| Problem::closed(key, path, why))
                    .or_else(|| full_disk(&spool)),
                // A link that root may not follow.
                Err(error) => Some(Problem::denied(key, error.to_string())),
            },
        },
        Ok(Kind::Other(what)) => Some(Problem::new(key, not_a_directory(path, what))),
        Ok(Kind::LinkTo(target)) => Some(Problem::new(key, dangling(path, &target))),
        Ok(Kind::Missing) => {
            let usual =
                || format!("mount its disk, or, as root, create it with {}", way_to_make(path, "700"));
            let advice = option_for(config, path, "--spool DIR").unwrap_or_else(usual);
            missing_name(key, "the spool", path, Some((path, advice)))
        }
        Err(error) => Some(unseen(key, path, &error, option_for(config, path, "--spool DIR"))),
    }
}

/// Whether the disk of a spool is full or read-only.
pub fn takes_no_mail(spool: &Spool) -> bool {
    spool.room().is_ok_and(|room| room.octets() < Room::LEAST)
}

/// The warning about a disk without room for mail.
fn full_disk(spool: &Spool) -> Option<Problem> {
    let why = || format!("the disk of {} is full, so no mail arrives: make room", spool.path().display());
    takes_no_mail(spool).then(|| Problem { is_warning: true, ..Problem::new(SPOOL, why()) })
}

/// Whether owners and modes keep the server's user from writing to the spool. An empty directory may be a mount point.
pub fn spool_rights(path: &Path) -> Option<Problem> {
    is_denied(path, ALL).then(|| {
        if let Some(closed) = closed_directory(path) {
            let advice = format!("{} is in it; {}", path.display(), way_into(closed));
            return Problem::closed(SPOOL, path, no_permission(closed, "the spool", &advice));
        }
        let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        let advice = if is_empty { MOUNT } else { "" }.to_owned()
            + &advice_for_rights(path, "chown -R", ANOTHER_SPOOL);
        Problem::closed(SPOOL, path, no_permission(path, "the spool", &advice))
    })
}

/// The advice to a user of `restante dev` who is not root, and does not own the place: another one is all they can choose.
fn option_for(config: &Config, place: &Path, option: &str) -> Option<String> {
    let is_theirs = config.development.is_some() && !Uid::effective().is_root() && !is_own(place);
    is_theirs.then(|| format!("choose another directory with {option}"))
}

/// A file that the server reads again when it changes.
fn read_again(key: &str, path: &Path) -> Option<Problem> {
    let what = match key {
        "accounts" => "the accounts",
        "aliases" => "the aliases",
        "tls.certificate" => "the certificate",
        _ => "its key",
    };
    is_denied(path, Access::READ_OK).then(|| {
        if path.is_dir() {
            let why = format!("{} is a directory: name the file in it ({what})", path.display());
            return Problem::new(key, why);
        }
        let (name, group) = (user_name(), group_name());
        if let Some(directory) = closed_directory(path) {
            let advice = format!("{} is in it; {}", path.display(), way_into(directory));
            return Problem::closed(key, path, no_permission(directory, what, &advice));
        }
        if is_own(path) {
            let advice = format!("let its owner read it with `chmod u+r {}`", path_word(path));
            return Problem::closed(key, path, no_permission(path, what, &advice));
        }
        let advice = format!(
            "it is read again when it changes; run `chgrp {group} {0}` and `chmod g+r {0}`, or `setfacl -m u:{name}:r \
             {0}`, and the same with x for the directories above it",
            path_word(path)
        );
        Problem::closed(key, path, no_permission(path, what, &advice))
    })
}

/// Whether the certificate and its key can be read again.
pub fn certificate(config: &Config) -> impl Iterator<Item = Problem> {
    let files = |pair: &CertificatePair| [pair.certificate.clone(), pair.key.clone()];
    let files = config.tls.as_ref().map(files).into_iter().flatten();
    CERTIFICATE_KEYS.iter().zip(files).filter_map(|(key, path)| read_again(key, &path))
}

/// The keys of the certificate and of its private key.
pub const CERTIFICATE_KEYS: [&str; 2] = ["tls.certificate", "tls.key"];

/// Whether the configuration file itself can be read again, as [`problems`] reports it.
pub fn configuration(path: &Path) -> Option<Problem> {
    read_again("", path).map(|problem| Problem {
        why: problem.why.replacen("(its key)", "(the configuration)", 1),
        ..problem
    })
}

/// The directory of transcripts, which the server makes if only that one is missing.
fn transcripts(config: &Config, path: &Path) -> Option<Problem> {
    let key = "transcripts";
    let option = option_for(config, path, "--transcripts=DIR");
    match kind(path) {
        Ok(Kind::Directory) => match Directory::trusted_if_root(path) {
            Err(error) => Some(Problem::denied(key, error.to_string())),
            Ok(_) => match access(path, ALL) {
                Err(Errno::ROFS) => Some(Problem {
                    is_warning: true,
                    ..Problem::new(key, format!("{} is read-only: no transcript is written", path.display()))
                }),
                Err(Errno::ACCESS | Errno::PERM) => {
                    let advice = option.unwrap_or_else(|| advice_for_rights(path, "chown", ANOTHER_PLACE));
                    Some(Problem::closed(key, path, no_permission(path, "transcripts", &advice)))
                }
                _ => None,
            },
        },
        Ok(Kind::Other(what)) => Some(Problem::new(key, not_a_directory(path, what))),
        Ok(Kind::LinkTo(target)) => Some(Problem::new(key, dangling(path, &target))),
        Ok(Kind::Missing) => missing_name(key, "transcripts", path, option.map(|advice| (path, advice))),
        Err(error) => Some(unseen(key, path, &error, option)),
    }
}

fn log_file(path: &Path) -> Option<Problem> {
    let key = "log.destination";
    if path.symlink_metadata().is_err() {
        return missing_name(key, "the log", path, None).or_else(|| log_place::untrusted(path));
    }
    let error = logging::check_file(path).err()?;
    let why = format!("cannot log to {}: {error}", path.display());
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Some(Problem::new(key, why));
    }
    if let Some(problem) = log_place::untrusted(path) {
        return Some(problem);
    }
    let advice = if is_own(path) {
        format!("let its owner write to it with `chmod u+rw {}`", path_word(path))
    } else {
        advice_with(&chown("chown", path), path, ANOTHER_PLACE)
    };
    Some(Problem::closed(key, path, format!("{why}: {advice}")))
}

/// The server runs without its log, and waits for the daemon.
fn syslog(path: &Path) -> Option<Problem> {
    if let Some(closed) = closed_directory(path) {
        let why =
            format!("no permission for {}, so the log goes nowhere: {}", closed.display(), way_into(closed));
        return Some(Problem { is_warning: true, ..Problem::closed("log.destination", path, why) });
    }
    let is_missing = fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let question =
        did_you_mean(path, |meant| meant.metadata().is_ok_and(|about| about.file_type().is_socket()));
    is_missing.then(|| Problem {
        is_warning: true,
        ..Problem::new(
            "log.destination",
            format!(
                "there is no socket {}, so the log goes nowhere: {}start a syslog daemon, or set destination = \"stderr\" \
                 (the journal under systemd)",
                path.display(),
                question.map(|question| format!("{question} Otherwise ")).unwrap_or_default()
            ),
        )
    })
}

/// The server runs without its metrics.
fn metrics(path: &Path) -> Option<Problem> {
    let problem = replaced_file(METRICS, "the metrics", path, None);
    problem.map(|problem| Problem { is_warning: true, ..problem })
}

/// The file for the addresses of a server that starts.
pub fn ports_file(config: &Config, path: &Path) -> Option<Problem> {
    let above = safe_file::parent(path);
    let advice = option_for(config, above, "--ports-file FILE").map(|advice| (above, advice));
    replaced_file("", "the addresses", path, advice)
}

/// A file that is written anew by renaming, in a directory that no other user can misuse. `advice` is as for [`missing_name`].
fn replaced_file(key: &str, what: &str, path: &Path, advice: Option<(&Path, String)>) -> Option<Problem> {
    if matches!(kind(path), Ok(Kind::Directory)) {
        let why = format!("{} is a directory, the name of a file is needed", path.display());
        return Some(Problem::new(key, why));
    }
    missing_name(key, what, path, advice).or_else(|| {
        let error = Directory::trusted_if_root(safe_file::parent(path)).err()?;
        Some(Problem::denied(key, error.to_string()))
    })
}

/// A name that is made or replaced: the directory has to be there and writable. `advice` is for a directory that is
/// not writable, with the place that it is for.
fn missing_name(key: &str, what: &str, path: &Path, advice: Option<(&Path, String)>) -> Option<Problem> {
    let above = safe_file::parent(path);
    match kind(above) {
        Ok(Kind::Directory) => match access(above, Access::WRITE_OK | Access::EXEC_OK) {
            Err(Errno::ROFS) => {
                let why = format!("cannot make {}: {} is read-only", path.display(), above.display());
                Some(Problem::new(key, why))
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                let usual = || {
                    let command = match key {
                        // Others read the metrics.
                        METRICS => way_to_make(above, "755"),
                        _ => chown("chown", above),
                    };
                    (above, of_its_own(above).unwrap_or_else(|| advice_with(&command, above, ANOTHER_PLACE)))
                };
                let (place, advice) = advice.unwrap_or_else(usual);
                Some(Problem::closed(key, path, no_permission(place, what, &advice)))
            }
            _ => None,
        },
        Ok(Kind::Other(found)) => Some(Problem::new(key, not_a_directory(above, found))),
        Ok(Kind::LinkTo(target)) => Some(Problem::new(key, dangling(above, &target))),
        Ok(Kind::Missing) => {
            Some(Problem::new(key, no_directory_yet(above, if key == SPOOL { MOUNT } else { "" })))
        }
        Err(error) => Some(unseen(key, above, &error, advice.map(|(_, advice)| advice))),
    }
}

/// The problem of a path that cannot be looked at, as below a directory that is closed to this user. `option` is the advice in
/// the place of the command that opens it.
fn unseen(key: &str, path: &Path, error: &io::Error, option: Option<String>) -> Problem {
    let why = format!("{}: {error}", path.display());
    match closed_directory(path) {
        Some(closed) => {
            let advice = option.unwrap_or_else(|| way_into(closed));
            Problem::closed(
                key,
                path,
                format!("{why}: {} is closed to the server's user: {advice}", closed.display()),
            )
        }
        None => Problem::new(key, why),
    }
}

/// The kind of thing at the end of a path, links followed.
enum Kind {
    Directory,
    /// Something else, by its name.
    Other(&'static str),
    /// A link that leads nowhere, with its target.
    LinkTo(PathBuf),
    Missing,
}

fn kind(path: &Path) -> io::Result<Kind> {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => Ok(Kind::Directory),
        Ok(about) if about.is_file() => Ok(Kind::Other("a file")),
        Ok(_) => Ok(Kind::Other("a device, a FIFO or a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(fs::read_link(path).map_or(Kind::Missing, Kind::LinkTo))
        }
        // A part of the path is a file.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Kind::Missing),
        Err(error) => Err(error),
    }
}

/// The sentence for a directory that is missing.
pub fn no_directory(path: &Path) -> String {
    no_directory_yet(path, "")
}

/// The same, with a remedy that comes before the other one.
fn no_directory_yet(path: &Path, first: &str) -> String {
    let question = did_you_mean(path, Path::is_dir);
    let advice =
        question.map_or_else(|| "make it".to_owned(), |question| format!("{question} Otherwise make it"));
    format!("there is no directory {}: {first}{advice} with {}", path.display(), way_to_make_parents(path))
}

/// The command that makes a directory for the server. If its user is not root, root types the command, and the directory is
/// that user's all the same.
fn way_to_make_parents(path: &Path) -> String {
    if Uid::effective().is_root() {
        return format!("`mkdir -p {}`", path_word(path));
    }
    way_to_make(path, "755")
}

fn not_a_directory(path: &Path, found: &str) -> String {
    format!("{} is {found}, a directory is needed: name another place, or move it away", path.display())
}

fn dangling(path: &Path, target: &Path) -> String {
    let target = safe_file::parent(path).join(target);
    format!(
        "{} is a link to {}, which is not there: make it with {}",
        path.display(),
        target.display(),
        way_to_make_parents(&target)
    )
}

fn no_permission(path: &Path, what: &str, advice: &str) -> String {
    format!("the server's user has no permission for {} ({what}): {advice}", path.display())
}

/// The command that gives the present user all rights on a directory. Its owner lacks only the mode; to any other user
/// `chown` gives it, unless that would take it from a person or from a server that runs: then the advice is `instead`.
fn advice_for_rights(path: &Path, command: &str, instead: &str) -> String {
    advice_with(&chown(command, path), path, instead)
}

fn chown(command: &str, path: &Path) -> String {
    format!("`{command} {}: {}`", user_name(), path_word(path))
}

/// The same, with that command to change the owner.
fn advice_with(command: &str, path: &Path, instead: &str) -> String {
    if is_own(path) {
        return format!("let its owner in with `chmod u+rwx {}`", path_word(path));
    }
    if let Some(holder) = holder(path) {
        return format!("{holder}: {instead}{}", advice_to_hand_over(lock_holder(path), command));
    }
    format!("as root, change its owner with {command}")
}

/// The person whose directory it is, or the server of another user that has it: both keep it.
fn holder(path: &Path) -> Option<String> {
    let about = fs::metadata(path).ok()?;
    holder_words(about.uid(), lock_holder(path))
}

/// The same for a directory of that owner, in which the server of that user runs.
fn holder_words(owner: u32, server: Option<Uid>) -> Option<String> {
    match server {
        // The place was taken from the server that the advice is for.
        Some(user) if user == Uid::effective() => None,
        _ if PEOPLE.contains(&owner) => Some(format!("it is {}'s", name_of(Uid::from_raw(owner)))),
        Some(user) => Some(server_words(user)),
        None => None,
    }
}

const METRICS: &str = "metrics.file";
const SPOOL: &str = "spool";
const MOUNT: &str = "mount its disk if it is on one, otherwise ";
/// The users of people, as useradd(8) numbers them; those below are of services, and 65534 is nobody.
const PEOPLE: RangeInclusive<u32> = 1000..=60000;
const ANOTHER_SPOOL: &str =
    "work in a directory of your own, or name another spool, with --spool or as `spool` in the configuration";
const ANOTHER_PLACE: &str = "name a place of your own";

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::chown, time::Duration};

    use super::*;
    use crate::maildir::lock::LockMode;

    #[test]
    fn h13_the_owner_of_a_directory_is_told_its_mode_and_others_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path();
        let word = path_word(path);
        assert_eq!(
            advice_for_rights(path, "chown -R", ANOTHER_SPOOL),
            format!("let its owner in with `chmod u+rwx {word}`")
        );
        if Uid::effective().is_root() {
            chown(path, Some(65534), None).unwrap();
            let told = advice_for_rights(path, "chown -R", ANOTHER_SPOOL);
            assert_eq!(told, format!("as root, change its owner with `chown -R root: {word}`"));
        }
    }

    #[test]
    fn h22_a_directory_of_a_person_or_of_a_server_that_runs_is_not_taken_away() {
        if !Uid::effective().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let path = home.path();
        chown(path, Some(1234), None).unwrap();
        let told = advice_for_rights(path, "chown -R", ANOTHER_SPOOL);
        assert!(told.starts_with("it is 1234's: work in a directory of your own"), "{told}");
        chown(path, Some(PEOPLE.start() - 1), None).unwrap();
        assert!(advice_for_rights(path, "chown -R", ANOTHER_SPOOL).contains("chown -R root:"));
        let spool = Spool::open(path).unwrap();
        let lock = spool.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
        // The server of the user that the advice is for gets it back.
        assert!(advice_for_rights(path, "chown -R", ANOTHER_SPOOL).contains("chown -R root:"));
        drop(lock);
        let other = Uid::from_raw(65534);
        assert_eq!(holder_words(0, Some(other)), Some(server_words(other)));
        assert_eq!(server_words(other), format!("a server of the user {:?} has it", name_of(other)));
        assert_eq!(holder_words(0, None), None);
    }

    #[test]
    fn h23_a_closed_directory_is_named_instead_of_the_file_in_it() {
        use std::os::unix::fs::PermissionsExt;
        if Uid::effective().is_root() {
            return; // no mode keeps root out
        }
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("tls");
        fs::create_dir_all(directory.join("below")).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o600)).unwrap();
        let told = read_again("tls.key", &directory.join("below/key.pem")).map(|problem| problem.why);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let told = told.unwrap();
        assert!(told.contains(&format!("chmod u+x {}`", path_word(&directory))), "{told}");
    }
}
