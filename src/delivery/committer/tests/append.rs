//! Messages that the owner of a folder puts there (APPEND).

use std::time::Duration;

use super::*;
use crate::{delivery::Append, maildir::name, proto::folder::Folder, wire_size};

fn folder() -> Mailbox {
    mailbox(0).in_folder(Folder::from_name("Drafts").unwrap())
}

fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

impl Fixture {
    /// Puts a message into a folder.
    fn append(&mut self, to: Mailbox, letters: &[u8]) -> Option<(Result<DeliveryReceipt, Failure>, Vec<u8>)> {
        let is_spilled = std::mem::replace(&mut self.kind.spilled, false);
        let delivery = self.delivery(0);
        self.kind.spilled = is_spilled;
        let (mut delivery, text) = delivery?;
        delivery.to = vec![Ok(Recipient::owner_of(to))];
        delivery.append = Some(Append { letters: letters.into(), date: Some(date()) });
        if is_spilled {
            // A worker sets the time before it makes the file durable.
            let name = self.name_generator.next(SystemTime::now(), 7);
            let spill = |to, bytes: &[u8], is_last| {
                catch_panic(|| spill::spill(&self.storage, to, bytes, is_last)).and_then(Result::ok)
            };
            let permit = SpillPermits::without_waker().grant();
            let mut spilled = spill(SpillTarget::New(vec![mailbox(0)], name, permit), &text, false)?;
            spilled.date = Some(date());
            delivery.content = Content::SyncedFile(spill(SpillTarget::Existing(spilled), b"", true)?);
        }
        let mut done = run_batch(&self.storage, &mut self.maildirs, &mut self.syncer, vec![delivery]);
        match done.pop() {
            Some(Completion::Delivered(_, _, result)) => Some((result, text)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn y58_an_appended_message_has_its_flags_its_date_and_its_folder_or_is_nowhere() {
    for (spilled, named) in [(false, false), (false, true), (true, false)] {
        let mut bench = Fixture::new(BatchKind { spilled, named, ..SIMPLE }).unwrap();
        bench.storage.durable_maildir(&mailbox(0)).unwrap();
        let (result, _) = bench.append(folder(), b"S").unwrap();
        assert_eq!(result.unwrap_err(), Failure::NoFolder);
        assert!(bench.files(mailbox(0).as_str(), "new").is_empty(), "never into INBOX instead");
        bench.storage.durable_folder(&mailbox(0), folder().folder().unwrap()).unwrap();
        for (letters, directory) in [(&b"aFS"[..], "cur"), (b"", "new")] {
            let (result, text) = bench.append(folder(), letters).unwrap();
            let receipt = result.unwrap();
            let [copy] = &receipt.arrivals[..] else { panic!("{receipt:?}") };
            assert_eq!((&copy.mailbox, copy.entry.octets), (&folder(), wire_size::wire_size(&text)));
            let found = bench.files(mailbox(0).as_str(), &format!(".Drafts/{directory}"));
            let [file] = &found[..] else { panic!("{found:?}") };
            assert_eq!(fs::read(file).unwrap(), text);
            let stat = file.metadata().unwrap();
            assert_eq!((stat.modified().unwrap(), stat.ino()), (date(), copy.entry.version.inode));
            assert_eq!(copy.entry.version.modified, (1_000_000_000, 0));
            let mut sorted = letters.to_vec();
            sorted.sort_unstable();
            assert_eq!(name::flags(file.file_name().unwrap().as_encoded_bytes()), sorted);
            fs::remove_file(file).unwrap();
        }
        for error in [FaultKind::Error, FaultKind::Panic] {
            for number in 1.. {
                let plan = PlannedFault::new(&bench.spool, number, error);
                let done = bench.append(folder(), b"S");
                let hit = plan.triggered_at();
                drop(plan);
                let files = bench.files(mailbox(0).as_str(), ".Drafts/cur");
                let is_stored = done.is_some_and(|(result, _)| result.is_ok());
                assert_eq!(files.len(), usize::from(is_stored), "{error:?} at step {number}, {hit:?}");
                assert!(bench.files(mailbox(0).as_str(), "tmp").is_empty(), "{hit:?}");
                assert!(bench.files(mailbox(0).as_str(), ".Drafts/tmp").is_empty(), "{hit:?}");
                files.iter().for_each(|file| fs::remove_file(file).unwrap());
                bench.maildirs.clear();
                if hit.is_none() {
                    break;
                }
            }
        }
    }
}

#[test]
fn y210_the_copy_of_a_mail_program_takes_the_place_of_the_one_that_the_server_has_filed() {
    let sent = sender().in_folder(Folder::sent());
    for spilled in [false, true] {
        let mut bench = Fixture::new(BatchKind { spilled, sent: true, ..SIMPLE }).unwrap();
        let append = |bench: &mut Fixture, letters: &[u8]| {
            let (result, _) = bench.append(sent.clone(), letters).unwrap();
            result.unwrap().arrivals[0].entry.version.inode
        };
        let inodes = |bench: &Fixture| {
            let files = bench.files(sender().as_str(), ".Sent/cur");
            files.iter().map(|file| file.metadata().unwrap().ino()).collect::<Vec<_>>()
        };
        bench.storage.durable_maildir(&mailbox(0)).unwrap();
        bench.round();
        assert_eq!(inodes(&bench).len(), 1);
        let own = append(&mut bench, b"S");
        assert_eq!(inodes(&bench), [own], "the program's copy alone, spilled: {spilled}");
        assert_eq!(bench.files(mailbox(0).as_str(), "new").len(), 1, "the recipient keeps it");
        append(&mut bench, b"S");
        assert_eq!(inodes(&bench).len(), 2, "a second one is for the user to judge");

        // A copy that somebody has flagged stays, and so does one whose replacement is refused.
        bench.empty();
        bench.round();
        let [copy] = &bench.files(sender().as_str(), ".Sent/cur")[..] else { panic!("no copy") };
        fs::rename(copy, copy.to_str().unwrap().replace(":2,S", ":2,FS")).unwrap();
        append(&mut bench, b"S");
        assert_eq!(inodes(&bench).len(), 2);
        bench.empty();
        bench.round();
        for number in 1.. {
            let fault = PlannedFault::new(&bench.spool, number, FaultKind::Error);
            let result = bench.append(sent.clone(), b"S");
            let hit = fault.triggered_at();
            drop(fault);
            let is_stored = result.is_some_and(|(result, _)| result.is_ok());
            assert_eq!(inodes(&bench).len(), 1, "step {number}, {hit:?}");
            if is_stored {
                break;
            }
        }
    }
}
