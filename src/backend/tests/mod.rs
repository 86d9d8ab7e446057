//! The parts of the backend on virtual time, without a thread: requests and completions in, effects out.

mod auth;
mod imap;
mod maildrop;
mod receive;
mod recipients;

use std::{
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use super::effects::{Effect, Effects};
use crate::{
    accounts::{Accounts, Sources},
    fd_limits::{FdBudget, FdInputs},
    limits::Limits,
    maildir::Spool,
    proto::request::{ConnId, Failure, Mailbox, Response},
    workers::{Completion, CompletionSender, LoopWaker, Storage},
};

const CLIENT: ConnId = ConnId(1);
const OTHER: ConnId = ConnId(2);
const SECOND: Duration = Duration::from_secs(1);

/// A spool, and the values that threads would get.
struct Fixture {
    home: tempfile::TempDir,
    storage: Storage,
    waker: Arc<LoopWaker>,
    completions: CompletionSender,
    sent: Receiver<Completion>,
    _poll: mio::Poll,
}

impl Fixture {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let storage = Storage::unwatched(Spool::open(&home.path().join("spool")).unwrap());
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(LoopWaker::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let (completions, sent) = CompletionSender::new(Arc::clone(&waker));
        Self { home, storage, waker, completions, sent, _poll: poll }
    }

    /// The budget of 1,000 descriptors.
    fn fd_budget(&self) -> FdBudget {
        let opens = FdInputs {
            inherited: 3,
            listeners: 1,
            watch: true,
            accounts: true,
            certificate: false,
            transcripts: false,
            reloads: false,
        };
        FdBudget::allocate(1000, &Limits::default(), &opens).unwrap()
    }

    /// Accounts whose password is "sesame"; bob's mailbox may have 100 octets.
    fn accounts(&self) -> Accounts {
        let users = self.home.path().join("users.json");
        let hash = r#""password_hash": "c8dae1c50e092f3d877192fc555b1dcf""#;
        let text = format!(
            r#"{{"ann@example.test": {{{hash}}}, "bob@example.test": {{{hash}, "quota": {{"bytes": "100 B"}}}}}}"#
        );
        std::fs::write(&users, text).unwrap();
        Sources { users, aliases: None, domains: vec!["example.test".into()], ..Sources::default() }
            .load()
            .unwrap()
    }
}

fn mailbox(user: &str) -> Mailbox {
    Mailbox::named(&format!("{user}@example.test")).unwrap()
}

/// All effects, abbreviated.
fn effect_texts(effects: &mut Effects) -> Vec<String> {
    std::iter::from_fn(|| effects.next()).map(|effect| in_short(&effect)).collect()
}

fn in_short(effect: &Effect) -> String {
    match effect {
        Effect::Respond(id, Response::Failed(failure)) => format!("{id} failed {failure:?}"),
        Effect::Respond(id, Response::Opened(maildrop)) => format!("{id} opened {}", maildrop.len()),
        Effect::Respond(id, Response::Delivered(failures)) => {
            let outcome = |failure: &Option<Failure>| failure.map_or("ok", Failure::name);
            let outcomes: Vec<&str> = failures.iter().map(outcome).collect();
            format!("{id} delivered {}", outcomes.join(" "))
        }
        Effect::Respond(id, response) => format!("{id} {response:?}").to_lowercase(),
        Effect::Run(job) => {
            let job = format!("{job:?}");
            format!("run {}", job.split([' ', '(']).next().unwrap())
        }
        Effect::Deliver(delivery) => format!("deliver {}", delivery.from),
    }
}
