//! Four machines at one bridge, as far as the network goes: the clients', which is this process's, the proxy's, and one
//! for each instance. They end with the namespace that this process is in.

use std::{fs, net::Ipv4Addr, process::Command};

use crate::spool::Kind;

/// A machine beside the clients'.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
}

/// The clients' machine, which is also the file server's.
pub(crate) const CLIENTS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// These addresses are those of `examples/haproxy.cfg`.
pub(crate) const PROXY: Machine = machine("proxy", 10);
pub(crate) const INSTANCES: [Machine; 2] = [machine("a", 11), machine("b", 12)];

const fn machine(name: &'static str, host: u8) -> Machine {
    Machine { name, address: Ipv4Addr::new(192, 0, 2, host) }
}

impl Machine {
    /// The command prefix that runs a program in its namespace.
    pub(crate) fn wrapper(self) -> [&'static str; 4] {
        ["ip", "netns", "exec", self.name]
    }

    /// Plugs its namespace into the bridge.
    fn plug(self) {
        let Self { name, address } = self;
        run(&format!("ip link add name {name} type veth peer name eth0 netns {name}"));
        run(&format!("ip -netns {name} link set lo up"));
        run(&format!("ip -netns {name} address add {address}/24 dev eth0"));
        run(&format!("ip -netns {name} link set eth0 up"));
        self.switch_on();
    }

    fn switch_on(self) {
        run(&format!("ip link set dev {} master mail up", self.name));
    }

    /// Cuts it off from the network, or connects it again.
    pub(crate) fn connect(self, connected: bool) {
        run(&format!("ip link set dev {} {}", self.name, if connected { "up" } else { "down" }));
    }
}

/// Makes the parts of the network that stay for all stories.
pub(crate) fn make() {
    // `ip netns` and HAProxy leave files in /run.
    run("mount -t tmpfs run /run");
    fs::create_dir("/run/haproxy").unwrap();
    run("ip link set lo up");
    run("ip link add mail type bridge");
    run(&format!("ip address add {CLIENTS}/24 dev mail"));
    run("ip link set mail up");
    for Machine { name, .. } in [PROXY].into_iter().chain(INSTANCES) {
        run(&format!("ip netns add {name}"));
    }
    PROXY.plug();
}

/// The cables of the instances; they are pulled out when this goes.
pub(crate) struct Cables;

impl Cables {
    pub(crate) fn plug(kind: Kind) -> Self {
        for machine in INSTANCES {
            if kind.has_kernels() {
                run(&format!("ip tuntap add dev {} mode tap", machine.name));
                machine.switch_on();
            } else {
                machine.plug();
            }
        }
        // Machines of an earlier story had these addresses.
        run("ip neighbour flush all");
        run("ip -netns proxy neighbour flush all");
        Self
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        for Machine { name, .. } in INSTANCES {
            run(&format!("ip link delete dev {name}"));
        }
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}: {status}");
}
