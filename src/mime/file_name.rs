//! Names for the files that attachments are saved as.
//!
//! The rule: a stranger chose the name. It never leaves the directory, is never hidden, and is never taken for an option.

use super::html::is_blank;
use crate::printable::is_hidden;

/// Turns a name chosen by a stranger into a file name. Removes invisible characters, and dots, hyphens, tildes and blanks at
/// the beginning, then cuts a long name before its ending. Tries the last component of a path first; `None` if no component
/// leaves a character that can be seen.
pub fn clean(given: &str) -> Option<String> {
    given.rsplit(['/', '\\']).find_map(|part| {
        let visible: String = part.chars().filter(|c| !is_hidden(*c)).collect();
        let mut name = visible.trim_start_matches(is_bad_start).trim_end();
        let cut;
        if name.len() > MAX_LENGTH {
            let end = name.rsplit_once('.').map_or("", |(_, end)| end);
            let end = if (1..20).contains(&end.len()) { format!(".{end}") } else { String::new() };
            let stem = &name[..name.floor_char_boundary(MAX_LENGTH - end.len())];
            cut = format!("{}{end}", stem.trim_end());
            name = &cut;
        }
        (!is_blank(name)).then(|| name.to_owned())
    })
}

/// A character that must not begin a name: it hides the file, begins an option or a home directory, or cannot be seen.
fn is_bad_start(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | '-' | '~' | '\u{2800}')
}

/// The usual ending of files of that media type.
pub fn ending(media_type: &str) -> &'static str {
    if let Some((_, ending)) = USUAL.iter().find(|(known, _)| *known == media_type) {
        return ending;
    }
    let known = mime_guess::get_mime_extensions_str(media_type).unwrap_or_default();
    // An ending of many types is not the usual one of this.
    let is_own = |ending: &&&str| mime_guess::from_ext(ending).first_raw() == Some(media_type);
    match known.iter().find(is_own).or(known.first()) {
        Some(ending) => ending,
        None if media_type.starts_with("text/") => "txt",
        None => "bin",
    }
}

/// Types of mail, and media types for which mime_guess has an unusual ending first, because its table is in alphabetical
/// order.
const USUAL: [(&str, &str); 44] = [
    ("application/gzip", "gz"),
    ("application/javascript", "js"),
    ("application/json", "json"),
    ("application/msword", "doc"),
    ("application/octet-stream", "bin"),
    ("application/pdf", "pdf"),
    ("application/pgp-encrypted", "asc"),
    ("application/pgp-keys", "asc"),
    ("application/pgp-signature", "asc"),
    ("application/pkcs7-mime", "p7m"),
    ("application/pkcs7-signature", "p7s"),
    ("application/postscript", "ps"),
    ("application/rtf", "rtf"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.ms-powerpoint", "ppt"),
    ("application/x-gzip", "gz"),
    ("application/x-pkcs7-mime", "p7m"),
    ("application/x-pkcs7-signature", "p7s"),
    ("application/x-tar", "tar"),
    ("application/x-zip-compressed", "zip"),
    ("application/xml", "xml"),
    ("application/zip", "zip"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("image/jpeg", "jpg"),
    ("image/jpg", "jpg"),
    ("image/pjpeg", "jpg"),
    ("image/svg+xml", "svg"),
    ("image/tiff", "tif"),
    ("message/delivery-status", "txt"),
    ("message/disposition-notification", "txt"),
    ("message/global", "eml"),
    ("message/rfc822", "eml"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/rfc822-headers", "txt"),
    ("text/rtf", "rtf"),
    ("text/xml", "xml"),
    ("video/mp4", "mp4"),
    ("video/mpeg", "mpg"),
    ("video/quicktime", "mov"),
];

/// Octets of a file name, with room left for a number.
const MAX_LENGTH: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_of_a_stranger_is_no_path_and_not_hidden() {
        for (given, name) in [
            ("photo.png", Some("photo.png")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\windows\\x.exe", Some("x.exe")),
            ("/", None),
            ("..", None),
            ("dir/..", Some("dir")),
            (".bashrc", Some("bashrc")),
            ("-rf", Some("rf")),
            ("- .zshenv", Some("zshenv")),
            ("~ -rf", Some("rf")),
            (". - ~\u{a0}.-~x", Some("x")),
            ("\u{202e}.\u{200b}-\u{feff}~x ", Some("x")),
            ("\u{3000}\u{2800}.x", Some("x")),
            ("\u{2800}\u{200d}", None),
            ("a\0b\x1b[2Jc\n.txt", Some("ab[2Jc.txt")),
            ("evil\u{202e}gpj.exe", Some("evilgpj.exe")),
            ("été 日本.txt", Some("été 日本.txt")),
            ("", None),
        ] {
            assert_eq!(clean(given).as_deref(), name, "{given:?}");
        }
        let long = clean(&format!("{}.tar", "é".repeat(300))).unwrap();
        assert!(long.len() <= MAX_LENGTH && long.ends_with("é.tar"), "{long}");
        assert_eq!(clean(&"a".repeat(300)).unwrap().len(), MAX_LENGTH);
    }

    proptest! {
        #[test]
        fn a_clean_name_is_clean_again(given in "[-.~/\\\\ a\u{a0}\u{3000}\u{200b}\u{202e}\u{2800}\t\u{7}é]{0,12}") {
            if let Some(name) = clean(&given) {
                prop_assert!(!name.contains(['/', '\\']) && !name.starts_with(is_bad_start), "{:?}", name);
                prop_assert!(!name.chars().any(is_hidden), "{:?}", name);
                prop_assert_eq!(clean(&name), Some(name.clone()));
            }
        }
    }

    #[test]
    fn the_usual_ending_comes_first() {
        for (kind, usual) in [
            ("text/plain", "txt"),
            ("image/jpeg", "jpg"),
            ("audio/mpeg", "mp3"),
            ("video/mpeg", "mpg"),
            ("message/rfc822", "eml"),
            ("image/png", "png"),
            ("text/csv", "csv"),
            ("text/calendar", "ics"),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
            ("text/x-nobody", "txt"),
            ("x/y", "bin"),
            ("", "bin"),
        ] {
            assert_eq!(ending(kind), usual, "{kind}");
        }
    }
}
