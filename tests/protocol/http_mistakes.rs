//! Requests with a mistake: each response names it, and no request reads or changes other messages than its writer
//! meant.

use std::process::Command;

use serde_json::{Value, json};

use super::http_api::{Http, deliver_to};
use crate::common::Server;

/// The reason that `restante wait --search` gives for a query.
fn reason_of_the_command(query: &str) -> String {
    let mut wait = Command::new(env!("CARGO_BIN_EXE_restante"));
    wait.args(["wait", "--to", "bob@example.test", "--timeout", "0", "--spool", "none"]);
    let output = wait.arg(format!("--search={query}")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{query}");
    let told = String::from_utf8(output.stderr).unwrap();
    let (_, reason) = told.split_once("--search <QUERY>': ").unwrap_or_else(|| panic!("{told}"));
    reason.lines().next().unwrap().to_owned()
}

fn escaped(query: &str) -> String {
    query.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

/// The list of all mail, with its marks.
fn list(http: &mut Http) -> Value {
    http.get("/api/v1/messages").json()
}

#[test]
fn v81_a_search_with_a_mistake_selects_nothing_and_says_why_as_the_command_does() {
    let server = Server::dev();
    deliver_to(&server, &["bob@example.test"], "From: Ann <ann@a.test>\nSubject: Re: http: order\n\nText\n");
    deliver_to(&server, &["bob@example.test"], "Subject: other\n\nText\n");
    let mut http = Http::of(&server);
    let before = list(&mut http);
    for word in [
        "form:ann",
        "before:yesterday",
        "after:30.11.2025",
        "from:",
        "larger:1x",
        "is:seen",
        "has:attachmnt",
        "--from:ann",
        "\"order",
        ",",
    ] {
        for query in [word.to_owned(), format!("-{word}"), format!("subject:order {word}")] {
            // One that only stands beside another word is a blank.
            if word == "," && query.starts_with("subject") {
                continue;
            }
            let reason = reason_of_the_command(&query);
            let escaped = escaped(&query);
            let body = json!({ "Search": query, "Read": true }).to_string();
            for (method, path, body) in [
                ("GET", format!("/api/v1/search?query={escaped}"), ""),
                ("GET", format!("/box/bob@example.test/api/v1/search?query={escaped}"), ""),
                ("DELETE", format!("/api/v1/search?query={escaped}"), ""),
                ("DELETE", "/api/v1/messages".to_owned(), &body),
                ("PUT", "/api/v1/messages".to_owned(), &body),
                ("GET", format!("/wait?query={escaped}&timeout=60"), ""),
            ] {
                let answer = Http::of(&server).ask(method, &path, body);
                assert_eq!(answer.status, 400, "{method} {path} {query}: {}", answer.text());
                assert_eq!(answer.json()["Error"], reason, "{method} {path}");
            }
            let page = http.get(&format!("/?query={escaped}")).text();
            let (_, end) = page.split_once("<div id=\"end\">").unwrap();
            let shown = end.split_once("</div>").unwrap().0;
            assert!(
                !page.contains("<li id=\"m-") && !shown.contains("No message matches"),
                "{query}: {shown}"
            );
            let text = shown.replace("&quot;", "\"").replace("<p class=\"empty\">", "").replace("</p>", "");
            assert_eq!(text.replace("<bdi>", "").replace("</bdi>", ""), reason, "{query}");
        }
    }
    assert_eq!(list(&mut http), before, "nothing was deleted or marked");
    http.fields = "Accept-Language: fr\r\n".into();
    assert!(
        http.get("/?query=-has:attachmnt")
            .text()
            .contains("<bdi>-has:attachmnt</bdi>: écrivez has:attachment ou has:inline")
    );
    http.fields.clear();
    // A prefix that is near no keyword is text, as in Mailpit.
    for query in ["Re:", "http:", "%22Re: http:%22", "order ,"] {
        let found = http.get(&format!("/api/v1/search?query={}", query.replace(' ', "+"))).json();
        assert_eq!(found["messages_count"], 1, "{query}");
    }
    assert_eq!(http.ask("DELETE", "/api/v1/search?query=-subject:order", "").status, 200);
    assert_eq!(list(&mut http)["total"], 1);
}

#[test]
fn v82_a_mistyped_parameter_deletes_and_marks_nothing_and_ends_a_wait_at_once() {
    let server = Server::dev();
    deliver_to(&server, &["bob@example.test"], "Subject: order\n\nText\n");
    let mut http = Http::of(&server);
    let before = list(&mut http);
    for (method, path) in [
        ("DELETE", "/api/v1/messages?query=x"),
        ("DELETE", "/api/v1/messages?IDs=zzz"),
        ("DELETE", "/api/v1/search?qery=x"),
        ("DELETE", "/api/v1/search?query=x&limit=1"),
        ("DELETE", "/api/v1/search?query=subject:order&query=x"),
        ("PUT", "/api/v1/messages?IDs=zzz"),
        ("GET", "/wait?qery=x"),
        ("GET", "/wait?query="),
        ("GET", "/wait?query=x&timeout=10m"),
        ("GET", "/wait?query=x&timeout=-1"),
        ("GET", "/wait?query=x&timeout="),
    ] {
        let body = if method == "PUT" { "{\"Read\":true}" } else { "" };
        let answer = Http::of(&server).ask(method, path, body);
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
        assert!(answer.json()["Error"].as_str().is_some_and(|why| !why.is_empty()));
    }
    assert_eq!(list(&mut http), before);
    assert_eq!(Http::of(&server).get("/wait?query=subject:order&timeout=5m").status, 200);
}

#[test]
fn v84_messages_that_are_not_there_are_told_from_names_that_none_can_have() {
    let server = Server::dev();
    deliver_to(&server, &["bob@example.test"], "Subject: order\n\nText\n");
    let mut http = Http::of(&server);
    for (language, sentence) in [("en", "This message is not here"), ("fr", "Ce message n’est pas ici")] {
        http.fields = format!("Accept-Language: {language}\r\n");
        let page = http.get("/message/zzzz");
        assert_eq!(page.status, 404);
        assert!(page.head.contains("text/html") && page.text().contains(sentence), "{}", page.text());
    }
    http.fields.clear();
    for ids in [json!(["latest"]), json!([""]), json!(["a/b"])] {
        for method in ["DELETE", "PUT"] {
            let answer = http.ask(method, "/api/v1/messages", &json!({ "IDs": ids }).to_string());
            assert_eq!(answer.status, 400, "{method} {ids}");
        }
    }
    // Another client may have been faster, and an inbox begins with its first message.
    assert_eq!(http.ask("DELETE", "/api/v1/messages", "{\"IDs\":[\"0123456789abcdef\"]}").text(), "ok");
    assert_eq!(http.ask("DELETE", "/box/new@example.test/api/v1/messages", "{}").text(), "ok");
    assert_eq!(list(&mut http)["total"], 1);
}
