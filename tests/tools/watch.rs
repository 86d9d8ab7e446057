//! `restante watch`: its output for transcripts, whole and as they grow.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use crate::common::{
    self, PATIENCE, STRICT, Server, Setup,
    client::{Client, deliver},
    eventually, home,
};

fn watch(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("watch").args(arguments).env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn shown(arguments: &[&str]) -> String {
    let output = watch(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A file beside this one.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/watch").join(name)
}

/// Compares with the expected output in a file; `BLESS=1` writes it.
#[track_caller]
fn assert_shown(name: &str, shown: &str) {
    let file = beside(name);
    if env::var_os("BLESS").is_some() {
        fs::write(&file, shown).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let differs = expected.lines().zip(shown.lines()).find(|(one, other)| one != other);
    assert!(expected == shown, "{}: {differs:?}, or the length\n{shown}", file.display());
}

#[test]
fn a_session_with_starttls_and_a_login_is_explained() {
    let file = beside("submission.dlg");
    let text = shown(&["--no-follow", file.to_str().unwrap()]);
    assert_shown("submission.txt", &text);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "fit for a projector");
    assert!(!text.contains('\x1b'), "no colours where there is no terminal");
    assert_listed_is_explained(&text, " S 250-", 2);
}

#[test]
fn y121_the_changes_of_an_imap_session_are_explained_with_their_files() {
    let file = beside("imap.dlg");
    let text = shown(&["--no-follow", file.to_str().unwrap()]);
    assert_shown("imap.txt", &text);
    assert!(
        text.contains("C a3 STORE 1 +FLAGS (\\Flagged \\Deleted)"),
        "with the backslashes that were typed: {text}"
    );
    for change in ["marked", "deleted", "copied", "moved", "unlinked"] {
        assert!(text.contains(&format!("└ {change} /var/spool/restante/")), "{change}: {text}");
    }
}

#[test]
fn a_session_of_pop3_is_explained() {
    let file = beside("pop3.dlg");
    let text = shown(&["--no-follow", file.to_str().unwrap()]);
    assert_shown("pop3.txt", &text);
    let (_, list) = text.split_once(" S +OK Capabilities follow\n").unwrap();
    let (list, _) = list.split_once(" S .\n").unwrap();
    let (_, list) = list.split_once("done\n").unwrap();
    assert_listed_is_explained(list, " S ", 0);
}

/// Every capability that a server lists is explained, except its own name.
#[track_caller]
fn assert_listed_is_explained(text: &str, mark: &str, names: usize) {
    let listed = text.lines().filter(|line| line.contains(mark));
    let unexplained: Vec<&str> = listed.filter(|line| !line.contains(" · ")).collect();
    assert_eq!(unexplained.len(), names, "{unexplained:?}");
}

#[test]
fn a_session_is_a_diagram() {
    let file = beside("submission.dlg");
    let text = shown(&["--mermaid", file.to_str().unwrap()]);
    assert_shown("submission.mmd", &text);
    assert_is_diagram(&text);
}

/// Sequence diagrams, as far as we draw them: a line is a message or a note, and nothing in its text could be
/// taken for more.
#[track_caller]
fn assert_is_diagram(text: &str) {
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    assert_eq!(next(), "sequenceDiagram");
    assert_eq!(next(), "    participant C as Client");
    assert_eq!(next(), "    participant S as restante");
    let mut drawn = 0;
    for line in lines {
        let line = line.strip_prefix("    ").expect("indented");
        let begins = ["C->>S: ", "S-->>C: ", "S->>S: ", "Note over C,S: ", "Note right of S: "];
        let said = begins.iter().find_map(|begin| line.strip_prefix(begin));
        let said = said.unwrap_or_else(|| panic!("neither a message nor a note: {line}"));
        assert!(!said.trim().is_empty() && said.len() < 1000, "{line}");
        // Without the numbers of characters, the rest is plain text.
        let mut plain = String::new();
        let mut rest = said;
        while let Some((before, after)) = rest.split_once('#') {
            let (number, after) = after.split_once(';').unwrap_or_else(|| panic!("half a number: {line}"));
            assert!((1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()), "{line}");
            plain.push_str(before);
            rest = after;
        }
        plain.push_str(rest);
        assert!(!plain.contains([';', '"', '<', '>', '%', '{', '}', '`', '\\']), "{line}");
        drawn += 1;
    }
    assert!(drawn > 3, "{text}");
}

#[test]
fn whatever_a_client_sends_is_text_of_the_diagram() {
    let directory = home();
    let file = directory.path().join("20261121T180510.000Z-smtp-c1000.dlg");
    let lines = [
        "C: NOOP ; end",
        "C: #35; %% {init} \"quoted\" `x` <br/>",
        "C: ",
        "C| \\x00\\x1b[31m\\n",
        "S: 250 2.0.0 ; Note over C,S: x",
        "C: end",
        "C: S->>C: forged",
        "S~ octets=1 lines=1",
        "# spool: delivered /a;b/c#d/new/e%f",
        "# cut: x;y",
        "C~ ;",
        "# state: start -> over",
        "! failed ;",
        ". pause 1s",
        "# tls: 1.3 ;",
        ". secure",
    ];
    fs::write(&file, format!("# A session of SMTP; with \"x\".\n= protocol smtp\n{}\n", lines.join("\n")))
        .unwrap();
    assert_is_diagram(&shown(&["--mermaid", file.to_str().unwrap()]));
    let text = shown(&["--no-follow", file.to_str().unwrap()]);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn without_transcripts_it_says_what_makes_them() {
    let nowhere = watch(&["/nowhere/at/all"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    let told = String::from_utf8(nowhere.stderr).unwrap();
    assert!(told.contains("/nowhere/at/all") && told.contains("restante dev --transcripts"), "{told}");
    let empty = watch(&["--no-follow", home().path().to_str().unwrap()]).output().unwrap();
    assert_eq!(empty.status.code(), Some(1));
}

/// A watch that goes on.
struct Watching {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    fn start(arguments: &[&str]) -> Self {
        let mut child = watch(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it shows that, and returns everything up to it.
    #[track_caller]
    fn shows(&self, what: &str) -> Vec<String> {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(what)) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("{what:?} is not shown ({error}): {seen:#?}"),
            }
        }
        seen
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        self.child.wait().unwrap();
    }
}

fn lines_of(out: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line); // nobody waits for it any longer
        }
    });
    lines
}

#[test]
fn sessions_are_shown_while_they_go_on_each_with_its_label() {
    let config = format!("transcripts = \"transcripts\"\n{STRICT}");
    let users = &["alice@example.test"];
    let server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    deliver(&server, users[0], b"Subject: before\r\n\r\n");
    let file = server.home.path().join("restante.toml");
    let watching = Watching::start(&["--config", file.to_str().unwrap()]);
    let mut first = Client::connect(server.smtp());
    first.expect("220");
    // A line that arrives before the first is shown may be older than the watch.
    let label = |lines: &[String]| lines.last().unwrap().split(' ').next().unwrap().to_owned();
    let one = loop {
        first.ask("NOOP", "250");
        if let Ok(line) = watching.lines.recv_timeout(PATIENCE / 100)
            && line.contains(" C NOOP")
        {
            break label(&[line]);
        }
    };
    let mut second = Client::connect(server.smtp());
    second.expect("220");
    second.ask("HELO second.test", "250");
    let two = label(&watching.shows(" C HELO second.test"));
    assert_ne!(one, two);
    first.ask("HELO first.test", "250");
    let shown = watching.shows("start → greeted");
    assert!(shown.iter().all(|line| line.starts_with(&one) || line.starts_with(&two)), "{shown:#?}");
    second.send("QUIT").expect("221");
    assert_eq!(label(&watching.shows("greeted → over")), two);
    first.ask("VRFY alice", "252");
    assert_eq!(label(&watching.shows(" C VRFY alice")), one);
}

#[test]
fn one_session_is_followed_to_its_end() {
    let config = format!("transcripts = \"transcripts\"\n{STRICT}");
    let server = Setup { config: Some(&config), ..Setup::default() }.start();
    let mut client = Client::connect(server.smtp());
    client.expect("220");
    let directory = server.home.path().join("transcripts");
    let file = common::eventually("a transcript", || {
        fs::read_dir(&directory).unwrap().next().map(|entry| entry.unwrap().path())
    });
    let mut watching = Watching::start(&[file.to_str().unwrap()]);
    watching.shows(" S 220 ");
    client.send("QUIT").expect("221");
    watching.shows("start → over");
    let status = common::eventually("the watch ends", || watching.child.try_wait().unwrap());
    assert!(status.success());
}

#[test]
fn u07_a_watch_of_a_session_that_says_nothing_more_ends_with_its_reader() {
    let home = home();
    let file = home.path().join("20261121T185343.617Z-smtp-c1001.dlg");
    fs::write(&file, "= protocol smtp\nS: 220 mx ESMTP\nC: EHLO me\n").unwrap();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_restante"));
    let mut watch = watch.arg("watch").arg(&file).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ended = eventually("it ends", || watch.try_wait().unwrap());
    assert_eq!(ended.code(), Some(141), "{line}");
}

#[test]
fn u94_a_watch_of_a_directory_that_is_removed_tells_the_remedy() {
    let home = home();
    let directory = home.path().join("transcripts");
    fs::create_dir(&directory).unwrap();
    let transcript = directory.join("20261121T185343.617Z-smtp-c1001.dlg");
    fs::write(&transcript, "= protocol smtp\n").unwrap();
    let mut watch = watch(&[directory.to_str().unwrap()]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(watch.stdout.take().unwrap());
    // The watch skips the lines that it finds at its start, so more come until it shows one.
    eventually("the watch shows the session", || {
        let mut file = fs::File::options().append(true).open(&transcript).unwrap();
        file.write_all(b"S: 220 mx ESMTP\n").unwrap();
        lines.recv_timeout(PATIENCE / 100).ok()
    });
    fs::remove_dir_all(&directory).unwrap();
    let output = watch.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("transcripts was removed: a server that runs makes it again with its next session"),
        "{said}"
    );
}

#[test]
fn u94_only_a_directory_that_is_absent_is_said_to_be_made_again() {
    let home = home();
    for (name, is_made_again) in [("transcripts", true), ("transcripts/x.dlg", false), ("x.dlg", false)] {
        let path = home.path().join(name);
        let output = watch(&[path.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("name a directory with transcripts"), "{said}");
        assert_eq!(said.contains("makes it again"), is_made_again, "{said}");
    }
}

#[test]
fn u47_a_file_that_is_no_transcript_is_told_whatever_is_asked_of_it() {
    let home = home();
    let no = home.path().join("notes.txt");
    fs::write(&no, "From: ann@example.test\nSubject: x\n\nNo dialogue.\n").unwrap();
    let no = no.to_str().unwrap();
    for words in [&[no][..], &[no, "--follow"], &[no, "--no-follow"], &[no, "--mermaid"]] {
        let output = watch(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains("notes.txt is no transcript: name a directory with transcripts"), "{said}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn u112_a_watch_before_the_first_start_of_the_server_tells_how_to_start_it() {
    let home = home();
    let file = home.path().join("restante.toml");
    let text = "hostname = \"mx.example.test\"\ndomains = [\"example.test\"]\ntranscripts = \"sessions\"\n\
                [[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n";
    fs::write(&file, text).unwrap();
    for more in [&[][..], &["--no-follow"], &["--mermaid"]] {
        let output = watch(&[&["--config", file.to_str().unwrap()], more].concat()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let place = format!("sessions, the `transcripts` of {}, is not there yet", file.display());
        let start = format!("`restante serve --config {}`", file.display());
        assert!(told.contains(&place) && told.contains(&start), "{told}");
    }
}

#[test]
fn n151_a_watch_of_a_server_without_transcripts_says_so_and_how_to_start_one() {
    let server = Server::dev();
    let home = home();
    let file = home.path().join("restante.toml");
    fs::write(
        &file,
        "hostname = \"mx.example.test\"\ndomains = [\"example.test\"]\n[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let start = format!(
        "set transcripts = \"DIR\" above the first [section], and restart the server, with `restante serve --config {file}`"
    );
    let without =
        "the server of ./spool writes no transcripts: end it, and start it with `restante dev --transcripts`";
    for (directory, words, expected) in [
        (server.home.path(), &[][..], without),
        (
            home.path(),
            &[][..],
            "there is no ./transcripts: start a server that writes transcripts, here with `restante dev --transcripts`",
        ),
        (home.path(), &["--config", file][..], start.as_str()),
    ] {
        let output = watch(words).current_dir(directory).env_remove("RESTANTE_CONFIG").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(expected), "{words:?}: {said}");
    }
    // With the sessions of an earlier start.
    fs::create_dir(server.home.path().join("transcripts")).unwrap();
    let mut again = watch(&[]);
    again.current_dir(server.home.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = again.spawn().unwrap();
    let lines = lines_of(child.stderr.take().unwrap());
    Watching { child, lines }.shows(without);
    let output = watch(&[]).current_dir(home.path()).env("RESTANTE_CONFIG", file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let other = format!("`restante watch --config {file}` shows the sessions of the server of that file");
    assert!(said.contains(&other), "{said}");
}

#[test]
fn u132_a_directory_of_mail_and_a_text_that_quotes_a_dialogue_are_no_transcripts() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: x\r\n\r\n");
    for directory in [server.spool.clone(), server.spool.join("bob@example.test")] {
        for more in [&[][..], &["--no-follow"]] {
            let output = watch(&[&[directory.to_str().unwrap()], more].concat()).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            let told =
                "is a directory of mail, and no transcript is in it: name a directory with transcripts";
            assert!(said.contains(told), "{said}");
        }
    }
    let readme = server.home.path().join("README.md");
    fs::write(&readme, "# A server\n\nIt is tried like this:\n\nS: 220 mx ESMTP\nC: EHLO me\n").unwrap();
    let output = watch(&["--no-follow", readme.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("README.md is no transcript: "), "{said}");
}

#[test]
fn u133_a_session_is_named_by_its_id_alone() {
    let home = home();
    let watch_here = |words: &[&str]| watch(words).current_dir(home.path()).output().unwrap();
    let output = watch_here(&["--no-follow", "c1007"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("there is no ./transcripts"), "{said}");
    let directory = home.path().join("transcripts");
    fs::create_dir(&directory).unwrap();
    for (name, greeting) in [
        ("20261121T185343.617Z-smtp-c1007.dlg", "old"),
        ("20261122T185343.617Z-smtp-c1007.dlg", "right"),
        ("20261123T185343.617Z-smtp-c11007.dlg", "other"),
    ] {
        fs::write(directory.join(name), format!("= protocol smtp\nS: 220 {greeting} ESMTP\n")).unwrap();
    }
    for mode in ["--no-follow", "--mermaid"] {
        let output = watch_here(&[mode, "c1007"]);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && shown.contains("220 right"), "{shown}");
        assert!(!shown.contains("220 old") && !shown.contains("220 other"), "{shown}");
    }
    let output = watch_here(&["c1008"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let told =
        "there is no transcript of c1008 in ./transcripts: name its file, whose name ends in -c1008.dlg";
    assert!(output.status.code() == Some(2) && said.contains(told), "{said}");
}
