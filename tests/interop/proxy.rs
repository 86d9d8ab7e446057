//! HAProxy in front of us, with the header of version 2 of the PROXY protocol.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

use crate::{
    common::{
        PASSWORD, Server,
        client::Client,
        eventually, home, listener,
        secure::{Keys, address},
    },
    letters::{ALICE, identified, letter},
    programs::{Story, feed, limited, succeeded},
};

const HAPROXY: &str = "haproxy";
/// The address of the clients; HAProxy itself comes from 127.0.0.1.
const CLIENT: &str = "127.0.0.2";
const SERVICES: [&str; 5] = ["smtp", "submission", "submissions", "pop3", "pop3s"];

/// A running HAProxy; it ends with this.
struct HaProxy {
    child: Child,
    fronts: Vec<(&'static str, SocketAddr)>,
    home: TempDir,
}

impl HaProxy {
    /// Starts it in front of every service of that server, with that much more about SMTP.
    fn before(server: &Server, smtp: &str) -> Self {
        let home = home();
        let mut config = "defaults\nmode tcp\ntimeout connect 5s\ntimeout client 30s\ntimeout server 30s\n\
                          log stdout format raw local0\noption tcplog\noption log-health-checks\n"
            .to_owned();
        let mut fronts = Vec::new();
        let mut listeners = Vec::new();
        for service in SERVICES {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            fcntl_setfd(&listener, FdFlags::empty()).unwrap(); // HAProxy inherits it
            fronts.push((service, listener.local_addr().unwrap()));
            let (fd, to) = (listener.as_raw_fd(), address(server, service));
            config.push_str(&format!("listen {service}\nbind fd@{fd}\nserver us {to} send-proxy-v2"));
            config.push_str(match service {
                "smtp" => smtp,
                _ => "",
            });
            config.push('\n');
            listeners.push(listener);
        }
        let file = home.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let mut command = limited(HAPROXY);
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: command.spawn().unwrap(), fronts, home }
    }

    fn port(&self, service: &str) -> u16 {
        let (_, front) = self.fronts.iter().find(|(name, _)| *name == service).unwrap();
        front.port()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM); // `timeout` passes it on
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what HAProxy logged:\n{}", self.log());
        }
    }
}

/// Every service, for the proxies of 127.0.0.1 only.
fn server(keys: &Keys) -> Server {
    let behind_a_proxy = |service| listener(service, "proxy_networks = [\"127.0.0.1/32\"]");
    keys.serve(&SERVICES.map(behind_a_proxy).concat())
}

/// curl, which comes from [`CLIENT`] and logs in where users do.
fn curl(keys: &Keys, proxy: &HaProxy, scheme: &str, service: &str, rest: &str) -> Command {
    let mut command = limited("curl");
    command.args(["--silent", "--show-error", "--ipv4", "--noproxy", "*", "--interface", CLIENT]);
    command.arg("--cacert").arg(keys.certificate());
    if service != "smtp" {
        command.args(["--ssl-reqd", "--user", &format!("{ALICE}:{PASSWORD}")]);
    }
    command.arg(format!("{scheme}://localhost:{}/{rest}", proxy.port(service)));
    command
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&[HAPROXY, "curl"], haproxy_tells_whose_mail_and_logins_it_hands_over),
        Story::new(&[HAPROXY], haproxy_finds_us_healthy_with_a_header_that_names_nobody),
        Story::new(&[HAPROXY, "curl"], behind_haproxy_nobody_gets_in_past_it),
    ]
}

fn haproxy_tells_whose_mail_and_logins_it_hands_over() {
    let keys = Keys::make();
    let server = server(&keys);
    let proxy = HaProxy::before(&server, "");
    let sent =
        [("smtp", "smtp", "ESMTP"), ("smtp", "submission", "ESMTPSA"), ("smtps", "submissions", "ESMTPSA")];
    for (scheme, service, with) in sent {
        let mut send = curl(&keys, &proxy, scheme, service, "client.test");
        send.args(["--mail-from", ALICE, "--mail-rcpt", ALICE, "--upload-file", "-"]);
        let before = server.maildir(ALICE).files("new");
        succeeded(feed(&mut send, &letter(service)));
        let mut new = server.maildir(ALICE).files("new");
        new.retain(|file| !before.contains(file));
        assert_eq!(new.len(), 1);
        let stored = fs::read(&new[0]).unwrap();
        assert_eq!(identified(&stored), service);
        let stored = String::from_utf8_lossy(&stored);
        assert!(stored.contains(&format!("Received: from client.test ([{CLIENT}])\n")), "{stored}");
        assert!(stored.contains(&format!(" with {with} id ")), "{stored}");
    }
    for (scheme, service) in [("pop3", "pop3"), ("pop3s", "pop3s")] {
        let text = succeeded(curl(&keys, &proxy, scheme, service, "1").output().unwrap());
        assert!(sent.iter().any(|(_, service, _)| identified(&text) == *service));
    }
    assert_logged(&server, " connected peer=", SERVICES.len(), 0);
}

/// Waits until so many lines say that of the client and so many of the proxy, and fails if one names any
/// other peer.
#[track_caller]
fn assert_logged(server: &Server, what: &str, clients: usize, proxies: usize) {
    let count = |log: &str, of: &str| log.matches(&format!("{what}{of}")).count();
    let logged = eventually(what, || {
        let log = server.log();
        (count(&log, "") >= clients + proxies).then_some(log)
    });
    let seen = [count(&logged, ""), count(&logged, &format!("{CLIENT}:")), count(&logged, "127.0.0.1:")];
    assert_eq!(seen, [clients + proxies, clients, proxies], "all, of clients, of the proxy:{what}");
}

fn haproxy_finds_us_healthy_with_a_header_that_names_nobody() {
    let keys = Keys::make();
    let server = server(&keys);
    let proxy = HaProxy::before(&server, " check\noption smtpchk EHLO haproxy.test");
    eventually("a check passes", || proxy.log().contains("Layer7 check passed").then_some(()));
    server.tells(" smtp connected peer=127.0.0.1:");
    assert!(!proxy.log().contains("failed"), "{}", proxy.log());
}

fn behind_haproxy_nobody_gets_in_past_it() {
    let keys = Keys::make();
    let server = server(&keys);
    let proxy = HaProxy::before(&server, "");
    let lie = b"PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\nQUIT\r\n";
    for service in SERVICES {
        let to = address(&server, service);
        // From elsewhere, as if it were a proxy.
        let mut stranger = limited("curl");
        stranger.args(["--silent", "--noproxy", "*", "--interface", CLIENT, &format!("telnet://{to}")]);
        assert_eq!(String::from_utf8_lossy(&feed(&mut stranger, lie).stdout), "", "{service}");
        // From where the proxy is, without its header.
        let mut beside = Client::connect(to);
        beside.send("QUIT");
        assert_eq!(beside.rest(), b"", "{service}");
    }
    assert_logged(&server, " proxy failed peer=", SERVICES.len(), SERVICES.len());
    let front = SocketAddr::from(([127, 0, 0, 1], proxy.port("smtp")));
    Client::smtp_at(front).ask("NOOP", "250");
}
