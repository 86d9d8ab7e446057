//! Accounts and aliases that change while the server runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::common::{PASSWORD, PASSWORD_MD5, STRICT, Server, Setup, client::Client, eventually};

const LOOK_OFTEN: &str = "\n[limits]\nauth.failure_delay = \"0s\"\nsmtp.hard_error_limit = 0\npop3.hard_error_limit = 0\nsmtp.unknown_recipient_limit = 0\n\
                          smtp.soft_error_limit = 0\nsmtp.max_messages_unauthenticated = 0\nauth.reload_interval = \"1s\"\n";

/// alice and bob, and a file of aliases.
fn server(aliases: &str) -> Server {
    let config = format!("{STRICT}{LOOK_OFTEN}");
    let users = &["alice@example.test", "bob@example.test"];
    let mut server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let file = server.home.path().join("restante.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("aliases = \"aliases\"\n{config}")).unwrap();
    put(&server.home.path().join("aliases"), aliases);
    server.restart();
    server
}

/// Another file in the place of the old one, as editors and `restante user` do.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn put_users(server: &Server, users: &[&str]) {
    let entry = |user| format!("\"{user}@example.test\": {{\"password_hash\": {PASSWORD_MD5:?}}}");
    let entries: Vec<String> = users.iter().map(entry).collect();
    // A program that changes the file holds its lock. The server does so itself at a login whose hash
    // is an old one.
    let lock = fs::File::create(server.home.path().join(".users.json.lock")).unwrap();
    lock.lock().unwrap();
    put(&server.home.path().join("users.json"), &format!("{{\n{}\n}}\n", entries.join(",\n")));
}

fn user(server: &Server, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("user").args(words).arg("--config").arg(server.home.path().join("restante.toml"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// The reply to RCPT.
fn rcpt(server: &Server, to: &str) -> String {
    let mut client = Client::smtp(server);
    client.ask("MAIL FROM:<>", "250 ");
    client.send(&format!("RCPT TO:<{to}@example.test>")).reply()
}

fn login(server: &Server, user: &str) -> bool {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {user}@example.test"), "+OK");
    let reply = client.send(&format!("PASS {PASSWORD}")).reply();
    assert!(reply.starts_with("+OK") || reply.starts_with("-ERR [AUTH] "), "{reply:?}");
    client.send("QUIT").rest();
    reply.starts_with("+OK")
}

fn becomes(what: &str, is: impl Fn() -> bool) {
    eventually(what, || is().then_some(()));
}

#[test]
fn accounts_and_aliases_change_without_a_restart() {
    let server = server("");
    assert!(rcpt(&server, "carol").starts_with("550 5.1.1 "));
    put_users(&server, &["alice", "carol"]);
    becomes("carol is there", || rcpt(&server, "carol").starts_with("250 "));
    assert!(rcpt(&server, "bob").starts_with("550 5.1.1 ") && !login(&server, "bob"));
    assert!(login(&server, "carol"));

    put(&server.home.path().join("aliases"), "team: alice, carol\n");
    becomes("the alias is there", || rcpt(&server, "team").starts_with("250 "));
    let reply =
        Client::smtp(&server).deliver(&["team@example.test", "alice@example.test"], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    for name in ["alice@example.test", "carol@example.test"] {
        let stored = String::from_utf8(server.maildir(name).only_message()).unwrap();
        assert!(!stored.contains("carol@") && !stored.contains("team@"), "{stored}");
    }
}

#[test]
fn a_disabled_account_is_shut_at_once_even_where_its_password_is_remembered() {
    let server = server("");
    // The second one is known from the first, and so is the third: the first replaced the hash.
    for _ in 0..3 {
        assert!(login(&server, "alice"));
    }
    user(&server, &["disable", "alice@example.test"]);
    becomes("alice is shut out", || !login(&server, "alice"));
    assert!(rcpt(&server, "alice").starts_with("250 "), "her mail still comes");
    user(&server, &["enable", "alice@example.test"]);
    becomes("alice is let in", || login(&server, "alice"));
}

#[test]
fn a_broken_file_keeps_the_old_accounts_and_is_told_once() {
    let server = server("team: alice\n");
    let (users, aliases) = (server.home.path().join("users.json"), server.home.path().join("aliases"));
    put(&users, "{\n\"alice@example.test\": {\"password\": \"x\"}\n}\n");
    let told = "users.json, line 2, column 33: account \"alice@example.test\": unknown key `password`: did you mean `password_hash`?";
    becomes("the mistake is told", || server.log().contains(told));
    assert!(login(&server, "alice") && login(&server, "bob"));
    put_users(&server, &["bob"]);
    becomes("the aliases are told to lead nowhere", || {
        server.log().contains("aliases, line 1, column 7: there is no account and no alias alice")
    });
    becomes("alice is gone", || rcpt(&server, "alice").starts_with("550 "));
    assert!(rcpt(&server, "team").starts_with("550 5.1.1 "));
    put(&aliases, "team: bob\n");
    becomes("the alias is there again", || rcpt(&server, "team").starts_with("250 "));
    let log = server.log();
    assert_eq!(log.matches("accounts reload failed").count(), 1, "{log}");
}

#[test]
fn n45_n157_a_file_that_is_moved_away_is_to_be_put_back_also_at_a_reload() {
    let server = server("");
    let (file, away) = (server.home.path().join("users.json"), server.home.path().join("away"));
    fs::rename(&file, &away).unwrap();
    server.tells("accounts reload failed, keeping the old ones: ");
    server.signal(rustix::process::Signal::HUP);
    server.tells("configuration reload failed, keeping the old one: ");
    assert!(login(&server, "alice"));
    // A new file would be read at once, so it is put where the server does not look.
    let config = fs::read_to_string(server.home.path().join("restante.toml")).unwrap();
    let other = server.home.path().join("other.toml");
    fs::write(&other, config.replace("users.json", "other.json")).unwrap();
    let add = |name: &str, more: &[&str]| {
        let mut add = Command::new("sh");
        add.args([
            "-c",
            "printf 'sesame\\n' | \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_restante"),
            "user",
            "add",
            name,
        ]);
        let output = add.args(["--password-stdin", "--config"]).arg(&other).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = add("ann@example.test", &[]);
    let restore =
        "other.json is not there, and a server uses the spool: restore the file from the backup first";
    assert!(code == Some(2) && told.contains(restore) && told.contains("add --new-file"), "{told}");
    assert_eq!(add("ann@example.test", &["--new-file"]), (Some(0), String::new()));
    assert_eq!(add("eve@example.test", &[]), (Some(0), String::new()));
    fs::rename(&away, &file).unwrap();
    let log = server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(" reload failed")).collect();
    assert!(told.iter().all(|line| line.contains("users.json is gone: put it back; ")), "{told:?}");
    assert!(!log.contains("make the first one"), "{log}");
}

#[test]
fn users_are_rewritten_in_traffic_and_nobody_who_stays_is_ever_refused() {
    let mut server = server("");
    // An old hash that comes back in the place of its replacement would end the sessions.
    let config = server.home.path().join("restante.toml");
    fs::write(&config, format!("upgrade_hashes = false\n{}", fs::read_to_string(&config).unwrap())).unwrap();
    server.restart();
    let over = AtomicBool::new(false);
    let (mut sent, mut read) = (0, 0);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut client = Client::smtp(&server);
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                let reply = client.deliver(&["alice@example.test"], b"Subject: x\r\n\r\n");
                assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
                sent += 1;
            }
            sent
        });
        let reader = scope.spawn(|| {
            let mut read = 0;
            while !over.load(Ordering::Relaxed) {
                assert!(login(&server, "bob"));
                read += 1;
            }
            read
        });
        let names: Vec<String> = (0..200).map(|n| format!("user{n}")).collect();
        for round in 0..4 {
            let mut users = vec!["alice", "bob"];
            users.extend(names.iter().skip(round * 50).take(50).map(String::as_str));
            put_users(&server, &users);
            becomes("the new users are there", || rcpt(&server, &names[round * 50]).starts_with("250 "));
            put(&server.home.path().join("users.json"), "{\"half");
        }
        over.store(true, Ordering::Relaxed);
        (sent, read) = (sender.join().unwrap(), reader.join().unwrap());
    });
    assert!(sent > 0 && read > 0, "{sent} {read}");
    assert_eq!(server.maildir("alice@example.test").files("new").len(), sent);
}

#[test]
fn hashes_of_other_servers_are_replaced_at_the_first_good_login() {
    let mut server = server("");
    let file = server.home.path().join("users.json");
    let (sha512, bcrypt) = (
        "$6$saltstring$zw6YcBRuwlGueZoWIkK6CRJbQmJbhVf1zPxCfDBsJpbBlxfJ610F8Vp0i93QFh0AmoYe0z/GrJISxBfRQSsGe1",
        "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O",
    );
    let users = format!(
        "{{\"alice@example.test\": {{\"password_hash\": \"{sha512}\"}},
          \"bob@example.test\": {{\"password_hash\": \"{bcrypt}\", \"quota\": {{\"messages\": 7}}}}}}"
    );
    put(&file, &users);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    server.restart();
    for name in ["alice", "bob"] {
        assert!(login(&server, name), "{name}");
    }
    let text = eventually("both are replaced", || {
        let text = fs::read_to_string(&file).unwrap();
        (text.matches("$argon2id$").count() == 2).then_some(text)
    });
    assert!(text.contains("\"messages\": 7"), "{text}");
    assert!(login(&server, "alice") && login(&server, "bob"));
}
