//! One spool, and the way of each instance to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    common::{eventually, home, installed},
    file_server::FileServer,
    network::{CLIENTS, INSTANCES},
};

/// The way in which the instances reach their spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is a directory of this machine for both.
    Local,
    /// Each has a mount of its own, which caches names and attributes; it passes locks on, but no events, like a
    /// client of a file server.
    Mounts,
    /// Each has a kernel of its own, which is a client of one file server.
    Nfs,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::Mounts, Self::Nfs];

    /// The argument that selects it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Mounts => "mounts",
            Self::Nfs => "nfs",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "on one file system",
            Self::Mounts => "through two mounts with caches",
            Self::Nfs => "through two kernels by NFS",
        }
    }

    /// A requirement that this machine does not meet.
    pub(crate) fn missing(self) -> Option<String> {
        let (programs, device): (&[&str], _) = match self {
            Self::Local => return None,
            Self::Mounts => (&["bindfs"], "/dev/fuse"),
            Self::Nfs => (&["linux.uml", "modprobe", "ganesha.nfsd"], "/dev/net/tun"),
        };
        let program = programs.iter().find(|program| !installed(program));
        let program = program.map(|program| format!("{program} is not installed"));
        program.or_else(|| (!Path::new(device).exists()).then(|| format!("there is no {device}")))
    }

    /// Whether an instance ends only with its machine, which then answers no packets.
    pub(crate) fn has_kernels(self) -> bool {
        self == Self::Nfs
    }
}

/// The spool; the mounts end with it.
pub(crate) struct Spool {
    kind: Kind,
    _mounts: Vec<Mount>,
    _server: Option<FileServer>,
    home: TempDir,
}

impl Spool {
    pub(crate) fn new(kind: Kind) -> Self {
        let home = home();
        fs::create_dir(home.path().join("spool")).unwrap();
        let mounts = match kind {
            Kind::Local | Kind::Nfs => Vec::new(),
            Kind::Mounts => {
                ["a", "b"].map(|name| Mount::of(&home.path().join("spool"), home.path(), name)).into()
            }
        };
        let server = kind.has_kernels().then(|| FileServer::start(&home.path().join("spool"), home.path()));
        Self { kind, _mounts: mounts, _server: server, home }
    }

    /// The directory of the files.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("spool")
    }

    /// The same, as the first or the second instance sees it.
    pub(crate) fn way(&self, instance: usize) -> PathBuf {
        match self.kind {
            Kind::Local => self.path(),
            Kind::Mounts | Kind::Nfs => self.home.path().join(INSTANCES[instance].name),
        }
    }

    /// The command prefix that runs a program on the machine of an instance.
    pub(crate) fn wrapper(&self, instance: usize) -> Vec<String> {
        let machine = INSTANCES[instance];
        if !self.kind.has_kernels() {
            return machine.wrapper().map(String::from).into();
        }
        let (name, address, spool) = (machine.name, machine.address.to_string(), self.way(instance));
        // The processes of a machine end with it.
        let words = ["unshare", "--pid", "--fork", "--kill-child", MACHINE, name, &address, name];
        let words = words.into_iter().map(String::from);
        words.chain([CLIENTS.to_string(), spool.to_str().unwrap().to_owned()]).collect()
    }
}

struct Mount {
    path: PathBuf,
    child: Child,
}

impl Mount {
    fn of(spool: &Path, home: &Path, name: &str) -> Self {
        let path = home.join(name);
        fs::create_dir(&path).unwrap();
        let device = |path: &Path| rustix::fs::stat(path).unwrap().st_dev;
        let before = device(&path);
        let mut command = Command::new("bindfs");
        command
            .args(["-f", "--multithreaded", "--enable-lock-forwarding", "-o", CACHES])
            .arg(spool)
            .arg(&path);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        eventually("it is mounted", || (device(&path) != before).then_some(()));
        Self { path, child }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status(); // it goes with the namespace
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MACHINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/several_machines/machine.sh");
/// As an NFS client does, without `noac`: half a minute and more.
const CACHES: &str = "attr_timeout=30,entry_timeout=30";
