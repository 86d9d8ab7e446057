//! The copies that the committer has lately filed for senders, so that a copy of the sender's program takes their place.
//!
//! Thunderbird and others put a copy of their own into `Sent` (APPEND) after they have sent a message. The rule: the
//! server's copy goes only after the other one is durable, and only under the name that it was filed under, so that a
//! copy which a user has flagged or moved stays. The list is in memory: after a restart the message is there twice.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{maildir::MessageId, proto::request::Mailbox};

/// The latest copies, the oldest first.
#[derive(Debug, Default)]
pub(super) struct FiledCopies(VecDeque<FiledCopy>);

#[derive(Debug)]
struct FiledCopy {
    /// The sender's folder.
    folder: Mailbox,
    id: MessageId,
    /// Its name in `cur/`.
    name: String,
    filed_at: Instant,
}

impl FiledCopies {
    /// Records a copy that is durable.
    pub(super) fn insert(&mut self, folder: Mailbox, id: MessageId, name: String, now: Instant) {
        if self.0.len() == MAX_COPIES {
            self.0.pop_front();
        }
        self.0.push_back(FiledCopy { folder, id, name, filed_at: now });
    }

    /// Takes the name of the copy of that message in that folder, if the server has filed one lately.
    pub(super) fn take(&mut self, folder: &Mailbox, id: MessageId, now: Instant) -> Option<String> {
        self.0.retain(|copy| now.saturating_duration_since(copy.filed_at) < MAX_AGE);
        let at = self.0.iter().position(|copy| copy.id == id && copy.folder == *folder)?;
        self.0.remove(at).map(|copy| copy.name)
    }
}

/// A program that stores its copy later has perhaps another reason for it.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);
/// Of all senders, at about 200 octets each.
const MAX_COPIES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::folder::Folder;

    fn id(number: usize) -> MessageId {
        MessageId::of(format!("Message-ID: <{number}@here.test>\n\n").as_bytes()).unwrap()
    }

    fn folder(user: &str) -> Mailbox {
        Mailbox::named(user).unwrap().in_folder(Folder::sent())
    }

    #[test]
    fn y210_a_copy_is_taken_once_by_its_sender_and_within_a_quarter_of_an_hour() {
        let (now, mut copies) = (Instant::now(), FiledCopies::default());
        let (bob, ann) = (folder("bob@here.test"), folder("ann@here.test"));
        copies.insert(bob.clone(), id(1), "1:2,S".into(), now);
        copies.insert(bob.clone(), id(2), "2:2,S".into(), now);
        assert_eq!(copies.take(&ann, id(1), now), None, "the mailbox of another user");
        assert_eq!(copies.take(&bob, id(3), now), None);
        assert_eq!(copies.take(&bob, id(1), now + MAX_AGE / 2).as_deref(), Some("1:2,S"));
        assert_eq!(copies.take(&bob, id(1), now + MAX_AGE / 2), None, "once");
        assert_eq!(copies.take(&bob, id(2), now + MAX_AGE), None, "too late");
    }

    #[test]
    fn y210_the_list_of_copies_has_a_bound_and_loses_the_oldest() {
        let (now, mut copies, bob) = (Instant::now(), FiledCopies::default(), folder("bob@here.test"));
        (0..=MAX_COPIES).for_each(|n| copies.insert(bob.clone(), id(n), n.to_string(), now));
        assert_eq!(copies.0.len(), MAX_COPIES);
        assert_eq!(copies.take(&bob, id(0), now), None);
        assert_eq!(copies.take(&bob, id(1), now).as_deref(), Some("1"));
    }
}
