//! The end of an HTTP connection that has to make room, or whose session panics: no word of the server stands inside a
//! document.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, SystemTime},
};

use restante::{
    clock::Now,
    connection::{Connection, PumpOutcome, RequestHandler},
    limits::Limits,
    logging::PeerInfo,
    net::{
        socket::Stream,
        transport::{Security, Transport},
    },
    proto::{
        Context, Encryption, EndReason, Progress, Session, SessionPhase, Step, Timeouts,
        buffer::{Inbox, Outbox},
        dot::LineEndings,
        http::{HttpConfig, HttpSession, LoginPolicy, SessionConfig, api::Document},
        protocol::Protocol,
        request::{AccountDirectory, ConnId, Lookup, Request, Response},
        smtp::address::Address,
        syntax::Syntax,
    },
};

use crate::common::{self, eventually};

/// Answers each request with a document of this size.
struct Documents(usize);

impl RequestHandler for Documents {
    fn directory(&self) -> &dyn AccountDirectory {
        &|_: &Address| Lookup::Unknown
    }

    fn handle(&mut self, _: (ConnId, IpAddr), _: Request) -> Option<Response> {
        Some(Response::Document(Document::new("text/plain", vec![b'x'; self.0])))
    }
}

fn config() -> SessionConfig {
    SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::Exact,
        limits: Limits::default(),
        pedantic: false,
        protocol: HttpConfig { login: LoginPolicy::Off, ..HttpConfig::default() },
    }
}

const NOW: Now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };

/// A client, and the connection of the server with this session.
fn connected(session: impl Session + 'static) -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = common::client::socket(listener.local_addr().unwrap());
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let transport = Transport::new(Stream::Tcp(mio::net::TcpStream::from_std(stream)), Security::None);
    let caller = PeerInfo { id: ConnId(1), service: "http", peer: [127, 0, 0, 1].into() };
    (client, Connection::new(caller, transport, Box::new(session), NOW))
}

fn pump(conn: &mut Connection, size: usize, ready: bool) -> PumpOutcome {
    conn.set_readiness(ready, ready, ready);
    conn.pump(&mut Documents(size), NOW, &Limits::default(), &mut vec![0; 65_536])
}

/// Everything that the client reads until the connection is given up.
fn rest(mut client: TcpStream, mut conn: Connection, size: usize) -> Vec<u8> {
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let reader = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard); // a reset ends it too
        heard
    });
    eventually("the connection is given up", || {
        (pump(&mut conn, size, true) == PumpOutcome::Closed).then_some(())
    });
    drop(conn);
    reader.join().unwrap()
}

const REQUEST: &[u8] = b"GET /api/v1/message/latest HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_client_that_is_ended_for_room_gets_no_word_inside_a_document() {
    // The first is inside a document when it ends; the other one is between two requests.
    for (size, gets_words) in [(16 << 20, false), (10, true)] {
        let (mut client, mut conn) =
            connected(HttpSession::new(Rc::new(config()), [127, 0, 0, 1].into(), ConnId(1)));
        client.write_all(REQUEST).unwrap();
        // The client reads nothing, so the connection comes to rest with octets left, or with none.
        let mut first = [0; 1];
        eventually("the response begins", || {
            pump(&mut conn, size, true);
            client.peek(&mut first).is_ok().then_some(())
        });
        while pump(&mut conn, size, false) == PumpOutcome::BudgetSpent {}
        conn.evict(&Protocol::Http.too_many_connections(), "a test", NOW);
        let heard = rest(client, conn, size);
        let words = memchr::memmem::find(&heard, b"HTTP/1.1 503").is_some();
        assert_eq!(words, gets_words, "{} octets", heard.len());
    }
}

/// A session with a bug: it panics in the step after this many that have something to do.
struct Buggy(HttpSession, usize);

impl Session for Buggy {
    fn greet(&mut self, cx: &Context<'_>, out: &mut Outbox) -> Step {
        self.0.greet(cx, out)
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if inbox.is_empty() && self.0.session_phase() != SessionPhase::Sending {
            return self.0.step(cx, inbox, out);
        }
        let step = self.0.step(cx, inbox, out);
        if self.1 == 0 {
            out.push(b"half of a resp");
            panic!("the bug that this test is about");
        }
        self.1 -= 1;
        step
    }

    fn respond(&mut self, cx: &Context<'_>, answer: Response, out: &mut Outbox) -> Step {
        self.0.respond(cx, answer, out)
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {}

    fn session_phase(&self) -> SessionPhase {
        self.0.session_phase()
    }

    fn timeouts(&self) -> Timeouts {
        self.0.timeouts()
    }

    fn progress(&self) -> Progress {
        self.0.progress()
    }

    fn on_timeout(&mut self, out: &mut Outbox) {
        self.0.on_timeout(out);
    }

    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step {
        self.0.end(why, out)
    }
}

#[test]
fn v22_a_panic_adds_no_word_to_a_document_and_cuts_no_response_before_it() {
    // Inside the second of two documents; in the request after a whole one.
    for (size, steps, is_told) in [(1 << 20, 10, false), (10, 1, true)] {
        let (mut client, mut conn) =
            connected(Buggy(HttpSession::new(Rc::new(config()), [127, 0, 0, 1].into(), ConnId(1)), steps));
        client.write_all(&REQUEST.repeat(2)).unwrap();
        let pumped = eventually("the session panics", || {
            let pump = AssertUnwindSafe(|| pump(&mut conn, size, true));
            let pumped = catch_unwind(pump);
            pumped.is_err().then_some(pumped)
        });
        assert!(pumped.is_err());
        conn.close_after_panic(&Protocol::Http.internal_error(), NOW);
        let heard = rest(client, conn, size);
        let text = String::from_utf8_lossy(&heard);
        assert_eq!(text.contains("HTTP/1.1 500 "), is_told, "{} octets", heard.len());
        assert!(!text.contains("half of a resp"), "{} octets", heard.len());
        if is_told {
            let (first, last) = text.split_once("xHTTP/1.1 500 ").unwrap();
            let (_, page) = last.split_once("\r\n\r\n").unwrap();
            assert!(first.ends_with("\r\n\r\nxxxxxxxxx") && page.ends_with("</html>\n\r\n"), "{text}");
        } else {
            assert!(heard.len() < size, "the client sees that octets are missing");
        }
    }
}
