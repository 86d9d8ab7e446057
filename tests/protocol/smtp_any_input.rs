//! An SMTP session with arbitrary input, and a backend that fails now and then: its replies are the same
//! however the octets are split, they are well-formed, and its requests to the backend are consistent.

#[path = "../any_input/smtp.rs"]
mod any_input;

use std::time::Duration;

use crate::common::client::{chunked, stuffed};
use any_input::{Outcome, well_formed};
use proptest::prelude::*;
use restante::{
    limits::{Limits, Size},
    proto::{
        dot::LineEndings,
        request::Failure,
        smtp::{AuthPolicy, Kind, Persona, Policy, SessionConfig, SmtpConfig},
        syntax::Syntax,
    },
};

const HELLO: &[u8] = b"HELO x\r\n";
const MAIL: &[u8] = b"MAIL FROM:<a@far.test>\r\nRCPT TO:<u@here.test>\r\n";

/// Plays a session that gets its input in these pieces. Of the requests that may fail, the n-th fails if the
/// n-th of `faults` is a failure.
fn play<'a>(
    line_endings: LineEndings,
    policy: Policy,
    pieces: impl Iterator<Item = &'a [u8]>,
    faults: &[Option<Failure>],
) -> Outcome {
    let mut limits = Limits::for_development();
    (limits.delivery.spill_threshold, limits.smtp.max_message_size) = (Size::kib(1), Size::kib(64));
    let rules = SessionConfig {
        hostname: "mx.test".into(),
        line_endings,
        syntax: Syntax::default(),
        limits,
        pedantic: false,
        protocol: SmtpConfig { persona: Persona::Modern, policy },
    };
    any_input::play(&rules, pieces, |asked| faults.get(asked).copied().flatten())
}

/// Plays writes of a client that waits for the reply after each of them.
fn said(line_endings: LineEndings, writes: &[&[u8]], piece: usize) -> Outcome {
    let pieces = writes.iter().flat_map(|write| write.chunks(piece));
    play(line_endings, Policy::default(), pieces, &[])
}

/// A line that is too long is thrown away in the pieces in which it comes, and none of them is the beginning of a line.
#[test]
fn w18_a_line_that_is_too_long_is_one_line_in_any_pieces() {
    for rest in ["BDAT", "BDAT 5", " BDAT 5 LAST", "AUTH PLAIN", "\u{16}\u{3}", "GET / HTTP/1.1", ""] {
        let long = [&b"x".repeat(2100)[..], rest.as_bytes(), b"\r\n"].concat();
        for begin in [&b""[..], HELLO] {
            let writes = [begin, &long, HELLO, b"NOOP\r\n"];
            let whole = said(LineEndings::Strict, &writes, usize::MAX);
            assert!(whole.replies.ends_with("250 2.0.0 Ok\r\n"), "{rest:?}: {}", whole.replies);
            for piece in [1, 7, 2048, 2049, 2100, 2101] {
                assert_eq!(
                    said(LineEndings::Strict, &writes, piece).replies,
                    whole.replies,
                    "{rest:?} {piece}"
                );
            }
        }
    }
    for octets in [65_534, 65_535, 65_536, 65_537, 70_000] {
        let endless = [&b"x".repeat(octets)[..], b"\n"].concat();
        let whole = said(LineEndings::Lenient, &[HELLO, &endless, b"NOOP\r\n"], usize::MAX);
        for piece in [1000, 65_536] {
            let cut = said(LineEndings::Lenient, &[HELLO, &endless, b"NOOP\r\n"], piece);
            assert_eq!(cut.replies, whole.replies, "{octets} in pieces of {piece}");
        }
    }
}

/// Possible input of a client: whole steps of a session, so that many get far, and lines that mean something in
/// some state.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let steps = prop::sample::select(vec![
        "EHLO x",
        "LHLO x",
        "AUTH PLAIN AGJvYgBzZWNyZXQ=",
        "MAIL FROM:<>\r\nRCPT TO:<u@here.test>",
        "MAIL FROM:<bob@here.test>\r\nRCPT TO:<u@here.test>\r\nRCPT TO:<v@here.test>",
        "DATA",
        "text\r\n.",
        "BDAT 7\r\ntext\r",
        "BDAT 6 LAST\r\ntext",
        "RSET",
        "STARTTLS",
        "MAIL FROM:<>\r\nRCPT TO:<u@here.test>\r\nBDAT 7\r\ntext\r",
        "MAIL FROM:<>\r\nRCPT TO:<u@here.test>\r\nRCPT TO:<u@here.test>\r\nBDAT 6 LAST\r\ntext",
        "MAIL FROM:<bob@here.test>\r\nRCPT TO:<u@here.test>\r\nDATA\r\ntext\r\n.",
    ]);
    let lines = prop::sample::select(vec![
        "HELO x",
        "EHLO",
        "MAIL FROM:<bob@here.test>",
        "MAIL FROM:<a@far.test> SIZE=9",
        "MAIL FROM:<\u{e9}@far.test> SMTPUTF8",
        "MAIL FROM:<a@far.test> AUTH=<>",
        "RCPT TO:<u@here.test>",
        "RCPT TO:<u@far.test>",
        "RCPT TO:<",
        "DATA",
        ".",
        "..",
        "text",
        "",
        "BDAT 0",
        "BDAT 0 LAST",
        "BDAT 20 LAST",
        "BDAT 3000",
        "NOOP",
        "VRFY u",
        "HELP",
        "HELP BDAT",
        "AUTH",
        "AUTH PLAIN",
        "AUTH PLAIN =",
        "AGJvYgBzZWNyZXQ=",
        "AUTH LOGIN",
        "AUTH LOGIN Ym9i",
        "Ym9i",
        "*",
    ]);
    let ends = prop::sample::select(vec!["QUIT", "GET / HTTP/1.1", "BDAT x", "BDAT 140000", "\nNOOP"]);
    let ended = |text: &str| format!("{text}\r\n").into_bytes();
    prop_oneof![
        40 => steps.prop_map(ended),
        15 => lines.prop_map(ended),
        1 => ends.prop_map(ended),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"x\r\n".repeat(900)),
        1 => Just([&b"x".repeat(2100)[..], b"BDAT 5\r\n"].concat()),
    ]
}

/// A session: most begin as they should.
fn session() -> impl Strategy<Value = (Policy, Vec<Vec<u8>>)> {
    let begin = prop_oneof![
        1 => Just(&[][..]),
        4 => Just(&["EHLO x\r\n", "LHLO x\r\n"][..]),
        2 => Just(&["EHLO x\r\n", "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"][..]),
        2 => Just(&["EHLO x\r\n", "STARTTLS\r\n", "EHLO x\r\n", "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"][..]),
    ];
    (policy(), begin, prop::collection::vec(line(), 0..30)).prop_map(|(policy, begin, lines)| {
        (policy, begin.iter().map(|line| line.as_bytes().to_vec()).chain(lines).collect())
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let kind = prop::sample::select(vec![Kind::Smtp, Kind::Submission, Kind::Lmtp]);
    let auth = prop::sample::select(vec![AuthPolicy::Off, AuthPolicy::UnderTls, AuthPolicy::InClear]);
    (kind, auth, any::<bool>(), any::<bool>()).prop_map(|(kind, auth, starttls, trusted)| Policy {
        kind,
        auth,
        starttls,
        trusted,
    })
}

fn fault() -> impl Strategy<Value = Option<Failure>> {
    use Failure::{AuthFailed, Busy, Full, TempFail};
    prop_oneof![9 => Just(None), 1 => prop::sample::select(vec![TempFail, Busy, AuthFailed { delay: Duration::ZERO }, Full]).prop_map(Some)]
}

proptest! {
    #[test]
    fn chunks_store_what_data_stores(
        lines in prop::collection::vec("[.\0\tA-z\u{e9}:]{0,6}|[x.]{300}", 0..20),
        sizes in prop::collection::vec(1usize..400, 1..6),
        piece in 1usize..900,
    ) {
        let message: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
        for mode in [LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient] {
            let by_data = said(mode, &[HELLO, MAIL, b"DATA\r\n", &stuffed(&message)], piece);
            let by_chunks = said(mode, &[HELLO, MAIL, &chunked(&message, &sizes)], piece);
            prop_assert_eq!(&by_chunks.stored, &by_data.stored, "{}", by_chunks.replies);
            prop_assert_eq!(by_chunks.stored.len(), 1);
        }
    }

    #[test]
    fn counted_octets_are_never_commands(
        before in prop::sample::select(vec![
            "", "MAIL FROM:<a@far.test>\r\n", "MAIL FROM:<a@far.test>\r\nRCPT TO:<no one>\r\n",
            "MAIL FROM:<a@far.test>\r\nRCPT TO:<u@here.test>\r\nBDAT 1\r\nx",
            "MAIL FROM:<a@far.test>\r\nRCPT TO:<u@here.test>\r\nBDAT 0\r\n",
            "MAIL FROM:<a@far.test>\r\nRCPT TO:<u@here.test>\r\nBDAT 1 LAST\r\nx",
        ]),
        greeted in any::<bool>(),
        argument in "[0-9]{1,2}( LAST| last| LAS| 1|  |\t)?|-[0-9]|\\+1|0x[0-9]|| |[0-9]{19,22}",
        piece in 1usize..200,
    ) {
        let chunk = "VRFY u\r\n".repeat(20);
        let wire = format!("{before}BDAT {argument}\r\n{chunk}");
        let counted: usize = argument.split_whitespace().next().unwrap_or_default().parse().unwrap_or(usize::MAX);
        let hello = if greeted { HELLO } else { b"" };
        let outcome = said(LineEndings::Strict, &[hello, wire.as_bytes()], piece);
        // Of the octets after the count, whole VRFYs are commands; half a one at the seam may be.
        let ran = outcome.replies.matches("252 2.0.0").count();
        prop_assert!(ran <= chunk.len().saturating_sub(counted) / 8, "{ran} ran: {}", outcome.replies);
    }

    #[test]
    fn any_session_adds_up(
        (policy, lines) in session(),
        strict in any::<bool>(),
        faults in prop::collection::vec(fault(), 0..30),
    ) {
        let endings = if strict { LineEndings::Strict } else { LineEndings::Lenient };
        let wire = lines.concat();
        let outcome = play(endings, policy, wire.split_inclusive(|&b| b == b'\n'), &faults);
        well_formed(&outcome.replies);
        let queued = outcome.replies.matches("Queued as ").count();
        if policy.kind == Kind::Lmtp {
            prop_assert!(queued >= outcome.stored.len());
        } else {
            prop_assert_eq!(queued, outcome.stored.len(), "{}", outcome.replies);
        }
        for (envelope, logged_in) in &outcome.asked {
            prop_assert!(!envelope.to.is_empty());
            prop_assert!(envelope.to.iter().all(|to| to.address.domain() == Some("here.test")), "a relay");
            let open = policy.kind != Kind::Submission || policy.trusted;
            prop_assert!(*logged_in || open, "nobody had logged in");
            let from = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
            prop_assert!(!logged_in || ["", "bob@here.test"].contains(&from.as_str()), "{from} is not bob");
        }
    }

    #[test]
    fn a_lenient_session_does_not_depend_on_the_pieces(
        (policy, lines) in session(),
        faults in prop::collection::vec(fault(), 0..20),
        piece in 1usize..200,
    ) {
        // Without STARTTLS, because octets after it in the same piece end the session, and in a later piece
        // they do not.
        let policy = Policy { starttls: false, ..policy };
        let wire = lines.concat();
        let whole = play(LineEndings::Lenient, policy, std::iter::once(wire.as_slice()), &faults);
        let cut = play(LineEndings::Lenient, policy, wire.chunks(piece), &faults);
        prop_assert_eq!(whole.replies, cut.replies);
        prop_assert_eq!((whole.stored, whole.asked), (cut.stored, cut.asked));
    }
}
