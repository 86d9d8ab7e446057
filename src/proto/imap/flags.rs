//! The flags and keywords of a message, as the letters of its file name have them.

use std::fmt;

/// A set of flags: those of the Maildir rules, and up to 26 keywords, whose names each folder has in a file of its own.
/// `\Recent` is none of them, because it belongs to a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Flags(u32);

impl Flags {
    /// `\Draft`
    pub const DRAFT: Self = Self::of_letter(b'D');
    /// `\Flagged`
    pub const FLAGGED: Self = Self::of_letter(b'F');
    /// `$Forwarded` (RFC 5788): the Maildir rules call it "passed".
    pub const FORWARDED: Self = Self::of_letter(b'P');
    /// `\Answered`
    pub const ANSWERED: Self = Self::of_letter(b'R');
    /// `\Seen`
    pub const SEEN: Self = Self::of_letter(b'S');
    /// `\Deleted`
    pub const DELETED: Self = Self::of_letter(b'T');
    /// The names of the flags that need no keyword, in the order in which a response has them.
    pub const NAMED: [(Self, &'static str); 6] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
        (Self::FORWARDED, "$Forwarded"),
    ];
    /// The most keywords of a folder: one for each small letter.
    pub const MAX_KEYWORDS: usize = 26;

    /// No flag.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// The set with these bits, as a file of ours has them.
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits of the set, which stay in files of ours.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// The flag of a letter. Other letters than those of flags and keywords have none.
    pub const fn of_letter(letter: u8) -> Self {
        Self(match letter {
            b'a'..=b'z' => 1 << (letter - b'a'),
            b'D' => 1 << 26,
            b'F' => 1 << 27,
            b'P' => 1 << 28,
            b'R' => 1 << 29,
            b'S' => 1 << 30,
            b'T' => 1 << 31,
            _ => 0,
        })
    }

    /// The flags of the letters of a file name.
    pub fn of_letters(letters: &[u8]) -> Self {
        letters.iter().fold(Self::empty(), |flags, letter| flags.with(Self::of_letter(*letter)))
    }

    /// The letters, in the order that the Maildir rules ask for.
    pub fn letters(self) -> impl Iterator<Item = u8> {
        (b'A'..=b'z').filter(move |letter| self.intersects(Self::of_letter(*letter)))
    }

    /// The flag of the keyword with a number from 0.
    pub fn of_keyword(number: usize) -> Self {
        u8::try_from(number)
            .ok()
            .filter(|n| usize::from(*n) < Self::MAX_KEYWORDS)
            .map_or(Self(0), |n| Self(1 << n))
    }

    /// The flag of a name that needs no keyword, in any case.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let named = |(_, known): &&(Self, &str)| name.eq_ignore_ascii_case(known.as_bytes());
        Self::NAMED.iter().find(named).map(|(flag, _)| *flag)
    }

    /// The numbers of the keywords in the set.
    pub fn keywords(self) -> impl Iterator<Item = usize> {
        (0..Self::MAX_KEYWORDS).filter(move |number| self.0 & (1 << number) != 0)
    }

    /// The flags of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the sets have a flag in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is no flag.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().try_for_each(|letter| write!(f, "{}", char::from(letter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_a_file_name_are_flags_and_back_in_order() {
        let flags = Flags::of_letters(b"SRabS?");
        assert!(flags.intersects(Flags::SEEN) && flags.intersects(Flags::ANSWERED));
        assert_eq!(flags.letters().collect::<Vec<_>>(), b"RSab");
        assert_eq!(flags.keywords().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(Flags::of_keyword(25), Flags::of_letter(b'z'));
        assert!(Flags::of_keyword(26).is_empty());
    }

    #[test]
    fn a_named_flag_has_any_case() {
        assert_eq!(Flags::of_name(b"\\seen"), Some(Flags::SEEN));
        assert_eq!(Flags::of_name(b"$FORWARDED"), Some(Flags::FORWARDED));
        assert_eq!(Flags::of_name(b"\\Recent"), None);
    }
}
