//! Letters that can be told apart, and compared to the last byte without being kept: a line with the id,
//! then a piece of one long text.

use super::Dice;

/// One letter: its id, and the lines of the text that are its body.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) id: String,
    from: usize,
    to: usize,
}

/// The long text in each of the forms that a letter goes through.
pub(crate) struct Letters {
    wire: Form,
    plain: Form,
    file: Form,
}

/// A text and where its lines begin; one more entry for its end.
#[derive(Default)]
struct Form {
    bytes: Vec<u8>,
    lines: Vec<usize>,
}

impl Form {
    fn push(&mut self, line: &[&[u8]]) {
        self.lines.push(self.bytes.len());
        line.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    fn letter(&self, letter: &Letter, end: &str) -> Vec<u8> {
        let mut bytes = format!("{MARK}{}{end}Subject: {}{end}{end}", letter.id, letter.id).into_bytes();
        bytes.extend_from_slice(&self.bytes[self.lines[letter.from]..self.lines[letter.to]]);
        bytes
    }
}

impl Letters {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let (mut wire, mut plain, mut file) = (Form::default(), Form::default(), Form::default());
        while plain.bytes.len() < 2 * LONGEST {
            let length = if dice.one_in(20) { 0 } else { 8 + dice.below(70) };
            let mut line: Vec<u8> = (0..length).map(|_| LETTERS[dice.below(LETTERS.len())]).collect();
            let dot: &[u8] = if dice.one_in(15) { b"." } else { b"" };
            line.splice(0..0, dot.iter().copied());
            wire.push(&[dot, &line, b"\r\n"]);
            plain.push(&[&line, b"\r\n"]);
            file.push(&[&line, b"\n"]);
        }
        for form in [&mut wire, &mut plain, &mut file] {
            form.push(&[]);
        }
        Self { wire, plain, file }
    }

    /// A letter of 200 octets to 600 KB: as many short ones as long ones by the number of digits.
    pub(crate) fn draw(&self, id: String, dice: &mut Dice) -> Letter {
        self.draw_up_to(12, id, dice)
    }

    /// A letter whose octets are those of the shortest one doubled fewer times than that.
    pub(crate) fn draw_up_to(&self, doublings: usize, id: String, dice: &mut Dice) -> Letter {
        let doublings = dice.below(doublings);
        let octets = ((SHORTEST << doublings) + dice.below(SHORTEST << doublings)).min(LONGEST);
        let from = dice.below(self.plain.lines.len() / 2);
        let end = self.plain.lines[from] + octets;
        let to = self.plain.lines.partition_point(|&start| start < end).min(self.plain.lines.len() - 1);
        Letter { id, from, to }
    }

    /// The octets after DATA, with the final dot.
    pub(crate) fn wire(&self, letter: &Letter) -> Vec<u8> {
        let mut wire = self.wire.letter(letter, "\r\n");
        wire.extend_from_slice(b".\r\n");
        wire
    }

    /// The octets that the sender meant.
    pub(crate) fn plain(&self, letter: &Letter) -> Vec<u8> {
        self.plain.letter(letter, "\r\n")
    }

    /// The end of the file, after the server's own header lines.
    pub(crate) fn file(&self, letter: &Letter) -> Vec<u8> {
        self.file.letter(letter, "\n")
    }
}

/// The id in a stored letter, and the offset at which the letter begins after the server's own header
/// lines.
pub(crate) fn find(stored: &[u8]) -> Option<(&str, usize)> {
    if !stored.starts_with(b"Return-Path: ") {
        return None;
    }
    find_in(stored)
}

/// The same in a letter that may have no such lines.
pub(crate) fn find_in(stored: &[u8]) -> Option<(&str, usize)> {
    let head = &stored[..stored.len().min(TRACE)];
    let at = match head.starts_with(MARK.as_bytes()) {
        true => 0,
        false => memchr::memmem::find(head, format!("\n{MARK}").as_bytes())? + 1,
    };
    let id = &stored[at + MARK.len()..];
    let end = id.iter().position(|b| b.is_ascii_whitespace())?;
    Some((std::str::from_utf8(&id[..end]).ok()?, at))
}

const MARK: &str = "Letter: ";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +/=";
const SHORTEST: usize = 200;
const LONGEST: usize = 600_000;
/// Upper bound of the octets of the server's own header lines.
const TRACE: usize = 2_000;
