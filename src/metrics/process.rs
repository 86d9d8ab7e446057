//! Metrics that the kernel keeps about this process, and its version.

use std::fs;

use super::family::{Family, Kind, Sample};

/// The metrics in `/proc` that can be read; a sandbox may hide some.
pub(super) fn families() -> Vec<Family> {
    let gauge = |name, help, value: Option<f64>| {
        value.map(|value| Family { name, kind: Kind::Gauge, help, samples: vec![Sample::unlabelled(value)] })
    };
    let cpu = cpu_seconds().map(|value| Family {
        name: "restante_cpu_seconds_total",
        kind: Kind::Counter,
        help: "CPU time of all threads.",
        samples: vec![Sample::unlabelled(value)],
    });
    let build = Family {
        name: "restante_build_info",
        kind: Kind::Gauge,
        help: "The running version: always 1.",
        samples: vec![Sample {
            labels: vec![("version", env!("CARGO_PKG_VERSION").into())],
            ..Sample::unlabelled(1.0)
        }],
    };
    [
        gauge("restante_open_descriptors", "Open descriptors.", open_descriptors()),
        gauge("restante_max_descriptors", "Limit of open descriptors.", max_descriptors()),
        gauge(
            "restante_resident_memory_bytes",
            "Memory in use.",
            memory_in_use().map(|octets| octets as f64),
        ),
        cpu,
        Some(build),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn open_descriptors() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64) // one is the directory being read
}

fn max_descriptors() -> Option<f64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.map(|n| n as f64)
}

/// The memory of this process, in octets. `None` if a sandbox hides it.
pub fn memory_in_use() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
