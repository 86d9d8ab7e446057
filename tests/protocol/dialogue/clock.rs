//! The clock of dialogues, which only they move.

use std::time::{Duration, SystemTime};

use restante::clock::Now;

/// The moment, on both clocks: the session begins on 6 November 1994 at 08:49:37.
pub(crate) fn now(steady: Duration) -> Now {
    Now { monotonic: steady, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(TODAY) + (steady - BEGIN) }
}

/// The steady time at which every session begins.
pub(crate) const BEGIN: Duration = Duration::from_secs(1000);
/// The date at which every session begins, in seconds since 1970.
pub(crate) const TODAY: u64 = 784_111_777;
