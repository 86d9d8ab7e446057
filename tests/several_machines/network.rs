//! Four machines at one bridge, as far as the network goes: the clients', which is this process's, the proxy's, and one
//! for each instance. They end with the namespace that this process is in.

use std::{fs, net::Ipv4Addr, process::Command};

/// A machine beside the clients'.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
}

/// The addresses are those of `examples/haproxy.cfg`.
pub(crate) const PROXY: Machine = machine("proxy", 10);
pub(crate) const INSTANCES: [Machine; 2] = [machine("a", 11), machine("b", 12)];

const fn machine(name: &'static str, host: u8) -> Machine {
    Machine { name, address: Ipv4Addr::new(192, 0, 2, host) }
}

impl Machine {
    /// What runs a program there.
    pub(crate) fn wrapper(self) -> [&'static str; 4] {
        ["ip", "netns", "exec", self.name]
    }
}

/// Makes all of it.
pub(crate) fn make() {
    // `ip netns` and HAProxy leave files in /run.
    run("mount -t tmpfs run /run");
    fs::create_dir("/run/haproxy").unwrap();
    run("ip link set lo up");
    run("ip link add mail type bridge");
    run("ip address add 192.0.2.1/24 dev mail");
    run("ip link set mail up");
    for Machine { name, address } in [PROXY].into_iter().chain(INSTANCES) {
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add name {name} type veth peer name eth0 netns {name}"));
        run(&format!("ip link set dev {name} master mail up"));
        run(&format!("ip -netns {name} link set lo up"));
        run(&format!("ip -netns {name} address add {address}/24 dev eth0"));
        run(&format!("ip -netns {name} link set eth0 up"));
    }
}

/// Cuts a machine off from the network, or connects it again.
pub(crate) fn connect(machine: Machine, connected: bool) {
    run(&format!("ip link set dev {} {}", machine.name, if connected { "up" } else { "down" }));
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}: {status}");
}
