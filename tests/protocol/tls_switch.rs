//! The change from clear text to TLS, with a careless session: the connection alone must keep the two
//! apart.

use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    rc::Rc,
    time::{Duration, SystemTime},
};

use crate::common::{
    self, eventually,
    secure::{BOTH, Keys, over},
};
use restante::{
    clock::Now,
    connection::{Connection, PumpOutcome, RequestHandler},
    limits::Limits,
    logging::PeerInfo,
    net::{
        certificate::CertificatePair,
        socket::Stream,
        tls::TlsConfig,
        transport::{Security, Transport},
    },
    proto::{
        Context, Encryption, EndReason, Progress, ResetOn, Session, Step, Timeouts,
        buffer::{Inbox, Line, Outbox},
        request::{AccountDirectory, ConnId, Lookup, Request, Response},
        smtp::address::Address,
    },
};

/// The commands that a session has run, in order.
type Done = Rc<RefCell<Vec<String>>>;

/// Begins TLS at STLS, even if more octets follow it, and runs everything else.
struct Careless(Done);

impl Session for Careless {
    fn greet(&mut self, _: &Context<'_>, out: &mut Outbox) -> Step {
        out.line("+OK");
        Step::Continue
    }

    fn step(&mut self, _: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        let Line::Complete(line) = inbox.line(512, 512) else { return Step::Idle };
        out.line("+OK");
        let line = String::from_utf8(line.trim_ascii_end().to_vec()).unwrap();
        let step = if line == "STLS" { Step::StartTls } else { Step::Continue };
        self.0.borrow_mut().push(line);
        step
    }

    fn tls_started(&mut self, _: &Context<'_>, by: Encryption) {
        self.0.borrow_mut().push(format!("TLS {}", by.version));
    }

    fn respond(&mut self, _: &Context<'_>, _: Response, _: &mut Outbox) -> Step {
        Step::Abort
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn timeouts(&self) -> Timeouts {
        let limit = Duration::from_secs(3600);
        Timeouts { read: limit, reset_on: ResetOn::Command, write: limit, session: None }
    }

    fn on_timeout(&mut self, _: &mut Outbox) {}

    fn end(&mut self, _: EndReason, _: &mut Outbox) -> Step {
        Step::Close
    }
}

struct Nothing;

impl RequestHandler for Nothing {
    fn directory(&self) -> &dyn AccountDirectory {
        &|_: &Address| Lookup::Unknown
    }

    fn handle(&mut self, _: (ConnId, IpAddr), _: Request) -> Option<Response> {
        None
    }
}

/// A connection of a careless session, with its client, and the commands that the session has run.
struct Talk {
    conn: Connection,
    client: TcpStream,
    done: Done,
    scratch: Vec<u8>,
}

impl Talk {
    fn new(security: Security) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = common::client::socket(listener.local_addr().unwrap());
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let done = Done::default();
        let transport = Transport::new(Stream::Tcp(mio::net::TcpStream::from_std(stream)), security);
        let session = Box::new(Careless(Rc::clone(&done)));
        let caller = PeerInfo { id: ConnId(1), service: "smtp", peer: [127, 0, 0, 1].into() };
        let conn = Connection::new(caller, transport, session, now());
        Self { conn, client, done, scratch: vec![0; 4096] }
    }

    fn pump(&mut self) -> PumpOutcome {
        self.conn.set_readiness(true, true, true);
        self.conn.pump(&mut Nothing, now(), &Limits::default(), &mut self.scratch)
    }

    /// Pumps until the server's side is given up.
    fn until_gone(&mut self) {
        eventually("the connection is given up", || (self.pump() == PumpOutcome::Closed).then_some(()));
    }
}

fn now() -> Now {
    Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH }
}

fn tls(keys: &Keys) -> Rc<TlsConfig> {
    let pair = CertificatePair { certificate: keys.certificate(), key: keys.key() };
    Rc::new(TlsConfig::start(pair, Duration::from_secs(3600)).unwrap())
}

#[test]
fn t02_no_octet_in_clear_text_crosses_the_switch_even_if_the_session_lets_it() {
    let keys = Keys::make();
    let tls = tls(&keys);
    let injection = b"STLS\r\nDELE 1\r\nQUIT\r\n";
    for cut in 1..=injection.len() {
        let mut pair = Talk::new(Security::StartTls(Rc::clone(&tls)));
        pair.client.write_all(&injection[..cut]).unwrap();
        eventually("the first part is read", || {
            let pumped = pair.pump();
            (pumped == PumpOutcome::Closed || cut < 6 || !pair.done.borrow().is_empty()).then_some(())
        });
        let _ = pair.client.write_all(&injection[cut..]); // the door may be closed already
        pair.client.shutdown(std::net::Shutdown::Write).unwrap();
        pair.until_gone();
        assert_eq!(*pair.done.borrow(), ["STLS"], "cut at {cut}");
    }
}

#[test]
fn where_no_tls_is_offered_a_session_cannot_begin_it() {
    let mut pair = Talk::new(Security::None);
    pair.client.write_all(b"STLS\r\n").unwrap();
    pair.until_gone();
    drop(pair.conn);
    let mut said = Vec::new();
    pair.client.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"+OK\r\n+OK\r\n");
}

#[test]
fn a_session_is_told_of_implicit_tls_before_it_greets_and_has_it_once() {
    let keys = Keys::make();
    let mut pair = Talk::new(Security::Implicit(tls(&keys)));
    let client = pair.client.try_clone().unwrap();
    let config = keys.trusted(BOTH);
    let talk = std::thread::spawn(move || {
        let mut tls = over(client, &config);
        tls.write_all(b"NOOP\r\nSTLS\r\nNOOP\r\n").unwrap();
        let mut said = Vec::new();
        let ended = tls.read_to_end(&mut said);
        (said, ended.is_err())
    });
    pair.until_gone();
    assert_eq!(*pair.done.borrow(), ["TLS 1.3", "NOOP", "STLS"]);
    drop(pair.conn);
    let (said, cut) = talk.join().unwrap();
    assert!(cut && b"+OK\r\n+OK\r\n+OK\r\n".starts_with(&said), "{said:?}");
}
