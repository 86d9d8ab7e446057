//! Sessions of SMTP and LMTP.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use restante::{
    clock::Now,
    proto::{
        Context, Encryption, Session, Step,
        buffer::{Inbox, Outbox},
        request::{Envelope, Failure, Mailbox, Request, Response},
        sasl,
        smtp::{SessionConfig, SmtpSession},
    },
};

use super::directory::FakeDirectory;

/// The domain in which every address has a mailbox. `bob@here.test` can log in.
pub(crate) const DOMAIN: &str = "here.test";

/// The result of a session.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) replies: String,
    /// The messages that were delivered, as stored.
    pub(crate) stored: Vec<Vec<u8>>,
    /// The messages that the session asked to deliver, with whether the client had logged in.
    pub(crate) asked: Vec<(Envelope, bool)>,
    /// The part of a message that is not delivered yet.
    begun: Option<Vec<u8>>,
    logged_in: bool,
}

/// Plays a session that gets its input in these pieces. `fault` is called for each request that can fail.
pub(crate) fn play<'a>(
    rules: SessionConfig,
    pieces: impl Iterator<Item = &'a [u8]>,
    mut fault: impl FnMut() -> Option<Failure>,
) -> Outcome {
    let longest = rules.limits.smtp_line.max(sasl::LINE);
    let mut session = SmtpSession::new(Rc::new(rules), [192, 0, 2, 1].into(), "c1".into());
    let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
    let cx = Context { now, directory: &FakeDirectory { domain: Some(DOMAIN) } };
    let (mut inbox, mut out, mut outcome) = (Inbox::default(), Outbox::default(), Outcome::default());
    session.greet(&cx, &mut out);
    'pieces: for piece in pieces {
        inbox.push(piece);
        let mut step = session.step(&cx, &mut inbox, &mut out);
        loop {
            step = match step {
                Step::Idle => break,
                Step::Close | Step::Abort => break 'pieces,
                Step::Ask(ask) => {
                    // How often there is something to spill or discard depends on the pieces.
                    let can_fail = !matches!(ask, Request::Spill { .. } | Request::Discard);
                    let fault = if can_fail { fault() } else { None };
                    let answer = outcome.answer(ask, fault);
                    session.respond(&cx, answer, &mut out)
                }
                Step::Secure => {
                    assert!(inbox.is_empty(), "clear text is left over");
                    outcome.logged_in = false;
                    session.tls_started(&cx, Encryption { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384" });
                    Step::Again
                }
                Step::Again | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
            };
        }
        assert!(inbox.len() <= longest, "{} octets wait for their line end", inbox.len());
    }
    outcome.replies = String::from_utf8(out.pending().to_vec()).expect("replies are UTF-8");
    outcome
}

impl Outcome {
    fn answer(&mut self, ask: Request, fault: Option<Failure>) -> Response {
        let answer = match ask {
            Request::Room { .. } => Response::Ready,
            Request::Begin => {
                assert!(self.begun.is_none(), "the last message was neither delivered nor discarded");
                self.begun = if fault.is_none() { Some(Vec::new()) } else { None };
                Response::Ready
            }
            Request::Spill { bytes, .. } => {
                self.begun.as_mut().expect("a message that was begun").extend(bytes);
                Response::Ready
            }
            Request::Discard => {
                self.begun = None;
                return Response::Ready;
            }
            Request::Deliver { envelope, bytes, .. } => {
                let mut message = self.begun.take().expect("a message that was begun");
                message.extend(bytes);
                self.asked.push((envelope, self.logged_in));
                if fault.is_none() {
                    self.stored.push(message);
                }
                Response::Delivered
            }
            Request::Verify { .. } => {
                self.logged_in |= fault.is_none();
                Response::Welcome(Mailbox::named("bob@here.test").expect("the name of a mailbox"))
            }
            other => panic!("{other:?} of SMTP"),
        };
        fault.map_or(answer, Response::Failed)
    }
}

/// Every line has a code, the last one of a reply a blank after it, and an enhanced code is of the same class.
pub(crate) fn assert_well_formed(replies: &str) {
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
