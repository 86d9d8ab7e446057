//! Files that are no mbox, by their first octets: their format, and the command or path that takes them.

use std::fmt;

/// A file that is not an mbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherFormat {
    /// The sentence about the file: "is compressed with bzip2".
    reason: String,
    advice: Advice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// `--gz` takes it.
    Gzip,
    /// The output of this command with the file is an mbox.
    Command(&'static str),
    Text(&'static str),
}

impl OtherFormat {
    /// Recognizes a file by its first octets, which are not those of an mbox.
    pub(super) fn of(first: &[u8]) -> Self {
        let known =
            KNOWN.iter().find(|(at, magic, ..)| first.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        if let Some((.., reason, advice)) = known {
            return Self { reason: (*reason).to_owned(), advice: *advice };
        }
        if first.starts_with(b"From ") && !first.contains(&b'\n') && first.contains(&b'\r') {
            return Self {
                reason: "has lines that end in CR alone".into(),
                advice: Advice::Command("tr '\\r' '\\n' <"),
            };
        }
        let line = first.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
        let shown = shown(line);
        if line.starts_with(b"From ") {
            return Self {
                reason: format!("begins with {shown:?}, which has no date, and no header follows"),
                advice: Advice::Text(
                    "--format mboxrd takes every line that begins with \"From \" for the beginning of a message",
                ),
            };
        }
        let is_number = !line.is_empty() && line.iter().all(u8::is_ascii_digit);
        let field = memchr::memchr(b':', line).map(|colon| &line[..colon]);
        if field.is_some_and(|name| !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic())) {
            return Self {
                reason: format!("is one message, not an mbox: it begins with the field {shown:?}"),
                advice: Advice::Command("sed '1i From -'"),
            };
        }
        if is_number {
            return Self {
                reason: format!("begins with {shown:?}, like an .emlx file of Apple Mail"),
                advice: Advice::Text(
                    "choose Mailbox > Export Mailbox in Apple Mail, and import the file mbox that it makes",
                ),
            };
        }
        Self {
            reason: format!("is not an mbox: its first line is {shown:?}, and not \"From SENDER DATE\""),
            advice: Advice::Text(""),
        }
    }

    /// The next step for the file with that name, quoted for a shell; `-` is standard input. `import` is the command that
    /// imports standard input in the same way.
    pub fn advice(&self, file: &str, import: &str) -> String {
        match self.advice {
            Advice::Gzip => "add --gz".into(),
            Advice::Command(command) if file == "-" => {
                format!("put `{}` before the pipe to this command", command.trim_end_matches(" <"))
            }
            Advice::Command(command) => format!("`{command} {file} | {import}`"),
            Advice::Text(text) => text.into(),
        }
    }
}

impl fmt::Display for OtherFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The beginning of a line, for an error.
pub(super) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let cut = if line.len() > SHOWN { "…" } else { "" };
    format!("{}{cut}", text.trim_end())
}

/// Offset, octets there, the format, and the way to import it.
const KNOWN: [(usize, &[u8], &str, Advice); 16] = [
    (0, b"\x1f\x8b", "is compressed with gzip", Advice::Gzip),
    (0, b"BZh", "is compressed with bzip2", Advice::Command("bzcat")),
    (0, b"\xfd7zXZ\0", "is compressed with xz", Advice::Command("xzcat")),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd", Advice::Command("zstdcat")),
    (0, b"LZIP", "is compressed with lzip", Advice::Command("lzip -dc")),
    (0, b"\x04\x22\x4d\x18", "is compressed with lz4", Advice::Command("lz4cat")),
    (0, b"\x1f\x9d", "is compressed with compress", Advice::Command("zcat")),
    (0, b"PK\x03\x04", "is a zip archive", Advice::Command("unzip -p")),
    (0, b"7z\xbc\xaf", "is a 7z archive", Advice::Command("7z x -so")),
    (257, b"ustar", "is a tar archive", Advice::Command("tar -xOf")),
    (0, b"\xff\xfe", "is in UTF-16", Advice::Command("iconv -f UTF-16 -t UTF-8")),
    (0, b"\xfe\xff", "is in UTF-16", Advice::Command("iconv -f UTF-16 -t UTF-8")),
    (0, b"!BDN", "is a PST file of Outlook", Advice::Text("readpst makes mbox files of it")),
    (
        0,
        b"// <!-- <mdb:mork",
        "is an index of Thunderbird",
        Advice::Text("the mail is in the file of the same name without .msf"),
    ),
    (
        0,
        b"\x01\x01\x01\x01\n",
        "is in the format MMDF",
        Advice::Text("formail -s or mutt makes an mbox of it"),
    ),
    (
        0,
        b"BABYL OPTIONS",
        "is in the format Babyl of Emacs",
        Advice::Text("Rmail of Emacs 23 or later makes an mbox of it"),
    ),
];
/// Octets of a line in an error.
const SHOWN: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u02_a_file_that_is_no_mbox_is_named_with_the_command_that_takes_it() {
        let mut tar = vec![b'x'; 257];
        tar.extend(b"ustar\0");
        for (first, reason, advice) in [
            (&b"\x1f\x8b\x08"[..], "gzip", "--gz"),
            (b"BZh91AY", "bzip2", "bzcat in | restante import -"),
            (b"\xfd7zXZ\0", "xz", "xzcat in |"),
            (&tar, "tar", "tar -xOf in |"),
            (b"\xff\xfeF\0", "UTF-16", "iconv -f UTF-16 -t UTF-8 in |"),
            (b"From a@b.test Sat Jan  3 01:05:34 1996\rA: b\r\rx\r", "CR alone", "tr '\\r' '\\n' < in |"),
            (b"From my window\nthe sea\n", "no date", "--format mboxrd"),
            (b"Subject: x\n\nhello\n", "is one message", "sed '1i From -' in |"),
            (b"1234\nReceived: x\n", "emlx", "Export Mailbox"),
            (b"hello\n", "its first line is \"hello\"", ""),
        ] {
            let found = OtherFormat::of(first);
            assert!(
                found.to_string().contains(reason)
                    && found.advice("in", "restante import -").contains(advice),
                "{found:?}"
            );
        }
        assert_eq!(OtherFormat::of(b"BZh9").advice("-", ""), "put `bzcat` before the pipe to this command");
    }
}
