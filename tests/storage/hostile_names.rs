//! Names and letters with terminal escapes, which commands, the log and the client show to a person.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    process::{Output, Stdio},
};

use crate::{
    common::{
        STRICT, Server, Setup,
        client::{Client, deliver},
        configuration, eventually, home,
        tools::Desk,
    },
    hostile_files::{BOB, fifo, figures, restante},
};

/// Characters that could fool a terminal, or its reader. The line end has a name of its own: it is part of all
/// output.
const HOSTILE: [&str; 2] = [
    "\n",
    "\x01\x07\x08\x0b\x0c\r\x1b]52;c;eA==\x07\x7f\u{85}\u{9b}\u{61c}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\
     \u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{ad}\u{e0041}",
];

/// Fails if a command has printed a hostile character as it is, or begun a line with the text after a hostile line end.
#[track_caller]
fn assert_harmless(words: &[&str], output: &Output, hostile: &str) {
    assert_ne!(output.status.code(), Some(124), "{words:?} hangs");
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        let is_raw = if hostile == "\n" {
            text.lines().any(|line| line.trim_start().starts_with("NAME"))
        } else {
            text.chars().any(|c| c != '\n' && c != '\t' && restante::printable::is_hidden(c))
        };
        assert!(!is_raw, "{words:?} prints {hostile:?} as it is:\n{}", text.escape_debug());
    }
}

#[test]
fn x6_no_command_prints_a_hostile_name_as_it_is() {
    for hostile in HOSTILE {
        let backend = Desk::new();
        let name = format!("evil{hostile}NAME");
        let file = format!("1700000000.x{hostile}NAME");
        // A header may have all but line ends; a folded one has those.
        let word = if hostile == "\n" { "evil\n NAME".to_owned() } else { name.clone() };
        let letter = format!(
            "From: {word} <a@b.test>\nTo: {word}\nSubject: {word}\nReceived: from {word} by x\n\n{word}\n"
        );
        backend.maildir(&name).put(&file, letter.as_bytes());
        backend.maildir(BOB).put(&file, letter.as_bytes());
        // Entries that the server cannot use: links in the place of a directory and of a message, a FIFO, a stray
        // file.
        let broken = backend.maildir(&format!("broken{hostile}NAME"));
        broken.put("1700000000.y", letter.as_bytes());
        fs::remove_dir(broken.path.join("cur")).unwrap();
        symlink(backend.path("nowhere"), broken.path.join("cur")).unwrap();
        symlink("/etc/passwd", backend.spool.join(BOB).join("new").join(format!("2.{hostile}NAME"))).unwrap();
        fifo(&backend.spool.join(BOB).join("cur").join(format!("3.{hostile}NAME:2,")));
        fs::create_dir_all(backend.spool.join(BOB).join(format!(".fol{hostile}NAME")).join("tmp")).unwrap();
        fs::write(backend.spool.join(BOB).join(".restante.index"), "not ours").unwrap();
        let path = |name: &str| backend.path(name).to_str().unwrap().to_owned();
        let missing = path(&format!("missing{hostile}NAME"));
        let message = backend.spool.join(BOB).join("new").join(&file).to_str().unwrap().to_owned();
        let (mbox, bad) = (path(&format!("mbox{hostile}NAME")), path(&format!("bad{hostile}NAME")));
        fs::write(&mbox, "From a@b Thu Jan  1 00:00:00 1970\nSubject: y\n\nText\n\n").unwrap();
        fs::write(&bad, format!("{name}\n")).unwrap();
        let figures_file = path(&format!("figures{hostile}NAME"));
        fs::write(
            &figures_file,
            figures(&word.replace('\n', " "))
                + &format!(
                    "restante_refusals_total{{reply=\"{}\"}} 5\nrestante_queue{{queue=\"{}\"}} 5\nx{} 1\n",
                    word.replace('\n', "\\n"),
                    word.replace('\n', "\\n"),
                    word.replace('\n', "")
                ),
        )
        .unwrap();
        let (transcripts, spool) =
            (path(&format!("transcripts{hostile}NAME")), path(&format!("spool{hostile}NAME")));
        fs::create_dir(&transcripts).unwrap();
        let transcript = format!("# smtp {word}\nS: 220 {word}\nC: EHLO {word}\n# spool: {word}\n# {word}\n");
        fs::write(format!("{transcripts}/20260101T000000.000Z-smtp-c{hostile}NAME.dlg"), transcript).unwrap();
        let config = path(&format!("config{hostile}NAME"));
        let users = backend.path("users.json");
        let inbox = serde_json::to_string(&name).unwrap();
        fs::write(&users, format!("{{\"ann@example.test\": {{\"password_hash\": \"c8dae1c50e092f3d877192fc555b1dcf\", \"inbox\": {inbox}}}}}")).unwrap();
        fs::write(&config, configuration(backend.path("").as_path(), &backend.spool, STRICT)).unwrap();
        let wrong_config = path(&format!("wrong{hostile}NAME"));
        fs::write(&wrong_config, format!("hostname = {}\n", toml_text(&name))).unwrap();
        let in_spool = backend.spool.to_str().unwrap().to_owned();
        let new = path(&format!("new{hostile}NAME"));
        let here = format!("{in_spool}/{name}");
        let option = format!("--no{hostile}NAME");
        let commands: &[&[&str]] = &[
            &["purge", "--to", &name, "--yes", "--spool", &in_spool],
            &["fsck", "--spool", &in_spool],
            &["fsck", "--json", "--spool", &in_spool],
            &["fsck", &name, "--spool", &in_spool],
            &["fsck", "--spool", &missing],
            &["explain", &message],
            &["explain", "--json", &message],
            &["explain", &missing, &transcripts],
            &["wait", "--to", BOB, "--spool", &in_spool],
            &["wait", "--to", BOB, "--spool", &in_spool, "--json"],
            &["wait", "--to", &name, "--spool", &missing, "--timeout", "0s"],
            &["wait", "--to", BOB, "--spool", &missing, "--timeout", "0s", "--subject", &name],
            &["wait", "--to", BOB, "--spool", &missing, "--timeout", "0s", "--search", &name],
            &["wait", "--to", BOB, "--spool", &in_spool, "--timeout", "0s", "--search", "no such word"],
            &["wait", "--to", BOB, "--after", &format!("@{missing}")],
            &["wait", "--to", BOB, "--after", &name],
            &["export", &here, "--output", &new],
            &["export", &here, "--output", &new],
            &["export", &missing, "--output", &new],
            &["export", &name, "--spool", &in_spool, "--output", &new],
            &["import", &mbox, "--to", BOB, "--spool", &in_spool],
            &["import", &mbox, "--to", BOB, "--spool", &in_spool],
            &["import", &bad, "--to", BOB, "--spool", &in_spool],
            &["import", &missing, "--to", BOB, "--spool", &in_spool],
            &["import", &mbox, "--to", &name, "--spool", &in_spool],
            &["seed", "--to", BOB, "--count", "2", "--spool", &spool],
            &["seed", "--to", BOB, "--count", "2", "--spool", &spool, "--json"],
            &["seed", "--to", BOB, "--count", "2", "--spool", &bad],
            &["status", "--file", &figures_file],
            &["status", "--file", &figures_file, "--json"],
            &["status", "--file", &missing],
            &["status", "--file", &bad],
            &["watch", &transcripts, "--no-follow"],
            &["watch", &transcripts, "--mermaid"],
            &["watch", &missing],
            &["check", "--config", &config],
            &["check", "--config", &missing],
            &["check", "--config", &wrong_config],
            &["serve", "--config", &missing],
            &["serve", "--config", &wrong_config],
            &["user", "list", "--config", &config],
            &["user", "remove", &name, "--config", &config],
            &["user", "disable", &name, "--config", &config],
            &["cert", "--self-signed", &new],
            &["cert", "--self-signed", &new],
            &["cert", "--self-signed", "--host", &name, &format!("{new}2")],
            &["cert", "--self-signed", &bad],
            &["pages", &bad],
            &["send", "--server", "127.0.0.1:1", "--from", "a@b", "--to", "a@b", "--file", &missing],
            &["send", "--server", "127.0.0.1:1", "--from", "a@b", "--to", &name, "--body", "x"],
            &["send", "--server", &name],
            &["client", "--cacert", &missing],
            &["client", "--user", &name],
            &["client", "--accounts", &missing],
            &["dev", "--tls", "--ports-file", "/no/such/ports", "--spool", &bad],
            &[&option],
            &["fsck", &option],
            &["purge", "--all", "--yes", "--spool", &in_spool],
        ];
        for words in commands {
            let mut command = restante(words);
            command
                .current_dir(backend.path(""))
                .env("XDG_RUNTIME_DIR", backend.path(""))
                .env("HOME", backend.path(""));
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert_harmless(words, &output, hostile);
        }
    }
}

/// A text of TOML.
fn toml_text(text: &str) -> String {
    let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    format!("\"{escaped}\"")
}

#[test]
fn x6_x9_the_log_and_the_screen_of_a_server_have_no_hostile_name_as_it_is() {
    for hostile in ['\x1b', '\u{9b}', '\u{202e}', '\u{200b}', '\n'] {
        let backend = Desk::new();
        let spool = backend.path(&format!("spool{hostile}NAME"));
        let broken = spool.join(BOB);
        fs::create_dir_all(broken.join("tmp")).unwrap();
        for part in ["new", "cur"] {
            symlink("/nowhere", broken.join(part)).unwrap();
        }
        let transcripts = backend.path("transcripts");
        let written = format!("--transcripts={}", transcripts.display());
        let server = Setup { spool: Some(spool), arguments: &[&written], ..Setup::default() }.start();
        let mut client = Client::smtp(&server);
        client.begin_data("a@far.test", &[BOB]);
        client.write(format!("Subject: {hostile}\r\n\r\nText\r\n.\r\n").as_bytes());
        client.expect("4");
        if hostile != '\n' {
            client.write(format!("EHLO x{hostile}NAME\r\n").as_bytes());
            client.reply();
            client.write(format!("MAIL FROM:<a{hostile}NAME@far.test> SMTPUTF8\r\n").as_bytes());
            client.expect("5");
        }
        client.ask("QUIT", "221");
        server.tells(if hostile == '\n' { "reply=451-4.3.5" } else { "reply=501-5.1.7" });
        drop(client);
        let log = server.log();
        let all = eventually("the session is written down", || {
            let files = fs::read_dir(&transcripts).ok()?;
            let all: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
            all.contains("-> over").then_some(all)
        });
        assert!(!all.lines().any(|line| line.contains(hostile) || line.starts_with("NAME")), "{all}");
        let is_raw = if hostile == '\n' {
            log.lines().any(|line| line.trim_start().starts_with("NAME"))
        } else {
            log.contains(hostile)
        };
        assert!(!is_raw && log.contains("NAME"), "{hostile:?}: {log}");
    }
}

#[test]
fn x6_the_client_shows_no_hostile_letter_as_it_is() {
    let server = Server::dev();
    let evil = HOSTILE[1].replace('\r', "");
    // (In the text of a letter two of them stay, which join what Persian and emoji write.)
    let text = evil.replace(['\u{200c}', '\u{200d}'], "");
    deliver(
        &server,
        BOB,
        format!(
            "From: evil{evil}NAME <a@far.test>\r\nTo: x{evil} <{BOB}>\r\nCc: {evil}\r\nSubject: evil{evil}NAME\r\nMIME-Version: \
             1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nText {text}\r\n--x\r\nContent-Type: \
             text/x{evil}\r\nContent-Disposition: attachment; filename=\"evil{evil}NAME\"\r\n\r\nno\r\n--x--\r\n"
        )
        .as_bytes(),
    );
    let home = home();
    let (smtp, pop3) = (server.smtp().to_string(), server.pop3().to_string());
    let words = ["client", "--smtp", &smtp, "--pop3", &pop3, "--user", BOB];
    let mut command = restante(&words);
    command.current_dir(home.path()).env("HOME", home.path());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\nany\n1\n1\ns 1\n\nr\n\n\n\n.\nq\nq\nq\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("Text ") && shown.contains("NAME"), "{shown}");
    assert_harmless(&words, &output, HOSTILE[1]);
}
