//! Postfix as a whole server with its own queue, which delivers to Maildirs with virtual(8): a configuration of its own
//! in a temporary directory, never that of the machine.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    programs,
    smtp_load::{MAILBOXES, user},
};

/// A running Postfix; dropped, all its processes end with their namespace.
pub(crate) struct Postfix {
    child: Child,
    pub(crate) smtp: SocketAddr,
    queue: PathBuf,
}

/// Its version, or why it can't be measured. `empty` is a directory for a configuration of nothing.
pub(crate) fn version(empty: &Path) -> Result<String, String> {
    let (Some(_), Some(postconf)) = (programs::find("postfix"), programs::find("postconf")) else {
        return Err("not installed".to_owned());
    };
    if !rustix::process::geteuid().is_root() {
        return Err("starts as root only".to_owned());
    }
    let asked = fs::write(empty.join("main.cf"), "").and_then(|()| {
        programs::first_line(Command::new(postconf).arg("-c").arg(empty).args(["-dh", "mail_version"]))
    });
    asked.map_err(|error| format!("no version: {error}"))
}

/// The settings, for people who compare.
pub(crate) const SETTINGS: &str = "Postfix takes mail over SMTP into its queue, and its virtual(8), up to 20 at a time, \
     delivers from there to Maildirs; both sync each file (Postfix syncs no directory), and the figure counts messages \
     until the last one is in its Maildir; processes stay for as long as it runs (max_use), and in_flow_delay is 0";

impl Postfix {
    /// Starts it in `home`, with the Maildirs of [`user`] below `maildirs`.
    pub(crate) fn start(home: &Path, maildirs: &Path) -> io::Result<Self> {
        let program = programs::find("postfix").ok_or(io::ErrorKind::NotFound)?;
        let [config, queue, data] = ["etc", "queue", "data"].map(|name| home.join(name));
        for directory in [&config, &queue, &data] {
            fs::create_dir(directory)?;
        }
        // Its processes are not root, and have to get in.
        fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
        chown(&data, Some(id("postfix")?), None)?;
        let nobody = id("nobody")?;
        chown(maildirs, Some(nobody), None)?;
        let mailboxes = config.join("mailboxes");
        let lines: String = (0..MAILBOXES).map(|number| format!("{0} {0}/\n", user(number))).collect();
        fs::write(&mailboxes, lines)?;
        let (log, smtp) = (home.join("log"), programs::free_address()?);
        let (base, maildirs, mailboxes) = (home.display(), maildirs.display(), mailboxes.display());
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\nmaillog_file = {}\n\
             maillog_file_prefixes = {base}\nmyhostname = mx.example.test\nmydestination =\nalias_maps =\n\
             local_recipient_maps =\ninet_interfaces = loopback-only\nmynetworks = 127.0.0.0/8\n\
             smtpd_peername_lookup = no\nsmtpd_recipient_restrictions = permit_mynetworks, reject\nnotify_classes =\n\
             virtual_mailbox_domains = example.test\nvirtual_mailbox_base = {maildirs}\n\
             virtual_mailbox_maps = texthash:{mailboxes}\nvirtual_uid_maps = static:{nobody}\n\
             virtual_gid_maps = static:{nobody}\nvirtual_destination_recipient_limit = 1\n\
             virtual_destination_concurrency_limit = 20\ninitial_destination_concurrency = 20\n\
             default_process_limit = 200\nin_flow_delay = 0\nmax_use = 1000000\n",
            queue.display(),
            data.display(),
            log.display(),
        );
        fs::write(config.join("main.cf"), settings)?;
        fs::write(config.join("master.cf"), format!("{smtp} inet n - n - - smtpd\n{SERVICES}"))?;
        let mut command = programs::ending_with_us("KILL");
        // The first process of the namespace must not change its ids, or no end of ours reaches it; `timeout` does not.
        command.args(["unshare", "--pid", "--fork", "--kill-child", "timeout", "--kill-after=5", "3600"]);
        command.arg(program).arg("-c").arg(&config).arg("start-fg");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut postfix = Self { child: command.spawn()?, smtp, queue };
        programs::until_greeted(&mut postfix.child, smtp, "Postfix", &log)?;
        Ok(postfix)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has delivered everything.
    pub(crate) fn drain(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(300);
        // A message goes from `incoming` to `active`, and from there to its Maildir or to `deferred`.
        while !(is_empty(&self.queue.join("incoming"))? && is_empty(&self.queue.join("active"))?) {
            if Instant::now() > deadline {
                return Err(io::Error::other("Postfix still has messages in its queue"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.child.kill(); // its namespace goes with it
        let _ = self.child.wait(); // nothing to learn from how it ended
    }
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(directory)?.next().is_none())
}

fn id(user: &str) -> io::Result<u32> {
    let text = programs::first_line(Command::new("id").args(["--user", user]))?;
    text.parse().map_err(io::Error::other)
}

/// The services that queue mail from SMTP and deliver it.
const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
retry unix - - n - - error
error unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
";
