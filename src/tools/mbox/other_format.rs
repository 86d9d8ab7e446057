//! Files that are no mbox, by their first octets: their format, and the command or path that takes them.

use std::{fmt, io::Read};

use flate2::read::GzDecoder;

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
    /// This command takes the files out of an archive.
    Unpack(&'static str),
    /// This command makes mbox files, or files of one message, of the file.
    Convert(&'static str, &'static str),
    Text(&'static str),
}

impl OtherFormat {
    /// Recognizes a file by the mark of its format at a fixed place.
    pub(super) fn by_mark(first: &[u8]) -> Option<Self> {
        let (.., reason, advice) = known(first)?;
        let packed =
            Some(*advice).filter(|advice| *advice == Advice::Gzip).and_then(|_| first_unpacked(first));
        Some(match packed.as_deref().and_then(known) {
            Some((.., inner, advice @ Advice::Unpack(_))) => {
                Self { reason: format!("{inner}, compressed with gzip"), advice: *advice }
            }
            _ => Self { reason: (*reason).to_owned(), advice: *advice },
        })
    }

    /// Recognizes a file by its first octets, which are neither those of an mbox nor those of a message.
    pub(super) fn of(first: &[u8]) -> Self {
        if let Some(marked) = Self::by_mark(first) {
            return marked;
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
                reason: format!(
                    "is neither an mbox nor one message: it begins with {shown:?}, and its header has no field such as From, \
                     To or Subject"
                ),
                advice: Advice::Text(""),
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
            reason: format!(
                "is neither an mbox nor one message: its first line is {shown:?}, and neither \"From SENDER DATE\" nor a field of \
                 a header"
            ),
            advice: Advice::Text(""),
        }
    }

    /// The next step for the file with that name, quoted for a shell; `-` is standard input. `import` is the command that
    /// imports standard input in the same way.
    pub fn advice(&self, file: &str, import: &str) -> String {
        match self.advice {
            Advice::Command(_) if is_packed_tar(file) => Advice::Unpack("tar -xf").next_step(file, import),
            advice => advice.next_step(file, import),
        }
    }
}

impl Advice {
    fn next_step(self, file: &str, import: &str) -> String {
        match self {
            Self::Gzip => "add --gz".into(),
            Self::Unpack(_) | Self::Convert(..) if file == "-" => {
                "unpack it first, and import what is in it".into()
            }
            Self::Unpack(command) => {
                format!(
                    "unpack it with `{command} {file}`; import the mbox files in it, or the directory that it makes"
                )
            }
            Self::Convert(command, makes) => format!("`{command} {file}` makes {makes} of it"),
            Self::Command(command) if file == "-" => {
                format!("put `{}` before the pipe to this command", command.trim_end_matches(" <"))
            }
            Self::Command(command) => format!("`{command} {file} | {import}`"),
            Self::Text(text) => text.into(),
        }
    }
}

impl fmt::Display for OtherFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The format of a file that begins with a mark of its own.
fn known(first: &[u8]) -> Option<&'static Known> {
    KNOWN.iter().find(|(at, magic, ..)| first.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
}

/// The first octets of a file that gzip has compressed: the header of a tar archive, if it is one.
fn first_unpacked(first: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = vec![0; TAR_HEADER];
    GzDecoder::new(first).read_exact(&mut unpacked).ok()?;
    Some(unpacked)
}

/// Whether the name of a compressed file, quoted for a shell, is that of a tar archive.
fn is_packed_tar(file: &str) -> bool {
    let name = file.trim_end_matches('\'').to_ascii_lowercase();
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    stem.ends_with(".tar") || ["tbz", "tbz2", "txz", "tzst", "tlz"].contains(&ending)
}

/// The beginning of a line, for an error.
pub(super) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let cut = if line.len() > SHOWN { "…" } else { "" };
    format!("{}{cut}", text.trim_end())
}

/// Offset, octets there, the format, and the way to import it.
type Known = (usize, &'static [u8], &'static str, Advice);

/// Octets of a block of tar.
const TAR_HEADER: usize = 512;
const ITS_FILES: &str = "a directory with .eml files";
const KNOWN: &[Known] = &[
    (0, b"\x1f\x8b", "is compressed with gzip", Advice::Gzip),
    (0, b"BZh", "is compressed with bzip2", Advice::Command("bzcat")),
    (0, b"\xfd7zXZ\0", "is compressed with xz", Advice::Command("xzcat")),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd", Advice::Command("zstdcat")),
    (0, b"LZIP", "is compressed with lzip", Advice::Command("lzip -dc")),
    (0, b"\x04\x22\x4d\x18", "is compressed with lz4", Advice::Command("lz4cat")),
    (0, b"\x1f\x9d", "is compressed with compress", Advice::Command("zcat")),
    (0, b"PK\x03\x04", "is a zip archive", Advice::Unpack("unzip")),
    (0, b"PK\x05\x06", "is an empty zip archive", Advice::Text("")),
    (0, b"7z\xbc\xaf", "is a 7z archive", Advice::Unpack("7z x")),
    (0, b"Rar!\x1a\x07", "is a rar archive", Advice::Unpack("unrar x")),
    (257, b"ustar", "is a tar archive", Advice::Unpack("tar -xf")),
    (0, b"\xff\xfe", "is in UTF-16", Advice::Command("iconv -f UTF-16 -t UTF-8")),
    (0, b"\xfe\xff", "is in UTF-16", Advice::Command("iconv -f UTF-16 -t UTF-8")),
    (
        0,
        b"!BDN",
        "is a file of Outlook (.pst, .ost)",
        Advice::Convert("readpst", "mbox files, one for each folder,"),
    ),
    (0, b"\xcf\xad\x12\xfe", "is a file of Outlook Express (.dbx)", Advice::Convert("undbx", ITS_FILES)),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is a message of Outlook (.msg)",
        Advice::Convert("msgconvert --mbox out.mbox", "the mbox out.mbox"),
    ),
    (
        0,
        b"\x78\x9f\x3e\x22",
        "is an attachment of Outlook (winmail.dat), and no mail",
        Advice::Text("tnef takes the files out of it"),
    ),
    (0, b"*mbx*", "is in the format mbx of UW IMAP", Advice::Text("mailutil copy makes an mbox of it")),
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
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn u02_a_file_that_is_no_mbox_is_named_with_the_command_that_takes_it() {
        let mut tar = vec![b'x'; 257];
        tar.extend(b"ustar\0");
        tar.resize(TAR_HEADER, 0);
        let packed = |octets: &[u8]| {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(octets).unwrap();
            packed.finish().unwrap()
        };
        for (first, reason, advice) in [
            (&b"\x1f\x8b\x08"[..], "gzip", "--gz"),
            (b"BZh91AY", "bzip2", "bzcat in | restante import -"),
            (b"\xfd7zXZ\0", "xz", "xzcat in |"),
            (&tar, "is a tar archive", "unpack it with `tar -xf in`; import the mbox files in it"),
            (&packed(&tar), "is a tar archive, compressed with gzip", "unpack it with `tar -xf in`"),
            (&packed(b"From a@b.test Sat Jan  3 01:05:34 1996\n"), "is compressed with gzip", "add --gz"),
            (b"PK\x03\x04\x14", "is a zip archive", "unpack it with `unzip in`"),
            (b"!BDN\x00", "is a file of Outlook (.pst, .ost)", "`readpst in` makes mbox files"),
            (
                b"\xcf\xad\x12\xfe\xc5",
                "Outlook Express (.dbx)",
                "`undbx in` makes a directory with .eml files",
            ),
            (b"\xff\xfeF\0", "UTF-16", "iconv -f UTF-16 -t UTF-8 in |"),
            (b"From a@b.test Sat Jan  3 01:05:34 1996\rA: b\r\rx\r", "CR alone", "tr '\\r' '\\n' < in |"),
            (b"From my window\nthe sea\n", "no date", "--format mboxrd"),
            (b"Note: x\n\nhello\n", "has no field such as From, To or Subject", ""),
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
        let bzip2 = OtherFormat::of(b"BZh9");
        assert_eq!(bzip2.advice("-", ""), "put `bzcat` before the pipe to this command");
        for name in ["'my mail.tar.bz2'", "mail.TBZ2"] {
            assert!(
                bzip2.advice(name, "").starts_with(&format!("unpack it with `tar -xf {name}`")),
                "{name}"
            );
        }
        assert_eq!(OtherFormat::of(&tar).advice("-", ""), "unpack it first, and import what is in it");
    }
}
