//! Copies messages into another Maildir, or moves them there.
//!
//! The rule: a moved message leaves its folder after its name in the other one is durable, so that no kill and no power cut
//! loses it. Between the two it is visible in both. A copy is another name of the same file where the file system allows that,
//! and so keeps its time. Either all messages are copied or none; a message that is gone or changed by
//! then is left out.

use std::{ffi::CString, time::SystemTime};

use rustix::{
    fs::{self, AtFlags, FileType, Mode},
    io::Errno,
};

use super::{
    Error, FileName, FileVersion, Kind, Maildir, MessageEntry, MessageRef, OpenMessage, Subdir, TmpFile,
    fault_points::fault_point,
    message::{Deletion, LinkCheck, OPEN_FLAGS, c_string, find},
    name::{self, UniqueName},
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

/// Messages that were copied to a Maildir.
#[derive(Debug)]
pub struct Copies<'a> {
    source: &'a Maildir,
    target: &'a Maildir,
    /// For each message its copy, or `None` if it was left out.
    made: Vec<Option<MessageEntry>>,
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
        let mut copies = Self { source, target, made: Vec::with_capacity(requests.len()) };
        let mut made = requests.iter().try_for_each(|request| {
            let copy = copies.copy(request, &letters)?;
            copies.made.push(copy);
            Ok(())
        });
        let used = |subdir: &Subdir| copies.made.iter().flatten().any(|copy| copy.subdir == *subdir);
        for subdir in Subdir::ALL.into_iter().filter(used) {
            made = made.and_then(|()| target.sync(subdir));
        }
        match made {
            Ok(()) => Ok(copies),
            Err(error) => {
                copies.undo();
                Err(error)
            }
        }
    }

    /// The copies, in the order of the requests. `None`: the message was left out.
    pub fn into_entries(self) -> Vec<Option<MessageEntry>> {
        self.made
    }

    /// Removes the copies.
    pub fn undo(self) {
        for copy in self.made.iter().flatten() {
            remove_copy(self.target, copy);
        }
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
        for (request, copy) in requests.iter().zip(&mut self.made) {
            let Some(entry) = copy else { continue };
            let removed = fault_point(self.source.path(), "remove moved")
                .and_then(|()| deletion.delete(request.wanted));
            match removed {
                Ok(Some(_)) => {}
                Ok(None) => {} // another program has removed it, and the copy is left of it
                Err(error) => {
                    remove_copy(self.target, entry);
                    *copy = None;
                    done = if error.kind() == Kind::Changed { done } else { Err(error) };
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
    ) -> Result<Option<MessageEntry>, Error> {
        for _ in 0..ATTEMPTS {
            let (subdir, name, version) = match find(self.source, request.wanted) {
                Ok(found) => found,
                Err(error) if matches!(error.kind(), Kind::Gone | Kind::Changed) => return Ok(None),
                Err(error) => return Err(error),
            };
            if version != request.wanted.version {
                return Ok(None); // a program has written into it since it was listed
            }
            if let Some(copy) = self.copy_file(request, (subdir, &name), letters)? {
                return Ok(Some(copy));
            }
        }
        Ok(None)
    }

    /// Copies the file that has that name now. `None`: it has another name by then.
    fn copy_file(
        &self,
        request: &CopyRequest<'_>,
        (from, name): (Subdir, &CString),
        letters: &impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Option<MessageEntry>, Error> {
        let Self { source, target, .. } = self;
        let flags = letters(name::flags(name.to_bytes()));
        let subdir = if flags.is_empty() { from } else { Subdir::Cur };
        let version = request.wanted.version;
        let unique = request.name.final_name(version.bytes, request.octets);
        let to = match subdir {
            Subdir::New => unique.clone().into_bytes(),
            Subdir::Cur => name::with_flags(unique.as_bytes(), &flags),
        };
        let entry =
            |version| MessageEntry { name: to.clone().into(), subdir, version, octets: request.octets };
        let path = || target.path().join(subdir.name()).join(&unique);
        let source_path = || source.path().join(from.name()).join(name.to_string_lossy().as_ref());
        if name::sizes_in_name(name.to_bytes()).is_none() {
            // Another program has delivered it, perhaps without a sync.
            match fs::openat(source.dir(from), name, OPEN_FLAGS, Mode::empty()).and_then(fs::fsync) {
                Err(Errno::NOENT) => return Ok(None),
                synced => synced.map_err(|e| Error::at(source_path(), "fsync", e))?,
            }
        }
        fault_point(target.path(), "link copy")?;
        let new_name = c_string(to.clone());
        match fs::linkat(source.dir(from), name, target.dir(subdir), &new_name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) if self.is_target_there() => return Ok(None),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => {
                return self.copy_content(request, (subdir, &new_name)).map(|copied| copied.map(entry));
            }
            Err(error) => return Err(Error::at(path(), "link", error)),
        }
        // Another file may have got the name before it was linked.
        let linked = fs::statat(target.dir(subdir), &new_name, AtFlags::SYMLINK_NOFOLLOW);
        let is_it = linked.as_ref().is_ok_and(|stat| {
            stat.st_ino == version.inode && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        });
        if !is_it {
            remove_copy(target, &entry(version));
            return linked.map(|_| None).map_err(|e| Error::at(path(), "stat", e));
        }
        fault_point(target.path(), "link copy: done")
            .inspect_err(|_| remove_copy(target, &entry(version)))?;
        Ok(Some(entry(version)))
    }

    /// Writes the content of a message to a new file. `None`: the message has gone meanwhile.
    fn copy_content(
        &self,
        request: &CopyRequest<'_>,
        (subdir, name): (Subdir, &CString),
    ) -> Result<Option<FileVersion>, Error> {
        let open = match OpenMessage::open(self.source, request.wanted) {
            Err(error) if matches!(error.kind(), Kind::Gone | Kind::Changed) => return Ok(None),
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
            file.set_modified(time_of(request.wanted.version))?;
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
const ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        fs::{self, File},
        os::unix::fs::MetadataExt,
        panic::{AssertUnwindSafe, catch_unwind},
        path::PathBuf,
        time::Duration,
    };

    use super::*;
    use crate::maildir::{
        Spool,
        fault_points::{FaultKind, PlannedFault, memory_dir},
        name::NameGenerator,
        scan,
        size_counter::CountSlice,
    };

    struct Fixture {
        spool: Spool,
        source: Maildir,
        target: Maildir,
        listed: Vec<MessageEntry>,
        /// Requests so far, each with names of its own.
        calls: Cell<u32>,
        _dir: tempfile::TempDir,
    }

    impl Fixture {
        /// Three messages in INBOX, and a folder.
        fn new() -> Self {
            let dir = memory_dir();
            let spool = Spool::open(&dir.path().join("spool")).unwrap();
            let source = spool.open_or_create_maildir("bob").unwrap();
            let target = spool.open_or_create_folder("bob", ".to").unwrap();
            for (name, text) in
                [("new/1.a", "one\n"), ("cur/2.b:2,Sab", "two\ntwo\n"), ("cur/3.c:2,", "three")]
            {
                let path = source.path().join(name);
                fs::write(&path, text).unwrap();
                File::options().write(true).open(&path).unwrap().set_modified(time()).unwrap();
            }
            let mut turn = CountSlice::unbounded(1000);
            let mut listed = scan::scan(&source, [], &mut turn).unwrap().unwrap().messages;
            listed.sort_by(|one, other| one.name.cmp(&other.name));
            Self { spool, source, target, listed, calls: Cell::new(0), _dir: dir }
        }

        fn requests(&self) -> Vec<CopyRequest<'_>> {
            let mut names = NameGenerator::new("mx", self.calls.replace(self.calls.get() + 1));
            let mut unique = |n| names.next(SystemTime::UNIX_EPOCH + Duration::from_micros(n), n);
            let requests = (0..).zip(&self.listed).map(|(n, entry)| CopyRequest {
                wanted: entry.into(),
                octets: entry.octets,
                name: unique(n),
            });
            requests.collect()
        }

        fn copy(&self) -> Result<Vec<Option<MessageEntry>>, Error> {
            Copies::make(&self.source, &self.target, &self.requests(), letters).map(Copies::into_entries)
        }

        fn relocate(&self) -> Result<Vec<Option<MessageEntry>>, Error> {
            let requests = self.requests();
            let copies = Copies::make(&self.source, &self.target, &requests, letters)?;
            let (moved, done) = copies.remove_sources(&requests);
            done.map(|()| moved)
        }

        fn texts(&self, maildir: &Maildir) -> Vec<String> {
            let paths = ["new", "cur"].map(|part| files(maildir.path().join(part)));
            let mut texts: Vec<String> =
                paths.iter().flatten().map(|path| fs::read_to_string(path).unwrap()).collect();
            texts.sort();
            texts
        }
    }

    fn files(directory: PathBuf) -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    }

    /// The keyword `b` of INBOX is `x` in the folder, and `a` has no letter there.
    fn letters(flags: &[u8]) -> Vec<u8> {
        flags
            .iter()
            .filter_map(|flag| match flag {
                b'a' => None,
                b'b' => Some(b'x'),
                flag => Some(*flag),
            })
            .collect()
    }

    const ALL: [&str; 3] = ["one\n", "three", "two\ntwo\n"];

    #[test]
    fn y53_a_copy_is_the_same_file_with_the_flags_the_time_and_the_size() {
        let fixture = Fixture::new();
        let copies = fixture.copy().unwrap();
        for (entry, copy) in fixture.listed.iter().zip(&copies) {
            let copy = copy.as_ref().unwrap();
            assert_eq!((copy.version, copy.octets), (entry.version, entry.octets));
            assert_eq!(name::sizes_in_name(&copy.name), Some((entry.version.bytes, entry.octets)));
            let path = fixture
                .target
                .path()
                .join(copy.subdir.name())
                .join(String::from_utf8_lossy(&copy.name).as_ref());
            let file = fs::metadata(path).unwrap();
            assert_eq!((file.nlink(), file.modified().unwrap()), (2, time()));
        }
        let flags =
            copies.iter().flatten().map(|copy| (copy.subdir, name::flags(&copy.name))).collect::<Vec<_>>();
        assert_eq!(flags, [(Subdir::New, &b""[..]), (Subdir::Cur, b"Sx"), (Subdir::Cur, b"")]);
        assert_eq!(
            (fixture.texts(&fixture.source), fixture.texts(&fixture.target)),
            (texts(&ALL), texts(&ALL))
        );
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn y53_a_message_can_be_copied_and_moved_within_its_folder() {
        let fixture = Fixture::new();
        let requests = fixture.requests();
        let copies = Copies::make(&fixture.source, &fixture.source, &requests, <[u8]>::to_vec).unwrap();
        assert_eq!(fixture.texts(&fixture.source).len(), 6);
        let mut turn = CountSlice::unbounded(1000);
        assert_eq!(scan::scan(&fixture.source, [], &mut turn).unwrap().unwrap().messages.len(), 6);
        let (moved, done) = copies.remove_sources(&requests);
        done.unwrap();
        assert_eq!((moved.iter().flatten().count(), fixture.texts(&fixture.source)), (3, texts(&ALL)));
    }

    #[test]
    fn y54_messages_that_are_gone_changed_or_renamed_meanwhile_harm_no_others() {
        let fixture = Fixture::new();
        fs::remove_file(fixture.source.path().join("new/1.a")).unwrap();
        fs::rename(fixture.source.path().join("cur/2.b:2,Sab"), fixture.source.path().join("cur/2.b:2,RS"))
            .unwrap();
        fs::write(fixture.source.path().join("cur/3.c:2,"), "another text").unwrap();
        let moved = fixture.relocate().unwrap();
        assert_eq!(moved.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(name::flags(&moved[1].as_ref().unwrap().name), b"RS");
        assert_eq!(fixture.texts(&fixture.source), ["another text"]);
        assert_eq!(fixture.texts(&fixture.target), ["two\ntwo\n"]);
    }

    #[test]
    fn y55_a_copy_that_fails_at_any_step_leaves_none() {
        for number in 1.. {
            let fixture = Fixture::new();
            let plan = PlannedFault::new(fixture.spool.path(), number, FaultKind::Error);
            let result = fixture.copy();
            let Some(step) = plan.triggered_at() else { break };
            drop(plan);
            assert!(result.is_err(), "{step}");
            assert_eq!(fixture.texts(&fixture.target), texts(&[]), "{step}");
            assert_eq!(fixture.texts(&fixture.source), texts(&ALL), "{step}");
        }
    }

    #[test]
    fn y56_a_moved_message_is_never_lost_and_only_a_kill_shows_it_twice() {
        let mut steps = Vec::new();
        for kind in [FaultKind::Error, FaultKind::Panic] {
            for number in 1.. {
                let fixture = Fixture::new();
                let plan = PlannedFault::new(fixture.spool.path(), number, kind);
                let result = catch_unwind(AssertUnwindSafe(|| fixture.relocate())).ok();
                let hit = plan.triggered_at();
                drop(plan);
                let Some(step) = hit else { break };
                let case = format!("{kind:?} at {number}, {step}");
                steps.push(step);
                let (here, there) = (fixture.texts(&fixture.source), fixture.texts(&fixture.target));
                for text in ALL.map(str::to_owned) {
                    let places = [&here, &there].iter().filter(|texts| texts.contains(&text)).count();
                    assert!(places == 1 || (places == 2 && kind == FaultKind::Panic), "{case}: {places}");
                }
                assert!(result.is_none_or(|result| result.is_err()), "{case}");
                // The client asks again, for all that is left.
                fixture.relocate().unwrap();
                assert_eq!(fixture.texts(&fixture.source), texts(&[]), "{case}");
                assert!(
                    ALL.iter().all(|text| fixture.texts(&fixture.target).contains(&(*text).to_owned())),
                    "{case}"
                );
            }
        }
        let first = |step| steps.iter().position(|other| *other == step).expect(step);
        assert!(
            first("link copy") < first("fsync directory") && first("fsync directory") < first("remove moved")
        );
    }

    #[test]
    fn y57_a_message_on_another_file_system_is_copied_with_its_time() {
        let fixture = Fixture::new();
        let other = tempfile::tempdir().unwrap();
        let abroad = Spool::open(&other.path().join("spool")).unwrap().open_or_create_maildir("bob").unwrap();
        if abroad.id().0 == fixture.source.id().0 {
            return eprintln!("SKIPPED: temporary files are in memory");
        }
        let requests = fixture.requests();
        let copies = Copies::make(&fixture.source, &abroad, &requests, letters).unwrap();
        let (moved, done) = copies.remove_sources(&requests);
        done.unwrap();
        assert_eq!(fixture.texts(&abroad), texts(&ALL));
        assert_eq!(
            (fixture.texts(&fixture.source), files(abroad.path().join("tmp"))),
            (texts(&[]), Vec::new())
        );
        for (entry, copy) in fixture.listed.iter().zip(moved) {
            let copy = copy.unwrap();
            assert_eq!(
                (copy.version.bytes, copy.version.modified),
                (entry.version.bytes, entry.version.modified)
            );
        }
    }
}
