//! The contents of a mailbox: a walk through `new/` and `cur/`, or a look at one name.

use std::{collections::HashMap, ffi::CStr, time::SystemTime};

use rustix::{
    fs::{self, Access, AtFlags, Dir, FileType, Mode, Stat},
    io::Errno,
    process::geteuid,
};

use super::{
    Error, Maildir, Place,
    message::Named,
    name, remote_fs,
    size_cache::Sizes,
    size_counter::{Counted, Turn},
};

/// A message file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file name, with flags.
    pub name: Box<[u8]>,
    /// The directory of the file.
    pub place: Place,
    /// The version of the file, which differs from another file of the same name.
    pub stamp: Stamp,
    /// Octets on the wire.
    pub octets: u64,
}

/// The version of a file: inode, bytes, time of the last change of its content. It differs between two files, and
/// between two states of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
}

impl Stamp {
    /// The stamp of a file with that state.
    #[allow(clippy::unnecessary_cast, reason = "the widths of these fields differ between platforms")]
    pub fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        }
    }
}

/// The last changes of `new/` and `cur/`: seconds and nanoseconds.
pub type Times = [(i64, u32); 2];

/// Whether a directory changed so shortly before `now` that a further change might bear the same time.
pub fn is_young(times: &Times, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let limit = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(YOUNG);
    times.iter().any(|(seconds, _)| *seconds >= limit)
}

/// The result of a walk.
#[derive(Debug, Default)]
pub struct Scan {
    /// The messages, in no order.
    pub found: Vec<Found>,
    /// The skipped files.
    pub left_out: Vec<LeftOut>,
    /// The times of the directories before the walk: later changes may be missing.
    pub times: Times,
}

/// A skipped file, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file name.
    pub name: Box<[u8]>,
    /// The directory of the file.
    pub place: Place,
    /// The reason, for the log.
    pub why: &'static str,
}

/// One difference in the contents of a mailbox. Applying it twice has the same effect as once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// That message exists.
    Present(Found),
    /// No message has that name there.
    Absent {
        /// The directory.
        place: Place,
        /// The name.
        name: Box<[u8]>,
    },
}

impl Change {
    /// The missing name, if this is a removal.
    pub fn absent(self) -> Option<Named> {
        match self {
            Self::Absent { place, name } => Some((place, name)),
            Self::Present(_) => None,
        }
    }
}

/// A name to be looked at.
#[derive(Debug, Clone)]
pub struct Look {
    /// The directory.
    pub place: Place,
    /// The name.
    pub name: Box<[u8]>,
    /// The known files of the identity, perhaps under another name: they need not be counted again.
    pub known: Vec<(Stamp, u64)>,
}

/// Walks through a mailbox. An unreadable directory is an error, because a mailbox must not look empty after a failed
/// read.
///
/// A walk may see a file twice or not at all if it is renamed meanwhile. So a walk is repeated if the directories
/// changed during it. If the last walk misses a message from `known` or from an earlier walk, the message is looked for
/// once more.
///
/// `None`: the turn ended before everything was counted. The turn keeps the counts for the next one.
pub fn scan<'a>(
    maildir: &Maildir,
    known: impl IntoIterator<Item = &'a Found>,
    turn: &mut Turn,
) -> Result<Option<Scan>, Error> {
    let mut sizes = Sizes::load(maildir);
    sizes.remember(&turn.progress.counted);
    let scan = scan_with(maildir, known, &mut sizes, turn);
    let live: Option<Vec<Stamp>> = match &scan {
        Ok(Some(scan)) => Some(scan.found.iter().map(|found| found.stamp).collect()),
        _ => None,
    };
    turn.progress.counted.extend_from_slice(sizes.fresh());
    sizes.save(maildir, live.as_deref());
    scan
}

fn scan_with<'a>(
    maildir: &Maildir,
    known: impl IntoIterator<Item = &'a Found>,
    sizes: &mut Sizes,
    turn: &mut Turn,
) -> Result<Option<Scan>, Error> {
    let Some((mut scan, mut calm)) = walk(maildir, sizes, turn)? else { return Ok(None) };
    let mut earlier = HashMap::new();
    for _ in 1..ATTEMPTS {
        if calm {
            break;
        }
        let Some((next, now_calm)) = walk(maildir, sizes, turn)? else { return Ok(None) };
        calm = now_calm;
        earlier.extend(by_file(std::mem::replace(&mut scan, next).found));
    }
    if !calm {
        earlier.extend(by_file(known.into_iter().cloned()));
        scan.found.iter().for_each(|found| drop(earlier.remove(&file(found))));
        if !find_again(maildir, earlier, &mut scan.found, turn)? {
            return Ok(None);
        }
    }
    Ok(Some(scan))
}

/// A message under any name: its identity, and the version of its file.
type File = (Box<[u8]>, u64);

fn file(found: &Found) -> File {
    (name::identity(&found.name).into(), found.stamp.inode)
}

fn by_file(found: impl IntoIterator<Item = Found>) -> impl Iterator<Item = (File, Found)> {
    found.into_iter().map(|found| (file(&found), found))
}

/// One walk, and whether the directories were the same before and after it. `None`: the turn is over.
fn walk(maildir: &Maildir, sizes: &mut Sizes, turn: &mut Turn) -> Result<Option<(Scan, bool)>, Error> {
    let mut scan = Scan { times: times(maildir)?, ..Scan::default() };
    for place in Place::BOTH {
        if !scan_place(maildir, place, sizes, &mut scan, turn)? {
            return Ok(None);
        }
    }
    let calm = times(maildir)? == scan.times;
    Ok(Some((scan, calm)))
}

/// Looks for messages that the last walk missed, under any name. `false`: the turn is over.
fn find_again(
    maildir: &Maildir,
    mut missing: HashMap<File, Found>,
    found: &mut Vec<Found>,
    turn: &mut Turn,
) -> Result<bool, Error> {
    for place in [Place::BOTH, Place::BOTH].concat() {
        if missing.is_empty() {
            break;
        }
        let failed = |e: Errno| Error::at(maildir.path().join(place.name()), "read directory", e);
        for entry in Dir::read_from(maildir.dir(place)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let wanted = (name::identity(name.to_bytes()).into(), entry.ino());
            let Some(message) = missing.get(&wanted) else { continue };
            let known = |stamp| (stamp == message.stamp).then_some(message.octets);
            match look_at(maildir, place, name, known, turn)? {
                Looked::Message(message, _) => {
                    missing.remove(&wanted);
                    found.push(message);
                }
                Looked::TurnOver => return Ok(false),
                Looked::Nothing | Looked::LeftOut(_) => {}
            }
        }
    }
    Ok(true)
}

/// `false`: the turn is over.
fn scan_place(
    maildir: &Maildir,
    place: Place,
    sizes: &mut Sizes,
    scan: &mut Scan,
    turn: &mut Turn,
) -> Result<bool, Error> {
    let failed = |e: Errno| Error::at(maildir.path().join(place.name()), "read directory", e);
    for entry in Dir::read_from(maildir.dir(place)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match look_at(maildir, place, entry.file_name(), |stamp| sizes.get(&stamp), turn)? {
            Looked::Message(found, Source::Counted) => {
                sizes.learn(found.stamp, found.octets);
                scan.found.push(found);
            }
            Looked::Message(found, Source::Known) => scan.found.push(found),
            Looked::Nothing => {}
            Looked::LeftOut(why) => {
                scan.left_out.push(LeftOut { name: entry.file_name().to_bytes().into(), place, why });
            }
            Looked::TurnOver => return Ok(false),
        }
    }
    Ok(true)
}

/// The result of a look at some names: present, missing and skipped files.
type Seen = (Vec<Change>, Vec<LeftOut>);

/// Looks at names with events. `None`: the turn is over, and the counts are kept for a walk.
pub fn look(maildir: &Maildir, looks: &[Look], turn: &mut Turn) -> Result<Option<Seen>, Error> {
    let (mut changes, mut left_out, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    let mut over = false;
    let mut sizes = None;
    for Look { place, name, known } in looks {
        let (place, name) = (*place, name.clone());
        let c_name = super::message::c_string(name.to_vec());
        // If an identity has many files, only some of them are known.
        let known = |stamp: Stamp| match known.iter().find(|(other, _)| *other == stamp) {
            Some((_, octets)) => Some(*octets),
            None if known.len() < MOST_KNOWN => None,
            None => sizes.get_or_insert_with(|| Sizes::load(maildir)).get(&stamp),
        };
        changes.push(match look_at(maildir, place, &c_name, known, turn)? {
            Looked::Message(found, source) => {
                if source == Source::Counted {
                    counted.push((found.stamp, found.octets));
                }
                Change::Present(found)
            }
            Looked::Nothing => Change::Absent { place, name },
            Looked::LeftOut(why) => {
                left_out.push(LeftOut { name: name.clone(), place, why });
                Change::Absent { place, name }
            }
            Looked::TurnOver => {
                over = true;
                break;
            }
        });
    }
    if let Err(error) = super::size_cache::append(maildir, &counted) {
        log::debug!("{error}: sizes not kept");
    }
    Ok((!over).then_some((changes, left_out)))
}

/// The result of a look at one name.
enum Looked {
    Message(Found, Source),
    /// No message: no file, a dot file, or a message that its owner has trashed.
    Nothing,
    /// A file that should not be there, with the reason.
    LeftOut(&'static str),
    /// The turn ended before the file was counted.
    TurnOver,
}

/// The source of the octets of a message.
#[derive(PartialEq, Eq)]
enum Source {
    /// Our own name, or an earlier count.
    Known,
    /// The file was read.
    Counted,
}

fn look_at(
    maildir: &Maildir,
    place: Place,
    name: &CStr,
    known: impl FnOnce(Stamp) -> Option<u64>,
    turn: &mut Turn,
) -> Result<Looked, Error> {
    // Files flagged T wait for their owner's mail reader to remove them.
    if name.to_bytes().starts_with(b".") || name::flags(name.to_bytes()).contains(&b'T') {
        return Ok(Looked::Nothing);
    }
    let failed = |step| {
        move |e: Errno| {
            Error::at(maildir.path().join(place.name()).join(name.to_string_lossy().as_ref()), step, e)
        }
    };
    let stat = match fs::statat(maildir.dir(place), name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Looked::Nothing),
        stat => stat.map_err(failed("stat"))?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Looked::LeftOut("not a regular file"));
    }
    let stamp = Stamp::of(&stat);
    if turn.is_too_large(stamp.bytes) {
        return Ok(Looked::LeftOut(TOO_LARGE));
    }
    let found = |octets| Found { name: name.to_bytes().into(), place, stamp, octets };
    let told = name::octets_told(name.to_bytes(), stamp.bytes).or_else(|| known(stamp));
    if let Some(octets) = told {
        let readable = !may_be_unreadable(&stat)
            || fs::accessat(maildir.dir(place), name, Access::READ_OK, AtFlags::EACCESS)
                != Err(Errno::ACCESS);
        let message = || Looked::Message(found(octets), Source::Known);
        return Ok(if readable { message() } else { Looked::LeftOut(UNREADABLE) });
    }
    let opened = fs::openat(maildir.dir(place), name, super::message::OPEN, Mode::empty());
    match opened.and_then(|file| turn.count(file, stamp)) {
        Ok(Counted::Octets(octets)) => Ok(Looked::Message(found(octets), Source::Counted)),
        Ok(Counted::TurnOver) => Ok(Looked::TurnOver),
        Ok(Counted::Unsteady) => Ok(Looked::LeftOut("changes while it is counted")),
        Err(Errno::NOENT) => Ok(Looked::Nothing),
        Err(Errno::ACCESS | Errno::PERM) => Ok(Looked::LeftOut(UNREADABLE)),
        Err(error) => Err(failed("read")(error)),
    }
}

/// Whether the system must be asked if we may read the file. Our own files, which are most, need no question.
fn may_be_unreadable(stat: &Stat) -> bool {
    let needed = if stat.st_uid == geteuid().as_raw() { Mode::RUSR } else { Mode::RGRP | Mode::ROTH };
    !Mode::from_raw_mode(stat.st_mode).contains(needed)
}

/// The modification times of both directories, as the file system has them now, past any cache. An error if they have
/// left the file system.
pub fn times(maildir: &Maildir) -> Result<Times, Error> {
    let time = |place: Place| {
        let failed = |e: Errno| Error::at(maildir.path().join(place.name()), "stat", e);
        let stat = remote_fs::state(maildir.dir(place)).map_err(failed)?;
        let modified = (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
        if stat.stx_nlink == 0 { Err(failed(Errno::NOENT)) } else { Ok(modified) }
    };
    Ok([time(Place::New)?, time(Place::Cur)?])
}

/// The largest number of files of one identity that a look gets; the sizes of further ones are in the file of sizes.
pub const MOST_KNOWN: usize = 4;
/// The reason for skipping an unreadable file.
const UNREADABLE: &str = "unreadable";
/// The reason for skipping a file that is larger than any message.
pub const TOO_LARGE: &str = "skipped: too large";
/// The number of walks through a mailbox that changes during each of them.
const ATTEMPTS: usize = 3;
/// Seconds within which two changes of a directory may have the same time: some file systems count in twos.
const YOUNG: i64 = 2;
