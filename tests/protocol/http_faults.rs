//! Faults beside the web inbox and its API: guesses, proxies, slow readers, mailboxes that cannot be read, and changes of
//! several clients at once.

use std::{
    fs,
    io::{Read, Write},
    thread,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::http_api::{Answer, Http, basic, deliver_to, serve};
use crate::common::{
    BEHIND_A_PROXY, PASSWORD, Server, Setup,
    client::{Client, deliver, socket},
    eventually, listener, listeners, proxy_header,
    secure::{ALICE, BOTH, Keys, over},
};

/// Listeners that a proxy connects to, and the beginning of the limits.
fn behind_a_proxy() -> String {
    let more = format!("{BEHIND_A_PROXY}auth_allow_cleartext = true");
    let listeners = [listener("smtp", ""), listener("pop3", &more), listener("http", &more)].concat();
    format!("{listeners}[limits]\nauth.failure_delay = \"0s\"\nauth.max_failures_per_minute = 4\n")
}

/// A connection through a proxy, from that address.
fn http_from(server: &Server, address: &str) -> Http {
    let mut http = Http::of(server);
    http.stream.get_mut().write_all(proxy_header(address).as_bytes()).unwrap();
    http
}

fn pop3_login(server: &Server, address: &str, user: &str, password: &str) -> String {
    let mut client = Client::connect(server.pop3());
    client.write(proxy_header(address).as_bytes());
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    client.send(&format!("PASS {password}")).reply()
}

#[test]
fn v16_guesses_over_http_count_with_those_of_the_other_services() {
    let users = &["alice@example.test", "bob@example.test"];
    let server = Setup { config: Some(&behind_a_proxy()), users, ..Setup::default() }.start();
    let ask = |address: &str, user: &str, password: &str| {
        let mut http = http_from(&server, address);
        http.fields = basic(user, password);
        http.get("/api/v1/info").status
    };
    assert_eq!(ask("192.0.2.7", "bob", PASSWORD), 200);
    for n in 0..4 {
        assert_eq!(ask("192.0.2.1", ["bob", "nobody"][n % 2], &format!("wrong{n}")), 401);
    }
    // From here on not even the right password is checked, by any service.
    assert_eq!(ask("192.0.2.1", "alice", PASSWORD), 429);
    let reply = pop3_login(&server, "192.0.2.1", "alice", PASSWORD);
    assert!(reply.starts_with("-ERR"), "{reply}");
    assert!(pop3_login(&server, "192.0.2.2", "alice", PASSWORD).starts_with("+OK"), "others log in");
    for n in 0..4 {
        assert!(pop3_login(&server, "192.0.2.3", "alice", &format!("wrong{n}")).starts_with("-ERR"));
    }
    assert_eq!(ask("192.0.2.3", "bob", PASSWORD), 429, "and the other way round");
}

#[test]
fn v17_no_answer_tells_whether_an_account_exists() {
    let users = &["alice@example.test"];
    let server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
    let ask = |user: &str, path: &str| {
        let mut http = Http::of(&server);
        http.fields = basic(user, "wrong");
        let Answer { status, head, content } = http.get(path);
        (status, head, content)
    };
    for path in
        ["/", "/api/v1/messages", "/box/alice@example.test/", "/box/nobody@example.test/", "/nothing/alice"]
    {
        let known = ask("alice@example.test", path);
        for user in ["alice", "nobody@example.test", "nobody", "", "a\"b", "postmaster@example.test"] {
            if user.is_empty() {
                continue; // a name of no octets is no login at all
            }
            assert_eq!(ask(user, path), known, "{user} {path}");
        }
    }
}

#[test]
fn v25_a_proxy_tells_the_address_of_its_client_in_both_versions() {
    let users = &["alice@example.test"];
    let server = Setup { config: Some(&behind_a_proxy()), users, ..Setup::default() }.start();
    let version_2 = {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([192, 0, 2, 9, 192, 0, 2, 25]);
        header.extend([4711_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat());
        header
    };
    let version_1 = proxy_header("192.0.2.8").into_bytes();
    for (header, address) in [(version_1, "192.0.2.8"), (version_2, "192.0.2.9")] {
        // In one packet with the request, and octet by octet.
        for size in [1000, 1] {
            let mut http = Http::of(&server);
            let request = format!(
                "{}Host: localhost\r\n\r\n",
                "GET /api/v1/info HTTP/1.1\r\n".to_owned() + &basic("alice", PASSWORD)
            );
            let wire = [header.clone(), request.into_bytes()].concat();
            for piece in wire.chunks(size) {
                http.stream.get_mut().write_all(piece).unwrap();
            }
            assert_eq!(http.answer(true).status, 200, "{address}");
            assert_eq!(http.get("/livez").status, 200, "the connection goes on");
        }
        server.tells(&format!("http login peer={address} ok=true user=alice"));
    }
    let mut without = Http::of(&server);
    let mut heard = Vec::new();
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    without.stream.get_mut().write_all(request).unwrap();
    let _ = without.stream.read_to_end(&mut heard); // a reset ends it too
    assert!(heard.is_empty(), "a connection without the header is not served: {}", heard.escape_ascii());
}

#[test]
fn v26_https_from_a_configuration_file_serves_logins_and_mail() {
    let keys = Keys::make();
    let server = keys.serve(&listeners(&["smtp", "https"]));
    deliver(&server, ALICE, b"Subject: over TLS\r\n\r\nThe code is 4711.\r\n");
    for version in BOTH {
        let mut stream = over(socket(server.addresses("https")[0]), &keys.trusted(&[*version]));
        let mut ask = |path: &str, fields: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut heard = Vec::new();
            loop {
                let mut octet = [0; 1];
                stream.read_exact(&mut octet).unwrap();
                heard.push(octet[0]);
                let text = String::from_utf8_lossy(&heard).into_owned();
                let Some((head, content)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
                if content.len() >= length.unwrap_or(0) {
                    return text;
                }
            }
        };
        assert!(ask("/livez", "").starts_with("HTTP/1.1 200 "));
        assert!(ask("/api/v1/messages", "").starts_with("HTTP/1.1 401 "));
        let list = ask("/api/v1/messages", &basic("alice", PASSWORD));
        assert!(list.starts_with("HTTP/1.1 200 ") && list.contains("over TLS"), "{list}");
        let text = ask("/view/latest.txt", &basic("alice", PASSWORD));
        assert!(text.contains("The code is 4711."), "{text}");
    }
    server.tells("https login peer=127.0.0.1 ok=true user=alice");
}

#[test]
fn v23_clients_that_read_nothing_of_large_answers_end_when_others_need_the_memory() {
    let config = serve() + "http.max_document_memory = \"24 MiB\"\n";
    let users = &["bob@example.test"];
    let server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let line = format!("{}\n", "x".repeat(99));
    let text = line.repeat(160_000);
    deliver_to(&server, &["bob@example.test"], &format!("Subject: large\n\n{text}"));
    let request = |http: &Http| {
        format!("GET /view/latest.txt HTTP/1.1\r\nHost: {}\r\n{}\r\n", http.host, basic("bob", PASSWORD))
    };
    let mut silent: Vec<Http> = Vec::new();
    for _ in 0..4 {
        let mut http = Http::of(&server);
        let request = request(&http);
        http.stream.get_mut().write_all(request.as_bytes()).unwrap();
        silent.push(http);
    }
    server.tells("evicted at the memory limit, slowest client");
    let whole = eventually("a client that reads has the whole", || {
        let mut http = Http::of(&server);
        http.fields = basic("bob", PASSWORD);
        let answer = http.get("/view/latest.txt");
        assert!(matches!(answer.status, 200 | 503), "{}", answer.head);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(whole.content.len(), text.replace('\n', "\r\n").len());
    drop(silent);
}

#[test]
fn v23_bodies_that_never_end_share_that_memory() {
    let config = serve() + "http.max_document_memory = \"2 MiB\"\n";
    let server = Setup { config: Some(&config), users: &["bob@example.test"], ..Setup::default() }.start();
    let body = vec![b' '; (1 << 20) - 1];
    let mut slow: Vec<Http> = Vec::new();
    for _ in 0..4 {
        let mut http = Http::of(&server);
        let login = basic("bob", PASSWORD);
        let head = format!(
            "PUT /api/v1/messages HTTP/1.1\r\nHost: {}\r\n{login}Content-Length: 1048576\r\n\r\n",
            http.host
        );
        http.stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).unwrap();
        slow.push(http);
    }
    server.tells("evicted at the memory limit, slowest client");
    drop(slow);
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    assert_eq!(http.ask("PUT", "/api/v1/messages", "{\"Read\":true}").status, 200);
}

/// Exchanges `cur/` of a mailbox with a file, so that not even root can read it; or back.
fn exchange_cur(server: &Server, name: &str) {
    let home = server.maildir(name).path;
    let (cur, other) = (home.join("cur"), home.join(".other"));
    if !other.exists() {
        fs::write(&other, b"no directory").unwrap();
    }
    renameat_with(CWD, &other, CWD, &cur, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn v28_a_mailbox_that_cannot_be_read_is_named_and_never_empty() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: for bob\r\n\r\n");
    deliver(&server, "eve@example.test", b"Subject: for eve\r\n\r\n");
    exchange_cur(&server, "eve@example.test");
    std::os::unix::fs::symlink("/nowhere", server.spool.join("far@example.test")).unwrap();
    let mut http = Http::of(&server);
    let unreadable = json!(["eve@example.test", "far@example.test"]);
    for path in ["/api/v1/messages", "/api/v1/search?query=subject:for"] {
        let list = http.get(path).json();
        assert_eq!((&list["messages_count"], &list["unreadable"]), (&json!(1), &unreadable), "{list}");
    }
    assert_eq!(http.get("/api/v1/info").json()["Unreadable"], unreadable);
    let page = http.get("/?query=subject:nothing").text();
    assert!(page.contains("<bdi>eve@example.test, far@example.test</bdi>"), "{page}");
    assert!(!page.contains("No message matches"), "{page}");
    let named = |answer: &Answer| {
        assert_eq!((answer.status, &answer.json()["Unreadable"]), (503, &unreadable), "{}", answer.text());
        assert!(answer.json()["Error"].as_str().unwrap().contains("eve@example.test"));
    };
    named(&http.get("/api/v1/message/0123456789"));
    named(&http.get("/view/0123456789.txt"));
    named(&http.get("/wait?query=subject:nothing&timeout=0"));
    let mut http = Http::of(&server);
    assert_eq!(http.get("/api/v1/message/latest").json()["Subject"], "for bob");
    assert_eq!(http.get("/box/eve@example.test/api/v1/messages").status, 503);
    assert_eq!(http.get("/box/eve@example.test/").status, 503);
    assert_eq!(http.get("/box/far@example.test/api/v1/messages").status, 503);
    let list = http.get("/box/bob@example.test/api/v1/messages").json();
    assert_eq!((&list["total"], &list["unreadable"]), (&json!(1), &Value::Null), "one mailbox is whole");
    named(&http.ask("DELETE", "/api/v1/messages", ""));
    let list = http.get("/api/v1/messages").json();
    assert_eq!((&list["total"], &list["unreadable"]), (&json!(0), &unreadable), "all others are deleted");
}

#[test]
fn v29_a_mailbox_without_one_of_its_directories_is_listed() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: x\r\n\r\n");
    // A copy that left out empty directories.
    for part in ["cur", "tmp"] {
        fs::remove_dir(server.maildir("bob@example.test").path.join(part)).unwrap();
    }
    let mut http = Http::of(&server);
    let list = http.get("/api/v1/messages").json();
    assert_eq!((&list["total"], &list["unreadable"]), (&json!(1), &Value::Null), "{list}");
    assert_eq!(http.get("/api/v1/message/latest").status, 200);
}

#[test]
fn v30_the_newest_message_of_an_empty_mailbox_is_none() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    for base in ["", "/box/bob@example.test"] {
        for path in ["", "/headers", "/raw", "/part/1"] {
            assert_eq!(http.get(&format!("{base}/api/v1/message/latest{path}")).status, 404, "{base}{path}");
        }
        for path in ["/view/latest.html", "/view/latest.txt", "/wait?timeout=0"] {
            assert_eq!(Http::of(&server).get(&format!("{base}{path}")).status, 404, "{base}{path}");
        }
        assert_eq!(http.get(&format!("{base}/message/latest")).status, 404);
        assert_eq!(http.get(&format!("{base}/api/v1/messages?start=7")).json()["messages"], json!([]));
    }
    assert!(!server.spool.join("bob@example.test").exists(), "a request makes no mailbox");
}

#[test]
fn v31_deletes_lists_and_deliveries_at_once_lose_nothing_and_fail_for_nobody() {
    let server = Server::dev();
    let letters = 30;
    for n in 0..letters {
        deliver_to(&server, &["bob@example.test", "eve@example.test"], &format!("Subject: old {n}\n\n"));
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut http = Http::of(&server);
                let answer = http.ask("DELETE", "/api/v1/search?query=subject:old", "");
                assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
            });
            scope.spawn(|| {
                let mut http = Http::of(&server);
                for _ in 0..20 {
                    let list = http.get("/api/v1/messages?limit=1000");
                    assert_eq!(list.status, 200, "{}", list.text());
                    let list = list.json();
                    assert_eq!(list["unreadable"], Value::Null, "{list}");
                    assert!(list["total"].as_u64().unwrap() <= letters + 10, "{list}");
                }
            });
        }
        scope.spawn(|| {
            for n in 0..10 {
                deliver(&server, "bob@example.test", format!("Subject: new {n}\r\n\r\n").as_bytes());
            }
        });
    });
    let list = Http::of(&server).get("/api/v1/messages").json();
    assert_eq!(list["total"], 10, "{list}");
    let subjects = list["messages"].as_array().unwrap().iter().map(|item| item["Subject"].as_str().unwrap());
    assert!(subjects.into_iter().all(|subject| subject.starts_with("new ")), "{list}");
    // Two clients delete all, and one of them comes too late for each message.
    let statuses: Vec<u16> = thread::scope(|scope| {
        let delete = || Http::of(&server).ask("DELETE", "/api/v1/messages", "").status;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(delete)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 4]);
    assert_eq!(Http::of(&server).get("/api/v1/messages").json()["total"], 0);
}

#[test]
fn v33_events_tell_neither_of_a_mailbox_that_cannot_be_read_nor_of_its_return_and_of_one_that_is_removed() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", b"Subject: for bob\r\n\r\n");
    deliver(&server, "eve@example.test", b"Subject: for eve\r\n\r\n");
    let mut events = Http::of(&server);
    events.get("/api/events");
    let mut next = |what: &str| {
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            let mut octet = [0; 1];
            while !line.ends_with('\n') {
                events.stream.read_exact(&mut octet).unwrap();
                line.push(octet[0].into());
            }
        }
        let event: Value = serde_json::from_str(&line["data: ".len()..]).unwrap();
        assert!(line.contains(what), "{what}: {line}");
        event
    };
    exchange_cur(&server, "eve@example.test");
    deliver(&server, "bob@example.test", b"Subject: second\r\n\r\n");
    assert_eq!(next("second")["Type"], "new");
    exchange_cur(&server, "eve@example.test");
    deliver(&server, "eve@example.test", b"Subject: third\r\n\r\n");
    assert_eq!(next("third")["Type"], "new");
    let id =
        Http::of(&server).get("/box/bob@example.test/api/v1/messages").json()["messages"][0]["ID"].clone();
    fs::remove_dir_all(&server.maildir("bob@example.test").path).unwrap();
    let told = [next("delete"), next("delete")];
    assert!(told.iter().any(|event| event["Data"]["ID"] == id), "{told:?}");
}

#[test]
fn v37_a_copy_of_thousands_of_messages_is_one_event() {
    let server = Server::dev();
    let copied = server.home.path().join("copied");
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(copied.join(part)).unwrap();
    }
    for n in 0..1001 {
        fs::write(copied.join(format!("new/1700000000.M{n}.far")), "Subject: copied\n\n").unwrap();
    }
    let mut events = Http::of(&server);
    events.get("/api/events");
    fs::rename(copied, server.spool.join("bob@example.test")).unwrap();
    let mut told = String::new();
    while !told.contains("data: ") || !told.ends_with('\n') {
        let mut octet = [0; 1];
        events.stream.read_exact(&mut octet).unwrap();
        told.push(octet[0].into());
    }
    assert!(told.ends_with("event: prune\r\ndata: {\"Data\":null,\"Type\":\"prune\"}\r\n"), "{told:?}");
    assert_eq!(Http::of(&server).get("/api/v1/info").json()["Messages"], 1001);
}

#[test]
fn v12_good_clients_are_served_beside_crowds_that_hold_every_place() {
    let config = format!("{}connections.max = 60\nconnections.max_per_address = 0\n", behind_a_proxy());
    let server = Setup { config: Some(&config), users: &["bob@example.test"], ..Setup::default() }.start();
    let half_a_head = b"GET /livez HTTP/1.1\r\nHost: l".to_vec();
    let unread = b"GET /assets/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    for (kind, octets) in [("half a head", half_a_head), ("responses that nobody reads", unread)] {
        let mut crowd: Vec<Http> = (0..100)
            .map(|n| {
                let mut http = http_from(&server, &format!("198.18.{}.{n}", kind.len()));
                let _ = http.stream.get_mut().write_all(&octets); // it may have ended for room
                http
            })
            .collect();
        for n in 0..10 {
            let mut http = http_from(&server, &format!("198.51.100.{n}"));
            http.fields = basic("bob", PASSWORD);
            assert_eq!(http.get("/api/v1/info").status, 200, "{kind}");
            deliver(&server, "bob@example.test", b"Subject: x\r\n\r\n");
            for http in &mut crowd {
                let _ = http.stream.get_mut().write_all(b"x"); // the same
            }
        }
    }
}
