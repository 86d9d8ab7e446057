//! Commands beside a server that runs as another user: they tell of the server, and take nothing from it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use crate::{
    common::{Server, configuration, home, listener_at, skip},
    leaving_root::{AS_ROOT, can_become_somebody_else, started_as_root},
};

const BOB: &str = "bob@example.test";
/// A user other than root and the server's.
const OTHER: u32 = 2;

fn server_of_nobody() -> Server {
    started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody")
}

/// A command of that user; root is 0.
fn run(user: u32, words: &[&str], option: &str, place: &Path) -> (Option<i32>, String) {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}")]).arg("--clear-groups");
    command.arg(env!("CARGO_BIN_EXE_restante")).args(words).arg(option).arg(place);
    let output = command.env_remove("RESTANTE_CONFIG").output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn n104_a_command_beside_the_server_of_its_configuration_takes_it_for_no_other_program() {
    if !can_become_somebody_else(
        "n104_a_command_beside_the_server_of_its_configuration_takes_it_for_no_other_program",
    ) {
        return;
    }
    let server = server_of_nobody();
    fs::set_permissions(&server.spool, Permissions::from_mode(0o700)).unwrap();
    let file = server.home.path().join("same.toml");
    let listeners = listener_at("smtp", &server.smtp().to_string(), "")
        + &listener_at("pop3", &server.pop3().to_string(), "");
    let keys = format!("user = \"nobody\"\n{listeners}");
    fs::write(&file, configuration(server.home.path(), &server.spool, &keys)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let config = |user, command| run(user, &[command], "--config", &file);
    let (code, said) = config(0, "check");
    assert!(code == Some(0) && !said.contains("another program"), "{said}");
    let (code, said) = config(OTHER, "check");
    assert!(code == Some(0) && !said.contains("another program"), "{said}");
    assert!(said.contains("# warning: not checked with the rights of the server: "), "{said}");
    for user in [0, OTHER] {
        let (code, said) = config(user, "serve");
        let told = format!(
            "that is probably the server of {0}, which runs with the spool {1}; `restante status --config {0}` shows it",
            file.display(),
            server.spool.display()
        );
        assert!(code == Some(1) && said.contains(&told) && !said.contains("another program"), "{said}");
        assert_eq!(said.contains("run this as root to be certain"), user != 0, "{said}");
    }
}

#[test]
fn n107_the_spool_of_a_server_that_runs_is_not_taken_from_its_user() {
    if !can_become_somebody_else("n107_the_spool_of_a_server_that_runs_is_not_taken_from_its_user") {
        return;
    }
    let mut server = server_of_nobody();
    fs::set_permissions(&server.spool, Permissions::from_mode(0o700)).unwrap();
    // The directory above is of the user who types the commands.
    chown(server.home.path(), Some(OTHER), Some(OTHER)).unwrap();
    let commands = [
        &["wait", "--timeout", "0", "--to", BOB][..],
        &["purge", "--yes", "--to", BOB],
        &["purge", "--yes", "--all"],
        &["seed", "--nasty", "--to", BOB],
        &["export", BOB],
    ];
    let told = "a server of the user \"nobody\" has it, so leave its owner: run this as root, or with `sudo -u nobody`";
    // A test that nothing came takes exit code 1 of `wait` for that.
    let refused = |words: &[&str]| Some(if words[0] == "wait" { 2 } else { 1 });
    for words in commands {
        let (code, said) = run(OTHER, words, "--spool", &server.spool);
        assert!(code == refused(words) && said.contains("run this as root"), "{words:?}: {said}");
        assert!(!said.contains("chown") && !said.contains("no mailbox"), "{words:?}: {said}");
        assert!(said.contains(told) || words.contains(&"--all"), "{words:?}: {said}");
    }
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().success());
    let (_, said) = run(OTHER, commands[1], "--spool", &server.spool);
    assert!(said.contains("as root, run `chown -R "), "{said}");
    let (_, said) = run(OTHER, commands[0], "--spool", &server.spool);
    assert!(
        said.ends_with("run this as root, or with `sudo -u nobody`\n") && !said.contains("chown"),
        "{said}"
    );
    // A directory that is closed hides the spool, which is there all the same.
    chown(server.home.path(), Some(0), Some(0)).unwrap();
    fs::set_permissions(server.home.path(), Permissions::from_mode(0o700)).unwrap();
    for words in &commands[..4] {
        let (code, said) = run(OTHER, words, "--spool", &server.spool);
        assert!(
            code == refused(words) && said.contains("(os error 13): run this as root"),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn n136_a_server_whose_spool_was_moved_away_is_no_other_program() {
    let test = "n136_a_server_whose_spool_was_moved_away_is_no_other_program";
    if !can_become_somebody_else(test) {
        return;
    }
    let server = server_of_nobody();
    if fs::read_dir(format!("/proc/{}/fd", server.pid())).is_err() {
        return skip(test, "root may not look into the processes of others");
    }
    let file = server.home.path().join("restante.toml");
    let listeners = listener_at("smtp", &server.smtp().to_string(), "")
        + &listener_at("pop3", &server.pop3().to_string(), "");
    let keys = format!("user = \"nobody\"\n{listeners}");
    fs::write(&file, configuration(server.home.path(), &server.spool, &keys)).unwrap();
    let moved = server.home.path().join("m2");
    fs::rename(&server.spool, &moved).unwrap();
    let [(code, checked), (started, served)] =
        ["check", "serve"].map(|command| run(0, &[command], "--config", &file));
    fs::rename(&moved, &server.spool).unwrap();
    let told = format!(
        "the spool {} is not in its place, and a server of this file runs with it: `restante status",
        server.spool.display()
    );
    assert!(code == Some(2) && checked.contains(&told), "{checked}");
    assert!(
        started == Some(1) && served.contains(", which is not in its place; `restante status"),
        "{served}"
    );
    assert!(!checked.contains("another program") && !served.contains("another program"), "{served}");
}

#[test]
fn n165_a_server_whose_spool_was_replaced_by_an_empty_directory_is_no_other_program() {
    let test = "n165_a_server_whose_spool_was_replaced_by_an_empty_directory_is_no_other_program";
    if !can_become_somebody_else(test) {
        return;
    }
    let server = server_of_nobody();
    if fs::read_dir(format!("/proc/{}/fd", server.pid())).is_err() {
        return skip(test, "root may not look into the processes of others");
    }
    let file = server.home.path().join("restante.toml");
    let listeners = listener_at("smtp", &server.smtp().to_string(), "")
        + &listener_at("pop3", &server.pop3().to_string(), "");
    let keys = format!("user = \"nobody\"\n{listeners}");
    fs::write(&file, configuration(server.home.path(), &server.spool, &keys)).unwrap();
    let moved = server.home.path().join("m2");
    fs::rename(&server.spool, &moved).unwrap();
    fs::create_dir(&server.spool).unwrap();
    let [(code, checked), (started, served)] =
        ["check", "serve"].map(|command| run(0, &[command], "--config", &file));
    fs::remove_dir_all(&server.spool).unwrap();
    fs::rename(&moved, &server.spool).unwrap();
    let told = format!(
        "the spool {} is not in its place, and a server of this file runs with it: `restante status",
        server.spool.display()
    );
    assert!(code == Some(2) && checked.contains(&told), "{checked}");
    assert!(
        checked.contains("another directory is there: move that one away and the spool back"),
        "{checked}"
    );
    assert!(
        started == Some(1) && served.contains(", which is not in its place; `restante status"),
        "{served}"
    );
    assert!(!checked.contains("another program") && !served.contains("another program"), "{served}");
}

#[test]
fn u158_no_command_advises_to_take_a_directory_above_the_spool() {
    let test = "u158_no_command_advises_to_take_a_directory_above_the_spool";
    if !can_become_somebody_else(test) {
        return;
    }
    let home = home();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let (own, spool) = (home.path().join("nb"), home.path().join("t9/spool"));
    fs::create_dir(&own).unwrap();
    fs::create_dir_all(spool.join("bob@example.test/new")).unwrap();
    for part in ["cur", "tmp"] {
        fs::create_dir(spool.join("bob@example.test").join(part)).unwrap();
    }
    fs::set_permissions(&spool, Permissions::from_mode(0o700)).unwrap();
    chown(&own, Some(OTHER), Some(OTHER)).unwrap();
    let closed = format!("only root, its owner, may open {}: run this as root", spool.display());
    for place in [
        own.join("../t9/spool"),
        own.join("../../").join(home.path().file_name().unwrap()).join("t9/spool"),
        spool.clone(),
    ] {
        for words in
            [&["wait", "--to", BOB, "--timeout", "0s"][..], &["purge", "--yes", "--to", BOB], &["fsck"]]
        {
            let (code, said) = run(OTHER, words, "--spool", &place);
            assert!(code != Some(0) && said.contains(&closed), "{words:?} {place:?}: {said}");
            assert!(!said.contains("chown"), "{words:?} {place:?}: {said}");
        }
    }
    let (_, said) = run(OTHER, &["explain"], "--json", &spool.join("bob@example.test/new/1.x"));
    assert!(said.contains(&closed), "{said}");
    // One of root between a directory of the caller and the spool: the spool alone gets another owner.
    let inner = own.join("of_root/spool");
    fs::create_dir_all(&inner).unwrap();
    fs::set_permissions(&inner, Permissions::from_mode(0o700)).unwrap();
    let (_, said) = run(OTHER, &["purge", "--yes", "--to", BOB], "--spool", &inner);
    assert!(said.contains("`chown -R ") && said.contains(&format!(": {}`", inner.display())), "{said}");
}
