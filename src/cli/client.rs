//! `restante client`: mail for people, at a terminal.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{Failure, send::Protection};
use crate::{
    accounts::UserFile,
    client::{
        Place, Route, Tls, Trust,
        terminal::Terminal,
        visit::{self, Door, End, Plan},
    },
    config::Config,
};

/// Read and write mail at a terminal, by the POP3 and SMTP of any server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where mail is sent to.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    smtp: Place,
    /// Where mail is read.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1110")]
    pop3: Place,
    /// How both connections are protected.
    #[arg(long, value_name = "HOW", default_value = "none")]
    tls: Protection,
    /// The certificates to trust, in PEM, instead of this machine's authorities.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// The name to log in with.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Let people sign up in this file of accounts of a server on this machine.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    accounts: Option<PathBuf>,
    /// The same, with the configuration that names the file and the domains.
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
    match visit::run(&plan, &mut terminal) {
        Ok(End::Well) => Ok(()),
        Ok(End::Unknown(why)) => Err(Failure::Other(why)),
        Err(trouble) => Err(Failure::Other(crate::client::text::line(&trouble.tell(language)))),
    }
}

/// How long a person waits for a reply.
const PATIENCE: Duration = Duration::from_secs(60);
