//! Handles the octets that a terminal sends beside text. Only lenient listeners use it, and only for command
//! lines.

/// A command line as its typist meant it: without telnet negotiation (RFC 854), and with each backspace or
/// delete applied.
pub fn as_typed(line: &[u8]) -> Vec<u8> {
    let mut typed = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [octet, after @ ..] = rest {
        rest = after;
        match *octet {
            IAC => rest = negotiation(after, &mut typed),
            BACKSPACE | DELETE => {
                typed.pop();
            }
            // RFC 854: a lone carriage return is sent with a NUL after it.
            NUL if typed.last() == Some(&b'\r') => {}
            octet => typed.push(octet),
        }
    }
    typed
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
const DONT: u8 = 254;
const IAC: u8 = 255;

#[cfg(test)]
mod tests {
    use super::as_typed;

    #[test]
    fn corrections_and_negotiation_are_not_text() {
        assert_eq!(as_typed(b"NOP\x08OP"), b"NOOP");
        assert_eq!(as_typed(b"\x08\x7fQUITT\x7f"), b"QUIT");
        assert_eq!(as_typed(b"\xff\xfd\x18QU\xff\xfa\x18\x01\xff\xf0IT\xff\xf1"), b"QUIT");
        assert_eq!(as_typed(b"a\xff\xffb"), b"a\xffb");
        assert_eq!(as_typed(b"NOOP\r\0\r\n"), b"NOOP\r\r\n");
        assert_eq!(as_typed(b"NO\0OP"), b"NO\0OP");
        assert_eq!(as_typed(b"a\xff"), b"a");
        assert_eq!(as_typed(b"a\xff\xfa\x18"), b"a");
    }
}
