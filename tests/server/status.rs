//! `restante status` of servers that take no mail, or that run with another configuration than the one in the file.

use std::{fs, path::Path, process::Command};

use crate::common::{
    STRICT, Server, Setup, client::Client, configuration, disk::SmallDisk, eventually, home, listener_at,
    skip,
};

const BOB: &str = "bob@example.test";
const EVE: &str = "eve@example.test";

/// The output of `restante status` for a spool, and its exit code.
fn status_of(options: &[&str], spool: &Path, runtime: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("status").args(options).arg("--spool").arg(spool).env("XDG_RUNTIME_DIR", runtime);
    let output = command.env_remove("RESTANTE_CONFIG").output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn n60_the_health_check_fails_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount("1m") else {
        return skip("n60_the_health_check_fails_while_the_disk_is_full", "only root may mount a small disk");
    };
    let spool = disk.dir.path().join("spool");
    let mut server = Setup { spool: Some(spool.clone()), ..Setup::default() }.start();
    let becomes = |server: &Server, options: &[&str], code: i32, word: &str| {
        eventually(word, || {
            let (found, said) = status_of(options, &spool, server.runtime.path());
            (found == Some(code) && said.contains(word)).then_some(())
        });
    };
    becomes(&server, &["--check"], 0, "healthy: up ");
    let filler = disk.fill(0);
    let reply = Client::smtp(&server).deliver(&[BOB], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("452 "), "{reply}");
    becomes(&server, &["--check"], 1, "refuses mail: the disk of its spool is full");
    becomes(&server, &[], 0, "refusing     deliveries: the disk of the spool is full");
    server.restart();
    becomes(&server, &["--check"], 1, "refuses mail: the disk of its spool is full");
    fs::remove_file(filler).unwrap();
    becomes(&server, &["--check"], 0, "healthy: up ");
}

#[test]
fn n61_status_names_the_spool_that_it_looked_for_and_the_one_of_the_server_that_runs() {
    let server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let other = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let runtime = server.runtime.path();
    let config = server.home.path().join("restante.toml");
    eventually("the server has written its metrics", || {
        (status_of(&[], &server.spool, runtime).0 == Some(0)).then_some(())
    });
    let moved = server.home.path().join("moved");
    fs::write(&config, configuration(server.home.path(), &moved, STRICT)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("status").arg("--config").arg(&config).env("XDG_RUNTIME_DIR", runtime);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for spool in [&moved, &server.spool] {
        assert!(said.contains(&spool.display().to_string()), "{} is not in {said}", spool.display());
    }
    assert!(!said.contains(&other.spool.display().to_string()), "{said}");
}

#[test]
fn n130_status_beside_a_spool_is_that_of_its_server_alone() {
    let running = Server::dev();
    let mut ended = Server::dev();
    ended.kill();
    assert_eq!(ended.spool, ended.home.path().join("spool"));
    eventually("the server has written its metrics", || {
        (status_of(&[], &running.spool, running.runtime.path()).0 == Some(0)).then_some(())
    });
    for options in [&[][..], &["--json"], &["--check"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.arg("status").args(options).current_dir(ended.home.path());
        let output = command.env("XDG_RUNTIME_DIR", running.runtime.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{options:?}: {said}");
        let other = format!("`restante status --spool {}`", running.spool.display());
        let own = format!("of {}: it is not running", ended.spool.canonicalize().unwrap().display());
        assert!(said.contains(&own) && said.contains(&other), "{options:?}: {said}");
    }
}

#[test]
fn n105_metrics_of_another_server_are_not_shown_as_those_of_the_configuration() {
    let home = home();
    let file = home.path().join("all.prom");
    let config = format!("{STRICT}[metrics]\nfile = {file:?}\n");
    let server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
    let status = |config: &Path, options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = command.arg("status").args(options).arg("--config").arg(config).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let own = server.home.path().join("restante.toml");
    eventually("the server has written its metrics", || (status(&own, &[]).0 == Some(0)).then_some(()));
    let (other, moved) = (home.path().join("other.toml"), home.path().join("moved"));
    fs::write(&other, configuration(home.path(), &moved, &config)).unwrap();
    fs::write(&own, configuration(server.home.path(), &moved, &config)).unwrap();
    for (config, reason) in [(&other, "two servers need two files"), (&own, "a new `spool` takes a restart")]
    {
        for options in [&[][..], &["--check"], &["--json"]] {
            let (code, said) = status(config, options);
            assert!(code == Some(1) && said.contains(reason), "{options:?}: {said}");
            for path in [&file, &moved, &server.spool] {
                assert!(said.contains(&path.display().to_string()), "{} is not in {said}", path.display());
            }
        }
    }
    // The same with a mistake in the file.
    fs::write(&other, configuration(home.path(), &moved, &format!("hostnam = 1\n{config}"))).unwrap();
    let (code, said) = status(&other, &[]);
    assert!(code == Some(2) && !said.contains("metrics "), "{said}");
}

#[test]
fn u79_missing_metrics_come_with_every_cause() {
    let home = home();
    fs::create_dir(home.path().join("none")).unwrap();
    for options in [&["--file", "none.prom"][..], &["--spool", "none"], &["--spool", "none", "--check"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.arg("status").args(options).current_dir(home.path()).env("XDG_RUNTIME_DIR", home.path());
        let output = command.env_remove("RESTANTE_CONFIG").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for cause in ["not running, ", "writes them elsewhere", "or cannot write them (see its log)"] {
            assert!(said.contains(cause), "{options:?}: {cause:?} is not in {said}");
        }
    }
}

#[test]
fn u77_a_read_only_disk_is_told_as_such_until_it_is_writable() {
    let test = "u77_a_read_only_disk_is_told_as_such_until_it_is_writable";
    let Some(disk) = SmallDisk::mount("4m") else {
        return skip(test, "only root may mount a small disk");
    };
    let remount = |options: &str| {
        let done = Command::new("mount").args(["-o", options]).arg(disk.dir.path()).status().unwrap();
        assert!(done.success(), "{options}");
    };
    let spool = disk.dir.path().join("spool");
    let server = Setup { spool: Some(spool.clone()), ..Setup::default() }.start();
    let deliver = || Client::smtp(&server).deliver(&[BOB], b"Subject: x\r\n\r\n");
    assert!(deliver().starts_with("250 "));
    remount("remount,ro");
    let told = deliver();
    assert_eq!(told, "451 4.3.0 The message could not be stored, try later\r\n");
    server.tells("refusing deliveries: the disk of the spool ");
    let mut client = Client::smtp(&server);
    client.ask("MAIL FROM:<a@far.test> SIZE=1000", "451 4.3.0");
    eventually("the health check sees it", || {
        let (code, said) = status_of(&["--check"], &spool, server.runtime.path());
        (code == Some(1) && said.contains("refuses mail: the disk of its spool is full or read-only"))
            .then_some(())
    });
    remount("remount,rw");
    server.tells("the disk of the spool is writable again, accepting mail");
    assert!(deliver().starts_with("250 "));
    assert_eq!(server.log().matches("refusing deliveries: ").count(), 1, "it is told once: {}", server.log());
}

#[test]
fn n93_a_mailbox_on_a_read_only_disk_is_read_by_pop3_and_imap_says_why_not() {
    let test = "n93_a_mailbox_on_a_read_only_disk_is_read_by_pop3_and_imap_says_why_not";
    let Some(disk) = SmallDisk::mount("4m") else {
        return skip(test, "only root may mount a small disk");
    };
    let remount = |options: &str| {
        let done = Command::new("mount").args(["-o", options]).arg(disk.dir.path()).status().unwrap();
        assert!(done.success(), "{options}");
    };
    let server = Setup { spool: Some(disk.dir.path().join("spool")), ..Setup::default() }.start();
    let imap = |user: &str| {
        let mut client = Client::connect(server.addresses("imap")[0]);
        client.expect("* OK");
        client.send(&format!("a LOGIN {user} x"));
        client
    };
    let select = |client: &mut Client| {
        client.send("s SELECT INBOX");
        std::iter::repeat_with(|| client.reply()).find(|line| line.starts_with("s ")).unwrap()
    };
    let reply = Client::smtp(&server).deliver(&[BOB, EVE], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(select(&mut imap(BOB)).starts_with("s OK"));
    remount("remount,ro");
    assert!(select(&mut imap(BOB)).starts_with("s OK"), "each message has a UID");
    let mut client = imap(EVE);
    assert_eq!(select(&mut client), "s NO [UNAVAILABLE] The disk of the mailbox is read-only, try later\r\n");
    client.send("l LANGUAGE fr");
    let told = select(&mut client);
    assert!(
        told.starts_with("s NO [UNAVAILABLE] Le disque de la bo") && told.contains("lecture seule"),
        "{told}"
    );
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {EVE}"), "+OK");
    client.ask("PASS x", "+OK");
    client.ask("STAT", "+OK 1 ");
    client.ask("RETR 1", "+OK");
    remount("remount,rw");
    assert!(select(&mut imap(EVE)).starts_with("s OK"));
}

#[test]
fn n90_a_health_check_means_the_spool_of_its_directory_and_always_names_one() {
    let (mut ours, other) = (Server::dev(), Server::dev());
    let check = |directory: &Path| status_in(directory, &["--check"], other.runtime.path());
    assert_eq!(ours.spool, ours.home.path().join("spool"), "where a person types the command");
    ours.signal(rustix::process::Signal::TERM);
    assert!(ours.wait().success());
    eventually("the other server is healthy", || {
        let (code, said) = check(other.home.path());
        let is_named = said.ends_with(&format!("; spool {}\n", other.spool.display()));
        (code == Some(0) && said.starts_with("healthy: up ") && is_named).then_some(())
    });
    let (code, said) = check(ours.home.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("no metrics of a server of {}", ours.spool.display())), "{said}");
}

/// `restante status` in a directory, without a configuration in the environment.
fn status_in(directory: &Path, options: &[&str], runtime: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("status").args(options).current_dir(directory).env_remove("RESTANTE_CONFIG");
    command.env("XDG_RUNTIME_DIR", runtime).env("HOME", runtime).env_remove("XDG_STATE_HOME");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn u126_a_health_check_takes_no_server_that_is_not_named_and_a_person_chooses_among_several() {
    let test = "u126_a_health_check_takes_no_server_that_is_not_named_and_a_person_chooses_among_several";
    if Path::new("/etc/restante/restante.toml").exists() {
        return skip(test, "this machine has a configuration");
    }
    let (runtime, place, empty) = (home(), home(), home());
    let start = |name: &str| {
        let spool = place.path().join(name).join("spool");
        fs::create_dir(spool.parent().unwrap()).unwrap();
        let runtime = format!("XDG_RUNTIME_DIR={}", runtime.path().display());
        Setup { wrapper: &["env", &runtime], spool: Some(spool), ..Setup::default() }.start()
    };
    let status = |options: &[&str]| status_in(empty.path(), options, runtime.path());
    // A directory of that name is no spool yet.
    fs::create_dir_all(empty.path().join("spool/cron")).unwrap();
    let is_refused = || {
        let (code, said) = status(&["--check"]);
        let told = "--check needs --spool or --config, because there is neither a configuration in the variable \
                    RESTANTE_CONFIG, nor /etc/restante/restante.toml, nor a spool ./spool: name the spool with \
                    --spool or --config";
        assert!(code == Some(2) && said.contains(told) && !said.contains("healthy"), "{said}");
    };
    is_refused();
    let one = start("one");
    eventually("the only server is shown", || {
        let (code, said) = status(&[]);
        (code == Some(0) && said.contains(&one.spool.display().to_string())).then_some(())
    });
    is_refused();
    let two = start("two");
    eventually("both are told", || {
        let (code, said) = status(&[]);
        let commands =
            [&one, &two].map(|server| format!("`restante status --spool {}`", server.spool.display()));
        (code == Some(2)
            && said.contains(&format!("2 servers run: choose one with {}", commands.join(" or "))))
        .then_some(())
    });
    is_refused();
    // The configuration of the environment comes before the spool of the directory.
    let config = empty.path().join("restante.toml");
    let gone = empty.path().join("gone");
    fs::write(&config, configuration(empty.path(), &gone, STRICT)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command
        .args(["status", "--check"])
        .current_dir(one.spool.parent().unwrap())
        .env("XDG_RUNTIME_DIR", runtime.path());
    let output = command.env("RESTANTE_CONFIG", &config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let told = format!("no metrics of a server of {}: ", gone.display());
    assert!(output.status.code() == Some(1) && said.contains(&told), "{said}");
}

#[test]
fn u127_the_status_of_a_server_whose_spool_is_gone_is_refusing() {
    let server = Server::dev();
    let (runtime, directory) = (server.runtime.path(), server.home.path());
    let spool = server.spool.to_str().unwrap();
    let ways = [&["--spool", "spool"][..], &["--spool", spool], &[]];
    let status = |way: &[&str], more: &[&str]| status_in(directory, &[way, more].concat(), runtime);
    eventually("the server has written its metrics", || (status(&[], &[]).0 == Some(0)).then_some(()));
    fs::rename(&server.spool, directory.join("aside")).unwrap();
    for way in ways {
        let (code, said) = status(way, &["--check"]);
        assert!(code == Some(1) && said.contains("the server refuses mail and logins"), "{way:?}: {said}");
        assert!(said.starts_with("refusing: up "), "{way:?}: {said}");
        let (code, said) = status(way, &["--json"]);
        assert!(code == Some(0) && said.contains("the server refuses mail and logins"), "{way:?}: {said}");
        let (code, said) = status(way, &[]);
        assert!(
            code == Some(0) && said.contains("\nrefusing     deliveries and logins: the spool"),
            "{said}"
        );
    }
    fs::rename(directory.join("aside"), &server.spool).unwrap();
    eventually("it is healthy again", || (status(&[], &["--check"]).0 == Some(0)).then_some(()));
}

#[test]
fn u129_the_health_check_sees_a_full_disk_before_a_client_sends() {
    let test = "u129_the_health_check_sees_a_full_disk_before_a_client_sends";
    let Some(disk) = SmallDisk::mount("1m") else {
        return skip(test, "only root may mount a small disk");
    };
    let spool = disk.dir.path().join("spool");
    let server = Setup { spool: Some(spool.clone()), ..Setup::default() }.start();
    let check = || status_of(&["--check"], &spool, server.runtime.path());
    eventually("the server is healthy", || (check().0 == Some(0)).then_some(()));
    let _filler = disk.fill(0);
    let (code, said) = check();
    assert!(code == Some(1) && said.starts_with("refusing: up "), "{said}");
    assert!(said.contains("the server refuses mail: the disk of its spool is full or read-only"), "{said}");
}

#[test]
fn n91_check_knows_the_server_of_its_file_that_runs_with_another_spool() {
    let server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let runtime = server.runtime.path();
    eventually("the server has written its metrics", || {
        (status_of(&[], &server.spool, runtime).0 == Some(0)).then_some(())
    });
    let moved = server.home.path().join("moved");
    fs::create_dir(&moved).unwrap();
    let listeners = listener_at("smtp", &server.smtp().to_string(), "")
        + &listener_at("pop3", &server.pop3().to_string(), "");
    let check = |file: &str| {
        let file = server.home.path().join(file);
        fs::write(&file, configuration(server.home.path(), &moved, &listeners)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = command.arg("check").arg("--config").arg(file).env("XDG_RUNTIME_DIR", runtime).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = check("restante.toml");
    assert!(code == Some(0) && !said.contains("listen on"), "{said}");
    let note =
        format!("# note: the server of this file that runs has the spool {}, ", server.spool.display());
    assert!(said.contains(&note), "{said}");
    let (code, said) = check("other.toml");
    assert!(code == Some(2) && said.contains("another program listens there"), "{said}");
}

#[test]
fn n92_a_reload_that_needs_a_restart_is_no_mistake_and_the_first_web_listener_needs_none() {
    let server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let (file, elsewhere) = (server.home.path().join("restante.toml"), home());
    let good = fs::read_to_string(&file).unwrap();
    let reload = |config: &str| {
        fs::write(&file, config).unwrap();
        server.signal(rustix::process::Signal::HUP);
    };
    let shows = |word: &str| {
        eventually(word, || {
            let (_, said) = status_of(&[], &server.spool, server.runtime.path());
            said.contains(word).then_some(said)
        })
    };
    let with_web = good + &listener_at("http", "127.0.0.1:0", "");
    reload(&with_web);
    server.tells(" http listening address=");
    let is_kept = !server.log().contains("landlock=none");
    for (config, needs_restart) in &[
        (with_web.replacen("spool = \"", "spool = \"/tmp/..", 1), true),
        (with_web.replacen("hostname", "host_name", 1), false),
        // Without Landlock, a server takes it.
        (
            with_web.clone() + &listener_at("lmtp", &format!("unix:{}/s", elsewhere.path().display()), ""),
            true,
        ),
    ][..if is_kept { 3 } else { 2 }]
    {
        reload(config);
        if *needs_restart {
            server.tells("configuration reload failed, keeping the old one until a restart: ");
            shows("configuration: it needs a restart (the log says why)");
        } else {
            shows("configuration: invalid, the previous version is in use");
        }
    }
    reload(&with_web);
    eventually("nothing is stale", || {
        let (code, said) = status_of(&[], &server.spool, server.runtime.path());
        (code == Some(0) && !said.contains("stale")).then_some(())
    });
}
