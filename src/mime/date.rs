//! Dates of header fields.

/// A date, by the clock and in the time zone of its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year, 1900 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second; 60 is a leap second.
    pub second: u8,
    /// Seconds that its clock is ahead of UTC.
    pub offset: i32,
}

impl Date {
    /// Parses a date of RFC 5322 section 3.3, with what section 4.3 tolerates and programs write: comments, no day of the week,
    /// years of two digits, zones by name or none at all, the order of `asctime`, and RFC 3339. `None` if there is no such
    /// day or time.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = without_comments(value.get(..value.len().min(MAX_LENGTH))?);
        let mut words = text
            .split(|c: char| c.is_ascii_whitespace() || c == ',')
            .filter(|word| !word.is_empty())
            .peekable();
        words.next_if(|word| number_of_digits(word) == 0 && position(&DAYS, word).is_some());
        let first = words.next()?;
        let (day, month, year, time) =
            if let Some((year, rest)) = first.split_once('-').filter(|(year, _)| year.len() == 4) {
                // 2026-11-20T10:00:00Z, or with a blank
                let (date, time) = rest.split_once(['T', 't']).unwrap_or((rest, ""));
                let (month, day) = date.split_once('-')?;
                let time = if time.is_empty() { words.next()? } else { time };
                (number(day)?, number(month)?, number(year)?, time)
            } else if let Some((day, rest)) = first.split_once('-') {
                let (month, year) = rest.split_once('-')?; // 20-Nov-2026
                (number(day)?, month_of(month)?, full_year(year)?, words.next()?)
            } else if number_of_digits(first) == 0 {
                let (month, day, next) = (month_of(first)?, number(words.next()?)?, words.next()?);
                if next.contains(':') {
                    // Nov 20 10:00:00 2026, perhaps with the zone before the year
                    let after: Vec<&str> = words.by_ref().take(2).collect();
                    let year = *after.iter().find(|word| number(word).is_some() && word.len() == 4)?;
                    let zone = after.iter().find(|word| **word != year).map_or(Some(0), |zone| offset(zone));
                    return Self::checked(day, month, number(year)?, clock(next)?, zone?);
                }
                (day, month, full_year(next)?, words.next()?) // November 20, 2026 10:00
            } else {
                (number(first)?, month_of(words.next()?)?, full_year(words.next()?)?, words.next()?)
            };
        // The zone may follow without a blank: 10:00:00+0100, 10:00Z
        let end = time.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(time.len());
        let (time, zone) = time.split_at(end);
        let zone = if zone.is_empty() { words.next() } else { Some(zone) };
        // A.M. and P.M. are in no standard.
        let (half, zone) = match zone {
            Some(half) if ["am", "pm"].iter().any(|known| half.eq_ignore_ascii_case(known)) => {
                (Some(half), words.next())
            }
            zone => (None, zone),
        };
        let (hour, minute, second) = clock(time)?;
        let hour = match half {
            None => hour,
            Some(_) if !(1..=12).contains(&hour) => return None,
            Some(half) => hour % 12 + if half.eq_ignore_ascii_case("pm") { 12 } else { 0 },
        };
        Self::checked(day, month, year, (hour, minute, second), zone.map_or(Some(0), offset)?)
    }

    fn checked(
        day: u32,
        month: u32,
        year: u32,
        (hour, minute, second): (u32, u32, u32),
        offset: i32,
    ) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let good = (1..=days).contains(&day)
            && (1900..=9999).contains(&year)
            && hour < 24
            && minute < 60
            && second <= 60
            && offset.abs() < 24 * 3600;
        let small = |number: u32| u8::try_from(number).ok();
        Some(Self {
            year: u16::try_from(year).ok()?,
            month: small(month)?,
            day: small(day)?,
            hour: small(hour)?,
            minute: small(minute)?,
            second: small(second)?,
            offset,
        })
        .filter(|_| good)
    }

    /// Seconds since 1970, negative before.
    pub fn seconds(&self) -> i64 {
        // Years that begin in March have their leap day last, and 400 of them always have 146,097 days.
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let days =
            year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
                - 719_468;
        let time = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days * 86_400 + time - i64::from(self.offset)
    }

    /// The date in UTC of that many seconds since 1970. Beyond the year 9999 or before 1900, the nearest one.
    pub fn from_seconds(seconds: i64) -> Self {
        let seconds = seconds.clamp(FIRST, LAST);
        let (days, time) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |number: i64| u8::try_from(number).unwrap_or_default();
        Self {
            year: u16::try_from(year).unwrap_or_default(),
            month: small(month),
            day: small(day),
            hour: small(time / 3600),
            minute: small(time / 60 % 60),
            second: small(time % 60),
            offset: 0,
        }
    }

    /// The date by its own clock, in the form of RFC 3339, which JSON uses.
    pub fn rfc3339(&self) -> String {
        let Self { year, month, day, hour, minute, second, offset } = self;
        let clock = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if *offset == 0 {
            return clock + "Z";
        }
        let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.abs() / 60);
        format!("{clock}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Day of the week on its own clock, 0 for Sunday.
    pub fn day_of_week(&self) -> usize {
        let days = (self.seconds() + i64::from(self.offset)).div_euclid(86_400);
        usize::try_from((days + 4).rem_euclid(7)).unwrap_or_default()
    }
}

/// Takes comments out (RFC 5322 section 3.2.2), and everything that is not ASCII.
fn without_comments(value: &[u8]) -> String {
    let (mut text, mut depth) = (String::with_capacity(value.len()), 0_usize);
    for b in value {
        match b {
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                text.push(' ');
            }
            b if depth == 0 => text.push(if b.is_ascii() { char::from(*b) } else { '?' }),
            _ => {}
        }
    }
    text
}

fn number_of_digits(word: &str) -> usize {
    word.bytes().filter(u8::is_ascii_digit).count()
}

fn number(word: &str) -> Option<u32> {
    let good = (1..=4).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    good.then(|| word.parse().ok())?
}

/// A year; RFC 5322 section 4.3 for those of two and three digits.
fn full_year(word: &str) -> Option<u32> {
    let year = number(word)?;
    Some(match (word.len(), year) {
        (2, 0..50) => year + 2000,
        (2 | 3, _) => year + 1900,
        _ => year,
    })
}

/// The number of a month by its name, whole or shortened.
fn month_of(word: &str) -> Option<u32> {
    position(&MONTHS, word).and_then(|at| u32::try_from(at + 1).ok())
}

/// The place of the name that the word begins with. The word has only letters, and perhaps a full stop.
fn position(names: &[&str], word: &str) -> Option<usize> {
    let letters = word.trim_end_matches('.');
    let is_word = letters.len() <= "Wednesday".len() && letters.bytes().all(|b| b.is_ascii_alphabetic());
    let start = letters.get(..3).filter(|_| is_word)?;
    names.iter().position(|name| start.eq_ignore_ascii_case(name))
}

/// Hours, minutes and seconds. The seconds are optional, and their fraction is left out.
fn clock(time: &str) -> Option<(u32, u32, u32)> {
    let (time, _) = time.split_once('.').filter(|(time, _)| time.contains(':')).unwrap_or((time, ""));
    let mut parts = time.split(':').map(|part| number(part).filter(|_| part.len() <= 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    parts.next().is_none().then_some((hour, minute, second))
}

/// Seconds that a time zone is ahead of UTC. An unknown name is UTC (RFC 5322 section 4.3); `None` if it is none at all.
pub fn offset(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => {
            let (name, rest) =
                zone.split_at(zone.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(zone.len()));
            let hours = ZONES
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known))
                .map_or(0, |(_, hours)| *hours);
            return match rest {
                // `GMT+0100`
                rest if hours == 0 && rest.starts_with(['+', '-']) => offset(rest),
                _ => (!name.is_empty()).then_some(hours * 3600),
            };
        }
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let time = i32::try_from(number(&digits)?).ok()?;
    let (hours, minutes) = if digits.len() <= 2 { (time, 0) } else { (time / 100, time % 100) };
    (minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Names of days, Sunday first.
pub const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// Names of months, January first.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Names of time zones with their hours ahead of UTC. The letters of the military mean nothing (RFC 5322 section 4.3).
const ZONES: [(&str, i32); 17] = [
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
    ("BST", 1),
    ("CET", 1),
    ("MET", 1),
    ("CEST", 2),
    ("MEST", 2),
    ("EET", 2),
    ("EEST", 3),
    ("MSK", 3),
    ("JST", 9),
];
/// The first second of the year 1900.
const FIRST: i64 = -2_208_988_800;
/// The last second of the year 9999.
pub const LAST: i64 = 253_402_300_799;
/// Octets of a date that are read.
const MAX_LENGTH: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_json_has_it() {
        for (text, expected) in [
            ("Fri, 20 Nov 2026 10:00:05 +0000", "2026-11-20T10:00:05Z"),
            ("Fri, 20 Nov 2026 10:00:05 +0530", "2026-11-20T10:00:05+05:30"),
            ("Fri, 20 Nov 2026 10:00:05 -0800", "2026-11-20T10:00:05-08:00"),
        ] {
            assert_eq!(Date::parse(text.as_bytes()).unwrap().rfc3339(), expected);
        }
    }

    #[test]
    fn dates_are_read_as_programs_write_them() {
        // All of them are 2026-11-20 10:00:00 UTC.
        for text in [
            "Fri, 20 Nov 2026 10:00:00 +0000",
            " Fri, 20 Nov 2026 12:00:00 +0200 (EET)",
            "Fri, 20 Nov 2026 10:00 GMT",
            "20 Nov 2026 10:00:00",
            "20 Nov 2026 10:00",
            "Fri 20 Nov 26 10:00 UT",
            "Fri,20 Nov 126 05:00:00 EST",
            "Friday, 20 November 2026 05:00:00 -0500",
            "Fri, 20 Nov 2026 10:00:00 Z",
            "Fri, 20 Nov 2026 10:00:00 K",
            "Fri, 20 Nov 2026 10:00:00 -0000",
            "Fri, 20 Nov 2026 10:00:00 XYZ",
            "Fri (a (nested) comment), 20 (x) Nov(y)2026 10:00:00 (z) +0000 (Coordinated)",
            "Fri, 20 Nov 2026 11:00:00+0100",
            "Fri, 20 Nov 2026 11:00:00 +01:00",
            "Fri, 20 Nov 2026 11:00:00 GMT+0100",
            "Fri, 20 Nov 2026 10:00:00.123 +0000",
            "20-Nov-2026 10:00:00 +0000",
            "Fri, 20 Nov 2026 03:00:00 PM +0500",
            "Fri Nov 20 10:00:00 2026",
            "Friday, November 20, 2026 10:00 AM",
            "Fri, 20-Nov-26 10:00:00 GMT",
            "Fri Nov 20 10:00:00 GMT 2026",
            "Fri Nov 20 11:00:00 2026 +0100",
            "2026-11-20T10:00:00Z",
            "2026-11-20 11:00:00 +0100",
            "2026-11-20T11:00:00.5+01:00",
            // The day of the week is not believed.
            "Mon, 20 Nov 2026 10:00:00 +0000",
        ] {
            assert_eq!(
                Date::parse(text.as_bytes()).map(|date| date.seconds()),
                Some(1_795_168_800),
                "{text}"
            );
        }
    }

    #[test]
    fn impossible_dates_are_none() {
        for text in [
            "",
            "yesterday",
            "9999-11-99 99:99",
            "Wed, 31 Feb 2026 10:00:00 +0000",
            "Sun, 29 Feb 2026 10:00:00 +0000",
            "Fri, 20 Nov 2026 24:00:00 +0000",
            "Fri, 20 Nov 2026 10:60:00 +0000",
            "Fri, 20 Nov 2026 10:00:61 +0000",
            "Fri, 20 Nov 2026 10:00:00 +9999",
            "Fri, 20 Nov 2026 10:00:00 +0160",
            "Fri, 20 Nov 2026 10:00:00:00 +0000",
            "Fri, 20 Nov 20260 10:00:00 +0000",
            "Fri, 20 Nov 1026 10:00:00 +0000",
            "Fri, 0 Nov 2026 10:00:00 +0000",
            "Fri, 20 Foo 2026 10:00:00 +0000",
            "Fri, 20 Nov 2026",
            "Fri, 20 Nov 2026 10 +0000",
            "Fri, -20 Nov 2026 10:00:00 +0000",
            "2026-00-10T10:00:00Z",
            "Fri, 20 Nov 2026 13:00 PM",
            "\u{661}\u{662} Nov 2026 10:00",
        ] {
            assert_eq!(Date::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_is_right_on_every_day() {
        let mut expected = FIRST;
        for year in 1900..=2500 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let Some(date) = Date::checked(day, month, year, (23, 59, 58), 0) else { continue };
                    assert_eq!(date.seconds(), expected + 86_398, "{date:?}");
                    assert_eq!(Date::from_seconds(date.seconds()), date);
                    assert_eq!(date.day_of_week() as i64, (expected / 86_400 + 4).rem_euclid(7), "{date:?}");
                    expected += 86_400;
                }
            }
        }
        assert_eq!(Date::from_seconds(i64::MAX).seconds(), LAST);
        assert_eq!(Date::from_seconds(i64::MIN).seconds(), FIRST);
    }
}
