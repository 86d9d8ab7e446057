//! mbox: any file is split into the same messages however it is read, no octet is in two messages, and exported
//! messages are imported unchanged.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use restante::{maildir::{Maildir, Spool, name}, tools::mbox::{Error, Format, FromLine, Import, MessageSink, parse, export}};

use super::owned;
use crate::{
    Target,
    bytes::{Bytes, Pieces},
    scratch,
};

/// This target.
pub const TARGET: Target = Target { name: "mbox", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        &b"\x00\x05From a@far.test Sat Jan  3 01:05:34 1996\nSubject: x\n\n>From here\n>>From\n\n"[..],
        b"\x02\x01From a Sat Jan  3 01:05:34 1996\r\nStatus: RO\r\nX-Status: A\r\n\r\nFrom me to you\r\n\r\n",
        b"\x01\x40\nFrom a@b.test Thu Jan  1 00:00:00 1970\n\nFrom a@b.test Thu Jan  1 00:00:00 1970\nx: y\n\n\n\n",
        b"\x02\x03\xef\xbb\xbf\r\nSubject: x\r\n\r\nFrom here\rno end\r",
        b"\x00\x10Return-Path: <a@far.test>\nStatus: RO\n\nFrom x\n\xffX-Status: D\n\n\n\xff\xff.\r\n",
    ])
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let format = input.choose(&[Format::Mboxrd, Format::Mboxo, Format::Auto]);
    let size = usize::from(input.octet()).max(1);
    cut_apart(input.0, format, size);
    there_and_back(input.0);
}

/// The messages of an mbox: start, time, text and end of each.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    messages: Vec<(u64, Option<i64>, Vec<u8>, Option<u64>)>,
}

impl MessageSink for Cut {
    fn begin(&mut self, from: &FromLine, at: u64) -> Result<(), Error> {
        let open = self.messages.last().is_some_and(|(.., end)| end.is_none());
        assert!(!open, "a message begins in another");
        self.messages.push((at, from.date, Vec::new(), None));
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Error> {
        let (.., body, end) = self.messages.last_mut().expect("text of no message");
        assert!(end.is_none(), "text behind the end");
        body.extend_from_slice(text);
        Ok(())
    }

    fn end(&mut self, next: u64) -> Result<(), Error> {
        let (at, .., end) = self.messages.last_mut().expect("the end of no message");
        assert!(next > *at && end.is_none());
        *end = Some(next);
        Ok(())
    }
}

fn cut_apart(mbox: &[u8], format: Format, size: usize) {
    let cut_in = |size| {
        let mut messages = Cut::default();
        let end = parse(Pieces::of(mbox, size), format, 0, &mut messages).map_err(|error| error.to_string());
        (messages, end)
    };
    let (whole, end) = cut_in(mbox.len().max(1));
    assert_eq!((&whole, &end), (&cut_in(size).0, &cut_in(size).1), "it depends on the pieces");
    let text: usize = whole.messages.iter().map(|(_, _, text, _)| text.len()).sum();
    assert!(text <= mbox.len(), "more comes out than is in it");
    assert!(whole.messages.is_sorted_by_key(|(at, ..)| *at));
    if let Ok(end) = end {
        assert_eq!(end, mbox.len() as u64);
        assert!(whole.messages.iter().all(|(.., end)| end.is_some()), "a message without an end");
    }
}

/// Exports messages, separated by octets 0xff in the input, to an mbox, and imports it into another mailbox.
fn there_and_back(data: &[u8]) {
    let spool = Spool::open(&scratch::fresh("mbox")).expect("a spool");
    let [from, to] = ["from", "to"].map(|name| spool.open_or_create_maildir(name).expect("a mailbox"));
    for (number, message) in data.split(|octet| *octet == 0xff).take(MESSAGES).enumerate() {
        let (place, flags) = [("new", ""), ("cur", ":2,"), ("cur", ":2,FRS"), ("cur", ":2,T")][number % 4];
        let path = from.path().join(place).join(format!("{}.M0.x{flags}", 1_700_000_000 + number));
        fs::write(path, message).expect("a message");
    }
    let mut mbox = Vec::new();
    let exported = export(&from, Format::Mboxrd, &mut mbox, &mut |_, _| {}).expect("an mbox");
    let (now, mut told) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), |_, _| {});
    let mut import = Import::new((&spool, &to), "mx.test", Format::Mboxrd, now, &mut told);
    import.run(&*mbox, 0).expect("what was exported can be imported");
    let mut left_out = messages(&from);
    for message in messages(&to) {
        let at = left_out.iter().position(|exported| *exported == message);
        left_out.remove(at.unwrap_or_else(|| panic!("{message:?} of {}", String::from_utf8_lossy(&mbox))));
    }
    // Compressed messages are not exported.
    assert_eq!(left_out.len() as u64, exported.compressed, "{left_out:?} of {}", String::from_utf8_lossy(&mbox));
}

/// The content of every message, with a line end where its last line has none, its directory and its flags.
fn messages(maildir: &Maildir) -> Vec<(Vec<u8>, &'static str, Vec<u8>)> {
    let mut messages = Vec::new();
    for place in ["new", "cur"] {
        for entry in fs::read_dir(maildir.path().join(place)).expect("a directory") {
            let entry = entry.expect("a file");
            let mut content = fs::read(entry.path()).expect("a message");
            if !matches!(content.last(), None | Some(b'\n')) {
                content.push(b'\n');
            }
            messages.push((content, place, name::flags(entry.file_name().as_encoded_bytes()).to_vec()));
        }
    }
    messages.sort();
    messages
}

/// Messages of one input: each is a file.
const MESSAGES: usize = 8;
