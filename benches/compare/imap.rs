//! IMAP: the flags of a large folder, headers, messages, searches, lists of folders, and news.
//!
//! Each program has a copy of the folders of its own, in files that are in memory. A session is warm: it works once before
//! the time begins, and both programs have made their indexes and caches by then. Only the first fetch of headers is the
//! first one of both: Dovecot has no `dovecot.index.cache` then, and restante has read no message.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Job,
    common::{
        Loader, Scratch, Server,
        client::Protocol,
        dovecot_daemon::Dovecot,
        figures::{Better, Sample},
        foreign_mailbox::millis,
        imap_client::Imap,
        imap_load::{self, Done, HEADERS, Work, fill},
        plain_imap::serve_imap_plainly,
        process, spool,
        table::count as in_words,
    },
    contest::{Contest, DOVECOT, Figure, Run},
};

pub(crate) fn measure(contest: &mut Contest, scratch: &mut Scratch) -> io::Result<()> {
    let (large, medium) = (contest.scale.messages, contest.scale.messages / 2);
    let one =
        |name: String, messages, size, work| Row { name, messages, size, work, sessions: 1, folders: 1 };
    let four = |name: &str, work| Row {
        name: name.to_owned(),
        messages: 2000.min(large),
        size: SIZE,
        work,
        sessions: 4,
        folders: 1,
    };
    let select = format!("IMAP: SELECT and FETCH 1:* (FLAGS), {} messages", in_words(large));
    repeated(contest, scratch, &one(select, large, 1024, Work::SelectAndFlags))?;
    first_headers(contest, scratch, medium)?;
    let later = format!("IMAP: a later fetch of the headers, {} messages", in_words(medium));
    repeated(contest, scratch, &one(later, medium, SIZE, Work::FetchAll(HEADERS.to_owned())))?;
    let structures =
        format!("IMAP: a later fetch of envelopes and structures, {} messages", in_words(medium));
    let command = "UID FETCH 1:* (UID ENVELOPE BODYSTRUCTURE)".to_owned();
    repeated(contest, scratch, &one(structures, medium, SIZE, Work::FetchAll(command)))?;
    let all = Work::FetchAll("UID FETCH 1:* (UID BODY.PEEK[])".to_owned());
    repeated(contest, scratch, &four("IMAP: BODY.PEEK[], 4 KiB, all in one command, 4 sessions", all))?;
    let name = "IMAP: BODY.PEEK[], 4 KiB, one in a command, 4 sessions";
    repeated(contest, scratch, &four(name, Work::FetchOne))?;
    let search = format!("IMAP: SEARCH TEXT, {} messages", in_words(medium));
    repeated(contest, scratch, &one(search, medium, SIZE, Work::Search("TEXT letters".to_owned())))?;
    let list = Work::ListStatus(FOLDERS);
    let name = format!("IMAP: LIST with STATUS of {FOLDERS} folders");
    repeated(contest, scratch, &Row { folders: FOLDERS, ..one(name, 100.min(large), 1024, list) })?;
    news(contest, scratch)
}

/// A figure of sessions that do the same over and over.
struct Row {
    name: String,
    messages: usize,
    size: usize,
    work: Work,
    sessions: usize,
    /// Folders of each mailbox, INBOX included.
    folders: usize,
}

impl Row {
    fn users(&self) -> Vec<String> {
        (0..self.sessions).map(|number| format!("imap{number}@example.test")).collect()
    }

    fn fill(&self, maildirs: &Path) -> io::Result<()> {
        // The first login to restante makes the five, so Dovecot has them too.
        let named = ["Archive", "Drafts", "Junk", "Sent", "Trash"].map(str::to_owned).into_iter();
        let folders = named.chain((1..).map(|number| format!("Folder{number}")));
        let folders: Vec<String> = folders.take(self.folders - 1).collect();
        for user in self.users() {
            let inbox = maildirs.join(user);
            fill(&inbox, self.messages, self.size)?;
            folders
                .iter()
                .try_for_each(|name| fill(&inbox.join(format!(".{name}")), self.messages, self.size))?;
        }
        // The kernel writes the files out now, and not while clients read them.
        rustix::fs::sync();
        Ok(())
    }

    /// Whether files go to sockets as they are, so that there is a limit to compare with.
    fn whole_messages(&self) -> bool {
        self.sessions > 1
    }

    /// Messages that one operation fetches.
    fn fetched(&self) -> usize {
        match self.work {
            Work::FetchAll(_) => self.messages,
            _ => 1,
        }
    }
}

/// The time of an operation, or with several sessions the number of messages fetched in a second.
fn repeated(contest: &mut Contest, scratch: &mut Scratch, row: &Row) -> io::Result<()> {
    if !contest.wants(&row.name) {
        return Ok(());
    }
    process::warn_if_busy()?;
    let seconds = contest.scale.seconds;
    let run = |cpu: &dyn Fn() -> io::Result<Duration>, imap, work: Work| -> io::Result<Sample> {
        let messages = row.messages;
        let loader =
            Loader::start(&Job::Imap(imap_load::Job { imap, users: row.users(), messages, work, seconds }))?;
        let used = cpu()?;
        let done: Done = loader.run()?;
        let used = cpu()? - used;
        if row.sessions > 1 {
            return Ok(Sample::rate(done.operations * row.fetched() as u64, done.seconds, used));
        }
        Ok(Sample { value: done.p50_ms, ..Sample::rate(done.operations, done.seconds, used) })
    };
    let figure = match row.sessions {
        1 => Figure { name: &row.name, unit: "ms", better: Better::Lower },
        _ => Figure { name: &row.name, unit: "messages/s", better: Better::Higher },
    };
    let dir = scratch.fresh()?;
    row.fill(&spool(&dir))?;
    let server = Server::dev(&dir)?;
    let imap = server.imap()?;
    let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
    let dovecot = contest.dovecot(|| {
        row.fill(&maildirs)?;
        Dovecot::start(&home, &maildirs, None)
    });
    let dovecot = dovecot.map(|server| {
        Box::new(move |_: &mut Scratch| {
            run(&|| process::cpu_of_tree(server.pid()), server.imap, row.work.clone())
        }) as Run<'_>
    });
    let ours: Run<'_> = Box::new(|_| run(&|| process::cpu_of_tree(server.pid()), imap, row.work.clone()));
    // The plain server is threads of ours; the clients are a process of their own.
    let plain = row.whole_messages().then(|| serve_imap_plainly(spool(&dir), row.messages)).transpose()?;
    let limit = plain.map(|plain| {
        Box::new(move |_: &mut Scratch| run(&|| process::cpu(std::process::id()), plain, row.work.clone()))
            as Run<'_>
    });
    contest.row(scratch, figure, ours, limit, vec![(DOVECOT, dovecot)])?;
    contest.notes.insert(NOTE.to_owned());
    Ok(())
}

/// The fields that Thunderbird shows in its list, of all messages of a folder that no program has read.
fn first_headers(contest: &mut Contest, scratch: &mut Scratch, messages: usize) -> io::Result<()> {
    let name = format!("IMAP: the first fetch of the headers, {} messages", in_words(messages));
    if !contest.wants(&name) {
        return Ok(());
    }
    process::warn_if_busy()?;
    let dir = scratch.fresh()?;
    let server = Server::dev(&dir)?;
    let imap = server.imap()?;
    let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
    let dovecot = contest.dovecot(|| Dovecot::start(&home, &maildirs, None));
    let (mut ours, mut theirs) = (0, 0);
    let fetch = |maildirs: &PathBuf, pid: u32, imap, number: &mut usize| -> io::Result<Sample> {
        *number += 1;
        let user = format!("first{number}@example.test");
        fill(&maildirs.join(&user), messages, SIZE)?;
        rustix::fs::sync();
        let mut session = Imap::login(imap, &user)?;
        session.command("SELECT INBOX")?;
        let (start, used) = (Instant::now(), process::cpu_of_tree(pid)?);
        let fetched = session.command(HEADERS)?.fetched;
        let (taken, used) = (start.elapsed(), process::cpu_of_tree(pid)? - used);
        if fetched != messages as u64 {
            return Err(io::Error::other(format!("{user}: {fetched} of {messages} messages fetched")));
        }
        Ok(Sample { value: millis(taken), cpu_us: Some(used.as_secs_f64() * 1e6) })
    };
    let restante: Run<'_> = Box::new(|_| fetch(&spool(&dir), server.pid(), imap, &mut ours));
    let (fetch, theirs, maildirs) = (&fetch, &mut theirs, &maildirs);
    let dovecot = dovecot.map(|server| {
        Box::new(move |_: &mut Scratch| fetch(maildirs, server.pid(), server.imap, theirs)) as Run<'_>
    });
    let figure = Figure { name: &name, unit: "ms", better: Better::Lower };
    contest.row(scratch, figure, restante, None, vec![(DOVECOT, dovecot)])?;
    contest.notes.insert(NOTE.to_owned());
    Ok(())
}

/// The time from the acknowledgement of a message to the line that tells a session in IDLE of it.
fn news(contest: &mut Contest, scratch: &mut Scratch) -> io::Result<()> {
    let name = "IMAP: a message that was acknowledged shows in IDLE";
    if !contest.wants(name) {
        return Ok(());
    }
    process::warn_if_busy()?;
    let seconds = contest.scale.seconds;
    // Each run has a mailbox of its own, because the messages stay.
    let run =
        |pid: u32, (imap, address, protocol), maildirs: &Path, number: &mut usize| -> io::Result<Sample> {
            *number += 1;
            let (user, messages) = (format!("idle{number}@example.test"), 10);
            fill(&maildirs.join(&user), messages, 1024)?;
            let work = Work::Idle(address, protocol);
            let job = imap_load::Job { imap, users: vec![user], messages, work, seconds };
            let loader = Loader::start(&Job::Imap(job))?;
            let used = process::cpu_of_tree(pid)?;
            let done: Done = loader.run()?;
            let used = process::cpu_of_tree(pid)? - used;
            Ok(Sample { value: done.p50_ms, ..Sample::rate(done.operations, done.seconds, used) })
        };
    let dir = scratch.fresh()?;
    let server = Server::dev(&dir)?;
    let imap = server.imap()?;
    let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
    let dovecot = contest.dovecot(|| Dovecot::start(&home, &maildirs, None));
    let (mut ours, mut theirs) = (0, 0);
    let restante: Run<'_> =
        Box::new(|_| run(server.pid(), (imap, server.smtp, Protocol::Smtp), &spool(&dir), &mut ours));
    let (run, theirs, maildirs) = (&run, &mut theirs, &maildirs);
    let dovecot = dovecot.map(|server| {
        Box::new(move |_: &mut Scratch| {
            run(server.pid(), (server.imap, server.lmtp, Protocol::Lmtp), maildirs, theirs)
        }) as Run<'_>
    });
    let figure = Figure { name, unit: "ms", better: Better::Lower };
    contest.row(scratch, figure, restante, None, vec![(DOVECOT, dovecot)])?;
    contest.notes.insert(
        "IDLE: the median of the times from the reply to a message to the EXISTS of it; the CPU time is that of the delivery too; \
         Dovecot collects changes for half a second"
            .to_owned(),
    );
    Ok(())
}

/// Octets of a letter.
const SIZE: usize = 4096;
const FOLDERS: usize = 30;
const NOTE: &str = "IMAP: letters with the header of mail from the Internet, in files in memory; each session works once \
     before its time begins, so that both programs have their indexes and caches, but for the first fetch of the headers, \
     which is the first of both: Dovecot has no dovecot.index.cache, and restante has read no message; a client asks for the fields that \
     Thunderbird asks for; the limit is a thread for each connection that reads each file and writes it to the socket as it is, \
     64 KiB or one message at a time";
