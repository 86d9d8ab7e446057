//! The whole site: a spool, two instances, and HAProxy before them.

use std::{net::SocketAddr, path::Path};

use crate::{
    common::{Server, Setup, listener_at, secure::Keys},
    network::{Cables, INSTANCES, Machine, PROXY},
    proxy::HaProxy,
    spool::{Kind, Spool},
};

pub(crate) struct Site {
    pub(crate) proxy: HaProxy,
    /// They end before their spool does.
    pub(crate) instances: [Server; 2],
    pub(crate) spool: Spool,
    pub(crate) keys: Keys,
    _cables: Cables,
}

impl Site {
    pub(crate) fn open(kind: Kind) -> Self {
        let (cables, keys, spool) = (Cables::plug(kind), Keys::make(), Spool::new(kind));
        let instances = [0, 1].map(|at| start(at, &keys, &spool, &[]));
        Self { proxy: HaProxy::start(), instances, spool, keys, _cables: cables }
    }

    /// Starts an instance again, by another clock.
    pub(crate) fn restart_by(&mut self, at: usize, clock: &str, library: &Path) {
        self.instances[at].kill();
        let (preload, time) = (format!("LD_PRELOAD={}", library.display()), format!("FAKETIME={clock}"));
        let wrapper = ["env", &preload, &time, "FAKETIME_DONT_FAKE_MONOTONIC=1"];
        self.instances[at] = start(at, &self.keys, &self.spool, &wrapper);
    }

    /// The addresses that clients of SMTP and of POP3 connect to.
    pub(crate) fn fronts(&self) -> (SocketAddr, SocketAddr) {
        (self.proxy.front(25), self.proxy.front(110))
    }
}

/// An instance as the example of HAProxy wants it, and with two more listeners, without a proxy.
fn start(at: usize, keys: &Keys, spool: &Spool, wrapper: &[&str]) -> Server {
    let Machine { address, .. } = INSTANCES[at];
    let machine = spool.wrapper(at);
    let machine: Vec<&str> = machine.iter().map(String::as_str).collect();
    let beside = [("smtp", 2525), ("pop3", 2110)]
        .map(|(protocol, port)| listener_at(protocol, &format!("{address}:{port}"), in_clear_text(protocol)));
    let behind = SERVICES.map(|(protocol, port)| {
        let more = format!("proxy_networks = [\"{}/32\"]\n{}", PROXY.address, in_clear_text(protocol));
        listener_at(protocol, &format!("{address}:{port}"), &more)
    });
    let config = format!(
        "shared_spool = true\n[limits]\nconnections.max_per_address = 0\npop3.lock_timeout = \"2s\"\n[tls]\ncertificate = {:?}\nkey = {:?}\n{}{}",
        keys.certificate(),
        keys.key(),
        beside.concat(),
        behind.concat(),
    );
    let users: Vec<String> = users().collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let setup = Setup {
        wrapper: &[&machine[..], wrapper].concat(),
        config: Some(&config),
        users: &users,
        arguments: &["--log-level", "debug"],
        spool: Some(spool.way(at)),
        ..Setup::default()
    };
    setup.start()
}

fn in_clear_text(protocol: &str) -> &'static str {
    if protocol == "pop3" { "auth_allow_cleartext = true\n" } else { "" }
}

/// All recipients of the load.
fn users() -> impl Iterator<Item = String> {
    let fresh = (0..12).map(|number| format!("fresh0-{number}@example.test"));
    (0..8).map(|number| format!("user{number}@example.test")).chain(fresh)
}

/// The services of the example, and their ports.
pub(crate) const SERVICES: [(&str, u16); 7] = [
    ("smtp", 25),
    ("submission", 587),
    ("submissions", 465),
    ("imap", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
];
