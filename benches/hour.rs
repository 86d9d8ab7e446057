//! The web API beside SMTP and POP3 for an hour: others lose no more than the CPU time of its requests.
//!
//! Measured: SMTP sessions deliver and POP3 clients fetch at a fixed pace all the time. Windows with a load of web
//! requests alternate with windows without. A delivery counts from its due time to the `250`, a login from the
//! connection to the response to STAT. The POP3 clients delete the messages that they fetch, so the spool does not
//! grow, and neither may the memory of the server.
//!
//! The load takes the CPU time that its generator uses, and that the server uses beyond the window without. The share of all
//! processors is what others may lose: a delivery that took 10 ms takes 12.5 ms if a fifth of the processors is gone. Both
//! windows of a pair are compared with each other, and the figure is the median of all pairs, because other programs
//! of the machine disturb some of them.
//!
//! `cargo bench --bench hour [-- --minutes 60] [--rate 65] [--window 30]`: the rate is that of web requests a second. The
//! clients of SMTP and POP3 are threads of this process, and the load generator is a process of its own.

mod common;

use std::{
    env, io,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Dice, Loader, Scratch, Server, Settings,
    client::{Pop3, Smtp, number},
    foreign_mailbox::{Times, micros},
    message,
    pace::Pace,
    process, seed,
    table::{Table, size as in_words},
    web_load::{self, Served},
};

fn main() -> io::Result<()> {
    if let Some(job) = common::job() {
        return web_load::load(&job);
    }
    let options = Options::load(&Settings::load())?;
    let mut scratch = Scratch::new()?;
    println!(
        "hour: {}, {} pairs of windows of {} s, {} web requests/s, {STREAMS} event streams, {DELIVERIES} deliveries/s, \
         {LOGINS} POP3 logins/s",
        scratch.describe(),
        options.pairs,
        options.window.as_secs_f64(),
        options.rate
    );
    process::warn_if_busy()?;
    let dir = scratch.fresh()?;
    seed(&dir, WEB_USER, WEB_MESSAGES)?;
    let server = Server::dev_with_http(&dir)?;
    let steady = Steady::default();
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let (steady, address) = (&steady, server.smtp);
            scope.spawn(move || steady.deliver(address, session));
        }
        for client in 0..POP3_CLIENTS {
            let (steady, address) = (&steady, server.pop3);
            scope.spawn(move || steady.fetch(address, client));
        }
        let pairs = measure(&options, &server, &steady);
        steady.over.store(true, Ordering::Relaxed);
        pairs
    })
    .map(|pairs| report(&pairs))
}

/// The length of the measurement, and the load.
struct Options {
    pairs: usize,
    window: Duration,
    rate: f64,
}

impl Options {
    fn load(settings: &Settings) -> io::Result<Self> {
        let given = |flag: &str, otherwise: f64| {
            let mut args = env::args().skip_while(|arg| arg != flag).skip(1);
            let bad = |text: String| io::Error::other(format!("{flag} {text}: give a number above 0"));
            match args.next() {
                None => Ok(otherwise),
                Some(text) => text.parse().ok().filter(|number| *number > 0.0).ok_or_else(|| bad(text)),
            }
        };
        let (minutes, window) = if settings.quick { (0.1, 1.5) } else { (60.0, 30.0) };
        let (minutes, window) = (given("--minutes", minutes)?, given("--window", window)?);
        Ok(Self {
            pairs: ((minutes * 30.0 / window).round() as usize).max(2),
            window: Duration::from_secs_f64(window),
            rate: given("--rate", 65.0)?,
        })
    }
}

/// A window without web load, and one with it.
struct Pair {
    without: Window,
    with: Window,
    served: Served,
    /// Octets of memory that only the server has, after both.
    memory: u64,
}

/// Clients of SMTP and POP3 in one window.
struct Window {
    samples: Samples,
    seconds: f64,
    /// CPU time of the server.
    cpu: Duration,
}

/// The latencies of deliveries and logins, in microseconds.
#[derive(Default)]
struct Samples {
    smtp: Vec<u32>,
    pop3: Vec<u32>,
    failures: Vec<String>,
}

/// One of the windows of a pair, and one of the latencies of a window.
type OfPair = fn(&Pair) -> &Window;
type Latencies = fn(&Samples) -> &Vec<u32>;

/// The clients that run all the time.
#[derive(Default)]
struct Steady {
    samples: Mutex<Samples>,
    over: AtomicBool,
}

impl Steady {
    /// The samples since the last call.
    fn take(&self) -> Samples {
        std::mem::take(&mut self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, add: impl FnOnce(&mut Samples)) {
        add(&mut self.samples.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Delivers message after message when it is due, on one connection.
    fn deliver(&self, address: SocketAddr, session: usize) {
        let mut text = message(4096, "\r\n");
        text.extend_from_slice(b".\r\n");
        let (mut dice, mut smtp) = (Dice::new(session), None);
        let mut pace = Pace::new(DELIVERIES / SESSIONS as f64, session, SESSIONS);
        while self.goes_on() {
            let due = pace.wait();
            let recipient = user(dice.below(USERS));
            let mut deliver = || {
                let mut session = smtp.take().map_or_else(|| Smtp::connect(address), Ok)?;
                let accepted = session.deliver(&recipient, &text)?;
                smtp = Some(session);
                if accepted { Ok(()) } else { Err(io::Error::other("a delivery was refused")) }
            };
            match deliver() {
                Ok(()) => self.count(|samples| samples.smtp.push(micros(due.elapsed()))),
                Err(error) => self.count(|samples| samples.failures.push(error.to_string())),
            }
        }
    }

    /// Logs in when it is due, to one mailbox after another, and fetches and deletes all messages there.
    fn fetch(&self, address: SocketAddr, client: usize) {
        let mut pace = Pace::new(LOGINS / POP3_CLIENTS as f64, client, POP3_CLIENTS);
        for mailbox in (0..USERS).filter(|mailbox| mailbox % POP3_CLIENTS == client).cycle() {
            if !self.goes_on() {
                return;
            }
            let due = pace.wait();
            let fetch = || {
                let mut pop3 = Pop3::login(address, &user(mailbox), "any password")?;
                let messages = number(pop3.command("STAT")?)?;
                self.count(|samples| samples.pop3.push(micros(due.elapsed())));
                for message in 1..=messages {
                    pop3.retrieve(message, |_| {})?;
                    pop3.command(&format!("DELE {message}"))?;
                }
                pop3.command("QUIT").map(drop)
            };
            if let Err(error) = fetch() {
                self.count(|samples| samples.failures.push(error.to_string()));
            }
        }
    }
}

/// All pairs of windows; each second pair begins with the load, so that a drift of the machine meets both kinds.
fn measure(options: &Options, server: &Server, steady: &Steady) -> io::Result<Vec<Pair>> {
    (0..options.pairs).map(|number| pair(options, server, steady, number)).collect()
}

fn pair(options: &Options, server: &Server, steady: &Steady, number: usize) -> io::Result<Pair> {
    let without = || {
        window(server, steady, || {
            thread::sleep(options.window);
            Ok(())
        })
    };
    let with = || {
        let job = web_load::Job {
            address: server.http()?,
            mailbox: WEB_USER.to_owned(),
            rate: options.rate,
            clients: WEB_CLIENTS,
            streams: STREAMS,
            seconds: options.window.as_secs_f64(),
        };
        let loader = Loader::start(&job)?;
        window(server, steady, || loader.run::<Served>())
    };
    let ((without, ()), (with, served)) = if number.is_multiple_of(2) {
        (without()?, with()?)
    } else {
        let with = with()?;
        (without()?, with)
    };
    let pair = Pair { without, with, served, memory: process::memory(server.pid())?.private_dirty };
    let ms = |samples: &[u32]| Times::sorted(samples.to_vec()).at(0.5);
    println!(
        "pair {} of {}: SMTP {:.2} and with load {:.2} ms, POP3 {:.2} and {:.2} ms, load {:.0} % of a processor, memory {}",
        number + 1,
        options.pairs,
        ms(&pair.without.samples.smtp),
        ms(&pair.with.samples.smtp),
        ms(&pair.without.samples.pop3),
        ms(&pair.with.samples.pop3),
        pair.load() * 100.0,
        in_words(pair.memory)
    );
    Ok(pair)
}

/// Measures while `work` runs. Operations that began in the window before end first, and do not count.
fn window<T>(
    server: &Server,
    steady: &Steady,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<(Window, T)> {
    thread::sleep(SETTLE);
    let _ = steady.take();
    let (start, cpu) = (Instant::now(), process::cpu(server.pid())?);
    let outcome = work()?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), process::cpu(server.pid())?.saturating_sub(cpu));
    Ok((Window { samples: steady.take(), seconds, cpu }, outcome))
}

impl Pair {
    /// CPU time that the load took in each second: of the server, and of the generator.
    fn load(&self) -> f64 {
        self.load_of_server() + self.served.own_cpu_us / 1e6 / self.with.seconds
    }

    fn load_of_server(&self) -> f64 {
        let rate = |window: &Window| window.cpu.as_secs_f64() / window.seconds;
        (rate(&self.with) - rate(&self.without)).max(0.0)
    }
}

/// Prints the figures, and whether others lost more than the CPU time of the load.
fn report(pairs: &[Pair]) {
    let mut table = Table::new(&[
        "window",
        "stored/s",
        "SMTP median, ms",
        "p99, ms",
        "logins/s",
        "POP3 median, ms",
        "p99, ms",
        "failed",
        "server CPU",
    ]);
    let windows: [(&str, OfPair); 2] =
        [("without load", |pair| &pair.without), ("with web load", |pair| &pair.with)];
    for (name, window) in windows {
        let all = || pairs.iter().map(window);
        let seconds: f64 = all().map(|window| window.seconds).sum();
        let pooled = |of: Latencies| {
            Times::sorted(all().flat_map(|window| of(&window.samples).iter().copied()).collect())
        };
        let (smtp, pop3) = (pooled(|samples| &samples.smtp), pooled(|samples| &samples.pop3));
        table.row(vec![
            name.to_owned(),
            format!("{:.1}", smtp.0.len() as f64 / seconds),
            format!("{:.2}", smtp.at(0.5)),
            format!("{:.2}", smtp.at(0.99)),
            format!("{:.1}", pop3.0.len() as f64 / seconds),
            format!("{:.2}", pop3.at(0.5)),
            format!("{:.2}", pop3.at(0.99)),
            all().map(|window| window.samples.failures.len()).sum::<usize>().to_string(),
            percent(all().map(|window| window.cpu.as_secs_f64()).sum::<f64>() / seconds),
        ]);
    }
    table.print();
    if let Some(why) = pairs
        .iter()
        .find_map(|pair| pair.without.samples.failures.first().or_else(|| pair.with.samples.failures.first()))
    {
        println!("the first failure of SMTP or POP3: {why}\n");
    }
    let load = describe_load(pairs);
    verdicts(pairs, load / common::processors().max(1) as f64);
    let memory = |at: usize| in_words(pairs[at.min(pairs.len() - 1)].memory);
    println!(
        "memory of the server: {} after the first pair, {} in the middle, {} at the end",
        memory(0),
        memory(pairs.len() / 2),
        memory(pairs.len())
    );
}

/// Prints the requests of the load, and returns the CPU time that it took in each second.
fn describe_load(pairs: &[Pair]) -> f64 {
    let load = median(pairs.iter().map(Pair::load).collect());
    let seconds: f64 = pairs.iter().map(|pair| pair.with.seconds).sum();
    let times =
        Times::sorted(pairs.iter().flat_map(|pair| pair.served.latencies_us.iter().copied()).collect());
    println!(
        "web load: {} requests ({:.1}/s), {} failed, {} events, median {:.2} ms, p99 {:.2} ms; {} of a processor, {} in the server",
        times.0.len(),
        times.0.len() as f64 / seconds,
        pairs.iter().map(|pair| pair.served.failed).sum::<u64>(),
        pairs.iter().map(|pair| pair.served.events).sum::<u64>(),
        times.at(0.5),
        times.at(0.99),
        percent(load),
        percent(median(pairs.iter().map(Pair::load_of_server).collect()))
    );
    if let Some(why) = pairs.iter().find_map(|pair| pair.served.first_failure.as_ref()) {
        println!("the first failed request: {why}");
    }
    load
}

/// Prints the loss of others beside the share of the processors that the load took.
fn verdicts(pairs: &[Pair], share: f64) {
    let mut table = Table::new(&["others", "loss", "half of the pairs", "CPU of the load", "verdict"]);
    let kinds: [(&str, Latencies, f64); 4] = [
        ("SMTP, median", |samples| &samples.smtp, 0.5),
        ("SMTP, p99", |samples| &samples.smtp, 0.99),
        ("POP3, median", |samples| &samples.pop3, 0.5),
        ("POP3, p99", |samples| &samples.pop3, 0.99),
    ];
    for (name, of, at) in kinds {
        let loss = |pair: &Pair| {
            let time = |window: &Window| Times::sorted(of(&window.samples).clone()).at(at);
            1.0 - time(&pair.without) / time(&pair.with).max(f64::MIN_POSITIVE)
        };
        let mut losses: Vec<f64> = pairs.iter().map(loss).collect();
        losses.sort_unstable_by(f64::total_cmp);
        let (low, high) = (losses[losses.len() / 4], losses[losses.len() * 3 / 4]);
        let loss = median(losses);
        table.row(vec![
            name.to_owned(),
            percent(loss),
            format!("{} to {}", percent(low), percent(high)),
            percent(share),
            if loss <= share { "no more than the CPU".to_owned() } else { "MORE than the CPU".to_owned() },
        ]);
    }
    table.print();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn user(mailbox: usize) -> String {
    format!("user{mailbox:02}@example.test")
}

/// Deliveries a second of all sessions, and logins a second of all clients of POP3.
const DELIVERIES: f64 = 20.0;
const LOGINS: f64 = 10.0;
const SESSIONS: usize = 4;
const POP3_CLIENTS: usize = 2;
/// Mailboxes that they use.
const USERS: usize = 20;
const WEB_CLIENTS: usize = 4;
const STREAMS: usize = 10;
const WEB_USER: &str = "web@example.test";
const WEB_MESSAGES: usize = 1000;
/// The time in which requests of the window before end.
const SETTLE: Duration = Duration::from_secs(1);
