//! Inputs of the operator's files and of addresses: accounts, aliases, recipients, and wrong passwords from everywhere.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use rustix::process::Signal;

use crate::{
    Case,
    common::{client, configured::ACCOUNTS},
    world::{ALIASES, Setup, USER, World, eventually, pipelined},
};

pub(crate) const CASES: &[Case] = &[
    Case::new("reload of accounts", |world, size| {
        add_accounts(world, size)?;
        world.signal(Signal::HUP)?;
        world.logged("configuration loaded")?;
        world.put(ACCOUNTS, "{}")?;
        world.logged("accounts reloaded: 0")
    }),
    Case::new("reload of aliases", |world, size| {
        let aliases: String = (0..size).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "alias{n}: {USER}");
            text
        });
        world.put(ALIASES, &aliases)?;
        known(world, &format!("alias{}", size - 1))?;
        world.signal(Signal::HUP)?;
        world.logged("configuration loaded")
    })
    .with(aliases),
    Case::new("RCPT of aliases", |world, size| {
        let lists = add_lists(world, size)?;
        let mut session = hello(world.server.smtp, "EHLO")?;
        let recipients = (0..lists).map(|n| format!("RCPT TO:<list{n}@example.test>\r\n"));
        let commands = format!("MAIL FROM:<>\r\n{}RSET\r\n", recipients.collect::<String>());
        pipelined(&mut session, commands.repeat(3), 3 * (lists + 2), is_last)
    })
    .with(aliases),
    Case::new("message to lists", |world, size| {
        let lists = add_lists(world, size)?;
        deliver(hello(world.server.smtp, "EHLO")?, lists, |n| format!("list{n}@example.test"), Replies::One)
    })
    .with(aliases),
    Case::new("LMTP, a reply for each recipient", |world, size| {
        add_accounts(world, size)?;
        let address = world.server.lmtp.ok_or_else(|| io::Error::other("no port for LMTP"))?;
        deliver(hello(address, "LHLO")?, size, |n| format!("user{n}@example.test"), Replies::Each)
    })
    .with(|setup, size| {
        aliases(setup, size);
        setup.with_lmtp = true;
    }),
    Case::new("wrong passwords from everywhere", |world, size| {
        add_accounts(world, size)?;
        for n in 0..size {
            let from = Ipv4Addr::from_bits(Ipv4Addr::new(11, 0, 0, 0).to_bits() + n as u32);
            let mut session = TcpStream::connect(world.server.pop3)?;
            write!(session, "PROXY TCP4 {from} 127.0.0.1 1024 110\r\nUSER user{n}\r\nPASS wrong\r\n")?;
            // Some answers are waited for, so that no queue is full.
            if n % 16 == 0 {
                let mut session = BufReader::new(session);
                session.read_line(&mut String::new())?;
                session.read_line(&mut String::new())?;
            }
        }
        world.figure("restante_loop_turns_long_total").map(drop)
    })
    .with(|setup, size| {
        setup.limits = format!("auth.throttle_size = {size}\nauth.queue_size = 1000");
        setup.pop3 = "proxy_networks = [\"127.0.0.1/32\"]";
    }),
];

/// The replies to the data of a message.
enum Replies {
    One,
    Each,
}

/// Aliases, and no bound on recipients but that of the descriptors.
fn aliases(setup: &mut Setup, _: usize) {
    setup.files = "aliases = \"aliases\"";
    setup.limits = "smtp.max_recipients = 100000\nsmtp.max_recipients_unauthenticated = 100000\n\
                    smtp.hard_error_limit = 0\nsmtp.unknown_recipient_limit = 0\nsmtp.soft_error_limit = 0"
        .to_owned();
}

/// Puts so many accounts, whose hashes cost little, into the file.
fn add_accounts(world: &World, size: usize) -> io::Result<()> {
    let account = |n| format!("\"user{n}@example.test\": {{\"password_hash\": {MD5:?}}}");
    let accounts: Vec<String> = (0..size).map(account).collect();
    world.put(ACCOUNTS, &format!("{{\n{}\n}}\n", accounts.join(",\n")))?;
    known(world, &format!("user{}", size - 1))
}

/// Adds aliases of [`LIST`] accounts each, of which no two have the same, for so many recipients in all. Returns the
/// number of lists.
fn add_lists(world: &World, size: usize) -> io::Result<usize> {
    add_accounts(world, size)?;
    let lists = size.div_ceil(LIST);
    let mut text = String::new();
    for list in 0..lists {
        let accounts = list * LIST..size.min((list + 1) * LIST);
        let names: Vec<String> = accounts.map(|n| format!("user{n}")).collect();
        let _ = writeln!(text, "list{list}: {}", names.join(", "));
    }
    world.put(ALIASES, &text)?;
    known(world, &format!("list{}", lists - 1))?;
    Ok(lists)
}

/// Waits until the server knows an address.
fn known(world: &World, name: &str) -> io::Result<()> {
    eventually(name, || {
        let mut session = hello(world.server.smtp, "EHLO")?;
        write!(session.get_mut(), "MAIL FROM:<>\r\nRCPT TO:<{name}@example.test>\r\n")?;
        answer(&mut session)?;
        Ok(answer(&mut session)?.starts_with("250").then_some(()))
    })
}

/// Delivers one message to as many of the recipients as the server takes, and waits for the reply to its data, or for
/// that of each recipient.
fn deliver(
    mut session: BufReader<TcpStream>,
    recipients: usize,
    name: impl Fn(usize) -> String,
    replies: Replies,
) -> io::Result<()> {
    let mut sending = session.get_ref().try_clone()?;
    let commands: String = (0..recipients).map(|n| format!("RCPT TO:<{}>\r\n", name(n))).collect();
    let sent = std::thread::spawn(move || write!(sending, "MAIL FROM:<>\r\n{commands}DATA\r\n"));
    answer(&mut session)?;
    let mut accepted = 0;
    for _ in 0..recipients {
        accepted += usize::from(answer(&mut session)?.starts_with("250"));
    }
    sent.join().expect("a thread that does not panic")?;
    answer(&mut session)?;
    write!(session.get_mut(), "Subject: x\r\n\r\ntext\r\n.\r\n")?;
    let replies = match replies {
        Replies::One => 1,
        Replies::Each => accepted,
    };
    for _ in 0..replies {
        let reply = answer(&mut session)?;
        if !reply.starts_with("250") {
            return Err(io::Error::other(reply));
        }
    }
    Ok(())
}

fn hello(address: SocketAddr, word: &str) -> io::Result<BufReader<TcpStream>> {
    let mut session = client::connect(address, 64 * 1024)?;
    answer(&mut session)?;
    write!(session.get_mut(), "{word} client.example.test\r\n")?;
    answer(&mut session)?;
    Ok(session)
}

/// The last line of a reply.
fn answer(session: &mut BufReader<TcpStream>) -> io::Result<String> {
    loop {
        let mut line = String::new();
        if session.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_last(&line) {
            return Ok(line);
        }
    }
}

fn is_last(line: &str) -> bool {
    line.as_bytes().get(3) == Some(&b' ')
}

/// A hash of another server that costs no time to check.
const MD5: &str = "5ebe2294ecd0e0f08eab7690d2a6ee69";
/// Accounts of one alias: the most that there may be.
const LIST: usize = 1000;
