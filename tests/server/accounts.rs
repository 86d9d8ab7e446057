//! Accounts, over real sockets and through the command line: accepted and refused logins, and changes of
//! the file of accounts.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::common::{
    self, PASSWORD, PASSWORD_MD5, STRICT, Server, Setup,
    client::{Client, deliver},
    configuration, home,
};

const ALICE: &str = "alice@example.test";

/// `restante user WORDS… --config FILE`, with that on its standard input.
fn user(home: &Path, words: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("user").args(words).arg("--config").arg(home.join("restante.toml"));
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // `list` may not wait for it
    child.wait_with_output().unwrap()
}

#[track_caller]
fn user_ok(home: &Path, words: &[&str], input: &str) -> String {
    let output = user(home, words, input);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn users_file(home: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(home.join("users.json")).unwrap()).unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

/// The answer to USER and PASS on a connection of their own.
fn login(server: &Server, user: &str, password: &str) -> String {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    let reply = client.send(&format!("PASS {password}")).reply();
    client.send("QUIT").rest();
    reply
}

#[test]
fn an_account_is_added_listed_changed_used_and_removed() {
    let home = home();
    let (home, spool) = (home.path(), home.path().join("spool"));
    fs::write(home.join("restante.toml"), configuration(home, &spool, STRICT)).unwrap();
    user_ok(home, &["add", ALICE, "--password-stdin"], "first password\n");
    user_ok(home, &["add", "bob@example.test", "--password-stdin"], "other\n");
    let names = user_ok(home, &["list"], "");
    assert!(names.contains(ALICE) && names.contains("bob@example.test"), "{names}");
    assert_eq!(mode(&home.join("users.json")), 0o600);
    let first = users_file(home);
    assert!(first[ALICE]["password_hash"].as_str().unwrap().starts_with("$argon2id$"), "{first}");
    assert_eq!(first[ALICE]["inbox"], ALICE);

    user_ok(home, &["passwd", ALICE, "--password-stdin"], "second password\n");
    let second = users_file(home);
    assert_ne!(first[ALICE], second[ALICE]);
    assert_eq!(first["bob@example.test"], second["bob@example.test"]);

    user_ok(home, &["remove", "bob@example.test"], "");
    assert!(users_file(home).get("bob@example.test").is_none());
    assert!(!user_ok(home, &["list"], "").contains("bob"));
}

#[test]
fn the_list_shows_what_is_not_as_usual_and_who_removes_is_told_of_the_aliases() {
    let home = home();
    let (home, spool) = (home.path(), home.path().join("spool"));
    let config = format!("aliases = \"aliases\"\n{}", configuration(home, &spool, STRICT));
    fs::write(home.join("restante.toml"), config).unwrap();
    fs::write(home.join("aliases"), "team: alice, bob\n").unwrap();
    let users = r#"{"alice@example.test": {"password_hash": "!", "addresses": ["a@example.test"],
                      "quota": {"bytes": "1 GiB", "messages": 5}, "sent_copy": false},
                    "bob@example.test": {"password_hash": "!", "inbox": "bobs"}}"#;
    fs::write(home.join("users.json"), users).unwrap();
    assert!(user_ok(home, &["disable", "Bob@example.test"], "").starts_with("disabled bob@example.test\n"));
    assert_eq!(
        user_ok(home, &["list"], ""),
        "alice@example.test, a@example.test, at most 1 GiB and 5 messages\nbob@example.test -> bobs, disabled\n"
    );
    assert!(user_ok(home, &["enable", "bob@example.test"], "").starts_with("enabled bob@example.test\n"));
    assert!(user_ok(home, &["list"], "").ends_with("bob@example.test -> bobs\n"));
    assert_eq!(users_file(home)[ALICE]["sent_copy"], false);
    let removed = user_ok(home, &["remove", "bob@example.test"], "");
    assert!(removed.contains("aliases, line 1, column ") && removed.contains("no alias bob"), "{removed}");
}

#[test]
fn n160_the_time_of_a_reload_is_told_if_a_server_runs() {
    let mut server = Setup { config: Some(STRICT), users: &[ALICE], ..Setup::default() }.start();
    let home = server.home.path().to_owned();
    let told = user_ok(&home, &["disable", ALICE], "");
    assert_eq!(told, format!("disabled {ALICE}; a running server applies this within 2s\n"));
    server.kill();
    assert_eq!(user_ok(&home, &["enable", ALICE], ""), format!("enabled {ALICE}\n"));
}

#[test]
fn an_account_command_that_cannot_be_done_says_so_and_changes_nothing() {
    let home = home();
    let (home, spool) = (home.path(), home.path().join("spool"));
    fs::write(home.join("restante.toml"), configuration(home, &spool, STRICT)).unwrap();
    user_ok(home, &["add", ALICE, "--password-stdin"], "password\n");
    let before = users_file(home);
    for words in [
        &["add", ALICE, "--password-stdin"][..],
        &["add", "../escaped@example.test", "--password-stdin"],
        &["add", "a..b@example.test", "--password-stdin"],
        &["passwd", "nobody@example.test", "--password-stdin"],
        &["remove", "nobody@example.test"],
    ] {
        let output = user(home, words, "new password\n");
        assert!(!output.status.success(), "{words:?}");
        assert!(!output.stderr.is_empty(), "{words:?}");
        assert_eq!(users_file(home), before, "{words:?}");
    }
}

#[test]
fn w08_a_user_is_found_in_every_form_of_the_address() {
    let home = home();
    let (home, spool) = (home.path(), home.path().join("spool"));
    let config = configuration(home, &spool, STRICT).replace("domains = [", "domains = [\"bücher.test\", ");
    assert!(config.contains("bücher.test"), "{config}");
    fs::write(home.join("restante.toml"), config).unwrap();
    let added = user_ok(home, &["add", "O'Neil@BÜCHER.test", "--password-stdin"], "first\n");
    assert!(added.starts_with("added o'neil@xn--bcher-kva.test\n"), "{added}");
    let again = user(home, &["add", "o'neil@xn--bcher-kva.test", "--password-stdin"], "first\n");
    assert!(!again.status.success(), "it is there already");
    user_ok(home, &["passwd", "\"o'neil\"@bücher.test", "--password-stdin"], "second\n");
    user_ok(home, &["disable", "o'neil@Bücher.test"], "");
    assert_eq!(users_file(home)["o'neil@xn--bcher-kva.test"]["inbox"], "o%27neil@xn--bcher-kva.test");
    user_ok(home, &["remove", "o'neil@bücher.test"], "");
    assert_eq!(users_file(home), serde_json::json!({}));
}

#[test]
fn an_account_of_the_command_line_logs_in_with_its_own_password_alone() {
    let server = Server::strict();
    let home = server.home.path();
    user_ok(home, &["add", "carol@example.test", "--password-stdin"], "pass with blanks \n");
    let mut server = server;
    server.restart();
    deliver(&server, "carol@example.test", b"Subject: x\r\n\r\n");
    assert!(login(&server, "carol@example.test", "pass with blanks ").starts_with("+OK"));
    assert!(login(&server, "carol@example.test", "pass with blanks").starts_with("-ERR [AUTH]"));
    assert!(login(&server, "Carol@Example.TEST", "pass with blanks ").starts_with("+OK"));
}

#[test]
fn p30_a_wrong_password_and_an_unknown_user_are_refused_in_the_same_words() {
    let server = Server::strict();
    let wrong = login(&server, ALICE, "wrong");
    assert!(wrong.starts_with("-ERR [AUTH] "), "{wrong:?}");
    for (user, password) in
        [("nobody@example.test", PASSWORD), ("../alice@example.test", PASSWORD), (ALICE, "")]
    {
        assert_eq!(login(&server, user, password), wrong, "{user}");
    }
    assert!(login(&server, ALICE, PASSWORD).starts_with("+OK"));
    assert!(!server.log().contains("wrong") && !server.log().contains(PASSWORD));
}

#[test]
fn p32_three_different_wrong_passwords_end_the_connection_and_the_same_one_does_not() {
    let server = Server::strict();
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    for password in ["a", "a", "a", "b"] {
        client.ask(&format!("USER {ALICE}"), "+OK");
        client.ask(&format!("PASS {password}"), "-ERR [AUTH]");
    }
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.ask("PASS c", "-ERR [AUTH]");
    assert_eq!(client.rest(), b"");
}

#[test]
fn the_answer_to_a_wrong_password_is_not_held_back_on_loopback() {
    let config = format!("{STRICT}\n[limits]\nauth.failure_delay = \"60s\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    assert!(login(&server, ALICE, "wrong").starts_with("-ERR [AUTH]"));
}

#[test]
fn an_md5_hash_is_replaced_at_the_first_good_login() {
    let mut server = Server::strict();
    let file = server.home.path().join("users.json");
    let before = mode(&file);
    login(&server, ALICE, "wrong");
    assert_eq!(users_file(server.home.path())[ALICE]["password_hash"], PASSWORD_MD5);

    assert!(login(&server, ALICE, PASSWORD).starts_with("+OK"));
    let users = common::eventually("the hash is replaced", || {
        let users = users_file(server.home.path());
        (users[ALICE]["password_hash"] != PASSWORD_MD5).then_some(users)
    });
    assert!(users[ALICE]["password_hash"].as_str().unwrap().starts_with("$argon2id$"), "{users}");
    assert_eq!(users[ALICE]["inbox"], ALICE);
    assert_eq!(users["bob@example.test"]["password_hash"], PASSWORD_MD5);
    assert_eq!(mode(&file), before);

    assert!(login(&server, ALICE, PASSWORD).starts_with("+OK"));
    assert!(login(&server, ALICE, "wrong").starts_with("-ERR [AUTH]"));
    server.restart();
    assert!(login(&server, ALICE, PASSWORD).starts_with("+OK"));
    assert!(login(&server, "bob@example.test", PASSWORD).starts_with("+OK"));
}

#[test]
fn several_accounts_may_share_one_inbox() {
    let users = format!(
        "{{{ALICE:?}: {{\"password_hash\": {PASSWORD_MD5:?}, \"inbox\": {ALICE:?}}},
          \"sales@example.test\": {{\"password_hash\": {PASSWORD_MD5:?}, \"inbox\": {ALICE:?}}}}}"
    );
    let mut server = Setup { config: Some(STRICT), ..Setup::default() }.start();
    fs::write(server.home.path().join("users.json"), users).unwrap();
    server.restart();
    deliver(&server, "sales@example.test", b"Subject: x\r\n\r\n");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
    let reply = Client::smtp(&server).deliver(&[ALICE, "sales@example.test"], b"Subject: y\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    Client::pop3(&server, "sales@example.test").ask("STAT", "+OK 2 ");
}

#[test]
fn in_dev_mode_any_password_opens_any_mailbox() {
    let server = Server::dev();
    deliver(&server, "who@ever.test", b"Subject: x\r\n\r\n");
    for password in ["", "a", "b", "c", "d", "e f"] {
        assert!(login(&server, "who@ever.test", password).starts_with("+OK"), "{password:?}");
    }
    assert!(login(&server, "nobody@yet.test", "x").starts_with("+OK"));
    for sub in ["tmp", "new", "cur"] {
        assert_eq!(mode(&server.maildir("nobody@yet.test").path.join(sub)), 0o700);
    }
}

#[test]
fn r15_a_message_for_lists_and_names_is_stored_or_refused_at_its_recipient() {
    let home = home();
    let dir = home.path();
    let names: Vec<String> = (0..200).map(|n| format!("user{n:03}@example.test")).collect();
    let list = |name: &str, part: &[String]| format!("{name}: {}\n", part.join(", "));
    let lists = list("some", &names[..60]) + &list("others", &names[60..120]) + &list("everybody", &names);
    fs::write(dir.join("aliases"), lists).unwrap();
    let config = format!("aliases = {:?}\n{STRICT}", dir.join("aliases"));
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    // So many descriptors allow about a hundred mailboxes of one message.
    let wrapper = ["prlimit", "--nofile=1024:1024"];
    let server =
        Setup { config: Some(&config), users: &users, wrapper: &wrapper, ..Setup::default() }.start();
    let mut client = Client::connect(server.smtp());
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.ask("MAIL FROM:<sender@far.test>", "250");
    client.ask("RCPT TO:<everybody@example.test>", "451 4.3.5 This list has more mailboxes");
    client.ask("RCPT TO:<some@example.test>", "250");
    client.ask("RCPT TO:<others@example.test>", "452 4.5.3");
    client.ask("RCPT TO:<user199@example.test>", "250");
    client.ask("DATA", "354");
    client.ask("Subject: to many\r\n\r\nx\r\n.", "250");
    let stored = |name: &String| server.maildir(name).path.join("new").exists();
    assert_eq!(names.iter().filter(|name| stored(name)).count(), 61);
}

#[test]
fn n78_an_account_without_a_mailbox_is_removed_with_its_mail() {
    let home = home();
    let (home, spool) = (home.path(), home.path().join("spool"));
    fs::write(home.join("restante.toml"), configuration(home, &spool, STRICT)).unwrap();
    let remove = ["remove", ALICE, "--delete-mail"];
    for (is_there, told) in [(false, "there is no spool "), (true, "which has no mail: there is no ")] {
        if is_there {
            fs::create_dir(&spool).unwrap();
        }
        user_ok(home, &["add", ALICE, "--password-stdin"], "password\n");
        let said = user_ok(home, &remove, "");
        assert!(said.contains(&format!("removed {ALICE}")) && said.contains(told), "{said}");
        assert_eq!(users_file(home), serde_json::json!({}));
        let again = user(home, &remove, "");
        let said = String::from_utf8(again.stderr).unwrap();
        assert!(again.status.code() == Some(1) && !said.contains("os error"), "{said}");
    }
}

#[test]
fn n157_a_lost_file_of_accounts_is_not_begun_anew_beside_the_mail_of_others() {
    let home = home();
    let (home, spool) = (home.path(), home.path().join("spool"));
    fs::write(home.join("restante.toml"), configuration(home, &spool, STRICT)).unwrap();
    for sub in ["tmp", "new", "cur"] {
        fs::create_dir_all(spool.join(ALICE).join(sub)).unwrap();
    }
    fs::write(spool.join(ALICE).join("new/1"), "Subject: x\n\n").unwrap();
    let add = |name: &str, more: &[&str]| {
        let output = user(home, &[&["add", name, "--password-stdin"], more].concat(), "sesame\n");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let lose = || fs::remove_file(home.join("users.json")).unwrap();
    // Mailboxes that were copied before the first start of a server.
    assert_eq!(add("bob", &[]).0, Some(0));
    lose();
    fs::write(spool.join(".restante.lock"), "").unwrap();
    let (code, said) = add("bob", &[]);
    let told =
        format!("users.json is not there, and the spool has mail of other accounts, as of {ALICE}: restore");
    assert!(code == Some(2) && said.contains(&told) && said.contains("add --new-file"), "{said}");
    assert!(!home.join("users.json").exists());
    // The only mail is that of the account.
    assert_eq!(add(ALICE, &["--keep-mail"]).0, Some(0));
    lose();
    assert_eq!(add("bob", &["--new-file"]).0, Some(0));
    assert_eq!(add("carol", &[]).0, Some(0), "the file is there");
}
