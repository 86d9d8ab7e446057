use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use proptest::prelude::*;

use super::*;
use crate::{
    index::{MailboxIndex, name_set::NameSet as DirtyNames},
    maildir::{FileVersion, scan::MAX_KNOWN},
};

thread_local! {
    /// The number of messages compared so far.
    pub(super) static ORDERS: Cell<u64> = const { Cell::new(0) };
}

/// The number of messages that each of so many changes compares, rounded down.
fn compared(changes: u64, change: impl FnOnce()) -> u64 {
    let before = ORDERS.get();
    change();
    (ORDERS.get() - before) / changes
}

fn found(name: &str, subdir: Subdir, inode: u64, octets: u64) -> MessageEntry {
    MessageEntry {
        name: name.as_bytes().into(),
        subdir,
        version: FileVersion { inode, bytes: octets, modified: (0, 0) },
        octets,
    }
}

fn names(list: &MessageList) -> Vec<String> {
    list.iter().map(|found| String::from_utf8_lossy(&found.name).into_owned()).collect()
}

#[test]
fn a_message_put_twice_is_there_once_under_its_latest_name() {
    let mut list = MessageList::default();
    list.upsert(found("1.M1.h", Subdir::New, 7, 10));
    list.upsert(found("1.M1.h", Subdir::New, 7, 10));
    list.upsert(found("1.M1.h:2,S", Subdir::Cur, 7, 10));
    list.check();
    assert_eq!((names(&list), list.total()), (vec!["1.M1.h:2,S".to_string()], 10));
    list.remove(Subdir::New, b"1.M1.h"); // the late half of the move
    assert_eq!(list.len(), 1);
    list.remove(Subdir::Cur, b"1.M1.h:2,S");
    assert!(list.is_empty() && list.names.is_empty());
    list.check();
}

#[test]
fn a_file_with_two_names_is_one_message_until_both_are_gone() {
    let (new, cur) = (found("1.x", Subdir::New, 7, 10), found("1.x:2,S", Subdir::Cur, 7, 10));
    let scanned = MessageList::from_messages(vec![new.clone(), cur.clone(), new.clone()]);
    let mut reported = MessageList::default();
    reported.upsert(new.clone());
    reported.upsert(cur.clone());
    for mut list in [scanned, reported] {
        assert_eq!((list.len(), list.total()), (1, 10));
        list.remove(cur.subdir, &cur.name);
        assert_eq!(names(&list), ["1.x"]);
        list.remove(new.subdir, &new.name);
        assert!(list.is_empty() && list.names.is_empty());
        list.check();
    }
}

#[test]
fn a_file_that_replaces_another_takes_its_place() {
    let mut list = MessageList::from_messages(vec![found("1.x", Subdir::New, 7, 10)]);
    list.upsert(found("1.x", Subdir::New, 8, 20));
    assert_eq!((list.len(), list.total()), (1, 20));
    list.check();
}

#[test]
fn two_files_of_one_identity_are_two_messages() {
    let mut list = MessageList::from_messages(vec![found("1.x", Subdir::New, 7, 10)]);
    list.upsert(found("1.x:2,S", Subdir::Cur, 8, 20));
    list.check();
    assert_eq!(names(&list), ["1.x", "1.x:2,S"]);
}

#[test]
fn a_file_that_is_two_messages_is_not_three_when_one_of_them_moves() {
    let mut list = MessageList::from_messages(vec![
        found("1.x", Subdir::New, 7, 10),
        found("2.y:2,S", Subdir::Cur, 7, 10),
    ]);
    list.upsert(found("1.x:2,S", Subdir::Cur, 7, 10));
    list.remove(Subdir::Cur, b"2.y:2,S");
    assert_eq!(names(&list), ["1.x:2,S"]);
    list.remove(Subdir::New, b"1.x");
    assert_eq!(names(&list), ["1.x:2,S"]);
    list.check();
}

#[test]
fn a_list_of_many_is_in_the_order_of_one_that_grew() {
    let names = ["7.M2.x", "y", "7.M2.a", "10.x", "7.M10.a", "x", "7.x", "007.M2.a", "7.M2.x:2,S"];
    let files: Vec<MessageEntry> =
        (0..).zip(names).map(|(inode, name)| found(name, Subdir::New, 9 - inode, 1)).collect();
    let mut grown = MessageList::default();
    files.iter().for_each(|file| grown.upsert(file.clone()));
    let list = MessageList::from_messages(files);
    list.check();
    assert!(list.iter().eq(grown.iter()), "{:?} {:?}", self::names(&list), self::names(&grown));
}

#[test]
fn a_change_costs_no_more_the_more_files_one_identity_has() {
    for files in [512, 1024, 2048, 4096_u64] {
        let name = |n: u64, flags: &str| format!("1700000000.same.host:2,a{n}{flags}");
        let file = |n: u64, flags: &str| found(&name(n, flags), Subdir::Cur, n, 1);
        let mut list = MessageList::from_messages((0..files).map(|n| file(n, "")).collect());
        let most = 16 * u64::from(files.ilog2());
        let moved = compared(files, || (0..files).rev().for_each(|n| list.upsert(file(n, "S"))));
        let late =
            compared(files, || (0..files).for_each(|n| list.remove(Subdir::Cur, name(n, "").as_bytes())));
        list.check();
        assert_eq!((list.len() as u64, list.names.extra_names.is_empty()), (files, true));
        let gone =
            compared(files, || (0..files).for_each(|n| list.remove(Subdir::Cur, name(n, "S").as_bytes())));
        assert!(list.is_empty() && list.names.is_empty());
        assert!(moved < most && late < most && gone < most, "{files}: {moved}, {late}, {gone} of {most}");
    }
}

#[test]
fn what_a_walk_missed_is_kept_and_removed_at_a_price_that_grows_with_it_only() {
    for files in [2000, 4000_u64] {
        let name = |n: u64| format!("1700000000.same.host:2,a{n}");
        let file = |n: u64| found(&name(n), Subdir::Cur, n, 1);
        let before = MessageList::from_messages((0..files).map(file).collect());
        let named = |n: u64| (Subdir::Cur, name(n).into_bytes().into());
        let reported: Vec<FileName> = (0..files).map(named).collect();
        let mut dirty = DirtyNames::default();
        dirty.extend(reported.iter().cloned());
        let most = 16 * u64::from(files.ilog2());
        let (mut index, mut missing, mut kept) = (MailboxIndex::default(), Vec::new(), Vec::new());
        let missed = compared(files, || missing = before.difference(index.list()));
        let keeping = compared(files, || kept = index.keep_maybe_renamed(missing, &dirty));
        assert_eq!((kept.len(), index.list().len()), (reported.len(), reported.len()));
        let seen = compared(files, || assert!(before.difference(index.list()).is_empty()));
        let looking = compared(files, || {
            let all_few =
                reported.iter().all(|(subdir, name)| index.known_files(*subdir, name).len() <= 1 + MAX_KNOWN);
            assert!(all_few);
        });
        let gone = compared(files, || index.remove(&reported));
        assert!(index.list().is_empty());
        let prices = [missed, keeping, seen, looking, gone];
        assert!(prices.iter().all(|price| *price < most), "{files}: {prices:?} of {most}");
    }
}

#[test]
fn a_file_of_many_names_is_one_message_until_the_last_of_them_is_gone() {
    const NAMES: u64 = 5000;
    let name = |n: u64| format!("1.same:2,a{n}");
    let scanned =
        MessageList::from_messages((0..NAMES).map(|n| found(&name(n), Subdir::Cur, 7, 10)).collect());
    let mut reported = MessageList::default();
    (0..NAMES).for_each(|n| reported.upsert(found(&name(n), Subdir::Cur, 7, 10)));
    for mut list in [scanned, reported] {
        assert_eq!((list.len(), list.total()), (1, 10));
        (0..NAMES - 1).for_each(|n| list.remove(Subdir::Cur, name(n).as_bytes()));
        assert_eq!(names(&list), [name(NAMES - 1)]);
        list.remove(Subdir::Cur, name(NAMES - 1).as_bytes());
        assert!(list.is_empty() && list.names.is_empty());
    }
}

#[test]
fn a_copy_does_not_see_what_comes_after_it() {
    let mut list =
        MessageList::from_messages((0..2000).map(|n| found(&format!("{n}.x"), Subdir::New, n, 1)).collect());
    let copy = list.clone();
    list.upsert(found("700.M5.y", Subdir::New, 9999, 1));
    list.remove(Subdir::New, b"3.x");
    assert_eq!((copy.len(), list.len()), (2000, 2000));
    assert!(copy.iter().all(|found| found.version.inode != 9999));
    list.check();
    copy.check();
}

proptest! {
    #[test]
    fn any_changes_lead_to_what_a_plain_set_of_names_says(steps in prop::collection::vec((0u64..300, 0u8..4, any::<bool>(), 0u64..2), 0..1500)) {
        let mut list = MessageList::default();
        let mut plain = BTreeMap::new();
        for (id, what, flagged, file) in steps {
            let (subdir, name) = if flagged { (Subdir::Cur, format!("{id}.x:2,S")) } else { (Subdir::New, format!("{id}.x")) };
            if what == 0 {
                list.remove(subdir, name.as_bytes());
                plain.remove(&(subdir, name));
            } else {
                let inode = 2 * id + file;
                list.upsert(found(&name, subdir, inode, inode));
                plain.insert((subdir, name), inode);
            }
        }
        list.check();
        let files: BTreeSet<u64> = plain.values().copied().collect();
        prop_assert_eq!(list.iter().map(|found| found.version.inode).collect::<BTreeSet<_>>(), files.clone());
        prop_assert_eq!(list.len(), files.len());
        for found in list.iter() {
            let name = String::from_utf8(found.name.to_vec()).unwrap();
            prop_assert_eq!(plain.get(&(found.subdir, name)), Some(&found.version.inode));
        }
    }
}
