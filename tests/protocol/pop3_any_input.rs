//! A POP3 session with arbitrary input, and a backend that fails now and then: its replies are the same however
//! the octets are split, every line gets one well-formed reply, and QUIT changes the messages that the client
//! has marked.

#[path = "../any_input/pop3.rs"]
mod any_input;

use std::{collections::BTreeSet, time::Duration};

use any_input::{MESSAGES, Outcome, Reader};
use proptest::prelude::*;
use restante::{
    limits::Limits,
    proto::{
        dot::LineEndings,
        pop3::{Persona, Pop3Config, SessionConfig},
        request::Failure,
        syntax::Syntax,
    },
};

/// Plays a strict session. The n-th request fails if the n-th of `faults` is a failure.
fn play(limits: &Limits, pieces: &[&[u8]], faults: &[Option<Failure>]) -> Outcome {
    let rules = SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::default(),
        limits: limits.clone(),
        pedantic: false,
        protocol: Pop3Config { persona: Persona::Modern, expire: None, stls: false, plaintext_auth: true },
    };
    any_input::play(&rules, pieces.iter().copied(), |asked| faults.get(asked).copied().flatten())
}

/// The lines of a session: some before the login, many after it, and QUIT.
fn session() -> impl Strategy<Value = Vec<Vec<u8>>> {
    const VERBS: [&str; 18] = [
        "STAT", "LIST", "UIDL", "RETR", "DELE", "TOP", "NOOP", "RSET", "CAPA", "LANG", "UTF8", "AUTH",
        "APOP", "RPOP", "USER", "PASS", "LAST", "retr",
    ];
    let plain =
        prop::sample::select(vec!["STAT", "LIST", "UIDL", "RSET", "CAPA", "LANG"]).prop_map(String::from);
    let of_message = (prop::sample::select(vec!["RETR", "DELE", "LIST", "UIDL"]), 1..=MESSAGES.len());
    let of_message = of_message.prop_map(|(verb, message)| format!("{verb} {message}"));
    let top = (1..=MESSAGES.len(), 0..9).prop_map(|(message, lines)| format!("TOP {message} {lines}"));
    let strange = (prop::sample::select(VERBS.to_vec()), "( [ -~é]{0,20})?");
    let strange = strange.prop_map(|(verb, argument)| format!("{verb}{argument}"));
    let text = prop_oneof![3 => plain, 8 => of_message, 2 => top, 2 => strange].prop_map(String::into_bytes);
    let junk = prop::collection::vec(any::<u8>().prop_filter("in one line", |b| *b != b'\n'), 0..20);
    let junk = junk.prop_filter("no TLS", |line| !line.starts_with(b"\x16"));
    let line = prop_oneof![12 => text, 1 => junk].boxed();
    let lines = |most| prop::collection::vec(line.clone(), 0..most);
    (lines(4), 1..4usize, lines(40)).prop_map(|(before, logins, after)| {
        let logins = (0..logins).flat_map(|n| match n % 2 {
            0 => [b"USER bob".to_vec(), b"PASS secret".to_vec()],
            _ => [b"AUTH PLAIN".to_vec(), b"AGJvYgBzZWNyZXQ=".to_vec()],
        });
        before.into_iter().chain(logins).chain(after).chain([b"QUIT".to_vec()]).collect()
    })
}

fn faults() -> impl Strategy<Value = Vec<Option<Failure>>> {
    use Failure::{
        AuthFailed, Busy, Changed, Gone, InUse, LoginDelay, MailboxUnusable, NoFolder, TempFail, TooManyOpen,
        Truncated,
    };
    let fault = prop::sample::select(vec![
        TempFail,
        Busy,
        Changed,
        TooManyOpen,
        Truncated,
        AuthFailed { delay: Duration::ZERO },
        Gone,
        InUse,
        NoFolder,
        LoginDelay,
        MailboxUnusable,
    ]);
    prop::collection::vec(prop_oneof![20 => Just(None), 1 => fault.prop_map(Some)], 0..40)
}

/// No wait for a locked mailbox: the clock of these tests stands still.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.pop3.lock_timeout = "0s".parse().unwrap();
    limits
}

/// A line that is too long is thrown away in the pieces in which it comes, and none of them is the beginning of a line.
#[test]
fn w18_a_line_that_is_too_long_is_one_line_in_any_pieces() {
    for rest in ["AUTH PLAIN AGJvYgBzZWNyZXQ=", "\u{16}\u{3}", "PASS x", ""] {
        let long = [&b"x".repeat(600)[..], rest.as_bytes(), b"\r\n"].concat();
        let wire = [&long[..], b"CAPA\r\n"].concat();
        let whole = play(&Limits::for_development(), &[&wire], &[]);
        for piece in [1, 7, 512, 513, 600, 601] {
            let pieces: Vec<&[u8]> = wire.chunks(piece).collect();
            assert_eq!(
                play(&Limits::for_development(), &pieces, &[]),
                whole,
                "{rest:?} in pieces of {piece}"
            );
        }
    }
}

proptest! {
    #[test]
    fn what_it_says_does_not_depend_on_how_the_input_is_cut(
        lines in session(), junk in prop::collection::vec(any::<u8>(), 0..600), at in any::<prop::sample::Index>(),
        faults in faults(), size in 1usize..40,
    ) {
        let mut lines = lines;
        lines.insert(at.index(lines.len() + 1), junk);
        let input = [lines.join(&b"\r\n"[..]), b"\r\n".to_vec()].concat();
        let whole = play(&limits(), &[&input], &faults);
        let cut: Vec<&[u8]> = input.chunks(size).collect();
        prop_assert_eq!(&play(&limits(), &cut, &faults), &whole);
    }

    #[test]
    fn every_line_has_one_reply_and_quit_does_what_was_asked(lines in session(), faults in faults()) {
        let input: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
        let lock_timeout = limits().pop3.lock_timeout;
        let mut limits = Limits::for_development();
        limits.pop3.lock_timeout = lock_timeout;
        let outcome = play(&limits, &[&input], &faults);
        let mut reader = Reader { said: &outcome.said, deleted: BTreeSet::new(), retrieved: BTreeSet::new() };
        prop_assert!(reader.line().unwrap().starts_with(b"+OK "));
        let sent: Vec<&[u8]> = input.strip_suffix(b"\r\n").map_or(vec![], |input| input.split(|b| *b == b'\n').collect());
        let answered = sent.iter().map_while(|line| reader.reply(line.strip_suffix(b"\r").unwrap_or(line))).count();
        prop_assert!(answered == sent.len() || outcome.over);
        prop_assert_eq!(outcome.aborted, outcome.cut);
        if outcome.aborted {
            prop_assert_eq!(outcome.update, None);
        } else {
            prop_assert!(reader.said.is_empty(), "more replies than lines: {:?}", String::from_utf8_lossy(reader.said));
            if let Some((delete, seen)) = outcome.update {
                prop_assert!(reader.deleted.iter().eq(&delete));
                prop_assert!(reader.retrieved.difference(&reader.deleted).eq(&seen));
            }
        }
    }
}
