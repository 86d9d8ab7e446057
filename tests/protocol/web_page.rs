//! The page of the web inbox: by plain requests, and in a browser.

use std::{env, process::Command};

use super::http_api::{Http, SERVE, basic};
use crate::common::{
    PASSWORD, Server, Setup,
    client::deliver,
    installed,
    programs::{chromium, run},
    skip,
};

const LETTER: &[u8] = b"From: Ann <ann@far.test>\r\nSubject: <b>bold</b>\r\n\r\nThe text.\r\n";

#[test]
fn the_list_and_a_message_are_plain_html() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", LETTER);
    let mut http = Http::of(&server);
    let list = http.get("/");
    assert_eq!(list.status, 200);
    assert!(list.head.contains("script-src 'self'") && list.head.contains("require-trusted-types-for"));
    let html = list.text();
    assert!(html.contains("<title>(1) All mail") && html.contains("&lt;b&gt;bold&lt;/b&gt;"), "{html}");
    let (_, rest) = html.split_once("href=\"/message/").unwrap();
    let id = rest.split('"').next().unwrap();
    let message = http.get(&format!("/box/bob@example.test/message/{id}")).text();
    assert!(message.contains("The text.") && message.contains("<h3>How it came here</h3>"), "{message}");
    assert!(message.contains("<title>bob@example.test"), "reading marks as read: {message}");
    http.fields = "Accept-Language: fr-CH\r\n".into();
    assert!(http.get("/?query=is:read").text().contains("<html lang=\"fr\">"));
    assert!(http.get("/box/bob@example.test?query=is:unread").text().contains("Aucun message ne correspond"));
    assert!(http.get("/message/0123456789").text().contains("Ce message a été supprimé."));
    assert_eq!(http.get("/message/..").status, 404);
    assert_eq!(http.ask("POST", "/", "x=y").status, 405);
}

#[test]
fn a_user_sees_the_own_inbox_and_its_name_only() {
    let users = &["alice@example.test", "bob@example.test"];
    let server = Setup { config: Some(SERVE), users, ..Setup::default() }.start();
    for user in users {
        deliver(&server, user, b"Subject: hello\r\n\r\n");
    }
    let mut http = Http::of(&server);
    assert_eq!(http.get("/").status, 401);
    http.fields = basic("bob", PASSWORD);
    for path in ["/", "/box/bob@example.test"] {
        let html = http.get(path).text();
        assert!(html.contains("<title>(1) bob@example.test"), "{html}");
        assert!(html.contains("aria-current=\"page\"><bdi>bob@example.test</bdi>"), "{html}");
        assert!(!html.contains("alice@example.test") && !html.contains("All mail"), "{html}");
    }
    assert_eq!(http.get("/box/alice@example.test").status, 404);
}

#[test]
fn the_files_of_the_page_are_sent_once() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    for (path, kind) in [("/assets/page.css", "text/css"), ("/assets/page.js", "text/javascript")] {
        let file = http.get(path);
        assert_eq!(file.status, 200);
        assert!(file.head.contains(kind) && !file.content.is_empty(), "{}", file.head);
        let (_, etag) = file.head.split_once("ETag: ").unwrap();
        http.fields = format!("If-None-Match: {}\r\n", etag.lines().next().unwrap());
        assert_eq!(http.get(path).status, 304);
        http.fields.clear();
    }
    assert_eq!(http.get("/assets/page.html").status, 404);
}

#[test]
fn the_page_in_a_browser() {
    let name = "the_page_in_a_browser";
    let Some(chromium) = chromium() else { return skip(name, "chromium is not installed") };
    if !installed("node") {
        return skip(name, "node is not installed");
    }
    let Some(modules) = env::var_os("RESTANTE_NODE_MODULES") else {
        return skip(
            name,
            "RESTANTE_NODE_MODULES names no directory: npm install --prefix DIR playwright-core axe-core",
        );
    };
    let server = Server::dev();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/page.mjs");
    let (http, smtp) = (format!("http://{}", server.addresses("http")[0]), server.smtp().to_string());
    let mut browse = Command::new("node");
    browse.args([script, &http, &smtp]).arg(modules).env("CHROMIUM", chromium);
    run(browse.args(env::var_os("RESTANTE_PICTURES")), "");
}
