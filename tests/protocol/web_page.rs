//! The page of the web inbox: by plain requests, and in a browser.

use std::{env, fs, io::BufRead, process::Command};

use serde_json::{Value, json};

use super::http_api::{Http, basic, find_account, serve};
use crate::common::{
    PASSWORD, Server, Setup,
    client::{Client, deliver, with_crlf},
    eventually, installed,
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
    let gone = http.get("/message/0123456789");
    assert!(gone.status == 404 && gone.text().contains("Ce message n’est pas ici"), "{}", gone.text());
    assert_eq!(http.get("/message/..").status, 404);
    assert_eq!(http.ask("POST", "/", "x=y").status, 405);
}

#[test]
fn a_user_sees_the_own_inbox_and_its_name_only() {
    let users = &["alice@example.test", "bob@example.test"];
    let server = Setup { config: Some(&serve()), users, ..Setup::default() }.start();
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

/// Gives a user the field `admin`, and starts the server again.
fn make_admin(server: &mut Server, user: &str) {
    let file = server.home.path().join("users.json");
    let mut table: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    find_account(&mut table, user)["admin"] = json!(true);
    fs::write(&file, table.to_string()).unwrap();
    server.restart();
}

/// The fields of a browser that follows a link.
const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

#[test]
fn v62_a_reader_gets_a_page_for_a_refusal_and_a_program_gets_json() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    assert_eq!(http.get("/nothing").text(), "{\"Error\":\"There is nothing at this path\"}\r\n");
    http.fields = BROWSER.into();
    for path in ["/nothing", "/box/a%20b/", "/view/x1.html", "/sessions/x"] {
        let page = http.get(path);
        assert!(page.status == 404 && page.head.contains("Content-Type: text/html"), "{path}: {}", page.head);
        assert!(page.head.contains("default-src 'none'") && page.text().contains("<h1>"), "{}", page.text());
    }
    assert!(http.get("/api/v1/message/x1").text().starts_with("{\"Error\""), "the API answers programs");
    assert!(http.ask("POST", "/", "x").text().starts_with("{\"Error\""), "no reader sends that");
    let mut http = Http::of(&server);
    http.fields = format!("{BROWSER}Accept-Language: fr\r\n");
    assert!(http.get("/nothing").text().contains("<html lang=\"fr\">"));
    http.host = "other.test".into();
    let page = http.get("/");
    assert!(page.status == 421 && page.text().contains("<h1>Autre nom de serveur</h1>"), "{}", page.text());

    let server = Setup { config: Some(&serve()), users: &["bob@example.test"], ..Setup::default() }.start();
    let mut http = Http::of(&server);
    http.fields = BROWSER.into();
    let page = http.get("/");
    assert!(page.status == 401 && page.head.contains("WWW-Authenticate: Basic"), "{}", page.head);
    assert!(page.text().contains("<h1>Log in to read mail</h1>"), "{}", page.text());
    assert!(http.get("/sessions").status == 401, "and no session without a login");
}

#[test]
fn v68_a_user_without_a_mailbox_reads_that_and_not_all_mail() {
    let server = Setup { config: Some(&serve()), users: &["bob@example.test"], ..Setup::default() }.start();
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    let html = http.get("/").text();
    assert!(html.contains("You have no mailbox yet.") && !html.contains("All mail"), "{html}");
    assert!(
        html.contains("<title>bob@example.test") && html.contains("<bdi>bob@example.test</bdi>"),
        "{html}"
    );
    deliver(&server, "bob@example.test", LETTER);
    let html = http.get("/").text();
    assert!(!html.contains("no mailbox yet") && html.contains("&lt;b&gt;bold&lt;/b&gt;"), "{html}");
}

#[test]
fn v110_an_empty_inbox_says_where_to_send() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    let port = server.addresses("smtp")[0].port();
    let at = format!("by SMTP at 127.0.0.1:{port}, and it appears here");
    let all = http.get("/").text();
    assert!(all.contains(&format!("Send one to any address {at}")), "{all}");
    let own = http.get("/box/bob@example.test").text();
    assert!(own.contains(&format!("Send one to bob@example.test {at}")), "{own}");
    let short = http.get("/box/you").text();
    assert!(short.contains(&format!("Send one to you@localhost {at}")), "{short}");
    http.fields = "Accept-Language: fr\r\n".into();
    http.host = format!("localhost:{}", server.addresses("http")[0].port());
    let french = http.get("/").text();
    assert!(french.contains(&format!("à n’importe quelle adresse en SMTP sur localhost:{port}")), "{french}");
}

#[test]
fn v108_without_a_script_a_page_asks_before_a_message_is_deleted() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", LETTER);
    let mut http = Http::of(&server);
    let list = http.get("/box/bob@example.test").text();
    let (_, rest) = list.split_once("data-id=\"").unwrap();
    let id = rest.split('"').next().unwrap();
    let path = format!("/box/bob@example.test/message/{id}");
    let message = http.get(&path).text();
    assert!(message.contains(&format!("href=\"{path}/delete\"")), "{message}");
    let asked = http.get(&format!("{path}/delete")).text();
    assert!(asked.contains("Delete this message for good?") && asked.contains("Keep it"), "{asked}");
    assert!(
        asked.contains(&format!("<form class=\"tools\" method=\"post\" action=\"{path}/delete\">")),
        "{asked}"
    );
    assert_eq!(http.get("/api/v1/messages").json()["total"], 1, "so far nothing has happened");
    // Browsers say so of a form on a page with the policy `no-referrer`; another site cannot.
    let form = |fields: &str| {
        let mut http = Http::of(&server);
        http.fields =
            format!("{fields}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n");
        http.ask("POST", &format!("{path}/delete"), "")
    };
    for foreign in
        ["Origin: null\r\n", "Origin: null\r\nSec-Fetch-Site: cross-site\r\n", "Origin: http://far.test\r\n"]
    {
        assert_eq!(form(foreign).status, 403, "{foreign}");
    }
    let own = "Origin: null\r\nSec-Fetch-Site: same-origin\r\n";
    let deleted = form(own);
    assert!(deleted.status == 303 && deleted.head.contains("Location: ../../\r\n"), "{}", deleted.head);
    assert_eq!(form(own).status, 404, "it is gone");
    assert_eq!(http.get("/api/v1/messages").json()["total"], 0);
    let latest = http.ask("POST", "/message/latest/delete", "x");
    assert_eq!(latest.status, 404, "{}", latest.text());
}

#[test]
fn v107_a_session_that_is_gone_is_404_and_its_page_has_the_list() {
    let server = Server::dev();
    deliver(&server, "bob@example.test", LETTER);
    let mut http = Http::of(&server);
    http.fields = BROWSER.into();
    let gone = http.get("/sessions/cffffff");
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("among the last ones no longer"), "{}", gone.text());
    let text = eventually("the session has its result", || {
        let all = http.get("/sessions");
        assert_eq!(all.status, 200);
        Some(all.text()).filter(|text| text.contains(", 1 message delivered</span>"))
    });
    let (_, rest) = text.split_once("href=\"/sessions/").unwrap();
    let id = rest.split('"').next().unwrap();
    assert_eq!(http.get(&format!("/sessions/{id}")).status, 200);
}

#[test]
fn v66_remote_images_load_only_after_the_reader_asks_and_still_in_the_sandbox() {
    let server = Server::dev();
    let letter =
        "Subject: x\nContent-Type: text/html\n\n<img src=\"https://far.test/a.png\"><script>1</script>\n";
    deliver(&server, "bob@example.test", &with_crlf(letter.as_bytes()));
    let mut http = Http::of(&server);
    let list = http.get("/").text();
    let (_, rest) = list.split_once("href=\"/message/").unwrap();
    let id = rest.split('"').next().unwrap().to_owned();
    let page = http.get(&format!("/message/{id}")).text();
    assert!(page.contains(&format!("src=\"/view/{id}.html?embed=1\"")), "off unless asked for: {page}");
    assert!(page.contains(&format!("href=\"/view/{id}.remote.html?embed=1\" target=\"html\"")), "{page}");
    let plain = http.get(&format!("/view/{id}.html"));
    assert!(!plain.head.contains("https:"), "{}", plain.head);
    let remote = http.get(&format!("/view/{id}.remote.html"));
    assert!(remote.head.contains(
        "Content-Security-Policy: sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
             img-src data: 'self' https: http:"
    ));
    assert!(
        !remote.head.contains("allow-scripts") && !remote.head.contains("allow-same-origin"),
        "{}",
        remote.head
    );
    assert!(remote.head.contains("Referrer-Policy: no-referrer"), "{}", remote.head);
    assert_eq!(remote.content, plain.content);
    assert_eq!(http.get("/view/latest.remote.html").status, 404, "a page of another site could link there");
}

#[test]
fn v115_a_link_in_a_message_opens_a_window_that_knows_nothing_of_the_page() {
    let server = Server::dev();
    let letter =
        "Subject: x\nContent-Type: text/html\n\n<a target=_top href=\"https://far.test/\">confirm</a>\n";
    deliver(&server, "bob@example.test", &with_crlf(letter.as_bytes()));
    let mut http = Http::of(&server);
    assert!(http.get("/view/latest.html").text().contains("<a target=_top href"), "as it came");
    let framed = http.get("/view/latest.html?embed=1");
    let own = "<a target=\"_blank\" rel=\"noreferrer noopener\" target=_top href";
    assert!(framed.text().contains(own), "{}", framed.text());
    let page = http.get("/view/latest");
    assert!(page.head.contains("Cross-Origin-Opener-Policy: same-origin\r\n"), "{}", page.head);
    assert!(
        page.text().contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""),
        "{}",
        page.text()
    );
    assert!(!framed.head.contains("Cross-Origin-Opener-Policy"), "a sandbox with it is an error");
}

#[test]
fn v112_beyond_the_end_of_a_list_the_page_says_so_and_leads_to_its_last_part() {
    let server = Server::dev();
    for _ in 0..52 {
        deliver(&server, "bob@example.test", LETTER);
    }
    let mut http = Http::of(&server);
    for (path, last) in [("/?start=100000", "/?start=50"), ("/?start=100", "/?start=50")] {
        let html = http.get(path).text();
        assert!(html.contains("This part of the list is empty"), "{html}");
        assert!(
            !html.contains("No messages yet") && html.contains(&format!("rel=\"prev\" href=\"{last}\"")),
            "{html}"
        );
    }
    let html = http.get("/?start=50&query=is:unread").text();
    assert!(html.contains("rel=\"prev\" href=\"/?query=is:unread\"") && !html.contains("is empty"), "{html}");
    let html = http.get("/?start=50&query=is:read").text();
    assert!(html.contains("No message matches"), "{html}");
}

#[test]
fn v67_sessions_are_shown_live_without_their_passwords_and_without_files() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    assert!(http.get("/").text().contains("href=\"/sessions\""));
    assert!(http.get("/sessions").text().contains("No session yet"));
    let mut events = Http::of(&server);
    let head = events.get("/sessions/events").head;
    assert!(head.contains("Content-Type: text/event-stream\r\n"), "{head}");
    let mut pop3 = Client::connect(server.pop3());
    pop3.expect("+OK");
    pop3.ask("USER bob@example.test", "+OK");
    pop3.ask("PASS topsecret", "+OK");
    let mut line = String::new();
    while !line.starts_with("event: sessions") {
        line.clear();
        assert_ne!(events.stream.read_line(&mut line).unwrap(), 0);
    }
    let html = eventually("the lines of the session", || {
        let html = http.get("/sessions").text();
        html.contains("named → transaction").then_some(html)
    });
    assert!(!html.contains("topsecret") && html.contains("RFC 1939 section 7"), "{html}");
    assert!(html.contains("<b>named → transaction</b>") && html.contains("data-live=\"yes\""), "{html}");
    let (_, rest) = html.split_once("href=\"/sessions/").unwrap();
    let id = rest.split('"').next().unwrap();
    let of_one = http.get(&format!("/sessions/{id}?from=2")).text();
    assert!(!of_one.contains("<code>USER") && of_one.contains("<code>PASS ***</code>"), "{of_one}");
    assert!(http.get("/sessions/c1").text().contains("among the last ones no longer"));
    assert!(!html.contains("<code>GET"), "each look at the page would be a session more");
    assert!(!server.home.path().join("transcripts").exists() && !server.spool.join("transcripts").exists());
}

#[test]
fn v46_v61_v65_only_an_admin_sees_sessions_and_the_one_that_brought_a_message() {
    let users = &["alice@example.test", "bob@example.test"];
    let config = format!("transcripts = \"transcripts\"\n{}", serve());
    let mut server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    let reply = Client::smtp(&server).deliver(users, &with_crlf(LETTER));
    assert!(reply.starts_with("250 "), "{reply}");
    let open = |server: &Server, user: &str| {
        let mut http = Http::of(server);
        http.fields = basic(user, PASSWORD);
        let list = http.get("/").text();
        let (_, rest) = list.split_once("href=\"/message/").unwrap();
        let message = http.get(&format!("/message/{}", rest.split('"').next().unwrap())).text();
        (http, list, message)
    };
    let (mut http, list, message) = open(&server, "bob");
    assert!(
        !list.contains("/sessions") && message.contains("Only an administrator sees the session"),
        "{message}"
    );
    assert!(!message.contains("alice@example.test"), "a blind copy stays blind: {message}");
    for path in ["/sessions", "/sessions/c1001", "/sessions/events"] {
        assert_eq!(http.get(path).status, 403, "{path}");
    }
    let transcripts = server.home.path().join("transcripts");
    eventually("the file of the session", || {
        let files = fs::read_dir(&transcripts).unwrap().flatten();
        let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        texts.any(|text| text.contains("# spool: delivered")).then_some(())
    });
    // A restart numbers its sessions from the beginning, and the file of the old one is there.
    make_admin(&mut server, "bob@example.test");
    let (mut http, list, message) = open(&server, "bob");
    assert!(list.contains("href=\"/sessions\""), "{list}");
    assert!(message.contains("<code>RCPT TO:&lt;alice@example.test&gt;</code>"), "{message}");
    assert!(message.contains("none, as ESMTP says") && message.contains("Size on the wire"), "{message}");
    assert!(http.get("/sessions").text().contains("No session yet"));
    let other = Client::smtp(&server).deliver(&["bob@example.test"], &with_crlf(b"Subject: new\n\n"));
    assert!(other.starts_with("250 "), "{other}");
    eventually("the transcript of the new session", || {
        let message = http.get("/message/latest").text();
        (message.contains("<code>RCPT TO:&lt;bob@") && !message.contains("<code>RCPT TO:&lt;alice@"))
            .then_some(())
    });
}

#[test]
fn a_server_without_transcripts_says_how_to_switch_them_on() {
    let mut server =
        Setup { config: Some(&serve()), users: &["bob@example.test"], ..Setup::default() }.start();
    make_admin(&mut server, "bob@example.test");
    deliver(&server, "bob@example.test", LETTER);
    let mut http = Http::of(&server);
    http.fields = basic("bob", PASSWORD);
    let html = http.get("/sessions").text();
    assert!(html.contains("Sessions are not recorded") && html.contains("transcripts = &quot;"), "{html}");
    assert!(http.get("/message/latest").text().contains("switches that on"));
}

#[test]
fn the_files_of_the_page_are_sent_once() {
    let server = Server::dev();
    let mut http = Http::of(&server);
    for (path, kind) in [
        ("/assets/page.css", "text/css"),
        ("/assets/page.js", "text/javascript"),
        ("/assets/sessions.js", "text/javascript"),
    ] {
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
