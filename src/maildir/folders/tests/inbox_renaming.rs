//! RENAME of INBOX whose steps fail: it has happened, or nothing has.

use super::*;

type Change = fn(&FolderTree<'_>) -> Result<(), FolderError>;

/// By renames, as it is done on the file system of the tests, and by links.
const CHANGES: [Change; 2] =
    [|folders| folders.rename(".inbox", ".old"), |folders| folders.rename_inbox_by(".old", |_, _| false)];

fn prepare(fixture: &Fixture) {
    fixture.folders().create(".INBOX.below").unwrap();
    for (path, text) in [
        ("new/1.a", "one"),
        ("cur/2.b:2,S", "two"),
        ("cur/3.c:2,T", "three"),
        (".INBOX.below/new/4.d", "four"),
    ] {
        fixture.file(path, text);
    }
    fixture.file("dovecot-keywords", "0 $label1\n");
}

#[track_caller]
fn assert_nothing_moved(fixture: &Fixture, case: &str) {
    let messages = fixture.messages();
    for text in ["one", "two", "three"] {
        assert_eq!(messages[text], ["INBOX"], "{case}: {messages:?}");
    }
    assert!(!fixture.home.join(".old").exists(), "{case}");
}

#[test]
fn y47_renaming_inbox_moves_its_messages_and_loses_none_at_any_step() {
    let mut steps = Vec::new();
    for (change, is_by_links) in CHANGES.into_iter().zip([false, true]) {
        steps.extend(trouble_at_every_step(prepare, change, |fixture, result, case| {
            let before = fixture.messages();
            assert_eq!(before.len(), 4, "{case}");
            let has_atomic_names = crate::maildir::unnamed_file::has_atomic_names(fixture.inbox.root());
            if has_atomic_names && !is_by_links {
                assert!(before.values().all(|places| places.len() == 1), "{case}: {before:?}");
            }
            fixture.folders().recover();
            // Mail that has come meanwhile stays in INBOX.
            fixture.file("new/5.e", "five");
            fixture.folders().recover();
            let messages = fixture.messages();
            assert_eq!(messages["four"], ["INBOX.below"], "{case}");
            assert_eq!(messages["five"], ["INBOX"], "{case}");
            let is_done = messages["one"] == ["old"];
            for text in ["one", "two", "three"] {
                assert_eq!(messages[text], [if is_done { "old" } else { "INBOX" }], "{case}: {messages:?}");
            }
            assert_eq!(fixture.home.join(".old/dovecot-keywords").is_file(), is_done, "{case}");
            assert!(is_done || !fixture.home.join(".old").exists(), "{case}");
            if let Some(result) = result {
                assert_eq!(result.is_ok(), is_done, "{case}");
            }
        }));
    }
    for step in ["rename message", "link message", "unlink message", "write folder record: done"] {
        assert!(steps.contains(&step), "{step}");
    }
}

#[test]
fn y190_a_folder_that_is_deleted_after_a_refused_renaming_of_inbox_takes_no_message_with_it() {
    for change in CHANGES {
        trouble_at_every_step(prepare, change, |fixture, result, case| {
            let messages = fixture.messages();
            assert!(["one", "two", "three"].iter().all(|text| messages.contains_key(*text)), "{case}");
            let Some(Err(_)) = result else { return };
            // The disk has room again, and the client looks whether there is anything of the folder.
            match fixture.folders().delete(".old", 7) {
                Err(FolderError::Missing) => {}
                other => panic!("{case}: {other:?}"),
            }
            assert_nothing_moved(fixture, case);
        });
    }
}

#[test]
fn y190_mail_that_came_into_the_folder_of_a_refused_renaming_is_not_lost_with_it() {
    for is_new in [true, false] {
        let fixture = Fixture::new();
        prepare(&fixture);
        // The process was killed after two messages, of which another program has changed one since.
        fixture.folders().create(".old").unwrap();
        fixture.file(record::RECORD, "restante folders 1\nrename-inbox\t.old\n");
        fs::rename(fixture.home.join("new/1.a"), fixture.home.join(".old/new/1.a")).unwrap();
        fs::hard_link(fixture.home.join("cur/2.b:2,S"), fixture.home.join(".old/cur/2.b:2,RS")).unwrap();
        let part = if is_new { "new" } else { "cur" };
        fixture.file(&format!(".old/{part}/5.e"), "five");
        // A name that INBOX has too, of another message.
        fixture.file("cur/6.f:2,S", "six");
        fixture.file(".old/cur/6.f:2,S", "seven");
        assert!(matches!(fixture.folders().create(".old"), Err(FolderError::Exists)));
        let messages = fixture.messages();
        for text in ["one", "two", "three", "five", "six"] {
            assert_eq!(messages[text], ["INBOX"], "{messages:?}");
        }
        assert_eq!(messages["seven"], ["old"]);
        // It is a folder like others now.
        fixture.folders().delete(".old", 7).unwrap();
        assert_eq!(fixture.messages().len(), 6);
    }
}

#[test]
fn y191_a_refused_renaming_of_inbox_leaves_no_folder_and_can_be_asked_for_again() {
    let prepare = |fixture: &Fixture| {
        prepare(fixture);
        fixture.folders().subscribe("INBOX", false, &[]).unwrap();
    };
    let change = |folders: &FolderTree<'_>| folders.rename(".INBOX", ".up.old");
    trouble_at_every_step(prepare, change, |fixture, result, case| {
        let is_outage = case.starts_with("Outage");
        if let Some(Err(_)) = result
            && !is_outage
        {
            assert_eq!(fixture.texts(), ["INBOX.below"], "{case}");
            let subscriptions = fixture.folders().subscriptions().unwrap().unwrap();
            assert_eq!(subscriptions.names().collect::<Vec<_>>(), [".INBOX.below"], "{case}");
        }
        if !matches!(result, Some(Ok(()))) {
            fixture.folders().recover();
            match change(&fixture.folders()) {
                // It was killed after its last step.
                Err(FolderError::Exists) if result.is_none() => {}
                other => other.unwrap(),
            }
        }
        let messages = fixture.messages();
        for text in ["one", "two", "three"] {
            assert_eq!(messages[text], ["up.old"], "{case}: {messages:?}");
        }
        let subscriptions = fixture.folders().subscriptions().unwrap().unwrap();
        // As after CREATE, a kill may leave a parent without a subscription.
        assert!(subscriptions.contains(".up.old") && !subscriptions.contains("INBOX"), "{case}");
    });
}

#[test]
fn y194_a_folder_below_inbox_is_found_in_any_case() {
    let fixture = Fixture::new();
    for name in [".inbox.theirs", ".Inbox.both", ".INBOX.both", ".inbox"] {
        ["tmp", "new", "cur"]
            .iter()
            .for_each(|part| fs::create_dir_all(fixture.home.join(name).join(part)).unwrap());
    }
    fixture.file("subscriptions", "iNbOx.theirs\n");
    assert_eq!(fixture.texts(), ["INBOX", "INBOX.both", "INBOX.theirs"]);
    let folders = fixture.folders();
    assert_eq!(folders.open(".INBOX.theirs").unwrap().path(), fixture.home.join(".inbox.theirs"));
    assert_eq!(folders.open(".INBOX.both").unwrap().path(), fixture.home.join(".INBOX.both"));
    assert!(matches!(folders.create(".INBOX.theirs"), Err(FolderError::Exists)));
    assert!(folders.subscriptions().unwrap().unwrap().contains(".INBOX.theirs"));
    folders.rename(".INBOX.theirs", ".ours").unwrap();
    assert_eq!(fixture.texts(), ["INBOX", "INBOX.both", "ours"]);
    assert!(folders.subscriptions().unwrap().unwrap().contains(".ours"));
    folders.delete(".INBOX.both", 1).unwrap();
}
