//! What the server may reach: its mail, and the files that its configuration names.
//!
//! The rule: nothing else on this machine can be read, nothing but mail and what has to be replaced can be
//! written, nothing can be started, and no connection leaves. Landlock, of the kernel, sees to it. It binds
//! the thread that asks for it and those that this one starts, so it is asked before there are others.

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
    config::{Config, Destination, Unknown},
    metrics::place,
    net::endpoint::Endpoint,
};

/// What may be done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Mail: everything with files and directories.
    Mail,
    /// The files of a directory are made, written and replaced.
    Replace,
    /// The sockets of a directory are made and removed.
    Socket,
    /// A device is read and written.
    Device,
    /// What the kernel tells of this process is read.
    Ourselves,
    /// Files are read, and directories listed.
    Read,
}

impl Use {
    fn rights(self) -> BitFlags<AccessFs> {
        match self {
            Self::Mail => make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
            }),
            Self::Replace => make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | RemoveFile}),
            Self::Socket => make_bitflags!(AccessFs::{MakeSock | RemoveFile}),
            Self::Device => make_bitflags!(AccessFs::{ReadFile | WriteFile}),
            Self::Read | Self::Ourselves => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
        }
    }
}

/// A place, and what may be done there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    what: Use,
    path: PathBuf,
}

/// Everything that a server may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// What a server with that configuration needs.
    pub fn of(config: &Config) -> Self {
        let mut grants = Self::default();
        grants.add(Use::Mail, &config.spool);
        grants.add(Use::Device, Path::new("/dev/null")); // libraries count on it
        grants.add(Use::Ourselves, Path::new("/proc/self")); // memory, descriptors
        if config.unknown == Unknown::Refuse {
            grants.rewritten(&config.accounts); // hashes of old kinds are replaced
            grants.read(&config.accounts);
            config.aliases.iter().for_each(|path| grants.read(path));
        }
        if let Some(pair) = &config.tls {
            grants.read(&pair.certificate);
            grants.read(&pair.key);
        }
        if let Destination::File(path) = &config.log.to {
            grants.appended(path);
        }
        let metrics = &config.metrics.file;
        let metrics = metrics.clone().or_else(|| place::to_write(&config.spool, &config.hostname));
        metrics.iter().for_each(|path| grants.replaced(path));
        config.transcripts.iter().for_each(|directory| grants.add(Use::Mail, directory));
        for listen in &config.listen {
            if let Endpoint::Unix(path) = &listen.address {
                grants.add(Use::Socket, directory(path));
            }
        }
        grants
    }

    /// A file that is read again after another one was put in its place: wherever links lead, now or when one
    /// of them is changed for another in the same directory.
    pub fn read(&mut self, file: &Path) {
        let mut file = file.to_owned();
        for _ in 0..MOST_LINKS {
            self.add(Use::Read, directory(&file));
            let Ok(target) = fs::read_link(&file) else { break };
            file = directory(&file).join(target);
        }
        if let Ok(end) = fs::canonicalize(&file) {
            self.add(Use::Read, directory(&end)); // past links on the way there
        }
    }

    /// A regular file in whose place the server puts another: where it is, and where links lead now. Something else may
    /// be there for a while.
    pub fn rewritten(&mut self, file: &Path) {
        self.add(Use::Replace, directory(file));
        if let Ok(end) = fs::canonicalize(file) {
            self.add(Use::Replace, directory(&end));
        }
    }

    /// A file that another one is put in the place of, whatever is there.
    pub fn replaced(&mut self, file: &Path) {
        self.add(Use::Replace, directory(file));
    }

    /// A file that the server makes and appends to; a device or a pipe is only written.
    fn appended(&mut self, file: &Path) {
        match fs::metadata(file) {
            Ok(about) if !about.is_file() => self.add(Use::Device, file),
            _ => self.add(Use::Replace, directory(file)),
        }
    }

    /// A place with everything below it.
    pub fn add(&mut self, what: Use, place: &Path) {
        let path = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let grant = Grant { what, path };
        if !self.0.contains(&grant) {
            self.0.push(grant);
        }
    }

    /// Whether these allow all that `grant` does.
    fn cover(&self, grant: &Grant) -> bool {
        let covers = |ours: &Grant| {
            ours.what.rights().contains(grant.what.rights()) && grant.path.starts_with(&ours.path)
        };
        self.0.iter().any(covers)
    }

    /// The places with one of these uses, in order, for a line of the log.
    fn places(&self, uses: &[Use]) -> String {
        let places = self.0.iter().filter(|grant| uses.contains(&grant.what));
        let places: BTreeSet<String> = places.map(|grant| grant.path.display().to_string()).collect();
        places.into_iter().collect::<Vec<_>>().join(",")
    }
}

/// What has become of it.
#[derive(Debug)]
pub enum Outcome {
    /// The kernel enforces it.
    Enforced {
        /// The version of Landlock.
        abi: ABI,
        /// Whether all of it, or what this kernel knows.
        whole: bool,
        /// Where files may be written.
        write: String,
        /// Where files may be read, too.
        read: String,
    },
    /// The kernel has no Landlock, or it is switched off.
    Missing(LandlockStatus),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced { abi, whole, write, read } => {
                let version = *abi as i32;
                let whole = if *whole { "" } else { " (an older kernel: not all of it)" };
                write!(
                    f,
                    "sandbox landlock={version}{whole} write={write} read={read} connect=none execute=none"
                )
            }
            Self::Missing(LandlockStatus::NotEnabled) => write!(
                f,
                "sandbox landlock=none: this kernel has it switched off, lsm=landlock,… on its command line \
                 switches it on; {NONE}"
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

/// Keeps this thread, and those that it starts from now on, away from everything else, for good.
pub fn enter(grants: &Grants) -> Result<Outcome, io::Error> {
    let status = restrict(grants).map_err(io::Error::other)?;
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Ok(Outcome::Missing(status.landlock));
    };
    ENTERED.get_or_init(|| grants.clone());
    Ok(Outcome::Enforced {
        abi: effective_abi,
        whole: status.ruleset == RulesetStatus::FullyEnforced,
        write: grants.places(&[Use::Mail, Use::Replace, Use::Socket]),
        read: grants.places(&[Use::Read]),
    })
}

/// A place that another configuration needs and that this process can't reach any more, if there is one.
pub fn beyond(config: &Config) -> Option<PathBuf> {
    let entered = ENTERED.get()?;
    Grants::of(config).0.into_iter().find(|grant| !entered.cover(grant)).map(|grant| grant.path)
}

fn restrict(grants: &Grants) -> Result<landlock::RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(scopes(
            env::var_os("NOTIFY_SOCKET").is_some_and(|at| at.as_encoded_bytes().starts_with(b"@")),
        ))?;
    let mut ruleset = ruleset.create()?;
    for Grant { what, path } in &grants.0 {
        // What is not there cannot be reached later, either: a directory is granted, not its name.
        let Ok(place) = PathFd::new(path) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(&place, what.rights()))?;
        if *what == Use::Ourselves {
            // The kernel may forget this directory and make it anew, which would be another one. Held open, it stays.
            mem::forget(place);
        }
    }
    ruleset.restrict_self()
}

/// Nobody outside gets signals from here, nor connections to abstract sockets, unless systemd listens at one.
fn scopes(notify_abstract: bool) -> BitFlags<Scope> {
    if notify_abstract { Scope::Signal.into() } else { Scope::from_all(KNOWN) }
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the kernel keeps this process to, since it was asked first: it never lets go.
static ENTERED: OnceLock<Grants> = OnceLock::new();
/// The version of Landlock whose rights are thought of here; older kernels enforce what they know of it.
const KNOWN: ABI = ABI::V7;
/// Of links that lead to links; as many as the kernel follows.
const MOST_LINKS: usize = 40;
const NONE: &str =
    "nothing keeps the server from other files of its user (sandbox = \"off\" says so without this line)";

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::fs::symlink,
        process::Command,
        thread,
    };

    use super::*;

    /// What `work` finds in a thread of its own that is kept to `grants`; `None` where the kernel can't.
    fn kept_to<T: Send>(grants: &Grants, work: impl FnOnce() -> T + Send) -> Option<T> {
        let inside = || match enter(grants).unwrap() {
            Outcome::Enforced { .. } => Some(work()),
            Outcome::Missing(_) => None,
        };
        thread::scope(|threads| threads.spawn(inside).join().unwrap())
    }

    fn denied<T>(done: io::Result<T>) -> bool {
        done.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
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
        let mut grants = Grants::default();
        grants.add(Use::Mail, &spool);
        grants.add(Use::Device, Path::new("/dev/null"));
        grants.add(Use::Ourselves, Path::new("/proc/self"));
        kept_to(&grants, || {
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
            if matches!(enter(&Grants::default()).unwrap(), Outcome::Enforced { abi, .. } if abi >= ABI::V4) {
                assert!(denied(TcpStream::connect(address)));
            }
        });
        assert_eq!(fs::read(&beside).unwrap(), b"secret");
    }

    #[test]
    fn what_is_replaced_can_be_read_again_wherever_links_lead() {
        // As certbot has it: live/mx/key.pem -> ../../archive/mx/key1.pem, below a link of the operator.
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
        let mut grants = Grants::default();
        grants.read(&key);
        let renew = |target: &str| {
            let _ = fs::remove_file(at("certbot/live/mx/key.pem")); // the first time there is one
            symlink(target, at("certbot/live/mx/key.pem")).unwrap();
        };
        kept_to(&grants, || {
            assert_eq!(fs::read(&key).unwrap(), b"1");
            thread::scope(|threads| threads.spawn(|| assert!(denied(fs::write(&key, "")))).join().unwrap());
        });
        let (asked, ask) = std::sync::mpsc::channel::<()>();
        let (told, tell) = std::sync::mpsc::channel();
        thread::scope(|threads| {
            let (grants, key) = (&grants, &key);
            threads.spawn(move || {
                let kept = matches!(enter(grants).unwrap(), Outcome::Enforced { .. });
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
        let mut grants = Grants::default();
        for path in ["/b", "/a", "/b"] {
            grants.add(Use::Mail, Path::new(path));
        }
        grants.read(Path::new("/etc/passwd"));
        assert_eq!(grants.places(&[Use::Mail]), "/a,/b");
        assert_eq!(grants.places(&[Use::Read]), "/etc");
        for (status, advice) in
            [(LandlockStatus::NotEnabled, "lsm=landlock"), (LandlockStatus::NotImplemented, "Linux 5.13")]
        {
            let told = Outcome::Missing(status).to_string();
            assert!(told.contains(advice) && told.contains("sandbox = \"off\""), "{told}");
        }
    }
}
