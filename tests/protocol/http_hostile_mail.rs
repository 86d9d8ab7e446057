//! Messages that want to run in a browser, that add fields to a response, or that cost more than their octets.

use serde_json::Value;

use super::http_api::{Answer, Http, deliver_to};
use crate::common::Server;

/// A message in which each value that a stranger chooses wants to run.
const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";

/// The beginning of the policy for the HTML of a message: a click on a link opens a window, and nothing else is possible.
const SANDBOX: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none';";

fn evil_letter() -> String {
    let part = |kind: &str, name: &str, body: &str| {
        format!(
            "--b\nContent-Type: {kind}; name=\"{name}\"\nContent-Disposition: attachment; filename=\"{name}\"\n\
             Content-ID: <\"onload=alert(1) x@y>\n\n{body}\n"
        )
    };
    let parts = [
        part("image/svg+xml", "a.svg", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        part("application/mathml+xml", "a.mml", "<math><mtext><script>alert(1)</script></mtext></math>"),
        part("text/html", "a.html", "<script>alert(1)</script>"),
        part(
            "application/xhtml+xml",
            "a.xhtml",
            "<script xmlns='http://www.w3.org/1999/xhtml'>alert(1)</script>",
        ),
        part("text/xml", "a.xml", "<?xml-stylesheet href='x'?><x/>"),
        part("text/css", "a.css", "body{background:url(http://far.test/)}"),
        part("application/pdf", "a.pdf", "%PDF-1.4"),
        part("text/javascript", "a.js", "alert(1)"),
        part("text/plain\"><script>alert(1)</script>", "../../a.txt", "text"),
        part("image/png", "<script>alert(1)</script>.png", "PNG"),
    ]
    .concat();
    format!(
        "From: \"<script>alert(1)</script>\" <ann@far.test>\nTo: {EVIL} <bob@example.test>\nSubject: {EVIL}\n\
         X-{EVIL}: {EVIL}\nMessage-ID: <{EVIL}@x>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
         --b\nContent-Type: text/html\n\n<script>alert(1)</script><style>@import url(http://far.test/)</style>\
         <form action=/api/v1/messages method=post><img src='cid:\"onload=alert(1)'><meta http-equiv=refresh content='0;url=/'>\n\
         {parts}--b--\n"
    )
}

/// Fails unless a browser that gets this response runs nothing of a message.
#[track_caller]
fn assert_harmless(answer: &Answer) {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        answer.head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    };
    let (kind, policy) = (field("Content-Type"), field("Content-Security-Policy"));
    assert_eq!(field("X-Content-Type-Options"), "nosniff", "{}", answer.head);
    let is_page = policy.contains("script-src 'self'") && !policy.contains("unsafe-inline");
    match kind.split(';').next().unwrap() {
        "text/html" if is_page => {
            let html = answer.text();
            assert!(!html.contains("<script>") && !html.contains("<img src=x"), "{html}");
            assert_eq!(html.matches("<script").count(), 1, "{html}");
        }
        "text/html" => assert!(policy.starts_with(SANDBOX), "{policy}"),
        "application/json" | "application/octet-stream" | "text/plain" | "image/png" => {
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
        }
        other => panic!("a browser may run {other}"),
    }
}

#[test]
fn v01_v02_v03_nothing_that_a_message_or_a_link_brings_runs_in_a_browser() {
    let server = Server::dev();
    deliver_to(&server, &["bob@example.test"], &evil_letter());
    let mut http = Http::of(&server);
    let id = http.get("/api/v1/messages").json()["messages"][0]["ID"].as_str().unwrap().to_owned();
    let message = http.get(&format!("/api/v1/message/{id}")).json();
    let parts = ["Attachments", "Inline"].map(|key| message[key].as_array().unwrap().clone()).concat();
    assert_eq!(parts.len(), 10, "{message}");
    let script = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E".replace('/', "%2f");
    let mut paths: Vec<String> = ["", "/box/bob@example.test"]
        .iter()
        .flat_map(|base| {
            [
                format!("{base}/"),
                format!("{base}/?query={script}"),
                format!("{base}/?start={script}"),
                format!("{base}/message/{id}?query={script}"),
                format!("{base}/message/{id}"),
                format!("{base}/view/{id}.html"),
                format!("{base}/view/{id}.txt"),
                format!("{base}/api/v1/messages"),
                format!("{base}/api/v1/search?query={script}"),
                format!("{base}/api/v1/message/{id}"),
                format!("{base}/api/v1/message/{id}/headers"),
                format!("{base}/api/v1/message/{id}/raw"),
                format!("{base}/wait?timeout={script}"),
                format!("{base}/{script}"),
            ]
        })
        .collect();
    paths.push(format!("/box/{}/", script.replace("%2f", "")));
    paths.push(format!("/box/{}@example.test/", script.replace("%2f", "")));
    for part in &parts {
        paths.push(format!("/api/v1/message/{id}/part/{}", part["PartID"].as_str().unwrap()));
    }
    for path in &paths {
        let mut http = Http::of(&server); // a malformed target ends the connection
        assert_harmless(&http.get(path));
    }
    let shown = http.get(&format!("/message/{id}")).text();
    assert!(shown.contains("&lt;script&gt;alert(1)"), "it stays text: {shown}");
}

#[test]
fn v04_a_file_name_of_a_message_adds_no_field_to_a_response() {
    let server = Server::dev();
    let name = "a\"=0D=0AX-Evil: yes=0D=0A=0D=0A<script>;/../../b.txt";
    let letter = format!(
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n\
         Content-Type: application/pdf\nContent-Disposition: attachment; filename=\"=?utf-8?q?{}?=\"\n\nPDF\n--b\n\
         Content-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''%0d%0aX-Evil:%20yes%00%e2%80%ae.pdf\n\n\
         PDF\n--b--\n",
        name.replace(' ', "_")
    );
    deliver_to(&server, &["bob@example.test"], &letter);
    let mut http = Http::of(&server);
    let parts = http.get("/api/v1/message/latest").json()["Attachments"].as_array().unwrap().clone();
    assert_eq!(parts.len(), 2);
    for part in parts {
        let answer = http.get(&format!("/api/v1/message/latest/part/{}", part["PartID"].as_str().unwrap()));
        assert!(!answer.head.contains("\nX-Evil"), "{}", answer.head);
        let disposition = answer.head.lines().find(|line| line.starts_with("Content-Disposition: ")).unwrap();
        assert!(disposition.starts_with("Content-Disposition: attachment; filename=\""), "{disposition}");
        assert!(!disposition.contains('/') && !disposition.contains(".."), "{disposition}");
        assert!(disposition.is_ascii() && answer.text().starts_with("PDF"), "{disposition}");
    }
}

#[test]
fn v13_bombs_of_nesting_headers_and_character_sets_cost_no_more_than_their_octets() {
    let server = Server::dev();
    let boundary = |n: usize| format!("--{n}\nContent-Type: multipart/mixed; boundary={}\n\n", n + 1);
    let nested: String = (0..20_000).map(boundary).collect();
    let letters = [
        format!("Subject: deep\nContent-Type: multipart/mixed; boundary=0\n\n{nested}"),
        format!("Subject: forwarded\n{}", "Content-Type: message/rfc822\n\n".repeat(30_000)),
        format!(
            "Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\n{}",
            "--b\n\nx\n".repeat(50_000)
        ),
        format!("Subject: fields\n{}\n", "X-Y: z\n".repeat(100_000)),
        format!("Subject: people\nTo: {}\n\n", "a@b.test,\n ".repeat(50_000)),
        format!("Subject: {}\n\n", "=?utf-8?q?=E2=80=AE?=\n ".repeat(30_000)),
        format!("Subject: page\nContent-Type: text/html\n\n{}", "<table><tr><td><a href=x>".repeat(20_000)),
        format!(
            "Subject: kana\nContent-Type: text/plain; charset=iso-2022-jp\n\n{}",
            "\u{1b}$B%!\u{1b}(B".repeat(50_000)
        ),
        format!("Subject: utf-7\nContent-Type: text/plain; charset=utf-7\n\n{}", "+AGE-".repeat(80_000)),
        format!("Subject: base64\nContent-Transfer-Encoding: base64\n\n{}", "AAAA".repeat(80_000)),
        format!("Subject: quoted\nContent-Transfer-Encoding: quoted-printable\n\n{}", "=3D".repeat(100_000)),
        format!("Subject: soft\nContent-Transfer-Encoding: quoted-printable\n\n{}", "=\n".repeat(100_000)),
        format!("Subject: files in text\n\n{}", "begin 644 a\n#0V%T\n`\nend\n".repeat(10_000)),
        format!(
            "Subject: endless\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n{}",
            "M\n".repeat(100_000)
        ),
    ];
    let octets: usize = letters.iter().map(String::len).sum();
    for letter in &letters {
        deliver_to(&server, &["bob@example.test"], letter);
    }
    let mut http = Http::of(&server);
    let list = http.get("/api/v1/messages");
    assert!(list.content.len() < 4 * octets, "{} octets of {octets}", list.content.len());
    let items = list.json()["messages"].as_array().unwrap().clone();
    assert_eq!(items.len(), letters.len());
    for item in items {
        let id = item["ID"].as_str().unwrap();
        for path in ["", "/headers"].map(|end| format!("/api/v1/message/{id}{end}")) {
            let answer = http.get(&path);
            assert!(answer.content.len() < 8 * octets, "{path}: {}", answer.content.len());
            assert!(serde_json::from_slice::<Value>(&answer.content).is_ok(), "{path}");
        }
        assert_eq!(http.get(&format!("/message/{id}")).status, 200);
        assert_eq!(http.get(&format!("/view/{id}.txt")).status, 200);
    }
    assert_eq!(http.get("/api/v1/search?query=zzz").json()["messages_count"], 0);
}
