//! Faults on demand, each as a real client sees it: curl, swaks, fetchmail, Python's smtplib and poplib, or a
//! plain socket if no client shows octets and times.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::common::{
    self, Server, Setup,
    client::{Client, deliver},
    installed, skip,
};

const BOB: &str = "bob@example.test";
const LETTER: &[u8] = b"Subject: hello\r\n\r\nA letter.\r\n";

/// The results of Python's own clients. `script` has `smtp`, `pop3` and `imap`, as addresses to connect to.
#[track_caller]
fn python(server: &Server, script: &str) -> String {
    let prelude = format!(
        "import smtplib, poplib, imaplib, sys, time\nsmtp = ('127.0.0.1', {})\npop3 = ('127.0.0.1', {})\n\
         imap = ('127.0.0.1', {})\nLETTER = b'Subject: hello\\r\\n\\r\\nA letter.\\r\\n'\n",
        server.smtp().port(),
        server.pop3().port(),
        server.addresses("imap")[0].port()
    );
    let mut python = Command::new("python3");
    let said = python.args(["-c", &format!("{prelude}{script}")]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

/// A server with a letter of many lines for bob, and the letter as POP3 sends it.
fn with_a_long_letter() -> (Server, Vec<u8>) {
    let server = Server::dev();
    let letter = [b"Subject: long\r\n\r\n".to_vec(), b"a line of the letter\r\n".repeat(100)].concat();
    server.maildir(BOB).put("1.long", &letter);
    (server, letter)
}

#[test]
fn smtplib_gets_every_code_that_it_asks_for() {
    let server = Server::dev();
    let said = python(
        &server,
        "
for code in (421, 450, 451, 452, 550, 552, 599):
    session = smtplib.SMTP(*smtp)
    try:
        session.sendmail('me@far.test', [f'bob+{code}@example.test'], LETTER)
    except smtplib.SMTPRecipientsRefused as refused:
        print(code, [reply[0] for reply in refused.recipients.values()])
    try:
        print(session.noop()[0])
    except smtplib.SMTPServerDisconnected:
        print('gone')
",
    );
    let expected: Vec<String> = [421, 450, 451, 452, 550, 552, 599]
        .iter()
        .flat_map(|code| [format!("{code} [{code}]"), if *code == 421 { "gone" } else { "250" }.into()])
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    assert_eq!(server.maildir(BOB).files("new").len(), 0);
}

#[test]
fn swaks_is_accepted_at_its_fourth_try() {
    if !installed("swaks") {
        return skip("swaks_is_accepted_at_its_fourth_try", "swaks is not installed");
    }
    let server = Server::dev();
    let to = "bob+first-3-451@example.test";
    let tries: Vec<i32> = (0..5)
        .map(|_| {
            let swaks = ["--server", &server.smtp().to_string(), "--to", to, "--from", "me@far.test"];
            run("swaks", &swaks).status.code().unwrap()
        })
        .collect();
    assert_eq!(tries, [24, 24, 24, 0, 0], "24 is what swaks says of RCPT");
    assert_eq!(server.maildir(BOB).files("new").len(), 2, "in bob's own mailbox");
}

#[test]
fn a_message_refused_after_the_dot_is_not_kept() {
    let server = Server::dev();
    let said = python(
        &server,
        "
for word in ('451-after-dot', '421-after-dot', '554-after-dot'):
    session = smtplib.SMTP(*smtp)
    try:
        session.sendmail('me@far.test', [f'bob+{word}@example.test'], LETTER)
    except smtplib.SMTPDataError as refused:
        print(refused.smtp_code)
    try:
        session.sendmail('me@far.test', ['eve@example.test'], LETTER)
        print('next one accepted')
    except smtplib.SMTPServerDisconnected:
        print('gone')
",
    );
    let expected = ["451", "next one accepted", "421", "gone", "554", "next one accepted"];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    assert_eq!(server.maildir(BOB).files("new").len(), 0);
    assert_eq!(server.maildir("eve@example.test").files("new").len(), 2);
}

#[test]
fn a_large_message_refused_after_the_dot_leaves_no_draft() {
    let server = Server::dev();
    let large = [b"Subject: x\r\n\r\n".to_vec(), b"0123456789abcdef\r\n".repeat(100_000)].concat();
    let reply = Client::smtp(&server).deliver(&["bob+452-after-dot@example.test"], &large);
    assert_eq!(reply, "452 4.0.0 A fault on demand\r\n");
    common::eventually("tmp/ is empty", || server.maildir(BOB).files("tmp").is_empty().then_some(()));
}

#[test]
fn curl_is_dropped_after_the_dot_and_the_message_is_there() {
    let server = Server::dev();
    let letter = server.home.path().join("letter");
    std::fs::write(&letter, LETTER).unwrap();
    let curl = [
        "-sS",
        "--max-time",
        "60",
        "--mail-from",
        "me@far.test",
        "--mail-rcpt",
        "bob+drop-after-dot@example.test",
        "-T",
        letter.to_str().unwrap(),
        &format!("smtp://{}", server.smtp()),
    ];
    let done = run("curl", &curl);
    assert!(!done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(server.maildir(BOB).files("new").len(), 1);
}

#[test]
fn a_connection_drops_at_an_octet_of_the_message() {
    let server = Server::dev();
    let to = "bob+drop-at-1000@example.test";
    let begin = || {
        let mut client = Client::smtp(&server);
        client.begin_data("me@far.test", &[to]);
        client
    };
    let mut client = begin();
    client.write(&b"nine....\r\n".repeat(100)[..999]);
    client.write(b"x");
    assert_eq!(client.rest(), b"");
    let mut client = begin();
    client.write(&b"eight...\r\n".repeat(99));
    client.write(b".\r\n");
    client.expect("250");
    assert_eq!(server.maildir(BOB).files("new").len(), 1, "shorter ones arrive");
    server.tells(" by a fault on demand: DropAt(1000)");
}

#[test]
fn replies_are_late_and_nobody_else_waits() {
    let server = Server::dev();
    let mut slow = Client::smtp(&server);
    slow.ask("MAIL FROM:<me@far.test>", "250");
    let began = Instant::now();
    slow.send("RCPT TO:<bob+slow-1@example.test>");
    deliver(&server, "eve@example.test", LETTER);
    slow.expect("250");
    slow.ask("NOOP", "250");
    assert!(
        began.elapsed() >= Duration::from_millis(1900),
        "two replies of a second each: {:?}",
        began.elapsed()
    );
}

#[test]
fn a_client_of_little_patience_gives_up_and_a_message_that_it_took_for_lost_is_there() {
    let server = Server::dev();
    let said = python(
        &server,
        "
session = smtplib.SMTP(*smtp)
session.ehlo(); session.mail('me@far.test'); session.rcpt('bob+slow-2@example.test')
session.docmd('DATA')
session.sock.settimeout(0.3)
session.send(LETTER + b'.\\r\\n')
try:
    print(session.getreply())
except (TimeoutError, smtplib.SMTPServerDisconnected):
    print('gave up')
",
    );
    assert_eq!(said, "gave up\n");
    common::eventually("it was delivered", || (server.maildir(BOB).files("new").len() == 1).then_some(()));
}

#[test]
fn poplib_is_cut_off_in_a_message_and_at_quit() {
    let (server, _) = with_a_long_letter();
    let said = python(
        &server,
        "
for word, act in (('cut-at-500', lambda session: session.retr(1)), ('drop-before-quit-answer', lambda session: session.quit())):
    session = poplib.POP3(*pop3)
    session.user(f'bob+{word}@example.test')
    session.pass_('any')
    if word != 'cut-at-500':
        session.dele(1)
    try:
        print(word, act(session))
    except (poplib.error_proto, OSError) as lost:
        print(word, 'lost')
session = poplib.POP3(*pop3)
session.user('bob@example.test')
session.pass_('any')
print(session.stat())
",
    );
    let expected = ["cut-at-500 lost", "drop-before-quit-answer lost", "(0, 0)"];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_message_drips() {
    let (server, letter) = with_a_long_letter();
    let mut client = Client::pop3(&server, "bob+drip-2000@example.test");
    let began = Instant::now();
    assert_eq!(client.retr(1), letter);
    let least = Duration::from_millis(900);
    assert!(began.elapsed() >= least, "{} octets at 2000 a second: {:?}", letter.len(), began.elapsed());
}

#[test]
fn poplib_sees_what_is_wrong_with_the_mailbox() {
    let (server, letter) = with_a_long_letter();
    let said = python(
        &server,
        "
def login(word):
    session = poplib.POP3(*pop3)
    session.user(f'bob+{word}@example.test')
    try:
        session.pass_('any')
    except poplib.error_proto as refused:
        print(word, str(refused)[2:12])
    return session
login('in-use-2'); login('in-use-2')
print(login('in-use-2').stat())
login('wrong-password')
session = login('wrong-size')
print(session.stat(), session.list(1), session.list()[1], session.retr(1)[2], session.list(1))
",
    );
    let (true_size, wrong) = (letter.len(), letter.len() + 100);
    let expected = [
        "in-use-2 -ERR [IN-U".to_owned(),
        "in-use-2 -ERR [IN-U".to_owned(),
        format!("(1, {true_size})"),
        "wrong-password -ERR [AUTH".to_owned(),
        format!("(1, {wrong}) b'+OK 1 {wrong}' [b'1 {wrong}'] {true_size} b'+OK 1 {wrong}'"),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn smtplib_logs_in_with_any_password_but_where_the_name_asks_for_a_wrong_one() {
    let server = Server::dev();
    let said = python(
        &server,
        "
def login(user):
    session = smtplib.SMTP(*smtp)
    session.login(user, 'any')
    return session
session = login('app@shop.test')
session.sendmail('noreply@elsewhere.test', ['bob@example.test'], LETTER)
session.quit()
try:
    login('bob+wrong-password@example.test')
except smtplib.SMTPAuthenticationError as refused:
    print(refused.smtp_code)
",
    );
    assert_eq!(said, "535\n");
    let arrived = |mailbox, folder| server.maildir(mailbox).files(folder).len();
    assert_eq!((arrived(BOB, "new"), arrived("app@shop.test", ".Sent/cur")), (1, 1));
}

#[test]
fn y86_imaplib_meets_every_fault_that_its_login_asks_for() {
    let (server, letter) = with_a_long_letter();
    let said = python(
        &server,
        "
def login(word):
    session = imaplib.IMAP4(*imap)
    session.login(f'bob+{word}@example.test', 'any')
    return session
def result(word, act):
    try:
        session = login(word)
        print(word, act(session))
    except imaplib.IMAP4.abort:
        print(word, 'lost')
    except imaplib.IMAP4.error as refused:
        print(word, str(refused)[:24])
def whole(session):
    session.select('INBOX')
    return len(session.fetch('1', '(BODY.PEEK[])')[1][0][1])
append = lambda session: session.append('Drafts', None, None, LETTER)[0]
result('no-on-select', lambda session: session.select('INBOX')[0])
result('no-on-select', append)
result('no-on-append', append)
result('drop-after-append', append)
result('cut-at-500', whole)
result('bye-at-500', whole)
result('slow-quit', whole)
result('wrong-password', whole)
validity = lambda session: (session.select('INBOX'), int(session.response('UIDVALIDITY')[1][0]))[1]
true = validity(login('slow-quit'))
print(*[validity(login('new-uidvalidity')) - true for _ in range(2)])
print(login('slow-quit').status('Drafts', '(MESSAGES)')[1])
",
    );
    let expected = [
        "no-on-select NO".to_owned(),
        "no-on-select OK".to_owned(),
        "no-on-append NO".to_owned(),
        "drop-after-append lost".to_owned(),
        "cut-at-500 lost".to_owned(),
        "bye-at-500 lost".to_owned(),
        format!("slow-quit {}", letter.len()),
        "wrong-password b'[AUTHENTICATIONFAILED]".to_owned(),
        "1 2".to_owned(),
        "[b'Drafts (MESSAGES 2)']".to_owned(),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    server.tells(" by a fault on demand: DropAfterAppend");
}

#[test]
fn uidls_are_new_in_each_session() {
    let (server, _) = with_a_long_letter();
    let listings: Vec<Vec<String>> = (0..2)
        .map(|_| {
            let mut client = Client::pop3(&server, "bob+new-uidls@example.test");
            let listing = client.listing("UIDL");
            client.ask("QUIT", "+OK");
            listing
        })
        .collect();
    assert_ne!(listings[0], listings[1]);
    assert_eq!([listings[0].len(), listings[1].len()], [1, 1]);
}

#[test]
fn a_message_is_cut_at_an_octet() {
    let (server, letter) = with_a_long_letter();
    let mut client = Client::pop3(&server, "bob+cut-at-500@example.test");
    client.ask("NOOP", "+OK");
    client.ask("RETR 1", &format!("+OK {} octets", letter.len()));
    assert_eq!(client.rest(), &letter[..500]);
    assert_eq!(server.maildir(BOB).files("new").len(), 1, "neither deleted nor seen");
}

#[test]
fn fetchmail_does_not_delete_what_was_cut() {
    if !installed("fetchmail") {
        return skip("fetchmail_does_not_delete_what_was_cut", "fetchmail is not installed");
    }
    let (server, _) = with_a_long_letter();
    let fetch = |user: &str| {
        let home = server.home.path();
        let rc = home.join("fetchmailrc");
        let text = format!(
            "poll 127.0.0.1 service {} protocol pop3 uidl\n  user \"{user}\" password \"any\"\n  \
             sslproto \"\" no keep mda \"cat >> {}\"\n",
            server.pop3().port(),
            home.join("fetched").display(),
        );
        std::fs::write(&rc, text).unwrap();
        std::fs::set_permissions(&rc, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut fetchmail = Command::new("fetchmail");
        fetchmail.env("HOME", home).env("FETCHMAILHOME", home);
        fetchmail.args(["-f", rc.to_str().unwrap(), "-t", "10", "--pidfile"]).arg(home.join("pid"));
        fetchmail.output().unwrap()
    };
    let done = fetch("bob+cut-at-500@example.test");
    assert!(!done.status.success(), "{done:?}");
    assert_eq!(server.maildir(BOB).files("new").len(), 1);
    let done = fetch(BOB);
    assert!(done.status.success(), "{done:?}");
    common::eventually("it is fetched", || server.maildir(BOB).files("new").is_empty().then_some(()));
}

#[test]
fn quit_deletes_and_does_not_say_so() {
    let (server, _) = with_a_long_letter();
    let mut client = Client::pop3(&server, "bob+drop-before-quit-answer@example.test");
    client.ask("DELE 1", "+OK");
    client.send("QUIT");
    assert_eq!(client.rest(), b"");
    assert_eq!(server.maildir(BOB).files("new").len(), 0);
}

#[test]
fn quit_deletes_and_says_so_late() {
    let (server, _) = with_a_long_letter();
    let mut client = Client::pop3(&server, "bob+slow-quit-1@example.test");
    client.ask("DELE 1", "+OK");
    let began = Instant::now();
    client.send("QUIT");
    common::eventually("it is deleted", || server.maildir(BOB).files("new").is_empty().then_some(()));
    let deleted = began.elapsed();
    client.expect("+OK");
    assert!(began.elapsed() >= Duration::from_millis(950), "{deleted:?}, {:?}", began.elapsed());
}

#[test]
fn where_nobody_asks_for_faults_they_are_folders() {
    let server = Setup { arguments: &["--no-faults"], ..Setup::default() }.start();
    deliver(&server, "bob+452@example.test", LETTER);
    Client::connect(server.pop3()).expect("+OK");
    let strict = Server::strict();
    deliver(&strict, "bob+452@example.test", LETTER);
    for server in [server, strict] {
        assert_eq!(server.maildir(BOB).files("new").len(), 1);
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask("USER bob+cut-at-5@example.test", "+OK");
        client.ask(&format!("PASS {}", common::PASSWORD), "-ERR [SYS/PERM] No such folder");
    }
}

#[test]
fn no_configuration_file_can_ask_for_faults() {
    let server = Server::strict();
    let file = server.home.path().join("restante.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    for key in ["faults_on_demand", "faults-on-demand", "faults"] {
        std::fs::write(&file, format!("{key} = true\n{text}")).unwrap();
        let error = restante::config::Config::load(&file).unwrap_err().to_string();
        assert!(error.contains("unknown key"), "{error}");
    }
}

#[test]
fn h07_a_mistyped_fault_is_told_in_the_reply_and_in_the_log() {
    let server = Server::dev();
    let mut smtp = Client::smtp(&server);
    smtp.ask("MAIL FROM:<ann@example.test>", "250");
    for (to, told) in [
        ("bob+452-afterdot", "; +452-afterdot is no fault on demand, did you mean +452-after-dot?\r\n"),
        ("bob+cut-at-500", "; +cut-at-500 is a fault for POP3 and IMAP: log in with it\r\n"),
        ("bob+lists", "250 2.1.5 Recipient ok\r\n"),
    ] {
        let reply = smtp.ask(&format!("RCPT TO:<{to}@example.test>"), "250 2.1.5 Recipient ok");
        assert!(reply.ends_with(told), "{reply}");
    }
    server.tells("reason=\"+452-afterdot is no fault on demand, did you mean +452-after-dot?\"");
    let mut pop3 = Client::connect(server.pop3());
    pop3.expect("+OK");
    pop3.ask("USER bob+wrongsize@example.test", "+OK");
    let reply = pop3.ask("PASS any", "-ERR [SYS/PERM] No such folder");
    assert!(reply.ends_with("; +wrongsize is no fault on demand, did you mean +wrong-size?\r\n"), "{reply}");
}
