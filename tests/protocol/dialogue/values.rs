//! The values of answers in a dialogue: drafts, documents, refusals and destinations.

use restante::{
    proto::{
        folder::Folder,
        http::api::{Document, Draft, Outcome},
        imap::request::Refusal,
        request::{Destination, Lookup, Mailbox},
        smtp::address::Address,
        tagged::TaggedAddress,
    },
    wire_size::wire_size,
};

use super::text;

/// `from=<…> to=<…>,<…> "content"`, and perhaps `octets=9` where the content is left out.
pub(super) fn read_draft(text: &str) -> Result<Draft, String> {
    let wrong = || format!("{text:?} is not a message");
    let (from, rest) = text.strip_prefix("from=").and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
    let (to, rest) = rest.strip_prefix("to=").and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
    let address = |text: &str| Address::parse(text.trim_matches(['<', '>'])).map_err(|_| wrong());
    let (message, octets) = match rest.strip_prefix("octets=") {
        Some(octets) => (Vec::new(), octets.parse().map_err(|_| wrong())?),
        None => {
            let (message, after) = text::unquoted(rest)?;
            let octets = after.strip_prefix("octets=").map(str::parse).transpose().map_err(|_| wrong())?;
            let octets = octets.unwrap_or_else(|| wire_size(&message));
            (message, octets)
        }
    };
    let to = to.split(',').map(address).collect::<Result<_, _>>()?;
    Ok(Draft { from: address(from)?, to, octets, message })
}

/// `"media/type" "content"`, and perhaps `name="…"`, `etag="…"`, or `octets=9` where more pieces follow, and at last
/// `failed=yes`, `failed=mistaken` or `failed=missing`.
pub(super) fn read_document(text: &str) -> Result<Document, String> {
    let string = |octets: Vec<u8>| String::from_utf8(octets).map_err(|e| e.to_string());
    let (media_type, rest) = text::unquoted(text)?;
    let (content, mut rest) = text::unquoted(rest)?;
    let mut document = Document::new(string(media_type)?, content);
    while let Some((key, value)) = rest.split_once('=') {
        match key {
            "octets" => {
                let (octets, after) = value.split_once(' ').unwrap_or((value, ""));
                document.length = octets.parse().map_err(|_| format!("{octets:?} is not a size"))?;
                rest = after;
            }
            "name" | "etag" => {
                let (value, after) = text::unquoted(value)?;
                let value = Some(string(value)?);
                if key == "name" {
                    document.file_name = value
                } else {
                    document.etag = value
                }
                rest = after;
            }
            "failed" => {
                rest = "";
                document.outcome = match value {
                    "yes" => Outcome::Failed,
                    "mistaken" => Outcome::Mistaken,
                    "missing" => Outcome::Missing,
                    _ => return Err(format!("failed={value:?} behind a document")),
                };
            }
            _ => return Err(format!("{key:?} behind a document")),
        }
    }
    Ok(document)
}

/// The word of a refusal.
pub(super) fn refusal_of(word: &str) -> Result<Refusal, String> {
    [
        Refusal::Exists,
        Refusal::NoFolder,
        Refusal::HasChildren,
        Refusal::Cannot,
        Refusal::TooManyKeywords,
        Refusal::TooManyFolders,
        Refusal::TooManySessions,
    ]
    .into_iter()
    .find(|refusal| format!("{refusal:?}") == word)
    .ok_or_else(|| format!("{word} is not a refusal"))
}

/// `mailbox&mailbox:Folder`.
pub(super) fn destinations(names: &str) -> Lookup {
    let destination = |name: &str| {
        let (mailbox, folder) = name.split_once(':').unwrap_or((name, ""));
        Some(Destination { mailbox: Mailbox::named(mailbox)?, folder: Folder::from_name(folder) })
    };
    let to: Vec<Destination> = names.split('&').filter_map(destination).collect();
    if to.is_empty() { Lookup::Unknown } else { Lookup::Local(to.into()) }
}

/// A value in two parts: its object, which may have blanks, and the last word.
pub(super) fn pair(value: &str) -> Option<(String, String)> {
    value.rsplit_once(' ').map(|(of, what)| (of.into(), what.into()))
}

/// An address with a tag, unless its destination has the whole name.
pub(super) fn tagged_address(address: &Address, destination: &Lookup) -> Option<TaggedAddress> {
    let Lookup::Local(to) = destination else { return None };
    let is_own = to.iter().any(|to| Address::from(&to.mailbox).local() == address.folded_local());
    TaggedAddress::new(address).filter(|_| !is_own)
}

/// `bob@here.test`, or `bob@here.test/.Sent` for a folder.
pub(super) fn named(mailbox: &str) -> Result<Mailbox, String> {
    let (name, folder) =
        mailbox.split_once("/.").map_or((mailbox, None), |(name, folder)| (name, Some(folder)));
    let named = || match (Mailbox::named(name)?, folder) {
        (mailbox, Some(folder)) => Some(mailbox.in_folder(Folder::from_name(folder)?)),
        (mailbox, None) => Some(mailbox),
    };
    named().ok_or_else(|| format!("{mailbox:?} can't be the name of a mailbox"))
}
