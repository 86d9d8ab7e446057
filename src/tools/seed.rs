//! Files messages in a mailbox: durably like the server, or under names of other programs.

use std::{fs::File, io::Write, path::PathBuf, time::SystemTime};

use rustix::fs::{self, AtFlags, OFlags, RenameFlags};

use crate::{
    index::unique_id,
    maildir::{
        Error, Maildir, Spool, Subdir, TmpFile,
        directory::FILE_MODE,
        name::{self, NameGenerator},
        sync_phase::SyncPart,
        tmp_file::close,
    },
    wire_size::wire_size,
};

/// A message to file unchanged: no header line is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestMessage {
    /// Name of the message in listings.
    pub label: String,
    /// The file as it will be stored.
    pub bytes: Vec<u8>,
    pub naming: Naming,
}

/// The kind of file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Naming {
    /// A name like those of the server.
    Delivered,
    /// A name like those of another program: the time, a dot, and `rest`, padded with `x` in the middle to
    /// `length`.
    Foreign {
        /// The text after the time and the dot.
        rest: String,
        /// Minimum length of the name in octets.
        length: usize,
        place: Subdir,
    },
}

/// A message as it was filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeededMessage {
    /// Name of the message in listings.
    pub label: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// Octets that RETR announces and sends.
    pub octets: u64,
    /// Its UIDL, provided that no other message has the same identity.
    pub id: String,
}

#[derive(Debug)]
pub(crate) struct Seeder<'a> {
    spool: &'a Spool,
    name_generator: NameGenerator,
}

impl<'a> Seeder<'a> {
    /// `host` becomes part of the file names, as in those of the server.
    pub(crate) fn new(spool: &'a Spool, host: &str) -> Self {
        Self { spool, name_generator: NameGenerator::new(host, std::process::id()) }
    }

    /// Files messages in order and makes them durable before it returns. Each file stays open until then.
    pub(crate) fn seed(
        &mut self,
        home: &Maildir,
        letters: &[TestMessage],
    ) -> Result<Vec<SeededMessage>, Error> {
        let mut drafts = Vec::new();
        let filed = self.seed_all(home, letters, &mut drafts);
        if filed.is_err() {
            drafts.iter().for_each(|(tmp_file, _)| tmp_file.discard()); // drafts without a final name
        }
        filed
    }

    fn seed_all(
        &mut self,
        home: &Maildir,
        letters: &[TestMessage],
        drafts: &mut Vec<(TmpFile, String)>,
    ) -> Result<Vec<SeededMessage>, Error> {
        let mut filed = Vec::with_capacity(letters.len());
        for letter in letters {
            let wire = wire_size(&letter.bytes);
            let (place, file) = match &letter.naming {
                Naming::Delivered => {
                    let tmp_file = self.draft(home, &letter.bytes)?;
                    let file = tmp_file.final_name(wire);
                    drafts.push((tmp_file, file.clone()));
                    (Subdir::New, file)
                }
                Naming::Foreign { rest, length, place } => {
                    (*place, self.put(home, *place, rest, *length, &letter.bytes)?)
                }
            };
            filed.push(SeededMessage {
                label: letter.label.clone(),
                path: home.path().join(place.name()).join(&file),
                bytes: letter.bytes.len() as u64,
                octets: wire,
                id: unique_id(name::identity(file.as_bytes()), None).into_owned(),
            });
        }
        if drafts.len() > 1 && self.spool.syncfs_is_reliable() {
            self.spool.sync(SyncPart::Contents)?;
        } else {
            drafts.iter().try_for_each(|(tmp_file, _)| tmp_file.sync())?;
        }
        drafts.iter_mut().try_for_each(|(tmp_file, _)| tmp_file.close())?;
        for (tmp_file, name) in &*drafts {
            tmp_file.rename(home, Subdir::New, name)?;
        }
        Subdir::ALL.into_iter().try_for_each(|place| home.sync(place))?;
        Ok(filed)
    }

    fn draft(&mut self, home: &Maildir, bytes: &[u8]) -> Result<TmpFile, Error> {
        let mut tmp_file = TmpFile::create(home, self.name_generator.next(SystemTime::now(), random()))?;
        match tmp_file.write(bytes) {
            Ok(()) => Ok(tmp_file),
            Err(error) => {
                tmp_file.discard();
                Err(error)
            }
        }
    }

    /// Writes a file as other programs do. Returns its name.
    fn put(
        &mut self,
        home: &Maildir,
        place: Subdir,
        rest: &str,
        length: usize,
        bytes: &[u8],
    ) -> Result<String, Error> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let front = format!("{}.M{}_", since.as_secs(), since.subsec_micros());
        let filling = "x".repeat(length.saturating_sub(front.len() + rest.len()));
        let name = format!("{front}{filling}{rest}");
        let path = home.path().join("tmp").join(&name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            fs::openat(home.tmp(), &name, flags, FILE_MODE).map_err(|e| Error::at(&path, "create", e))?;
        let mut file = File::from(file);
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| close(file));
        let placed = written.map_err(|e| Error::at(&path, "write", e)).and_then(|()| {
            fs::renameat_with(home.tmp(), &name, home.dir(place), &name, RenameFlags::NOREPLACE)
                .map_err(|e| Error::at(&path, "rename", e))
        });
        if placed.is_err() {
            let _ = fs::unlinkat(home.tmp(), &name, AtFlags::empty()); // if this fails, tmp/ is cleaned up later
        }
        placed.map(|()| name)
    }
}

/// Sixty-four random bits. Without them, time, process id and counter still make the name unique on this
/// machine.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
