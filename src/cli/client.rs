//! `restante client`: an interactive mail client.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    failure::Failure,
    send::{Protection, tell_silence},
    xdg::directory_of_user,
};
use crate::{
    accounts::UserFile,
    client::{ConnectOptions, ServerAddr, Tls, Trust},
    config::Config,
    limits::Limits,
    mua::{
        app::{AppConfig, SignUp},
        menu::{self, ExitReason},
        terminal::Terminal,
    },
};

/// Read and write mail at a terminal, over POP3 and SMTP of any server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SMTP server to send mail to
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    smtp: ServerAddr,
    /// POP3 server to read mail from
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1110")]
    pop3: ServerAddr,
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
    let mut terminal = Terminal::stdio();
    let trust = arguments.cacert.map_or(Trust::System, Trust::File);
    let tls = Tls::new(&trust).map_err(Failure::Usage)?;
    let route = |place| ConnectOptions {
        server: place,
        security: arguments.tls.security(),
        tls: tls.clone(),
        timeout: PATIENCE,
        on_silence: Some(tell_silence),
    };
    let door = match (arguments.accounts, arguments.config) {
        (Some(accounts), _) => Some(SignUp {
            users: UserFile::at(accounts),
            domains: Vec::new(),
            spool: None,
            reload_interval: Limits::default().auth.reload_interval.0,
        }),
        (None, Some(config)) => {
            let config = Config::load(&config)?;
            let reload_interval = config.limits.auth.reload_interval.0;
            let users = UserFile::at(config.accounts);
            Some(SignUp { users, domains: config.domains, spool: Some(config.spool), reload_interval })
        }
        (None, None) => None,
    };
    let plan = AppConfig {
        smtp: route(arguments.smtp),
        pop3: route(arguments.pop3),
        user: arguments.user,
        sign_up: door,
        sent_dir: directory_of_user("XDG_DATA_HOME", ".local/share"),
        random: || getrandom::u64().unwrap_or_default(),
    };
    let language = terminal.language();
    match menu::run(&plan, &mut terminal) {
        Ok(ExitReason::Normal) => Ok(()),
        Ok(ExitReason::NoInput) => Err(Failure::Usage(
            "the input ended before a login: `restante client` needs a terminal; in scripts, use `restante send` and curl"
                .into(),
        )),
        Ok(ExitReason::LoginFailed(why)) => Err(Failure::Other(why)),
        Err(error) => Err(Failure::Other(crate::client::display::printable_line(&error.describe(language)))),
    }
}

/// Time limit for a reply, for a person who waits.
const PATIENCE: Duration = Duration::from_secs(60);
