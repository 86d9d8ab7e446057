//! The files of the service: units, users, directories and the configuration of the package fit each other, and
//! systemd finds nothing wrong with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::common::{home, installed, skip};
use restante::{config::Config, limits::Limits, thread_limits};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn example(name: &str) -> String {
    fs::read_to_string(examples().join(name)).unwrap()
}

fn sockets() -> Vec<String> {
    let names =
        fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut sockets: Vec<String> = names.filter(|name| name.ends_with(".socket")).collect();
    sockets.sort();
    assert!(sockets.len() >= 3, "{sockets:?}");
    sockets
}

/// The values of a key in a unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn systemd_finds_the_unit_safe_and_nothing_wrong_with_it() {
    if !installed("systemd-analyze") {
        return skip("systemd_finds_the_unit_safe_and_nothing_wrong_with_it", "no systemd-analyze");
    }
    let home = home();
    let unit = home.path().join("restante.service");
    // The unit names the installed program; here it is the one of this build.
    let program = env!("CARGO_BIN_EXE_restante");
    fs::write(&unit, example("restante.service").replace("/usr/bin/restante", program)).unwrap();
    for socket in sockets() {
        fs::copy(examples().join(&socket), home.path().join(&socket)).unwrap();
    }
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let told = text(&verified);
    let about_us = told.lines().filter(|line| line.contains("restante"));
    assert_eq!(about_us.collect::<Vec<_>>(), Vec::<&str>::new());

    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(judged.status.success(), "more than 1.5: {}", text(&judged));
    assert!(text(&judged).contains("Overall exposure level for restante.service: "), "{}", text(&judged));
}

#[test]
fn the_unit_allows_all_threads_that_the_configuration_may_ask_for() {
    let mut most = Limits::default();
    (most.disk.workers, most.index.scan_workers, most.auth.workers) = (256, 256, 256);
    let service = example("restante.service");
    assert_eq!(values(&service, "TasksMax"), [thread_limits::required_threads(&most).to_string()]);
    // More of them are refused.
    let home = home();
    for key in ["disk.workers", "index.scan_workers", "auth.workers"] {
        let file = home.path().join("restante.toml");
        fs::write(&file, example("service.toml") + &format!("\n[limits]\n{key} = 257\n")).unwrap();
        let error = Config::load(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("limits.{key}: 257 is out of range")), "{error}");
    }
}

/// The sockets that the unit brings along at an upgrade. A configuration of 0.2 has listeners for them and for no others, and
/// the server does not start with a socket that no listener takes.
const SOCKETS_OF_0_2: [&str; 3] =
    ["restante-smtp.socket", "restante-submissions.socket", "restante-pop3s.socket"];

#[test]
fn y80_every_socket_has_a_listener_and_an_upgrade_opens_no_other() {
    let (service, configuration) = (example("restante.service"), example("service.toml"));
    let mut names = Vec::new();
    for socket in sockets() {
        let unit = example(&socket);
        let name = values(&unit, "FileDescriptorName");
        assert_eq!(format!("restante-{}.socket", name[0]), socket);
        assert_eq!(values(&unit, "Service"), ["restante.service"]);
        names.push(name[0].to_owned());
    }
    let listeners: toml::Table = configuration.parse().unwrap();
    let mut addresses: Vec<&str> = listeners["listen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listen| listen["address"].as_str().unwrap().strip_prefix("systemd:").unwrap())
        .collect();
    addresses.sort_unstable();
    assert_eq!(addresses, names);
    let mut installed: Vec<&str> = values(&service, "Also")[0].split_whitespace().collect();
    installed.sort_unstable();
    assert_eq!(installed, sockets());
    for key in ["Sockets", "Requires"] {
        let named: Vec<&str> = values(&service, key)[0].split_whitespace().collect();
        assert_eq!(named, SOCKETS_OF_0_2, "{key}");
    }
    // The others come with their own links.
    for socket in sockets().iter().filter(|socket| !SOCKETS_OF_0_2.contains(&socket.as_str())) {
        assert_eq!(values(&example(socket), "RequiredBy"), ["restante.service"], "{socket}");
    }
}

#[test]
fn the_configuration_of_the_package_is_where_the_unit_says_and_good() {
    let (service, configuration) = (example("restante.service"), example("service.toml"));
    let home = home();
    let at = |name: &str| home.path().join(name);
    let state = format!("/var/lib/{}", values(&service, "StateDirectory")[0]);
    assert!(configuration.contains(&state));
    assert!(example("restante.tmpfiles").contains(&format!("d {state}")));
    for key in ["User", "Group"] {
        assert_eq!(values(&service, key), ["restante"]);
    }
    assert!(configuration.contains("\nuser = \"restante\"\n"));
    assert!(example("restante.sysusers").contains("\nu restante "));
    // The user of the package may be missing here.
    let here = configuration.replace("\nuser = \"restante\"\n", "\n");
    fs::write(at("restante.toml"), here.replace(&state, home.path().to_str().unwrap())).unwrap();
    let restante = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(arguments)
            .current_dir(home.path())
            .env_remove("CREDENTIALS_DIRECTORY")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    // The credentials that the unit loads are what `restante cert` makes.
    restante(&["cert", "--self-signed", "tls"]);
    for credential in values(&service, "LoadCredential") {
        let (name, file) = credential.split_once(':').unwrap();
        assert_eq!(Some(name), file.strip_prefix("/etc/restante/tls/"));
        assert!(at("tls").join(name).exists(), "{name}");
        assert!(configuration.contains(&format!("\"$CREDENTIALS_DIRECTORY/{name}\"")), "{name}");
    }
    fs::write(at("users.json"), "{}").unwrap();
    assert!(restante(&["check", "--config", "restante.toml"]).contains("; accounts: 0"));
}

#[test]
fn n48_the_manual_tells_which_files_a_purge_takes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (package, manual) = ["Cargo.toml", "docs/manual/operator.md"]
        .map(|file| fs::read_to_string(root.join(file)).unwrap())
        .into();
    let files = package.lines().find_map(|line| line.strip_prefix("conf-files = ")).unwrap();
    let files: Vec<&str> =
        files.trim_matches(['[', ']']).split(", ").map(|file| file.trim_matches('"')).collect();
    for file in files {
        assert!(manual.contains(&format!("`apt purge` removes `{file}`")), "{file}");
    }
}

#[test]
fn what_is_installed_is_taken_away_again() {
    if !installed("make") {
        return skip("what_is_installed_is_taken_away_again", "no make");
    }
    let home = home();
    let program = Path::new(env!("CARGO_BIN_EXE_restante"));
    let make = |target: &str| {
        let output = Command::new("make")
            .args(["--silent", target])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .arg(format!("BUILT={}", home.path().join("built").display()))
            .arg(format!("DESTDIR={}", home.path().join("root").display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "make {target}: {}", text(&output));
    };
    fs::create_dir(home.path().join("built")).unwrap();
    fs::copy(program, home.path().join("built/restante")).unwrap();
    let at = |path: &str| home.path().join("root").join(path);
    make("install");
    for file in [
        "usr/local/bin/restante",
        "usr/local/lib/systemd/system/restante.service",
        "usr/local/lib/systemd/system/restante-smtp.socket",
        "usr/local/lib/sysusers.d/restante.conf",
        "usr/local/share/man/man1/restante-serve.1",
        "usr/local/share/man/man5/restante.toml.5",
        "usr/local/share/bash-completion/completions/restante",
        "usr/local/share/doc/restante/docs/DISK.md",
        "etc/restante/restante.toml",
    ] {
        assert!(at(file).is_file(), "{file}");
    }
    let unit = fs::read_to_string(at("usr/local/lib/systemd/system/restante.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/local/bin/restante serve "), "{unit}");
    fs::write(at("etc/restante/restante.toml"), "# changed\n").unwrap();
    make("install");
    assert_eq!(fs::read_to_string(at("etc/restante/restante.toml")).unwrap(), "# changed\n");
    make("uninstall");
    let left = Command::new("find").arg(at("")).args(["-type", "f"]).output().unwrap();
    assert_eq!(text(&left).trim_end(), at("etc/restante/restante.toml").to_str().unwrap());
}
