//! The way of each endpoint to its answer, once the request is whole: a document that the session has, an action of the
//! backend, or events.

use super::{
    api::{ApiAction, Document, MailboxScope, MessageName, MessageView, Selection},
    autoconfig,
    change_body::{ChangeBody, NO_QUERY},
    fixed, mailhog_routes, missing_body, page, parameters,
    routes::Endpoint,
    session_config::SessionConfig,
    state::Exchange,
    status::{NO_MESSAGE, Refusal, Status},
};
use crate::proto::chaos::Chaos;

/// The way to the answer of a request.
pub(super) enum Answer {
    /// This document is the answer.
    Document(Document),
    /// The backend carries out this action, and its document is the answer.
    Action(ApiAction),
    /// The session subscribes to events. They are the answer, or one of them leads to it.
    Events,
}

impl From<Document> for Answer {
    fn from(document: Document) -> Self {
        Self::Document(document)
    }
}

impl From<ApiAction> for Answer {
    fn from(action: ApiAction) -> Self {
        Self::Action(action)
    }
}

/// Finds the way to the answer. `inboxes` are the mailboxes that the user may reach.
pub(super) fn answer(
    exchange: &Exchange,
    inboxes: MailboxScope,
    body: &[u8],
    config: &SessionConfig,
) -> Result<Answer, Refusal> {
    let (endpoint, target) = (exchange.endpoint, &exchange.head.target);
    let has_faults = config.protocol.has_faults;
    if !has_faults && matches!(endpoint, Endpoint::Chaos | Endpoint::SetChaos) {
        return Err(fixed::NO_CHAOS);
    }
    if endpoint == Endpoint::SetChaos && exchange.address.is_some() {
        return Err(fixed::CHAOS_OF_ALL);
    }
    parameters::check(endpoint, exchange.head.method, target)?;
    // A request that names no length has an empty body (RFC 9112 section 6.3).
    if let Some(refusal) = missing_body::refusal(endpoint).filter(|_| body.is_empty()) {
        return Err(refusal);
    }
    let list = |search: &str| ApiAction::List {
        search: search.to_owned(),
        start: target.number("start").unwrap_or(0),
        limit: match target.number("limit") {
            Some(0) if endpoint == Endpoint::List => MAX_LIMIT,
            limit => limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
        },
    };
    let query = || target.parameter("query").map(str::trim).filter(|query| !query.is_empty()).ok_or(NO_QUERY);
    let name = || exchange.id.as_deref().and_then(MessageName::parse).ok_or(NO_MESSAGE);
    let message = |view| -> Result<ApiAction, Refusal> {
        Ok(match (name()?, exchange.search_of_latest()) {
            (MessageName::Latest, Some(search)) => ApiAction::Find { search: search.to_owned(), view },
            (name, _) => ApiAction::Message(name, view),
        })
    };
    let change = || ChangeBody::parse(body, exchange.head.is_form);
    let page = |message| {
        ApiAction::Page(Box::new(page::request(exchange, inboxes, message, &config.protocol.mail_servers)))
    };
    Ok(match endpoint {
        Endpoint::Inbox => page(None).into(),
        Endpoint::MessagePage | Endpoint::AskDelete => page(Some(name()?)).into(),
        Endpoint::DeletePosted => match name()? {
            name @ MessageName::Id(_) => ApiAction::Delete(Selection::One(name)).into(),
            MessageName::Latest => return Err(NO_MESSAGE),
        },
        Endpoint::PageStyle => page::style().into(),
        Endpoint::PageScript => page::script().into(),
        Endpoint::SessionsScript => page::sessions_script().into(),
        Endpoint::Sessions | Endpoint::SessionPage => {
            ApiAction::Sessions(page::sessions_request(exchange)?).into()
        }
        Endpoint::Autoconfig => autoconfig::mozilla_answer(exchange, config)?.into(),
        Endpoint::Autodiscover => autoconfig::outlook_answer(exchange, body, config)?.into(),
        Endpoint::AppleProfile => autoconfig::apple_answer(exchange, config)?.into(),
        Endpoint::Live | Endpoint::DeleteTag => Document::ok().into(),
        Endpoint::Ready => ApiAction::Ready.into(),
        Endpoint::Info => ApiAction::Info.into(),
        Endpoint::List => list("").into(),
        Endpoint::Search => list(query()?).into(),
        Endpoint::DeleteSearch => ApiAction::Delete(Selection::Search(query()?.to_owned())).into(),
        // Without a body the whole list is meant; a malformed one must not delete it.
        Endpoint::Delete if body.is_empty() => ApiAction::Delete(Selection::All).into(),
        Endpoint::Delete => ApiAction::Delete(change()?.selection()?).into(),
        Endpoint::SetRead => {
            let change = change()?;
            let read = change.read;
            ApiAction::SetRead(change.selection()?, read).into()
        }
        Endpoint::Message => message(MessageView::Object)?.into(),
        Endpoint::Headers => message(MessageView::Headers)?.into(),
        Endpoint::Raw => message(MessageView::Raw)?.into(),
        // A link on another site may name `latest`, and would tell that site when mail is read.
        Endpoint::ViewRemote if exchange.id.as_deref() == Some("latest") => return Err(NO_MESSAGE),
        Endpoint::ViewHtml | Endpoint::ViewRemote => {
            let is_framed = target.parameter("embed") == Some("1");
            message(if is_framed { MessageView::FramedHtml } else { MessageView::Html })?.into()
        }
        Endpoint::ViewText => message(MessageView::Text)?.into(),
        Endpoint::Part => {
            let view = exchange.part.as_deref().and_then(MessageView::of_part).ok_or(NO_MESSAGE)?;
            message(view)?.into()
        }
        Endpoint::Wait | Endpoint::Events | Endpoint::MailHogEvents | Endpoint::SessionEvents => {
            Answer::Events
        }
        Endpoint::MailHogList => mailhog_routes::list(target, None).into(),
        Endpoint::MailHogSearch => mailhog_routes::list(target, Some(mailhog_routes::search(target)?)).into(),
        Endpoint::MailHogMessage => message(MessageView::MailHog)?.into(),
        Endpoint::MailHogDownload => message(MessageView::Download)?.into(),
        Endpoint::MailHogDelete => ApiAction::Delete(Selection::One(name()?)).into(),
        // invariant: the session reads the body of a message on its way to the committer, and an empty one is refused above
        Endpoint::Send => return Err(NO_BODY),
        Endpoint::Chaos => ApiAction::Chaos(None).into(),
        Endpoint::SetChaos => match Chaos::parse(body) {
            Ok(chaos) => ApiAction::Chaos(Some(chaos)).into(),
            Err(why) => return Err(Refusal::saying(Status::BAD_REQUEST, why)),
        },
        Endpoint::WebUi => fixed::web_ui(has_faults).into(),
        Endpoint::Tags => Document::json("[]".into()).into(),
        Endpoint::SetTags => fixed::set_tags(body)?.into(),
        Endpoint::RenameTag => return Err(fixed::NO_TAG),
    })
}

const NO_BODY: Refusal = Refusal::new(Status::BAD_REQUEST, "This request needs a body");
/// Messages in a page of the list, unless the request names another number.
const DEFAULT_LIMIT: usize = 50;
/// Messages in the longest page.
const MAX_LIMIT: usize = 1000;
