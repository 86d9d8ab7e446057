//! The state of a message: flags in a Maildir file name, and the fields `Status:` and `X-Status:` in an mbox.
//!
//! Export adds these fields at the end of the header, and import removes them again, so that a message comes
//! back unchanged. But a message may already have such fields, and an mbox must come back unchanged too. Both
//! directions therefore follow one rule with an exact inverse: fields that already state the right flags stay
//! as they are, and nothing is added or removed.
//!
//! Thunderbird, Evolution and Gmail keep the state in fields of their own ([`reader_fields`]), which stay
//! in the message. They count as well, unless a trailer of ours says otherwise: then it has an `X-Status:`, even an empty one.

use super::reader_fields;
use crate::maildir::{Subdir, name};

/// The state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// No mail reader has seen it.
    New,
    /// A mail reader has seen it and set these flags.
    Old(Flags),
}

/// The flags that both forms have, as bits in the order of [`LETTERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// The flags with these letters of a Maildir.
    fn of_letters(letters: &[u8]) -> Self {
        flags(|(flag, ..)| letters.contains(flag))
    }

    /// All flags of both.
    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

fn flags_of_readers(fields: &[u8]) -> Flags {
    Flags::of_letters(&reader_fields::letters(fields))
}

/// Maildir flag, mbox field, and letter in that field.
const LETTERS: [(u8, FlagField, u8); 5] = [
    (b'D', FlagField::XStatus, b'T'),
    (b'F', FlagField::XStatus, b'F'),
    (b'R', FlagField::XStatus, b'A'),
    (b'S', FlagField::Status, b'R'),
    (b'T', FlagField::XStatus, b'D'),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlagField {
    Status,
    XStatus,
}

impl FlagField {
    fn of(field: &crate::tools::header::Field<'_>) -> Option<Self> {
        if field.is_named("Status") {
            Some(Self::Status)
        } else {
            field.is_named("X-Status").then_some(Self::XStatus)
        }
    }
}

impl MessageState {
    /// The state of a message file. Flags without an mbox letter are ignored.
    pub fn of(place: Subdir, file: &[u8]) -> Self {
        let has = |(flag, ..): &(u8, FlagField, u8)| name::flags(file).contains(flag);
        Self::from_flags(place == Subdir::Cur, flags(has))
    }

    /// This state, with the flags that a file with one message has by its name, if it was in a Maildir: `1.x:2,S`.
    pub(super) fn with_flags_of_name(self, file: &[u8]) -> Self {
        // `Lunch 10:2,SAT.eml` is the name of no file of a Maildir.
        let is_flag = |flag: &u8| b"DFPRST".contains(flag) || flag.is_ascii_lowercase();
        match name::info(file) {
            Some(_) if name::flags(file).iter().all(is_flag) => {
                Self::from_flags(true, self.flags().union(Self::of(Subdir::Cur, file).flags()))
            }
            _ => self,
        }
    }

    /// The directory of a file in this state.
    pub fn subdir(self) -> Subdir {
        if self == Self::New { Subdir::New } else { Subdir::Cur }
    }

    /// The name of a file in this state.
    pub fn file_name(self, file: &str) -> Vec<u8> {
        match self {
            Self::New => file.as_bytes().to_vec(),
            Self::Old(flags) => {
                let letters: Vec<u8> = flags.letters().map(|(flag, ..)| flag).collect();
                name::with_flags(file.as_bytes(), &letters)
            }
        }
    }

    /// True if a mail reader has deleted it and only its file is left.
    pub fn is_deleted(self) -> bool {
        self.flags().contains(Flags::of_letters(b"T"))
    }

    fn flags(self) -> Flags {
        if let Self::Old(flags) = self { flags } else { Flags::default() }
    }

    fn from_flags(old: bool, flags: Flags) -> Self {
        if old || flags.0 != 0 { Self::Old(flags) } else { Self::New }
    }

    /// The state that all such fields of a header state together.
    fn from_fields(fields: &[u8]) -> Self {
        let told: Vec<_> = crate::tools::header::fields(fields)
            .filter_map(|field| Some((FlagField::of(&field)?, field.value.into_owned())))
            .collect();
        let says =
            |name: FlagField, letter: u8| told.iter().any(|(n, value)| *n == name && value.contains(&letter));
        let flags = flags(|(_, name, letter)| says(*name, *letter));
        Self::from_flags(says(FlagField::Status, OLD), flags.union(flags_of_readers(fields)))
    }

    /// The fields for this state, after a header in which mail readers have set these flags.
    fn fields(self, by_readers: Flags) -> String {
        let letters = |name: FlagField| -> String {
            let of_field = self.flags().letters().filter(|(_, n, _)| *n == name);
            of_field.map(|(.., letter)| char::from(letter)).collect()
        };
        let age = if self == Self::New { UNREAD } else { OLD };
        let status = format!("Status: {}{}\n", letters(FlagField::Status), char::from(age));
        match letters(FlagField::XStatus) {
            none if none.is_empty() && self.flags().contains(by_readers) => status,
            letters => format!("{status}X-Status: {letters}\n"),
        }
    }

    /// Splits off fields at the end of a header that are exactly in the form of `fields`. Returns the rest,
    /// and their state.
    fn trailer(fields: &[u8]) -> Option<(&[u8], Self)> {
        let line_before = |end: usize| {
            let text = fields[..end].strip_suffix(b"\n")?;
            Some(memchr::memrchr(b'\n', text).map_or(0, |at| at + 1))
        };
        let last = line_before(fields.len())?;
        let start = if fields[last..].starts_with(b"X-") { line_before(last)? } else { last };
        let (rest, trailer) = fields.split_at(start);
        let state = Self::from_fields(trailer);
        (state.fields(flags_of_readers(rest)).as_bytes() == trailer).then_some((rest, state))
    }

    /// True if, by this rule, nothing was added to the header: its last fields state nothing new.
    fn is_original(fields: &[u8]) -> bool {
        let mut rest = fields;
        let mut told = Vec::new();
        while let Some((before, state)) = Self::trailer(rest) {
            told.push(state);
            rest = before;
        }
        let first = Self::from_fields(rest);
        told.into_iter().all(|state| state == first)
    }

    /// Parses the header of a message in an mbox. Returns the length of its own part, and the state.
    pub(super) fn read(fields: &[u8]) -> (usize, Self) {
        match Self::trailer(fields) {
            Some((rest, state)) if !Self::is_original(fields) => (rest.len(), state),
            Some((_, state)) => (fields.len(), state),
            None => (fields.len(), Self::from_fields(fields)),
        }
    }

    /// The fields to add to a header so that [`read`](Self::read) returns it with this state.
    pub(super) fn written(self, fields: &[u8]) -> String {
        let says = || Self::trailer(fields).map_or_else(|| Self::from_fields(fields), |(_, state)| state);
        if Self::is_original(fields) && says() == self {
            String::new()
        } else {
            self.fields(flags_of_readers(fields))
        }
    }
}

impl Flags {
    fn letters(self) -> impl Iterator<Item = (u8, FlagField, u8)> {
        LETTERS
            .into_iter()
            .enumerate()
            .filter_map(move |(bit, letter)| (self.0 >> bit & 1 == 1).then_some(letter))
    }
}

fn flags(has: impl Fn(&(u8, FlagField, u8)) -> bool) -> Flags {
    Flags(LETTERS.iter().enumerate().map(|(bit, letter)| u8::from(has(letter)) << bit).sum())
}

/// In `Status:`: the message is older than the mail reader's last visit.
const OLD: u8 = b'O';
/// In `Status:`, for a message that is new although its own header says that it is old.
const UNREAD: u8 = b'U';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states() -> impl Strategy<Value = MessageState> {
        (any::<bool>(), 0u8..32).prop_map(|(old, flags)| MessageState::from_flags(old, Flags(flags)))
    }

    fn headers() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("Subject: x\n".to_owned()),
            Just("status: ro\n".to_owned()),
            Just("Status: R\n".to_owned()),
            Just("Status: O\n".to_owned()),
            Just("X-Status: AF\n".to_owned()),
            Just("X-Status: D\r\n".to_owned()),
            Just("Status:\n RO\n".to_owned()),
            Just("X-Mozilla-Status: 0009\n".to_owned()),
            Just("X-Mozilla-Status: 0000\n".to_owned()),
            Just("X-Gmail-Labels: Inbox,Starred\n".to_owned()),
            Just("X-Status: \n".to_owned()),
            states().prop_map(|state| state.fields(Flags::default())),
            states().prop_map(|state| state.fields(Flags(31))),
        ];
        prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(header in headers(), state in states()) {
            let marked = format!("{header}{}", state.written(header.as_bytes()));
            prop_assert_eq!(MessageState::read(marked.as_bytes()), (header.len(), state));
        }

        #[test]
        fn an_mbox_comes_back_as_it_was(header in headers()) {
            let (length, state) = MessageState::read(header.as_bytes());
            let own = &header[..length];
            prop_assert_eq!(format!("{own}{}", state.written(own.as_bytes())), header);
        }
    }

    #[test]
    fn flags_are_the_letters_that_mutt_and_dovecot_know() {
        for (file, fields) in [
            ("a:2,", "Status: O\n"),
            ("a:2,S", "Status: RO\n"),
            ("a:2,RS", "Status: RO\nX-Status: A\n"),
            ("a:2,DFRST", "Status: RO\nX-Status: TFAD\n"),
            ("a:2,F", "Status: O\nX-Status: F\n"),
            ("a:2,PSab", "Status: RO\n"),
        ] {
            let state = MessageState::of(Subdir::Cur, file.as_bytes());
            assert_eq!(state.written(b"Subject: x\n"), fields, "{file}");
            assert_eq!(MessageState::from_fields(fields.as_bytes()), state, "{file}");
        }
        assert_eq!(MessageState::of(Subdir::New, b"a").written(b"Subject: x\n"), "");
        assert_eq!(MessageState::of(Subdir::New, b"a").written(b"Status: RO\n"), "Status: U\n");
        assert_eq!(MessageState::Old(Flags::of_letters(b"RS")).file_name("a"), b"a:2,RS");
        assert_eq!(MessageState::New.file_name("a"), b"a");
        for (file, flags) in [("1.x:2,", &b""[..]), ("1.x:2,Sa", &b"S"[..])] {
            let state = MessageState::New.with_flags_of_name(file.as_bytes());
            assert_eq!(state, MessageState::Old(Flags::of_letters(flags)), "{file}");
        }
        for file in ["1.x", "Lunch 10:2,SAT.eml", "Lunch 10:2,SAT", "1.x:2,S.eml"] {
            assert_eq!(MessageState::New.with_flags_of_name(file.as_bytes()), MessageState::New, "{file}");
        }
    }
}
