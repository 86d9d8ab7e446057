//! The requests of the web API, on a worker thread.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::SystemTime,
};

use super::{
    catalog::{MailboxListing, Row, lock},
    job::{ApiOutcome, ReadMessage},
    mailhog,
    selections::{Change, mark, matching, named, query, search_matches, select},
    storage::{Storage, log_failure},
    web_page::web_page,
};
use crate::{
    api::{self, Page},
    maildir::{MessageEntry, MessageRef},
    message_object::{Limits, MessageObject, Summary, mailpit::ListItem},
    metrics::METRICS,
    printable,
    proto::{
        http::api::{
            ApiAction, ApiRequest, Document, MailChange, MailEvent, MailboxScope, MessageName, MessageView,
            Selection,
        },
        request::{Failure, Mailbox},
    },
    search::Query,
};

/// Runs a request. `reading` is the message whose next piece it asks for.
pub(super) fn run(
    storage: &Storage,
    request: ApiRequest,
    reading: Option<Box<ReadMessage>>,
) -> Result<ApiOutcome, Failure> {
    let ApiRequest { scope, action } = request;
    match action {
        ApiAction::Ready => storage.check_in_place().map(|()| ApiOutcome::of(Document::ok())),
        ApiAction::Info => info(storage, &scope).map(ApiOutcome::of),
        ApiAction::List { search, start, limit } => {
            list(storage, &scope, &query(&search), (start, limit)).map(ApiOutcome::of)
        }
        ApiAction::MailHogList { search, start, limit } => {
            mailhog::list(storage, &scope, search.as_ref(), (start, limit)).map(ApiOutcome::of)
        }
        ApiAction::Page(request) => web_page(storage, &scope, &request),
        ApiAction::Message(name, view) => message(storage, &scope, &name, view),
        ApiAction::Continue { from } => {
            let message = reading.ok_or(Failure::Truncated)?;
            let open = storage.open_message(&message.mailbox, MessageRef::from(&message.entry))?;
            let (bytes, last) = open.read(from, storage.read_chunk).map_err(|error| log_failure(&error))?;
            Ok(ApiOutcome::Chunk { bytes, reading: (!last).then_some(message) })
        }
        ApiAction::Find { search } => {
            let search = query(&search);
            for row in storage.rows(&scope)? {
                if search_matches(storage, &search, &row)? {
                    return show(storage, &scope, &row, MessageView::Object);
                }
            }
            Err(Failure::Gone)
        }
        ApiAction::Delete(selection) => {
            let rows = select(storage, &scope, &selection)?;
            change(storage, rows, Change::Delete)
        }
        ApiAction::SetRead(selection, read) => {
            let rows = select(storage, &scope, &selection)?;
            change(storage, rows, if read { Change::MarkRead } else { Change::MarkUnread })
        }
        // The backend serves subscriptions.
        ApiAction::Subscribe => Err(Failure::TempFail),
    }
}

/// The version of the server, and its counts, under the names of Mailpit.
fn info(storage: &Storage, scope: &MailboxScope) -> Result<Document, Failure> {
    let rows = storage.rows(scope)?;
    let unread = rows.iter().filter(|row| !row.is_read).count();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let uptime = now.saturating_sub(METRICS.started_at.get());
    let text = printable::json(
        &serde_json::json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "LatestVersion": env!("CARGO_PKG_VERSION"),
            "Database": "",
            "DatabaseSize": 0,
            "Messages": rows.len(),
            "Unread": unread,
            "Tags": {},
            "RuntimeStats": { "Uptime": uptime },
        }),
        false,
    );
    Ok(Document::json(text))
}

fn list(
    storage: &Storage,
    scope: &MailboxScope,
    search: &Query,
    (start, limit): (usize, usize),
) -> Result<Document, Failure> {
    let rows = storage.rows(scope)?;
    let (total, unread) = (rows.len(), rows.iter().filter(|row| !row.is_read).count());
    let rows = matching(storage, search, rows)?;
    let messages_unread = rows.iter().filter(|row| !row.is_read).count();
    let page = rows.iter().skip(start).take(limit);
    // A message that has gone meanwhile is left out.
    let page: Vec<(&Row, Arc<Summary>)> =
        page.filter_map(|row| Some((row, storage.summary(row).ok()?))).collect();
    let messages = page.iter().map(|(row, summary)| ListItem::new(summary, &row.stored()));
    let page = Page {
        total,
        unread,
        count: page.len(),
        messages_count: rows.len(),
        messages_unread,
        start,
        tags: [],
        messages: messages.collect(),
    };
    let mut document = Document::json(printable::json(&page, false));
    document.etag = Some(format!("{:08x}{:x}", crc32fast::hash(&document.bytes), document.length));
    Ok(document)
}

fn message(
    storage: &Storage,
    scope: &MailboxScope,
    name: &MessageName,
    view: MessageView,
) -> Result<ApiOutcome, Failure> {
    let rows = storage.rows(scope)?;
    show(storage, scope, named(&rows, name).ok_or(Failure::Gone)?, view)
}

/// The message of a row, in one of its forms.
fn show(
    storage: &Storage,
    scope: &MailboxScope,
    row: &Row,
    view: MessageView,
) -> Result<ApiOutcome, Failure> {
    let id = row.id.to_string();
    if view == MessageView::MailHog {
        return mailhog::message(storage, scope, row).map(ApiOutcome::of);
    }
    if matches!(view, MessageView::Raw | MessageView::Download) {
        let wanted = row.wanted().ok_or(Failure::Gone)?;
        let open = storage.open_message(&row.listing.mailbox, wanted)?;
        let (bytes, last) = open.read(0, storage.read_chunk).map_err(|error| log_failure(&error))?;
        let MessageRef { name, subdir, version } = wanted;
        let (content_type, file_name) = match view {
            MessageView::Download => ("message/rfc822", Some(format!("{id}.eml"))),
            _ => ("text/plain; charset=utf-8", None),
        };
        let document = Document::new(content_type, bytes);
        let document = Document { length: version.bytes, etag: Some(id), file_name, ..document };
        let entry = MessageEntry { name: name.into(), subdir, version, octets: 0 };
        let message = ReadMessage { mailbox: row.listing.mailbox.clone(), entry };
        let reading = (!last).then(|| Box::new(message));
        return Ok(ApiOutcome::Document { document, reading, changed: Vec::new() });
    }
    let (bytes, size) = storage.read_row(row)?;
    let etag = Some(format!("{id}-{view}"));
    if let MessageView::Part(part_id) = &view {
        let document = api::part_view(&bytes, part_id).ok_or(Failure::Gone)?;
        return Ok(ApiOutcome::of(Document { etag, ..document }));
    }
    let mut message = MessageObject::parse(&bytes, &Limits::default());
    message.summary.size = size;
    let mut changed = Vec::new();
    let document = match view {
        MessageView::Object => {
            // A mailbox that cannot be changed can be read all the same.
            let copies = select(storage, scope, &Selection::Ids(vec![id]))?;
            changed = mark(storage, copies, Change::MarkRead).unwrap_or_default();
            api::object(&message, &row.stored())
        }
        MessageView::Headers => Document { etag, ..api::headers(&message) },
        MessageView::Html => Document { etag, ..api::html_view(&message, &id).ok_or(Failure::Gone)? },
        MessageView::Text
        | MessageView::Raw
        | MessageView::Download
        | MessageView::MailHog
        | MessageView::Part(_) => Document { etag, ..api::text_view(message) },
    };
    Ok(ApiOutcome::Document { document, reading: None, changed })
}

fn change(storage: &Storage, rows: Vec<Row>, change: Change) -> Result<ApiOutcome, Failure> {
    let changed = mark(storage, rows, change)?;
    Ok(ApiOutcome::Document { document: Document::ok(), reading: None, changed })
}

/// Compares all mailboxes with the last comparison, and returns the changes. After a `reset` there are none: later ones
/// begin here.
pub(super) fn changes(storage: &Storage, reset: bool) -> Result<Vec<MailEvent>, Failure> {
    let now = storage.listings(&MailboxScope::All)?;
    let now: Listings = now.into_iter().map(|listing| (listing.mailbox.clone(), listing)).collect();
    let mut compared = lock(&storage.catalog.compared);
    let before = mem::replace(&mut *compared, now);
    if reset {
        return Ok(Vec::new());
    }
    let changed = compared.iter().filter_map(|(mailbox, listing)| {
        let before = before.get(mailbox);
        before.is_none_or(|before| !Arc::ptr_eq(before, listing)).then_some((before, listing))
    });
    let mut changed = changed.peekable();
    if changed.peek().is_none() {
        return Ok(Vec::new());
    }
    // A message counts as one for those who see all mailboxes: new in the first that has it, gone from the last.
    let ids = |listings: &Listings| -> HashSet<Arc<str>> {
        listings.values().flat_map(|listing| listing.ids.iter().cloned()).collect()
    };
    let (known, left) = (ids(&before), ids(&compared));
    let mut told = HashSet::new();
    let mut events = Vec::new();
    for (before, listing) in changed {
        for (kind, id, data) in differences(storage, before, listing) {
            let has_other = match kind {
                MailChange::New => known.contains(&id),
                MailChange::Delete => left.contains(&id),
                MailChange::Update => false,
            };
            events.push(MailEvent {
                kind,
                mailbox: listing.mailbox.clone(),
                id: id.to_string(),
                is_copy: has_other || !told.insert((kind.name(), id)),
                json: printable::json(&serde_json::json!({ "Type": kind.name(), "Data": data }), false),
            });
        }
    }
    Ok(events)
}

type Listings = HashMap<Mailbox, Arc<MailboxListing>>;

/// The changes from one listing of a mailbox to the next, each with its message.
fn differences(
    storage: &Storage,
    before: Option<&Arc<MailboxListing>>,
    now: &Arc<MailboxListing>,
) -> Vec<(MailChange, Arc<str>, serde_json::Value)> {
    let rows = before.into_iter().flat_map(MailboxListing::rows);
    let old: HashMap<Arc<str>, bool> = rows.map(|row| (row.id, row.is_read)).collect();
    let mut gone = old.clone();
    let mut changes = Vec::new();
    for row in now.rows() {
        gone.remove(&row.id);
        match old.get(&row.id) {
            None => {
                let Ok(summary) = storage.summary(&row) else { continue };
                let data = serde_json::to_value(ListItem::new(&summary, &row.stored())).unwrap_or_default();
                changes.push((MailChange::New, row.id, data));
            }
            Some(is_read) if *is_read != row.is_read => {
                let data = serde_json::json!({ "ID": &*row.id, "Read": row.is_read });
                changes.push((MailChange::Update, row.id, data));
            }
            Some(_) => {}
        }
    }
    let deleted = gone.into_keys().map(|id| {
        let data = serde_json::json!({ "ID": &*id });
        (MailChange::Delete, id, data)
    });
    changes.extend(deleted);
    changes
}
