//! The untagged updates of a selected folder: the differences between the view of the session, which its client knows, and the
//! newest state.
//!
//! The server sends no EXPUNGE while it answers FETCH, STORE or SEARCH by number (RFC 3501 section 7.4.1). A folder may have
//! a million messages, so one step compares a bounded number of them.

use std::{cmp::Ordering, sync::Arc};

use super::{
    command::FlagChange,
    flags::Flags,
    numbers, reply,
    request::{FolderState, MessageState},
    response::writer::{Condition, Items, no_code, status, untagged},
    sequence_set::NumberSet,
};
use crate::language::Language;

/// Updates that are being written.
pub(super) struct Updates {
    /// The view before, which the client knows.
    before: Arc<FolderState>,
    /// The view afterwards.
    after: Arc<FolderState>,
    /// The change that the client has asked for, if the updates end its command.
    own: Option<OwnChange>,
    /// The UIDs that have `\Recent` in this session afterwards.
    recent: Arc<NumberSet>,
    /// Whether the client has selected the folder for reading only.
    read_only: bool,
    /// The messages of the view afterwards so far, if no EXPUNGE may be written: those that are gone stay in it, because the client
    /// still numbers them.
    with_expunged: Option<Vec<MessageState>>,
    /// The positions of the next messages to compare.
    next_before: usize,
    next_after: usize,
    /// The number of EXPUNGE responses so far. The number of each later message is lower by it.
    expunged: usize,
    has_written_keywords: bool,
    /// Whether EXISTS has told of new messages.
    pub(super) has_new: bool,
}

/// The change of flags that the client has asked for.
pub(super) struct OwnChange {
    /// The UIDs of the messages that have changed.
    pub(super) uids: Arc<NumberSet>,
    pub(super) change: FlagChange,
    /// The flags and keywords that the client named.
    pub(super) flags: Flags,
    /// Whether the client wants a response for each message.
    pub(super) report: StoreReport,
}

/// The response to a STORE for each message that it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreReport {
    /// The flags.
    Flags,
    /// The modification sequence alone: `.SILENT` with CONDSTORE.
    ModSeq,
    /// None, unless another client has changed the message too.
    Nothing,
}

/// The progress after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// There is more for the next step.
    Part,
    /// The states do not fit: a message has got a UID below one that the client knows.
    OutOfOrder,
}

impl Updates {
    pub(super) fn new(
        (before, after): (Arc<FolderState>, Arc<FolderState>),
        own: Option<OwnChange>,
        (recent, read_only): (Arc<NumberSet>, bool),
        may_expunge: bool,
    ) -> Self {
        let keeps_expunged = !may_expunge && has_expunged(&before, &after);
        let most = before.messages.len() + after.messages.len();
        Self {
            before,
            after,
            own,
            recent,
            read_only,
            with_expunged: keeps_expunged.then(|| Vec::with_capacity(most)),
            next_before: 0,
            next_after: 0,
            expunged: 0,
            has_written_keywords: false,
            has_new: false,
        }
    }

    /// The view after all updates, and the UIDs with `\Recent`.
    pub(super) fn into_view(self) -> (Arc<FolderState>, Arc<NumberSet>) {
        (self.after, self.recent)
    }

    /// Writes the next part. `condstore`: modification sequences belong to it.
    pub(super) fn write(&mut self, condstore: bool, language: Language, out: &mut Vec<u8>) -> Written {
        if !self.has_written_keywords && self.before.keywords != self.after.keywords {
            write_keywords(&self.after, self.read_only, language, out);
        }
        self.has_written_keywords = true;
        let start = out.len();
        for _ in 0..COMPARED_PER_STEP {
            if out.len() - start > OCTETS_PER_STEP {
                return Written::Part;
            }
            let Some(&was) = self.before.messages.get(self.next_before) else { return self.write_new(out) };
            self.next_before += 1;
            match self.after.messages.get(self.next_after).map(|is| (*is, is.uid.cmp(&was.uid))) {
                Some((_, Ordering::Less)) => return Written::OutOfOrder,
                Some((is, Ordering::Equal)) => {
                    self.next_after += 1;
                    if let Some(messages) = &mut self.with_expunged {
                        messages.push(is);
                    }
                    self.write_flags(&was, &is, condstore, out);
                }
                Some((_, Ordering::Greater)) | None => match &mut self.with_expunged {
                    Some(messages) => messages.push(was),
                    None => {
                        // The numbers of later messages have moved with each one before.
                        let number = self.next_before - self.expunged;
                        self.expunged += 1;
                        untagged(out, |line| {
                            line.number(number as u64).atom("EXPUNGE");
                        });
                    }
                },
            }
        }
        Written::Part
    }

    /// Writes the number of messages, if there are new ones.
    fn write_new(&mut self, out: &mut Vec<u8>) -> Written {
        let new = &self.after.messages[self.next_after..];
        if let Some(messages) = &mut self.with_expunged {
            let some = &new[..new.len().min(COMPARED_PER_STEP)];
            messages.extend_from_slice(some);
            self.next_after += some.len();
            if some.len() < new.len() {
                return Written::Part;
            }
            let messages = std::mem::take(messages);
            let (keywords, recent) = (self.after.keywords.clone(), self.after.recent.clone());
            self.after = Arc::new(FolderState { keywords, messages, recent, ..*self.after });
        }
        let last_known = self.before.messages.last().map_or(0, |last| last.uid);
        if self.after.messages.last().is_some_and(|last| last.uid > last_known) {
            self.has_new = true;
            write_exists(&self.after, out);
            if self.recent.largest() > last_known {
                write_recent(&self.after, &self.recent, out);
            }
        }
        Written::All
    }

    /// Writes FETCH for a message of both views, if its client lacks a change or has asked for a response.
    fn write_flags(&self, was: &MessageState, is: &MessageState, condstore: bool, out: &mut Vec<u8>) {
        let has_changed = was.flags != is.flags || condstore && was.modseq != is.modseq;
        let (with_flags, with_modseq) = match self.own.as_ref().filter(|own| own.uids.contains(is.uid)) {
            None if has_changed => (true, condstore),
            None => return,
            // The client knows what it has changed, and not what another has.
            Some(own) => match (own.report, own.applied(was.flags) == is.flags) {
                (StoreReport::Flags, _) => (true, condstore),
                (StoreReport::ModSeq, is_as_asked) => (!is_as_asked, true),
                (StoreReport::Nothing, false) if has_changed => (true, condstore),
                (StoreReport::Nothing, _) => return,
            },
        };
        let number = self.next_before - self.expunged;
        untagged(out, |line| {
            line.number(number as u64).atom("FETCH").list(|items| {
                items.atom("UID").number(is.uid);
                if with_flags {
                    items.atom("FLAGS").flags(is.flags, self.recent.contains(is.uid), &self.after.keywords);
                }
                if with_modseq {
                    items.atom("MODSEQ").list(|list| {
                        list.number(is.modseq);
                    });
                }
            });
        });
    }
}

impl OwnChange {
    /// The flags of a message after the change.
    fn applied(&self, flags: Flags) -> Flags {
        match self.change {
            FlagChange::Replace => self.flags,
            FlagChange::Add => flags.with(self.flags),
            FlagChange::Remove => flags.without(self.flags),
        }
    }
}

/// Whether a message of the older state is gone in the newer one. UIDs ascend, so counting those up to the last is enough.
pub(super) fn has_expunged(before: &FolderState, after: &FolderState) -> bool {
    before.messages.last().is_some_and(|last| {
        after.messages.partition_point(|message| message.uid <= last.uid) < before.messages.len()
    })
}

/// Writes EXISTS (RFC 3501 section 7.3.1).
pub(super) fn write_exists(state: &FolderState, out: &mut Vec<u8>) {
    untagged(out, |line| {
        line.number(state.messages.len() as u64).atom("EXISTS");
    });
}

/// Writes RECENT (RFC 3501 section 7.3.2).
pub(super) fn write_recent(state: &FolderState, recent: &NumberSet, out: &mut Vec<u8>) {
    untagged(out, |line| {
        line.number(numbers::count(state, recent)).atom("RECENT");
    });
}

/// Writes FLAGS and PERMANENTFLAGS (RFC 3501 sections 7.2.6 and 7.1).
pub(super) fn write_keywords(state: &FolderState, read_only: bool, language: Language, out: &mut Vec<u8>) {
    let flags = |list: &mut Items<'_>| {
        Flags::NAMED.iter().for_each(|(_, name)| {
            list.atom(name);
        });
        // Dovecot keeps `$Forwarded` as a keyword, and it is among the flags above.
        let others = state.keywords.iter().filter(|name| Flags::of_name(name.as_bytes()).is_none());
        others.for_each(|name| {
            list.keyword(name);
        });
    };
    untagged(out, |line| {
        line.atom("FLAGS").list(flags);
    });
    let permanent = |list: &mut Items<'_>| {
        if !read_only {
            flags(list);
            if state.has_keyword_room {
                list.atom("\\*");
            }
        }
    };
    let text = if read_only { reply::NO_FLAG_STAYS } else { reply::FLAGS_STAY }.text(language);
    let code = |code: &mut Items<'_>| {
        code.atom("PERMANENTFLAGS").list(permanent);
    };
    status(out, None, Condition::Ok, code, text);
}

/// Writes an untagged OK with a text alone.
pub(super) fn write_notice(text: &str, out: &mut Vec<u8>) {
    status(out, None, Condition::Ok, no_code, text);
}

/// Messages that one step compares.
const COMPARED_PER_STEP: usize = 8192;
/// Octets that one step writes, before the rest of a line.
const OCTETS_PER_STEP: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The messages of a folder as a client knows them: UIDs it may not know, flags it does.
    #[derive(Debug, PartialEq)]
    struct Client {
        /// The UID of each message and its flags, if the client has read them.
        messages: Vec<(Option<u32>, Option<String>)>,
    }

    impl Client {
        fn knows(state: &FolderState) -> Self {
            let message = |message: &MessageState| (Some(message.uid), Some(format!("{:?}", message.flags)));
            Self { messages: state.messages.iter().map(message).collect() }
        }

        /// Reads responses as RFC 3501 section 7 defines them.
        fn read(&mut self, octets: &[u8]) {
            for line in std::str::from_utf8(octets).unwrap().lines() {
                let words: Vec<&str> = line.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
                let Ok(number) = words[1].parse::<usize>() else { continue };
                match words[2] {
                    "EXPUNGE" => drop(self.messages.remove(number - 1)),
                    "EXISTS" => {
                        assert!(number >= self.messages.len(), "{line}");
                        self.messages.resize(number, (None, None));
                    }
                    "FETCH" => {
                        let flags = Flags::NAMED.iter().filter(|(_, name)| words.contains(name));
                        let flags = flags.fold(Flags::empty(), |all, (flag, _)| all.with(*flag));
                        let (uid, known) = &mut self.messages[number - 1];
                        assert_eq!(*uid, words[4].parse().ok(), "{line}");
                        *known = Some(format!("{flags:?}"));
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }

    fn state(messages: &[(u32, u8)]) -> FolderState {
        let letters = |n: u8| Flags::of_letters(&b"DFPRST"[..usize::from(n % 7).min(6)]);
        let message =
            |(uid, n): &(u32, u8)| MessageState { uid: *uid, flags: letters(*n), modseq: u64::from(*n) };
        FolderState { messages: messages.iter().map(message).collect(), ..FolderState::default() }
    }

    fn updates(from: FolderState, to: FolderState, may_expunge: bool) -> Updates {
        Updates::new((Arc::new(from), Arc::new(to)), None, (Arc::default(), false), may_expunge)
    }

    fn written(from: FolderState, to: FolderState, may_expunge: bool) -> (Vec<u8>, Arc<FolderState>) {
        let (mut out, mut updates) = (Vec::new(), updates(from, to, may_expunge));
        while updates.write(false, Language::English, &mut out) == Written::Part {}
        (out, updates.into_view().0)
    }

    proptest! {
        #[test]
        fn y67_a_client_that_follows_the_updates_knows_the_folder(
            before in prop::collection::vec((any::<bool>(), 0u8..7, 0u8..7), 0..30),
            new in prop::collection::vec(0u8..7, 0..5), may_expunge in any::<bool>(),
        ) {
            let uids = || (1u32..).step_by(3);
            let from: Vec<(u32, u8)> = uids().zip(&before).map(|(uid, (_, flags, _))| (uid, *flags)).collect();
            let stay = uids().zip(&before).filter(|(_, (stays, ..))| *stays);
            let mut to: Vec<(u32, u8)> = stay.map(|(uid, (.., flags))| (uid, *flags)).collect();
            to.extend((1000..).zip(new));
            let (from, newest) = (state(&from), state(&to));
            let is_gone = before.iter().any(|(stays, ..)| !stays);
            prop_assert_eq!(has_expunged(&from, &newest), is_gone);
            let mut client = Client::knows(&from);
            let (octets, view) = written(from, newest, may_expunge);
            prop_assert!(may_expunge || memchr::memmem::find(&octets, b"EXPUNGE").is_none());
            client.read(&octets);
            // The client fetches the new messages, whose number it knows.
            let knows = Client::knows(&view);
            prop_assert_eq!(client.messages.len(), knows.messages.len());
            for (one, other) in client.messages.iter().zip(&knows.messages) {
                prop_assert!(one == other || *one == (None, None), "{:?} {:?}", one, other);
            }
            // After EXPUNGE is allowed again, the second step brings the rest.
            let mut client = knows;
            let known = FolderState { messages: view.messages.clone(), ..FolderState::default() };
            let (octets, _) = written(known, state(&to), true);
            client.read(&octets);
            prop_assert_eq!(client, Client::knows(&state(&to)));
        }
    }

    #[test]
    fn a_large_folder_is_compared_in_steps() {
        let messages: Vec<(u32, u8)> = (1..=100_000).map(|uid| (uid, 0)).collect();
        let (mut steps, mut out) = (0, Vec::new());
        let mut updates = updates(state(&messages), FolderState::default(), true);
        loop {
            let before = out.len();
            steps += 1;
            let progress = updates.write(false, Language::English, &mut out);
            assert!(out.len() - before < OCTETS_PER_STEP + 100);
            if progress == Written::All {
                break;
            }
        }
        assert!(steps > 50 && out.starts_with(b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n"));
    }

    #[test]
    fn y163_messages_that_are_gone_are_kept_in_the_numbers_of_a_large_folder_in_steps() {
        let known: Vec<(u32, u8)> = (1..=100_000).map(|uid| (uid, 0)).collect();
        let newest: Vec<(u32, u8)> = (2..=200_000).map(|uid| (uid, 0)).collect();
        let mut updates = updates(state(&known), state(&newest), false);
        let (mut steps, mut out) = (1, Vec::new());
        while updates.write(false, Language::English, &mut out) == Written::Part {
            steps += 1;
        }
        assert_eq!(steps, 200_000_usize.div_ceil(COMPARED_PER_STEP));
        assert_eq!(out, b"* 200000 EXISTS\r\n");
        assert_eq!(updates.into_view().0.messages.len(), 200_000);
    }
}
