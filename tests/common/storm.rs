//! Other programs at work in a Maildir, and the list that POP3 must give of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    Maildir, Server,
    client::{Client, with_crlf},
    dice::{Dice, number},
    eventually,
};

/// Unique ids and octets, in no order.
pub(crate) type Listing = BTreeMap<String, u64>;

/// The list that a login gets. No unique id is there twice.
#[track_caller]
pub(crate) fn listed(server: &Server, user: &str) -> Listing {
    let mut client = Client::pop3(server, user);
    let (ids, sizes) = (client.listing("UIDL"), client.listing("LIST"));
    client.ask("QUIT", "+OK");
    assert_eq!(ids.len(), sizes.len());
    let listing: Listing = ids.iter().cloned().zip(sizes.iter().map(|size| size.parse().unwrap())).collect();
    assert_eq!(listing.len(), ids.len(), "a unique id is there twice: {ids:?}");
    listing
}

/// The messages that a reading of both directories finds. No other program may be at work there. A file is one
/// message, however many names of one identity it has.
pub(crate) fn on_disk(maildir: &Maildir) -> Listing {
    let (mut listing, mut seen) = (Listing::new(), BTreeSet::new());
    for file in [maildir.files("new"), maildir.files("cur")].concat() {
        let id = identity(&file);
        if !seen.insert((id.clone(), fs::metadata(&file).unwrap().ino())) {
            continue;
        }
        let octets = with_crlf(&fs::read(&file).unwrap()).len() as u64;
        assert!(listing.insert(id, octets).is_none(), "this storm makes no doubles: {}", file.display());
    }
    listing
}

/// The part of the name that does not change.
pub(crate) fn identity(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    name[..name.find([',', ':']).unwrap_or(name.len())].to_owned()
}

/// Logs in until the session lists the same messages as the disk, which no program changes meanwhile.
#[track_caller]
pub(crate) fn assert_agrees(server: &Server, user: &str) {
    let expected = on_disk(&server.maildir(user));
    let mut got = Listing::new();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("POP3 lists what is on the disk", || {
            got = listed(server, user);
            (got == expected).then_some(())
        });
    }));
    if seen.is_err() {
        let only = |one: &Listing, other: &Listing| {
            let only = one.iter().filter(|(id, octets)| other.get(*id) != Some(octets));
            only.take(5).map(|(id, octets)| format!("\n    {id} {octets}")).collect::<String>()
        };
        panic!(
            "{user}: {} on the disk, {} listed\n  on the disk only:{}\n  listed only:{}",
            expected.len(),
            got.len(),
            only(&expected, &got),
            only(&got, &expected)
        );
    }
}

/// Returns the seed of this run, and prints it for the next one.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = number("RESTANTE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{test}: RESTANTE_SEED={seed}");
    seed
}

/// Another program, or a dozen of them, in one mailbox.
pub(crate) struct Foreigner<'a> {
    pub(crate) maildir: Maildir,
    pub(crate) dice: Dice,
    pub(crate) made: &'a AtomicUsize,
}

impl Foreigner<'_> {
    /// A message with unique content, and with LF, CRLF or no line end at all.
    fn letter(&mut self) -> (String, Vec<u8>) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let end = [&b"\n"[..], b"\r\n"][self.dice.below(2)];
        let mut letter = format!("Subject: {number}").into_bytes();
        for _ in 0..self.dice.below(40) {
            letter.extend_from_slice(end);
            letter.extend_from_slice(&[b'.', b'x', b'y'][..self.dice.below(4)]);
        }
        (format!("17{:08}.M{number}P7.elsewhere", self.dice.below(100_000_000)), letter)
    }

    fn path(&self, sub: &str, name: impl AsRef<OsStr>) -> PathBuf {
        self.maildir.path.join(sub).join(name.as_ref())
    }

    /// Any message.
    fn any(&mut self) -> Option<PathBuf> {
        let files = [self.maildir.files("new"), self.maildir.files("cur")].concat();
        if files.is_empty() { None } else { Some(files[self.dice.below(files.len())].clone()) }
    }

    /// Another name of the same message in `cur/`.
    fn flagged(&mut self, file: &Path) -> PathBuf {
        let name = file.file_name().unwrap().as_bytes();
        let base = &name[..name.iter().position(|&b| b == b':').unwrap_or(name.len())];
        let flags = [&b""[..], b"S", b"RS", b"F", b"FRS", b"P"][self.dice.below(6)];
        self.path("cur", OsStr::from_bytes(&[base, b":2,", flags].concat()))
    }

    /// One step of one program. POP3 sessions delete too: a file may go at any moment.
    pub(crate) fn step(&mut self) {
        let gone = |done: std::io::Result<()>| match done {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.unwrap(),
        };
        match self.dice.below(11) {
            // Deliveries: by rename, by copy in pieces, by link and unlink.
            0 | 1 => {
                let (name, letter) = self.letter();
                fs::write(self.path("tmp", &name), letter).unwrap();
                fs::rename(self.path("tmp", &name), self.path("new", &name)).unwrap();
            }
            2 => {
                let (name, letter) = self.letter();
                let mut file = fs::File::create(self.path("new", &name)).unwrap();
                for piece in letter.chunks(letter.len().div_ceil(3)) {
                    std::io::Write::write_all(&mut file, piece).unwrap();
                }
            }
            3 => {
                let (name, letter) = self.letter();
                fs::write(self.path("tmp", &name), letter).unwrap();
                fs::hard_link(self.path("tmp", &name), self.path("new", &name)).unwrap();
                fs::remove_file(self.path("tmp", &name)).unwrap();
            }
            // A second name for a file makes a second message.
            4 => {
                if let Some(file) = self.any() {
                    let (name, _) = self.letter();
                    gone(fs::hard_link(file, self.path("cur", name + ":2,S")));
                }
            }
            // A move by link and unlink, as old programs do it.
            5 => {
                if let Some(file) = self.any() {
                    let to = self.flagged(&file);
                    if fs::hard_link(&file, to).is_ok() {
                        gone(fs::remove_file(file));
                    }
                }
            }
            // Flags, moves back to `new/`, deletions.
            6 | 7 => {
                if let Some(file) = self.any() {
                    let to = self.flagged(&file);
                    gone(fs::rename(file, to));
                }
            }
            8 => {
                if let Some(file) = self.any() {
                    let name = file.file_name().unwrap().to_str().unwrap();
                    let name = name.split(':').next().unwrap();
                    gone(fs::rename(&file, self.path("new", name)));
                }
            }
            // Another file takes the place of a message, as with an editor or rsync.
            9 => {
                if let Some(file) = self.any() {
                    let (name, letter) = self.letter();
                    let new = self.path("tmp", &name);
                    fs::write(&new, letter).unwrap();
                    // Exchange only if the file is still there, because the server moves messages that a client has
                    // read.
                    gone(renameat_with(CWD, &new, CWD, file, RenameFlags::EXCHANGE).map_err(Into::into));
                    fs::remove_file(new).unwrap();
                }
            }
            _ => {
                if let Some(file) = self.any() {
                    gone(fs::remove_file(file));
                }
            }
        }
    }
}
