//! Programs of others at our listeners, logging in, as proxies and as relays: curl, swaks, msmtp, s-nail,
//! Python and OpenSSL.

use std::{
    fs,
    io::{self, Read, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use crate::common::{
    BEHIND_A_PROXY, PASSWORD, Server, Setup,
    client::{Client, without_trace},
    home, installed, listener, listener_at, listeners,
    programs::run,
    secure::{ALICE, Keys, address},
    skip,
};

const LETTER: &str = "Subject: a letter\r\n\r\nbody\r\n";

/// A server where users log in, and the certificate that its clients trust.
fn server() -> (Keys, Server) {
    let keys = Keys::make();
    let server = keys.serve(&listeners(&["submission", "submissions", "pop3", "pop3s"]));
    (keys, server)
}

fn port(server: &Server, service: &str) -> String {
    address(server, service).port().to_string()
}

/// The mailbox has that many messages, all of them submitted by a user under TLS.
#[track_caller]
fn assert_submitted(server: &Server, count: usize) {
    let files = server.maildir(ALICE).files("new");
    assert_eq!(files.len(), count);
    for file in files {
        let message = String::from_utf8(fs::read(file).unwrap()).unwrap();
        assert!(message.starts_with(&format!("Return-Path: <{ALICE}>\n")), "{message}");
        assert!(message.contains(" with ESMTPSA id "), "{message}");
    }
}

#[test]
fn curl_submits_and_reads() {
    if !installed("curl") {
        return skip("curl_submits_and_reads", "curl is not installed");
    }
    let (keys, server) = server();
    let curl = |scheme: &str, service: &str, rest: &str, options: &[&str], input: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "120", "--noproxy", "*"]);
        command.arg(format!("{scheme}://localhost:{}/{rest}", port(&server, service)));
        command.arg("--cacert").arg(keys.certificate());
        run(command.args(["--user", &format!("{ALICE}:{PASSWORD}")]).args(options), input).stdout
    };
    let send = ["--mail-from", ALICE, "--mail-rcpt", ALICE, "--upload-file", "-"];
    for mechanism in ["PLAIN", "LOGIN"] {
        let login = format!("AUTH={mechanism}");
        let options = [&send[..], &["--login-options", &login]].concat();
        let starttls = [&options[..], &["--ssl-reqd"]].concat();
        curl("smtp", "submission", "client.test", &starttls, LETTER);
        curl("smtps", "submissions", "client.test", &options, LETTER);
    }
    assert_submitted(&server, 4);
    for (scheme, service, options) in [("pop3", "pop3", &["--ssl-reqd"][..]), ("pop3s", "pop3s", &[])] {
        let options = [options, &["--login-options", "AUTH=PLAIN"]].concat();
        let message = curl(scheme, service, "1", &options, "");
        assert_eq!(without_trace(&message), LETTER.as_bytes());
    }
}

#[test]
fn swaks_submits() {
    if !installed("swaks") {
        return skip("swaks_submits", "swaks is not installed");
    }
    let (keys, server) = server();
    let mut sent = 0;
    for (service, tls) in [("submission", "--tls"), ("submissions", "--tls-on-connect")] {
        for mechanism in ["PLAIN", "LOGIN"] {
            let mut swaks = Command::new("swaks");
            swaks.args(["--server", "localhost", "--port", &port(&server, service), tls, "--tls-verify"]);
            swaks.arg("--tls-ca-path").arg(keys.certificate());
            swaks.args(["--auth", mechanism, "--auth-user", ALICE, "--auth-password", PASSWORD]);
            run(swaks.args(["--from", ALICE, "--to", ALICE, "--timeout", "120"]), "");
            sent += 1;
        }
    }
    assert_submitted(&server, sent);
}

#[test]
fn swaks_hands_over_as_a_proxy_does() {
    if !installed("swaks") {
        return skip("swaks_hands_over_as_a_proxy_does", "swaks is not installed");
    }
    let smtp = listener("smtp", BEHIND_A_PROXY);
    let server = Setup { config: Some(&smtp), users: &[ALICE], ..Setup::default() }.start();
    let clients = [
        ("1", "TCP4", "203.0.113.1", "192.0.2.25"),
        ("1", "TCP6", "2001:db8::1", "2001:db8::25"),
        ("2", "AF_INET", "203.0.113.2", "192.0.2.25"),
        ("2", "AF_INET6", "2001:db8::2", "2001:db8::25"),
    ];
    for (version, family, source, destination) in clients {
        let mut swaks = Command::new("swaks");
        swaks.args(["--server", "127.0.0.1", "--port", &server.smtp().port().to_string()]);
        swaks.args(["--proxy-version", version, "--proxy-family", family, "--proxy-source", source]);
        swaks.args(["--proxy-source-port", "4711", "--proxy-dest", destination, "--proxy-dest-port", "25"]);
        run(swaks.args(["--from", "ann@far.test", "--to", ALICE, "--timeout", "120"]), "");
    }
    let read = |file| String::from_utf8(fs::read(file).unwrap()).unwrap();
    let messages: String = server.maildir(ALICE).files("new").into_iter().map(read).collect();
    for (_, _, source, _) in clients {
        let literal = if source.contains(':') { format!("[IPv6:{source}]") } else { format!("[{source}]") };
        assert_eq!(messages.matches(&format!(" ({literal})\n")).count(), 1, "{literal} is not in {messages}");
    }
}

#[test]
fn swaks_and_python_relay_through_a_file() {
    if !installed("swaks") || !installed("python3") {
        return skip("swaks_and_python_relay_through_a_file", "swaks or python3 is not installed");
    }
    let home = home();
    let file = home.path().join("lmtp.sock").to_str().unwrap().to_owned();
    let lmtp = listener_at("lmtp", &format!("unix:{file}"), "");
    let server = Setup { config: Some(&lmtp), users: &[ALICE], ..Setup::default() }.start();
    let mut swaks = Command::new("swaks");
    swaks.args(["--socket", &file, "--protocol", "LMTP", "--from", "ann@far.test", "--to", ALICE]);
    run(swaks.args(["--timeout", "120"]), "");
    let script = "import smtplib, sys\n\
                  with smtplib.LMTP(sys.argv[1], local_hostname='relay.test') as client:\n\
                  \x20   client.sendmail('ann@far.test', [sys.argv[2]], 'Subject: relayed\\r\\n\\r\\n')\n";
    run(Command::new("python3").args(["-c", script, &file, ALICE]), "");
    let files = server.maildir(ALICE).files("new");
    assert_eq!(files.len(), 2);
    for file in files {
        let message = String::from_utf8(fs::read(file).unwrap()).unwrap();
        assert!(message.contains(" with LMTP id "), "{message}");
    }
}

#[test]
fn msmtp_submits() {
    if !installed("msmtp") {
        return skip("msmtp_submits", "msmtp is not installed");
    }
    let (keys, server) = server();
    for (service, starttls) in [("submission", "on"), ("submissions", "off")] {
        let mut msmtp = Command::new("msmtp");
        msmtp.args(["--file=/dev/null", "--host=localhost", "--tls=on", "--auth=plain", "--timeout=120"]);
        msmtp.arg(format!("--tls-trust-file={}", keys.certificate().display()));
        msmtp.args([format!("--port={}", port(&server, service)), format!("--tls-starttls={starttls}")]);
        msmtp.args([format!("--user={ALICE}"), format!("--passwordeval=echo {PASSWORD}")]);
        run(msmtp.args([&format!("--from={ALICE}"), ALICE]), LETTER);
    }
    assert_submitted(&server, 2);
}

#[test]
fn s_nail_submits() {
    if !installed("s-nail") {
        return skip("s_nail_submits", "s-nail is not installed");
    }
    let (keys, server) = server();
    let user = ALICE.replace('@', "%40");
    for (service, starttls) in [("submission", &["-S", "smtp-use-starttls"][..]), ("submissions", &[])] {
        let mut nail = Command::new("s-nail");
        nail.args(["-:/", "-S", "v15-compat", "-S", "smtp-auth=plain", "-S", "tls-verify=strict", "-S"]);
        nail.arg(format!("mta={service}://{user}:{PASSWORD}@localhost:{}", port(&server, service)));
        nail.arg("-S").arg(format!("tls-ca-file={}", keys.certificate().display())).args(starttls);
        run(nail.args(["-S", &format!("from={ALICE}"), "-s", "a letter", ALICE]), "body\n");
    }
    assert_submitted(&server, 2);
}

#[test]
fn python_submits_and_is_refused_what_it_may_not() {
    if !installed("python3") {
        return skip("python_submits_and_is_refused_what_it_may_not", "python3 is not installed");
    }
    let (keys, server) = server();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/submission.py");
    let ports = ["submission", "submissions", "pop3"].map(|service| port(&server, service));
    run(Command::new("python3").arg(script).args(ports).arg(keys.certificate()), "");
    assert_submitted(&server, 2);
}

#[test]
fn openssl_logs_in_by_hand() {
    if !installed("openssl") {
        return skip("openssl_logs_in_by_hand", "openssl is not installed");
    }
    let (keys, server) = server();
    let plain = "AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWU=";
    for (protocol, service) in [("smtp", "submission"), ("pop3", "pop3")] {
        let place = format!("localhost:{}", port(&server, service));
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-starttls", protocol, "-connect", &place]);
        openssl.arg("-CAfile").arg(keys.certificate()).arg("-verify_return_error");
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = openssl.spawn().unwrap();
        let mut client = Client::over(Pipes(child.stdin.take().unwrap(), child.stdout.take().unwrap()));
        if protocol == "smtp" {
            // The session forgets everything from before TLS, here OpenSSL's own EHLO.
            client.ask(&format!("MAIL FROM:<{ALICE}>"), "503 5.5.1");
            client.ask("EHLO client.test", "250");
            client.ask(&format!("AUTH PLAIN {plain}"), "235 2.7.0");
            client.ask("QUIT", "221");
        } else {
            client.ask(&format!("AUTH PLAIN {plain}"), "+OK 0 messages");
            client.ask("QUIT", "+OK");
        }
        assert!(child.wait().unwrap().success());
    }
}

/// The standard input and output of a program.
struct Pipes(ChildStdin, ChildStdout);

impl Read for Pipes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.read(buffer)
    }
}

impl Write for Pipes {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
