//! One message file, taken apart: what its name says, where it came from, and what POP3 makes of it.

mod hops;

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read, Seek},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

pub use hops::Hop;
use rustix::fs::{self, FileType, Mode, OFlags};
use serde::Serialize;

use super::{
    fsck::{self, Problem},
    header::{self, Head},
    measure::Measure,
};
use crate::{
    mailbox::{List, Snapshot},
    maildir::{Found, Place, message::OPEN, name, scan::Stamp},
    proto::ask::Maildrop,
};

/// A message file, taken apart.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Where it is.
    pub path: String,
    /// What its name says.
    pub name: Name,
    /// What the header says of the envelope, and for people.
    pub fields: Vec<(String, String)>,
    /// The servers that it went through, the first one first.
    pub hops: Vec<Hop>,
    /// Its octets.
    pub measure: Measure,
    /// Where the octets come from that POP3 announces.
    pub counted: Counted,
    /// What POP3 says to UIDL.
    pub unique_id: String,
    /// Why POP3 does not show it, if it does not.
    pub hidden: Option<&'static str>,
    /// What is wrong with it: the problem, how it shows, who stumbles over it.
    pub problems: Vec<(&'static str, String, &'static str)>,
}

/// What a file name says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Name {
    /// `new` or `cur`, if it lies in one.
    pub place: Option<&'static str>,
    /// Seconds since 1970: when it was delivered.
    pub seconds: Option<u64>,
    /// Microseconds of that.
    pub microseconds: Option<u64>,
    /// What tells the message from all others: the name up to the first comma or colon.
    pub identity: String,
    /// What restante has put into it, if it is a name of restante's that nobody has changed.
    pub ours: Option<Ours>,
    /// Octets on the disk (`,S=`).
    pub size: Option<u64>,
    /// Octets on the wire (`,W=`).
    pub octets: Option<u64>,
    /// The flags, and what each means.
    pub flags: Vec<(char, &'static str)>,
}

/// The parts of a name of ours.
#[derive(Debug, Clone, Serialize)]
pub struct Ours {
    /// Who delivered it.
    pub process: String,
    /// Which of its deliveries it was.
    pub count: String,
    /// 64 random bits.
    pub random: String,
    /// The checksum over all of the rest, which fits.
    pub checksum: String,
    /// On which machine.
    pub host: String,
}

/// Where a size on the wire comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// The name is ours and fits the file: it is believed.
    ByName,
    /// The file is read once, and what was counted is kept in `.restante.sizes`.
    ByReading,
}

/// Takes a message file apart.
pub fn explain(path: &Path) -> io::Result<Explanation> {
    let file_name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    // The directory is the one that the person has named; below it and beside it no link is followed.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = fs::openat(fs::CWD, above, DIRECTORY, Mode::empty())?;
    let fd = fs::openat(&directory, file_name, OPEN, Mode::empty())?;
    let stat = fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let place = place_of(path);
    let mut file = File::from(fd);
    let head = head(&file)?;
    let fields = head.fields().unwrap_or_default();
    file.rewind()?;
    let measure = Measure::of(&file)?;
    let stamp = Stamp::of(&stat);
    let (unique_id, doubles) = unique_id(&directory, place, file_name, stamp);
    let mut problems: Vec<_> = fsck::check_name(place.unwrap_or(Place::Cur), file_name, &measure)
        .0
        .into_iter()
        .map(|(problem, detail)| (problem.name(), detail, problem.stumbles()))
        .collect();
    if measure.bytes == 0 {
        let empty = Problem::EmptyFile;
        problems.push((empty.name(), "it has 0 octets".into(), empty.stumbles()));
    }
    if !doubles.is_empty() {
        let double = Problem::DoubledIdentity;
        problems.push((double.name(), format!("so has {}", doubles.join(", ")), double.stumbles()));
    }
    let told = name::octets_told(file_name, measure.bytes);
    Ok(Explanation {
        path: fsck::shown(path.as_os_str().as_bytes()),
        name: name_of(file_name, place),
        fields: SHOWN
            .iter()
            .filter_map(|shown| {
                header::fields(fields).find(|field| field.is(shown)).map(|field| (shown, field))
            })
            .map(|(shown, field)| ((*shown).to_owned(), String::from_utf8_lossy(&field.value).into_owned()))
            .collect(),
        hops: hops::hops(fields),
        counted: if told.is_some() { Counted::ByName } else { Counted::ByReading },
        measure,
        unique_id,
        hidden: if file_name.starts_with(b".") {
            Some("its name begins with a dot")
        } else if name::flags(file_name).contains(&b'T') {
            Some("it has the flag T: its owner's mail reader will remove it")
        } else if place.is_none() {
            Some("it is neither in new/ nor in cur/")
        } else {
            None
        },
        problems,
    })
}

fn head(mut file: &File) -> io::Result<Head> {
    let mut head = Head::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            head.end();
        }
        if length == 0 || head.feed(&buffer[..length]) {
            return Ok(head);
        }
    }
}

fn place_of(path: &Path) -> Option<Place> {
    let parent = std::path::absolute(path).ok()?.parent()?.to_owned();
    Place::BOTH.into_iter().find(|place| parent.file_name() == Some(OsStr::new(place.name())))
}

/// What POP3 says of it, as the mailbox has it; and the other files of its identity.
fn unique_id(
    directory: &OwnedFd,
    place: Option<Place>,
    file_name: &[u8],
    stamp: Stamp,
) -> (String, Vec<String>) {
    let found = |name: &[u8], place, stamp| Found { name: name.into(), place, stamp, octets: 0 };
    let mut same = vec![found(file_name, place.unwrap_or(Place::New), stamp)];
    let mut doubles = Vec::new();
    if place.is_some() {
        for (other, place, stamp) in of_identity(directory, name::identity(file_name)) {
            if Some(place) != same.first().map(|first| first.place) || other != file_name {
                doubles.push(format!("{}/{}", place.name(), fsck::shown(&other)));
                same.push(found(&other, place, stamp));
            }
        }
    }
    let snapshot = Snapshot::of(&List::of(same));
    let position = snapshot.iter().position(|found| found.stamp.inode == stamp.inode).unwrap_or(0);
    (snapshot.unique_id(position).into_owned(), doubles)
}

/// The message files of that identity in the mailbox of a file, which is in that directory.
fn of_identity(directory: &OwnedFd, identity: &[u8]) -> Vec<(Vec<u8>, Place, Stamp)> {
    let mut all = Vec::new();
    let Ok(home) = fs::openat(directory, c"..", DIRECTORY, Mode::empty()) else { return all };
    for place in Place::BOTH {
        let flags = DIRECTORY.union(OFlags::NOFOLLOW);
        let Ok(entries) = fs::openat(&home, place.name(), flags, Mode::empty()) else { continue };
        for entry in fs::Dir::read_from(&entries).into_iter().flatten().flatten() {
            let file: CString = entry.file_name().to_owned();
            if name::identity(file.to_bytes()) == identity
                && let Ok(stat) = fs::statat(&entries, &file, fs::AtFlags::SYMLINK_NOFOLLOW)
                && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            {
                all.push((file.into_bytes(), place, Stamp::of(&stat)));
            }
        }
    }
    all
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn name_of(file: &[u8], place: Option<Place>) -> Name {
    let (seconds, microseconds, _) = name::order(file);
    let has_time = file.first().is_some_and(u8::is_ascii_digit);
    let base = &file[..name::info(file).unwrap_or(file.len())];
    let identity = fsck::shown(name::identity(file));
    Name {
        place: place.map(Place::name),
        seconds: has_time.then_some(seconds),
        microseconds: (has_time && microseconds > 0).then_some(microseconds),
        ours: name::sizes_told(file).and_then(|_| ours(&identity)),
        identity,
        size: fsck::told_in_name(base, b'S'),
        octets: fsck::told_in_name(base, b'W'),
        flags: name::flags(file).iter().map(|flag| (char::from(*flag), meaning(*flag))).collect(),
    }
}

/// The parts of the identity of a name whose checksum fits.
fn ours(identity: &str) -> Option<Ours> {
    let (_, rest) = identity.split_once('P')?;
    let (process, rest) = rest.split_once('Q')?;
    let (count, rest) = rest.split_once('R')?;
    let (random, rest) = rest.split_at_checked(16)?;
    let (checksum, host) = rest.strip_prefix('C')?.split_once('.')?;
    let [process, count, random, checksum, host] =
        [process, count, random, checksum, host].map(str::to_owned);
    Some(Ours { process, count, random, checksum, host })
}

/// What a flag means.
fn meaning(flag: u8) -> &'static str {
    match flag {
        b'D' => "draft",
        b'F' => "flagged by its reader",
        b'P' => "passed on: forwarded, or bounced",
        b'R' => "replied to",
        b'S' => "seen",
        b'T' => "trashed",
        b'a'..=b'z' => "a keyword of Dovecot's: see dovecot-keywords",
        _ => "nothing that is defined",
    }
}

/// The fields that are shown.
const SHOWN: [&str; 7] = ["Return-Path", "Delivered-To", "From", "To", "Subject", "Date", "Message-ID"];
