//! An HTTP session, with and without logins, and one failing answer: it says the same however the octets come, every
//! response is well-formed and has the length that it announces, and nothing but letters and digits names a message.

#[path = "../../../tests/any_input/http.rs"]
mod session;

use std::time::Duration;

use restante::{limits::Limits, proto::{request::Failure, dot::LineEndings, http::{HttpConfig, LoginPolicy, SessionConfig}, syntax::Syntax}};
use session::{mail_servers, play, read};

use crate::{Target, bytes::Bytes, dialogues};

/// This target.
pub const TARGET: Target = Target { name: "http", run, seeds };

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
        [&[login, 0, 0, 7][..], &dialogue.client].concat()
    };
    dialogues::all("http").into_iter().map(of_dialogue).collect()
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let login = input.choose(&LOGINS);
    let (fault, at, size) = (input.choose(&FAULTS), input.octet(), usize::from(input.octet()).max(1));
    let config = SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::Exact,
        limits: Limits::default(),
        pedantic: false,
        protocol: HttpConfig { login, mail_servers: mail_servers(), ..HttpConfig::default() },
    };
    let wire = input.0;
    let fails = |asked: usize| (at != 0 && asked + 1 == usize::from(at)).then_some(fault);
    let whole = play(&config, [wire].into_iter(), fails);
    read(&whole.said, whole.aborted);
    assert_eq!(play(&config, wire.chunks(size), fails), whole, "it depends on the pieces");
}
