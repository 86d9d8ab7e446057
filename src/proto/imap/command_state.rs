//! The commands of a session that wait, or write their responses in several steps, as plain values.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    command::{FlagChange, List, SearchReturn},
    command_reader::Announcement,
    fetch_item::FetchItem,
    flags::Flags,
    mailbox_name::NameMistake,
    parser::{Expected, TagMistake},
    pattern::Pattern,
    reply::ReplyText,
    request::{self, FolderInfo, FolderState},
    response::writer::Condition,
    sequence_set::NumberSet,
};
use crate::{
    limits::Limits,
    proto::{BodyProgress, bdat_decoder::BdatDecoder, request::Mailbox},
};

/// The tag of a command, which its replies repeat.
pub(super) type Tag = Vec<u8>;

/// The reason for refusing a command before its end.
pub(super) enum EarlyRefusal {
    /// A reply, after the name of the command for the log.
    Text(Condition, &'static str, ReplyText),
    /// An APPEND that does not follow the grammar.
    Malformed(Expected),
    /// For a tag that no reply can repeat.
    Tag(TagMistake),
    /// For the name of the mailbox of an APPEND.
    Name(NameMistake),
}

/// A FETCH that has not begun.
pub(super) struct FetchPlan {
    pub(super) by_uid: bool,
    pub(super) uids: Arc<NumberSet>,
    pub(super) items: Vec<FetchItem>,
    /// Whether an item marks the messages as seen.
    pub(super) marks_seen: bool,
    /// The messages without `\Seen`, which get it before the responses. Empty unless `marks_seen`.
    pub(super) unseen: Arc<NumberSet>,
}

/// A FETCH whose responses are being sent.
pub(super) struct Fetching {
    pub(super) by_uid: bool,
    pub(super) fetch: request::Fetch,
    pub(super) has_gone: bool,
}

impl Fetching {
    /// True if the client has read the beginning of a response, and waits for its end.
    pub(super) fn is_inside(&self) -> bool {
        self.fetch.position.is_within_message()
    }
}

/// A COPY or a MOVE.
#[derive(Debug)]
pub(super) struct CopyPlan {
    pub(super) to: Mailbox,
    pub(super) is_move: bool,
    /// The number of messages that the client has named by their numbers. `None`: by UIDs, of which some may be gone.
    pub(super) numbered: Option<u64>,
}

/// A STORE that waits for the backend.
pub(super) struct StorePlan {
    pub(super) by_uid: bool,
    pub(super) uids: Arc<NumberSet>,
    pub(super) change: FlagChange,
    pub(super) flags: Flags,
    pub(super) keywords: Vec<String>,
    pub(super) silent: bool,
}

/// A SEARCH that waits for the backend.
pub(super) struct SearchPlan {
    pub(super) by_uid: bool,
    pub(super) returned: Option<Vec<SearchReturn>>,
    pub(super) has_modseq: bool,
}

/// The results of a SEARCH that are being written.
pub(super) struct SearchResults {
    pub(super) tag: Tag,
    pub(super) plan: SearchPlan,
    pub(super) uids: NumberSet,
    /// The state by which the client numbers the messages.
    pub(super) view: Arc<FolderState>,
    /// The state that the messages were compared in.
    pub(super) state: Arc<FolderState>,
    /// Whether a message was gone.
    pub(super) has_gone: bool,
    pub(super) step: SearchStep,
    /// The next range of UIDs to count, or of numbers to write.
    pub(super) next: usize,
    /// The next number of this range, or 0 for the first one.
    pub(super) next_number: u32,
    /// The numbers of the messages with the UIDs before.
    pub(super) numbers: NumberSet,
    pub(super) modseqs: FoundModSeqs,
}

/// The steps of writing the results of a SEARCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchStep {
    /// Turns UIDs into numbers. Nothing is written yet.
    Counting,
    /// Writes the numbers.
    Writing,
}

/// Modification sequences of the messages that a SEARCH has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FoundModSeqs {
    /// That of the message with the lowest UID.
    pub(super) first: Option<u64>,
    /// That of the message with the highest one.
    pub(super) last: Option<u64>,
    pub(super) highest: Option<u64>,
}

/// A list that is being written.
pub(super) struct Listing {
    pub(super) tag: Tag,
    pub(super) list: List,
    pub(super) patterns: Vec<Pattern>,
    pub(super) folders: Vec<FolderInfo>,
    pub(super) pass: ListingPass,
    /// The next folder.
    pub(super) next: usize,
    /// The names below which a mailbox exists.
    pub(super) parents_of_existing: HashSet<String>,
    /// The names below which a mailbox meets the selection criteria.
    pub(super) parents_of_eligible: HashSet<String>,
    /// The names below which a mailbox meets the selection criteria, and no pattern matches it.
    pub(super) parents_of_unmatched: HashSet<String>,
}

/// The passes over the mailboxes of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListingPass {
    /// Finds the parents of mailboxes.
    Parents,
    /// Finds the mailboxes for which a parent stands.
    Matching,
    /// Writes the lines.
    Writing,
}

/// A message that a client appends.
pub(super) struct Appending {
    pub(super) folder: Mailbox,
    pub(super) flags: Flags,
    pub(super) keywords: Vec<String>,
    pub(super) date: Option<i64>,
    pub(super) announcement: Announcement,
    pub(super) step: AppendStep,
    pub(super) decoder: BdatDecoder,
    /// Octets of the message that are in memory.
    pub(super) bytes: Vec<u8>,
    /// Octets read from the wire.
    pub(super) octets: u64,
    pub(super) started_at: Duration,
    /// True if the message has a file, or has requested one.
    pub(super) spilled: bool,
    /// True if the session must spill the data in memory, to free that memory.
    pub(super) spill_requested: bool,
    pub(super) has_nul: bool,
    /// The reason for which the message cannot be stored. The rest of it is discarded.
    pub(super) refused: Option<EarlyRefusal>,
}

/// The request that an APPEND waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppendStep {
    CheckSpace,
    Begin,
    Spill,
    /// The message is not stored, and its file is discarded.
    Discard,
    Store,
}

impl Appending {
    /// The progress of the message, for eviction.
    pub(super) fn progress(&self, rate: u64) -> BodyProgress {
        let rate = if rate == 0 { Limits::default().smtp.min_data_rate } else { rate };
        BodyProgress {
            started_at: self.started_at,
            octets: self.octets,
            memory_octets: self.bytes.capacity(),
            rate,
        }
    }

    pub(super) fn request_spill(&mut self) {
        self.spill_requested = true;
    }

    /// True if the message is complete, and becomes durable.
    pub(super) fn is_final(&self) -> bool {
        self.step == AppendStep::Store
    }

    pub(super) fn refuse(&mut self, refused: EarlyRefusal) {
        self.bytes = Vec::new();
        self.refused.get_or_insert(refused);
    }
}
