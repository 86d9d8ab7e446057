//! Searches of a small folder, in slices of any size.

use std::{fs, sync::Arc};

use super::*;
use crate::{
    maildir::fault_points::{FaultKind, PlannedFault},
    proto::imap::{command::Command, parser, search_key::SearchKey},
    workers::imap_message::tests::TestFolder,
};

const MESSAGES: [&[u8]; 5] = [
    b"From: =?utf-8?q?Zo=C3=AB?= <zoe@far.test>\nTo: ann@b.test\nSubject: Your\n Order\n\
      Date: Fri, 20 Nov 2026 23:30:00 -0500\n\nHello\nWorld\n",
    b"From: bob@b.test\nSubject: =?iso-8859-1?q?Caf=E9?=\nContent-Type: text/html; charset=utf-8\n\
      Content-Transfer-Encoding: base64\n\nPHA+RXN0cmF+PGI+cGhyYXNlPC9iPjwvcD4=\n",
    b"From: carl@b.test\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\n\
      Content-Transfer-Encoding: quoted-printable\n\n=C9t=E9 soft=\nbreak\n--b\nContent-Type: application/pdf\n\nhidden\n--b--\n",
    b"From: dora@b.test\nContent-Type: message/rfc822\n\nSubject: Inner subject\n\ninner text\n",
    b"\nno header\n",
];

fn folder() -> TestFolder {
    TestFolder::new(&MESSAGES)
}

fn key(text: &str) -> SearchKey {
    match parser::tests::parsed(&format!("SEARCH {text}")) {
        Ok(Command::Search(search)) => search.key,
        other => panic!("{text}: {other:?}"),
    }
}

/// The UIDs that a condition finds, whatever the slices are.
fn found(folder: &TestFolder, text: &str) -> String {
    let request = Search {
        state: Arc::clone(&folder.sequence.state),
        recent: NumberSet::of_range(40, 51),
        key: key(text),
    };
    let mut results = Vec::new();
    for budget in [1, 1000, u64::MAX] {
        let mut progress = SearchProgress::default();
        let mut slices = 0;
        let all = loop {
            slices += 1;
            assert!(slices <= MESSAGES.len() + 1, "{text} ends");
            match search(&folder.maildir, &folder.sequence, &request, progress, (budget, &|| false)).unwrap()
            {
                SearchSlice::Done { uids, .. } => break uids,
                SearchSlice::Unfinished(rest) => progress = rest,
            }
        };
        results.push(all.to_string());
    }
    results.dedup();
    assert_eq!(results.len(), 1, "{text}: {results:?}");
    results.remove(0)
}

#[test]
fn y129_an_address_is_found_without_its_comments() {
    let folder = TestFolder::new(&[
        b"From: <pete (his account)@ (his host) silly.test>\nTo: \"Doe, \\\"J\\\"\" <j@b.test>\n\n",
        b"From: ann@b.test\nTo: friends: (nobody);\n\n",
    ]);
    for (condition, expected) in [
        ("FROM pete@silly.test", "10"),
        ("FROM \"his account\"", "10"),
        ("TO {11}", "10"),
        ("TO friends", "20"),
        ("FROM ann@b.test", "20"),
    ] {
        let condition = condition.replace("{11}", "\"Doe, \\\"J\\\"\"");
        assert_eq!(found(&folder, &condition), expected, "{condition}");
    }
}

#[test]
fn each_condition_finds_its_messages() {
    let folder = folder();
    for (text, expected) in [
        ("ALL", "10,20,30,40,50"),
        ("SEEN", "10,20,30,40,50"),
        ("UNSEEN", ""),
        ("KEYWORD later", ""),
        ("UNKEYWORD nobody", "10,20,30,40,50"),
        ("RECENT", "40,50"),
        ("OLD", "10,20,30"),
        ("2:3", "20,30"),
        ("*", "50"),
        ("UID 15:30", "20,30"),
        ("NOT 2:*", "10"),
        ("OR 1 UID 50", "10,50"),
        ("MODSEQ 31", "30,40,50"),
        ("FROM zo\u{eb}", "10"),
        ("FROM \"ZO\u{cb} <ZOE@\"", "10"),
        ("SUBJECT \"your order\"", "10"),
        ("SUBJECT caf\u{e9}", "20"),
        ("HEADER subject \"\"", "10,20"),
        ("HEADER X-None \"\"", ""),
        ("FROM zoe NOT FROM bob TO ann", "10"),
        ("FROM \"far.test from\"", ""),
        ("TEXT \"b.test subject:\"", ""),
        ("TEXT \"from: bob\"", "20"),
        ("BODY \"hello world\"", "10"),
        ("BODY \"estra~phrase\"", "20"),
        ("BODY \"\u{c9}T\u{c9} softbreak\"", "30"),
        ("BODY hidden", ""),
        ("BODY \"inner subject\"", ""),
        ("TEXT \"inner subject\"", "40"),
        ("BODY \"inner text\"", "40"),
        ("TEXT application/pdf", "30"),
        ("SUBJECT inner", ""),
        ("TEXT dora", "40"),
        ("BODY dora", ""),
        ("TEXT \"no header\"", "50"),
        ("TEXT \"\"", "10,20,30,40,50"),
        ("TEXT b.test NOT TEXT dora", "10,20,30"),
        ("SENTON 20-Nov-2026", "10"),
        ("SENTSINCE 21-Nov-2026", ""),
        ("SENTBEFORE 21-Nov-2026", "10"),
        ("SMALLER 20", "50"),
        ("LARGER 20 NOT LARGER 150", "10,40"),
    ] {
        assert_eq!(found(&folder, text), expected, "{text}");
    }
}

#[test]
fn the_day_on_which_a_message_came_is_that_of_its_internal_date() {
    let folder = folder();
    let (_, entry) = folder.sequence.message(10).unwrap();
    let day = |seconds: i64| {
        let date = crate::mime::date::Date::from_seconds(seconds);
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        format!("{}-{}-{}", date.day, months[usize::from(date.month) - 1], date.year)
    };
    let (today, tomorrow) = (entry.version.modified.0, entry.version.modified.0 + 86_400);
    assert!(found(&folder, &format!("1 ON {}", day(today))) == "10");
    assert!(found(&folder, &format!("1 SINCE {}", day(today))) == "10");
    assert!(found(&folder, &format!("1 BEFORE {}", day(tomorrow))) == "10");
    assert!(found(&folder, &format!("1 BEFORE {}", day(today))).is_empty());
}

#[test]
fn y11_only_messages_that_nothing_cheaper_decides_are_read() {
    let folder = folder();
    // Reading a file that is gone would leave its message out.
    [10, 20, 30, 40, 50].into_iter().for_each(|uid| fs::remove_file(folder.path(uid)).unwrap());
    for (text, expected) in [
        ("OR 2 BODY x", "20"),
        ("NOT (UNSEEN BODY x)", "10,20,30,40,50"),
        ("OR SEEN OR FROM x TEXT y", "10,20,30,40,50"),
        ("FROM x", ""),
    ] {
        assert_eq!(found(&folder, text), expected, "{text}");
    }
}

#[test]
fn y12_a_search_that_cannot_read_a_message_fails() {
    let folder = folder();
    let request = |text| Search {
        state: Arc::clone(&folder.sequence.state),
        recent: NumberSet::default(),
        key: key(text),
    };
    let run = |text| {
        let progress = SearchProgress::default();
        search(&folder.maildir, &folder.sequence, &request(text), progress, (u64::MAX, &|| false))
    };
    let _fault = PlannedFault::new(folder.maildir.path(), 3, FaultKind::Error);
    assert_eq!(run("SEEN"), Ok(done(&[10, 20, 30, 40, 50])));
    assert_eq!(run("FROM nobody"), Err(Failure::TempFail));
    assert_eq!(run("FROM nobody"), Ok(done(&[])));
}

fn done(uids: &[u32]) -> SearchSlice {
    SearchSlice::Done { uids: folder_uids(uids), has_gone: false }
}

fn folder_uids(uids: &[u32]) -> NumberSet {
    let mut set = NumberSet::default();
    uids.iter().for_each(|uid| set.push(*uid));
    set
}

#[test]
fn y176_hundreds_of_texts_in_fields_and_bodies_find_what_one_after_the_other_finds() {
    let folder = folder();
    let absent: String = (0..300).map(|n| format!(" NOT SUBJECT \"no {n}\"")).collect();
    assert_eq!(found(&folder, &format!("SUBJECT your{absent}")), "10");
    assert_eq!(found(&folder, &format!("ALL{absent} NOT SUBJECT caf\u{e9}")), "10,30,40,50");
    assert_eq!(found(&folder, &format!("HEADER subject \"\"{absent}")), "10,20");
    let absent: String = (0..99).map(|n| format!(" NOT TEXT \"no {n}\"")).collect();
    assert_eq!(found(&folder, &format!("TEXT \"inner subject\"{absent}")), "40");
    assert_eq!(found(&folder, &format!("NOT TEXT application/pdf{absent}")), "10,20,40,50");
    let absent = absent.replace("TEXT", "BODY");
    assert_eq!(found(&folder, &format!("BODY \"inner subject\"{absent}")), "");
}

#[test]
fn y176_a_search_that_nobody_waits_for_ends_before_the_next_message() {
    let folder = folder();
    let request = Search {
        state: Arc::clone(&folder.sequence.state),
        recent: NumberSet::default(),
        key: key("TEXT x"),
    };
    let progress = SearchProgress::default();
    let ended = search(&folder.maildir, &folder.sequence, &request, progress, (u64::MAX, &|| true));
    assert_eq!(ended, Err(Failure::TempFail));
}
