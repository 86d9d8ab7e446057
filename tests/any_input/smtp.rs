//! Plays an SMTP session on any input, with a store in memory. The tests and the fuzz target share it.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use restante::{
    clock::Now,
    proto::{
        Context, Encryption, Session, Step,
        buffer::{Inbox, Outbox},
        request::{ConnId, Envelope, Failure, Lookup, Mailbox, ReceiveRequest, Request, Response},
        sasl,
        smtp::{SessionConfig, SmtpSession, address::Address},
    },
};

/// Every address of here.test has a mailbox.
fn lookup(address: &Address) -> Lookup {
    if address.domain() != Some("here.test") {
        return Lookup::Foreign;
    }
    Mailbox::named(&address.to_string().to_lowercase()).map_or(Lookup::Unknown, Lookup::local_mailbox)
}

/// The result of a session.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) replies: String,
    /// The messages that were delivered, as stored.
    pub(crate) stored: Vec<Vec<u8>>,
    /// The envelopes of the requests to deliver, with whether the user had logged in.
    pub(crate) asked: Vec<(Envelope, bool)>,
    /// The stored part of a message that is not delivered yet.
    begun: Option<Vec<u8>>,
    logged_in: bool,
}

impl Outcome {
    fn answer(&mut self, ask: Request, fault: Option<Failure>) -> Response {
        let answer = match ask {
            Request::Receive(ReceiveRequest::CheckSpace { .. }) => Response::Done,
            Request::Receive(ReceiveRequest::Begin) => {
                assert!(self.begun.is_none(), "the last message was neither delivered nor discarded");
                self.begun = if fault.is_none() { Some(Vec::new()) } else { None };
                Response::Done
            }
            Request::Receive(ReceiveRequest::Spill { bytes, .. }) => {
                self.begun.as_mut().expect("a message that was begun").extend(bytes);
                Response::Done
            }
            Request::Receive(ReceiveRequest::Discard) => {
                self.begun = None;
                return Response::Done;
            }
            Request::Receive(ReceiveRequest::Deliver { envelope, bytes, .. }) => {
                let mut message = self.begun.take().expect("a message that was begun");
                message.extend(bytes);
                self.asked.push((envelope, self.logged_in));
                if fault.is_none() {
                    self.stored.push(message);
                }
                Response::Delivered(Vec::new())
            }
            Request::Verify { .. } => {
                self.logged_in |= fault.is_none();
                Response::Verified(Mailbox::named("bob@here.test").expect("the name of a mailbox"))
            }
            other => panic!("{other:?} of SMTP"),
        };
        fault.map_or(answer, Response::Failed)
    }
}

/// Plays a session that gets its input in these pieces. Of the requests that may fail, that of number `n` fails if
/// `fault(n)` says so.
pub(crate) fn play<'a>(
    rules: &SessionConfig,
    pieces: impl Iterator<Item = &'a [u8]>,
    fault: impl Fn(usize) -> Option<Failure>,
) -> Outcome {
    let mut session = SmtpSession::new(Rc::new(rules.clone()), [192, 0, 2, 1].into(), ConnId(1));
    let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
    let cx = Context { now, directory: &lookup };
    let (mut inbox, mut out, mut outcome) = (Inbox::default(), Outbox::default(), Outcome::default());
    let mut asked = 0;
    session.greet(&cx, &mut out);
    'pieces: for piece in pieces {
        inbox.push(piece);
        let mut step = session.step(&cx, &mut inbox, &mut out);
        loop {
            step = match step {
                Step::Idle => break,
                Step::Close | Step::Abort => break 'pieces,
                Step::Request(ask) => {
                    // The number of requests to spill or discard depends on the pieces, so they are not
                    // counted.
                    let counts = !matches!(
                        ask,
                        Request::Receive(ReceiveRequest::Spill { .. })
                            | Request::Receive(ReceiveRequest::Discard)
                    );
                    let fault = if counts { fault(asked) } else { None };
                    asked += usize::from(counts);
                    let answer = outcome.answer(ask, fault);
                    session.respond(&cx, answer, &mut out)
                }
                Step::StartTls => {
                    assert!(inbox.is_empty(), "clear text is left over");
                    outcome.logged_in = false;
                    session.tls_started(&cx, Encryption { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384" });
                    Step::Continue
                }
                Step::Continue | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
            };
        }
        let longest = rules.limits.smtp.max_line_length.max(sasl::LINE);
        assert!(inbox.len() <= longest, "{} octets wait for their line end", inbox.len());
    }
    outcome.replies = String::from_utf8(without_timing_marks(out.pending())).expect("replies are UTF-8");
    outcome
}

/// The replies without the answers to telnet's timing marks (RFC 860), which stand before them. No reply has octet 255.
fn without_timing_marks(mut output: &[u8]) -> Vec<u8> {
    let mut replies = Vec::new();
    while let Some((octet, rest)) = output.split_first() {
        match output.strip_prefix(&[255, 252, 6]) {
            Some(rest) => output = rest,
            None => {
                replies.push(*octet);
                output = rest;
            }
        }
    }
    replies
}

/// Every line has a code, the last one of a reply a blank after it, and an enhanced code is of the same class.
pub(crate) fn well_formed(replies: &str) {
    let mut open: Option<&str> = None;
    for line in replies.split_terminator("\r\n") {
        let (code, rest) = line.split_at_checked(3).unwrap_or_else(|| panic!("{line:?}"));
        let is_code = code.bytes().all(|b| b.is_ascii_digit()) && b"2345".contains(&code.as_bytes()[0]);
        assert!(is_code && open.is_none_or(|open| open == code), "{line:?} in a reply of {open:?}");
        assert!(!rest.contains(['\r', '\n', '\0']) && line.len() <= 510, "{line:?}");
        let class = rest.get(1..).and_then(|text| text.split_once('.')).filter(|(class, _)| class.len() == 1);
        assert!(class.is_none_or(|(class, _)| code.starts_with(class)), "{line:?}");
        open = match rest.bytes().next() {
            Some(b'-') => Some(code),
            Some(b' ') => None,
            _ => panic!("{line:?}"),
        };
    }
    assert!(replies.ends_with("\r\n") && open.is_none(), "half a reply: {replies:?}");
}
