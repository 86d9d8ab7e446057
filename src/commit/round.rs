//! One round of the committer, step by step.

use std::{collections::HashMap, rc::Rc};

use super::{
    Content, Delivery,
    sync::{self, Syncer, Way},
};
use crate::{
    maildir::{Draft, Error, Found, Maildir, Place, scan::Stamp, store::Part},
    octets::octets,
    proto::ask::{Fault, Mailbox},
    work::{Arrival, Shop, To, shop::report},
};

/// The mailboxes that the committer has open.
#[derive(Debug, Default)]
pub(super) struct Homes {
    open: HashMap<Mailbox, Rc<Maildir>>,
}

impl Homes {
    /// The Maildir of a mailbox, as it is now: it may have been removed or replaced since the last time.
    fn get(&mut self, shop: &Shop, mailbox: &Mailbox) -> Result<Rc<Maildir>, Fault> {
        if let Some(home) = self.open.get(mailbox).filter(|home| shop.still_has(mailbox, home)) {
            return Ok(Rc::clone(home));
        }
        if self.open.len() >= MOST_HOMES {
            self.open.clear();
        }
        let home = Rc::new(shop.durable_maildir(mailbox)?);
        self.open.insert(mailbox.clone(), Rc::clone(&home));
        Ok(home)
    }
}

/// One round.
pub(super) struct Round<'a> {
    shop: &'a Shop,
    homes: &'a mut Homes,
    syncer: &'a mut Syncer,
}

/// A message in `tmp/`.
struct Written {
    home: Home,
    others: Vec<Rc<Maildir>>,
    /// The names of all of them, its own first.
    mailboxes: Vec<Mailbox>,
    draft: Draft,
    octets: u64,
    /// The content is durable already.
    settled: bool,
}

/// The mailbox in whose `tmp/` a message lies.
enum Home {
    Cached(Rc<Maildir>),
    OfSpill(Maildir),
}

impl Home {
    fn maildir(&self) -> &Maildir {
        match self {
            Self::Cached(maildir) => maildir,
            Self::OfSpill(maildir) => maildir,
        }
    }
}

/// A message in the `new/` of all its mailboxes.
struct Published {
    name: String,
    home: Home,
    others: Vec<Rc<Maildir>>,
    mailboxes: Vec<Mailbox>,
    octets: u64,
    /// Of its file in each mailbox.
    stamps: Vec<Stamp>,
}

impl Published {
    fn maildirs(&self) -> impl Iterator<Item = &Maildir> {
        std::iter::once(self.home.maildir()).chain(self.others.iter().map(|other| &**other))
    }

    /// What the indexes of the mailboxes are told.
    fn arrivals(&self) -> Vec<Arrival> {
        let found = |stamp: &Stamp| Found {
            name: self.name.as_bytes().into(),
            place: Place::New,
            stamp: *stamp,
            octets: self.octets,
        };
        let each = self.mailboxes.iter().zip(self.maildirs()).zip(&self.stamps);
        each.map(|((mailbox, maildir), stamp)| Arrival {
            mailbox: mailbox.clone(),
            maildir: maildir.key(),
            found: found(stamp),
        })
        .collect()
    }

    /// Takes the message back out of every mailbox. What can't be removed was never acknowledged.
    fn withdraw(&self) {
        for maildir in self.maildirs() {
            if let Err(error) = maildir.withdraw(&self.name) {
                report(&error);
            }
        }
    }
}

/// The result of each delivery so far.
type Results<T> = Vec<(To, Result<T, Fault>)>;

impl<'a> Round<'a> {
    pub(super) fn new(shop: &'a Shop, homes: &'a mut Homes, syncer: &'a mut Syncer) -> Self {
        Self { shop, homes, syncer }
    }

    /// Delivers a batch. A delivery fails or succeeds for itself, but for a failure that concerns all.
    pub(super) fn run(mut self, batch: Vec<Delivery>) -> Results<Vec<Arrival>> {
        let written: Results<Written> =
            batch.into_iter().map(|delivery| (To::Session(delivery.from), self.write(delivery))).collect();
        let way = self.way(&written);
        let durable = self.sync_contents(written, way);
        let published: Results<Published> = durable
            .into_iter()
            .map(|(from, written)| (from, written.and_then(|written| self.publish(written))))
            .collect();
        self.sync_names(published, way)
    }

    /// D1: the message is in `tmp/`.
    fn write(&mut self, delivery: Delivery) -> Result<Written, Fault> {
        let mut homes = delivery
            .to
            .iter()
            .map(|mailbox| self.homes.get(self.shop, mailbox))
            .collect::<Result<Vec<_>, _>>();
        let mailboxes = delivery.to;
        match delivery.content {
            Content::Memory(name, bytes) => {
                let mut others = homes?;
                let home = others.remove(0); // invariant: a delivery has a recipient
                let mut draft = home.draft(name).map_err(|error| report(&error))?;
                if let Err(error) = draft.write(&bytes) {
                    draft.discard(&home);
                    return Err(report(&error));
                }
                Ok(Written {
                    home: Home::Cached(home),
                    others,
                    mailboxes,
                    draft,
                    octets: octets(&bytes),
                    settled: false,
                })
            }
            Content::Settled(spilled) => {
                if self.shop.still_has(&spilled.mailbox, &spilled.home) {
                    homes = homes.map(|mut homes| homes.split_off(1));
                } else {
                    homes = Err(Fault::Broken);
                }
                match homes {
                    Ok(others) => Ok(Written {
                        octets: spilled.octets.total(),
                        home: Home::OfSpill(spilled.home),
                        others,
                        mailboxes,
                        draft: spilled.draft,
                        settled: true,
                    }),
                    Err(fault) => {
                        spilled.draft.discard(&spilled.home);
                        Err(fault)
                    }
                }
            }
        }
    }

    /// One sync of the spool's file system says nothing of a mailbox on another one.
    fn way(&self, written: &Results<Written>) -> Way {
        let mut all = written.iter().flat_map(|(_, written)| written);
        let together = all.all(|written| {
            self.shop.spool.holds(written.home.maildir())
                && written.others.iter().all(|other| self.shop.spool.holds(other))
        });
        if together { self.syncer.way(written.len()) } else { Way::Each }
    }

    /// D2: the content is durable. After a failed sync nobody knows what is on the disk, and a second one may
    /// call it a success: the file is dropped.
    fn sync_contents(&mut self, written: Results<Written>, way: Way) -> Results<Written> {
        let mut synced = match way {
            Way::Whole => {
                let whole = self
                    .syncer
                    .whole(&self.shop.spool, Part::Contents, written.len())
                    .map_err(|error| report(&error));
                vec![whole; written.len()]
            }
            Way::Each => {
                let drafts: Vec<&Draft> = unsettled(&written).map(|written| &written.draft).collect();
                sync::contents(&drafts).into_iter().map(|done| done.map_err(|error| report(&error))).collect()
            }
        }
        .into_iter();
        written
            .into_iter()
            .map(|(from, written)| {
                let due = way == Way::Whole || matches!(&written, Ok(written) if !written.settled);
                let done = if due { synced.next().unwrap_or(Err(Fault::Broken)) } else { Ok(()) };
                let written = written.and_then(|written| match done {
                    Ok(()) => Ok(written),
                    Err(fault) => {
                        written.draft.discard(written.home.maildir());
                        Err(fault)
                    }
                });
                (from, written)
            })
            .collect()
    }

    /// D3: the message is visible, in all its mailboxes or in none.
    fn publish(&mut self, written: Written) -> Result<Published, Fault> {
        let Written { home, others, mailboxes, draft, octets, .. } = written;
        let name = draft.final_name(octets);
        let mut stamps = Vec::with_capacity(mailboxes.len());
        let all = draft.stamp().and_then(|stamp| {
            stamps.push(stamp);
            others.iter().try_for_each(|other| {
                stamps.push(put(&draft, home.maildir(), other, &name, stamp)?);
                Ok(())
            })
        });
        let all = match all {
            Ok(()) => draft.publish(home.maildir(), &name),
            Err(error) => {
                draft.discard(home.maildir());
                Err(error)
            }
        };
        if let Err(error) = all {
            for other in others.iter().take(stamps.len().saturating_sub(1)) {
                let _ = other.withdraw(&name); // it was never acknowledged, and the first error is the one to tell
            }
            return Err(report(&error));
        }
        Ok(Published { name, home, others, mailboxes, octets, stamps })
    }

    /// D4: the names are durable, and the messages may be acknowledged.
    fn sync_names(&mut self, published: Results<Published>, way: Way) -> Results<Vec<Arrival>> {
        let failed: HashMap<usize, Fault> = match way {
            Way::Whole => match self.syncer.whole(&self.shop.spool, Part::Names, published.len()) {
                Ok(()) => HashMap::new(),
                Err(error) => {
                    let fault = report(&error);
                    (0..published.len()).map(|at| (at, fault)).collect()
                }
            },
            Way::Each => sync_each_name(&published),
        };
        published
            .into_iter()
            .enumerate()
            .map(|(at, (from, published))| {
                let result = published.and_then(|published| {
                    let Some(fault) = failed.get(&at) else { return Ok(published.arrivals()) };
                    published.withdraw();
                    Err(*fault)
                });
                (from, result)
            })
            .collect()
    }
}

fn unsettled(written: &Results<Written>) -> impl Iterator<Item = &Written> {
    written.iter().flat_map(|(_, written)| written).filter(|written| !written.settled)
}

/// Puts a message into a further mailbox: a hard link, or a copy where that can't be. Returns the stamp of
/// the file there; that of the draft is `stamp`.
fn put(draft: &Draft, home: &Maildir, other: &Maildir, name: &str, stamp: Stamp) -> Result<Stamp, Error> {
    if draft.link(home, other, name)? {
        return Ok(stamp);
    }
    let copy = draft.copy(home, other)?;
    match copy.sync().and_then(|()| copy.stamp()) {
        Ok(stamp) => copy.publish(other, name).map(|()| stamp),
        Err(error) => {
            copy.discard(other);
            Err(error)
        }
    }
}

/// Syncs each `new/` once, and returns the positions of the deliveries that one failed for, and why.
fn sync_each_name(published: &Results<Published>) -> HashMap<usize, Fault> {
    let mut touched: HashMap<(u64, u64), (&Maildir, Vec<usize>)> = HashMap::new();
    for (at, published) in
        published.iter().enumerate().filter_map(|(at, (_, p))| Some((at, p.as_ref().ok()?)))
    {
        for maildir in published.maildirs() {
            touched.entry(maildir.key()).or_insert_with(|| (maildir, Vec::new())).1.push(at);
        }
    }
    let (maildirs, positions): (Vec<&Maildir>, Vec<Vec<usize>>) = touched.into_values().unzip();
    let mut failed = HashMap::new();
    for (done, positions) in sync::names(&maildirs).into_iter().zip(positions) {
        if let Err(error) = done {
            let fault = report(&error);
            failed.extend(positions.into_iter().map(|at| (at, fault)));
        }
    }
    failed
}

/// Mailboxes kept open between rounds: four descriptors each.
const MOST_HOMES: usize = 32;
