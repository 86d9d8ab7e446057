//! The numbers of STATUS and the conditions of SEARCH for the folders in memory: enough of each to be true or false.

use std::sync::Arc;

use restante::proto::imap::{
    flags::Flags,
    recent::RecentMark,
    request::{FolderState, FolderStatus, MessageState},
    search_key::SearchKey,
    sequence_set::NumberSet,
};

use super::MailFolder;

/// A clone has a new `\Recent` mark, because each way of playing a dialogue is a first session.
impl Clone for MailFolder {
    fn clone(&self) -> Self {
        let state = FolderState {
            keywords: self.state.keywords.clone(),
            messages: self.state.messages.clone(),
            recent: RecentMark::new(self.state.recent.first()),
            ..*self.state
        };
        Self {
            special_use: self.special_use,
            messages: self.messages.clone(),
            gone: self.gone.clone(),
            state: Arc::new(state),
        }
    }
}

impl MailFolder {
    /// Its numbers.
    pub(super) fn status(&self) -> FolderStatus {
        let count =
            |flag: Flags| self.state.messages.iter().filter(move |message| message.flags.intersects(flag));
        FolderStatus {
            messages: self.messages.len() as u32,
            recent: self.state.messages.iter().filter(|one| one.uid >= self.state.recent.first()).count()
                as u32,
            unseen: (self.messages.len() - count(Flags::SEEN).count()) as u32,
            deleted: count(Flags::DELETED).count() as u32,
            size: self.messages.iter().map(|message| message.content.len() as u64).sum(),
            uid_next: self.state.uid_next,
            uid_validity: self.state.uid_validity,
            highest_modseq: self.state.highest_modseq,
        }
    }

    /// Whether a message matches. `recent`: the UIDs with `\Recent`.
    pub(super) fn matches(
        &self,
        key: &SearchKey,
        at: usize,
        state: &MessageState,
        (folder, recent): (&FolderState, &NumberSet),
    ) -> bool {
        let again = |key: &SearchKey| self.matches(key, at, state, (folder, recent));
        let message = self.messages.iter().find(|message| message.uid == state.uid);
        let text = message.map(|message| String::from_utf8_lossy(&message.content).to_lowercase());
        let text = text.unwrap_or_default();
        let lower = |text: &[u8]| String::from_utf8_lossy(text).to_lowercase();
        match key {
            SearchKey::All => true,
            SearchKey::Recent => recent.contains(state.uid),
            SearchKey::And(keys) => keys.iter().all(again),
            SearchKey::Or(one, other) => again(one) || again(other),
            SearchKey::Not(key) => !again(key),
            SearchKey::Numbers(set) => set.resolve(folder.messages.len() as u32).contains(at as u32 + 1),
            SearchKey::Uids(set) => {
                set.resolve(folder.messages.last().map_or(0, |last| last.uid)).contains(state.uid)
            }
            SearchKey::Flag(name) => Flags::of_name(name).is_some_and(|flag| state.flags.intersects(flag)),
            SearchKey::Header(field, value) => {
                text.split("\r\n\r\n").next().unwrap_or_default().lines().any(|line| {
                    line.starts_with(&format!("{}:", lower(field))) && line.contains(&lower(value))
                })
            }
            SearchKey::Text(value) | SearchKey::Body(value) => text.contains(&lower(value)),
            SearchKey::Larger(octets) => text.len() as u64 > *octets,
            SearchKey::Smaller(octets) => (text.len() as u64) < *octets,
            SearchKey::ModSeq(modseq) => state.modseq >= *modseq,
            _ => false,
        }
    }
}
