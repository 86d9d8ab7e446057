//! The state of an IMAP session. The other files of this directory operate on it.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    command::{List, StatusItem},
    command_reader::CommandReader,
    command_state::{
        Appending, CopyPlan, EarlyRefusal, FetchPlan, Fetching, Listing, SearchPlan, SearchResults,
        StorePlan, Tag,
    },
    command_table::CommandPhase,
    fetch_selection::FetchSelection,
    parser::Grammar,
    reply::ReplyText,
    request::{FolderState, Interruption},
    response::writer::{Condition, Items},
    sequence_set::NumberSet,
    session_config::SessionConfig,
    updates::Updates,
};
use crate::language::Language;
use crate::proto::{
    EndReason,
    dot::LineEndings,
    imap::request::ImapRequest,
    request::Mailbox,
    sasl::{Credentials, FailedCredentials},
    syntax::Syntax,
};

/// The server side of an IMAP session.
pub struct ImapSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) language: Language,
    pub(super) reader: CommandReader,
    pub(super) state: State,
    /// The mailbox of the user who has logged in.
    pub(super) user: Option<Mailbox>,
    pub(super) selected: Option<Box<Selected>>,
    /// Folders that the client has created and may subscribe to.
    pub(super) created: Vec<Mailbox>,
    /// Whether the client has asked for modification sequences (RFC 7162 section 3.1).
    pub(super) condstore: bool,
    pub(super) is_encrypted: bool,
    /// The reason why the server ends the session after its present command.
    pub(super) ending: Option<EndReason>,
    /// Errors before the login; after it, malformed commands since the last good one.
    pub(super) errors: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// Number of steps towards the login.
    pub(super) login_steps: usize,
    pub(super) logins: usize,
    /// Work done since the last call of `take_work`.
    pub(super) work: usize,
}

/// The folder that the client has selected.
pub(super) struct Selected {
    pub(super) folder: Mailbox,
    /// True after EXAMINE.
    pub(super) read_only: bool,
    /// The state that the client knows: it numbers messages by it.
    pub(super) view: Arc<FolderState>,
    pub(super) newest: Arc<FolderState>,
    /// The UIDs that have `\Recent` in this session.
    pub(super) recent: Arc<NumberSet>,
    /// Whether EXISTS has told of new messages before the reply to a command that does not ask for them. IDLE repeats it.
    pub(super) has_overlooked: bool,
    /// The first UID that the view may lack, because the look at the folder after an APPEND has failed.
    pub(super) behind_from: Option<u32>,
    /// Whether the folder has another name now, or is gone: the session ends after its command (RFC 2180 section 3.3).
    pub(super) is_gone: bool,
}

/// The activity of the session.
pub(super) enum State {
    /// The session reads a command.
    Ready,
    /// AUTHENTICATE PLAIN waits for the client's response.
    Plain { tag: Tag },
    /// LOGIN or AUTHENTICATE waits for `Request::Verify`.
    AwaitingVerify { tag: Tag, credentials: Credentials },
    /// The login waits for `ImapRequest::Prepare`.
    AwaitingPrepare { tag: Tag, user: Mailbox },
    /// The reply to a wrong password is delayed.
    DelayingReply { tag: Tag, last: bool },
    /// The rest of a refused command is read.
    Discarding(Box<Discarding>),
    /// A command waits for the backend.
    Awaiting(Tag, Box<WaitingCommand>),
    /// The session writes updates.
    SendingUpdates(Box<Updates>, Box<AfterUpdates>),
    /// SEARCH writes its results.
    SendingResults(Box<SearchResults>),
    /// LIST writes its mailboxes.
    Listing(Box<Listing>),
    /// FETCH chooses messages by their state.
    Selecting(Tag, Box<FetchSelection>, Box<FetchPlan>),
    /// FETCH, between two pieces.
    Fetching(Tag, Box<Fetching>),
    /// IDLE, since then on the monotonic clock.
    Idling { tag: Tag, since: Duration },
    /// APPEND reads its message.
    Appending(Tag, Box<Appending>),
    /// The session has ended, and takes no further step.
    Over,
}

/// A command that waits for the backend.
pub(super) enum WaitingCommand {
    /// The selected folder is being closed.
    Close(AfterClose),
    /// CLOSE removes deleted messages first.
    ExpungeAndClose,
    Select {
        folder: Mailbox,
        read_only: bool,
    },
    /// The newest state of the selected folder is asked for. `is_needed`: without it the command fails.
    Refresh {
        after: AfterUpdates,
        is_needed: bool,
    },
    Expunge,
    Store(StorePlan),
    /// FETCH marks messages as seen first.
    MarkSeen(FetchPlan),
    Fetch(Fetching),
    Search(SearchPlan),
    Copy(CopyPlan),
    List(List),
    Status(String, Vec<StatusItem>),
    /// A change of folders, without a result.
    ChangeFolders,
    /// GETQUOTA, and GETQUOTAROOT with the name of its mailbox.
    Usage(Option<String>),
    Append(Appending),
}

/// The rest of a command after the folder is closed.
pub(super) enum AfterClose {
    Reply,
    /// SELECT of another one.
    Select {
        folder: Mailbox,
        read_only: bool,
    },
    /// DELETE or RENAME of the same one.
    ChangeFolders(ImapRequest),
}

/// The rest of a command after the updates.
pub(super) enum AfterUpdates {
    Reply(TaggedReply),
    /// That of NOOP and CHECK, whose updates the client expects.
    Refreshed(TaggedReply),
    Fetch(Tag, FetchPlan),
    Idle {
        tag: Tag,
        since: Duration,
    },
    /// NO for a command that a failure has interrupted. `what` is its name for the log.
    Refuse {
        tag: Tag,
        what: &'static str,
        interruption: Interruption,
    },
}

/// The tagged reply that ends a command.
pub(super) struct TaggedReply {
    pub(super) tag: Tag,
    pub(super) condition: Condition,
    pub(super) code: ResponseCode,
    pub(super) text: ReplyText,
}

/// The response code of a tagged reply.
pub(super) enum ResponseCode {
    /// The one of its text.
    OfText,
    /// Messages that another client has changed (RFC 7162 section 3.1.3).
    Modified(NumberSet),
    /// The UIDs of copies (RFC 4315 section 3).
    CopyUid {
        uid_validity: u32,
        from: NumberSet,
        to: NumberSet,
    },
    AppendUid {
        uid_validity: u32,
        uid: u32,
    },
    HighestModSeq(u64),
}

impl ResponseCode {
    pub(super) fn write(&self, text: ReplyText, code: &mut Items<'_>) {
        match self {
            Self::OfText => text.write_code(code),
            Self::Modified(messages) => {
                code.numbers("MODIFIED", messages);
            }
            Self::CopyUid { uid_validity, from, to } => {
                code.atom("COPYUID").number(*uid_validity).set(from).set(to);
            }
            Self::AppendUid { uid_validity, uid } => {
                code.atom("APPENDUID").number(*uid_validity).number(*uid);
            }
            Self::HighestModSeq(modseq) => {
                code.atom("HIGHESTMODSEQ").number(*modseq);
            }
        }
    }
}

/// A refused command whose rest is still to come.
pub(super) struct Discarding {
    pub(super) tag: Tag,
    pub(super) refused: EarlyRefusal,
    /// Octets of the present literal that have not been read.
    pub(super) left: u64,
    /// Octets of all its literals.
    pub(super) octets: u64,
}

impl ImapSession {
    /// A session with the configuration of its listener.
    pub fn new(config: Rc<SessionConfig>) -> Self {
        Self {
            config,
            language: Language::English,
            reader: CommandReader::default(),
            state: State::Ready,
            user: None,
            selected: None,
            created: Vec::new(),
            condstore: false,
            is_encrypted: false,
            ending: None,
            errors: 0,
            failed_credentials: FailedCredentials::default(),
            login_steps: 0,
            logins: 0,
            work: 0,
        }
    }

    pub(super) fn lenient(&self) -> bool {
        self.config.line_endings == LineEndings::Lenient && !self.config.pedantic
    }

    /// The grammar that commands must follow.
    pub(super) fn grammar(&self) -> Grammar {
        match self.config.syntax() {
            Syntax::Forgiving => Grammar::Forgiving,
            Syntax::Exact if self.config.pedantic => Grammar::Strict,
            Syntax::Exact => Grammar::Exact,
        }
    }

    pub(super) fn phase(&self) -> CommandPhase {
        match (&self.user, &self.selected) {
            (None, _) => CommandPhase::NotAuthenticated,
            (Some(_), None) => CommandPhase::Authenticated,
            (Some(_), Some(_)) => CommandPhase::Selected,
        }
    }

    /// True if the client may send a password on this connection.
    pub(super) fn passwords_allowed(&self) -> bool {
        self.config.protocol.plaintext_auth || self.is_encrypted
    }
}
