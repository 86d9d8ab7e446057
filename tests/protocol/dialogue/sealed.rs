//! The same over TLS: a dialogue that needs no clock is played through a real socket and a real connection,
//! with a certificate. Replies and requests must be the same as without.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use restante::{
    connection::{self, Connection},
    limits::Limits,
    logging::PeerInfo,
    net::{
        certificate::CertificatePair,
        socket::Stream,
        tls::TlsConfig,
        transport::{Security, Transport},
    },
    proto::request::{AccountDirectory, ConnId, Failure, Request, Response},
    transcript::Transcripts,
};
use rustls::{ClientConfig, ClientConnection};

use super::{
    file::{Act, Dialogue, Problem, What},
    play::{BEGIN, now},
    text,
    way::Way,
    world::World,
};
use crate::common::{
    PATIENCE,
    secure::{BOTH, Keys, session},
};

/// A certificate, and a client that trusts it.
pub(crate) struct Seal {
    tls: Rc<TlsConfig>,
    config: Arc<ClientConfig>,
}

impl Seal {
    pub(crate) fn new() -> Self {
        let keys = Keys::make();
        let pair = CertificatePair { certificate: keys.certificate(), key: keys.key() };
        let tls = TlsConfig::start(pair, Duration::from_secs(3600)).unwrap();
        Self { tls: Rc::new(tls), config: keys.trusted(BOTH) }
    }
}

/// Whether TLS from the start changes nothing in this dialogue: it does not mention TLS, takes no time, has
/// only routine requests, and does not depend on how its octets are split.
pub(crate) fn is_timeless(dialogue: &Dialogue) -> bool {
    let directive = |key: &str| dialogue.head.iter().any(|line| line.starts_with(&format!("= {key} ")));
    let of_interest = |text: &str| {
        ["? deliver ", "? verify", "? open ", "? update ", "? api "].iter().any(|ask| text.starts_with(ask))
    };
    let timeless = |what: &What| match what {
        What::Session(text) => text.starts_with("S:") || text == ". close" || of_interest(text),
        What::Act(act) => *act == Act::Idle,
        What::Client(octets) => !octets.to_ascii_uppercase().starts_with(b"STLS"),
        What::Answer(_) => true,
        What::Folder(_) => false,
    };
    dialogue.ways == Way::ALL
        && !["tls", "auth", "logged_in"].into_iter().any(directive)
        && !dialogue.head.iter().any(|line| line == "= login under_tls")
        && dialogue.items.iter().all(|item| timeless(&item.what))
}

/// Plays a dialogue, and finds the first difference.
pub(crate) fn check(dialogue: &Dialogue, seal: &Seal) -> Result<(), Problem> {
    play(dialogue, Player::new(dialogue, seal, None)?)
}

/// The same, and has it written down.
pub(crate) fn record(dialogue: &Dialogue, seal: &Seal, transcripts: &Transcripts) -> Result<(), Problem> {
    play(dialogue, Player::new(dialogue, seal, Some(transcripts))?)
}

fn play(dialogue: &Dialogue, mut player: Player) -> Result<(), Problem> {
    for item in &dialogue.items {
        let fail = |what: String| Problem { line: item.line, what };
        match &item.what {
            What::Client(octets) => {
                player.client.writer().write_all(octets).map_err(|e| fail(e.to_string()))?
            }
            What::Session(expected) if expected.starts_with("S:") => {
                let line = player.line().map_err(fail)?;
                if *expected != line {
                    return Err(fail(format!("expected  {expected}\n    got       {line}")));
                }
            }
            What::Session(expected) if expected == ". close" => player.close().map_err(fail)?,
            What::Session(_) | What::Answer(_) | What::Act(_) | What::Folder(_) => {}
        }
    }
    let Script { wrong, mentioned, .. } = player.script;
    let missing =
        mentioned.into_iter().next().map(|(line, expected, _)| (line, format!("never came: {expected}")));
    wrong.or(missing).map_or(Ok(()), |(line, what)| Err(Problem { line, what }))
}

/// The world of a dialogue, with the requests that it mentions and their responses.
struct Script {
    world: World,
    mentioned: VecDeque<(usize, String, String)>,
    /// The first request that differs, and the line in which it should stand.
    wrong: Option<(usize, String)>,
}

impl Script {
    fn new(dialogue: &Dialogue) -> Self {
        let mut mentioned = VecDeque::new();
        let mut question = None;
        for item in &dialogue.items {
            match &item.what {
                What::Session(text) if text.starts_with("? ") => question = Some((item.line, text.clone())),
                What::Answer(answer) => {
                    mentioned.extend(question.take().map(|(line, text)| (line, text, answer.clone())));
                }
                _ => {}
            }
        }
        Self { world: dialogue.world.clone(), mentioned, wrong: None }
    }

    fn answer(&mut self, ask: &Request) -> Result<Response, (usize, String)> {
        let kind = |text: &str| text[2..].split([' ', '+']).next().map(str::to_owned);
        let plain = text::format_request(ask, b"", false);
        let next = self.mentioned.front().filter(|(_, text, _)| kind(text) == kind(&plain));
        let detail = next.is_some_and(|(_, text, _)| text.starts_with("? verify+"));
        let said = self.world.hear(ask, detail);
        let Some((line, expected, answer)) = next.cloned() else {
            return self.world.routine(ask).ok_or((1, format!("not mentioned: {said}")));
        };
        self.mentioned.pop_front();
        if text::agree(&expected, &said) {
            self.world.answer(&answer).map_err(|what| (line, what))
        } else {
            Err((line, format!("expected  {expected}\n    got       {said}")))
        }
    }
}

impl connection::RequestHandler for Script {
    fn directory(&self) -> &dyn AccountDirectory {
        &self.world
    }

    fn handle(&mut self, _: (ConnId, IpAddr), ask: Request) -> Option<Response> {
        let answer = self.answer(&ask);
        Some(answer.unwrap_or_else(|wrong| {
            self.wrong.get_or_insert(wrong);
            Response::Failed(Failure::TempFail)
        }))
    }
}

/// Both ends of a connection.
struct Player {
    script: Script,
    conn: Connection,
    client: ClientConnection,
    socket: TcpStream,
    /// Octets that the client has read and not compared yet.
    heard: Vec<u8>,
    closed: bool,
}

impl Player {
    fn new(dialogue: &Dialogue, seal: &Seal, transcripts: Option<&Transcripts>) -> Result<Self, Problem> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream = Stream::Tcp(mio::net::TcpStream::from_std(stream));
        let transport = Transport::new(stream, Security::Implicit(Rc::clone(&seal.tls)));
        let script = Script::new(dialogue);
        let protocol = script.world.session().map_err(|what| Problem { line: 1, what })?;
        let caller = PeerInfo { id: ConnId(1), service: "smtp", peer: [127, 0, 0, 1].into() };
        let mut conn = Connection::new(caller, transport, protocol, now(BEGIN));
        if let Some(transcripts) = transcripts {
            let record = script.world.record(transcripts, ConnId(1), now(BEGIN));
            conn.set_transcript(record.map_err(|what| Problem { line: 1, what })?);
        }
        Ok(Self { script, conn, client: session(&seal.config), socket, heard: Vec::new(), closed: false })
    }

    /// One turn of both ends.
    fn turn(&mut self) -> Result<(), String> {
        while self.client.wants_write() && !self.closed {
            self.client.write_tls(&mut self.socket).map_err(|e| e.to_string())?;
        }
        self.conn.set_readiness(true, true, true);
        self.conn.pump(&mut self.script, now(BEGIN), &Limits::default(), &mut [0; 4096]);
        match self.client.read_tls(&mut self.socket) {
            Ok(0) => self.closed = true,
            Ok(_) => {
                self.client.process_new_packets().map_err(|e| e.to_string())?;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.to_string()),
        }
        match self.client.reader().read_to_end(&mut self.heard) {
            Ok(_) => self.closed = true,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.to_string()),
        }
        Ok(())
    }

    /// The next line, as a dialogue writes it.
    fn line(&mut self) -> Result<String, String> {
        let start = Instant::now();
        loop {
            if let Some(end) = memchr::memmem::find(&self.heard, b"\r\n") {
                let line = text::escaped(&self.heard[..end]);
                self.heard.drain(..end + 2);
                return Ok(format!("S: {line}").trim_end().into());
            }
            if self.closed || start.elapsed() > PATIENCE {
                return Err(format!("nothing more; {:?}", self.script.wrong));
            }
            self.turn()?;
        }
    }

    /// Waits for close_notify, before which nothing may come.
    fn close(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while !self.closed {
            if start.elapsed() > PATIENCE {
                return Err("still open".into());
            }
            self.turn()?;
        }
        if self.heard.is_empty() { Ok(()) } else { Err(format!("got  {}", text::escaped(&self.heard))) }
    }
}
