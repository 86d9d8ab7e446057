//! One mailbox in use: its index, what happened that the index does not have yet, and what is under way.

use std::{
    collections::{HashSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{Index, List, name_set::Names, reconcile::Rest, session_update::Updating, spare::Spare};
use crate::{
    logging,
    maildir::{
        Change, Found, Maildir, Place, Progress,
        message::Named,
        name,
        scan::{LeftOut, Look, Times},
    },
    proto::request::{ConnId, Mailbox},
};

/// One mailbox in use.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Arc<Maildir>,
    /// There once it was looked through.
    pub(super) index: Option<Index>,
    pub(super) watched: bool,
    /// A worker was told to end the watch, perhaps after a walk that began before has begun another.
    pub(super) watch_anew: bool,
    pub(super) under_way: Option<UnderWay>,
    /// Nothing else begins while a session's changes are under way.
    pub(super) updating: Option<Updating>,
    /// Names that something happened to since they were looked at.
    pub(super) dirty: Names,
    /// Those that were taken out of them to be looked at, some at a time, and what had happened by then.
    pub(super) looking: Names,
    pub(super) looking_from: u64,
    /// Those of them that were not there any more. It is decided about all of them together after the last look:
    /// until then the others of their identity are no sign that a message is moving.
    pub(super) gone: Vec<Named>,
    /// Whether looking at names will not do.
    pub(super) walk: Walk,
    /// Our own changes while something is under way that may or may not have seen them.
    pub(super) meanwhile: VecDeque<Change>,
    /// Counts what happened, and how much of that the index is known to have.
    pub(super) noticed: u64,
    pub(super) settled: u64,
    /// Looks in a row that did not find a message where it was told to be.
    pub(super) lost_looks: usize,
    /// What nobody needs any more.
    pub(super) spare: Vec<Spare>,
    pub(super) login: Option<Login>,
    pub(super) sessions: usize,
    pub(super) last_used: Duration,
    pub(super) last_checked: Duration,
    /// Since when the directories have times that no notice has explained.
    pub(super) suspect: Option<Duration>,
    /// Since when their times are believed that were seen by a look at some names, and not by a walk.
    pub(super) explained: Option<Duration>,
    /// What the last walk left out, and the log was not told of yet.
    pub(super) left_out: Vec<LeftOut>,
    /// What the log was told of files that were left out.
    pub(super) said: HashSet<Box<[u8]>>,
}

/// What a worker does for a mailbox. The count is what had happened when it began.
#[derive(Debug)]
pub(super) enum UnderWay {
    Walk(u64),
    /// At some names.
    Look,
    /// It is done, and the mark that was made afterwards is not yet told.
    Telling(Telling, Mark),
    /// What was done is taken into the index.
    Reconciling(Rest),
    Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Walk {
    No,
    IfChanged,
    Yes,
}

/// A look or a walk that is done, but for what it could not see because it was moving at that time.
#[derive(Debug)]
pub(super) enum Telling {
    /// Names that were not there any more.
    Look(Vec<Named>),
    /// Messages that were known before, and that it did not see: it looks at each name at another moment.
    Walk {
        /// What had happened when it began.
        from: u64,
        missing: Vec<Found>,
        /// Whether it found anything at all to be another than before.
        is_new: bool,
    },
}

impl Telling {
    /// Whether what is told up to the mark may change what it means.
    pub(super) fn is_to_wait(&self) -> bool {
        match self {
            Self::Look(gone) => !gone.is_empty(),
            Self::Walk { is_new, .. } => *is_new,
        }
    }
}

/// How to look through a mailbox.
#[derive(Debug)]
pub struct Load {
    /// The mailbox.
    pub maildir: Arc<Maildir>,
    /// Start watching it first.
    pub watch: bool,
    /// Not at all if its directories have these times.
    pub unless: Option<Times>,
    /// What was there, as far as is known.
    pub known: List,
    /// What earlier turns have counted.
    pub progress: Progress,
}

/// What a session did to a mailbox at its end: names, and where they were.
#[derive(Debug, Default)]
pub struct Done {
    /// Messages that are gone.
    pub gone: Vec<Named>,
    /// Names that have come, gone or changed in another way.
    pub touched: Vec<Named>,
    /// The times that the directories had afterwards, and whether another change might bear the same times.
    pub seen: Option<(Times, bool)>,
    /// A mark that was made after that.
    pub mark: Option<u64>,
}

/// A mark that is waited for, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) since: Duration,
}

/// A login that waits until the index has everything that had happened when it came: until its mark is told,
/// if the mailbox is watched, and then until `need` is settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login {
    pub(super) to: ConnId,
    pub(super) need: u64,
    pub(super) mark: Option<Mark>,
}

impl Held {
    pub(super) fn new(mailbox: Mailbox, maildir: Arc<Maildir>, now: Duration) -> Self {
        Self {
            mailbox,
            maildir,
            index: None,
            watched: false,
            watch_anew: false,
            under_way: None,
            updating: None,
            dirty: Names::default(),
            looking: Names::default(),
            looking_from: 0,
            gone: Vec::new(),
            walk: Walk::No,
            meanwhile: VecDeque::new(),
            left_out: Vec::new(),
            noticed: 0,
            settled: 0,
            lost_looks: 0,
            spare: Vec::new(),
            login: None,
            sessions: 0,
            last_used: now,
            last_checked: now,
            suspect: None,
            explained: None,
            said: HashSet::new(),
        }
    }

    /// Something happened to a name. When there are so many of them that a walk costs less, it will be that.
    pub(super) fn note_name(&mut self, place: Place, name: Box<[u8]>) {
        self.noticed += 1;
        if self.walk < Walk::Yes {
            self.dirty.insert((place, name));
        }
        let all = self.index.as_ref().map_or(0, |index| index.list().len());
        if self.dirty.len() > all.max(MANY_NAMES) {
            self.spare.push(Spare::of(mem::take(&mut self.dirty)));
            self.note_walk(Walk::Yes);
        }
    }

    pub(super) fn note_walk(&mut self, walk: Walk) {
        self.noticed += 1;
        self.walk = self.walk.max(walk);
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

    /// Everything up to that mark has been told: goes on with what has waited for it.
    pub(super) fn told(&mut self, number: u64) {
        let is_told = |mark: &Mark| mark.number <= number;
        if self.updating.as_ref().and_then(Updating::mark).as_ref().is_some_and(is_told) {
            self.end_update();
        }
        if let Some(login) = &mut self.login
            && login.mark.as_ref().is_some_and(is_told)
        {
            (login.mark, login.need) = (None, self.noticed);
        }
        if matches!(&self.under_way, Some(UnderWay::Telling(_, mark)) if is_told(mark))
            && let Some(UnderWay::Telling(done, _)) = self.under_way.take()
        {
            self.begin_to_reconcile(done);
        }
    }

    /// The mark that has been waited for longest, if any.
    pub(super) fn waits_since(&self) -> Option<Duration> {
        let login = self.login.and_then(|login| login.mark).map(|mark| mark.since);
        let telling = match &self.under_way {
            Some(UnderWay::Telling(_, mark)) => Some(mark.since),
            _ => None,
        };
        let updating = self.updating.as_ref().and_then(Updating::mark).map(|mark| mark.since);
        login.into_iter().chain(telling).chain(updating).min()
    }

    /// Whether events of it may be lost. A walk may have begun to watch, and not have told so yet.
    pub(super) fn may_be_watched(&self) -> bool {
        self.watched || matches!(self.under_way, Some(UnderWay::Walk(_)))
    }

    /// What was not told is to be seen by a walk.
    pub(super) fn walk_instead(&mut self) {
        self.note_walk(Walk::Yes);
        self.told(u64::MAX);
    }

    /// Whether it was looked through, and nothing is known to have happened since.
    pub(super) fn is_at_rest(&self) -> bool {
        let has_work = self.walk > Walk::No || self.has_names();
        self.index.is_some() && self.under_way.is_none() && self.updating.is_none() && !has_work
    }

    /// Whether there are names to be looked at.
    pub(super) fn has_names(&self) -> bool {
        !self.dirty.is_empty() || !self.looking.is_empty()
    }

    /// Octets of its index.
    pub(super) fn memory(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.list().memory())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions == 0 && self.login.is_none() && self.under_way.is_none() && self.updating.is_none()
    }

    pub(super) fn begin_walk(&mut self) -> Load {
        let unless = match (&self.index, self.walk) {
            (Some(index), Walk::IfChanged) if !self.has_names() => index.certain_times(),
            _ => None,
        };
        if unless.is_none() {
            // The walk will see what happened to them.
            let names = [mem::take(&mut self.dirty), mem::take(&mut self.looking)];
            self.spare.extend(names.into_iter().filter(|names| !names.is_empty()).map(Spare::of));
            let gone = mem::take(&mut self.gone);
            self.spare.extend((!gone.is_empty()).then(|| Spare::of(gone)));
        }
        (self.walk, self.watch_anew) = (Walk::No, false);
        self.under_way = Some(UnderWay::Walk(self.noticed));
        Load {
            maildir: Arc::clone(&self.maildir),
            watch: !self.watched,
            unless,
            known: self.index.as_ref().map(|index| index.list().to_read()).unwrap_or_default(),
            progress: Progress::default(),
        }
    }

    /// Begins to look at the names there are, or goes on with them.
    pub(super) fn begin_look(&mut self) -> Vec<Look> {
        self.under_way = Some(UnderWay::Look);
        if self.looking.is_empty() {
            self.looking = mem::take(&mut self.dirty);
            self.looking_from = self.noticed;
        }
        let known = |place, name: &[u8]| self.index.as_ref().map(|index| index.known(place, name));
        let look =
            |(place, name): Named| Look { place, known: known(place, &name).unwrap_or_default(), name };
        self.looking.take(MOST_LOOKS).into_iter().map(look).collect()
    }

    /// Says once which identities several files have, since other programs take them for one message.
    pub(super) fn report_doubles(&mut self, doubles: &[Box<[u8]>]) {
        for identity in doubles {
            if self.said.len() < MANY_NAMES && self.said.insert(identity.clone()) {
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
            if self.said.len() < MANY_NAMES && self.said.insert(file.name.clone()) {
                let path = self.maildir.path().join(file.place.name());
                let name = String::from_utf8_lossy(&file.name);
                log::warn!("{}/{}: left out: {}", path.display(), logging::escape(&name), file.why);
            }
        }
    }
}

/// More names than this are not looked at one by one, unless the mailbox has as many messages.
const MANY_NAMES: usize = 10_000;
/// Names that are looked at in one go: the loop has other things to do between them.
const MOST_LOOKS: usize = 500;
