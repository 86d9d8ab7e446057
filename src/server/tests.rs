use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, SystemTime},
};

use mio::Events;

use super::{
    peer::OpenConnection,
    pumping::MAX_WORK_PER_TURN,
    shutdown::MAX_ENDED_PER_TURN,
    state::{Server, Timer},
};
use crate::{
    clock::Now,
    config::{Config, ConfigText, Service},
    connection::Connection,
    listener,
    loaded_config::LoadedConfig,
    logging::PeerInfo,
    net::{endpoint::Endpoint, socket::Stream, timer::Deadline},
    proto::{
        Context, Encryption, EndReason, Progress, ResetOn, Session, SessionStage, Step, Timeouts,
        buffer::{Inbox, Outbox},
        protocol::Protocol,
        request::{ConnId, Response},
    },
    system::socket_activation::InheritedSockets,
    workers::Completion,
};

/// A session with a bug: it panics in the named call.
#[derive(Clone, Copy, PartialEq)]
enum Buggy {
    Greeting,
    Step,
    Expiry,
    Stop,
}

impl Buggy {
    fn panics_in(self, place: Self) {
        assert!(self != place, "the bug that this test is about");
    }
}

impl Session for Buggy {
    fn greet(&mut self, _: &Context<'_>, out: &mut Outbox) -> Step {
        self.panics_in(Self::Greeting);
        out.line("220 hello");
        Step::Continue
    }

    fn step(&mut self, _: &Context<'_>, inbox: &mut Inbox, _: &mut Outbox) -> Step {
        if !inbox.is_empty() {
            self.panics_in(Self::Step);
        }
        Step::Idle
    }

    fn respond(&mut self, _: &Context<'_>, _: Response, _: &mut Outbox) -> Step {
        Step::Continue
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {}

    fn timeouts(&self) -> Timeouts {
        let limit = Duration::from_secs(60);
        Timeouts { read: limit, reset_on: ResetOn::Command, write: limit, session: None }
    }

    fn progress(&self) -> Progress {
        Progress { stage: SessionStage::Delivering, ..Progress::default() }
    }

    fn on_timeout(&mut self, _: &mut Outbox) {
        self.panics_in(Self::Expiry);
    }

    fn end(&mut self, _: EndReason, _: &mut Outbox) -> Step {
        self.panics_in(Self::Stop);
        Step::Close
    }
}

/// Reads the octets that the socket has by now.
fn said(peer: &mut TcpStream) -> String {
    let mut text = vec![0; 1000];
    let length = peer.read(&mut text).unwrap();
    String::from_utf8(text[..length].to_vec()).unwrap()
}

/// A development server, a connection to it whose session is the buggy one, and the client's end.
fn server_with_a_session(buggy: Buggy) -> (tempfile::TempDir, Server, ConnId, TcpStream) {
    let dir = tempfile::tempdir().unwrap();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let config = Config::development(dir.path().to_owned(), (loopback, loopback), false).unwrap();
    let sockets = listener::bind_all(&config, InheritedSockets::default(), &mut |_| {}).unwrap();
    let files = LoadedConfig::from_config(config, &ConfigText::default(), SystemTime::now()).unwrap();
    // Embedded, because a test of signals sends them to this process.
    let mut server = Server::open_embedded(files, sockets).unwrap();

    let id = ConnId(7);
    let mut peer = session(&mut server, id, buggy);
    let broken = Protocol::Smtp.internal_error() + "\r\n";
    assert_eq!(said(&mut peer), if buggy == Buggy::Greeting { &broken } else { "220 hello\r\n" });
    (dir, server, id, peer)
}

/// Opens one more session, which has sent its greeting, and returns the client's end.
fn session(server: &mut Server, id: ConnId, buggy: Buggy) -> TcpStream {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    let (ours, address) = door.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    let transport = server
        .listeners
        .values()
        .next()
        .unwrap()
        .new_transport(Stream::Tcp(mio::net::TcpStream::from_std(ours)));
    let now = server.clock.now();
    let conn = Connection::new(
        PeerInfo { id, service: "smtp", peer: address.ip() },
        transport,
        Box::new(buggy),
        now,
    );
    let service = Service::Smtp;
    let place = server.admission.admit(id, service, Some(address.ip()), now.monotonic);
    let open = OpenConnection { conn, listener: 0, service, place, deadline: Deadline::default() };
    server.connections.insert(id, Box::new(open));
    server.pump(id, now);
    peer
}

/// Reports the connection as readable and writable, and pumps it.
fn event(server: &mut Server, id: ConnId) {
    server.connections.get_mut(&id).unwrap().conn.set_readiness(true, true, true);
    let now = server.clock.now();
    server.pump(id, now);
}

#[test]
fn l10_a_panic_in_a_session_ends_that_session_with_a_reply_and_no_other() {
    let (_dir, mut server, id, mut peer) = server_with_a_session(Buggy::Step);
    peer.write_all(b"NOOP\r\n").unwrap();
    event(&mut server, id);
    assert_eq!(said(&mut peer), Protocol::Smtp.internal_error() + "\r\n");
    assert_eq!(said(&mut peer), "", "nothing more, and the connection is ended");

    let (_, Endpoint::Ip(address)) = server.endpoints().remove(0) else { panic!("not on the network") };
    let other = std::thread::spawn(move || {
        let mut other = TcpStream::connect(address).unwrap();
        let banner = said(&mut other);
        other.write_all(b"NOOP\r\n").unwrap();
        banner + &said(&mut other)
    });
    serve_until_finished(&mut server, &other);
    assert!(other.join().unwrap().ends_with("\r\n250 2.0.0 Ok\r\n"));
}

#[test]
fn l10_a_panic_in_a_greeting_a_deadline_or_the_end_of_the_server_ends_one_session() {
    let broken = Protocol::Smtp.internal_error() + "\r\n";
    let (_dir, _server, _, mut peer) = server_with_a_session(Buggy::Greeting);
    assert_eq!(said(&mut peer), "");

    let (_dir, mut server, id, mut peer) = server_with_a_session(Buggy::Expiry);
    let mut late = server.clock.now();
    late.monotonic += Duration::from_secs(61);
    server.run_timers(late);
    assert_eq!(said(&mut peer), broken);
    assert!(server.connections.get(&id).is_none_or(|open| open.conn.is_closing()));

    let (_dir, mut server, _, mut peer) = server_with_a_session(Buggy::Stop);
    let now = server.clock.now();
    server.begin_shutdown(now);
    assert_eq!(said(&mut peer), broken);
}

/// 10,000 farewells in one turn would delay the messages that are being stored.
#[test]
fn a_server_that_stops_has_some_sessions_a_turn_say_goodbye() {
    let (_dir, mut server, ..) = server_with_a_session(Buggy::Step);
    let more = MAX_ENDED_PER_TURN as u64 + 10;
    let _peers: Vec<_> = (0..more).map(|n| session(&mut server, ConnId(100 + n), Buggy::Step)).collect();
    let over = |server: &Server| server.connections.values().filter(|open| open.conn.is_closing()).count();
    let now = server.clock.now();
    server.begin_shutdown(now);
    assert_eq!(over(&server), MAX_ENDED_PER_TURN);
    assert!(!server.is_finished());
    server.poll.poll(&mut Events::with_capacity(16), None).unwrap(); // the next turn begins at once
    server.end_sessions(now);
    assert_eq!((over(&server), server.sessions_to_end.len()), (MAX_ENDED_PER_TURN + 11, 0));
}

/// Turns the loop until the client has finished.
fn serve_until_finished<T>(server: &mut Server, client: &std::thread::JoinHandle<T>) {
    let mut events = Events::with_capacity(16);
    while !client.is_finished() {
        server.timers.set(server.clock.now().monotonic + Duration::from_millis(10), Timer::Accept);
        server.run_turn(&mut events).unwrap();
    }
}

#[test]
fn l10_a_panic_in_a_worker_or_in_the_committer_is_an_answer_and_the_others_live_on() {
    let (_dir, mut server, ..) = server_with_a_session(Buggy::Step);
    let ports: Vec<_> = server.endpoints().iter().map(|(_, endpoint)| endpoint.ip().unwrap()).collect();
    let (smtp, pop3) = (ports[0], ports[1]);
    let client = std::thread::spawn(move || {
        let mut smtp = Asker::new(smtp);
        smtp.ask("HELO me\r\n", "250 ");
        // More often than there are threads of any kind. A worker writes the large message as it arrives.
        for _ in 0..6 {
            for (user, lines, reply) in [
                ("bug", 1, "451 4.3.0 "),
                ("bug", 10_000, "451 4.3.0 "),
                ("ann", 1, "250 "),
                ("ann", 10_000, "250 "),
            ] {
                smtp.ask("MAIL FROM:<>\r\n", "250 ");
                smtp.ask(&format!("RCPT TO:<{user}@localhost>\r\n"), "250 ");
                smtp.ask("DATA\r\n", "354 ");
                smtp.ask(
                    &format!("{}.\r\n", "a line of forty-two octets, all of them x\r\n".repeat(lines)),
                    reply,
                );
            }
            let mut pop3 = Asker::new(pop3);
            for (user, reply) in [("bug", "-ERR [SYS/TEMP] "), ("bug", "-ERR [SYS/TEMP] "), ("ann", "+OK ")] {
                pop3.ask(&format!("USER {user}@localhost\r\n"), "+OK ");
                pop3.ask("PASS x\r\n", reply);
            }
            pop3.ask("QUIT\r\n", "+OK ");
        }
    });
    serve_until_finished(&mut server, &client);
    client.join().unwrap();
    assert!(server.backend.is_idle());
}

#[test]
fn d09_a_message_given_up_by_a_tick_is_refused_in_that_turn() {
    let (_dir, mut server, buggy, _peer) = server_with_a_session(Buggy::Step);
    let smtp = server.endpoints()[0].1.ip().unwrap();
    let client = std::thread::spawn(move || {
        let mut smtp = Asker::new(smtp);
        smtp.ask("HELO me\r\n", "250 ");
        smtp.ask("MAIL FROM:<>\r\n", "250 ");
        smtp.ask("RCPT TO:<ann@localhost>\r\n", "250 ");
        smtp.ask("DATA\r\n", "354 ");
        smtp.0.write_all(&b"a line of forty-two octets, all of them x\r\n".repeat(10_000)).unwrap();
        smtp
    });
    serve_until_finished(&mut server, &client);
    let mut client = client.join().unwrap();
    client.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (id, now) = (*server.connections.keys().find(|id| **id != buggy).unwrap(), server.clock.now());

    // A worker makes a large message durable before the committer gets it. The loop does not see that completion in
    // time.
    client.0.write_all(b".\r\n").unwrap();
    loop {
        event(&mut server, id);
        let Ok(done) = server.completions.recv_timeout(Duration::from_millis(10)) else { continue };
        if matches!(done, Completion::Spilled(_, Some(_), _)) {
            break;
        }
        server.backend.complete(done);
        while let Some((id, answer)) = server.backend.next_response() {
            server.call_and_pump(id, now, |conn, handler| conn.deliver_response(answer, handler, now));
        }
    }
    let late = Now { monotonic: now.monotonic + server.config.limits.delivery.timeout.0, ..now };
    server.backend.begin_turn(late.monotonic);
    server.timers.set(late.monotonic, Timer::Tick);
    server.run_timers(late);
    assert!(said(&mut client.0).starts_with("451 4.3.0 "));
}

/// A client that sends one command after the other.
struct Asker(TcpStream);

impl Asker {
    fn new(address: SocketAddr) -> Self {
        let mut asker = Self(TcpStream::connect(address).unwrap());
        said(&mut asker.0);
        asker
    }

    #[track_caller]
    fn ask(&mut self, text: &str, start: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
        let reply = said(&mut self.0);
        assert!(reply.starts_with(start), "{reply:?} to {:?}", &text[..text.len().min(60)]);
    }
}

#[test]
fn l13_an_event_that_is_not_true_is_looked_into_once_and_leaves_no_work_over() {
    let (_dir, mut server, id, _peer) = server_with_a_session(Buggy::Step);
    for _ in 0..100 {
        event(&mut server, id);
        assert!(server.pump_next_turn.is_empty() && server.connections.contains_key(&id));
    }
}

#[test]
fn r13_connections_that_a_turn_has_no_room_for_come_first_in_the_next() {
    let (_dir, mut server, id, _peer) = server_with_a_session(Buggy::Step);
    // Connections that have closed meanwhile cost a turn something too.
    let others = MAX_WORK_PER_TURN as u64;
    let mut ready: BTreeSet<ConnId> = (1..=others).map(|n| ConnId(id.0 + n)).collect();
    let (mut turns, mut pumped) = (0, 0);
    while !ready.is_empty() {
        let before = ready.len();
        let (last, now) = (server.last_pumped, server.clock.now());
        server.pump_ready(std::mem::take(&mut ready), now);
        ready = std::mem::take(&mut server.pump_next_turn);
        turns += 1;
        pumped += before - ready.len();
        assert!(before - ready.len() <= MAX_WORK_PER_TURN / 10, "{} in one turn", before - ready.len());
        assert!(server.last_pumped > last, "those that were left over come first");
    }
    assert!(turns > 10 && pumped == others as usize, "{turns} turns, {pumped}");
}
