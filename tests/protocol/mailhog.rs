//! MailHog's API: its own clients, unchanged, and the parts that they do not use.

use std::{env, fs, process::Command};

use serde_json::{Value, json};

use super::http_api::{Http, deliver, deliver_to};
use crate::common::{
    Server, installed,
    programs::{python, run},
    skip,
};

const LETTER: &str = "From: Ann <ann@a.test>\nTo: bob@example.test\nSubject: hello\n\nIt works.\n";

#[test]
fn v50_a_message_is_listed_shown_downloaded_and_deleted() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    assert_eq!(
        http.get("/api/v2/messages").json(),
        json!({ "total": 0, "count": 0, "start": 0, "items": [] })
    );
    deliver(&server, "bob@example.test", LETTER);
    deliver(&server, "bob@example.test", "Subject: other\n\n");
    let list = http.get("/api/v2/messages?start=1").json();
    assert_eq!((&list["total"], &list["count"], &list["start"]), (&json!(2), &json!(1), &json!(1)), "{list}");
    let item = &list["items"][0];
    assert_eq!(
        (&item["Raw"]["From"], &item["Content"]["Body"]),
        (&json!("sender@far.test"), &json!("It works."))
    );
    let id = item["ID"].as_str().unwrap();
    assert_eq!(http.get(&format!("/api/v1/messages/{id}")).json(), *item);
    let maildir = server.maildir("bob@example.test");
    let files = [maildir.files("new"), maildir.files("cur")].concat();
    let file = http.get(&format!("/api/v1/messages/{id}/download"));
    assert!(
        files.iter().any(|stored| fs::read_to_string(stored).unwrap().replace('\n', "\r\n") == file.text()),
        "{}",
        file.text()
    );
    let name = format!("Content-Disposition: attachment; filename=\"{id}.eml\"\r\n");
    assert!(
        file.head.contains("Content-Type: message/rfc822\r\n") && file.head.contains(&name),
        "{}",
        file.head
    );
    assert_eq!(http.get("/api/v1/messages").json()["unread"], 2, "MailHog has no read messages");

    let deleted = http.ask("DELETE", &format!("/api/v1/messages/{id}"), "");
    assert_eq!((deleted.status, deleted.content), (200, Vec::new()));
    assert_eq!(http.ask("DELETE", &format!("/api/v1/messages/{id}"), "").status, 404);
    assert_eq!(http.get(&format!("/api/v1/messages/{id}")).status, 404);
    assert_eq!(http.get("/api/v2/messages").json()["total"], 1);
}

#[test]
fn v51_the_recipients_are_those_of_the_envelope_as_far_as_the_request_reaches() {
    let server = Server::dev();
    deliver_to(
        &server,
        &["bob+news@example.test", "eve@example.test"],
        "To: Bob <bob+news@example.test>\n\n",
    );
    let mut http = Http::of(&server);
    let mut to = |path: &str| http.get(path).json()["items"][0]["Raw"]["To"].clone();
    let all = json!(["bob+news@example.test", "eve@example.test"]);
    assert_eq!(to("/api/v2/messages"), all);
    assert_eq!(to("/api/v2/search?kind=to&query=EVE@"), all);
    assert_eq!(
        to("/box/eve@example.test/api/v2/messages"),
        json!(["eve@example.test"]),
        "a blind copy stays blind"
    );
    assert_eq!(to("/box/bob@example.test/api/v2/search?kind=to&query=eve"), Value::Null);
}

#[test]
fn v52_a_page_of_large_messages_ends_early() {
    let server = Server::dev();
    let line = format!("{}\n", "x".repeat(99));
    let letter = format!("Subject: large\n\n{}", line.repeat(90_000));
    (0..3).for_each(|_| deliver(&server, "bob@example.test", &letter));
    let mut http = Http::of(&server);
    let list = http.get("/api/v2/messages").json();
    assert_eq!((&list["total"], &list["count"]), (&json!(3), &json!(2)), "the next page begins at 2");
    assert_eq!(http.get("/api/v2/messages?start=2").json()["count"], 1);
}

#[test]
fn v53_new_messages_are_told_whole() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", "Subject: before\n\n");
    let mut events = Http::of(&server);
    let started = events.get("/box/bob@example.test/api/v1/events");
    assert!(started.head.contains("Content-Type: text/event-stream\r\n"), "{}", started.head);
    deliver(&server, "eve@example.test", "Subject: of eve\n\n");
    let long = format!("Subject: long\n\n{}", (String::from("y").repeat(900) + "\n").repeat(100));
    deliver(&server, "bob@example.test", &long);
    deliver(&server, "bob@example.test", LETTER);
    for subject in ["long", "hello"] {
        let event: Value = serde_json::from_str(&events.event()).unwrap();
        assert_eq!(event["Content"]["Headers"]["Subject"], json!([subject]));
        assert_eq!(event["Raw"]["To"], json!(["bob@example.test"]));
    }
}

#[test]
fn v54_the_clients_of_npm_run_unchanged() {
    let name = "v54_the_clients_of_npm_run_unchanged";
    if !installed("node") {
        return skip(name, "node is not installed");
    }
    let Some(modules) = env::var_os("RESTANTE_NODE_MODULES") else {
        return skip(name, "RESTANTE_NODE_MODULES names no directory: .ci/clients DIR, and DIR/node_modules");
    };
    let server = Server::dev();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/mailhog.mjs");
    let (http, smtp) = (format!("http://{}", server.addresses("http")[0]), server.smtp().to_string());
    run(Command::new("node").args([script, &http, &smtp]).arg(modules), "");
}

#[test]
fn v54_the_client_of_pypi_runs_unchanged() {
    let name = "v54_the_client_of_pypi_runs_unchanged";
    let has = Command::new(python()).args(["-c", "import mailhog"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skip(
            name,
            "Python has no package mailhog: .ci/clients DIR, and RESTANTE_PYTHON=DIR/python/bin/python3",
        );
    }
    let server = Server::dev();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/mailhog_client.py");
    let (http, smtp) = (server.addresses("http")[0].to_string(), server.smtp().to_string());
    run(Command::new(python()).args([script, &http, &smtp]), "");
}

#[test]
fn v56_a_mailbox_that_cannot_be_read_is_named_and_never_empty() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", LETTER);
    // A file in the place of a mailbox.
    fs::write(server.spool.join("eve@example.test"), "").unwrap();
    let mut http = Http::of(&server);
    let unreadable = json!(["eve@example.test"]);
    for path in
        ["/api/v2/messages", "/api/v2/search?kind=to&query=bob", "/api/v2/search?kind=containing&query=works"]
    {
        let list = http.get(path).json();
        assert_eq!((&list["total"], &list["unreadable"]), (&json!(1), &unreadable), "{list}");
    }
    for (method, path) in [("GET", "/api/v1/messages/0123456789"), ("DELETE", "/api/v1/messages/0123456789")]
    {
        let answer = http.ask(method, path, "");
        assert_eq!((answer.status, &answer.json()["Unreadable"]), (503, &unreadable), "{path}");
    }
    assert_eq!(http.get("/box/eve@example.test/api/v2/messages").status, 503);
    let id = http.get("/api/v1/messages/latest").json()["ID"].as_str().unwrap().to_owned();
    assert_eq!(http.ask("DELETE", &format!("/api/v1/messages/{id}"), "").status, 200, "it was there");
    let all = http.ask("DELETE", "/api/v1/messages", "");
    assert_eq!((all.status, &all.json()["Unreadable"]), (503, &unreadable), "not all are deleted");
}

#[test]
fn v53_a_stream_that_cannot_tell_of_each_message_ends() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", LETTER);
    let mut events = Http::of(&server);
    events.get("/api/v1/events");
    // A copy of another program, in one step.
    let copied = server.spool.join("copied@example.test");
    let aside = server.home.path().join("aside");
    for part in ["cur", "tmp", "new"] {
        fs::create_dir_all(aside.join(part)).unwrap();
    }
    (0..1100).for_each(|n| fs::write(aside.join(format!("new/{n}.cp")), "Subject: copied\n\n").unwrap());
    fs::rename(&aside, &copied).unwrap();
    assert!(events.ends(), "the client has to list again");
}
