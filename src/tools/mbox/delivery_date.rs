//! The date that the import gives a message.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Error, FromLine, MessageSink};
use crate::tools::{
    date,
    header::{self, HeaderReader},
};

/// The date of the From_ line, else the date of delivery in the header, else that of writing, else `fallback`.
pub(super) fn delivery_date(from: Option<i64>, fields: Option<&[u8]>, fallback: SystemTime) -> SystemTime {
    let date = from.or_else(|| fields.and_then(date_of));
    let date = date.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    whole_second(date.map_or(fallback, |since| UNIX_EPOCH + since))
}

/// The date of delivery in the header, else the date of writing.
fn date_of(fields: &[u8]) -> Option<i64> {
    let first = |name| header::fields(fields).find(|field| field.is_named(name));
    let received = first("Received").and_then(|field| {
        let at = memchr::memrchr(b';', &field.value)?;
        date::field(&field.value[at + 1..])
    });
    received.or_else(|| date::field(&first("Date")?.value)).map(|(seconds, _)| seconds)
}

fn whole_second(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Finds the dates of messages that are only read.
pub(super) struct DateReader {
    fallback: SystemTime,
    /// The date of the From_ line.
    from: Option<i64>,
    /// The header, until it is complete.
    head: Option<HeaderReader>,
    date: SystemTime,
}

impl DateReader {
    pub(super) fn new(fallback: SystemTime) -> Self {
        Self { fallback, from: None, head: None, date: fallback }
    }

    /// The date of the last message that ended.
    pub(super) fn date(&self) -> SystemTime {
        self.date
    }

    fn close_header(&mut self) {
        if let Some(head) = self.head.take() {
            self.date = delivery_date(self.from, head.fields(), self.fallback);
        }
    }
}

impl MessageSink for DateReader {
    fn begin(&mut self, from: &FromLine, _: u64) -> Result<(), Error> {
        (self.from, self.head) = (from.date, Some(HeaderReader::default()));
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Error> {
        if self.head.as_mut().is_some_and(|head| head.feed(text)) {
            self.close_header();
        }
        Ok(())
    }

    fn end(&mut self, _: u64) -> Result<(), Error> {
        if let Some(head) = &mut self.head {
            head.end();
        }
        self.close_header();
        Ok(())
    }
}
