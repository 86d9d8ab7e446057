//! Sessions under TLS: whole, in pieces, slow and ended in good order; and their certificate.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use crate::common::{
    self, Server,
    client::{Client, socket, stuffed, without_trace},
    eventually, home,
    secure::{
        ALICE, BOTH, Bytewise, Keys, address, client_config, flight, log_in, make_pair, over, pop3s, replace,
        session, smtps,
    },
};
use rustix::process::Signal;
use rustls::{RootCertStore, version};

const LETTER: &[u8] = b"Subject: sealed\r\n\r\n.\r\nbody\r\n";

#[test]
fn mail_goes_in_and_out_under_both_versions() {
    let keys = Keys::make();
    let server = keys.server("");
    for (n, version) in [&version::TLS12, &version::TLS13].into_iter().enumerate() {
        let config = keys.trusted(&[version]);
        let mut smtp = Client::over(over(socket(address(&server, "submissions")), &config));
        smtp.expect("220");
        smtp.ask("EHLO client.test", "250");
        assert!(smtp.deliver(&[ALICE], LETTER).starts_with("250"));
        smtp.ask("QUIT", "221");
        assert_eq!(smtp.rest(), b"", "the end comes with close_notify");

        let mut pop3 = Client::over(over(socket(address(&server, "pop3s")), &config));
        pop3.expect("+OK");
        log_in(&mut pop3);
        assert!(pop3.retr(n + 1).ends_with(LETTER));
        pop3.ask("QUIT", "+OK");
        assert_eq!(pop3.rest(), b"", "the end comes with close_notify");
    }
    for line in ["submissions tls version=1.2 cipher=TLS_ECDHE_", "pop3s tls version=1.3 cipher=TLS_AES_"] {
        server.tells(line);
    }
    assert!(!server.log().contains("cut off"), "a client that says goodbye is not taken for a cut");
}

#[test]
fn t04_stls_begins_tls_and_a_new_session() {
    let keys = Keys::make();
    let server = keys.server("");
    common::client::deliver(&server, ALICE, LETTER);
    let socket = socket(server.pop3());
    let mut clear = Client::over(socket.try_clone().unwrap());
    clear.expect("+OK");
    clear.ask("CAPA", "+OK");
    assert!(String::from_utf8(clear.text()).unwrap().contains("\r\nSTLS\r\n"));
    clear.ask(&format!("USER {ALICE}"), "+OK");
    clear.ask("STLS", "+OK");
    let mut pop3 = Client::over(over(socket, &keys.trusted(BOTH)));
    pop3.ask(&format!("PASS {}", common::PASSWORD), "-ERR"); // USER was before TLS, and is forgotten
    pop3.ask("CAPA", "+OK");
    assert!(!String::from_utf8(pop3.text()).unwrap().contains("STLS"));
    pop3.ask("STLS", "-ERR");
    log_in(&mut pop3);
    assert!(pop3.retr(1).ends_with(LETTER));
    pop3.ask("QUIT", "+OK");
    assert_eq!(pop3.rest(), b"");
}

#[test]
fn t16_records_in_pieces_of_one_octet_are_put_together() {
    let keys = Keys::make();
    let server = keys.server("");
    for version in [&version::TLS12, &version::TLS13] {
        let stream = Bytewise(socket(address(&server, "submissions")));
        let mut smtp = Client::over(over(stream, &keys.trusted(&[version])));
        smtp.expect("220");
        smtp.ask("EHLO client.test", "250");
        assert!(smtp.deliver(&[ALICE], LETTER).starts_with("250"));
        smtp.ask("QUIT", "221");
        assert_eq!(smtp.rest(), b"");
    }
    let stored = server.maildir(ALICE).files("new");
    assert_eq!(stored.len(), 2);
    for file in stored {
        assert_eq!(without_trace(&fs::read(file).unwrap()), common::client::with_lf(LETTER));
    }
}

#[test]
fn a_session_in_one_segment_with_the_end_of_the_handshake_is_answered_whole() {
    let keys = Keys::make();
    let server = keys.server("");
    let mut socket = socket(address(&server, "pop3s"));
    let mut tls = session(&keys.trusted(&[&version::TLS13]));
    socket.write_all(&flight(&mut tls)).unwrap();
    while tls.is_handshaking() {
        tls.read_tls(&mut socket).unwrap();
        tls.process_new_packets().unwrap();
    }
    // A record for each octet, all of them and Finished in one write, and no event after it.
    for octet in format!("USER {ALICE}\r\nPASS {}\r\nSTAT\r\nQUIT\r\n", common::PASSWORD).as_bytes() {
        tls.writer().write_all(&[*octet]).unwrap();
    }
    tls.send_close_notify();
    socket.write_all(&flight(&mut tls)).unwrap();
    let mut replies = String::new();
    rustls::Stream::new(&mut tls, &mut socket).read_to_string(&mut replies).unwrap();
    let starts: Vec<&str> = replies.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(starts, ["+OK"; 5], "{replies}");
}

#[test]
fn l03_a_large_message_for_a_slow_reader_costs_little_memory() {
    let keys = Keys::make();
    let server = keys.server("");
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    let letter = [&b"Subject: large\r\n\r\n"[..], &line.repeat(20_000_000 / line.len())].concat();
    common::client::deliver(&server, ALICE, &letter);
    let mut pop3 = pop3s(&server, &keys);
    let before = server.status_kib("VmHWM");
    pop3.send("RETR 1");
    // The kernel's buffers are full when the process reads no more of the file.
    let mut read = 0;
    eventually("the server waits for the reader", || {
        let now = octets_read(&server);
        std::mem::replace(&mut read, now).eq(&now).then_some(())
    });
    pop3.expect("+OK");
    assert_eq!(pop3.text().len(), letter.len() + header_length(&server));
    let growth = server.status_kib("VmHWM").saturating_sub(before);
    assert!(growth < 4096, "{growth} KiB for a message of 20 MB");
}

fn octets_read(server: &Server) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", server.pid())).unwrap();
    io.lines().next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// The lines that the server put before the message, as they travel.
fn header_length(server: &Server) -> usize {
    let stored = server.maildir(ALICE).only_message();
    let header = &stored[..stored.len() - without_trace(&stored).len()];
    common::client::with_crlf(header).len()
}

#[test]
fn a_server_that_stops_says_goodbye_under_tls() {
    let keys = Keys::make();
    let mut server = keys.server("");
    let mut smtp = smtps(&server, &keys);
    let mut silent = socket(address(&server, "submissions"));
    smtp.ask("NOOP", "250");
    server.signal(Signal::TERM);
    smtp.expect("421");
    assert_eq!(smtp.rest(), b"");
    assert!(server.wait().success());
    assert_eq!(silent.read(&mut [0; 9]).unwrap_or(0), 0, "nothing is said before a handshake");
}

// The certificate

/// Whether the server shows the certificate in this file.
fn shows(server: &Server, certificate: &Path) -> bool {
    let mut roots = RootCertStore::empty();
    let der = rustls::pki_types::pem::PemObject::from_pem_file(certificate).unwrap();
    roots.add(der).unwrap();
    let mut tls = over(socket(address(server, "pop3s")), &client_config(roots, BOTH));
    tls.read(&mut [0; 1]).is_ok()
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_is_not() {
    let (keys, renewed) = (Keys::make(), home());
    make_pair(renewed.path());
    let new = |name: &str| fs::read(renewed.path().join(name)).unwrap();
    let old = renewed.path().join("old.pem");
    fs::copy(keys.certificate(), &old).unwrap();
    let server = keys.server("tls.reload_interval = \"1s\"");
    let mut visitor = pop3s(&server, &keys);

    // Half of the renewal is there: the old pair is still the only one that fits.
    replace(&keys.certificate(), &new("certificate.pem"));
    let complaint = "is not the key of the certificate in";
    eventually("the mismatch is told", || server.log().contains(complaint).then_some(()));
    assert!(shows(&server, &old));

    replace(&keys.key(), &new("key.pem"));
    eventually("the new certificate is shown", || shows(&server, &keys.certificate()).then_some(()));
    assert!(!shows(&server, &old));
    visitor.ask("NOOP", "+OK");

    replace(&keys.key(), b"not a key");
    let complaint = format!("{}: there is no private key in it", keys.key().display());
    eventually("the bad key is told", || server.log().contains(&complaint).then_some(()));
    assert!(shows(&server, &keys.certificate()));
    visitor.ask("QUIT", "+OK");
}

#[test]
fn a_message_under_tls_is_stored_as_it_was_sent() {
    let keys = Keys::make();
    let server = keys.server("");
    let mut smtp = smtps(&server, &keys);
    smtp.write(format!("MAIL FROM:<a@far.test>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n").as_bytes());
    for reply in ["250", "250", "354"] {
        smtp.expect(reply);
    }
    let lines = (0..40_000).flat_map(|n| format!("line {n}\r\n").into_bytes());
    let letter: Vec<u8> = b"Subject: lines\r\n\r\n".iter().copied().chain(lines).collect();
    smtp.write(&stuffed(&letter));
    smtp.expect("250 2.0.0");
    let stored = server.maildir(ALICE).only_message();
    assert_eq!(without_trace(&stored), common::client::with_lf(&letter));
}

#[test]
fn check_names_a_key_that_does_not_fit_and_says_nothing_of_one_that_does() {
    let (keys, other) = (Keys::make(), Keys::make());
    let check = |key: &Path| {
        let text =
            format!("{}[tls]\ncertificate = {:?}\nkey = {key:?}\n", common::STRICT, keys.certificate());
        let home = home();
        let file = home.path().join("restante.toml");
        fs::write(home.path().join("users.json"), "{}").unwrap();
        fs::write(&file, common::configuration(home.path(), &home.path().join("spool"), &text)).unwrap();
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_restante"));
        check.args(["check", "--all", "--config"]).arg(&file).output().unwrap()
    };
    let good = check(&keys.key());
    assert!(good.status.success(), "{good:?}");
    let said = String::from_utf8(good.stdout).unwrap();
    assert!(said.contains("accounts: 0\n") && said.contains("tls = \"starttls\""), "{said}");
    let bad = check(&other.key());
    assert_eq!(bad.status.code(), Some(2));
    let said = String::from_utf8(bad.stderr).unwrap();
    assert!(said.contains(&format!("the key in {} is not the key", other.key().display())), "{said}");
}
