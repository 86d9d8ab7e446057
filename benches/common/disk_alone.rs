//! The limit of the disk: what makes a message durable, without a mail server around it.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rustix::fs::{Mode, OFlags, RenameFlags};

use super::{
    Dice, maildir, message,
    smtp_load::{MAILBOXES, Quota},
};

/// As many threads as there were sessions, each of which creates a file in `tmp/`, writes it, syncs it, renames it, and
/// syncs `new/`, again and again. Returns the messages, and the seconds that they took.
pub(crate) fn disk_alone(dir: &Path, seconds: f64, size: usize, threads: usize) -> io::Result<(u64, f64)> {
    let mailboxes = (0..MAILBOXES)
        .map(|number| {
            let path = dir.join(number.to_string());
            maildir(&path)?;
            Ok((directory(&path.join("tmp"))?, directory(&path.join("new"))?))
        })
        .collect::<io::Result<Vec<_>>>()?;
    rustix::fs::syncfs(&directory(dir)?)?;
    let body = message(size, "\n");
    let quota = Quota::new(seconds, size);
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let file_messages = |thread| -> io::Result<()> {
            let mut dice = Dice::new(thread);
            for sequence in 0.. {
                if !quota.take() {
                    break;
                }
                let (tmp, new) = &mailboxes[dice.below(MAILBOXES)];
                file(tmp, new, &format!("1.T{thread}Q{sequence}.bench"), &body)?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || file_messages(n))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that does not panic"))
    })?;
    Ok((done.into_inner(), quota.start.elapsed().as_secs_f64()))
}

/// Makes one message durable and visible, with only the steps that this needs.
fn file(tmp: &OwnedFd, new: &OwnedFd, name: &str, body: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(tmp, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, body)?;
    file.sync_all()?;
    rustix::fs::renameat_with(tmp, name, new, name, RenameFlags::NOREPLACE)?;
    Ok(rustix::fs::fsync(new)?)
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
