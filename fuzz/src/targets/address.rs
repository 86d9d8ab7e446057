//! Addresses and the arguments of commands: an accepted value is printable, bounded, and reads back as the
//! same value.

use restante::proto::{
    mailbox::Mailbox,
    smtp::{
        address::{self, Address},
        command,
    },
    syntax::Syntax,
};

use super::owned;
use crate::{Target, bytes::is_harmful};

/// This target.
pub const TARGET: Target = Target { name: "address", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        "<bob@example.test>",
        "<>",
        "< a..b@docomo.test > RET=FULL",
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
    for syntax in [Syntax::Exact, Syntax::Forgiving] {
        if let Ok((path, rest)) = address::path(data, syntax) {
            assert!(data.ends_with(rest), "something else follows the path");
            path.iter().for_each(holds);
        }
    }
    if let Some(address) = std::str::from_utf8(data).ok().and_then(|text| Address::parse(text).ok()) {
        holds(&address);
    }
    for syntax in [Syntax::Exact, Syntax::Forgiving] {
        if let Ok(mail) = command::mail(data, syntax) {
            mail.from.iter().for_each(holds);
        }
        for utf8 in [false, true] {
            if let Ok(to) = command::rcpt(data, syntax, utf8) {
                holds(&to);
            }
        }
        if let Ok(Some(client)) = command::client_name(data, syntax) {
            assert!(client.len() <= data.len() && !client.chars().any(is_harmful), "{client:?}");
        }
    }
    let (verb, argument) = command::split(data);
    assert!(verb.len() + argument.len() <= data.len());
    let _ = command::bdat(data); // it has nothing to say to what is no BDAT
}

/// Invariants of every accepted address.
fn holds(address: &Address) {
    let written = address.to_string();
    assert!(!written.chars().any(is_harmful), "{written:?} does not print");
    // A local part may be one of quoted pairs, and of characters that take four octets.
    assert!(written.len() <= 1024, "{written:?} is too long");
    if let Some(domain) = address.domain() {
        assert!(domain.is_ascii() && domain.len() <= 255 && !domain.bytes().any(|b| b.is_ascii_uppercase()));
    }
    let canonical = address.canonical();
    assert_eq!(Address::parse(&canonical.to_string()), Ok(canonical.clone()), "it has one canonical form");
    if let Some(mailbox) = address.domain().and_then(|domain| Mailbox::of_address(&address.folded_local(), domain)) {
        let name = mailbox.as_str();
        assert!(!name.contains('/') && !name.starts_with('.') && name.is_ascii(), "{name:?} is not the name of a file");
        assert_eq!(Mailbox::named(name).as_ref(), Some(&mailbox));
    }
    let path = format!("<{written}>");
    // Quoting and A-labels may make a path longer than the limit.
    if path.len() <= 256 {
        assert_eq!(address::path(path.as_bytes(), Syntax::Exact), Ok((Some(address.clone()), &b""[..])), "{path}");
    }
}
