//! Plays an HTTP session on any input, with documents that are made up, and reads its responses as a client does. The
//! tests and the fuzz target share it.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use restante::{
    clock::Now,
    proto::{
        Context, Session, Step,
        buffer::{Inbox, Outbox},
        http::{
            HttpSession, MAX_HEAD, MailServers, SessionConfig,
            api::{self, ApiAction, Document, Draft, MessageName, MessageView, Selection, SharedOctets},
        },
        request::{ConnId, Failure, Lookup, Mailbox, ReceiveRequest, Request, Response},
        smtp::address::Address,
    },
};

/// The result of a session.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) said: Vec<u8>,
    /// The requests to the backend.
    pub(crate) asked: Vec<String>,
    pub(crate) over: bool,
    pub(crate) aborted: bool,
}

/// Listeners that a session names to mail programs.
pub(crate) fn mail_servers() -> Rc<MailServers> {
    let server = |text: &str| text.parse().expect("a server");
    let servers = ["pop3 tls 995", "pop3 starttls 110", "smtp tls 465"].map(server).into();
    Rc::new(MailServers { servers, domains: vec!["here.test".into()] })
}

/// Plays a session that gets its input in these pieces. The request of number `n` fails if `fault(n)` says so.
pub(crate) fn play<'a>(
    config: &SessionConfig,
    pieces: impl Iterator<Item = &'a [u8]>,
    fault: impl Fn(usize) -> Option<Failure>,
) -> Outcome {
    let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
    let lookup = |address: &Address| match Mailbox::of_address(&address.folded_local(), "here.test") {
        Some(mailbox) => Lookup::local_mailbox(mailbox),
        None => Lookup::Unknown,
    };
    let cx = Context { now, directory: &lookup };
    let (mut inbox, mut out) = (Inbox::default(), Outbox::default());
    let mut session = HttpSession::new(Rc::new(config.clone()), [127, 0, 0, 1].into(), ConnId(1));
    let mut outcome = Outcome::default();
    session.greet(&cx, &mut out);
    for piece in pieces {
        inbox.push(piece);
        let mut step = session.step(&cx, &mut inbox, &mut out);
        loop {
            outcome.said.extend_from_slice(out.pending());
            out.consume(out.pending().len());
            out.take_events();
            step = match step {
                Step::Idle => break,
                Step::Continue => session.step(&cx, &mut inbox, &mut out),
                Step::Pause(span) if span.is_zero() => session.step(&cx, &mut inbox, &mut out),
                Step::Request(request) => {
                    let answer = fault(outcome.asked.len()).map(Response::Failed);
                    outcome.asked.push(format!("{request:?}"));
                    let answer = answer.unwrap_or_else(|| answer_to(&request));
                    session.respond(&cx, answer, &mut out)
                }
                // Events go on until the connection ends.
                Step::Pause(_) | Step::Close | Step::StartTls => {
                    outcome.over = true;
                    return outcome;
                }
                Step::Abort => {
                    (outcome.over, outcome.aborted) = (true, true);
                    return outcome;
                }
            };
        }
    }
    outcome
}

/// A request with a body, as a client that makes no mistake writes it.
pub(crate) fn with_body(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Text in a query or a segment of a path. The numbers choose how each octet is written.
pub(crate) fn escaped(text: &str, mut how: impl FnMut() -> u8) -> String {
    let mut written = String::new();
    for octet in text.bytes() {
        match (octet, how() % 4) {
            (b' ', 0) => written.push('+'),
            (
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b'!' | b':',
                0..=2,
            ) => {
                written.push(octet.into());
            }
            (octet, 1) => written.push_str(&format!("%{octet:02x}")),
            (octet, _) => written.push_str(&format!("%{octet:02X}")),
        }
    }
    written
}

/// Checks that a search asks for the text of its query, however it is written, and for no other.
pub(crate) fn check_query(config: &SessionConfig, text: &str, how: impl FnMut() -> u8) {
    let target = format!("/api/v1/search?start=1&query={}&query=other", escaped(text, how));
    let request = with_body("GET", &target, b"");
    let outcome = play(config, [request.as_slice()].into_iter(), |_| None);
    let wanted = text.trim();
    let is_good = !text.contains(char::is_control) && !wanted.is_empty() && request.len() < MAX_HEAD;
    let asked = format!("List {{ search: {wanted:?}, start: 1, limit: 50 }}");
    assert_eq!(
        outcome.asked.iter().any(|request| request.contains(&asked)),
        is_good,
        "{target}: {outcome:?}"
    );
    read(&outcome.said, false);
}

/// Checks that the session said no more than so many octets can ask for.
pub(crate) fn check_bounds(outcome: &Outcome, wire: &[u8]) {
    let statuses = read(&outcome.said, outcome.aborted);
    assert!(statuses.len() <= wire.len() / SHORTEST_REQUEST + 2, "{} responses", statuses.len());
    assert!(outcome.said.len() <= statuses.len() * LONGEST_RESPONSE, "{} octets", outcome.said.len());
    let asked = outcome.asked.len();
    assert!(asked <= MOST_REQUESTS * (statuses.len() + 1), "{asked} requests: {:?}", outcome.asked);
}

/// `GET / HTTP/1.1` and its end; a response more follows it only with a host.
const SHORTEST_REQUEST: usize = 18;
/// `POST /api/v1/send` with a password: its check, the space, the place, the draft, the delivery.
const MOST_REQUESTS: usize = 5;
/// The script of the page, and a head.
const LONGEST_RESPONSE: usize = 64 * 1024;

fn answer_to(request: &Request) -> Response {
    let document = || Document::json("{}".into());
    match request {
        Request::Verify { .. } => {
            Mailbox::named("bob@here.test").map_or(Response::Failed(Failure::TempFail), Response::Verified)
        }
        Request::Api(request) => match &request.action {
            ApiAction::Subscribe => Response::Done,
            ApiAction::Compose { body, .. } => {
                let address = |text| Address::parse(text).expect("an address");
                let (from, to) = (address("bob@here.test"), vec![address("eve@here.test")]);
                let draft = Draft { from, to, octets: body.len() as u64, message: body.clone() };
                Response::Composed(Ok(Box::new(draft)))
            }
            ApiAction::Message(name, MessageView::Raw) => {
                assert!(matches!(name, MessageName::Latest | MessageName::Id(_)));
                Response::Document(Document {
                    length: 10,
                    ..Document::new("text/plain", b"one\r\n".to_vec())
                })
            }
            ApiAction::Continue { from } => {
                assert_eq!(*from, 5);
                Response::Chunk { bytes: b"two\r\n".to_vec(), last: true }
            }
            ApiAction::Find { search, .. } => {
                // One that cannot be read, one that is not there, and one that is.
                match search.len() % 3 {
                    0 => Response::Document(Document { outcome: api::Outcome::Failed, ..document() }),
                    1 => Response::Failed(Failure::Gone),
                    _ => Response::Document(document()),
                }
            }
            ApiAction::Message(MessageName::Id(id), view) => {
                assert!((1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()));
                if let MessageView::Part(part) = view {
                    assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') && part.len() <= 64);
                }
                let named = Document {
                    file_name: Some(format!("{id}\r\nX-Evil: {id}")),
                    etag: Some(id.clone()),
                    ..document()
                };
                Response::Document(named)
            }
            ApiAction::Message(..) => {
                let named =
                    Document { file_name: Some("a\r\nb".into()), etag: Some("x1".into()), ..document() };
                Response::Document(named)
            }
            ApiAction::List { search, limit, .. } => {
                assert!(*limit <= 1000 && !search.contains(char::is_control));
                Response::Document(document())
            }
            ApiAction::Streamed(_) => {
                Response::Item(SharedOctets { number: 1, octets: b"{}\r\n".to_vec().into() })
            }
            ApiAction::Delete(Selection::Ids(ids)) | ApiAction::SetRead(Selection::Ids(ids), _) => {
                assert!(!ids.is_empty());
                Response::Document(Document::ok())
            }
            _ => Response::Document(document()),
        },
        Request::Receive(ReceiveRequest::Deliver { .. }) => Response::Stored("a1".into()),
        Request::Receive(_) => Response::Done,
        Request::Maildrop(_) | Request::Imap(_) => panic!("no request of this protocol: {request:?}"),
    }
}

/// Reads whole responses, and returns their statuses. `is_cut`: the last one may end early.
pub(crate) fn read(said: &[u8], is_cut: bool) -> Vec<u16> {
    let (mut statuses, mut rest) = (Vec::new(), said);
    while !rest.is_empty() {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let (head, after) = rest.split_at(end);
        rest = after;
        let head = std::str::from_utf8(head).expect("text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
        let status: u16 = status[..3].parse().expect("a status");
        statuses.push(status);
        if status == 100 {
            continue;
        }
        let fields: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").expect("a field")).collect();
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        assert!(head.is_ascii() && fields.iter().all(|(name, _)| name.bytes().all(|b| b.is_ascii_graphic())));
        for name in ["X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy", "Cache-Control"]
        {
            assert!(field(name).is_some(), "no {name} in {head}");
        }
        match field("Content-Length") {
            None if status == 304 => {}
            None => {
                assert_eq!(field("Content-Type"), Some("text/event-stream"), "{head}");
                return statuses;
            }
            Some(length) => {
                let length: usize = length.parse().expect("a length");
                // A response to HEAD has none of its content.
                if !rest.starts_with(b"HTTP/1.1 ") && !rest.is_empty() {
                    assert!(rest.len() >= length || is_cut, "content is missing after {head}");
                    rest = &rest[length.min(rest.len())..];
                }
            }
        }
    }
    statuses
}
