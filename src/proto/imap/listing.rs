//! LIST (RFC 3501 section 6.3.8; RFC 5258, RFC 5819, RFC 6154) and LSUB.

use std::collections::HashSet;

use super::{
    command::{List, ListReturn, ListSelect, StatusItem},
    command_state::{Listing, ListingPass, Tag},
    mailboxes::{folder_name, write_status},
    pattern::Pattern,
    reply,
    request::{FolderInfo, ImapRequest, ImapResponse},
    response::writer::{Items, untagged},
    state::{ImapSession, State, WaitingCommand},
};
use crate::proto::{Step, buffer::Outbox};

impl ImapSession {
    pub(super) fn list(&mut self, tag: Tag, list: List, out: &mut Outbox) -> Step {
        // An empty pattern asks for the separator of levels.
        if !list.is_extended() && list.patterns == [b""] {
            let word = if list.is_lsub { "LSUB" } else { "LIST" };
            untagged(out.buffer(), |line| {
                line.atom(word)
                    .list(|list| {
                        list.atom("\\Noselect");
                    })
                    .string(b".")
                    .string(b"");
            });
            return self.done(&tag, out);
        }
        let Some(mailbox) = self.user.clone() else { return self.no_folder(&tag, out) };
        let status = list.status.clone();
        if status.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore(out);
        }
        self.await_response(tag, WaitingCommand::List(list), ImapRequest::List { mailbox, status })
    }

    pub(super) fn listed(&mut self, tag: Tag, list: List, response: ImapResponse, out: &mut Outbox) -> Step {
        let ImapResponse::Folders(folders) = response else {
            return self.close_with(out, "internal error", reply::INTERNAL);
        };
        let pattern = |pattern: &Vec<u8>| Pattern::new(&list.reference, pattern);
        let patterns: Vec<Pattern> = list.patterns.iter().filter_map(pattern).collect();
        self.state = State::Listing(Box::new(Listing {
            tag,
            list,
            patterns,
            folders,
            pass: ListingPass::Parents,
            next: 0,
            parents_of_existing: HashSet::new(),
            parents_of_eligible: HashSet::new(),
            parents_of_unmatched: HashSet::new(),
        }));
        Step::Continue
    }

    pub(super) fn listing_step(&mut self, mut listing: Box<Listing>, out: &mut Outbox) -> Step {
        let mut compared = 0;
        while compared < PATTERNS_PER_STEP {
            let Some(folder) = listing.folders.get(listing.next) else {
                listing.next = 0;
                listing.pass = match listing.pass {
                    ListingPass::Parents if listing.list.shows_parents() => ListingPass::Matching,
                    ListingPass::Parents | ListingPass::Matching => ListingPass::Writing,
                    ListingPass::Writing => return self.conclude_ok(listing.tag, true, out),
                };
                continue;
            };
            listing.next += 1;
            let name = folder_name(&folder.folder);
            if listing.pass == ListingPass::Parents {
                compared += 1;
                if folder.exists {
                    listing.parents_of_existing.extend(levels_above(name));
                }
                if is_eligible(&listing.list, folder) {
                    listing.parents_of_eligible.extend(levels_above(name));
                }
                continue;
            }
            compared += listing.patterns.len().max(1);
            let matches = listing.patterns.iter().any(|pattern| pattern.matches(name));
            match listing.pass {
                ListingPass::Matching if !matches && is_eligible(&listing.list, folder) => {
                    listing.parents_of_unmatched.extend(levels_above(name));
                }
                ListingPass::Writing if matches => listing.write(folder, name, out.buffer()),
                _ => {}
            }
        }
        self.work += compared;
        self.state = State::Listing(listing);
        Step::Continue
    }
}

/// The names of the levels above a name.
fn levels_above(name: &str) -> impl Iterator<Item = String> {
    name.match_indices('.').map(|(at, _)| name[..at].to_owned())
}

/// Whether a folder meets the selection criteria of a list (RFC 5258 section 3). Its name need not match a pattern.
fn is_eligible(list: &List, folder: &FolderInfo) -> bool {
    list.select.iter().all(|property| match property {
        ListSelect::Subscribed => folder.is_subscribed,
        ListSelect::SpecialUse => folder.special_use.is_some(),
        ListSelect::Remote | ListSelect::RecursiveMatch => true,
    }) && (!list.is_lsub || folder.is_subscribed)
}

impl Listing {
    /// Writes the lines of a folder whose name matches.
    fn write(&self, folder: &FolderInfo, name: &str, out: &mut Vec<u8>) {
        let list = &self.list;
        let is_parent = self.parents_of_existing.contains(name);
        let is_parent_of_eligible = self.parents_of_eligible.contains(name);
        let is_eligible = is_eligible(list, folder);
        let asks_subscribed = list.select.contains(&ListSelect::Subscribed);
        let is_recursive = list.select.contains(&ListSelect::RecursiveMatch);
        // A parent stands for the mailboxes below it that no pattern matches (RFC 5258 section 3.3; for LSUB with a percent sign,
        // RFC 3501 section 6.3.9).
        let is_named = is_eligible || self.parents_of_unmatched.contains(name);
        // A subscribed name need not exist.
        let is_shown = is_named && (list.is_lsub || asks_subscribed || folder.exists || is_parent);
        if !is_shown {
            return;
        }
        let attributes = |attributes: &mut Items<'_>| {
            if list.is_lsub {
                if !is_eligible {
                    attributes.atom("\\Noselect");
                }
                return;
            }
            if !folder.exists {
                // The first means the second too (RFC 5258 section 3), and older clients know the second alone.
                attributes.atom(if list.is_extended() { "\\NonExistent" } else { "\\Noselect" });
            }
            if folder.is_subscribed && (asks_subscribed || list.returned.contains(&ListReturn::Subscribed)) {
                attributes.atom("\\Subscribed");
            }
            attributes.atom(if is_parent { "\\HasChildren" } else { "\\HasNoChildren" });
            if let Some(special_use) = folder.special_use {
                attributes.atom(special_use.attribute());
            }
        };
        untagged(out, |line| {
            line.atom(if list.is_lsub { "LSUB" } else { "LIST" }).list(attributes).string(b".");
            line.astring(name.as_bytes());
            if is_recursive && is_parent_of_eligible {
                line.list(|extended| {
                    extended.string(b"CHILDINFO").list(|of| {
                        if asks_subscribed {
                            of.string(b"SUBSCRIBED");
                        }
                        if list.select.contains(&ListSelect::SpecialUse) {
                            of.string(b"SPECIAL-USE");
                        }
                    });
                });
            }
        });
        if let Some(numbers) = folder.status.as_ref().filter(|_| folder.exists && !list.status.is_empty()) {
            write_status(name, &list.status, numbers, out);
        }
    }
}

/// Patterns that one step compares with names.
const PATTERNS_PER_STEP: usize = 64;
