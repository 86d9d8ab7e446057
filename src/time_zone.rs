//! The time zones that this machine knows. A leaf above `open_regular`; only a thread that may block reads one.

use std::path::Path;

use tz::TimeZone;

use crate::open_regular::read_bounded;

/// A time zone.
#[derive(Debug)]
pub(crate) struct Zone(Option<TimeZone>);

impl Zone {
    /// Universal time.
    pub(crate) const UTC: Self = Self(None);

    /// The zone of this name, such as `Europe/Berlin`. UTC if this machine does not know it.
    pub(crate) fn named(name: &str) -> Self {
        let is_name = name.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_".contains(&b))
        });
        let octets = is_name.then(|| read_bounded(&Path::new(DIRECTORY).join(name), MAX_FILE).ok()).flatten();
        Self(octets.and_then(|octets| TimeZone::from_tz_data(&octets).ok()))
    }

    /// The number of seconds that its clocks are ahead of UTC when they show a time, in seconds since 1970.
    pub(crate) fn offset(&self, shown: i64) -> i32 {
        let Some(zone) = &self.0 else { return 0 };
        let offset = |time| zone.find_local_time_type(time).map_or(0, |local| local.ut_offset());
        // Near a change of the clocks the first guess may be on its other side.
        let guess = offset(shown - i64::from(offset(shown)));
        offset(shown - i64::from(guess))
    }
}

/// The directory of the zones of this machine, also for the sandbox.
pub(crate) const DIRECTORY: &str = "/usr/share/zoneinfo";
/// Octets of the largest file of a zone.
const MAX_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_its_summer_and_a_name_is_no_path() {
        if !Path::new(DIRECTORY).join("Europe/Berlin").is_file() {
            return println!("SKIPPED a_zone_has_its_summer: there is no {DIRECTORY}");
        }
        let (winter, summer) = (1_768_435_200, 1_784_073_600); // 2026-01-15, 2026-07-15
        let berlin = Zone::named("Europe/Berlin");
        assert_eq!((berlin.offset(winter), berlin.offset(summer)), (3600, 7200));
        assert_eq!(Zone::named("America/Chicago").offset(summer), -5 * 3600);
        assert_eq!(Zone::named("Asia/Kolkata").offset(winter), 19_800);
        // At 2:00 on 29 March 2026 the clocks of Berlin show 3:00.
        assert_eq!((berlin.offset(1_774_749_599), berlin.offset(1_774_753_200)), (3600, 7200));
        for none in ["Nowhere/Town", "../../etc/passwd", "/etc/passwd", "Europe", "", "a//b", "tzdata.zi"] {
            assert_eq!(Zone::named(none).offset(summer), 0, "{none}");
        }
    }
}
