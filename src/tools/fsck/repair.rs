//! Repairs. Each step first checks the file again, then makes one call that cannot destroy mail: a rename
//! that overwrites nothing, a mode change, or the removal of a file that is not mail.

use std::{ffi::CStr, os::fd::OwnedFd};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    finding::{Dir, FileRef, Finding, Repair},
    mailbox::{Mailbox, open_directory},
};
use crate::{
    maildir::{Error, message::c_string},
    safe_file::sync_directory,
};

impl Mailbox {
    /// Repairs these findings of this mailbox, durably. Returns one result for each.
    pub(crate) fn repair(&self, findings: &[Finding]) -> Vec<Result<(), Error>> {
        let mut touched: Vec<Dir> = Vec::new();
        let mut done: Vec<Result<(), Error>> = findings
            .iter()
            .map(|finding| {
                let FileRef { dir, name, .. } = &finding.file;
                let failed = |step| move |e: Errno| Error::at(self.path_of(*dir, name.to_bytes()), step, e);
                let fd = self.dir(*dir).ok_or(Errno::NOENT).map_err(failed("open directory"))?;
                repair_one(fd, self.owner, finding).map_err(failed(step(&finding.repair)))?;
                if !touched.contains(dir) {
                    touched.push(*dir);
                }
                Ok(())
            })
            .collect();
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
            let made = open_directory(dir, std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes()))?;
            sync_directory(made)
        }
    }
}

/// Fails unless the name still belongs to that inode.
fn check_inode(dir: &OwnedFd, name: &CStr, inode: u64) -> Result<(), Errno> {
    let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_ino == inode { Ok(()) } else { Err(Errno::STALE) }
}
