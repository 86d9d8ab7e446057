//! The UIDs that another IMAP server has given to the messages of a folder: Dovecot's `dovecot-uidlist` in its versions 3 and
//! 1, or Courier's `courierimapuiddb`, which has the form of version 1.
//!
//! They are read once, if the folder has no file of ours, so that clients of the other server need not download anything
//! again. Lines that cannot be read cost their messages a new UID. After a way back to Dovecot, its list is read again if it has
//! gone on with our UIDs.

use std::io::Read;

use super::{
    Error, FileVersion, Kind, Maildir,
    cache_file::{is_foreign, open},
    name,
    uid_file::{MessageKey, UidHeader, UidRecord},
};

/// The UIDs of another server.
#[derive(Debug, PartialEq, Eq)]
pub struct ImportedUids {
    /// The value with which the UIDs stay valid.
    pub uid_validity: u32,
    /// The UID of the next message.
    pub uid_next: u32,
    /// The messages.
    pub records: Vec<UidRecord>,
}

/// Reads the UIDs of another server. `None`: none was here.
///
/// # Errors
/// The disk failed.
pub fn read(maildir: &Maildir) -> Result<Option<ImportedUids>, Error> {
    for file in FILES {
        let Some(text) = contents(maildir, file, MAX_BYTES)? else { continue };
        if let Some(imported) = parse(&text) {
            return Ok(Some(imported));
        }
        log::warn!("{}: cannot be read, so messages get new UIDs", maildir.path().join(file).display());
    }
    Ok(None)
}

/// Dovecot's list of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DovecotList {
    /// `None`: the list cannot be read.
    pub(super) uids: Option<ImportedUids>,
    /// The name of the folder for Dovecot.
    pub(super) guid: Option<String>,
}

/// Reads Dovecot's list. `None`: there is none.
pub(super) fn dovecot_list(maildir: &Maildir) -> Result<Option<DovecotList>, Error> {
    let Some(text) = contents(maildir, DOVECOT, MAX_BYTES)? else { return Ok(None) };
    let header = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut fields = std::str::from_utf8(header).unwrap_or_default().split(' ');
    let guid = fields.find_map(|field| field.strip_prefix('G'));
    let is_guid = |guid: &&str| guid.len() == 32 && guid.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(Some(DovecotList { uids: parse(&text), guid: guid.filter(is_guid).map(str::to_owned) }))
}

/// The list of another server in a folder that has UIDs of ours.
#[derive(Debug)]
pub struct KnownList {
    /// Whether the list has our UID validity, because it was taken over or exported.
    pub has_our_validity: bool,
    /// The UIDs that Dovecot has given under our UID validity beyond our own, after a way back to it. `None`: it has not.
    pub later: Option<ImportedUids>,
}

/// Compares the list of another server with our UIDs.
///
/// # Errors
/// The disk failed.
pub fn known_list(maildir: &Maildir, header: UidHeader) -> Result<KnownList, Error> {
    let parsed = |file: &str, most: u64| -> Result<Option<ImportedUids>, Error> {
        Ok(contents(maildir, file, most)?.and_then(|text| parse(&text)))
    };
    let is_ours = |uids: &ImportedUids| uids.uid_validity == header.uid_validity;
    let is_later = |uids: &ImportedUids| is_ours(uids) && uids.uid_next > header.uid_limit;
    // The first line says whether the list has to be read.
    let begin = parsed(DOVECOT, MAX_HEADER)?;
    let later = match begin.as_ref().is_some_and(is_later) {
        true => parsed(DOVECOT, MAX_BYTES)?.filter(is_later),
        false => None,
    };
    let has_our_validity = match begin {
        Some(begin) => is_ours(&begin),
        None => parsed(COURIER, MAX_HEADER)?.is_some_and(|begin| is_ours(&begin)),
    };
    Ok(KnownList { has_our_validity, later })
}

/// The first octets of a file beside the messages. `None`: there is none that this user can read.
fn contents(maildir: &Maildir, file: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut text = Vec::new();
    match open(maildir, file) {
        Ok(open) => {
            let read = open.take(most).read_to_end(&mut text);
            read.map_err(|e| Error::at(maildir.path().join(file), "read", e))?;
            Ok(Some(text))
        }
        Err(error) if error.kind() == Kind::Gone => Ok(None),
        Err(error) if is_foreign(&error) => {
            log::warn!("{error}: its UIDs are not taken over");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8]) -> Option<ImportedUids> {
    let mut lines = text.split(|b| *b == b'\n');
    let header = std::str::from_utf8(lines.next()?).ok()?;
    let (version, rest) = header.split_once(' ')?;
    let (uid_validity, uid_next): (u32, u32) = match version {
        "3" => {
            let field = |letter| rest.split(' ').find_map(|field| field.strip_prefix(letter)?.parse().ok());
            (field('V')?, field('N')?)
        }
        "1" => {
            let (validity, next) = rest.trim_end().split_once(' ')?;
            (validity.parse().ok()?, next.parse().ok()?)
        }
        _ => return None,
    };
    let mut imported = ImportedUids { uid_validity, uid_next: uid_next.max(1), records: Vec::new() };
    let mut last = 0;
    for (uid, name) in lines.filter_map(|line| message(line, version == "3")) {
        // After a UID that does not ascend, nothing is certain.
        if uid <= last {
            break;
        }
        last = uid;
        let key = MessageKey::of(name::identity(name), None);
        let (modseq, version) = (1, FileVersion::default());
        imported.records.push(UidRecord { uid, modseq, key, flags: 0, version, octets: 0 });
    }
    imported.uid_next = imported.uid_next.max(last.saturating_add(1));
    (uid_validity > 0).then_some(imported)
}

/// The UID and the name of a line. In version 3, fields stand between them, and the name begins after a colon.
fn message(line: &[u8], has_fields: bool) -> Option<(u32, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let uid = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    let rest = &line[space + 1..];
    let name = if has_fields {
        let colon = if rest.starts_with(b":") { 0 } else { memchr::memmem::find(rest, b" :")? + 1 };
        &rest[colon + 1..]
    } else {
        rest
    };
    (!name.is_empty()).then_some((uid, name))
}

/// The files, the better one first.
const FILES: [&str; 2] = [DOVECOT, COURIER];
/// Dovecot's list.
pub(super) const DOVECOT: &str = "dovecot-uidlist";
const COURIER: &str = "courierimapuiddb";
const MAX_BYTES: u64 = 1 << 30;
/// Octets of the first line, and of a line after it that may be cut.
const MAX_HEADER: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// The UID validity, the next UID, and the messages.
    type Uids = (u32, u32, Vec<(u32, MessageKey)>);

    fn uids(text: &str) -> Option<Uids> {
        let ImportedUids { uid_validity, uid_next, records } = parse(text.as_bytes())?;
        Some((uid_validity, uid_next, records.iter().map(|record| (record.uid, record.key)).collect()))
    }

    fn key(identity: &str) -> MessageKey {
        MessageKey::of(identity.as_bytes(), None)
    }

    #[test]
    fn y24_the_uid_lists_of_dovecot_and_courier_are_read() {
        let three = "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n\
                     25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n\
                     25017 W2481 P5 :1276533073.M242911P3632.kurkku:2,F\n\
                     nonsense\n\
                     25021 :1276533100.x\n";
        let expected = [
            (25006, key("1276528487.M364837P9451.kurkku")),
            (25017, key("1276533073.M242911P3632.kurkku")),
            (25021, key("1276533100.x")),
        ];
        assert_eq!(uids(three), Some((1_275_660_208, 25022, expected.to_vec())));
        let one = "1 1173189136 20221\n20219 1171.M1.host,S=5\n20230 1172.x\n20228 1173.y\n";
        let expected = vec![(20219, key("1171.M1.host")), (20230, key("1172.x"))];
        assert_eq!(uids(one), Some((1_173_189_136, 20231, expected)));
    }

    #[test]
    fn y24_a_list_that_is_none_gives_no_uid() {
        for text in ["", "3 N5", "2 V5 N6", "1 5", "1 0 7\n", "3 V0 N1\n", "hello\nworld"] {
            assert_eq!(uids(text), None, "{text:?}");
        }
    }
}
