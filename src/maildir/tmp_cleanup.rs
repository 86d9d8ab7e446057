//! Removes the files of programs that died during a delivery: those in `tmp/` that are too old to be still in use (the
//! Maildir rule is 36 hours).

use std::time::{Duration, SystemTime};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Stat},
    io::Errno,
};

use super::{Error, Maildir, Spool};

/// Removes files from the `tmp/` of every mailbox and folder if their last write or rename is more than `age` before
/// `now`, and returns their number. On a file server its own time counts: if our clock is days ahead, files that
/// another machine is writing would look old. Files that cannot be checked or removed are skipped, and are in the list
/// of errors.
pub fn clean_tmp(spool: &Spool, now: SystemTime, age: Duration) -> (usize, Vec<Error>) {
    let (mut removed, mut errors) = (0, Vec::new());
    for maildir in spool.maildirs() {
        match maildir.and_then(|maildir| clean_maildir_tmp(&maildir, now, age)) {
            Ok(count) => removed += count,
            Err(error) => errors.push(error),
        }
    }
    (removed, errors)
}

/// Whether a file in `tmp/` belongs to a dead program, and is not being written.
pub fn is_stale(stat: &Stat, now: SystemTime, age: Duration) -> bool {
    let since = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let limit = i64::try_from(since).unwrap_or(i64::MAX);
    // Both times: an unpacked archive brings old modification times with it.
    let is_old = stat.st_mtime < limit && stat.st_ctime < limit;
    is_old && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn clean_maildir_tmp(maildir: &Maildir, now: SystemTime, age: Duration) -> Result<usize, Error> {
    let Some(now) = maildir.file_clock(now) else { return Ok(0) };
    let failed = |step| move |e: Errno| Error::at(maildir.path().join("tmp"), step, e);
    let mut removed = 0;
    for entry in Dir::read_from(maildir.tmp()).map_err(failed("read directory"))? {
        let entry = entry.map_err(failed("read directory"))?;
        let Ok(stat) = fs::statat(maildir.tmp(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            continue; // it has just been delivered
        };
        if is_stale(&stat, now, age) {
            match fs::unlinkat(maildir.tmp(), entry.file_name(), AtFlags::empty()) {
                Ok(()) => removed += 1,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed("unlink")(error)),
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::PARTS;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn m12_only_what_is_old_by_both_times_goes_and_only_from_tmp() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        spool.open_or_create_maildir("bob").unwrap();
        let sent = dir.path().join("bob/.Sent");
        for part in PARTS {
            std::fs::create_dir_all(sent.join(part)).unwrap();
        }
        std::fs::write(dir.path().join("not a mailbox"), "").unwrap();
        std::fs::create_dir(dir.path().join("nor.this")).unwrap();
        let files = ["bob/tmp/1.x", "bob/new/2.x", "bob/.Sent/tmp/3.x"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::write(file, "x").unwrap();
        }
        // An old modification time alone says nothing.
        let old = SystemTime::now() - 10 * DAY;
        std::fs::File::options().write(true).open(&files[0]).unwrap().set_modified(old).unwrap();
        let (removed, errors) = clean_tmp(&spool, SystemTime::now(), DAY);
        assert_eq!((removed, errors.len()), (0, 0), "{errors:?}");

        let (removed, errors) = clean_tmp(&spool, SystemTime::now() + 2 * DAY, DAY);
        assert_eq!((removed, errors.len()), (2, 0), "{errors:?}");
        assert_eq!(files.map(|file| file.exists()), [false, true, false]);
    }
}
