//! The web API of a running server: over sockets, with files and other programs beside it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, socket, with_crlf},
    eventually, listener,
};

/// A response: its status, its head, and its content.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) content: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.content).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// Sends requests on one connection.
pub(crate) struct Http {
    pub(crate) stream: BufReader<TcpStream>,
    pub(crate) host: String,
    pub(crate) fields: String,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { stream: BufReader::new(socket(address)), host: address.to_string(), fields: String::new() }
    }

    pub(crate) fn of(server: &Server) -> Self {
        Self::connect(server.addresses("http")[0])
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let (host, fields) = (&self.host, &self.fields);
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        self.answer(method != "HEAD")
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// Whether the stream ends without a further event.
    pub(crate) fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest); // it may end with a reset
        !String::from_utf8_lossy(&rest).contains("data: ")
    }

    /// The data of the next server-sent event.
    pub(crate) fn event(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "the stream has ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return data.to_owned();
            }
        }
    }

    pub(crate) fn answer(&mut self, has_content: bool) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "closed after {head:?}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        let mut content = vec![0; if has_content { length.unwrap_or(0) } else { 0 }];
        self.stream.read_exact(&mut content).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, content }
    }
}

/// Delivers a message to mailboxes.
pub(crate) fn deliver_to(server: &Server, to: &[&str], message: &str) {
    let reply = Client::smtp(server).deliver(to, &with_crlf(message.as_bytes()));
    assert!(reply.starts_with("250 "), "{reply}");
}

pub(crate) fn deliver(server: &Server, to: &str, message: &str) {
    deliver_to(server, &[to], message);
}

const LETTER: &str = "From: Ann <ann@a.test>\nTo: bob@example.test\nSubject: hello\n\
                      Content-Type: multipart/mixed; boundary=b\n\n\
                      --b\n\nIt works.\n--b\nContent-Type: text/html\n\n<img src=\"cid:x@y\"><script>alert(1)</script>\n\
                      --b\nContent-Type: image/png; name=\"../a.png\"\nContent-ID: <x@y>\nContent-Disposition: inline\n\nPNG\n--b--\n";

#[test]
fn a_message_is_listed_shown_marked_and_deleted() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    assert_eq!(http.get("/api/v1/messages").json()["total"], 0);
    deliver_to(&server, &["bob@example.test", "eve@example.test"], LETTER);
    deliver(&server, "eve@example.test", "Subject: other\n\nText\n");

    let list = http.get("/api/v1/messages").json();
    assert_eq!((&list["total"], &list["unread"], &list["count"]), (&json!(2), &json!(2), &json!(2)));
    let item = &list["messages"][1];
    assert_eq!((&item["Subject"], &item["From"]["Address"]), (&json!("hello"), &json!("ann@a.test")));
    assert_eq!((&item["Read"], &item["Tags"]), (&json!(false), &json!([])));
    let id = item["ID"].as_str().unwrap().to_owned();
    assert!(id.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(http.get("/box/eve@example.test/api/v1/messages").json()["total"], 2);
    assert_eq!(http.get("/box/bob@example.test/api/v1/messages").json()["messages"][0]["ID"], *id);
    assert_eq!(http.get("/box/nobody@example.test/api/v1/messages").json()["total"], 0);

    let message = http.get(&format!("/api/v1/message/{id}")).json();
    assert_eq!(
        (message["Text"].as_str().unwrap(), &message["ReturnPath"]),
        ("It works.", &json!("sender@far.test"))
    );
    let part = message["Inline"][0]["PartID"].as_str().unwrap();
    let part = http.get(&format!("/api/v1/message/{id}/part/{part}"));
    assert!(part.head.contains("Content-Type: image/png\r\n") && part.text() == "PNG", "{}", part.head);
    assert!(part.head.contains("filename=\"") && !part.head.contains(".."), "{}", part.head);
    let html = http.get(&format!("/view/{id}.html"));
    assert!(
        html.head.contains(
            "Content-Security-Policy: sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'"
        ),
        "{}",
        html.head
    );
    assert!(html.text().contains(&format!("src=\"../api/v1/message/{id}/part/")), "{}", html.text());
    assert_eq!(http.get("/view/latest.txt").text(), "Text\r\n");

    let stored = with_crlf(&server.maildir("bob@example.test").only_message());
    assert_eq!(http.get(&format!("/box/bob@example.test/api/v1/message/{id}/raw")).content, stored);
    let head = http.ask("HEAD", &format!("/api/v1/message/{id}/raw"), "");
    assert!(head.head.contains(&format!("Content-Length: {}\r\n", stored.len())) && head.content.is_empty());

    // Shown, so it is read in each mailbox, and keeps its id.
    for base in ["", "/box/bob@example.test", "/box/eve@example.test"] {
        let found = http.get(&format!("{base}/api/v1/search?query=is:read")).json();
        assert_eq!(
            (&found["messages_count"], &found["messages"][0]["ID"]),
            (&json!(1), &json!(id)),
            "{base}"
        );
    }
    let body = json!({ "IDs": [id], "Read": false }).to_string();
    assert_eq!(http.ask("PUT", "/api/v1/messages", &body).text(), "ok");
    assert_eq!(http.get("/api/v1/messages").json()["unread"], 2);
    assert_eq!(http.ask("DELETE", "/api/v1/search?query=subject:other", "").text(), "ok");
    assert_eq!(http.get("/api/v1/messages").json()["total"], 1);
    let body = json!({ "IDs": [id, "0123456789012345678901"] }).to_string();
    assert_eq!(http.ask("DELETE", "/api/v1/messages", &body).text(), "ok");
    assert_eq!(http.get("/api/v1/messages").json()["total"], 0);
    assert_eq!(http.get(&format!("/api/v1/message/{id}")).status, 404);
    assert!(server.maildir("bob@example.test").files("cur").is_empty());
}

#[test]
fn a_large_message_comes_whole_to_a_client_that_takes_its_time() {
    let server = Server::dev();
    let line = format!("{}\n", "x".repeat(99));
    let letter = format!("Subject: large\n\n{}", line.repeat(30_000));
    deliver(&server, "bob@example.test", &letter);
    let stored = with_crlf(&server.maildir("bob@example.test").only_message());
    let mut http = Http::of(&server);
    for _ in 0..2 {
        let raw = http.get("/api/v1/message/latest/raw");
        assert!(raw.content == stored, "{} octets of {}", raw.content.len(), stored.len());
        let text = http.get("/view/latest.txt");
        assert_eq!(text.text().lines().count(), 30_000);
    }
}

#[test]
fn a_list_that_has_not_changed_is_not_sent_again() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", "Subject: one\n\n");
    let mut http = Http::of(&server);
    let list = http.get("/api/v1/messages");
    let etag = list.head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    http.fields = format!("If-None-Match: {etag}\r\n");
    assert_eq!(http.get("/api/v1/messages").status, 304);
    deliver(&server, "bob@example.test", "Subject: two\n\n");
    assert_eq!(http.get("/api/v1/messages").status, 200);
}

#[test]
fn mail_of_other_programs_is_listed_and_changed_like_ours() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", "Subject: one\n\n");
    let maildir = server.maildir("bob@example.test");
    let foreign = maildir.path.join("cur/1700000000.other:2,RS");
    fs::write(&foreign, b"Subject: two\n\n").unwrap();
    let mut http = Http::of(&server);
    let list = http.get("/api/v1/messages").json();
    let shown: Vec<(&str, bool)> = list["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["Subject"].as_str().unwrap(), item["Read"].as_bool().unwrap()))
        .collect();
    assert_eq!(shown, [("one", false), ("two", true)]);
    let id = list["messages"][1]["ID"].clone();
    http.ask("PUT", "/api/v1/messages", &json!({ "IDs": [id], "Read": false }).to_string());
    assert!(maildir.path.join("cur/1700000000.other:2,R").exists());
    assert_eq!(http.get("/api/v1/messages").json()["messages"][1]["ID"], id, "the id is that of the file");
    let other = maildir.path.join("tmp/other");
    fs::write(&other, b"Subject: three\n\n").unwrap();
    fs::rename(other, maildir.path.join("cur/1700000000.other:2,R")).unwrap();
    assert_eq!(http.get("/api/v1/messages").json()["messages"][1]["Subject"], "three");
}

#[test]
fn a_wait_ends_when_the_message_comes_and_events_tell_of_it() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", "Subject: before\n\n");
    let mut events = Http::of(&server);
    let started = events.get("/api/events");
    assert!(started.head.contains("Content-Type: text/event-stream\r\n"), "{}", started.head);
    let mut wait = Http::of(&server);
    let host = wait.host.clone();
    let request = format!(
        "GET /box/bob@example.test/wait?query=subject:after&timeout=30 HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    wait.stream.get_mut().write_all(request.as_bytes()).unwrap();
    deliver(&server, "eve@example.test", "Subject: after\n\n");
    deliver(&server, "bob@example.test", "Subject: after\n\nthe one\n");
    assert_eq!(wait.answer(true).json()["Text"].as_str().unwrap().trim(), "the one");
    // Mail that another program has put there.
    server.maildir("bob@example.test").put("1700000001.cp", b"Subject: copied\n\n");
    let mut told = Vec::new();
    while told.len() < 3 {
        let mut line = String::new();
        assert_ne!(events.stream.read_line(&mut line).unwrap(), 0, "{told:?}");
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(data).unwrap();
        if event["Type"] == "new" {
            told.push(event["Data"]["Subject"].as_str().unwrap().to_owned());
        }
    }
    told.sort();
    assert_eq!(told, ["after", "after", "copied"]);
}

#[test]
fn a_message_to_three_mailboxes_is_one_event_for_all_and_one_for_each() {
    let server = Server::dev();
    let mut all = Http::of(&server);
    all.get("/api/events");
    let mut eve = Http::of(&server);
    eve.get("/box/eve@example.test/api/events");
    deliver_to(&server, &["bob@x.test", "eve@example.test", "ann@x.test"], "Subject: many\n\n");
    deliver(&server, "eve@example.test", "Subject: last\n\n");
    for stream in [&mut all, &mut eve] {
        let mut subjects = Vec::new();
        while subjects.last().is_none_or(|last| last != "last") {
            let mut line = String::new();
            stream.stream.read_line(&mut line).unwrap();
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(data).unwrap();
            subjects.push(event["Data"]["Subject"].as_str().unwrap_or("other event").to_owned());
        }
        assert_eq!(subjects, ["many", "last"]);
    }
}

/// SMTP, POP3 and HTTP for users, and the beginning of the limits.
pub(crate) fn serve() -> String {
    format!("{STRICT}{}[limits]\nauth.failure_delay = \"0s\"\n", listener("http", ""))
}

/// `bob:sesame` and its like, for Basic.
pub(crate) fn basic(user: &str, password: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn users_log_in_and_see_their_own_mail_and_an_admin_sees_all() {
    let users = &["alice@example.test", "bob@example.test"];
    let mut server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    deliver(&server, "alice@example.test", "Subject: for alice\n\n");
    deliver(&server, "bob@example.test", "Subject: for bob\n\n");
    let subjects = |http: &mut Http, path: &str| {
        let answer = http.get(path);
        let list = if answer.status == 200 { answer.json() } else { Value::Null };
        let subjects = list["messages"].as_array().cloned().unwrap_or_default();
        let subjects: Vec<String> =
            subjects.iter().map(|item| item["Subject"].as_str().unwrap().to_owned()).collect();
        (answer.status, subjects.join(", "))
    };
    let mut http = Http::of(&server);
    assert_eq!(http.get("/livez").status, 200);
    let refused = http.get("/api/v1/messages");
    assert!(refused.status == 401 && refused.head.contains("WWW-Authenticate: Basic "), "{}", refused.head);
    http.fields = basic("bob", "wrong");
    assert_eq!(http.get("/api/v1/messages").status, 401);
    http.fields = basic("bob", PASSWORD);
    assert_eq!(subjects(&mut http, "/api/v1/messages"), (200, "for bob".into()));
    assert_eq!(subjects(&mut http, "/box/bob@example.test/api/v1/messages"), (200, "for bob".into()));
    assert_eq!(subjects(&mut http, "/box/alice@example.test/api/v1/messages").0, 404);
    let accounts = server.home.path().join("users.json");
    let text = fs::read_to_string(&accounts).unwrap();
    let mut table: Value = serde_json::from_str(&text).unwrap();
    let bob = find_account(&mut table, "bob@example.test");
    bob["admin"] = json!(true);
    fs::write(&accounts, table.to_string()).unwrap();
    server.restart();
    let mut http = Http::of(&server);
    http.fields = basic("bob@example.test", PASSWORD);
    assert_eq!(subjects(&mut http, "/api/v1/messages"), (200, "for bob, for alice".into()));
    assert_eq!(subjects(&mut http, "/box/alice@example.test/api/v1/messages"), (200, "for alice".into()));
    http.fields = basic("alice", PASSWORD);
    assert_eq!(subjects(&mut http, "/api/v1/messages"), (200, "for alice".into()));
    server.tells("http login peer=127.0.0.1 ok=true user=bob@example.test mechanism=BASIC");
}

/// The account of that name in the file of users.
pub(crate) fn find_account<'a>(table: &'a mut Value, name: &str) -> &'a mut Value {
    if table.get(name).is_some() {
        return &mut table[name];
    }
    let inner = table.as_object_mut().unwrap().values_mut().find(|value| value.get(name).is_some());
    &mut inner.unwrap()[name]
}

#[test]
fn a_password_never_reaches_the_log_or_a_transcript() {
    let home = crate::common::home();
    let config = format!("transcripts = {:?}\n{}", home.path().join("transcripts"), serve());
    let users = &["bob@example.test"];
    let server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    deliver(&server, "bob@example.test", "Subject: hidden words\n\nmore hidden words\n");
    assert_eq!(http.get("/api/v1/messages").status, 200);
    drop(http);
    let transcript = eventually("the transcript is written", || {
        let files = fs::read_dir(home.path().join("transcripts")).ok()?;
        let file =
            files.map(|file| file.unwrap().path()).find(|file| file.to_string_lossy().contains("-http-"))?;
        fs::read_to_string(file).ok().filter(|text| text.contains(". close"))
    });
    assert!(transcript.contains("C: Authorization: ***\n"), "{transcript}");
    assert!(transcript.contains("S: HTTP/1.1 200 OK\n") && !transcript.contains("hidden"), "{transcript}");
    let secret = basic("bob", PASSWORD);
    let secret = secret.trim().rsplit(' ').next().unwrap();
    assert!(!transcript.contains(secret) && !server.log().contains(secret));
}

#[test]
fn a_server_that_stops_ends_waits_and_events() {
    let mut server = Server::dev();
    let mut events = Http::of(&server);
    events.get("/api/events");
    let mut wait = Http::of(&server);
    let request = format!("GET /wait?timeout=300 HTTP/1.1\r\nHost: {}\r\n\r\n", wait.host);
    wait.stream.get_mut().write_all(request.as_bytes()).unwrap();
    // A client that goes away while its subscription begins holds up no end.
    let gone = Http::of(&server);
    gone.stream.get_ref().write_all(request.as_bytes()).unwrap();
    drop(gone);
    // Both are being served: a later request has its response.
    assert_eq!(Http::of(&server).get("/api/v1/info").status, 200);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().success());
    let mut rest = Vec::new();
    events.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b":"), "{}", rest.escape_ascii());
    rest.clear();
    let _ = wait.stream.read_to_end(&mut rest); // a reset ends it too
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 503 "), "{}", rest.escape_ascii());
}
