//! Mail as it comes in, over real sockets: the Maildir has the octets that the client sent, and refused
//! mail does not get there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::common::{
    PATIENCE, STRICT, Server, Setup,
    client::{Client, deliver, socket, stuffed, with_crlf, with_lf, without_trace},
    eventually,
};

const ALICE: &str = "alice@example.test";

/// A message whose body is `body`.
fn message(body: &[u8]) -> Vec<u8> {
    [b"Subject: body\r\n\r\n", body].concat()
}

/// About that many octets in the form of attachments; now and then a line begins with a dot.
fn attachment(octets: usize) -> Vec<u8> {
    let mut seed = 1_u32;
    let mut body = Vec::with_capacity(octets + 80);
    while body.len() < octets {
        for column in 0..76 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            body.push(if column == 0 && seed >> 29 == 0 { b'.' } else { b'0' + (seed >> 26) as u8 });
        }
        body.extend_from_slice(b"\r\n");
    }
    message(&body)
}

/// Sends messages to one mailbox in one session, and reads them back from the disk and over POP3.
#[track_caller]
fn assert_unharmed(server: &Server, messages: &[Vec<u8>]) {
    let mut client = Client::smtp(server);
    for message in messages {
        let reply = client.deliver(&[ALICE], message);
        assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    }
    let mut pop3 = Client::pop3(server, ALICE);
    let sizes = pop3.listing("LIST");
    assert_eq!(sizes.len(), messages.len());
    let mut stored: BTreeSet<Vec<u8>> =
        server.maildir(ALICE).files("new").iter().map(|file| fs::read(file).unwrap()).collect();
    for (i, message) in messages.iter().enumerate() {
        let received = pop3.retr(i + 1);
        assert_eq!(sizes[i], received.len().to_string());
        assert!(without_trace(&received) == message, "message {} came back changed", i + 1);
        let file = with_lf(&received);
        assert!(without_trace(&file) == with_lf(message), "message {} has other lines", i + 1);
        assert!(stored.remove(&file), "message {} is stored in another form", i + 1);
    }
}

#[test]
fn an_attachment_of_20_mb_comes_back_octet_for_octet() {
    assert_unharmed(&Server::dev(), &[attachment(20_000_000)]);
}

#[test]
fn c03_d07_small_and_strange_bodies_come_back_octet_for_octet() {
    let dots = message(b".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n");
    let long = message(&[&[b'x'; 998][..], b"\r\n.", &[b'y'; 997], b"\r\n"].concat());
    let endless = message(&[&[b'z'; 1_000_000][..], b"\r\n.\r\n"].concat());
    let all: Vec<u8> = (0..=255).filter(|b| !b"\r\n".contains(b)).collect();
    let octets = message(&[&all[..], b"\r\n\0\r\n", &all, b"\r\n"].concat());
    let latin = message("D\u{e9}j\u{e0} vu \u{1f4ee}\r\n".as_bytes());
    let messages = [message(b""), message(b"one line\r\n"), dots, long, endless, octets, latin];
    assert_unharmed(&Server::dev(), &messages);
    assert_unharmed(&Server::strict(), &messages);
}

#[test]
fn d04_d05_d06_what_harms_those_who_parse_mail_is_stored_as_it_is() {
    let header = b"X: ".iter().copied().chain(b"folded and folded\r\n\t".repeat(500_000));
    let headers = b"Cc: \"a\" <a@b.test>\r\n".repeat(500_000);
    let endless = header.chain(*b"end\r\n").collect();
    let parts: Vec<u8> = (0..10_000)
        .flat_map(|n| {
            let inner = format!("--{n}\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n", n + 1);
            inner.into_bytes()
        })
        .collect();
    let nested = [b"Content-Type: multipart/mixed; boundary=0\r\n\r\n".as_slice(), &parts].concat();
    let cyclic = b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n----\r\n--\r\n".to_vec();
    assert_unharmed(&Server::strict(), &[headers, endless, nested, cyclic]);
}

#[test]
fn a_message_of_no_octets_is_stored_as_its_trace_alone() {
    let server = Server::strict();
    deliver(&server, ALICE, b"");
    let stored = server.maildir(ALICE).only_message();
    assert_eq!(without_trace(&stored), b"");
    assert_eq!(Client::pop3(&server, ALICE).retr(1), with_crlf(&stored));
}

#[test]
fn s14_line_ends_at_the_edge_of_any_buffer_are_line_ends() {
    let body_of_lines = |length: usize| [&vec![b'x'; length][..], b"\r\n"].concat().repeat(3);
    let edges = (8..=16).map(|power| 1_usize << power);
    let lengths = edges.flat_map(|edge| edge - 4..=edge + 2);
    let messages: Vec<_> = lengths.map(|length| message(&body_of_lines(length))).collect();
    assert_unharmed(&Server::strict(), &messages);
}

#[test]
fn s13_the_end_is_found_octet_by_octet_and_in_all_its_splits() {
    let server = Server::strict();
    let text = message(b"..\r\n\r\nx\r\n");
    let wire = stuffed(&text);
    let (start, end) = wire.split_at(wire.len() - b"\r\n.\r\n".len());
    let mut client = Client::smtp(&server);
    for splits in 0..16_u8 {
        client.ask(&format!("MAIL FROM:<a@far.test>\r\nRCPT TO:<{ALICE}>"), "250 2.1.0");
        client.expect("250 2.1.5");
        client.ask("DATA", "354");
        client.write(start);
        let cuts: Vec<usize> = (1..5).filter(|cut| splits & (1 << (cut - 1)) != 0).collect();
        let mut from = 0;
        for cut in cuts.into_iter().chain([5]) {
            client.write(&end[from..cut]);
            from = cut;
        }
        client.expect("250 2.0.0");
    }
    client.begin_data("a@far.test", &[ALICE]);
    wire.iter().for_each(|octet| client.write(&[*octet]));
    client.expect("250 2.0.0");
    let files = server.maildir(ALICE).files("new");
    assert_eq!(files.len(), 17);
    for file in files {
        assert_eq!(without_trace(&fs::read(file).unwrap()), with_lf(&text));
    }
}

#[test]
fn m27_the_stored_file_says_in_its_name_what_it_is() {
    let server = Server::strict();
    deliver(&server, "Alice@Example.TEST", &message(b"text\r\n"));
    let files = server.maildir(ALICE).files("new");
    let [file] = &files[..] else { panic!("{files:?}") };
    let (content, about) = (fs::read(file).unwrap(), fs::metadata(file).unwrap());
    assert_eq!(about.mode() & 0o7777, 0o600);
    assert!(!content.contains(&b'\r'));
    let name = file.file_name().unwrap().to_str().unwrap();
    let (identity, sizes) = name.split_once(',').unwrap();
    assert_eq!(sizes, format!("S={},W={}", content.len(), with_crlf(&content).len()));
    let [secs, middle, host] = identity.splitn(3, '.').collect::<Vec<_>>()[..] else { panic!("{name}") };
    assert_eq!(host, "mx.example.test");
    assert!(secs.parse::<u64>().unwrap() > 1_700_000_000, "{name}");
    let (micros, rest) = middle.strip_prefix('M').unwrap().split_once('P').unwrap();
    assert!(micros.parse::<u32>().unwrap() < 1_000_000, "{name}");
    let (pid, rest) = rest.split_once('Q').unwrap();
    assert_eq!(pid, server.pid().to_string());
    let (seq, rest) = rest.split_once('R').unwrap();
    assert!(seq.parse::<u64>().is_ok(), "{name}");
    let hex = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(rest.split_once('C').is_some_and(|(random, crc)| hex(random, 16) && hex(crc, 8)), "{name}");
}

#[test]
fn the_trace_names_the_sender_and_no_recipient_but_the_only_one() {
    let server = Server::dev();
    deliver(&server, "one@example.test", &message(b""));
    let alone = String::from_utf8(server.maildir("one@example.test").only_message()).unwrap();
    assert!(alone.starts_with("Return-Path: <sender@far.test>\n"), "{alone}");
    assert!(alone.contains("\nDelivered-To: one@example.test\n"), "{alone}");
    assert!(alone.contains("\nReceived: from client.test"), "{alone}");

    Client::smtp(&server).deliver(&["two@example.test", "three@example.test"], &message(b""));
    let shared = String::from_utf8(server.maildir("two@example.test").only_message()).unwrap();
    assert!(!shared.contains("two@") && !shared.contains("three@"), "{shared}");

    let mut client = Client::smtp(&server);
    client.begin_data("", &["bounced@example.test"]);
    client.write(b".\r\n");
    client.expect("250 2.0.0");
    assert!(server.maildir("bounced@example.test").only_message().starts_with(b"Return-Path: <>\n"));
}

#[test]
fn a19_a_message_to_100_recipients_is_one_file_with_100_links() {
    let server = Server::dev();
    let users: Vec<String> = (0..100).map(|i| format!("user{i}@example.test")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    // The same mailbox again, and again in other letters, is not another recipient.
    let to = [&names[..], &["user0@example.test", "USER7@Example.Test"]].concat();
    // A hundred new mailboxes are five hundred directories on the disk.
    let stream = socket(server.smtp());
    stream.set_read_timeout(Some(10 * PATIENCE)).unwrap();
    let mut client = Client::over(stream);
    client.expect("220");
    client.ask("EHLO client.test", "250");
    let reply = client.deliver(&to, &message(b"to all\r\n"));
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    let mut inodes = BTreeSet::new();
    for user in names {
        let files = server.maildir(user).files("new");
        assert_eq!(files.len(), 1, "{user}");
        let about = fs::metadata(&files[0]).unwrap();
        assert_eq!(about.nlink(), 100);
        inodes.insert(about.ino());
        assert!(server.maildir(user).files("tmp").is_empty());
    }
    assert_eq!(inodes.len(), 1);
}

#[test]
fn d08_a_client_that_leaves_in_the_midst_of_data_delivers_nothing() {
    let server = Server::dev();
    let large = attachment(3_000_000);
    let almost = [&large[..], b".\r"].concat();
    for part in [&b"Subject: x"[..], b"Subject: x\r\n\r\ntext\r\n.", &large, &almost] {
        let mut client = Client::smtp(&server);
        client.begin_data("a@far.test", &[ALICE]);
        client.write(part);
    }
    deliver(&server, ALICE, &message(b"the next one\r\n"));
    let maildir = server.maildir(ALICE);
    eventually("tmp/ is empty", || maildir.files("tmp").is_empty().then_some(()));
    assert!(maildir.only_message().ends_with(b"\nthe next one\n"));
}

#[test]
fn d02_d03_a_message_too_big_is_refused_at_mail_or_if_the_client_lied_at_its_end() {
    let config = format!("{STRICT}\n[limits]\nsmtp.max_message_size = \"100 KiB\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut client = Client::smtp(&server);
    assert!(client.ask("EHLO client.test", "250").contains("SIZE 102400\r\n"));
    client.ask("MAIL FROM:<a@far.test> SIZE=102401", "552 5.3.4");
    client.ask("MAIL FROM:<a@far.test> SIZE=10", "250");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    client.ask("DATA", "354");
    client.write(&stuffed(&attachment(150_000)));
    client.expect("552 5.3.4");
    let reply = client.deliver(&[ALICE], &attachment(50_000));
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    let maildir = server.maildir(ALICE);
    assert_eq!(maildir.files("new").len(), 1);
    eventually("tmp/ is empty", || maildir.files("tmp").is_empty().then_some(()));
}

#[test]
fn d01_mail_that_goes_in_circles_is_refused() {
    let server = Server::strict();
    let hops = |n| [b"Received: from a by b\r\n".repeat(n), message(b"Received: in the body\r\n")].concat();
    let mut client = Client::smtp(&server);
    let reply = client.deliver(&[ALICE], &hops(100));
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    let reply = client.deliver(&[ALICE], &hops(101));
    assert!(reply.starts_with("554 5.4.6 "), "{reply:?}");
    assert_eq!(server.maildir(ALICE).files("new").len(), 1);
}

#[test]
fn a01_to_a05_a10_only_our_own_users_get_mail() {
    let server = Server::strict();
    for (recipient, reply) in [
        ("someone@far.test", "550 5.7.1"),
        ("alice@sub.example.test", "550 5.7.1"),
        ("nobody@example.test", "550 5.1.1"),
        ("someone%far.test@example.test", "550 5.1.1"),
        ("far.test!someone@example.test", "550 5.1.1"),
        ("\"someone@far.test\"@example.test", "550 5.1.1"),
        ("\"\"@example.test", "550 5.1.1"),
        ("@example.test:someone@far.test", "550 5.7.1"),
        ("\"someone@far.test\"", "5"),
        ("someone@far.test@example.test", "5"),
        ("alice\0@example.test", "50"),
        ("alice@", "501 5.1.3"),
        ("@example.test", "501 5.1.3"),
        (";id;", "5"),
        (".!@example.test", "5"),
    ] {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        client.ask(&format!("RCPT TO:<{recipient}>"), reply);
        client.ask("DATA", "5");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    }
    assert_eq!(server.maildir(ALICE).files("new").len(), 0);
}

/// Local parts that would be something else if they became part of a path.
const PATHS: [&str; 14] = [
    "../../escaped",
    "..",
    ".",
    "a/b",
    "/abs",
    "a\\b",
    "~root",
    ".hidden",
    "",
    "%2e%2e%2fescaped",
    "..%2fescaped",
    "\"../../escaped\"",
    "\"a/b\"",
    "\".hidden\"",
];

/// All there is below a directory.
fn tree(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            open.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
            // The server notes the date soon after its start.
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_date =
                name == ".restante.clock" || name.starts_with(".restante.") && name.ends_with(".new");
            found.extend((!is_date).then(|| entry.path()));
        }
    }
    found
}

#[test]
fn a07_a09_w09_a_name_from_the_wire_never_becomes_a_path() {
    let server = Server::strict();
    let before = tree(server.home.path());
    for path in PATHS {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        client.ask(&format!("RCPT TO:<{path}@example.test>"), "5");
        client.ask("DATA", "5");
    }
    assert_eq!(tree(server.home.path()), before);
    assert!(!server.home.path().with_file_name("escaped").exists());

    // `restante dev` has a mailbox for every address: one directory in the spool, with a name that is no
    // path.
    let server = Server::dev();
    let names = |tree: &BTreeSet<PathBuf>| -> BTreeSet<String> {
        let spool = tree.iter().filter_map(|path| path.strip_prefix(&server.spool).ok());
        let first = spool.filter_map(|path| path.components().next());
        first.map(|name| name.as_os_str().to_str().unwrap().to_owned()).collect()
    };
    let before = tree(server.home.path());
    for path in PATHS {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        if client.send(&format!("RCPT TO:<{path}@example.test>")).reply().starts_with("250") {
            client.ask("DATA", "354");
            client.write(b"Subject: x\r\n\r\n.\r\n");
            client.expect("250");
        }
    }
    let after = tree(server.home.path());
    assert_eq!(after.difference(&before).filter(|path| !path.starts_with(&server.spool)).count(), 0);
    let made: BTreeSet<String> = names(&after).difference(&names(&before)).cloned().collect();
    for name in [
        "%2e.%2f..%2fescaped@example.test",
        "a%2fb@example.test",
        "%2fabs@example.test",
        "~root@example.test",
    ] {
        let name = name.replace('~', "%7e");
        assert!(made.contains(&name), "{name}: {made:?}");
    }
    assert!(made.contains("%252e%252e%252fescaped@example.test"), "escapes in an address are text: {made:?}");
    assert!(made.iter().all(|name| name.ends_with("@example.test") && !name.starts_with('.')), "{made:?}");
    assert!(!server.home.path().with_file_name("escaped").exists());
}

#[test]
fn p33_a_user_name_never_becomes_a_path() {
    let server = Server::strict();
    let before = tree(server.home.path());
    for path in PATHS {
        for user in [path, &format!("{path}@example.test")] {
            let mut client = Client::connect(server.pop3());
            client.expect("+OK");
            client.send(&format!("USER {user}")).reply();
            client.ask("PASS x", "-ERR");
        }
    }
    assert_eq!(tree(server.home.path()), before);
    assert!(!server.home.path().with_file_name("escaped").exists());
}

#[test]
fn a16_the_extension_of_an_address_is_only_text() {
    for server in [Server::strict(), Server::dev()] {
        deliver(&server, ALICE, &message(b""));
        let before = tree(server.home.path());
        for extension in ["../../x", "/etc", "tag", ".", "\\..", "%2e"] {
            for local in [format!("alice+{extension}"), format!("\"alice+{extension}\"")] {
                let mut client = Client::smtp(&server);
                client.ask("MAIL FROM:<a@far.test>", "250");
                if client.send(&format!("RCPT TO:<{local}@example.test>")).reply().starts_with("250") {
                    client.ask("DATA", "354");
                    client.write(b".\r\n");
                    client.expect("250 2.0.0");
                }
            }
        }
        let after = tree(server.home.path());
        let inbox = server.maildir(ALICE).path;
        let elsewhere: Vec<_> = after.difference(&before).filter(|path| !path.starts_with(&inbox)).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
        assert!(server.maildir(ALICE).files("new").len() > 1, "alice+tag@ is alice");
    }
}
