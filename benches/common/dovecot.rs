//! Dovecot's POP3 process on a Maildir, without the daemon around it: logged in as it begins.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use super::client::number;

/// Debian's path of it.
pub(crate) const POP3: &str = "/usr/lib/dovecot/pop3";

/// Returns the time from exec, since Dovecot has a process for each login, to the reply to STAT, and the
/// number of messages in that reply.
pub(crate) fn login(home: &Path, maildir: &Path) -> io::Result<(Duration, usize)> {
    session(home, maildir, |dovecot| {
        let messages = number(&dovecot.ask("STAT")?)?;
        let taken = dovecot.start.elapsed();
        dovecot.ask("QUIT")?;
        Ok((taken, messages))
    })
}

/// Deletes so many messages one after the other: the time of all `DELE`, and of `QUIT`.
pub(crate) fn delete(home: &Path, maildir: &Path, messages: usize) -> io::Result<[Duration; 2]> {
    session(home, maildir, |dovecot| {
        dovecot.ask("STAT")?;
        let start = Instant::now();
        for number in 1..=messages {
            dovecot.ask(&format!("DELE {number}"))?;
        }
        let (asked, start) = (start.elapsed(), Instant::now());
        dovecot.ask("QUIT")?;
        Ok([asked, start.elapsed()])
    })
}

/// One session.
struct Dovecot {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    start: Instant,
}

impl Dovecot {
    /// Sends a command and returns the rest of the `+OK` line.
    fn ask(&mut self, command: &str) -> io::Result<String> {
        self.input.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let said = line.strip_prefix("+OK").map(str::to_owned);
        said.ok_or_else(|| io::Error::other(format!("{command}: {line}")))
    }
}

/// Configuration and log are written to `home`.
fn session<T: std::fmt::Debug>(
    home: &Path,
    maildir: &Path,
    talk: impl FnOnce(&mut Dovecot) -> io::Result<T>,
) -> io::Result<T> {
    let (config, log) = (home.join("dovecot.conf"), home.join("log"));
    let location = maildir.display();
    fs::write(&config, format!("mail_location = maildir:{location}\nfirst_valid_uid = 1\nssl = no\n"))?;
    let mut command = Command::new(POP3);
    if rustix::process::geteuid().is_root() {
        // It refuses root. These are the ids that Debian gives to the user and the group `mail`.
        command = Command::new("unshare");
        command.args(["--user", "--map-user=8", "--map-group=8", POP3]);
    }
    command.arg("-c").arg(&config).current_dir(home).env("HOME", home).env("USER", "mail");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes to Dovecot"));
    };
    let mut dovecot = Dovecot { input, output: BufReader::new(output), start };
    let result = talk(&mut dovecot);
    drop(dovecot);
    match (result, child.wait()?) {
        (Ok(result), status) if status.success() => Ok(result),
        (result, status) => {
            let said = fs::read_to_string(&log).unwrap_or_default();
            Err(io::Error::other(format!("Dovecot: {result:?}, {status}\n{said}")))
        }
    }
}
