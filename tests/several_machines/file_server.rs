//! A file server: nfs-ganesha, which exports one directory by NFS 4 to every machine at the bridge.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use crate::{common::eventually, network::CLIENTS};

/// It ends with this.
pub(crate) struct FileServer {
    child: Child,
    log: std::path::PathBuf,
}

impl FileServer {
    /// Exports `spool`; its own state goes below `home`.
    pub(crate) fn start(spool: &Path, home: &Path) -> Self {
        let (file, state) = (home.join("ganesha.conf"), home.join("ganesha"));
        fs::create_dir(&state).unwrap();
        let text = CONFIGURATION
            .replace("SPOOL", spool.to_str().unwrap())
            .replace("STATE", state.to_str().unwrap())
            .replace("LEASE", &LEASE.to_string());
        fs::write(&file, text).unwrap();
        let log = home.join("ganesha.log");
        let said = File::create(home.join("ganesha.said")).unwrap();
        let mut command = Command::new("ganesha.nfsd");
        command.arg("-F").arg("-f").arg(file).arg("-L").arg(&log).arg("-p").arg(home.join("ganesha.pid"));
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let server = Self { child: command.spawn().unwrap(), log };
        eventually("the file server answers", || TcpStream::connect((CLIENTS, NFS)).ok());
        server
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- the end of what the file server logged:");
            log.lines().rev().take(20).for_each(|line| eprintln!("{line}"));
        }
    }
}

const CONFIGURATION: &str = "
NFS_CORE_PARAM { Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFSV4 { Graceless = true; Lease_Lifetime = LEASE; RecoveryBackend = fs; RecoveryRoot = \"STATE\"; }
EXPORT {
    Export_Id = 1; Path = \"SPOOL\"; Pseudo = /spool; Protocols = 4; Transports = TCP;
    Access_Type = RW; Squash = No_Root_Squash; SecType = sys; FSAL { Name = VFS; }
}
LOG { Default_Log_Level = EVENT; }
";
const NFS: u16 = 2049;
/// Seconds after which the locks of a silent machine are free.
pub(crate) const LEASE: u64 = 10;
