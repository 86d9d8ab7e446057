//! Postfix in front of us, as a relay with a queue of its own: a whole instance with its configuration, its queue
//! and its log in a temporary directory, and all of its processes in a namespace that ends with the story.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::{
    clients::free_port,
    common::{Server, Setup, eventually, listener_at, listeners},
    letters::{ALICE, file, identify, ids},
    programs::{POSTFIX, Story, contained, feed, limited, succeeded},
    visit::look_for,
};

const BOB: &str = "bob@example.test";
const NOBODY: &str = "nobody@example.test";
/// The user of Postfix where it need not be root, in its default configuration.
const OWNER: &str = "postfix";
const NEEDS: &[&str] = &[POSTFIX];
const LMTP_SOCKET: &str = "lmtp.sock";

/// The services that Postfix needs to take mail from `sendmail` or over SMTP, to queue it, and to pass it on.
const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
retry unix - - n - - error
error unix - - n - - error
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
";

/// The way that a letter takes from Postfix to us.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Lmtp,
    Smtp,
}

/// A running Postfix; it ends with this.
pub(crate) struct Postfix {
    child: Child,
    /// Address at which it takes in mail from programs of this machine.
    pub(crate) smtp: SocketAddr,
    config: PathBuf,
    home: TempDir,
}

impl Postfix {
    /// Starts it, to relay everything to that server, which has its sockets there.
    pub(crate) fn relay(server: &Server, sockets: &Path, way: Way) -> Self {
        let home = relay_home();
        let config = home.path().join("etc");
        let transport = match way {
            Way::Lmtp => format!("lmtp:unix:{}", sockets.join(LMTP_SOCKET).display()),
            Way::Smtp => format!("smtp:[{}]:{}", server.smtp().ip(), server.smtp().port()),
        };
        let [queue, data, log] = ["queue", "data", "log"].map(|name| home.path().join(name));
        for directory in [&config, &queue, &data] {
            fs::create_dir(directory).unwrap();
        }
        chown(&data, Some(id("-u")), None).unwrap();
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\nmaillog_file = {}\n\
             maillog_file_prefixes = {}\nmyhostname = relay.test\nmydestination =\nalias_maps =\n\
             inet_interfaces = loopback-only\nmynetworks = 127.0.0.0/8\nsmtpd_peername_lookup = no\nnotify_classes =\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{nobody@refused.test=REJECT}}\n\
             default_transport = {transport}\n",
            queue.display(),
            data.display(),
            log.display(),
            home.path().display(),
        );
        fs::write(config.join("main.cf"), settings).unwrap();
        let smtp = free_port();
        let services = format!("{smtp} inet n - n - - smtpd\n{SERVICES}");
        fs::write(config.join("master.cf"), services).unwrap();
        let mut command = contained(POSTFIX);
        command.arg("-c").arg(&config).arg("start-fg");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let postfix = Self { child, smtp, config, home };
        eventually("Postfix is up", || postfix.log().contains("daemon started").then_some(()));
        postfix
    }

    /// Hands in a letter, as programs of its machine do.
    fn send(&self, id: &str, from: &str, to: &[&str]) {
        let mut sendmail = limited("sendmail");
        sendmail.arg("-C").arg(&self.config).args(["-i", "-f", from]).args(to);
        succeeded(feed(&mut sendmail, &file(id)));
    }

    /// Tries everything in the queue again.
    fn flush(&self) {
        succeeded(self.postqueue("-f"));
    }

    /// The queue as JSON, a line for each message.
    fn queue(&self) -> String {
        String::from_utf8(succeeded(self.postqueue("-j"))).unwrap()
    }

    fn postqueue(&self, what: &str) -> std::process::Output {
        limited("postqueue").arg("-c").arg(&self.config).arg(what).output().unwrap()
    }

    /// Waits until it has delivered to so many recipients in all and has nothing left to do.
    #[track_caller]
    pub(crate) fn done(&self, sent: usize) {
        eventually("Postfix has delivered", || (self.count("sent") >= sent).then_some(()));
        eventually("the queue is empty", || self.queue().is_empty().then_some(()));
        assert_eq!(self.count("sent"), sent, "nothing is sent twice");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The number of recipients with the status `sent`, `deferred` or `bounced`.
    fn count(&self, status: &str) -> usize {
        self.log().matches(&format!("status={status}")).count()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.child.kill(); // its namespace goes with it
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what Postfix logged:\n{}", self.log());
        }
    }
}

/// A directory that others than root may go through, which the one of the build need not be.
pub(crate) fn relay_home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// An id of Postfix' user: `-u` or `-g`.
fn id(which: &str) -> u32 {
    let output = Command::new("id").args([which, OWNER]).output().unwrap();
    String::from_utf8(succeeded(output)).unwrap().trim().parse().unwrap()
}

/// A server with an LMTP socket in that directory. New files there belong to the group of Postfix.
pub(crate) fn server(sockets: &Path) -> Server {
    chown(sockets, None, Some(id("-g"))).unwrap();
    fs::set_permissions(sockets, fs::Permissions::from_mode(0o2755)).unwrap();
    let lmtp = format!("unix:{}", sockets.join(LMTP_SOCKET).display());
    let config = listeners(&["smtp", "pop3"]) + &listener_at("lmtp", &lmtp, "");
    Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start()
}

/// Starts the server again, where it was before.
fn restart(server: &mut Server) {
    let file = server.home.path().join("restante.toml");
    let config = fs::read_to_string(&file).unwrap();
    let smtp = server.smtp().to_string();
    fs::write(&file, config.replacen("127.0.0.1:0", &smtp, 1)).unwrap();
    server.restart();
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(NEEDS, postfix_relays_over_lmtp_and_every_octet_arrives_once),
        Story::new(NEEDS, postfix_relays_over_smtp_and_every_octet_arrives_once),
        Story::new(NEEDS, an_unknown_recipient_bounces_alone_over_lmtp),
        Story::new(NEEDS, an_unknown_recipient_bounces_alone_over_smtp),
        Story::new(NEEDS, a_recipient_that_fails_behind_the_dot_waits_alone_over_lmtp),
        Story::new(NEEDS, the_queue_of_postfix_outlives_us_over_lmtp),
        Story::new(NEEDS, the_queue_of_postfix_outlives_us_over_smtp),
    ]
}

fn postfix_relays_over_lmtp_and_every_octet_arrives_once() {
    relays(Way::Lmtp);
}

fn postfix_relays_over_smtp_and_every_octet_arrives_once() {
    relays(Way::Smtp);
}

fn relays(way: Way) {
    let sockets = relay_home();
    let server = server(sockets.path());
    let postfix = Postfix::relay(&server, sockets.path(), way);
    let sent = ids("postfix", 16);
    for id in &sent {
        postfix.send(id, "ann@far.test", &[ALICE]);
    }
    postfix.done(sent.len());
    look_for(&server, &sent);
    let service = match way {
        Way::Lmtp => " with LMTP id ",
        Way::Smtp => " with ESMTP id ",
    };
    let new = server.maildir(ALICE).files("new");
    let received = |file| String::from_utf8_lossy(&fs::read(file).unwrap()).contains(service);
    assert!([new, server.maildir(ALICE).files("cur")].concat().into_iter().all(received));
}

fn an_unknown_recipient_bounces_alone_over_lmtp() {
    bounces_alone(Way::Lmtp);
}

fn an_unknown_recipient_bounces_alone_over_smtp() {
    bounces_alone(Way::Smtp);
}

fn bounces_alone(way: Way) {
    let sockets = relay_home();
    let server = server(sockets.path());
    let postfix = Postfix::relay(&server, sockets.path(), way);
    postfix.send("to-both-0", BOB, &[ALICE, NOBODY]);
    postfix.done(2); // the letter and the bounce
    look_for(&server, &ids("to-both", 1));
    // The sender is a local user too, and gets the bounce.
    let bounce = String::from_utf8_lossy(&server.maildir(BOB).only_message()).into_owned();
    assert!(bounce.starts_with("Return-Path: <>\n"), "{bounce}");
    assert!(bounce.contains(&format!("\nFinal-Recipient: rfc822; {NOBODY}\n")), "{bounce}");
    assert!(bounce.contains("\nStatus: 5.1.1\n"), "{bounce}");
    assert!(!bounce.contains(&format!("\nFinal-Recipient: rfc822; {ALICE}\n")), "{bounce}");
    assert_eq!(postfix.count("bounced"), 1);
}

fn a_recipient_that_fails_behind_the_dot_waits_alone_over_lmtp() {
    let sockets = relay_home();
    let server = server(sockets.path());
    let postfix = Postfix::relay(&server, sockets.path(), Way::Lmtp);
    // A file where the mailbox of bob should be: known at RCPT, and not to be delivered to.
    let mailbox = server.maildir(BOB).path;
    fs::write(&mailbox, "in the way").unwrap();
    postfix.send("to-two-0", "ann@far.test", &[ALICE, BOB]);
    eventually("bob waits", || (postfix.count("deferred") == 1).then_some(()));
    look_for(&server, &ids("to-two", 1));
    let queue = postfix.queue();
    assert!(queue.contains(BOB) && !queue.contains(ALICE), "{queue}");
    fs::remove_file(&mailbox).unwrap();
    postfix.flush();
    postfix.done(2);
    assert_eq!(identify(&server.maildir(BOB).only_message()), Ok("to-two-0".to_owned()));
    look_for(&server, &ids("to-two", 1));
}

fn the_queue_of_postfix_outlives_us_over_lmtp() {
    outlives(Way::Lmtp);
}

fn the_queue_of_postfix_outlives_us_over_smtp() {
    outlives(Way::Smtp);
}

fn outlives(way: Way) {
    let sockets = relay_home();
    let mut server = server(sockets.path());
    let postfix = Postfix::relay(&server, sockets.path(), way);
    let sent = ids("postfix", 12);
    let (before, after) = sent.split_at(4);
    for id in before {
        postfix.send(id, "ann@far.test", &[ALICE]);
    }
    postfix.done(before.len());
    server.kill();
    for id in after {
        postfix.send(id, "ann@far.test", &[ALICE]);
    }
    eventually("everything is deferred", || (postfix.count("deferred") >= after.len()).then_some(()));
    assert_eq!(postfix.queue().lines().count(), after.len());
    restart(&mut server);
    postfix.flush();
    postfix.done(sent.len());
    look_for(&server, &sent);
}
