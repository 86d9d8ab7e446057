//! IMAP commands over and over, by one session or several, and the mail that they read.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    client::{Protocol, Smtp},
    foreign_mailbox::micros,
    imap_client::Imap,
    maildir, message,
    table::percentile,
};

/// The work of the sessions.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) imap: SocketAddr,
    /// The user of each session.
    pub(crate) users: Vec<String>,
    /// Messages of each mailbox.
    pub(crate) messages: usize,
    pub(crate) work: Work,
    pub(crate) seconds: f64,
}

/// One operation of a session, over and over.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Work {
    /// SELECT, and the flags of all messages.
    SelectAndFlags,
    /// The next message, whole, by a command of its own.
    FetchOne,
    /// One command for all messages.
    FetchAll(String),
    /// A search that finds every message.
    Search(String),
    /// LIST with STATUS of so many folders.
    ListStatus(usize),
    /// A message delivered to the mailbox shows in IDLE.
    Idle(SocketAddr, Protocol),
}

/// The operations that they did.
#[derive(Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
}

/// The sessions, a thread for each; each works once before the time begins.
pub(crate) fn load(job: &Job) -> io::Result<()> {
    let (ready, go) = (Barrier::new(job.users.len() + 1), Barrier::new(job.users.len() + 1));
    let session = |user: &str| -> io::Result<Vec<u32>> {
        let started = Session::start(job, user);
        ready.wait();
        go.wait();
        let mut session = started?;
        let (start, time, mut taken) = (Instant::now(), Duration::from_secs_f64(job.seconds), Vec::new());
        while start.elapsed() < time {
            taken.push(micros(session.work()?));
        }
        Ok(taken)
    };
    thread::scope(|scope| {
        let sessions: Vec<_> = job.users.iter().map(|user| scope.spawn(|| session(user))).collect();
        ready.wait();
        super::ready();
        let start = Instant::now();
        go.wait();
        let taken = sessions.into_iter().map(|thread| thread.join().expect("a thread that does not panic"));
        let mut taken = taken.collect::<io::Result<Vec<Vec<u32>>>>()?.concat();
        let seconds = start.elapsed().as_secs_f64();
        taken.sort_unstable();
        super::report(&Done {
            operations: taken.len() as u64,
            seconds,
            p50_ms: percentile(&taken, 0.5) / 1e3,
        })
    })
}

/// A session and its work.
struct Session<'a> {
    job: &'a Job,
    user: String,
    imap: Imap,
    /// The session that delivers, for [`Work::Idle`].
    smtp: Option<Smtp>,
    /// The number of operations so far.
    done: usize,
}

impl<'a> Session<'a> {
    /// Logs in, and works once.
    fn start(job: &'a Job, user: &str) -> io::Result<Self> {
        let mut imap = Imap::login(job.imap, user)?;
        let smtp = match &job.work {
            Work::SelectAndFlags | Work::ListStatus(_) => None,
            Work::FetchOne | Work::FetchAll(_) | Work::Search(_) => {
                let exists = imap.command("SELECT INBOX")?.exists;
                expect(user, exists, job.messages as u64)?;
                None
            }
            Work::Idle(address, protocol) => {
                imap.command("SELECT INBOX")?;
                imap.idle()?;
                Some(Smtp::connect_for(*address, *protocol)?)
            }
        };
        let mut session = Self { job, user: user.to_owned(), imap, smtp, done: 0 };
        session.work()?;
        Ok(session)
    }

    /// Does one operation, and returns the time that it took.
    fn work(&mut self) -> io::Result<Duration> {
        let Self { job, imap, user, .. } = self;
        let (all, start) = (job.messages as u64, Instant::now());
        match &job.work {
            Work::SelectAndFlags => {
                imap.command("SELECT INBOX")?;
                expect(user, imap.command("FETCH 1:* (FLAGS)")?.fetched, all)?;
            }
            Work::FetchOne => {
                let number = self.done % job.messages + 1;
                let responses = imap.command(&format!("FETCH {number} (UID BODY.PEEK[])"))?;
                expect(user, responses.fetched, 1)?;
                expect(user, u64::from(responses.literals > 0), 1)?;
            }
            Work::FetchAll(command) => expect(user, imap.command(command)?.fetched, all)?,
            Work::Search(condition) => {
                expect(user, imap.command(&format!("UID SEARCH {condition}"))?.found, all)?;
            }
            Work::ListStatus(folders) => {
                let responses = imap.command(LIST_STATUS)?.count;
                // A LIST and a STATUS of each.
                expect(user, responses, 2 * *folders as u64)?;
            }
            Work::Idle(..) => {
                let smtp = self.smtp.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                let text = [&message(1024, "\r\n")[..], b".\r\n"].concat();
                if !smtp.deliver(user, &text)? {
                    return Err(io::Error::other("a message is refused"));
                }
                let accepted = Instant::now();
                imap.until_exists(all + 1 + self.done as u64)?;
                self.done += 1;
                return Ok(accepted.elapsed());
            }
        }
        self.done += 1;
        Ok(start.elapsed())
    }
}

fn expect(user: &str, there: u64, expected: u64) -> io::Result<()> {
    let error = || io::Error::other(format!("{user}: {there} where {expected} should be"));
    if there == expected { Ok(()) } else { Err(error()) }
}

/// The name of the file of a message that [`fill`] made, as other programs give it.
pub(crate) fn file_name(number: usize) -> String {
    format!("{}.M1P1.bench.example.test:2,S", 1_700_000_000 + number)
}

/// Makes a folder with so many letters that were read.
pub(crate) fn fill(path: &Path, messages: usize, size: usize) -> io::Result<()> {
    maildir(path)?;
    for number in 0..messages {
        fs::write(path.join("cur").join(file_name(number)), letter(number, size))?;
    }
    Ok(())
}

/// A letter with the header that mail from the Internet has, of about `size` octets. No two are alike.
fn letter(number: usize, size: usize) -> Vec<u8> {
    let mut text = format!(
        "Return-Path: <sender{number}@far.example>
Received: from mx{0}.far.example (mx{0}.far.example [192.0.2.{0}])
\tby mx.example.test with ESMTPS (TLS1.3) id c{number}-1
\tfor <bench@example.test>; Mon, 30 Nov 2026 08:00:00 +0000
Received: from [198.51.100.{0}] by mx{0}.far.example with ESMTPSA id q{number};
\tMon, 30 Nov 2026 07:59:58 +0000
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=far.example; s=s1;
\th=from:to:subject:date:message-id; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;
\tb=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzRQ2xyZW5zIGlw
From: Sender Number {number} <sender{number}@far.example>
To: The Bench <bench@example.test>, Another Reader <reader{0}@example.test>
Cc: =?UTF-8?Q?J=C3=BCrgen_M=C3=BCller?= <jm@example.test>
Subject: Letter {number}: the figures of the bench, once more
Date: Mon, 30 Nov 2026 08:{1:02}:{2:02} +0000
Message-ID: <{number}.letter@far.example>
In-Reply-To: <{3}.letter@far.example>
References: <{3}.letter@far.example> <{number}.first@far.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit
User-Agent: Bench/1.0
X-Priority: 3

",
        number % 250,
        number / 60 % 60,
        number % 60,
        number.saturating_sub(1),
    )
    .into_bytes();
    let line = format!("{}\n", "letters ".repeat(9).trim_end());
    while text.len() + line.len() <= size {
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// The fields that Thunderbird asks for when it sees a message for the first time.
pub(crate) const HEADERS: &str = "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date \
     Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])";
const LIST_STATUS: &str = "LIST \"\" \"*\" RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN))";
