//! The load: senders and readers, each with a connection of its own, until the server goes away.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::common::{AtTheEnd, Server};

use super::{
    Dice, Wrong,
    imap::{self, ledger::User, writer::Writer},
    ledger::{Change, Ledger},
    letters::{self, Letter, Letters},
    wire::Wire,
};

/// The addresses of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
    pub(crate) imap: SocketAddr,
}

impl Addresses {
    pub(crate) fn of(server: &Server) -> Self {
        Self { smtp: server.smtp(), pop3: server.pop3(), imap: server.addresses("imap")[0] }
    }
}

/// The state that all sessions share.
pub(crate) struct Load<'a> {
    pub(crate) addresses: Addresses,
    pub(crate) letters: &'a Letters,
    pub(crate) ledger: &'a Mutex<Ledger>,
    /// The users of IMAP.
    pub(crate) users: &'a [Mutex<User>],
    /// The number of this cycle, so that the names of letters and of mailboxes are new in each cycle.
    pub(crate) cycle: usize,
    pub(crate) stop: AtomicBool,
    /// Whether the end has begun, after which the server may refuse anything.
    pub(crate) ending: Arc<AtomicBool>,
    /// Sessions that ended otherwise than their client meant, except those whose mailbox was in use.
    pub(crate) broken: Arc<AtomicUsize>,
    pub(crate) wrong: Mutex<Vec<Wrong>>,
}

/// The number of sessions of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) senders: usize,
    pub(crate) readers: usize,
    /// Sessions of IMAP.
    pub(crate) writers: usize,
    /// The mailboxes that most of the mail is for.
    pub(crate) mailboxes: usize,
    /// The change that most of these sessions make.
    pub(crate) focus: Option<Focus>,
}

/// A kind of change by IMAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Focus {
    Append,
    Store,
    Copy,
    Move,
    Expunge,
    Folders,
}

impl Crowd {
    pub(crate) const NONE: Self =
        Self { senders: 0, readers: 0, writers: 0, mailboxes: MAILBOXES, focus: None };
    /// One sender alone: the server makes each message durable for itself.
    pub(crate) const LONE: Self = Self { senders: 1, readers: 1, writers: 1, ..Self::NONE };
    /// Many: the server makes them durable in groups.
    pub(crate) const MANY: Self =
        Self { senders: 10, readers: 2, writers: imap::USERS * imap::WRITERS, ..Self::NONE };

    /// The crowd of a cycle: each way of the server to make a message durable, with mail for one mailbox alone, for
    /// some, and for a hundred. Short letters are beside long ones in all of them.
    pub(crate) fn of(cycle: usize) -> Self {
        CROWDS[cycle % CROWDS.len()]
    }

    const fn to(self, mailboxes: usize) -> Self {
        Self { mailboxes, ..self }
    }
}

impl<'a> Load<'a> {
    pub(crate) fn new(
        addresses: Addresses,
        letters: &'a Letters,
        (ledger, users): (&'a Mutex<Ledger>, &'a [Mutex<User>]),
        cycle: usize,
    ) -> Self {
        let (stop, ending, broken, wrong) = Default::default();
        Self { addresses, letters, ledger, users, cycle, stop, ending, broken, wrong }
    }

    /// Runs the load; `end` lets it run for a while and then ends the server.
    pub(crate) fn run(self, crowd: Crowd, dice: &mut Dice, end: impl FnOnce()) -> Vec<Wrong> {
        thread::scope(|scope| {
            let _stop = AtTheEnd(&self.stop);
            for sender in 0..crowd.senders {
                let (load, mut dice) = (&self, dice.split());
                // An error is the end of the server, or of its disk: that is what the test is about.
                scope.spawn(move || load.until_stopped(|| load.send_letters(sender, &crowd, &mut dice)));
            }
            for _ in 0..crowd.readers {
                let (load, mut dice) = (&self, dice.split());
                scope.spawn(move || load.until_stopped(|| load.read_letters(&crowd, &mut dice)));
            }
            for writer in 0..crowd.writers {
                let (load, dice) = (&self, dice.split());
                // The user and the number of a lone writer change with the cycles.
                let number = if crowd.writers == 1 { self.cycle / 3 } else { writer };
                // The first error of a writer is the end of the server too: until the check afterwards, its last
                // change is open.
                scope.spawn(move || Writer::login(load, number, dice)?.run(crowd.focus));
            }
            end();
        });
        self.wrong.into_inner().unwrap()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the server may refuse anything by now.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Notes a fault.
    pub(crate) fn note(&self, wrong: Wrong) {
        self.wrong.lock().unwrap().push(wrong);
    }

    /// Opens session after session.
    fn until_stopped(&self, mut session: impl FnMut() -> io::Result<()>) {
        while !self.stopped() {
            if let Err(error) = session() {
                self.broken
                    .fetch_add(usize::from(!error.to_string().contains("[IN-USE]")), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn send_letters(&self, sender: usize, crowd: &Crowd, dice: &mut Dice) -> io::Result<()> {
        let mut wire = Wire::connect(self.addresses.smtp)?;
        wire.expect(220)?;
        wire.write(b"EHLO client.test\r\n")?;
        wire.expect(250)?;
        for _ in 0..LETTERS_OF_A_SESSION {
            if self.stopped() {
                break;
            }
            let id = format!("{}-{sender}-{:x}", self.cycle, dice.next());
            let letter = self.letters.draw(id, dice);
            self.send(&mut wire, &letter, &self.recipients(crowd, dice))?;
        }
        wire.write(b"QUIT\r\n")
    }

    fn send(&self, wire: &mut Wire, letter: &Letter, to: &[String]) -> io::Result<()> {
        let mut envelope = "MAIL FROM:<sender@far.test>\r\n".to_owned();
        to.iter().for_each(|mailbox| envelope.push_str(&format!("RCPT TO:<{mailbox}>\r\n")));
        wire.write((envelope + "DATA\r\n").as_bytes())?;
        let (mail, _) = wire.reply()?;
        let taken: Vec<u16> = to.iter().map(|_| Ok(wire.reply()?.0)).collect::<io::Result<_>>()?;
        let (data, line) = wire.reply()?;
        if data != 354 {
            wire.write(b"RSET\r\n")?;
            return wire.expect(250);
        }
        if mail != 250 || taken.iter().any(|&code| code != 250) {
            return Err(io::Error::other(line));
        }
        let octets = self.letters.wire(letter);
        self.ledger.lock().unwrap().send(letter, to);
        wire.write(&octets)?;
        let (code, _) = wire.reply()?;
        self.ledger.lock().unwrap().answered(letter, to, code == 250);
        Ok(())
    }

    /// Mostly one mailbox, sometimes several, sometimes one that is not there yet; in a crowd with one mailbox always that.
    fn recipients(&self, crowd: &Crowd, dice: &mut Dice) -> Vec<String> {
        let mailboxes = crowd.mailboxes;
        if mailboxes == 1 {
            return vec![mailbox(0)];
        }
        let first = dice.below(mailboxes);
        let count = if dice.one_in(4) { 2 + dice.below(mailboxes.min(MOST_RECIPIENTS) - 1) } else { 1 };
        let mut to: Vec<String> = (0..count).map(|i| mailbox((first + i) % mailboxes)).collect();
        if !self.users.is_empty() && dice.one_in(4) {
            to.push(imap::mailbox(dice.below(imap::USERS)));
        }
        if dice.one_in(20) {
            to.push(format!("{FRESH}{}-{}@example.test", self.cycle, dice.below(12)));
        }
        to
    }

    /// One POP3 session: reads some letters, deletes some of them, and says QUIT or just leaves.
    fn read_letters(&self, crowd: &Crowd, dice: &mut Dice) -> io::Result<()> {
        let user = mailbox(dice.below(crowd.mailboxes));
        let mut wire = Wire::login(self.addresses.pop3, &user)?;
        let count = wire.listing("UIDL")?.len();
        let (mut deleted, mut read) = (Vec::new(), Vec::new());
        let first = dice.below(count.max(1));
        for number in (first + 1..=count).take(LETTERS_OF_A_VISIT) {
            let (_, text) = wire.retrieve(number)?;
            let Some(id) = self.known(&user, &text) else { continue };
            if dice.one_in(2) {
                wire.command(&format!("DELE {number}"))?;
                deleted.push(id);
            } else {
                read.push(id);
            }
        }
        if dice.one_in(5) {
            return Ok(()); // lost connections delete nothing and mark nothing
        }
        self.ledger.lock().unwrap().quit(&user, &deleted, &read, Change::Perhaps);
        wire.command("QUIT")?;
        self.ledger.lock().unwrap().quit(&user, &deleted, &read, Change::Yes);
        Ok(())
    }

    /// The id of a letter, which must be as it was sent.
    fn known(&self, user: &str, text: &[u8]) -> Option<String> {
        let found = letters::find(text).and_then(|(id, at)| {
            let entry = self.ledger.lock().unwrap().entry(user, id).map(|entry| entry.letter.clone())?;
            (text[at..] == self.letters.plain(&entry)).then(|| id.to_owned())
        });
        if found.is_none() {
            let start = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
            let wrong =
                Wrong::new("read before the end", format!("{user}: {} octets, {start:?}", text.len()));
            self.note(wrong);
        }
        found
    }
}

/// Whether the mailbox was made by one of the letters of a cycle.
pub(crate) fn is_fresh(mailbox: &Path) -> bool {
    mailbox.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FRESH))
}

fn mailbox(number: usize) -> String {
    format!("user{number}@example.test")
}

const CROWDS: [Crowd; 5] = [Crowd::MANY, Crowd::LONE, Crowd::MANY.to(1), Crowd::MANY, Crowd::MANY.to(100)];
const MAILBOXES: usize = 8;
const MOST_RECIPIENTS: usize = 20;
const LETTERS_OF_A_SESSION: usize = 30;
const LETTERS_OF_A_VISIT: usize = 6;
const FRESH: &str = "fresh";
