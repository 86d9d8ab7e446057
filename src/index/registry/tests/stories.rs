//! Other programs do anything while a session deletes, and each step of the kernel, the worker and the loop comes
//! at any time: a later login gets the messages that are on the disk.

use std::{collections::VecDeque, os::unix::fs::MetadataExt};

use proptest::prelude::*;

use super::*;
use crate::maildir::{
    FileVersion, MessageRef,
    message::{Deletion, LinkCheck},
};

/// A step. Files have the numbers of their names.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write(usize),
    Remove(usize),
    Rename(usize, usize),
    Link(usize, usize),
    /// The session goes on: its update begins, deletes a message, ends.
    Session,
    /// The loop reads one event.
    Hear,
    /// The kernel loses the events in its queue.
    Lose,
    /// The worker carries out an order.
    Work,
}

const NAMES: [&str; 7] =
    ["new/1.a", "cur/1.a:2,", "cur/1.a:2,S", "new/2.b", "cur/2.b:2,S", "new/3.c", "new/4.d"];

#[derive(Debug)]
enum Queued {
    Removed(String),
    Other(String),
    Barrier(u64),
}

struct Story {
    backend: Fixture,
    queue: VecDeque<Queued>,
    orders: VecDeque<Output>,
    /// The messages of the session.
    listed: Vec<MessageEntry>,
    done: SessionChanges,
    stage: usize,
    served: Option<Arc<Snapshot>>,
}

impl Story {
    fn new() -> Self {
        let mut backend = Fixture::new();
        [NAMES[0], NAMES[3], NAMES[5]].into_iter().for_each(|name| backend.put(name));
        backend.log_in();
        backend.settle();
        let listed = scanned(&backend);
        let (queue, orders) = Default::default();
        Self { backend, queue, orders, listed, done: SessionChanges::default(), stage: 0, served: None }
    }

    fn step(&mut self, step: Step) {
        let path = |backend: &Fixture, name: usize| backend.file(NAMES[name]);
        let other = |name: usize| Queued::Other(NAMES[name].to_owned());
        match step {
            Step::Write(name) => {
                // The kernel reports the name that the program uses, and not the other names of the file.
                let links = path(&self.backend, name).metadata().map_or(0, |file| file.nlink());
                if links < 2 {
                    self.backend.put(NAMES[name]);
                    self.queue.push_back(other(name));
                }
            }
            Step::Remove(name) => {
                let removed = std::fs::remove_file(path(&self.backend, name));
                self.queue.extend(removed.is_ok().then(|| Queued::Removed(NAMES[name].to_owned())));
            }
            Step::Rename(from, to) => {
                let renamed = std::fs::rename(path(&self.backend, from), path(&self.backend, to));
                // The kernel does nothing if both names belong to one file.
                if renamed.is_ok() && !path(&self.backend, from).exists() {
                    self.queue.extend([other(from), other(to)]);
                }
            }
            Step::Link(from, to) => {
                let linked = std::fs::hard_link(path(&self.backend, from), path(&self.backend, to));
                self.queue.extend(linked.is_ok().then(|| other(to)));
            }
            Step::Session => self.session(),
            Step::Hear => match self.queue.pop_front() {
                Some(Queued::Removed(name)) => self.backend.report_removed(&name),
                Some(Queued::Other(name)) => self.backend.report_changed(&name),
                Some(Queued::Barrier(barrier)) => self.backend.registry.barrier_reached(barrier),
                None => {}
            },
            Step::Lose => {
                self.queue.clear();
                self.backend.registry.events_lost();
                self.backend.registry.barrier_reached(self.backend.barriers);
            }
            Step::Work => self.work(),
        }
        self.backend.registry.apply_events();
        for order in self.backend.outputs() {
            match order {
                Output::Served(_, snapshot) => self.served = Some(snapshot),
                order => self.orders.push_back(order),
            }
        }
    }

    fn session(&mut self) {
        self.stage += 1;
        let key = self.backend.maildir.id();
        match self.stage {
            1 => assert!(
                self.backend.registry.session_updating(&self.backend.mailbox, key, (CLIENT, 2)).is_none()
            ),
            2 | 3 => self.delete(self.stage - 2),
            4 => {
                self.done.dir_times = Some((self.backend.times(), false));
                self.done.barrier = self.mark();
                let done = mem::take(&mut self.done);
                self.backend.registry.session_updated(&self.backend.mailbox, key, (CLIENT, done));
                self.backend.registry.logout(&self.backend.mailbox, CLIENT);
            }
            _ => {}
        }
    }

    fn delete(&mut self, message: usize) {
        let wanted = MessageRef::from(&self.listed[message]);
        let listed = (wanted.subdir, wanted.name.into());
        let there = |backend: &Fixture| NAMES.map(|name| backend.file(name).exists());
        let before = there(&self.backend);
        let mut deletion = Deletion::begin(&self.backend.maildir, LinkCheck::Fstat);
        match deletion.delete(wanted) {
            Ok(named) => {
                self.done.deleted.extend(named);
                self.done.deleted.push(listed);
            }
            Err(_) => self.done.changed.push(listed),
        }
        self.done.deleted.extend(deletion.finish().unwrap());
        let after = there(&self.backend);
        let gone = (0..NAMES.len()).filter(|name| before[*name] && !after[*name]);
        self.queue.extend(gone.map(|name| Queued::Removed(NAMES[name].to_owned())));
    }

    fn mark(&mut self) -> Option<u64> {
        let barrier = self.backend.create_barrier();
        self.queue.extend(barrier.map(Queued::Barrier));
        barrier
    }

    fn work(&mut self) {
        match self.orders.pop_front() {
            Some(Output::Scan(id, load)) => {
                let times = self.backend.times();
                let list = MessageList::from_messages(names(&self.backend));
                let missing = load.known.difference(&list);
                let index = Some(MailboxIndex::new(list, times, false));
                let barrier = self.mark();
                let loaded =
                    ScanResult { watched: load.watch, missing, barrier, ..loaded(load.maildir, index) };
                self.backend.scanned(id, Ok(loaded));
            }
            Some(order) => {
                let before = self.backend.barriers;
                self.backend.work(order);
                self.queue.extend((before + 1..=self.backend.barriers).map(Queued::Barrier));
            }
            None => {}
        }
    }

    /// The messages that a login gets after all this, and those on the disk.
    fn end(mut self) -> (Vec<MessageEntry>, Vec<MessageEntry>) {
        (self.stage..4).for_each(|_| self.step(Step::Session));
        self.backend.log_in_without_barrier();
        self.queue.push_back(Queued::Barrier(self.backend.barriers));
        for _ in 0..200 {
            self.step(Step::Hear);
            self.step(Step::Work);
        }
        let served = self.served.expect("the login is served");
        (
            served.iter().cloned().collect(),
            MessageList::from_messages(scanned(&self.backend)).iter().cloned().collect(),
        )
    }
}

/// The messages on the disk, in order.
fn scanned(backend: &Fixture) -> Vec<MessageEntry> {
    MessageList::from_messages(names(backend)).iter().cloned().collect()
}

/// The entries that a worker finds: one for each name, so that a message has several if its file has.
fn names(backend: &Fixture) -> Vec<MessageEntry> {
    scan::scan(&backend.maildir, [], &mut CountSlice::unbounded(u64::MAX)).unwrap().unwrap().messages
}

/// The files, each of which may have several names.
fn files(found: &[MessageEntry]) -> Vec<(&[u8], FileVersion)> {
    found.iter().map(|found| (crate::maildir::name::identity(&found.name), found.version)).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    prop_oneof![
        2 => name().prop_map(Step::Write),
        2 => name().prop_map(Step::Remove),
        3 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Step::Link(from, to)),
        4 => Just(Step::Session),
        8 => Just(Step::Hear),
        1 => Just(Step::Lose),
        6 => Just(Step::Work),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_login_after_a_deletion_is_served_what_is_on_the_disk(steps in prop::collection::vec(step(), 0..40)) {
        let mut story = Story::new();
        steps.into_iter().for_each(|step| story.step(step));
        let (served, there) = story.end();
        prop_assert_eq!(files(&served), files(&there));
    }
}

#[test]
fn a_file_that_loses_one_of_two_names_after_the_scan_stays() {
    let mut story = Story::new();
    [Step::Session, Step::Write(0), Step::Lose, Step::Link(0, 1), Step::Session, Step::Session, Step::Hear]
        .into_iter()
        .chain([Step::Hear, Step::Session, Step::Hear, Step::Work, Step::Remove(0)])
        .for_each(|step| story.step(step));
    let (served, there) = story.end();
    assert_eq!(files(&served), files(&there));
    assert!(there.iter().any(|found| *found.name == *b"1.a:2,"));
}
