//! The command line: one file for each sub-command.
//!
//! The rule: every failure is reported on standard error in one sentence that begins with `restante:` and
//! ends with the next step. Exit codes: 0 success, 2 a command line or configuration to correct, 1 any other
//! failure; 4 and 5 are replies of a server (`restante send`); 141, in silence, a closed pipe.

mod cert;
mod check;
#[cfg(feature = "tools")]
mod client;
mod config_arg;
mod default_spool;
mod dev;
#[cfg(feature = "tools")]
mod explain;
#[cfg(feature = "tools")]
mod export;
#[cfg(feature = "tools")]
mod export_dovecot;
mod failure;
#[cfg(feature = "tools")]
mod fsck;
#[cfg(feature = "tools")]
mod import;
#[cfg(feature = "tools")]
mod mailbox_path;
#[cfg(feature = "tools")]
mod mailboxes;
#[cfg(feature = "tools")]
mod man_pages;
mod orphans;
mod output;
mod owner;
#[cfg(feature = "tools")]
mod purge;
mod running;
mod same_place;
#[cfg(feature = "tools")]
mod seed;
#[cfg(feature = "tools")]
mod send;
mod serve;
#[cfg(feature = "tools")]
mod spool;
mod start_failure;
mod startup;
mod status;
#[cfg(feature = "tools")]
mod tools;
#[cfg(feature = "tools")]
mod transcript_view;
#[cfg(feature = "tools")]
mod usage_in_french;
mod usage_tips;
mod user;
#[cfg(feature = "tools")]
mod wait;
#[cfg(feature = "tools")]
mod watch;
mod xdg;

use std::{env, process::ExitCode};

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use rustix::fs::Mode;

use crate::printable;
use usage_tips::Tip;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(Box<dev::Arguments>),
    Serve(serve::Arguments),
    Check(check::Arguments),
    User(user::Arguments),
    Cert(cert::Arguments),
    Status(status::Arguments),
    #[cfg(feature = "tools")]
    #[command(flatten)]
    Tools(Box<tools::Command>),
}

/// Runs the program.
pub fn main() -> ExitCode {
    // Only the owner may read mail, and the owner always may, whatever the umask of the caller.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refused(error),
    };
    let done = match arguments.command {
        Command::Dev(arguments) => dev::run(*arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::User(arguments) => user::run(&arguments),
        Command::Cert(arguments) => cert::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Tools(command) => tools::run(*command, <Arguments as clap::CommandFactory>::command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            failure.exit_code()
        }
    }
}

/// A mistake of the command line in the language of the user, if the command speaks it.
#[cfg(feature = "tools")]
fn translated(error: &clap::Error, tip: Option<&Tip>) -> Option<String> {
    usage_in_french::in_french(error, tip.map(|tip| tip.french), env::args_os())
}

/// Without the tools, no command speaks another language.
#[cfg(not(feature = "tools"))]
const fn translated(_: &clap::Error, _: Option<&Tip>) -> Option<String> {
    None
}

/// Prints a usage error or the requested help. Arguments may contain hostile file names.
fn refused(mut error: clap::Error) -> ExitCode {
    // The tip to type `-- --opiton` after a mistyped option: no file is called so.
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    // The words of other programs for the start of a server.
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && ["run", "start"].contains(&word.as_str())
    {
        let starts = ["dev", "serve"].map(str::to_owned).to_vec();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(starts));
    }
    let words: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let tip = usage_tips::tip(&error, &<Arguments as clap::CommandFactory>::command(), &words);
    if let Some(tip) = &tip {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.english.clone().into()]));
    }
    let translated = translated(&error, tip.as_ref());
    let is_translated = translated.is_some();
    let mut text = translated.unwrap_or_else(|| error.to_string());
    for word in env::args_os().map(|word| word.to_string_lossy().into_owned()) {
        let value = word.split_once('=').map_or(word.as_str(), |(_, value)| value);
        for said in [word.as_str(), value].into_iter().filter(|said| said.contains('\n')) {
            text = text.replace(said, &printable::escape_line(said)); // the line ends of the message itself stay
        }
    }
    let is_hostile = || env::args_os().any(|word| word.to_string_lossy().contains(printable::is_hidden));
    if is_translated || error.use_stderr() && is_hostile() {
        text.lines().for_each(output::message);
    } else {
        let _ = error.print(); // the exit code reports it too
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_daemon_offers_only_what_its_operator_needs() {
        let command = Arguments::command();
        let offered: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let daemon = ["dev", "serve", "check", "user", "cert", "status"];
        let others = offered.strip_prefix(&daemon[..]).expect("the commands of the daemon come first");
        assert_eq!(!others.is_empty(), cfg!(feature = "tools"), "{offered:?}");
        let status = command.find_subcommand("status").unwrap();
        let is_live = status.get_arguments().any(|argument| argument.get_id() == "watch");
        assert_eq!(is_live, cfg!(feature = "tools"), "the live screen needs a library for terminals");
    }
}
