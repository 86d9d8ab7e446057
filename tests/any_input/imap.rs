//! Plays an IMAP session on any input, with folders in memory that another program changes, and reads its responses as a
//! client does. The tests and the fuzz target share it.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use restante::{
    clock::Now,
    proto::{
        Context, Encryption, Session, SessionEvent, Step,
        buffer::{Inbox, Outbox},
        imap::{ImapSession, SessionConfig},
        request::{Failure, Lookup, Mailbox, Request, Response},
        smtp::address::Address,
    },
};

use super::folders::Folders;

/// The result of a session.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) said: Vec<u8>,
    pub(crate) over: bool,
    /// The connection ended without the last replies.
    pub(crate) aborted: bool,
}

/// Another event at a request, by its number from 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// The request fails.
    Failure(Failure),
    /// Another program has changed a folder before it.
    Change(String),
}

/// Plays a session on input that comes in pieces.
pub(crate) fn play<'a>(
    config: &SessionConfig,
    pieces: impl Iterator<Item = &'a [u8]>,
    event: impl Fn(usize) -> Option<Event>,
) -> Outcome {
    let mut player = Player {
        session: ImapSession::new(Rc::new(config.clone())),
        folders: Folders::new(),
        body: Vec::new(),
        asked: 0,
        outcome: Outcome::default(),
        inbox: Inbox::default(),
        outbox: Outbox::default(),
    };
    player.folders.deliver("INBOX", "S", b"Subject: one\n\nfirst\n");
    player.folders.deliver("INBOX", "-", b"Subject: two\n\nsecond");
    player.folders.deliver("INBOX", "T", b"");
    player.folders.piece = 40;
    let step = player.session.greet(&cx(), &mut player.outbox);
    player.take(step, &event);
    for piece in pieces {
        if player.outcome.over {
            break;
        }
        player.inbox.push(piece);
        player.run(&event);
    }
    player.outcome
}

struct Player {
    session: ImapSession,
    folders: Folders,
    /// The beginning of a message that the session has sent to a file.
    body: Vec<u8>,
    /// The number of requests so far.
    asked: usize,
    outcome: Outcome,
    inbox: Inbox,
    outbox: Outbox,
}

impl Player {
    fn run(&mut self, event: &impl Fn(usize) -> Option<Event>) {
        while !self.outcome.over {
            let step = self.session.step(&cx(), &mut self.inbox, &mut self.outbox);
            let is_idle = matches!(step, Step::Idle);
            self.take(step, event);
            if is_idle {
                return;
            }
        }
    }

    fn take(&mut self, mut step: Step, event: &impl Fn(usize) -> Option<Event>) {
        loop {
            if !matches!(step, Step::Abort) {
                self.outcome.said.extend_from_slice(self.outbox.pending());
            }
            self.outbox = Outbox::default();
            match step {
                Step::Continue | Step::Idle | Step::Pause(_) => return,
                Step::Close => self.outcome.over = true,
                Step::Abort => (self.outcome.over, self.outcome.aborted) = (true, true),
                Step::StartTls => {
                    let by = Encryption { version: "1.3", cipher: "TLS_AES_128_GCM_SHA256" };
                    assert!(self.inbox.is_empty());
                    self.session.tls_started(&cx(), by);
                }
                Step::Request(request) => {
                    let response = self.answer(&request, event);
                    step = self.session.respond(&cx(), response, &mut self.outbox);
                    continue;
                }
            }
            return;
        }
    }

    fn answer(&mut self, request: &Request, event: &impl Fn(usize) -> Option<Event>) -> Response {
        let number = self.asked;
        self.asked += 1;
        match event(number) {
            Some(Event::Failure(failure)) => return Response::Failed(failure),
            Some(Event::Change(change)) => {
                if let Ok(Some(state)) = self.folders.change(&change) {
                    self.session.notify(&SessionEvent::FolderChanged(state), &mut self.outbox);
                }
            }
            None => {}
        }
        match request {
            Request::Verify { .. } => Response::Verified(Mailbox::named("bob@here.test").expect("a name")),
            Request::Imap(request) => {
                let response = self.folders.answer(request, &self.body);
                self.body.clear();
                response
            }
            Request::Receive(_) => {
                // Messages here are below the limit of memory.
                Response::Done
            }
            other => panic!("no request of IMAP: {other:?}"),
        }
    }
}

/// Reads the responses of a session, and panics if a client could not.
pub(crate) fn read(said: &[u8]) -> Vec<(String, String)> {
    let (mut rest, mut replies, mut count) = (said, Vec::new(), 0_usize);
    while !rest.is_empty() {
        let (response, after) = response(rest);
        rest = after;
        let text = String::from_utf8_lossy(&response).into_owned();
        let words: Vec<&str> = text.split([' ', '\r']).collect();
        let number = words.get(1).and_then(|word| word.parse::<usize>().ok());
        match (words[0], words.get(1).copied(), number) {
            ("+", Some(_), _) => {}
            ("*", Some(_), Some(number)) => match words[2] {
                "EXISTS" => count = number,
                "RECENT" => {}
                "EXPUNGE" => {
                    assert!((1..=count).contains(&number), "{text}");
                    count -= 1;
                }
                "FETCH" => assert!((1..=count).contains(&number), "{text}"),
                other => panic!("{other} in {text}"),
            },
            ("*", Some(word), None) => assert!(UNTAGGED.contains(&word), "{text}"),
            (tag, Some(status @ ("OK" | "NO" | "BAD")), _) => replies.push((tag.into(), status.into())),
            _ => panic!("{text:?} is no response"),
        }
    }
    replies
}

/// One response with its literals, and the octets after it.
fn response(said: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut at = 0;
    loop {
        let is_end = |pair: &[u8]| pair == b"\r\n";
        let end = said[at..].windows(2).position(is_end).expect("the end of a line") + at;
        let line = &said[at..end];
        let literal = line.strip_suffix(b"}").and_then(|line| {
            let from = line.iter().rposition(|&b| b == b'{')? + 1;
            std::str::from_utf8(&line[from..]).ok()?.parse::<usize>().ok()
        });
        at = end + 2;
        match literal {
            Some(octets) => at += octets,
            None => return (said[..at].to_vec(), &said[at..]),
        }
        assert!(at <= said.len(), "a literal has as many octets as announced");
    }
}

const UNTAGGED: [&str; 17] = [
    "LANGUAGE",
    "OK",
    "NO",
    "BAD",
    "BYE",
    "CAPABILITY",
    "ENABLED",
    "ESEARCH",
    "FLAGS",
    "ID",
    "LIST",
    "LSUB",
    "NAMESPACE",
    "QUOTA",
    "QUOTAROOT",
    "SEARCH",
    "STATUS",
];

fn cx() -> Context<'static> {
    const NOW: Now = Now { monotonic: Duration::from_secs(1000), wall: SystemTime::UNIX_EPOCH };
    Context { now: NOW, directory: &no_accounts }
}

fn no_accounts(_: &Address) -> Lookup {
    Lookup::Unknown
}
