//! The MIME reader on the messages of `tests/mime/`: each file has the right answer beside it. `BLESS=1` writes the actual
//! answers: read them.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::common::home;
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use restante::{
    message_object::{
        self, MessageObject,
        mailpit::{self, Stored},
    },
    mime::{Content, Message, MimeLimits, Role, address::Address, date::Date, view::View},
    mua::message_view::{MessageView, Summary},
    printable::{is_hidden, json},
};

/// Files of the corpus with that ending.
fn corpus(ending: &str) -> BTreeSet<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mime");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

#[test]
fn every_message_of_the_corpus_is_read_as_its_answer_says() {
    let messages = corpus("eml");
    assert!(messages.len() >= 70, "{}", messages.len());
    let mut wrong = Vec::new();
    for file in &messages {
        let expected = fs::read_to_string(file.with_extension("txt")).unwrap_or_default();
        let found = answer(&fs::read(file).unwrap());
        if found != expected && env::var_os("BLESS").is_some() {
            fs::write(file.with_extension("txt"), &found).unwrap();
        } else if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let answers = corpus("txt").into_iter().map(|file| file.with_extension("eml"));
    assert_eq!(answers.collect::<BTreeSet<_>>(), messages, "an answer without a message");
}

/// The answer in JSON is that of the web API and of `restante wait --json`.
#[test]
fn messages_of_the_corpus_are_objects_as_their_answers_say() {
    let answers = corpus("json");
    assert!(answers.len() >= 12, "{}", answers.len());
    let mut wrong = Vec::new();
    for file in &answers {
        let expected = fs::read_to_string(file).unwrap();
        let message = fs::read(file.with_extension("eml")).unwrap();
        let object = MessageObject::parse(&message, &message_object::ObjectLimits::default());
        let stored = Stored { id: "1", received: 1_795_168_805_007, ..Stored::default() };
        let found = json(&mailpit::Message::new(&object, &stored), true) + "\n";
        if found != expected && env::var_os("BLESS").is_some() {
            fs::write(file, &found).unwrap();
        } else if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_part_of_the_corpus_is_lost_in_an_object() {
    let limits = message_object::ObjectLimits::default();
    for file in corpus("eml") {
        let octets = fs::read(&file).unwrap();
        let (message, object) =
            (Message::parse(&octets, &limits.mime), MessageObject::parse(&octets, &limits));
        let view = View::of(&message);
        let is_file = |number: &str| {
            let mut files = object.inline.iter().chain(&object.attachments);
            files.any(|file| file.part_id == number)
        };
        let numbers = message.part_numbers();
        for (index, part) in message.parts().iter().enumerate() {
            let place = || format!("{}: part {}", file.display(), numbers[index]);
            let mut around = std::iter::successors(Some(index), |at| message.parts()[*at].parent);
            let is_blank = part.is_text() && message.text(part).trim().is_empty();
            let in_html = part.is_html() && object.html.contains(&message.text(part));
            assert!(
                part.content == Content::Multipart
                    || around.any(|at| is_file(&numbers[at]))
                    || view.shown.contains(&index)
                    || in_html
                    || is_blank,
                "{}",
                place()
            );
            let content = message_object::part(&octets, &numbers[index], &limits).unwrap();
            assert_eq!(content.octets, *message.octets(part), "{}", place());
        }
        for file in object.inline.iter().chain(&object.attachments) {
            let content = message_object::part(&octets, &file.part_id, &limits).unwrap();
            assert_eq!((content.octets.len() as u64, &content.file_name), (file.size, &file.file_name));
            assert!(!file.file_name.contains(['/', '\\']) && !file.file_name.starts_with('.'), "{file:?}");
        }
        let summary = &object.summary;
        assert_eq!((summary.inline, summary.attachments), (object.inline.len(), object.attachments.len()));
        assert_eq!(*summary, message_object::Summary::parse(&octets, &limits));
        assert!(
            summary.snippet.chars().count() <= 250 && !summary.snippet.contains(is_hidden),
            "{}",
            summary.snippet
        );
    }
}

/// A message as a text: its header, its text, and its parts as a tree.
fn answer(bytes: &[u8]) -> String {
    let message = Message::parse(bytes, &MimeLimits::default());
    let header = message.header();
    let mut text = String::new();
    for name in ["From", "To", "Cc", "Reply-To"] {
        for address in header.addresses(name).iter().flatten() {
            let Address { name: words, address, well_formed } = address;
            let odd = if *well_formed { "" } else { " (odd)" };
            writeln!(text, "{name}: {words:?} {address:?}{odd}").unwrap();
        }
    }
    writeln!(text, "Subject: {:?}", header.text("Subject").unwrap_or_default()).unwrap();
    let date = header.date().map(|date| {
        let Date { year, month, day, hour, minute, second, offset } = date;
        let seconds = date.seconds();
        format!(
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}, {offset} s ahead of UTC: {seconds}"
        )
    });
    writeln!(text, "Date: {}\n", date.unwrap_or("none".into())).unwrap();
    let view = View::of(&message);
    for line in view.text.lines() {
        let hidden = line.contains(is_hidden);
        if hidden { writeln!(text, "| {}", line.escape_debug()) } else { writeln!(text, "| {line}") }
            .unwrap();
    }
    text.push('\n');
    for block in &view.embedded {
        writeln!(text, "in the text: {:?} \"{}\"", block.name, block.octets.escape_ascii()).unwrap();
    }
    for (index, part) in message.parts().iter().enumerate() {
        let listed = view.listed.iter().position(|listed| *listed == index);
        let listed =
            listed.map(|at| format!(" listed as {:?}", message.save_name(part, at + 1))).unwrap_or_default();
        let role = match part.role {
            Role::Part => "",
            Role::Preamble => " preamble",
            Role::Epilogue => " epilogue",
            Role::Rest => " rest",
        };
        let octets = message.octets(part);
        let content = match part.content {
            Content::Leaf if octets.len() <= MOST_SHOWN => format!(" \"{}\"", octets.escape_ascii()),
            Content::Leaf | Content::Opaque => format!(" {} octets", octets.len()),
            Content::Multipart | Content::Message => String::new(),
        };
        let indent = "  ".repeat(part.depth);
        writeln!(text, "{indent}{}{role}{listed}{content}", part.media_type.value.escape_debug()).unwrap();
    }
    text
}

/// Octets of a part that an answer shows.
const MOST_SHOWN: usize = 300;

/// The size of message and the depth that overflow a reader which builds a tree and drops it by recursion.
const LEVELS: usize = 100_000;
const OCTETS: usize = 10 << 20;

/// Messages that are nested in each way, 100,000 levels in 10 MiB, with an attachment at the end.
fn nested() -> [(&'static str, Vec<u8>); 3] {
    let pad = |level: String| {
        format!("X-Pad: {}\n{level}", "x".repeat((OCTETS / LEVELS).saturating_sub(level.len() + 9)))
    };
    let messages =
        pad("Content-Type: message/rfc822\n\n".into()).repeat(LEVELS) + "Subject: the innermost\n\ntext\n";
    let multiparts = |boundary: &dyn Fn(usize) -> String| {
        (0..LEVELS)
            .map(|n| pad(format!("Content-Type: multipart/mixed; boundary={0}\n\n--{0}\n", boundary(n))))
            .collect::<String>()
    };
    [
        ("messages", messages.into_bytes()),
        ("multiparts", multiparts(&|n| format!("b{n}")).into_bytes()),
        ("multiparts of one boundary", multiparts(&|_| "b".into()).into_bytes()),
    ]
}

#[test]
fn a_message_of_100_000_levels_overflows_no_stack() {
    for (kind, message) in nested() {
        assert!(message.len() >= OCTETS * 9 / 10, "{kind}: {} octets", message.len());
        // A tenth of what a thread usually has.
        let small = thread::Builder::new().stack_size(200 * 1024);
        let reader = small.spawn(move || {
            let summary = Summary::parse(&message);
            let view = MessageView::parse(&message);
            (summary, view.parts.len(), message)
        });
        let (_, listed, message) = reader.unwrap().join().unwrap();
        assert!(listed >= 1, "{kind}: what is too deep is not lost");
        let parsed = Message::parse(&message, &MimeLimits::default());
        assert!(parsed.parts().len() <= MimeLimits::default().parts, "{kind}");
    }
}

#[test]
fn wait_and_explain_read_a_message_of_100_000_levels() {
    let home = home();
    let spool = home.path().join("spool");
    let inbox = spool.join("bob@example.test");
    for subdirectory in ["tmp", "new", "cur"] {
        fs::create_dir_all(inbox.join(subdirectory)).unwrap();
    }
    let [(_, mut message), ..] = nested();
    message.splice(0..0, b"Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\n".iter().copied());
    let file = inbox.join("new/1700000000.deep.host");
    fs::write(&file, message).unwrap();
    let wait = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command
            .args(["wait", "--to", "bob@example.test", "--timeout", "1ms", "--spool"])
            .arg(&spool)
            .args(options);
        command.output().unwrap().status.code()
    };
    let explained = Command::new(env!("CARGO_BIN_EXE_restante")).arg("explain").arg(&file).output().unwrap();
    assert!(explained.status.success(), "{explained:?}");
    assert!(String::from_utf8_lossy(&explained.stdout).contains("1.1.1.1.1.1.1.1.1.1.1"), "{explained:?}");
    assert_eq!(wait(&["--subject", "^日本$"]), Some(0));
    assert_eq!(wait(&["--body", "no such text"]), Some(1), "it ends with an answer, and not by a signal");
}

/// A message as a program writes it.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(Encoding, Vec<u8>),
    Multipart(Vec<Tree>),
    Message(Box<Tree>),
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Binary,
    Base64,
    QuotedPrintable,
}

impl Tree {
    /// Writes the message. Boundaries are unique: `count` numbers them.
    fn write(&self, message: &mut Vec<u8>, count: &mut usize) {
        match self {
            Self::Leaf(Encoding::Binary, octets) => {
                message.extend(b"Content-Type: application/x\r\n\r\n");
                message.extend(octets);
            }
            Self::Leaf(Encoding::Base64, octets) => {
                message.extend(b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\r\n");
                octets
                    .chunks(57)
                    .for_each(|line| message.extend(format!("{}\r\n", STANDARD.encode(line)).bytes()));
            }
            Self::Leaf(Encoding::QuotedPrintable, octets) => {
                message.extend(
                    b"Content-Type: text/html\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n",
                );
                for line in octets.chunks(20) {
                    line.iter().for_each(|octet| message.extend(format!("={octet:02X}").bytes()));
                    message.extend(b"=\r\n");
                }
            }
            Self::Multipart(parts) => {
                let boundary = format!("=_{count}");
                *count += 1;
                message.extend(
                    format!("Content-Type: multipart/mixed;\r\n\tboundary=\"{boundary}\"\r\n").bytes(),
                );
                for part in parts {
                    message.extend(format!("\r\n--{boundary}\r\n").bytes());
                    part.write(message, count);
                }
                message.extend(format!("\r\n--{boundary}--\r\n").bytes());
            }
            Self::Message(inner) => {
                message.extend(b"Content-Type: message/rfc822\r\n\r\n");
                inner.write(message, count);
            }
        }
    }

    /// Each part: its depth, its content, and its octets if it is a leaf.
    fn parts(&self, depth: usize, found: &mut Vec<(usize, Content, Vec<u8>)>) {
        match self {
            Self::Leaf(_, octets) => found.push((depth, Content::Leaf, octets.clone())),
            Self::Multipart(parts) => {
                found.push((depth, Content::Multipart, Vec::new()));
                parts.iter().for_each(|part| part.parts(depth + 1, found));
            }
            Self::Message(inner) => {
                found.push((depth, Content::Message, Vec::new()));
                inner.parts(depth + 1, found);
            }
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let encoding = prop::sample::select(&[Encoding::Binary, Encoding::Base64, Encoding::QuotedPrintable][..]);
    let octets = prop::collection::vec(prop::sample::select(&b"--\r\n a.\0\xff"[..]), 0..80);
    let leaf = (encoding, octets).prop_map(|(encoding, octets)| Tree::Leaf(encoding, octets));
    leaf.prop_recursive(5, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Multipart),
            inner.prop_map(|inner| Tree::Message(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_a_program_writes_is_read_back_octet_for_octet(tree in trees()) {
        let (mut message, mut written) = (Vec::new(), Vec::new());
        tree.write(&mut message, &mut 0);
        tree.parts(0, &mut written);
        let parsed = Message::parse(&message, &MimeLimits::default());
        let read: Vec<_> = parsed
            .parts()
            .iter()
            .map(|part| {
                let octets = if part.content == Content::Leaf { parsed.octets(part).into_owned() } else { Vec::new() };
                (part.depth, part.content, octets)
            })
            .collect();
        prop_assert_eq!(read, written, "{}", message.escape_ascii());
    }
}
