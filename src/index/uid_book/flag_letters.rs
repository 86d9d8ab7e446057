//! The flags of a message as the letters of its file name tell them, in the folder that has the file.
//!
//! The rule: `$Forwarded` is one flag, whichever of its two letters a name has. The Maildir rules have `P` for it, which Dovecot
//! ignores; Dovecot has a keyword, and so a small letter. In a folder with that keyword a new name has the small letter alone:
//! Dovecot leaves a `P` in the name when a client removes the flag.

use crate::{
    maildir::{
        MessageEntry, Subdir,
        keyword_file::{self, Keywords},
        name,
    },
    proto::imap::flags::Flags,
};

/// The letters of flags in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlagLetters {
    /// The keyword `$Forwarded`. Empty: the folder has none.
    forwarded: Flags,
}

impl FlagLetters {
    /// The letters in a folder with these keywords.
    pub fn of(keywords: &Keywords) -> Self {
        let number = keywords.number_of(keyword_file::FORWARDED);
        Self { forwarded: number.map_or(Flags::empty(), Flags::of_keyword) }
    }

    /// The flags of a message with these letters. Only a file in `cur/` has been seen, whatever its name says.
    pub fn flags(self, subdir: Subdir, letters: &[u8]) -> Flags {
        let flags = Flags::of_letters(letters);
        let flags = if subdir == Subdir::New { flags.without(Flags::SEEN) } else { flags };
        match flags.intersects(self.forwarded) {
            true => flags.without(self.forwarded).with(Flags::FORWARDED),
            false => flags,
        }
    }

    /// The flags of a message.
    pub(super) fn flags_of(self, entry: &MessageEntry) -> Flags {
        self.flags(entry.subdir, name::flags(&entry.name))
    }

    /// The letters that a file name has for these flags, in the order that the Maildir rules ask for.
    pub fn letters(self, flags: Flags) -> impl Iterator<Item = u8> {
        let has_keyword = flags.intersects(Flags::FORWARDED) && !self.forwarded.is_empty();
        let named = if has_keyword { flags.without(Flags::FORWARDED).with(self.forwarded) } else { flags };
        named.letters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::uid_file::tests::mailbox;

    #[test]
    fn y269_the_keyword_and_the_letter_p_are_one_flag() {
        let (_dir, maildir) = mailbox();
        std::fs::write(maildir.path().join(keyword_file::FILE), "0 todo\n1 $forwarded\n").unwrap();
        let dovecot = FlagLetters::of(&Keywords::load(&maildir).unwrap());
        for name in [&b"Sb"[..], b"PS", b"PSb"] {
            let flags = dovecot.flags(Subdir::Cur, name);
            assert_eq!(flags, Flags::FORWARDED.with(Flags::SEEN), "{name:?}");
            assert_eq!(dovecot.letters(flags).collect::<Vec<_>>(), b"Sb", "{name:?}");
        }
        assert_eq!(dovecot.flags(Subdir::Cur, b"Sa"), Flags::of_letters(b"Sa"));
        let own = FlagLetters::default();
        assert_eq!(own.flags(Subdir::New, b"PSb"), Flags::of_letters(b"Pb"));
        assert_eq!(own.letters(Flags::of_letters(b"PSb")).collect::<Vec<_>>(), b"PSb");
    }
}
