//! The rights of the owner of a spool, for commands that root runs: new files belong to the server, and nothing is
//! possible that the server may not do.

use std::{ffi::CString, fmt, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{self, Gid, Uid, User};

use super::failure::Failure;
use crate::config::Config;
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
    let Some((uid, gid)) = other_owner(spool)? else { return act() };
    as_user(uid, gid, &[gid], act)?
}

/// Does something as the server: as the user of the configuration, otherwise as the owner of the spool. The same holds.
pub(super) fn as_server<T>(config: &Config, act: impl FnOnce() -> T) -> Result<T, Failure> {
    let named = config.user.as_deref().and_then(|user| User::from_name(user).ok().flatten());
    match named.filter(|user| unistd::geteuid().is_root() && !user.uid.is_root()) {
        Some(user) => {
            let name = CString::new(user.name).unwrap_or_default();
            let groups = unistd::getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
            as_user(user.uid, user.gid, &groups, act)
        }
        None if config.user.is_none() && config.spool.exists() => as_owner_of(&config.spool, || Ok(act())),
        None => Ok(act()),
    }
}

fn as_user<T>(uid: Uid, gid: Gid, in_groups: &[Gid], act: impl FnOnce() -> T) -> Result<T, Failure> {
    let failed = |step: &str, error: &dyn fmt::Display| {
        Failure::Other(format!("cannot become user {uid}: {step}: {error}"))
    };
    let (groups, before) = (unistd::getgroups(), (unistd::geteuid(), unistd::getegid()));
    let groups = groups.map_err(|error| failed("getgroups", &error))?;
    unistd::setgroups(in_groups).map_err(|error| failed("setgroups", &error))?;
    unistd::setegid(gid).map_err(|error| failed("setegid", &error))?;
    unistd::seteuid(uid).map_err(|error| failed("seteuid", &error))?;
    let done = act();
    unistd::seteuid(before.0).map_err(|error| failed("seteuid", &error))?;
    unistd::setegid(before.1).map_err(|error| failed("setegid", &error))?;
    unistd::setgroups(&groups).map_err(|error| failed("setgroups", &error))?;
    Ok(done)
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
