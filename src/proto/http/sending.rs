//! Documents on their way to the client, in pieces: the connection takes the next step only while its output is below
//! its mark, so a slow client costs no more memory than the document itself, and a message not even that.

use super::{
    api::{ApiAction, Document, MailboxScope, Outcome},
    head::Method,
    response::{ContentPolicy, ResponseHead},
    routes::Endpoint,
    state::{Exchange, HttpSession, State, Transfer},
    status::Status,
};
use crate::proto::{Step, buffer::Outbox, event::Event, request::Response};

impl HttpSession {
    /// Writes the head of a response, and then its content.
    pub(super) fn send_document(
        &mut self,
        exchange: Box<Exchange>,
        scope: MailboxScope,
        document: Document,
        out: &mut Outbox,
    ) -> Step {
        let keep_alive = exchange.head.keep_alive;
        let status = match document.outcome {
            Outcome::Done => Status::OK,
            Outcome::Mistaken => Status::BAD_REQUEST,
            Outcome::Missing => Status::NOT_FOUND,
            Outcome::Failed => Status::UNAVAILABLE,
        };
        let wanted = exchange.head.if_none_match.as_deref();
        if let (Some(etag), Some(wanted)) = (&document.etag, wanted)
            && has_etag(wanted, etag)
        {
            let mut head = ResponseHead::new(Status::NOT_MODIFIED, policy(exchange.endpoint));
            head.cache(Some(etag));
            head.announce(keep_alive && exchange.head.announces_keep_alive);
            head.write_without_length(keep_alive, out);
            return self.finish(keep_alive);
        }
        let is_posted = exchange.endpoint == Endpoint::DeletePosted && status == Status::OK;
        let status = if is_posted { Status::SEE_OTHER } else { status };
        let mut head = ResponseHead::new(status, policy(exchange.endpoint));
        head.document(&document);
        if is_posted {
            // From `message/{id}/delete` to the list.
            head.field("Location", "../../");
        }
        head.announce(keep_alive && exchange.head.announces_keep_alive);
        head.write(document.length, keep_alive, out);
        if exchange.head.method == Method::Head {
            return self.finish(keep_alive);
        }
        self.send_piece(Box::new(Transfer { exchange, scope, document, at: 0, sent: 0 }), out)
    }

    /// Writes the next piece, or requests it.
    pub(super) fn send_piece(&mut self, mut transfer: Box<Transfer>, out: &mut Outbox) -> Step {
        let bytes = &transfer.document.bytes[transfer.at..];
        let piece = &bytes[..bytes.len().min(PIECE)];
        out.push(piece);
        transfer.at += piece.len();
        transfer.sent += piece.len() as u64;
        if transfer.sent >= transfer.document.length {
            if matches!(transfer.exchange.endpoint, Endpoint::Raw | Endpoint::MailHogDownload) {
                out.push_event(Event::Read { octets: transfer.sent });
            }
            return self.finish(transfer.exchange.head.keep_alive);
        }
        if transfer.at < transfer.document.bytes.len() {
            self.state = State::Sending(transfer);
            return Step::Continue;
        }
        let (scope, from) = (transfer.scope.clone(), transfer.sent);
        self.state = State::AwaitingPiece(transfer);
        self.ask(scope, ApiAction::Continue { from })
    }

    /// The next piece of a message is there, or cannot be read. The head has announced all octets, so the session can
    /// then only abort the connection.
    pub(super) fn piece_arrived(
        &mut self,
        mut transfer: Box<Transfer>,
        answer: Response,
        out: &mut Outbox,
    ) -> Step {
        match answer {
            Response::Chunk { bytes, last }
                if last == (transfer.sent + bytes.len() as u64 == transfer.document.length) =>
            {
                transfer.document.bytes = bytes;
                transfer.at = 0;
                self.state = State::Sending(transfer);
                Step::Continue
            }
            _ => {
                out.push_event(Event::Ended { why: "message could not be read to its end" });
                Step::Abort
            }
        }
    }
}

/// True if a list of versions has this one, weak or strong (RFC 9110 section 13.1.2).
fn has_etag(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).trim_matches('"') == etag)
}

fn policy(endpoint: Endpoint) -> ContentPolicy {
    match endpoint {
        Endpoint::ViewHtml => ContentPolicy::MessageHtml,
        Endpoint::ViewRemote => ContentPolicy::MessageHtmlWithImages,
        Endpoint::Inbox
        | Endpoint::MessagePage
        | Endpoint::AskDelete
        | Endpoint::Sessions
        | Endpoint::SessionPage => ContentPolicy::Page,
        _ => ContentPolicy::Nothing,
    }
}

/// Octets of a document that one step writes.
pub(super) const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::has_etag;

    #[test]
    fn a_client_that_has_the_version_is_told_so() {
        for (list, has) in [
            ("\"a1\"", true),
            ("W/\"a1\"", true),
            ("\"b\", \"a1\"", true),
            ("*", true),
            ("\"a\"", false),
            ("", false),
        ] {
            assert_eq!(has_etag(list, "a1"), has, "{list}");
        }
    }
}
