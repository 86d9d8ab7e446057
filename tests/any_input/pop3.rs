//! Plays a POP3 session on any input, with a mailbox in memory, and reads its replies as a client does. The tests and
//! the fuzz target share it.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use restante::{
    clock::Now,
    proto::{
        Context, Encryption, Session, Step,
        buffer::{Inbox, Outbox},
        pop3::{Pop3Session, SessionConfig},
        request::{Failure, Lookup, Mailbox, Maildrop, MaildropRequest, Request, Response},
        sasl,
        smtp::address::Address,
    },
    wire_size::wire_size,
};

/// The messages in the mailbox.
pub(crate) const MESSAGES: [&str; 4] =
    ["A: 1\n\none\n.two\n", "", ".\n..\n\n.\nno end", "B: 2\n\n\n\nthree lines\nand\nmore\n"];

#[derive(Debug)]
pub(crate) struct Messages;

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

/// The result of a session.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) said: Vec<u8>,
    /// The update of QUIT: the deleted and the seen messages.
    pub(crate) update: Option<(Vec<usize>, Vec<usize>)>,
    pub(crate) over: bool,
    pub(crate) aborted: bool,
    /// Whether reading failed in the middle of a message.
    pub(crate) cut: bool,
}

/// Plays a session that gets its input in these pieces. The request of number `n` fails if `fault(n)` says so.
pub(crate) fn play<'a>(
    rules: &SessionConfig,
    pieces: impl Iterator<Item = &'a [u8]>,
    fault: impl Fn(usize) -> Option<Failure>,
) -> Outcome {
    let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
    let cx = Context { now, directory: &|_: &Address| Lookup::Foreign };
    let (mut inbox, mut out) = (Inbox::default(), Outbox::default());
    let mut session = Pop3Session::new(Rc::new(rules.clone()));
    let (mut outcome, mut asked) = (Outcome::default(), 0);
    session.greet(&cx, &mut out);
    outcome.said.extend_from_slice(out.pending());
    out.consume(out.pending().len());
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
                Step::Continue | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
                Step::Request(ask) => {
                    let fault = fault(asked);
                    asked += 1;
                    outcome.cut |= fault.is_some()
                        && matches!(ask, Request::Maildrop(MaildropRequest::Read { from: 1.., .. }));
                    let answer = answer(ask, &mut outcome);
                    session.respond(&cx, fault.map_or(answer, Response::Failed), &mut out)
                }
                Step::Idle => break,
                Step::StartTls => {
                    assert!(rules.protocol.stls && inbox.is_empty(), "clear text is left over");
                    session.tls_started(&cx, Encryption { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384" });
                    Step::Continue
                }
                Step::Close | Step::Abort => {
                    outcome.over = true;
                    return outcome;
                }
            };
        }
        let longest = rules.limits.pop3.max_line_length.max(sasl::LINE);
        assert!(inbox.len() <= longest, "{} octets wait for their line end", inbox.len());
    }
    outcome
}

fn answer(ask: Request, outcome: &mut Outcome) -> Response {
    match ask {
        Request::Verify { .. } => Response::Verified(Mailbox::named("bob").expect("the name of a mailbox")),
        Request::Maildrop(MaildropRequest::Open { .. }) => Response::Opened(Arc::new(Messages)),
        Request::Maildrop(MaildropRequest::Read { message, from }) => {
            let rest = &MESSAGES[message].as_bytes()[from as usize..];
            let (bytes, after) = rest.split_at(rest.len().min(5));
            Response::Chunk { bytes: bytes.to_vec(), last: after.is_empty() }
        }
        Request::Maildrop(MaildropRequest::Update { delete, seen }) => {
            assert_eq!(outcome.update, None, "one update ends a session");
            outcome.update = Some((delete, seen));
            Response::Done
        }
        other => panic!("a POP3 session has no use for {other:?}"),
    }
}

/// Reads the replies of a session as a client does, and keeps its own account of the marks.
pub(crate) struct Reader<'a> {
    pub(crate) said: &'a [u8],
    pub(crate) deleted: BTreeSet<usize>,
    pub(crate) retrieved: BTreeSet<usize>,
}

impl Reader<'_> {
    /// The next line without its CRLF; `None` at the end of the server's output.
    pub(crate) fn line(&mut self) -> Option<&[u8]> {
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
    pub(crate) fn reply(&mut self, command: &[u8]) -> Option<()> {
        // Answers to telnet's timing marks (RFC 860) stand before a reply.
        while let Some(rest) = self.said.strip_prefix(&[255, 252, 6]) {
            self.said = rest;
        }
        let status = String::from_utf8(self.line()?.to_vec()).expect("replies are UTF-8");
        assert!(status.len() <= 510 && !status.contains('\0'), "{status:?}");
        // A challenge makes the next line its response.
        if status.starts_with("-ERR ") || status == "+ " {
            return Some(());
        }
        let told = status.strip_prefix("+OK ").expect(&status);
        // Superfluous blanks are forgiven.
        let command = String::from_utf8_lossy(command).trim_start_matches(' ').to_owned();
        let (verb, argument) = command.split_once(' ').map_or((&*command, None), |(verb, a)| (verb, Some(a)));
        let message = || {
            let number =
                argument.and_then(|argument| argument.trim().split(' ').next()?.parse::<usize>().ok());
            number.expect("what was accepted has a number") - 1
        };
        match (&*verb.to_ascii_uppercase(), argument.filter(|argument| !argument.trim().is_empty())) {
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
