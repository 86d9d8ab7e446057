//! The vocabulary of SMTP.

use super::{
    command_table,
    reply_codes::{self, ReplyClass},
};
use crate::proto::{sasl, vocabulary::Vocabulary};

/// The meaning of commands and replies.
pub const VOCABULARY: Vocabulary = Vocabulary {
    begins_tls: "RFC 3207 section 4.2",
    exchange: "RFC 4954 section 4",
    command: |name| command_table::find_command(name).map(|rule| (rule.meaning, rule.rfc)),
    reply,
    listed: command_table::EXTENSIONS,
    before_keyword: "250-".len(),
};

fn reply(line: &str) -> (String, Option<ReplyClass>) {
    match line.split_at_checked(3) {
        Some((code, rest)) if code.bytes().all(|b| b.is_ascii_digit()) => {
            let (enhanced, _) = reply_codes::enhanced(rest.get(1..).unwrap_or_default());
            let last = !rest.starts_with('-');
            let mut meaning = if last { reply_codes::explain(code, enhanced) } else { String::new() };
            if let Some(challenge) = rest.get(1..).filter(|_| code == "334").and_then(readable) {
                meaning.push_str(&format!("; decoded: {challenge:?}"));
            }
            (meaning, ReplyClass::of(code))
        }
        _ => (String::new(), None),
    }
}

/// Decodes the base64 text of a challenge.
fn readable(challenge: &str) -> Option<String> {
    let text = String::from_utf8(sasl::decode(challenge.as_bytes()).ok()?).ok()?;
    (!text.is_empty()).then_some(text)
}
