//! Waiting for messages.
//!
//! The rule that leaves no gap: a mailbox is watched first, then looked through, and then what was told is
//! looked at. A message is handed on once, whatever becomes of its name.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{self as channel, RecvTimeoutError};

use super::{Mark, Message, dirs::Dirs};
use crate::{
    limits::Limits,
    mailbox::{
        registry::IndexId,
        watch::{Notice, Notices, Watcher},
    },
    maildir::{
        Change, Error, Found, Kind, Maildir, Spool,
        counting::Turn,
        name,
        scan::{self, Look, Stamp},
    },
    proto::{ask::Destination, folder::Folder},
};

/// Whose mail is looked at.
#[derive(Debug, Clone)]
pub struct Target {
    /// The mailbox, and the folder that the address asks for.
    pub destination: Destination,
    /// The address as it was given.
    pub address: String,
}

/// Where and for how long to wait.
#[derive(Debug)]
pub struct Wait<'a> {
    /// The spool: it may come into being later.
    pub spool: &'a Path,
    /// Whose mail.
    pub targets: &'a [Target],
    /// What was there before does not count.
    pub after: &'a Mark,
    /// For how long.
    pub timeout: Duration,
}

/// One directory of messages that is looked at.
struct Post {
    /// Its name in marks: that of the mailbox, and of the folder.
    label: String,
    mailbox: String,
    folder: Option<String>,
    /// Only mail for that address counts: the address has a `+tag`, and this is not the folder of it.
    only: Option<String>,
    open: Option<Arc<Maildir>>,
    /// Whether somebody tells what happens in it.
    watched: bool,
    /// Whether it was removed while it was looked through.
    lost: bool,
    /// Whether it was looked through since it was opened.
    looked_through: bool,
    /// What was handed on: it is again if its content changes, as when a program writes it where it is read.
    seen: HashMap<Box<[u8]>, Stamp>,
}

impl Wait<'_> {
    /// Hands every message on that is there or comes, in the order of delivery where several are there, until
    /// `each` has had enough. `false`: the time is over.
    pub fn run(&self, mut each: impl FnMut(Message) -> ControlFlow<()>) -> Result<bool, Error> {
        let timeout = self.timeout.min(A_YEAR);
        let deadline = Instant::now() + timeout;
        let (ring, rung) = channel::bounded(1);
        let bell = move || {
            let _ = ring.try_send(()); // one ring is as good as several
        };
        let mut dirs = Dirs::new(bell.clone());
        let (watcher, notices) = Watcher::start(MOST_NOTICES, false, bell);
        let mut posts = posts(self.targets);
        loop {
            let mut pace = None;
            for (at, post) in posts.iter_mut().enumerate() {
                let watched = post.open(self.spool, IndexId(at as u64), &watcher, &mut dirs)?;
                pace = pace.or((!watched).then_some(POLL));
            }
            let over = deadline <= Instant::now();
            if self.look(&mut posts, &notices, over || pace.is_some(), &mut each)?.is_break() {
                return Ok(true);
            }
            if over {
                return Ok(false);
            }
            if posts.iter_mut().any(|post| std::mem::take(&mut post.lost)) {
                continue; // what told of it may have been heard already
            }
            let next = Instant::now() + pace.unwrap_or(timeout);
            match rung.recv_deadline(deadline.min(next)) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL), // nothing is watched
            }
        }
    }

    /// What is there now, to be told from what comes after.
    pub fn mark(&self) -> Result<Mark, Error> {
        let mut mark = Mark::default();
        for post in &mut posts(self.targets) {
            if let Some(maildir) = post.find(self.spool)? {
                for found in found_in(&maildir)?.unwrap_or_default() {
                    mark.learn(&post.label, name::identity(&found.name));
                }
            }
        }
        Ok(mark)
    }

    /// Hands on what has not been handed on: of what was told, or of everything.
    fn look(
        &self,
        posts: &mut [Post],
        notices: &Notices,
        everything: bool,
        each: &mut impl FnMut(Message) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let everything = notices.missed() || everything;
        let mut looks: Vec<Vec<Look>> = vec![Vec::new(); posts.len()];
        for notice in notices.iter() {
            match notice {
                Notice::Name(IndexId(at), place, name) => {
                    if let Some(looks) = looks.get_mut(at as usize) {
                        looks.push(Look { place, name, known: Vec::new() });
                    }
                }
                Notice::Removed(..) => {}
                Notice::Lost(IndexId(at)) => {
                    posts.get_mut(at as usize).into_iter().for_each(|post| post.open = None);
                }
            }
        }
        for (post, looks) in posts.iter_mut().zip(looks) {
            let Some(maildir) = post.open.clone() else { continue };
            let found = if everything || !std::mem::replace(&mut post.looked_through, true) {
                let Some(mut found) = found_in(&maildir)? else {
                    (post.open, post.lost) = (None, true);
                    continue;
                };
                found.sort_by(|a, b| name::order(&a.name).cmp(&name::order(&b.name)));
                found
            } else {
                let (changes, _) = scan::look(&maildir, &looks, &mut turn())?.unwrap_or_default();
                let present = |change| if let Change::Present(found) = change { Some(found) } else { None };
                changes.into_iter().filter_map(present).collect()
            };
            for found in found {
                if let Some(message) = post.first_seen(&maildir, found, self.after)?
                    && each(message).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Post {
    /// Opens and watches the mailbox, if it is there; else waits for it. `false`: nobody will tell when
    /// something happens.
    fn open(&mut self, spool: &Path, id: IndexId, watcher: &Watcher, dirs: &mut Dirs) -> Result<bool, Error> {
        if let Some(maildir) = &self.open
            && self.is_there(spool, maildir)
        {
            return Ok(self.watched);
        }
        self.open = None;
        let above_watched = dirs.watch(&self.path(spool));
        let Some(maildir) = self.find(spool)? else { return Ok(above_watched) };
        self.watched = watcher.watch(id, &maildir) && above_watched;
        (self.open, self.looked_through) = (Some(Arc::new(maildir)), false);
        Ok(self.watched)
    }

    /// Whether the mailbox is still what its path leads to.
    fn is_there(&self, spool: &Path, maildir: &Maildir) -> bool {
        let has = |spool: Spool| spool.still_has(&self.mailbox, self.folder.as_deref(), maildir);
        spool.is_dir() && Spool::open(spool).is_ok_and(has)
    }

    fn find(&self, spool: &Path) -> Result<Option<Maildir>, Error> {
        if !spool.is_dir() {
            return Ok(None); // opening it would make it
        }
        let opened = Spool::open(spool).and_then(|spool| match &self.folder {
            Some(folder) => spool.folder(&self.mailbox, folder),
            None => spool.maildir(&self.mailbox),
        });
        match opened {
            Err(error) if error.kind() == Kind::Gone => Ok(None),
            done => done.map(Some),
        }
    }

    fn path(&self, spool: &Path) -> PathBuf {
        let mailbox = spool.join(&self.mailbox);
        self.folder.as_ref().map_or(mailbox.clone(), |folder| mailbox.join(folder))
    }

    /// The message, if it counts and is seen for the first time.
    fn first_seen(
        &mut self,
        maildir: &Arc<Maildir>,
        found: Found,
        after: &Mark,
    ) -> Result<Option<Message>, Error> {
        let identity: Box<[u8]> = name::identity(&found.name).into();
        let stamp = found.stamp;
        if after.knows(&self.label, &identity) || self.seen.get(&identity) == Some(&stamp) {
            return Ok(None);
        }
        let message = match Message::read(Arc::clone(maildir), found) {
            // What becomes of it will be told.
            Err(error) if matches!(error.kind(), Kind::Gone | Kind::Changed | Kind::Cut) => return Ok(None),
            done => done?,
        };
        self.seen.insert(identity, stamp);
        let wanted = |only: &String| message.to().is_some_and(|to| to.eq_ignore_ascii_case(only));
        Ok(self.only.as_ref().is_none_or(wanted).then_some(message))
    }
}

fn turn() -> Turn {
    Turn::endless(Limits::default().largest_listed())
}

/// All messages of a mailbox. `None`: it has been removed.
fn found_in(maildir: &Maildir) -> Result<Option<Vec<Found>>, Error> {
    match scan::scan(maildir, &[], &mut turn()) {
        Err(error) if error.kind() == Kind::Gone => Ok(None),
        done => done.map(|scan| scan.map(|scan| scan.found)),
    }
}

/// Where the mail of some targets is: in their mailboxes, and where an address asks for a folder also there.
fn posts(targets: &[Target]) -> Vec<Post> {
    let mut posts = Vec::new();
    for Target { destination: Destination { mailbox, folder }, address } in targets {
        let post = |folder: Option<&Folder>, only| Post {
            label: folder.map_or(mailbox.to_string(), |folder| format!("{mailbox}/{folder}")),
            mailbox: mailbox.as_str().to_owned(),
            folder: folder.map(|folder| folder.directory().to_owned()),
            only,
            open: None,
            watched: false,
            lost: false,
            looked_through: false,
            seen: HashMap::new(),
        };
        posts.push(post(None, folder.as_ref().map(|_| address.clone())));
        posts.extend(folder.as_ref().map(|folder| post(Some(folder), None)));
    }
    posts
}

const A_YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
const MOST_NOTICES: usize = 10_000;
/// How often a mailbox is looked through that can't be watched.
const POLL: Duration = Duration::from_millis(250);
