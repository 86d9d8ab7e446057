//! The end of an HTTP connection that has to make room: no word of the server stands inside a document.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener},
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

#[test]
fn a_client_that_is_ended_for_room_gets_no_word_inside_a_document() {
    let protocol = HttpConfig { login: LoginPolicy::Off, ..HttpConfig::default() };
    let config = SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::Exact,
        limits: Limits::default(),
        pedantic: false,
        protocol,
    };
    let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
    // The first is inside a document when it ends; the other one is between two requests.
    for (size, gets_words) in [(16 << 20, false), (10, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = common::client::socket(listener.local_addr().unwrap());
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let transport = Transport::new(Stream::Tcp(mio::net::TcpStream::from_std(stream)), Security::None);
        let session = Box::new(HttpSession::new(Rc::new(config.clone())));
        let caller = PeerInfo { id: ConnId(1), service: "http", peer: [127, 0, 0, 1].into() };
        let mut conn = Connection::new(caller, transport, session, now);
        client.write_all(b"GET /api/v1/message/latest HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut scratch = vec![0; 65_536];
        let mut pump = |conn: &mut Connection, ready| {
            conn.set_readiness(ready, ready, ready);
            conn.pump(&mut Documents(size), now, &Limits::default(), &mut scratch)
        };
        // The client reads nothing, so the connection comes to rest with octets left, or with none.
        let mut first = [0; 1];
        eventually("the response begins", || {
            pump(&mut conn, true);
            client.peek(&mut first).is_ok().then_some(())
        });
        while pump(&mut conn, false) == PumpOutcome::BudgetSpent {}
        conn.evict(&Protocol::Http.too_many_connections(), "a test", now);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let reader = std::thread::spawn(move || {
            let mut heard = Vec::new();
            let _ = client.read_to_end(&mut heard); // a reset ends it too
            heard
        });
        eventually("the connection is given up", || {
            (pump(&mut conn, true) == PumpOutcome::Closed).then_some(())
        });
        drop(conn);
        let heard = reader.join().unwrap();
        let words = memchr::memmem::find(&heard, b"HTTP/1.1 503").is_some();
        assert_eq!(words, gets_words, "{} octets", heard.len());
    }
}
