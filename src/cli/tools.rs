//! The sub-commands that the daemon does not need: the mail client, the tools for a spool, the transcripts on a
//! terminal and the manual pages. Each is built with the feature `tools` only.

use clap::Subcommand;

use super::{
    client, explain, export, failure::Failure, fsck, import, man_pages, purge, seed, send, wait, watch,
};

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

/// Runs a command. `program` makes the definition of the whole command line.
pub(super) fn run(command: Command, program: fn() -> clap::Command) -> Result<(), Failure> {
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
        Command::Pages(arguments) => man_pages::run(&arguments, &program()),
    }
}
