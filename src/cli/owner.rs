//! The rights of the owner of a spool, for commands that root runs: new files belong to the server, and nothing is
//! possible that the server may not do.

use std::{fmt, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{self, Gid, Uid};

use super::failure::Failure;
#[cfg(feature = "tools")]
use crate::system::privileges::{self, RunAs};

/// Continues as the owner of a spool if the process is root.
#[cfg(feature = "tools")]
pub(super) fn become_owner_of(spool: &Path) -> Result<(), Failure> {
    let failed = |step: &str, error: &dyn fmt::Display| failed(spool, step, error);
    let Some((uid, gid)) = other_owner(spool)? else { return Ok(()) };
    unistd::setgroups(&[gid]).map_err(|error| failed("setgroups", &error))?;
    unistd::setgid(gid).map_err(|error| failed("setgid", &error))?;
    unistd::setuid(uid).map_err(|error| failed("setuid", &error))
}

/// Continues as the user of the configuration if the process is root and that is another user of this machine. Returns
/// whether it did.
#[cfg(feature = "tools")]
pub(super) fn become_configured(user: Option<&str>) -> Result<bool, Failure> {
    let Some(user) = user.filter(|user| unistd::geteuid().is_root() && privileges::group_of(user).is_some())
    else {
        return Ok(false);
    };
    match privileges::drop_privileges(Some(user), []) {
        Ok(run_as) => Ok(matches!(run_as, RunAs::Dropped { .. })),
        Err(error) => Err(Failure::Other(format!("cannot become the user {user}: {error}"))),
    }
}

/// Does something as the owner of a spool if the process is root, which it is again afterwards. The process must have
/// only one thread.
pub(super) fn as_owner_of<T>(spool: &Path, act: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let failed = |step: &str, error: &dyn fmt::Display| failed(spool, step, error);
    let Some((uid, gid)) = other_owner(spool)? else { return act() };
    let (groups, before) = (unistd::getgroups(), (unistd::geteuid(), unistd::getegid()));
    let groups = groups.map_err(|error| failed("getgroups", &error))?;
    unistd::setgroups(&[gid]).map_err(|error| failed("setgroups", &error))?;
    unistd::setegid(gid).map_err(|error| failed("setegid", &error))?;
    unistd::seteuid(uid).map_err(|error| failed("seteuid", &error))?;
    let done = act();
    unistd::seteuid(before.0).map_err(|error| failed("seteuid", &error))?;
    unistd::setegid(before.1).map_err(|error| failed("setegid", &error))?;
    unistd::setgroups(&groups).map_err(|error| failed("setgroups", &error))?;
    done
}

/// The owner of a spool, if the process is root and root is another user.
fn other_owner(spool: &Path) -> Result<Option<(Uid, Gid)>, Failure> {
    let stat = spool.metadata().map_err(|error| failed(spool, "stat", &error))?;
    let is_other = unistd::geteuid().is_root() && stat.uid() != 0;
    Ok(is_other.then(|| (Uid::from_raw(stat.uid()), Gid::from_raw(stat.gid()))))
}

fn failed(spool: &Path, step: &str, error: &dyn fmt::Display) -> Failure {
    Failure::Other(format!("cannot become the owner of {}: {step}: {error}", spool.display()))
}
