//! A server that root starts becomes another user for good, and `check` says what that user lacks. Row O09 of the
//! catalogue of faults (docs/dev/faults/).

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::common::{
    STRICT, Server, Setup,
    client::Client,
    configuration, home,
    inject::{Fault, can_inject},
    installed, listener_at, memory, skip,
    tools::NOBODY,
    write_private,
};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The values after a name in `/proc/PID/status`.
fn status(pid: u32, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// Gives the directory of the configuration, and all that is in it, to [`NOBODY`], then starts the server with
/// groups that it has to lose.
pub(crate) const AS_ROOT: &str = r#"d=$(dirname "$4"); chmod 711 "$d"; chown -R 65534:65534 "$d"; chmod 644 "$4"; chown 0:0 "$4"
exec setpriv --groups=1,2,3 "$@""#;

/// Whether other users can get to the files of a test at all.
fn others_get_to(path: &Path) -> bool {
    path.ancestors().all(|above| fs::metadata(above).is_ok_and(|is| is.permissions().mode() & 0o001 != 0))
}

pub(crate) fn can_become_somebody_else(test: &str) -> bool {
    if !is_root() {
        skip(test, "only root can become somebody else");
        return false;
    }
    if !others_get_to(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        skip(test, "the directory of the build is not for others");
        return false;
    }
    true
}

pub(crate) fn started_as_root(wrapper: &[&str], user: &str) -> Server {
    started_as_root_on(None, wrapper, user)
}

fn started_as_root_on(spool: Option<PathBuf>, wrapper: &[&str], user: &str) -> Server {
    let config = format!("user = {user:?}\n{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
    let users = &["bob@example.test"];
    Setup { wrapper, config: Some(&config), users, spool, ..Setup::default() }.start()
}

#[test]
fn o09_root_is_left_for_good_with_its_groups_and_rights() {
    if !can_become_somebody_else("o09_root_is_left_for_good_with_its_groups_and_rights") {
        return;
    }
    for user in ["nobody", "65534"] {
        let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], user);
        server.tells("running as user=nobody uid=65534");
        let pid = server.pid();
        let nobody = NOBODY.to_string();
        assert_eq!(status(pid, "Uid"), vec![nobody.clone(); 4]);
        assert_eq!(status(pid, "Gid"), vec![nobody.clone(); 4]);
        assert_eq!(status(pid, "Groups"), [nobody]);
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(pid, capabilities), ["0000000000000000"], "{capabilities}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), ["1"]);
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
        // Not dumpable: the files of the process in /proc belong to root, though the process runs as another
        // user.
        assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
        // The same for each of its threads.
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let id = thread.unwrap().file_name().into_string().unwrap().parse().unwrap();
            assert_eq!((status(id, "Uid")[1].as_str(), status(id, "NoNewPrivs")[0].as_str()), ("65534", "1"));
        }

        Client::smtp(&server).deliver(&["bob@example.test"], b"Subject: x\r\n\r\nmail\r\n");
        let file = &server.maildir("bob@example.test").files("new")[0];
        assert_eq!(fs::metadata(file).unwrap().uid(), NOBODY);
        Client::pop3(&server, "bob@example.test").ask("STAT", "+OK 1 ");
    }
}

/// The socket keeps the group of its section when it gets the owner of the server's user.
#[test]
fn a_socket_made_by_root_keeps_its_group_when_the_server_leaves_root() {
    let test = "a_socket_made_by_root_keeps_its_group_when_the_server_leaves_root";
    if !can_become_somebody_else(test) {
        return;
    }
    let home = home();
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let path = home.path().join("lmtp.sock");
    let mail = {
        let groups = fs::read_to_string("/etc/group").unwrap();
        let line = groups.lines().find_map(|line| line.strip_prefix("mail:x:")).map(str::to_owned);
        line.and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap_or_else(|| panic!("no group mail"))
    };
    for (group, gid) in [("", NOBODY), ("socket_group = \"mail\"\n", mail)] {
        let lmtp = listener_at("lmtp", &format!("unix:{}", path.display()), group);
        let config = format!("user = \"nobody\"\n{lmtp}");
        let wrapper = &["sh", "-c", AS_ROOT, "sh"];
        let users = &["bob@example.test"];
        let mut server = Setup { wrapper, config: Some(&config), users, ..Setup::default() }.start();
        server.tells("running as user=nobody");
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (NOBODY, gid, 0o660), "{group}");
        server.signal(Signal::TERM);
        assert!(server.wait().success());
        // A check as root makes no socket, and needs none.
        let mut check = Command::new(env!("CARGO_BIN_EXE_restante"));
        let said = check
            .arg("check")
            .arg("--config")
            .arg(server.home.path().join("restante.toml"))
            .output()
            .unwrap();
        assert!(said.status.success() && !path.exists(), "{said:?}");
    }
}

#[test]
fn o09_a_file_without_a_name_gets_one_in_the_sandbox_of_another_user() {
    let test = "o09_a_file_without_a_name_gets_one_in_the_sandbox_of_another_user";
    if can_become_somebody_else(test) && can_inject(test) {
        let memory = memory();
        let spool = memory.path().join("spool");
        fs::create_dir(&spool).unwrap();
        for directory in [memory.path(), &spool] {
            chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let server = started_as_root_on(Some(spool), &["sh", "-c", AS_ROOT, "sh"], "nobody");
        Client::smtp(&server).deliver(&["bob@example.test"], b"Subject: x\r\n\r\nmail\r\n");
        // In the way of this kernel, and in that of older ones.
        for calls in ["linkat", "linkat:error=ENOENT:when=1"] {
            let trace = Fault::new(calls).of("committer").traced(&server, || {
                let reply = Client::smtp(&server).deliver(&["bob@example.test"], b"Subject: x\r\n\r\n");
                assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
            });
            assert!(trace.contains("/new>, \"") && trace.trim_end().ends_with("= 0"), "{trace}");
        }
        assert!(!server.log().contains("linkat gives an open file no name"), "{}", server.log());
    }
}

#[test]
fn o09_the_ports_come_before_the_drop_and_the_spool_and_threads_behind_it() {
    let test = "o09_the_ports_come_before_the_drop_and_the_spool_and_threads_behind_it";
    if !can_become_somebody_else(test) {
        return;
    }
    if !installed("strace") {
        return skip(test, "no strace");
    }
    let home = home();
    let trace = home.path().join("trace");
    let script = format!(
        "{}exec strace -D -f -o '{}' -e trace=bind,setresuid,openat,mkdirat,clone,clone3 \"$@\"",
        AS_ROOT.split("exec").next().unwrap(),
        trace.display()
    );
    let server = started_as_root(&["sh", "-c", &script, "sh"], "nobody");
    let trace = fs::read_to_string(trace).unwrap();
    let spool = server.spool.to_str().unwrap();
    let at = |what: &str| {
        trace.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what}"))
    };
    let dropped = at("setresuid(65534, 65534, 65534)");
    let last_bind =
        trace.lines().count() - 1 - trace.lines().rev().position(|line| line.contains("bind(")).unwrap();
    assert!(last_bind < dropped, "{trace}");
    assert!(dropped < at(spool), "{trace}");
    assert!(dropped < at("clone"), "{trace}");
}

#[test]
fn o09_a_user_who_cannot_do_the_work_is_told_with_what_to_type() {
    if !can_become_somebody_else("o09_a_user_who_cannot_do_the_work_is_told_with_what_to_type") {
        return;
    }
    let home = home();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let at = |name: &str| home.path().join(name);
    let serve = |user: &str, tls: &str| {
        let rest = format!("user = {user:?}\n{STRICT}{tls}");
        fs::write(at("restante.toml"), configuration(home.path(), &at("spool"), &rest)).unwrap();
        fs::set_permissions(at("restante.toml"), PermissionsExt::from_mode(0o644)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["serve", "--config"])
            .arg(at("restante.toml"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    fs::write(at("users.json"), "{}").unwrap();
    fs::set_permissions(at("users.json"), PermissionsExt::from_mode(0o600)).unwrap();
    let told = serve("no-such-user", "");
    assert!(
        told.contains("there is no user \"no-such-user\"") && told.contains("useradd --system"),
        "{told}"
    );
    let told = serve("nobody", "");
    let group = Command::new("id").args(["-gn", "nobody"]).output().unwrap().stdout;
    let group = String::from_utf8(group).unwrap().trim().to_owned();
    assert!(
        told.contains(&format!("`install -d -o nobody -g {group} -m 700 {}`", at("spool").display())),
        "{told}"
    );
    fs::create_dir(at("spool")).unwrap();
    let told = serve("nobody", "");
    assert!(told.contains(&format!("`chown -R nobody: {}`", at("spool").display())), "{told}");
    chown(at("spool"), Some(NOBODY), Some(NOBODY)).unwrap();
    let told = serve("nobody", "");
    assert!(
        told.contains("users.json (the accounts)") && told.contains(&format!("chgrp {group} ")),
        "{told}"
    );
    chown(at("users.json"), Some(NOBODY), None).unwrap();
    fs::write(at("pem"), "").unwrap();
    fs::set_permissions(at("pem"), PermissionsExt::from_mode(0o600)).unwrap();
    let told = serve("nobody", "\n[tls]\ncertificate = \"pem\"\nkey = \"pem\"\n");
    assert!(told.contains("/pem (the certificate)"), "{told}");
}

/// Sets up `home` for a server of [`NOBODY`] with that configuration, and checks it.
pub(crate) fn checked(home: &Path, rest: &str) -> (Option<i32>, String) {
    let at = |name: &str| home.join(name);
    let rest = format!("user = \"nobody\"\n{rest}");
    fs::write(at("restante.toml"), configuration(home, &at("spool"), &rest)).unwrap();
    for (name, mode) in [("restante.toml", 0o644), (".", 0o711), ("users.json", 0o600)] {
        fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    for name in ["users.json", "spool"] {
        chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["check", "--config"])
        .arg(at("restante.toml"))
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn n46_check_with_a_user_needs_no_socket_and_leaves_those_that_are_there() {
    if !can_become_somebody_else("n46_check_with_a_user_needs_no_socket_and_leaves_those_that_are_there") {
        return;
    }
    let home = home();
    let at = |name: &str| home.path().join(name);
    fs::write(at("users.json"), "{}").unwrap();
    fs::create_dir(at("spool")).unwrap();
    fs::create_dir(at("run")).unwrap();
    chown(at("run"), Some(NOBODY), Some(NOBODY)).unwrap();
    let lmtp = STRICT.to_owned() + &listener_at("lmtp", "unix:run/lmtp.sock", "");
    let (code, said) = checked(home.path(), &lmtp);
    assert!(code == Some(0) && !said.contains("chown of"), "{said}");
    assert!(!at("run/lmtp.sock").exists(), "check makes nothing");
    drop(std::os::unix::net::UnixListener::bind(at("run/lmtp.sock")).unwrap());
    let (code, said) = checked(home.path(), &lmtp);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::metadata(at("run/lmtp.sock")).unwrap().uid(), 0, "check changes nothing");
}

#[test]
fn n50_a_new_port_that_only_root_may_bind_is_told_with_the_restart() {
    let test = "n50_a_new_port_that_only_root_may_bind_is_told_with_the_restart";
    if !can_become_somebody_else(test) {
        return;
    }
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|port| port.trim() != "1024") {
        return skip(test, "every user may bind low ports here");
    }
    let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody");
    let file = server.home.path().join("restante.toml");
    let mut config = fs::read_to_string(&file).unwrap();
    config.push_str(&listener_at("smtp", "127.0.0.1:977", ""));
    fs::write(&file, config).unwrap();
    server.signal(Signal::HUP);
    server.tells("configuration reload failed, keeping the old one until a restart: ");
    server.tells("Permission denied (os error 13); a new port below 1024 needs a restart: run `");
}

/// The name of the group of [`NOBODY`] on this machine.
pub(crate) fn group_of_nobody() -> String {
    let group = Command::new("id").args(["-gn", "nobody"]).output().unwrap().stdout;
    String::from_utf8(group).unwrap().trim().to_owned()
}

/// Runs a command as [`NOBODY`] in a directory.
fn as_nobody(directory: &Path, words: &[&str]) -> (Option<i32>, String) {
    let id = NOBODY.to_string();
    let output = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", env!("CARGO_BIN_EXE_restante")])
        .args(words)
        .current_dir(directory)
        .env_remove("XDG_STATE_HOME")
        .env("HOME", directory)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn h31_a_user_who_is_not_root_is_told_the_option_for_another_directory() {
    if !can_become_somebody_else("h31_a_user_who_is_not_root_is_told_the_option_for_another_directory") {
        return;
    }
    let home = home();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("own")).unwrap();
    fs::create_dir(at("roots")).unwrap();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(at("own"), Some(NOBODY), Some(NOBODY)).unwrap();
    let ports = ["dev", "--smtp", "0", "--pop3", "0"];
    for (options, told) in [
        (&[][..], "choose another directory with --spool DIR"),
        (&["--spool", "roots"], "choose another directory with --spool DIR"),
        (&["--spool", "own/spool", "--transcripts"], "choose another directory with --transcripts=DIR"),
        (&["--spool", "own/spool", "--tls"], "choose another directory for the certificate with --tls=DIR"),
    ] {
        let (code, said) = as_nobody(home.path(), &[&ports, options].concat());
        assert!(code == Some(1) && said.contains(told) && !said.contains("as root"), "{options:?}: {said}");
    }
}

#[test]
fn n174_a_developer_is_told_the_option_for_another_ports_file() {
    if !can_become_somebody_else("n174_a_developer_is_told_the_option_for_another_ports_file") {
        return;
    }
    let home = home();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("own")).unwrap();
    fs::create_dir(at("roots")).unwrap();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(at("own"), Some(NOBODY), Some(NOBODY)).unwrap();
    let words = ["dev", "--smtp", "0", "--pop3", "0", "--spool", "own/spool", "--ports-file", "roots/ports"];
    let (code, said) = as_nobody(home.path(), &words);
    let told = "choose another directory with --ports-file FILE";
    assert!(code == Some(1) && said.contains(told) && !said.contains("as root"), "{said}");
    assert!(!at("own/spool").exists());
}

#[test]
fn h32_accounts_that_cannot_be_read_come_with_the_way_to_read_them() {
    let test = "h32_accounts_that_cannot_be_read_come_with_the_way_to_read_them";
    if !can_become_somebody_else(test) {
        return;
    }
    let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody");
    let at = |name: &str| server.home.path().join(name);
    write_private(&at("new"), "{}");
    fs::rename(at("new"), at("users.json")).unwrap();
    server.tells("accounts reload failed, keeping the old ones: ");
    let group = group_of_nobody();
    server.tells(&format!("run `chgrp {group} {0}` and `chmod g+r {0}`", at("users.json").display()));
    for words in [&["purge", "--all", "--yes"][..], &["fsck"], &["user", "list"]] {
        let (code, said) = as_nobody(server.home.path(), &[words, &["--config", "restante.toml"]].concat());
        assert!(code != Some(0) && said.contains("run this as root, or as a user who may read it"), "{said}");
    }
}

#[test]
fn u74_a_directory_that_the_user_cannot_watch_is_told_in_plain_text() {
    if !can_become_somebody_else("u74_a_directory_that_the_user_cannot_watch_is_told_in_plain_text") {
        return;
    }
    let home = home();
    fs::create_dir(home.path().join("transcripts")).unwrap();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for mode in [0o711, 0o700] {
        fs::set_permissions(home.path().join("transcripts"), PermissionsExt::from_mode(mode)).unwrap();
        let (code, said) = as_nobody(home.path(), &["watch"]);
        let told =
            "./transcripts: Permission denied (os error 13); run this as root, or as a user who may read it";
        assert!(code == Some(2) && said.contains(told) && !said.contains('['), "{said}");
    }
}

#[test]
fn o09_whoever_stays_root_is_warned_unless_the_configuration_says_so() {
    if !is_root() {
        return skip("o09_whoever_stays_root_is_warned_unless_the_configuration_says_so", "only for root");
    }
    let server = Server::strict();
    server.tells("running as root: set user = \"restante\" (or user = \"root\" if that is intended)");
    let server = started_as_root(&[], "root");
    server.tells("running as user=root");
    assert!(!server.log().contains("running as root: set user"));
}

#[test]
fn n34_check_says_that_the_user_of_the_server_has_no_place_for_the_metrics() {
    if !can_become_somebody_else("n34_check_says_that_the_user_of_the_server_has_no_place_for_the_metrics") {
        return;
    }
    let home = home();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let at = |name: &str| home.path().join(name);
    let check = |more: &str| {
        let rest = format!("user = \"nobody\"\n{STRICT}{more}");
        fs::write(at("restante.toml"), configuration(home.path(), &at("spool"), &rest)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(["check", "--config"]).arg(at("restante.toml"));
        let output = command.env("HOME", home.path()).env_remove("XDG_RUNTIME_DIR").output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    write_private(&at("users.json"), "{}");
    chown(at("users.json"), Some(NOBODY), None).unwrap();
    for name in ["spool", "run"] {
        fs::create_dir(at(name)).unwrap();
        chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let told = check("");
    for part in
        ["# warning: metrics not written: no writable directory; ", "`install -d -o ", " /run/restante`"]
    {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(!at(".local").exists(), "check makes nothing");
    let told = check(&format!("\n[metrics]\nfile = {:?}\n", at("run/restante.prom")));
    assert!(told.contains("restante.toml is good"), "{told}");
    // The advice closes the file to all others and leaves it to that user.
    fs::set_permissions(at("users.json"), PermissionsExt::from_mode(0o644)).unwrap();
    chown(at("users.json"), Some(0), Some(0)).unwrap();
    let told = check(&format!("\n[metrics]\nfile = {:?}\n", at("run/restante.prom")));
    if told.contains("every user of this machine can read") {
        let commands: Vec<&str> =
            told.lines().find(|line| line.contains("chmod")).unwrap().split('`').collect();
        for command in commands.into_iter().skip(1).step_by(2) {
            assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
        }
        let told = check(&format!("\n[metrics]\nfile = {:?}\n", at("run/restante.prom")));
        assert!(told.contains("restante.toml is good"), "{told}");
    }
}
