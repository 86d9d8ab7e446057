//! A mark records the messages in some mailboxes at one moment, so that a script can mark, act, and wait for
//! messages that arrived after the mark.
//!
//! It holds a digest of each message's identity and no time: clocks are coarse, a message may be in delivery
//! when the mark is made, and its file changes when a reader flags it.

use std::{collections::HashSet, fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use blake2::{Blake2s, Digest, digest::consts::U6};

/// The messages in some mailboxes at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(HashSet<MessageDigest>);

/// Digest of a mailbox and the identity of a message in it.
type MessageDigest = [u8; SIZE];

impl Mark {
    /// True if that message was present.
    pub fn contains(&self, mailbox: &str, identity: &[u8]) -> bool {
        self.0.contains(&digest_of(mailbox, identity))
    }

    pub(super) fn insert(&mut self, mailbox: &str, identity: &[u8]) {
        self.0.insert(digest_of(mailbox, identity));
    }
}

fn digest_of(mailbox: &str, identity: &[u8]) -> MessageDigest {
    Blake2s::<U6>::new().chain_update(mailbox).chain_update([0]).chain_update(identity).finalize().into()
}

/// Prints a mark as one word without blanks.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: Vec<&MessageDigest> = self.0.iter().collect();
        all.sort_unstable();
        let all: Vec<u8> = all.into_iter().flatten().copied().collect();
        write!(f, "{VERSION}{}", BASE64_URL_SAFE_NO_PAD.encode(all))
    }
}

impl FromStr for Mark {
    type Err = BadMark;

    fn from_str(text: &str) -> Result<Self, BadMark> {
        let encoded = text.trim().strip_prefix(VERSION).ok_or(BadMark)?;
        let all = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| BadMark)?;
        if all.len() % SIZE != 0 {
            return Err(BadMark);
        }
        Ok(Self(all.chunks_exact(SIZE).filter_map(|known| known.try_into().ok()).collect()))
    }
}

/// The text is not a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMark;

impl fmt::Display for BadMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a mark: give what `restante wait --mark` has printed, or @FILE with it")
    }
}

impl std::error::Error for BadMark {}

const SIZE: usize = 6;
const VERSION: &str = "m1.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_word_and_reads_back_the_same() {
        let mut mark = Mark::default();
        assert_eq!(mark.to_string(), "m1.");
        for n in 0..1000 {
            mark.insert("bob", format!("{n}.host").as_bytes());
        }
        let word = mark.to_string();
        assert!(word.bytes().all(|b| b.is_ascii_graphic()) && word.len() < 9000);
        assert_eq!(word.parse(), Ok(mark.clone()));
        assert!(
            mark.contains("bob", b"7.host")
                && !mark.contains("eve", b"7.host")
                && !mark.contains("bob", b"1000.host")
        );
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for bad in ["", "m1", "m2.", "m1.x", "m1.AAAA", "m1.!!!!!!!!", "2026-11-21"] {
            assert_eq!(bad.parse::<Mark>(), Err(BadMark), "{bad}");
        }
    }
}
