//! One mailbox in use: its index, what happened that the index does not have yet, and what is under way.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{Index, registry::Load};
use crate::{
    logging,
    maildir::{
        Change, Maildir, Place,
        message::Named,
        name,
        scan::{LeftOut, Look},
    },
    proto::ask::{ConnId, Mailbox},
};

/// One mailbox in use.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Arc<Maildir>,
    /// There once it was looked through.
    pub(super) index: Option<Index>,
    pub(super) watched: bool,
    pub(super) under_way: Option<UnderWay>,
    /// Names that something happened to since they were looked at.
    pub(super) dirty: BTreeSet<Named>,
    /// Whether looking at names will not do.
    pub(super) walk: Walk,
    /// Our own changes while something is under way that may or may not have seen them.
    pub(super) meanwhile: Vec<Change>,
    /// Counts what happened, and how much of that the index is known to have.
    pub(super) noticed: u64,
    pub(super) settled: u64,
    /// Counts the marks that were told.
    pub(super) marks: u64,
    pub(super) login: Option<Login>,
    pub(super) sessions: usize,
    pub(super) last_used: Duration,
    pub(super) last_checked: Duration,
    /// Since when the directories have times that no notice has explained.
    pub(super) suspect: Option<Duration>,
    /// What the log was told of files that were left out.
    pub(super) told: HashSet<Box<[u8]>>,
}

/// What a worker does for a mailbox. The count is what had happened when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnderWay {
    Walk(u64),
    Look(u64),
    Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Walk {
    No,
    IfChanged,
    Yes,
}

/// A login that waits until the index has everything that had happened when it came: until its mark is told,
/// if the mailbox was watched, and then until `need` is settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login {
    pub(super) to: ConnId,
    pub(super) need: u64,
    /// Since when it waits for its mark.
    pub(super) unmarked: Option<Duration>,
}

impl Held {
    pub(super) fn new(mailbox: Mailbox, maildir: Arc<Maildir>, now: Duration) -> Self {
        Self {
            mailbox,
            maildir,
            index: None,
            watched: false,
            under_way: None,
            dirty: BTreeSet::new(),
            walk: Walk::No,
            meanwhile: Vec::new(),
            noticed: 0,
            settled: 0,
            marks: 0,
            login: None,
            sessions: 0,
            last_used: now,
            last_checked: now,
            suspect: None,
            told: HashSet::new(),
        }
    }

    pub(super) fn note_name(&mut self, place: Place, name: Box<[u8]>) {
        self.noticed += 1;
        if self.walk < Walk::Yes && !self.has_many_names() {
            self.dirty.insert((place, name));
        }
    }

    /// Whether a walk costs less than to look at each.
    pub(super) fn has_many_names(&self) -> bool {
        let all = self.index.as_ref().map_or(0, |index| index.list().len());
        self.dirty.len() > all.max(MANY_NAMES)
    }

    /// Takes in what we did ourselves, now and again after what is under way, which may not have seen it.
    pub(super) fn own(&mut self, changes: Vec<Change>) {
        if let Some(index) = &mut self.index {
            index.apply_own(&changes);
        }
        if self.under_way.is_some() {
            self.meanwhile.extend(changes);
        }
    }

    pub(super) fn own_again(&mut self) {
        let changes = mem::take(&mut self.meanwhile);
        if let Some(index) = &mut self.index {
            index.apply_own(&changes);
        }
    }

    pub(super) fn note_walk(&mut self, walk: Walk) {
        self.noticed += 1;
        self.walk = self.walk.max(walk);
    }

    /// All that happened before the lock was opened has been told.
    pub(super) fn marked(&mut self) {
        self.marks += 1;
        if let Some(login) = &mut self.login {
            (login.unmarked, login.need) = (None, self.noticed);
        }
    }

    /// What was not told, the mark of a login perhaps, is to be seen by a walk.
    pub(super) fn walk_instead(&mut self) {
        self.note_walk(Walk::Yes);
        self.marked();
    }

    pub(super) fn has_work(&self) -> bool {
        self.walk > Walk::No || !self.dirty.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions == 0 && self.login.is_none() && self.under_way.is_none()
    }

    pub(super) fn begin_walk(&mut self) -> Load {
        let unless = match (&self.index, self.walk) {
            (Some(index), Walk::IfChanged) if self.dirty.is_empty() => index.certain_times(),
            _ => None,
        };
        if unless.is_none() {
            self.dirty.clear(); // the walk will see what happened to them
        }
        self.walk = Walk::No;
        self.under_way = Some(UnderWay::Walk(self.noticed));
        Load {
            maildir: Arc::clone(&self.maildir),
            watch: !self.watched,
            unless,
            known: self.index.as_ref().map(|index| index.list().clone()).unwrap_or_default(),
        }
    }

    pub(super) fn begin_look(&mut self) -> Vec<Look> {
        self.under_way = Some(UnderWay::Look(self.noticed));
        let known = |name: &[u8]| self.index.as_ref().map(|index| index.known(name)).unwrap_or_default();
        let look = |(place, name): Named| Look { place, known: known(&name), name };
        mem::take(&mut self.dirty).into_iter().map(look).collect()
    }

    /// Says once which identities several files have, since other programs take them for one message.
    pub(super) fn report_doubles(&mut self, doubles: &[Box<[u8]>]) {
        for identity in doubles {
            if self.told.len() < MANY_NAMES && self.told.insert(identity.clone()) {
                let (path, name) = (self.maildir.path().display(), String::from_utf8_lossy(identity));
                log::warn!("{path}: two messages are called {}: copied?", logging::escape(&name));
            }
        }
    }

    pub(super) fn report_new_doubles(&mut self, changes: &[Change]) {
        let Some(index) = &self.index else { return };
        let doubled = |change: &Change| match change {
            Change::Present(found) => {
                let identity = name::identity(&found.name);
                index.list().of_identity(identity).nth(1).map(|_| identity.into())
            }
            Change::Absent { .. } => None,
        };
        let doubles: Vec<Box<[u8]>> = changes.iter().filter_map(doubled).collect();
        self.report_doubles(&doubles);
    }

    /// Says once what was left out, and why.
    pub(super) fn report(&mut self, left_out: &[LeftOut]) {
        for file in left_out {
            if self.told.len() < MANY_NAMES && self.told.insert(file.name.clone()) {
                let path = self.maildir.path().join(file.place.name());
                let name = String::from_utf8_lossy(&file.name);
                log::warn!("{}/{}: left out: {}", path.display(), logging::escape(&name), file.why);
            }
        }
    }
}

/// More names than this are not looked at one by one, unless the mailbox has as many messages.
const MANY_NAMES: usize = 1000;
