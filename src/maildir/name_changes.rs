//! The names that have come and gone in a mailbox since its messages were listed.
//!
//! The rule: one reading of the names, and no look at a file that keeps its name and its inode. A file that another program
//! writes to in its place keeps both; whoever opens it compares its version.

use rustix::{fs::RawDir, io::Errno};

use super::{
    Error, FileName, Maildir, MessageEntry, Subdir, batch, name,
    scan::{DirTimes, dir_times},
};

/// The names that have come and gone.
#[derive(Debug)]
pub struct NameChanges {
    /// The times of the directories before they were read.
    pub times: DirTimes,
    /// Names that are no longer there, or belong to another file now.
    pub gone: Vec<FileName>,
    /// Names that are to be looked at.
    pub new: Vec<FileName>,
}

/// Compares the names in the directories with those of the messages that were listed. A directory is not read if it has the
/// time that it had `before`, unless a change may not show there. Returns `None` if a directory changes meanwhile, or if so
/// much has changed that a scan costs less than a look at each name.
pub fn name_changes<'a>(
    maildir: &Maildir,
    (before, may_hide_changes): (&DirTimes, bool),
    listed: impl Iterator<Item = &'a MessageEntry>,
) -> Result<Option<NameChanges>, Error> {
    let times = dir_times(maildir)?;
    let is_changed =
        |subdir: &Subdir| may_hide_changes || before[*subdir as usize] != times[*subdir as usize];
    let subdirs: Vec<Subdir> = Subdir::ALL.into_iter().filter(is_changed).collect();
    let mut known: [Vec<(u64, &[u8])>; 2] = Default::default();
    for entry in listed.filter(|entry| subdirs.contains(&entry.subdir)) {
        known[entry.subdir as usize].push((entry.version.inode, &entry.name));
    }
    let mut changes = NameChanges { times, gone: Vec::new(), new: Vec::new() };
    let mut buffer = batch::entry_buffer();
    for subdir in subdirs {
        let failed = |e: Errno| Error::at(maildir.path().join(subdir.name()), "read directory", e);
        // Numbers are faster to compare than names.
        let known = &mut known[subdir as usize];
        known.sort_unstable();
        let mut is_there = vec![false; known.len()];
        let mut dir = RawDir::new(batch::open_to_list(maildir.dir(subdir)).map_err(failed)?, &mut buffer);
        while let Some(entry) = dir.next() {
            let entry = entry.map_err(failed)?;
            let text = entry.file_name().to_bytes();
            match known.binary_search(&(entry.ino(), text)) {
                Ok(at) => is_there[at] = true,
                Err(_) if name::is_never_listed(text) => {}
                Err(_) => changes.new.push((subdir, text.into())),
            }
            if changes.new.len() > MAX_NEW {
                return Ok(None);
            }
        }
        let gone = known.iter().zip(is_there).filter(|(_, is_there)| !is_there);
        changes.gone.extend(gone.map(|((_, text), _)| (subdir, Box::from(*text))));
    }
    Ok((dir_times(maildir)? == times).then_some(changes))
}

/// New names above which a scan with all its threads costs less.
const MAX_NEW: usize = 1000;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::maildir::{Spool, scan, size_counter::CountSlice};

    fn names(names: &[FileName]) -> Vec<String> {
        let name = |(subdir, name): &FileName| format!("{}/{}", subdir.name(), String::from_utf8_lossy(name));
        let mut names: Vec<String> = names.iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn r17_names_that_came_went_or_belong_to_another_file_are_told_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(&home.path().join("spool")).unwrap();
        let maildir = spool.open_or_create_maildir("ann@example.test").unwrap();
        let at = |name: &str| maildir.path().join(name);
        for name in ["new/1.stays", "new/2.moves", "new/3.goes", "cur/4.replaced:2,", "cur/5.stays:2,S"] {
            fs::write(at(name), name).unwrap();
        }
        let mut turn = CountSlice::unbounded(1000);
        let scan = scan::scan(&maildir, [], &mut turn).unwrap().unwrap();
        let changes = |before: &DirTimes, may_hide: bool| {
            name_changes(&maildir, (before, may_hide), scan.messages.iter()).unwrap().unwrap()
        };
        let all = changes(&scan.times, true);
        assert!(all.new.is_empty() && all.gone.is_empty() && all.times == scan.times, "{all:?}");

        fs::rename(at("new/2.moves"), at("cur/2.moves:2,S")).unwrap();
        fs::remove_file(at("new/3.goes")).unwrap();
        fs::write(at("cur/other"), "another file").unwrap();
        fs::rename(at("cur/other"), at("cur/4.replaced:2,")).unwrap();
        for name in ["new/6.comes", "new/.hidden", "cur/7.trashed:2,T"] {
            fs::write(at(name), name).unwrap();
        }
        let all = changes(&[(0, 0); 2], false);
        assert_eq!(names(&all.new), ["cur/2.moves:2,S", "cur/4.replaced:2,", "new/6.comes"]);
        assert_eq!(names(&all.gone), ["cur/4.replaced:2,", "new/2.moves", "new/3.goes"]);
        let new = changes(&[(0, 0), all.times[1]], false);
        assert_eq!(names(&new.new), ["new/6.comes"]);
        assert_eq!(names(&new.gone), ["new/2.moves", "new/3.goes"]);
    }

    #[test]
    fn r17_a_mailbox_with_very_many_new_names_is_scanned() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(&home.path().join("spool")).unwrap();
        let maildir = spool.open_or_create_maildir("ann@example.test").unwrap();
        (0..=MAX_NEW).for_each(|n| fs::write(maildir.path().join(format!("new/{n}.a")), "a").unwrap());
        assert!(name_changes(&maildir, (&[(0, 0); 2], false), [].iter()).unwrap().is_none());
        fs::remove_file(maildir.path().join("new/0.a")).unwrap();
        let changes = name_changes(&maildir, (&[(0, 0); 2], false), [].iter()).unwrap().unwrap();
        assert_eq!(changes.new.len(), MAX_NEW);
    }
}
