//! Repairs. Each step first checks the file again, then makes one call that cannot destroy mail: a rename
//! that overwrites nothing, a mode change, or the removal of a file that is not mail.

use std::{
    ffi::{CStr, OsStr},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
    process::geteuid,
};

use super::{
    finding::{Dir, FileRef, Finding, Repair},
    mailbox::{Mailbox, open_directory},
    problem::Problem,
};
use crate::{
    maildir::{Error, Spool, message::c_string},
    safe_file::sync_directory,
};

impl Mailbox {
    /// Repairs these findings of this mailbox, durably. Returns one result for each.
    pub(crate) fn repair(&self, findings: &[Finding]) -> Vec<Result<(), Error>> {
        let mut touched: Vec<Dir> = Vec::new();
        let mut done: Vec<Result<(), Error>> = findings.iter().map(|_| Ok(())).collect();
        let mut repair = |finding: &Finding| {
            let FileRef { dir, name, .. } = &finding.file;
            let failed = |step| move |e: Errno| Error::at(self.path_of(*dir, name.to_bytes()), step, e);
            let fd = self.dir(*dir).ok_or(Errno::NOENT).map_err(failed("open directory"))?;
            repair_one(fd, self.owner, finding).map_err(failed(step(&finding.repair)))?;
            if !touched.contains(dir) {
                touched.push(*dir);
            }
            Ok(())
        };
        // A mode is changed under the name that was found, so before the file gets another one.
        for modes in [true, false] {
            let of_kind = |finding: &Finding| matches!(finding.repair, Repair::Mode(_)) == modes;
            let some = findings.iter().zip(&mut done).filter(|(finding, _)| of_kind(finding));
            some.for_each(|(finding, done)| *done = repair(finding));
        }
        for dir in touched {
            let Some(fd) = self.dir(dir) else { continue };
            if let Err(error) = sync_directory(fd) {
                let failed = || Error::at(self.path_of(dir, b"."), "fsync directory", error);
                let here = findings.iter().zip(&mut done).filter(|(finding, _)| finding.file.dir == dir);
                here.for_each(|(_, done)| *done = Err(failed()));
            }
        }
        done
    }
}

/// A mailbox or folder that cannot be opened, because its mode keeps out its owner, who is the user of this process.
#[derive(Debug)]
pub(crate) struct ClosedDirectory<'a> {
    above: &'a OwnedFd,
    pub(crate) finding: Finding,
}

impl<'a> ClosedDirectory<'a> {
    /// A directory of the spool, if it is closed so.
    pub(crate) fn of_mailbox(spool: &'a Spool, name: &OsStr) -> Option<Self> {
        Self::of(spool.dir(), spool.path().join(name), name)
    }

    /// A directory of the mailbox, if it is closed so.
    pub(crate) fn of_folder(mailbox: &'a Mailbox, name: &OsStr) -> Option<Self> {
        Self::of(&mailbox.root, mailbox.path.join(name), name)
    }

    fn of(above: &'a OwnedFd, path: PathBuf, name: &OsStr) -> Option<Self> {
        let stat = fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let (me, mode) = (geteuid(), stat.st_mode & 0o7777);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // No mode keeps root out.
        if !is_directory || mode & 0o500 == 0o500 || me.is_root() || stat.st_uid != me.as_raw() {
            return None;
        }
        let finding = Finding {
            path,
            problem: Problem::ClosedToOwner,
            detail: format!("mode {mode:04o} does not give its owner rwx"),
            repair: Repair::Mode((mode | 0o700) & !0o007),
            file: FileRef { dir: Dir::Root, name: c_string(name.as_bytes().to_vec()), inode: stat.st_ino },
        };
        Some(Self { above, finding })
    }

    /// Opens it to its owner.
    pub(crate) fn open(&self) -> Result<(), Error> {
        let opened = repair_one(self.above, geteuid().as_raw(), &self.finding);
        opened.map_err(|error| Error::at(&self.finding.path, "chmod", error))
    }
}

fn step(repair: &Repair) -> &'static str {
    match repair {
        Repair::Manual(_) => "mend",
        Repair::Rename(_) => "rename",
        Repair::Remove => "unlink",
        Repair::Mode(_) => "chmod",
        Repair::MakeDirectory => "make directory",
    }
}

fn repair_one(dir: &OwnedFd, owner: u32, finding: &Finding) -> Result<(), Errno> {
    let FileRef { name, inode, .. } = &finding.file;
    match &finding.repair {
        Repair::Manual(_) => Err(Errno::OPNOTSUPP),
        Repair::Rename(to) => {
            let to = c_string(to.clone());
            match check_inode(dir, name, *inode) {
                Ok(()) => fs::renameat_with(dir, name, dir, &to, RenameFlags::NOREPLACE),
                // The repair of another finding has renamed it.
                Err(Errno::NOENT) => check_inode(dir, &to, *inode),
                Err(error) => Err(error),
            }
        }
        Repair::Remove => {
            check_inode(dir, name, *inode)?;
            fs::unlinkat(dir, name, AtFlags::empty())
        }
        Repair::Mode(mode) => {
            let file =
                fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let stat = fs::fstat(&file)?;
            if stat.st_ino != *inode || stat.st_uid != owner {
                return Err(Errno::STALE);
            }
            // Through the open file, because chmod of a name would follow a link. The file itself may not be
            // openable.
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            fs::chmodat(fs::CWD, path, Mode::from_raw_mode(*mode), AtFlags::empty())
        }
        Repair::MakeDirectory => {
            match fs::mkdirat(dir, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {} // the server created it meanwhile
                Err(error) => return Err(error),
            }
            let made = open_directory(dir, OsStr::from_bytes(name.to_bytes()))?;
            sync_directory(made)
        }
    }
}

/// Fails unless the name still belongs to that inode.
fn check_inode(dir: &OwnedFd, name: &CStr, inode: u64) -> Result<(), Errno> {
    let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_ino == inode { Ok(()) } else { Err(Errno::STALE) }
}
