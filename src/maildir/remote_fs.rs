//! File systems that other machines also write to: their list, reads past their caches, and the time on their server.

use std::{
    os::fd::AsFd,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{self, AtFlags, OFlags, Statx, StatxFlags, Timespec, Timestamps, UTIME_NOW},
    io::Errno,
};

use super::{Error, Maildir, directory::FILE_MODE, lock};
use crate::local_fs::{is_local, is_one_of};

impl Maildir {
    /// Whether other machines may change it without an event from this machine's kernel.
    pub fn is_remote(&self) -> bool {
        is_one_of(self.root(), &REMOTE)
    }

    /// Whether this machine's kernel reports every change. If the spool is `shared`, only file systems that are known
    /// to be local count as such.
    pub fn has_change_events(&self, shared: bool) -> bool {
        if shared { is_local(self.root()) } else { !self.is_remote() }
    }

    /// Whether the event loop may read its messages from memory: opening a file that is in memory waits for nothing.
    pub(super) fn allows_cached_reads(new: impl AsFd, cur: impl AsFd) -> bool {
        is_one_of(new, &CACHED_READS) && is_one_of(cur, &CACHED_READS)
    }

    /// The time by the clock that stamps its files: `now` on this machine, otherwise the time of the file server, which
    /// may be wrong by hours. `None`: the time is unknown, because no file can be written.
    pub fn file_clock(&self, now: SystemTime) -> Option<SystemTime> {
        if self.is_remote() { self.probe_clock().ok() } else { Some(now) }
    }

    /// Lets the file system stamp a file of ours, and reads the stamp.
    fn probe_clock(&self) -> Result<SystemTime, Error> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        let stamp = || fs::utimensat(self.root(), lock::FILE, &times, AtFlags::SYMLINK_NOFOLLOW);
        let stamped = match stamp() {
            Err(Errno::NOENT) => {
                let flags =
                    OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                fs::openat(self.root(), lock::FILE, flags, FILE_MODE).and_then(|_| stamp())
            }
            done => done,
        };
        let read = stamped.and_then(|()| {
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
            fs::statx(self.root(), lock::FILE, flags, StatxFlags::MTIME)
        });
        let stat = read.map_err(|e| Error::at(self.path().join(lock::FILE), "stamp", e))?;
        let since = u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0);
        Ok(SystemTime::UNIX_EPOCH + Duration::new(since, stat.stx_mtime.tv_nsec))
    }
}

/// The state of an open directory. Clients of file servers answer a plain `fstat` from a cache, for up to a
/// minute on NFS; a login must see what another machine has acknowledged before it.
pub(super) fn fresh_stat(dir: impl AsFd) -> rustix::io::Result<Statx> {
    fs::statx(dir, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)
}

/// The `statfs` types of file systems whose files other machines may change.
const REMOTE: [u32; 17] = [
    0x6969,      // NFS
    0x00c3_6400, // Ceph
    0x6573_5546, // FUSE: GlusterFS, sshfs, virtiofs, …
    0x517b,      // SMB,
    0xff53_4d42, // CIFS,
    0xfe53_4d42, // SMB 2
    0x0102_1997, // 9P
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
    0x5346_414f, // AFS (OpenAFS)
    0x6b41_4653, // AFS (the kernel's)
    0x7375_7245, // Coda
    0x786f_4256, // shared folders of VirtualBox,
    0xbacb_acbc, // and of VMware
];

/// Local file systems that open a file in memory without waiting, and have the place of a small file's content in its
/// inode. Those that stack on others are not among them.
const CACHED_READS: [u32; 3] = [
    0xef53,      // ext4
    0x5846_5342, // XFS
    0x0102_1994, // tmpfs
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{local_fs::LOCAL, maildir::Spool};

    #[test]
    fn no_file_system_is_both_and_none_is_there_twice() {
        let mut all = [&REMOTE[..], &LOCAL[..]].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), REMOTE.len() + LOCAL.len());
    }

    #[test]
    fn the_file_systems_clock_is_read_by_a_stamp_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        for _ in 0..2 {
            let before = SystemTime::now() - Duration::from_secs(1); // a file system's clock ticks slowly
            let there = maildir.probe_clock().unwrap();
            assert!(before <= there && there <= SystemTime::now(), "{there:?}");
        }
        let long_ago = SystemTime::UNIX_EPOCH;
        if !maildir.is_remote() {
            assert_eq!(maildir.file_clock(long_ago), Some(long_ago));
        }
    }
}
