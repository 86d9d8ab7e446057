//! The client receives arbitrary octets: every call returns, and a reply contains only text that the
//! server sent.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use restante::{client::{ServerAddr, ConnectOptions, Security, Tls, ClientError, Trust, pop3::Pop3, smtp::{MessageRequirements, Reply, Smtp}, display}, language::Language, proto::request::Secret};

use super::owned;
use crate::{
    Target,
    bytes::{Bytes, is_harmful},
    dialogues,
};

/// This target.
pub const TARGET: Target = Target { name: "client", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = owned([
        &b"\x00220 mx.test ESMTP\r\n250-mx.test\r\n250-SIZE 1000\r\n250-AUTH=LOGIN PLAIN\r\n250 SMTPUTF8\r\n\
           235 2.7.0 ok\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 2.0.0 queued\r\n221 bye\r\n"[..],
        b"\x00220 old\r\n502 what\r\n250 hello\r\n250 ok\r\n550-5.1.1 no\r\n550 such user\r\n",
        b"\x01+OK hi\r\n+OK\r\nUSER\r\nUIDL\r\nLANG\r\nIMPLEMENTATION x\r\n.\r\n+OK\r\n+OK\r\n-ERR\r\n+OK 1\r\n1 120\r\n\
          .\r\n+OK\r\n1 uid-1\r\n.\r\n+OK\r\nSubject: x\r\n\r\n..dot\r\n.\r\n+OK bye\r\n",
        b"\x01+OK hi\r\n-ERR\r\n+OK\r\n+OK\r\n-ERR\r\n+OK\r\n1 120\r\n.\r\n-ERR\r\n-ERR\r\n+OK\r\nSubject: x\r\n\r\n\
          a text that is longer than one that comes in one piece, and cut",
        b"\x01-ERR [IN-USE] try later\r\n",
        b"\x01+OK\r\n+OK\r\nSASL PLAIN\r\n.\r\n+ \r\n+OK\r\n-ERR\r\n+OK\r\n1 x\r\n.\r\n",
    ]);
    // Replies of servers, from the lines `S: …` of our own dialogues.
    for (protocol, directory) in [(0, "smtp"), (1, "pop3")] {
        seeds.extend(dialogues::all(directory).iter().map(|dialogue| {
            let said = dialogue.source.lines().filter_map(|line| line.strip_prefix("S: "));
            let mut seed = vec![protocol];
            said.for_each(|line| seed.extend(format!("{line}\r\n").bytes()));
            seed
        }));
    }
    seeds
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let pop3 = input.octet() % 2 == 1;
    LISTENER.with(|server| {
        server.say.send(input.0.to_vec()).expect("the thread of the server");
        let done = if pop3 { retrieve(server, input.0) } else { send(server, input.0) };
        match done {
            Err(ClientError::Unreachable(_, error)) => panic!("no way to loopback: {error}"),
            Err(error) => {
                assert!(!display::printable_line(&error.describe(Language::English)).chars().any(is_harmful))
            }
            Ok(()) => {}
        }
        server.said.recv().expect("the thread of the server");
    });
}

fn send(server: &Server, said: &[u8]) -> Result<(), ClientError> {
    let mut smtp = Smtp::open(&server.route, Some("client.test"), None)?;
    let message = b"Subject: x\n\n.\ntext";
    let login = smtp.log_in("bob", &Secret::new("secret"));
    login.iter().for_each(|reply| is_reply(reply, said));
    let mail = smtp.mail("a@far.test", &MessageRequirements::for_message(message, ["u@here.test"]))?;
    is_reply(&mail, said);
    is_reply(&smtp.recipient("u@here.test")?, said);
    is_reply(&smtp.data(message)?, said);
    smtp.quit();
    Ok(())
}

/// A reply has a code of the RFC, and no text that the server did not send.
fn is_reply(reply: &Reply, said: &[u8]) {
    assert!((200..600).contains(&reply.code) && !reply.lines.is_empty());
    let code = reply.code.to_string();
    assert!(said.windows(3).any(|octets| octets == code.as_bytes()), "{code} was never said");
    assert_eq!(reply.is_done(), code.starts_with('2'));
    if let Some(enhanced) = reply.enhanced {
        assert!([2, 4, 5].contains(&enhanced.0));
    }
    // An octet that is not UTF-8 becomes a replacement character of three octets.
    let text: usize = reply.lines.iter().map(String::len).sum();
    assert!(text <= 3 * said.len() && !reply.lines.iter().any(|line| line.contains('\n')));
}

fn retrieve(server: &Server, said: &[u8]) -> Result<(), ClientError> {
    let mut pop3 = Pop3::open(&server.route, None)?;
    pop3.set_language("fr")?;
    pop3.log_in("bob", &Secret::new("secret"))?;
    let listed = pop3.list()?;
    let ids = pop3.unique_ids()?;
    assert!(listed.len() + ids.len() <= said.len());
    assert!(ids.iter().all(|(_, id)| !id.is_empty() && !id.contains(char::is_whitespace)));
    for text in [pop3.top(1, 0)?.unwrap_or_default(), pop3.retrieve(1)?] {
        assert!(text.len() <= said.len());
        assert!(matches!(text.last(), None | Some(b'\n')), "half a line is the end of a message");
    }
    pop3.delete(1)?;
    pop3.quit()
}

/// Answers one connection after another, each with the given octets, whatever the client sends.
struct Server {
    route: ConnectOptions,
    say: Sender<Vec<u8>>,
    /// Gets one value at the end of each connection.
    said: Receiver<()>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let (say, to_say) = channel::<Vec<u8>>();
        let (over, said) = channel();
        thread::spawn(move || {
            for octets in to_say {
                let (mut stream, _) = listener.accept().expect("a client");
                // The client may have closed the connection already.
                let _ = stream.write_all(&octets).and_then(|()| stream.shutdown(Shutdown::Write));
                let _ = stream.read_to_end(&mut Vec::new());
                over.send(()).expect("the thread of the client");
            }
        });
        let tls = Tls::new(&Trust::AnyCertificate).expect("what TLS begins with");
        let place = ServerAddr { host: Ipv4Addr::LOCALHOST.to_string(), port };
        let timeout = Duration::from_secs(5);
        let route = ConnectOptions { server: place, security: Security::None, tls, timeout, on_silence: None };
        Self { route, say, said }
    }
}

thread_local! {
    static LISTENER: Server = Server::start();
}
