//! Explains one message file: its name, its origin, and its appearance in POP3.

mod content;
mod parts;

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Cursor, Read, Seek},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

pub(crate) use crate::message_object::hops::Hop;
use content::{MAX_CONTENT, NotOneMessage};
pub(crate) use parts::PartInfo;
use rustix::fs::{self, FileType, Mode, OFlags};
use serde::Serialize;

use super::{
    fsck::{self, Compression, Problem},
    header::{self, HeaderReader},
    measure::Measure,
};
use crate::{
    index::{MessageList, Snapshot},
    maildir::{FileVersion, MessageEntry, Subdir, message::OPEN_FLAGS, name},
    message_object::hops::hops,
    proto::request::Maildrop,
};

/// The explanation of a message file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explanation {
    pub path: String,
    /// The sentence about a file that is not one message, with the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// False if the note says that the file is no mail.
    #[serde(skip)]
    pub is_mail: bool,
    pub name: Name,
    /// Header fields of the envelope and for display.
    pub fields: Vec<(String, String)>,
    /// The servers on its route, the first one first.
    pub hops: Vec<Hop>,
    /// The MIME parts of its first 32 MiB.
    pub parts: Vec<PartInfo>,
    pub measure: Measure,
    /// Source of the size that POP3 announces.
    pub counted: Counted,
    /// Its unique id in UIDL.
    pub unique_id: String,
    /// The reason if POP3 does not list it.
    pub hidden: Option<&'static str>,
    /// Problems: keyword, evidence, affected programs.
    pub problems: Vec<(&'static str, String, &'static str)>,
}

/// The parts of a file name.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Name {
    /// `new` or `cur`, if it is in one of them.
    pub place: Option<&'static str>,
    /// Time of delivery in seconds since 1970.
    pub seconds: Option<u64>,
    /// Microseconds within that second.
    pub microseconds: Option<u64>,
    /// The name up to the first comma or colon, unique to the message.
    pub identity: String,
    /// The parts of restante's own names, if the checksum fits.
    pub ours: Option<OwnName>,
    /// Octets on disk (`,S=`).
    pub size: Option<u64>,
    /// Octets on the wire (`,W=`).
    pub octets: Option<u64>,
    /// The flags with their meanings.
    pub flags: Vec<(char, &'static str)>,
}

/// The parts of a name made by restante.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OwnName {
    /// Process id of the deliverer.
    pub process: String,
    /// Number of the delivery in that process.
    pub count: String,
    /// 64 random bits in hexadecimal.
    pub random: String,
    /// Checksum of the other parts.
    pub checksum: String,
    pub host: String,
}

/// The source of the announced size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counted {
    /// From the name, which restante made and which fits the file.
    ByName,
    /// From reading the file once; the result is kept in `.restante.index`.
    ByReading,
}

/// Explains a message file, which is read once and not changed.
pub(crate) fn explain(path: &Path) -> io::Result<Explanation> {
    let file_name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    // The user has named the directory; below and beside it no link is followed.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = fs::openat(fs::CWD, above, DIRECTORY, Mode::empty())?;
    let fd = fs::openat(&directory, file_name, OPEN_FLAGS, Mode::empty())?;
    let stat = fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let place = place_of(path);
    let mut file = File::from(fd);
    // A file in new/ or cur/ is a message, whatever is in it.
    let NotOneMessage { note, first } =
        if place.is_none() { content::inspect(&mut file, path)? } else { NotOneMessage::default() };
    let is_mail = note.is_none() || first.is_some();
    let mut source: Box<dyn ReadAgain> = match first {
        Some(first) => Box::new(Cursor::new(first)),
        None => Box::new(file),
    };
    let head = head(&mut source)?;
    let fields = head.fields().unwrap_or_default();
    source.rewind()?;
    let mut content = Vec::new();
    (&mut source).take(MAX_CONTENT).read_to_end(&mut content)?;
    source.rewind()?;
    let measure = Measure::of(&mut source)?;
    let stamp = FileVersion::of(&stat);
    let (unique_id, doubles) = unique_id(&directory, place, file_name, stamp);
    // The sizes in the name of a compressed message are those of the message, and not of the file.
    let compression = Compression::of(&content);
    let sizes = Some(&measure).filter(|_| compression.is_none());
    let mut problems: Vec<_> = fsck::check_name(place.unwrap_or(Subdir::Cur), file_name, sizes)
        .0
        .into_iter()
        .map(|(problem, detail)| (problem.name(), detail, problem.affected()))
        .collect();
    if let Some(compression) = compression {
        let problem = Problem::Compressed;
        problems.push((problem.name(), compression.detail(1), problem.affected()));
    }
    if measure.bytes == 0 {
        let empty = Problem::EmptyFile;
        problems.push((empty.name(), "it has 0 octets".into(), empty.affected()));
    }
    if !doubles.is_empty() {
        let double = Problem::DuplicateIdentity;
        problems.push((
            double.name(),
            format!("{} has the same identity", doubles.join(", ")),
            double.affected(),
        ));
    }
    let told = name::wire_size_in_name(file_name, measure.bytes);
    Ok(Explanation {
        path: fsck::shown(path.as_os_str().as_bytes()),
        note,
        is_mail,
        name: name_of(file_name, place),
        fields: SHOWN
            .iter()
            .filter_map(|shown| {
                header::fields(fields).find(|field| field.is_named(shown)).map(|field| (shown, field))
            })
            .map(|(shown, field)| ((*shown).to_owned(), crate::mime::encoded_word::decode(&field.value)))
            .collect(),
        hops: hops(
            header::fields(fields)
                .filter(|field| field.is_named("Received"))
                .map(|field| String::from_utf8_lossy(&field.value).into_owned().into()),
        ),
        parts: parts::parts(&content),
        counted: if told.is_some() { Counted::ByName } else { Counted::ByReading },
        measure,
        unique_id,
        hidden: if file_name.starts_with(b".") {
            Some("its name begins with a dot")
        } else if name::flags(file_name).contains(&b'T') {
            Some("it has the flag T: the mail reader of its owner will remove it")
        } else if place.is_none() {
            Some("it is neither in new/ nor in cur/")
        } else {
            None
        },
        problems,
    })
}

/// A file, or a message out of one.
trait ReadAgain: Read + Seek {}
impl<T: Read + Seek> ReadAgain for T {}

fn head(mut file: impl Read) -> io::Result<HeaderReader> {
    let mut head = HeaderReader::default();
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

fn place_of(path: &Path) -> Option<Subdir> {
    let parent = std::path::absolute(path).ok()?.parent()?.to_owned();
    Subdir::ALL.into_iter().find(|place| parent.file_name() == Some(OsStr::new(place.name())))
}

/// The unique id that the mailbox gives it, and the other files with its identity.
fn unique_id(
    directory: &OwnedFd,
    place: Option<Subdir>,
    file_name: &[u8],
    stamp: FileVersion,
) -> (String, Vec<String>) {
    let found = |name: &[u8], place, stamp| MessageEntry {
        name: name.into(),
        subdir: place,
        version: stamp,
        octets: 0,
    };
    let mut same = vec![found(file_name, place.unwrap_or(Subdir::New), stamp)];
    let mut doubles = Vec::new();
    if place.is_some() {
        for (other, place, stamp) in of_identity(directory, name::identity(file_name)) {
            if Some(place) != same.first().map(|first| first.subdir) || other != file_name {
                doubles.push(format!("{}/{}", place.name(), fsck::shown(&other)));
                same.push(found(&other, place, stamp));
            }
        }
    }
    let snapshot = Snapshot::new(&MessageList::from_messages(same));
    let position = snapshot.iter().position(|found| found.version.inode == stamp.inode).unwrap_or(0);
    (snapshot.unique_id(position).into_owned(), doubles)
}

/// Lists the message files with that identity in the mailbox that contains the directory.
fn of_identity(directory: &OwnedFd, identity: &[u8]) -> Vec<(Vec<u8>, Subdir, FileVersion)> {
    let mut all = Vec::new();
    let Ok(home) = fs::openat(directory, c"..", DIRECTORY, Mode::empty()) else { return all };
    for place in Subdir::ALL {
        let flags = DIRECTORY.union(OFlags::NOFOLLOW);
        let Ok(entries) = fs::openat(&home, place.name(), flags, Mode::empty()) else { continue };
        for entry in fs::Dir::read_from(&entries).into_iter().flatten().flatten() {
            let file: CString = entry.file_name().to_owned();
            if name::identity(file.to_bytes()) == identity
                && let Ok(stat) = fs::statat(&entries, &file, fs::AtFlags::SYMLINK_NOFOLLOW)
                && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            {
                all.push((file.into_bytes(), place, FileVersion::of(&stat)));
            }
        }
    }
    all
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn name_of(file: &[u8], place: Option<Subdir>) -> Name {
    let (seconds, microseconds, _) = name::sort_key(file);
    let has_time = file.first().is_some_and(u8::is_ascii_digit);
    let base = &file[..name::info(file).unwrap_or(file.len())];
    let identity = fsck::shown(name::identity(file));
    Name {
        place: place.map(Subdir::name),
        seconds: has_time.then_some(seconds),
        microseconds: (has_time && microseconds > 0).then_some(microseconds),
        ours: name::sizes_in_name(file).and_then(|_| ours(&identity)),
        identity,
        size: fsck::number_in_name(base, b'S'),
        octets: fsck::number_in_name(base, b'W'),
        flags: name::flags(file).iter().map(|flag| (char::from(*flag), meaning(*flag))).collect(),
    }
}

/// The parts of an identity whose checksum fits.
fn ours(identity: &str) -> Option<OwnName> {
    let (_, rest) = identity.split_once('P')?;
    let (process, rest) = rest.split_once('Q')?;
    let (count, rest) = rest.split_once('R')?;
    let (random, rest) = rest.split_at_checked(16)?;
    let (checksum, host) = rest.strip_prefix('C')?.split_once('.')?;
    let [process, count, random, checksum, host] =
        [process, count, random, checksum, host].map(str::to_owned);
    Some(OwnName { process, count, random, checksum, host })
}

/// The meaning of a flag.
fn meaning(flag: u8) -> &'static str {
    match flag {
        b'D' => "draft",
        b'F' => "flagged by the user",
        b'P' => "passed on: forwarded, or bounced",
        b'R' => "replied to",
        b'S' => "seen",
        b'T' => "trashed",
        b'a'..=b'z' => "a keyword of Dovecot's: see dovecot-keywords",
        _ => "undefined",
    }
}

/// The header fields shown, in this order.
const SHOWN: [&str; 7] = ["Return-Path", "Delivered-To", "From", "To", "Subject", "Date", "Message-ID"];
