//! APPEND: reads the message of a client, and stores it.
//!
//! The rules: a message that is refused is read to its end, so that nothing of it is taken for a command. It is durable
//! before its OK.

use std::{mem, ops::RangeInclusive};

use super::{
    command::Append,
    command_reader::{Announcement, Input},
    command_state::{AppendStep, Appending, EarlyRefusal, Tag},
    parser::{Expected, expected},
    reply::{self, ReplyText},
    request::{ImapRequest, ImapResponse},
    response::writer::{Condition, continuation},
    state::{AfterUpdates, ImapSession, ResponseCode, State, TaggedReply, WaitingCommand},
    storing::named_flags,
};
use crate::proto::{
    Context, Step,
    bdat_decoder::BdatDecoder,
    buffer::{Inbox, Outbox},
    dot::LineEndings,
    event::{ChangeCommand, Event},
    is_slow,
    request::{Failure, ReceiveRequest, Request, Response},
};

impl ImapSession {
    /// The message of an APPEND is announced.
    pub(super) fn append(
        &mut self,
        cx: &Context<'_>,
        head: Result<Append, Expected>,
        announcement: Announcement,
        out: &mut Outbox,
    ) -> Step {
        let begun = match head {
            Err(expected) => Err(EarlyRefusal::Malformed(expected)),
            Ok(head) => self.check_append(cx, head, announcement),
        };
        match begun {
            Err(refused) => self.refuse_literal(announcement, refused, out),
            Ok(appending) => {
                let check = ReceiveRequest::CheckSpace { size: announcement.octets };
                self.append_request(self.begun_tag(), appending, AppendStep::CheckSpace, check)
            }
        }
    }

    /// Checks everything that is known before the message arrives.
    fn check_append(
        &self,
        cx: &Context<'_>,
        Append { mailbox, flags, date }: Append,
        announcement: Announcement,
    ) -> Result<Appending, EarlyRefusal> {
        let no = |text: ReplyText| EarlyRefusal::Text(Condition::No, APPEND, text);
        if self.user.is_none() {
            return Err(EarlyRefusal::Text(Condition::Bad, APPEND, reply::LOG_IN_FIRST));
        }
        let folder = self.mailbox(mailbox).map_err(EarlyRefusal::Name)?;
        let (flags, keywords) = named_flags(&flags).map_err(EarlyRefusal::Malformed)?;
        // RFC 3501 section 6.3.11 asks for this date in FETCH, and the file system would keep another one.
        if date.is_some_and(|date| !FILE_TIMES.contains(&date)) {
            return Err(no(reply::DATE_OUT_OF_RANGE));
        }
        if announcement.octets > self.config.limits.smtp.max_message_size.0 {
            return Err(no(reply::MESSAGE_TOO_BIG));
        }
        if announcement.octets == 0 {
            return Err(no(reply::NO_MESSAGE));
        }
        if cx.directory.is_full(&folder.clone().without_folder()) {
            return Err(no(reply::OVER_QUOTA));
        }
        Ok(Appending {
            folder,
            flags,
            keywords,
            date,
            announcement,
            step: AppendStep::CheckSpace,
            // A counted message cannot be smuggled, so any line ends are taken.
            decoder: BdatDecoder::new(LineEndings::Lenient, announcement.octets, true),
            bytes: Vec::new(),
            octets: 0,
            started_at: cx.now.monotonic,
            spilled: false,
            spill_requested: false,
            has_nul: false,
            refused: None,
        })
    }

    fn append_request(
        &mut self,
        tag: Tag,
        mut appending: Appending,
        step: AppendStep,
        request: ReceiveRequest,
    ) -> Step {
        appending.step = step;
        self.state = State::Awaiting(tag, Box::new(WaitingCommand::Append(appending)));
        Step::Request(Request::Receive(request))
    }

    /// Processes the response to a request of APPEND.
    pub(super) fn append_response(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        mut appending: Appending,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        match (appending.step, response) {
            (AppendStep::CheckSpace, Response::Done) => {
                self.append_request(tag, appending, AppendStep::Begin, ReceiveRequest::Begin)
            }
            (AppendStep::Begin, Response::Done) => {
                if appending.announcement.synchronizing {
                    continuation(out.buffer(), "Go on");
                }
                appending.started_at = cx.now.monotonic;
                self.state = State::Appending(tag, Box::new(appending));
                Step::Continue
            }
            (AppendStep::CheckSpace | AppendStep::Begin, Response::Failed(failure)) => {
                self.refuse_literal(appending.announcement, failed(failure), out)
            }
            (AppendStep::Spill, Response::Done) => {
                self.state = State::Appending(tag, Box::new(appending));
                Step::Continue
            }
            (AppendStep::Spill, Response::Failed(failure)) => {
                appending.spilled = false;
                appending.refuse(failed(failure));
                self.state = State::Appending(tag, Box::new(appending));
                Step::Continue
            }
            // The backend keeps nothing of it, whatever it answers.
            (AppendStep::Discard, _) => {
                let refused = appending.refused.take().unwrap_or(failed(Failure::TempFail));
                self.send_refusal(&tag, refused, out)
            }
            (AppendStep::Store, Response::Imap(ImapResponse::Appended { uid })) => {
                let mailbox = appending.folder.clone();
                let (command, to) = (ChangeCommand::Append, None);
                out.push_event(Event::FolderChanged { command, mailbox, to, messages: 1 });
                let code = uid.map_or(ResponseCode::OfText, |(uid_validity, uid)| ResponseCode::AppendUid {
                    uid_validity,
                    uid,
                });
                let ending =
                    TaggedReply { tag: tag.clone(), condition: Condition::Ok, code, text: reply::DONE };
                let is_selected =
                    self.selected.as_ref().is_some_and(|selected| selected.folder == appending.folder);
                if !is_selected {
                    return self.conclude(ending, true, out);
                }
                let after = AfterUpdates::Reply(ending);
                self.await_response(
                    tag,
                    WaitingCommand::Refresh { after, is_needed: false },
                    ImapRequest::Refresh,
                )
            }
            (AppendStep::Store, Response::Imap(ImapResponse::Refused(refusal))) => {
                self.no(&tag, APPEND, reply::refusal_text(refusal, true), out)
            }
            (AppendStep::Store, Response::Failed(failure)) => self.send_refusal(&tag, failed(failure), out),
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }

    /// Reads the message, and the end of its line.
    pub(super) fn append_step(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        mut appending: Box<Appending>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        if appending.decoder.ended() {
            return self.append_end(tag, appending, inbox, out);
        }
        let limits = &self.config.limits;
        let before = appending.bytes.len();
        let used = appending.decoder.decode(inbox.unread(), &mut appending.bytes);
        inbox.consume(used);
        appending.octets += used as u64;
        appending.has_nul |= memchr::memchr(0, &appending.bytes[before..]).is_some();
        if appending.refused.is_some() {
            appending.bytes = Vec::new();
        }
        let taken = cx.now.monotonic.saturating_sub(appending.started_at);
        if !appending.decoder.ended() && is_slow(appending.octets, taken, limits.smtp.min_data_rate) {
            return self.close_with(out, "slow message", reply::TOO_SLOW);
        }
        let is_large = appending.bytes.len() >= limits.delivery.spill_threshold.as_len();
        if is_large || mem::take(&mut appending.spill_requested) && !appending.bytes.is_empty() {
            let is_begun = mem::replace(&mut appending.spilled, true);
            let mailboxes = if is_begun { Vec::new() } else { self.user.iter().cloned().collect() };
            let bytes = mem::take(&mut appending.bytes);
            return self.append_request(
                tag,
                *appending,
                AppendStep::Spill,
                ReceiveRequest::Spill { mailboxes, bytes },
            );
        }
        let has_ended = appending.decoder.ended();
        self.state = State::Appending(tag, appending);
        if used == 0 && !has_ended { Step::Idle } else { Step::Continue }
    }

    /// Reads the end of the line after the message.
    fn append_end(
        &mut self,
        tag: Tag,
        mut appending: Box<Appending>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let begun = self.reader.begun().text.len();
        let is_forgiving = self.config.syntax().is_forgiving();
        let is_good = |rest: &[u8]| rest.is_empty() || is_forgiving && rest.trim_ascii().is_empty();
        match self.read(inbox, out) {
            Input::Partial => {
                self.state = State::Appending(tag, appending);
                return Step::Idle;
            }
            Input::NoLineEnd => return self.close_with(out, "endless line", reply::TOO_LONG),
            Input::BareLineFeed => return self.refuse_bare_line_feed(out),
            Input::Command(raw) if is_good(raw.text.get(begun..).unwrap_or_default()) => {}
            Input::Command(_) | Input::TooLong(_) => {
                appending.refuse(EarlyRefusal::Malformed(expected::END_AFTER_MESSAGE));
            }
            // Several messages in one command (RFC 3502).
            Input::Literal(announcement) => {
                let refused = EarlyRefusal::Malformed(expected::ONE_MESSAGE);
                if announcement.synchronizing {
                    self.reader.reset();
                    appending.refuse(refused);
                } else {
                    // The file goes with the next message.
                    return self.refuse_literal(announcement, refused, out);
                }
            }
        }
        if self.config.pedantic && appending.has_nul {
            appending.refuse(EarlyRefusal::Malformed(expected::MESSAGE_WITHOUT_NUL));
        }
        if appending.refused.is_some() {
            return self.append_request(tag, *appending, AppendStep::Discard, ReceiveRequest::Discard);
        }
        let request = ImapRequest::Append {
            folder: appending.folder.clone(),
            flags: appending.flags,
            keywords: mem::take(&mut appending.keywords),
            date: appending.date,
            bytes: mem::take(&mut appending.bytes),
        };
        appending.step = AppendStep::Store;
        self.await_response(tag, WaitingCommand::Append(*appending), request)
    }
}

/// The refusal of an APPEND that has failed. A client may create a mailbox that is missing, and try again.
fn failed(failure: Failure) -> EarlyRefusal {
    let text = match failure {
        Failure::NoFolder => reply::refusal_text(super::request::Refusal::NoFolder, true),
        failure => reply::failure_text(failure),
    };
    EarlyRefusal::Text(Condition::No, APPEND, text)
}

const APPEND: &str = "APPEND";
/// The internal dates, in seconds since 1970: of the years that ext4 keeps whole as the time of a file.
const FILE_TIMES: RangeInclusive<i64> = -2_145_916_800..=15_021_158_399;
