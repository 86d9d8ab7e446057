//! The sandbox: access to mail and to the files that the configuration names, and to nothing else.
//!
//! The rule: no other file can be read, only mail and files to be replaced can be written, no program can be
//! executed, and no connection can be opened. The kernel's Landlock enforces it for the calling thread and
//! the threads it starts afterwards, so it is requested before any other thread exists.

use std::{
    collections::BTreeSet,
    env, fmt, fs, io, mem,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use crate::{
    command_hint::restante,
    config::{Config, Destination, UnknownRecipients},
    maildir::EXT4_STATES,
    metrics::location,
    net::endpoint::Endpoint,
    time_zone,
};

/// The access to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Mail: all access to files and directories.
    Mail,
    /// Create, write and replace files in a directory.
    Replace,
    /// Create and remove sockets in a directory.
    Socket,
    /// Read and write a device.
    Device,
    /// Read the kernel's information about this process.
    Proc,
    /// Read the kernel's information about file systems.
    Sys,
    /// Read files and list directories.
    Read,
}

impl Access {
    fn rights(self) -> BitFlags<AccessFs> {
        match self {
            Self::Mail => make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
            }),
            Self::Replace => make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | RemoveFile}),
            Self::Socket => make_bitflags!(AccessFs::{MakeSock | RemoveFile}),
            Self::Device => make_bitflags!(AccessFs::{ReadFile | WriteFile}),
            Self::Read | Self::Proc | Self::Sys => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
        }
    }
}

/// A place with its access.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessRule {
    access: Access,
    path: PathBuf,
}

/// The places that a server may access, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRules(Vec<AccessRule>);

impl AccessRules {
    /// The access that a server with that configuration needs.
    pub fn of(config: &Config) -> Self {
        let mut rules = Self::default();
        rules.allow(Access::Mail, &config.spool);
        rules.allow(Access::Device, Path::new("/dev/null")); // libraries rely on it
        rules.allow(Access::Proc, Path::new("/proc/self")); // memory and descriptor figures
        rules.allow(Access::Sys, Path::new(EXT4_STATES)); // whether the spool's file system has a journal
        if config.unknown_recipients == UnknownRecipients::Reject {
            if config.upgrade_hashes {
                rules.allow_rewrite(&config.accounts);
            }
            rules.allow_read(&config.accounts);
            config.aliases.iter().for_each(|path| rules.allow_read(path));
        }
        if let Some(pair) = &config.tls {
            rules.allow_read(&pair.certificate);
            rules.allow_read(&pair.key);
        }
        if let Destination::File(path) = &config.log.destination {
            rules.allow_append(path);
        }
        let metrics = &config.metrics.file;
        let metrics = metrics.clone().or_else(|| location::export_path(&config.spool, &config.hostname));
        metrics.iter().for_each(|path| rules.allow_replace(path));
        config.transcripts.iter().for_each(|directory| rules.allow(Access::Mail, directory));
        // For the dates of a search. Always, because the first listener of `http` may come with a reload.
        rules.allow(Access::Read, Path::new(time_zone::DIRECTORY));
        for listen in &config.listen {
            if let Endpoint::Unix(path) = &listen.address {
                rules.allow(Access::Socket, directory(path));
            }
        }
        rules
    }

    /// Allows reading a file again after it was replaced. Follows its links: as they are now, and also after
    /// one is replaced by another in the same directory.
    pub fn allow_read(&mut self, file: &Path) {
        let mut file = file.to_owned();
        for _ in 0..MAX_LINKS {
            self.allow(Access::Read, directory(&file));
            let Ok(target) = fs::read_link(&file) else { break };
            file = directory(&file).join(target);
        }
        if let Ok(end) = fs::canonicalize(&file) {
            self.allow(Access::Read, directory(&end)); // the target, past links in its directories
        }
    }

    /// Allows the server to replace a regular file, at its path and at the current end of its links. For a
    /// while another file may be there.
    pub fn allow_rewrite(&mut self, file: &Path) {
        self.allow(Access::Replace, directory(file));
        if let Ok(end) = fs::canonicalize(file) {
            self.allow(Access::Replace, directory(&end));
        }
    }

    /// Allows replacing a file, whatever is there.
    pub fn allow_replace(&mut self, file: &Path) {
        self.allow(Access::Replace, directory(file));
    }

    /// Allows creating a file and appending to it. A device or a pipe is only written.
    fn allow_append(&mut self, file: &Path) {
        match fs::metadata(file) {
            Ok(about) if !about.is_file() => self.allow(Access::Device, file),
            _ => self.allow(Access::Replace, directory(file)),
        }
    }

    /// Allows access to a place and everything below it.
    pub fn allow(&mut self, what: Access, place: &Path) {
        let path = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let rule = AccessRule { access: what, path };
        if !self.0.contains(&rule) {
            self.0.push(rule);
        }
    }

    /// True if these rules include all of `rule`.
    fn covers(&self, rule: &AccessRule) -> bool {
        let covers = |ours: &AccessRule| {
            ours.access.rights().contains(rule.access.rights()) && rule.path.starts_with(&ours.path)
        };
        self.0.iter().any(covers)
    }

    /// The places with one of these accesses, in order, for the log.
    fn paths_with(&self, uses: &[Access]) -> String {
        let places = self.0.iter().filter(|rule| uses.contains(&rule.access));
        let places: BTreeSet<String> = places.map(|rule| rule.path.display().to_string()).collect();
        places.into_iter().collect::<Vec<_>>().join(",")
    }
}

/// The result of entering the sandbox.
#[derive(Debug)]
pub enum SandboxOutcome {
    /// The kernel enforces the sandbox, or a part of it.
    Enforced {
        /// The version of Landlock in this kernel.
        abi: ABI,
        /// True if all of it is enforced, false if only the part that the kernel knows.
        whole: bool,
        /// Places where files may be written.
        write: String,
        /// Further places where files may be read.
        read: String,
    },
    /// The kernel has no Landlock, or it is disabled.
    Missing(LandlockStatus),
}

impl fmt::Display for SandboxOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced { abi, whole, write, read } => {
                let version = *abi as i32;
                let whole = if *whole { "" } else { " (partial, because the kernel is older)" };
                write!(
                    f,
                    "sandbox landlock={version}{whole} write={write} read={read} connect=none execute=none"
                )
            }
            Self::Missing(LandlockStatus::NotEnabled) => write!(
                f,
                "sandbox landlock=none: this kernel has it disabled, enable it with lsm=landlock,… on its command \
                 line; {NONE}"
            ),
            Self::Missing(_) => {
                write!(
                    f,
                    "sandbox landlock=none: it needs Linux 5.13 or newer, with CONFIG_SECURITY_LANDLOCK; {NONE}"
                )
            }
        }
    }
}

/// Confines this thread, and the threads it starts from now on, for good.
pub fn enter(rules: &AccessRules) -> Result<SandboxOutcome, io::Error> {
    let status = restrict(rules).map_err(io::Error::other)?;
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Ok(SandboxOutcome::Missing(status.landlock));
    };
    ACTIVE.get_or_init(|| rules.clone());
    Ok(SandboxOutcome::Enforced {
        abi: effective_abi,
        whole: status.ruleset == RulesetStatus::FullyEnforced,
        write: rules.paths_with(&[Access::Mail, Access::Replace, Access::Socket]),
        read: rules.paths_with(&[Access::Read]),
    })
}

/// The sentence for a place that another configuration needs and this process can no longer access, if there is one.
pub fn unreachable_place(config: &Config) -> Option<String> {
    let entered = ACTIVE.get()?;
    AccessRules::of(config).0.iter().find(|rule| !entered.covers(rule)).map(is_outside)
}

/// The sentence for a file that this process can no longer read because it, or a link to it, lies elsewhere now.
pub fn why_unreadable(file: &Path) -> Option<String> {
    let entered = ACTIVE.get()?;
    let mut rules = AccessRules::default();
    rules.allow_read(file);
    rules.0.iter().find(|rule| !entered.covers(rule)).map(is_outside)
}

/// The sentence for a place that this process can no longer access.
fn is_outside(AccessRule { access, path }: &AccessRule) -> String {
    // The same directory may be in the sandbox for another purpose.
    let purpose = match access {
        Access::Mail => " as a place for mail",
        Access::Replace => " as a place for files to write",
        Access::Socket => " as a place for sockets",
        Access::Device | Access::Proc | Access::Sys | Access::Read => "",
    };
    format!(
        "{} is outside of the sandbox{purpose}, which is for the places of the configuration at the start: {}",
        path.display(),
        check_and_restart()
    )
}

/// The way to a setting that a reload cannot bring. Only `restante check` can tell whether a start takes the whole
/// configuration: it looks with the rights of a start, and outside of the sandbox.
pub fn check_and_restart() -> String {
    format!("run {}, then restart the server", restante(&["check"]))
}

fn restrict(rules: &AccessRules) -> Result<landlock::RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(SUPPORTED_ABI))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(scopes(
            env::var_os("NOTIFY_SOCKET").is_some_and(|at| at.as_encoded_bytes().starts_with(b"@")),
        ))?;
    let mut ruleset = ruleset.create()?;
    for AccessRule { access: what, path } in &rules.0 {
        // A place that does not exist cannot be granted, because a rule belongs to the directory and not to
        // its name.
        let Ok(place) = PathFd::new(path) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(&place, what.rights()))?;
        if *what == Access::Proc {
            // The kernel may drop this directory's inode and create another later. Held open, it stays.
            mem::forget(place);
        }
    }
    ruleset.restrict_self()
}

/// Forbids signals to other processes and connections to abstract sockets, unless systemd listens at one.
fn scopes(notify_abstract: bool) -> BitFlags<Scope> {
    if notify_abstract { Scope::Signal.into() } else { Scope::from_all(SUPPORTED_ABI) }
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The rules in force since the first call; the kernel never extends them.
static ACTIVE: OnceLock<AccessRules> = OnceLock::new();
/// The version of Landlock used here; older kernels enforce the part that they know.
const SUPPORTED_ABI: ABI = ABI::V7;
/// Length of a chain of links, the same as the kernel's limit.
const MAX_LINKS: usize = 40;
const NONE: &str = "the server can access all files of its user (set sandbox = \"off\" to silence this line)";

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::fs::symlink,
        process::Command,
        thread,
    };

    use super::*;

    /// Runs `work` in a thread confined to `rules`; `None` if the kernel lacks Landlock.
    fn kept_to<T: Send>(rules: &AccessRules, work: impl FnOnce() -> T + Send) -> Option<T> {
        let inside = || match enter(rules).unwrap() {
            SandboxOutcome::Enforced { .. } => Some(work()),
            SandboxOutcome::Missing(_) => None,
        };
        thread::scope(|threads| threads.spawn(inside).join().unwrap())
    }

    fn denied<T>(done: io::Result<T>) -> bool {
        done.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn n59_a_directory_that_is_in_the_sandbox_for_another_purpose_is_told_with_the_new_one() {
        let told = |access| is_outside(&AccessRule { access, path: "/etc/restante".into() });
        assert!(
            told(Access::Socket)
                .contains("/etc/restante is outside of the sandbox as a place for sockets, which")
        );
        assert!(told(Access::Read).contains("/etc/restante is outside of the sandbox, which"));
    }

    #[test]
    fn mail_can_be_worked_with_and_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let (spool, beside) = (home.path().join("spool"), home.path().join("beside"));
        fs::create_dir_all(spool.join("bob/tmp")).unwrap();
        fs::create_dir_all(spool.join("bob/new")).unwrap();
        fs::write(&beside, "secret").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut rules = AccessRules::default();
        rules.allow(Access::Mail, &spool);
        rules.allow(Access::Device, Path::new("/dev/null"));
        rules.allow(Access::Proc, Path::new("/proc/self"));
        kept_to(&rules, || {
            fs::write(spool.join("bob/tmp/1"), "mail").unwrap();
            fs::rename(spool.join("bob/tmp/1"), spool.join("bob/new/1")).unwrap();
            fs::hard_link(spool.join("bob/new/1"), spool.join("bob/tmp/2")).unwrap();
            fs::remove_file(spool.join("bob/tmp/2")).unwrap();
            assert_eq!(fs::read(spool.join("bob/new/1")).unwrap(), b"mail");
            fs::create_dir(spool.join("ann")).unwrap();
            fs::File::options().read(true).write(true).open("/dev/null").unwrap();
            assert!(fs::read_to_string("/proc/thread-self/status").unwrap().contains("NoNewPrivs:\t1"));

            assert!(denied(fs::read("/etc/passwd")));
            assert!(denied(fs::read(&beside)));
            assert!(denied(fs::write(&beside, "changed")));
            assert!(denied(fs::write(home.path().join("another"), "")));
            assert!(denied(fs::read_dir("/")));
            assert!(denied(fs::read("/proc/1/stat")));
            assert!(denied(symlink("/etc/passwd", spool.join("link"))));
            assert!(denied(Command::new("/bin/true").status()));
            if matches!(enter(&AccessRules::default()).unwrap(), SandboxOutcome::Enforced { abi, .. } if abi >= ABI::V4)
            {
                assert!(denied(TcpStream::connect(address)));
            }
        });
        assert_eq!(fs::read(&beside).unwrap(), b"secret");
    }

    #[test]
    fn what_is_replaced_can_be_read_again_wherever_links_lead() {
        // As certbot does: live/mx/key.pem -> ../../archive/mx/key1.pem, below a link of the operator.
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("certbot/live/mx")).unwrap();
        fs::create_dir_all(at("certbot/archive/mx")).unwrap();
        fs::create_dir_all(at("elsewhere")).unwrap();
        fs::write(at("certbot/archive/mx/key1.pem"), "1").unwrap();
        fs::write(at("elsewhere/key.pem"), "another").unwrap();
        symlink("../../archive/mx/key1.pem", at("certbot/live/mx/key.pem")).unwrap();
        symlink("certbot/live", at("tls")).unwrap();
        let key = at("tls/mx/key.pem");
        let mut rules = AccessRules::default();
        rules.allow_read(&key);
        let renew = |target: &str| {
            let _ = fs::remove_file(at("certbot/live/mx/key.pem")); // absent the first time
            symlink(target, at("certbot/live/mx/key.pem")).unwrap();
        };
        kept_to(&rules, || {
            assert_eq!(fs::read(&key).unwrap(), b"1");
            thread::scope(|threads| threads.spawn(|| assert!(denied(fs::write(&key, "")))).join().unwrap());
        });
        let (asked, ask) = std::sync::mpsc::channel::<()>();
        let (told, tell) = std::sync::mpsc::channel();
        thread::scope(|threads| {
            let (rules, key) = (&rules, &key);
            threads.spawn(move || {
                let kept = matches!(enter(rules).unwrap(), SandboxOutcome::Enforced { .. });
                for () in ask {
                    told.send((kept, fs::read(key))).unwrap();
                }
            });
            fs::write(at("certbot/archive/mx/key2.pem"), "2").unwrap();
            renew("../../archive/mx/key2.pem");
            asked.send(()).unwrap();
            assert_eq!(tell.recv().unwrap().1.unwrap(), b"2");
            renew("../../../elsewhere/key.pem");
            asked.send(()).unwrap();
            let (kept, read) = tell.recv().unwrap();
            assert!(!kept || denied(read));
            drop(asked);
        });
    }

    #[test]
    fn the_line_of_the_log_says_what_is_enforced_or_what_to_do() {
        let mut rules = AccessRules::default();
        for path in ["/b", "/a", "/b"] {
            rules.allow(Access::Mail, Path::new(path));
        }
        rules.allow_read(Path::new("/etc/passwd"));
        assert_eq!(rules.paths_with(&[Access::Mail]), "/a,/b");
        assert_eq!(rules.paths_with(&[Access::Read]), "/etc");
        for (status, advice) in
            [(LandlockStatus::NotEnabled, "lsm=landlock"), (LandlockStatus::NotImplemented, "Linux 5.13")]
        {
            let told = SandboxOutcome::Missing(status).to_string();
            assert!(told.contains(advice) && told.contains("sandbox = \"off\""), "{told}");
        }
    }
}
