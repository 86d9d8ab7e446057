//! The page of the web inbox, on a worker thread.

use super::{
    catalog::{MailboxListing, Row, ScopeRows},
    job::{ApiOutcome, Changes},
    row_reader::RowReader,
    selections::{RowChange, addresses, has_gone, mark, matching, named, page_of, query, with_ids},
    storage::Storage,
};
use crate::{
    api::web_page::{BroughtBy, Counts, Delivery, OpenedMessage, SessionsPage, WebPage},
    message_object::MessageObject,
    proto::{
        http::api::{Document, MailboxScope, MessageName, Outcome, PageRequest, SessionsRequest},
        request::{ConnId, Failure, Maildrop},
        smtp::address::Address,
    },
    time_zone::Zone,
};

/// The page, with the message that the request names. It marks a message with an id as read: `latest` needs no secret, so a
/// page of another site could name it.
pub(super) fn web_page(
    storage: &Storage,
    scope: &MailboxScope,
    request: &PageRequest,
    zone: &Zone,
) -> Result<ApiOutcome, Failure> {
    let mut changes = Changes::None;
    if let Some(MessageName::Id(id)) = &request.message {
        // A mailbox that cannot be changed can be read all the same.
        let copies = with_ids(storage, scope, std::slice::from_ref(id))?.rows;
        (changes, _) = mark(storage, copies, RowChange::MarkRead);
    }
    let found = storage.rows(scope)?;
    let rows = &found.rows;
    let in_scope = counts(rows.iter().map(|row| row.is_read));
    let open = request.message.as_ref().and_then(|name| named(rows, name)).cloned();
    let (search, mistake) = match query(&request.search, zone) {
        Ok(search) => (Some(search), None),
        Err(mistake) => (None, Some(mistake)),
    };
    let ScopeRows { rows, mut unreadable } = match search {
        Some(search) => matching(storage, &search, found),
        None => ScopeRows { rows: Vec::new(), ..found },
    };
    // The newest message of a search, as in Mailpit.
    let is_latest = request.message == Some(MessageName::Latest);
    let open = if is_latest && !request.search.trim().is_empty() { rows.first().cloned() } else { open };
    let object = open.as_ref().map(|row| object(storage, row));
    let mut reader = RowReader::new(storage);
    let listed = rows.iter().skip(request.start).take(WebPage::PART);
    let part = page_of(listed, usize::MAX, &mut unreadable, |row| Ok(((row, reader.summary(row)?), 0)));
    if let (Some(row), Some(Err(failure))) = (&open, &object)
        && !has_gone(*failure)
    {
        unreadable.insert(row.listing.mailbox.clone());
    }
    let all_inboxes = storage.listings(&request.inboxes)?;
    let has_mailbox = !all_inboxes.listings.is_empty() || request.inboxes == MailboxScope::All;
    unreadable.extend(all_inboxes.unreadable);
    let mut inboxes: Vec<(String, Counts)> = all_inboxes
        .listings
        .iter()
        .map(|listing| {
            (
                Address::from(&listing.mailbox).to_string(),
                counts(MailboxListing::rows(listing).map(|row| row.is_read)),
            )
        })
        .collect();
    // The mailbox of a user who has got no mail yet does not exist.
    if let (Some(own), true) = (request.inboxes.mailbox(), inboxes.is_empty()) {
        inboxes.push((Address::from(own).to_string(), Counts::default()));
    }
    inboxes.sort();
    let all = match (&request.inboxes, scope) {
        (MailboxScope::All, MailboxScope::All) => Some(in_scope),
        (MailboxScope::All, MailboxScope::One(_) | MailboxScope::Tagged(..)) => {
            Some(counts(storage.rows(&MailboxScope::All)?.rows.iter().map(|row| row.is_read)))
        }
        (MailboxScope::One(_) | MailboxScope::Tagged(..), _) => None,
    };
    let page = WebPage {
        language: request.language,
        address: request.address.as_deref(),
        recipient: request.address.as_deref().map(|address| with_domain(address, scope)),
        all,
        inboxes,
        has_mailbox,
        search: &request.search,
        mistake,
        asks: request.asks,
        send_to: request.send_to.as_deref(),
        start: request.start,
        listed: counts(rows.iter().map(|row| row.is_read)),
        unread: in_scope.unread,
        unreadable: addresses(&unreadable),
        rows: part.iter().map(|(row, summary)| (&**summary, row.stored())).collect(),
        open: match (&open, &object) {
            (Some(row), Some(Ok(object))) => {
                OpenedMessage::Shown(object, row.stored(), delivery(storage, request, row, object))
            }
            // It may be in a mailbox that cannot be read.
            _ if request.message.is_some() && unreadable.is_empty() => OpenedMessage::Gone,
            _ => OpenedMessage::None,
        },
    };
    Ok(ApiOutcome::Document { document: page.document(), reading: None, changes })
}

/// The page of sessions.
pub(super) fn sessions_page(storage: &Storage, request: &SessionsRequest) -> ApiOutcome {
    let sessions = storage.archive.as_ref().map(|archive| archive.sessions());
    let shown = sessions.iter().flatten().find(|session| request.session.is_none_or(|id| id == session.id));
    let is_gone = sessions.is_some() && request.session.is_some() && shown.is_none();
    let shown = shown.zip(storage.archive.as_ref());
    let shown = shown.and_then(|(session, archive)| Some((session.clone(), archive.text(session.id)?)));
    let follows = request.session.is_none();
    let page = SessionsPage { language: request.language, sessions, follows, shown, from: request.from };
    let outcome = if is_gone { Outcome::Missing } else { Outcome::Done };
    ApiOutcome::of(Document { outcome, ..page.document() })
}

/// Facts about the way of a message to here that its header does not tell.
fn delivery(storage: &Storage, request: &PageRequest, row: &Row, object: &MessageObject) -> Delivery {
    let text = || {
        // `c1000-1` is the first message of the session c1000.
        let queued = object.summary.envelope.queued.as_deref()?;
        let id = ConnId::parse(queued.split('-').next()?)?;
        storage.archive.as_ref()?.of_delivery(id, row.wanted()?.name)
    };
    let session = match (&request.inboxes, &storage.archive) {
        (MailboxScope::One(_) | MailboxScope::Tagged(..), _) => BroughtBy::Hidden,
        (MailboxScope::All, None) => BroughtBy::Off,
        (MailboxScope::All, Some(_)) => text().map_or(BroughtBy::Gone, BroughtBy::Session),
    };
    Delivery { octets: row.listing.snapshot.octets(row.at), session }
}

/// An address of a path, with the domain of its mailbox if it has none.
fn with_domain(address: &str, scope: &MailboxScope) -> String {
    let domain = scope.mailbox().and_then(|mailbox| mailbox.as_str().rsplit_once('@'));
    match domain.filter(|_| !address.contains('@')) {
        Some((_, domain)) => format!("{address}@{domain}"),
        None => address.to_owned(),
    }
}

/// The message of a row.
fn object(storage: &Storage, row: &Row) -> Result<MessageObject, Failure> {
    RowReader::new(storage).object(row)
}

/// Counts messages, each of which has been read or not.
fn counts(read: impl Iterator<Item = bool>) -> Counts {
    read.fold(Counts::default(), |sum, is_read| Counts {
        messages: sum.messages + 1,
        unread: sum.unread + usize::from(!is_read),
    })
}
