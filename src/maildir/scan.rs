//! Reads the contents of a mailbox: a full scan of `new/` and `cur/`, or a recheck of single names.

use std::{collections::HashMap, ffi::CStr, path::Path, time::SystemTime};

use rustix::{
    fs::{self, Access, AtFlags, Dir, FileType, Mode, RawDir, Stat},
    io::Errno,
    process::geteuid,
};

use super::{
    Change, Error, FileVersion, Maildir, MessageEntry, Subdir,
    batch::{self, Examine, Examined, NameBatch, SizeSource, needs_access_check},
    entry::DirState,
    index_file::KeptTimes,
    name, remote_fs,
    size_cache::SizeCache,
    size_counter::{CountSlice, Counted},
};
use crate::{
    file_rights::{advice_to_open_file, advice_to_own_file},
    local_fs::is_local,
};

/// The last changes of `new/` and `cur/`: seconds and nanoseconds.
pub type DirTimes = [(i64, u32); 2];

/// Whether a directory changed so shortly before `now` that a further change might bear the same time.
pub fn is_racy(times: &DirTimes, now: SystemTime) -> bool {
    times.iter().any(|(seconds, _)| *seconds >= young_since(now))
}

/// The second since which a change might have the same time as one after `now`.
fn young_since(now: SystemTime) -> i64 {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(RACY_SECS)
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Scan {
    /// The messages, in no order.
    pub messages: Vec<MessageEntry>,
    /// Messages that wait for their owner's mail reader to remove them (flag T), in no order.
    pub trashed: Vec<MessageEntry>,
    /// Files in `new/` and `cur/` that are not listed as messages.
    pub skipped: Vec<Skipped>,
    /// The times of the directories before the last pass: later changes may be missing.
    pub times: DirTimes,
}

/// A skipped file, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file name, with flags.
    pub name: Box<[u8]>,
    /// The directory of the file.
    pub subdir: Subdir,
    /// The reason, for the log.
    pub why: &'static str,
    /// Size of the file in bytes.
    pub bytes: u64,
}

impl Skipped {
    /// The command or setting that lets a login read the file, if there is one; `file` is its path. `way_to_list` has that for a
    /// file of so many bytes that is too large.
    pub fn advice(&self, file: &Path, way_to_list: impl Fn(u64) -> String) -> Option<String> {
        match self.why {
            UNREADABLE => Some(advice_to_own_file(file)),
            CLOSED => Some(advice_to_open_file(file)),
            TOO_LARGE => Some(way_to_list(self.bytes)),
            _ => None,
        }
    }
}

/// A name to be looked at.
#[derive(Debug, Clone)]
pub struct Recheck {
    /// The directory of the name.
    pub subdir: Subdir,
    /// The file name, which may no longer exist.
    pub name: Box<[u8]>,
    /// The known files of the identity, perhaps under another name: they need not be counted again.
    pub known: Vec<(FileVersion, u64)>,
}

/// Scans a mailbox. An unreadable directory is an error, because a mailbox must not look empty after a failed read.
///
/// A pass through the directories may see a file twice or not at all if another program renames it meanwhile. So the
/// scan begins another pass if the directories changed during one. If the last pass misses a message from `known` or
/// from an earlier pass, the scan searches for that message by its identity.
///
/// Returns `None` if the turn ended before everything was counted. The turn keeps the counts for the next one.
pub fn scan<'a>(
    maildir: &Maildir,
    known: impl IntoIterator<Item = &'a MessageEntry>,
    turn: &mut CountSlice,
) -> Result<Option<Scan>, Error> {
    scan_with_sizes(maildir, (SizeCache::load(maildir), None), known, turn)
}

/// The same, with the sizes that are known. If the file system's clock is known for the time when it `began`, the next scan
/// may leave out the look at the files that it finds. Otherwise the file of the folder is not written anew.
pub fn scan_with_sizes<'a>(
    maildir: &Maildir,
    (mut sizes, began): (SizeCache, Option<SystemTime>),
    known: impl IntoIterator<Item = &'a MessageEntry>,
    turn: &mut CountSlice,
) -> Result<Option<Scan>, Error> {
    sizes.preload(&turn.progress.counted);
    let scanned = scan_with(maildir, known, &mut sizes, turn);
    let (live, times): (Option<Vec<FileVersion>>, _) = match &scanned {
        Ok(Some((scan, dirs))) if began.is_some() => {
            let live = scan.messages.iter().map(|found| found.version).collect();
            (Some(live), dirs.zip(began).and_then(|(dirs, began)| kept_times(maildir, dirs, began)))
        }
        _ => (None, None),
    };
    turn.progress.counted.extend_from_slice(sizes.new_entries());
    sizes.save_with(maildir, live.as_deref(), times);
    Ok(scanned?.map(|(mut scan, _)| {
        scan.trashed = scan.messages.extract_if(.., |found| name::is_trashed(&found.name)).collect();
        scan
    }))
}

/// The state of the directories, unless they changed so shortly before that a later change might leave the same one. Only file
/// systems of this machine have numbers of inodes that stay.
pub(super) fn kept_times(maildir: &Maildir, dirs: [DirState; 2], began: SystemTime) -> Option<KeptTimes> {
    if !Subdir::ALL.into_iter().all(|subdir| is_local(maildir.dir(subdir))) {
        return None;
    }
    let at_rest_before = young_since(began);
    (!is_racy(&dirs.map(|dir| dir.changed), began)).then_some(KeptTimes { dirs, at_rest_before })
}

/// Writes down all messages of a mailbox, which were found while its directories had these times. Nothing is written if they
/// have others now.
pub fn keep<'a>(
    maildir: &Maildir,
    messages: impl Iterator<Item = &'a MessageEntry>,
    (times, began): (DirTimes, Option<SystemTime>),
) -> Result<(), Error> {
    let (now, dirs) = dir_states(maildir)?;
    let Some(kept) = began.and_then(|began| kept_times(maildir, dirs, began)).filter(|_| now == times) else {
        return Ok(());
    };
    let (mut sizes, mut live) = (SizeCache::load(maildir), Vec::new());
    for message in messages {
        live.push(message.version);
        if sizes.get(&message.version) != Some(message.octets) {
            sizes.insert_named(message.version, message.octets);
        }
    }
    sizes.save_with(maildir, Some(&live), Some(kept));
    Ok(())
}

/// The messages, and the state of the directories if it was the same before and after the last pass.
type ScanPass = (Scan, Option<[DirState; 2]>);

/// `None`: the turn is over.
fn scan_with<'a>(
    maildir: &Maildir,
    known: impl IntoIterator<Item = &'a MessageEntry>,
    sizes: &mut SizeCache,
    turn: &mut CountSlice,
) -> Result<Option<ScanPass>, Error> {
    let Some((mut scan, mut calm)) = scan_once(maildir, sizes, turn)? else { return Ok(None) };
    let mut earlier = HashMap::new();
    for _ in 1..ATTEMPTS {
        if calm.is_some() {
            break;
        }
        let Some((next, now_calm)) = scan_once(maildir, sizes, turn)? else { return Ok(None) };
        calm = now_calm;
        earlier.extend(by_file(std::mem::replace(&mut scan, next).messages));
    }
    if calm.is_none() {
        earlier.extend(by_file(known.into_iter().cloned()));
        scan.messages.iter().for_each(|found| drop(earlier.remove(&file_key(found))));
        if !find_moved(maildir, earlier, &mut scan.messages, turn)? {
            return Ok(None);
        }
    }
    Ok(Some((scan, calm)))
}

/// A message under any name: its identity, and the version of its file.
type FileKey = (Box<[u8]>, u64);

fn file_key(found: &MessageEntry) -> FileKey {
    (name::identity(&found.name).into(), found.version.inode)
}

fn by_file(found: impl IntoIterator<Item = MessageEntry>) -> impl Iterator<Item = (FileKey, MessageEntry)> {
    found.into_iter().map(|found| (file_key(&found), found))
}

/// One pass through the directories. `None`: the turn is over.
fn scan_once(
    maildir: &Maildir,
    sizes: &mut SizeCache,
    turn: &mut CountSlice,
) -> Result<Option<ScanPass>, Error> {
    loop {
        sizes.merge_new();
        sizes.clear_named();
        let (times, dirs) = dir_states(maildir)?;
        let mut scan = Scan { times, ..Scan::default() };
        let mut progress = Progress::Done;
        for subdir in Subdir::ALL {
            progress = scan_subdir(maildir, (subdir, &dirs), sizes, &mut scan, turn)?;
            if progress != Progress::Done {
                break;
            }
        }
        match progress {
            Progress::Done => {
                let calm = dir_states(maildir)? == (times, dirs);
                return Ok(Some((scan, calm.then_some(dirs))));
            }
            Progress::TurnExhausted => return Ok(None),
            Progress::Stale => sizes.distrust_times(),
        }
    }
}

/// The end of a pass through one directory.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    TurnExhausted,
    /// A file is not as it was kept, so that all files must be looked at.
    Stale,
}

/// Searches for messages that the last pass missed, under any name. Returns `false` if the turn ended before that.
fn find_moved(
    maildir: &Maildir,
    mut missing: HashMap<FileKey, MessageEntry>,
    found: &mut Vec<MessageEntry>,
    turn: &mut CountSlice,
) -> Result<bool, Error> {
    for subdir in [Subdir::ALL, Subdir::ALL].concat() {
        if missing.is_empty() {
            break;
        }
        let failed = |e: Errno| Error::at(maildir.path().join(subdir.name()), "read directory", e);
        for entry in Dir::read_from(maildir.dir(subdir)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let wanted = (name::identity(name.to_bytes()).into(), entry.ino());
            let Some(message) = missing.get(&wanted) else { continue };
            let known = |stamp| (stamp == message.version).then_some(message.octets);
            match check_name(maildir, subdir, name, known, turn)? {
                CheckedName::Message(message, _) => {
                    missing.remove(&wanted);
                    found.push(message);
                }
                CheckedName::TurnExhausted => return Ok(false),
                CheckedName::Nothing | CheckedName::Skipped(..) => {}
            }
        }
    }
    Ok(true)
}

fn scan_subdir(
    maildir: &Maildir,
    (subdir, dirs): (Subdir, &[DirState; 2]),
    sizes: &mut SizeCache,
    scan: &mut Scan,
    turn: &mut CountSlice,
) -> Result<Progress, Error> {
    let which = sizes.at_rest_before(subdir, dirs).map_or(Examine::All, Examine::NotAtRest);
    let failed = |e: Errno| Error::at(maildir.path().join(subdir.name()), "read directory", e);
    let mut buffer = batch::entry_buffer();
    let mut dir = RawDir::new(batch::open_to_list(maildir.dir(subdir)).map_err(failed)?, &mut buffer);
    let mut names = NameBatch::default();
    while names.read(&mut dir).map_err(failed)? {
        let Examined { messages, undecided, is_stale } =
            batch::examine(maildir, subdir, (&names, which), sizes, turn);
        if is_stale {
            return Ok(Progress::Stale);
        }
        for (found, source) in messages {
            match source {
                SizeSource::Counted => sizes.insert(found.version, found.octets),
                SizeSource::Name => sizes.insert_named(found.version, found.octets),
                SizeSource::Known => {}
            }
            scan.messages.push(found);
        }
        for name in undecided.into_iter().map(|at| names.name(at)) {
            match check_name(maildir, subdir, name, |stamp| sizes.get(&stamp), turn)? {
                CheckedName::Message(found, SizeSource::Counted) => {
                    sizes.insert(found.version, found.octets);
                    scan.messages.push(found);
                }
                CheckedName::Message(found, _) => scan.messages.push(found),
                CheckedName::Nothing => {}
                CheckedName::Skipped(why, bytes) => {
                    scan.skipped.push(Skipped { name: name.to_bytes().into(), subdir, why, bytes });
                }
                CheckedName::TurnExhausted => return Ok(Progress::TurnExhausted),
            }
        }
    }
    Ok(Progress::Done)
}

/// The result of a recheck: present and missing names, and skipped files.
type RecheckOutcome = (Vec<Change>, Vec<Skipped>);

/// Rechecks names for which events came, also those of messages with the flag T. Returns `None` if the turn ended before that; a full scan uses its counts.
pub fn recheck(
    maildir: &Maildir,
    rechecks: &[Recheck],
    turn: &mut CountSlice,
) -> Result<Option<RecheckOutcome>, Error> {
    let (mut changes, mut skipped, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    let mut over = false;
    let mut sizes = None;
    for Recheck { subdir, name, known } in rechecks {
        let (subdir, name) = (*subdir, name.clone());
        let c_name = super::message::c_string(name.to_vec());
        // If an identity has many files, only some of them are known.
        let known = |stamp: FileVersion| match known.iter().find(|(other, _)| *other == stamp) {
            Some((_, octets)) => Some(*octets),
            None if known.len() < MAX_KNOWN => None,
            None => sizes.get_or_insert_with(|| SizeCache::load(maildir)).get(&stamp),
        };
        changes.push(match check_name(maildir, subdir, &c_name, known, turn)? {
            CheckedName::Message(found, source) => {
                if source == SizeSource::Counted {
                    counted.push((found.version, found.octets));
                }
                Change::Present(found)
            }
            CheckedName::Nothing => Change::Absent { subdir, name },
            CheckedName::Skipped(why, bytes) => {
                skipped.push(Skipped { name: name.clone(), subdir, why, bytes });
                Change::Absent { subdir, name }
            }
            CheckedName::TurnExhausted => {
                over = true;
                break;
            }
        });
    }
    if let Err(error) = super::size_cache::append(maildir, &counted) {
        log::debug!("{error}: cannot write size cache");
    }
    Ok((!over).then_some((changes, skipped)))
}

/// The result of a look at one name.
enum CheckedName {
    Message(MessageEntry, SizeSource),
    /// No message: no file, or a dot file.
    Nothing,
    /// A file that should not be there, with the reason and its size in bytes.
    Skipped(&'static str, u64),
    /// The turn ended before the file was counted.
    TurnExhausted,
}

fn check_name(
    maildir: &Maildir,
    subdir: Subdir,
    name: &CStr,
    known: impl FnOnce(FileVersion) -> Option<u64>,
    turn: &mut CountSlice,
) -> Result<CheckedName, Error> {
    if name::is_hidden(name.to_bytes()) {
        return Ok(CheckedName::Nothing);
    }
    let failed = |step| {
        move |e: Errno| {
            Error::at(maildir.path().join(subdir.name()).join(name.to_string_lossy().as_ref()), step, e)
        }
    };
    let stat = match fs::statat(maildir.dir(subdir), name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(CheckedName::Nothing),
        stat => stat.map_err(failed("stat"))?,
    };
    let stamp = FileVersion::of(&stat);
    let skipped = |why| CheckedName::Skipped(why, stamp.bytes);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(skipped("not a regular file"));
    }
    if turn.is_too_large(stamp.bytes) {
        return Ok(skipped(TOO_LARGE));
    }
    let found = |octets| MessageEntry { name: name.to_bytes().into(), subdir, version: stamp, octets };
    let told = name::wire_size_in_name(name.to_bytes(), stamp.bytes).or_else(|| known(stamp));
    if let Some(octets) = told {
        let readable = !needs_access_check(&stat, geteuid())
            || fs::accessat(maildir.dir(subdir), name, Access::READ_OK, AtFlags::EACCESS)
                != Err(Errno::ACCESS);
        let message = || CheckedName::Message(found(octets), SizeSource::Known);
        return Ok(if readable { message() } else { skipped(why_unreadable(&stat)) });
    }
    let opened = fs::openat(maildir.dir(subdir), name, super::message::OPEN_FLAGS, Mode::empty());
    match opened.and_then(|file| turn.count(file, stamp)) {
        Ok(Counted::Octets(octets)) => Ok(CheckedName::Message(found(octets), SizeSource::Counted)),
        Ok(Counted::SliceExhausted) => Ok(CheckedName::TurnExhausted),
        Ok(Counted::KeepsChanging) => Ok(skipped("changes while it is counted")),
        Err(Errno::NOENT) => Ok(CheckedName::Nothing),
        Err(Errno::ACCESS | Errno::PERM) => Ok(skipped(why_unreadable(&stat))),
        Err(error) => Err(failed("read")(error)),
    }
}

fn why_unreadable(stat: &Stat) -> &'static str {
    if stat.st_uid == geteuid().as_raw() { CLOSED } else { UNREADABLE }
}

/// The modification times of both directories, as the file system has them now, past any cache. An error if they have
/// left the file system.
pub fn dir_times(maildir: &Maildir) -> Result<DirTimes, Error> {
    dir_states(maildir).map(|(times, _)| times)
}

/// The times of both directories, and their states.
pub(super) fn dir_states(maildir: &Maildir) -> Result<(DirTimes, [DirState; 2]), Error> {
    let state = |subdir: Subdir| {
        let failed = |e: Errno| Error::at(maildir.path().join(subdir.name()), "stat", e);
        let stat = remote_fs::fresh_stat(maildir.dir(subdir)).map_err(failed)?;
        let modified = (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
        let changed = (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec);
        let state = DirState { inode: stat.stx_ino, changed };
        if stat.stx_nlink == 0 { Err(failed(Errno::NOENT)) } else { Ok((modified, state)) }
    };
    let ((new_time, new), (cur_time, cur)) = (state(Subdir::New)?, state(Subdir::Cur)?);
    Ok(([new_time, cur_time], [new, cur]))
}

/// The largest number of files of one identity that a look gets; the sizes of further ones are in the file of sizes.
pub const MAX_KNOWN: usize = 4;
/// The reason for skipping an unreadable file of another user.
const UNREADABLE: &str = "unreadable";
/// The reason for skipping an unreadable file of this user.
const CLOSED: &str = "unreadable, its mode keeps out its owner";
/// The reason for skipping a file that is larger than any message.
pub const TOO_LARGE: &str = "too large";
/// The number of passes through a mailbox that changes during each of them.
const ATTEMPTS: usize = 3;
/// Seconds within which two changes of a directory may have the same time: some file systems count in twos.
const RACY_SECS: i64 = 2;
