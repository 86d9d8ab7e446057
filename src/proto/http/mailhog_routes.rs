//! The routes of MailHog's API: their requests, their answers to changes, and the stream of new messages.
//!
//! The rule: MailHog's clients run unchanged. On the path that Mailpit has too, `/api/v1/messages`, the list has Mailpit's form.

use std::time::Duration;

use super::{
    api::{ApiAction, Document, MailHogKind, MailHogSearch, Outcome},
    change_body::NO_QUERY,
    routes::Endpoint,
    sending::PIECE,
    state::{Exchange, HttpSession, MessageStream, State},
    status::{Refusal, Status},
    target::Target,
};
use crate::proto::{
    Context, Step,
    buffer::{Inbox, Outbox},
    request::{Failure, Response},
};

/// A page has 50 messages for a request that names no number, or none above 0, and 250 at most, as in MailHog.
pub(super) fn list(target: &Target, search: Option<MailHogSearch>) -> ApiAction {
    let limit = target.number("limit").filter(|limit| *limit > 0).unwrap_or(DEFAULT_ITEMS).min(MAX_ITEMS);
    ApiAction::MailHogList { search, start: target.number("start").unwrap_or(0), limit }
}

/// The search of a request. The text counts as it is, blanks too.
pub(super) fn search(target: &Target) -> Result<MailHogSearch, Refusal> {
    let kind = target.parameter("kind").and_then(MailHogKind::parse).ok_or(NO_KIND)?;
    let text = target.parameter("query").filter(|text| !text.is_empty()).ok_or(NO_QUERY)?;
    Ok(MailHogSearch { kind, text: text.to_owned() })
}

/// The answer to a change. MailHog's has no content, and its clients parse any content as JSON; that of Mailpit is `ok`. Both
/// delete all messages with the same request, but the client that parses the content names no media types.
pub(super) fn answer(exchange: &Exchange, document: Document) -> Document {
    let has_body = exchange.head.content_length.unwrap_or(0) > 0;
    match exchange.endpoint {
        _ if document.outcome != Outcome::Done => document,
        Endpoint::MailHogDelete => Document::silence(),
        Endpoint::Delete if !has_body && !exchange.head.names_types => Document::silence(),
        _ => document,
    }
}

impl HttpSession {
    pub(super) fn stream_step(
        &mut self,
        cx: &Context<'_>,
        mut stream: Box<MessageStream>,
        inbox: &Inbox,
        out: &mut Outbox,
    ) -> Step {
        if stream.is_lagging {
            return Step::Abort;
        }
        if let Some(event) = &stream.event {
            if stream.at == 0 {
                out.push(b"data: ");
            }
            let rest = &event.octets[stream.at..];
            let piece = &rest[..rest.len().min(PIECE)];
            out.push(piece);
            stream.at += piece.len();
            if stream.at == event.octets.len() {
                out.push(b"\r\n");
                (stream.event, stream.at) = (None, 0);
            }
            stream.pauses = 0;
            self.state = State::Streaming(stream);
            return Step::Continue;
        }
        if inbox.has_ended() || stream.until.is_some_and(|until| until <= cx.now.monotonic) {
            return self.finish(false);
        }
        if let Some(id) = stream.ids.pop_front() {
            let scope = stream.scope.clone();
            self.state = State::AwaitingStreamed(stream);
            return self.ask(scope, ApiAction::Streamed(id));
        }
        let is_sent = out.is_empty();
        if is_sent && stream.pauses >= PAUSES_PER_PING {
            stream.pauses = 0;
            out.line(": ping\r\n");
        }
        stream.pauses += 1;
        self.state = State::Streaming(stream);
        // Output of the last pause is still there: the write timeout decides.
        if is_sent { Step::Pause(PAUSE) } else { Step::Idle }
    }

    /// A message of the stream has been read, or has gone meanwhile.
    pub(super) fn streamed(&mut self, mut stream: Box<MessageStream>, answer: Response) -> Step {
        match answer {
            // JSON on one line, with its end.
            Response::Item(event) => stream.event = Some(event),
            Response::Failed(Failure::Gone | Failure::Changed | Failure::Truncated) => {}
            // The client must not take a stream for whole in which a message is missing.
            _ => return Step::Abort,
        }
        self.state = State::Streaming(stream);
        Step::Continue
    }
}

const NO_KIND: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The parameter kind is one of from, to and containing");
/// Messages in a page, unless the request names another number.
const DEFAULT_ITEMS: usize = 50;
/// Messages in the longest page.
const MAX_ITEMS: usize = 250;
/// The longest time until a new message is sent.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES_PER_PING: u32 = 15;
