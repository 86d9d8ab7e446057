//! Clients of IMAP that we did not write: Python's imaplib, `imapclient`, `aioimaplib` and `imap-tools` of PyPI, and
//! `imapflow` of npm.

use std::{
    env,
    net::SocketAddr,
    process::{Command, Stdio},
};

use crate::common::{
    Server, installed,
    programs::{python, said},
    skip,
};

#[test]
fn imaplib_finds_all_it_expects() {
    with_python("imaplib_finds_all_it_expects", "imaplib");
}

#[test]
fn imapclient_finds_all_it_expects() {
    with_python("imapclient_finds_all_it_expects", "imapclient");
}

#[test]
fn y127_aioimaplib_finds_all_it_expects() {
    with_python("y127_aioimaplib_finds_all_it_expects", "aioimaplib");
}

#[test]
fn imap_tools_finds_all_it_expects() {
    with_python("imap_tools_finds_all_it_expects", "imap_tools");
}

fn with_python(name: &str, client: &str) {
    if env::var_os("RESTANTE_PYTHON").is_none() && !installed("python3") {
        return skip(name, "python3 is not installed");
    }
    let server = Server::dev();
    let (imap, smtp) = (imap(&server), server.smtp());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/imap_clients.py");
    let mut command = Command::new(python());
    command.args([
        script,
        client,
        &imap.ip().to_string(),
        &imap.port().to_string(),
        &smtp.port().to_string(),
    ]);
    succeeds(name, &mut command, "RESTANTE_PYTHON: .ci/clients DIR, and DIR/python/bin/python3");
}

#[test]
fn imapflow_finds_all_it_expects() {
    let name = "imapflow_finds_all_it_expects";
    let Some(modules) = env::var_os("RESTANTE_NODE_MODULES") else {
        return skip(name, "RESTANTE_NODE_MODULES names no directory: .ci/clients DIR, and DIR/node_modules");
    };
    if !installed("node") {
        return skip(name, "node is not installed");
    }
    let server = Server::dev();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/imapflow.mjs");
    let mut command = Command::new("node");
    command.arg(script).args([imap(&server), server.smtp()].map(|address| address.to_string())).arg(modules);
    succeeds(name, &mut command, "RESTANTE_NODE_MODULES: .ci/clients DIR");
}

fn imap(server: &Server) -> SocketAddr {
    server.addresses("imap")[0]
}

/// Runs a client, which must succeed unless its package is not there.
#[track_caller]
fn succeeds(name: &str, command: &mut Command, how: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    if output.status.code() == Some(NOT_INSTALLED) {
        return skip(name, &format!("{}; {how}", said(&output).trim_end()));
    }
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
}

/// The exit status of the scripts if the package of their client is missing.
const NOT_INSTALLED: i32 = 77;
