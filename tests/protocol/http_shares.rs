//! Many clients of the web API at once: their memory, their logins, and the counts of their mail.

use std::{fs, io::Write, sync::mpsc, thread};

use serde_json::{Value, json};

use super::http_api::{Http, basic, deliver, find_account, serve};
use crate::common::{PASSWORD, Server, Setup, client::Client, eventually};

#[test]
fn v98_large_messages_that_are_sent_at_once_wait_for_memory_and_none_is_refused() {
    // Bodies that are held whole have a quarter of it, so there is room for one of these.
    let config = format!("{}delivery.max_body_memory = \"8 MiB\"\n", serve());
    let users = &["bob@example.test"];
    let server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let message = json!({
        "From": { "Email": "bob@example.test" },
        "To": [{ "Email": "bob@example.test" }],
        "Subject": "large",
        "Text": "x".repeat(3 << 19),
    })
    .to_string();
    let begin = || {
        let mut http = Http::of(&server);
        let head = format!(
            "POST /api/v1/send HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n",
            basic("bob", PASSWORD),
            message.len()
        );
        http.stream.get_mut().write_all(head.as_bytes()).unwrap();
        http
    };
    let (half, rest) = message.split_at(message.len() / 2);
    let mut first = begin();
    first.stream.get_mut().write_all(half.as_bytes()).unwrap();
    let (begun, all_begun) = mpsc::channel();
    thread::scope(|scope| {
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (begun, mut http) = (begun.clone(), begin());
                let message = &message;
                scope.spawn(move || {
                    begun.send(()).unwrap();
                    http.stream.get_mut().write_all(message.as_bytes()).unwrap();
                    http.answer(true).status
                })
            })
            .collect();
        (0..3).for_each(|_| all_begun.recv().unwrap());
        // A small one passes them.
        let mut small = Http::of(&server);
        small.fields = basic("bob", PASSWORD);
        let text =
            json!({ "From": { "Email": "bob@example.test" }, "To": [{ "Email": "bob@example.test" }] });
        assert_eq!(small.ask("POST", "/api/v1/send", &text.to_string()).status, 200);
        first.stream.get_mut().write_all(rest.as_bytes()).unwrap();
        assert_eq!(first.answer(true).status, 200);
        let statuses: Vec<u16> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(statuses, [200; 3]);
    });
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    assert_eq!(http.get("/api/v1/messages").json()["total"], 5);
}

#[test]
fn v99_the_stream_of_an_account_that_is_disabled_ends_at_the_reload_and_others_go_on() {
    let users = &["alice@example.test", "bob@example.test", "carol@example.test"];
    let server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    let file = server.home.path().join("users.json");
    let change = |act: &dyn Fn(&mut Value)| {
        let mut table: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        act(&mut table);
        let new = file.with_extension("new");
        fs::write(&new, table.to_string()).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    change(&|table| find_account(table, "carol@example.test")["admin"] = json!(true));
    let open = |user: &str, path: &str| {
        let mut http = Http::of(&server);
        http.fields = basic(user, PASSWORD);
        let answer = http.get(path);
        (answer.status == 200).then_some(http)
    };
    let mut sessions = eventually("carol is an admin", || open("carol", "/sessions/events"));
    let stream = |user: &str, path: &str| open(user, path).unwrap();
    let mut alice = stream("alice", "/api/events");
    let mut bob = [stream("bob", "/api/events"), stream("bob", "/api/v1/events")];
    let mut waits = Http::of(&server);
    let wait = format!("GET /wait?timeout=5m HTTP/1.1\r\nHost: localhost\r\n{}\r\n", basic("bob", PASSWORD));
    waits.stream.get_mut().write_all(wait.as_bytes()).unwrap();
    change(&|table| {
        find_account(table, "bob@example.test")["disabled"] = json!(true);
        find_account(table, "carol@example.test")["admin"] = json!(false);
    });
    assert!(bob.iter_mut().all(Http::ends), "without waiting for the end of the login");
    assert!(waits.ends() && sessions.ends());
    server.tells("its login is no longer valid");
    deliver(&server, "alice@example.test", "Subject: still here\n\n");
    assert!(alice.event().contains("still here"));
}

#[test]
fn v100_the_counts_of_the_server_are_counted() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    let stats =
        |http: &mut Http, base: &str| http.get(&format!("{base}/api/v1/info")).json()["RuntimeStats"].clone();
    let none = stats(&mut http, "");
    for name in ["MessagesDeleted", "SMTPAccepted", "SMTPAcceptedSize", "SMTPRejected", "SMTPIgnored"] {
        assert_eq!(none[name], 0, "{name}");
    }
    (0..3).for_each(|_| deliver(&server, "bob@example.test", "Subject: x\n\nText.\n"));
    let mut smtp = Client::smtp(&server);
    smtp.ask("MAIL FROM:<a@b.test>", "250");
    smtp.ask("RCPT TO:<bob+550@example.test>", "550");
    smtp.ask("NONSENSE", "500");
    smtp.ask("QUIT", "221");
    let id = http.get("/api/v1/messages").json()["messages"][0]["ID"].as_str().unwrap().to_owned();
    assert_eq!(http.ask("DELETE", "/api/v1/messages", &json!({ "IDs": [id] }).to_string()).status, 200);
    assert_eq!(http.get("/nothing").status, 404, "a refusal of another protocol");
    let now = stats(&mut http, "");
    let counts =
        ["MessagesDeleted", "SMTPAccepted", "SMTPRejected", "SMTPIgnored"].map(|name| now[name].clone());
    assert_eq!(counts, [1, 3, 1, 0].map(Value::from));
    assert!(now["SMTPAcceptedSize"].as_u64().unwrap() > 60);
    assert_eq!(
        stats(&mut http, "/box/bob@example.test")["SMTPAccepted"],
        0,
        "the mail of all is no concern of it"
    );
}
