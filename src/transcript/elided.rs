//! A summary of message data that a transcript omits, and substitute data for replaying the transcript.

use crate::proto::smtp::trace::{HopCounter, MAX_HOPS};

/// A summary of omitted message data.
#[derive(Debug, Default)]
pub struct ElidedData {
    octets: u64,
    lines: u64,
    /// Octets after the last line end.
    partial_line: u64,
    /// Octets of the longest line, including its line end.
    longest_line: u64,
    /// Line ends that are a lone LF.
    bare_lfs: u64,
    /// True if a CR was not followed by an LF.
    bare_cr: bool,
    /// True if an octet was above 0x7f.
    eight_bit: bool,
    /// True if the first octet is the LF of a line end whose CR came before: a chunk may end between the two.
    begins_with_lf: bool,
    after_cr: bool,
    last_three: [u8; 3],
    hops: HopCounter,
}

impl ElidedData {
    /// Starts a summary that follows other message data. `after_cr`: that data ended in a CR, which may be
    /// half a line end.
    pub fn following(after_cr: bool) -> Self {
        Self { after_cr, begins_with_lf: after_cr, ..Self::default() }
    }

    /// True if the data ends in a CR, which may be half a line end.
    pub fn ends_with_cr(&self) -> bool {
        self.after_cr
    }

    /// Adds the next octets to the summary.
    pub fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return; // the flags below tell of octets only
        }
        self.begins_with_lf &= self.octets > 0 || bytes.first() == Some(&b'\n');
        self.octets += bytes.len() as u64;
        self.eight_bit |= !bytes.is_ascii();
        self.hops.feed(bytes);
        // A message of megabytes passes here on the event loop: searches for single octets are fast.
        let crs = usize::from(self.after_cr) + memchr::memchr_iter(b'\r', bytes).count();
        let (mut crlfs, mut begin) = (0, 0);
        for lf in memchr::memchr_iter(b'\n', bytes) {
            let has_cr = lf.checked_sub(1).map_or(self.after_cr, |before| bytes[before] == b'\r');
            crlfs += usize::from(has_cr);
            self.bare_lfs += u64::from(!has_cr);
            self.lines += 1;
            self.longest_line = self.longest_line.max(self.partial_line + (lf + 1 - begin) as u64);
            self.partial_line = 0;
            begin = lf + 1;
        }
        self.partial_line += (bytes.len() - begin) as u64;
        self.after_cr = bytes.last() == Some(&b'\r');
        self.bare_cr |= crs > crlfs + usize::from(self.after_cr);
        let kept = self.last_three.len().min(bytes.len());
        self.last_three.rotate_left(kept);
        let end = self.last_three.len() - kept;
        self.last_three[end..].copy_from_slice(&bytes[bytes.len() - kept..]);
    }

    /// Removes the final dot line from the summary, and returns that line.
    pub fn without_dot(&mut self) -> &'static [u8] {
        let dot: &[u8] = match self.last_three {
            [b'.', b'\r', b'\n'] => b".\r\n",
            [_, b'.', b'\n'] => {
                self.bare_lfs -= 1;
                b".\n"
            }
            _ => return b"",
        };
        self.octets -= dot.len() as u64;
        self.lines -= 1;
        dot
    }

    /// True if the data is empty.
    pub fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// The text for the marks `C~` and `S~`.
    pub fn summary(&self) -> String {
        let mut summary = format!("octets={} lines={}", self.octets, self.lines);
        let mut add = |name: &str, value: u64, worth: bool| {
            if worth {
                summary.push_str(&format!(" {name}={value}"));
            }
        };
        add("half", self.partial_line, self.partial_line > 0);
        add("longest", self.longest_line, self.longest_line > TEXT_LINE);
        add("hops", self.hops.count() as u64, self.hops.count() > MAX_HOPS);
        add("lf", 1, self.begins_with_lf);
        add("cr", 1, self.after_cr);
        add("bare_lf", 1, self.bare_lfs > 0);
        add("bare_cr", 1, self.bare_cr);
        add("eight_bit", 1, self.eight_bit);
        summary
    }

    /// Substitute data with the same summary, to which a server reacts as to the omitted data. `None` if the
    /// text is not a summary.
    pub fn reconstruct(summary: &str) -> Option<Vec<u8>> {
        let value = |name: &str| {
            let value = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok();
            summary.split_whitespace().find_map(value)
        };
        let (octets, lines) = (value("octets")?, value("lines")?);
        let (partial_line, longest) = (value("half").unwrap_or(0), value("longest").unwrap_or(0));
        let (bare_lf, bare_cr) = (value("bare_lf").is_some(), value("bare_cr").is_some());
        let eight_bit = value("eight_bit").is_some();
        let first = usize::from(value("lf").is_some());
        let mut bytes = Vec::new();
        let mut left = octets.checked_sub(partial_line)?;
        for line in 0..lines {
            let share = left / (lines - line);
            let hop = line < value("hops").unwrap_or(0);
            let length = match line {
                0 if first == 1 => 1,
                n if n == first && longest > 0 => longest.min(left),
                _ if line + 1 == lines => left,
                _ if hop => share.max(HOP.len() + 2).min(left),
                _ => share,
            };
            let end: &[u8] = if length < 2 || (bare_lf && line == first) { b"\n" } else { b"\r\n" };
            let text = length.saturating_sub(end.len());
            bytes.extend(HOP.iter().copied().filter(|_| hop && text >= HOP.len()));
            bytes.resize(bytes.len() + text - if hop && text >= HOP.len() { HOP.len() } else { 0 }, b'x');
            bytes.extend_from_slice(end);
            left -= length;
        }
        bytes.resize(bytes.len() + partial_line, b'x');
        if let Some(last) = bytes.last_mut().filter(|_| value("cr").is_some()) {
            *last = b'\r';
        }
        let places = [(bare_cr, b'\r'), (eight_bit, 0xe9)];
        for (_, octet) in places.into_iter().filter(|(wanted, _)| *wanted) {
            // A CR at the very end may be half a line end, so it stands before another octet if there is one.
            let end = bytes.len().saturating_sub(usize::from(octet == b'\r'));
            let place = bytes[..end].iter().rposition(|place| *place == b'x');
            if let Some(place) = place.or_else(|| bytes.iter().rposition(|place| *place == b'x')) {
                bytes[place] = octet;
            }
        }
        Some(bytes)
    }
}

const HOP: &[u8] = b"Received:";
/// The longest text line, including its line end, in octets (RFC 5321 section 4.5.3.1.6).
const TEXT_LINE: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summary_of(bytes: &[u8]) -> String {
        let mut elided = ElidedData::default();
        bytes.chunks(7).for_each(|piece| elided.feed(piece));
        elided.summary()
    }

    #[test]
    fn w17_a_moment_without_octets_changes_nothing() {
        for data in [&b"\nx\r\n"[..], b"x\r\n", b"\n", b""] {
            let summary = |pieces: &[&[u8]]| {
                let mut elided = ElidedData::following(true);
                pieces.iter().for_each(|piece| elided.feed(piece));
                elided.summary()
            };
            assert_eq!(summary(&[b"", data, b""]), summary(&[data]), "{data:?}");
        }
        let mut chunk = ElidedData::following(true);
        chunk.feed(b"");
        chunk.feed(b"\nx");
        assert!(chunk.summary().contains("lf=1"), "{}", chunk.summary());
    }

    #[test]
    fn the_dot_is_found_however_it_comes_in() {
        for (end, pieces) in [(&b".\r\n"[..], 1), (b".\r\n", 2), (b".\r\n", 3), (b".\n", 1)] {
            let mut elided = ElidedData::default();
            let message = [b"Subject: x\r\n\r\nhello\r\n", end].concat();
            message.chunks(pieces).for_each(|piece| elided.feed(piece));
            assert_eq!(elided.without_dot(), end);
            assert_eq!(elided.summary(), "octets=21 lines=3");
        }
        let mut no_dot = ElidedData::default();
        no_dot.feed(b"hello\r\n");
        assert_eq!(no_dot.without_dot(), b"");
    }

    #[test]
    fn what_is_told_says_nothing_of_the_content() {
        assert_eq!(summary_of(b"Subject: x\r\n\r\nhello\r\n"), "octets=21 lines=3");
        assert_eq!(summary_of(b""), "octets=0 lines=0");
        assert_eq!(summary_of(b"a\nb\r\nc"), "octets=6 lines=2 half=1 bare_lf=1");
        assert_eq!(summary_of(b"a\rb\r\n"), "octets=5 lines=1 bare_cr=1");
        assert_eq!(summary_of("é\r\n".as_bytes()), "octets=4 lines=1 eight_bit=1");
        let long = format!("{}\r\nx\r\n", "x".repeat(999));
        assert_eq!(summary_of(long.as_bytes()), "octets=1004 lines=2 longest=1001");
        assert_eq!(summary_of("Received: x\r\n".repeat(101).as_bytes()), "octets=1313 lines=101 hops=101");
        assert_eq!(summary_of(b"a\r"), "octets=2 lines=0 half=2 cr=1");
        let mut behind = ElidedData::following(true);
        behind.feed(b"\nb\r\n");
        assert_eq!(behind.summary(), "octets=4 lines=2 lf=1");
        assert_eq!(ElidedData::reconstruct(&behind.summary()).unwrap(), b"\nx\r\n");
        assert_eq!(ElidedData::reconstruct("octets=x"), None);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_have_the_summary_of_single_octets(
            data in "[\\r\\n.xé]{0,40}", size in 1_usize..50, after_cr in any::<bool>(),
        ) {
            let fed = |size: usize| {
                let mut elided = ElidedData::following(after_cr);
                data.as_bytes().chunks(size).for_each(|piece| elided.feed(piece));
                let summary = elided.summary();
                (summary, elided.ends_with_cr(), elided.without_dot())
            };
            prop_assert_eq!(fed(size), fed(1));
        }

        #[test]
        fn of_what_stands_for_it_the_same_is_told(
            lines in prop::collection::vec("[a-z]{0,20}", 0..30), partial_line in "[a-z]{0,5}", hops in 0_usize..120,
            long in prop::option::of(1001_usize..1100), accent in any::<bool>(),
        ) {
            let mut text = "Received: by x\r\n".repeat(hops);
            lines.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
            if let Some(n) = long {
                text.push_str(&format!("{}\r\n", "y".repeat(n)));
            }
            text.push_str(if accent { "é\r\n" } else { "" });
            text.push_str(&partial_line);
            let summary = summary_of(text.as_bytes());
            prop_assert_eq!(self::summary_of(&ElidedData::reconstruct(&summary).unwrap()), summary);
        }
    }
}
