//! An HTTP session, with and without logins, and one failing request: its output is the same however the octets are
//! split, every response is well-formed and has the length that it announces, the output is bounded by the requests,
//! and nothing but letters and digits names a message. The input is the octets of a client, or a body for one of the
//! routes, or the text of a query.

#[path = "../../../tests/any_input/http.rs"]
mod session;

use std::time::Duration;

use restante::{limits::Limits, proto::{request::Failure, dot::LineEndings, http::{HttpConfig, LoginPolicy, SessionConfig, routes::ROUTES}, syntax::Syntax}};
use session::{check_bounds, check_query, mail_servers, play, with_body};

use crate::{Target, bytes::Bytes, dialogues};

/// This target.
pub const TARGET: Target = Target { name: "http", run, seeds };

/// The kind of an input.
#[derive(Clone, Copy)]
enum Kind {
    /// The octets of a client.
    Wire,
    /// A body for a route.
    Body,
    /// The text of a query.
    Query,
}

const KINDS: [Kind; 3] = [Kind::Wire, Kind::Body, Kind::Query];
const LOGINS: [LoginPolicy; 3] = [LoginPolicy::Off, LoginPolicy::InClear, LoginPolicy::UnderTls];
const FAULTS: [Failure; 5] = [
    Failure::TempFail,
    Failure::Gone,
    Failure::Busy,
    Failure::Truncated,
    Failure::AuthFailed { delay: Duration::ZERO },
];

fn seeds() -> Vec<Vec<u8>> {
    let of_dialogue = |dialogue: dialogues::Dialogue| {
        let login = if dialogue.says("login", "off") { 0 } else { 1 };
        [&[0, login, 0, 0, 7][..], &dialogue.client].concat()
    };
    let mut seeds: Vec<Vec<u8>> = dialogues::all("http").into_iter().map(of_dialogue).collect();
    for (route, _) in ROUTES.iter().enumerate() {
        let body = br#"{"IDs":["a1"],"Search":"","Read":true}"#;
        seeds.push([&[1, 0, 0, 0, 7, route as u8][..], body].concat());
    }
    seeds.push([&[2, 0, 0, 0, 7][..], "from:ann \"two words\" -é%&+".as_bytes()].concat());
    seeds
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (kind, login) = (input.choose(&KINDS), input.choose(&LOGINS));
    let (fault, at, size) = (input.choose(&FAULTS), input.octet(), usize::from(input.octet()).max(1));
    let config = SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::Exact,
        limits: Limits::default(),
        pedantic: false,
        protocol: HttpConfig { login, mail_servers: mail_servers(), ..HttpConfig::default() },
    };
    let wire = match kind {
        Kind::Wire => input.0.to_vec(),
        Kind::Body => {
            let route = &ROUTES[usize::from(input.octet()) % ROUTES.len()];
            let path = route.path.replace("{id}", "a1").replace("{part}", "1.2");
            // Twice, because octets that the server leaves of a body would be read as a request.
            with_body(route.method.name(), &path, input.0).repeat(2)
        }
        Kind::Query => {
            let open = SessionConfig { protocol: HttpConfig { login: LoginPolicy::Off, ..HttpConfig::default() }, ..config };
            let mut how = u8::try_from(size % 251).unwrap_or(0);
            let next = || {
                how = how.wrapping_mul(5).wrapping_add(at | 1);
                how >> 3
            };
            return check_query(&open, &String::from_utf8_lossy(input.0), next);
        }
    };
    let fails = |asked: usize| (at != 0 && asked + 1 == usize::from(at)).then_some(fault);
    let whole = play(&config, [wire.as_slice()].into_iter(), fails);
    check_bounds(&whole, &wire);
    assert_eq!(play(&config, wire.chunks(size), fails), whole, "it depends on the pieces");
}
