//! Handles the octets that a terminal sends beside text. Only lenient listeners use it, and only for lines that are no part of
//! a message.

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
            IAC => {
                timing_marks += usize::from(after.starts_with(&[DO, TIMING_MARK]));
                rest = negotiation(after, &mut typed);
            }
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

/// Skips the octets after an IAC: an escaped 255, a subnegotiation, an option or a single command.
fn negotiation<'a>(after: &'a [u8], typed: &mut Vec<u8>) -> &'a [u8] {
    match after {
        [IAC, rest @ ..] => {
            typed.push(IAC);
            rest
        }
        [SB, rest @ ..] => {
            rest.windows(2).position(|pair| pair == [IAC, SE]).map_or(&[], |at| &rest[at + 2..])
        }
        [WILL..=DONT, _, rest @ ..] => rest,
        [_, rest @ ..] => rest,
        [] => &[],
    }
}

const NUL: u8 = 0;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;
const TIMING_MARK: u8 = 6;

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
        assert_eq!(as_typed(b"a\xff").text, b"a");
        assert_eq!(as_typed(b"a\xff\xfa\x18").text, b"a");
    }
}
