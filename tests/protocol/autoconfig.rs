//! The settings of mail programs, read as the programs read them, and compared with the listeners that there are. The rules are
//! rebuilt here from Thunderbird's sources. Thunderbird itself runs in `tests/interop/thunderbird.rs`; K-9 Mail and iOS need devices that
//! the tests do not have.

use std::{
    fs,
    io::{Read, Write},
    process::Command,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    common::{
        STRICT, Server, Setup,
        client::socket,
        eventually, installed, listener, listeners,
        programs::run,
        secure::{ALICE, Keys},
        skip,
    },
    xml::{Element, parse},
};

/// A server in a mail program: type, host, port, socket type, user.
type Account = (String, String, u16, String, String);

/// Sends one request, and returns its status, head and content.
fn ask(server: &Server, host: &str, request: &str, body: &str) -> (u16, String, String) {
    let mut stream = socket(server.addresses("http")[0]);
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, content) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), content.to_owned())
}

fn get(server: &Server, host: &str, path: &str) -> String {
    let (status, head, content) = ask(server, host, &format!("GET {path}"), "");
    assert_eq!(status, 200, "{host} {path}: {content}");
    assert!(head.contains("Content-Type: text/xml; charset=utf-8"), "{head}");
    content
}

/// The rules of Thunderbird's readFromXML: each server needs all its elements, and a file needs both kinds of server.
fn thunderbird(file: &str, domain: &str) -> (Vec<Account>, Vec<Account>) {
    let root = parse(file);
    assert_eq!((root.name.as_str(), root.attribute("version")), ("clientConfig", "1.1"));
    let provider = root.child("emailProvider");
    let is_host = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:".contains(&b))
    };
    assert!(is_host(provider.attribute("id")), "{file}");
    assert_eq!(provider.child("domain").text, domain);
    let servers = |name: &str, types: &[&str]| {
        let server = |element: &Element| {
            let text = |name: &str| element.child(name).text.clone();
            let kind = element.attribute("type").to_owned();
            assert!(types.contains(&kind.as_str()) && is_host(&text("hostname")), "{file}");
            assert!(["SSL", "STARTTLS", "plain"].contains(&text("socketType").as_str()), "{file}");
            assert_eq!(text("authentication"), "password-cleartext");
            (kind, text("hostname"), text("port").parse().unwrap(), text("socketType"), text("username"))
        };
        let found: Vec<Account> = provider.children(name).map(server).collect();
        assert!(!found.is_empty(), "no {name} in {file}");
        found
    };
    (servers("incomingServer", &["pop3", "imap"]), servers("outgoingServer", &["smtp"]))
}

fn account(kind: &str, host: &str, port: u16, socket: &str) -> Account {
    (kind.into(), host.into(), port, socket.into(), "%EMAILADDRESS%".into())
}

/// The rules of Thunderbird's readAutoDiscoverXML, with the host, port and login of each protocol.
fn autodiscover(file: &str) -> Vec<(String, String, u16, String, String)> {
    let root = parse(file);
    assert_eq!(root.name, "Autodiscover");
    let account = root.child("Response").child("Account");
    assert_eq!(
        (account.child("AccountType").text.as_str(), account.child("Action").text.as_str()),
        ("email", "settings")
    );
    let protocol = |element: &Element| {
        let text = |name: &str| element.child(name).text.clone();
        assert_eq!((text("SPA"), text("AuthRequired")), ("off".into(), "on".into()));
        assert_eq!(text("SSL") == "off", text("Encryption") == "None");
        (text("Type"), text("Server"), text("Port").parse().unwrap(), text("Encryption"), text("LoginName"))
    };
    account.children("Protocol").map(protocol).collect()
}

fn request_of_autodiscover(address: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/\
         outlook/requestschema/2006\"><Request><EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>http://schemas.\
         microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"
    )
}

const PATHS: [&str; 2] = ["/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"];

#[test]
fn v72_mail_programs_find_the_ports_of_a_server_for_development() {
    let server = Server::dev();
    let (smtp, imap, pop3) = (server.smtp().port(), server.addresses("imap")[0].port(), server.pop3().port());
    for path in PATHS {
        for query in ["", "?emailaddress=ann%40any.test", "?emailaddress="] {
            let domain = if query.contains("ann") { "any.test" } else { "localhost" };
            for (host, name) in
                [("localhost", "localhost"), ("127.0.0.1:8025", "127.0.0.1"), ("[::1]:1", "::1")]
            {
                let file = get(&server, host, &format!("{path}{query}"));
                let (incoming, outgoing) = thunderbird(&file, domain);
                let (imap, pop3) =
                    (account("imap", name, imap, "plain"), account("pop3", name, pop3, "plain"));
                assert_eq!(incoming, [imap, pop3]);
                assert_eq!(outgoing, [account("smtp", name, smtp, "plain")]);
            }
        }
    }
    let post = "POST /autodiscover/autodiscover.xml";
    let (status, head, file) = ask(&server, "localhost", post, &request_of_autodiscover("ann@any.test"));
    assert!(status == 200 && head.contains("Content-Type: text/xml; charset=utf-8"), "{head}\n{file}");
    let entry =
        |kind: &str, port| (kind.into(), "localhost".into(), port, "None".into(), "ann@any.test".into());
    assert_eq!(autodiscover(&file), [entry("IMAP", imap), entry("POP3", pop3), entry("SMTP", smtp)]);
}

#[test]
fn y212_thunderbird_finds_a_server_for_development_by_an_address_at_localhost() {
    let server = Server::dev();
    let (smtp, imap, pop3) = (server.smtp().port(), server.addresses("imap")[0].port(), server.pop3().port());
    // Thunderbird asks both hosts at once, and both of autodiscover, at port 80.
    for (host, path) in [("autoconfig.localhost", PATHS[0]), ("localhost", PATHS[1])] {
        let file = get(&server, host, &format!("{path}?emailaddress=you%40localhost"));
        let (incoming, outgoing) = thunderbird(&file, "localhost");
        let (imap, pop3) =
            (account("imap", "localhost", imap, "plain"), account("pop3", "localhost", pop3, "plain"));
        assert_eq!(
            (incoming, outgoing),
            (vec![imap, pop3], vec![account("smtp", "localhost", smtp, "plain")])
        );
    }
    for host in ["autodiscover.localhost", "localhost"] {
        let post = "POST /autodiscover/autodiscover.xml";
        let (status, _, file) = ask(&server, host, post, &request_of_autodiscover("you@localhost"));
        assert_eq!(status, 200, "{file}");
        let entry =
            |kind: &str, port| (kind.into(), "localhost".into(), port, "None".into(), "you@localhost".into());
        assert_eq!(autodiscover(&file), [entry("IMAP", imap), entry("POP3", pop3), entry("SMTP", smtp)]);
    }
}

/// Every service with TLS, and HTTP. Clients on loopback send passwords in clear text anyway, so `http` is enough.
const SERVICES: [&str; 8] = ["smtp", "submission", "submissions", "pop3", "imap", "imaps", "pop3s", "http"];

#[test]
fn v72_y81_mail_programs_find_imap_and_tls_first_under_the_name_of_the_server() {
    let keys = Keys::make();
    let server = keys.serve(&listeners(&SERVICES));
    let port = |service: &str| server.addresses(service)[0].port();
    let incoming = [
        account("imap", "mx.example.test", port("imaps"), "SSL"),
        account("imap", "mx.example.test", port("imap"), "STARTTLS"),
        account("pop3", "mx.example.test", port("pop3s"), "SSL"),
        account("pop3", "mx.example.test", port("pop3"), "STARTTLS"),
    ];
    let outgoing = [
        account("smtp", "mx.example.test", port("submissions"), "SSL"),
        account("smtp", "mx.example.test", port("submission"), "STARTTLS"),
    ];
    let hosts = ["autoconfig.example.test", "example.test", "mx.example.test", "localhost"];
    for (host, path) in hosts.iter().flat_map(|host| PATHS.map(|path| (host, path))) {
        for query in ["", "?emailaddress=alice%40example.test", "?emailaddress=Alice@EXAMPLE.test&emailmd5=0"]
        {
            let found = thunderbird(&get(&server, host, &format!("{path}{query}")), "example.test");
            assert_eq!(found, (incoming.to_vec(), outgoing.to_vec()), "{host} {path}{query}");
        }
    }
    for path in ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"] {
        let (status, _, file) = ask(
            &server,
            "autodiscover.example.test",
            &format!("POST {path}"),
            &request_of_autodiscover(ALICE),
        );
        assert_eq!(status, 200, "{file}");
        let entry = |kind: &str, service, encryption: &str| {
            (kind.into(), "mx.example.test".into(), port(service), encryption.into(), ALICE.into())
        };
        let expected = [
            entry("IMAP", "imaps", "SSL"),
            entry("IMAP", "imap", "TLS"),
            entry("POP3", "pop3s", "SSL"),
            entry("POP3", "pop3", "TLS"),
            entry("SMTP", "submissions", "SSL"),
            entry("SMTP", "submission", "TLS"),
        ];
        assert_eq!(autodiscover(&file), expected);
    }
}

#[test]
fn v74_the_answers_do_not_tell_which_accounts_exist() {
    let keys = Keys::make();
    let server = keys.serve(&listeners(&SERVICES));
    for path in PATHS.into_iter().chain(["/mail.mobileconfig"]) {
        let of = |local: &str| {
            let request = format!("GET {path}?emailaddress={local}%40example.test");
            let (status, _, content) = ask(&server, "example.test", &request, "");
            (status, content.replace(local, "NAME"))
        };
        let (alice, nobody) = (of("alice"), of("nobod"));
        assert_eq!(alice.0, 200, "{path}: {}", alice.1);
        if path.ends_with(".xml") {
            assert_eq!(alice, nobody, "{path}");
        } else {
            let without_ids =
                |text: &str| text.lines().filter(|line| !line.contains('-')).collect::<String>();
            assert_eq!(without_ids(&alice.1), without_ids(&nobody.1));
        }
    }
    let of = |local: &str| {
        let body = request_of_autodiscover(&format!("{local}@example.test"));
        ask(&server, "example.test", "POST /autodiscover/autodiscover.xml", &body).2.replace(local, "NAME")
    };
    assert_eq!(of("alice"), of("nobod"));
    let (status, ..) =
        ask(&server, "example.test", "GET /mail/config-v1.1.xml?emailaddress=alice@far.test", "");
    assert_eq!(status, 404, "a domain is public, and this one is not served");
}

#[test]
fn v75_an_apple_profile_is_a_property_list_without_a_password() {
    let test = "v75_an_apple_profile_is_a_property_list_without_a_password";
    if !installed("python3") {
        return skip(test, "no python3");
    }
    let keys = Keys::make();
    let server = keys.serve(&listeners(&SERVICES));
    let profile = |query: &str| {
        let request = format!("GET /mail.mobileconfig{query}");
        let (status, head, content) = ask(&server, "mx.example.test", &request, "");
        assert!(
            status == 200 && head.contains("Content-Type: application/x-apple-aspen-config"),
            "{head}\n{content}"
        );
        let script = "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))";
        let output = run(Command::new("python3").args(["-c", script]), &content);
        assert!(output.status.success(), "{output:?}");
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), content)
    };
    let (alice, text) = profile("?emailaddress=alice%40example.test");
    assert_eq!((&alice["PayloadType"], &alice["PayloadVersion"]), (&"Configuration".into(), &1.into()));
    let account = &alice["PayloadContent"][0];
    for (key, value) in [
        ("PayloadType", Value::from("com.apple.mail.managed")),
        ("EmailAccountType", "EmailTypeIMAP".into()),
        ("EmailAddress", ALICE.into()),
        ("IncomingMailServerHostName", "mx.example.test".into()),
        ("IncomingMailServerPortNumber", server.addresses("imaps")[0].port().into()),
        ("IncomingMailServerUseSSL", true.into()),
        ("IncomingMailServerUsername", ALICE.into()),
        ("OutgoingMailServerHostName", "mx.example.test".into()),
        ("OutgoingMailServerPortNumber", server.addresses("submissions")[0].port().into()),
        ("OutgoingMailServerUseSSL", true.into()),
        ("OutgoingMailServerUsername", ALICE.into()),
        ("OutgoingPasswordSameAsIncomingPassword", true.into()),
    ] {
        assert_eq!(account[key], value, "{key}");
    }
    let passwords = ["IncomingPassword", "OutgoingPassword"];
    assert!(passwords.iter().all(|key| account.get(key).is_none()), "{text}");
    assert_ne!(alice["PayloadUUID"], account["PayloadUUID"]);
    assert_eq!(profile("?emailaddress=alice%40example.test").0, alice, "a new download replaces the profile");
    let (quoted, _) = profile("?emailaddress=%22%3Cb%3E%26%27%22%40example.test");
    assert_eq!(quoted["PayloadContent"][0]["EmailAddress"], "\"<b>&'\"@example.test");
    let (anybody, _) = profile("");
    assert!(anybody["PayloadContent"][0].get("EmailAddress").is_none(), "the device asks for it");
}

#[test]
fn v76_a_reload_changes_the_ports_that_mail_programs_find() {
    let config = STRICT.to_owned() + &listener("http", "");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let path = "/mail/config-v1.1.xml";
    let (status, _, content) = ask(&server, "localhost", &format!("GET {path}"), "");
    assert!(status == 404 && content.contains("submissions or submission"), "nobody can send: {content}");
    let file = server.home.path().join("restante.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + &listener("submission", "")).unwrap();
    server.signal(Signal::HUP);
    server.tells("configuration loaded");
    let log = server.log();
    let port = log
        .lines()
        .find_map(|line| line.split_once("submission listening address=127.0.0.1:")?.1.trim().parse().ok());
    let found = eventually("the answer has the new listener", || {
        let (status, _, content) = ask(&server, "localhost", &format!("GET {path}"), "");
        (status == 200).then_some(content)
    });
    let (_, outgoing) = thunderbird(&found, "example.test");
    assert_eq!(outgoing, [account("smtp", "mx.example.test", port.unwrap(), "plain")], "{log}");
}
