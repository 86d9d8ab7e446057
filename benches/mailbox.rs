//! The cost of a login to mailboxes of any size, and the cost of the index that makes logins cheap.
//!
//! Measured: login and STAT on mailboxes of 10 to 100,000 messages, quiet ones and such as mail comes to meanwhile; the
//! time until a file that another program renames into `new/` is seen; the first login after a restart, with foreign
//! files whose sizes are not counted yet, and with those whose sizes are; the memory of the index; a QUIT that deletes
//! every message; and the wait of other sessions while a mailbox is scanned for the first time. Beside them, in the
//! same run: the time of this machine for a plain walk through the same directories, an echo on a thread of its own,
//! and Dovecot's POP3 process on the same Maildir, if it is installed.
//!
//! `cargo bench --bench mailbox [-- --quick]`, with `BENCH_MESSAGES` (100000) for the largest mailbox. All
//! files are in memory, since they were just written: this measures us, not the disk.

mod common;

use std::{
    env, fs,
    io::{self, BufRead, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    Scratch, Server, Settings,
    client::{self, Pop3},
    dovecot,
    foreign_mailbox::{Mailbox, Times, micros, millis},
    process, spool,
    table::Table,
};

fn main() -> io::Result<()> {
    let (settings, mut scratch) = (Settings::load(), Scratch::new()?);
    let asked = env::var("BENCH_MESSAGES").ok().and_then(|text| text.parse().ok());
    let most: usize = asked.unwrap_or(if settings.quick { 2000 } else { 100_000 }).max(50);
    let logins = if settings.quick { 50 } else { 500 };
    println!("mailbox: {}, {most} messages at most, load average {}", scratch.describe(), load()?);
    process::warn_if_busy()?;
    let dir = scratch.fresh()?;
    let mut mailboxes = Vec::new();
    for messages in [10, (most / 100).max(20), most / 5, most] {
        mailboxes.push(Mailbox::filled(&spool(&dir), messages)?);
    }
    let [small, .., fifth, largest] = &mailboxes[..] else { unreachable!("there are four") };
    let server = Server::dev(&dir)?;
    whatever_it_holds(&server, &mailboxes, logins)?;
    foreign_mail(&server, largest, logins * 2 / 5)?;
    beside_dovecot(&server, &scratch.fresh()?, &[small, fifth], logins / 10)?;
    deleted(
        &server,
        &scratch.fresh()?,
        &dir,
        asked.unwrap_or(if settings.quick { 2000 } else { 20_000 }).max(50),
    )?;
    drop(server);
    after_a_restart(&dir, small, largest)?;
    pauses(&dir, small, largest, if settings.quick { 1 } else { 5 })?;
    println!("load average at the end: {}", load()?);
    Ok(())
}

/// The time of a login to each of the mailboxes, and of a walk through it.
fn whatever_it_holds(server: &Server, mailboxes: &[Mailbox], times: usize) -> io::Result<()> {
    let mut table = Table::new(&[
        "login and STAT, ms",
        "median",
        "p99",
        "CPU",
        "while mail arrives: median",
        "p99",
        "readdir and stat",
        "ratio",
    ]);
    let quiet = in_turn(server, mailboxes, times, |mailbox| {
        Times::of(TURN, || mailbox.full_login(server.pop3)).map(|times| times.0)
    })?;
    let counts: Vec<usize> = mailboxes.iter().map(Mailbox::messages).collect();
    let arriving = in_turn(server, mailboxes, times, |mailbox| {
        while_mail_arrives(mailbox, || {
            Times::of(TURN, || mailbox.current_login(server.pop3)).map(|times| times.0)
        })
    })?;
    let mut medians = Vec::new();
    for (((mailbox, messages), (quiet, used)), (arriving, _)) in
        mailboxes.iter().zip(counts).zip(quiet).zip(arriving)
    {
        let walk = Times::of(9, || mailbox.walk(false))?;
        medians.push(quiet.at(0.5));
        table.row(vec![
            messages.to_string(),
            ms(quiet.at(0.5)),
            ms(quiet.at(0.99)),
            ms(used),
            ms(arriving.at(0.5)),
            ms(arriving.at(0.99)),
            ms(walk.at(0.5)),
            format!("{:.4}", quiet.at(0.5) / walk.at(0.5)),
        ]);
    }
    table.print();
    let [first, .., last] = medians[..] else { return Ok(()) };
    println!("the median of the largest is {:.2} times that of the smallest", last / first);
    Ok(())
}

/// Gives each mailbox a turn of logins, and again, so that other load of the machine meets all of them. Returns
/// for each mailbox the times, and the milliseconds of CPU for a login.
fn in_turn(
    server: &Server,
    mailboxes: &[Mailbox],
    times: usize,
    mut turn: impl FnMut(&Mailbox) -> io::Result<Vec<u32>>,
) -> io::Result<Vec<(Times, f64)>> {
    let mut all: Vec<_> = mailboxes.iter().map(|_| (Vec::new(), Duration::ZERO)).collect();
    mailboxes.iter().try_for_each(|mailbox| mailbox.full_login(server.pop3).map(drop))?; // scanned
    for _ in 0..times.div_ceil(TURN) {
        for (mailbox, (taken, used)) in mailboxes.iter().zip(&mut all) {
            let before = process::cpu(server.pid())?;
            taken.extend(turn(mailbox)?);
            *used += process::cpu(server.pid())? - before;
        }
    }
    let each = |(taken, used): (Vec<u32>, Duration)| {
        let cpu = millis(used) / taken.len() as f64;
        (Times::sorted(taken), cpu)
    };
    Ok(all.into_iter().map(each).collect())
}

/// Does the work while a message comes every few milliseconds.
fn while_mail_arrives<T>(mailbox: &Mailbox, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> io::Result<()> {
            while !done.load(Ordering::Relaxed) {
                mailbox.receive()?;
                thread::sleep(ARRIVES_EVERY);
            }
            Ok(())
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        sender.join().expect("a thread that does not panic")?;
        result
    })
}

/// From the rename of another program to the reply to STAT of a login that begins right after it.
fn foreign_mail(server: &Server, mailbox: &Mailbox, times: usize) -> io::Result<()> {
    let quiet = Times::of(times, || mailbox.full_login(server.pop3))?;
    let mut unseen = 0;
    let seen = Times::of(times, || {
        let renamed = mailbox.receive()?;
        let (taken, messages) = mailbox.login(server.pop3)?;
        unseen += usize::from(messages < mailbox.messages());
        Ok(renamed + taken)
    })?;
    let mut table = Table::new(&["ms", "times", "p50", "p99", "ratio of p50", "did not see it"]);
    let mut row = |title: &str, taken: &Times, unseen: &str| {
        let ratio = format!("{:.2}", taken.at(0.5) / quiet.at(0.5));
        let cells = [title, &times.to_string(), &ms(taken.at(0.5)), &ms(taken.at(0.99)), &ratio, unseen];
        table.row(cells.map(str::to_owned).to_vec());
    };
    row("login, nothing new", &quiet, "-");
    row("rename into new/, login", &seen, &unseen.to_string());
    table.print();
    Ok(())
}

/// Dovecot's POP3 process, without its daemon, on the same Maildirs.
fn beside_dovecot(server: &Server, home: &Path, mailboxes: &[&Mailbox], times: usize) -> io::Result<()> {
    if !Path::new(dovecot::POP3).exists() {
        println!("Dovecot: SKIPPED, no {} (Debian: dovecot-pop3d)", dovecot::POP3);
        return Ok(());
    }
    let mut table = Table::new(&[
        "login and STAT, ms",
        "messages",
        "Dovecot: median",
        "p99",
        "CPU",
        "restante: median",
        "p99",
        "CPU",
        "ratio",
        "of CPU",
    ]);
    for mailbox in mailboxes {
        let their_login = || -> io::Result<Duration> {
            let (taken, seen) = dovecot::login(home, &mailbox.path)?;
            mailbox.expect(seen)?;
            Ok(taken)
        };
        let first = their_login()?;
        println!("Dovecot's first login to {} messages: {} ms", mailbox.messages(), ms(millis(first)));
        mailbox.full_login(server.pop3)?; // all names have moved to cur/
        for (name, new) in [("nothing new", false), ("a new message before each", true)] {
            let receive = || if new { mailbox.receive() } else { Ok(Duration::ZERO) };
            let used = process::cpu_of_children()?;
            let theirs = Times::of(times, || receive().and_then(|_| their_login()))?;
            let their_cpu = (process::cpu_of_children()? - used).as_secs_f64() * 1e3 / times as f64;
            let (used, many) = (process::cpu(server.pid())?, times * 10);
            let ours = Times::of(many, || receive().and_then(|_| mailbox.full_login(server.pop3)))?;
            let our_cpu = (process::cpu(server.pid())? - used).as_secs_f64() * 1e3 / many as f64;
            table.row(vec![
                name.to_owned(),
                mailbox.messages().to_string(),
                ms(theirs.at(0.5)),
                ms(theirs.at(0.99)),
                ms(their_cpu),
                ms(ours.at(0.5)),
                ms(ours.at(0.99)),
                ms(our_cpu),
                format!("{:.4}", ours.at(0.5) / theirs.at(0.5)),
                format!("{:.4}", our_cpu / their_cpu),
            ]);
        }
    }
    table.print();
    Ok(())
}

/// `DELE` of all messages, one after the other, and `QUIT`; beside them Dovecot on as many files, and as many that a loop
/// unlinks, with one fsync of their directory.
fn deleted(server: &Server, home: &Path, dir: &Path, messages: usize) -> io::Result<()> {
    let named = |user: &str| Mailbox::named(&spool(dir), format!("{user}{messages}@example.test"), messages);
    let mut table =
        Table::new(&["all deleted, ms", "messages", "DELE", "QUIT", "CPU", "of unlink and fsync"]);
    let plain = unlinked(&named("beside")?)?;
    let mut row = |title: &str, asked: Option<Duration>, quit: Duration, used: Option<Duration>| {
        let cell = |time: Option<Duration>| time.map_or("-".into(), |time| ms(millis(time)));
        let ratio = format!("{:.2}", millis(quit) / millis(plain));
        let cells = [cell(asked), ms(millis(quit)), cell(used), ratio];
        table.row([&[title.to_owned(), messages.to_string()][..], &cells].concat());
    };
    row("unlink and fsync", None, plain, None);
    if Path::new(dovecot::POP3).exists() {
        let mailbox = named("theirs")?;
        dovecot::login(home, &mailbox.path)?; // all names have moved to cur/
        let before = process::cpu_of_children()?;
        let [asked, quit] = dovecot::delete(home, &mailbox.path, messages)?;
        row("Dovecot", Some(asked), quit, Some(process::cpu_of_children()? - before));
        mailbox.is_empty()?;
    }
    let mailbox = named("deleted")?;
    let mut pop3 = Pop3::login(server.pop3, &mailbox.user, "any password")?;
    let (start, before) = (Instant::now(), process::cpu(server.pid())?);
    for number in 1..=messages {
        pop3.command(&format!("DELE {number}"))?;
    }
    let asked = start.elapsed();
    let start = Instant::now();
    pop3.command("QUIT")?;
    let quit = start.elapsed();
    mailbox.is_empty()?;
    mailbox.full_login(server.pop3)?; // what the QUIT has left to do is done
    row("restante", Some(asked), quit, Some(process::cpu(server.pid())? - before));
    table.print();
    Ok(())
}

/// The time of an unlink of each file in `new/`, and one fsync.
fn unlinked(mailbox: &Mailbox) -> io::Result<Duration> {
    let new = fs::File::open(mailbox.path.join("new"))?;
    let start = Instant::now();
    for number in 0..mailbox.messages() {
        rustix::fs::unlinkat(&new, Mailbox::name(number), rustix::fs::AtFlags::empty())?;
    }
    new.sync_all()?;
    Ok(start.elapsed())
}

/// The first login of a server, without and with what the last one has counted, and the memory after it.
fn after_a_restart(dir: &Path, small: &Mailbox, mailbox: &Mailbox) -> io::Result<()> {
    let mut table = Table::new(&[
        "first login after a restart",
        "ms",
        "beside: a walk, ms",
        "ratio",
        "octets read, of all",
        "memory, octets/message",
        "without its name",
        "at the peak",
    ]);
    for (title, counted) in [("no sizes kept", false), ("sizes kept", true)] {
        if !counted {
            mailbox.forget_sizes()?;
        }
        let server = Server::dev(dir)?;
        // The cost of the very first login is not the mailbox's.
        small.full_login(server.pop3)?;
        process::forget_peak(server.pid())?;
        let (before, read) = (process::memory(server.pid())?, process::octets_read(server.pid())?);
        let taken = millis(mailbox.full_login(server.pop3)?);
        let (after, read) = (process::memory(server.pid())?, process::octets_read(server.pid())? - read);
        let peak = process::peak(server.pid())?;
        let read = read as f64 / (mailbox.messages() * mailbox.text.len()) as f64;
        // The octets include inotify events: one for each file that is opened in a watched directory.
        if (read - if counted { 0.0 } else { 1.0 }).abs() > 0.2 {
            return Err(io::Error::other(format!("{title}: the files were read {read:.2} times")));
        }
        let walk = Times::of(3, || mailbox.walk(!counted))?.at(0.5);
        let each = |now: u64| now.saturating_sub(before.resident) as f64 / mailbox.messages() as f64;
        table.row(vec![
            title.to_owned(),
            ms(taken),
            format!("{} ({})", ms(walk), if counted { "stat" } else { "stat and read" }),
            format!("{:.2}", taken / walk),
            format!("{read:.2}"),
            format!("{:.0}", each(after.resident)),
            format!("{:.0}", each(after.resident) - Mailbox::name(0).len() as f64),
            format!("{:.0}", each(peak)),
        ]);
    }
    table.print();
    Ok(())
}

/// The wait of another session for the reply to NOOP while a mailbox is scanned.
fn pauses(dir: &Path, small: &Mailbox, mailbox: &Mailbox, loads: usize) -> io::Result<()> {
    let mut table = Table::new(&["NOOP, ms", "times", "median", "p99", "worst"]);
    let mut row = |title: &str, taken: Vec<u32>| {
        let times = Times::sorted(taken);
        let cells = [times.at(0.5), times.at(0.99), times.at(1.0)].map(ms);
        table.row([&[title.to_owned(), times.0.len().to_string()][..], &cells].concat());
    };
    for (title, counted) in [("while loaded, no sizes kept", false), ("while loaded, sizes kept", true)] {
        let (mut unloaded, mut loaded) = (Vec::new(), Vec::new());
        for _ in 0..loads {
            if !counted {
                mailbox.forget_sizes()?;
            }
            let server = Server::dev(dir)?;
            let mut pop3 = Pop3::login(server.pop3, &small.user, "any password")?;
            let mut noop = || pop3.command("NOOP").map(drop);
            unloaded.extend(pinged(&mut noop, idle)?);
            loaded.extend(pinged(&mut noop, || mailbox.full_login(server.pop3).map(drop))?);
        }
        row("nothing else", unloaded);
        row(title, loaded);
    }
    let mut stream = client::connect(echo()?, 1024)?;
    let mut line = String::new();
    let mut echoed = || {
        stream.get_mut().write_all(b"NOOP\r\n")?;
        line.clear();
        stream.read_line(&mut line).map(drop)
    };
    row("an echo, nothing else", pinged(&mut echoed, idle)?);
    let walks = || (0..loads).try_for_each(|_| mailbox.walk(true).map(drop));
    row("an echo, beside a plain walk that reads", pinged(&mut echoed, walks)?);
    let watched = Times::of(loads, || mailbox.watch())?;
    row("beginning to watch new/, in the kernel", watched.0);
    table.print();
    Ok(())
}

/// Leaves the server alone for a while.
fn idle() -> io::Result<()> {
    thread::sleep(IDLE);
    Ok(())
}

/// Runs `work` while `ask` runs again and again, and returns the times of `ask`.
fn pinged(
    ask: &mut (impl FnMut() -> io::Result<()> + Send),
    work: impl FnOnce() -> io::Result<()>,
) -> io::Result<Vec<u32>> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| -> io::Result<Vec<u32>> {
            let mut taken = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                ask()?;
                taken.push(micros(start.elapsed()));
                thread::sleep(ASKS_EVERY);
            }
            Ok(taken)
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        let taken = asking.join().expect("a thread that does not panic")?;
        result.map(|()| taken)
    })
}

/// Sends back whatever comes on its first connection. Its thread ends with this process.
fn echo() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        io::copy(&mut stream.try_clone()?, &mut stream)
    });
    Ok(address)
}

fn ms(millis: f64) -> String {
    if millis < 10.0 { format!("{millis:.3}") } else { format!("{millis:.0}") }
}

/// Programs that wanted a processor in the last minute, five minutes, quarter of an hour.
fn load() -> io::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// Logins to one mailbox before the next one has its turn.
const TURN: usize = 25;
const ARRIVES_EVERY: Duration = Duration::from_millis(5);
/// Often enough that no pause of a millisecond is missed, and seldom enough to leave the processors to others.
const ASKS_EVERY: Duration = Duration::from_micros(500);
const IDLE: Duration = Duration::from_secs(1);
