//! The clients of Mailpit, unchanged, on our API: the npm packages `mailpit-api` and `cypress-mailpit`, and
//! `mailpit-api-client` of PyPI.

use std::{env, path::PathBuf, process::Command};

use crate::common::{Server, home, installed, programs::run, skip};

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

/// The suite of `mailpit-api-client`, unchanged. Some of its tests are of the words in which Mailpit greets, and of a header that
/// no server has added to.
#[test]
fn the_suite_of_the_client_of_pypi_passes() {
    let name = "the_suite_of_the_client_of_pypi_passes";
    let Some(python) = env::var_os("RESTANTE_PYTHON").map(PathBuf::from) else {
        return skip(name, "RESTANTE_PYTHON names no program: .ci/clients DIR, and DIR/python/bin/python3");
    };
    let suite = python.ancestors().nth(3).map(|clients| clients.join("mailpit-api-client"));
    let Some(suite) = suite.filter(|suite| suite.join("tests/integration").is_dir()) else {
        return skip(name, "no checkout of mailpit-api-client is beside that Python: see tests/README.md");
    };
    let server = Server::dev();
    let home = home();
    let mut pytest = Command::new(&python);
    pytest.args([
        "-m",
        "pytest",
        "-p",
        "to_a_server",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-q",
        "tests/integration",
    ]);
    pytest.arg("--basetemp").arg(home.path().join("pytest"));
    for other in [
        "test_smtp.py::TestSMTPConnect::test_smtp_connect__response_message",
        "test_smtp.py::TestSMTP::test_helo__response_message",
        "test_smtp.py::TestSMTP::test_ehlo__response_message",
        "test_api_message.py::TestMessageApiHeaders::test_get_headers",
    ] {
        pytest.arg(format!("--deselect=tests/integration/{other}"));
    }
    // Its ports are fixed, and a plugin leads them to those of the server.
    pytest.current_dir(suite).env("HOME", home.path());
    pytest.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python"));
    pytest.env("RESTANTE_HTTP", server.addresses("http")[0].to_string());
    pytest.env("RESTANTE_SMTP", server.smtp().to_string());
    run(&mut pytest, "");
}

fn base(server: &Server) -> String {
    format!("http://{}", server.addresses("http")[0])
}
