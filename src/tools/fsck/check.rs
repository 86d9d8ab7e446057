//! The check: one pass through each directory, without writing.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, SystemTime},
};

use nix::unistd::Uid;
use rustix::{
    fs::{self, AtFlags, FileType, Mode, Stat},
    io::Errno,
    process::geteuid,
};

use super::{
    compression::Compression,
    finding::{Dir, FileRef, Finding, Repair, Report, shown},
    mailbox::Mailbox,
    misplaced::{advice_for_nested, misplaced_in_mailbox},
    name_check,
    problem::Problem,
    unshown::unshown_in,
};
use crate::{
    file_rights::{self, ForeignPlace},
    limits::way_to_list,
    maildir::{
        Error, Kind, Subdir,
        index_file::{self, Condition},
        message::OPEN_FLAGS,
        name, tmp_cleanup,
    },
    printable,
    tools::measure::Measure,
};

/// The rules of a check.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The time of the check.
    pub now: SystemTime,
    /// The age beyond which a file in `tmp/` is stale.
    pub tmp_age: Duration,
    /// Bytes of the largest file that the server lists. The check reads no larger one.
    pub max_listed: u64,
    /// Called after each piece of a message, with its path and the octets so far.
    pub progress: &'a dyn Fn(&Path, u64),
}

impl Mailbox {
    /// Checks the whole mailbox.
    pub(crate) fn check(&self, rules: &Rules<'_>) -> Result<Report, Error> {
        let mut checker = Checker {
            mailbox: self,
            rules: *rules,
            report: Report::default(),
            identities: BTreeMap::new(),
            compressed: BTreeMap::new(),
            is_foreign: false,
        };
        let root = fs::fstat(&self.root).map_err(|e| Error::at(&self.path, "stat", e))?;
        checker.is_foreign = checker.check_owner(c".");
        checker.check_permissions(Dir::Root, c".", &root);
        checker.check_mounts();
        checker.check_index();
        checker.check_folder_files();
        checker.check_folders()?;
        for dir in Dir::PARTS {
            checker.check_directory(dir)?;
        }
        checker.check_duplicates();
        Ok(checker.report)
    }
}

pub(super) struct Checker<'a> {
    pub(super) mailbox: &'a Mailbox,
    rules: Rules<'a>,
    report: Report,
    /// Directory, name and inode of the messages by identity.
    identities: BTreeMap<Vec<u8>, Vec<(Dir, CString, u64)>>,
    /// Numbers of compressed messages in the directory in hand. Dovecot compresses all, so each is no finding of its own.
    compressed: BTreeMap<&'static Compression, u64>,
    /// Whether the directory in hand has to get another owner, with all that is in it, before anything there can change.
    is_foreign: bool,
}

impl Checker<'_> {
    pub(super) fn report(
        &mut self,
        (dir, name, inode): (Dir, &CStr, u64),
        problem: Problem,
        detail: String,
        repair: Repair,
    ) {
        let path = self.mailbox.path_of(dir, name.to_bytes());
        let file = FileRef { dir, name: name.to_owned(), inode };
        let repair = match repair {
            Repair::Rename(_) | Repair::Remove | Repair::MakeDirectory if self.is_foreign => {
                Repair::Manual("change the owner of its directory first".into())
            }
            repair => repair,
        };
        self.report.findings.push(Finding { path, problem, detail, repair, file });
    }

    /// Checks that this user may write to a directory of another user. Returns whether that directory, or one above it, has
    /// to get another owner. The topmost is reported, because its remedy is for all that is in it.
    fn check_owner(&mut self, name: &CStr) -> bool {
        let path = self.mailbox.path_of(Dir::Root, name.to_bytes());
        let place = ForeignPlace::of(&path);
        self.report.findings.extend(place.iter().map(|place| Finding::foreign(&path, place)));
        place.is_some()
    }

    /// Checks that the mailbox's owner owns the file and may use it, and that not every user may.
    fn check_permissions(&mut self, dir: Dir, name: &CStr, stat: &Stat) {
        let file = (dir, name, stat.st_ino);
        let uid = self.mailbox.owner;
        if stat.st_uid != uid && !self.is_foreign {
            let detail = format!("its owner is user {}, the mailbox's is user {uid}", stat.st_uid);
            let path = self.mailbox.path_of(dir, name.to_bytes());
            let advice = file_rights::advice_to_own(&path, &file_rights::name_of(Uid::from_raw(uid)));
            self.report(file, Problem::ForeignOwner, detail, Repair::Manual(advice.into()));
        }
        let mode = stat.st_mode & 0o7777;
        let (needed, what) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => (0o700, "rwx"),
            _ => (0o600, "rw"),
        };
        if mode & 0o007 == 0 && mode & needed == needed {
            return;
        }
        // Another user's file may be a hard link that the mailbox's owner made here.
        let me = geteuid();
        let repair = if stat.st_uid == uid && (me.is_root() || me.as_raw() == uid) {
            Repair::Mode((mode | needed) & !0o007)
        } else if self.is_foreign || stat.st_uid != uid {
            self.report.foreign_modes += 1;
            return;
        } else {
            Repair::Manual("check its owner first".into())
        };
        if mode & 0o007 != 0 {
            let detail = format!("mode {mode:04o} gives access to every user");
            self.report(file, Problem::OpenToOthers, detail, repair.clone());
        }
        if mode & needed != needed {
            let detail = format!("mode {mode:04o} does not give its owner {what}");
            self.report(file, Problem::ClosedToOwner, detail, repair);
        }
    }

    /// Finds mounts that keep mail out of a spool that is writable.
    fn check_mounts(&mut self) {
        let mailbox = self.mailbox;
        let parts = [c".", c"tmp", c"new", c"cur"];
        for part in parts {
            let place = mailbox.path_of(Dir::Root, part.to_bytes());
            let above = place.parent().unwrap_or(&place);
            if file_rights::read_only_below(&place, above).is_some() {
                let detail = "it is mounted read-only, so mail for it is refused".into();
                let advice = Repair::Manual(file_rights::advice_to_mount(&place).into());
                self.report((Dir::Root, part, 0), Problem::ReadOnly, detail, advice);
            }
        }
    }

    fn check_index(&mut self) {
        let mailbox = self.mailbox;
        let name = CString::new(index_file::FILE).unwrap_or_default();
        let inode = fs::statat(&mailbox.root, &name, AtFlags::SYMLINK_NOFOLLOW).map_or(0, |stat| stat.st_ino);
        let file = (Dir::Root, &*name, inode);
        match index_file::examine(&mailbox.root, &mailbox.path) {
            Ok(Condition { broken: 0, .. }) => {}
            Ok(Condition { parts, broken, has_uids }) => {
                let detail = format!("{broken} of {parts} parts are torn or foreign");
                let repair = if has_uids {
                    let advice = "nothing to do: the server mends it when a client next opens the folder";
                    Repair::Manual(advice.into())
                } else {
                    Repair::Remove
                };
                self.report(file, Problem::CorruptIndex, detail, repair);
            }
            Err(error) if error.kind() == Kind::Gone => {}
            Err(error) => {
                let advice = "move it away: clients of IMAP then download the folder again".into();
                self.report(file, Problem::CorruptIndex, error.to_string(), Repair::Manual(advice));
            }
        }
    }

    /// Finds directories beside `tmp/`, `new/` and `cur/` that look like folders but cannot be. Files there
    /// belong to other programs.
    fn check_folders(&mut self) -> Result<(), Error> {
        let mailbox = self.mailbox;
        let failed = |e| Error::at(&mailbox.path, "read directory", e);
        let in_folder = mailbox.is_folder();
        if !in_folder {
            self.report.findings.extend(unshown_in(&mailbox.path));
        }
        for entry in fs::Dir::read_from(&mailbox.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Ok(stat) = fs::statat(&mailbox.root, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            self.check_own_file(name, &stat);
            let is_ours = matches!(name.to_bytes(), b"." | b".." | b"tmp" | b"new" | b"cur");
            let dotted = name.to_bytes().starts_with(b".");
            // A Maildir in it is a nested folder.
            if !is_ours && !dotted && !self.is_foreign && !self.is_maildir(name) {
                let path = mailbox.path_of(Dir::Root, name.to_bytes());
                self.report.findings.extend(misplaced_in_mailbox(&path, &mailbox.path, in_folder));
            }
            if is_ours || FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            if self.is_maildir(name) && (in_folder || !dotted) {
                let file = (Dir::Root, name, stat.st_ino);
                let detail = "a folder must be a directory of the mailbox itself, like .Archive.2026".into();
                let advice =
                    advice_for_nested(&mailbox.path_of(Dir::Root, name.to_bytes()), &mailbox.path, in_folder);
                self.report(file, Problem::NestedFolder, detail, Repair::Manual(advice.into()));
            }
        }
        Ok(())
    }

    /// Whether a directory in it has a part of a Maildir.
    fn is_maildir(&self, name: &CStr) -> bool {
        ["cur", "new"].iter().any(|part| {
            let path = [name.to_bytes(), b"/", part.as_bytes()].concat();
            fs::statat(&self.mailbox.root, &*path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        })
    }

    /// Checks a file of the server beside the messages. If the server cannot open it, nobody can read the mailbox.
    fn check_own_file(&mut self, name: &CStr, stat: &Stat) {
        if !name.to_bytes().starts_with(OWN_FILES) || name.to_bytes() == index_file::FILE.as_bytes() {
            return;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            self.check_permissions(Dir::Root, name, stat);
        } else {
            let detail = format!("it is a {}, and the server keeps a file under this name", kind(stat));
            let advice = Repair::Manual("move it away: the server makes the file again".into());
            self.report((Dir::Root, name, stat.st_ino), Problem::NotAFile, detail, advice);
        }
    }

    fn check_directory(&mut self, dir: Dir) -> Result<(), Error> {
        let mailbox = self.mailbox;
        let c_name = CString::new(dir.name()).unwrap_or_default();
        let stat = match fs::statat(&mailbox.root, &c_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                let detail = format!("there is no {}/", dir.name());
                self.report(
                    (Dir::Root, &c_name, 0),
                    Problem::MissingDirectory,
                    detail,
                    Repair::MakeDirectory,
                );
                return Ok(());
            }
            Err(error) => return Err(Error::at(mailbox.path_of(dir, b"."), "stat", error)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let detail = format!("it is a {}", kind(&stat));
            let repair = Repair::Manual("put a directory in its place".into());
            self.report((Dir::Root, &c_name, stat.st_ino), Problem::NotADirectory, detail, repair);
            return Ok(());
        }
        let is_below_foreign = self.is_foreign;
        self.is_foreign = is_below_foreign || self.check_owner(&c_name);
        let checked = self.check_entries(dir, &c_name, &stat);
        self.is_foreign = is_below_foreign;
        checked
    }

    fn check_entries(&mut self, dir: Dir, name: &CStr, stat: &Stat) -> Result<(), Error> {
        let mailbox = self.mailbox;
        self.check_permissions(Dir::Root, name, stat);
        let Some(fd) = mailbox.dir(dir) else {
            return Ok(()); // not readable: that is reported
        };
        let failed = |e| Error::at(mailbox.path_of(dir, b"."), "read directory", e);
        for entry in fs::Dir::read_from(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // An entry that no longer exists was renamed or deleted meanwhile.
            if let Ok(stat) = fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                self.check_entry(dir, name, &stat);
            }
        }
        for (compression, messages) in std::mem::take(&mut self.compressed) {
            let advice = compression.advice(&mailbox.path_of(dir, b"."));
            let repair = Repair::Manual(advice.into());
            let detail = compression.detail(messages);
            self.report((Dir::Root, name, stat.st_ino), Problem::Compressed, detail, repair);
        }
        Ok(())
    }

    fn check_entry(&mut self, dir: Dir, name: &CStr, stat: &Stat) {
        let file = (dir, name, stat.st_ino);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let detail = format!("it is a {}", kind(stat));
            self.report(file, Problem::NotAFile, detail, Repair::Manual("move it out of the mailbox".into()));
            return;
        }
        if dir == Dir::Tmp {
            if tmp_cleanup::is_stale(stat, self.rules.now, self.rules.tmp_age) {
                let hours = printable::counted(self.rules.tmp_age.as_secs() / 3600, "hour");
                let detail = format!("it was not written to for {hours}");
                self.report(file, Problem::StaleTmp, detail, Repair::Remove);
            }
            return;
        }
        if name.to_bytes().starts_with(b".") {
            let advice = "if it is mail, rename it without the dot";
            self.report(
                file,
                Problem::HiddenFile,
                "its name begins with a dot".into(),
                Repair::Manual(advice.into()),
            );
            return;
        }
        self.report.messages += 1;
        self.check_permissions(dir, name, stat);
        let identity = name::identity(name.to_bytes()).to_vec();
        self.identities.entry(identity).or_default().push((dir, name.to_owned(), stat.st_ino));
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        if bytes > self.rules.max_listed {
            let (size, limit) = (printable::size(bytes), printable::size(self.rules.max_listed));
            let detail = format!("it has {size}, and the server lists messages of {limit} at most");
            self.report(file, Problem::TooLarge, detail, Repair::Manual(way_to_list(bytes).into()));
            return;
        }
        match self.measure(dir, name) {
            Ok(measure) => self.check_message(file, measure.as_ref()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if self.is_foreign && error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => {
                let repair = Repair::Manual("check its permissions and the disk".into());
                self.report(file, Problem::Unreadable, error.to_string(), repair);
            }
        }
    }

    /// Checks a message. It has no measure if it is compressed.
    fn check_message(&mut self, file: (Dir, &CStr, u64), measure: Option<&Measure>) {
        if measure.is_some_and(|measure| measure.bytes == 0) {
            let advice = Repair::Manual("look for it in a backup, then remove it".into());
            self.report(file, Problem::EmptyFile, "it has 0 octets".into(), advice);
        }
        let place = if file.0 == Dir::New { Subdir::New } else { Subdir::Cur };
        let (problems, right) = name_check::check(place, file.1.to_bytes(), measure);
        for (problem, detail) in problems {
            let repair = match problem {
                Problem::WrongNameSize | Problem::WrongNameWireSize => Repair::Rename(right.clone()),
                Problem::UnsortedFlags if name::flags(&right).is_sorted_by(|a, b| a < b) => {
                    Repair::Rename(right.clone())
                }
                Problem::FlagsInNew => {
                    Repair::Manual("nothing to do: a mail reader will move it to cur/".into())
                }
                _ => Repair::Manual("rename it while no program has the mailbox open".into()),
            };
            self.report(file, problem, detail, repair);
        }
    }

    /// Measures a message. `None` if it is compressed, which is counted.
    fn measure(&mut self, dir: Dir, name: &CStr) -> io::Result<Option<Measure>> {
        let fd = self.mailbox.dir(dir).ok_or(Errno::NOENT)?;
        let file = File::from(fs::openat(fd, name, OPEN_FLAGS, Mode::empty())?);
        let mut first = [0; Compression::MARK];
        let length = file.read_at(&mut first, 0)?;
        if let Some(compression) = Compression::of(&first[..length]) {
            *self.compressed.entry(compression).or_default() += 1;
            return Ok(None);
        }
        let path = self.mailbox.path_of(dir, name.to_bytes());
        let told = |octets| (self.rules.progress)(&path, octets);
        Measure::of(WatchedRead { file, octets: 0, told: &told }).map(Some)
    }

    /// Reports messages with the same identity. A file renamed during the pass may be listed twice, so both
    /// names are checked again.
    fn check_duplicates(&mut self) {
        for (identity, mut files) in std::mem::take(&mut self.identities) {
            if files.len() > 1 {
                files.retain(|(dir, name, inode)| {
                    let there = self.mailbox.dir(*dir);
                    let stat = there.map(|fd| fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW));
                    matches!(stat, Some(Ok(stat)) if stat.st_ino == *inode)
                });
            }
            let Some(((first, first_name, first_inode), others)) = files.split_first() else { continue };
            for (dir, name, inode) in others {
                let other = format!("{}/{}", first.name(), shown(first_name.to_bytes()));
                let (detail, advice) = if inode == first_inode {
                    (format!("the same file as {other}"), "remove one of the two names")
                } else {
                    let identity = shown(&identity);
                    (
                        format!("{other} has the identity {identity} too"),
                        "compare the two; remove one, or give it a new name",
                    )
                };
                self.report(
                    (*dir, name, *inode),
                    Problem::DuplicateIdentity,
                    detail,
                    Repair::Manual(advice.into()),
                );
            }
        }
    }
}

/// A file whose reading takes long if it is large.
struct WatchedRead<'a> {
    file: File,
    octets: u64,
    told: &'a dyn Fn(u64),
}

impl Read for WatchedRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.octets += length as u64;
        (self.told)(self.octets);
        Ok(length)
    }
}

/// The beginning of the names of the server's own files in a mailbox.
const OWN_FILES: &[u8] = b".restante.";

fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::RegularFile => "file",
        FileType::Unknown => "file of an unknown kind",
    }
}
