//! Character sets: octets to text.

use std::borrow::Cow;

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, ISO_2022_JP, REPLACEMENT, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252,
};

/// Decodes octets in the character set of that name. An octet that has no meaning in it becomes U+FFFD. Without a name, or
/// with one that says nothing, the character set is guessed.
pub fn decode(octets: &[u8], name: Option<&str>) -> String {
    // A program that quotes too much has other parameters in it.
    let is_end = |c: char| c.is_whitespace() || matches!(c, ';' | ',' | '"' | '\'');
    let name = name.and_then(|name| name.trim_start_matches(is_end).split(is_end).next());
    let name = name.unwrap_or_default().to_ascii_lowercase();
    let table = match name.as_str() {
        "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" | "646" | "unknown" | "unknown-8bit" | "x-unknown"
        | "8bit" | "7bit" | "default" | "x-user-defined" => return guess(octets).into_owned(),
        "utf-7" | "utf7" | "unicode-1-1-utf-7" | "csutf7" | "csunicode11utf7" | "x-unicode-2-0-utf-7" => {
            return utf_7(octets);
        }
        "hz-gb-2312" | "hz" => return GBK.decode_without_bom_handling(&hz(octets)).0.into_owned(),
        "iso-2022-kr" | "csiso2022kr" => {
            return EUC_KR.decode_without_bom_handling(&iso_2022_kr(octets)).0.into_owned();
        }
        "cp437" | "ibm437" | "437" | "cspc8codepage437" => Some(CP437),
        "cp850" | "ibm850" | "850" | "cspc850multilingual" => Some(CP850),
        _ => None,
    };
    if let Some(table) = table {
        let table: Vec<char> = table.chars().collect();
        let one = |b: &u8| if b.is_ascii() { char::from(*b) } else { table[usize::from(*b - 0x80)] };
        return octets.iter().map(one).collect();
    }
    match encoding(&name) {
        None => guess(octets).into_owned(),
        Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => {
            let encoding =
                if name.ends_with("le") || name.ends_with("be") { encoding } else { utf_16_order(octets) };
            encoding.decode(octets).0.into_owned()
        }
        Some(encoding) if encoding == ISO_2022_JP => {
            encoding.decode(&without_idle_escapes(octets)).0.into_owned()
        }
        // `decode` obeys a byte order mark of UTF-16, which no other character set begins with.
        Some(encoding) => encoding.decode_with_bom_removal(octets).0.into_owned(),
    }
}

/// Decodes octets whose character set nothing tells: UTF-8 if they are valid, else the Latin letters of Windows.
pub fn guess(octets: &[u8]) -> Cow<'_, str> {
    let text = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0,
    }
}

/// A character set in which the octets of ASCII are ASCII, so that a header can be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CharsetOfHeader(&'static Encoding);

impl CharsetOfHeader {
    /// The character set of that name. `None` for UTF-8, which is recognised without a name.
    pub fn named(name: &str) -> Option<Self> {
        let found = encoding(&name.trim().to_ascii_lowercase())?;
        let fits = found != UTF_8 && (found.is_ascii_compatible() || found == ISO_2022_JP);
        fits.then_some(Self(found))
    }
}

/// A value of a header in UTF-8. If it is not, or has the escape sequences of ISO-2022-JP, it is in that character set.
pub(super) fn in_utf_8(value: Cow<'_, [u8]>, charset: Option<CharsetOfHeader>) -> Cow<'_, [u8]> {
    match charset {
        Some(CharsetOfHeader(encoding))
            if std::str::from_utf8(&value).is_err() || (encoding == ISO_2022_JP && value.contains(&0x1b)) =>
        {
            Cow::Owned(encoding.decode_without_bom_handling(&value).0.into_owned().into_bytes())
        }
        _ => value,
    }
}

/// The encoding of a name, in lower case. The names are those of the Encoding Standard, and those of mail programs.
fn encoding(name: &str) -> Option<&'static Encoding> {
    let known = Encoding::for_label(name.as_bytes()).filter(|encoding| *encoding != REPLACEMENT);
    known.or_else(|| {
        // `iso_8859_1`, `windows1252`, `cp936`, `x-windows-949`
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.strip_prefix('x').unwrap_or(&plain);
        let (letters, digits) =
            plain.split_at(plain.find(|c: char| c.is_ascii_digit()).unwrap_or(plain.len()));
        Some(match (letters, digits) {
            ("cp", "50220" | "50221" | "50222") => ISO_2022_JP,
            ("iso", digits) if digits.starts_with("2022jp") => ISO_2022_JP,
            ("cp" | "ms" | "windows" | "ibm" | "", "932" | "943" | "31") => SHIFT_JIS,
            ("cp" | "ms" | "windows" | "ibm" | "", "936" | "1386") => GBK,
            ("cp" | "ms" | "windows" | "ibm" | "", "949") => EUC_KR,
            ("cp" | "ms" | "windows" | "ibm" | "", "950") => BIG5,
            ("cp" | "windows" | "ibm" | "", "65001") | ("utf" | "unicodeutf", "8") => UTF_8,
            ("utf" | "ucs", "16" | "2") | ("iso", "10646ucs2") => UTF_16LE,
            ("cp" | "windows" | "win" | "", digits) => {
                return Encoding::for_label(format!("windows-{digits}").as_bytes());
            }
            ("iso" | "latin", digits) => {
                let part = digits.strip_prefix("8859").unwrap_or(digits);
                // A year stands after a colon.
                let part = if name.contains(':') { part.get(..part.len().checked_sub(4)?)? } else { part };
                let label =
                    if letters == "latin" { format!("latin{part}") } else { format!("iso-8859-{part}") };
                return Encoding::for_label(label.as_bytes());
            }
            _ if plain.starts_with("ksc5601") => EUC_KR,
            _ if plain.starts_with("gb2312") || plain.starts_with("euccn") => GBK,
            _ if plain.starts_with("big5") => BIG5,
            _ => return None,
        })
    })
}

/// The order of octets of UTF-16 without a name for it: a byte order mark counts, else the place of the zero octets.
fn utf_16_order(octets: &[u8]) -> &'static Encoding {
    if octets.starts_with(b"\xfe\xff") {
        return UTF_16BE;
    }
    let zeros = |from: usize| octets.iter().skip(from).step_by(2).filter(|b| **b == 0).count();
    if octets.starts_with(b"\xff\xfe") || zeros(1) >= zeros(0) { UTF_16LE } else { UTF_16BE }
}

/// Leaves out an escape sequence that another follows at once, as where two encoded words are joined: the decoder counts it
/// as an error.
fn without_idle_escapes(octets: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((first, after)) = rest.split_first() {
        let is_idle = matches!(rest, [0x1b, b'(' | b'$', b'A'..=b'Z' | b'@', 0x1b, ..]);
        if is_idle {
            rest = &rest[3..];
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    kept
}

/// Makes GB 2312 with eight bits of HZ (RFC 1843), which has it with seven between `~{` and `~}`.
fn hz(octets: &[u8]) -> Vec<u8> {
    let (mut plain, mut shifted, mut rest) = (Vec::with_capacity(octets.len()), false, octets);
    loop {
        rest = match rest {
            [] => return plain,
            [b'~', b'{', after @ ..] => {
                shifted = true;
                after
            }
            [b'~', b'}', after @ ..] => {
                shifted = false;
                after
            }
            [b'~', b'~', after @ ..] if !shifted => {
                plain.push(b'~');
                after
            }
            [b'~', b'\n', after @ ..] if !shifted => after,
            // A line end ends a shift that nothing ended.
            [b'\n', after @ ..] => {
                shifted = false;
                plain.push(b'\n');
                after
            }
            [first, second, after @ ..] if shifted => {
                plain.extend([first | 0x80, second | 0x80]);
                after
            }
            [first, after @ ..] => {
                plain.push(*first);
                after
            }
        };
    }
}

/// Makes EUC-KR of ISO-2022-KR (RFC 1557), which has it with seven bits between the characters SO and SI.
fn iso_2022_kr(octets: &[u8]) -> Vec<u8> {
    let (mut plain, mut shifted, mut rest) = (Vec::with_capacity(octets.len()), false, octets);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            0x1b if after.starts_with(b"$)C") => rest = &after[3..],
            0x0e => shifted = true,
            0x0f => shifted = false,
            b if shifted && (0x21..=0x7e).contains(b) => plain.push(b | 0x80),
            b => plain.push(*b),
        }
    }
    plain
}

/// Decodes UTF-7 (RFC 2152), which `encoding_rs` does not have.
fn utf_7(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut rest = octets;
    while let Some(plus) = memchr::memchr(b'+', rest) {
        text.push_str(&guess(&rest[..plus]));
        rest = &rest[plus + 1..];
        let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        let end = rest.iter().position(|b| !is_base64(b)).unwrap_or(rest.len());
        let (shifted, after) = rest.split_at(end);
        // A hyphen ends the shifted text and is no part of what follows.
        rest = after.strip_prefix(b"-").unwrap_or(after);
        if shifted.is_empty() {
            text.push('+');
        } else {
            let decoded = super::transfer_encoding::TransferEncoding::Base64.decode(shifted);
            text.push_str(&UTF_16BE.decode_without_bom_handling(&decoded[..decoded.len() & !1]).0);
        }
    }
    text.push_str(&guess(rest));
    text
}

/// The upper half of code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
/// The upper half of code page 850.
const CP850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_its_character_set() {
        for (name, octets, text) in [
            ("utf-8", &b"caf\xc3\xa9"[..], "café"),
            ("UTF8", b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
            ("cp65001", b"caf\xc3\xa9", "café"),
            ("utf-8", b"caf\xe9", "caf\u{fffd}"),
            ("us-ascii", b"caf\xc3\xa9 \xe2\x82\xac", "café €"),
            ("us-ascii", b"caf\xe9 \x80", "café €"),
            ("iso-8859-1", b"\x80 caf\xe9", "€ café"),
            ("iso_8859-1:1987", b"caf\xe9", "café"),
            ("iso_8859_15", b"\xa4", "€"),
            ("iso8859-15", b"\xa4", "€"),
            ("iso-8859-2; format=flowed", b"\xb9", "š"),
            ("Latin-1", b"\xe9", "é"),
            ("\"windows-1252\"", b"\x93x\x94", "“x”"),
            ("x-cp1250", b"\x9a", "š"),
            ("cp1251", b"\xcf\xf0", "Пр"),
            ("win-1251", b"\xcf\xf0", "Пр"),
            ("windows1251", b"\xcf\xf0", "Пр"),
            ("koi8-r", b"\xf0\xd2", "Пр"),
            ("cp437", b"\x82\xe1", "éß"),
            ("ibm850", b"\x9b\x9d", "øØ"),
            ("gb2312", b"\xc4\xe3\xba\xc3", "你好"),
            ("cp936", b"\xc4\xe3\xba\xc3", "你好"),
            ("gb18030", b"\xc4\xe3\xba\xc3", "你好"),
            ("hz-gb-2312", b"plain ~{Dc:C~} ~~ ~\n~{Dc\nx", "plain 你好 ~ 你\nx"),
            ("iso-2022-kr", b"\x1b$)Cplain \x0e>H3g\x0f.", "plain 안녕."),
            ("iso-2022-jp-ms", b"\x1b$BF|\x1b(B", "日"),
            ("big5", b"\xa7A\xa6n", "你好"),
            ("cp950", b"\xa7A\xa6n", "你好"),
            ("shift_jis", b"\x93\xfa\x96\x7b", "日本"),
            ("cp932", b"\x93\xfa\x96\x7b", "日本"),
            ("windows-31j", b"\x93\xfa\x96\x7b", "日本"),
            ("euc-jp", b"\xc6\xfc\xcb\xdc", "日本"),
            ("ISO-2022-JP", b"\x1b$BF|K\\\x1b(B.", "日本."),
            ("ISO-2022-JP", b"\x1b$BF|\x1b(B\x1b$BK\\\x1b(B", "日本"),
            ("euc-kr", b"\xbe\xc8\xb3\xe7", "안녕"),
            ("ks_c_5601-1987", b"\xbe\xc8\xb3\xe7", "안녕"),
            ("ks_c_5601", b"\xbe\xc8\xb3\xe7", "안녕"),
            ("cp949", b"\xbe\xc8\xb3\xe7", "안녕"),
            ("tis-620", b"\xc3\xcb", "รห"),
            ("utf-16", b"\xff\xfee\0\xe9\0", "eé"),
            ("utf-16", b"\xfe\xff\0e\0\xe9", "eé"),
            ("utf-16", b"\0e\0\xe9", "eé"),
            ("utf-16", b"e\0\xe9\0", "eé"),
            ("utf-16be", b"\0e\0\xe9", "eé"),
            ("utf-7", b"Hi Mom -+Jjo--! 1+-1 +AOk", "Hi Mom -☺-! 1+1 é"),
            ("x-nobody", b"caf\xc3\xa9", "café"),
            ("x-nobody", b"caf\xe9", "café"),
            ("", b"", ""),
        ] {
            assert_eq!(decode(octets, Some(name)), text, "{name}");
        }
        assert_eq!(decode(b"caf\xe9", None), "café");
        assert_eq!([CP437, CP850].map(|table| table.chars().count()), [128, 128]);
    }
}
