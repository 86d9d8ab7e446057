//! Folders on a real disk, and changes that end at any step: after each of them every message is in a folder that the list
//! shows, and the next change or list finishes what was begun.

mod full_subscriptions;
mod inbox_renaming;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    maildir::{
        Spool,
        fault_points::{FaultKind, PlannedFault, memory_dir},
    },
    special_use::SpecialUse,
};

struct Fixture {
    spool: Spool,
    inbox: Maildir,
    home: PathBuf,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = memory_dir();
        let spool = Spool::open(&dir.path().join("spool")).unwrap();
        let inbox = spool.open_or_create_maildir("bob").unwrap();
        let home = inbox.path().to_owned();
        Self { spool, inbox, home, _dir: dir }
    }

    fn folders(&self) -> FolderTree<'_> {
        FolderTree::of(&self.inbox, 50)
    }

    /// The texts of the listed folders.
    fn texts(&self) -> Vec<String> {
        self.folders().list().unwrap().into_iter().map(|folder| folder.text).collect()
    }

    fn file(&self, path: &str, text: &str) {
        fs::write(self.home.join(path), text).unwrap();
    }

    /// The messages by their content, and the places of each: `INBOX` or the text of a listed folder.
    fn messages(&self) -> BTreeMap<String, Vec<String>> {
        let mut messages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let listed = self.folders().list().unwrap();
        let folders = listed.iter().map(|folder| (folder.text.clone(), self.home.join(&folder.directory)));
        for (text, path) in folders.chain([("INBOX".to_owned(), self.home.clone())]) {
            for file in ["new", "cur"].iter().flat_map(|part| files(&path.join(part))) {
                messages.entry(fs::read_to_string(file).unwrap()).or_default().push(text.clone());
            }
        }
        messages
    }

    fn hidden(&self) -> usize {
        let names = fs::read_dir(&self.home).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.as_encoded_bytes().starts_with(b"..")).count()
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Ends a change at each of its steps, by an error, by a kill and by an error of each later step too, on a fixture of its own each time. `check` gets the fixture
/// after that, the result, or `None` after a kill, and the case. Returns the steps.
fn trouble_at_every_step(
    prepare: impl Fn(&Fixture),
    change: impl Fn(&FolderTree<'_>) -> Result<(), FolderError>,
    check: impl Fn(&Fixture, Option<Result<(), FolderError>>, &str),
) -> Vec<&'static str> {
    let mut steps = Vec::new();
    for kind in [FaultKind::Error, FaultKind::Panic, FaultKind::Outage] {
        for number in 1.. {
            let fixture = Fixture::new();
            prepare(&fixture);
            let plan = PlannedFault::new(fixture.spool.path(), number, kind);
            let result = catch_unwind(AssertUnwindSafe(|| change(&fixture.folders()))).ok();
            let hit = plan.triggered_at();
            drop(plan);
            let Some(step) = hit else {
                assert!(matches!(result, Some(Ok(()))), "{result:?} without trouble");
                check(&fixture, result, "without trouble");
                break;
            };
            steps.push(step);
            check(&fixture, result, &format!("{kind:?} at step {number}, {step}"));
        }
    }
    steps
}

#[test]
fn y40_folders_of_any_program_are_listed_once_and_nothing_else_is() {
    let fixture = Fixture::new();
    for name in [
        ".Sent",
        ".R&D",
        ".Entwürfe",
        ".Entw&APw-rfe",
        ".a.b.c",
        ".half",
        "..restante.deleted.1",
        "..x",
        "plain",
    ] {
        fs::create_dir_all(fixture.home.join(name).join("cur")).unwrap();
    }
    fs::remove_dir(fixture.home.join(".half/cur")).unwrap();
    fixture.file(".file", "");
    symlink(fixture.home.join(".Sent"), fixture.home.join(".link")).unwrap();
    assert_eq!(fixture.texts(), ["Entwürfe", "R&D", "Sent", "a.b.c"]);
    let directories: Vec<String> =
        fixture.folders().list().unwrap().into_iter().map(|folder| folder.directory).collect();
    assert_eq!(directories, [".Entw&APw-rfe", ".R&D", ".Sent", ".a.b.c"]);
    for (name, found) in
        [(".R&-D", Some(".R&D")), (".R&D", Some(".R&D")), (".r&-d", None), (".link", None), (".half", None)]
    {
        assert_eq!(fixture.folders().find(name).unwrap().as_deref(), found, "{name}");
    }
    for name in ["tmp", "new"] {
        fs::create_dir(fixture.home.join(".R&D").join(name)).unwrap();
    }
    assert_eq!(fixture.folders().open(".R&-D").unwrap().path(), fixture.home.join(".R&D"));
    assert!(matches!(fixture.folders().open(".link"), Err(FolderError::Missing)));
}

#[test]
fn y41_a_new_folder_has_its_parents_and_is_whole_after_a_kill_at_any_step() {
    let steps = trouble_at_every_step(
        |_| {},
        |folders| folders.create(".a.b.c").map(drop),
        |fixture, result, case| {
            let done = matches!(result, Some(Ok(())));
            for folder in fixture.texts() {
                assert!(["a", "a.b", "a.b.c"].contains(&folder.as_str()), "{case}: {folder}");
            }
            // The client asks again.
            match fixture.folders().create(".a.b.c") {
                Ok(_) => assert!(!done, "{case}"),
                Err(FolderError::Exists) => {}
                Err(error) => panic!("{case}: {error:?}"),
            }
            assert_eq!(fixture.texts(), ["a", "a.b", "a.b.c"], "{case}");
            for folder in [".a", ".a.b", ".a.b.c"] {
                let path = fixture.folders().open(folder).unwrap().path().to_owned();
                assert!(path.join("maildirfolder").is_file(), "{case}");
            }
        },
    );
    assert!(steps.len() > 30 && steps.contains(&"make directory"), "{steps:?}");
}

#[test]
fn y42_folders_are_bounded_and_names_of_others_are_taken() {
    let fixture = Fixture::new();
    let few = FolderTree::of(&fixture.inbox, 3);
    few.create(".a.b").unwrap();
    assert!(matches!(few.create(".c.d"), Err(FolderError::TooMany)));
    assert_eq!(fixture.texts(), ["a", "a.b"]);
    few.create(".c").unwrap();
    for taken in [".a", ".a.b", ".INBOX", ".inbox"] {
        assert!(matches!(few.create(taken), Err(FolderError::Exists)), "{taken}");
    }
    fs::rename(fixture.home.join(".c"), fixture.home.join(".Ä")).unwrap();
    assert!(matches!(few.create(".&AMQ-"), Err(FolderError::Exists)));
    // A folder below INBOX needs no folder of that name.
    fixture.folders().create(".INBOX.x").unwrap();
    assert_eq!(fixture.texts(), ["INBOX.x", "a", "a.b", "Ä"]);
}

#[test]
fn y43_a_deleted_folder_is_gone_or_whole_after_a_kill_at_any_step_and_leaves_nothing() {
    let prepare = |fixture: &Fixture| {
        fixture.folders().create(".old").unwrap();
        fixture.folders().create(".other").unwrap();
        for (path, text) in
            [(".old/new/1.a", "one"), (".old/cur/2.b:2,S", "two"), (".other/cur/3.c:2,", "three")]
        {
            fixture.file(path, text);
        }
        fs::create_dir_all(fixture.home.join(".old/courierimapkeywords/x")).unwrap();
        fixture.file("outside", "stays");
        symlink(fixture.home.join("outside"), fixture.home.join(".old/link")).unwrap();
        symlink(fixture.home.join(".other"), fixture.home.join(".old/links")).unwrap();
    };
    let steps = trouble_at_every_step(
        prepare,
        |folders| folders.delete(".old", 7),
        |fixture, result, case| {
            let messages = fixture.messages();
            assert_eq!(messages.get("three"), Some(&vec!["other".to_owned()]), "{case}");
            let left = ["one", "two"].map(|text| messages.contains_key(text));
            assert!(left == [true; 2] || left == [false; 2], "{case}: {left:?}");
            if matches!(result, Some(Ok(()))) {
                assert_eq!(left, [false; 2], "{case}");
            }
            assert_eq!(fixture.texts().contains(&"old".to_owned()), left[0], "{case}");
            let removed = clean_deleted(&fixture.spool);
            assert!(removed.is_empty() && fixture.hidden() == 0, "{case}: {removed:?}");
            assert!(fixture.home.join("outside").is_file(), "{case}");
        },
    );
    assert!(steps.contains(&"rename folder: done") && steps.contains(&"remove directory"), "{steps:?}");
}

#[test]
fn y44_inbox_and_folders_with_children_stay() {
    let fixture = Fixture::new();
    fixture.folders().create(".a.b").unwrap();
    for (name, is_right) in
        [(".INBOX", FolderError::Impossible), (".a", FolderError::HasChildren), (".c", FolderError::Missing)]
    {
        let error = fixture.folders().delete(name, 1).unwrap_err();
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&is_right), "{name}: {error:?}");
    }
    fs::remove_dir_all(fixture.home.join(".a")).unwrap();
    assert!(matches!(fixture.folders().delete(".a", 1), Err(FolderError::HasChildren)));
    fixture.folders().delete(".a.b", 1).unwrap();
    assert_eq!(fixture.texts(), Vec::<String>::new());
}

#[test]
fn y45_a_renamed_folder_takes_everything_below_with_it_after_a_kill_at_any_step_too() {
    let prepare = |fixture: &Fixture| {
        fixture.folders().create(".a.b").unwrap();
        fixture.folders().create(".a.c&AOQ-.d").unwrap();
        fixture.folders().create(".ab").unwrap();
        fixture.folders().subscribe("INBOX", false, &[]).unwrap();
        fixture.folders().subscribe(".a.c&AOQ-", false, &[]).unwrap();
        for (n, folder) in [".a", ".a.b", ".a.c&AOQ-.d", ".ab"].into_iter().enumerate() {
            fixture.file(&format!("{folder}/cur/{n}.x:2,S"), folder);
        }
    };
    let old = [("a", ".a"), ("a.b", ".a.b"), ("a.cä.d", ".a.c&AOQ-.d"), ("ab", ".ab")];
    let new = [("x.y", ".a"), ("x.y.b", ".a.b"), ("x.y.cä.d", ".a.c&AOQ-.d"), ("ab", ".ab")];
    let steps = trouble_at_every_step(
        prepare,
        |folders| folders.rename(".a", ".x.y"),
        |fixture, result, case| {
            let messages = fixture.messages();
            assert!(
                messages.len() == 4 && messages.values().all(|places| places.len() == 1),
                "{case}: {messages:?}"
            );
            fixture.folders().recover();
            let messages = fixture.messages();
            let is = |all: &[(&str, &str)]| all.iter().all(|(folder, text)| messages[*text] == [*folder]);
            assert!(is(&old) || is(&new), "{case}: {messages:?}");
            assert!(is(&new) || !matches!(result, Some(Ok(()))), "{case}");
            let subscriptions = fixture.folders().subscriptions().unwrap().unwrap();
            let (here, there) = if is(&new) { (".x.y", ".a") } else { (".a", ".x.y") };
            assert!(
                subscriptions.contains(&format!("{here}.b"))
                    && !subscriptions.contains(&format!("{there}.b")),
                "{case}"
            );
            assert!(
                !subscriptions.contains(&format!("{here}.cä")) && subscriptions.contains(".ab"),
                "{case}"
            );
            // The client asks again.
            let again = fixture.folders().rename(".a", ".x.y");
            assert!(
                if is(&new) { matches!(again, Err(FolderError::Missing)) } else { again.is_ok() },
                "{case}: {again:?}"
            );
        },
    );
    for step in ["rename folder", "rename folder: done", "write folder record: done", "write subscriptions"] {
        assert!(steps.contains(&step), "{step}");
    }
}

#[test]
fn y46_a_new_name_that_is_taken_impossible_or_too_long_changes_nothing() {
    let fixture = Fixture::new();
    fixture.folders().create(".a.b").unwrap();
    fixture.folders().create(".c.b").unwrap();
    fixture.file("subscriptions", "a\n");
    let long = format!(".{}", "l".repeat(198));
    for (from, to, right) in [
        (".a", ".c", FolderError::Exists),
        (".a", ".a", FolderError::Exists),
        (".a", ".inbox", FolderError::Exists),
        (".a", ".a.x", FolderError::Impossible),
        (".a", &long, FolderError::Impossible),
        (".z", ".y", FolderError::Missing),
        (".INBOX", ".c", FolderError::Exists),
    ] {
        let error = fixture.folders().rename(from, to).unwrap_err();
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&right), "{from} {to}: {error:?}");
        assert_eq!(fixture.texts(), ["a", "a.b", "c", "c.b"]);
    }
    // Another case is another name, and a parent that does not exist has a name too.
    fixture.folders().rename(".a", ".A").unwrap();
    fs::remove_dir_all(fixture.home.join(".c")).unwrap();
    fixture.folders().rename(".c", ".d").unwrap();
    assert_eq!(fixture.texts(), ["A", "A.b", "d.b"]);
    let subscriptions = fixture.folders().subscriptions().unwrap().unwrap();
    assert_eq!(subscriptions.names().collect::<Vec<_>>(), [".A"]);
}

#[test]
fn y48_the_renaming_of_a_killed_process_leaves_alone_what_has_come_since() {
    let fixture = Fixture::new();
    for folder in [".a.b", ".a.c", ".n"] {
        fixture.folders().create(folder).unwrap();
    }
    // Killed after one of three folders; then another program makes a folder of a new name.
    fixture.file(record::RECORD, "restante folders 1\nrename\t.a\t.n.m\n");
    fs::rename(fixture.home.join(".a.c"), fixture.home.join(".n.m.c")).unwrap();
    fs::create_dir_all(fixture.home.join(".n.m.b/cur")).unwrap();
    fixture.folders().recover();
    assert_eq!(fixture.texts(), ["a.b", "n", "n.m", "n.m.b", "n.m.c"]);
    assert_eq!(record::FolderRecord::load(&fixture.inbox).unwrap().renaming, None);
    fixture.folders().create(".a").unwrap();
    fixture.folders().recover();
    assert!(fixture.texts().contains(&"a".to_owned()));
}

#[test]
fn y49_subscriptions_are_those_of_dovecot_and_without_a_file_every_folder_has_one() {
    let fixture = Fixture::new();
    fixture.folders().create(".a.b").unwrap();
    let names = || fixture.folders().subscriptions().unwrap().map(|all| all.names().collect::<Vec<_>>());
    assert_eq!(names(), None);
    fixture.folders().subscribe(".a", true, &[]).unwrap();
    assert_eq!(names(), None, "it is subscribed already");
    fixture.folders().subscribe(".a", false, &[]).unwrap();
    assert_eq!(fs::read_to_string(fixture.home.join("subscriptions")).unwrap(), "V\t2\n\nINBOX\na\tb\n");
    fixture.folders().create(".c.d").unwrap();
    fixture.folders().subscribe(".nowhere", true, &[]).unwrap();
    assert_eq!(names().unwrap(), ["INBOX", ".a.b", ".c", ".c.d", ".nowhere"]);
    // A file of version 1 stays one, with the lines that are no names.
    fixture.file("subscriptions", "inbox\nEntw&APw-rfe\n..\na/b\n\nDrafts\n");
    assert_eq!(names().unwrap(), ["INBOX", ".Entw&APw-rfe", ".Drafts"]);
    assert!(fixture.folders().subscriptions().unwrap().unwrap().contains(".Entwürfe"));
    fixture.folders().subscribe(".Entwürfe", false, &[]).unwrap();
    fixture.folders().subscribe(".x.y", true, &[]).unwrap();
    assert_eq!(
        fs::read_to_string(fixture.home.join("subscriptions")).unwrap(),
        "inbox\n..\na/b\nDrafts\nx.y\n"
    );
}

#[test]
fn y125_a_client_that_subscribes_by_itself_has_no_other_subscriptions() {
    let fixture = Fixture::new();
    fixture.folders().create(".old").unwrap();
    let names = || fixture.folders().subscriptions().unwrap().map(|all| all.names().collect::<Vec<_>>());
    let made = [fixture.folders().create(".a.b").unwrap(), fixture.folders().create(".c").unwrap()].concat();
    assert_eq!(made, [".a", ".a.b", ".c"]);
    fixture.folders().subscribe(".c", true, &[".c".to_owned()]).unwrap();
    assert_eq!(names(), None, "every folder is subscribed still");
    fixture.folders().subscribe(".a.b", true, &made).unwrap();
    assert_eq!(names().unwrap(), ["INBOX", ".old", ".a.b"]);
    let made = fixture.folders().create(".d.e").unwrap();
    assert_eq!(names().unwrap(), ["INBOX", ".old", ".a.b", ".d", ".d.e"]);
    fixture.folders().subscribe(".a.b", false, &made).unwrap();
    assert_eq!(names().unwrap(), ["INBOX", ".old"]);
}

#[test]
fn y50_a_subscription_is_the_old_one_or_the_new_one_after_a_kill_at_any_step() {
    let steps = trouble_at_every_step(
        |fixture| {
            fixture.folders().create(".a").unwrap();
            fixture.folders().subscribe(".a", false, &[]).unwrap();
        },
        |folders| folders.subscribe(".a", true, &[]),
        |fixture, result, case| {
            let now = fixture.folders().subscriptions().unwrap().unwrap();
            assert!(now.contains("INBOX"), "{case}");
            assert!(now.contains(".a") || !matches!(result, Some(Ok(()))), "{case}");
        },
    );
    assert!(steps.contains(&"write subscriptions: done"), "{steps:?}");
}

#[test]
fn y51_folders_with_a_special_use_are_made_once_and_those_of_others_keep_theirs() {
    let uses = |fixture: &Fixture| {
        let mut uses = fixture.folders().uses(&fixture.folders().list().unwrap());
        uses.sort();
        uses.into_iter()
            .map(|(special, directory)| format!("{special:?}={directory}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let all = "Archive=.Archive Drafts=.Drafts Junk=.Junk Sent=.Sent Items Trash=.Trash";
    let steps = trouble_at_every_step(
        |fixture| drop(fixture.folders().create(".Sent Items").unwrap()),
        |folders| folders.prepare(),
        |fixture, _, case| {
            fixture.folders().prepare().unwrap();
            assert_eq!(uses(fixture), all, "{case}");
            assert_eq!(fixture.texts().len(), 5, "{case}");
        },
    );
    assert!(steps.contains(&"write folder record: done"), "{steps:?}");

    let fixture = Fixture::new();
    fixture.folders().create(".Junk").unwrap();
    assert_eq!(uses(&fixture), "Junk=.Junk");
    fixture.folders().create_for_use(".Gesendet", SpecialUse::Sent).unwrap();
    fixture.folders().prepare().unwrap();
    assert_eq!(uses(&fixture), "Archive=.Archive Drafts=.Drafts Junk=.Junk Sent=.Gesendet Trash=.Trash");
    fixture.folders().rename(".Gesendet", ".Mail.Sent").unwrap();
    fixture.folders().delete(".Archive", 1).unwrap();
    fixture.folders().prepare().unwrap();
    assert_eq!(
        uses(&fixture),
        "Drafts=.Drafts Junk=.Junk Sent=.Mail.Sent Trash=.Trash",
        "it is not made again"
    );
    fixture.folders().create(".Archive").unwrap();
    assert!(uses(&fixture).starts_with("Archive=.Archive "));
}

#[test]
fn y52_the_messages_of_a_folder_are_known_by_their_names() {
    let fixture = Fixture::new();
    for name in ["new/1.a", "new/.hidden", "cur/2.b:2,S", "cur/3.c:2,FST", "cur/4.d:2,T", "cur/5.e"] {
        fixture.file(name, "text");
    }
    fs::create_dir(fixture.home.join("cur/directory")).unwrap();
    symlink("1.a", fixture.home.join("new/link")).unwrap();
    let mut names: Vec<String> = message_names(&fixture.inbox)
        .unwrap()
        .into_iter()
        .map(|(subdir, name)| format!("{}/{}", subdir.name(), String::from_utf8_lossy(&name)))
        .collect();
    names.sort();
    assert_eq!(names, ["cur/2.b:2,S", "cur/3.c:2,FST", "cur/4.d:2,T", "cur/5.e", "new/1.a"]);
}
