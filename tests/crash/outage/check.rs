//! The check after an outage: the files against the ledger, and POP3 against the files.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    Dice, Wrong, imap,
    ledger::{Change, Entry, Ledger},
    letters::{self, Letters},
    wire::Wire,
};
use crate::common::client::with_crlf;

/// Counts of the walk through the files.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) messages: usize,
    /// Messages that are there although the server acknowledged them to no client.
    pub(crate) unanswered: usize,
    /// Files in `tmp/`.
    pub(crate) rubbish: usize,
}

/// Compares all files with the ledger, and settles the ledger: each open change now has the state of the disk.
pub(crate) fn files(spool: &Path, letters: &Letters, ledger: &mut Ledger) -> (Seen, Vec<Wrong>) {
    let (mut seen, mut wrong) = (Seen::default(), Vec::new());
    let there = mailboxes(spool, &mut wrong);
    for (name, path) in &there {
        let mut places: HashMap<String, Vec<(&str, String)>> = HashMap::new();
        for place in ["new", "cur"] {
            for file in list(&path.join(place)) {
                let content = fs::read(&file).unwrap_or_default();
                match identify(&content, letters, ledger.of(name)) {
                    Ok(id) => places.entry(id).or_default().push((place, file_name(&file))),
                    Err(why) => {
                        wrong.push(Wrong::new("damaged or unknown", format!("{}: {why}", file.display())))
                    }
                }
                seen.messages += 1;
            }
        }
        let mut told =
            |what, id: &str| wrong.push(Wrong::new(what, format!("{name}: {id}: {:?}", places.get(id))));
        for (id, entry) in ledger.of(name) {
            let files = places.get(id).map_or(&[][..], Vec::as_slice);
            if let Some(what) = broken_rule(entry, files) {
                told(what, id);
            }
            seen.unanswered += usize::from(entry.filed == Change::Perhaps && !files.is_empty());
            settle(entry, files);
        }
        seen.rubbish += list(&path.join("tmp")).len();
    }
    let missing: Vec<String> = ledger
        .mailboxes()
        .filter(|name| !there.contains_key(*name) && !imap::is_ours(name))
        .cloned()
        .collect();
    for name in missing {
        let lost = ledger.of(&name).iter().filter(|(_, entry)| entry.must_be_there());
        wrong.extend(lost.map(|(id, _)| Wrong::new("lost", format!("{name}: {id}: no such mailbox"))));
    }
    (seen, wrong)
}

/// The rule that a message breaks, if it does.
fn broken_rule(entry: &Entry, files: &[(&str, String)]) -> Option<&'static str> {
    match files {
        [] if entry.must_be_there() => Some("lost"),
        [] => None,
        [_, _, ..] => Some("doubled"),
        [_] if !entry.may_be_there() => Some("back again"),
        [(place, name)] => {
            let marked =
                *place == "cur" && name.split_once(":2,").is_some_and(|(_, flags)| flags.contains('S'));
            match entry.seen {
                Change::Yes if !marked => Some("not marked as seen"),
                Change::No if *place != "new" => Some("moved by nobody"),
                _ => None,
            }
        }
    }
}

/// Sets each open change to the state of the disk, which must not change any more.
fn settle(entry: &mut Entry, files: &[(&str, String)]) {
    match files {
        [] => entry.removed = Change::Yes,
        [(place, _), ..] => {
            entry.filed = Change::Yes;
            entry.removed = Change::No;
            entry.seen = if *place == "cur" { Change::Yes } else { Change::No };
        }
    }
}

fn identify(content: &[u8], letters: &Letters, known: &HashMap<String, Entry>) -> Result<String, String> {
    let Some((id, at)) = letters::find(content) else {
        let zeroes = content.iter().filter(|&&b| b == 0).count();
        return Err(format!("{} bytes, {zeroes} of them zero, and no letter", content.len()));
    };
    let entry = known.get(id).ok_or_else(|| format!("{id} was never sent to this mailbox"))?;
    let (wanted, found) = (letters.file(&entry.letter), &content[at..]);
    if wanted == found {
        return Ok(id.to_owned());
    }
    let same = wanted.iter().zip(found).take_while(|(a, b)| a == b).count();
    Err(format!("{id}: {} bytes for {}, the same up to {same}", found.len(), wanted.len()))
}

/// Opens every mailbox over POP3, compares it with the files, and deletes some of the messages.
pub(crate) fn pop3(address: SocketAddr, spool: &Path, ledger: &mut Ledger, dice: &mut Dice) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (user, path) in mailboxes(spool, &mut wrong) {
        match pop3_of(address, &user, &path, ledger, dice) {
            Ok(None) => {}
            Ok(Some(text)) => wrong.push(Wrong::new("POP3 differs", format!("{user}: {text}"))),
            Err(error) => wrong.push(Wrong::new("POP3 fails", format!("{user}: {error}"))),
        }
    }
    wrong
}

/// Does that with one mailbox, and returns the first difference.
fn pop3_of(
    address: SocketAddr,
    user: &str,
    path: &Path,
    ledger: &mut Ledger,
    dice: &mut Dice,
) -> io::Result<Option<String>> {
    let mut files: HashMap<String, PathBuf> = HashMap::new();
    for file in ["new", "cur"].iter().flat_map(|place| list(&path.join(place))) {
        let name = file_name(&file);
        let identity = name.split([',', ':']).next().unwrap_or_default().to_owned();
        files.insert(identity, file);
    }
    let mut wire = Wire::login(address, user)?;
    let stat = wire.command("STAT")?;
    let (octets, ids) = (wire.listing("LIST")?, wire.listing("UIDL")?);
    let unique: HashSet<&String> = ids.iter().collect();
    if unique.len() != ids.len() || ids.len() != files.len() || octets.len() != ids.len() {
        let (ids, octets, files) = (ids.len(), octets.len(), files.len());
        return Ok(Some(format!("{octets} in LIST, {ids} in UIDL, {files} files")));
    }
    let (mut total, mut deleted, mut read) = (0, Vec::new(), Vec::new());
    for (i, (id, octets)) in ids.iter().zip(&octets).enumerate() {
        let Some(file) = files.get(id) else { return Ok(Some(format!("{id} is no file"))) };
        let (announced, text) = wire.retrieve(i + 1)?;
        if text != with_crlf(&fs::read(file)?) {
            return Ok(Some(format!("{id} is not what is in the file")));
        }
        if *octets != text.len().to_string() || announced != format!("{octets} octets") {
            return Ok(Some(format!("{id}: LIST {octets}, RETR {announced:?}, sent {}", text.len())));
        }
        total += text.len();
        let Some((letter, _)) = letters::find(&text) else { return Ok(Some(format!("{id} is no letter"))) };
        if dice.one_in(4) {
            read.push(letter.to_owned());
        } else {
            wire.command(&format!("DELE {}", i + 1))?;
            deleted.push(letter.to_owned());
        }
    }
    if stat != format!("{} {total}", ids.len()) {
        return Ok(Some(format!("STAT {stat}, sent {} {total}", ids.len())));
    }
    ledger.quit(user, &deleted, &read, Change::Perhaps);
    wire.command("QUIT")?;
    ledger.quit(user, &deleted, &read, Change::Yes);
    Ok(None)
}

/// The mailboxes by name, except those of the users of IMAP. Every other file in the spool, except the server's own, is
/// wrong.
fn mailboxes(spool: &Path, wrong: &mut Vec<Wrong>) -> HashMap<String, PathBuf> {
    let mut found = HashMap::new();
    for path in list(spool) {
        if !path.is_dir() {
            wrong.push(Wrong::new("in the way", path.display().to_string()));
            continue;
        }
        if imap::is_ours(&file_name(&path)) {
            continue;
        }
        for inside in list(&path) {
            if !["tmp", "new", "cur"].contains(&file_name(&inside).as_str()) {
                wrong.push(Wrong::new("in the way", inside.display().to_string()));
            }
        }
        found.insert(file_name(&path), path);
    }
    found
}

/// The entries of a directory, except hidden files; none if the directory does not exist.
pub(crate) fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| !file_name(path).starts_with('.')).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
