//! The responses of FETCH for the folders in memory: enough of each item to be read.

use restante::proto::{
    imap::{
        fetch_item::{Body, BodyName, FetchItem, Section, SectionText},
        flags::Flags,
        request::{Fetch, MessageState},
    },
    request::Mailbox,
};

/// The response of FETCH for one message.
pub(super) fn rendered(
    number: usize,
    state: &MessageState,
    Fetch { state: folder, recent, items, .. }: &Fetch,
    content: &[u8],
) -> Vec<u8> {
    let end = content.windows(4).position(|four| four == b"\r\n\r\n").map_or(content.len(), |at| at + 4);
    let mut line = format!("* {number} FETCH (").into_bytes();
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            line.push(b' ');
        }
        let text = match item {
            FetchItem::Uid => format!("UID {}", state.uid),
            FetchItem::Flags => {
                let named = Flags::NAMED.iter().filter(|(flag, _)| state.flags.intersects(*flag));
                let recent = recent.contains(state.uid).then_some("\\Recent");
                let mut names: Vec<&str> = recent.into_iter().chain(named.map(|(_, name)| *name)).collect();
                names.extend(
                    state.flags.keywords().filter_map(|n| folder.keywords.get(n).map(|name| &**name)),
                );
                format!("FLAGS ({})", names.join(" "))
            }
            FetchItem::ModSeq => format!("MODSEQ ({})", state.modseq),
            FetchItem::InternalDate => "INTERNALDATE \" 6-Nov-1994 08:49:37 +0000\"".into(),
            FetchItem::Size => format!("RFC822.SIZE {}", content.len()),
            FetchItem::Envelope => "ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)".into(),
            FetchItem::Structure { extended } => {
                let name = if *extended { "BODYSTRUCTURE" } else { "BODY" };
                format!("{name} (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" {} 1)", content.len() - end)
            }
            FetchItem::Body(Body { section, partial, name, .. }) => {
                let (label, octets) = match &section.text {
                    SectionText::Header => ("HEADER", &content[..end]),
                    SectionText::Text => ("TEXT", &content[end..]),
                    _ => ("", content),
                };
                let octets = match partial {
                    Some((from, most)) => {
                        let from = (*from as usize).min(octets.len());
                        &octets[from..octets.len().min(from + *most as usize)]
                    }
                    None => octets,
                };
                let label = match name {
                    BodyName::Body => label_of(section, label),
                    BodyName::Rfc822 => "RFC822".into(),
                    BodyName::Rfc822Header => "RFC822.HEADER".into(),
                    BodyName::Rfc822Text => "RFC822.TEXT".into(),
                };
                let from = partial.map(|(from, _)| format!("<{from}>")).unwrap_or_default();
                line.extend_from_slice(format!("{label}{from} {{{}}}\r\n", octets.len()).as_bytes());
                line.extend_from_slice(octets);
                continue;
            }
        };
        line.extend_from_slice(text.as_bytes());
    }
    line.extend_from_slice(b")\r\n");
    line
}

fn label_of(section: &Section, text: &str) -> String {
    let path: Vec<String> = section.path.iter().map(ToString::to_string).collect();
    let dot = if path.is_empty() || text.is_empty() { "" } else { "." };
    format!("BODY[{}{dot}{text}]", path.join("."))
}

/// The name of a folder on the wire.
pub(super) fn name(mailbox: &Mailbox) -> String {
    mailbox.folder().map_or("INBOX".into(), |folder| folder.directory()[1..].to_owned())
}
