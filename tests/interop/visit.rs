//! Visits over POP3, which check at every step that the server's replies are consistent: STAT, LIST, UIDL
//! and RETR agree on every message, whichever program delivered it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    common::{PASSWORD, Server, client::Client, eventually},
    letters::{ALICE, identified},
};

/// A POP3 session of alice, and its listing.
pub(crate) struct Visit {
    client: Client,
    sizes: Vec<usize>,
    uids: Vec<String>,
}

impl Visit {
    /// Logs in and lists everything; `None` if another session has the mailbox.
    pub(crate) fn try_begin(server: &Server) -> Option<Self> {
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER {ALICE}"), "+OK");
        let reply = client.send(&format!("PASS {PASSWORD}")).reply();
        if reply.starts_with("-ERR [IN-USE]") {
            return None;
        }
        assert!(reply.starts_with("+OK"), "{reply:?}");
        let stat = client.ask("STAT", "+OK ");
        let sizes: Vec<usize> = client.listing("LIST").iter().map(|size| size.parse().unwrap()).collect();
        let uids = client.listing("UIDL");
        assert_eq!(stat, format!("+OK {} {}\r\n", sizes.len(), sizes.iter().sum::<usize>()));
        assert_eq!(sizes.len(), uids.len());
        assert_eq!(uids.len(), uids.iter().collect::<BTreeSet<_>>().len(), "{uids:?}");
        Some(Self { client, sizes, uids })
    }

    pub(crate) fn begin(server: &Server) -> Self {
        Self::try_begin(server).expect("nobody else is in the mailbox")
    }

    pub(crate) fn count(&self) -> usize {
        self.uids.len()
    }

    /// Octets of each message.
    pub(crate) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    pub(crate) fn uid(&self, number: usize) -> &str {
        &self.uids[number - 1]
    }

    /// Reads a message, as long as it was listed; `None` if it is not there any more.
    pub(crate) fn read(&mut self, number: usize) -> Option<String> {
        let reply = self.client.send(&format!("RETR {number}")).reply();
        if reply.starts_with("-ERR") {
            return None;
        }
        let text = self.client.text();
        assert_eq!(reply, format!("+OK {} octets\r\n", text.len()));
        assert_eq!(self.sizes[number - 1], text.len(), "LIST and RETR differ on {}", self.uid(number));
        Some(identified(&text))
    }

    /// Reads everything that is there: the letters with their unique ids. None is there twice.
    pub(crate) fn read_all(&mut self) -> BTreeMap<String, String> {
        let mut letters = BTreeMap::new();
        for number in 1..=self.count() {
            let Some(letter) = self.read(number) else { continue };
            let before = letters.insert(letter.clone(), self.uid(number).to_owned());
            assert_eq!(before, None, "{letter} is there twice");
        }
        letters
    }

    pub(crate) fn delete(&mut self, number: usize) {
        self.client.ask(&format!("DELE {number}"), "+OK");
    }

    /// Ends the session, which removes the deleted messages.
    pub(crate) fn quit(mut self) {
        self.client.ask("QUIT", "+OK");
    }

    /// Loses the connection: nothing is deleted, nothing marked.
    pub(crate) fn drop(self) {}
}

/// Every letter in the mailbox with its unique id. Nothing in it is changed.
pub(crate) fn look(server: &Server) -> BTreeMap<String, String> {
    let mut visit = eventually("the mailbox is free", || Visit::try_begin(server));
    let (count, letters) = (visit.count(), visit.read_all());
    assert_eq!(letters.len(), count, "all that is listed is there");
    visit.drop();
    letters
}

/// Looks until exactly these letters are there.
#[track_caller]
pub(crate) fn look_for(server: &Server, ids: &[String]) -> BTreeMap<String, String> {
    let wanted: BTreeSet<&String> = ids.iter().collect();
    let mut last = BTreeSet::new();
    for _ in 0..LOOKS {
        let letters = look(server);
        if letters.keys().collect::<BTreeSet<_>>() == wanted {
            return letters;
        }
        last = letters.into_keys().collect();
    }
    panic!("wanted {wanted:?}, there are {last:?}");
}

/// The number of visits within which the server must notice a change of another program; each takes a
/// password check.
const LOOKS: usize = 40;
