//! A mailbox as it was at one moment: the messages in order, with their unique ids.

use std::{borrow::Cow, collections::HashMap};

use blake2::{Blake2s, Digest, digest::consts::U16};

use crate::{
    maildir::{Found, Wanted, name},
    proto::ask::Maildrop,
};

/// The messages of a mailbox at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    messages: Vec<Message>,
    total: u64,
}

#[derive(Debug)]
struct Message {
    found: Found,
    /// How many messages before this one have the same identity.
    doubles: u32,
}

impl Snapshot {
    /// Puts what a scan found in order. Messages with the flag `T` (trashed, and left for their owner's mail
    /// reader to remove) are left out.
    pub fn of(mut found: Vec<Found>) -> Self {
        found.retain(|message| !name::flags(&message.name).contains(&b'T'));
        found.sort_unstable_by(|a, b| (name::order(&a.name), a.place).cmp(&(name::order(&b.name), b.place)));
        let total = found.iter().map(|message| message.octets).sum();
        let mut seen: HashMap<Box<[u8]>, u32> = HashMap::with_capacity(found.len());
        let messages = found
            .into_iter()
            .map(|found| {
                let earlier = seen.entry(name::identity(&found.name).into()).or_default();
                let doubles = *earlier;
                *earlier += 1;
                Message { found, doubles }
            })
            .collect();
        Self { messages, total }
    }

    /// The file of a message. `None`: there is no message of that position.
    pub fn wanted(&self, message: usize) -> Option<Wanted<'_>> {
        self.messages.get(message).map(|message| Wanted::from(&message.found))
    }

    /// The names of messages whose identity an earlier one has too, for the log.
    pub fn doubles(&self) -> impl Iterator<Item = &[u8]> {
        self.messages.iter().filter(|message| message.doubles > 0).map(|message| &*message.found.name)
    }
}

impl Maildrop for Snapshot {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn octets(&self, message: usize) -> u64 {
        self.messages.get(message).map_or(0, |message| message.found.octets)
    }

    fn unique_id(&self, message: usize) -> Cow<'_, str> {
        self.messages.get(message).map_or(Cow::Borrowed("-"), |message| {
            unique_id(name::identity(&message.found.name), message.doubles)
        })
    }
}

/// The unique id of an identity: itself if it is 1 to 70 characters from 0x21 to 0x7e (RFC 1939 section 7),
/// else 32 digits of a hash of it. The n-th message of one identity has `-n` behind it.
fn unique_id(identity: &[u8], doubles: u32) -> Cow<'_, str> {
    let suffix = if doubles == 0 { String::new() } else { format!("-{}", doubles + 1) };
    let fits = (1..=70 - suffix.len()).contains(&identity.len());
    match std::str::from_utf8(identity) {
        Ok(text) if fits && identity.iter().all(u8::is_ascii_graphic) => {
            if suffix.is_empty() {
                Cow::Borrowed(text)
            } else {
                Cow::Owned(format!("{text}{suffix}"))
            }
        }
        _ => {
            let hash = Blake2s::<U16>::digest(identity);
            Cow::Owned(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + &suffix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::{Place, scan::Stamp};

    fn found(name: &str, place: Place, octets: u64) -> Found {
        let stamp = Stamp { inode: 1, bytes: octets, modified: (0, 0) };
        Found { name: name.as_bytes().into(), place, stamp, octets }
    }

    fn ids(snapshot: &Snapshot) -> Vec<String> {
        (0..snapshot.len()).map(|message| snapshot.unique_id(message).into_owned()).collect()
    }

    #[test]
    fn messages_are_in_the_order_of_delivery_wherever_they_lie() {
        let snapshot = Snapshot::of(vec![
            found("20.M1.h", Place::New, 3),
            found("10.M2.h:2,S", Place::Cur, 4),
            found("10.M1.h", Place::New, 5),
        ]);
        assert_eq!(ids(&snapshot), ["10.M1.h", "10.M2.h", "20.M1.h"]);
        assert_eq!((snapshot.len(), snapshot.total(), snapshot.octets(1)), (3, 12, 4));
    }

    #[test]
    fn an_id_survives_flags_and_moves() {
        for name in ["1.M1.h", "1.M1.h:2,", "1.M1.h:2,RS", "1.M1.h,S=5:2,S"] {
            assert_eq!(ids(&Snapshot::of(vec![found(name, Place::Cur, 1)])), ["1.M1.h"]);
        }
    }

    #[test]
    fn the_second_message_of_one_identity_is_told_apart() {
        let snapshot = Snapshot::of(vec![found("1.x", Place::New, 1), found("1.x:2,S", Place::Cur, 1)]);
        assert_eq!(ids(&snapshot), ["1.x", "1.x-2"]);
        assert_eq!(snapshot.doubles().count(), 1);
    }

    #[test]
    fn odd_names_have_plain_ids() {
        let long = "9".repeat(71);
        for odd in ["1.a b", "1.é", &long] {
            let id = unique_id(odd.as_bytes(), 0);
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{odd}: {id}");
            assert_eq!(unique_id(odd.as_bytes(), 1), format!("{id}-2"));
        }
        assert_eq!(unique_id(&[b'9'; 70], 1).len(), 34);
    }

    #[test]
    fn trashed_messages_are_not_listed() {
        assert!(Snapshot::of(vec![found("1.x:2,ST", Place::Cur, 1)]).is_empty());
    }
}
