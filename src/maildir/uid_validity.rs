//! `.restante.uidvalidity`: the last UID validity that a folder of a user has got, in the mailbox of the user.
//!
//! The rule: each value is larger than all before, so that a folder that was removed and made again never has the UIDs of
//! the one before (RFC 9051 section 2.3.1.1). So no folder uses a value that is not durable here: where the disk is full, a new
//! folder cannot be selected. The time is the value if it is larger, so that the loss of the file does no harm unless the clock
//! goes back. The servers of a shared spool take the next value under the lock on the folders of the mailbox, one at a time.
//!
//! Lines after the first one have the values that stand in a list of another server too, because a folder has taken the list over or
//! was exported. Such a list is not taken over again: after the loss of our UIDs it lacks those given since.

use std::{
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rustix::fs::OFlags;

use super::{
    Error, Kind, Maildir,
    cache_file::{is_foreign, open_in},
    directory::{FILE_MODE, open_directory},
    fault_points::fault_point,
    index_file::{self, HEADERS, Headers},
    lock::Lock,
};
use crate::{
    deferred_drop::DeferredFd,
    safe_file::{self, Durability},
};

/// The file, in the mailbox of a user.
pub const FILE: &str = ".restante.uidvalidity";

/// The next UID validity of a folder of the mailbox to which `maildir` belongs. It is durable when this returns.
///
/// # Errors
/// The disk failed.
pub fn next(maildir: &Maildir, now: SystemTime) -> Result<u32, Error> {
    let (home, path) = home_of(maildir)?;
    let _writer = Writer::only(&home, &path)?;
    let mut content = Content::read(&home, &path)?;
    content.last = content.last.saturating_add(1).max(seconds(now));
    write(maildir, (&home, &path), &content)?;
    Ok(content.last)
}

/// Makes later values larger than this one, which another program has given.
///
/// # Errors
/// The disk failed.
pub fn raise_to(maildir: &Maildir, value: u32) -> Result<(), Error> {
    let (home, path) = home_of(maildir)?;
    if Content::read(&home, &path)?.last >= value {
        return Ok(());
    }
    let _writer = Writer::only(&home, &path)?;
    let content = Content::read(&home, &path)?;
    let larger = Content { last: value, ..content };
    if content.last >= value { Ok(()) } else { write(maildir, (&home, &path), &larger) }
}

/// Remembers that a folder shares this value with a list of another server.
///
/// # Errors
/// The disk failed.
pub fn record(maildir: &Maildir, value: u32) -> Result<(), Error> {
    let (home, path) = home_of(maildir)?;
    let _writer = Writer::only(&home, &path)?;
    let mut content = Content::read(&home, &path)?;
    let is_lower = content.last < value;
    content.last = content.last.max(value);
    let is_new = content.add(value, &folder_name(maildir));
    if is_lower || is_new { write(maildir, (&home, &path), &content) } else { Ok(()) }
}

/// Whether the folder has shared this value with a list of another server. Another folder of that name may have been this one, unless it
/// has the value still. If its file cannot be read, the value counts as used: that costs a download, and never gives a UID twice.
///
/// # Errors
/// The disk failed.
pub fn is_used(maildir: &Maildir, value: u32) -> Result<bool, Error> {
    let (home, path) = home_of(maildir)?;
    let content = Content::read(&home, &path)?;
    let name = folder_name(maildir);
    let has_it_still = |folder: &str| present_value((&home, &path), folder) == Some(value);
    Ok(content.folders().any(|(used, folder)| used == value && (folder == name || !has_it_still(folder))))
}

/// The value in the UID file of a folder. `None`: there is none that can be read.
fn present_value((home, path): (&OwnedFd, &Path), folder: &str) -> Option<u32> {
    let path = path.join(folder);
    let directory = open_directory(home, folder, &path).ok()?;
    let file = open_in(&directory, &path, index_file::FILE).ok()?;
    let mut octets = [0; HEADERS];
    file.read_exact_at(&mut octets, 0).ok()?;
    Some(Headers::decode(&octets)?.header.uid_validity)
}

/// The mailbox that has a folder, or the mailbox itself.
fn home_of(maildir: &Maildir) -> Result<(DeferredFd, PathBuf), Error> {
    let is_folder = maildir.path().file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let (name, path) = match maildir.path().parent().filter(|_| is_folder) {
        Some(home) => ("..", home),
        None => (".", maildir.path()),
    };
    Ok((open_directory(maildir.root(), name, path)?, path.to_owned()))
}

/// The name of a folder in the mailbox of its user, `.` for the mailbox itself. It is one line.
fn folder_name(maildir: &Maildir) -> String {
    let name = maildir.path().file_name().map(|name| name.to_string_lossy().replace(char::is_control, "?"));
    name.filter(|name| name.starts_with('.')).unwrap_or_else(|| ".".into())
}

/// The content of the file.
#[derive(Debug, Default, Clone)]
struct Content {
    /// The last value.
    last: u32,
    /// A line for each folder with a list of another server: the value, a blank and the name of the folder.
    lines: String,
}

impl Content {
    /// Nothing, if there is no file, or one that is none. A file that cannot be read now may have any value.
    fn read(home: &OwnedFd, path: &Path) -> Result<Self, Error> {
        let file = match open_in(home, path, FILE) {
            Err(error) if error.kind() == Kind::Gone || is_foreign(&error) => return Ok(Self::default()),
            opened => opened?,
        };
        let mut octets = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut octets).map_err(|e| Error::at(path.join(FILE), "read", e))?;
        let text = String::from_utf8_lossy(&octets);
        let (first, lines) = text.split_once('\n').unwrap_or((&text, ""));
        let whole = lines.rfind('\n').map_or(0, |end| end + 1);
        Ok(Self { last: first.trim().parse().unwrap_or(0), lines: lines[..whole].to_owned() })
    }

    fn folders(&self) -> impl Iterator<Item = (u32, &str)> {
        self.lines.lines().filter_map(folder_of)
    }

    /// Adds a line. `false`: it was there. In a full file the oldest lines give way: the next load of their folders adds them again, unless
    /// our UIDs are lost before.
    fn add(&mut self, value: u32, name: &str) -> bool {
        if self.folders().any(|known| known == (value, name)) {
            return false;
        }
        self.lines.push_str(&format!("{value} {name}\n"));
        while self.lines.len() > MAX_LINES {
            let oldest = self.lines.find('\n').map_or(self.lines.len(), |end| end + 1);
            self.lines.drain(..oldest);
        }
        true
    }
}

fn folder_of(line: &str) -> Option<(u32, &str)> {
    let (value, name) = line.split_once(' ')?;
    Some((value.parse().ok()?, name)).filter(|(_, name)| !name.is_empty())
}

/// The right to change the file, which the folders of a user share.
struct Writer {
    _other_processes: Lock,
    _other_threads: MutexGuard<'static, ()>,
}

impl Writer {
    /// Waits for the other threads that change the file, and then for the other processes. Other users hardly ever wait.
    fn only(home: &OwnedFd, path: &Path) -> Result<Self, Error> {
        static WRITERS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];
        let stat = rustix::fs::fstat(home).map_err(|e| Error::at(path, "stat", e))?;
        let number = usize::try_from((stat.st_dev ^ stat.st_ino) % WRITERS.len() as u64).unwrap_or(0);
        let other_threads = WRITERS[number].lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { _other_processes: Lock::of_folders((home, path))?, _other_threads: other_threads })
    }
}

/// The number of lines in such a file that are none of it.
pub fn bad_lines(octets: &[u8]) -> usize {
    let text = String::from_utf8_lossy(octets);
    let mut lines = text.lines();
    let is_value = lines.next().is_some_and(|first| first.trim().parse::<u32>().is_ok());
    let is_long = octets.len() as u64 > MAX_FILE;
    usize::from(is_long || !is_value) + lines.filter(|line| folder_of(line).is_none()).count()
}

fn write(maildir: &Maildir, (home, path): (&OwnedFd, &Path), content: &Content) -> Result<(), Error> {
    let first = format!("{}\n", content.last);
    let text = format!("{first}{}", content.lines);
    let mode = FILE_MODE.bits();
    fault_point(path, "write uid validity")?;
    let replaced = safe_file::replace_in(
        (maildir.tmp(), home),
        FILE.as_ref(),
        mode,
        text.as_bytes(),
        Durability::Durable,
    )
    .map_err(|e| Error::at(path.join(FILE), "replace", e));
    match replaced {
        Err(error) if matches!(error.kind(), Kind::Full | Kind::Quota) => {
            overwrite(home, first.as_bytes()).map_err(|_| error)
        }
        replaced => replaced,
    }
}

/// Writes a value in the place of one with as many digits, which needs no room on most file systems. One sector has it, so that a
/// power cut leaves one of the two.
fn overwrite(home: &OwnedFd, first: &[u8]) -> io::Result<()> {
    let file = safe_file::open_to_write_in(home, FILE.as_ref(), OFlags::RDWR)?;
    let mut earlier = vec![0; first.len()];
    file.read_exact_at(&mut earlier, 0)?;
    if earlier.iter().position(|octet| *octet == b'\n') != Some(first.len() - 1) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.write_all_at(first, 0)?;
    file.sync_all()
}

fn seconds(now: SystemTime) -> u32 {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

/// Octets that are read of the file.
const MAX_FILE: u64 = 1 << 20;
/// Octets of its lines about folders.
const MAX_LINES: usize = (1 << 20) - 32;

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;
    use crate::maildir::{
        Spool,
        fault_points::memory_dir,
        uid_file::{UidFile, UidHeader},
    };

    /// Takes many values, if another test has started this process for that.
    #[test]
    fn takes_values_for_another_process() {
        let Some(spool) = std::env::var_os(SPOOL) else { return };
        let inbox =
            Spool::open(Path::new(&spool)).unwrap().open_or_create_maildir("ann@example.test").unwrap();
        for _ in 0..VALUES {
            let value = loop {
                match next(&inbox, UNIX_EPOCH) {
                    // The other process may be faster for longer than the patience, and a client would try again.
                    Err(error) if error.kind() == Kind::Locked => {}
                    taken => break taken.unwrap(),
                }
            };
            println!("value {value}");
        }
    }

    #[test]
    fn y206_no_two_servers_of_a_shared_spool_give_one_uid_validity() {
        let dir = memory_dir();
        Spool::open(dir.path()).unwrap().open_or_create_maildir("ann@example.test").unwrap();
        let server = || {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "--nocapture",
                    "maildir::uid_validity::tests::takes_values_for_another_process",
                ])
                .env(SPOOL, dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let outputs = [server(), server()].map(|server| server.wait_with_output().unwrap());
        let texts = outputs.map(|output| String::from_utf8(output.stdout).unwrap());
        let words: Vec<&str> = texts.iter().flat_map(|text| text.split_whitespace()).collect();
        let of_word = |pair: &[&str]| (pair[0] == "value").then(|| pair[1].parse().unwrap());
        let mut values: Vec<u32> = words.windows(2).filter_map(of_word).collect();
        values.sort_unstable();
        assert_eq!(values, (1..=2 * VALUES).collect::<Vec<_>>());
    }

    /// The environment variable with the spool of such a process.
    const SPOOL: &str = "RESTANTE_TEST_SPOOL";
    /// The number of its values.
    const VALUES: u32 = 200;

    #[test]
    fn y22_no_two_folders_of_a_user_get_one_uid_validity_even_if_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let inbox = spool.open_or_create_maildir("ann@example.test").unwrap();
        let lists = spool.open_or_create_folder("ann@example.test", ".lists").unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let values = [
            next(&inbox, at(1_700_000_000)),
            next(&lists, at(1_700_000_000)),
            next(&lists, at(1_600_000_000)),
            next(&inbox, at(1_800_000_000)),
        ];
        let values = values.map(Result::unwrap);
        assert_eq!(values, [1_700_000_000, 1_700_000_001, 1_700_000_002, 1_800_000_000]);
        raise_to(&lists, 1_900_000_000).unwrap();
        raise_to(&lists, 5).unwrap();
        assert_eq!(next(&inbox, at(1_800_000_000)).unwrap(), 1_900_000_001);
        let file = dir.path().join("ann@example.test").join(FILE);
        let home = std::fs::File::open(dir.path().join("ann@example.test")).unwrap().into();
        overwrite(&home, b"1900000002\n").unwrap();
        assert_eq!(next(&inbox, at(1_800_000_000)).unwrap(), 1_900_000_003);
        for longer_or_shorter in [&b"19000000040\n"[..], b"190000000\n"] {
            overwrite(&home, longer_or_shorter).unwrap_err();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "1900000003\n", "a value of ours is in no list of another server");
        assert_eq!(bad_lines(text.as_bytes()), 0);
        assert_eq!(bad_lines(b"5\n4 .a\nx .b\n3\n"), 2);
        std::fs::write(&file, "nonsense").unwrap();
        assert_eq!(next(&inbox, at(1_900_000_010)).unwrap(), 1_900_000_010);
    }

    #[test]
    fn y261_a_value_is_used_if_this_folder_has_had_it_or_one_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let [inbox, lists, work] = ["", ".lists", ".work"].map(|name| match name {
            "" => spool.open_or_create_maildir("ann@example.test").unwrap(),
            name => spool.open_or_create_folder("ann@example.test", name).unwrap(),
        });
        for (folder, value) in [(&inbox, 100), (&lists, 101), (&lists, 101)] {
            record(folder, value).unwrap();
            begin(folder, value);
        }
        let used = |value| [&inbox, &lists, &work].map(|folder| is_used(folder, value).unwrap());
        // Courier gives folders that were made in one second the same value.
        assert_eq!(used(100), [true, false, false]);
        assert_eq!(used(101), [false, true, false]);
        assert_eq!(used(102), [false; 3]);
        let home = dir.path().join("ann@example.test");
        std::fs::rename(home.join(".lists"), home.join(".other")).unwrap();
        assert_eq!(used(101), [true; 3], "the folder may be any by now");
        assert_eq!(std::fs::read_to_string(home.join(FILE)).unwrap(), "101\n100 .\n101 .lists\n");
    }

    #[test]
    fn y264_the_name_of_a_renamed_folder_may_be_that_of_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        spool.open_or_create_maildir("ann@example.test").unwrap();
        let [old, renamed] = [".Archive", ".Archive-2025"]
            .map(|name| spool.open_or_create_folder("ann@example.test", name).unwrap());
        begin(&old, 101);
        record(&old, 101).unwrap();
        let is_used = || is_used(&renamed, 101).unwrap();
        assert!(!is_used(), "the folder itself is there");
        begin(&old, 102);
        assert!(is_used(), "a new folder has the name");
        std::fs::write(old.path().join(index_file::FILE), "damaged").unwrap();
        assert!(is_used(), "the folder may have any value");
    }

    /// Gives a folder a UID file with this value.
    fn begin(folder: &Maildir, uid_validity: u32) {
        let header = UidHeader { uid_validity, uid_limit: 1, modseq_limit: 1 };
        UidFile::create(folder, header, &[]).unwrap();
    }

    #[test]
    fn y265_the_file_grows_with_lists_of_other_servers_alone_and_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let inbox = spool.open_or_create_maildir("ann@example.test").unwrap();
        record(&inbox, 7).unwrap();
        for _ in 0..20 {
            next(&inbox, UNIX_EPOCH).unwrap();
        }
        let text = std::fs::read_to_string(dir.path().join("ann@example.test").join(FILE)).unwrap();
        assert_eq!(text, "27\n7 .\n");
        let mut content = Content { last: 2, lines: "1 .old\n".repeat(MAX_LINES / 7) };
        assert!(content.add(2, ".new") && !content.add(2, ".new"));
        assert!(content.lines.len() <= MAX_LINES && content.lines.ends_with("\n2 .new\n"));
    }
}
