//! The clients of Mailpit, unchanged, on our API: the npm packages `mailpit-api` and `cypress-mailpit`, and
//! `mailpit-api-client` of PyPI.

use std::{env, process::Command};

use crate::common::{Server, installed, programs::run, skip};

#[test]
fn the_clients_of_npm_find_what_they_need() {
    let name = "the_clients_of_npm_find_what_they_need";
    let Some(modules) = env::var_os("RESTANTE_NODE_MODULES") else {
        return skip(name, "RESTANTE_NODE_MODULES names no directory: .ci/clients DIR, and DIR/node_modules");
    };
    if !installed("node") {
        return skip(name, "node is not installed");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/mailpit_clients.mjs");
    let server = Server::dev();
    run(Command::new("node").arg(script).arg(base(&server)).arg(modules), "");
}

#[test]
fn the_client_of_pypi_finds_what_it_needs() {
    let name = "the_client_of_pypi_finds_what_it_needs";
    let Some(python) = env::var_os("RESTANTE_PYTHON") else {
        return skip(name, "RESTANTE_PYTHON names no program: .ci/clients DIR, and DIR/python/bin/python3");
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/mailpit_client.py");
    let server = Server::dev();
    run(Command::new(python).arg(script).arg(base(&server)), "");
}

fn base(server: &Server) -> String {
    format!("http://{}", server.addresses("http")[0])
}
