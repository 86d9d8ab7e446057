//! UIDs that another server has given.

use super::*;

#[test]
fn y24_a_folder_of_dovecot_keeps_its_uids_and_its_keywords() {
    let mut folder = Folder::new();
    let path = folder.maildir.path().to_owned();
    fs::remove_file(path.join(uid_file::FILE)).unwrap();
    fs::write(path.join("dovecot-uidlist"), "3 V1234567890 N31\n5 :1.a:2,\n30 W9 :2.b\n").unwrap();
    fs::write(path.join("dovecot-keywords"), "0 $Junk\n1 todo\n").unwrap();
    folder.reload();
    folder.add("3.new", Subdir::New, 3);
    folder.add("2.b:2,Sb", Subdir::Cur, 2);
    folder.add("1.a", Subdir::New, 1);
    let sequence = folder.refresh();
    let uids: Vec<u32> = sequence.state.messages.iter().map(|message| message.uid).collect();
    assert_eq!((sequence.state.uid_validity, uids), (1_234_567_890, vec![5, 30, 31]));
    let keywords: Vec<&str> = sequence.state.keywords.iter().map(AsRef::as_ref).collect();
    assert_eq!(keywords, ["$Junk", "todo"]);
    // Another folder of the user gets a later one.
    assert_eq!(uid_validity::next(&folder.maildir, NOW).unwrap(), 1_234_567_891);
}

#[test]
fn y261_the_list_of_dovecot_is_taken_over_once_although_our_uids_are_lost() {
    let mut folder = Folder::new();
    let path = folder.maildir.path().to_owned();
    fs::remove_file(path.join(uid_file::FILE)).unwrap();
    fs::write(path.join("dovecot-uidlist"), "3 V1234567890 N31\n30 :1.a\n").unwrap();
    folder.reload();
    folder.add("1.a", Subdir::New, 1);
    folder.add("2.b", Subdir::New, 2);
    let uids = |folder: &mut Folder| folder.messages().iter().map(|message| message.0).collect::<Vec<_>>();
    assert_eq!(uids(&mut folder), [30, 31]);
    folder.remove("2.b", Subdir::New);
    folder.add("3.c", Subdir::New, 3);
    for damage in ["", "not ours"] {
        let before = folder.refresh().state.uid_validity;
        match damage {
            "" => fs::remove_file(path.join(uid_file::FILE)).unwrap(),
            damage => fs::write(path.join(uid_file::FILE), damage).unwrap(),
        }
        folder.reload();
        // Under the old value, UID 31 would be another message than the one that clients know.
        assert!(folder.refresh().state.uid_validity > before);
        assert_eq!(uids(&mut folder), [1, 2]);
    }
}

#[test]
fn y263_a_list_whose_note_is_missing_is_noted_by_the_next_load() {
    for list in ["dovecot-uidlist", "courierimapuiddb"] {
        let mut folder = Folder::new();
        let path = folder.maildir.path().to_owned();
        fs::remove_file(path.join(uid_file::FILE)).unwrap();
        fs::write(path.join(list), "1 1234567890 31\n30 1.a\n").unwrap();
        folder.reload();
        folder.add("1.a", Subdir::New, 1);
        assert_eq!(folder.refresh().state.uid_validity, 1_234_567_890);
        // An earlier build, or a power cut, has left no note.
        let notes = path.join(uid_validity::FILE);
        fs::write(&notes, "1234567890\n").unwrap();
        folder.reload();
        assert_eq!(fs::read_to_string(&notes).unwrap(), "1234567890\n1234567890 .\n");
        fs::remove_file(path.join(uid_file::FILE)).unwrap();
        folder.reload();
        assert!(folder.refresh().state.uid_validity > 1_234_567_890);
    }
}

#[test]
fn y263_a_note_that_fails_does_not_hide_a_folder_that_has_its_uids() {
    let mut folder = Folder::new();
    let path = folder.maildir.path().to_owned();
    fs::write(path.join("dovecot-uidlist"), "3 V100 N1 G1\n").unwrap();
    fs::remove_file(path.join(uid_validity::FILE)).unwrap();
    let plan = PlannedFault::new(&path, 1, FaultKind::Error);
    folder.reload();
    assert!(plan.triggered_at().is_some());
    drop(plan);
    assert_eq!(folder.refresh().state.uid_validity, 100);
}

#[test]
fn y117_uids_that_dovecot_has_given_since_are_taken_over() {
    let mut folder = Folder::new();
    folder.add("1.a", Subdir::New, 1);
    folder.add("2.b:2,S", Subdir::Cur, 2);
    folder.refresh();
    let path = folder.maildir.path().join("dovecot-uidlist");
    let uids = |folder: &mut Folder| folder.messages().iter().map(|message| message.0).collect::<Vec<_>>();
    fs::write(&path, "3 V100 N1010 G1\n2 :2.b:2,S\n1005 :3.c\n").unwrap();
    folder.reload();
    folder.add("3.c", Subdir::New, 3);
    folder.add("4.d", Subdir::New, 4);
    assert_eq!(uids(&mut folder), [1, 2, 1005, 1010]);
    // If both have numbered one message, ours stay, and no number of Dovecot is given again.
    fs::write(&path, "3 V100 N5000 G1\n7 :1.a\n").unwrap();
    folder.reload();
    folder.add("5.e", Subdir::New, 5);
    assert_eq!(uids(&mut folder), [1, 2, 1005, 1010, 5000]);
    // Another UIDVALIDITY is that of a folder which clients of ours have never seen.
    fs::write(&path, "3 V101 N9000 G1\n7 :1.a\n").unwrap();
    folder.reload();
    assert_eq!(uids(&mut folder), [1, 2, 1005, 1010, 5000]);
}

#[test]
fn y271_a_keyword_file_that_comes_after_the_names_is_read_for_all_messages() {
    let mut folder = Folder::new();
    folder.add("1.a:2,Sa", Subdir::Cur, 1);
    folder.add("2.b:2,S", Subdir::Cur, 2);
    let before = folder.messages();
    assert_eq!((before[0].1.as_str(), before[1].1.as_str()), ("Sa", "S"));
    fs::write(folder.maildir.path().join("dovecot-keywords"), "0 $Forwarded\n").unwrap();
    let after = folder.messages();
    assert_eq!(after, [(1, "PS".to_owned(), before[0].2 + 1), before[1].clone()]);
    // STATUS reads the names in the same way, and so finds no change.
    let book = UidBook::peek(&folder.maildir, at(200), &RecentMarks::default()).unwrap();
    let names = [(Subdir::Cur, b"1.a:2,Sa".as_slice()), (Subdir::Cur, b"2.b:2,S".as_slice())];
    let told = book.status(names.into_iter(), 0);
    folder.reload();
    assert_eq!(told.highest_modseq, folder.refresh().state.highest_modseq);
}
