//! The notation of octets, requests and responses in dialogues. Printable characters are written unchanged.
//! All others are escaped, so that no editor can change them unnoticed.

use std::time::{Duration, SystemTime};

use super::imap_format;
pub use super::octets::{escaped, quoted, unescaped, unquoted};
use crate::{
    limits::Span,
    printable::json,
    proto::http::api::{ApiAction, ApiRequest, Draft, MessageView, Outcome, Selection},
    proto::request::{Envelope, Failure, MaildropRequest, ReceiveRequest, Recipient, Request, Response},
};

/// Formats a request, as written after `?`. `body` is the whole message of a delivery. With `detail`, the
/// text includes the trace header and the password.
pub fn format_request(request: &Request, body: &[u8], detail: bool) -> String {
    match request {
        Request::Receive(ReceiveRequest::CheckSpace { size }) => format!("? room size={size}"),
        Request::Receive(ReceiveRequest::Begin) => "? begin".into(),
        Request::Receive(ReceiveRequest::BeginWhole { octets, .. }) => format!("? begin octets={octets}"),
        Request::Receive(ReceiveRequest::Spill { mailboxes, bytes }) => {
            let mailboxes: Vec<String> = mailboxes.iter().map(ToString::to_string).collect();
            format!("? spill mailbox={} bytes={}", mailboxes.join(","), quoted(bytes))
        }
        Request::Receive(ReceiveRequest::Discard) => "? discard".into(),
        Request::Receive(ReceiveRequest::Deliver { envelope, .. }) => {
            let (name, body) =
                if detail { ("deliver+trace", body) } else { ("deliver", without_trace(body, envelope)) };
            let from = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
            let to: Vec<String> = envelope.to.iter().map(recipient).collect();
            let sent =
                envelope.sent_copy_for.as_ref().map(|user| format!(" sent={user}")).unwrap_or_default();
            format!("? {name} from=<{from}> to={}{sent} body={}", to.join(","), quoted(body))
        }
        Request::Verify { user, password } if detail => {
            format!(
                "? verify+password user={} password={}",
                escaped(user.as_bytes()),
                quoted(password.reveal())
            )
        }
        Request::Verify { user, .. } => format!("? verify user={}", escaped(user.as_bytes())),
        Request::Maildrop(MaildropRequest::Open { mailbox, .. }) => format!("? open mailbox={mailbox}"),
        Request::Maildrop(MaildropRequest::Read { message, from }) => {
            format!("? read message={message} from={from}")
        }
        Request::Maildrop(MaildropRequest::Update { delete, seen }) => {
            format!("? update delete={delete:?} seen={seen:?}")
        }
        Request::Api(request) => api_request(request),
        Request::Imap(request) => format!("? {}", imap_format::request(request)),
    }
}

/// A request of the web API: the mailbox, or `*` for all, and the action.
fn api_request(ApiRequest { scope, action, zone, .. }: &ApiRequest) -> String {
    let zone = zone.as_ref().map(|zone| format!(" zone={}", quoted(zone.as_bytes()))).unwrap_or_default();
    format!("? api mailbox={scope} {}{zone}", api_action(action))
}

fn api_action(action: &ApiAction) -> String {
    let text = |text: &str| quoted(text.as_bytes());
    let selection = |selection: &Selection| match selection {
        Selection::All => "*".to_owned(),
        Selection::One(name) => format!("one {name}"),
        Selection::Ids(ids) => ids.iter().map(|id| text(id)).collect::<Vec<_>>().join(","),
        Selection::Search(search) => format!("search {}", text(search)),
    };
    match action {
        ApiAction::Ready => "ready".to_owned(),
        ApiAction::Info => "info".to_owned(),
        ApiAction::List { search, start, limit } => {
            format!("list search={} start={start} limit={limit}", text(search))
        }
        ApiAction::MailHogList { search, start, limit } => {
            let search = search.as_ref().map(|search| (search.kind.name(), text(&search.text)));
            let search = search.map(|(kind, text)| format!(" {kind}={text}")).unwrap_or_default();
            format!("mailhog{search} start={start} limit={limit}")
        }
        ApiAction::Page(page) => {
            let message = page.message.as_ref().map(|name| format!(" message={name}")).unwrap_or_default();
            format!("page search={} start={}{message}", text(&page.search), page.start)
        }
        ApiAction::Sessions(page) => {
            let session = page.session.map(|id| format!(" session={id}")).unwrap_or_default();
            format!("sessions{session} from={}", page.from)
        }
        ApiAction::Message(name, view) => format!("message {name} {view}"),
        ApiAction::Streamed(id) => format!("stream {id}"),
        ApiAction::Continue { from } => format!("continue from={from}"),
        ApiAction::Find { search, view: MessageView::Object } => format!("find search={}", text(search)),
        ApiAction::Find { search, view } => format!("find search={} {view}", text(search)),
        ApiAction::Delete(messages) => format!("delete {}", selection(messages)),
        ApiAction::SetRead(messages, read) => format!("set read={read} {}", selection(messages)),
        ApiAction::Compose { body, .. } => format!("compose octets={}", body.len()),
        ApiAction::Chaos(None) => "chaos".to_owned(),
        ApiAction::Chaos(Some(chaos)) => format!("chaos set={}", json(chaos, false)),
        ApiAction::Subscribe => "subscribe".to_owned(),
        ApiAction::Watch => "watch".to_owned(),
    }
}

/// The address, with the mailbox if its name differs, and the folder if there is one.
fn recipient(Recipient { address, mailbox, folder }: &Recipient) -> String {
    let address = address.to_string();
    let wanted = folder.as_ref().map(|folder| format!("/{folder}")).unwrap_or_default();
    let mailbox = if address == mailbox.as_str() { String::new() } else { format!("/{mailbox}") };
    format!("<{address}>{mailbox}{wanted}")
}

/// The message without the lines that the server added at the top. There are four, and one or two more if
/// there is only one recipient.
fn without_trace<'a>(body: &'a [u8], envelope: &Envelope) -> &'a [u8] {
    let added = match (envelope.to.len(), &envelope.sent_copy_for) {
        (1, None) => 6,
        (1, Some(_)) => 5,
        _ => 4,
    };
    let mut ends = line_ends(body);
    if body.starts_with(b"Return-Path: ") {
        ends.nth(added - 1).map_or(body, |end| &body[end..])
    } else {
        body
    }
}

fn line_ends(body: &[u8]) -> impl Iterator<Item = usize> {
    body.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1)
}

/// Formats a response, as written after `!`. For an opened mailbox it lists the size and unique id of every
/// message, and with `ages` also its age. `None` if there are more than [`MAX_LISTED`] messages.
pub fn format_response(response: &Response, now: SystemTime, ages: bool) -> Option<String> {
    Some(match response {
        // Only the success of an update is recorded. The recorder leaves out that of the other requests.
        Response::Done => "! updated".into(),
        Response::Delivered(failures) if failures.iter().all(Option::is_none) => "! delivered".into(),
        Response::Delivered(failures) => {
            let outcome = |failure: &Option<Failure>| failure.map_or("ok", Failure::name);
            let outcomes: Vec<&str> = failures.iter().map(outcome).collect();
            format!("! partly {}", outcomes.join(" "))
        }
        Response::Stored(id) => format!("! stored {id}"),
        Response::Composed(Ok(draft)) if draft.to.len() > MAX_LISTED => return None,
        Response::Composed(Ok(draft)) => {
            let Draft { from, to, octets, .. } = &**draft;
            let to: Vec<String> = to.iter().map(|to| format!("<{to}>")).collect();
            format!("! composed from=<{from}> to={} octets={octets}", to.join(","))
        }
        Response::Composed(Err(why)) => format!("! malformed {}", quoted(why.as_bytes())),
        Response::Verified(mailbox) => format!("! welcome {mailbox}"),
        Response::Opened(maildrop) if maildrop.len() > MAX_LISTED => return None,
        Response::Opened(maildrop) => {
            let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let message = |at| {
                let unique_id = maildrop.unique_id(at).replace('\\', "\\\\").replace(',', "\\x2c");
                let age = now.saturating_sub(maildrop.delivered_at(at));
                let age = if ages { format!("/{age}s") } else { String::new() };
                format!("{}/{unique_id}{age}", maildrop.octets(at))
            };
            let messages: Vec<String> = (0..maildrop.len()).map(message).collect();
            format!("! opened {}", messages.join(",")).trim_end().into()
        }
        Response::Chunk { bytes, last } => {
            format!("! chunk {}{}", quoted(bytes), if *last { " last" } else { "" })
        }
        Response::Item(item) => format!("! item octets={}", item.octets.len()),
        Response::Document(document) => {
            let name = |name: &String| format!(" name={}", quoted(name.as_bytes()));
            let etag = |etag: &String| format!(" etag={}", quoted(etag.as_bytes()));
            let name = document.file_name.as_ref().map(name).unwrap_or_default();
            let etag = document.etag.as_ref().map(etag).unwrap_or_default();
            let failed = match document.outcome {
                Outcome::Done => "",
                Outcome::Mistaken => " failed=mistaken",
                Outcome::Missing => " failed=missing",
                Outcome::Failed => " failed=yes",
            };
            format!(
                "! document {} octets={}{name}{etag}{failed}",
                quoted(document.content_type.as_bytes()),
                document.length
            )
        }
        Response::Imap(response) => format!("! {}", imap_format::response(response)),
        Response::Failed(Failure::AuthFailed { delay }) => format!("! denied {}", format_duration(*delay)),
        Response::Failed(failure) => format!("! failed {}", failure.name()),
    })
}

/// Formats a duration, as written after `. pause` and `. wait`.
pub fn format_duration(span: Duration) -> String {
    Span(span).to_string()
}

/// The largest number of messages listed in one line.
pub const MAX_LISTED: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::printable::is_hidden;

    proptest! {
        #[test]
        fn w16_octets_read_back_as_they_were_and_none_of_them_hides(
            text in prop::collection::vec(prop_oneof![
                any::<char>(),
                prop::sample::select(vec![
                    ' ', '\\', 'x', '2', '0', '"', '|', '\n', '\r', '\u{200b}', '\u{202e}', '\u{feff}', '\u{2028}', '\u{3000}',
                    '\u{a0}', '\u{9b}',
                ]),
            ], 0..12),
            octets in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let bytes = [text.into_iter().collect::<String>().into_bytes(), octets].concat();
            let line = escaped(&bytes);
            prop_assert!(!line.contains(is_hidden), "{:?}", line);
            prop_assert_eq!(line.trim_end(), &line);
            prop_assert_eq!(unescaped(&line), Ok(bytes.clone()));
            let text = quoted(&bytes);
            prop_assert!(!text.contains(is_hidden), "{:?}", text);
            let text = format!("{text} last");
            prop_assert_eq!(unquoted(&text), Ok((bytes, "last")));
        }
    }

    #[test]
    fn w16_four_characters_that_look_like_an_escape_at_the_end_of_a_line_are_those() {
        for text in [&b"a\\x20"[..], b"a\\x20\nb\\x20", b"\\x20", b"a ", b"a\xe3\x80\x80", b"\xe2\x80\xae"] {
            assert_eq!(unescaped(&escaped(text)).as_deref(), Ok(text));
            assert_eq!(unquoted(&quoted(text)).map(|(text, _)| text).as_deref(), Ok(text));
        }
        assert_eq!(escaped("a\u{202e}b\u{200b}".as_bytes()), "a\\xe2\\x80\\xaeb\\xe2\\x80\\x8b");
    }
}
