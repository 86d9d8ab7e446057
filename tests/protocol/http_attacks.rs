//! Attacks on the web inbox and its API: pages of other sites, paths, requests with two meanings, bodies, and attempts
//! of users to get the mail of others.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
};

use restante::proto::http::routes::{ROUTES, Route, RouteAccess};
use serde_json::json;

use super::http_api::{Answer, Http, basic, serve};
use crate::common::{
    PASSWORD, Server, Setup,
    client::{deliver, socket},
    listener,
    secure::{BOTH, Keys, session},
};

/// Sends octets on a connection of its own, and returns all that comes back.
fn converse(address: SocketAddr, octets: &[u8]) -> String {
    let mut stream = socket(address);
    let _ = stream.write_all(octets); // the server may have ended the connection before the last octet
    let _ = stream.shutdown(Shutdown::Write); // the same
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard); // a reset ends it too
    String::from_utf8_lossy(&heard).into_owned()
}

/// The statuses of responses without content, or with content that has no such line.
fn statuses(heard: &str) -> Vec<u16> {
    let lines = heard.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// A target of a route, with parameters for each that wants some.
fn target(route: &Route, id: &str) -> String {
    let path = route.path.replace("{id}", id).replace("{part}", "1");
    format!("{path}?query=secret&kind=containing&timeout=0")
}

#[test]
fn v05_v06_other_names_and_other_sites_get_and_change_nothing() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: secret\r\n\r\n");
    let mut http = Http::of(&server);
    let own = http.host.clone();
    for host in
        ["attacker.test", "127.0.0.1.attacker.test", "localhost.attacker.test", "user@localhost", "192.0.2.9"]
    {
        http.host = host.into();
        let answer = http.get("/api/v1/messages");
        assert_eq!(answer.status, 421, "{host}");
        assert!(!answer.text().contains("secret"), "{host}");
    }
    http.host = own;
    let senders = [
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: http://attacker.test\r\n",
        "Origin: null\r\n",
        "Origin: http://localhost:1\r\nContent-Type: text/plain\r\n",
    ];
    for route in ROUTES.iter().filter(|route| matches!(route.access, RouteAccess::Api | RouteAccess::Part)) {
        let (method, path) = (route.method.name(), target(route, "latest"));
        for body in ["", "{}", "{\"Read\":true}"] {
            for fields in senders {
                let mut http = Http::of(&server); // a refused body ends the connection
                http.fields = fields.into();
                let answer = http.ask(method, &path, body);
                assert_eq!(answer.status, 403, "{method} {path} {fields}");
                assert!(!answer.head.contains("Access-Control"), "{}", answer.head);
            }
        }
    }
    // As an image or a frame of another site, a page would tell its size and time.
    for dest in ["image", "iframe", "script", "empty"] {
        http.fields = format!("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: {dest}\r\n");
        assert_eq!(http.get("/message/latest").status, 403, "{dest}");
    }
    http.fields = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: document\r\n".into();
    assert_eq!(http.get("/").status, 200, "a link leads here");
    http.fields.clear();
    let list = http.get("/api/v1/messages").json();
    assert_eq!(
        (&list["total"], &list["unread"]),
        (&json!(1), &json!(1)),
        "nothing is deleted, and nothing read"
    );
}

#[test]
fn v07_no_path_leads_out_of_the_mailboxes() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: x\r\n\r\n");
    fs::write(server.home.path().join("secret"), b"Subject: the secret\n\n").unwrap();
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&server.spool)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let before = names();
    let mut http = Http::of(&server);
    let climbing = [
        "..",
        "%2e%2e",
        "..%2f..%2fsecret",
        "%2e%2e%2fsecret",
        "..%5c..%5csecret",
        "%252e%252e%252fsecret",
        "%c0%ae%c0%ae",
        "secret%00",
        "%00",
        ".",
        "%2e",
        "bob%40example.test%2fnew",
        "bob@example.test%2f..%2f..%2fsecret",
        "..;",
        "%ff%fe",
        "%",
        "%zz",
        "a%0d%0ab",
        "-rf",
        "C:",
        "~",
        "%e2%80%ae",
    ];
    for text in climbing {
        for path in [
            format!("/{text}"),
            format!("/{text}/api/v1/messages"),
            format!("/assets/{text}"),
            format!("/assets/../{text}/page.css"),
            format!("/view/{text}.html"),
            format!("/view/{text}.txt"),
            format!("/message/{text}"),
            format!("/api/v1/message/{text}"),
            format!("/api/v1/message/{text}/raw"),
            format!("/api/v1/message/latest/part/{text}"),
            format!("/api/v1/message/{text}/part/1"),
        ] {
            let mut http = Http::of(&server); // a malformed target ends the connection
            let answer = http.get(&path);
            assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.head);
            assert!(!answer.text().contains("the secret"), "{path}");
        }
        for path in [format!("/box/{text}/api/v1/messages"), format!("/box/{text}/api/v1/message/latest/raw")]
        {
            let mut http = Http::of(&server);
            let answer = http.get(&path);
            let total = if answer.status == 200 { answer.json()["total"].clone() } else { json!(0) };
            assert!(matches!(answer.status, 200 | 400 | 404) && total == 0, "{path}: {}", answer.text());
        }
    }
    assert_eq!(names(), before, "a request makes no mailbox");
    assert_eq!(http.get("/api/v1/messages").json()["total"], 1);
}

#[test]
fn v159_the_inbox_of_an_address_with_a_slash_opens_by_its_link() {
    let server = Server::dev();
    deliver(&server, "a/b@example.test", b"Subject: x\r\n\r\n");
    let mut http = Http::of(&server);
    assert!(http.get("/").text().contains("href=\"/box/a%2Fb@example.test/\""));
    let page = http.get("/box/a%2Fb@example.test/");
    assert!(page.status == 200 && page.text().contains("a/b@example.test"), "{}", page.head);
    assert_eq!(http.get("/box/a%2fb@example.test/api/v1/messages").json()["total"], 1);
    assert_eq!(http.get("/box/a/b@example.test/api/v1/messages").status, 404);
}

#[test]
fn v08_v09_a_request_with_two_meanings_is_refused_and_nothing_after_it_is_read() {
    let server = Server::dev();
    let address = server.addresses("http")[0];
    let hidden = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = hidden.len();
    for head in [
        format!(
            "DELETE /api/v1/search?query=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n"
        ),
        format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n"
        ),
        format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nContent-Length: 0\r\n"
        ),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0, 0\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: +0\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x0\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length : 0\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\x0bchunked\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: y\r\n Transfer-Encoding: chunked\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\nTransfer-Encoding: chunked\r\n".into(),
        "GET /livez HTTP/1.1\nHost: localhost\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\rX: y\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: attacker.test\r\n".into(),
        "GET /livez HTTP/1.1\r\n Host: localhost\r\n".into(),
        "GET /livez HTTP/1.1\r\n: localhost\r\nHost: localhost\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX\0Y: z\r\n".into(),
        "GET /livez HTTP/1.1 \r\nHost: localhost\r\n".into(),
        "GET  /livez HTTP/1.1\r\nHost: localhost\r\n".into(),
        "GET\t/livez\tHTTP/1.1\r\nHost: localhost\r\n".into(),
        "GET /livez\r\nHost: localhost\r\n".into(),
        "GET /livez HTTP/0.9\r\nHost: localhost\r\n".into(),
        "GET /livez HTTP/3.0\r\nHost: localhost\r\n".into(),
        "CONNECT localhost:25 HTTP/1.1\r\nHost: localhost\r\n".into(),
        "TRACE / HTTP/1.1\r\nHost: localhost\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n".into(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n".into(),
        "GET /livez#x HTTP/1.1\r\nHost: localhost\r\n".into(),
    ] {
        let heard = converse(address, format!("{head}\r\n{hidden}{hidden}").as_bytes());
        let statuses = statuses(&heard);
        let expected = [400, 411, 421, 501, 505];
        assert!(statuses.len() == 1 && expected.contains(&statuses[0]), "{head:?}: {heard}");
        assert!(heard.contains("Connection: close\r\n"), "{head:?}: {heard}");
    }
    // The absolute form counts before Host (RFC 9112 section 3.2.2).
    let absolute = |host: &str| {
        format!("GET http://{host}/livez HTTP/1.1\r\nHost: attacker.test\r\nConnection: close\r\n\r\n")
    };
    assert_eq!(statuses(&converse(address, absolute("localhost").as_bytes())), [200]);
    for host in ["attacker.test", "attacker.test@localhost", "localhost@attacker.test", ":80", "localhost%00"]
    {
        assert_eq!(statuses(&converse(address, absolute(host).as_bytes())), [421], "{host}");
    }
    assert_eq!(statuses(&converse(address, absolute("").as_bytes())), [400]);
    // As clients of Mailpit send it: fault V47.
    let twice = "GET //livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&converse(address, twice.as_bytes())), [200]);
    // The body of a request is no request, whatever the method.
    let body = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{hidden}");
    assert_eq!(statuses(&converse(address, body.as_bytes())), [200]);
}

#[test]
fn v10_tls_on_the_plain_port_and_plain_text_on_the_tls_port_end_at_once() {
    let keys = Keys::make();
    let server = keys.serve(&(serve() + &listener("https", "")));
    let mut hello = session(&keys.trusted(BOTH));
    let hello = crate::common::secure::flight(&mut hello);
    let heard = converse(server.addresses("http")[0], &hello);
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("use http"), "{heard}");
    let heard = converse(server.addresses("https")[0], b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!heard.contains("HTTP/1.1 200"), "{heard}");
    assert_eq!(Http::of(&server).get("/livez").status, 200, "others are served");
}

#[test]
fn v18_no_route_leads_to_the_mail_of_another_user() {
    let users = &["alice@example.test", "bob@example.test"];
    let server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    deliver(
        &server,
        "alice@example.test",
        b"From: eve@far.test\r\nSubject: the secret\r\n\r\nsecret text\r\n",
    );
    let mut alice = Http::of(&server);
    alice.fields = basic("alice", PASSWORD);
    let id = alice.get("/api/v1/messages").json()["messages"][0]["ID"].as_str().unwrap().to_owned();
    let mut events = Http::of(&server);
    events.fields = basic("bob", PASSWORD);
    assert_eq!(events.get("/api/events").status, 200);
    let mut bob = Http::of(&server);
    bob.fields = basic("bob", PASSWORD);
    let own = "/box/alice@example.test";
    let ids = json!({ "IDs": [id] }).to_string();
    for base in [
        "",
        "/box/bob@example.test",
        own,
        "/box/ALICE@EXAMPLE.TEST",
        "/box/alice+x@example.test",
        "/box/alice",
    ] {
        let with_bodies = [
            ("PUT", "/api/v1/messages".to_owned(), "{\"Search\":\"secret\",\"Read\":true}"),
            ("PUT", "/api/v1/messages".into(), "{\"Read\":true}"),
            ("DELETE", "/api/v1/messages".into(), &ids),
        ];
        let names = [id.as_str(), "latest"];
        let routes = ROUTES.iter().flat_map(|route| {
            names.map(|name| {
                (
                    route.method.name(),
                    target(route, name),
                    if route.method.name() == "GET" { "" } else { "{}" },
                )
            })
        });
        for (method, path, body) in routes.chain(with_bodies) {
            let mut bob = Http::of(&server); // a wait ends its connection
            bob.fields = basic("bob", PASSWORD);
            let answer = bob.ask(method, &format!("{base}{path}"), body);
            let text = answer.text();
            assert!(
                !text.contains("secret text") && !text.contains("the secret"),
                "{method} {base}{path}: {text}"
            );
            assert!(!text.contains("alice"), "{method} {base}{path}: {text}");
            if base.contains("alice") || base.contains("ALICE") {
                assert_eq!(answer.status, 404, "{method} {base}{path}");
            }
        }
    }
    assert_eq!(
        bob.get("/box/nobody@example.test/api/v1/info").text(),
        bob.get(&format!("{own}/api/v1/info")).text()
    );
    let list = alice.get("/api/v1/messages").json();
    assert_eq!((&list["total"], &list["unread"]), (&json!(1), &json!(1)), "{list}");
    deliver(&server, "alice@example.test", b"Subject: the second secret\r\n\r\n");
    deliver(&server, "bob@example.test", b"Subject: for bob\r\n\r\n");
    let mut told = String::new();
    while !told.contains("for bob") {
        let mut octet = [0; 1];
        events.stream.read_exact(&mut octet).unwrap();
        told.push(octet[0].into());
    }
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn v19_v20_v21_head_etags_and_ranges_give_what_a_client_may_take() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>text</p>\r\n");
    let mut http = Http::of(&server);
    let id = http.get("/api/v1/messages").json()["messages"][0]["ID"].as_str().unwrap().to_owned();
    http.get(&format!("/api/v1/message/{id}")); // read, so that no later answer differs
    for path in [
        "/".to_owned(),
        format!("/message/{id}"),
        "/assets/page.js".into(),
        "/livez".into(),
        "/readyz".into(),
        "/api/v1/messages".into(),
        "/api/v1/search?query=subject:x".into(),
        format!("/api/v1/message/{id}"),
        format!("/api/v1/message/{id}/headers"),
        format!("/api/v1/message/{id}/raw"),
        format!("/view/{id}.html"),
        format!("/view/{id}.txt"),
        "/nothing".into(),
        "/api/v1/message/nothing".into(),
    ] {
        http.fields.clear();
        let whole = http.get(&path);
        let head = http.ask("HEAD", &path, "");
        assert_eq!(head.head, whole.head, "{path}");
        // A range that is not given is the whole (RFC 9110 section 14.2).
        http.fields = "Range: bytes=0-0, -1, 5-\r\nIf-Range: \"x\"\r\n".into();
        let ranged = http.get(&path);
        assert_eq!((ranged.status, &ranged.content), (whole.status, &whole.content), "{path}");
        let etag = whole.head.lines().find_map(|line| line.strip_prefix("ETag: "));
        for (wanted, status) in [("\"other\"", 200), ("W/\"other\", \"x\"", 200), ("", 200)] {
            http.fields = format!("If-None-Match: {wanted}\r\n");
            let expected = if whole.status == 200 { status } else { whole.status };
            assert_eq!(http.get(&path).status, expected, "{path} {wanted}");
        }
        if let Some(etag) = etag {
            for wanted in [etag.to_owned(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
                http.fields = format!("If-None-Match: {wanted}\r\n");
                let answer = http.get(&path);
                assert_eq!((answer.status, answer.content.len()), (304, 0), "{path} {wanted}");
            }
        }
    }
    let etag =
        |answer: &Answer| answer.head.lines().find(|line| line.starts_with("ETag: ")).map(str::to_owned);
    http.fields.clear();
    let before = etag(&http.get("/api/v1/messages"));
    http.ask("PUT", "/api/v1/messages", "{\"Read\":false}");
    assert_ne!(etag(&http.get("/api/v1/messages")), before, "a mark is a change");
}

#[test]
fn v14_v15_bodies_of_any_depth_size_and_number_of_ids_are_bounded() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: x\r\n\r\n");
    let delete = |body: &str| Http::of(&server).ask("DELETE", "/api/v1/messages", body);
    let deep = |depth| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for body in [
        deep(100_000),
        deep(100),
        "[".repeat(1_000_000),
        "null".into(),
        "[]".into(),
        "\"IDs\"".into(),
        "{\"IDs\":null}".into(),
        "{\"IDs\":{}}".into(),
        "{\"IDs\":[1]}".into(),
        "{\"IDs\":[\"a\"],\"IDs\":[]}".into(),
        "{\"IDs\":[\"a\"],\"Search\":\"x\"}".into(),
        "{\"Search\":7}".into(),
        "{\"IDs\":[]".into(),
        "{}{}".into(),
        "\u{feff}{}".into(),
        // A mistyped key is no request to delete everything.
        "{\"ID\":[\"a\"]}".into(),
        "{\"Id\":[\"a\"]}".into(),
        "[[\"a\"],\"\",true]".into(),
        "{\"messages\":[\"a\"]}".into(),
        // An ID that no message can have, as of an empty variable.
        json!({ "IDs": ["", "..", "*"] }).to_string(),
        json!({ "IDs": ["latest"] }).to_string(),
        json!({ "Search": " " }).to_string(),
        "{\"search\":\"\",\"query\":\"subject:other\"}".into(),
    ] {
        let answer = delete(&body);
        assert_eq!(answer.status, 400, "{}: {}", &body[..body.len().min(60)], answer.head);
    }
    // Nothing matches, so nothing is deleted.
    assert_eq!(delete("{\"IDS\":[\"a\"]}").status, 200, "capitals of a key do not matter");
    let many: Vec<String> = (0..40_000).map(|n| format!("{n:020}")).collect();
    assert_eq!(delete(&json!({ "IDs": many }).to_string()).status, 200);
    let head = format!(
        "DELETE /api/v1/messages HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
        Http::of(&server).host,
        (1 << 20) + 1
    );
    let heard = converse(server.addresses("http")[0], head.as_bytes());
    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    // `{}` in the form of gzip: nothing is inflated, and so it is no JSON.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";
    for (method, path) in [("DELETE", "messages"), ("PUT", "messages"), ("POST", "send"), ("PUT", "chaos")] {
        let host = Http::of(&server).host;
        let fields = format!("Host: {host}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n", gzip.len());
        let head = format!("{method} /api/v1/{path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        let heard = converse(server.addresses("http")[0], &[head.as_bytes(), gzip].concat());
        assert!(heard.starts_with("HTTP/1.1 400 "), "{method} {path}: {heard}");
    }
    assert_eq!(Http::of(&server).get("/api/v1/messages").json()["total"], 1);
}
