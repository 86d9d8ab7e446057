//! `.restante.uidvalidity`: the last UID validity that a folder of a user has got, in the mailbox of the user.
//!
//! The rule: each value is larger than all before, so that a folder that was removed and made again never has the UIDs of
//! the one before (RFC 9051 section 2.3.1.1). The time is the value if it is larger, so that the loss of the file does no
//! harm unless the clock goes back.

use std::{
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Error, Maildir,
    cache_file::open_in,
    directory::{FILE_MODE, open_directory},
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
    let value = last(&home, &path).saturating_add(1).max(seconds(now));
    write(maildir, (&home, &path), value)?;
    Ok(value)
}

/// Makes later values larger than this one, which another program has given.
///
/// # Errors
/// The disk failed.
pub fn raise_to(maildir: &Maildir, value: u32) -> Result<(), Error> {
    let (home, path) = home_of(maildir)?;
    if last(&home, &path) >= value { Ok(()) } else { write(maildir, (&home, &path), value) }
}

/// A value for a folder that cannot keep it.
pub fn unsaved(now: SystemTime) -> u32 {
    seconds(now)
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

/// The last value, or 0.
fn last(home: &OwnedFd, path: &Path) -> u32 {
    let mut text = String::new();
    let read = open_in(home, path, FILE).ok().and_then(|file| file.take(32).read_to_string(&mut text).ok());
    read.and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}

/// The number of lines in such a file that are none of it.
pub fn bad_lines(octets: &[u8]) -> usize {
    let text = std::str::from_utf8(octets).unwrap_or_default().trim();
    usize::from(octets.len() > 32 || text.parse::<u32>().is_err())
}

fn write(maildir: &Maildir, (home, path): (&OwnedFd, &Path), value: u32) -> Result<(), Error> {
    let text = format!("{value}\n");
    let mode = FILE_MODE.bits();
    safe_file::replace_in((maildir.tmp(), home), FILE.as_ref(), mode, text.as_bytes(), Durability::Durable)
        .map_err(|e| Error::at(path.join(FILE), "replace", e))
}

fn seconds(now: SystemTime) -> u32 {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::maildir::Spool;

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
        std::fs::write(dir.path().join("ann@example.test").join(FILE), "nonsense").unwrap();
        assert_eq!(next(&inbox, at(1_900_000_010)).unwrap(), 1_900_000_010);
    }
}
