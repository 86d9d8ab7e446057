//! The mailboxes in use: the index of each, what is known not to be in it yet, and who waits for that.
//!
//! A state machine without threads or files. It is told of logins, deliveries, notices and results, and says
//! what is to be done next as [`Order`]s. For each mailbox one thing is under way at a time, so that results
//! come in the order of the looks. `docs/index.md` tells who tells it what, and why it may be stale.

mod metrics;
mod room;
mod ticks;

use std::{
    collections::{BTreeSet, HashMap},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

pub use super::entry::{Done, Load};
use super::{
    Index, Snapshot,
    budget::Budget,
    entry::{Held, Login, Mark, Telling, UnderWay, Walk},
    spare::Spare,
    watcher::Notice,
};
use crate::{
    limits::Limits,
    maildir::{
        Change, Found, Maildir, Place,
        scan::{LeftOut, Look, Times},
    },
    metrics::METRICS,
    proto::request::{ConnId, Fault, Mailbox},
    rota::take_after,
};

/// Which index. Never used twice, so that a late result for one that was dropped finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexId(pub u64);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// Something to be done.
#[derive(Debug)]
pub enum Order {
    /// Look through a mailbox, and tell [`Registry::loaded`].
    Load(IndexId, Box<Load>),
    /// Look at some names in it, and tell [`Registry::looked`].
    Look(IndexId, Arc<Maildir>, Vec<Look>),
    /// Ask for the times of its directories, and tell [`Registry::checked`].
    Check(IndexId, Arc<Maildir>),
    /// Stop watching it.
    Unwatch(IndexId, Arc<Maildir>),
    /// Free memory on another thread: where it is much, that takes a while.
    Free(Spare),
    /// Answer a login.
    Serve(ConnId, Arc<Snapshot>),
    /// Refuse a login.
    Fail(ConnId, Fault),
}

/// What a look through a mailbox has found.
#[derive(Debug)]
pub struct Loaded {
    /// The mailbox.
    pub maildir: Arc<Maildir>,
    /// Its messages; `None`: nothing has changed.
    pub index: Option<Index>,
    /// Whether it is watched from now on. Told only where that was asked for.
    pub watched: bool,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// Messages that were known, and that the walk did not see.
    pub missing: Vec<Found>,
    /// Identities that several messages have, some of them if there are many.
    pub doubles: Vec<Box<[u8]>>,
    /// A mark that was made afterwards.
    pub mark: Option<u64>,
}

/// What a look at some names has seen.
#[derive(Debug)]
pub struct Looked {
    /// The times that the directories had before it.
    pub times: Times,
    /// Whether another change might bear the same times.
    pub young: bool,
    /// What is there, and what is not.
    pub changes: Vec<Change>,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// A mark that was made afterwards.
    pub mark: Option<u64>,
}

/// The mailboxes in use.
#[derive(Debug)]
pub struct Registry {
    most_mailboxes: usize,
    most_memory: usize,
    idle: Duration,
    now: Duration,
    ids: HashMap<Mailbox, IndexId>,
    held: HashMap<IndexId, Held>,
    next: u64,
    /// The last mark that was told.
    told: u64,
    /// Those that wait for a mark.
    waiting: BTreeSet<IndexId>,
    /// Those that have something to go on with.
    stirred: BTreeSet<IndexId>,
    last_stirred: Option<IndexId>,
    budget: Budget,
    orders: Vec<Order>,
    /// Whether times of a directory have changed for which there was no notice at the last tick.
    is_suspicious: bool,
}

impl Registry {
    /// No mailbox is in use yet. At most so many are held when no session has them open.
    pub fn new(limits: &Limits, most_mailboxes: usize) -> Self {
        Self {
            most_mailboxes,
            most_memory: limits.index_memory.as_len(),
            idle: limits.index_idle.0,
            now: Duration::ZERO,
            ids: HashMap::new(),
            held: HashMap::new(),
            next: 0,
            told: 0,
            waiting: BTreeSet::new(),
            stirred: BTreeSet::new(),
            last_stirred: None,
            budget: Budget::new(NAMES_A_TURN),
            orders: Vec::new(),
            is_suspicious: false,
        }
    }

    /// Other bounds are in force from now on.
    pub fn follow(&mut self, limits: &Limits, most_mailboxes: usize) {
        self.most_mailboxes = most_mailboxes;
        self.most_memory = limits.index_memory.as_len();
        self.idle = limits.index_idle.0;
    }

    /// How many mailboxes are in use.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// A turn of the loop begins.
    pub fn begin_turn(&mut self) {
        self.budget.renew();
    }

    /// Whether something may be left for the next turn.
    pub fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// What time it is on the steady clock.
    pub fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// What is to be done now.
    pub fn orders(&mut self) -> Vec<Order> {
        mem::take(&mut self.orders)
    }

    /// Whether something is waited for that comes within a second, or never. All else that [`Registry::tick`] looks
    /// after takes minutes.
    pub fn wants_ticks(&self) -> bool {
        self.is_suspicious || !self.waiting.is_empty()
    }

    /// The directories of a mailbox in use, to be taken again if they are still what its path leads to.
    pub fn maildir(&self, mailbox: &Mailbox) -> Option<Arc<Maildir>> {
        Some(Arc::clone(&self.held.get(self.ids.get(mailbox)?)?.maildir))
    }

    // What sessions and deliveries tell

    /// A session has locked a mailbox, whose directories had these times then; after that a mark was made.
    /// Answered by an order.
    pub fn login(
        &mut self,
        mailbox: &Mailbox,
        maildir: &Arc<Maildir>,
        times: Times,
        mark: Option<u64>,
        to: ConnId,
    ) {
        if let Some((id, held)) = self.held(mailbox)
            && !Arc::ptr_eq(&held.maildir, maildir)
        {
            self.drop_index(id, Fault::Broken); // it was removed or replaced
        }
        let id = self.ids.get(mailbox).copied().unwrap_or_else(|| self.hold(mailbox, maildir));
        let now = self.now;
        let Some(held) = self.held.get_mut(&id) else { return };
        held.sessions += 1;
        held.last_used = now;
        if let Some(index) = &held.index {
            if !held.watched {
                held.note_walk(Walk::IfChanged);
            } else if index.times() != times {
                held.suspect.get_or_insert(now);
                self.is_suspicious = true;
            }
        }
        let mark = mark.filter(|_| held.watched).map(|number| Mark { number, since: now });
        held.login = Some(Login { to, need: held.noticed, mark });
        held.told(self.told);
        self.waiting.insert(id);
        self.go_on(id);
    }

    /// A session is over.
    pub fn logout(&mut self, mailbox: &Mailbox) {
        let now = self.now;
        if let Some((id, held)) = self.held(mailbox) {
            held.sessions = held.sessions.saturating_sub(1);
            held.last_used = now;
            held.lose_update();
            self.stirred.insert(id);
        }
    }

    /// A message of ours is durable in that Maildir. It may have been seen there before, and even have been
    /// moved or removed, so that its name is looked at too.
    pub fn delivered(&mut self, mailbox: &Mailbox, maildir: (u64, u64), found: Found) {
        let Some((id, held)) = self.held(mailbox).filter(|(_, held)| held.maildir.key() == maildir) else {
            return;
        };
        // A look has seen it, and what happens to it afterwards is told.
        if held.watched && held.index.as_ref().is_some_and(|index| index.has(&found)) {
            return;
        }
        held.note_name(found.place, found.name.clone());
        held.own(vec![Change::Present(found)]);
        self.stirred.insert(id);
    }

    /// A session found that a message is not what the index says.
    pub fn doubt(&mut self, mailbox: &Mailbox, place: Place, name: &[u8]) {
        if let Some((id, held)) = self.held(mailbox) {
            held.note_name(place, name.into());
            self.stirred.insert(id);
        }
    }

    // What the watcher tells

    /// Something happened.
    pub fn notice(&mut self, notice: Notice) {
        let (Notice::Name(id, ..) | Notice::Removed(id, ..) | Notice::Lost(id)) = notice;
        let Some(held) = self.held.get_mut(&id) else { return };
        self.stirred.insert(id);
        match notice {
            Notice::Name(_, place, name) => held.note_name(place, name),
            Notice::Removed(_, place, name) => held.note_removed(place, name),
            Notice::Lost(_) => {
                held.watched = false;
                held.walk_instead();
            }
        }
    }

    /// All notices up to that mark have been told.
    pub fn told(&mut self, mark: u64) {
        self.told = mark;
        for id in mem::take(&mut self.waiting) {
            let Some(held) = self.held.get_mut(&id) else { continue };
            held.told(mark);
            self.stirred.insert(id);
            if held.waits_since().is_some() {
                self.waiting.insert(id);
            }
        }
    }

    /// Nobody knows what happened.
    pub fn missed(&mut self) {
        for (id, held) in self.held.iter_mut().filter(|(_, held)| held.may_be_watched()) {
            held.walk_instead();
            self.stirred.insert(*id);
        }
    }

    /// Everything that there was has been told: begins what follows from it, as far as the budget of this turn goes.
    pub fn settle(&mut self) {
        while !self.budget.is_spent()
            && let Some(id) = take_after(&mut self.stirred, self.last_stirred)
        {
            self.last_stirred = Some(id);
            self.go_on(id);
        }
    }

    // What workers tell

    /// The result of [`Order::Load`].
    pub fn loaded(&mut self, id: IndexId, result: Result<Loaded, Fault>) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&id) else {
            // Dropped meanwhile, and perhaps before the watch began.
            if let Ok(loaded) = result {
                self.orders.push(Order::Unwatch(id, Arc::clone(&loaded.maildir)));
                self.orders.push(Order::Free(Spare::of(loaded)));
            }
            return;
        };
        let Some(UnderWay::Walk(from)) = held.under_way.take() else { return };
        let loaded = match result {
            Ok(loaded) => loaded,
            // What can't be looked through is not held: the next login begins anew.
            Err(fault) => return self.drop_index(id, fault),
        };
        held.watched |= loaded.watched && !held.watch_anew;
        held.last_checked = now;
        (held.suspect, held.explained) = (None, None);
        held.left_out = loaded.left_out;
        held.report_doubles(&loaded.doubles);
        let is_new = loaded.index.is_some();
        if let Some(before) = loaded.index.and_then(|index| held.index.replace(index)) {
            held.spare.push(Spare::of(before));
        }
        self.wait_to_be_told(id, Telling::Walk { from, missing: loaded.missing, is_new }, loaded.mark);
        self.make_room();
    }

    /// The result of [`Order::Look`].
    pub fn looked(&mut self, id: IndexId, result: Result<Looked, Fault>) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let Some(UnderWay::Look) = held.under_way.take() else { return };
        let (Ok(looked), Some(index)) = (result, &mut held.index) else {
            held.note_walk(Walk::Yes);
            return self.go_on(id);
        };
        self.budget.charge(looked.changes.len());
        index.apply_present(&looked.changes);
        // Without a watch nobody has told of the other changes that may be behind these times.
        if held.watched {
            index.looked(looked.times, looked.young);
            held.explained.get_or_insert(self.now);
        }
        held.suspect = None;
        held.report(&looked.left_out);
        held.report_new_doubles(&looked.changes);
        held.gone.extend(looked.changes.into_iter().filter_map(Change::absent));
        if !held.looking.is_empty() {
            return self.go_on(id);
        }
        let gone = mem::take(&mut held.gone);
        self.wait_to_be_told(id, Telling::Look(gone), looked.mark);
    }

    /// The result of [`Order::Check`].
    pub fn checked(&mut self, id: IndexId, result: Result<Times, Fault>) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&id) else { return };
        held.under_way = None;
        held.meanwhile.clear(); // the index has them, and every later look sees them
        held.last_checked = now;
        let as_known = result.is_ok_and(|times| held.index.as_ref().is_some_and(|i| i.times() == times));
        match held.suspect {
            _ if as_known => held.suspect = None,
            // A notice may be on its way, if there is somebody to send one.
            Some(since) if held.watched && now < since + ticks::EXPLAINED_WITHIN => {}
            None if held.watched => {
                held.suspect = Some(now);
                self.is_suspicious = true;
            }
            _ => {
                if held.watched {
                    log::info!("{}: changed, and no notice told so; looked through again", held.mailbox);
                }
                held.note_walk(Walk::Yes);
            }
        }
        self.go_on(id);
    }

    /// An order could not be carried out.
    pub fn failed(&mut self, id: IndexId) {
        self.drop_index(id, Fault::Broken);
    }

    // Inside

    /// A look or a walk is done, and after it a mark was made.
    fn wait_to_be_told(&mut self, id: IndexId, done: Telling, mark: Option<u64>) {
        let Some(held) = self.held.get_mut(&id) else { return };
        match mark.filter(|number| held.watched && *number > self.told && done.is_to_wait()) {
            Some(number) => {
                held.under_way = Some(UnderWay::Telling(done, Mark { number, since: self.now }));
                self.waiting.insert(id);
            }
            None => held.begin_to_reconcile(done),
        }
        self.go_on(id);
    }

    fn held(&mut self, mailbox: &Mailbox) -> Option<(IndexId, &mut Held)> {
        let id = *self.ids.get(mailbox)?;
        Some((id, self.held.get_mut(&id)?))
    }

    fn hold(&mut self, mailbox: &Mailbox, maildir: &Arc<Maildir>) -> IndexId {
        self.next += 1;
        let id = IndexId(self.next);
        self.ids.insert(mailbox.clone(), id);
        self.held.insert(id, Held::new(mailbox.clone(), Arc::clone(maildir), self.now));
        id
    }

    /// Serves the login if it can be served, and begins what is to be done next.
    fn go_on(&mut self, id: IndexId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let is_done = held.reconcile(&mut self.budget);
        self.orders.extend(held.spare.drain(..).map(Order::Free));
        if !is_done {
            self.stirred.insert(id);
            return;
        }
        if let (Some(Login { to, .. }), Some(index)) =
            (held.login.filter(|login| login.mark.is_none() && held.settled >= login.need), &held.index)
        {
            let snapshot = Arc::new(Snapshot::of(index.list()));
            held.login = None;
            self.orders.push(Order::Serve(to, snapshot));
        }
        if held.under_way.is_some() || held.updating.is_some() {
            return;
        }
        if held.index.is_none() || held.walk > Walk::No {
            METRICS.index_walks.one();
            self.orders.push(Order::Load(id, Box::new(held.begin_walk())));
        } else if held.has_names() {
            let looks = held.begin_look();
            self.budget.charge(looks.len());
            METRICS.index_looks.add(looks.len() as u64);
            self.orders.push(Order::Look(id, Arc::clone(&held.maildir), looks));
        }
    }
}

/// Names and messages that one turn of the loop takes in here: some microseconds each.
const NAMES_A_TURN: usize = 1000;

mod session_updates;
#[cfg(test)]
mod tests;
mod turns;
