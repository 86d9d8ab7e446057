//! The patterns of LIST and LSUB (RFC 3501 section 6.3.8).

use crate::proto::folder::Folder;

/// A pattern of mailbox names.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Octet(u8),
    /// `*`: any octets.
    Any,
    /// `%`: any octets of one level.
    Level,
}

impl Pattern {
    /// A pattern after its reference. `None` if no name is long enough for it.
    pub(super) fn new(reference: &[u8], pattern: &[u8]) -> Option<Self> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut octets = 0;
        for &octet in reference.iter().chain(pattern) {
            let token = match octet {
                b'*' => Token::Any,
                b'%' => Token::Level,
                octet => Token::Octet(octet),
            };
            octets += usize::from(matches!(token, Token::Octet(_)));
            if octets > Folder::MAX_NAME {
                return None;
            }
            // Several wildcards in a row match as the widest of them.
            match (tokens.last_mut(), token) {
                (Some(last @ (Token::Any | Token::Level)), Token::Any) => *last = Token::Any,
                (Some(Token::Any | Token::Level), Token::Level) => {}
                _ => tokens.push(token),
            }
        }
        Some(Self(tokens))
    }

    /// Whether the pattern matches a name. INBOX matches in any case, also as the first level.
    pub(super) fn matches(&self, name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        let inbox = if first == "INBOX" { first.len() } else { 0 };
        // The positions of the pattern that the octets so far can have led to. After a wildcard it can stay there.
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.skip_wildcards(&mut reached);
        for (place, octet) in name.bytes().enumerate() {
            let equals = |wanted: u8| wanted == octet || place < inbox && wanted.eq_ignore_ascii_case(&octet);
            let mut next = vec![false; reached.len()];
            for (at, token) in self.0.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match token {
                    Token::Octet(wanted) => next[at + 1] |= equals(*wanted),
                    Token::Any => next[at] = true,
                    Token::Level => next[at] |= octet != b'.',
                }
            }
            self.skip_wildcards(&mut next);
            reached = next;
        }
        reached.last() == Some(&true)
    }

    /// A wildcard may match nothing.
    fn skip_wildcards(&self, reached: &mut [bool]) {
        for (at, token) in self.0.iter().enumerate() {
            if reached[at] && !matches!(token, Token::Octet(_)) {
                reached[at + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(b"", pattern.as_bytes()).is_some_and(|pattern| pattern.matches(name))
    }

    #[test]
    fn a_percent_sign_stays_in_its_level_and_a_star_does_not() {
        for (pattern, name, expected) in [
            ("*", "INBOX", true),
            ("*", "Archive.2026.Q1", true),
            ("%", "Archive", true),
            ("%", "Archive.2026", false),
            ("%.%", "Archive.2026", true),
            ("Archive.%", "Archive.2026", true),
            ("Archive.%", "Archive.2026.Q1", false),
            ("Archive.*", "Archive.2026.Q1", true),
            ("Archive.*", "Archive", false),
            ("A*6", "Archive.2026", true),
            ("%*%", "a.b", true),
            ("*%", "a.b", true),
            ("inbox", "INBOX", true),
            ("iN%", "INBOX", true),
            ("sent", "Sent", false),
            ("", "INBOX", false),
            ("Sent", "Sent", true),
            ("Sen", "Sent", false),
            ("Sentx", "Sent", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Pattern::new(b"Archive.", b"%").unwrap().matches("Archive.2026"));
    }

    #[test]
    fn y194_inbox_matches_in_any_case_as_the_first_level_too() {
        for (pattern, name, expected) in [
            ("inbox.%", "INBOX.below", true),
            ("InB*.below", "INBOX.below", true),
            ("inbox.BELOW", "INBOX.below", false),
            ("inbox", "INBOX.below", false),
            ("up.inbox", "up.INBOX", false),
            ("inboxes", "INBOXes", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn y62_a_pattern_of_many_wildcards_costs_no_time() {
        assert!(matches(&"%*".repeat(30_000), "a.b"));
        assert!(!matches(&"a*".repeat(100), &"a".repeat(99)));
        assert!(Pattern::new(b"", &[b'a'; 201]).is_none());
    }
}
