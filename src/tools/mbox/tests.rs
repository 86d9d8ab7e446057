use proptest::prelude::*;

use super::*;
use crate::maildir::Spool;

#[derive(Default)]
struct Kept(Vec<Vec<u8>>, Vec<FromLine>, Vec<DoubtfulLine>);

impl MessageSink for Kept {
    fn begin(&mut self, from: &FromLine, _: u64) -> Result<(), Error> {
        self.0.push(Vec::new());
        self.1.push(from.clone());
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Error> {
        self.0.last_mut().unwrap().extend_from_slice(text);
        Ok(())
    }

    fn end(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn doubt(&mut self, line: DoubtfulLine) {
        self.2.push(line);
    }
}

fn messages(mbox: &[u8], format: Format) -> Result<Vec<Vec<u8>>, Error> {
    let mut kept = Kept::default();
    parse(mbox, format, 0, &mut kept)?;
    Ok(kept.0)
}

/// A source that returns that many octets at a time.
struct Drops<'a>(&'a [u8], usize);

impl std::io::Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(self.0.len()).min(buffer.len());
        let (now, later) = self.0.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

fn quoted(message: &[u8], format: Format, step: usize) -> Vec<u8> {
    let mut mbox = Vec::new();
    let mut quoter = quote::Quoter::new(&mut mbox, format);
    message.chunks(step).for_each(|piece| quoter.write(piece).unwrap());
    quoter.finish().unwrap();
    mbox
}

const FROM: &str = "From a@far.test Sat Jan  3 01:05:34 1996\n";

/// Text in which many lines look like a From_ line, or like a part of one.
fn awkward() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"From ",
        b">",
        b">>From ",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b"Fro",
        b"m ",
        b"text",
        b"Status: RO\n",
        b"X-Status: A\n",
        b"\0\xff",
        FROM.as_bytes(),
    ];
    let piece = prop::sample::select(pieces);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_quoted_comes_back_in_pieces_of_any_length(message in awkward(), step in 1usize..9) {
        let mbox = [FROM.as_bytes(), &quoted(&message, Format::Mboxrd, step), FROM.as_bytes(), b"\n"].concat();
        let mut kept = Kept::default();
        parse(Drops(&mbox, step), Format::Mboxrd, 0, &mut kept).unwrap();
        let mut whole = message;
        if !whole.is_empty() && !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
        prop_assert_eq!(kept.0, [whole, Vec::new()]);
    }

    #[test]
    fn export_of_import_is_the_same_mbox(all in prop::collection::vec((awkward(), 0i64..4_000_000_000), 0..5)) {
        let mut mbox = Vec::new();
        for (message, date) in &all {
            let return_path = message.starts_with(b"text").then_some(&b"<b@far.test>"[..]);
            mbox.extend(from_line::format(return_path, *date).into_bytes());
            let head = if return_path.is_some() { &b"Return-Path: <b@far.test>\n"[..] } else { b"" };
            mbox.extend(quoted(&[head, message].concat(), Format::Mboxrd, 7));
        }
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let maildir = spool.open_or_create_maildir("box").unwrap();
        let mut told = |_, _| {};
        let mut import =
            Import::new((&spool, &maildir), "mx", Format::Mboxrd, std::time::UNIX_EPOCH, &mut told);
        import.run(&mbox[..], 0).unwrap();
        prop_assert_eq!(import.imported(), Imported { messages: all.len() as u64, end: mbox.len() as u64 });
        // A Maildir is in order of dates; an mbox may be in any order.
        let mut again = Vec::new();
        export(&maildir, Format::Mboxrd, &mut again, &mut |_, _| {}).unwrap();
        let mut sorted: Vec<(i64, Vec<u8>)> = Vec::new();
        let mut at = 0;
        let mut starts = Starts::default();
        parse(&mbox[..], Format::Mboxrd, 0, &mut starts).unwrap();
        for (n, (_, date)) in all.iter().enumerate() {
            let end = starts.0.get(n + 1).copied().unwrap_or(mbox.len());
            sorted.push((*date, mbox[at..end].to_vec()));
            at = end;
        }
        sorted.sort_by_key(|(date, _)| *date);
        let expected: Vec<u8> = sorted.into_iter().flat_map(|(_, text)| text).collect();
        prop_assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&expected));
    }
}

#[derive(Default)]
struct Starts(Vec<usize>);

impl MessageSink for Starts {
    fn begin(&mut self, _: &FromLine, at: u64) -> Result<(), Error> {
        self.0.push(at as usize);
        Ok(())
    }

    fn text(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn end(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn each_format_unquotes_what_it_quotes() {
    let text = b"From a\n>From b\n>>From c\n From d\n";
    for (format, on_disk) in [
        (Format::Mboxrd, &b">From a\n>>From b\n>>>From c\n From d\n\n"[..]),
        (Format::Mboxo, b">From a\n>From b\n>>From c\n From d\n\n"),
    ] {
        assert_eq!(quoted(text, format, 100), on_disk, "{format:?}");
    }
    let mbox = [FROM.as_bytes(), b">From a\n>>From b\n\n"].concat();
    assert_eq!(messages(&mbox, Format::Mboxrd).unwrap(), [b"From a\n>From b\n"]);
    assert_eq!(messages(&mbox, Format::Mboxo).unwrap(), [b"From a\n>>From b\n"]);
}

#[test]
fn a_text_that_nobody_quoted_is_text_where_mutt_takes_it_for_text() {
    let mbox = [FROM.as_bytes(), b"\nFrom here on it is text\n\n", FROM.as_bytes(), b"x\n\n"].concat();
    let kept = messages(&mbox, Format::Auto).unwrap();
    assert_eq!(kept, [&b"\nFrom here on it is text\n"[..], b"x\n"]);
    assert_eq!(messages(&mbox, Format::Mboxrd).unwrap().len(), 3);
}

#[test]
fn the_line_ends_of_an_mbox_from_windows_become_ours_and_a_cr_in_another_stays() {
    let windows = b"From a Sat Jan  3 01:05:34 1996\r\nA: b\r\n\r\nx\ry\r\n\r\n";
    for step in [1, 2, 3, 100] {
        let mut kept = Kept::default();
        parse(Drops(windows, step), Format::Auto, 0, &mut kept).unwrap();
        assert_eq!(kept.0, [b"A: b\n\nx\ry\n"], "in steps of {step}");
    }
    let other = [FROM.as_bytes(), b"A: b\r\n\r\nx\r\n\n"].concat();
    assert_eq!(messages(&other, Format::Auto).unwrap(), [b"A: b\r\n\r\nx\r\n"]);
}

#[test]
fn u04_a_message_whose_last_line_is_whole_is_whole() {
    let first = [FROM.as_bytes(), b"A: b\n\nx\n\n"].concat();
    let whole = [&first[..], FROM.as_bytes(), b"A: b\n\ny\n\n"].concat();
    for length in first.len() + 1..=whole.len() {
        let cut_off = &whole[..length];
        let ends_whole = cut_off.ends_with(b"\n") && length > first.len() + FROM.len();
        match messages(cut_off, Format::Mboxrd) {
            Err(Error::Cut { message, end }) => {
                assert!(!ends_whole, "{length}");
                assert!(message as usize == first.len() || message == 0, "{message}");
                assert_eq!(end as usize, length);
            }
            Ok(kept) => assert!(kept.len() == 2 && ends_whole, "{length}"),
            Err(error) => panic!("{length}: {error}"),
        }
    }
    assert!(matches!(messages(b"hello\n", Format::Auto), Err(Error::NoMbox(_))));
    assert_eq!(messages(b"", Format::Auto).unwrap().len(), 0);
    assert_eq!(messages(b"\n\r\n", Format::Auto).unwrap().len(), 0);
}

#[test]
fn u01_a_from_line_begins_a_message_in_any_form_and_every_guess_is_told() {
    let first = "From ann@far.test Sat Jan  3 10:05:34 2026\nSubject: 1\n\ntext\n\n";
    let header = "Subject: 2\n\nmore\n";
    for (line, date, doubtful) in [
        ("From a@b Sun, 04 Jan 2026 08:00:00 +0000", Some(1_767_513_600), false),
        ("From a@b 2026-01-04T08:00:00Z", Some(1_767_513_600), false),
        ("From bob Sun Jan  4 08:00:00 AM UTC 2026", Some(1_767_513_600), false),
        ("From a@b am 4. Januar", None, true),
        ("From - ", None, true),
        ("From ", None, true),
        ("From ???@??? never", None, true),
    ] {
        let mut kept = Kept::default();
        let mbox = format!("{first}{line}\n{header}");
        for step in [1, 7, 1000] {
            kept = Kept::default();
            parse(Drops(mbox.as_bytes(), step), Format::Auto, 0, &mut kept).unwrap();
        }
        assert_eq!(kept.0, [&b"Subject: 1\n\ntext\n"[..], header.as_bytes()], "{line}");
        assert_eq!(kept.1[1].date, date, "{line}");
        assert_eq!(kept.2.iter().any(|doubt| doubt.begins_message), doubtful, "{line}");
        assert_eq!(kept.2.len(), usize::from(doubtful), "{line}");
    }
    for line in ["From here on it is text", "From the log:\nError: x", "From a@b we heard:", "From us"] {
        let mut kept = Kept::default();
        let mbox = format!("{first}{line}\n\nmore\n");
        parse(mbox.as_bytes(), Format::Auto, 0, &mut kept).unwrap();
        assert_eq!(kept.0.len(), 1, "{line}");
        let doubt = &kept.2[..];
        assert!(
            matches!(doubt, [doubt] if !doubt.begins_message && line.starts_with(&doubt.text) && doubt.at as usize == first.len()),
            "{line}: {doubt:?}"
        );
    }
    // Longer than any From_ line, and in a paragraph.
    for text in [format!("From {}\n", "x".repeat(5000)), "\nsee\nFrom x\n".to_owned()] {
        let mut kept = Kept::default();
        parse(format!("{first}{text}").as_bytes(), Format::Auto, 0, &mut kept).unwrap();
        assert_eq!((kept.0.len(), kept.2.len()), (1, 1));
    }
}

#[test]
fn u02_a_byte_order_mark_is_no_text() {
    let mbox = ["\u{feff}", FROM, "A: b\n\nx\n"].concat();
    assert_eq!(messages(mbox.as_bytes(), Format::Auto).unwrap(), [b"A: b\n\nx\n"]);
}

#[test]
fn a_line_of_nothing_but_marks_takes_no_memory() {
    let marks = vec![b'>'; 1 << 20];
    let message = [&marks[..], b"From x\n"].concat();
    let mbox = [FROM.as_bytes(), &quoted(&message, Format::Mboxrd, 1000)].concat();
    assert_eq!(messages(&mbox, Format::Mboxrd).unwrap(), [message]);
}

#[test]
fn u149_only_messages_that_no_earlier_run_delivered_are_to_come() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path()).unwrap();
    let maildir = spool.open_or_create_maildir("box").unwrap();
    let message = format!("{FROM}Subject: x\n\nx\n\n");
    // The last line has no end, so that the first run stays incomplete.
    let mbox = format!("{message}{message}{FROM}Subject: cut");
    let path = dir.path().join("in");
    std::fs::write(&path, &mbox).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let source = Source::of(&file).unwrap();
    let (now, age) = (std::time::SystemTime::now(), std::time::Duration::from_secs(3600));
    let places = [0, message.len() as u64, 2 * message.len() as u64];
    for (has_delivered, to_come) in [(false, 3), (true, 1)] {
        let mut told = |_, _| {};
        let mut import = Import::new((&spool, &maildir), "mx", Format::Auto, now, &mut told);
        import.open_record(&source, &file).unwrap();
        let offset = import.finish_previous_run(now, age).unwrap();
        assert_eq!((import.has_delivered(), import.count_to_come(&places)), (has_delivered, to_come));
        assert_eq!(offset, places[3 - to_come as usize]);
        let cut = import.run(&mbox.as_bytes()[offset as usize..], offset);
        assert!(matches!(cut, Err(Error::Cut { .. })), "{cut:?}");
    }
}
