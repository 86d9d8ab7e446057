//! `restante check`: reads a configuration and its accounts, and prints what is in force.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::SystemTime,
};

use clap::Args;

use super::{Failure, serve::locked_out};
use crate::config::Config;

/// Check a configuration and its accounts, and print what is in force.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config)?;
    let accounts = super::accounts(&config)?;
    let pair = config.tls.as_ref().map(|pair| pair.load(SystemTime::now())).transpose();
    let doubt = match pair.map_err(|error| Failure::Usage(error.to_string()))?.and_then(|pair| pair.doubt) {
        Some(doubt) => format!("; the certificate {doubt}"),
        None => String::new(),
    };
    let users = match accounts.count() {
        Some(count) => format!("accounts: {count}"),
        None => "accounts: everybody has one, with any password".into(),
    };
    let file = arguments.config.display();
    let locked = config.listen.iter().filter(|listen| listen.locks_everybody_out());
    let locked: String = locked.map(|listen| format!("# {}\n", locked_out(listen))).collect();
    write!(io::stdout(), "# {file} is good; {users}{doubt}\n{locked}{}", config.effective())
        .map_err(Failure::output)
}
