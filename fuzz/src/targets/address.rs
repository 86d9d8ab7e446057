//! Addresses and the arguments of commands: what is taken prints, has an end, and reads back as what it was.

use restante::proto::smtp::{
    address::{self, Address},
    command,
};

use super::owned;
use crate::{Target, bytes::is_harmful};

/// This target.
pub const TARGET: Target = Target { name: "address", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        "<bob@example.test>",
        "<>",
        "<@one.test,@two.test:bob@example.test> SIZE=100 BODY=8BITMIME SMTPUTF8 AUTH=<>",
        "<\"a \\\"b\\\\c\"@[192.0.2.1]>",
        "<jörg@bücher.test> SMTPUTF8",
        "<postmaster>",
        "FROM:<bob@example.test> RET=HDRS",
        "TO:<bob@xn--bcher-kva.test> NOTIFY=NEVER",
        "bob+tag@[IPv6:2001:db8::1]",
        "BDAT 20 LAST\r\n",
        "client.example.test",
    ])
}

fn run(data: &[u8]) {
    for bare in [false, true] {
        if let Ok((path, rest)) = address::path(data, bare) {
            assert!(data.ends_with(rest), "something else follows the path");
            path.iter().for_each(holds);
        }
    }
    if let Some(address) = std::str::from_utf8(data).ok().and_then(|text| Address::parse(text).ok()) {
        holds(&address);
    }
    for people in [false, true] {
        if let Ok(mail) = command::mail(data, people) {
            mail.from.iter().for_each(holds);
        }
        for utf8 in [false, true] {
            if let Ok(to) = command::rcpt(data, people, utf8) {
                holds(&to);
            }
        }
    }
    if let Ok(client) = command::client_name(data) {
        assert!(client.len() <= data.len() && !client.chars().any(is_harmful), "{client:?}");
    }
    let (verb, argument) = command::split(data);
    assert!(verb.len() + argument.len() <= data.len());
    let _ = command::bdat(data); // it has nothing to say to what is no BDAT
}

/// What is true of every address that was taken.
fn holds(address: &Address) {
    let written = address.to_string();
    assert!(!written.chars().any(is_harmful), "{written:?} does not print");
    // A local part may be one of quoted pairs, and of characters that take four octets.
    assert!(written.len() <= 1024, "{written:?} is too long");
    if let Some(domain) = address.domain() {
        assert!(domain.is_ascii() && domain.len() <= 255 && !domain.bytes().any(|b| b.is_ascii_uppercase()));
    }
    let path = format!("<{written}>");
    // Quoting and A-labels may make a path longer than one may be.
    if path.len() <= 256 {
        assert_eq!(address::path(path.as_bytes(), false), Ok((Some(address.clone()), &b""[..])), "{path}");
    }
}
