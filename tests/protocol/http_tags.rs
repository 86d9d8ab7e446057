//! Addresses with a tag below `/box/`: an inbox of their own in the mailbox.

use std::io::Write;

use serde_json::{Value, json};

use super::http_api::{Http, basic, deliver, deliver_to, serve};
use crate::common::{PASSWORD, Server, Setup};

/// The paths of an inbox.
fn inbox(tag: &str) -> String {
    format!("/box/ann+{tag}@example.test")
}

/// The subjects of a list.
fn subjects(http: &mut Http, path: &str) -> Vec<String> {
    let list = http.get(path).json();
    assert_eq!(list["total"].as_u64().unwrap() as usize, list["messages"].as_array().unwrap().len());
    let messages = list["messages"].as_array().unwrap();
    messages.iter().map(|item| item["Subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn v119_an_address_with_a_tag_is_an_inbox_of_its_own() {
    let server = Server::dev();
    for tag in ["a", "b", "b"] {
        deliver(&server, &format!("Ann+{tag}@example.test"), &format!("Subject: letter {tag}\n\n"));
    }
    deliver_to(
        &server,
        &["ann+a@example.test", "eve@example.test"],
        "To: ann+a@example.test\nSubject: both\n\n",
    );
    let mut http = Http::of(&server);
    let all = "/box/ann@example.test/api/v1/messages";
    assert_eq!(subjects(&mut http, all).len(), 4);
    let (a, b, c) = (inbox("a"), inbox("b"), inbox("c"));
    assert_eq!(subjects(&mut http, &format!("{a}/api/v1/messages")), ["both", "letter a"]);
    assert_eq!(subjects(&mut http, "/box/ANN+B@Example.test/api/v1/messages"), ["letter b", "letter b"]);
    assert!(subjects(&mut http, &format!("{c}/api/v1/messages")).is_empty());
    assert_eq!(http.get(&format!("{a}/api/v1/search?query=subject:letter")).json()["messages_count"], 1);
    assert_eq!(http.get(&format!("{b}/api/v1/info")).json()["Unread"], 2);
    assert_eq!(http.get(&format!("{a}/api/v2/messages")).json()["total"], 2);
    // A wait ends its connection.
    let waited = Http::of(&server).get(&format!("{a}/wait?query=subject:letter&timeout=0"));
    assert_eq!(waited.json()["Subject"], "letter a");
    assert_eq!(Http::of(&server).get(&format!("{c}/wait?timeout=0")).status, 404);
    let page = http.get(&b).text();
    assert!(page.contains("letter b") && !page.contains("letter a"), "{page}");
    // One message by its id, or the newest.
    let id =
        http.get(&format!("{a}/api/v1/messages")).json()["messages"][1]["ID"].as_str().unwrap().to_owned();
    for (inbox, status) in [(&a, 200), (&b, 404), (&c, 404)] {
        assert_eq!(http.get(&format!("{inbox}/api/v1/message/{id}/raw")).status, status, "{inbox}");
    }
    assert_eq!(http.get(&format!("{a}/api/v1/message/latest")).json()["Subject"], "both");
    assert_eq!(http.get(&format!("{b}/api/v1/message/latest")).json()["Subject"], "letter b");
    assert_eq!(http.get(&format!("{c}/view/latest.txt")).status, 404);
    // Changes.
    let ids = json!({ "IDs": [id] }).to_string();
    http.ask("DELETE", &format!("{b}/api/v1/messages"), &ids);
    http.ask("DELETE", &format!("{c}/api/v1/messages"), "");
    http.ask("DELETE", &format!("{c}/api/v1/search?query=subject:letter"), "");
    assert_eq!(subjects(&mut http, all).len(), 4, "they are of other tags");
    assert_eq!(http.ask("PUT", &format!("{b}/api/v1/messages"), "{\"Read\": true}").status, 200);
    assert_eq!(http.get(&format!("{b}/api/v1/info")).json()["Unread"], 0);
    assert_eq!(http.ask("DELETE", &format!("{a}/api/v1/messages"), "").status, 200);
    assert_eq!(subjects(&mut http, all), ["letter b", "letter b"]);
    assert_eq!(http.ask("DELETE", &format!("{b}/api/v1/search?query=subject:letter"), "").status, 200);
    assert_eq!(subjects(&mut http, "/api/v1/messages"), ["both"], "the copy of eve");
}

#[test]
fn v120_events_of_an_address_with_a_tag_are_of_its_mail() {
    let server = Server::dev();
    deliver(&server, "ann+b@example.test", "Subject: before\n\n");
    let mut events = Http::of(&server);
    events.get(&format!("{}/api/events", inbox("b")));
    let mut hog = Http::of(&server);
    hog.get(&format!("{}/api/v1/events", inbox("b")));
    let mut wait = Http::of(&server);
    let request = format!(
        "GET {}/wait?query=subject:letter&timeout=30 HTTP/1.1\r\nHost: {}\r\n\r\n",
        inbox("b"),
        wait.host
    );
    wait.stream.get_mut().write_all(request.as_bytes()).unwrap();
    for tag in ["a", "c", "b"] {
        deliver(&server, &format!("ann+{tag}@example.test"), &format!("Subject: letter {tag}\n\n"));
    }
    assert_eq!(wait.answer(true).json()["Subject"], "letter b");
    let mut next = || -> Value { serde_json::from_str(&events.event()).unwrap() };
    let new = next();
    assert_eq!((&new["Type"], &new["Data"]["Subject"]), (&json!("new"), &json!("letter b")));
    let id = new["Data"]["ID"].clone();
    let item: Value = serde_json::from_str(&hog.event()).unwrap();
    assert_eq!((&item["ID"], &item["Content"]["Headers"]["Subject"]), (&id, &json!(["letter b"])));
    // The wait has marked it as read.
    let read = next();
    assert_eq!((&read["Type"], &read["Data"]["ID"]), (&json!("update"), &id));
    let mut http = Http::of(&server);
    http.ask("DELETE", &format!("{}/api/v1/messages", inbox("a")), "");
    http.ask("DELETE", "/api/v1/messages", &json!({ "IDs": [id] }).to_string());
    let gone = next();
    assert_eq!((&gone["Type"], &gone["Data"]["ID"]), (&json!("delete"), &id));
}

#[test]
fn v121_a_user_has_the_whole_mailbox_and_its_addresses_with_a_tag_and_no_other() {
    let users = &["ann@example.test", "bob@example.test"];
    let server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    for to in ["ann@example.test", "ann+a@example.test", "bob+a@example.test"] {
        deliver(&server, to, &format!("Subject: {to}\n\n"));
    }
    let mut http = Http::of(&server);
    http.fields = basic("ann", PASSWORD);
    let own = ["ann+a@example.test", "ann@example.test"];
    for path in ["", "/box/ann@example.test"] {
        assert_eq!(subjects(&mut http, &format!("{path}/api/v1/messages")), own);
    }
    assert_eq!(subjects(&mut http, &format!("{}/api/v1/messages", inbox("a"))), own[..1]);
    for path in [inbox("a"), "/box/ann@example.test".into()] {
        assert!(http.get(&path).text().contains("<bdi>ann@example.test</bdi>"));
    }
    assert_eq!(http.get("/box/bob+a@example.test/api/v1/messages").status, 404);
    assert_eq!(http.ask("DELETE", &format!("{}/api/v1/messages", inbox("b")), "").status, 200);
    assert_eq!(subjects(&mut http, "/api/v1/messages"), own);
}
