//! `restante purge`: throws mail away, between two tests.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::{Failure, mailboxes::Where};
use crate::{
    maildir::{Error, Kind, Maildir, Spool},
    tools,
};

/// Delete all messages of a mailbox, or of all mailboxes, beside a running server or without one.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Where,
    /// Whose mail: an address. Without a +tag, that of all folders too.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "all")]
    to: Option<String>,
    /// The mail of everybody.
    #[arg(long, conflicts_with = "to")]
    all: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mailboxes = arguments.place.open()?;
    let broken = |error: Error| Failure::Other(error.to_string());
    if !mailboxes.spool.is_dir() {
        let spool = mailboxes.spool.display();
        return Err(Failure::Usage(format!("{spool} is not there; --spool or --config tells where mail is")));
    }
    let spool = Spool::open(&mailboxes.spool).map_err(broken)?;
    let maildirs: Vec<Result<Maildir, Error>> = match &arguments.to {
        None => spool.maildirs().collect(),
        Some(address) => {
            let mut maildirs = Vec::new();
            for target in mailboxes.of(address)? {
                let mailbox = target.destination.mailbox.as_str();
                match target.destination.folder {
                    Some(folder) => maildirs.push(spool.folder(mailbox, folder.directory())),
                    None => maildirs.extend(spool.maildirs_of(mailbox.to_owned())),
                }
            }
            maildirs
        }
    };
    let whose = arguments.to.as_deref().unwrap_or("everybody");
    if !arguments.yes && !is_meant(whose)? {
        return Err(Failure::Other("nothing was deleted".into()));
    }
    let mut deleted = 0;
    for maildir in maildirs {
        match maildir.and_then(|maildir| tools::purge(&maildir)) {
            Ok(messages) => deleted += messages,
            Err(error) if error.kind() == Kind::Gone => {} // no such mailbox, or not any more
            Err(error) => return Err(broken(error)),
        }
    }
    writeln!(io::stdout(), "{deleted} messages deleted").map_err(Failure::output)
}

/// Asks whoever sits at the terminal.
fn is_meant(whose: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("say --yes where nobody can be asked".into()));
    }
    let mut answer = String::new();
    write!(io::stderr(), "Delete all mail of {whose}? [y/N] ")
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::Other(format!("cannot ask: {error}")))?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
