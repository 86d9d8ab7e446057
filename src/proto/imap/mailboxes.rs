//! The commands about mailboxes: SELECT and its like, CREATE and its like, STATUS, NAMESPACE, ENABLE and the quota.

use std::{mem::take, sync::Arc};

use super::{
    command::{Command, StatusItem},
    command_state::Tag,
    mailbox_name::{MailboxName, NameMistake, NameRule},
    reply,
    request::{FolderState, FolderStatus, ImapRequest},
    response::writer::{Condition, Items, status, untagged},
    state::{AfterClose, ImapSession, Selected, WaitingCommand},
    updates::{write_exists, write_keywords, write_notice, write_recent},
};
use crate::{
    proto::{
        Context, Step,
        buffer::Outbox,
        event::Event,
        request::{Mailbox, Quota},
    },
    special_use::SpecialUse,
};

impl ImapSession {
    /// The mailbox that a client names. `Err`: no mailbox can have that name.
    pub(super) fn mailbox(&self, name: MailboxName) -> Result<Mailbox, NameMistake> {
        match (name, self.user.clone()) {
            (MailboxName::Impossible(mistake), _) => Err(mistake),
            (MailboxName::Inbox, Some(user)) => Ok(user),
            (MailboxName::Folder(folder), Some(user)) => Ok(user.in_folder(folder)),
            (_, None) => Err(NameMistake { rule: NameRule::Login, written: None }),
        }
    }

    /// No mailbox is selected, or nobody is logged in.
    pub(super) fn no_folder(&mut self, tag: &[u8], out: &mut Outbox) -> Step {
        self.refuse(tag, Condition::Bad, "mailbox", reply::SELECT_FIRST, out)
    }

    /// Notes the state of the selected folder. A response that was begun before an event may be older than it.
    pub(super) fn set_newest(&mut self, state: Arc<FolderState>) {
        if let Some(selected) = &mut self.selected {
            let known = &selected.newest;
            let is_older =
                state.uid_validity == known.uid_validity && state.highest_modseq < known.highest_modseq;
            if !is_older {
                selected.newest = state;
            }
        }
    }

    // The selected mailbox

    pub(super) fn select(
        &mut self,
        tag: Tag,
        name: MailboxName,
        (read_only, condstore): (bool, bool),
        out: &mut Outbox,
    ) -> Step {
        if condstore {
            self.enable_condstore(out);
        }
        // A SELECT that fails leaves no mailbox selected, so the old one is closed first.
        match (self.mailbox(name), self.selected.is_some()) {
            (Ok(folder), true) => self.close(tag, AfterClose::Select { folder, read_only }),
            (Ok(folder), false) => self.open(tag, folder, read_only),
            (Err(mistake), _) => self.refuse_name(&tag, "SELECT", &mistake, out),
        }
    }

    fn open(&mut self, tag: Tag, folder: Mailbox, read_only: bool) -> Step {
        let pending = WaitingCommand::Select { folder: folder.clone(), read_only };
        self.await_response(tag, pending, ImapRequest::Select { folder })
    }

    pub(super) fn opened(
        &mut self,
        tag: &[u8],
        folder: Mailbox,
        read_only: bool,
        state: Arc<FolderState>,
        out: &mut Outbox,
    ) -> Step {
        let buffer = out.buffer();
        let language = self.language;
        write_keywords(&state, read_only, language, buffer);
        write_exists(&state, buffer);
        let recent = Arc::new(state.recent.claim(0, state.uid_next, read_only));
        write_recent(&state, &recent, buffer);
        let mut write_number = |word, number: u64, text: reply::ReplyText| {
            let code = |code: &mut Items<'_>| {
                code.atom(word).number(number);
            };
            status(buffer, None, Condition::Ok, code, text.text(language));
        };
        if state.first_unseen > 0 {
            write_number("UNSEEN", state.first_unseen.into(), reply::FIRST_UNSEEN);
        }
        write_number("UIDVALIDITY", state.uid_validity.into(), reply::UIDS_VALID);
        write_number("UIDNEXT", state.uid_next.into(), reply::UID_NEXT);
        if self.offers("CONDSTORE") {
            write_number("HIGHESTMODSEQ", state.highest_modseq, reply::HIGHEST);
        }
        let (mailbox, messages) = (folder.clone(), state.messages.len());
        out.push_event(Event::Opened { mailbox, messages, octets: None });
        let (view, newest) = (Arc::clone(&state), state);
        let (has_overlooked, behind_from, is_gone) = (false, None, false);
        let selected =
            Selected { folder, read_only, view, newest, recent, has_overlooked, behind_from, is_gone };
        self.selected = Some(Box::new(selected));
        self.ok(tag, if read_only { reply::SELECTED_READ_ONLY } else { reply::SELECTED }, out)
    }

    /// Closes the selected mailbox, and goes on.
    pub(super) fn close(&mut self, tag: Tag, then: AfterClose) -> Step {
        self.await_response(tag, WaitingCommand::Close(then), ImapRequest::Unselect)
    }

    pub(super) fn closed(&mut self, tag: Tag, then: AfterClose, out: &mut Outbox) -> Step {
        self.selected = None;
        if let AfterClose::Reply = then {
            return self.done(&tag, out);
        }
        // The responses from here on are not about the old mailbox (RFC 7162 section 3.2.11).
        self.write(b"*", Condition::Ok, reply::CLOSED, out);
        match then {
            AfterClose::Select { folder, read_only } => self.open(tag, folder, read_only),
            AfterClose::ChangeFolders(request) => {
                self.await_response(tag, WaitingCommand::ChangeFolders, request)
            }
            AfterClose::Reply => self.done(&tag, out),
        }
    }

    /// CLOSE: removes deleted messages without EXPUNGE responses.
    pub(super) fn expunge_and_close(&mut self, tag: Tag) -> Step {
        match &self.selected {
            Some(selected) if !selected.read_only => {
                self.await_response(tag, WaitingCommand::ExpungeAndClose, ImapRequest::Expunge { uids: None })
            }
            _ => self.close(tag, AfterClose::Reply),
        }
    }

    // Extensions

    pub(super) fn enable(&mut self, tag: &[u8], names: &[String], out: &mut Outbox) -> Step {
        let is_new =
            !self.condstore && self.offers("CONDSTORE") && names.iter().any(|name| name == "CONDSTORE");
        untagged(out.buffer(), |line| {
            line.atom("ENABLED");
            if is_new {
                line.atom("CONDSTORE");
            }
        });
        if is_new {
            self.enable_condstore(out);
        }
        self.done(tag, out)
    }

    /// The client has asked for modification sequences, by one of the commands that do so (RFC 7162 section 3.1).
    pub(super) fn enable_condstore(&mut self, out: &mut Outbox) {
        if std::mem::replace(&mut self.condstore, true) {
            return;
        }
        if let Some(selected) = &self.selected {
            let highest = selected.view.highest_modseq;
            let code = |code: &mut Items<'_>| {
                code.atom("HIGHESTMODSEQ").number(highest);
            };
            status(out.buffer(), None, Condition::Ok, code, reply::HIGHEST.text(self.language));
        }
    }

    pub(super) fn namespace(&mut self, tag: &[u8], out: &mut Outbox) -> Step {
        untagged(out.buffer(), |line| {
            line.atom("NAMESPACE");
            line.list(|list| {
                list.list(|own| {
                    own.string(b"").string(b".");
                });
            });
            line.nil().nil();
        });
        self.done(tag, out)
    }

    // Changes of mailboxes

    /// CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
    pub(super) fn change(
        &mut self,
        tag: Tag,
        what: &'static str,
        command: Command,
        out: &mut Outbox,
    ) -> Step {
        let request = match command {
            Command::Create(name, special_use) => {
                let special_use = match special_use.as_deref().map(SpecialUse::of_attribute) {
                    Some(None) => return self.no(&tag, what, reply::NO_SUCH_USE, out),
                    special_use => special_use.flatten(),
                };
                match self.mailbox(name) {
                    Ok(folder) if folder.folder().is_none() => {
                        return self.no(&tag, what, reply::EXISTS_ALREADY, out);
                    }
                    folder => folder.map(|folder| ImapRequest::Create { folder, special_use }),
                }
            }
            Command::Delete(MailboxName::Inbox) => return self.no(&tag, what, reply::CANNOT, out),
            Command::Delete(name) => self.mailbox(name).map(|folder| ImapRequest::Delete { folder }),
            Command::Rename(_, MailboxName::Inbox) => return self.no(&tag, what, reply::EXISTS_ALREADY, out),
            Command::Rename(from, to) => {
                let from = self.mailbox(from);
                from.and_then(|from| self.mailbox(to).map(|to| ImapRequest::Rename { from, to }))
            }
            Command::Subscribe(name) => self.mailbox(name).map(|folder| ImapRequest::Subscribe {
                folder,
                on: true,
                made: take(&mut self.created),
            }),
            Command::Unsubscribe(name) => self.mailbox(name).map(|folder| ImapRequest::Subscribe {
                folder,
                on: false,
                made: take(&mut self.created),
            }),
            _ => return self.close_with(out, "internal error", reply::INTERNAL),
        };
        let request = match request {
            Ok(request) => request,
            Err(mistake) => return self.refuse_name(&tag, what, &mistake, out),
        };
        let selected = self.selected.as_ref().map(|selected| &selected.folder);
        match &request {
            // The client goes on without the branch that it sits on.
            ImapRequest::Delete { folder } if selected == Some(folder) => {
                self.close(tag, AfterClose::ChangeFolders(request))
            }
            ImapRequest::Rename { from, .. } if selected.is_some_and(|selected| from.covers(selected)) => {
                self.close(tag, AfterClose::ChangeFolders(request))
            }
            _ => self.await_response(tag, WaitingCommand::ChangeFolders, request),
        }
    }

    // Numbers

    pub(super) fn status(
        &mut self,
        tag: Tag,
        name: MailboxName,
        items: Vec<StatusItem>,
        out: &mut Outbox,
    ) -> Step {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore(out);
        }
        let folder = match self.mailbox(name) {
            Ok(folder) => folder,
            Err(mistake) => return self.refuse_name(&tag, "STATUS", &mistake, out),
        };
        let pending = WaitingCommand::Status(folder_name(&folder).to_owned(), items.clone());
        self.await_response(tag, pending, ImapRequest::Status { folder, items })
    }

    /// GETQUOTA, and GETQUOTAROOT with a mailbox. There is one root, with an empty name, for all folders of a user who has a
    /// quota.
    pub(super) fn quota(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        of: Option<MailboxName>,
        out: &mut Outbox,
    ) -> Step {
        let name = match of.map(|name| self.mailbox(name)) {
            None => None,
            Some(Ok(folder)) => Some(folder_name(&folder).to_owned()),
            Some(Err(mistake)) => return self.refuse_name(&tag, "GETQUOTAROOT", &mistake, out),
        };
        let Some(mailbox) = self.user.clone() else { return self.no_folder(&tag, out) };
        if cx.directory.quota(&mailbox) != Quota::default() {
            return self.await_response(tag, WaitingCommand::Usage(name), ImapRequest::Usage { mailbox });
        }
        // A quota without a limit has no form (RFC 9208 section 7, "quota-list").
        match name {
            None => self.no(&tag, "GETQUOTA", reply::NO_SUCH_ROOT, out),
            Some(name) => {
                untagged(out.buffer(), |line| {
                    line.atom("QUOTAROOT").astring(name.as_bytes());
                });
                self.conclude_ok(tag, true, out)
            }
        }
    }

    pub(super) fn used(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        name: Option<String>,
        (octets, messages): (u64, u64),
        out: &mut Outbox,
    ) -> Step {
        let quota = self.user.as_ref().map(|user| cx.directory.quota(user)).unwrap_or_default();
        if let Some(name) = name {
            untagged(out.buffer(), |line| {
                line.atom("QUOTAROOT").astring(name.as_bytes()).string(b"");
            });
        }
        // The quota may have been lifted meanwhile.
        if quota != Quota::default() {
            untagged(out.buffer(), |line| {
                line.atom("QUOTA").string(b"").list(|list| {
                    if let Some(most) = quota.octets {
                        // In units of 1,024 octets (RFC 9208 section 5.1).
                        list.atom("STORAGE").number(octets.div_ceil(1024)).number(most / 1024);
                    }
                    if let Some(most) = quota.messages {
                        list.atom("MESSAGE").number(messages).number(most);
                    }
                });
            });
        }
        self.conclude_ok(tag, true, out)
    }

    /// Shows a client in IDLE that the connection lives.
    pub(super) fn write_still_here(&self, out: &mut Outbox) {
        write_notice(reply::STILL_HERE.text(self.language), out.buffer());
    }
}

/// The name of a mailbox on the wire.
pub(super) fn folder_name(folder: &Mailbox) -> &str {
    folder.folder().map_or("INBOX", |folder| folder.directory().trim_start_matches('.'))
}

/// Writes the response to STATUS.
pub(super) fn write_status(name: &str, items: &[StatusItem], numbers: &FolderStatus, out: &mut Vec<u8>) {
    untagged(out, |line| {
        line.atom("STATUS").astring(name.as_bytes()).list(|list| {
            for item in items {
                match item {
                    StatusItem::Messages => list.atom("MESSAGES").number(numbers.messages),
                    StatusItem::Recent => list.atom("RECENT").number(numbers.recent),
                    StatusItem::UidNext => list.atom("UIDNEXT").number(numbers.uid_next),
                    StatusItem::UidValidity => list.atom("UIDVALIDITY").number(numbers.uid_validity),
                    StatusItem::Unseen => list.atom("UNSEEN").number(numbers.unseen),
                    StatusItem::Deleted => list.atom("DELETED").number(numbers.deleted),
                    StatusItem::Size => list.atom("SIZE").number(numbers.size),
                    StatusItem::HighestModSeq => list.atom("HIGHESTMODSEQ").number(numbers.highest_modseq),
                };
            }
        });
    });
}
