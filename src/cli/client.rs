//! `restante client`: an interactive mail client.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{Failure, send::Protection};
use crate::{
    accounts::UserFile,
    client::{Place, Route, Tls, Trust},
    config::Config,
    mua::{
        app::{self, Door, End, Plan},
        terminal::Terminal,
    },
};

/// Read and write mail at a terminal, over POP3 and SMTP of any server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SMTP server to send mail to
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    smtp: Place,
    /// POP3 server to read mail from
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1110")]
    pop3: Place,
    /// Protection of both connections
    #[arg(long, value_name = "HOW", default_value = "none")]
    tls: Protection,
    /// PEM file with certificates to trust instead of this machine's authorities
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// User name to log in with
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Offer sign-up, with this accounts file of a server on this machine
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    accounts: Option<PathBuf>,
    /// Offer sign-up, with the accounts and domains of this configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut terminal = Terminal::of_process();
    let trust = arguments.cacert.map_or(Trust::System, Trust::File);
    let tls = Tls::new(&trust).map_err(Failure::Usage)?;
    let route =
        |place| Route { place, security: arguments.tls.security(), tls: tls.clone(), patience: PATIENCE };
    let door = match (arguments.accounts, arguments.config) {
        (Some(accounts), _) => Some(Door { users: UserFile::at(accounts), domains: Vec::new() }),
        (None, Some(config)) => {
            let config = Config::load(&config)?;
            Some(Door { users: UserFile::at(config.accounts), domains: config.domains })
        }
        (None, None) => None,
    };
    let plan = Plan {
        smtp: route(arguments.smtp),
        pop3: route(arguments.pop3),
        user: arguments.user,
        door,
        copies: super::directory_of_user("XDG_DATA_HOME", ".local/share"),
        random: || getrandom::u64().unwrap_or_default(),
    };
    let language = terminal.language();
    match app::run(&plan, &mut terminal) {
        Ok(End::Well) => Ok(()),
        Ok(End::Unknown(why)) => Err(Failure::Other(why)),
        Err(trouble) => Err(Failure::Other(crate::client::display::line(&trouble.tell(language)))),
    }
}

/// Time limit for a reply, for a person who waits.
const PATIENCE: Duration = Duration::from_secs(60);
