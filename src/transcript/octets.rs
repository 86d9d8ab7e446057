//! The notation of octets in one line. Printable characters are written unchanged. All others are escaped, so that no editor
//! can change them unnoticed.

use crate::printable::is_hidden;

/// Escapes octets for one line: `\r`, `\n`, `\t`, `\\`, and `\xNN` for characters that are invisible, that
/// change the direction of text, or that an editor could remove at the end of a line.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = escaped_inside(bytes);
    if let Some(last) = text.chars().next_back().filter(|c| c.is_whitespace()) {
        text.truncate(text.len() - last.len_utf8());
        hex(last.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
    }
    text
}

/// Like [`escaped`], for text with more text after it on the same line.
fn escaped_inside(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => text.push_str("\\r"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                c if is_hidden(c) => hex(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
                c => text.push(c),
            }
        }
        hex(chunk.invalid(), &mut text);
    }
    text
}

fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Writes octets in quotes, with `|` for LF.
pub fn quoted(bytes: &[u8]) -> String {
    let line = |line: &[u8]| escaped_inside(line).replace('"', "\\\"").replace('|', "\\x7c");
    let lines: Vec<String> = bytes.split(|&b| b == b'\n').map(line).collect();
    format!("\"{}\"", lines.join("|"))
}

/// Parses the notation of [`escaped`].
pub fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some(c @ ('\\' | '"')) => c as u8,
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is not an octet"))?
            }
            other => return Err(format!("\\{} is not an escape", other.unwrap_or(' '))),
        });
    }
    Ok(bytes)
}

/// Parses a text in quotes, and returns it with the rest of the line. `"..."*3` means three repetitions.
pub fn unquoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let wrong = || format!("{text} is not a text in quotes");
    let inside = text.strip_prefix('"').ok_or_else(wrong)?;
    let mut escape = false;
    let end = inside.find(|c| {
        let end = c == '"' && !escape;
        escape = c == '\\' && !escape;
        end
    });
    let (inside, rest) = inside.split_at(end.ok_or_else(wrong)?);
    let once = unescaped(&inside.replace('|', "\n"))?;
    match rest[1..].strip_prefix('*') {
        None => Ok((once, rest[1..].trim_start())),
        Some(times) => {
            let (times, rest) = times.split_once(' ').unwrap_or((times, ""));
            Ok((once.repeat(times.parse().map_err(|_| wrong())?), rest))
        }
    }
}
