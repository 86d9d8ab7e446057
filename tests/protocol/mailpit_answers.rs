//! Our answers have the names, kinds and values of those of Mailpit: `tests/mailpit/README.md`.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::http_api::Http;
use crate::common::{Server, client::Client, client::with_crlf};

#[test]
fn the_answers_have_the_names_and_values_of_mailpit() {
    let server = Server::dev();
    let letter = fs::read(file("letter.eml")).unwrap();
    let reply = Client::smtp(&server).deliver(&["bob@example.test"], &with_crlf(&letter));
    assert!(reply.starts_with("250 "), "{reply}");
    let mut http = Http::of(&server);
    for base in ["", "/box/bob@example.test"] {
        let id = http.get(&format!("{base}/api/v1/messages")).json()["messages"][0]["ID"].clone();
        let id = id.as_str().unwrap();
        for (name, path) in [
            ("messages", "messages".to_owned()),
            ("messages", "search?query=subject:gr%C3%BC%C3%9Fe".to_owned()),
            ("info", "info".to_owned()),
            ("webui", "webui".to_owned()),
            ("chaos", "chaos".to_owned()),
            ("tags", "tags".to_owned()),
            ("headers", format!("message/{id}/headers")),
            ("message", format!("message/{id}")),
        ] {
            let ours = http.get(&format!("{base}/api/v1/{path}")).json();
            compare(&format!("{base} {path}"), &answer(name), &ours);
        }
        http.ask("PUT", "/api/v1/messages", "{\"Read\":false}");
    }
    let message = json!({ "From": { "Email": "a@a.test" }, "To": [{ "Email": "bob@example.test" }] });
    let sent = http.ask("POST", "/api/v1/send", &message.to_string()).json();
    compare("send", &answer("send"), &sent);
}

/// Compares an answer with that of Mailpit.
fn compare(place: &str, theirs: &Value, ours: &Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                let own = ours.get(name).unwrap_or_else(|| panic!("{place} lacks {name}"));
                compare(&format!("{place}.{name}"), value, own);
            }
            let more: Vec<&String> = ours.keys().filter(|name| !theirs.contains_key(*name)).collect();
            assert!(more.iter().all(|name| OWN.contains(&name.as_str())), "{place} has {more:?}");
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.len(), ours.len(), "{place}: {ours:?}");
            theirs.iter().zip(ours).for_each(|(theirs, ours)| compare(&format!("{place}[]"), theirs, ours));
        }
        (Value::String(kind), ours)
            if kind.starts_with('<') && kind.ends_with('>') && !kind.contains('@') =>
        {
            let text = ours.as_str().unwrap_or_default();
            let fits = match kind.as_str() {
                "<number>" => ours.is_u64(),
                "<id>" => text.len() == 22 && text.bytes().all(|b| b.is_ascii_alphanumeric()),
                "<part>" => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.'),
                "<time>" => text.len() >= 20 && text.contains('T') && text.ends_with('Z'),
                _ => ours.is_string(),
            };
            assert!(fits, "{place}: {ours} is not {kind}");
        }
        (theirs, ours) => assert_eq!(theirs, ours, "{place}"),
    }
}

fn answer(name: &str) -> Value {
    let text = fs::read_to_string(file(&format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/mailpit", name].iter().collect()
}

/// Names that Mailpit does not have: of a message, and of its header.
const OWN: [&str; 9] =
    ["Read", "Created", "Snippet", "Links", "Envelope", "Headers", "Path", "Delivered-To", "Received"];
