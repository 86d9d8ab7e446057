//! Imports an mbox, one message or a directory of messages into a Maildir, durably and in batches.

mod message_files;
mod risks;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    time::{Duration, SystemTime},
};

use super::{
    AtRisk, DoubtfulLine, Error, Format, FromLine, MessageSink, MessageState, PreviousRun, SkippedStart,
    Source,
    delivery_date::{DateReader, delivery_date},
    parse,
    resume::{BatchEntry, ResumeRecord},
};
use crate::{
    maildir::{self, Maildir, Spool, Subdir, TmpFile, name::NameGenerator, sync_phase::SyncPart},
    safe_file::sync_directory,
    tools::header::HeaderReader,
    wire_size::WireSizeCounter,
};

/// An import of one mbox, or of the message files of one directory, into one mailbox.
///
/// The place of a message is the octet at which it begins; in a directory, it is the number of messages before it.
pub struct Import<'a> {
    spool: &'a Spool,
    maildir: &'a Maildir,
    name_generator: NameGenerator,
    format: Format,
    /// The date of a message without a date.
    fallback_date: SystemTime,
    /// The name of the file that is read, for the flags in it; empty for an input without one.
    file_name: Vec<u8>,
    /// The progress record, if the mbox is a file.
    record: Option<ResumeRecord>,
    /// Delivered messages of the record's batch, if others of that batch are not delivered.
    already_delivered: Vec<BatchEntry>,
    /// Offsets of these messages that are still to be skipped.
    skip_offsets: HashSet<u64>,
    message: Option<CurrentMessage>,
    batch: Vec<CompletedMessage>,
    /// Maximum number of messages in it: each stays open until the batch is synced.
    max_open: usize,
    imported: Imported,
    /// Messages of this run that a mail reader has deleted.
    deleted: u64,
    at_risk: AtRisk,
    /// Messages to be delivered that the server would delete, as the check has counted them.
    expired_to_come: u64,
    doubtful_lines: DoubtfulLines,
    /// The octets before the header of a file with one message.
    skipped_start: SkippedStart,
    /// True if the whole mbox was checked, so that the lines above are complete.
    is_checked: bool,
    /// Called after every message, with the offset of the next one.
    progress: &'a mut dyn FnMut(ImportPass, u64),
}

/// A phase of the import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportPass {
    /// The mbox is checked to its end before delivery.
    Check,
    /// Messages are written into the mailbox, durably at the end of each batch.
    Deliver,
}

/// The result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Messages delivered, including those of earlier runs.
    pub messages: u64,
    /// Offset of the next message, or of the end.
    pub end: u64,
}

/// Lines that may be From_ lines or text.
#[derive(Debug, Default)]
pub struct DoubtfulLines {
    /// Number of them.
    pub count: u64,
    /// The first of them.
    pub first: Vec<DoubtfulLine>,
}

impl DoubtfulLines {
    fn add(&mut self, line: DoubtfulLine) {
        self.count += 1;
        if self.first.len() < MAX_DOUBTFUL {
            self.first.push(line);
        }
    }
}

/// The message whose end the parser has not reached.
struct CurrentMessage {
    at: u64,
    date: Option<i64>,
    /// True if it has no From_ line, so that no program has added fields with its state.
    is_message_file: bool,
    part: Reading,
}

enum Reading {
    Head(HeaderReader),
    Body(Body),
    /// The message was delivered by an earlier run.
    Nothing,
}

struct Body {
    tmp_file: TmpFile,
    octets: WireSizeCounter,
    state: MessageState,
    /// Date of the first delivery.
    delivered: SystemTime,
}

impl Body {
    fn write(&mut self, text: &[u8]) -> Result<(), Error> {
        self.octets.feed(text);
        Ok(self.tmp_file.write(text)?)
    }
}

/// A complete message in `tmp/`.
struct CompletedMessage {
    tmp_file: TmpFile,
    listed: BatchEntry,
}

impl<'a> Import<'a> {
    /// Prepares an import into a mailbox of that spool. `host` becomes part of the file names.
    pub fn new(
        (spool, maildir): (&'a Spool, &'a Maildir),
        host: &str,
        format: Format,
        fallback: SystemTime,
        told: &'a mut dyn FnMut(ImportPass, u64),
    ) -> Self {
        let name_generator = NameGenerator::new(host, std::process::id());
        Self {
            spool,
            maildir,
            name_generator,
            format,
            fallback_date: fallback,
            file_name: Vec::new(),
            record: None,
            already_delivered: Vec::new(),
            skip_offsets: HashSet::new(),
            message: None,
            batch: Vec::new(),
            max_open: BATCH,
            imported: Imported::default(),
            deleted: 0,
            at_risk: AtRisk::default(),
            expired_to_come: 0,
            doubtful_lines: DoubtfulLines::default(),
            skipped_start: SkippedStart::default(),
            is_checked: false,
            progress: told,
        }
    }

    /// Keeps at most that many messages open at a time.
    pub fn set_max_open(&mut self, messages: usize) {
        self.max_open = messages.clamp(1, BATCH);
    }

    /// Keeps a progress record for that file from now on. Returns the progress of earlier runs.
    pub fn open_record(&mut self, source: &Source, file: &File) -> Result<PreviousRun, Error> {
        let (earlier, record) = ResumeRecord::load(self.maildir, source, file, self.format)?;
        self.record = Some(record);
        Ok(earlier)
    }

    /// Begins with the first message, and ignores the progress of earlier runs.
    pub fn restart(&mut self, source: &Source) {
        self.record = Some(ResumeRecord::begin(source.clone(), self.format));
    }

    /// Completes the batch that an earlier run began, at `now`. Returns the offset to read on from. Files in
    /// `tmp/` are kept for `age`.
    pub fn finish_previous_run(&mut self, now: SystemTime, age: Duration) -> Result<u64, Error> {
        let Some(record) = &self.record else { return Ok(0) };
        let settled = record.finish_batch(self.maildir, now, age)?;
        if settled.len() == record.batch.len() {
            let messages = record.delivered + settled.len() as u64;
            self.imported = Imported { messages, end: record.end };
        } else {
            self.skip_offsets = settled.iter().map(|message| message.at).collect();
            self.already_delivered = settled;
            self.imported = Imported { messages: record.delivered, end: record.next };
        }
        Ok(self.imported.end)
    }

    /// Checks an mbox to its end without delivering. Returns the offset of the end.
    pub fn check(&mut self, source: impl Read) -> Result<u64, Error> {
        let (doubtful_lines, skipped_start) = <(DoubtfulLines, SkippedStart)>::default();
        let dates = DateReader::new(self.fallback_date);
        let at_risk = self.at_risk;
        let (at, expired) = (0, Vec::new());
        let mut check =
            Check { progress: self.progress, doubtful_lines, skipped_start, dates, at_risk, at, expired };
        let end = parse(source, self.format, 0, &mut check);
        let Check { doubtful_lines, skipped_start, expired, .. } = check;
        self.expired_to_come = self.count_to_come(&expired);
        let end = end?;
        (self.doubtful_lines, self.skipped_start) = (doubtful_lines, skipped_start);
        self.is_checked = true;
        Ok(end)
    }

    /// Delivers the messages of `source`, which begins at octet `offset` of the mbox. If reading fails, the
    /// messages before the failure are delivered.
    pub fn run(&mut self, source: impl Read, offset: u64) -> Result<(), Error> {
        match parse(source, self.format, offset, self) {
            Ok(end) => self.commit(end),
            Err(error) => self.stop(error),
        }
    }

    /// Ends an import that failed. The messages before a failure to read are delivered.
    fn stop(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Cut { .. } | Error::Read { .. } => {
                let end = self.message.take().map_or(self.imported.end, |half| {
                    if let Reading::Body(body) = &half.part {
                        body.tmp_file.discard();
                    }
                    half.at
                });
                self.commit(end)?;
                Err(error)
            }
            error => {
                self.drop_batch();
                Err(error)
            }
        }
    }

    /// Records that the import is complete.
    pub fn finish(&mut self, now: SystemTime) -> Result<(), Error> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let Imported { messages, end } = self.imported;
        (record.delivered, record.next, record.end) = (messages, end, end);
        Ok(record.finish(self.maildir, now)?)
    }

    /// The progress so far, which counts only durable messages.
    pub fn imported(&self) -> Imported {
        self.imported
    }

    /// Messages of this run that a mail reader has deleted. POP3 does not show them.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// The lines that may be From_ lines or text.
    pub fn doubtful_lines(&self) -> &DoubtfulLines {
        &self.doubtful_lines
    }

    /// The octets before the header of a file with one message, which are no part of it.
    pub fn skipped_start(&self) -> SkippedStart {
        self.skipped_start
    }

    /// Gives the message a name, a date and a state, once its header is complete.
    fn open(
        &mut self,
        head: &HeaderReader,
        from: Option<i64>,
        is_message_file: bool,
    ) -> Result<Reading, Error> {
        let (fields, all) = (head.fields(), head.bytes());
        let (own, state) = fields.map_or((0, MessageState::New), MessageState::read);
        let state = if is_message_file { state.with_flags_of_name(&self.file_name) } else { state };
        let own = fields.filter(|_| is_message_file).map_or(own, <[u8]>::len);
        let delivered = delivery_date(from, fields, self.fallback_date);
        // The microseconds are a counter, so that messages of the same second keep their order.
        let n = self.imported.messages + self.batch.len() as u64;
        let random = getrandom::u64().map_err(|e| Error::Write(io::Error::other(e)))?;
        let name = self.name_generator.next(delivered + Duration::from_micros(n % 1_000_000), random);
        let tmp_file = TmpFile::create(self.maildir, name)?;
        let mut body = Body { tmp_file, octets: WireSizeCounter::default(), state, delivered };
        let written = body.write(&all[..own]);
        match written.and_then(|()| body.write(&all[fields.map_or(0, <[u8]>::len)..])) {
            Ok(()) => Ok(Reading::Body(body)),
            Err(error) => self.fail(&body.tmp_file, error),
        }
    }

    /// Makes the batch durable and visible. The next message begins at `next`.
    fn commit(&mut self, next: u64) -> Result<(), Error> {
        if let Err(error) = self.make_durable() {
            self.drop_batch();
            return Err(error.into());
        }
        // From here on the files in tmp/ must survive a failure, because the record names them and the next
        // run renames them.
        let mut batch = std::mem::take(&mut self.batch);
        batch.iter_mut().for_each(|ready| ready.tmp_file.keep_on_panic());
        if let Some(record) = &mut self.record {
            let ready = batch.iter().map(|ready| ready.listed.clone());
            record.batch = self.already_delivered.iter().cloned().chain(ready).collect();
            (record.delivered, record.next, record.end) = (self.imported.messages, self.imported.end, next);
            record.save(self.maildir, SystemTime::now())?;
        }
        for CompletedMessage { tmp_file, listed } in &batch {
            tmp_file.rename(self.maildir, listed.subdir(), &listed.name)?;
        }
        for place in Subdir::ALL {
            self.maildir.sync(place)?;
        }
        self.imported.messages += (batch.len() + self.already_delivered.len()) as u64;
        self.imported.end = next;
        self.already_delivered.clear();
        Ok(())
    }

    /// Makes the batch durable (D2 of docs/DISK.md) with its names in `tmp/`, which the record will list.
    fn make_durable(&mut self) -> Result<(), maildir::Error> {
        let whole = self.batch.len() > 1
            && self.spool.syncfs_is_reliable()
            && self.spool.is_same_filesystem(self.maildir);
        if whole {
            self.spool.sync(SyncPart::Contents)?;
        } else {
            self.batch.iter().try_for_each(|ready| ready.tmp_file.sync())?;
        }
        self.batch.iter_mut().try_for_each(|ready| ready.tmp_file.close())?;
        if whole {
            return Ok(());
        }
        let path = || self.maildir.path().join("tmp");
        sync_directory(self.maildir.tmp()).map_err(|e| maildir::Error::at(path(), "fsync directory", e))
    }

    /// Removes a partly written message, because the disk may be full.
    fn fail<T>(&self, tmp_file: &TmpFile, error: impl Into<Error>) -> Result<T, Error> {
        tmp_file.discard();
        Err(error.into())
    }

    fn begin_message(&mut self, at: u64, date: Option<i64>, is_message_file: bool) {
        let part = if self.skip_offsets.remove(&at) {
            Reading::Nothing
        } else {
            Reading::Head(HeaderReader::default())
        };
        self.message = Some(CurrentMessage { at, date, is_message_file, part });
    }

    fn drop_batch(&mut self) {
        self.batch.drain(..).for_each(|ready| ready.tmp_file.discard());
        if let Some(CurrentMessage { part: Reading::Body(body), .. }) = self.message.take() {
            body.tmp_file.discard();
        }
    }
}

impl MessageSink for Import<'_> {
    fn begin(&mut self, from: &FromLine, at: u64) -> Result<(), Error> {
        self.begin_message(at, from.date, false);
        Ok(())
    }

    fn begin_message_file(&mut self, at: u64, skipped: SkippedStart) -> Result<(), Error> {
        self.skipped_start = skipped;
        self.begin_message(at, None, true);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Error> {
        let Some(CurrentMessage { at, date, is_message_file, part }) = self.message.take() else {
            return Ok(());
        };
        let part = match part {
            Reading::Head(mut head) => {
                if head.feed(text) {
                    self.open(&head, date, is_message_file)?
                } else {
                    Reading::Head(head)
                }
            }
            Reading::Body(mut body) => {
                if let Err(error) = body.write(text) {
                    return self.fail(&body.tmp_file, error);
                }
                Reading::Body(body)
            }
            Reading::Nothing => Reading::Nothing,
        };
        self.message = Some(CurrentMessage { at, date, is_message_file, part });
        Ok(())
    }

    fn end(&mut self, next: u64) -> Result<(), Error> {
        let Some(CurrentMessage { at, date, is_message_file, mut part }) = self.message.take() else {
            return Ok(());
        };
        if let Reading::Head(head) = &mut part {
            head.end();
            part = self.open(head, date, is_message_file)?;
        }
        if let Reading::Body(Body { tmp_file, octets, state, delivered }) = part {
            if let Err(error) = tmp_file.set_modified(delivered) {
                return self.fail(&tmp_file, error);
            }
            let name =
                String::from_utf8_lossy(&state.file_name(&tmp_file.final_name(octets.total()))).into_owned();
            let seen = state.subdir() == Subdir::Cur;
            self.deleted += u64::from(state.is_deleted());
            self.at_risk.count(delivered, tmp_file.bytes());
            let unfinished = tmp_file.tmp_name();
            self.batch.push(CompletedMessage { tmp_file, listed: BatchEntry { at, unfinished, name, seen } });
        }
        let octets: u64 = self.batch.iter().map(|ready| ready.tmp_file.bytes()).sum();
        let full = self.batch.len() >= self.max_open || octets >= BATCH_OCTETS;
        if full && self.skip_offsets.is_empty() {
            self.commit(next)?;
        }
        (self.progress)(ImportPass::Deliver, next);
        Ok(())
    }

    fn doubt(&mut self, line: DoubtfulLine) {
        if !self.is_checked {
            self.doubtful_lines.add(line);
        }
    }
}

/// Checks that an mbox is complete, and finds its messages that are too old.
struct Check<'a> {
    progress: &'a mut dyn FnMut(ImportPass, u64),
    doubtful_lines: DoubtfulLines,
    skipped_start: SkippedStart,
    dates: DateReader,
    at_risk: AtRisk,
    /// The offset of the message.
    at: u64,
    /// The offsets of the messages that the server would delete.
    expired: Vec<u64>,
}

impl MessageSink for Check<'_> {
    fn begin(&mut self, from: &FromLine, at: u64) -> Result<(), Error> {
        self.at = at;
        self.dates.begin(from, at)
    }

    fn begin_message_file(&mut self, at: u64, skipped: SkippedStart) -> Result<(), Error> {
        (self.skipped_start, self.at) = (skipped, at);
        self.dates.begin_message_file(at, skipped)
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Error> {
        self.dates.text(text)
    }

    fn end(&mut self, next: u64) -> Result<(), Error> {
        self.dates.end(next)?;
        if self.at_risk.is_expired(self.dates.date()) {
            self.expired.push(self.at);
        }
        (self.progress)(ImportPass::Check, next);
        Ok(())
    }

    fn doubt(&mut self, line: DoubtfulLine) {
        self.doubtful_lines.add(line);
    }
}

/// Doubtful lines that are kept.
const MAX_DOUBTFUL: usize = 5;
/// Messages made durable together: each holds a file open.
const BATCH: usize = 128;
/// Octets that end a batch with fewer messages.
const BATCH_OCTETS: u64 = 32 << 20;
