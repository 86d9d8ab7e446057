//! The requests of the web API, on a worker thread.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    mem,
    os::unix::ffi::OsStrExt,
    sync::Arc,
    time::SystemTime,
};

use super::{
    catalog::{Compared, Row, ScopeRows, lock},
    differences::{Difference, Differences, prune_event},
    job::{ApiOutcome, Changes, ReadMessage},
    mailhog_jobs,
    piece_files::{KeptFile, PieceFile},
    row_reader::RowReader,
    selections::{
        RowChange, Unserved, addresses, list_document, mark, matching, page_of, query, search_matches,
        select, sync_earlier, with_ids,
    },
    storage::{Storage, log_failure},
    web_page::{sessions_page, web_page},
};
use crate::{
    api::{self, Page},
    maildir::{MessageEntry, MessageRef},
    message_object::{
        MessageObject, ObjectLimits,
        mailpit::{self, ListItem},
    },
    metrics::{self, METRICS},
    printable,
    proto::{
        http::api::{
            ApiAction, ApiRequest, Document, MailChange, MailEvent, MailboxScope, MessageName, MessageView,
        },
        request::{Failure, Mailbox, Maildrop},
    },
    search::Query,
    time_zone::Zone,
    wire_size::{WireEncoder, on_the_wire, text_on_the_wire},
};

/// Runs a request. `reading` is the message whose next piece it asks for.
pub(super) fn run(
    storage: &Storage,
    request: ApiRequest,
    reading: Option<Box<ReadMessage>>,
) -> Result<ApiOutcome, Failure> {
    match serve(storage, request, reading) {
        Ok(outcome) => Ok(outcome),
        Err(Unserved::Mistake(mistake)) => Ok(ApiOutcome::of(api::mistaken_search(&mistake))),
        Err(Unserved::Failure(failure)) => Err(failure),
    }
}

fn serve(
    storage: &Storage,
    request: ApiRequest,
    reading: Option<Box<ReadMessage>>,
) -> Result<ApiOutcome, Unserved> {
    let ApiRequest { scope, action, zone, tells_paths, .. } = request;
    let (scope, zone) = (&scope, &zone.map_or(Zone::UTC, |name| Zone::named(&name)));
    let outcome = match action {
        ApiAction::Ready => storage.check_in_place().map(|()| ApiOutcome::of(Document::ok())),
        ApiAction::Info => info(storage, scope).map(ApiOutcome::of),
        ApiAction::List { search, start, limit } => {
            list(storage, scope, &query(&search, zone)?, (start, limit)).map(ApiOutcome::of)
        }
        ApiAction::MailHogList { search, start, limit } => {
            mailhog_jobs::list(storage, scope, search.as_ref(), (start, limit)).map(ApiOutcome::of)
        }
        ApiAction::Page(request) => web_page(storage, scope, &request, zone),
        ApiAction::Sessions(request) => Ok(sessions_page(storage, &request)),
        ApiAction::Message(name, view) => message(storage, scope, &name, (view, tells_paths)),
        ApiAction::Streamed(id) => {
            message(storage, scope, &MessageName::Id(id), (MessageView::MailHog, false))
        }
        ApiAction::Continue { .. } => {
            let mut message = reading.ok_or(Failure::Truncated)?;
            let file = match message.file.take().map(KeptFile::into_inner) {
                Some(file) => {
                    file.check_unchanged(message.entry.version).map_err(|error| log_failure(&error))?;
                    file
                }
                None => storage.open_message(&message.mailbox, MessageRef::from(&message.entry))?.into(),
            };
            let (bytes, reading) = wire_piece(storage, file, message)?;
            Ok(ApiOutcome::Chunk { bytes, reading })
        }
        ApiAction::Find { search, view } => {
            let search = query(&search, zone)?;
            let ScopeRows { rows, mut unreadable } = storage.rows(scope)?;
            let mut reader = RowReader::new(storage);
            for row in rows {
                match search_matches(&mut reader, &search, &row) {
                    Ok(true) => return Ok(show(storage, scope, &row, (view, tells_paths))?),
                    Ok(false) => {}
                    Err(_) => drop(unreadable.insert(row.listing.mailbox.clone())),
                }
            }
            not_found(&unreadable)
        }
        ApiAction::Delete(selection) => {
            let selected = select(storage, scope, &selection, zone)?;
            Ok(change(storage, scope, selected, RowChange::Delete))
        }
        ApiAction::SetRead(selection, read) => {
            let selected = select(storage, scope, &selection, zone)?;
            let change_to = if read { RowChange::MarkRead } else { RowChange::MarkUnread };
            Ok(change(storage, scope, selected, change_to))
        }
        ApiAction::Compose { body, date } => {
            let unique = getrandom::u64().map_err(|error| {
                log::error!("no random numbers: {error}");
                Failure::TempFail
            })?;
            Ok(ApiOutcome::Composed(api::compose(&body, date, unique).map(Box::new)))
        }
        // The backend serves these.
        ApiAction::Subscribe | ApiAction::Watch | ApiAction::Chaos(_) => Err(Failure::TempFail),
    };
    Ok(outcome?)
}

/// The version of the server, and its counts, under the names of Mailpit.
fn info(storage: &Storage, scope: &MailboxScope) -> Result<Document, Failure> {
    let ScopeRows { rows, unreadable } = storage.rows(scope)?;
    let unread = rows.iter().filter(|row| !row.is_read).count();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let uptime = now.saturating_sub(METRICS.started_at.get());
    // The mail and memory of all is no concern of those who read one mailbox.
    let (memory, totals) = match scope {
        MailboxScope::All => (metrics::memory_in_use().unwrap_or_default(), METRICS.message_totals()),
        MailboxScope::One(_) | MailboxScope::Tagged(..) => Default::default(),
    };
    let mut info = serde_json::json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "LatestVersion": env!("CARGO_PKG_VERSION"),
        "Database": "",
        "DatabaseSize": 0,
        "Messages": rows.len(),
        "Unread": unread,
        "Tags": {},
        "RuntimeStats": {
            "Uptime": uptime,
            "Memory": memory,
            "MessagesDeleted": totals.deleted,
            "SMTPAccepted": totals.accepted,
            "SMTPAcceptedSize": totals.accepted_octets,
            "SMTPRejected": totals.refused,
            // Mailpit counts duplicates here, and this server takes each message.
            "SMTPIgnored": 0,
        },
    });
    if !unreadable.is_empty() {
        info["Unreadable"] = addresses(&unreadable).into();
    }
    Ok(Document::json(printable::json(&info, false)))
}

fn list(
    storage: &Storage,
    scope: &MailboxScope,
    search: &Query,
    (start, limit): (usize, usize),
) -> Result<Document, Failure> {
    let found = storage.rows(scope)?;
    let (total, unread) = (found.rows.len(), found.rows.iter().filter(|row| !row.is_read).count());
    let ScopeRows { rows, mut unreadable } = matching(storage, search, found);
    let messages_unread = rows.iter().filter(|row| !row.is_read).count();
    let mut reader = RowReader::new(storage);
    let page = page_of(rows.iter().skip(start).take(limit), MAX_PAGE_OCTETS, &mut unreadable, |row| {
        let summary = reader.summary(row)?;
        let octets = summary.octets();
        Ok(((row, summary), octets))
    });
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
        unreadable: addresses(&unreadable),
    };
    Ok(list_document(&page))
}

fn message(
    storage: &Storage,
    scope: &MailboxScope,
    name: &MessageName,
    view: (MessageView, bool),
) -> Result<ApiOutcome, Failure> {
    match storage.row(scope, name)? {
        (Some(row), _) => show(storage, scope, &row, view),
        (None, unreadable) => not_found(&unreadable),
    }
}

/// The response if no message was found: it may be in a mailbox that cannot be read.
fn not_found(unreadable: &BTreeSet<Mailbox>) -> Result<ApiOutcome, Failure> {
    if unreadable.is_empty() {
        return Err(Failure::Gone);
    }
    Ok(ApiOutcome::of(api::unreadable(&addresses(unreadable))))
}

/// The message of a row, in one of its forms. The object has the path of the file if its reader may know it.
fn show(
    storage: &Storage,
    scope: &MailboxScope,
    row: &Row,
    (view, tells_paths): (MessageView, bool),
) -> Result<ApiOutcome, Failure> {
    let id = row.id.to_string();
    if view == MessageView::MailHog {
        return mailhog_jobs::message(storage, scope, row).map(ApiOutcome::of);
    }
    if matches!(view, MessageView::Raw | MessageView::Download) {
        let wanted = row.wanted().ok_or(Failure::Gone)?;
        let file = storage.open_message(&row.listing.mailbox, wanted)?.into();
        let MessageRef { name, subdir, version } = wanted;
        let octets = row.listing.snapshot.octets(row.at);
        let entry = MessageEntry { name: name.into(), subdir, version, octets };
        let mailbox = row.listing.mailbox.clone();
        let message =
            ReadMessage { mailbox, entry, file: None, read: 0, written: 0, encoder: WireEncoder::default() };
        let (bytes, reading) = wire_piece(storage, file, Box::new(message))?;
        let (content_type, file_name) = match view {
            MessageView::Download => ("message/rfc822", Some(format!("{id}.eml"))),
            _ => ("text/plain; charset=utf-8", None),
        };
        let document = Document::new(content_type, bytes);
        // The length of a message in one piece is that of its octets.
        let length = if reading.is_none() { document.length } else { octets };
        let document = Document { length, etag: Some(id), file_name, ..document };
        return Ok(ApiOutcome::Document { document, reading, changes: Changes::None });
    }
    let (bytes, size) = storage.read_row(row)?;
    // Texts and parts have the line ends with which they came, as in Mailpit.
    let bytes = on_the_wire(&bytes);
    let etag = Some(format!("{id}-{view}"));
    if let MessageView::Part(part_id) = &view {
        let document = api::part_view(&bytes, part_id).ok_or(Failure::Gone)?;
        return Ok(ApiOutcome::of(Document { etag, ..document }));
    }
    let mut message = MessageObject::parse(&bytes, &ObjectLimits::default());
    message.summary.size = size;
    message.text = text_on_the_wire(&message.text);
    let mut changes = Changes::None;
    let document = match view {
        MessageView::Object => {
            // A mailbox that cannot be changed can be read all the same.
            let copies = with_ids(storage, scope, std::slice::from_ref(&id))?.rows;
            let marked;
            (changes, marked) = mark(storage, copies, RowChange::MarkRead);
            let path = if tells_paths { path(storage, scope, id)? } else { None };
            let is_read = row.is_read || marked.is_ok();
            api::object(&message, &mailpit::Stored { is_read, path: path.as_deref(), ..row.stored() })
        }
        MessageView::Headers => Document { etag, ..api::headers(&message) },
        MessageView::Html | MessageView::FramedHtml => {
            let is_framed = view == MessageView::FramedHtml;
            Document { etag, ..api::html_view(&message, &id, is_framed).ok_or(Failure::Gone)? }
        }
        MessageView::Text
        | MessageView::Raw
        | MessageView::Download
        | MessageView::MailHog
        | MessageView::Part(_) => Document { etag, ..api::text_view(&message) },
    };
    Ok(ApiOutcome::Document { document, reading: None, changes })
}

/// The path of the file of a message, under the name that it has after its mark.
fn path(storage: &Storage, scope: &MailboxScope, id: String) -> Result<Option<String>, Failure> {
    let (Some(row), _) = storage.row(scope, &MessageName::Id(id))? else { return Ok(None) };
    let Some(maildir) = storage.existing_maildir(&row.listing.mailbox)? else { return Ok(None) };
    let path = |wanted: MessageRef<'_>| {
        let file = maildir.path().join(wanted.subdir.name()).join(OsStr::from_bytes(wanted.name));
        file.to_string_lossy().into_owned()
    };
    Ok(row.wanted().map(path))
}

/// The next piece of a message as it is on the wire, and the message if there is more to read.
fn wire_piece(
    storage: &Storage,
    file: PieceFile,
    mut message: Box<ReadMessage>,
) -> Result<(Vec<u8>, Option<Box<ReadMessage>>), Failure> {
    let (stored, last) = file.read(message.read, storage.read_chunk).map_err(|error| log_failure(&error))?;
    message.read += stored.len() as u64;
    let mut wire = Vec::with_capacity(stored.len() + stored.len() / 32 + 2);
    message.encoder.encode(&stored, &mut wire);
    if last {
        message.encoder.finish(&mut wire);
    }
    let is_first = message.written == 0;
    message.written += wire.len() as u64;
    // The head has announced as many octets as the list has, and another program may have written another number into the name.
    let is_announced =
        if last { message.written == message.entry.octets } else { message.written < message.entry.octets };
    if !(is_announced || is_first && last) {
        return Err(Failure::Changed);
    }
    if last {
        return Ok((wire, None));
    }
    message.file = storage.piece_files.keep(file);
    Ok((wire, Some(message)))
}

fn change(storage: &Storage, scope: &MailboxScope, selected: ScopeRows, change: RowChange) -> ApiOutcome {
    let ScopeRows { rows, unreadable } = selected;
    let earlier = sync_earlier(storage, scope);
    let (changes, result) = mark(storage, rows, change);
    if let Err(failure) = earlier.and(result) {
        return ApiOutcome::PartlyDone { failure, changes };
    }
    let document =
        if unreadable.is_empty() { Document::ok() } else { api::unreadable(&addresses(&unreadable)) };
    ApiOutcome::Document { document, reading: None, changes }
}

/// Compares all mailboxes with the last comparison, and returns the changes. After a `reset` there are none: later ones
/// begin here.
pub(super) fn changes(storage: &Storage, reset: bool) -> Result<Vec<MailEvent>, Failure> {
    let now = storage.listings(&MailboxScope::All)?;
    let listed = now.listings.into_iter().map(|listing| (listing.mailbox.clone(), Some(listing)));
    let mut listings: Compared = listed.collect();
    let mut compared = lock(&storage.catalog.compared);
    let before = mem::take(&mut *compared);
    // A mailbox that cannot be read keeps its last list, so that its messages are neither gone now nor new later.
    for mailbox in now.unreadable {
        let last = before.get(&mailbox).cloned().flatten();
        listings.insert(mailbox, last);
    }
    *compared = listings;
    if reset {
        return Ok(Vec::new());
    }
    let gone = before.iter().filter(|(mailbox, _)| !compared.contains_key(*mailbox));
    let gone = gone.filter_map(|(mailbox, last)| Some((mailbox, Some(last.as_ref()?), None)));
    let changed = compared.iter().filter_map(|(mailbox, listing)| {
        let listing = listing.as_ref()?;
        match before.get(mailbox) {
            None => Some((mailbox, None, Some(listing))),
            Some(Some(last)) if !Arc::ptr_eq(last, listing) => Some((mailbox, Some(last), Some(listing))),
            // The first list after it could not be read.
            Some(None) | Some(Some(_)) => None,
        }
    });
    let changed: Vec<(&Mailbox, Differences)> = changed
        .chain(gone)
        .map(|(mailbox, last, listing)| (mailbox, Differences::between(last, listing)))
        .collect();
    // A message counts as one for those who see all mailboxes: new in the first that has it, gone from the last.
    let concerned: HashSet<&Arc<str>> =
        changed.iter().flat_map(|(_, differences)| differences.ids()).collect();
    let ids = |listings: &Compared| -> HashSet<Arc<str>> {
        let ids = listings.values().flatten().flat_map(|listing| &listing.ids);
        ids.filter(|id| concerned.contains(id)).cloned().collect()
    };
    let (known, left) =
        if concerned.is_empty() { Default::default() } else { (ids(&before), ids(&compared)) };
    let mut told = HashSet::new();
    let mut events = Vec::new();
    for (mailbox, differences) in &changed {
        let is_told = events.len() + differences.count() <= MAX_TOLD;
        let Some(changes) = is_told.then(|| differences.changes(storage)).flatten() else {
            let is_copy = !told.insert((MailChange::Prune.name(), "".into()));
            events.push(prune_event(mailbox, is_copy));
            continue;
        };
        for Difference { kind, id, tagged, data } in changes {
            let has_other = match kind {
                MailChange::New => known.contains(&id),
                MailChange::Delete => left.contains(&id),
                MailChange::Update | MailChange::Prune => false,
            };
            events.push(MailEvent {
                kind,
                mailbox: (*mailbox).clone(),
                id: id.to_string(),
                tagged,
                is_copy: has_other || !told.insert((kind.name(), id)),
                json: printable::json(&serde_json::json!({ "Type": kind.name(), "Data": data }), false),
            });
        }
    }
    Ok(events)
}

/// Changes that one comparison tells one by one: about a megabyte.
const MAX_TOLD: usize = 1000;
/// Octets of the summaries in a page of a list: a page of messages with very large headers is shorter than its limit.
const MAX_PAGE_OCTETS: usize = 16 << 20;
