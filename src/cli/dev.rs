//! `restante dev`: a server to try things with, that needs no configuration.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{
    Failure,
    serve::{self, Running},
};
use crate::{accounts::Accounts, config::Config};

/// Run a server to try things with: everybody has a mailbox, any password is right.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the mailboxes go.
    #[arg(long, value_name = "DIR", default_value = "./spool")]
    spool: PathBuf,
    /// Where to take mail in, on loopback; port 0 takes any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2525")]
    smtp: SocketAddr,
    /// Where to hand mail out, on loopback; port 0 takes any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1110")]
    pop3: SocketAddr,
    #[command(flatten)]
    running: Running,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::development(arguments.spool, arguments.smtp, arguments.pop3)?;
    let accounts = Accounts::open_house(&config.domains);
    let another = "choose another with --smtp or --pop3; port 0 takes any that is free";
    let server = serve::start(config, accounts, &arguments.running, another)?;
    server.run().map_err(serve::failed)
}
