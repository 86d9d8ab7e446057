//! Messages that clients send over HTTP, and the faults by chance that they set.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::http_api::{Answer, Http, basic, find_account, serve};
use crate::common::{PASSWORD, Server, Setup, client::Client, home};

fn send(http: &mut Http, base: &str, message: &Value) -> Answer {
    http.ask("POST", &format!("{base}/api/v1/send"), &message.to_string())
}

fn letter(from: &str, to: &str) -> Value {
    json!({ "From": { "Email": from }, "To": [{ "Email": to }], "Subject": "hello", "Text": "It works." })
}

#[test]
fn a_message_is_in_every_mailbox_when_its_id_comes() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    let mut message = letter("ann@a.test", "bob@example.test");
    message["Cc"] = json!([{ "Email": "eve@example.test", "Name": "Eve, é" }]);
    message["Bcc"] = json!(["secret@example.test"]);
    // More than stays in memory: it goes through a file.
    let octets: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    message["Attachments"] = json!([{ "Filename": "large.bin", "Content": STANDARD.encode(&octets) }]);
    let answer = send(&mut http, "", &message);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.json()["ID"].as_str().unwrap().to_owned();
    for address in ["bob", "eve", "secret"] {
        let address = format!("{address}@example.test");
        let stored = server.maildir(&address).only_message();
        assert!(
            stored.starts_with(b"Return-Path: <ann@a.test>\nReceived: from [127.0.0.1] ([127.0.0.1])\n\tby ")
        );
        assert!(!String::from_utf8_lossy(&stored).contains("secret"));
        let message = http.get(&format!("/box/{address}/api/v1/message/{id}")).json();
        assert_eq!(
            (&message["Subject"], &message["Text"]),
            (&json!("hello"), &json!("It works.")),
            "{address}"
        );
        assert_eq!(message["Cc"][0], json!({ "Name": "Eve, é", "Address": "eve@example.test" }));
        let part = message["Attachments"][0]["PartID"].as_str().unwrap();
        let part = http.get(&format!("/box/{address}/api/v1/message/{id}/part/{part}"));
        assert!(part.content == octets, "{} octets", part.content.len());
    }
    assert_eq!(http.get("/api/v1/messages").json()["messages"][0]["ID"], *id);
    server.tells("http accepted");

    // Below a base path the same happens, and the connection goes on after a refusal.
    let refused = send(&mut http, "/box/bob@example.test", &letter("nobody", "bob@example.test"));
    assert_eq!(
        (refused.status, refused.json()["Error"].as_str().unwrap().contains("From.Email")),
        (400, true)
    );
    let sent = send(&mut http, "/box/bob@example.test", &letter("ann@a.test", "eve@example.test"));
    assert_eq!(
        http.get(&format!("/view/{}.txt", sent.json()["ID"].as_str().unwrap())).text().trim(),
        "It works."
    );
    assert_eq!(http.get("/box/bob@example.test/api/v1/messages").json()["total"], 1);
    assert_eq!(http.get("/box/eve@example.test/api/v1/messages").json()["total"], 2);
}

#[test]
fn v43_users_send_with_the_rights_of_a_submission() {
    let users = &["alice@example.test", "bob@example.test"];
    let server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    let mut http = Http::of(&server);
    let own = letter("bob@example.test", "alice@example.test");
    assert_eq!(send(&mut http, "", &own).status, 401);
    // The body was not read, so that connection has ended.
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    let other = send(&mut http, "", &letter("alice@example.test", "bob@example.test"));
    assert_eq!(other.status, 403, "{}", other.text());
    assert_eq!(send(&mut http, "", &letter("bob@example.test", "nobody@example.test")).status, 400);
    assert_eq!(send(&mut http, "", &letter("bob@example.test", "x@far.test")).status, 400);
    assert_eq!(send(&mut http, "", &own).status, 200);
    assert!(server.maildir("alice@example.test").only_message().ends_with(b"It works.\n"));
    assert!(server.maildir("bob@example.test").files("new").is_empty());
    assert_eq!(fs::read_dir(server.maildir("bob@example.test").path.join(".Sent/cur")).unwrap().count(), 1);
    assert_eq!(http.ask("PUT", "/api/v1/chaos", "{\"Sender\":{\"Probability\":100}}").status, 403);
}

#[test]
fn commands_fail_by_chance_until_a_request_ends_that() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    let mail = || {
        let mut smtp = Client::smtp(&server);
        smtp.ask("MAIL FROM:<ann@a.test>", "")
    };
    assert!(mail().starts_with("250 "));
    let set = http.ask("PUT", "/api/v1/chaos", "{\"Sender\":{\"ErrorCode\":452,\"Probability\":100}}");
    assert_eq!(set.json()["Sender"], json!({ "ErrorCode": 452, "Probability": 100 }));
    assert_eq!(http.get("/api/v1/chaos").content, set.content);
    assert!(mail().starts_with("452 4.0.0 "));
    assert_eq!(http.ask("PUT", "/api/v1/chaos", "{}").json()["Sender"]["Probability"], 0);
    assert!(mail().starts_with("250 "));
    let server = Setup { arguments: &["--no-faults"], ..Setup::default() }.start();
    assert_eq!(Http::of(&server).get("/api/v1/chaos").status, 403);
}

#[test]
fn v46_an_admin_reaches_all_mailboxes_while_transcripts_are_written() {
    let home = home();
    let config = format!("transcripts = {:?}\n{}", home.path().join("transcripts"), serve());
    let users = &["alice@example.test", "bob@example.test"];
    let mut server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let accounts = server.home.path().join("users.json");
    let mut table: Value = serde_json::from_str(&fs::read_to_string(&accounts).unwrap()).unwrap();
    find_account(&mut table, "bob@example.test")["admin"] = json!(true);
    fs::write(&accounts, table.to_string()).unwrap();
    server.restart();
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    assert_eq!(http.get("/box/alice@example.test/api/v1/messages").status, 200);
}
