//! A POP3 session that hears anything at all, and whose world fails now and then: it says the same however the
//! octets are cut, every line gets one well-formed reply, and QUIT changes what the client has marked.

use std::{borrow::Cow, collections::BTreeSet, rc::Rc, sync::Arc, time::Duration, time::SystemTime};

use proptest::prelude::*;
use restante::{
    clock::Now,
    limits::Limits,
    proto::{
        Context, Session, Step,
        buffer::{Inbox, Outbox},
        dot::LineEndings,
        pop3::{Persona, Pop3Session, SessionConfig},
        request::{Directory, Failure, Lookup, Mailbox, Maildrop, Request, Response},
        smtp::address::Address,
    },
    wire_size::wire_size,
};

/// What is in the mailbox.
const MESSAGES: [&str; 4] =
    ["A: 1\n\none\n.two\n", "", ".\n..\n\n.\nno end", "B: 2\n\n\n\nthree lines\nand\nmore\n"];

#[derive(Debug)]
struct Messages;

impl Maildrop for Messages {
    fn len(&self) -> usize {
        MESSAGES.len()
    }

    fn total(&self) -> u64 {
        (0..self.len()).map(|message| self.octets(message)).sum()
    }

    fn octets(&self, message: usize) -> u64 {
        wire_size(MESSAGES[message].as_bytes())
    }

    fn unique_id(&self, message: usize) -> Cow<'_, str> {
        format!("uid-{message}").into()
    }

    fn delivered_at(&self, _: usize) -> u64 {
        0
    }
}

struct Nobody;

impl Directory for Nobody {
    fn lookup(&self, _: &Address) -> Lookup {
        Lookup::Unknown
    }
}

/// What became of a session.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    said: Vec<u8>,
    /// What QUIT asked for.
    update: Option<(Vec<usize>, Vec<usize>)>,
    over: bool,
    aborted: bool,
    /// Whether a message could not be read on in its midst.
    cut: bool,
}

/// Plays a session that gets its input in these pieces. The n-th ask fails where the n-th of `faults` says so.
fn play(limits: &Limits, pieces: &[&[u8]], faults: &[Option<Failure>]) -> Outcome {
    let rules = SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        persona: Persona::Modern,
        expire: None,
        stls: false,
        plaintext_auth: true,
        limits: limits.clone(),
        pedantic: false,
    };
    let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
    let cx = Context { now, directory: &Nobody };
    let (mut session, mut inbox, mut out) =
        (Pop3Session::new(Rc::new(rules)), Inbox::default(), Outbox::default());
    let (mut outcome, mut asked) = (Outcome::default(), 0);
    session.greet(&cx, &mut out);
    for piece in pieces {
        inbox.push(piece);
        let mut step = session.step(&cx, &mut inbox, &mut out);
        loop {
            if matches!(step, Step::Abort) {
                (outcome.over, outcome.aborted) = (true, true);
                return outcome;
            }
            outcome.said.extend_from_slice(out.pending());
            out.consume(out.pending().len());
            step = match step {
                Step::Again | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
                Step::Ask(ask) => {
                    let fault = faults.get(asked).copied().flatten();
                    asked += 1;
                    outcome.cut |= fault.is_some() && matches!(ask, Request::Read { from: 1.., .. });
                    let answer = answer(ask, &mut outcome);
                    session.respond(&cx, fault.map_or(answer, Response::Failed), &mut out)
                }
                Step::Idle => break,
                Step::Secure => panic!("TLS is not offered here"),
                Step::Close | Step::Abort => {
                    outcome.over = true;
                    return outcome;
                }
            };
        }
    }
    outcome
}

fn answer(ask: Request, outcome: &mut Outcome) -> Response {
    match ask {
        Request::Verify { .. } => Response::Welcome(Mailbox::named("bob").unwrap()),
        Request::Open { .. } => Response::Opened(Arc::new(Messages)),
        Request::Read { message, from } => {
            let rest = &MESSAGES[message].as_bytes()[from as usize..];
            let (bytes, after) = rest.split_at(rest.len().min(5));
            Response::Chunk { bytes: bytes.to_vec(), last: after.is_empty() }
        }
        Request::Update { delete, seen } => {
            assert_eq!(outcome.update, None, "one update ends a session");
            outcome.update = Some((delete, seen));
            Response::Updated
        }
        other => panic!("a POP3 session has no use for {other:?}"),
    }
}

/// Reads what a session said as a client does, and keeps its own account of the marks.
struct Reader<'a> {
    said: &'a [u8],
    deleted: BTreeSet<usize>,
    retrieved: BTreeSet<usize>,
}

impl Reader<'_> {
    /// The next line without its CRLF; `None` at the end of what was said.
    fn line(&mut self) -> Option<&[u8]> {
        let end = self.said.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, rest) = self.said.split_at(end + 2);
        self.said = rest;
        Some(&line[..end])
    }

    /// The lines up to the final dot, without the stuffing. `None`: it never came.
    fn text(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.line()? {
                b"." => return Some(text),
                line => text.extend_from_slice(&[line.strip_prefix(b".").unwrap_or(line), b"\r\n"].concat()),
            }
        }
    }

    /// The reply to a command. `None`: the session ended in its midst.
    fn reply(&mut self, command: &[u8]) -> Option<()> {
        let status = String::from_utf8(self.line()?.to_vec()).unwrap();
        // A challenge makes the next line its response.
        if status.starts_with("-ERR ") || status == "+ " {
            return Some(());
        }
        let told = status.strip_prefix("+OK ").expect(&status);
        let command = String::from_utf8_lossy(command).into_owned();
        let (verb, argument) = command.split_once(' ').map_or((&*command, None), |(verb, a)| (verb, Some(a)));
        let message = || argument.unwrap().split(' ').next().unwrap().parse::<usize>().unwrap() - 1;
        match (&*verb.to_ascii_uppercase(), argument) {
            ("STAT", _) => {
                let left = (0..MESSAGES.len()).filter(|message| !self.deleted.contains(message));
                let octets: u64 = left.clone().map(|message| Messages.octets(message)).sum();
                assert_eq!(told, format!("{} {octets}", left.count()));
            }
            ("LIST" | "UIDL", None) => {
                let lines = self.text()?.iter().filter(|b| **b == b'\n').count();
                assert_eq!(lines, MESSAGES.len() - self.deleted.len());
            }
            ("RETR", _) => {
                let message = message();
                let text = self.text()?;
                assert_eq!(told, format!("{} octets", text.len()));
                assert_eq!(text.len() as u64, Messages.octets(message));
                self.retrieved.insert(message);
            }
            ("TOP", _) | ("CAPA" | "LANG" | "AUTH", None) => drop(self.text()?),
            ("DELE", _) => assert!(self.deleted.insert(message()), "deleted twice"),
            ("RSET", _) => self.deleted.clear(),
            _ => {}
        }
        Some(())
    }
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
    use Failure::{Broken, Busy, Changed, Crowded, Cut, Denied, Gone, InUse, NoFolder, TooSoon, Unusable};
    let fault = prop::sample::select(vec![
        Broken, Busy, Changed, Crowded, Cut, Denied, Gone, InUse, NoFolder, TooSoon, Unusable,
    ]);
    prop::collection::vec(prop_oneof![20 => Just(None), 1 => fault.prop_map(Some)], 0..40)
}

/// No wait for a locked mailbox: the clock of these tests stands still.
fn limits() -> Limits {
    Limits { pop3_lock_wait: "0s".parse().unwrap(), ..Limits::default() }
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
        let limits = Limits { pop3_lock_wait: limits().pop3_lock_wait, ..Limits::for_development() };
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
