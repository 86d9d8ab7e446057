//! Message lists as tables that fit the window.
//!
//! The rule: no row is wider than the window, in any script. A narrow window shows fewer columns: first the size goes, then
//! the date, then the person.

use crate::{
    client::{display, strings},
    language::Language,
};

/// The person that a list shows for each message: the sender or the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressColumn {
    From,
    To,
}

/// The widths of the columns; 0 for one that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    number: usize,
    marks: usize,
    who: usize,
    subject: usize,
    date: usize,
    size: usize,
}

impl Layout {
    /// The layout of a list in a window of that many columns, with so many marks for a message.
    pub(crate) fn of(columns: usize, messages: usize, marks: usize) -> Self {
        let columns = columns.min(WIDEST);
        let digits = messages.to_string().len();
        let is_wide = columns >= 64;
        let number = digits.max(if is_wide { NUMBER } else { 2 });
        let date = if is_wide {
            DATE
        } else if columns >= 44 {
            DAY
        } else {
            0
        };
        let size = if is_wide { SIZE } else { 0 };
        let who = if columns >= 28 { (columns / 4).max(8) } else { 0 };
        let others = [number, marks, who, date, size];
        let gaps = others.iter().filter(|width| **width > 0).count();
        let subject = columns.saturating_sub(others.iter().sum::<usize>() + gaps).max(1);
        Self { number, marks, who, subject, date, size }
    }

    pub(crate) fn header(self, shown: AddressColumn, language: Language) -> String {
        let who = if shown == AddressColumn::From { strings::HEAD_FROM } else { strings::HEAD_TO };
        let [number, who, subject, date, size] =
            [strings::HEAD_NUMBER, who, strings::HEAD_SUBJECT, strings::HEAD_DATE, strings::HEAD_SIZE]
                .map(|words| words.text(language));
        self.row([number, "", who, subject, date, size])
    }

    /// Formats number, mark, person, subject, date and size in one line.
    pub(crate) fn row(self, [number, mark, who, subject, date, size]: [&str; 6]) -> String {
        let Self {
            number: number_width,
            marks,
            who: who_width,
            subject: subject_width,
            date: date_width,
            size: size_width,
        } = self;
        // A narrow column has the beginning of the date and time: the day.
        let date = date.get(..date_width.min(date.len())).unwrap_or(date);
        let mut cells = vec![format!("{number:>number_width$}"), display::pad_to_width(mark, marks)];
        for (text, width) in [(who, who_width), (subject, subject_width), (date, date_width)] {
            if width > 0 {
                cells.push(display::pad_to_width(text, width));
            }
        }
        if size_width > 0 {
            cells.push(format!("{size:>size_width$}"));
        }
        cells.join(" ").trim_end().to_owned()
    }
}

/// A row of the list of folders: number, name, messages, unread messages. A narrow window shows only number and name.
pub(crate) fn folder_row(columns: usize, [number, name, messages, unread]: [&str; 4]) -> String {
    let columns = columns.min(WIDEST);
    let counts = if columns >= 40 { 2 * (COUNT + 1) } else { 0 };
    let name = display::pad_to_width(name, columns.min(WIDEST_FOLDER).saturating_sub(3 + 1 + counts).max(1));
    let row = match counts {
        0 => format!("{number:>3} {name}"),
        _ => format!("{number:>3} {name} {messages:>COUNT$} {unread:>COUNT$}"),
    };
    row.trim_end().to_owned()
}

const NUMBER: usize = 5;
/// Columns of a number of messages.
const COUNT: usize = 8;
const WIDEST_FOLDER: usize = 60;
/// `2026-11-21 18:53`, and the day alone.
const DATE: usize = 16;
const DAY: usize = 10;
const SIZE: usize = 8;
const WIDEST: usize = 120;

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn u12_a_row_fits_a_window_of_20_to_200_columns_in_any_script() {
        let subjects = ["日本語 日本語 日本語 日本語", "é", "", "👩‍👩‍👧 family", "e\u{301}e\u{301}e\u{301}"];
        for columns in 20..=200 {
            for messages in [1, 99, 10_000, 1_000_000] {
                let layout = Layout::of(columns, messages, 1 + columns % 3);
                for subject in subjects {
                    let subject = subject.repeat(20);
                    let number = messages.to_string();
                    let row = layout.row([&number, "D", &subject, &subject, "2026-11-21 18:05", "1023 KiB"]);
                    assert!(row.width() <= columns, "{columns}: {} {row:?}", row.width());
                }
                for language in [Language::English, Language::French] {
                    assert!(layout.header(AddressColumn::To, language).width() <= columns, "{columns}");
                }
            }
        }
        for columns in 20..=200 {
            for name in ["INBOX", "日本語".repeat(30).as_str(), ""] {
                let row = folder_row(columns, ["999", name, "1000000", "1000000"]);
                assert!(row.width() <= columns, "{columns}: {row:?}");
            }
        }
        let row =
            |columns| Layout::of(columns, 3, 1).row(["3", "N", "Ann", "Lunch", "2026-11-21 18:05", "504 B"]);
        assert_eq!(row(20), " 3 N Lunch");
        assert_eq!(row(40), " 3 N Ann        Lunch");
        assert_eq!(row(50), " 3 N Ann          Lunch                 2026-11-21");
        assert_eq!(row(80).width(), 80);
    }
}
