//! Dovecot's POP3 process on a Maildir, without the daemon around it: logged in as it begins.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::client::number;

/// Where Debian has it.
pub(crate) const POP3: &str = "/usr/lib/dovecot/pop3";

/// From exec, since Dovecot has a process for each login, to the reply to STAT, and the messages that it
/// tells. Configuration and log are written to `home`.
pub(crate) fn login(home: &Path, maildir: &Path) -> io::Result<(Duration, usize)> {
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
    let result = stat_and_quit(&mut child, start);
    match (result, child.wait()?) {
        (Ok(result), status) if status.success() => Ok(result),
        (result, status) => {
            let said = fs::read_to_string(&log).unwrap_or_default();
            Err(io::Error::other(format!("Dovecot: {result:?}, {status}\n{said}")))
        }
    }
}

fn stat_and_quit(child: &mut Child, start: Instant) -> io::Result<(Duration, usize)> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes to Dovecot"));
    };
    let (mut output, mut line) = (BufReader::new(output), String::new());
    input.write_all(b"STAT\r\n")?;
    output.read_line(&mut line)?;
    let taken = start.elapsed();
    let messages = number(line.strip_prefix("+OK").unwrap_or_default())?;
    input.write_all(b"QUIT\r\n")?;
    output.read_line(&mut line)?;
    Ok((taken, messages))
}
