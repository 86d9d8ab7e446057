//! Places that the rights of a directory above them, or a start by root, take from the server.

use rustix::process::Signal;

use super::*;
use crate::common::{PASSWORD, Server, Setup, listener_at};

/// A story whose spool is `closed/mail`, below a directory that only root may enter.
fn closed_story(rest: &str) -> Story {
    let story = Story::new("");
    let closed = story.at("closed");
    for name in ["mail", "transcripts", "run"] {
        fs::create_dir_all(closed.join(name)).unwrap();
    }
    own(&closed, NOBODY);
    chown(&closed, Some(0), Some(0)).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    story.configure(rest);
    story
}

impl Story {
    /// Replaces words in the configuration.
    fn replace(&self, from: &str, to: &str) {
        let file = self.at("restante.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn n113_a_place_below_a_closed_directory_comes_with_the_directory_and_the_command() {
    if !can_become_somebody_else(
        "n113_a_place_below_a_closed_directory_comes_with_the_directory_and_the_command",
    ) {
        return;
    }
    let group = group_of_nobody();
    let socket = listener_at("lmtp", "unix:closed/run/lmtp.sock", "");
    for (keys, rest, is_error) in [
        ("spool = \"closed/mail\"", "", true),
        ("spool = \"closed/no-mail\"", "", true),
        ("transcripts = \"closed/transcripts\"", "", true),
        ("transcripts = \"closed/no/transcripts\"", "", true),
        ("", "[log]\ndestination = \"./closed/run/log\"\n", true),
        ("", "[log]\ndestination = \"syslog:closed/run/log\"\n", false),
        ("", "[metrics]\nfile = \"closed/run/restante.prom\"\n", false),
        ("", &socket, true),
    ] {
        let story = closed_story(rest);
        let spool = format!("spool = {:?}\n", story.at("spool"));
        if keys.starts_with("spool") {
            story.replace(&spool, "");
        }
        story.replace("user =", &format!("{keys}\nuser ="));
        let closed = story.at("closed");
        let command = format!("as root, run `chgrp {group} {0}` and `chmod g+x {0}`", closed.display());
        let (code, said) = story.run(&[], &["check"]);
        let said = said.replace("/./", "/");
        assert_eq!(code, Some(if is_error { 2 } else { 0 }), "{keys}{rest}: {said}");
        assert!(said.contains(&command), "{keys}{rest}: {said}");
        if is_error && !rest.contains("unix:") {
            let (code, said) = story.run(&[], &["serve"]);
            let said = said.replace("/./", "/");
            assert!(code == Some(1) && said.contains(&command), "{keys}{rest}: {said}");
        }
        if keys.contains("closed/mail") {
            let (code, said) = story.run(&[], &["fsck"]);
            assert!(code == Some(1) && said.contains(&command), "{said}");
            for command in command.split('`').skip(1).step_by(2) {
                assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
            }
            let (code, said) = story.run(&[], &["check"]);
            assert_eq!(code, Some(0), "{said}");
        }
    }
}

#[test]
fn n113_a_check_by_another_user_than_the_servers_opens_no_directory_to_that_user() {
    if !can_become_somebody_else(
        "n113_a_check_by_another_user_than_the_servers_opens_no_directory_to_that_user",
    ) {
        return;
    }
    let story = closed_story("");
    story.replace(&format!("spool = {:?}", story.at("spool")), "spool = \"closed/mail\"");
    fs::set_permissions(story.at("users.json"), Permissions::from_mode(0o644)).unwrap();
    let as_daemon = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"];
    let (code, said) = story.run(&as_daemon, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("closed/mail: this user cannot see whether the server may use it: run this as root"),
        "{said}"
    );
    assert!(!said.contains("chgrp") && !said.contains("chown"), "{said}");
    // The same user, as the user of the server.
    story.replace("user = \"nobody\"\n", "");
    own(&story.at("users.json"), 1);
    let (code, said) = story.run(&as_daemon, &["check"]);
    let command = format!("and `chmod g+x {}`", story.at("closed").display());
    assert!(code == Some(2) && said.contains("as root, run `chgrp ") && said.contains(&command), "{said}");
}

#[test]
fn n118_a_server_of_root_in_the_spool_of_another_user_is_told_before_it_leaves_files() {
    if !can_become_somebody_else(
        "n118_a_server_of_root_in_the_spool_of_another_user_is_told_before_it_leaves_files",
    ) {
        return;
    }
    let told = "is of nobody, and a server that runs as root makes files there that a server of nobody may not change: set user = \
                \"nobody\"";
    let story = Story::new("");
    assert!(!story.run(&[], &["check"]).1.contains("a server that runs as root"));
    story.replace("user = \"nobody\"\n", "");
    let (code, said) = story.run(&[], &["check"]);
    assert!(code == Some(0) && said.contains("# note: the spool ") && said.contains(told), "{said}");
    let spool = Some(story.at("spool"));
    let server = Setup { config: Some(STRICT), spool, ..Setup::default() }.start();
    server.tells(told);
}

/// Types the commands in backticks as root.
fn type_all(advice: &str) {
    for command in advice.split('`').skip(1).step_by(2) {
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    }
}

/// The reply to a login by POP3.
fn login(server: &Server) -> String {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {BOB}"), "+OK");
    client.send(&format!("PASS {PASSWORD}")).reply()
}

/// A server of [`NOBODY`] whose spool is `lib/mail` in that directory, and `lib` is root's.
fn server_below(place: &Path) -> Server {
    let (lib, spool) = (place.join("lib"), place.join("lib/mail"));
    fs::create_dir_all(&spool).unwrap();
    own(&spool, NOBODY);
    for (directory, mode) in [(place, 0o711), (&*lib, 0o711), (&*spool, 0o700)] {
        fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
    }
    let config = format!("user = \"nobody\"\n{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
    let (wrapper, users) = (&["sh", "-c", AS_ROOT, "sh"][..], &[BOB][..]);
    Setup { wrapper, config: Some(&config), users, spool: Some(spool), ..Setup::default() }.start()
}

#[test]
fn n131_a_spool_that_is_closed_or_taken_while_the_server_runs_comes_with_the_command() {
    if !can_become_somebody_else(
        "n131_a_spool_that_is_closed_or_taken_while_the_server_runs_comes_with_the_command",
    ) {
        return;
    }
    let place = home();
    let server = server_below(place.path());
    deliver(&server, BOB, b"Subject: one\r\n\r\nx\r\n");
    let refuses = |told: &str, commands: &str| {
        let reply = login(&server);
        assert!(reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
        server.tells(&format!("{told}{commands}"));
        type_all(commands);
        eventually("the spool is back", || login(&server).starts_with("+OK").then_some(()));
    };
    // A directory above it.
    let lib = place.path().join("lib");
    fs::set_permissions(&lib, Permissions::from_mode(0o700)).unwrap();
    let commands =
        format!("as root, run `chgrp {0} {1}` and `chmod g+x {1}`", group_of_nobody(), lib.display());
    let told =
        format!("stat: Permission denied (os error 13): {} is closed to the server's user: ", lib.display());
    refuses(&told, &commands);
    // The spool itself.
    let spool = &server.spool;
    chown(spool, Some(0), Some(0)).unwrap();
    let commands = format!("as root, run `chown -R nobody: {}`", spool.display());
    let told =
        format!(".restante.lock: open: Permission denied (os error 13): {} is of root: ", spool.display());
    refuses(&told, &commands);
    assert!(!server.log().contains("put it back"), "{}", server.log());
}

#[test]
fn n132_a_spool_that_was_taken_from_the_server_that_runs_goes_back_to_its_user() {
    if !can_become_somebody_else(
        "n132_a_spool_that_was_taken_from_the_server_that_runs_goes_back_to_its_user",
    ) {
        return;
    }
    let place = home();
    let server = server_below(place.path());
    chown(&server.spool, Some(0), Some(0)).unwrap();
    let run = |word: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args([word, "--config"]).arg(server.home.path().join("restante.toml"));
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    let told = format!("as root, change its owner with `chown -R nobody: {}`", server.spool.display());
    for word in ["check", "fsck"] {
        let (code, said) = run(word);
        assert!(code != Some(0) && said.contains(&told), "{word}: {said}");
        assert!(!said.contains("has it:"), "{word}: {said}");
    }
    type_all(&told);
    let (code, said) = run("check");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn n133_a_configuration_that_the_server_cannot_read_again_comes_with_the_command() {
    if !can_become_somebody_else(
        "n133_a_configuration_that_the_server_cannot_read_again_comes_with_the_command",
    ) {
        return;
    }
    let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody");
    let file = server.home.path().join("restante.toml");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    server.signal(Signal::HUP);
    let group = group_of_nobody();
    let commands = format!("as root, run `chgrp {group} {0}` and `chmod g+r {0}`", file.display());
    server.tells(&format!("cannot read {}: Permission denied", file.display()));
    server.tells(&format!(": {commands}"));
    assert!(!server.log().contains("run this as root"), "{}", server.log());
    type_all(&commands);
    server.signal(Signal::HUP);
    server.tells("configuration loaded ");
}

#[test]
fn n134_a_log_that_cannot_be_opened_again_comes_with_the_command() {
    if !can_become_somebody_else("n134_a_log_that_cannot_be_opened_again_comes_with_the_command") {
        return;
    }
    let place = home();
    fs::set_permissions(place.path(), Permissions::from_mode(0o711)).unwrap();
    let file = place.path().join("log/restante.log");
    let directory = file.parent().unwrap();
    fs::create_dir(directory).unwrap();
    own(directory, NOBODY);
    let config = format!("user = \"nobody\"\n{STRICT}\n[log]\ndestination = {file:?}\n");
    let (wrapper, users) = (&["sh", "-c", AS_ROOT, "sh"][..], &[BOB][..]);
    let server = Setup { wrapper, config: Some(&config), users, ..Setup::default() }.start();
    let moved = directory.join("restante.log.1");
    fs::rename(&file, &moved).unwrap();
    // As logrotate makes it with `create 600 root root`.
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    server.signal(Signal::HUP);
    let command = format!("as root, run `chown nobody: {}`", file.display());
    eventually("the old log has the command", || {
        let text = fs::read_to_string(&moved).unwrap();
        let mut lines = text.lines().filter(|line| line.contains("the log stays where it is: cannot open "));
        lines.any(|line| line.ends_with(&format!(": {command}"))).then_some(())
    });
    type_all(&command);
    server.signal(Signal::HUP);
    eventually("the log goes on in the new file", || {
        fs::metadata(&file).is_ok_and(|about| about.len() > 0).then_some(())
    });
}

#[test]
fn n135_a_spool_that_a_tool_of_root_does_not_find_is_made_for_the_server() {
    if !can_become_somebody_else("n135_a_spool_that_a_tool_of_root_does_not_find_is_made_for_the_server") {
        return;
    }
    let story = Story::new("");
    fs::remove_dir(story.at("spool")).unwrap();
    let (code, said) = story.run(&[], &["fsck"]);
    let spool = story.at("spool");
    let command = format!("install -d -o nobody -g {} -m 700 {}", group_of_nobody(), spool.display());
    assert!(code == Some(2) && said.contains(&format!("or make it with `{command}`")), "{said}");
    type_all(&said);
    let (code, said) = story.run(&[], &["fsck"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn n139_a_slip_below_a_directory_that_cannot_be_listed_leads_to_the_usual_name() {
    if !can_become_somebody_else(
        "n139_a_slip_below_a_directory_that_cannot_be_listed_leads_to_the_usual_name",
    ) {
        return;
    }
    let story = Story::new("[tls]\ncertificate = \"tls/cert.pem\"\nkey = \"tls/key.pem\"\n");
    let tls = story.at("tls");
    fs::create_dir(&tls).unwrap();
    for name in ["certificate.pem", "key.pem"] {
        fs::write(tls.join(name), "").unwrap();
        fs::set_permissions(tls.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    chown(&tls, Some(0), Some(NOBODY)).unwrap();
    fs::set_permissions(&tls, Permissions::from_mode(0o710)).unwrap();
    let (code, said) = story.run(&[], &["check"]);
    let told = format!("did you mean {}?", tls.join("certificate.pem").display());
    assert!(code == Some(2) && said.contains(&told) && !said.contains("restante cert"), "{said}");
}

#[test]
fn n140_a_directory_in_the_place_of_the_certificate_is_told_as_one() {
    if !can_become_somebody_else("n140_a_directory_in_the_place_of_the_certificate_is_told_as_one") {
        return;
    }
    let story = Story::new("[tls]\ncertificate = \"tls\"\nkey = \"tls/key.pem\"\n");
    fs::create_dir(story.at("tls")).unwrap();
    fs::set_permissions(story.at("tls"), Permissions::from_mode(0o700)).unwrap();
    let (code, said) = story.run(&[], &["check"]);
    let told = format!("{} is a directory: name the file in it", story.at("tls").display());
    assert!(code == Some(2) && said.contains(&told) && !said.contains("chgrp"), "{said}");
}

#[test]
fn n149_a_key_with_a_passphrase_is_told_before_the_rights_to_it() {
    if !can_become_somebody_else("n149_a_key_with_a_passphrase_is_told_before_the_rights_to_it") {
        return;
    }
    let story = Story::new("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    for name in ["cert.pem", "key.pem"] {
        let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        fs::write(story.at(name), text).unwrap();
        fs::set_permissions(story.at(name), Permissions::from_mode(0o600)).unwrap();
    }
    for command in ["check", "serve"] {
        let (code, said) = story.run(&[], &[command]);
        let told = format!(
            "has a passphrase, and the server cannot ask for it: remove it with `openssl pkey -in {}",
            story.at("key.pem").display()
        );
        assert!(code != Some(0) && said.contains(&told) && !said.contains("chgrp"), "{said}");
    }
}

#[test]
fn n138_the_advice_for_a_log_in_a_directory_of_another_user_names_that_user() {
    if !can_become_somebody_else("n138_the_advice_for_a_log_in_a_directory_of_another_user_names_that_user") {
        return;
    }
    let story = Story::new("[log]\ndestination = \"./log/restante.log\"\n");
    fs::create_dir(story.at("log")).unwrap();
    fs::write(story.at("log/restante.log"), "").unwrap();
    own(&story.at("log"), NOBODY);
    story.replace("user = \"nobody\"\n", "");
    let (_, said) = story.run(&[], &["check"]);
    assert!(said.contains("or run this as that user, or set user = \"nobody\""), "{said}");
    assert!(!said.contains("chown root"), "{said}");
}
