//! BDAT beside DATA: the same message is stored with the same octets, however it is cut; and nothing that
//! BDAT counts is ever taken for a command.

mod common;

use std::{rc::Rc, time::SystemTime};

use common::{
    Server,
    client::{Client, stuffed, with_lf, without_trace},
    eventually,
};
use proptest::prelude::*;
use restante::{
    clock::Now,
    limits::{Limits, Size},
    proto::{
        Cx, Protocol, Step,
        ask::{Answer, Ask, Directory, Lookup, Mailbox},
        buf::{Inbox, Outbox},
        dot::LineEndings,
        smtp::{Persona, Policy, Rules, Smtp, address::Address},
    },
};

const ALICE: &str = "alice@example.test";

const HELLO: &[u8] = b"HELO x\r\n";
const MAIL: &[u8] = b"MAIL FROM:<a@far.test>\r\nRCPT TO:<u@here.test>\r\n";

/// Everybody has a mailbox.
struct Everybody;

impl Directory for Everybody {
    fn lookup(&self, address: &Address) -> Lookup {
        Mailbox::named(&address.to_string()).map_or(Lookup::Unknown, Lookup::Local)
    }
}

/// What came of a session.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    replies: String,
    /// The messages that were delivered, as stored.
    stored: Vec<Vec<u8>>,
}

/// Plays a session whose client writes these octets, waits for each reply in between, and whose writes come in
/// pieces of that size.
fn play(line_endings: LineEndings, writes: &[&[u8]], piece: usize) -> Outcome {
    let limits = Limits { body_in_memory: Size::kib(1), errors_greeting: 0, ..Limits::default() };
    let rules = Rules {
        hostname: "mx.test".into(),
        line_endings,
        persona: Persona::Modern,
        limits,
        policy: Policy::default(),
    };
    let mut session = Smtp::new(Rc::new(rules), [192, 0, 2, 1].into(), "c1".into());
    let now = Now { steady: std::time::Duration::ZERO, date: SystemTime::UNIX_EPOCH };
    let cx = Cx { now, directory: &Everybody };
    let (mut inbox, mut out) = (Inbox::default(), Outbox::default());
    let (mut outcome, mut body) = (Outcome::default(), Vec::new());
    session.greet(&cx, &mut out);
    'pieces: for piece in writes.iter().flat_map(|write| write.chunks(piece)) {
        inbox.push(piece);
        let mut step = session.step(&cx, &mut inbox, &mut out);
        loop {
            step = match step {
                Step::Idle => break,
                Step::Close | Step::Abort | Step::Secure => break 'pieces,
                Step::Ask(ask) => {
                    let answer = match ask {
                        Ask::Spill { bytes, .. } => {
                            body.extend(bytes);
                            Answer::Ready
                        }
                        Ask::Deliver { bytes, .. } => {
                            body.extend(bytes);
                            outcome.stored.push(std::mem::take(&mut body));
                            Answer::Delivered
                        }
                        _ => {
                            body.clear();
                            Answer::Ready
                        }
                    };
                    session.answer(&cx, answer, &mut out)
                }
                Step::Again | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
            };
        }
    }
    outcome.replies = String::from_utf8(out.waiting().to_vec()).unwrap();
    outcome
}

/// The message as BDATs of those sizes, over and over.
fn chunked(message: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut wire, mut rest) = (Vec::new(), message);
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        let last = if after.is_empty() { " LAST" } else { "" };
        wire.extend(format!("BDAT {}{last}\r\n", chunk.len()).into_bytes());
        wire.extend_from_slice(chunk);
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    wire
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
            let by_data = play(mode, &[HELLO, MAIL, b"DATA\r\n", &stuffed(&message)], piece);
            let by_chunks = play(mode, &[HELLO, MAIL, &chunked(&message, &sizes)], piece);
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
        let outcome = play(LineEndings::Strict, &[hello, wire.as_bytes()], piece);
        // Of the octets behind the count, whole VRFYs are commands; half a one at the seam may be.
        let ran = outcome.replies.matches("252 2.0.0").count();
        prop_assert!(ran <= chunk.len().saturating_sub(counted) / 8, "{ran} ran: {}", outcome.replies);
    }
}

#[test]
fn a_large_message_in_chunks_is_streamed_to_the_disk_and_read_back() {
    let server = Server::strict();
    let lines =
        (0..60_000).map(|n| format!("{}line {n} of a large message\r\n", if n % 7 == 0 { "." } else { "" }));
    let message: Vec<u8> =
        std::iter::once("Subject: large\r\n\r\n".to_owned()).chain(lines).collect::<String>().into();
    let mut client = Client::smtp(&server);
    for sizes in [&[message.len()][..], &[100_000], &[1, 70_000, 3]] {
        client.ask("MAIL FROM:<a@far.test> SIZE=2000000", "250");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.write(&chunked(&message, sizes));
        while !client.expect("250 2.0.0").contains("Queued") {}
    }
    let files = server.maildir(ALICE).files("new");
    assert_eq!(files.len(), 3);
    for file in files {
        assert!(without_trace(&std::fs::read(file).unwrap()) == with_lf(&message));
    }
    let mut pop3 = Client::pop3(&server, ALICE);
    assert!(without_trace(&pop3.retr(3)) == message);
}

#[test]
fn chunks_that_are_given_up_leave_no_file() {
    let server = Server::strict();
    let chunk = b"x\r\n".repeat(200_000);
    for ending in ["RSET", "EHLO client.test", "QUIT", ""] {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.write(format!("BDAT {}\r\n", chunk.len()).as_bytes());
        client.write(&chunk);
        client.expect("250 2.0.0");
        let tmp = || server.maildir(ALICE).files("tmp");
        assert_eq!(tmp().len(), 1, "the chunk is on the disk");
        if !ending.is_empty() {
            client.send(ending).reply();
        }
        let client = Some(client).filter(|_| !ending.is_empty());
        eventually("tmp/ is empty", || tmp().is_empty().then_some(()));
        drop(client);
    }
    assert_eq!(server.maildir(ALICE).files("new").len(), 0);
}
