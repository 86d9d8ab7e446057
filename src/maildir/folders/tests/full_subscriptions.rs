//! A file of subscriptions with no room for another name, or longer than any that is read.

use super::*;

/// A file of that length, with names of 199 octets.
fn lines(octets: usize) -> String {
    let mut text: String = (0..octets / 200).map(|number| format!("{number:l>199}\n")).collect();
    text.truncate(text.len() - 200 * usize::from(text.len() == octets));
    let rest = octets - text.len();
    text + &"z".repeat(rest - 1) + "\n"
}

impl Fixture {
    /// With a folder `a`, and subscriptions to it and to many that do not exist. So many octets are free.
    fn with_free(free: usize) -> Self {
        let fixture = Self::new();
        fixture.folders().create(".a").unwrap();
        fixture.file("subscriptions", &format!("a\n{}", lines((1 << 20) - 2 - free)));
        fixture
    }

    fn subscription_octets(&self) -> usize {
        fs::read(self.home.join("subscriptions")).unwrap().len()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, FolderError>) {
    assert_eq!(format!("{result:?}"), "Err(TooManySubscriptions)");
}

#[test]
fn y146_subscriptions_are_refused_before_they_fill_their_file() {
    let fixture = Fixture::with_free(10);
    let folders = fixture.folders();
    refused(folders.subscribe(".eleven.long", true, &[]));
    refused(folders.create(".eleven.long"));
    refused(folders.create_for_use(".eleven.long", SpecialUse::Sent));
    refused(folders.rename(".a", ".b-is-too-long"));
    refused(folders.rename(".a", ".b.and.its.parents"));
    refused(folders.rename(".INBOX", ".b-is-too-long"));
    assert_eq!((fixture.texts(), fixture.subscription_octets()), (vec!["a".to_owned()], (1 << 20) - 10));
    // Shorter names have room, up to the last octet.
    folders.rename(".a", ".bb").unwrap();
    folders.subscribe(".12345678", true, &[]).unwrap();
    assert_eq!((fixture.texts(), fixture.subscription_octets()), (vec!["bb".to_owned()], 1 << 20));
    refused(folders.create(".c"));
    folders.subscribe(".12345678", false, &[]).unwrap();
    folders.create(".c").unwrap();
    assert!(folders.subscriptions().unwrap().unwrap().contains(".c"));
}

#[test]
fn y146_a_file_that_another_program_has_filled_further_can_be_emptied() {
    let fixture = Fixture::with_free(0);
    fixture.file("subscriptions", &format!("a\n{}", lines((1 << 20) + 1000)));
    let folders = fixture.folders();
    refused(folders.subscribe(".b", true, &[]));
    refused(folders.create(".b"));
    folders.rename(".a", ".c").unwrap(); // no longer than before
    folders.subscribe(".c", false, &[]).unwrap();
    assert!(!folders.subscriptions().unwrap().unwrap().contains(".c"));
}

#[test]
fn y146_subscriptions_that_cannot_be_read_stop_no_folder() {
    for kind in ["too long", "a directory"] {
        let fixture = Fixture::new();
        let folders = fixture.folders();
        folders.create(".a").unwrap();
        match kind {
            "too long" => fixture.file("subscriptions", &lines(5 << 20)),
            _ => fs::create_dir(fixture.home.join("subscriptions")).unwrap(),
        }
        folders.create(".b").unwrap();
        folders.rename(".a", ".c").unwrap();
        folders.delete(".b", 7).unwrap();
        assert_eq!(fixture.texts(), ["c"], "{kind}");
        // A renaming that a killed process has begun ends too.
        fixture.file(RECORD, "restante folders 1\nrename\t.c\t.d\n");
        folders.prepare().unwrap();
        assert_eq!(fixture.texts(), ["Archive", "Drafts", "Junk", "Sent", "Trash", "d"], "{kind}");
    }
}

#[test]
fn y146_folders_with_a_special_use_that_have_no_room_do_not_stop_the_others() {
    let fixture = Fixture::with_free(12);
    fixture.folders().prepare().unwrap();
    assert_eq!(fixture.texts(), ["Archive", "a"]);
}
