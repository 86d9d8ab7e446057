//! The flag `$Forwarded` for Dovecot, which ignores its Maildir letter `P` and keeps it as a keyword.
//!
//! The rule: the keyword has its letter durably before a file name has it.

use rustix::{
    fs::{self, AtFlags},
    io::Errno,
};

use super::{
    Error, FileVersion, Kind, Maildir, MessageRef, Subdir, folders,
    keyword_file::{FORWARDED, Keywords},
    message::change_flags,
    name,
    sync_phase::SyncPart,
};

/// The result of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardedExport {
    /// Messages whose file names have the letter of the keyword instead of `P` now.
    pub renamed: usize,
    /// Messages that keep their `P`, because `dovecot-keywords` has no room, or cannot be read.
    pub without_room: usize,
    /// Messages that keep their `P`, because another file has the name, the name is too long, or a program has changed the file.
    pub kept: usize,
}

/// Gives the letter of the keyword `$Forwarded` to each message that has `P`, durably.
///
/// # Errors
/// The disk failed. Some messages may have the letter.
pub fn write(maildir: &Maildir) -> Result<ForwardedExport, Error> {
    let mut result = ForwardedExport::default();
    let mut files = folders::message_names(maildir)?;
    files.retain(|(_, name)| name::flags(name).contains(&b'P'));
    if files.is_empty() {
        return Ok(result);
    }
    let mut keywords = Keywords::load(maildir)?;
    let has_room = keywords.add(maildir, &[FORWARDED.to_owned()])?;
    let number = keywords.number_of(FORWARDED).filter(|_| has_room);
    let Some(letter) = number.and_then(|number| (b'a'..=b'z').nth(number)) else {
        return Ok(ForwardedExport { without_room: files.len(), ..result });
    };
    for (subdir, name) in &files {
        let version = match fs::statat(maildir.dir(*subdir), &**name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileVersion::of(&stat),
            Err(Errno::NOENT) => continue,
            Err(error) => {
                let path = maildir.path().join(subdir.name()).join(String::from_utf8_lossy(name).as_ref());
                return Err(Error::at(path, "stat", error));
            }
        };
        let renamed =
            change_flags(maildir, MessageRef { name, subdir: *subdir, version }, |subdir, letters| {
                // The file goes to `cur/`. One in `new/` has not been seen, whatever its name says.
                let stays = |letter: &u8| *letter != b'P' && (*letter != b'S' || subdir == Subdir::Cur);
                Some(letters.iter().copied().filter(stays).chain([letter]).collect())
            });
        match renamed {
            Ok(Some(renamed)) if name::flags(&renamed.to.1).contains(&b'P') => result.kept += 1,
            Ok(Some(_)) => result.renamed += 1,
            Ok(None) => {} // removed meanwhile
            Err(error) if error.kind() == Kind::Changed => result.kept += 1,
            Err(error) => return Err(error),
        }
    }
    for subdir in Subdir::ALL {
        maildir.sync_part(subdir, SyncPart::Flags)?;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::{keyword_file::FILE, uid_file::tests::mailbox};

    fn put(maildir: &Maildir, names: &[&str]) {
        names.iter().for_each(|name| std::fs::write(maildir.path().join(name), name).unwrap());
    }

    fn names(maildir: &Maildir) -> Vec<String> {
        let names = folders::message_names(maildir).unwrap().into_iter();
        let name = |(subdir, name): (Subdir, Box<[u8]>)| {
            format!("{}/{}", subdir.name(), String::from_utf8_lossy(&name))
        };
        let mut names: Vec<String> = names.map(name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn y272_dovecot_gets_the_flag_as_a_keyword() {
        let (_dir, maildir) = mailbox();
        put(&maildir, &["cur/1.a:2,S"]);
        assert_eq!(write(&maildir).unwrap(), ForwardedExport::default());
        assert!(!maildir.path().join(FILE).exists(), "no message has the flag");
        std::fs::write(maildir.path().join(FILE), "0 $Junk\n").unwrap();
        put(&maildir, &["cur/2.b:2,FPSa", "cur/3.c:2,PSb", "new/4.d:2,PS", "new/5.e"]);
        let all = ForwardedExport { renamed: 3, ..ForwardedExport::default() };
        assert_eq!(write(&maildir).unwrap(), all);
        assert_eq!(
            names(&maildir),
            ["cur/1.a:2,S", "cur/2.b:2,FSab", "cur/3.c:2,Sb", "cur/4.d:2,b", "new/5.e"]
        );
        let text = std::fs::read_to_string(maildir.path().join(FILE)).unwrap();
        assert_eq!(text, "0 $Junk\n1 $Forwarded\n");
        assert_eq!(write(&maildir).unwrap(), ForwardedExport::default(), "a second time");
    }

    #[test]
    fn y272_messages_that_keep_the_flag_from_dovecot_are_counted() {
        let (_dir, maildir) = mailbox();
        let many: String = (0..26).map(|n| format!("{n} k{n}\n")).collect();
        std::fs::write(maildir.path().join(FILE), &many).unwrap();
        put(&maildir, &["cur/1.a:2,PS", "cur/2.b:2,PS", "cur/2.b:2,Sa"]);
        let none = ForwardedExport { without_room: 2, ..ForwardedExport::default() };
        assert_eq!(write(&maildir).unwrap(), none);
        assert_eq!(std::fs::read_to_string(maildir.path().join(FILE)).unwrap(), many);
        std::fs::write(maildir.path().join(FILE), "0 $Forwarded\n").unwrap();
        let some = ForwardedExport { renamed: 1, kept: 1, without_room: 0 };
        assert_eq!(write(&maildir).unwrap(), some, "another file has the name");
        assert_eq!(names(&maildir), ["cur/1.a:2,Sa", "cur/2.b:2,PS", "cur/2.b:2,Sa"]);
    }
}
