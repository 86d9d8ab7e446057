//! Reports that files may have changed, with inotify. It watches the directories of the files, because an editor puts another
//! file in the place of the old one.
//!
//! A report is a reason to look, and no report proves nothing: a directory above may be replaced. So its user looks from time to
//! time anyway. There is no watch on file systems that another machine may change.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

use crate::local_fs::is_local;

/// A watch of some files, which began before it is returned.
#[derive(Debug)]
pub(crate) struct FileWatch {
    events: OwnedFd,
    /// The names that matter; `None` if a link is involved, and then all do.
    names: Option<HashSet<OsString>>,
}

impl FileWatch {
    /// Watches the files, which may be missing. `None`: the kernel cannot tell of each change. May wait for a disk.
    pub(crate) fn begin(paths: &[PathBuf]) -> Option<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let mut names = Some(HashSet::new());
        for path in paths {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = fs::canonicalize(parent.unwrap_or(Path::new("."))).ok()?;
            let direct = parent.join(path.file_name()?);
            watch(&events, &parent)?;
            let target = fs::canonicalize(path).unwrap_or_else(|_| direct.clone());
            if target == direct {
                names
                    .iter_mut()
                    .for_each(|names| _ = names.insert(path.file_name().unwrap_or_default().to_owned()));
            } else {
                names = None;
                watch(&events, target.parent()?)?;
            }
        }
        Some(Self { events, names })
    }

    /// Becomes readable with the first event.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Takes the events so far. Returns whether a file may have changed.
    pub(crate) fn take_events(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        let mut may_have_changed = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let is_other = event.file_name().is_some_and(|name| !self.matters(name.to_bytes()));
                    may_have_changed |= !is_other || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return may_have_changed,
                Err(_) => return true,
            }
        }
    }

    fn matters(&self, name: &[u8]) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(std::ffi::OsStr::from_bytes(name)))
    }
}

fn watch(events: &OwnedFd, dir: &Path) -> Option<()> {
    let is_local = fs::File::open(dir).is_ok_and(is_local);
    let added = is_local.then(|| inotify::add_watch(events, dir, CHANGES));
    added?.ok().map(drop)
}

/// Another file in the place, a finished write, other rights, and the end of the directory itself.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_in_any_way_is_reported_and_those_of_other_files_are_not() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("users"), "a").unwrap();
        let Some(watch) = FileWatch::begin(&[at("users"), at("aliases")]) else { return };
        assert!(!watch.take_events());
        fs::write(at("other"), "x").unwrap();
        fs::rename(at("other"), at("log")).unwrap();
        assert!(!watch.take_events(), "another file");
        fs::write(at("users"), "b").unwrap();
        assert!(watch.take_events(), "in its place");
        fs::write(at("new"), "c").unwrap();
        fs::rename(at("new"), at("users")).unwrap();
        assert!(watch.take_events(), "another in its place");
        fs::write(at("aliases"), "").unwrap();
        assert!(watch.take_events(), "a new one");
        fs::remove_file(at("users")).unwrap();
        assert!(watch.take_events(), "gone");
    }

    #[test]
    fn a_link_is_followed_and_watched_itself() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for dir in ["one", "two"] {
            fs::create_dir(at(dir)).unwrap();
            fs::write(at(dir).join("users"), dir).unwrap();
        }
        symlink("one", at("now")).unwrap();
        symlink("now/users", at("users")).unwrap();
        let Some(watch) = FileWatch::begin(&[at("users")]) else { return };
        fs::write(at("one/users"), "more").unwrap();
        assert!(watch.take_events(), "its target");
        symlink("two", at("next")).unwrap();
        fs::rename(at("next"), at("now")).unwrap();
        assert!(watch.take_events(), "a link on the way");
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_watched() {
        assert!(FileWatch::begin(&["/nowhere/at/all".into()]).is_none());
    }
}
