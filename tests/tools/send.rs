//! `restante send`, and the examples of a lesson: their commands to a server, and their reading of its replies.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
};

use crate::common::{
    PASSWORD, Server,
    client::{Client, with_crlf, without_trace},
    home, installed,
    programs::said,
    secure::{ALICE, Keys},
    skip,
};

const BOB: &str = "bob@example.test";

/// `restante send` to that server, in English, with that on standard input.
fn send(server: SocketAddr, words: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(["send", "--server", &server.to_string()]).args(words).env("LC_ALL", "C");
    command.env_remove("RESTANTE_PASSWORD");
    feed(&mut command, input)
}

fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let _ = pipe.write_all(input); // who needs none may be gone already
    drop(pipe);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn ends_with(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

/// A server that plays one session: the reply to a line is that of the first entry it begins with, else 250.
/// Returns what the client said.
fn scripted(replies: &'static [(&str, &str)]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let play = move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let (mut heard, mut line, mut in_message) = (Vec::new(), String::new(), false);
        loop {
            if !in_message || line == "." {
                in_message = line == "DATA";
                let reply = replies
                    .iter()
                    .find(|(start, _)| line.starts_with(start) && start.is_empty() == line.is_empty());
                let reply =
                    reply.map_or(if in_message { "354 go on" } else { "250 ok" }, |(_, reply)| *reply);
                stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).unwrap();
            }
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return heard;
            }
            line.truncate(line.trim_end_matches(['\r', '\n']).len());
            heard.push(line.clone());
        }
    };
    (address, thread::spawn(play))
}

const LETTER: [&str; 4] = ["--from", "ann@far.test", "--to", BOB];

fn letter<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&LETTER, more].concat()
}

#[test]
fn the_exit_code_is_the_class_of_the_reply() {
    let server = Server::strict();
    let sent = send(server.smtp(), &letter(&["--subject", "hello", "--body", "one\n.\n..two"]), b"");
    ends_with(&sent, 0, &["250 2.0.0 Queued as", "accepted"]);
    let message = String::from_utf8(server.maildir(BOB).only_message()).unwrap();
    assert!(message.contains("Subject: hello\n") && message.ends_with("\n\none\n.\n..two\n"), "{message}");

    let nobody = send(server.smtp(), &["--from", "a@far.test", "--to", "x@example.test", "--body", "b"], b"");
    ends_with(&nobody, 5, &["<x@example.test>: 550 5.1.1", "there is no such address", "changed"]);
    let (later, _) = scripted(&[("", "421 4.3.2 Come back"), ("QUIT", "221 bye")]);
    ends_with(&send(later, &letter(&["--body", "b"]), b""), 4, &["421 4.3.2 Come back", "later"]);
    let (full, _) = scripted(&[("", "220 hi"), (".", "452 4.3.1 Full")]);
    ends_with(
        &send(full, &letter(&["--body", "b"]), b""),
        4,
        &["452 4.3.1 Full: the server has no room left"],
    );

    let (closing, heard) = scripted(&[("", "220 hi"), ("RCPT", "421 4.3.2 Going down"), ("QUIT", "221 bye")]);
    ends_with(&send(closing, &letter(&["--to", ALICE, "--body", "b"]), b""), 4, &["421 4.3.2 Going down"]);
    assert_eq!(heard.join().unwrap()[2..], [format!("RCPT TO:<{BOB}>"), "QUIT".into()]);

    // The port of a client's end: no program listens there, and none can take it.
    let taken = TcpStream::connect(server.smtp()).unwrap();
    let gone = taken.local_addr().unwrap();
    ends_with(&send(gone, &letter(&["--body", "b"]), b""), 1, &["cannot connect", "Is the server running"]);
    let mut to_nowhere = Command::new(env!("CARGO_BIN_EXE_restante"));
    to_nowhere.args(["send", "--server", "no-such-host.invalid:25"]).args(letter(&["--body", "b"]));
    let nowhere = feed(to_nowhere.env("LC_ALL", "C"), b"");
    ends_with(&nowhere, 1, &["no address for the name no-such-host.invalid", "Check the name of the server"]);
    let (stranger, _) = scripted(&[("", "SSH-2.0-something")]);
    ends_with(&send(stranger, &letter(&["--body", "b"]), b""), 1, &["does not speak this protocol"]);

    for (words, told) in [
        (&["--to", BOB, "--body", "b"][..], "--from is missing"),
        (&["--from", "a@far.test", "--body", "b"], "--to is missing"),
        (&LETTER, "the text (--body, --file, or - for standard input) is missing"),
        (&["--from", "a b", "--to", BOB], "not an address"),
        (&["--from", "a@far.test", "--to", BOB, "--file", "/nowhere/text"], "/nowhere/text"),
        (&["--from", "a@far.test", "--to", BOB, "--body", "b", "--attach", "/nowhere/file"], "/nowhere/file"),
        (&["--from", "a@far.test", "--to", BOB, "--body", "b", "--raw", "x"], "cannot be used with"),
    ] {
        ends_with(&send(server.smtp(), words, b""), 2, &[told]);
    }
}

#[test]
fn the_others_get_it_and_the_worst_reply_counts() {
    let server = Server::strict();
    let words = ["--from", "a@far.test", "--to", "x@example.test", "--bcc", BOB, "-"];
    ends_with(&send(server.smtp(), &words, b"text\n"), 5, &["<x@example.test>: 550", "250 2.0.0 Queued"]);
    let message = String::from_utf8(server.maildir(BOB).only_message()).unwrap();
    let (trace, message) = message.split_once("\nFrom:").unwrap();
    assert!(trace.contains("Delivered-To") && !message.contains("bob"), "{message}");
}

#[test]
fn a_raw_message_is_sent_as_it_is() {
    let (server, home) = (Server::strict(), home());
    let file = home.path().join("message");
    let content = b"Subject: raw\n\n.\n..\n.dots\nno end";
    fs::write(&file, content).unwrap();
    for (raw, standard_input) in [(file.to_str().unwrap(), &b""[..]), ("-", content)] {
        let sent = send(server.smtp(), &letter(&["--raw", raw]), standard_input);
        ends_with(&sent, 0, &["250"]);
        let stored = server.maildir(BOB).only_message();
        assert_eq!(with_crlf(without_trace(&stored)), with_crlf(content));
        fs::remove_file(&server.maildir(BOB).files("new")[0]).unwrap();
    }
}

#[test]
fn u141_a_file_without_text_or_header_is_warned_of_and_raw_needs_addresses() {
    let (server, home) = (Server::strict(), home());
    let file = |name: &str, content: &str| {
        let path = home.path().join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (empty, text) = (file("empty", ""), file("text", "Hello Bob,\n\nall is well: really\n"));
    for (words, told) in [
        (["--file", &empty], Some("warning: the text is empty")),
        (["--raw", &empty], Some("has no header, and is sent as it is")),
        (["--raw", &text], Some("has no header, and is sent as it is")),
        (["--file", &text], None),
    ] {
        let sent = send(server.smtp(), &letter(&words), b"");
        ends_with(&sent, 0, &["250"]);
        match told {
            Some(told) => assert!(said(&sent).contains(told), "{words:?}: {}", said(&sent)),
            None => assert!(!said(&sent).contains("warning"), "{}", said(&sent)),
        }
    }
    let raw = ["--raw", &text];
    ends_with(
        &send(server.smtp(), &raw, b""),
        2,
        &["--from is missing: --raw", "does not read the addresses"],
    );
}

#[test]
fn what_was_not_announced_is_not_used() {
    let (old, heard) = scripted(&[("", "220 old"), ("EHLO", "500 what"), ("QUIT", "221 bye")]);
    ends_with(&send(old, &letter(&["--helo", "me.test", "--body", "é"]), b""), 0, &[]);
    let heard = heard.join().unwrap();
    assert_eq!(&heard[..3], ["EHLO me.test", "HELO me.test", "MAIL FROM:<ann@far.test>"]);

    let (small, _) = scripted(&[("", "220 hi"), ("EHLO", "250-hi\r\n250 SIZE 100")]);
    ends_with(&send(small, &letter(&["--body", "b"]), b""), 5, &["100 is the limit"]);
    let (ascii, _) = scripted(&[("", "220 hi"), ("EHLO", "250 hi")]);
    let words = ["--from", "a@far.test", "--to", "é@far.test", "--body", "b"];
    ends_with(&send(ascii, &words, b""), 5, &["SMTPUTF8"]);
    let (utf8, heard) =
        scripted(&[("", "220 hi"), ("EHLO", "250-hi\r\n250-8BITMIME\r\n250-SIZE\r\n250 SMTPUTF8")]);
    ends_with(&send(utf8, &words, b""), 0, &[]);
    let mail = heard.join().unwrap().remove(1);
    assert!(
        mail.starts_with("MAIL FROM:<a@far.test> SIZE=") && mail.ends_with(" SMTPUTF8 BODY=8BITMIME"),
        "{mail}"
    );
}

#[test]
fn a_password_is_masked_and_goes_over_no_network_in_clear_text() {
    let keys = Keys::make();
    let server = keys.server("auth.failure_delay = \"0s\"");
    let home = home();
    let (good, wrong) = (home.path().join("good"), home.path().join("wrong"));
    fs::write(&good, format!("{PASSWORD}\r\nmore\n")).unwrap();
    fs::write(&wrong, "wrong\n").unwrap();
    let certificate = keys.certificate();
    for (service, how) in [("submission", "starttls"), ("submissions", "implicit")] {
        let words = |password: &Path| {
            let password = password.to_str().unwrap().to_owned();
            let trust = certificate.to_str().unwrap().to_owned();
            let words = ["--from", ALICE, "--to", ALICE, "--body", "b", "-v", "--auth", ALICE, "--tls", how];
            let words = words.into_iter().map(str::to_owned);
            words.chain(["--cacert".into(), trust, "--password-file".into(), password]).collect::<Vec<_>>()
        };
        let run = |password: &Path| {
            let words = words(password);
            send(server.addresses(service)[0], &words.iter().map(String::as_str).collect::<Vec<_>>(), b"")
        };
        let sent = run(&good);
        ends_with(
            &sent,
            0,
            &["C: AUTH PLAIN ***", "S: 235 2.7.0", "*: (TLS 1.3", "octets of a message)", "S: 221"],
        );
        assert!(!said(&sent).contains(PASSWORD) && !said(&sent).contains("AGFsaWNl"), "{}", said(&sent));
        ends_with(&run(&wrong), 5, &["535 5.7.8", "the name or the password is wrong"]);
    }
    let place = server.addresses("submissions")[0];
    let untrusted = send(place, &letter(&["--body", "b", "--tls", "implicit"]), b"");
    ends_with(&untrusted, 1, &["no TLS with", "--cacert"]);
    let stranger = "198.51.100.7:25".parse().unwrap();
    let exposed = send(stranger, &letter(&["--body", "b", "--auth", ALICE]), b"");
    ends_with(&exposed, 2, &["clear text", "--tls starttls"]);
    // A user who names a certificate expects TLS.
    let unprotected = send(place, &letter(&["--body", "b", "--cacert", "ca.pem"]), b"");
    ends_with(&unprotected, 2, &["--cacert ca.pem is for TLS", "--tls=starttls"]);
}

#[test]
fn what_is_said_in_clear_text_behind_starttls_is_not_believed() {
    let (place, heard) = scripted(&[
        ("", "220 hi"),
        ("EHLO", "250-hi\r\n250 STARTTLS"),
        ("STARTTLS", "220 go\r\n250 AUTH PLAIN"),
    ]);
    let sent = send(place, &letter(&["--body", "b", "--tls", "starttls", "--insecure"]), b"");
    ends_with(&sent, 1, &["clear text arrived from"]);
    assert_eq!(heard.join().unwrap().len(), 2);
    let (place, _) = scripted(&[("", "220 hi"), ("EHLO", "250 hi")]);
    let sent = send(place, &letter(&["--body", "b", "--tls", "starttls"]), b"");
    ends_with(&sent, 1, &["does not offer TLS"]);
}

#[test]
fn the_examples_of_a_lesson_send_and_fetch_with_the_standard_library_alone() {
    if !installed("rustc") {
        return skip("the_examples_of_a_lesson", "rustc is not installed");
    }
    let (server, home) = (Server::strict(), home());
    let run = |name: &str, words: &[&str], input: &str| {
        let program = home.path().join(name);
        let source = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        assert!(
            fs::read_to_string(&source).unwrap().lines().count() <= 85,
            "{name} is too long for a lesson"
        );
        let mut rustc = Command::new("rustc");
        let built = rustc.args(["--edition", "2024", "-o"]).arg(&program).arg(&source).output().unwrap();
        assert!(built.status.success(), "{}", said(&built));
        let output = feed(Command::new(program).args(words), input.as_bytes());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let sent = run("send", &[&server.smtp().to_string(), "ann@far.test", BOB], "one\n.\n..two\n");
    assert!(sent.contains("S: 250 2.0.0 Queued as"), "{sent}");
    let fetched = run("fetch", &[&server.pop3().to_string(), BOB, PASSWORD], "");
    assert!(
        fetched.contains("   Subject: a lesson in SMTP\n   \n   one\n   .\n   ..two\nC: QUIT\nS: +OK"),
        "{fetched}"
    );
    assert!(!fetched.contains(PASSWORD), "{fetched}");
}

#[test]
fn u40_a_password_that_is_empty_is_told_with_its_variable() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args([
        "send",
        "--server",
        "127.0.0.1:9",
        "--auth",
        ALICE,
        "--insecure",
        "--from",
        ALICE,
        "--to",
        BOB,
    ]);
    command.args(["--body", "x"]).env("LC_ALL", "C").env("RESTANTE_PASSWORD", "");
    ends_with(&feed(&mut command, b""), 2, &["RESTANTE_PASSWORD", "empty"]);
}

#[test]
fn u44_a_port_for_tls_and_one_for_clear_text_are_told_apart_and_nothing_is_said_to_be_sent() {
    let keys = Keys::make();
    let server = keys.server("tls.handshake_timeout = \"1s\"\n");
    let address = |service| server.addresses(service)[0];
    for (how, service, told) in [
        (
            "none",
            "submissions",
            "gave no greeting. Nothing was sent to it. A port for TLS from the first octet",
        ),
        ("starttls", "submissions", "needs --tls implicit."),
        (
            "implicit",
            "smtp",
            "speaks clear text, and not TLS from the first octet. No mail and no password was sent",
        ),
    ] {
        let output = send(address(service), &letter(&["--body", "x", "--tls", how, "--insecure"]), b"");
        ends_with(&output, 1, &[&address(service).to_string(), told]);
        assert!(!said(&output).contains("Unconfirmed"), "{}", said(&output));
    }
}

#[test]
fn u72_a_port_for_http_is_told_at_once_and_a_silent_one_before_the_wait_ends() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = http.local_addr().unwrap();
    let play = thread::spawn(move || {
        let (mut stream, _) = http.accept().unwrap();
        stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").unwrap();
        stream // stays open
    });
    let output = send(address, &letter(&["--body", "x"]), b"");
    ends_with(&output, 1, &[&format!("{address} speaks HTTP, and takes no mail. Nothing was sent to it")]);
    drop(play.join().unwrap());

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(["send", "--server", &address.to_string()]).args(letter(&["--body", "x"]));
    let mut child = command.env("LC_ALL", "C").stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let (stream, _) = silent.accept().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = told.next().unwrap().unwrap();
    assert!(first.contains("has not greeted yet, still waiting"), "{first}");
    drop(stream);
    let last = told.next().unwrap().unwrap();
    assert!(last.contains("gave no greeting. Nothing was sent to it"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// `restante send` in French, with that on standard input.
fn send_in_french(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("send").args(words).env("LC_ALL", "fr_FR.UTF-8").env_remove("RESTANTE_PASSWORD");
    feed(&mut command, b"\xff")
}

#[test]
fn u97_a_fault_of_the_address_and_one_by_chaos_are_told_apart() {
    let server = Server::dev();
    let to = |address| send(server.smtp(), &["--from", "a@far.test", "--to", address, "--body", "b"], b"");
    for address in ["bob+452@example.test", "bob+452-after-dot@example.test"] {
        ends_with(&to(address), 4, &["A fault on demand (the address asks for it)"]);
    }
    let mut http = Client::connect(server.addresses("http")[0]);
    let body = "{\"Recipient\":{\"ErrorCode\":452,\"Probability\":100}}";
    http.write(
        format!(
            "PUT /api/v1/chaos HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    assert!(http.rest().starts_with(b"HTTP/1.1 200 "));
    let by_chance = "A fault on demand (the chaos settings of the server ask for it)";
    ends_with(&to(BOB), 4, &[by_chance]);
    let address = server.smtp().to_string();
    let french = send_in_french(&["--server", &address, "--from", "a@far.test", "--to", BOB, "--body", "b"]);
    ends_with(&french, 4, &["(une panne que demandent les réglages de chaos du serveur)"]);
}

#[test]
fn u98_the_hint_about_a_mistyped_fault_is_shown() {
    let server = Server::dev();
    let words = ["--from", "a@far.test", "--to", "bob+no-on-selct@example.test", "--body", "b"];
    let hint = "+no-on-selct is no fault on demand, did you mean +no-on-select?";
    ends_with(&send(server.smtp(), &words, b""), 0, &["<bob+no-on-selct@example.test>: 250", hint, "Queued"]);
    let words = ["--from", "a@far.test", "--to", "bob@example.test", "--body", "b"];
    let sent = send(server.smtp(), &words, b"");
    assert!(!said(&sent).contains("Recipient ok"), "{}", said(&sent));
}

#[test]
fn u99_mistakes_in_options_and_files_are_told_in_the_language_of_the_user() {
    let known = ["--from", "a@far.test", "--to", BOB];
    for (words, told) in [
        (&["--body", "b"][..], "il manque --from, et il n'y a pas de terminal"),
        (&["--from", "a@far.test", "--body", "b"], "il manque --to,"),
        (&known, "il manque le texte (--body, --file, ou - pour l'entrée standard),"),
        (
            &["--from", "a b"],
            "la valeur 'a b' ne convient pas pour '--from <ADDRESS>' : \"a b\" n'est pas une adresse",
        ),
        (&["--from", "a@far.test,b@far.test"], "--from n'accepte qu'une adresse"),
        (&["--server", "localhost"], "\"localhost\" n'est pas un hôte et un port"),
        (&["--helo", "a b"], "un nom ne doit pas contenir d'espaces"),
        (
            &["--tls", "non"],
            "la valeur 'non' ne convient pas pour '--tls <HOW>'\n  [valeurs possibles : 'none', 'starttls', 'implicit']",
        ),
        (
            &["--subjekt", "x"],
            "l'argument '--subjekt' est inconnu\n\n  conseil : vouliez-vous dire '--subject' ?",
        ),
        (&["--body", "b", "--raw", "x"], "est incompatible avec"),
        (&["--body"], "il manque une valeur pour '--body <TEXT>'"),
        (&["--password-file", "x"], "il manque '--auth <USER>'"),
        (&["--helo", "a", "--helo", "b"], "l'argument '--helo <NAME>' ne peut être donné qu'une fois"),
        (&["--cacert", "x"], "--cacert x ne sert qu'avec TLS : ajoutez"),
        (
            &["--cacert", "/nowhere/x", "--tls", "implicit"],
            "/nowhere/x : ce fichier ou ce répertoire n'existe pas",
        ),
        (&[&known[..], &["--file", "/nowhere/x"]].concat(), "lecture de /nowhere/x impossible : ce fichier"),
        (&[&known[..], &["--attach", "/", "--body", "x"]].concat(), "c'est un répertoire"),
        (&[&known[..], &["-"]].concat(), "l'entrée standard n'est pas du texte UTF-8"),
        (&["--auth", "ann"], "il manque --password-file ou RESTANTE_PASSWORD"),
    ] {
        let output = send_in_french(words);
        ends_with(&output, 2, &[told]);
        let said = said(&output);
        for english in ["error:", "nothing was", "cannot", "missing", "For more", "Usage"] {
            assert!(!said.contains(english), "{words:?}: {said}");
        }
    }
    let mut client = Command::new(env!("CARGO_BIN_EXE_restante"));
    client.args(["client", "--tls", "oui"]).env("LANG", "fr_FR.UTF-8").env_remove("LC_ALL");
    client.env_remove("LC_MESSAGES");
    ends_with(&feed(&mut client, b""), 2, &["la valeur 'oui' ne convient pas", "restante client --help"]);
    let mut other = Command::new(env!("CARGO_BIN_EXE_restante"));
    other.args(["dev", "--nonsense"]).env("LC_ALL", "fr_FR.UTF-8");
    ends_with(&feed(&mut other, b""), 2, &["error: unexpected argument"]);
}

#[test]
fn u100_a_port_for_another_protocol_of_mail_is_told_with_the_likely_one() {
    let server = Server::dev();
    for (service, protocol) in [("pop3", "POP3"), ("imap", "IMAP")] {
        let address = server.addresses(service)[0];
        let told = format!(
            "{address} speaks {protocol}, and not SMTP. Nothing was sent to it: the port for SMTP is probably 25, 587, 2525."
        );
        ends_with(&send(address, &letter(&["--body", "x"]), b""), 1, &[&told]);
    }
    for (option, protocol) in [("--pop3", "POP3"), ("--imap", "IMAP")] {
        let mut client = Command::new(env!("CARGO_BIN_EXE_restante"));
        let address = server.smtp().to_string();
        client.args(["client", "--user", "ann", option, &address]).env("LC_ALL", "C");
        ends_with(
            &feed(&mut client, b"any\n"),
            1,
            &[&format!("speaks SMTP, and not {protocol}. Nothing was sent")],
        );
    }
    // FTP greets with the same code.
    let files = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = files.local_addr().unwrap().to_string();
    let play = thread::spawn(move || {
        let (mut stream, _) = files.accept().unwrap();
        stream.write_all(b"220 files.test ready\r\n").unwrap();
        stream // stays open
    });
    let mut client = Command::new(env!("CARGO_BIN_EXE_restante"));
    client.args(["client", "--user", "ann", "--pop3", &address]).env("LC_ALL", "C");
    let told = format!("{address} answers like SMTP, and not like POP3. Nothing was sent");
    ends_with(&feed(&mut client, b"any\n"), 1, &[&told]);
    drop(play.join().unwrap());
}
