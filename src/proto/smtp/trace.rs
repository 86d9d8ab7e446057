//! The trace header lines that the server adds to a message (RFC 5321 section 4.4), and the count of those
//! already there.

use std::{fmt, net::IpAddr, time::SystemTime};

use crate::proto::request::{Envelope, Recipient};

/// The origin of a message.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The client's name in HELO or EHLO.
    pub client: &'a str,
    /// The address of the client.
    pub peer: IpAddr,
    /// The server's name, after `by`.
    pub hostname: &'a str,
    /// The protocol of the session.
    pub protocol: Protocol,
}

/// The protocol of the session, for the `with` clause (RFC 3848, RFC 6531 section 4.3). No RFC has a word for HTTP; those
/// that are in use are `HTTP` and `HTTPS`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Protocol {
    /// True for HTTP, false for SMTP and LMTP.
    pub http: bool,
    /// True for LMTP, false for SMTP.
    pub lmtp: bool,
    /// True if the client sent EHLO.
    pub extended: bool,
    /// True if the message was sent with SMTPUTF8.
    pub utf8: bool,
    /// True if the session was encrypted.
    pub encrypted: bool,
    /// True if the client had logged in.
    pub authenticated: bool,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self { http: true, encrypted: true, .. } => return f.write_str("HTTPS"),
            Self { http: true, .. } => return f.write_str("HTTP"),
            Self { utf8: true, lmtp: true, .. } => "UTF8LMTP",
            Self { utf8: true, .. } => "UTF8SMTP",
            Self { lmtp: true, .. } => "LMTP",
            Self { extended: true, .. } => "ESMTP",
            _ => "SMTP",
        })?;
        f.write_str(if self.encrypted { "S" } else { "" })?;
        f.write_str(if self.authenticated { "A" } else { "" })
    }
}

/// The header lines, as stored. They name the recipient only if there is exactly one, so that a blind copy
/// stays blind. Two addresses of one mailbox are two. If the sender also gets a copy, they have no `Delivered-To:`, because a copy that is
/// forwarded later must not look like a loop.
pub fn header(envelope: &Envelope, hop: &Hop<'_>, date: SystemTime) -> String {
    let from = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut delivered_to = String::new();
    let mut for_one = String::new();
    if let ([Recipient { address, .. }], false) = (envelope.to.as_slice(), envelope.has_several_addresses) {
        for_one = format!("\n\tfor <{address}>");
        if envelope.sent_copy_for.is_none() {
            delivered_to = format!("Delivered-To: {address}\n");
        }
    }
    let Hop { client, peer, hostname, protocol } = hop;
    let peer = address_literal(*peer);
    let id = &envelope.id;
    let date = httpdate::fmt_http_date(date).replace("GMT", "+0000");
    format!(
        "Return-Path: <{from}>\n{delivered_to}Received: from {client} ({peer})\n\tby {hostname} (restante) \
         with {protocol} id {id}{for_one};\n\t{date}\n"
    )
}

/// An address as an address literal (RFC 5321 section 4.1.3).
pub fn address_literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// Counts the `Received:` lines of a header that arrives in pieces, in its first 100 KiB at most.
#[derive(Debug)]
pub struct HopCounter {
    count: usize,
    left: usize,
    line: Vec<u8>,
    in_field_name: bool,
}

const FIELD: &[u8] = b"received:";
const MAX_HEADER_SEARCHED: usize = 100 * 1024;

impl HopCounter {
    /// A counter that has seen no octet of the message.
    pub fn new() -> Self {
        Self { count: 0, left: MAX_HEADER_SEARCHED, line: Vec::new(), in_field_name: true }
    }

    /// Processes the next bytes of the message, as stored or as on the wire.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in &bytes[..bytes.len().min(self.left)] {
            self.left -= 1;
            if byte == b'\n' {
                if self.in_field_name && matches!(&*self.line, b"" | b"\r") {
                    self.left = 0; // the blank line ends the header
                    break;
                }
                self.line.clear();
                self.in_field_name = true;
            } else if self.in_field_name {
                self.line.push(byte);
                self.in_field_name = self.line.len() < FIELD.len();
                self.count += usize::from(self.line.eq_ignore_ascii_case(FIELD));
            }
        }
    }

    /// The number of `Received:` lines.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Default for HopCounter {
    fn default() -> Self {
        Self::new()
    }
}

/// A message with more `Received:` lines is in a mail loop (RFC 5321 section 6.3).
pub const MAX_HOPS: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::request::Mailbox;
    use crate::proto::smtp::address::Address;

    fn to(address: &str) -> Recipient {
        let mailbox = Mailbox::named(address).unwrap();
        Recipient { address: Address::parse(address).unwrap(), mailbox, folder: None }
    }

    fn stored(to: Vec<Recipient>) -> String {
        stored_with(to, None)
    }

    fn stored_with(to: Vec<Recipient>, sent: Option<Mailbox>) -> String {
        let from = Address::parse("a@far.test").ok();
        let has_several_addresses = to.len() > 1;
        let envelope =
            Envelope { id: "c1-1".into(), from, utf8: false, to, has_several_addresses, sent_copy_for: sent };
        let hop = Hop {
            client: "client.test",
            peer: IpAddr::from([192, 0, 2, 1]),
            hostname: "mx.test",
            protocol: Protocol { extended: true, ..Protocol::default() },
        };
        header(&envelope, &hop, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn the_protocol_has_one_word_for_everything() {
        let plain = Protocol::default();
        for (protocol, word) in [
            (plain, "SMTP"),
            (Protocol { extended: true, ..plain }, "ESMTP"),
            (Protocol { extended: true, authenticated: true, ..plain }, "ESMTPA"),
            (Protocol { extended: true, encrypted: true, ..plain }, "ESMTPS"),
            (Protocol { extended: true, encrypted: true, authenticated: true, ..plain }, "ESMTPSA"),
            (Protocol { extended: true, utf8: true, ..plain }, "UTF8SMTP"),
            (Protocol { utf8: true, encrypted: true, authenticated: true, ..plain }, "UTF8SMTPSA"),
            (Protocol { lmtp: true, extended: true, ..plain }, "LMTP"),
            (Protocol { lmtp: true, extended: true, encrypted: true, ..plain }, "LMTPS"),
            (Protocol { lmtp: true, utf8: true, ..plain }, "UTF8LMTP"),
            (Protocol { http: true, utf8: true, ..plain }, "HTTP"),
            (Protocol { http: true, encrypted: true, authenticated: true, ..plain }, "HTTPS"),
        ] {
            assert_eq!(protocol.to_string(), word);
        }
    }

    #[test]
    fn one_recipient_is_named() {
        assert_eq!(
            stored(vec![to("u@here.test")]),
            "Return-Path: <a@far.test>\nDelivered-To: u@here.test\n\
             Received: from client.test ([192.0.2.1])\n\tby mx.test (restante) with ESMTP id c1-1\n\
             \tfor <u@here.test>;\n\tSun, 06 Nov 1994 08:49:37 +0000\n"
        );
    }

    #[test]
    fn w13_an_address_in_a_header_is_a_literal_of_the_grammar() {
        for (address, literal) in
            [("192.0.2.1", "[192.0.2.1]"), ("::1", "[IPv6:::1]"), ("2001:db8::1", "[IPv6:2001:db8::1]")]
        {
            assert_eq!(address_literal(address.parse().unwrap()), literal);
        }
    }

    #[test]
    fn a_copy_for_the_sender_is_not_called_delivered() {
        let header = stored_with(vec![to("u@here.test")], Mailbox::named("a@here.test"));
        assert!(header.contains("\tfor <u@here.test>;") && !header.contains("Delivered-To"), "{header}");
    }

    #[test]
    fn several_recipients_stay_unknown_to_each_other() {
        let header = stored(vec![to("u@here.test"), to("v@here.test")]);
        assert!(!header.contains("here.test"), "{header}");
    }

    #[test]
    fn d01_hops_are_counted_in_the_header_only_in_any_case_and_pieces() {
        let stored =
            "Received: a\n\tfolded received: x\nRECEIVED: b\nX-Received: c\nreceived:\n\nReceived: body\n";
        for message in [stored.to_owned(), stored.replace('\n', "\r\n")] {
            for size in [1, 3, message.len()] {
                let mut hops = HopCounter::new();
                message.as_bytes().chunks(size).for_each(|piece| hops.feed(piece));
                assert_eq!(hops.count(), 3, "{message:?}");
            }
        }
    }
}
