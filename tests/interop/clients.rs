//! Our own clients at the servers of others: `restante send` and `restante client` at Postfix and Dovecot.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    common::{Maildir, client::with_crlf, client::without_trace, eventually, secure::Keys},
    letters::ALICE,
    postfix::{Postfix, Way, relay_home, server},
    programs::{POSTFIX, Story, UNSHARE, contained, said, succeeded},
};

const DOVECOT: &str = "dovecot";
const DOVECOT_POP3: &str = "/usr/lib/dovecot/pop3";

/// A running Dovecot for POP3, with one mailbox that everybody has; it ends with this.
struct Dovecot {
    child: Child,
    pop3: SocketAddr,
    maildir: Maildir,
    home: TempDir,
}

impl Dovecot {
    fn start(keys: &Keys) -> Self {
        let home = relay_home();
        let [base, state, mail, log, config] =
            ["run", "state", "mail", "log", "dovecot.conf"].map(|name| home.path().join(name));
        let pop3 = free_port();
        let settings = format!(
            "base_dir = {}\nstate_dir = {}\nlog_path = {}\nprotocols = pop3\nlisten = 127.0.0.1\n\
             ssl = yes\nssl_cert = <{}\nssl_key = <{}\nfirst_valid_uid = 1\nmail_location = maildir:{}\n\
             passdb {{\n driver = static\n args = password=sesame\n}}\n\
             userdb {{\n driver = static\n args = uid=mail gid=mail home={}\n}}\n\
             service pop3-login {{\n inet_listener pop3 {{\n port = {}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n}}\n",
            base.display(),
            state.display(),
            log.display(),
            keys.certificate().display(),
            keys.key().display(),
            mail.display(),
            home.path().display(),
            pop3.port(),
        );
        fs::write(&config, settings).unwrap();
        let mut command = contained(DOVECOT);
        command.arg("-F").arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(File::create(home.path().join("errors")).unwrap()).spawn().unwrap();
        let dovecot = Self { child, pop3, maildir: Maildir { path: mail }, home };
        eventually("Dovecot is up", || TcpStream::connect(pop3).ok());
        dovecot
    }

    /// Puts letters into the mailbox, which belongs to the user of Dovecot.
    fn put(&self, letters: &[&[u8]]) {
        for (number, letter) in (1_700_000_000..).zip(letters) {
            self.maildir.put(&format!("{number}.M1P1Q1.far.test"), letter);
        }
        let mut chown = Command::new("chown");
        succeeded(chown.args(["-R", "mail:mail"]).arg(&self.maildir.path).output().unwrap());
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = self.child.kill(); // its namespace goes with it
        let _ = self.child.wait();
        if std::thread::panicking() {
            let read = |name| fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
            eprintln!("--- what Dovecot logged:\n{}{}", read("errors"), read("log"));
        }
    }
}

/// A port that is free. Neither Postfix nor Dovecot can be asked to take any that is free and to say which.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&[POSTFIX], send_hands_letters_to_postfix_which_hands_them_to_us),
        Story::new(
            &[POSTFIX, DOVECOT, DOVECOT_POP3, UNSHARE, "python3"],
            client_reads_at_dovecot_and_writes_by_postfix,
        ),
    ]
}

fn send_hands_letters_to_postfix_which_hands_them_to_us() {
    let sockets = relay_home();
    let server = server(sockets.path());
    let postfix = Postfix::relay(&server, sockets.path(), Way::Lmtp);
    let message = server.home.path().join("message");
    let content = b"Subject: dots\n\n.\n..\n.a\nd\xc3\xa9j\xc3\xa0 vu\n";
    fs::write(&message, content).unwrap();
    let send = |from: &str, to: &str| {
        let mut send = Command::new(env!("CARGO_BIN_EXE_restante"));
        send.args(["send", "-v", "--server", &postfix.smtp.to_string(), "--from", from, "--to", to, "--raw"]);
        send.arg(&message).env("LC_ALL", "C").output().unwrap()
    };
    let sent = send("ann@far.test", ALICE);
    assert!(sent.status.success(), "{}", said(&sent));
    assert!(said(&sent).contains(" BODY=8BITMIME\n"), "{}", said(&sent));
    postfix.done(1);
    let stored = server.maildir(ALICE).only_message();
    let arrived = String::from_utf8(with_crlf(without_trace(&stored))).unwrap();
    assert!(arrived.ends_with(&String::from_utf8(with_crlf(content)).unwrap()[15..]), "{arrived}");
    let refused = send("ann@far.test", "nobody@refused.test");
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(
        said(&refused).contains("Refused: trying again will fail unless something is changed."),
        "{}",
        said(&refused)
    );
}

fn client_reads_at_dovecot_and_writes_by_postfix() {
    let (keys, sockets) = (Keys::make(), relay_home());
    let server = server(sockets.path());
    let postfix = Postfix::relay(&server, sockets.path(), Way::Lmtp);
    let dovecot = Dovecot::start(&keys);
    let letters: Vec<String> =
        (1..=3).map(|n| format!("From: ann@far.test\nSubject: letter {n}\n\n.\ntext {n}\n")).collect();
    dovecot.put(&letters.iter().map(String::as_bytes).collect::<Vec<_>>());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/terminal.py");
    let mut python = Command::new("python3");
    python.args([script, "between_postfix_and_dovecot", env!("CARGO_BIN_EXE_restante")]);
    python.args([postfix.smtp.port(), dovecot.pop3.port()].map(|port| port.to_string()));
    succeeded(python.arg(server.home.path()).arg(keys.certificate()).output().unwrap());
    postfix.done(1);
    let arrived = String::from_utf8(server.maildir(ALICE).only_message()).unwrap();
    assert!(arrived.contains("Subject: by Postfix\n") && arrived.ends_with("\nhello\n"), "{arrived}");
    let left = [dovecot.maildir.files("new"), dovecot.maildir.files("cur")].concat();
    let left: Vec<String> = left.iter().map(|file| read(file)).collect();
    assert_eq!(left, [letters[0].as_str(), &letters[2]]);
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}
