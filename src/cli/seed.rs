//! `restante seed`: fills a mailbox for testing programs that fetch mail.

use std::fs;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::{
    failure::Failure,
    mailboxes::{MailboxArgs, folder_of_tag},
    output::{self, Stdout},
};
use crate::{
    fd_limits::max_open_tmp_files,
    maildir::Spool,
    printable,
    tools::{SeededMessage, Seeder, TestMessage, test_messages},
};

/// Fill a mailbox with test messages, and print the size that RETR must send for each.
///
/// Prints one line for each message: octets, UIDL, description and file, separated by tabs.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("messages").args(["nasty", "count"]).required(true).multiple(true))]
pub(super) struct Arguments {
    #[command(flatten)]
    place: MailboxArgs,
    /// Address of the mailbox
    #[arg(long, value_name = "ADDRESS", default_value = "you@example.test")]
    to: String,
    /// File the awkward messages, always the same
    #[arg(long)]
    nasty: bool,
    /// Number of ordinary messages to file, after the awkward ones; without --nasty it is needed
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    count: usize,
    /// Print one line of JSON for each message
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mailboxes = arguments.place.open()?;
    let targets = mailboxes.targets(&arguments.to)?;
    let unmade = |error| Failure::Other(format!("{}: {error}", mailboxes.spool.display()));
    if !mailboxes.spool.exists() {
        let spool = mailboxes.spool.display();
        output::message(format_args!("restante: {spool} did not exist, and is a new spool now"));
    }
    fs::create_dir_all(&mailboxes.spool).map_err(unmade)?;
    let spool = Spool::open(&mailboxes.spool)?;
    let mut out = Stdout::new();
    for target in targets {
        let (mailbox, folder) = (target.destination.mailbox, target.destination.folder);
        let mut home = spool.open_or_create_maildir(mailbox.as_str())?;
        if let Some(folder) = folder
            && let Some(maildir) = folder_of_tag(&spool, mailbox.as_str(), &folder)?
        {
            home = maildir;
        }
        let mut filer = Seeder::new(&spool, &mailboxes.host);
        let nasty = if arguments.nasty { test_messages::nasty() } else { Vec::new() };
        let mut letters = nasty.into_iter().chain((1..=arguments.count).map(test_messages::ordinary));
        loop {
            let some: Vec<TestMessage> = letters.by_ref().take(max_open_tmp_files()).collect();
            if some.is_empty() {
                break;
            }
            for filed in filer.seed(&home, &some)? {
                let line = if arguments.json { as_json(&filed) } else { as_text(&filed) };
                out.line(line)?;
            }
        }
    }
    out.flush()
}

fn as_text(SeededMessage { label, path, octets, id, .. }: &SeededMessage) -> String {
    format!("{octets}\t{id}\t{label}\t{}", printable::escape_path(path))
}

fn as_json(SeededMessage { label, path, bytes, octets, id }: &SeededMessage) -> String {
    let path = path.to_string_lossy();
    printable::json(
        &json!({ "octets": octets, "id": id, "what": label, "path": path, "bytes": bytes }),
        false,
    )
}
