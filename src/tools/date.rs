//! Mail dates: those of From_ lines and of header fields.

use crate::mime::date::{DAYS, Date, MONTHS, offset};

/// Parses the date of a From_ line, in seconds since 1970: `Sat Jan  3 01:05:34 1996`. The seconds are
/// optional, and a time zone may stand before or after the year.
pub(crate) fn from_line(words: &[&str]) -> Option<i64> {
    let (day_name, month, day, time, rest) = match words {
        [day_name, month, day, time, rest @ ..] => (day_name, month, day, time, rest),
        _ => return None,
    };
    if !DAYS.iter().any(|name| day_name.trim_end_matches(',').eq_ignore_ascii_case(name)) {
        return None;
    }
    let month = MONTHS.iter().position(|name| month.eq_ignore_ascii_case(name))?;
    let (year, zone) = match rest {
        [year] => (year, 0),
        [first, second, ..] if is_year(first) => (first, zone(second).unwrap_or(0)),
        [first, second, ..] if is_year(second) => (second, zone(first)?),
        _ => return None,
    };
    let mut clock = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
    let (day, year) = (number(day, 2)?, number(year, 4).filter(|_| is_year(year))?);
    let good = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60 && clock.next().is_none();
    let date = Date {
        year: u16::try_from(year).ok()?,
        month: u8::try_from(month + 1).ok()?,
        day: u8::try_from(day).ok()?,
        hour: u8::try_from(hour).ok()?,
        minute: u8::try_from(minute).ok()?,
        second: u8::try_from(second).ok()?,
        offset: zone,
    };
    good.then(|| date.seconds()).filter(|seconds| *seconds >= 0)
}

/// Parses a date that the words are to the last one, in any order and form that leaves no doubt: RFC 5322, RFC 3339,
/// `Sun 4 Jan 2026 08:00`, `Sunday, January 4, 2026 08:00:00 AM UTC`. Seconds since 1970.
pub(crate) fn any_order(words: &[&str]) -> Option<i64> {
    let (mut day, mut month, mut year, mut time, mut half, mut zone) = (None, None, None, None, None, None);
    let (mut day_name, mut is_comment) = (None, false);
    fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
        place.is_none().then(|| *place = Some(value))
    }
    for word in words {
        is_comment |= word.starts_with('(');
        if is_comment {
            is_comment = !word.ends_with(')');
            continue;
        }
        let word = word.trim_end_matches(',');
        let date: Vec<&str> = word.split(['T', 't']).next()?.split('-').collect();
        match date.as_slice() {
            [y, m, d] if is_year(y) => {
                set(&mut year, (*y).to_owned())?;
                let month_at = number(m, 2)?.checked_sub(1).and_then(|at| usize::try_from(at).ok())?;
                set(&mut month, *MONTHS.get(month_at)?)?;
                set(&mut day, (*d).to_owned())?;
                if let Some((_, clock)) = word.split_once(['T', 't']) {
                    set(&mut time, clock.to_owned())?;
                }
                continue;
            }
            [d, m, y] if number(d, 2).is_some() && named(&MONTHS, m).is_some() => {
                set(&mut day, (*d).to_owned())?;
                set(&mut month, named(&MONTHS, m)?)?;
                set(&mut year, (*y).to_owned())?;
                continue;
            }
            _ => {}
        }
        if number(word, 2).is_some() {
            if day.is_none() { set(&mut day, word.to_owned()) } else { set(&mut year, word.to_owned()) }?;
        } else if is_year(word) {
            set(&mut year, word.to_owned())?;
        } else if word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(':') {
            set(&mut time, word.to_owned())?;
        } else if let Some(name) = named(&MONTHS, word) {
            set(&mut month, name)?;
        } else if let Some(name) = named(&DAYS, word) {
            set(&mut day_name, name)?;
        } else if ["am", "pm"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
            set(&mut half, word)?;
        } else if word.starts_with(['+', '-'])
            || word.bytes().all(|b| b.is_ascii_uppercase())
            || word.starts_with("GMT")
        {
            offset(word)?;
            set(&mut zone, word)?;
        } else {
            return None;
        }
    }
    let text = format!("{} {} {} {}", day?, month?, year?, time?);
    let rest = [half, zone].into_iter().flatten().map(|word| format!(" {word}")).collect::<String>();
    Date::parse(format!("{text}{rest}").as_bytes()).map(|date| date.seconds()).filter(|seconds| *seconds >= 0)
}

/// The name that the word is or begins with, whole or shortened to at least three letters.
fn named<'a>(names: &[&'a str], word: &str) -> Option<&'a str> {
    let letters = word.trim_end_matches('.');
    let is_word = letters.len() <= "Wednesday".len() && letters.bytes().all(|b| b.is_ascii_alphabetic());
    let start = letters.get(..3).filter(|_| is_word)?;
    names.iter().find(|name| start.eq_ignore_ascii_case(name)).copied()
}

/// Parses the date of a header field. Returns seconds since 1970, and the offset of its time zone in seconds, positive east
/// of UTC.
pub(crate) fn field(text: &[u8]) -> Option<(i64, i64)> {
    let date = Date::parse(text)?;
    Some((date.seconds(), i64::from(date.offset))).filter(|(seconds, _)| *seconds >= 0)
}

/// Formats the date of a From_ line, in UTC.
pub(crate) fn asctime(seconds: i64) -> String {
    let date = Date::from_seconds(seconds.max(0));
    let (day, month) = (DAYS[date.day_of_week()], MONTHS[usize::from(date.month) - 1]);
    let Date { year, day: of_month, hour, minute, second, .. } = date;
    format!("{day} {month} {of_month:2} {hour:02}:{minute:02}:{second:02} {year}")
}

fn is_year(word: &str) -> bool {
    word.len() == 4 && number(word, 4).is_some_and(|year| year >= 1970)
}

fn number(word: &str, most: usize) -> Option<u32> {
    let digits = (1..=most).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| word.parse().ok())?
}

/// Offset of a time zone in seconds, positive east of UTC; 0 for an unknown name (RFC 5322 section 4.3).
fn zone(word: &str) -> Option<i32> {
    let (name, digits) = (word.bytes().all(|b| b.is_ascii_alphabetic()), word.len() == 5);
    offset(word).filter(|_| if name { word.len() <= 5 } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::date::LAST;

    fn read(text: &str) -> Option<i64> {
        from_line(&text.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn dates_of_from_lines_are_read_as_programs_write_them() {
        for (text, seconds) in [
            ("Sat Jan  3 01:05:34 1996", 820_631_134),
            ("Sat Jan 03 01:05 1996", 820_631_100),
            ("Sat Jan  3 01:05:34 +0100 1996", 820_627_534),
            ("Sat Jan  3 01:05:34 1996 -0530", 820_650_934),
            ("Sat Jan  3 01:05:34 PST 1996", 820_659_934),
            ("Sat Jan  3 01:05:34 XYZ 1996", 820_631_134),
            ("Thu Jan  1 00:00:00 1970", 0),
            ("Tue, Feb 29 12:00:00 2028", 1_835_438_400),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "Sat Jan  3 1996",
            "Foo Jan  3 01:05:34 1996",
            "Sat Foo  3 01:05:34 1996",
            "Sat Jan 33 01:05:34 1996",
            "Sat Jan  3 25:05:34 1996",
            "Sat Jan  3 01:05:34:1 1996",
            "Sat Jan  3 01:05:34 96",
            "Sat Jan  3 +1:05:34 1996",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_in_any_order_is_read_and_a_sentence_is_none() {
        for text in [
            "Sun, 04 Jan 2026 08:00:00 +0000",
            "04 Jan 2026 08:00:00",
            "4 January 2026 09:00 +0100 (CET)",
            "2026-01-04T08:00:00Z",
            "2026-01-04 08:00:00 +0000",
            "2026-01-04 10:00:00.123 +0200",
            "Sun Jan  4 08:00:00 AM UTC 2026",
            "Jan 4 08:00:00 2026",
            "Sunday, January 4, 2026 08:00:00",
            "Sun 4 Jan 08:00:00 UTC 2026",
            "4-Jan-2026 08:00",
            "4 Jan 26 08:00",
            "Sun Jan 04 2026 08:00:00 GMT+0000 (Coordinated Universal Time)",
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(any_order(&words), Some(1_767_513_600), "{text}");
        }
        for text in [
            "",
            "4 Jan 2026",
            "Sun, 04 Jan 2026 08:00:00 +0000 we meet",
            "01/04/2026 08:00",
            "31 Feb 2026 08:00",
            "4 Jan 2026 25:00",
            "4 Jan 2026 08:00 09:00",
            "4 Jan 1969 08:00",
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(any_order(&words), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 1, 820_631_134, 1_795_264_402, LAST] {
            assert_eq!(read(&asctime(seconds)), Some(seconds), "{}", asctime(seconds));
        }
        assert_eq!(asctime(820_631_134), "Wed Jan  3 01:05:34 1996");
        assert_eq!(asctime(-5), "Thu Jan  1 00:00:00 1970");
    }

    #[test]
    fn dates_of_fields_come_with_their_zone() {
        assert_eq!(field(b" Fri, 20 Nov 2026 10:00:00 +0200 (EET)"), Some((1_795_161_600, 7200)));
        assert_eq!(field(b"yesterday"), None);
    }
}
