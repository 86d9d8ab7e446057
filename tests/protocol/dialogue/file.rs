//! A dialogue as it stands in its file. `tests/dialogues/README.md` describes the format.

use std::time::Duration;

use restante::{
    limits::Span,
    proto::{EndReason, http::api::MailChange},
    transcript::ElidedData,
};

use super::{
    text,
    way::Way,
    world::{Service, World},
};

/// The content of a dialogue file.
pub(crate) struct Dialogue {
    /// The lines before the first item, as they are.
    pub(crate) head: Vec<String>,
    pub(crate) items: Vec<Item>,
    /// Comments after the last item.
    pub(crate) tail: Vec<String>,
    pub(crate) world: World,
    pub(crate) ways: Vec<Way>,
}

/// One line of client or session, or one event.
pub(crate) struct Item {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// The comments and blank lines above it.
    pub(crate) comments: Vec<String>,
    /// Its own line; none for all but the first of a counted one.
    pub(crate) source: Option<String>,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// Octets that the client sends.
    Client(Vec<u8>),
    /// A reply, request or act of the session, as the file writes it.
    Session(String),
    /// The response to a request of the session.
    Answer(String),
    /// An event other than a line of client or session.
    Act(Act),
    /// A change of a folder of IMAP by another program.
    Folder(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The client waits until the session has nothing more to do.
    Idle,
    /// Time passes.
    Wait(Duration),
    /// The server ends the session.
    Stop(EndReason),
    /// The client closes.
    End,
    /// A message changes.
    Mail(MailChange),
}

/// The change of mail with this name on the wire.
fn mail_change(name: &str) -> Option<MailChange> {
    [MailChange::New, MailChange::Update, MailChange::Delete, MailChange::Prune]
        .into_iter()
        .find(|kind| kind.name() == name)
}

/// A mistake, and its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Dialogue {
    /// Reads a file. `service` is that of its directory; without one the file has to name it.
    pub(crate) fn read(source: &str, service: Option<Service>) -> Result<Self, Problem> {
        let mut world = World::new(service.unwrap_or(Service::Smtp));
        let mut known = service.is_some();
        let mut ways = Way::ALL.to_vec();
        let (mut head, mut items, mut above) = (Vec::new(), Vec::new(), Vec::new());
        for (line, text) in (1..).zip(source.lines()) {
            let fail = |what: String| Problem { line, what };
            if line == 1 && !is_sentence(text) {
                return Err(fail("the first line is not a comment that says what this shows".into()));
            } else if let Some((key, value)) = text.strip_prefix("= ").and_then(|text| text.split_once(' ')) {
                match (key, value) {
                    ("lookup" | "sends" | "keeps_no_copy" | "admin" | "full", _) if !items.is_empty() => {
                        world.direct(key, value).map_err(fail)?;
                        continue;
                    }
                    _ if !items.is_empty() => return Err(fail("a directive below the head".into())),
                    ("ways", names) => ways = Way::named(names).map_err(fail)?,
                    ("protocol", "smtp") => (world.service, known) = (Service::Smtp, true),
                    ("protocol", "pop3") => (world.service, known) = (Service::Pop3, true),
                    ("protocol", "http") => (world.service, known) = (Service::Http, true),
                    ("protocol", "imap") => (world.service, known) = (Service::Imap, true),
                    _ => world.direct(key, value).map_err(fail)?,
                }
                head.append(&mut above);
                head.push(text.into());
            } else if text.is_empty() || text.starts_with('#') {
                above.push(text.into());
            } else {
                if items.is_empty() {
                    head.append(&mut above);
                }
                items.extend(read_items(line, text, std::mem::take(&mut above)).map_err(fail)?);
            }
        }
        let says = |item: &Item| matches!(&item.what, What::Session(text) if text.starts_with("S:"));
        if !items.iter().any(says) || !known {
            let what = if known { "there is no S: line" } else { "there is no protocol" };
            return Err(Problem { line: 1, what: what.into() });
        }
        Ok(Self { head, items, tail: above, world, ways })
    }
}

fn is_sentence(line: &str) -> bool {
    line.strip_prefix("# ").is_some_and(|text| text.contains(' ') && text.ends_with(['.', ':']))
}

/// The items of one line: several where it has a count, with `{n}` for the number of each.
fn read_items(line: usize, source: &str, comments: Vec<String>) -> Result<Vec<Item>, String> {
    let unknown = || format!("{source:?} is not a line of a dialogue");
    let counted = matches!(source.as_bytes(), [b'C' | b'S', b'*', ..]);
    let (count, plain) = if counted {
        let end = source.find([':', '|']).ok_or_else(unknown)?;
        (source[2..end].parse().map_err(|_| unknown())?, format!("{}{}", &source[..1], &source[end..]))
    } else {
        (1, source.to_owned())
    };
    let mut comments = Some(comments);
    let item = |number: usize| {
        let text = if counted { plain.replace("{n}", &number.to_string()) } else { plain.clone() };
        Ok(Item {
            line,
            comments: comments.take().unwrap_or_default(),
            source: (number == 1).then(|| source.to_owned()),
            what: read_item(&text)?.ok_or_else(unknown)?,
        })
    };
    (1..=count).map(item).collect()
}

fn read_item(text: &str) -> Result<Option<What>, String> {
    let (mark, rest) = text.split_at(text.len().min(2));
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    Ok(Some(match (mark, text) {
        ("C:", _) => What::Client(format!("{rest}\r\n").into()),
        ("C|", _) => What::Client(text::unescaped(rest)?),
        ("C~", _) => {
            What::Client(ElidedData::reconstruct(rest).ok_or(format!("{rest:?} tells of no octets"))?)
        }
        ("S:" | "S|" | "S~" | "? ", _) | (_, ". close" | ". abort" | ". secure") => {
            What::Session(text.trim_end().into())
        }
        (". ", _) if text.starts_with(". folder ") => What::Folder(text[". folder ".len()..].into()),
        (". ", _) if text.starts_with(". pause ") => What::Session(text.into()),
        ("! ", _) => What::Answer(text[2..].into()),
        (_, ". idle") => What::Act(Act::Idle),
        (_, ". stop") => What::Act(Act::Stop(EndReason::Shutdown)),
        (_, ". revoke") => What::Act(Act::Stop(EndReason::LoginRevoked)),
        (_, ". end") => What::Act(Act::End),
        (". ", _) => match text.strip_prefix(". wait ") {
            Some(span) => What::Act(Act::Wait(span.parse::<Span>()?.0)),
            None => match text.strip_prefix(". mail ").and_then(mail_change) {
                Some(kind) => What::Act(Act::Mail(kind)),
                None => return Ok(None),
            },
        },
        _ => return Ok(None),
    }))
}
