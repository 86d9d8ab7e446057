//! What the server is to the machine that it runs on: whom it runs as, what it may reach, and what a service
//! manager, systemd most often, does for it and is told by it.

pub mod notify;
pub mod privileges;
pub mod sandbox;
pub mod sockets;

use std::path::Path;

use privileges::Standing;
use sandbox::{Grants, Outcome};

use crate::{
    config::{Config, Sandbox, Unknown},
    net::endpoint::Endpoint,
};

/// What has been given up, to be told once there is a log.
#[derive(Debug)]
pub struct Settled {
    standing: Standing,
    sandbox: Option<Outcome>,
}

/// Gives up what a server with that configuration does not need. `file` is where the configuration came from,
/// and `written` what else has to be written.
///
/// Only for a process with one thread that has its sockets: both hold for the thread that asks, and for those
/// that it starts.
///
/// # Errors
/// The server could not become the user of the configuration, or that user could not do its work.
pub fn settle(config: &Config, file: &Path, written: Option<&Path>) -> Result<Settled, privileges::Error> {
    let sockets = config.listen.iter().filter_map(|listen| match &listen.address {
        Endpoint::Unix(path) => Some(path.as_path()),
        Endpoint::Ip(_) | Endpoint::Passed(_) => None,
    });
    let standing = privileges::settle(config.user.as_deref(), sockets)?;
    let mut again = vec![("the configuration", file)];
    if config.unknown == Unknown::Refuse {
        again.push(("the accounts", &config.accounts));
        again.extend(config.aliases.iter().map(|path| ("the aliases", path.as_path())));
    }
    if let Some(pair) = &config.tls {
        again.extend([("the certificate", pair.certificate.as_path()), ("its key", pair.key.as_path())]);
    }
    privileges::can_use(&config.spool, &again)?;
    let sandbox = match config.sandbox {
        Sandbox::Off => None,
        Sandbox::Landlock => {
            let mut grants = Grants::of(config);
            grants.read(file);
            written.into_iter().for_each(|path| grants.replaced(path));
            Some(sandbox::enter(&grants).map_err(|error| privileges::Error::Step("Landlock", error))?)
        }
    };
    Ok(Settled { standing, sandbox })
}

impl Settled {
    /// Says so in the log.
    pub fn tell(&self) {
        let standing = &self.standing;
        match standing {
            Standing::Root { wanted: false } => log::warn!(
                "runs as root, and every mistake in it may cost the machine: say `user = \"restante\"` in the \
                 configuration, or \"root\" if it must be"
            ),
            _ => log::info!("runs as {standing}"),
        }
        match &self.sandbox {
            Some(missing @ Outcome::Missing(_)) => log::warn!("{missing}"),
            Some(enforced) => log::info!("{enforced}"),
            None => log::info!("sandbox off"),
        }
    }
}
