//! The player: one session, one dialogue, one way of splitting the octets of the client. It treats steps,
//! responses and pauses as `connection` does, with a clock that only dialogues move.

use std::{sync::Arc, time::Duration};

use restante::proto::{
    Context, Encryption, ResetOn, Session, SessionEvent, Step, Timeouts,
    buffer::{Inbox, Outbox},
    http::api::MailEvent,
    request::Request,
};

pub(crate) use super::clock::{BEGIN, TODAY, now};
use super::{
    file::{Act, Dialogue, Item, Problem, What},
    responses, text, values,
    way::{Way, waits_for_reply},
    world::{Service, World},
};

/// Plays a dialogue, and finds the first difference between the expected and the actual lines.
pub(crate) fn check(dialogue: &Dialogue, way: Way) -> Result<(), Problem> {
    Player::new(dialogue, way, false)?.play().map(|_| ())
}

/// Plays a dialogue, and returns its text with the actual lines.
pub(crate) fn bless(dialogue: &Dialogue) -> Result<String, Problem> {
    let happened = Player::new(dialogue, Way::Whole, true)?.play()?;
    let mut lines = dialogue.head.clone();
    for run in happened.chunk_by(|one, other| one == other) {
        let counted = run[0].strip_prefix("S: ").filter(|_| run.len() >= WORTH_COUNTING);
        match counted {
            Some(text) => lines.push(format!("S*{}: {text}", run.len())),
            None => lines.extend_from_slice(run),
        }
    }
    lines.extend_from_slice(&dialogue.tail);
    Ok(lines.join("\n") + "\n")
}

struct Player<'a> {
    dialogue: &'a Dialogue,
    way: Way,
    world: World,
    session: Box<dyn Session>,
    inbox: Inbox,
    outbox: Outbox,
    /// Octets sent by the session that are not a whole line yet.
    wire: Vec<u8>,
    /// Everything that was sent, for the reader of another project.
    all: Vec<u8>,
    phase: Phase,
    now: Duration,
    last_command: Duration,
    last_read: Duration,
    led_on: usize,
    last_led_on: Duration,
    /// The item that comes next.
    next: usize,
    /// The client has sent everything of it that stands before this item.
    sent: usize,
    /// The session ended in the middle of a response.
    is_cut: bool,
    /// When blessing: the lines so far.
    happened: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Open,
    /// For a response; the text is that of the good one.
    Waiting(String),
    Paused(Duration),
    Over,
}

impl<'a> Player<'a> {
    fn new(dialogue: &'a Dialogue, way: Way, blessing: bool) -> Result<Self, Problem> {
        let world = dialogue.world.clone();
        Ok(Self {
            dialogue,
            way,
            session: world.session().map_err(|what| Problem { line: 1, what })?,
            world,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            wire: Vec::new(),
            all: Vec::new(),
            phase: Phase::Open,
            now: BEGIN,
            last_command: BEGIN,
            last_read: BEGIN,
            led_on: 0,
            last_led_on: BEGIN,
            next: 0,
            sent: 0,
            is_cut: false,
            happened: blessing.then(Vec::new),
        })
    }

    fn play(mut self) -> Result<Vec<String>, Problem> {
        if self.world.implicit_tls {
            self.session.tls_started(&Context { now: now(self.now), directory: &self.world }, ENCRYPTION);
        }
        let step =
            self.session.greet(&Context { now: now(self.now), directory: &self.world }, &mut self.outbox);
        self.take(step)?;
        self.settle()?;
        while let Some(item) = self.upcoming() {
            match &item.what {
                What::Client(_) => self.send()?,
                What::Session(_) if self.happened.is_some() => self.pass(),
                What::Session(text) => return Err(self.fail(text, "nothing more")),
                What::Answer(text) => self.answer(&text.clone())?,
                What::Act(act) => self.act(*act)?,
                What::Folder(change) => self.change_folder(change)?,
            }
            self.settle()?;
        }
        self.end_of_line()?;
        if self.world.service == Service::Imap && !self.is_cut {
            responses::check(&self.all)
                .map_err(|what| self.fail("responses that a client can read", &what))?;
        }
        Ok(self.happened.unwrap_or_default())
    }

    // The file

    /// The next item, after those that the client has already sent.
    fn upcoming(&mut self) -> Option<&'a Item> {
        while self.next < self.sent && matches!(self.dialogue.items[self.next].what, What::Client(_)) {
            self.pass();
        }
        self.dialogue.items.get(self.next)
    }

    /// Goes on to the next item.
    fn pass(&mut self) {
        let item = &self.dialogue.items[self.next];
        self.next += 1;
        if let Some(happened) = &mut self.happened {
            happened.extend_from_slice(&item.comments);
            if !matches!(item.what, What::Session(_)) {
                happened.extend(item.source.clone());
            }
        }
    }

    /// Compares a line of the session with the next expected one.
    fn said(&mut self, mut text: String) -> Result<(), Problem> {
        let expected = match self.upcoming() {
            Some(Item { what: What::Session(expected), .. }) => Some(expected),
            _ => None,
        };
        let left_out = expected.is_some_and(|text| text.starts_with("S~"));
        if left_out && text.starts_with("S:") && text != "S: ." {
            return Ok(()); // a line of a message
        } else if left_out {
            self.pass();
            return self.said(text);
        }
        match expected {
            Some(expected) if self.happened.is_none() && !text::agree(expected, &text) => {
                return Err(self.fail(expected, &text));
            }
            Some(expected) => {
                // A `*` in the expected line stays when the dialogue is blessed.
                if text::agree(expected, &text) {
                    text = expected.into();
                }
                self.pass();
            }
            None if self.happened.is_none() => return Err(self.fail("nothing more here", &text)),
            None => {}
        }
        if let Some(happened) = &mut self.happened {
            happened.push(text);
        }
        Ok(())
    }

    /// The request of that kind as the dialogue writes it, if it is the next item.
    fn mentions(&mut self, kind: &str) -> Option<&'a str> {
        self.upcoming();
        let session = self.dialogue.items[self.next..].iter().map_while(|item| match &item.what {
            What::Session(text) => Some(text.as_str()),
            _ => None,
        });
        let within = if self.happened.is_some() { usize::MAX } else { 1 };
        let word =
            |text: &str| text.strip_prefix("? ").and_then(|text| text.split([' ', '+']).next()) == Some(kind);
        session.take(within).find(|text| word(text))
    }

    fn fail(&self, expected: &str, got: &str) -> Problem {
        let line =
            self.dialogue.items.get(self.next).or(self.dialogue.items.last()).map_or(1, |item| item.line);
        Problem { line, what: format!("expected  {expected}\n    got       {got}") }
    }

    // The client

    /// Sends adjacent client lines together, or more when pipelining, and lets the session act on every piece.
    fn send(&mut self) -> Result<(), Problem> {
        if self.phase == Phase::Over {
            return Err(self.fail("a session that listens", "it is over"));
        }
        let (octets, end) = self.gather();
        self.sent = end;
        for piece in self.way.pieces(&octets) {
            if self.phase == Phase::Over {
                break;
            }
            self.inbox.push(piece);
            self.last_read = self.now;
            self.settle()?;
        }
        Ok(())
    }

    /// The octets that the client sends in one go, and the index of the first item after them.
    fn gather(&self) -> (Vec<u8>, usize) {
        let (mut octets, mut end) = (Vec::new(), self.next);
        let mut last: &[u8] = b"";
        for (at, item) in self.dialogue.items.iter().enumerate().skip(self.next) {
            match &item.what {
                What::Client(line) => {
                    octets.extend_from_slice(line);
                    (last, end) = (line, at + 1);
                }
                What::Session(_) if self.way == Way::Pipelined && !self.waits_after(last) => {}
                _ => break,
            }
        }
        (octets, end)
    }

    /// Whether a client that pipelines waits for the reply to this line.
    fn waits_after(&self, line: &[u8]) -> bool {
        let before = self.next.checked_sub(1).map(|at| &self.dialogue.items[at].what);
        let prompted = |text: &str| text.starts_with("S: 354 ") || text.starts_with("S: 334");
        let is_prompted = matches!(before, Some(What::Session(text)) if prompted(text));
        waits_for_reply(self.world.service, is_prompted, line)
    }

    // The pump, as `connection` has it

    /// Steps until the session waits for something.
    fn settle(&mut self) -> Result<(), Problem> {
        for _ in 0..MOST_STEPS {
            match &self.phase {
                Phase::Open => {
                    let cx = Context { now: now(self.now), directory: &self.world };
                    let step = self.session.step(&cx, &mut self.inbox, &mut self.outbox);
                    if matches!(step, Step::Idle) {
                        self.flush()?;
                        return if self.inbox.has_ended() { self.over(". close") } else { Ok(()) };
                    }
                    self.last_command = self.now;
                    self.note_progress();
                    self.take(step)?;
                }
                Phase::Waiting(good) => {
                    let good = good.clone();
                    match self.upcoming() {
                        Some(Item { what: What::Answer(text), .. }) => self.answer(text)?,
                        Some(Item { what: What::Act(_) | What::Folder(_), .. }) => return Ok(()),
                        _ if self.happened.is_some() => {
                            self.happened.iter_mut().for_each(|lines| lines.push(format!("! {good}")));
                            self.give(&good)?;
                        }
                        _ => return Ok(()),
                    }
                }
                Phase::Paused(until) => {
                    let until = *until;
                    if let Some(Item { what: What::Act(_), .. }) = self.upcoming() {
                        return Ok(());
                    }
                    (self.now, self.phase) = (until, Phase::Open);
                }
                Phase::Over => return Ok(()),
            }
        }
        Err(self.fail("an end of steps", "a session that does not come to rest"))
    }

    /// Notes the time at which a command has led on.
    fn note_progress(&mut self) {
        let led_on = self.session.progress().counts.commands;
        if std::mem::replace(&mut self.led_on, led_on) != led_on {
            self.last_led_on = self.now;
        }
    }

    /// Carries out a step of the session.
    fn take(&mut self, step: Step) -> Result<(), Problem> {
        if matches!(step, Step::Abort) {
            self.outbox = Outbox::default();
            self.is_cut = true;
            return self.over(". abort");
        }
        self.flush()?;
        self.phase = match step {
            Step::Continue | Step::Idle => Phase::Open,
            Step::Pause(span) if span.is_zero() => Phase::Open,
            Step::Pause(span) => {
                self.said(format!(". pause {}", text::format_duration(span)))?;
                Phase::Paused(self.now + span)
            }
            Step::Request(ask) => return self.asked(&ask),
            Step::StartTls => return self.secure(),
            Step::Close | Step::Abort => return self.over(". close"),
        };
        Ok(())
    }

    /// TLS begins, and with it the session. No octets from before may be left over.
    fn secure(&mut self) -> Result<(), Problem> {
        if !self.inbox.is_empty() {
            return Err(self.fail("nothing behind the command", &text::escaped(self.inbox.unread())));
        }
        self.phase = Phase::Open;
        self.said(". secure".into())?;
        self.session.tls_started(&Context { now: now(self.now), directory: &self.world }, ENCRYPTION);
        Ok(())
    }

    fn asked(&mut self, ask: &Request) -> Result<(), Problem> {
        let written = text::format_request(ask, b"", false);
        let kind = written[2..].split(' ').next().unwrap_or_default();
        let mention = self.mentions(kind);
        let detail = mention.is_some_and(|text| text[2..].starts_with(&format!("{kind}+")));
        let said = self.world.hear(ask, detail);
        let routine = if mention.is_none() { self.world.routine(ask) } else { None };
        match routine {
            Some(answer) => {
                let cx = Context { now: now(self.now), directory: &self.world };
                let step = self.session.respond(&cx, answer, &mut self.outbox);
                self.note_progress();
                self.take(step)
            }
            None => {
                self.phase = Phase::Waiting(World::good_answer(ask));
                self.said(said)
            }
        }
    }

    /// Gives the answer that comes next in the file.
    fn answer(&mut self, text: &str) -> Result<(), Problem> {
        if !matches!(self.phase, Phase::Waiting(_)) {
            return Err(self.fail("a session that waits for an answer", "it does not"));
        }
        self.pass();
        self.give(text)
    }

    fn give(&mut self, text: &str) -> Result<(), Problem> {
        let answer = self.world.answer(text).map_err(|what| self.fail("an answer", &what))?;
        self.last_command = self.now;
        let cx = Context { now: now(self.now), directory: &self.world };
        let step = self.session.respond(&cx, answer, &mut self.outbox);
        self.take(step)
    }

    /// Passes on the pending output, line by line.
    fn flush(&mut self) -> Result<(), Problem> {
        self.outbox.take_events();
        self.wire.extend_from_slice(self.outbox.pending());
        self.all.extend_from_slice(self.outbox.pending());
        self.outbox.consume(self.outbox.pending().len());
        let wire = std::mem::take(&mut self.wire);
        let mut rest = wire.as_slice();
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let (line, behind) = rest.split_at(end + 2);
            let line = self.without_beginnings(line);
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            self.said(format!("S: {}", text::escaped(text)).trim_end().into())?;
            rest = behind;
        }
        self.wire = self.without_beginnings(rest).to_vec();
        Ok(())
    }

    fn over(&mut self, how: &str) -> Result<(), Problem> {
        self.phase = Phase::Over;
        self.end_of_line()?;
        self.said(how.into())
    }

    /// Compares half a line that was sent before an end.
    fn end_of_line(&mut self) -> Result<(), Problem> {
        match std::mem::take(&mut self.wire) {
            half if half.is_empty() => Ok(()),
            half => {
                self.is_cut = true;
                self.said(format!("S| {}", text::escaped(&half)))
            }
        }
    }

    /// The line without the beginnings of a long line that a transcript has as lines of their own.
    fn without_beginnings<'b>(&mut self, mut line: &'b [u8]) -> &'b [u8] {
        while self.happened.is_none()
            && let Some(Item { what: What::Session(text), .. }) = self.upcoming()
            && let Some(Ok(begun)) = text.strip_prefix("S| ").map(text::unescaped)
            && let Some(rest) = line.strip_prefix(begun.as_slice())
        {
            self.pass();
            line = rest;
        }
        line
    }

    // Other events

    fn act(&mut self, act: Act) -> Result<(), Problem> {
        self.pass();
        match act {
            Act::Idle => Ok(()),
            Act::End => {
                self.inbox.end();
                Ok(())
            }
            Act::Stop(_) if self.phase == Phase::Over => Ok(()),
            Act::Stop(why) => match self.session.end(why, &mut self.outbox) {
                Step::Close => {
                    self.flush()?;
                    self.over(". close")
                }
                Step::Abort => {
                    self.is_cut = true;
                    self.over(". abort")
                }
                _ => Ok(()),
            },
            Act::Wait(span) => self.wait(span),
            Act::Mail(kind) => {
                let mailbox = values::named("bob@here.test").map_err(|what| self.fail("a mailbox", &what))?;
                let (id, json) = ("a1".into(), "{}".into());
                let event = MailEvent { kind, mailbox, id, tagged: None, is_copy: false, json };
                self.session.notify(&SessionEvent::Mail(Arc::new(event)), &mut self.outbox);
                Ok(())
            }
        }
    }

    /// Another program changes a folder.
    fn change_folder(&mut self, change: &str) -> Result<(), Problem> {
        self.pass();
        if let Some(name) = change.strip_prefix("lost ") {
            let folder = values::named(name).map_err(|what| self.fail("a folder", &what))?;
            self.session.notify(&SessionEvent::FolderGone(folder), &mut self.outbox);
            return Ok(());
        }
        let news = self.world.folders.borrow_mut().change(change);
        if let Some(state) = news.map_err(|what| self.fail("a change of folders", &what))? {
            self.session.notify(&SessionEvent::FolderChanged(state), &mut self.outbox);
        }
        Ok(())
    }

    fn wait(&mut self, span: Duration) -> Result<(), Problem> {
        self.now += span;
        match self.phase {
            Phase::Paused(until) if until <= self.now => self.phase = Phase::Open,
            Phase::Open if self.deadline() <= self.now => {
                if self.session.keep_alive(now(self.now), &mut self.outbox) {
                    self.last_command = self.now;
                    return self.flush();
                }
                self.session.on_timeout(&mut self.outbox);
                self.flush()?;
                self.over(". close")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn deadline(&self) -> Duration {
        let Timeouts { read: limit, reset_on: renewed_by, session: lifetime, .. } = self.session.timeouts();
        let from = match renewed_by {
            ResetOn::Progress => self.last_led_on,
            ResetOn::Command => self.last_command,
            ResetOn::Octet => self.last_command.max(self.last_read),
        };
        (from + limit).min(lifetime.map_or(Duration::MAX, |lifetime| BEGIN + lifetime))
    }
}

/// The parameters of TLS in a dialogue.
const ENCRYPTION: Encryption = Encryption { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384" };
/// Steps that a session may take on one piece of input.
const MOST_STEPS: usize = 1_000_000;
/// Equal lines that a blessed dialogue counts.
const WORTH_COUNTING: usize = 5;
