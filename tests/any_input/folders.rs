//! A small server of folders in memory, which answers the requests of IMAP sessions over plain values.

mod folder_queries;
mod folder_rendering;

use std::{collections::BTreeMap, sync::Arc};

use restante::{
    proto::{
        folder::Folder,
        imap::{
            command::FlagChange,
            flags::Flags,
            recent::RecentMark,
            request::{
                Fetch, FetchPosition, FetchedPiece, FolderInfo, FolderState, ImapRequest, ImapResponse,
                MessageState, Refusal, Store,
            },
            sequence_set::NumberSet,
        },
        modified_utf7,
        request::{Failure, Mailbox, Response},
    },
    special_use::SpecialUse,
};

use folder_rendering::name;

/// The folders of one user.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// By name; INBOX too.
    folders: BTreeMap<String, MailFolder>,
    subscribed: Vec<String>,
    next_validity: u32,
    selected: Option<String>,
    /// Octets of one piece of a FETCH.
    pub(crate) piece: usize,
    pub(crate) keyword_limit: usize,
}

#[derive(Debug)]
struct MailFolder {
    special_use: Option<SpecialUse>,
    messages: Vec<Message>,
    /// UIDs of messages that are gone.
    gone: Vec<u32>,
    state: Arc<FolderState>,
}

#[derive(Debug, Clone)]
struct Message {
    uid: u32,
    /// As on the wire.
    content: Vec<u8>,
}

impl Folders {
    pub(crate) fn new() -> Self {
        let mut folders = Self {
            folders: BTreeMap::new(),
            subscribed: Vec::new(),
            next_validity: 1,
            selected: None,
            piece: usize::MAX,
            keyword_limit: Flags::MAX_KEYWORDS,
        };
        folders.create("INBOX", None, true);
        folders
    }

    pub(crate) fn create(&mut self, name: &str, special_use: Option<SpecialUse>, is_subscribed: bool) {
        let state = FolderState {
            uid_validity: self.next_validity,
            uid_next: 1,
            highest_modseq: 1,
            has_keyword_room: true,
            ..FolderState::default()
        };
        self.next_validity += 1;
        let folder =
            MailFolder { special_use, messages: Vec::new(), gone: Vec::new(), state: Arc::new(state) };
        self.folders.insert(name.into(), folder);
        self.subscribed.extend(is_subscribed.then(|| name.to_owned()));
    }

    // The directives and the changes of other programs

    /// A message in a folder, with the letters of its flags.
    pub(crate) fn deliver(&mut self, name: &str, letters: &str, content: &[u8]) {
        let content = content.split(|&b| b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
        let uid = self.append(name, Flags::of_letters(letters.as_bytes()), content);
        if let Some(folder) = self.folders.get_mut(name) {
            let recent = RecentMark::new(uid + 1);
            folder.change(|state| (state.recent, state.highest_modseq) = (recent, state.highest_modseq - 1));
        }
    }

    /// A change by another program: `new FOLDER LETTERS COUNT`, `flags FOLDER UID LETTERS`, `gone FOLDER UIDS`,
    /// `validity FOLDER`, `keyword FOLDER NAME`. The updates are for a session that has selected it.
    pub(crate) fn change(&mut self, text: &str) -> Result<Option<Arc<FolderState>>, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is not a number"));
        let name = words.get(1).copied().unwrap_or_default().to_owned();
        let Some(folder) = self.folders.get_mut(&name) else { return Err(format!("no folder {name:?}")) };
        match words[..] {
            ["new", _, letters, count] => {
                for _ in 0..number(count)? {
                    self.append(
                        &name,
                        Flags::of_letters(letters.as_bytes()),
                        b"Subject: new\r\n\r\n".to_vec(),
                    );
                }
            }
            ["flags", _, uid, letters] => {
                let uid = number(uid)?;
                folder.change(|state| {
                    let modseq = state.highest_modseq + 1;
                    for message in state.messages.iter_mut().filter(|message| message.uid == uid) {
                        *message = MessageState { uid, flags: Flags::of_letters(letters.as_bytes()), modseq };
                    }
                });
            }
            ["gone", _, ref uids @ ..] => {
                let uids: Vec<u32> = uids.iter().map(|uid| number(uid)).collect::<Result<_, _>>()?;
                folder.remove(|message| uids.contains(&message.uid));
            }
            ["keyword", _, keyword] => {
                folder.change(|state| state.keywords.push(keyword.into()));
            }
            ["validity", _] => {
                let state = FolderState {
                    uid_validity: folder.state.uid_validity + 100,
                    uid_next: 1,
                    highest_modseq: 1,
                    ..FolderState::default()
                };
                folder.state = Arc::new(state);
                folder.messages.clear();
                folder.gone.clear();
            }
            _ => return Err(format!("{text:?} is not a change of folders")),
        }
        let is_selected = self.selected.as_ref() == Some(&name);
        Ok(is_selected.then(|| Arc::clone(&self.folders[&name].state)))
    }

    fn append(&mut self, name: &str, flags: Flags, content: Vec<u8>) -> u32 {
        let Some(folder) = self.folders.get_mut(name) else { return 0 };
        let uid = folder.state.uid_next;
        folder.messages.push(Message { uid, content });
        folder.change(|state| {
            state.uid_next += 1;
            state.messages.push(MessageState { uid, flags, modseq: state.highest_modseq + 1 });
        });
        uid
    }

    // Requests

    /// The answer to a request. `spilled` is the part of a message that came before its APPEND.
    pub(crate) fn answer(&mut self, request: &ImapRequest, spilled: &[u8]) -> Response {
        match self.serve(request, spilled) {
            Ok(response) => Response::Imap(response),
            Err(failure) => Response::Failed(failure),
        }
    }

    fn serve(&mut self, request: &ImapRequest, spilled: &[u8]) -> Result<ImapResponse, Failure> {
        let refused = |refusal| Ok(ImapResponse::Refused(refusal));
        Ok(match request {
            ImapRequest::Prepare { .. } => {
                for special_use in SpecialUse::ALL {
                    let name = special_use.word();
                    if !self.folders.contains_key(name) {
                        self.create(name, Some(special_use), true);
                    }
                }
                ImapResponse::Done
            }
            ImapRequest::Select { folder } => {
                let Some(found) = self.folders.get(&name(folder)) else { return refused(Refusal::NoFolder) };
                self.selected = Some(name(folder));
                ImapResponse::State(Arc::clone(&found.state))
            }
            ImapRequest::Unselect => {
                self.selected = None;
                ImapResponse::Done
            }
            ImapRequest::Refresh => ImapResponse::State(self.state()?),
            ImapRequest::Fetch(fetch) => ImapResponse::Fetched(self.fetch(fetch)?),
            ImapRequest::Search(search) => {
                let folder = self.selected()?;
                let (mut found, mut has_gone) = (NumberSet::default(), false);
                for (at, listed) in search.state.messages.iter().enumerate() {
                    // Flags and changes are those of now, as for a worker.
                    let Some(now) = folder.state.messages.iter().find(|now| now.uid == listed.uid) else {
                        has_gone = true;
                        continue;
                    };
                    if folder.matches(&search.key, at, now, (&search.state, &search.recent)) {
                        found.push(listed.uid);
                    }
                }
                ImapResponse::Found { uids: found, state: self.state()?, has_gone }
            }
            ImapRequest::Store(store) => return self.store(store),
            ImapRequest::Expunge { uids } => {
                let folder = self.selected_mut()?;
                let state = Arc::clone(&folder.state);
                let goes = |message: &MessageState| {
                    message.flags.intersects(Flags::DELETED)
                        && uids.as_ref().is_none_or(|uids| uids.contains(message.uid))
                };
                let gone: Vec<u32> = state
                    .messages
                    .iter()
                    .filter(|message| goes(message))
                    .map(|message| message.uid)
                    .collect();
                folder.remove(|message| gone.contains(&message.uid));
                ImapResponse::Expunged {
                    state: Some(self.state()?),
                    removed: gone.len() as u64,
                    interruption: None,
                }
            }
            ImapRequest::Copy { uids, to, is_move } => return self.copy(uids, to, *is_move),
            ImapRequest::Append { folder, flags, keywords, bytes, .. } => {
                if !self.folders.contains_key(&name(folder)) {
                    return refused(Refusal::NoFolder);
                }
                let stored = [spilled, bytes].concat();
                let content = stored.split(|&b| b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
                let uid = self.append(&name(folder), *flags, content);
                let found = self.folders.get_mut(&name(folder)).ok_or(Failure::Gone)?;
                let letters = found.letters(keywords, Flags::MAX_KEYWORDS).unwrap_or_default();
                found.change(|state| {
                    for message in state.messages.iter_mut().filter(|message| message.uid == uid) {
                        message.flags = message.flags.with(letters);
                    }
                });
                ImapResponse::Appended { uid: Some((found.state.uid_validity, uid)) }
            }
            ImapRequest::List { mailbox, status } => {
                ImapResponse::Folders(self.list(mailbox, !status.is_empty()))
            }
            ImapRequest::Status { folder, .. } => match self.folders.get(&name(folder)) {
                Some(folder) => ImapResponse::Status(folder.status()),
                None => return refused(Refusal::NoFolder),
            },
            ImapRequest::Create { folder, special_use } => {
                if self.folders.contains_key(&name(folder)) {
                    return refused(Refusal::Exists);
                }
                let (name, owner) = (name(folder), folder.clone().without_folder());
                let levels = name.match_indices('.').map(|(at, _)| &name[..at]).chain([name.as_str()]);
                let mut made = Vec::new();
                for level in levels {
                    if !self.folders.contains_key(level) {
                        self.create(level, special_use.filter(|_| level == name), true);
                        let text = modified_utf7::decode(level.as_bytes()).unwrap_or_default();
                        made.extend(
                            Folder::from_decoded(&text).map(|folder| owner.clone().in_folder(folder)),
                        );
                    }
                }
                ImapResponse::Created(made)
            }
            ImapRequest::Delete { folder } => {
                let below = format!("{}.", name(folder));
                if self.folders.keys().any(|name| name.starts_with(&below)) {
                    return refused(Refusal::HasChildren);
                }
                match self.folders.remove(&name(folder)) {
                    Some(_) => ImapResponse::Done,
                    None => return refused(Refusal::NoFolder),
                }
            }
            ImapRequest::Rename { from, to } => {
                if self.folders.contains_key(&name(to)) {
                    return refused(Refusal::Exists);
                }
                if name(from) == "INBOX" {
                    self.create(&name(to), None, false);
                    let inbox = self.folders["INBOX"].clone();
                    for (message, state) in inbox.messages.into_iter().zip(&inbox.state.messages) {
                        self.append(&name(to), state.flags, message.content);
                    }
                    if let Some(inbox) = self.folders.get_mut("INBOX") {
                        inbox.remove(|_| true);
                    }
                    return Ok(ImapResponse::Done);
                }
                let Some(folder) = self.folders.remove(&name(from)) else {
                    return refused(Refusal::NoFolder);
                };
                self.folders.insert(name(to), folder);
                ImapResponse::Done
            }
            ImapRequest::Subscribe { folder, on, made } => {
                let ends = |known: &String| made.iter().chain([folder]).any(|folder| name(folder) == *known);
                self.subscribed.retain(|known| !ends(known));
                self.subscribed.extend(on.then(|| name(folder)));
                ImapResponse::Done
            }
            ImapRequest::Usage { .. } => {
                let all = || self.folders.values().flat_map(|folder| &folder.messages);
                let octets = all().map(|message| message.content.len() as u64).sum();
                ImapResponse::Usage { octets, messages: all().count() as u64 }
            }
        })
    }

    fn selected(&self) -> Result<&MailFolder, Failure> {
        self.selected.as_ref().and_then(|name| self.folders.get(name)).ok_or(Failure::Gone)
    }

    fn selected_mut(&mut self) -> Result<&mut MailFolder, Failure> {
        self.selected.as_ref().and_then(|name| self.folders.get_mut(name)).ok_or(Failure::Gone)
    }

    fn state(&self) -> Result<Arc<FolderState>, Failure> {
        self.selected().map(|folder| Arc::clone(&folder.state))
    }

    fn store(&mut self, store: &Store) -> Result<ImapResponse, Failure> {
        let most = self.keyword_limit;
        let folder = self.selected_mut()?;
        let Some(letters) = folder.letters(&store.keywords, most) else {
            return Ok(ImapResponse::Refused(Refusal::TooManyKeywords));
        };
        let named = store.flags.with(letters);
        let mut modified = NumberSet::default();
        folder.change(|state| {
            let modseq = state.highest_modseq + 1;
            for message in state.messages.iter_mut().filter(|message| store.uids.contains(message.uid)) {
                if store.unchanged_since.is_some_and(|since| message.modseq > since) {
                    modified.push(message.uid);
                    continue;
                }
                let flags = match store.change {
                    FlagChange::Replace => named,
                    FlagChange::Add => message.flags.with(named),
                    FlagChange::Remove => message.flags.without(named),
                };
                *message = MessageState { flags, modseq, ..*message };
            }
        });
        let is_partial = folder.gone.iter().any(|uid| store.uids.contains(*uid));
        let state = Some(Arc::clone(&folder.state));
        Ok(ImapResponse::Stored { state, modified, is_partial, interruption: None })
    }

    fn copy(&mut self, uids: &NumberSet, to: &Mailbox, is_move: bool) -> Result<ImapResponse, Failure> {
        if !self.folders.contains_key(&name(to)) {
            return Ok(ImapResponse::Refused(Refusal::NoFolder));
        }
        let folder = self.selected()?.clone();
        let (mut from, mut copies) = (NumberSet::default(), NumberSet::default());
        let states = &folder.state.messages;
        let is_there = |uid: u32| uids.contains(uid) && !folder.gone.contains(&uid);
        for (message, state) in folder.messages.iter().zip(states).filter(|(m, _)| is_there(m.uid)) {
            from.push(message.uid);
            copies.push(self.append(&name(to), state.flags, message.content.clone()));
        }
        if is_move {
            self.selected_mut()?.remove(|message| uids.contains(message.uid));
        }
        let uid_validity = self.folders[&name(to)].state.uid_validity;
        let (state, messages) = (Some(self.state()?), from.count());
        Ok(ImapResponse::Copied { state, uid_validity, messages, from, to: copies, interruption: None })
    }

    fn list(&self, user: &Mailbox, with_status: bool) -> Vec<FolderInfo> {
        let mut names: Vec<String> = self.folders.keys().cloned().collect();
        for name in self.folders.keys().chain(&self.subscribed) {
            names.extend(name.match_indices('.').map(|(at, _)| name[..at].to_owned()));
            names.push(name.clone());
        }
        names.sort_by_key(|name| (name != "INBOX", name.clone()));
        names.dedup();
        let info = |name: String| {
            let found = self.folders.get(&name);
            let folder = match Folder::from_name(&name) {
                Some(folder) if name != "INBOX" => user.clone().in_folder(folder),
                _ => user.clone(),
            };
            FolderInfo {
                folder,
                exists: found.is_some(),
                is_subscribed: self.subscribed.contains(&name),
                special_use: found.and_then(|folder| folder.special_use),
                status: found.filter(|_| with_status).map(MailFolder::status),
            }
        };
        names.into_iter().map(info).collect()
    }

    // FETCH

    fn fetch(&self, fetch: &Fetch) -> Result<FetchedPiece, Failure> {
        let folder = self.selected()?;
        let mut piece = FetchedPiece { octets: Vec::new(), next: None, has_gone: false, whole: Vec::new() };
        let FetchPosition { uid: from, octets: sent, .. } = fetch.position;
        let mut sent = usize::try_from(sent).unwrap_or(usize::MAX);
        for (at, state) in fetch.state.messages.iter().enumerate() {
            if !fetch.uids.contains(state.uid) || state.uid < from {
                continue;
            }
            let Some(message) = folder.messages.iter().find(|message| message.uid == state.uid) else {
                // A response that has begun cannot end without its octets.
                if sent > 0 {
                    return Err(Failure::Gone);
                }
                piece.has_gone = true;
                continue;
            };
            let line = folder_rendering::rendered(at + 1, state, fetch, &message.content);
            let rest = &line[std::mem::take(&mut sent).min(line.len())..];
            let room = self.piece - piece.octets.len();
            if rest.len() > room {
                piece.octets.extend_from_slice(&rest[..room]);
                let octets = (line.len() - rest.len() + room) as u64;
                piece.next = Some(FetchPosition {
                    uid: state.uid,
                    item: usize::from(octets > 0),
                    octets,
                    ..FetchPosition::default()
                });
                break;
            }
            piece.octets.extend_from_slice(rest);
        }
        Ok(piece)
    }
}

impl MailFolder {
    fn change(&mut self, change: impl FnOnce(&mut FolderState)) {
        let FolderState { uid_validity, uid_next, highest_modseq, has_keyword_room, first_unseen, .. } =
            *self.state;
        let (keywords, messages) = (self.state.keywords.clone(), self.state.messages.clone());
        let recent = self.state.recent.clone();
        let mut state = FolderState {
            uid_validity,
            uid_next,
            highest_modseq,
            keywords,
            has_keyword_room,
            messages,
            recent,
            first_unseen,
        };
        change(&mut state);
        state.highest_modseq += 1;
        let is_unseen = |message: &MessageState| !message.flags.intersects(Flags::SEEN);
        state.first_unseen = state.messages.iter().position(is_unseen).map_or(0, |at| at as u32 + 1);
        self.state = Arc::new(state);
    }

    fn remove(&mut self, goes: impl Fn(&Message) -> bool) {
        let gone: Vec<u32> =
            self.messages.iter().filter(|message| goes(message)).map(|message| message.uid).collect();
        self.messages.retain(|message| !gone.contains(&message.uid));
        self.change(|state| state.messages.retain(|message| !gone.contains(&message.uid)));
        self.gone.extend(gone);
    }

    /// The flags of keywords, which get letters. `None` if there is no room.
    fn letters(&mut self, keywords: &[String], most: usize) -> Option<Flags> {
        let mut names = self.state.keywords.clone();
        let mut flags = Flags::empty();
        for keyword in keywords {
            let known = names.iter().position(|name| name.eq_ignore_ascii_case(keyword));
            let number = known.unwrap_or_else(|| {
                names.push(keyword.as_str().into());
                names.len() - 1
            });
            flags = flags.with(Flags::of_keyword(number));
        }
        if names.len() > most {
            return None;
        }
        if names != self.state.keywords {
            self.change(|state| {
                state.has_keyword_room = names.len() < most;
                state.keywords = names;
            });
        }
        Some(flags)
    }
}
