//! The advice for a value that is none of the choices of its key.

use crate::near_name::nearest;

/// The message of serde for such a value, with the choice that is meant if there is one. Other messages stay as they are.
pub(super) fn in_plain_choices(told: &str) -> String {
    let parts = told.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "));
    let Some((typed, expected)) = parts else { return told.to_owned() };
    let choices: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match advice(typed, &choices) {
        Some(advice) => format!("unknown value `{typed}`: {advice} ({expected})"),
        None => format!("unknown value `{typed}`, expected {expected}"),
    }
}

fn advice(typed: &str, choices: &[&str]) -> Option<String> {
    // `imap + ssl` and `IMAP_SSL` are the same word.
    let letters = |word: &str| -> String {
        word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let word = letters(typed);
    let is_meant =
        |(words, choice, _): &&(&[&str], &str, _)| choices.contains(choice) && words.contains(&word.as_str());
    let same = || choices.iter().copied().find(|choice| letters(choice) == word);
    match OTHER_WORDS.iter().find(is_meant) {
        Some((_, _, Some(advice))) => Some((*advice).to_owned()),
        Some((_, choice, None)) => Some(did_you_mean(choice)),
        None => same().or_else(|| nearest(typed, choices.iter().copied())).map(did_you_mean),
    }
}

fn did_you_mean(choice: &str) -> String {
    format!("did you mean `{choice}`?")
}

/// Words of other programs and of people, without signs and capitals; the choice that they mean; and the advice, if that
/// choice alone is not the remedy.
type Row = (&'static [&'static str], &'static str, Option<&'static str>);

const OTHER_WORDS: &[Row] = &[
    // `protocol` of a listener.
    (&["esmtp", "mx", "mta"], "smtp", None),
    (&["smtptls", "smtpssl", "smtpstarttls", "esmtps", "ssmtp"], "submissions", Some(SMTP_WITH_TLS)),
    (&["msa", "mua", "smtpauth", "smtpsubmission", "submit"], "submission", None),
    (&["submissiontls", "submissionssl", "smtpsubmissions"], "submissions", None),
    (&["pop", "pop2", "popd", "pop3d", "pop3starttls"], "pop3", None),
    (&["pops", "spop", "spop3", "popssl", "poptls", "pop3ssl", "pop3tls"], "pop3s", None),
    (&["imap2", "imap4", "imap4rev1", "imap4rev2", "imapd", "imapstarttls"], "imap", None),
    (&["imap4s", "simap", "imapssl", "imaptls", "imap4ssl", "imap4tls"], "imaps", None),
    (&["web", "www", "webmail", "api", "rest", "http1", "http11"], "http", None),
    (&["httpssl", "httptls", "webs"], "https", None),
    // `tls` of a listener.
    (
        &["ssl", "tls", "smtps", "wrapper", "wrappermode", "direct", "always", "yes", "on", "true"],
        "implicit",
        None,
    ),
    (&["start", "stls", "optional", "opportunistic", "explicit"], "starttls", None),
    (&["no", "off", "false", "never", "plain", "disabled"], "none", None),
    // `persona` of a listener.
    (&["rfc5321", "rfc2821", "rfc5322", "new", "default"], "modern", None),
    // Other keys.
    (&["none", "no", "false", "never", "disabled", "disable"], "off", None),
    (&["bounce", "refuse", "deny", "no", "false"], "reject", None),
    (&["accept", "allow", "catchall", "yes", "true"], "create", None),
    (&["polling", "scan"], "poll", None),
];

const SMTP_WITH_TLS: &str = "write protocol = \"submissions\" for TLS before the first octet (port 465), or protocol = \"smtp\" \
                             or \"submission\" with tls = \"starttls\"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    #[test]
    fn n120_a_value_that_is_none_of_the_choices_is_told_with_the_one_that_is_meant() {
        for (from, to, told) in [
            ("\"smtp\"", "\"imap4\"", "listen.protocol: unknown value `imap4`: did you mean `imap`?"),
            ("\"smtp\"", "\"pop\"", "unknown value `pop`: did you mean `pop3`?"),
            ("\"smtp\"", "\"POP3\"", "unknown value `POP3`: did you mean `pop3`?"),
            ("\"smtp\"", "\"pop-3\"", "unknown value `pop-3`: did you mean `pop3`?"),
            ("\"smtp\"", "\"IMAP+SSL\"", "unknown value `IMAP+SSL`: did you mean `imaps`?"),
            ("\"smtp\"", "\"esmtp\"", "unknown value `esmtp`: did you mean `smtp`?"),
            (
                "\"smtp\"",
                "\"smtp+tls\"",
                "unknown value `smtp+tls`: write protocol = \"submissions\" for TLS",
            ),
            ("\"smtp\"", "\"submision\"", "unknown value `submision`: did you mean `submission`?"),
            ("\"smtp\"", "\"gopher\"", "unknown value `gopher`, expected one of `smtp`, `submission`"),
            (
                "\"lenient\"",
                "\"lenent\"",
                "listen.line_endings: unknown value `lenent`: did you mean `lenient`?",
            ),
            (
                "\"rfc1081\"",
                "\"rfc-1081\"",
                "listen.persona: unknown value `rfc-1081`: did you mean `rfc1081`?",
            ),
            (
                "hostname",
                "sandbox = \"none\"\nhostname",
                "sandbox: unknown value `none`: did you mean `off`?",
            ),
            (
                "hostname",
                "watch = \"inotfy\"\nhostname",
                "watch: unknown value `inotfy`: did you mean `inotify`?",
            ),
            (
                "hostname",
                "unknown_recipients = \"accept\"\nhostname",
                "unknown_recipients: unknown value `accept`: did you mean `create`?",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{to}");
            let error = load(&text).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
        for (typed, meant) in [("ssl", "implicit"), ("STARTTLS", "starttls"), ("off", "none")] {
            let told = format!("unknown variant `{typed}`, expected one of `none`, `starttls`, `implicit`");
            let expected = format!(
                "unknown value `{typed}`: did you mean `{meant}`? (one of `none`, `starttls`, `implicit`)"
            );
            assert_eq!(in_plain_choices(&told), expected);
        }
    }

    #[test]
    fn n120_each_word_of_others_is_in_its_plain_form_and_means_one_choice_of_its_key() {
        for (words, _, _) in OTHER_WORDS {
            for word in *words {
                assert!(word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{word}");
            }
        }
        assert_eq!(in_plain_choices("invalid type"), "invalid type");
    }
}
