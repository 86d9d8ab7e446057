//! Transcripts: the sessions that a server writes down can be played as dialogues, have no secret in them, and never
//! cost any mail.

use std::{
    fs, io::Write, net::Shutdown, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, thread,
    time::Duration,
};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, chunked, deliver, socket},
    configuration, eventually, home, listeners,
    secure::{ALICE, BOTH, Keys, address, over},
    skip,
};
use crate::dialogue::{
    file::{Dialogue, Problem},
    play,
    way::Way,
};
use rustix::process::Signal;

const DOWN: &str = "transcripts = \"transcripts\"\n";
pub(crate) const LETTER: &[u8] = b"Subject: seen\r\n\r\n.hidden\r\nbody of a letter\r\n";

/// The files of a server, in the order of their sessions.
fn files(server: &Server) -> Vec<PathBuf> {
    let directory = fs::read_dir(server.home.path().join("transcripts")).unwrap();
    let mut files: Vec<PathBuf> = directory.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Waits for the end of the session, and leaves: a server waits for clients that stay.
pub(crate) fn ends(mut client: Client) {
    client.rest();
}

/// Ends the server in good order, and reads its transcripts. Waits first until they are written, since the
/// server would not wait long for a slow disk.
pub(crate) fn transcripts(server: &mut Server) -> Vec<String> {
    let sizes = || {
        let sizes = files(server).into_iter().map(|file| fs::metadata(file).map_or(0, |about| about.len()));
        sizes.collect::<Vec<_>>()
    };
    eventually("all that was said is written", || {
        let before = sizes();
        thread::sleep(Duration::from_millis(100));
        (sizes() == before).then_some(())
    });
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    files(server).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// Plays a transcript as a dialogue: the session says, asks and does the same.
#[track_caller]
fn plays(transcript: &str) {
    let played = Dialogue::read(transcript, None).and_then(|dialogue| play::check(&dialogue, Way::Whole));
    if let Err(Problem { line, what }) = played {
        panic!("line {line}: {what}\n{transcript}");
    }
}

pub(crate) fn strict(more: &str) -> Server {
    let config = format!("{DOWN}{more}{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
    let users = &[ALICE, "bob@example.test"];
    Setup { config: Some(&config), users, ..Setup::default() }.start()
}

#[test]
fn sessions_of_smtp_can_be_played() {
    let mut server = strict("");
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[ALICE], LETTER).starts_with("250"));
    client.ask("RCPT TO:<alice@example.test>", "503");
    client.ask("MAIL FROM:<a b@far.test>", "501");
    client.ask("MAIL FROM:<a@far.test> SIZE=99999999999", "552");
    client.ask("MAIL FROM:<>", "250");
    for (to, reply) in [("nobody@example.test", "550 5.1.1"), ("a@far.test", "550 5.7.1"), (ALICE, "250")] {
        client.ask(&format!("RCPT TO:<{to}>"), reply);
    }
    client.write(&chunked(LETTER, &[7, 11]));
    (0..6).for_each(|_| drop(client.expect("250")));
    client.ask("EXPN x", "502");
    client.ask("what is this", "500");
    client.send("QUIT").expect("221");
    ends(client);

    // In one piece, as it is allowed.
    let mut client = Client::smtp(&server);
    client.write(format!("MAIL FROM:<a@far.test>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n").as_bytes());
    ["250", "250", "354"].iter().for_each(|reply| drop(client.expect(reply)));
    client.write(b"a bare\nline feed\r\n.\r\n");
    client.expect("550 5.5.2");
    client.write(b"DATA\r\nout of step\r\n");
    client.expect("503");
    client.expect("500");
    client.send("MAIL FROM:<a@far.test>").expect("250");
    client.send(&format!("RCPT TO:<{ALICE}>")).expect("250");
    client.write(b"DATA\r\nout of step\r\n");
    client.expect("554 5.5.0");
    ends(client);

    let mut client = Client::connect(server.smtp());
    client.expect("220");
    client.send("HELO client.test").expect("250");
    client.write(b"NOOP\n");
    client.expect("500");
    ends(client);

    let transcripts = transcripts(&mut server);
    assert_eq!(transcripts.len(), 3);
    transcripts.iter().for_each(|transcript| plays(transcript));
    for part in
        ["C: MAIL FROM:<>\n", "# state: greeted -> sender\n", "# spool: delivered ", "C~ octets=45 lines=4\n"]
    {
        assert!(transcripts[0].contains(part), "{part:?} is not in {}", transcripts[0]);
    }
    assert!(transcripts.iter().all(|transcript| !transcript.contains("body of a letter")));
}

#[test]
fn sessions_that_are_given_up_can_be_played() {
    let mut server = strict("");
    for half in
        ["", "EHL", "EHLO client.test\r\nMAIL FROM:<a@far.test>\r\nRCPT TO:<alice@example.test>\r\nDA"]
    {
        let mut stream = socket(server.smtp());
        stream.write_all(half.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        Client::over(stream).rest();
    }
    let mut stream = socket(server.smtp());
    let mut client = Client::over(stream.try_clone().unwrap());
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.begin_data("a@far.test", &[ALICE]);
    stream.write_all(b"Subject: half\r\n\r\nand no m").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    ends(client);
    let transcripts = transcripts(&mut server);
    assert_eq!(transcripts.len(), 4);
    transcripts.iter().for_each(|transcript| plays(transcript));
    assert!(transcripts[3].contains("C~ octets=25 lines=2 half=8\n. end\n. close\n"), "{}", transcripts[3]);
}

#[test]
fn sessions_of_pop3_can_be_played() {
    let mut server = strict("");
    (0..3).for_each(|_| deliver(&server, ALICE, LETTER));
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask("CAPA", "+OK");
    client.text();
    client.ask("USER alice@example.test", "+OK");
    client.ask("PASS wrong", "-ERR");
    client.ask("PASS wrong", "-ERR");
    client.ask("AUTH PLAIN", "+");
    client.ask("*", "-ERR");
    client.ask("USER alice@example.test", "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "+OK 3");
    for list in ["LIST", "UIDL"] {
        client.ask(list, "+OK");
        client.text();
    }
    client.retr(1);
    client.ask("TOP 2 1", "+OK");
    client.text();
    client.ask("TOP 2", "-ERR");
    client.ask("RETR 4", "-ERR");
    client.ask("DELE 1", "+OK");
    client.ask("RETR 1", "-ERR");
    client.ask("STAT", "+OK 2 ");
    client.ask("QUIT", "+OK");
    ends(client);
    let transcripts = transcripts(&mut server);
    let transcript = transcripts.last().unwrap();
    plays(transcript);
    for part in ["C: PASS ***\n", "C: PASS ***2\n", "S~ octets=269 lines=10\n", "# spool: deleted "] {
        assert!(transcript.contains(part), "{part:?} is not in {transcript}");
    }
}

#[test]
fn t20_sessions_with_logins_can_be_played_and_have_no_password_in_them() {
    let keys = Keys::make();
    let listeners = listeners(&["submission", "submissions", "pop3", "pop3s", "lmtp"]);
    let mut server = keys.serve(&format!("{DOWN}[limits]\nauth.failure_delay = \"0s\"\n{listeners}"));
    let trusted = keys.trusted(BOTH);
    // alice and the right password, and a wrong one, as PLAIN and as LOGIN say it.
    let plain = "AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWU=";
    let (user, password, wrong) = ("YWxpY2VAZXhhbXBsZS50ZXN0", "c2VzYW1l", "aHVudGVyMg==");

    let stream = socket(address(&server, "submission"));
    let mut client = Client::over(stream.try_clone().unwrap());
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.ask("STARTTLS", "220");
    drop(client);
    let mut client = Client::over(over(stream, &trusted));
    client.ask("MAIL FROM:<alice@example.test>", "503");
    client.ask("EHLO client.test", "250");
    client.ask("AUTH PLAIN", "334");
    client.ask("*", "501");
    client.ask(&format!("AUTH LOGIN {user}"), "334");
    client.ask(wrong, "535");
    client.ask("AUTH PLAIN !", "501");
    client.ask(&format!("AUTH XMAGIC {plain}"), "504");
    client.ask(plain, "500");
    client.ask(&format!("AUTH PLAIN {plain}"), "235");
    client.ask("MAIL FROM:<bob@example.test>", "550 5.7.1");
    client.ask("MAIL FROM:<alice@example.test> BODY=8BITMIME", "250");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    client.ask("DATA", "354");
    client.write("Subject: sealed\r\n\r\nété\r\n.\r\n".as_bytes());
    client.expect("250");
    client.send("QUIT").expect("221");
    ends(client);

    let mut client = Client::over(over(socket(address(&server, "submissions")), &trusted));
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.ask(&format!("\tAUTH PLAIN {plain}"), "500");
    client.ask(&format!("AUHT PLAIN {plain}"), "500");
    client.ask(&format!("PASS {PASSWORD}"), "500");
    client.ask("AUTH LOGIN", "334");
    client.ask(user, "334");
    client.ask(password, "235");
    client.send("QUIT").expect("221");
    ends(client);

    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!(" PASS {PASSWORD}"), "-ERR");
    client.ask("USER somebody@example.test", "+OK");
    client.ask(&format!("AUTH PLAIN {plain}"), "+OK");
    client.send("QUIT").expect("+OK");
    ends(client);

    let mut client = Client::over(over(socket(address(&server, "pop3s")), &trusted));
    client.expect("+OK");
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "+OK");
    client.retr(1);
    client.send("QUIT").expect("+OK");
    ends(client);

    let mut client = Client::connect(address(&server, "lmtp"));
    client.expect("220");
    client.ask("LHLO client.test", "250");
    client.begin_data("a@far.test", &[ALICE, "alice+there@example.test"]);
    client.write(b"Subject: two\r\n\r\n.\r\n");
    client.expect("250");
    client.expect("250");
    client.send("QUIT").expect("221");
    ends(client);

    let transcripts = transcripts(&mut server);
    assert_eq!(transcripts.len(), 5);
    transcripts.iter().for_each(|transcript| plays(transcript));
    for written in transcripts.iter().chain([&server.log()]) {
        for secret in [plain, password, &password[1..], wrong, PASSWORD, "hunter2"] {
            assert!(!written.contains(secret), "{secret} is in {written}");
        }
    }
    assert!(transcripts[0].contains(". secure\n"), "{}", transcripts[0]);
    assert!(transcripts[0].contains("# tls: 1.3 TLS_"), "{}", transcripts[0]);
    assert!(transcripts[1].contains("= tls implicit\n"));
    assert!(transcripts[2].contains("? verify user=*\n"), "{}", transcripts[2]);
}

/// A session of POP3 that reads the first letter.
fn fetch_one(server: &Server) {
    let mut client = Client::pop3(server, ALICE);
    client.retr(1);
    client.send("QUIT").expect("+OK");
    ends(client);
}

#[test]
fn bodies_are_written_down_where_they_are_wanted() {
    let mut server = strict("transcript_bodies = true\n");
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[ALICE], LETTER).starts_with("250"));
    client.ask("MAIL FROM:<a@far.test>", "250");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    client.write(&chunked(b"no end", &[4]));
    client.expect("250");
    client.expect("250");
    client.send("QUIT").expect("221");
    ends(client);
    fetch_one(&server);
    let transcripts = transcripts(&mut server);
    transcripts.iter().for_each(|transcript| plays(transcript));
    assert!(transcripts[0].contains("C: ..hidden\nC: body of a letter\nC: .\n"), "{}", transcripts[0]);
    assert!(transcripts[0].contains("C: BDAT 4\n") && transcripts[0].contains("C| no e\n"));
    assert!(transcripts[1].contains("S: ..hidden\nS: body of a letter\nS: .\n"), "{}", transcripts[1]);
}

#[test]
fn a_line_that_is_too_long_to_be_kept_is_written_down_in_parts() {
    let mut server = strict("transcript_bodies = true\n");
    let letter = [&b"Subject: long\r\n\r\n"[..], &[b'x'; 380_000], b"\r\nend\r\n"].concat();
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[ALICE], &letter).starts_with("250"));
    client.send("QUIT").expect("221");
    ends(client);
    fetch_one(&server);
    let transcripts = transcripts(&mut server);
    for (transcript, begun, end) in
        [(&transcripts[0], "\nC| x", "\nC: end\n"), (&transcripts[1], "\nS| x", "\nS: end\n")]
    {
        plays(transcript);
        // The number of parts depends on the pieces in which the line came.
        assert!(transcript.contains(begun) && transcript.contains(end));
    }
}

#[test]
fn a_big_message_costs_no_big_file_and_files_are_for_their_owner() {
    let mut server = strict("");
    let line = [&[b'x'; 70][..], b"\r\n"].concat();
    deliver(&server, ALICE, &line.repeat(10 * 1024 * 1024 / line.len()));
    Client::pop3(&server, ALICE).retr(1);
    let files = {
        transcripts(&mut server);
        files(&server)
    };
    for file in &files {
        let metadata = fs::metadata(file).unwrap();
        assert!(metadata.len() < 4096, "{}: {} octets", file.display(), metadata.len());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    let directory = fs::metadata(files[0].parent().unwrap()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_oldest_of_a_thousand_sessions_make_room_and_one_is_cut_where_it_is_too_long() {
    let limits = "[limits]\ntranscripts.max_count = 50\ntranscripts.max_size = \"1 KiB\"\nconnections.max_per_address = 0\n";
    let config = format!("{DOWN}{STRICT}{limits}");
    let mut server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let smtp = server.smtp();
    let several = |_| {
        thread::spawn(move || {
            for _ in 0..250 {
                let mut client = Client::connect(smtp);
                client.expect("220");
                client.send("QUIT").expect("221");
            }
        })
    };
    [0; 4].map(several).into_iter().for_each(|thread| thread.join().unwrap());
    let mut client = Client::smtp(&server);
    (0..60).for_each(|_| drop(client.ask("NOOP", "250")));
    let transcripts = transcripts(&mut server);
    assert_eq!(transcripts.len(), 50);
    let last = transcripts.last().unwrap();
    assert!(last.ends_with("# cut: more than 1024 octets\n") && last.len() <= 1100, "{last}");
    transcripts[..49].iter().for_each(|transcript| plays(transcript));
}

#[test]
fn u94_transcripts_go_on_after_their_directory_was_removed_or_the_log_tells_the_remedy() {
    for sandbox in ["off", "landlock"] {
        let config = format!("sandbox = {sandbox:?}\n{DOWN}{STRICT}");
        let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
        let directory = server.home.path().join("transcripts");
        let session = || {
            let mut client = Client::smtp(&server);
            client.send("QUIT").expect("221");
        };
        session();
        // Its file is open, so it can still be written after the directory is gone.
        let mut going_on = Client::smtp(&server);
        eventually("the transcripts are there", || (files(&server).len() == 2).then_some(()));
        fs::remove_dir_all(&directory).unwrap();
        session();
        server.tells("the directory of the transcripts was removed, and ");
        if server.log().contains("is made again") {
            eventually("the next transcript is there", || (files(&server).len() == 1).then_some(()));
            assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        } else {
            assert_eq!(sandbox, "landlock");
            for _ in 0..3 {
                going_on.ask("NOOP", "250");
                session();
            }
            deliver(&server, ALICE, LETTER);
            assert_eq!(server.log().matches("restart the server, which makes it").count(), 1);
        }
    }
}

#[test]
fn a_full_disk_stops_transcripts_and_no_mail() {
    let test = "a_full_disk_stops_transcripts_and_no_mail";
    let directory = home();
    let small = directory.path().join("small");
    fs::create_dir(&small).unwrap();
    let script = format!("mount -t tmpfs -o size=16k none {} && exec \"$@\"", small.display());
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skip(test, "a file system of one's own can't be mounted here");
    }
    let config = format!("transcripts = {:?}\n{STRICT}", small.join("transcripts"));
    let users = &[ALICE];
    let server = Setup { wrapper: &wrapper, config: Some(&config), users, ..Setup::default() }.start();
    for _ in 0..30 {
        deliver(&server, ALICE, LETTER);
    }
    server.tells("cannot write transcripts: No space left on device");
    deliver(&server, ALICE, LETTER);
    Client::pop3(&server, ALICE).retr(31);
    assert_eq!(server.log().matches("cannot write transcripts").count(), 1, "once a minute");
}

#[test]
fn transcripts_that_cannot_be_written_keep_a_server_from_starting() {
    let directory = home();
    let file = directory.path().join("restante.toml");
    let rest = format!("transcripts = \"not/there\"\n{STRICT}");
    let text = configuration(directory.path(), &directory.path().join("spool"), &rest);
    fs::write(&file, text).unwrap();
    fs::write(directory.path().join("users.json"), "{}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    let output = command.arg("serve").arg("--config").arg(&file).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("transcripts: there is no directory "), "{told}");
    assert!(told.contains("mkdir -p "), "{told}");
}
