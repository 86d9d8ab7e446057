//! The server's relations to its machine: user, sandbox, and messages and sockets of the service manager,
//! usually systemd.

mod log_place;
pub mod mailbox_rights;
pub mod places;
pub mod port_holder;
pub mod privileges;
pub mod problem;
pub mod sandbox;
pub mod sd_notify;
pub mod socket_activation;
pub mod spool_files;
pub mod spool_place;
pub mod written_files;

use std::path::Path;

use privileges::RunAs;
use sandbox::{AccessRules, SandboxOutcome};

use crate::{
    config::{Config, ListenerConfig, Sandbox},
    maildir::Spool,
    net::endpoint::Endpoint,
    safe_file::Directory,
};

/// User and sandbox of the process, reported once the log is open.
#[derive(Debug)]
pub struct DroppedPrivileges {
    run_as: RunAs,
    sandbox: Option<SandboxOutcome>,
}

impl DroppedPrivileges {
    /// Changes to the configured user for good, with the socket files of the listeners that are `bound`.
    ///
    /// # Errors
    /// The user does not exist, or this process cannot change to it.
    pub fn drop_to_user<'a>(
        config: &Config,
        bound: impl Iterator<Item = &'a ListenerConfig>,
    ) -> Result<Self, privileges::Error> {
        let sockets = bound.filter_map(|listen| match &listen.address {
            Endpoint::Unix(path) => Some((path.as_path(), listen.socket_group.is_some())),
            Endpoint::Ip(_) | Endpoint::Inherited(_) => None,
        });
        let run_as = privileges::drop_privileges(config.user.as_deref(), sockets)?;
        Ok(Self { run_as, sandbox: None })
    }

    /// Whether this is certainly the user of the server: root without `user` may start it by a service manager, as
    /// another user.
    pub fn is_certain(&self) -> bool {
        !matches!(self.run_as, RunAs::Root { wanted: false })
    }

    /// Whether this process was root, and is the configured user now.
    pub fn left_root(&self) -> bool {
        matches!(self.run_as, RunAs::Dropped { .. })
    }

    /// Gives up all access but what a server with that configuration needs. `file` is the configuration file,
    /// and `written` a further file to write. The spool is created if necessary, because Landlock can only
    /// grant what exists.
    ///
    /// # Errors
    /// The kernel has Landlock but refuses the request.
    pub fn enter_sandbox(
        &mut self,
        config: &Config,
        file: &Path,
        written: Option<&Path>,
    ) -> Result<(), privileges::Error> {
        if config.sandbox == Sandbox::Off {
            return Ok(());
        }
        let _ = Spool::open(&config.spool); // a failure is reported when the server opens the spool
        if let Some(transcripts) = &config.transcripts {
            let _ = Directory::trusted_if_root_or_new(transcripts); // likewise
        }
        let mut rules = AccessRules::of(config);
        rules.allow_read(file);
        written.into_iter().for_each(|path| rules.allow_replace(path));
        let outcome = sandbox::enter(&rules).map_err(|error| privileges::Error::Step("Landlock", error))?;
        self.sandbox = Some(outcome);
        Ok(())
    }

    /// Logs the user and the sandbox, once the log is open.
    pub fn log(&self) {
        let run_as = &self.run_as;
        match run_as {
            RunAs::Root { wanted: false } => log::warn!(
                "running as root: set user = \"restante\" (or user = \"root\" if that is intended)"
            ),
            _ => log::info!("running as {run_as}"),
        }
        match &self.sandbox {
            Some(missing @ SandboxOutcome::Missing(_)) => log::warn!("{missing}"),
            Some(enforced) => log::info!("{enforced}"),
            None => log::info!("sandbox disabled"),
        }
    }
}
