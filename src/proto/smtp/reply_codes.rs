//! The meaning of reply codes: the digits (RFC 5321 section 4.2.1) and the enhanced codes (RFC 3463, and the
//! registry that RFC 5248 created).

/// The text of the reply that an address has asked for.
pub const FAULT_ON_DEMAND: &str = "A fault on demand";

/// The class of a reply, from its first digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyClass {
    /// 2: the command succeeded.
    Success,
    /// 3: the client must send more.
    Intermediate,
    /// 4: the same command may succeed later.
    Transient,
    /// 5: the client must change the command.
    Permanent,
}

impl ReplyClass {
    /// The class of a reply code.
    pub fn of(code: &str) -> Option<Self> {
        match code.bytes().next()? {
            b'2' => Some(Self::Success),
            b'3' => Some(Self::Intermediate),
            b'4' => Some(Self::Transient),
            b'5' => Some(Self::Permanent),
            _ => None,
        }
    }

    /// The digit and its meaning.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "2.. done",
            Self::Intermediate => "3.. go on, more is wanted",
            Self::Transient => "4.. not now, the same may work later",
            Self::Permanent => "5.. no, something has to be changed first",
        }
    }
}

/// Explains a reply code and its enhanced code, digit by digit: `250 2.1.0`.
pub fn explain(code: &str, enhanced: Option<&str>) -> String {
    let about = match code.as_bytes().get(1) {
        Some(b'0') => ", .0. syntax",
        Some(b'1') => ", .1. information",
        Some(b'2') => ", .2. the connection",
        Some(b'3') => ", .3. authentication (RFC 4954)",
        Some(b'5') => ", .5. mail",
        _ => "",
    };
    let class = ReplyClass::of(code).map_or("", ReplyClass::meaning);
    let detail = enhanced.and_then(|enhanced| Some((enhanced, detail(enhanced)?)));
    let detail = detail.map(|(enhanced, meaning)| format!("; {enhanced} {meaning}")).unwrap_or_default();
    format!("{class}{about}{detail}")
}

/// The meaning of the subject and detail of an enhanced code.
fn detail(enhanced: &str) -> Option<&'static str> {
    let (_, subject) = enhanced.split_once('.')?;
    DETAILS.iter().find(|(of, _)| *of == subject).map(|(_, meaning)| *meaning)
}

/// Splits a reply text into its enhanced code and the rest.
pub fn enhanced(text: &str) -> (Option<&str>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let parts: Vec<&str> = word.split('.').collect();
    let number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let is_enhanced = parts.len() == 3 && parts.iter().all(number) && matches!(parts[0], "2" | "4" | "5");
    if is_enhanced { (Some(word), rest) } else { (None, text) }
}

/// The meaning of subjects and details. It is the same for each class.
const DETAILS: &[(&str, &str)] = &[
    ("0.0", "nothing more to say"),
    ("1.0", "the address"),
    ("1.1", "there is no such mailbox"),
    ("1.2", "there is no such domain"),
    ("1.3", "the recipient's address does not follow the grammar"),
    ("1.5", "the recipient's address is good"),
    ("1.6", "the mailbox has moved"),
    ("1.7", "the sender's address does not follow the grammar"),
    ("1.8", "the sender's domain can't be answered to"),
    ("2.0", "the mailbox"),
    ("2.1", "the mailbox takes no mail"),
    ("2.2", "the mailbox is full"),
    ("2.3", "the message is too long for the mailbox"),
    ("3.0", "the mail system"),
    ("3.1", "the disk is full"),
    ("3.2", "the system takes no mail now"),
    ("3.4", "the message is too big for the system"),
    ("3.5", "the system is not configured for that"),
    ("4.1", "no answer from the other host"),
    ("4.2", "the connection broke, or was too slow"),
    ("4.6", "the message goes in circles"),
    ("5.0", "the protocol"),
    ("5.1", "not a command, or not at this point"),
    ("5.2", "the line does not follow the grammar"),
    ("5.3", "too many recipients"),
    ("5.4", "the arguments are not good"),
    ("5.6", "the line of the exchange is too long"),
    ("6.0", "the content"),
    ("6.1", "the content is of a kind that was not announced"),
    ("6.7", "addresses above ASCII need SMTPUTF8"),
    ("7.0", "security or policy"),
    ("7.1", "it is not allowed"),
    ("7.8", "name or password are wrong"),
    ("7.9", "the mechanism is too weak"),
    ("7.11", "only under TLS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_explained_digit_by_digit() {
        for (reply, meaning) in [
            ("250 2.1.0 Sender ok", "2.. done, .5. mail; 2.1.0 the address"),
            ("354 End data", "3.. go on, more is wanted, .5. mail"),
            (
                "421 4.4.2 x",
                "4.. not now, the same may work later, .2. the connection; 4.4.2 the connection broke, or was too slow",
            ),
            (
                "535 5.7.8 x",
                "5.. no, something has to be changed first, .3. authentication (RFC 4954); 5.7.8 name or password are wrong",
            ),
            ("220 1.2.3.4 ESMTP", "2.. done, .2. the connection"),
            ("250 9.9.9 x", "2.. done, .5. mail"),
        ] {
            let (code, text) = reply.split_once(' ').unwrap();
            assert_eq!(explain(code, enhanced(text).0), meaning, "{reply}");
        }
    }
}
