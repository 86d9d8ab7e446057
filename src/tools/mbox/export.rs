//! Exports a Maildir into an mbox.

use std::{collections::HashMap, io::Write};

use rustix::fs::{self, AtFlags, Dir, FileType};

use super::{Error, Format, MessageState, from_line, quote::Quoter};
use crate::{
    maildir::{self, FileVersion, Kind, Maildir, MessageRef, OpenMessage, Subdir, name, scan},
    tools::{
        fsck::Compression,
        header::{self, HeaderReader},
    },
};

/// The result of an export.
#[derive(Debug, Default)]
pub struct Exported {
    /// Number of messages in the mbox.
    pub messages: u64,
    /// Errors of the messages that could not be opened.
    pub skipped: Vec<maildir::Error>,
    /// Number of messages that are left out because they are compressed in their files.
    pub compressed: u64,
}

/// Writes all messages of a mailbox in order of delivery, including those with the flag `T`. After each
/// message, `told` is called with the number of finished messages and of all.
pub fn export(
    maildir: &Maildir,
    format: Format,
    to: &mut dyn Write,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Exported, Error> {
    let listed = list(maildir)?;
    let (all, mut exported) = (listed.len() as u64, Exported::default());
    for (done, file) in (1..).zip(&listed) {
        match OpenMessage::open(maildir, file.message_ref()) {
            Ok(message) if is_compressed(&message)? => exported.compressed += 1,
            Ok(message) => {
                write(&message, file, format, to)?;
                exported.messages += 1;
            }
            Err(error) if error.kind() == Kind::Gone => {} // deleted meanwhile
            Err(error) => exported.skipped.push(error),
        }
        told(done, all);
    }
    to.flush().map_err(Error::Write)?;
    Ok(exported)
}

/// Whether a message is compressed in its file. A From_ line and fields with its flags would only spoil it.
fn is_compressed(message: &OpenMessage) -> Result<bool, Error> {
    Ok(Compression::of(&message.read(0, Compression::MARK)?.0).is_some())
}

/// A message file in the listing.
struct Listed {
    name: Box<[u8]>,
    subdir: Subdir,
    version: FileVersion,
}

impl Listed {
    fn message_ref(&self) -> MessageRef<'_> {
        MessageRef { name: &self.name, subdir: self.subdir, version: self.version }
    }
}

/// Lists all message files in order of delivery. A single pass may miss a file that is renamed meanwhile, so
/// a directory that changes is read several times.
fn list(maildir: &Maildir) -> Result<Vec<Listed>, Error> {
    let mut files = HashMap::new();
    for _ in 0..MAX_SCANS {
        let before = scan::dir_times(maildir)?;
        for place in Subdir::ALL {
            let failed = |e| maildir::Error::at(maildir.path().join(place.name()), "read directory", e);
            for entry in Dir::read_from(maildir.dir(place)).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let Ok(stat) = fs::statat(maildir.dir(place), name, AtFlags::SYMLINK_NOFOLLOW) else {
                    continue;
                };
                let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                let name: Box<[u8]> = name.to_bytes().into();
                if regular && !name.starts_with(b".") {
                    let stamp = FileVersion::of(&stat);
                    let key = (name::identity(&name).to_vec(), stamp.inode);
                    files.insert(key, Listed { name, subdir: place, version: stamp });
                }
            }
        }
        if scan::dir_times(maildir)? == before {
            break;
        }
    }
    let mut files: Vec<Listed> = files.into_values().collect();
    files.sort_by(|a, b| name::sort_key(&a.name).cmp(&name::sort_key(&b.name)));
    Ok(files)
}

fn write(message: &OpenMessage, file: &Listed, format: Format, to: &mut dyn Write) -> Result<(), Error> {
    let mut head = HeaderReader::default();
    let mut pieces = MessageReader { message, at: 0, ended: false };
    while let Some(piece) = pieces.next()? {
        if head.feed(&piece) {
            break;
        }
    }
    if pieces.ended {
        head.end();
    }
    let fields = head.fields().unwrap_or_default();
    let return_path = header::fields(fields).find(|field| field.is_named("Return-Path"));
    let from = from_line::format(return_path.as_ref().map(|field| &*field.value), file.version.modified.0);
    to.write_all(from.as_bytes()).map_err(Error::Write)?;
    let mut quoter = Quoter::new(to, format);
    let added = head.fields().map(|fields| MessageState::of(file.subdir, &file.name).written(fields));
    let added = added.filter(|added| !added.is_empty() && fields.len() + added.len() <= header::MAX_HEADER);
    let (fields, rest) = head.bytes().split_at(fields.len());
    let mut put = |text: &[u8]| quoter.write(text).map_err(Error::Write);
    put(fields)?;
    if let Some(added) = added {
        if !fields.is_empty() && !fields.ends_with(b"\n") {
            put(b"\n")?;
        }
        put(added.as_bytes())?;
    }
    put(rest)?;
    while let Some(piece) = pieces.next()? {
        put(&piece)?;
    }
    quoter.finish().map_err(Error::Write)
}

/// A message being read piece by piece.
struct MessageReader<'a> {
    message: &'a OpenMessage,
    at: u64,
    ended: bool,
}

impl MessageReader<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let (piece, last) = self.message.read(self.at, PIECE)?;
        self.at += piece.len() as u64;
        self.ended = last;
        Ok(Some(piece))
    }
}

/// Passes through a mailbox that changes during each of them.
const MAX_SCANS: usize = 3;
/// Octets read at a time.
const PIECE: usize = 256 * 1024;
