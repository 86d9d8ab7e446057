//! An IMAP session with arbitrary input, while other programs change its folders and requests fail: its output is the
//! same however the octets are split, every command has one reply with its tag, and a client can read all of it.

#[path = "../any_input/imap.rs"]
mod any_input;

use any_input::{Event, Outcome};
use proptest::prelude::*;
use restante::{
    limits::Limits,
    proto::{
        dot::LineEndings,
        imap::{ImapConfig, SessionConfig},
        request::Failure,
        syntax::Syntax,
    },
};

use crate::dialogue::{folders, responses};

fn play(pieces: &[&[u8]], events: &[Option<Event>]) -> Outcome {
    let config = SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::default(),
        limits: Limits::for_development(),
        pedantic: false,
        protocol: ImapConfig { starttls: false, plaintext_auth: true, withheld: Vec::new() },
    };
    any_input::play(&config, pieces.iter().copied(), |asked| events.get(asked).cloned().flatten())
}

/// The commands of a session, with the tags `a0`, `a1`, …
fn session() -> impl Strategy<Value = Vec<Vec<u8>>> {
    const COMMANDS: [&str; 44] = [
        "NOOP",
        "CHECK",
        "SELECT INBOX",
        "EXAMINE INBOX",
        "SELECT Sent",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
        "UID EXPUNGE 1:*",
        "FETCH 1:* (UID FLAGS)",
        "FETCH 1 BODY[]",
        "FETCH 1:2 (BODY.PEEK[] MODSEQ)",
        "UID FETCH 1:* FLAGS",
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 3)",
        "UID FETCH 2 BODY[TEXT]<0.3>",
        "STORE 1 +FLAGS (\\Deleted)",
        "STORE 1:2 FLAGS.SILENT (\\Seen $x)",
        "UID STORE 1:* -FLAGS (\\Deleted)",
        "UID STORE 2 (UNCHANGEDSINCE 3) +FLAGS (\\Flagged)",
        "SEARCH ALL",
        "UID SEARCH UNSEEN",
        "SEARCH RETURN (MIN MAX ALL COUNT) ALL",
        "SEARCH MODSEQ 1",
        "COPY 1:* Sent",
        "MOVE 1 Sent",
        "UID MOVE 1:* Trash",
        "UID COPY 1:* INBOX",
        "LIST \"\" *",
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %",
        "LSUB \"\" %",
        "LIST \"\" % RETURN (STATUS (MESSAGES))",
        "STATUS INBOX (MESSAGES UNSEEN)",
        "CREATE a.b",
        "DELETE a.b",
        "DELETE Sent",
        "RENAME Sent c",
        "ENABLE CONDSTORE",
        "NAMESPACE",
        "APPEND INBOX (\\Seen) {3+}\r\nabc",
        "APPEND Sent {9+}\r\na1 NOOP\r\n",
        "APPEND x {3+}\r\na\r\n",
        "IDLE\r\nDONE",
        "GETQUOTAROOT INBOX",
        "ID NIL",
    ];
    let known = prop::sample::select(COMMANDS.to_vec()).prop_map(String::from);
    let strange = ("(FETCH|STORE|SEARCH|UID|LIST|APPEND|LOGIN|SELECT)", "[ -~é]{0,20}")
        .prop_map(|(name, rest)| format!("{name} {rest}"));
    // A literal that waits for a continuation, or has octets that this session would not know of.
    let strange = strange.prop_filter("no literal", |line| !line.ends_with('}'));
    let line = prop_oneof![12 => known, 2 => strange].boxed();
    (prop::collection::vec(line.clone(), 0..3), prop::collection::vec(line, 0..30)).prop_map(
        |(before, after)| {
            let login = ["LOGIN bob secret".to_owned(), "SELECT INBOX".to_owned()];
            let all = before.into_iter().chain(login).chain(after).chain(["LOGOUT".to_owned()]);
            all.enumerate().map(|(n, command)| format!("a{n} {command}\r\n").into_bytes()).collect()
        },
    )
}

fn events() -> impl Strategy<Value = Vec<Option<Event>>> {
    let failure = prop::sample::select(vec![Failure::TempFail, Failure::Full, Failure::Quota, Failure::Gone]);
    let change = prop::sample::select(vec![
        "new INBOX - 1",
        "new INBOX S 3",
        "gone INBOX 1",
        "gone INBOX 2 3",
        "flags INBOX 2 FS",
        "flags INBOX 1 T",
        "keyword INBOX Later",
        "gone INBOX 4 5 6",
        "flags INBOX 4 R",
    ]);
    let event = prop_oneof![
        6 => Just(None),
        3 => change.prop_map(|change| Some(Event::Change(change.into()))),
        1 => failure.prop_map(|failure| Some(Event::Failure(failure))),
    ];
    prop::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn y67_every_command_has_one_reply_that_a_client_can_read(
        lines in session(), events in events(), size in 1..50usize,
    ) {
        let wire = lines.concat();
        let whole = play(&[&wire], &events);
        let pieces: Vec<&[u8]> = wire.chunks(size).collect();
        prop_assert_eq!(&play(&pieces, &events), &whole, "pieces of {}", size);
        if whole.aborted {
            return Ok(());
        }
        responses::check(&whole.said).map_err(TestCaseError::fail)?;
        let replies = any_input::read(&whole.said);
        let expected: Vec<String> = (0..lines.len()).map(|n| format!("a{n}")).collect();
        let tags: Vec<&String> = replies.iter().map(|(tag, _)| tag).filter(|tag| tag.starts_with('a')).collect();
        prop_assert!(whole.over);
        prop_assert!(tags.iter().zip(&expected).all(|(one, other)| *one == other), "{:?}", tags);
        prop_assert_eq!(tags.len(), expected.len(), "{}", String::from_utf8_lossy(&whole.said));
    }
}
