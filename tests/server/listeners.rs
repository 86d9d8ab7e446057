//! Rights of clients at each listener, by kind and address of the client: passwords in clear text, trusted
//! networks, proxies, sockets in the file system, and the order of eviction when there is no room.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    os::unix::{fs::FileTypeExt, net::UnixStream},
};

use crate::common::{
    self, BEHIND_A_PROXY, PASSWORD, Server, Setup,
    client::{Client, socket},
    eventually, listener, listener_at, proxy_header,
    secure::{self, ALICE, BOTH, Keys, address, over},
};
use rustix::process::Signal;

/// `\0alice@example.test\0sesame`, as AUTH PLAIN has it.
const ALICE_PLAIN: &str = "AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWU=";
const FAR: &str = "203.0.113.5";

/// Listeners that this machine reaches as a proxy.
fn proxied(services: &[&str], more: &str) -> String {
    let more = format!("{BEHIND_A_PROXY}{more}");
    services.iter().map(|service| listener(service, &more)).collect()
}

/// The first octets of a proxy for a client at that address, in version 1 of its protocol.
fn version_1(client: &str) -> Vec<u8> {
    proxy_header(client).into_bytes()
}

fn version_2(client: Option<[u8; 4]>) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n";
    match client {
        Some(client) => {
            [&head[..], &[0x21, 0x11, 0, 12], &client, &[192, 0, 2, 25, 0x12, 0x67, 0, 25]].concat()
        }
        None => [&head[..], &[0x20, 0, 0, 0]].concat(),
    }
}

/// A client that a proxy hands over, before the banner.
fn through_proxy(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::connect(address);
    client.write(header);
    client
}

fn smtp_from(address: SocketAddr, client: &str) -> Client {
    let mut client = through_proxy(address, &version_1(client));
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client
}

fn stored(server: &Server) -> String {
    String::from_utf8(server.maildir(ALICE).only_message()).unwrap()
}

#[test]
fn t05_a_password_comes_under_tls_or_from_this_machine_or_where_the_operator_wants_it() {
    let keys = Keys::make();
    let server = keys.serve(&proxied(&["submission", "pop3"], ""));
    let (smtp, pop3) = (address(&server, "submission"), address(&server, "pop3"));

    let mut client = smtp_from(smtp, FAR);
    let said = client.ask("EHLO client.test", "250");
    assert!(said.contains("STARTTLS") && !said.contains("AUTH"), "{said}");
    client.ask(&format!("AUTH PLAIN {ALICE_PLAIN}"), "538 5.7.11");
    client.ask(&format!("MAIL FROM:<{ALICE}>"), "530 5.7.0 Must issue a STARTTLS");

    let mut client = through_proxy(pop3, &version_1(FAR));
    client.expect("+OK");
    for refused in [&format!("USER {ALICE}"), "PASS sesame", &format!("AUTH PLAIN {ALICE_PLAIN}")] {
        client.ask(refused, "-ERR [AUTH] Passwords are taken under TLS only");
    }
    client.ask("CAPA", "+OK");
    let capabilities = String::from_utf8(client.text()).unwrap();
    assert!(capabilities.contains("STLS"), "{capabilities}");
    assert!(!capabilities.contains("USER") && !capabilities.contains("SASL"), "{capabilities}");

    let here = smtp_from(smtp, "127.0.0.1").ask("EHLO client.test", "250");
    assert!(here.contains("AUTH PLAIN LOGIN"), "{here}");
    let mut client = through_proxy(pop3, &version_1("::1"));
    client.expect("+OK");
    client.ask(&format!("AUTH PLAIN {ALICE_PLAIN}"), "+OK 0 messages");
    drop(client);

    let open = keys.serve(&proxied(&["submission", "pop3"], "auth_allow_cleartext = true"));
    smtp_from(address(&open, "submission"), FAR).ask(&format!("AUTH PLAIN {ALICE_PLAIN}"), "235");
    let mut client = through_proxy(address(&open, "pop3"), &version_1(FAR));
    client.expect("+OK");
    client.ask(&format!("AUTH PLAIN {ALICE_PLAIN}"), "+OK 0 messages");
}

#[test]
fn submission_is_for_users_and_smtp_has_none() {
    let keys = Keys::make();
    let server = keys.serve(&["smtp", "submission", "submissions"].map(|name| listener(name, "")).concat());
    let mut smtp = Client::smtp(&server);
    smtp.ask(&format!("AUTH PLAIN {ALICE_PLAIN}"), "502 5.5.1");
    assert!(smtp.deliver(&[ALICE], b"Subject: from far\r\n\r\n").starts_with("250"));

    let mut plain = Client::smtp_at(address(&server, "submission"));
    let config = keys.trusted(BOTH);
    let mut secure = Client::over(over(socket(address(&server, "submissions")), &config));
    secure.expect("220");
    secure.ask("EHLO client.test", "250");
    for client in [&mut plain, &mut secure] {
        client.ask(&format!("MAIL FROM:<{ALICE}>"), "530 5.7.0 Authentication required");
        client.ask(&format!("AUTH PLAIN {ALICE_PLAIN}"), "235 2.7.0");
        client.ask("MAIL FROM:<bob@example.test>", "550 5.7.1 Not an address that you may send from");
        client.ask(&format!("MAIL FROM:<{ALICE}>"), "250");
        client.ask("RCPT TO:<somebody@far.test>", "550 5.7.1 This server delivers to its own users only");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.ask("DATA", "354");
        client.write(b"Subject: submitted\r\n\r\n.\r\n");
        client.expect("250 2.0.0");
    }
    let read = |file| String::from_utf8(std::fs::read(file).unwrap()).unwrap();
    let messages: Vec<String> = server.maildir(ALICE).files("new").into_iter().map(read).collect();
    for protocol in [" with ESMTP id", " with ESMTPA id", " with ESMTPSA id"] {
        assert_eq!(messages.iter().filter(|message| message.contains(protocol)).count(), 1, "{protocol}");
    }
}

#[test]
fn a_trusted_network_sends_to_local_users_without_a_login() {
    let keys = Keys::make();
    let server =
        keys.serve(&proxied(&["submission"], "trusted_networks = [\"192.168.0.0/16\", \"2001:db8::/32\"]"));
    let submission = address(&server, "submission");
    let mut scanner = smtp_from(submission, "192.168.7.9");
    scanner.ask("MAIL FROM:<scanner@here.invalid>", "250");
    scanner.ask("RCPT TO:<somebody@far.test>", "550 5.7.1 This server delivers to its own users only");
    scanner.ask("RSET", "250");
    assert!(scanner.deliver(&[ALICE], b"Subject: scanned\r\n\r\n").starts_with("250"));
    assert!(stored(&server).contains("from client.test ([192.168.7.9])"));
    smtp_from(submission, "2001:db8::7").ask("MAIL FROM:<scanner@here.invalid>", "250");
    for stranger in ["192.169.0.1", "2001:db9::7", FAR] {
        smtp_from(submission, stranger).ask("MAIL FROM:<scanner@here.invalid>", "530 5.7.0");
    }
}

#[test]
fn the_client_behind_a_proxy_is_known_by_its_own_address() {
    let keys = Keys::make();
    let server = keys.serve(&proxied(&["smtp"], ""));
    let header = version_1("::ffff:203.0.113.5");
    for cut in 0..header.len() {
        let mut stream = socket(server.smtp());
        stream.write_all(&header[..cut]).unwrap();
        stream.write_all(&header[cut..]).unwrap();
        Client::over(stream).expect("220");
    }
    let mut client = through_proxy(server.smtp(), &version_2(Some([203, 0, 113, 5])));
    client.expect("220");
    client.ask("EHLO client.test", "250");
    assert!(client.deliver(&[ALICE], b"Subject: handed over\r\n\r\n").starts_with("250"));
    assert!(stored(&server).contains("from client.test ([203.0.113.5])"));
    server.tells("connected peer=203.0.113.5:4711");
    // The proxy looks whether we are there.
    through_proxy(server.smtp(), &version_2(None)).expect("220");
}

#[test]
fn w10_a_header_with_the_certificate_of_the_client_is_read_and_one_too_long_is_named() {
    let keys = Keys::make();
    let server = keys.serve(&proxied(&["smtp"], ""));
    let with_certificate = |octets: u16| {
        let mut header = version_2(Some([203, 0, 113, 5]));
        header[14..16].copy_from_slice(&(12 + 3 + octets).to_be_bytes());
        [&header[..], &[0x20], &octets.to_be_bytes(), &vec![0x30; octets.into()]].concat()
    };
    for octets in [2100, 4096, 12_000] {
        let mut client = through_proxy(server.smtp(), &[&with_certificate(octets)[..], b""].concat());
        client.expect("220");
        client.ask("EHLO client.test", "250");
    }
    let mut client = Client::connect(server.smtp());
    client.try_write(&with_certificate(20_000));
    client.rest();
    server.tells("reason=\"PROXY header too long: at most 16384 octets\"");
}

#[test]
fn tls_may_begin_in_the_segment_of_the_header() {
    let keys = Keys::make();
    let server = keys.serve(&proxied(&["submissions", "pop3s"], ""));
    for (service, banner) in [("submissions", "220"), ("pop3s", "+OK")] {
        let mut session = secure::session(&keys.trusted(BOTH));
        let mut stream = socket(address(&server, service));
        stream
            .write_all(&[version_2(Some([203, 0, 113, 5])), secure::flight(&mut session)].concat())
            .unwrap();
        let mut client = Client::over(rustls::StreamOwned::new(session, stream));
        client.expect(banner);
    }
}

#[test]
fn t21_a_header_is_required_of_proxies_and_taken_from_nobody_else() {
    let keys = Keys::make();
    let limits = "[limits]\nconnections.proxy_timeout = \"1s\"\n";
    let server = keys.serve(&(limits.to_owned() + &proxied(&["smtp"], "")));
    for wrong in [&b"EHLO client.test\r\n"[..], b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 203.0", b""] {
        let mut stream = socket(server.smtp());
        stream.write_all(wrong).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // closing on unread octets is a reset
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
    eventually("all four are told", || {
        (server.log().matches("proxy failed peer=127.0.0.1:").count() == 4).then_some(())
    });
    assert!(server.log().contains("reason=\"too slow\""));

    // A second header is an SMTP command, and an unknown one.
    let mut client = through_proxy(server.smtp(), &[version_1(FAR), version_1("127.0.0.1")].concat());
    client.expect("220");
    client.expect("500 5.5.2");
    client.ask("EHLO client.test", "250");

    let other = keys.serve(&listener("smtp", "proxy_networks = [\"10.0.0.5/32\"]"));
    let mut client = Client::connect(other.smtp());
    client.write(&version_1(FAR));
    assert!(client.rest().is_empty());
    eventually("the stranger is told", || other.log().contains("reason=\"not a proxy\"").then_some(()));
}

#[test]
fn l06_the_connections_of_a_client_are_counted_behind_its_proxy() {
    let keys = Keys::make();
    let limits = "[limits]\nconnections.max_per_address = 2\n";
    let server = keys.serve(&(limits.to_owned() + &proxied(&["smtp"], "")));
    let first = smtp_from(server.smtp(), FAR);
    let _second = smtp_from(server.smtp(), FAR);
    through_proxy(server.smtp(), &version_1(FAR)).expect("421 4.3.2");
    let _other = smtp_from(server.smtp(), "203.0.113.6");
    drop(first);
    eventually("there is room again", || {
        let mut client = through_proxy(server.smtp(), &version_1(FAR));
        client.reply().starts_with("220").then_some(())
    });
    // A client with one address of IPv6 has the /64 around it.
    let _third = smtp_from(server.smtp(), "2001:db8:0:7::1");
    let _fourth = smtp_from(server.smtp(), "2001:db8:0:7:ffff::2");
    through_proxy(server.smtp(), &version_1("2001:db8:0:7::3")).expect("421 4.3.2");
    let _neighbour = smtp_from(server.smtp(), "2001:db8:0:8::1");
}

#[test]
fn y132_a_user_has_so_many_imap_sessions_from_one_address() {
    let keys = Keys::make();
    let limits = "[limits]\nconnections.max_per_address = 2\nimap.max_connections_per_user = 3\n";
    let server = keys.serve(&(limits.to_owned() + &proxied(&["imap"], "auth_allow_cleartext = true\n")));
    let begin = |from: &str| {
        let mut client = through_proxy(address(&server, "imap"), &version_1(from));
        client.expect("* OK");
        client
    };
    let login = format!("a LOGIN {ALICE} {PASSWORD}");
    let logged_in = |_| {
        let mut client = begin(FAR);
        client.ask(&login, "a OK");
        client
    };
    let mut sessions: Vec<Client> = (0..3).map(logged_in).collect();
    let mut fourth = begin(FAR);
    fourth.ask(&login, "a NO [LIMIT]");
    begin("203.0.113.6").ask(&login, "a OK");
    sessions.pop();
    eventually("there is room again", || fourth.ask(&login, "a ").starts_with("a OK").then_some(()));
    // Sessions without a login are counted by their address.
    let _waiting = [begin(FAR), begin(FAR)];
    through_proxy(address(&server, "imap"), &version_1(FAR)).expect("* BYE [UNAVAILABLE]");
}

#[test]
fn lmtp_has_a_reply_for_every_recipient_at_an_address_and_at_a_file() {
    let home = common::home();
    let path = home.path().join("lmtp.sock");
    let file = listener_at("lmtp", &format!("unix:{}", path.display()), "");
    let config = file + &listener("lmtp", "");
    let users = &[ALICE, "bob@example.test"];
    let mut server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let deliver = |mut client: Client, to: &[&str]| {
        client.expect("220 mx.example.test LMTP");
        client.ask("EHLO client.test", "502");
        client.ask("LHLO client.test", "250");
        client.ask("MAIL FROM:<ann@far.test>", "250");
        to.iter().for_each(|to| drop(client.ask(&format!("RCPT TO:<{to}>"), "250")));
        client.ask("RCPT TO:<nobody@example.test>", "550 5.1.1");
        client.ask("DATA", "354");
        client.write(b"Subject: relayed\r\n\r\n.\r\n");
        for to in to {
            let reply = client.expect("250 2.0.0");
            assert!(reply.contains(to), "{reply}");
        }
        client.ask("QUIT", "221");
    };
    let through_file = || Client::over(UnixStream::connect(&path).unwrap());
    deliver(through_file(), users);
    deliver(Client::connect(address(&server, "lmtp")), users);
    assert_eq!(users.map(|user| server.maildir(user).files("new").len()), [2, 2]);
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());

    // A server that was killed leaves the file, and the next one takes its place; one that ends removes it.
    server.restart();
    deliver(through_file(), &users[..1]);
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert!(!path.exists());
}

#[test]
fn l07_when_there_is_no_room_the_stranger_with_the_least_progress_goes() {
    let limits = "[limits]\nconnections.max = 4\n";
    let config = limits.to_owned() + &listener("smtp", "") + &listener("pop3", "");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut reader = Client::pop3(&server, ALICE);
    let mut sender = Client::smtp(&server);
    sender.begin_data("ann@far.test", &[ALICE]);
    let mut idle = Client::smtp(&server);
    let mut stranger = Client::connect(server.pop3());
    stranger.expect("+OK");

    // A new client is not evicted before a moment has passed.
    let enter = || {
        eventually("there is room for one more", || {
            let mut client = Client::connect(server.smtp());
            client.reply().starts_with("220").then_some(client)
        })
    };
    let mut fifth = enter();
    assert!(String::from_utf8(stranger.rest()).unwrap().starts_with("-ERR [SYS/TEMP] Too many connections"));
    fifth.ask("EHLO client.test", "250");
    let mut sixth = enter();
    assert!(String::from_utf8(idle.rest()).unwrap().starts_with("421 4.3.2 Too many connections"));
    sixth.ask("EHLO client.test", "250");

    for client in [&mut fifth, &mut sixth] {
        client.ask("MAIL FROM:<ann@far.test>", "250");
    }
    reader.ask("STAT", "+OK 0 0");
    sender.write(b"Subject: in time\r\n\r\n.\r\n");
    sender.expect("250 2.0.0");
    for client in [&mut fifth, &mut sixth] {
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.ask("DATA", "354");
    }
    sender.begin_data("ann@far.test", &[ALICE]);
    // Among clients at DATA the one that has waited for longest is evicted, and a logged-in user never.
    let mut late = enter();
    assert!(String::from_utf8(fifth.rest()).unwrap().starts_with("421 4.3.2 Too many connections"));
    late.ask("NOOP", "250");
    reader.ask("STAT", "+OK");
}

#[test]
fn a_pedantic_listener_names_the_rule_and_the_one_beside_it_does_not() {
    let listeners = ["strict = true", ""].map(|more| listener("smtp", more) + &listener("pop3", more));
    let users = &[ALICE];
    let server = Setup { config: Some(&listeners.concat()), users, ..Setup::default() }.start();
    let dev = Setup { arguments: &["--strict"], ..Setup::default() }.start();
    let said = |address: SocketAddr, lines: &[&str]| {
        let mut client = Client::connect(address);
        client.reply();
        lines.iter().fold(String::new(), |_, line| client.send(line).reply())
    };
    let mail = |address| said(address, &["EHLO client.test", "MAIL FROM: <a@far.test>"]);
    let stat = |address| said(address, &["STAT"]);
    let (smtp, pop3) = (server.addresses("smtp"), server.addresses("pop3"));
    for address in [smtp[0], dev.smtp()] {
        assert_eq!(mail(address), "501 5.5.4 RFC 5321 4.1.2: no space after FROM:\r\n");
    }
    for address in [pop3[0], dev.pop3()] {
        assert_eq!(stat(address), "-ERR RFC 1939 4: Log in first (USER, PASS)\r\n");
    }
    assert_eq!(mail(smtp[1]), "250 2.1.0 Sender ok\r\n");
    assert_eq!(stat(pop3[1]), "-ERR Log in first (USER, PASS)\r\n");
}
