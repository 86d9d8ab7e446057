//! The command line: refused arguments and their messages, and the start and the end of a server.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, deliver},
    configuration, home, programs,
};
use rustix::process::{Pid, Signal};

const ALICE: &str = "alice@example.test";

fn restante(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante")).args(words).output().unwrap()
}

/// Writes a configuration file with that after the required keys, and checks it.
fn check(home: &Path, rest: &str) -> (PathBuf, Output) {
    let file = home.join("restante.toml");
    fs::write(home.join("users.json"), "{}").unwrap();
    fs::write(&file, configuration(home, &home.join("spool"), rest)).unwrap();
    let output = restante(&["check", "--all", "--config", file.to_str().unwrap()]);
    (file, output)
}

#[test]
fn check_prints_the_effective_values() {
    let home = home();
    let (_, output) =
        check(home.path(), &format!("{STRICT}\n[limits]\nsmtp.max_message_size = \"300 MiB\"\n"));
    assert!(output.status.success(), "{output:?}");
    let said = programs::said(&output);
    for value in ["mx.example.test", "300 MiB", "command_timeout", "5m", "strict", "127.0.0.1:0"] {
        assert!(said.contains(value), "{value} is not in\n{said}");
    }
}

#[test]
fn n84_a_bad_configuration_is_refused_with_file_key_and_accepted_form() {
    let home = home();
    let mut wrong = Vec::new();
    for (bad, key, forms) in [
        ("[limits]\nmesage = \"1 MiB\"", "mesage", &["max_message_size", "[limits.smtp]"][..]),
        ("colour = \"green\"", "colour", &["restante.toml(5)"]),
        ("[metrics]\nspool = \"mail\"", "spool", &["above the first [section]"]),
        ("[limits]\nsmtp.max_message_size = \"5 MB\"", "message", &["50 MiB"]),
        ("[limits]\nmessage = 5", "limits.message", &["50 MiB"]),
        ("[limits]\nsmtp.command_timeout = \"5 parsecs\"", "limits.smtp.command_timeout", &["5m"]),
        ("[limits]\nrecipients = -1", "limits.recipients", &[]),
        ("[[listen]]\nprotocol = \"nntp\"\naddress = \"127.0.0.1:0\"", "protocol", &["smtp", "imap", "pop3"]),
        ("[[listen]]\nprotocol = \"smtp\"\naddress = \"localhost\"", "address", &[]),
        ("[[listen]]\nprotocol = \"smtp\"", "address", &[]),
        (
            "[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\nline_endings = \"sloppy\"",
            "line_endings",
            &["strict", "normalise", "lenient"],
        ),
        (
            "[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\npersona = \"rfc5321\"",
            "persona",
            &["modern", "rfc821"],
        ),
        ("[[listen]\nprotocol", "line 5", &["]"]),
    ] {
        let (file, output) = check(home.path(), &format!("{bad}\n"));
        let said = programs::said(&output);
        let words = [&[file.to_str().unwrap(), key][..], forms].concat();
        let missing: Vec<&str> = words.into_iter().filter(|word| !said.contains(word)).collect();
        if output.status.code() != Some(2) || !missing.is_empty() {
            wrong.push(format!("{bad}\n--- {}, without {missing:?}:\n{said}", output.status));
        }
        let serve = restante(&["serve", "--config", file.to_str().unwrap()]);
        assert_eq!(serve.status.code(), Some(2), "serve starts with\n{bad}");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_configuration_of_0_1_is_checked_and_served_with_a_warning_for_each_old_name() {
    let old = format!("unknown = \"refuse\"\n{STRICT}\n[limits]\nsmtp_idle = \"7m\"\nerrors = 9\n");
    let warnings = [
        "unknown is named unknown_recipients now",
        "limits.smtp_idle is named limits.smtp.command_timeout now",
        "limits.errors is named limits.smtp.hard_error_limit and limits.pop3.hard_error_limit now",
    ];
    let home = home();
    let (_, output) = check(home.path(), &old);
    let shown = String::from_utf8(output.stdout).unwrap();
    for warning in warnings {
        assert!(shown.contains(&format!("\n# warning: {warning}\n")), "{warning} is not in\n{shown}");
    }
    // The output is the same configuration under the names of today.
    let file = home.path().join("new.toml");
    fs::write(&file, &shown).unwrap();
    let output = restante(&["check", "--all", "--config", file.to_str().unwrap()]);
    let again = String::from_utf8(output.stdout).unwrap();
    assert!(!again.contains(" is named "), "{again}");
    let settings = |shown: &str| shown.split_once("\nhostname = ").unwrap().1.to_owned();
    assert_eq!(settings(&again), settings(&shown));

    let server = Setup { config: Some(&old), users: &[ALICE], ..Setup::default() }.start();
    for times in 1..=2 {
        for warning in warnings {
            crate::common::eventually(warning, || {
                (server.log().matches(warning).count() == times).then_some(())
            });
        }
        server.signal(Signal::HUP); // a reload reads the file again
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let output = restante(&["check", "--config", "/nowhere/restante.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(programs::said(&output).contains("/nowhere/restante.toml"));
}

#[test]
fn help_and_version_are_no_errors_and_unknown_words_are() {
    let old_option = &["dev", "--pedantic", "--help"];
    for words in [&["--help"][..], &["--version"], &["dev", "--help"], old_option, &["user", "--help"]] {
        assert!(restante(words).status.success(), "{words:?}");
    }
    assert!(
        programs::said(&restante(&["status", "--help"]))
            .starts_with("Show the statistics of a running server\n")
    );
    for words in [&["--nonsense"][..], &["deliver"], &["dev", "--port", "25"], &["serve"]] {
        assert_eq!(restante(words).status.code(), Some(2), "{words:?}");
    }
    for word in ["run", "start"] {
        let told = programs::said(&restante(&[word]));
        assert!(told.contains("'dev', 'serve'"), "{told}");
    }
}

#[test]
fn dev_mode_is_for_loopback_alone() {
    let home = home();
    let spool = home.path().join("spool");
    let output = restante(&["dev", "--spool", spool.to_str().unwrap(), "--smtp", "0.0.0.0:0"]);
    assert!(!output.status.success());
    assert!(programs::said(&output).contains("0.0.0.0"), "{output:?}");
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_half_started() {
    let home = home();
    let (spool, ports) = (home.path().join("spool"), home.path().join("ports"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (spool, ports_file) = (spool.to_str().unwrap(), ports.to_str().unwrap());
    let output = restante(&[
        "dev",
        "--spool",
        spool,
        "--smtp",
        "127.0.0.1:0",
        "--pop3",
        &address,
        "--ports-file",
        ports_file,
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(programs::said(&output).contains(&address), "{output:?}");
    assert!(!ports.exists());
}

#[test]
fn h24_a_test_server_that_does_not_start_leaves_no_certificate() {
    let home = home();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let smtp = taken.local_addr().unwrap().to_string();
    for (tls, code, told) in [("yes", 2, "write --tls alone"), ("./made/here", 1, smtp.as_str())] {
        let mut dev = Command::new(env!("CARGO_BIN_EXE_restante"));
        dev.args(["dev", "--pop3", "0", "--smtp", &smtp, &format!("--tls={tls}")]).current_dir(home.path());
        let output = dev.stdin(Stdio::null()).output().unwrap();
        let said = programs::said(&output);
        assert!(output.status.code() == Some(code) && said.contains(told), "{tls}: {said}");
        assert!(!home.path().join(tls).exists(), "{tls}");
    }
}

#[test]
fn h25_two_generations_of_one_protocol_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let smtp = taken.local_addr().unwrap().to_string();
    for (names, is_good) in [("rfc1939,rfc1081", false), ("rfc1081,modern", false), ("rfc821,rfc821", true)] {
        let output = restante(&["dev", "--persona", names, "--smtp", &smtp, "--pop3", "0"]);
        let said = programs::said(&output);
        assert_eq!(said.contains("are both personas of "), !is_good, "{names}: {said}");
        assert!(!output.status.success());
    }
}

#[test]
fn h20_a_server_that_cannot_write_its_ports_leaves_no_spool() {
    let home = home();
    let spool = home.path().join("spool");
    fs::create_dir(home.path().join("directory")).unwrap();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let config = home.path().join("restante.toml");
    fs::write(&config, configuration(home.path(), &spool, STRICT)).unwrap();
    fs::write(home.path().join("users.json"), "{}").unwrap();
    let dev = ["dev", "--spool", &at("spool"), "--smtp", "0", "--pop3", "0"];
    let serve = ["serve", "--config", config.to_str().unwrap()];
    for words in [&dev[..], &serve] {
        for (file, hint) in [("nosuch/ports", "mkdir -p"), ("directory", "is a directory")] {
            let output = restante(&[words, &["--ports-file", &at(file)]].concat());
            let said = programs::said(&output);
            assert!(output.status.code() == Some(1) && said.contains(hint), "{words:?}: {said}");
            assert!(!spool.exists(), "{words:?} {file} left {}", spool.display());
        }
    }
}

#[test]
fn the_ports_file_has_a_line_for_every_listener() {
    let config = format!("{STRICT}{STRICT}");
    let server = Setup { config: Some(&config), ..Setup::default() }.start();
    for protocol in ["smtp", "pop3"] {
        let [first, second] = server.addresses(protocol)[..] else { panic!("two listeners for {protocol}") };
        assert_ne!(first, second);
        for address in [first, second] {
            Client::connect(address).expect(if protocol == "smtp" { "220 " } else { "+OK" });
        }
    }
    assert!(server.addresses("http").is_empty(), "a service has no HTTP unless a listener says so");
    let left: Vec<_> = fs::read_dir(server.home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("ports.")), "{left:?}");
}

#[test]
fn a_signal_ends_the_server_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::dev();
        let mut idle = Client::smtp(&server);
        let mut waiting = Client::pop3(&server, "bob@example.test");
        let mut sending = Client::smtp(&server);
        sending.begin_data("a@far.test", &[ALICE]);
        sending.write(b"Subject: half a mess");
        let start = Instant::now();
        server.signal(signal);
        idle.expect("421 4.3.2");
        assert_eq!(idle.rest(), b"");
        waiting.expect("-ERR");
        assert_eq!(waiting.rest(), b"");
        sending.expect("421 4.3.2");
        drop((idle, waiting, sending));
        assert_eq!(server.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
        let maildir = server.maildir(ALICE);
        assert_eq!((maildir.files("new").len(), maildir.files("tmp").len()), (0, 0));
    }
}

#[test]
fn a_server_without_work_ends_at_once() {
    let mut server = Server::dev();
    let idle: Vec<Client> = (0..20).map(|_| Client::smtp(&server)).collect();
    let start = Instant::now();
    server.signal(Signal::TERM);
    for mut client in idle {
        client.expect("421 4.3.2");
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn m29_a_second_server_on_a_spool_does_not_start_unless_both_say_that_it_is_shared() {
    let mut first = Server::dev();
    let spool = first.spool.to_str().unwrap();
    let second = restante(&["dev", "--spool", spool, "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]);
    assert!(!second.status.success());
    let said = programs::said(&second);
    assert!(said.contains(spool) && said.contains("--spool (`make run ARGS="), "{said}");
    assert!(!said.contains("shared_spool"), "`dev` has no configuration: {said}");
    first.restart(); // a server that was killed leaves no lock behind

    let shared = format!("shared_spool = true\n[limits]\nspool.lock_timeout = \"50ms\"\n{STRICT}");
    let users = &[ALICE][..];
    let file = first.home.path().join("restante.toml");
    let open = format!("unknown_recipients = \"create\"\n{shared}");
    fs::write(&file, configuration(first.home.path(), &first.spool, &open)).unwrap();
    let willing = restante(&["serve", "--config", file.to_str().unwrap()]);
    assert!(!willing.status.success());
    assert!(programs::said(&willing).contains("shared_spool"), "{}", programs::said(&willing));

    let one = Setup { config: Some(&shared), users, ..Setup::default() }.start();
    let spool = Some(one.spool.clone());
    let other = Setup { config: Some(&shared), users, spool, ..Setup::default() }.start();
    deliver(&one, ALICE, b"Subject: x\r\n\r\n");
    Client::pop3(&other, ALICE).ask("STAT", "+OK 1 ");
}

#[test]
fn u07_a_closed_pipe_ends_every_command_silently_with_141() {
    let server = Server::dev();
    for number in 1..=3 {
        deliver(&server, ALICE, format!("Subject: {number}\r\n\r\ntext\r\n").as_bytes());
    }
    let spool = server.spool.to_str().unwrap();
    let message = server.maildir(ALICE).files("new").remove(0);
    let mbox = server.home.path().join("mbox");
    fs::write(&mbox, "From a@b Sat Jan  3 09:00:00 2026\nSubject: x\n\nx\n\n").unwrap();
    let broken = server.home.path().join("broken");
    fs::create_dir_all(broken.join("bob@example.test/new")).unwrap();
    let (config, _) = check(server.home.path(), STRICT);
    let (config, message, mbox) =
        (config.to_str().unwrap(), message.to_str().unwrap(), mbox.to_str().unwrap());
    let smtp = server.smtp().to_string();
    for words in [
        &["export", ALICE, "--spool", spool][..],
        &["import", mbox, "--to", ALICE, "--spool", spool],
        &["fsck", "--spool", broken.to_str().unwrap()],
        &["fsck", "--json", "--spool", broken.to_str().unwrap()],
        &["explain", message],
        &["explain", "--json", message],
        &["seed", "--to", ALICE, "--count", "3", "--spool", spool],
        &["wait", "--to", ALICE, "--count", "2", "--spool", spool],
        &["wait", "--to", ALICE, "--mark", "--spool", spool],
        &["check", "--config", config],
        &["user", "list", "--config", config],
        &["send", "--server", &smtp, "--from", ALICE, "--to", ALICE, "--body", "x"],
        &["purge", "--to", ALICE, "--yes", "--spool", spool],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            Command::new(env!("CARGO_BIN_EXE_restante")).args(words).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let prints_nothing = words[0] == "user"; // without accounts
        assert_eq!(output.status.code(), Some(if prints_nothing { 0 } else { 141 }), "{words:?}: {said}");
        assert!(said.is_empty(), "{words:?}: {said}");
    }
}

#[test]
fn h11_a_mistyped_option_or_address_comes_with_one_to_type() {
    for (words, tip) in [
        (&["watch", "--folow"][..], "'--follow'"),
        (&["watch", "--no-folow"], "'--no-follow'"),
        (
            &["dev", "--smtp", "25260000"],
            "it needs a port, or an IP address and a port: 2525 or 127.0.0.1:2525",
        ),
        (&["dev", "--pop3", "mx.test:1110"], "1110 or 127.0.0.1:1110"),
        (&["dev", "--listen", "mx.test"], "an IP address of this machine: --listen 127.0.0.1"),
    ] {
        let output = restante(words);
        let said = programs::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(tip) && !said.contains("'-- "), "{tip} is not in {said}");
    }
}

#[test]
fn u46_a_live_screen_without_a_terminal_is_refused_with_the_command_that_does() {
    let home = home();
    let metrics = home.path().join("restante.prom");
    fs::write(&metrics, "# restante\nrestante_start_time_seconds 1\n").unwrap();
    let output = restante(&["status", "--watch", "--file", metrics.to_str().unwrap()]);
    let said = programs::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--watch needs a terminal") && said.contains("use `restante status`"), "{said}");
}

#[test]
fn u70_the_addresses_of_a_new_server_stay_on_the_screen_below_its_log() {
    let home = home();
    let (screen, terminal) = io::pipe().unwrap();
    let any = "127.0.0.1:0";
    let mut server = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["dev", "--smtp", any, "--pop3", any, "--imap", any, "--http", any])
        .current_dir(home.path())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let lines = BufReader::new(screen).lines().map(Result::unwrap);
    let shown: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    rustix::process::kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    server.wait().unwrap();
    let first = shown.iter().position(|line| line.contains("web inbox http://")).unwrap();
    let (log, text) = shown.split_at(first);
    assert!(log.iter().any(|line| line.contains("http listening")), "{shown:#?}");
    assert!(text.len() < 24 && text.iter().all(|line| !line.contains("[INFO]")), "{shown:#?}");
}

#[test]
fn u49_u160_a_refusal_names_what_is_wrong_and_the_next_step_once() {
    let home = home();
    let spool = home.path().join("no-spool");
    let spool = spool.to_str().unwrap();
    for (words, told, other) in [
        (
            &["wait", "--to", "not an address", "--spool", spool][..],
            "\"not an address\" is not a mail address: write it like bob@example.test",
            "--config",
        ),
        (&["fsck", "--spool", spool], "no-spool is not there: name the spool", "not a directory"),
        (
            &["check", "--config", "/nowhere/restante.toml"],
            "(os error 2): name the configuration with --config FILE",
            "serve",
        ),
        (&["status", "--spool", spool], "no-spool is not there: name the spool", "no metrics"),
    ] {
        let said = programs::said(&restante(words));
        assert!(said.contains(told) && !said.contains(other), "{words:?}: {said}");
    }
}

#[test]
fn u50_a_client_without_a_terminal_does_not_end_as_if_all_were_well() {
    let server = Server::dev();
    let (smtp, pop3) = (server.smtp().to_string(), server.pop3().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(["client", "--smtp", &smtp, "--pop3", &pop3]).env("LC_ALL", "C");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = programs::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the input ended before a login: `restante client` needs a terminal"), "{said}");
}

/// The output of that command line in a locale.
fn refusal(words: &[&str], locale: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(words)
        .env("LC_ALL", locale)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = programs::said(&output);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    said
}

#[test]
fn u119_a_port_alone_is_one_of_this_machine() {
    let server = Server::dev();
    let port = server.smtp().port().to_string();
    let output = restante(&["send", "--server", &port, "--from", "a@far.test", "--to", ALICE, "--body", "b"]);
    assert!(output.status.success(), "{}", programs::said(&output));
    let told = refusal(&["client", "--pop3", "localhost"], "C");
    assert!(told.contains("or 2525 for a port of this machine"), "{told}");
}

#[test]
fn u120_a_text_or_option_of_another_program_is_told_with_the_one_to_type() {
    let to = "tip: write each recipient with --to, and the text with --body";
    for (words, told) in [
        (&["send", "--to", ALICE, "hello"][..], to),
        (&["send", ALICE, "hello"], to),
        (&["send", "--to", ALICE, "--body", "hello", "Alice"], to),
        (&["send", "--message", "x"], "tip: the text has the option --body"),
        (&["client", "--server", "127.0.0.1:1110"], "tip: each server has an option: --smtp HOST:PORT"),
        (&["dev", "--port", "2600"], "tip: each protocol has an option for its port: --smtp 2525"),
        (&["dev", "--transcripts", "foo"], "tip: the value stands after a `=`: --transcripts=foo"),
    ] {
        let said = refusal(words, "C");
        assert!(said.contains(told) && !said.contains("similar argument"), "{words:?}: {said}");
    }
    for (words, told) in [
        (&["send", "--to", ALICE, "bonjour"][..], "conseil : écrivez chaque destinataire avec --to"),
        (&["client", "--server", "x"], "conseil : chaque serveur a son option"),
    ] {
        let said = refusal(words, "fr_FR.UTF-8");
        assert!(said.contains(told) && !said.contains("tip:"), "{words:?}: {said}");
    }
}

#[test]
fn u121_a_name_that_a_comma_splits_is_told_with_its_quotation_marks() {
    let words = ["send", "--from", "a@far.test", "--body", "b", "--to", "Dupont, Jean <jean@example.test>"];
    let quoted = "\"Dupont, Jean\" <jean@example.test>";
    let said = refusal(&words, "C");
    assert!(said.contains("write a name with a comma in quotation marks") && said.contains(quoted), "{said}");
    let said = refusal(&words, "fr_FR.UTF-8");
    assert!(said.contains("mettez entre guillemets") && said.contains(quoted), "{said}");
}
