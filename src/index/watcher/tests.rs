use std::collections::VecDeque;

use notify::event::{CreateKind, Flag};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    Change(usize),
    /// An opening of that file, under its watch at that moment.
    Barrier(usize, usize),
    Overflow,
}

/// The kernel, notify and the loop, one step at a time.
struct Kernel {
    barriers: Arc<Barriers>,
    handler: EventHandler,
    events: MailboxEvents,
    /// A queue as in `fsnotify_insert_event`: bounded, with one overflow at a time, and one event for two equal
    /// events in a row.
    kernel: VecDeque<Queued>,
    /// Events that notify has read and not passed on yet.
    read: VecDeque<Queued>,
    /// The watch of each file.
    watches: Vec<usize>,
    renewing: Vec<usize>,
    opened: Option<(usize, u64)>,
    /// Whether each change was reported to the loop, or came before a full scan.
    covered: Vec<bool>,
    /// The number of changes before each barrier.
    before: Vec<usize>,
}

impl Kernel {
    fn new() -> Self {
        let (queue, events) = channel::bounded(4);
        let barriers = Arc::new(Barriers::new().unwrap());
        let watched = Arc::<Mutex<Watched>>::default();
        lock(&watched).by_path.insert("/new".into(), (IndexId(1), Subdir::New));
        let missed = Arc::<AtomicBool>::default();
        let handler =
            EventHandler { watched, queue, lost: Arc::clone(&missed), barriers: Arc::clone(&barriers) };
        let events = MailboxEvents::new(events, missed, Arc::clone(&barriers));
        let (kernel, read, renewing, covered, before) = Default::default();
        let watches = vec![0; barriers.paths().count()];
        Self { barriers, handler, events, kernel, read, watches, renewing, opened: None, covered, before }
    }

    fn happens(&mut self, event: Queued) {
        const MOST: usize = 6;
        if self.kernel.len() >= MOST {
            if !self.kernel.contains(&Queued::Overflow) {
                self.kernel.push_back(Queued::Overflow);
            }
        } else if self.kernel.back() != Some(&event) {
            self.kernel.push_back(event);
        }
    }

    /// Queues the event if the barriers have opened a file.
    fn see_opened(&mut self) {
        let before = std::mem::replace(&mut self.opened, self.barriers.awaited_file());
        if let Some((file, _)) = self.opened.filter(|opened| before != Some(*opened)) {
            self.happens(Queued::Barrier(file, self.watches[file]));
        }
    }

    fn change(&mut self) {
        self.covered.push(false);
        self.happens(Queued::Change(self.covered.len() - 1));
    }

    fn create_barrier(&mut self) {
        self.before.push(self.covered.len());
        assert_eq!(self.barriers.create(), Some(self.before.len() as u64));
        self.see_opened();
    }

    fn hear(&mut self) {
        let event = match self.read.pop_front() {
            Some(Queued::Change(change)) => {
                let path = format!("/new/{change}").into();
                Event::new(EventKind::Create(CreateKind::File)).add_path(path)
            }
            Some(Queued::Barrier(file, watch)) if watch == self.watches[file] => {
                Event::new(OPENED).add_path(self.barriers.path(file).into())
            }
            Some(Queued::Overflow) => Event::new(EventKind::Other).set_flag(Flag::Rescan),
            _ => return,
        };
        self.handler.on_event(Ok(event));
        self.see_opened();
    }

    fn renew(&mut self) {
        match self.renewing.pop() {
            Some(file) => {
                self.watches[file] += 1;
                self.barriers.rewatched(file);
            }
            None => self.renewing = self.barriers.take_files_to_rewatch(),
        }
        self.see_opened();
    }

    /// Runs a turn of the loop that has no time for many events.
    fn turn(&mut self) -> Result<(), TestCaseError> {
        let mut budget = Budget::new(1 + self.covered.len() % 3);
        let (before, covered) = (&self.before, &mut self.covered);
        let mut too_early = None;
        self.events.read(&mut budget, |news| match news {
            WatcherReport::Overflow => covered.fill(true),
            WatcherReport::Event(
                MailboxEvent::NameChanged(_, _, name) | MailboxEvent::NameRemoved(_, _, name),
            ) => {
                covered[std::str::from_utf8(&name).unwrap().parse::<usize>().unwrap()] = true;
            }
            WatcherReport::Event(MailboxEvent::DirectoryLost(_)) => {}
            WatcherReport::Barrier(told) => {
                let changes = (told as usize).checked_sub(1).map_or(0, |last| before[last]);
                let is_right = covered[..changes].iter().all(|covered| *covered);
                too_early = (!is_right).then_some(told);
            }
        });
        prop_assert_eq!(too_early, None, "a mark was told too early");
        Ok(())
    }

    fn read_all(&mut self) -> Result<(), TestCaseError> {
        while !self.kernel.is_empty() || !self.read.is_empty() {
            self.read.extend(self.kernel.pop_front());
            self.hear();
            self.turn()?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Before a barrier counts as reached, every change before it is reported, or a full scan is requested; and
    /// every barrier is reached after the queue has been read.
    #[test]
    fn every_mark_is_told_and_none_before_what_happened_before_it(
        steps in prop::collection::vec((0u8..16, any::<bool>()), 0..400)
    ) {
        let mut world = Kernel::new();
        for (step, is_stormy) in steps {
            match step {
                0..=3 => world.change(),
                4 if is_stormy => (0..8).for_each(|_| world.change()),
                4..=6 => world.create_barrier(),
                7..=9 => world.read.extend(world.kernel.pop_front()),
                10..=12 => world.hear(),
                13 => world.renew(),
                _ => world.turn()?,
            }
        }
        world.read_all()?;
        if world.barriers.last_reached() < world.before.len() as u64 {
            (0..=2 * world.watches.len()).for_each(|_| world.renew());
            world.read_all()?;
        }
        prop_assert_eq!(world.barriers.last_reached(), world.before.len() as u64);
    }
}

#[test]
fn a_mark_that_was_opened_before_a_loss_is_no_news_after_it() {
    let mut world = Kernel::new();
    world.create_barrier();
    let late = world.kernel.pop_front().unwrap();
    world.read.push_back(Queued::Overflow);
    world.hear();
    assert_eq!(world.barriers.last_reached(), 1);
    world.create_barrier();
    world.read.push_back(late);
    world.hear();
    assert_eq!(world.barriers.last_reached(), 1);
    world.read.extend(world.kernel.pop_front());
    world.hear();
    assert_eq!(world.barriers.last_reached(), 2);
}

#[test]
fn marks_that_are_lost_again_and_again_are_made_again_after_the_files_are_watched_anew() {
    let mut world = Kernel::new();
    for _ in 0..10 {
        world.create_barrier();
        world.kernel.clear();
        world.read.push_back(Queued::Overflow);
        world.hear();
    }
    world.create_barrier();
    assert!(world.kernel.is_empty() && world.barriers.last_reached() == 10);
    (0..=world.watches.len()).for_each(|_| world.renew());
    world.read_all().unwrap();
    assert_eq!(world.barriers.last_reached(), 11);
}
