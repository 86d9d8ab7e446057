//! Messages that are compressed in their files, as the zlib plugin of Dovecot stores them.
//!
//! The rule: such a file is known by its first octets, as Dovecot knows it, and nothing in its name is repaired: `,S=` and `,W=`
//! count the message, and without the right `,S=` Dovecot reads it no more.

use std::path::Path;

use super::advice::as_root;
use crate::{command_hint::path_word, printable::counted};

/// A format of compression.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Compression {
    /// The first octets of a file.
    mark: &'static [u8],
    name: &'static str,
    /// The program that tests a file with `-t` and decompresses it with `-dc`. `None`: only Dovecot does.
    program: Option<&'static str>,
}

static FORMATS: [Compression; 6] = [
    Compression { mark: b"\x1f\x8b", name: "gzip", program: Some("gzip") },
    Compression { mark: b"\x28\xb5\x2f\xfd", name: "zstd", program: Some("zstd") },
    Compression { mark: b"BZh", name: "bzip2", program: Some("bzip2") },
    Compression { mark: b"\xfd7zXZ\0", name: "xz", program: Some("xz") },
    Compression { mark: b"\x04\x22\x4d\x18", name: "lz4", program: Some("lz4") },
    Compression { mark: b"Dovecot-LZ4", name: "lz4 in Dovecot's own form", program: None },
];

impl Compression {
    /// Octets that tell the format of a file.
    pub(crate) const MARK: usize = 16;

    /// The compression of a file with these first octets, at least `MARK` of them if it has so many.
    pub(crate) fn of(first: &[u8]) -> Option<&'static Self> {
        // "BZh" alone may be the begin of a field; a digit and the mark of a block follow in a file of bzip2.
        let is_bzip2 = || matches!(first.get(3..5), Some([b'1'..=b'9', 0x31 | 0x17]));
        FORMATS
            .iter()
            .find(|format| first.starts_with(format.mark) && (format.program != Some("bzip2") || is_bzip2()))
    }

    /// The evidence for so many messages.
    pub(crate) fn detail(&self, messages: u64) -> String {
        let (messages, them) = (counted(messages, "message"), if messages == 1 { "it" } else { "them" });
        format!(
            "{messages} compressed in the file ({}), as by the zlib plugin of Dovecot: no mail program reads {them} here",
            self.name
        )
    }

    /// The ways to decompress the messages in that directory, `new/` or `cur/`. A message keeps its name, time, owner and mode.
    pub(super) fn advice(&self, directory: &Path) -> String {
        let Some(program) = self.program else {
            return format!("--fix leaves them alone; {BY_DOVECOT}");
        };
        format!(
            "--fix leaves them alone; while the server is stopped, {}`cd {} && for f in ./*; do {program} -t < \"$f\" 2> /dev/null && \
             cp -p \"$f\" \"../tmp/$f\" && {program} -dc < \"$f\" > \"../tmp/$f\" && touch -r \"$f\" \"../tmp/$f\" && \
             mv \"../tmp/$f\" \"$f\"; done` decompresses them; or {BY_DOVECOT}",
            as_root(directory),
            path_word(directory)
        )
    }
}

const BY_DOVECOT: &str = "let Dovecot write an uncompressed copy, and copy that one here: \
                          `doveadm -o mail_plugins=zlib -o plugin/zlib_save= backup -u USER maildir:/NEW/PLACE`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m38_a_compressed_message_is_known_by_its_first_octets() {
        for (first, expected) in [
            (&b"\x1f\x8b\x08\0"[..], Some("gzip")),
            (b"\x28\xb5\x2f\xfd\x04", Some("zstd")),
            (b"BZh91AY&SY", Some("bzip2")),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Some("bzip2")),
            (b"\xfd7zXZ\0\0", Some("xz")),
            (b"\x04\x22\x4d\x18\x64", Some("lz4")),
            (b"Dovecot-LZ4\x0d\x2a\x9b\xc5", Some("lz4 in Dovecot's own form")),
            (b"BZh: a field\n", None),
            (b"BZh9: a field\n", None),
            (b"Dovecot: a field\n", None),
            (b"Subject: x\n", None),
            (b"\x1f", None),
            (b"", None),
        ] {
            assert_eq!(Compression::of(first).map(|found| found.name), expected, "{first:?}");
        }
        let advice = Compression::of(b"Dovecot-LZ4").unwrap().advice(Path::new("/mail/bob/cur"));
        assert!(advice.contains("`doveadm ") && !advice.contains("lz4 -dc"), "{advice}");
    }
}
