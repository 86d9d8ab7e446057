//! A mix of requests as people, tests and pages send them, at a fixed rate: lists, searches, messages, pages and their
//! assets. Beside them one client sends a message each second, waits for it by a long poll, marks it and deletes it, and event
//! streams are open. It writes little, because the disk is none of the processors that the load is measured by.

use std::{
    io::{self, BufRead},
    net::{Shutdown, SocketAddr},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{http_load::Http, pace::Pace, process};

/// The work of the load generator.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    /// The mailbox that it reads and sends to; it has messages.
    pub(crate) mailbox: String,
    /// Requests a second of all clients that read.
    pub(crate) rate: f64,
    /// Clients that read. One more writes.
    pub(crate) clients: usize,
    /// Open event streams, half of them of all mail.
    pub(crate) streams: usize,
    pub(crate) seconds: f64,
}

/// The responses that it got.
#[derive(Serialize, Deserialize)]
pub(crate) struct Served {
    /// The latency of each request that was answered as it should be.
    pub(crate) latencies_us: Vec<u32>,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    /// Events that the streams got.
    pub(crate) events: u64,
    /// CPU time of the load generator itself.
    pub(crate) own_cpu_us: f64,
}

/// The load generator: a thread for each client and for each event stream.
pub(crate) fn load(job: &Job) -> io::Result<()> {
    let ids = ids(job)?;
    let streams = (0..job.streams).map(|number| {
        let base = if number % 2 == 0 { String::new() } else { format!("/box/{}", job.mailbox) };
        Http::connect(job.address)?.events(&format!("{base}/api/events"))
    });
    let streams = streams.collect::<io::Result<Vec<_>>>()?;
    let ends = streams.iter().map(|stream| stream.get_ref().try_clone()).collect::<io::Result<Vec<_>>>()?;
    let (ready, go) = (Barrier::new(job.clients + 2), Barrier::new(job.clients + 2));
    let client = |number: usize| -> io::Result<Client<'_>> {
        let client = Client::new(job, &ids, number);
        ready.wait();
        go.wait();
        let mut client = client?;
        let (steps, mut pace) = if number == job.clients {
            (&[Step::Round][..], Pace::new(ROUNDS, 0, 1))
        } else {
            (READS, Pace::new(job.rate / job.clients as f64, number, job.clients))
        };
        let end = Instant::now() + Duration::from_secs_f64(job.seconds);
        for step in steps.iter().cycle().skip(number * steps.len() / job.clients) {
            let due = pace.wait();
            if Instant::now() >= end {
                break;
            }
            client.take(*step, due)?;
        }
        Ok(client)
    };
    let (served, events, own_cpu) = thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..=job.clients).map(|number| scope.spawn(move || client(number))).collect();
        ready.wait();
        super::ready();
        let cpu = process::cpu(std::process::id())?;
        go.wait();
        let streams: Vec<_> = streams.into_iter().map(|stream| scope.spawn(|| events(stream))).collect();
        let served = clients.into_iter().map(|thread| thread.join().expect("a thread that does not panic"));
        let served = served.collect::<io::Result<Vec<_>>>()?;
        let has_ended = streams.iter().any(thread::ScopedJoinHandle::is_finished);
        for end in ends {
            let _ = end.shutdown(Shutdown::Both); // one that has ended is told of below
        }
        let events: u64 =
            streams.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).sum();
        if has_ended {
            return Err(io::Error::other("the server has ended an event stream"));
        }
        Ok::<_, io::Error>((served, events, process::cpu(std::process::id())? - cpu))
    })?;
    super::report(&Served {
        failed: served.iter().map(|client| client.failed).sum(),
        first_failure: served.iter().find_map(|client| client.first_failure.clone()),
        latencies_us: served.into_iter().flat_map(|client| client.latencies_us).collect(),
        events,
        own_cpu_us: own_cpu.as_secs_f64() * 1e6,
    })
}

/// One thing that a client does.
#[derive(Clone, Copy)]
enum Step {
    List,
    ListOfAll,
    Search,
    Message,
    Raw,
    Page,
    MessagePage,
    Style,
    Script,
    /// A long poll for a message, the message that it waits for, its mark and its deletion.
    Round,
}

/// The steps of a client that reads, over and over.
const READS: &[Step] = &[
    Step::Page,
    Step::Style,
    Step::Script,
    Step::List,
    Step::Message,
    Step::MessagePage,
    Step::Search,
    Step::List,
    Step::Raw,
    Step::ListOfAll,
];

/// One client of the load generator.
struct Client<'a> {
    job: &'a Job,
    ids: &'a [String],
    http: Http,
    number: usize,
    steps: usize,
    latencies_us: Vec<u32>,
    failed: u64,
    first_failure: Option<String>,
}

impl<'a> Client<'a> {
    fn new(job: &'a Job, ids: &'a [String], number: usize) -> io::Result<Self> {
        let (http, latencies_us, first_failure) = (Http::connect(job.address)?, Vec::new(), None);
        Ok(Self { job, ids, http, number, steps: 0, latencies_us, failed: 0, first_failure })
    }

    /// Takes a step that was due at that time. After a failure the client connects again.
    fn take(&mut self, step: Step, due: Instant) -> io::Result<()> {
        self.steps += 1;
        if let Err(error) = self.requests(step, due) {
            self.failed += 1;
            self.first_failure.get_or_insert(error.to_string());
            self.http = Http::connect(self.job.address)?;
        }
        Ok(())
    }

    fn requests(&mut self, step: Step, due: Instant) -> io::Result<()> {
        let base = format!("/box/{}", self.job.mailbox);
        let id = &self.ids[self.steps % self.ids.len()];
        let path = match step {
            Step::List => format!("{base}/api/v1/messages"),
            Step::ListOfAll => "/api/v1/messages".to_owned(),
            Step::Search => format!("{base}/api/v1/search?query=xylophone"),
            Step::Message => format!("{base}/api/v1/message/{id}"),
            Step::Raw => format!("{base}/api/v1/message/{id}/raw"),
            Step::Page => base,
            Step::MessagePage => format!("{base}/message/{id}"),
            Step::Style => "/assets/page.css".to_owned(),
            Step::Script => "/assets/page.js".to_owned(),
            Step::Round => return self.round(&base, due),
        };
        self.http.get(&path)?;
        self.count(due);
        Ok(())
    }

    fn round(&mut self, base: &str, due: Instant) -> io::Result<()> {
        let word = format!("round{}x{}x{}", std::process::id(), self.number, self.steps);
        // The response to a long poll ends its connection.
        let mut waiting = Http::connect(self.job.address)?;
        waiting.send("GET", &format!("{base}/wait?query=subject:{word}&timeout=30s"), "")?;
        let message = format!(
            "{{\"From\":{{\"Email\":\"a@example.test\"}},\"To\":[{{\"Email\":\"{}\"}}],\
             \"Subject\":\"{word}\",\"Text\":\"{TEXT}\",\"HTML\":\"<p>{TEXT}</p>\"}}",
            self.job.mailbox
        );
        let sent = self.http.exchange("POST", "/api/v1/send", &message)?;
        self.count(due);
        let found = waiting.receive("/wait")?;
        self.count(due);
        if !found.contains(&word) {
            return Err(io::Error::other(format!("the long poll for {word} got another message")));
        }
        let id = string_of(&serde_json::from_str(&sent)?, "ID")?;
        let path = format!("{base}/api/v1/messages");
        for (method, read) in [("PUT", ",\"Read\":false"), ("DELETE", "")] {
            let start = Instant::now();
            self.http.exchange(method, &path, &format!("{{\"IDs\":[\"{id}\"]{read}}}"))?;
            self.count(start);
        }
        Ok(())
    }

    fn count(&mut self, since: Instant) {
        self.latencies_us.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

/// Reads events until the stream ends, and counts them.
fn events(stream: impl BufRead) -> u64 {
    stream.lines().map_while(Result::ok).filter(|line| line.starts_with("data: ")).count() as u64
}

/// The ids of the messages in the mailbox.
fn ids(job: &Job) -> io::Result<Vec<String>> {
    let list = Http::connect(job.address)?.content(&format!("/box/{}/api/v1/messages", job.mailbox))?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let messages = list["messages"].as_array().into_iter().flatten();
    messages.map(|message| string_of(message, "ID")).collect()
}

fn string_of(object: &serde_json::Value, name: &str) -> io::Result<String> {
    let value = object[name].as_str().map(str::to_owned);
    value.ok_or_else(|| io::Error::other(format!("no {name} in {object}")))
}

/// Messages that are sent, waited for, marked and deleted in a second.
const ROUNDS: f64 = 1.0;
const TEXT: &str = "A text of a few words, as tests send them.";
