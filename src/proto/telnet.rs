//! Handles the octets that a terminal sends beside text. Only lenient listeners use it, and only for lines that are no part of
//! a message.
//!
//! The rule: only a whole sequence of telnet (RFC 854) is no text. Any other octet stays in the line, which the session then
//! refuses, because without it an address would be that of somebody else.

use super::buffer::Outbox;

/// A command line as its typist meant it.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// The line without telnet negotiation (RFC 854), and with each backspace or delete applied.
    pub text: Vec<u8>,
    /// The number of requests for a timing mark (RFC 860). After Ctrl-C a telnet sends one, and hides every reply until
    /// it has an answer.
    pub timing_marks: usize,
}

impl Typed {
    /// The octets that ask for the timing marks.
    pub fn requests(&self) -> Vec<u8> {
        [IAC, DO, TIMING_MARK].repeat(self.timing_marks)
    }

    /// The answer to each request: there is no mark. It releases the replies after it.
    pub fn answers(&self) -> Vec<u8> {
        [IAC, WONT, TIMING_MARK].repeat(self.timing_marks)
    }
}

/// Reads a command line that a person may have typed in telnet.
pub fn as_typed(line: &[u8]) -> Typed {
    let mut typed = Vec::with_capacity(line.len());
    let mut timing_marks = 0;
    let mut rest = line;
    while let [octet, after @ ..] = rest {
        rest = after;
        match *octet {
            IAC => match after {
                [IAC, after @ ..] => {
                    typed.push(IAC);
                    rest = after;
                }
                _ => match negotiation(after) {
                    Some(behind) => {
                        timing_marks += usize::from(after.starts_with(&[DO, TIMING_MARK]));
                        rest = behind;
                    }
                    None => typed.push(IAC),
                },
            },
            BACKSPACE | DELETE => {
                typed.pop();
            }
            // RFC 854: a lone carriage return is sent with a NUL after it.
            NUL if typed.last() == Some(&b'\r') => {}
            octet => typed.push(octet),
        }
    }
    Typed { text: typed, timing_marks }
}

/// Reads a line, and answers its requests, if a person may have typed it.
pub fn typed_line(line: Vec<u8>, is_lenient: bool, out: &mut Outbox) -> Vec<u8> {
    if !is_lenient {
        return line;
    }
    let typed = as_typed(&line);
    out.push(&typed.answers());
    typed.text
}

/// Skips a command, an option or a subnegotiation after an IAC. `None` if the octets are none of these.
fn negotiation(after: &[u8]) -> Option<&[u8]> {
    match after {
        [SB, 0..=MAX_OPTION, rest @ ..] => {
            let head = &rest[..rest.len().min(MAX_SUBNEGOTIATION)];
            head.windows(2).position(|pair| pair == [IAC, SE]).map(|at| &rest[at + 2..])
        }
        [WILL..=DONT, 0..=MAX_OPTION, rest @ ..] | [NOP..=GO_AHEAD, rest @ ..] => Some(rest),
        _ => None,
    }
}

const NUL: u8 = 0;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const SE: u8 = 240;
const NOP: u8 = 241;
const GO_AHEAD: u8 = 249;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;
const TIMING_MARK: u8 = 6;
/// The last option that a telnet negotiates (the registry of IANA, without the lists of options, 255). Letters are none.
const MAX_OPTION: u8 = 49;
/// Octets of a subnegotiation with its end. The bound keeps a line of many beginnings from being searched to its end for each.
const MAX_SUBNEGOTIATION: usize = 256;

#[cfg(test)]
mod tests {
    use super::as_typed;

    #[test]
    fn w19_a_timing_mark_is_answered_and_is_no_text() {
        let typed = as_typed(b"\xff\xf4\xff\xfd\x06NO\xff\xfd\x06OP\xff\xfd\x18");
        assert_eq!(typed.text, b"NOOP");
        assert_eq!(typed.requests(), b"\xff\xfd\x06\xff\xfd\x06");
        assert_eq!(typed.answers(), b"\xff\xfc\x06\xff\xfc\x06");
        // An escaped 255 begins no request.
        assert_eq!(as_typed(b"\xff\xff\xfd\x06").timing_marks, 0);
    }

    #[test]
    fn corrections_and_negotiation_are_not_text() {
        assert_eq!(as_typed(b"NOP\x08OP").text, b"NOOP");
        assert_eq!(as_typed(b"\x08\x7fQUITT\x7f").text, b"QUIT");
        assert_eq!(as_typed(b"\xff\xfd\x18QU\xff\xfa\x18\x01\xff\xf0IT\xff\xf1").text, b"QUIT");
        assert_eq!(as_typed(b"a\xff\xffb").text, b"a\xffb");
        assert_eq!(as_typed(b"NOOP\r\0\r\n").text, b"NOOP\r\r\n");
        assert_eq!(as_typed(b"NO\0OP").text, b"NO\0OP");
    }

    #[test]
    fn w26_an_octet_that_begins_no_sequence_of_telnet_stays_in_the_line() {
        for line in [
            &b"RCPT TO:<\xff@x.test>\r\n"[..],
            b"MAIL FROM:<\xff\xfe@x.test>\r\n",
            b"a\xff",
            b"a\xff\r\n",
            b"a\xff\xfd",
            b"a\xff\xf0b",
            b"a\xff\xfa\x18",
            b"a\xff\xfab\xff\xf0",
        ] {
            assert_eq!(as_typed(line).text, line, "{line:?}");
        }
    }
}
