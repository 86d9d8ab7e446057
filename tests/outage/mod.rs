//! What the tests of sudden ends share: a load of many sessions, a ledger of what the server promised to
//! them, and a look at what is left. `power_cut` takes the file system away under the server, `kill_loop`
//! only the process.

pub(crate) mod check;
pub(crate) mod ledger;
pub(crate) mod letters;
pub(crate) mod load;
pub(crate) mod wire;

use std::time::{Duration, Instant};

use crate::common::Server;
use wire::Wire;

/// Something that may not be.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// Which rule it breaks, in one or two words.
    pub(crate) what: &'static str,
    /// What was found, and where.
    pub(crate) text: String,
}

impl Wrong {
    pub(crate) fn new(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, text: text.into() }
    }
}

/// Starts the server again, and says how long it took until it greeted a client.
pub(crate) fn restart(server: &mut Server) -> Result<Duration, Wrong> {
    let began = Instant::now();
    server.restart();
    let failed = |error| Wrong::new("no greeting", format!("{error}"));
    let (code, _) = Wire::connect(server.smtp()).and_then(|mut wire| wire.reply()).map_err(failed)?;
    if code == 220 { Ok(began.elapsed()) } else { Err(Wrong::new("no greeting", code.to_string())) }
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// Numbers that look random and are the same in every run with the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of their own for somebody.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap() // invariant: below a usize
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
