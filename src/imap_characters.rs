//! The classes of characters of IMAP (RFC 3501 and RFC 9051 section 9), for commands, responses and the file of keywords.

/// A character of an atom: "ATOM-CHAR".
pub(crate) fn is_atom_char(octet: u8) -> bool {
    is_astring_char(octet) && octet != b']'
}

/// A character of a string without quotes: "ASTRING-CHAR".
pub(crate) fn is_astring_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

/// A character of a tag.
pub(crate) fn is_tag_char(octet: u8) -> bool {
    is_astring_char(octet) && octet != b'+'
}

/// A character of a pattern of LIST without quotes: "list-char".
pub(crate) fn is_list_char(octet: u8) -> bool {
    is_astring_char(octet) || matches!(octet, b'%' | b'*')
}

/// A character between quotes, perhaps after a backslash: "TEXT-CHAR".
pub(crate) fn is_text_char(octet: u8) -> bool {
    octet.is_ascii() && !matches!(octet, 0 | b'\r' | b'\n')
}

/// Whether a text is an atom, as a keyword must be.
pub(crate) fn is_atom(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|octet| is_atom_char(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters of the class, of all octets.
    fn class(is_in: fn(u8) -> bool) -> String {
        (0..=u8::MAX).filter(|octet| is_in(*octet)).map(char::from).collect()
    }

    #[test]
    fn the_classes_are_those_of_the_grammar() {
        let without =
            |specials: &str| ('\x21'..='\x7e').filter(|c| !specials.contains(*c)).collect::<String>();
        assert_eq!(class(is_atom_char), without("(){%*\"\\]"));
        assert_eq!(class(is_astring_char), without("(){%*\"\\"));
        assert_eq!(class(is_tag_char), without("(){%*\"\\+"));
        assert_eq!(class(is_list_char), without("(){\"\\"));
        assert_eq!(
            class(is_text_char),
            ('\x01'..='\x7f').filter(|c| !"\r\n".contains(*c)).collect::<String>()
        );
        assert!(is_atom(b"$MDNSent") && !is_atom(b"") && !is_atom(b"a]") && !is_atom("ü".as_bytes()));
    }
}
