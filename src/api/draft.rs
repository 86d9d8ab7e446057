//! The message that a client describes in JSON, as Mailpit's clients do for `POST /api/v1/send`.
//!
//! The rule: every value is checked before it is written, and each refusal names the value and says what to write instead. No
//! value can begin a field, because none may have a line end.

use std::{borrow::Cow, collections::HashSet, time::SystemTime};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::description::{Attachment, Bounded, Described, Description};
use crate::{
    compose::{Composition, File, Named},
    mime::file_name,
    proto::{http::api::Draft, smtp::address::Address},
};

/// Writes the message of a description. `unique` makes its Message-ID unique.
///
/// # Errors
/// Returns a sentence that tells the sender what to correct.
pub fn compose(body: &[u8], date: SystemTime, unique: u64) -> Result<Draft, String> {
    const NOT_AN_OBJECT: &str = "The body is not the JSON object of a message";
    // A list would be read as the fields of the object in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(NOT_AN_OBJECT.into());
    }
    let description: Description<'_> =
        serde_json::from_slice(body).map_err(|error| format!("{NOT_AN_OBJECT}: {error}"))?;
    let from = description.from.read("From")?;
    let to = people("To", &description.to)?;
    let cc = people("Cc", &description.cc)?;
    let reply_to = people("ReplyTo", &description.reply_to)?;
    let mut all = Vec::new();
    let mut known = HashSet::new();
    let bcc = description.bcc.0.iter().enumerate();
    let bcc: Vec<Address> =
        bcc.map(|(at, text)| address(&format!("Bcc[{at}]"), text)).collect::<Result<_, _>>()?;
    for address in to.iter().chain(&cc).map(|person| &person.address).chain(&bcc) {
        if known.insert(address.canonical()) {
            all.push(address.clone());
        }
    }
    if all.is_empty() {
        return Err("The message has no recipient: name one in To, Cc or Bcc".into());
    }
    let subject = line("Subject", &description.subject)?;
    let mut message_id = None;
    let mut fields = Vec::new();
    for (name, value) in &description.headers.0 {
        let value = field(name, value)?;
        if name.eq_ignore_ascii_case("Message-ID") {
            message_id = Some(id(&format!("Headers.{name}"), value)?);
        } else {
            fields.push((name.as_ref(), value));
        }
    }
    let files = description.attachments.0.iter().enumerate();
    let files = files.map(|(at, attachment)| attachment.file(at)).collect::<Result<_, _>>()?;
    let (text, html) = (with_line_feeds(&description.text), with_line_feeds(&description.html));
    let composition = Composition {
        from: from.named(),
        to: to.iter().map(Person::named).collect(),
        cc: cc.iter().map(Person::named).collect(),
        reply_to: reply_to.iter().map(Person::named).collect(),
        subject,
        text: &text,
        html: &html,
        message_id,
        fields,
        files,
        ..Composition::default()
    };
    let mut message = composition.write(date, unique);
    let octets = message.len() as u64;
    remove_carriage_returns(&mut message);
    Ok(Draft { from: from.address, to: all, octets, message })
}

/// A person whose values were checked.
struct Person {
    name: Option<String>,
    address: Address,
    /// The address as it is written.
    written: String,
}

impl Described {
    fn read(&self, place: &str) -> Result<Person, String> {
        let address = address(&format!("{place}.Email"), &self.email)?;
        let name = line(&format!("{place}.Name"), &self.name)?;
        let written = address.to_string();
        Ok(Person { name: (!name.is_empty()).then(|| name.to_owned()), address, written })
    }
}

impl Person {
    fn named(&self) -> Named<'_> {
        Named { name: self.name.as_deref().map(Into::into), address: self.written.as_str().into() }
    }
}

impl Attachment<'_> {
    fn file(&self, at: usize) -> Result<File<'_>, String> {
        let place = |name: &str| format!("Attachments[{at}].{name}");
        let name = line(&place("Filename"), &self.filename)?;
        let content = self.content.0.rsplit(',').next().unwrap_or_default();
        let content = if content.contains(char::is_whitespace) {
            content.split_whitespace().collect::<String>().into()
        } else {
            Cow::Borrowed(content)
        };
        let content = BASE64
            .decode(content.as_bytes())
            .map_err(|error| format!("{}: write the file in base64 ({error})", place("Content")))?;
        let content_id = line(&place("ContentID"), &self.content_id)?;
        let content_id = match content_id {
            "" => None,
            text => Some(id(&place("ContentID"), text)?),
        };
        let kind = match line(&place("ContentType"), &self.content_type)? {
            "" => mime_guess::from_path(name).first_or_octet_stream().essence_str().to_owned(),
            text => media_type(text)
                .ok_or_else(|| format!("{}: write a media type like image/png", place("ContentType")))?,
        };
        // A path would be a name on the machine of the sender.
        let name = file_name::clean(name).unwrap_or_else(|| format!("file.{}", file_name::ending(&kind)));
        Ok(File { name: name.into(), kind: kind.into(), content: content.into(), content_id })
    }
}

fn people(place: &str, list: &Bounded<Described>) -> Result<Vec<Person>, String> {
    list.0.iter().enumerate().map(|(at, person)| person.read(&format!("{place}[{at}]"))).collect()
}

/// Reads an address, as every other part of the server does.
fn address(place: &str, text: &str) -> Result<Address, String> {
    let whole = Address::parse(text.trim_matches(' '));
    let whole =
        whole.ok().filter(|address| address.domain().is_some() && address.to_string().len() <= MAX_ADDRESS);
    // The tests of Mailpit's clients look for its words.
    let begin = match place.split('[').next().unwrap_or_default() {
        field @ ("To" | "Cc" | "Bcc") => format!("invalid {field} address: "),
        "ReplyTo" => "invalid Reply-To address: ".to_owned(),
        _ => String::new(),
    };
    whole.ok_or_else(|| match text {
        "" => format!("{begin}{place} is missing: write an address like user@example.test"),
        _ => format!("{begin}{place} is not an address: write one like user@example.test"),
    })
}

/// A value that stands on one line.
fn line<'a>(place: &str, text: &'a str) -> Result<&'a str, String> {
    match text.find(char::is_control) {
        None if text.len() <= MAX_VALUE => Ok(text),
        None => Err(format!("{place} has more than {MAX_VALUE} octets: shorten it")),
        Some(_) => Err(format!("{place} has a line end or another control character: leave it out")),
    }
}

/// The value of a field that a client may set, if it can be folded.
fn field<'a>(name: &str, value: &'a str) -> Result<&'a str, String> {
    let place = format!("Headers.{}", name.chars().take(MAX_NAME).collect::<String>());
    let is_name =
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if !is_name {
        return Err(format!("{place} cannot be the name of a field: write letters, digits and hyphens"));
    }
    let is_reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved));
    if is_reserved || name.get(..CONTENT.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(CONTENT)) {
        return Err(format!("{place} is a field that the server writes: leave it out of Headers"));
    }
    let value = line(&place, value)?.trim();
    if value.split_whitespace().any(|word| word.len() > MAX_WORD) {
        return Err(format!(
            "{place} has a word of more than {MAX_WORD} octets, which cannot be folded: shorten it"
        ));
    }
    Ok(value)
}

/// An id between angle brackets, without them.
fn id<'a>(place: &str, text: &'a str) -> Result<&'a str, String> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    let is_id = !bare.is_empty()
        && bare.len() <= MAX_ADDRESS
        && bare.bytes().all(|b| b.is_ascii_graphic() && !b"<>()\\\",;".contains(&b));
    if is_id { Ok(bare) } else { Err(format!("{place} is not an id: write one like one@example.test")) }
}

/// The media type without its parameters.
fn media_type(text: &str) -> Option<String> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let (kind, subtype) = essence.split_once('/')?;
    let is_token = |token: &str| {
        (1..=MAX_NAME).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    (is_token(kind) && is_token(subtype)).then(|| essence.to_ascii_lowercase())
}

/// The text with one kind of line ends.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

/// Turns the line ends of the wire into those of a file. The message has no other carriage returns.
fn remove_carriage_returns(message: &mut Vec<u8>) {
    message.retain(|octet| *octet != b'\r');
}

/// Fields that the description has other values for, or that only a server may write.
const RESERVED: [&str; 11] = [
    "To",
    "From",
    "Cc",
    "Bcc",
    "Reply-To",
    "Date",
    "Subject",
    "MIME-Version",
    "Return-Path",
    "Received",
    "Delivered-To",
];
/// Fields of a part.
const CONTENT: &str = "Content-";
/// Octets of the longest address (RFC 5321 section 4.5.3.1.3).
const MAX_ADDRESS: usize = 254;
/// Octets of the longest value of a field.
const MAX_VALUE: usize = 16 * 1024;
/// Octets of the longest word of a field. A line has 998 at most (RFC 5322 section 2.1.1).
const MAX_WORD: usize = 900;
/// Characters of the longest name of a field or a media type.
const MAX_NAME: usize = 76;
/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::message_object::{MessageObject, ObjectLimits};

    fn composed(description: &Value) -> Result<(Draft, MessageObject), String> {
        let draft = compose(description.to_string().as_bytes(), SystemTime::UNIX_EPOCH, 7)?;
        let object = MessageObject::parse(&draft.message, &ObjectLimits::default());
        Ok((draft, object))
    }

    fn letter() -> Value {
        json!({ "From": { "Email": "ann@a.test" }, "To": [{ "Email": "bob@b.test" }] })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut letter = letter();
        letter[name] = value;
        letter
    }

    #[test]
    fn a_message_says_what_its_description_says() {
        let description = json!({
            "From": { "Email": "Ann@A.test", "Name": "Ann, é" },
            "To": [{ "Email": "bob@b.test", "Name": "Bob" }, { "Email": "BOB@b.test" }],
            "Cc": [{ "Email": "c@b.test" }],
            "Bcc": ["secret@b.test", "c@b.test"],
            "ReplyTo": [{ "Email": "r@b.test", "Name": "R" }],
            "Subject": "Grüße",
            "Text": "one\r\ntwo\rthree\n",
            "HTML": "<p>h</p>",
            "Headers": { "X-One": "1", "List-Unsubscribe": "<mailto:u@b.test>, <https://b.test/u>" },
            "Attachments": [
                { "Content": "data:image/png;base64,UE5H", "Filename": "/tmp/a.png" },
                { "Content": "UE5H\nUE5H", "Filename": "b", "ContentType": "image/png; x=y", "ContentID": "<cid1>" },
            ],
            "Tags": ["ignored"],
            "Unknown": 1,
        });
        let (draft, object) = composed(&description).unwrap();
        let to: Vec<String> = draft.to.iter().map(ToString::to_string).collect();
        assert_eq!(to, ["bob@b.test", "c@b.test", "secret@b.test"]);
        assert_eq!(draft.from.to_string(), "Ann@a.test");
        assert!(!draft.message.contains(&b'\r') && draft.octets > draft.message.len() as u64);
        assert!(!String::from_utf8_lossy(&draft.message).contains("secret"));
        let summary = &object.summary;
        assert_eq!((summary.subject.as_str(), summary.from[0].name.as_str()), ("Grüße", "Ann, é"));
        assert_eq!((summary.reply_to[0].name.as_str(), summary.cc[0].address.as_str()), ("R", "c@b.test"));
        assert_eq!((object.text.trim(), object.html.trim()), ("one\ntwo\nthree", "<p>h</p>"));
        assert_eq!(object.header("X-One"), Some("1"));
        assert_eq!(summary.message_id, "0.0000000000000007@a.test");
        let file = &object.attachments[0];
        assert_eq!(
            (file.file_name.as_str(), file.content_type.as_str(), file.size),
            ("a.png", "image/png", 3)
        );
        let inline = &object.inline[0];
        assert_eq!((inline.content_id.as_str(), inline.size), ("cid1", 6));
    }

    #[test]
    fn v40_capitals_of_a_key_do_not_matter_as_in_mailpit() {
        let description = json!({
            "FROM": { "email": "ann@a.test", "NAME": "Ann" },
            "to": [{ "EMail": "bob@b.test" }],
            "replyto": [{ "Email": "r@b.test" }],
            "tExt": "hello",
            "html": "<p>h</p>",
            "attachments": [{ "FileName": "a.png", "content": "UE5H", "contentid": "cid1" }],
            "Priority": 1,
        });
        let (draft, object) = composed(&description).unwrap();
        assert_eq!((draft.from.to_string(), draft.to.len()), ("ann@a.test".into(), 1));
        assert_eq!((object.text.trim(), object.html.trim()), ("hello", "<p>h</p>"));
        assert_eq!((object.summary.from[0].name.as_str(), object.inline[0].size), ("Ann", 3));
    }

    #[test]
    fn nothing_but_sender_and_recipient_is_needed() {
        for empty in [json!(null), json!([])] {
            let mut description = letter();
            for name in ["Cc", "Bcc", "ReplyTo", "Attachments"] {
                description[name] = empty.clone();
            }
            description["Headers"] = json!(null);
            description["Subject"] = json!(null);
            let (draft, object) = composed(&description).unwrap();
            assert_eq!((draft.to.len(), object.summary.subject.as_str()), (1, ""));
        }
    }

    #[test]
    fn v40_each_wrong_value_is_named_with_what_to_write() {
        for (description, told) in [
            (json!({}), "From.Email is missing: write an address like user@example.test"),
            (
                with("Recepients", json!([])),
                "The body is not the JSON object of a message: the key \"Recepients\" (did you mean \"To\"?) at line 1",
            ),
            (
                json!({ "From": { "Address": "a@b.test" } }),
                "The body is not the JSON object of a message: the key \"Address\" (did you mean \"Email\"?)",
            ),
            (
                with("Attachments", json!([{ "Name": "a", "Content": "" }])),
                "The body is not the JSON object of a message: the key \"Name\" (did you mean \"Filename\"?)",
            ),
            (
                with("to", json!([])),
                "The body is not the JSON object of a message: the key \"To\" stands twice",
            ),
            (
                json!({ "From": { "Email": "a@b.test" } }),
                "The message has no recipient: name one in To, Cc or Bcc",
            ),
            (with("To", json!([{ "Email": "bob" }])), "invalid To address: To[0].Email is not an address"),
            (
                with("Cc", json!([{ "Email": "a@b.test" }, { "Email": "Bob <a@b.test>" }])),
                "invalid Cc address: Cc[1].Email is not an address",
            ),
            (with("Bcc", json!(["a@b.test,c@d.test"])), "invalid Bcc address: Bcc[0] is not an address"),
            (
                with("ReplyTo", json!([{ "Email": "" }])),
                "invalid Reply-To address: ReplyTo[0].Email is missing",
            ),
            (with("Subject", json!("a\r\nBcc: x@y.test")), "Subject has a line end"),
            (with("From", json!({ "Email": "a@b.test", "Name": "A\nX: y" })), "From.Name has a line end"),
            (with("From", json!({ "Email": "a@b.test\r\nX: y" })), "From.Email is not an address"),
            (with("Headers", json!({ "X": "a\nb" })), "Headers.X has a line end"),
            (with("Headers", json!({ "X: y\r\nZ": "a" })), "Headers.X: y"),
            (with("Headers", json!({ "": "a" })), "Headers. cannot be the name"),
            (with("Headers", json!({ "bcc": "x@y.test" })), "Headers.bcc is a field that the server writes"),
            (with("Headers", json!({ "content-Type": "x/y" })), "Headers.content-Type is a field"),
            (with("Headers", json!({ "Received": "x" })), "Headers.Received is a field"),
            (
                with("Headers", json!({ "X": "y".repeat(901) })),
                "Headers.X has a word of more than 900 octets",
            ),
            (with("Headers", json!({ "Message-ID": "<a b>" })), "Headers.Message-ID is not an id"),
            (
                with("Attachments", json!([{ "Content": "!" }])),
                "Attachments[0].Content: write the file in base64",
            ),
            (
                with("Attachments", json!([{ "ContentType": "x" }])),
                "Attachments[0].ContentType: write a media type",
            ),
            (
                with("Attachments", json!([{ "ContentID": "a>\u{0}" }])),
                "Attachments[0].ContentID has a line end",
            ),
            (with("Attachments", json!([{ "ContentID": "a b" }])), "Attachments[0].ContentID is not an id"),
            (
                with("Attachments", json!([{ "Filename": "a\u{0}" }])),
                "Attachments[0].Filename has a line end",
            ),
            (with("To", json!(vec![json!({}); 10_001])), "The body is not the JSON object of a message"),
            (json!([]), "The body is not the JSON object of a message"),
            (with("Subject", json!(1)), "The body is not the JSON object of a message"),
        ] {
            let error = composed(&description).unwrap_err();
            assert!(error.starts_with(told), "{told}: {error}");
        }
    }

    proptest! {
        #[test]
        fn v41_no_value_of_a_client_adds_a_field_or_a_recipient(
            texts in prop::collection::vec("(\\r|\\n|\\x00|:|Bcc: x@y\\.test|[ -~]|é|\u{202e}){0,12}", 8),
        ) {
            let [name, subject, text, html, field, value, file, email] = texts.try_into().unwrap();
            let description = json!({
                "From": { "Email": "ann@a.test", "Name": name },
                "To": [{ "Email": "bob@b.test", "Name": subject.clone() }],
                "Cc": if email.is_empty() { json!([]) } else { json!([{ "Email": email }]) },
                "Subject": subject,
                "Text": text,
                "HTML": html,
                "Headers": { (format!("X-{field}")): value },
                "Attachments": [{ "Content": "", "Filename": file.clone(), "ContentID": "x" }],
            });
            let Ok((draft, object)) = composed(&description) else { return Ok(()) };
            prop_assert!(draft.to.len() <= 2 && !draft.message.contains(&0) && !draft.message.contains(&b'\r'));
            prop_assert!(draft.message.split(|b| *b == b'\n').all(|line| line.len() <= 998));
            let named = |known: &str| object.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(known)).count();
            prop_assert_eq!([named("Bcc"), named("From"), named("To"), named("Subject")], [0, 1, 1, 1]);
            let fields = object.headers.len();
            prop_assert!((8..=9).contains(&fields), "{} fields: {:?}", fields, object.headers);
        }
    }
}
