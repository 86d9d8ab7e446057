//! Answers of the web API that suites made for Mailpit rely on.

use serde_json::{Value, json};

use super::http_api::{Http, basic, deliver, find_account, serve};
use crate::common::{PASSWORD, Server, Setup, client::Client};

const BOB: &str = "bob@example.test";

#[test]
fn v130_the_newest_message_of_a_query_is_the_newest_that_matches() {
    let server = Server::dev();
    deliver(&server, BOB, "Subject: one\nTo: bob@example.test\n\n1\n");
    deliver(&server, BOB, "Subject: two\nTo: eve@example.test\n\n2\n");
    deliver(&server, "eve@example.test", "Subject: three\n\n<p>3\n");
    let mut http = Http::of(&server);
    for base in ["", "/box/bob@example.test"] {
        let message = http.get(&format!("{base}/api/v1/message/latest?query=to:bob")).json();
        assert_eq!(message["Subject"], "one");
        assert_eq!(http.get(&format!("{base}/view/latest.txt?query=subject:one")).text(), "1\r\n");
        let headers = http.get(&format!("{base}/api/v1/message/latest/headers?query=subject:one")).json();
        assert_eq!(headers["Subject"], json!(["one"]));
        let raw = http.get(&format!("{base}/api/v1/message/latest/raw?query=subject:one"));
        assert!(raw.text().contains("\r\nSubject: one\r\n"), "{}", raw.text());
        let part = http.get(&format!("{base}/api/v1/message/latest/part/0?query=subject:one"));
        assert_eq!(part.text(), "1\r\n");
        for path in ["api/v1/message/latest", "api/v1/message/latest/raw", "view/latest.html"] {
            let none = http.get(&format!("{base}/{path}?query=subject:nothing"));
            assert_eq!(none.status, 404, "{path}");
            let told = none.text();
            assert!(told.contains("No message matches this query"), "{path}: {told}");
        }
        // A mistake in the query selects nothing.
        assert_eq!(http.get(&format!("{base}/api/v1/message/latest?query=form:ann")).status, 400);
        let page = http.get(&format!("{base}/view/latest?query=subject:one")).text();
        assert!(page.contains("<h2 id=\"subject\"") && page.contains("one"), "{page}");
    }
    // An empty query is none, and an id needs none.
    let latest = http.get("/api/v1/message/latest?query=").json();
    assert_eq!(latest["Subject"], "three");
    let id = latest["ID"].as_str().unwrap();
    assert_eq!(http.get(&format!("/api/v1/message/{id}?query=subject:one")).json()["Subject"], "three");
    // The time zone of a date in the query.
    let tomorrow = http.get("/api/v1/message/latest?query=after:2100-01-01&tz=Asia/Tokyo");
    assert_eq!(tomorrow.status, 404);
}

#[test]
fn v131_texts_parts_and_sources_have_the_line_ends_with_which_they_came() {
    let server = Server::dev();
    let letter = "Subject: ends\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\na\nb\n--b\n\
                  Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>=41\n<p>=\nc\n--b\n\
                  Content-Type: text/plain; name=x.txt\nContent-Disposition: attachment\n\nd\ne\n--b\n\
                  Content-Type: text/plain; name=y.txt\nContent-Disposition: attachment\n\
                  Content-Transfer-Encoding: base64\n\nZgpn\n--b--\n";
    deliver(&server, BOB, letter);
    let mut http = Http::of(&server);
    let message = http.get("/api/v1/message/latest").json();
    assert_eq!(
        (&message["Text"], &message["HTML"]),
        (&json!("a\r\nb\r\n\r\nA\r\n\r\nc"), &json!("<p>A\r\n<p>c"))
    );
    for (number, content) in [(0, "d\r\ne"), (1, "f\ng")] {
        let file = &message["Attachments"][number];
        let part = http.get(&format!("/api/v1/message/latest/part/{}", file["PartID"].as_str().unwrap()));
        assert_eq!((part.text(), &file["Size"]), (content.to_owned(), &json!(content.len())));
    }
    let raw = http.get("/api/v1/message/latest/raw").text();
    assert!(raw.ends_with(&letter.replace('\n', "\r\n")), "{raw}");
    // A file of another program has whatever line ends it has, and perhaps none at its end.
    let maildir = server.maildir(BOB);
    maildir.put("9999999999.other", b"Subject: mixed\n\na\r\nb\nc");
    let id = id_of(&mut http, "mixed");
    let raw = http.get(&format!("/api/v1/message/{id}/raw"));
    assert_eq!(raw.text(), "Subject: mixed\r\n\r\na\r\nb\r\nc\r\n");
    assert!(raw.head.contains(&format!("Content-Length: {}\r\n", raw.content.len())), "{}", raw.head);
    assert_eq!(http.get(&format!("/api/v1/messages/{id}/download")).content, raw.content);
}

/// The id of the message with that subject.
fn id_of(http: &mut Http, subject: &str) -> String {
    let found = http.get(&format!("/api/v1/search?query=subject:{subject}")).json();
    found["messages"][0]["ID"].as_str().unwrap().to_owned()
}

#[test]
fn v132_the_path_of_a_file_is_told_to_those_who_may_read_all_mail() {
    let users = &["alice@example.test", BOB];
    let mut server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    deliver(&server, BOB, "Subject: x\n\n");
    let accounts = server.home.path().join("users.json");
    let mut table: Value = serde_json::from_str(&std::fs::read_to_string(&accounts).unwrap()).unwrap();
    find_account(&mut table, "alice@example.test")["admin"] = json!(true);
    std::fs::write(&accounts, table.to_string()).unwrap();
    server.restart();
    for (user, is_told) in [("alice", true), ("bob", false)] {
        let mut http = Http::of(&server);
        http.fields = basic(user, PASSWORD);
        for path in ["/api/v1/message/latest", "/box/bob@example.test/wait?timeout=0"] {
            let message = http.get(path).json();
            assert_eq!(message["Subject"], "x", "{message}");
            let path = message["Path"].as_str();
            assert_eq!(path.is_some(), is_told, "{user}: {message}");
            // The path after the message was marked as read.
            assert!(path.is_none_or(|path| std::fs::metadata(path).is_ok()), "{message}");
        }
    }
}

#[test]
fn v134_faults_of_the_whole_server_are_set_at_its_own_path() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    let triggers = "{\"Sender\":{\"ErrorCode\":452,\"Probability\":100}}";
    let refused = http.ask("PUT", "/box/bob@example.test/api/v1/chaos", triggers);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("send this request to /api/v1/chaos"), "{}", refused.text());
    Client::smtp(&server).ask("MAIL FROM:<ann@a.test>", "250 ");
    assert_eq!(http.get("/box/bob@example.test/api/v1/chaos").json()["Sender"]["Probability"], 0);
}

#[test]
fn v135_a_recipient_that_resembles_a_fault_is_told_so_by_http_too() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    let message = |to: &str| {
        json!({ "From": { "Email": "ann@a.test" }, "To": [{ "Email": to }], "Text": "x" }).to_string()
    };
    let hint = "+452-afterdot is no fault on demand, did you mean +452-after-dot?";
    let sent = http.ask("POST", "/api/v1/send", &message("bob+452-afterdot@example.test"));
    assert_eq!((sent.status, &sent.json()["Hint"]), (200, &json!(hint)), "{}", sent.text());
    server.tells(&format!("http no fault on demand peer=127.0.0.1 reason=\"{hint}\""));
    let sent = http.ask("POST", "/api/v1/send", &message("bob+news@example.test"));
    assert_eq!((sent.status, sent.json().get("Hint")), (200, None));
    let server = Setup { arguments: &["--no-faults"], ..Setup::default() }.start();
    let sent = Http::of(&server).ask("POST", "/api/v1/send", &message("bob+452-afterdot@example.test"));
    assert_eq!((sent.status, sent.json().get("Hint")), (200, None));
}
