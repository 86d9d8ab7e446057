//! The names of message files: making our own, and reading those of any program.
//!
//! A name of ours is `<secs>.M<usec>P<pid>Q<seq>R<random>C<crc>.<host>,S=<bytes>,W=<octets>`, at times without `,W=`. Its crc is over
//! all the rest of it, so that we know our own names again and may believe the sizes in them. Names are
//! bytes: other programs put anything into a Maildir.

use std::time::{SystemTime, UNIX_EPOCH};

/// Makes names that no other delivery on this or any other machine has. Time, process, a count and 64 random bits make
/// them differ, because each of these alone may fail.
#[derive(Debug)]
pub struct NameGenerator {
    host: String,
    process: u32,
    made: u64,
}

impl NameGenerator {
    /// Names for deliveries by process `process` of `host`.
    pub fn new(host: &str, process: u32) -> Self {
        Self { host: escaped(host), process, made: 0 }
    }

    /// Names with another host from now on. The count goes on.
    pub fn set_host(&mut self, host: &str) {
        self.host = escaped(host);
    }

    /// A name that was never used. It is fit for `tmp/`; [`UniqueName::final_name`] is fit for `new/`.
    pub fn next(&mut self, date: SystemTime, random: u64) -> UniqueName {
        self.made += 1;
        let since = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        let Self { host, process, made } = self;
        let front = unique_prefix((since.as_secs(), since.subsec_micros()), *process, *made, random);
        UniqueName { front, host: host.clone() }
    }
}

fn unique_prefix((seconds, micros): (u64, u32), process: u32, made: u64, random: u64) -> String {
    format!("{seconds}.M{micros}P{process}Q{made}R{random:016x}")
}

/// Octets of the longest host for which every name of ours has room, with any numbers, sizes and flags.
pub fn max_host_len() -> usize {
    let front = unique_prefix((u64::MAX, 999_999), u32::MAX, u64::MAX, u64::MAX);
    let rest = UniqueName { front, host: String::new() }.final_name(u64::MAX, Some(u64::MAX));
    MAX_NAME - with_flags(rest.as_bytes(), FLAGS).len()
}

/// The name of a delivery whose sizes are not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueName {
    front: String,
    host: String,
}

impl UniqueName {
    /// The name while the message is being written.
    pub fn tmp_name(&self) -> String {
        format!("{}.{}", self.front, self.host)
    }

    /// The name of the finished message: `bytes` on the disk, `octets` on the wire. `None`: the last line may lack its end.
    /// Dovecot, unlike POP3, does not count one that is added, and cuts the connection over a number that is not its own.
    pub fn final_name(&self, bytes: u64, octets: Option<u64>) -> String {
        let Self { front, host } = self;
        let octets = octets.map_or_else(String::new, |octets| format!(",W={octets}"));
        let back = format!(".{host},S={bytes}{octets}");
        format!("{front}C{:08x}{back}", checksum(front.as_bytes(), back.as_bytes()))
    }
}

fn checksum(front: &[u8], back: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(front);
    crc.update(back);
    crc.finalize()
}

/// A host, fit for a name.
fn escaped(host: &str) -> String {
    host.replace('/', "\\057").replace(':', "\\072")
}

/// The identity of a message: its name up to the first `,` or `:` (mutt's rule). It survives flag changes, moves
/// between `new/` and `cur/`, restores and rsync. If `:` can't be in a name, `;` or `!` before `2,` replaces it.
pub fn identity(name: &[u8]) -> &[u8] {
    let Some(end) = memchr::memchr2(b',', b':', name) else { return name };
    match &name[..end] {
        [identity @ .., b';' | b'!', b'2'] if name[end] == b',' => identity,
        identity => identity,
    }
}

/// The start of the info part with the flags: at `:2,` or its replacement.
pub fn info(name: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b',', name)
        .find(|&comma| matches!(&name[..comma], [.., b':' | b';' | b'!', b'2']))
        .map(|comma| comma - 2)
}

/// The flags of a name, like `RS`.
pub fn flags(name: &[u8]) -> &[u8] {
    info(name).map_or(b"", |at| &name[at + 3..])
}

/// True if a file of this name is no message, because it is hidden.
pub fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// True if a message of this name waits for its owner's mail reader to remove it (flag T). Only IMAP shows it.
pub fn is_trashed(name: &[u8]) -> bool {
    flags(name).contains(&b'T')
}

/// True if a file of this name is listed neither by POP3 nor by the web API.
pub fn is_never_listed(name: &[u8]) -> bool {
    is_hidden(name) || is_trashed(name)
}

/// The name with one more flag, in the order that the Maildir rules ask for.
pub fn with_flag(name: &[u8], flag: u8) -> Vec<u8> {
    let flags = flags(name);
    if flags.contains(&flag) { name.to_vec() } else { with_flags(name, &[flags, &[flag]].concat()) }
}

/// The name with these flags and no others, each once and in the order that the Maildir rules ask for.
pub fn with_flags(name: &[u8], flags: &[u8]) -> Vec<u8> {
    let mut flags = flags.to_vec();
    flags.sort_unstable();
    flags.dedup();
    let (base, info) = match info(name) {
        Some(at) => name[..at + 3].split_at(at),
        None => (name, &b":2,"[..]),
    };
    [base, info, &flags].concat()
}

/// The octets on the wire in a name of any program, as `,W=`.
pub fn octets_field(name: &[u8]) -> Option<u64> {
    let name = &name[..info(name).unwrap_or(name.len())];
    let start = memchr::memmem::rfind(name, b",W=")? + 3;
    let digits = name[start..].split(|b| *b == b',').next().unwrap_or_default();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The octets on the wire in a name of ours, if the bytes in the name are still those of the file.
pub fn wire_size_in_name(name: &[u8], bytes: u64) -> Option<u64> {
    sizes_in_name(name).and_then(|(told, octets)| {
        (told == bytes && crate::wire_size::is_plausible(octets, bytes)).then_some(octets)
    })
}

/// The bytes on the disk and the octets on the wire in a name of ours.
pub fn sizes_in_name(name: &[u8]) -> Option<(u64, u64)> {
    memchr::memrchr(b'W', name)?; // most names of others have none
    let name = &name[..info(name).unwrap_or(name.len())];
    let name = std::str::from_utf8(name).ok()?;
    let (front, rest) = name.split_at_checked(name.find('R')? + 17)?;
    let (told, back) = rest.strip_prefix('C')?.split_at_checked(8)?;
    if u32::from_str_radix(told, 16).ok()? != checksum(front.as_bytes(), back.as_bytes()) {
        return None;
    }
    let (rest, octets) = back.rsplit_once(",W=")?;
    let (_, size) = rest.rsplit_once(",S=")?;
    Some((size.parse().ok()?, octets.parse().ok()?))
}

/// The order of messages in a mailbox: by the seconds that lead the name, then the microseconds of an `M`
/// field, then the name. Names without them come first, by name.
pub fn sort_key(name: &[u8]) -> (u64, u64, &[u8]) {
    let seconds = leading_number(name);
    let rest = &name[name.iter().take_while(|b| b.is_ascii_digit()).count()..];
    let micros = rest.strip_prefix(b".M").map_or(0, leading_number);
    (seconds, micros, name)
}

fn leading_number(text: &[u8]) -> u64 {
    text.iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// Octets of the longest name that a file may have (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// Every flag that the Maildir rules know.
const FLAGS: &[u8] = b"DFPRST";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{prelude::*, sample::subsequence};

    use super::*;

    fn unique() -> UniqueName {
        NameGenerator::new("mx/a:b", 42)
            .next(UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_123), 0xabcd)
    }

    #[test]
    fn m14_m15_our_names_look_as_documented() {
        let name = unique().final_name(10, Some(12));
        let (front, back) = name.split_once('C').unwrap();
        assert_eq!(front, "1700000000.M123P42Q1R000000000000abcd");
        assert_eq!(&back[8..], ".mx\\057a\\072b,S=10,W=12");
        assert_eq!(unique().tmp_name(), "1700000000.M123P42Q1R000000000000abcd.mx\\057a\\072b");
    }

    #[test]
    fn the_longest_host_leaves_room_for_the_longest_of_everything_else_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        for (host, fits) in [(max_host_len(), true), (max_host_len() + 1, false)] {
            let front = unique_prefix((u64::MAX, 999_999), u32::MAX, u64::MAX, u64::MAX);
            let name = UniqueName { front, host: "h".repeat(host) }.final_name(u64::MAX, Some(u64::MAX));
            let name = String::from_utf8(with_flags(name.as_bytes(), FLAGS)).unwrap();
            assert_eq!(std::fs::write(directory.path().join(&name), "").is_ok(), fits, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_with_a_host_that_is_allowed_can_be_a_file(
            host in 1..=max_host_len(),
            seconds in 0..=i64::MAX.cast_unsigned(),
            (process, made, random) in any::<(u32, u64, u64)>(),
            (bytes, octets) in any::<(u64, u64)>(),
            flags in subsequence(FLAGS, 0..=FLAGS.len()),
        ) {
            let made = made.saturating_sub(1);
            let mut name_generator = NameGenerator { made, ..NameGenerator::new(&"h".repeat(host), process) };
            let unique = name_generator.next(UNIX_EPOCH + Duration::new(seconds, 999_999_999), random);
            let name = with_flags(unique.final_name(bytes, Some(octets)).as_bytes(), &flags);
            prop_assert!(name.len() <= MAX_NAME && unique.tmp_name().len() <= MAX_NAME);
        }
    }

    #[test]
    fn two_machines_of_one_name_process_and_moment_make_different_names() {
        let [mut one, mut other] = [(); 2].map(|()| NameGenerator::new("mx.example.test", 1));
        let date = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let random = || getrandom::u64().unwrap();
        let mut names: Vec<String> = (0..10_000)
            .flat_map(|_| [one.next(date, random()), other.next(date, random())])
            .map(|name| name.tmp_name())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn sizes_are_believed_in_our_own_names_only_and_while_the_size_fits() {
        let name = unique().final_name(10, Some(12));
        assert_eq!(wire_size_in_name(name.as_bytes(), 10), Some(12));
        assert_eq!(wire_size_in_name(format!("{name}:2,RS").as_bytes(), 10), Some(12));
        assert_eq!(wire_size_in_name(name.as_bytes(), 11), None);
        assert_eq!(wire_size_in_name(name.replace("W=12", "W=13").as_bytes(), 10), None);
        for foreign in ["1.M1P1R.host,S=10,W=12", "x", "", "R", "1.R0000000000000000C", "Ré,S=10,W=12"] {
            assert_eq!(wire_size_in_name(foreign.as_bytes(), 10), None, "{foreign}");
        }
    }

    #[test]
    fn no_byte_of_our_name_can_change_unseen() {
        let name = unique().final_name(10, Some(12)).into_bytes();
        for at in 0..name.len() {
            let mut other = name.clone();
            other[at] ^= 1;
            assert_eq!(wire_size_in_name(&other, 10), None, "byte {at}");
        }
    }

    #[test]
    fn identity_ends_where_mutt_ends_it() {
        for (name, expected) in [
            ("1.2.host,S=5:2,RS", "1.2.host"),
            ("1.2.host:2,", "1.2.host"),
            ("1.2.host;2,S", "1.2.host"),
            ("1.2.host!2,S", "1.2.host"),
            ("1.2.ho;st", "1.2.ho;st"),
            ("plain", "plain"),
        ] {
            assert_eq!(identity(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_ends_of_a_name_are_found_as_a_look_at_each_octet_finds_them(
            name in proptest::collection::vec(prop::sample::select(b",:;!2ab".to_vec()), 0..12),
        ) {
            let is_info = |at: usize| {
                matches!(name[at], b':' | b';' | b'!') && name[at + 1..].starts_with(b"2,")
            };
            let at_end = |at: &usize| matches!(name[*at], b',' | b':') || is_info(*at);
            let end = (0..name.len()).find(at_end).unwrap_or(name.len());
            prop_assert_eq!(identity(&name), &name[..end]);
            prop_assert_eq!(info(&name), (0..name.len()).find(|at| is_info(*at)));
        }
    }

    #[test]
    fn flags_are_added_in_order_and_once() {
        for (name, expected) in [
            ("a", "a:2,S"),
            ("a:2,", "a:2,S"),
            ("a:2,RT", "a:2,RST"),
            ("a:2,S", "a:2,S"),
            ("a;2,R", "a;2,RS"),
        ] {
            assert_eq!(with_flag(name.as_bytes(), b'S'), expected.as_bytes(), "{name}");
        }
        assert_eq!(with_flags(b"a;2,TT", b"SRS"), b"a;2,RS");
        assert_eq!(flags(b"a,S=1:2,RS"), b"RS");
        assert_eq!(flags(b"a"), b"");
    }

    #[test]
    fn messages_come_in_the_order_of_their_delivery() {
        let mut names: Vec<&[u8]> = vec![b"10.M5P1.h", b"9.M7P1.h", b"10.M40P1.h", b"x", b"9.1_2.h"];
        names.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        assert_eq!(names, [&b"x"[..], b"9.1_2.h", b"9.M7P1.h", b"10.M5P1.h", b"10.M40P1.h"]);
    }
}
