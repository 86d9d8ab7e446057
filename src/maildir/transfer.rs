//! Copies messages into another Maildir, and removes those that are to move there.
//!
//! The rule: a moved message leaves its folder after its name in the other one is durable, so that no kill and no power cut
//! loses it. Between the two it is visible in both, which [`message_move`](super::message_move) avoids where it can. A copy is
//! another name of the same file where the file system allows that, and so keeps its time. Either all messages are copied or
//! none. A message that is gone is left out. A file that another program has only touched is still the message that has its UID.
//! With another length it is an error of kind `Changed`: a client that believes it copied would remove the only one.

use std::{ffi::CString, time::SystemTime};

use rustix::{
    fs::{self, AtFlags, FileType, Mode},
    io::Errno,
};

use super::{
    Error, FileName, FileVersion, Kind, Maildir, MessageEntry, MessageRef, OpenMessage, Subdir, TmpFile,
    fault_points::fault_point,
    message::{Deletion, LinkCheck, OPEN_FLAGS, c_string, changed_error, find, listed_path},
    name::{self, UniqueName},
    size_counter::{CountSlice, Counted},
    sync_phase::SyncPart,
};

/// A message to be copied.
#[derive(Debug)]
pub struct CopyRequest<'a> {
    /// The message, as it was listed.
    pub wanted: MessageRef<'a>,
    /// Its octets on the wire.
    pub octets: u64,
    /// The name of the copy.
    pub name: UniqueName,
}

impl CopyRequest<'_> {
    /// The file in the other folder, for one that has this name and version now. With flags it goes to `cur/`.
    pub(super) fn entry(
        &self,
        (from, name): (Subdir, &CString),
        letters: impl Fn(&[u8]) -> Vec<u8>,
        FoundFile { version, octets }: FoundFile,
    ) -> MessageEntry {
        let flags = letters(name::flags(name.to_bytes()));
        let subdir = if flags.is_empty() { from } else { Subdir::Cur };
        // A name with the same number shows that the last line has its end.
        let known = name::octets_field(name.to_bytes()).filter(|known| *known == octets);
        let unique = self.name.final_name(version.bytes, known);
        let name = match subdir {
            Subdir::New => unique.into_bytes(),
            Subdir::Cur => name::with_flags(unique.as_bytes(), &flags),
        };
        MessageEntry { name: name.into(), subdir, version, octets }
    }

    /// The message, whose file has this name and version now. `None`: it is another one, or is gone.
    pub(super) fn found(
        &self,
        source: &Maildir,
        (subdir, name): (Subdir, &CString),
        version: FileVersion,
    ) -> Result<Option<FoundFile>, Error> {
        let listed = self.wanted.version;
        if version == listed {
            return Ok(Some(FoundFile { version, octets: self.octets }));
        }
        if (version.inode, version.bytes) != (listed.inode, listed.bytes) {
            return Ok(None); // by the rule for UIDs it is another message
        }
        // Its lines may have other ends now.
        let counted = fs::openat(source.dir(subdir), name, OPEN_FLAGS, Mode::empty())
            .and_then(|file| CountSlice::unbounded(version.bytes).count(file, version));
        match counted {
            Ok(Counted::Octets(octets)) => Ok(Some(FoundFile { version, octets })),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => {
                let path = source.path().join(subdir.name()).join(name.to_string_lossy().as_ref());
                Err(Error::at(path, "read", error))
            }
        }
    }
}

/// A message to be copied as it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundFile {
    pub(super) version: FileVersion,
    /// Its octets on the wire.
    pub(super) octets: u64,
}

/// Messages that were copied to a Maildir.
#[derive(Debug)]
pub struct Copies<'a> {
    source: &'a Maildir,
    target: &'a Maildir,
    /// For each message its copy, or `None` if it is gone.
    made: Vec<Option<MessageEntry>>,
    /// For each message the version that was copied.
    copied: Vec<FileVersion>,
}

impl<'a> Copies<'a> {
    /// Copies messages, and makes the copies durable. `letters` translates the letters of flags and keywords, because the
    /// keywords of each folder have letters of their own. After an error there is no copy.
    pub fn make(
        source: &'a Maildir,
        target: &'a Maildir,
        requests: &[CopyRequest<'_>],
        letters: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Self, Error> {
        let count = requests.len();
        let (made, copied) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut copies = Self { source, target, made, copied };
        let mut made = requests.iter().try_for_each(|request| {
            let copy = copies.copy(request, &letters)?;
            copies.copied.push(copy.as_ref().map_or(request.wanted.version, |(_, version)| *version));
            copies.made.push(copy.map(|(copy, _)| copy));
            Ok(())
        });
        let used = |subdir: &Subdir| copies.made.iter().flatten().any(|copy| copy.subdir == *subdir);
        for subdir in Subdir::ALL.into_iter().filter(used) {
            made = made.and_then(|()| target.sync_part(subdir, SyncPart::Copies));
        }
        match made {
            Ok(()) => Ok(copies),
            Err(error) => {
                copies.undo();
                Err(error)
            }
        }
    }

    /// The copies, in the order of the requests. `None`: the message is gone.
    pub fn into_entries(self) -> Vec<Option<MessageEntry>> {
        self.made
    }

    /// Removes the copies.
    pub fn undo(self) {
        remove_copies(self.target, self.made.iter().flatten());
    }

    /// Removes the messages that were copied from their folder, durably: they have moved. A message that cannot be removed
    /// loses its copy, and the error is that of the last one.
    pub fn remove_sources(
        mut self,
        requests: &[CopyRequest<'_>],
    ) -> (Vec<Option<MessageEntry>>, Result<(), Error>) {
        let mut done = Ok(());
        // Every file still has a name, that of the copy, so each one is looked for again at the end.
        let mut deletion = Deletion::begin(self.source, LinkCheck::Readdir);
        let copied = self.copied.iter().copied();
        for ((request, version), copy) in requests.iter().zip(copied).zip(&mut self.made) {
            let Some(entry) = copy else { continue };
            let removed = fault_point(self.source.path(), "remove moved")
                .and_then(|()| deletion.delete(MessageRef { version, ..request.wanted }));
            match removed {
                Ok(Some(_)) => {}
                Ok(None) => {} // another program has removed it, and the copy is left of it
                Err(error) => {
                    remove_copy(self.target, entry);
                    *copy = None;
                    done = Err(error);
                }
            }
        }
        let finished = deletion.finish().map(drop);
        let synced = Subdir::ALL.into_iter().try_for_each(|subdir| self.source.sync(subdir));
        (self.made, done.and(finished).and(synced))
    }

    fn copy(
        &self,
        request: &CopyRequest<'_>,
        letters: &impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Option<(MessageEntry, FileVersion)>, Error> {
        for _ in 0..ATTEMPTS {
            let (subdir, name, version) = match find(self.source, request.wanted) {
                Ok(found) => found,
                Err(error) if error.kind() == Kind::Gone => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some(found) = request.found(self.source, (subdir, &name), version)? else {
                break; // a program has written into it since it was listed
            };
            if let Some(copy) = self.copy_file(request, (subdir, &name), found, letters)? {
                return Ok(Some((copy, version)));
            }
        }
        Err(changed_error(listed_path(self.source, request.wanted)))
    }

    /// Copies the file that has that name now. `None`: it has another name by then.
    fn copy_file(
        &self,
        request: &CopyRequest<'_>,
        (from, name): (Subdir, &CString),
        found: FoundFile,
        letters: &impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Option<MessageEntry>, Error> {
        let Self { source, target, .. } = self;
        let version = found.version;
        let copy = request.entry((from, name), letters, found);
        let subdir = copy.subdir;
        let new_name = c_string(copy.name.to_vec());
        let path = || target.path().join(subdir.name()).join(new_name.to_string_lossy().as_ref());
        if !sync_foreign(source, (from, name))? {
            return Ok(None);
        }
        fault_point(target.path(), "link copy")?;
        match fs::linkat(source.dir(from), name, target.dir(subdir), &new_name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) if self.is_target_there() => return Ok(None),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => {
                let copied = self.copy_content(request, version, (subdir, &new_name))?;
                return Ok(copied.map(|version| MessageEntry { version, ..copy }));
            }
            Err(error) => return Err(Error::at(path(), "link", error)),
        }
        // Another file may have got the name before it was linked.
        let linked = fs::statat(target.dir(subdir), &new_name, AtFlags::SYMLINK_NOFOLLOW);
        let is_it = linked.as_ref().is_ok_and(|stat| {
            stat.st_ino == version.inode && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        });
        if !is_it {
            remove_copy(target, &copy);
            return linked.map(|_| None).map_err(|e| Error::at(path(), "stat", e));
        }
        fault_point(target.path(), "link copy: done").inspect_err(|_| remove_copy(target, &copy))?;
        Ok(Some(copy))
    }

    /// Writes the content of a message to a new file. `None`: the message has gone meanwhile.
    fn copy_content(
        &self,
        request: &CopyRequest<'_>,
        version: FileVersion,
        (subdir, name): (Subdir, &CString),
    ) -> Result<Option<FileVersion>, Error> {
        let open = match OpenMessage::open(self.source, MessageRef { version, ..request.wanted }) {
            Err(error) if error.kind() == Kind::Gone => return Ok(None),
            opened => opened?,
        };
        let mut file = TmpFile::create(self.target, request.name.clone())?;
        let mut write = || {
            loop {
                let (bytes, is_last) = open.read(file.bytes(), CHUNK)?;
                file.write(&bytes)?;
                if is_last {
                    break;
                }
            }
            file.set_modified(time_of(version))?;
            file.sync()?;
            file.close()?;
            file.rename(self.target, subdir, &name.to_string_lossy())?;
            file.version()
        };
        let written = write();
        if written.is_err() {
            file.discard();
        }
        written.map(Some)
    }

    /// Whether the directories of the target still have a name. A link into a removed directory fails as that of a missing
    /// file does.
    fn is_target_there(&self) -> bool {
        self.target.is_intact()
    }
}

/// Makes the content of a message durable that another program has delivered, perhaps without a sync. `false`: the file has
/// another name by then.
pub(super) fn sync_foreign(source: &Maildir, (subdir, name): (Subdir, &CString)) -> Result<bool, Error> {
    if name::sizes_in_name(name.to_bytes()).is_some() {
        return Ok(true);
    }
    match fs::openat(source.dir(subdir), name, OPEN_FLAGS, Mode::empty()).and_then(fs::fsync) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => {
            let path = source.path().join(subdir.name()).join(name.to_string_lossy().as_ref());
            Err(Error::at(path, "fsync", error))
        }
    }
}

/// Removes copies that are not to stay, durably if the disk allows that.
pub fn remove_copies<'a>(target: &Maildir, copies: impl Iterator<Item = &'a MessageEntry>) {
    let mut changed = [false; 2];
    for copy in copies {
        remove_copy(target, copy);
        changed[copy.subdir as usize] = true;
    }
    for subdir in Subdir::ALL.into_iter().filter(|subdir| changed[*subdir as usize]) {
        if let Err(error) = target.sync_part(subdir, SyncPart::Copies) {
            log::error!("{error}; after a power cut, copies may be visible again");
        }
    }
}

/// Removes a copy that is not to stay. If it cannot be removed it is a message too many, and no message is lost.
fn remove_copy(target: &Maildir, copy: &MessageEntry) {
    let (subdir, name): FileName = (copy.subdir, copy.name.clone());
    if let Err(error) = target.unpublish(subdir, &String::from_utf8_lossy(&name)) {
        log::error!("{error}; the copy stays visible");
    }
}

/// The time of the last change of a file.
fn time_of(version: FileVersion) -> SystemTime {
    let (seconds, nanos) = version.modified;
    let since = std::time::Duration::new(u64::try_from(seconds).unwrap_or(0), nanos);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Octets that are copied at a time.
const CHUNK: usize = 256 << 10;
/// Looks for a message that another program renames at the same time.
pub(super) const ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests;
