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
pub(crate) use crate::common::dice::{Dice, number};
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
