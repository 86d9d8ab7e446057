//! A mark records the messages in some mailboxes at one moment, so that a script can mark, act, and wait for
//! messages that arrived after the mark.
//!
//! It holds a digest of each message's identity and no time: clocks are coarse, a message may be in delivery
//! when the mark is made, and its file changes when a reader flags it. It names the spool and the mailboxes that it was
//! made of, because a mark of another place would let every old message pass.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use blake2::{Blake2s, Digest, digest::consts::U6};

/// The messages in some mailboxes at one moment. The default is before all messages of every mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    of: Option<Place>,
    messages: HashSet<ShortDigest>,
}

/// The spool and the mailboxes of a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    spool: ShortDigest,
    mailboxes: BTreeSet<ShortDigest>,
}

/// Digest of a spool, of a mailbox, or of a mailbox and the identity of a message in it.
type ShortDigest = [u8; SIZE];

impl Mark {
    /// A mark without messages, for mailboxes of a spool.
    pub(super) fn of<'a>(spool: &Path, mailboxes: impl IntoIterator<Item = &'a str>) -> Self {
        let mailboxes = mailboxes.into_iter().map(|mailbox| digest_of(mailbox, b"")).collect();
        Self { of: Some(Place { spool: digest_of_spool(spool), mailboxes }), messages: HashSet::new() }
    }

    /// True if that message was present.
    pub fn contains(&self, mailbox: &str, identity: &[u8]) -> bool {
        self.messages.contains(&digest_of(mailbox, identity))
    }

    pub(super) fn insert(&mut self, mailbox: &str, identity: &[u8]) {
        self.messages.insert(digest_of(mailbox, identity));
    }

    /// Checks that the mark was made of these mailboxes; it may have others too.
    pub(super) fn covers<'a>(
        &self,
        spool: &Path,
        mailboxes: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), ForeignMark> {
        let Some(of) = &self.of else { return Ok(()) };
        if of.spool != digest_of_spool(spool) {
            return Err(ForeignMark::Spool);
        }
        let mut mailboxes = mailboxes.into_iter().map(|mailbox| digest_of(mailbox, b""));
        if mailboxes.all(|mailbox| of.mailboxes.contains(&mailbox)) {
            Ok(())
        } else {
            Err(ForeignMark::Mailbox)
        }
    }
}

fn digest_of(mailbox: &str, identity: &[u8]) -> ShortDigest {
    Blake2s::<U6>::new().chain_update(mailbox).chain_update([0]).chain_update(identity).finalize().into()
}

/// A spool has one digest before it exists and afterwards, whatever links lead to it.
fn digest_of_spool(spool: &Path) -> ShortDigest {
    let there = spool.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let path = match there {
        Some((above, real)) => real.join(spool.strip_prefix(above).unwrap_or(Path::new(""))),
        None => spool.to_owned(),
    };
    // Joining an empty path adds a slash.
    let path: PathBuf = path.components().collect();
    Blake2s::<U6>::new().chain_update(path.as_os_str().as_encoded_bytes()).finalize().into()
}

/// Prints a mark as one word without blanks: the spool, the number of mailboxes, the mailboxes, the messages.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Vec::new();
        if let Some(Place { spool, mailboxes }) = &self.of {
            all.extend(spool);
            all.extend(u32::try_from(mailboxes.len()).unwrap_or(u32::MAX).to_be_bytes());
            all.extend(mailboxes.iter().flatten());
        }
        let mut messages: Vec<&ShortDigest> = self.messages.iter().collect();
        messages.sort_unstable();
        all.extend(messages.into_iter().flatten());
        write!(f, "{VERSION}{}", BASE64_URL_SAFE_NO_PAD.encode(all))
    }
}

impl FromStr for Mark {
    type Err = BadMark;

    fn from_str(text: &str) -> Result<Self, BadMark> {
        let encoded = text.trim().strip_prefix(VERSION).ok_or(BadMark)?;
        let all = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| BadMark)?;
        if all.is_empty() {
            return Ok(Self::default());
        }
        let (spool, all) = all.split_first_chunk::<SIZE>().ok_or(BadMark)?;
        let (count, all) = all.split_first_chunk().ok_or(BadMark)?;
        let count = usize::try_from(u32::from_be_bytes(*count)).map_err(|_| BadMark)?;
        let (digests, rest) = all.as_chunks::<SIZE>();
        if !rest.is_empty() || count > digests.len() {
            return Err(BadMark);
        }
        let (mailboxes, messages) = digests.split_at(count);
        Ok(Self {
            of: Some(Place { spool: *spool, mailboxes: mailboxes.iter().copied().collect() }),
            messages: messages.iter().copied().collect(),
        })
    }
}

/// The text is not a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMark;

impl fmt::Display for BadMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a mark of this version: give what `restante wait --mark` has printed, or @FILE with it",
        )
    }
}

impl std::error::Error for BadMark {}

/// The mark was made of another place, so it says nothing about the messages here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForeignMark {
    Spool,
    Mailbox,
}

impl fmt::Display for ForeignMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, option) = match self {
            Self::Spool => ("spool", "--spool or --config"),
            Self::Mailbox => ("mailbox", "--to"),
        };
        write!(f, "this mark is of another {of}: make it with the same {option} as the wait")
    }
}

const SIZE: usize = 6;
const VERSION: &str = "m2.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_word_and_reads_back_the_same() {
        assert_eq!(Mark::default().to_string().parse(), Ok(Mark::default()));
        let mut mark = Mark::of(Path::new("/no/spool"), ["bob", "bob/Sent"]);
        assert_eq!(mark.to_string().parse(), Ok(mark.clone()));
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
    fn u55_a_mark_is_for_the_spool_and_the_mailboxes_that_it_was_made_of() {
        let home = tempfile::tempdir().unwrap();
        let spool = home.path().join("spool");
        let mark = Mark::of(&spool, ["bob", "bob/Sent"]);
        fs::create_dir(&spool).unwrap();
        std::os::unix::fs::symlink(&spool, home.path().join("link")).unwrap();
        for same in [&spool, &home.path().join("link"), &home.path().join("./link/")] {
            assert_eq!(mark.covers(same, ["bob"]), Ok(()), "{}", same.display());
        }
        assert_eq!(mark.covers(&spool, ["bob", "bob/Sent"]), Ok(()));
        assert_eq!(mark.covers(&spool, ["bob", "bob/news"]), Err(ForeignMark::Mailbox));
        assert_eq!(mark.covers(&spool, ["eve"]), Err(ForeignMark::Mailbox));
        assert_eq!(mark.covers(&home.path().join("other"), ["bob"]), Err(ForeignMark::Spool));
        assert_eq!(Mark::default().covers(&spool, ["eve"]), Ok(()), "no mark");
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for bad in ["", "m2", "m1.", "m2.x", "m2.AAAA", "m2.AAAAAAAAAAAAAQ", "m2.!!!!!!!!", "2026-11-21"] {
            assert_eq!(bad.parse::<Mark>(), Err(BadMark), "{bad}");
        }
    }
}
