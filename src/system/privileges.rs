//! The user that the server runs as.
//!
//! The rule: a server started as root binds its ports and does nothing else as root, then changes to the
//! configured user for good, before it reads the spool or starts a thread. As any user, it gains no
//! privileges by executing programs, and leaves no core file, because its memory contains passwords.

use std::{ffi::CString, fmt, io, os::unix::fs::lchown, path::Path};

use nix::{
    errno::Errno,
    sys::prctl,
    unistd::{
        Gid, Uid, User, getgrouplist, getresgid, getresuid, setgid, setgroups, setresgid, setresuid, setuid,
    },
};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

/// The user that the server runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// The user who started it.
    Same {
        /// The effective user id, which the server keeps.
        uid: u32,
        /// True if it has capabilities that it could not drop.
        capable: bool,
    },
    /// Started as root, and changed to another user.
    Dropped {
        /// The configured user name.
        name: String,
        /// The user id from then on.
        uid: u32,
        /// The id of the user's primary group.
        gid: u32,
        /// Number of supplementary groups, without the primary one.
        groups: usize,
    },
    /// Root, with all its capabilities.
    Root {
        /// True if the configuration asks for root.
        wanted: bool,
    },
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { uid, capable: false } => write!(f, "uid={uid}"),
            Self::Same { uid, capable: true } => write!(f, "uid={uid} capabilities=kept"),
            Self::Dropped { name, uid, gid, groups } => {
                write!(f, "user={name} uid={uid} gid={gid} further_groups={groups} was=root")
            }
            Self::Root { .. } => f.write_str("user=root uid=0"),
        }
    }
}

/// The reason why the server cannot run.
#[derive(Debug)]
pub enum Error {
    /// The user does not exist on this machine.
    NoUser(String),
    /// The server was started by a user who cannot change to the configured one.
    NotRoot {
        /// The user of the configuration.
        name: String,
        /// User id of the process.
        uid: u32,
    },
    /// A system call failed, with its name.
    Step(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(name) => write!(
                f,
                "there is no user {name:?} on this machine: create it with `useradd --system --home-dir / --shell \
                 /usr/sbin/nologin {name}`"
            ),
            Self::NotRoot { name, uid } => {
                let or_as_it = if name == "root" { String::new() } else { format!(" or as {name}") };
                write!(
                    f,
                    "started by the user with id {uid}, who cannot change to {name:?}: start it as root{or_as_it}, or \
                     remove `user` from the configuration"
                )
            }
            Self::Step(step, error) => write!(f, "{step}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Changes to that user for good if the process is root. `sockets` are paths of sockets that were created
/// before, each with whether it keeps its group.
///
/// The process must have only one thread, because other threads would keep their privileges.
pub fn drop_privileges<'a>(
    user: Option<&str>,
    sockets: impl IntoIterator<Item = (&'a Path, bool)>,
) -> Result<RunAs, Error> {
    let uid = Uid::effective();
    let run_as = match user.map(find_user).transpose()? {
        Some(user) if uid.is_root() && !user.uid.is_root() => {
            for (path, keeps_group) in sockets {
                let group = (!keeps_group).then_some(user.gid.as_raw());
                lchown(path, Some(user.uid.as_raw()), group).map_err(step("chown of a socket"))?;
            }
            change_user(&user)?
        }
        Some(user) if user.uid != uid => return Err(Error::NotRoot { name: user.name, uid: uid.as_raw() }),
        wanted if uid.is_root() => RunAs::Root { wanted: wanted.is_some() },
        _ => RunAs::Same { uid: uid.as_raw(), capable: !gives_up_capabilities()? },
    };
    harden_process()?;
    Ok(run_as)
}

/// Whether this process can run as that user.
pub fn can_become(user: Option<&str>) -> bool {
    let uid = Uid::effective();
    user.is_none_or(|name| uid.is_root() || find_user(name).is_ok_and(|user| user.uid == uid))
}

/// The id of the primary group of a user of this machine, by name or number.
pub fn group_of(user: &str) -> Option<u32> {
    find_user(user).ok().map(|user| user.gid.as_raw())
}

/// Drops all capabilities; CAP_NET_BIND_SERVICE was only needed for ports below 1024. Returns false if the
/// service is not allowed to drop them.
fn gives_up_capabilities() -> Result<bool, Error> {
    let none = CapabilitySet::empty();
    let had = capabilities(None).map_err(step("capget"))?;
    if (had.effective | had.permitted | had.inheritable).is_empty() {
        return Ok(true);
    }
    match set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }) {
        Err(rustix::io::Errno::PERM) => Ok(false),
        done => done.map(|()| true).map_err(step("capset")),
    }
}

/// Forbids privileges gained by executing programs, and core files.
fn harden_process() -> Result<(), Error> {
    prctl::set_no_new_privs().map_err(step("PR_SET_NO_NEW_PRIVS"))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if getrlimit(Resource::Core) != none {
        setrlimit(Resource::Core, none).map_err(step("RLIMIT_CORE"))?;
    }
    // The limit does not apply to a core piped to a program (core_pattern), so the process is made undumpable
    // too. This also protects its memory from other processes of the same user.
    prctl::set_dumpable(false).map_err(step("PR_SET_DUMPABLE"))
}

/// Finds a user by name or number.
fn find_user(name: &str) -> Result<User, Error> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.map_err(step("looking for the user"))?.ok_or_else(|| Error::NoUser(name.to_owned()))
}

fn change_user(user: &User) -> Result<RunAs, Error> {
    let (uid, gid) = (user.uid, user.gid);
    let name = CString::new(user.name.as_bytes()).map_err(|_| Error::NoUser(user.name.clone()))?;
    let groups = getgrouplist(&name, gid).map_err(step("looking for the groups of the user"))?;
    setgroups(&groups).map_err(step("setgroups"))?;
    setresgid(gid, gid, gid).map_err(step("setresgid"))?;
    setresuid(uid, uid, uid).map_err(step("setresuid"))?;
    let users = getresuid().map_err(step("getresuid"))?;
    let group = getresgid().map_err(step("getresgid"))?;
    let gone = [users.real, users.effective, users.saved] == [uid; 3]
        && [group.real, group.effective, group.saved] == [gid; 3]
        && capabilities(None).map_err(step("capget"))?.permitted.is_empty();
    // If root can be regained, the change was not complete.
    let back = setuid(Uid::from_raw(0)).is_ok() || gid.as_raw() != 0 && setgid(Gid::from_raw(0)).is_ok();
    if back || !gone {
        return Err(Error::Step("root could not be left for good", Errno::EPERM.into()));
    }
    let groups = groups.iter().filter(|other| **other != gid).count();
    Ok(RunAs::Dropped { name: user.name.clone(), uid: uid.as_raw(), gid: gid.as_raw(), groups })
}

fn step<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Step(what, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number_and_missed_with_advice() {
        assert_eq!(find_user("root").unwrap().uid, Uid::from_raw(0));
        assert_eq!(find_user("0").unwrap().name, "root");
        let told = find_user("nobody-of-that-name").unwrap_err().to_string();
        assert!(told.contains("useradd --system") && told.contains("nobody-of-that-name"), "{told}");
    }
}
