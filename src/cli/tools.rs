//! The sub-commands that the daemon does not need: the mail client, the tools for a spool, the transcripts on a
//! terminal and the manual pages. Each is built with the feature `tools` only.

use clap::Subcommand;

use super::{Failure, client, explain, export, fsck, import, man_pages, purge, seed, send, wait, watch};
use crate::client::display;

// No doc comment, because clap would print it above the help of the whole program.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Watch(watch::Arguments),
    Client(client::Arguments),
    Send(send::Arguments),
    Wait(wait::Arguments),
    Purge(purge::Arguments),
    Seed(seed::Arguments),
    Fsck(fsck::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Explain(explain::Arguments),
    Pages(man_pages::Arguments),
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Client(arguments) => client::run(arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Wait(arguments) => wait::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Seed(arguments) => seed::run(&arguments),
        Command::Fsck(arguments) => fsck::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Pages(arguments) => man_pages::run(&arguments),
    }
}

/// Wraps text to 80 columns, indented by that many.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let lines = display::wrap_words(text, COLUMNS - indent);
    lines.iter().map(|line| format!("{}{line}", " ".repeat(indent))).collect::<Vec<_>>().join("\n")
}

/// Columns of a terminal.
const COLUMNS: usize = 80;
