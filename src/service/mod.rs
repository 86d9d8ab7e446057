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
    maildir::Spool,
    net::endpoint::Endpoint,
    safe_file::Directory,
};

/// Whom the server runs as and what it is kept to, to be told once there is a log.
#[derive(Debug)]
pub struct Settled {
    standing: Standing,
    sandbox: Option<Outcome>,
}

impl Settled {
    /// Becomes the user of a configuration, which came from `file`, for good.
    ///
    /// # Errors
    /// That user cannot be had, or could not do the work.
    pub fn as_user_of(config: &Config, file: &Path) -> Result<Self, privileges::Error> {
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
        Ok(Self { standing, sandbox: None })
    }

    /// Gives up everything but what a server with that configuration needs, which came from `file`; `written` is
    /// what has to be written beside. The spool is made if need be: what is not there cannot be granted.
    ///
    /// # Errors
    /// The kernel has Landlock, and does not want to.
    pub fn keep_to(
        &mut self,
        config: &Config,
        file: &Path,
        written: Option<&Path>,
    ) -> Result<(), privileges::Error> {
        if config.sandbox == Sandbox::Off {
            return Ok(());
        }
        let _ = Spool::open(&config.spool); // who opens it for good says why it can't be
        if let Some(transcripts) = &config.transcripts {
            let _ = Directory::named_or_new(transcripts); // the same
        }
        let mut grants = Grants::of(config);
        grants.read(file);
        written.into_iter().for_each(|path| grants.replaced(path));
        let outcome = sandbox::enter(&grants).map_err(|error| privileges::Error::Step("Landlock", error))?;
        self.sandbox = Some(outcome);
        Ok(())
    }

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
