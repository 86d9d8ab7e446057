//! Dovecot as a whole server, tuned for speed: processes that stay for many logins and are there before the first, no
//! password to check, and each message synced before it is acknowledged, as it comes.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use super::{process, programs};

/// A running Dovecot; dropped, it is asked to stop, and waited for.
pub(crate) struct Dovecot {
    child: Child,
    pub(crate) pop3: SocketAddr,
    pub(crate) pop3s: SocketAddr,
    pub(crate) lmtp: SocketAddr,
    pub(crate) imap: SocketAddr,
}

/// Files of PEM.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Its version, or why it can't be measured.
pub(crate) fn version() -> Result<String, String> {
    let Some(program) = programs::find("dovecot") else { return Err(NOT_INSTALLED.to_owned()) };
    if ["pop3", "pop3-login", "imap", "imap-login", "lmtp"]
        .iter()
        .any(|name| !Path::new(LIBEXEC).join(name).exists())
    {
        return Err(NOT_INSTALLED.to_owned());
    }
    let line = programs::first_line(Command::new(program).arg("--version"));
    let line = line.map_err(|error| format!("no version: {error}"))?;
    let version = line.split_whitespace().next().unwrap_or_default().to_owned();
    // The configuration of 2.4 has another grammar.
    if version.starts_with("2.3.") { Ok(version) } else { Err(format!("{version} is not 2.3")) }
}

/// The settings, for people who compare.
pub(crate) const SETTINGS: &str = "Dovecot runs in its high-performance mode (service_count = 0; two login processes for \
     each protocol, eight of pop3 and of imap and one of lmtp for each connection are there before the first), checks no password, and has \
     mail_fsync = optimized, which syncs each delivered file and its directory";

impl Dovecot {
    /// Starts it in `home`, where it keeps its state, with a Maildir for each user below `maildirs`.
    pub(crate) fn start(home: &Path, maildirs: &Path, tls: Option<&Certificate>) -> io::Result<Self> {
        let program = programs::find("dovecot").ok_or(io::ErrorKind::NotFound)?;
        let free = programs::free_address;
        let addresses @ [pop3, pop3s, lmtp, imap] = [free()?, free()?, free()?, free()?];
        let is_root = rustix::process::geteuid().is_root();
        let user = match is_root {
            true => "mail".to_owned(),
            false => programs::first_line(Command::new("id").arg("--user").arg("--name"))?,
        };
        let group = match is_root {
            true => "mail".to_owned(),
            false => programs::first_line(Command::new("id").arg("--group").arg("--name"))?,
        };
        let config = home.join("dovecot.conf");
        fs::write(&config, configuration(home, maildirs, &user, &group, addresses, tls))?;
        let mut command = programs::ending_with_us("TERM");
        if is_root {
            // Dovecot reads no mail as root. In a namespace it is `mail`, with the ids that Debian gives to that
            // user and that group, and has the rights of this process.
            command.args(["unshare", "--user", "--map-user=8", "--map-group=8"]);
        }
        command.arg(program).arg("-F").arg("-c").arg(&config);
        let output = fs::File::create(home.join("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut dovecot = Self { child: command.spawn()?, pop3, pop3s, lmtp, imap };
        let log = home.join("log");
        for address in [pop3, lmtp, imap] {
            programs::until_greeted(&mut dovecot.child, address, "Dovecot", &log)?;
        }
        Ok(dovecot)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        process::stop(&mut self.child);
    }
}

fn configuration(
    home: &Path,
    maildirs: &Path,
    user: &str,
    group: &str,
    [pop3, pop3s, lmtp, imap]: [SocketAddr; 4],
    tls: Option<&Certificate>,
) -> String {
    let ssl = match tls {
        Some(Certificate { certificate, key }) => {
            format!("ssl = yes\nssl_cert = <{}\nssl_key = <{}\n", certificate.display(), key.display())
        }
        None => "ssl = no\n".to_owned(),
    };
    let pop3s = if tls.is_some() { pop3s.port() } else { 0 };
    let (pop3_services, imap_services) =
        (services("pop3", pop3.port(), pop3s), services("imap", imap.port(), 0));
    let (home, maildirs) = (home.display(), maildirs.display());
    format!(
        "base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
hostname = mx.example.test
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_client_limit = {CLIENTS}
default_vsz_limit = 0
first_valid_uid = 1
disable_plaintext_auth = no
mail_location = maildir:{maildirs}/%u
mail_fsync = optimized
mail_max_userip_connections = 1000
{ssl}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={home} allow_all_users=yes
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
{pop3_services}{imap_services}service lmtp {{
  service_count = 0
  process_min_avail = 64
  process_limit = 500
  inet_listener lmtp {{
    port = {}
  }}
}}
",
        lmtp.port(),
    )
}

/// The services of a protocol for readers, with its ports in clear text and under TLS; 0 is none.
fn services(protocol: &str, port: u16, port_of_tls: u16) -> String {
    let login_processes = thread::available_parallelism().map_or(2, usize::from);
    let ssl = if port_of_tls == 0 { "" } else { "\n    ssl = yes" };
    format!(
        "service {protocol}-login {{
  chroot =
  service_count = 0
  process_min_avail = {login_processes}
  process_limit = {login_processes}
  inet_listener {protocol} {{
    port = {port}
  }}
  inet_listener {protocol}s {{
    port = {port_of_tls}{ssl}
  }}
}}
service {protocol} {{
  service_count = 0
  process_min_avail = 8
  process_limit = 1000
}}
"
    )
}

const NOT_INSTALLED: &str = "not installed";
/// Debian's directory of its services.
const LIBEXEC: &str = "/usr/lib/dovecot";
/// Connections to one process for logins: more than we make, and fewer than descriptors.
const CLIENTS: usize = 15_000;
