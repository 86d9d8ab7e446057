//! The accounts on disk: one JSON file, read whole and replaced whole.
//!
//! The rule: a program that changes the file holds the lock beside it from reading to renaming, so that the server and
//! `restante user` never undo each other's work. A reader sees the old file or the new one.

use std::{collections::BTreeMap, fmt, io, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{
    Error,
    account::{Account, account_name, address_key, own_mailbox},
    account_reader::AccountReader,
    json_error::{self, in_plain_words, without_value},
    locked_file::ReplaceableFile,
    password,
};
use crate::{
    limits::{LOCK_TIMEOUT, MAX_USERS_FILE},
    open_regular::read_text_bounded,
    proto::request::Mailbox,
};

/// The file of accounts.
#[derive(Debug, Clone)]
pub struct UserFile {
    pub(super) path: PathBuf,
    reader: Option<u32>,
}

impl UserFile {
    /// The file at that path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reader: None }
    }

    /// Likewise; a file that root makes in a directory of its own is for that group to read.
    pub fn read_by(self, reader: Option<u32>) -> Self {
        Self { reader, ..self }
    }

    /// Every account with its name, in the order of the names, which are in the form in which they are compared.
    pub fn users(&self) -> Result<Vec<(String, Account)>, Error> {
        Ok(self.read()?.accounts.into_iter().collect())
    }

    /// Adds an account with that inbox, or that of its name. Makes the file if there is none.
    pub fn add(&self, name: &str, inbox: Option<&str>, password: &[u8]) -> Result<(), Error> {
        let mut account = Account::new(password::hash(password)?, inbox.map(str::to_owned));
        account.inbox = account.mailbox(name).map(|mailbox| mailbox.as_str().to_owned());
        self.change(|users| {
            if users.accounts.contains_key(name) {
                return Err(Error::Exists(name.to_owned()));
            }
            // Another person has the name now: mail that arrives there is no longer that of the renamed account.
            users.accounts.values_mut().for_each(|other| {
                other.renamed_from.take_if(|former| former == name);
            });
            users.insert(name.to_owned(), account).map_err(Error::Name)
        })
    }

    /// Changes the password of an account.
    pub fn set_password(&self, name: &str, password: &[u8]) -> Result<(), Error> {
        let hash = password::hash(password)?;
        self.change(|users| {
            users.account(name)?.password_hash = hash;
            Ok(())
        })
    }

    /// Allows or forbids logins to an account. Its password and its mail stay.
    pub fn set_disabled(&self, name: &str, disabled: bool) -> Result<(), Error> {
        self.change(|users| {
            users.account(name)?.disabled = disabled;
            Ok(())
        })
    }

    /// Removes an account from the file; its mail stays.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.change(|users| users.remove(name).map(drop).ok_or_else(|| users.no_account(name)))
    }

    /// Gives an account another name, and keeps its hash and its settings; with `keep_address`, its old name remains one
    /// of its addresses. Returns the mailbox to move, if the account had one of its own name. The same rename again
    /// returns the same, and adds the address if that is new.
    pub fn rename(&self, old: &str, new: &str, keep_address: bool) -> Result<Option<Mailbox>, Error> {
        let own = own_mailbox(old);
        self.change(|users| {
            let Some(account) = users.accounts.get(old) else {
                let renamed = users.accounts.get(new).and_then(|account| account.renamed_from.as_deref());
                if renamed != Some(old) {
                    return Err(users.no_account(old));
                }
                if keep_address && users.owner(old).is_none() {
                    users.account(new)?.addresses.push(old.to_owned());
                    users.owners.extend(address_key(old).map(|key| (key, new.to_owned())));
                }
                return Ok(own);
            };
            if users.accounts.contains_key(new) {
                return Err(Error::Exists(new.to_owned()));
            }
            let is_moved = account.mailbox(old) == own && users.of_mailbox(own.as_ref()).count() == 1;
            let Some(mut account) = users.remove(old) else { return Err(users.no_account(old)) };
            let is_other = |address: &String| address_key(address).as_deref() != Some(new);
            account.addresses.retain(is_other);
            if keep_address {
                account.addresses.push(old.to_owned());
            }
            if is_moved {
                let inbox = own_mailbox(new).map(|mailbox| mailbox.as_str().to_owned());
                (account.inbox, account.renamed_from) = (inbox, Some(old.to_owned()));
            } else {
                account.inbox = account.inbox.or_else(|| own.as_ref().map(|own| own.as_str().to_owned()));
            }
            users.insert(new.to_owned(), account).map_err(Error::Name)?;
            Ok(own.filter(|_| is_moved))
        })
    }

    /// The accounts that have that mailbox.
    pub fn owners_of(&self, mailbox: &Mailbox) -> Result<Vec<String>, Error> {
        match self.read() {
            Ok(users) => Ok(users.of_mailbox(Some(mailbox)).cloned().collect()),
            Err(Error::Missing(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether there is an account of that name.
    pub fn has(&self, name: &str) -> Result<bool, Error> {
        Ok(self.read()?.accounts.contains_key(name))
    }

    /// The account that has that address, as its name or as a further one.
    pub fn owner_of(&self, address: &str) -> Result<Option<String>, Error> {
        Ok(self.read()?.owner(address).cloned())
    }

    /// Checks that there is an account of that name. If another account has that address, the error names it.
    pub fn check_account(&self, name: &str) -> Result<(), Error> {
        let users = self.read()?;
        if users.accounts.contains_key(name) { Ok(()) } else { Err(users.no_account(name)) }
    }

    /// Replaces a hash with another one, if it is still there: another program may have changed the password, or
    /// removed the account, since it was read. Returns the hash that the account has then; `None` if there is no account.
    pub fn replace_hash(&self, user: &str, old_hash: &str, new_hash: &str) -> Result<Option<String>, Error> {
        self.change(|users| {
            let Some(account) = users.accounts.get_mut(user) else { return Ok(None) };
            if account.password_hash == old_hash {
                account.password_hash = new_hash.to_owned();
            }
            Ok(Some(account.password_hash.clone()))
        })
    }

    fn read(&self) -> Result<Users, Error> {
        let text = read_text_bounded(&self.path, MAX_USERS_FILE.0).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing(self.path.clone()),
            _ => self.failed("read", error),
        })?;
        json_error::read(&text).map_err(|error| Error::Content { path: self.path.clone(), error })
    }

    /// Reads, changes and replaces the file under the lock.
    fn change<T>(&self, edit: impl FnOnce(&mut Users) -> Result<T, Error>) -> Result<T, Error> {
        let place = ReplaceableFile::of(&self.path).map(|place| place.readable_by(self.reader));
        let place = place.map_err(|error| self.failed("replace", error))?;
        let locked = place.lock(LOCK_TIMEOUT);
        let lock = locked.map_err(|error| Error::Io { path: place.lock_path(), action: "lock", error })?;
        let mut users = match self.read() {
            Err(Error::Missing(_)) => Users::default(),
            users => users?,
        };
        let before = users.clone();
        let edited = edit(&mut users)?;
        if users == before {
            return Ok(edited);
        }
        let written = text(&users).and_then(|text| place.replace(&text));
        drop(lock);
        written.map_err(|error| self.failed("replace", error))?;
        Ok(edited)
    }

    fn failed(&self, action: &'static str, error: io::Error) -> Error {
        Error::Io { path: self.path.clone(), action, error }
    }
}

fn text(users: &Users) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(users)?;
    text.push(b'\n');
    Ok(text)
}

/// The content of the file: every name is a whole address in the form in which it is compared, every account has an
/// inbox, and no two accounts share an address.
#[derive(Debug, Default, Clone, PartialEq)]
struct Users {
    accounts: BTreeMap<String, Account>,
    /// The account of an address.
    owners: BTreeMap<String, String>,
}

impl Users {
    /// Adds an account. If another account has one of its addresses, the error names that account.
    fn insert(&mut self, name: String, account: Account) -> Result<(), String> {
        for address in account.addresses.iter().chain([&name]) {
            let key = address_key(address).unwrap_or_else(|| address.clone());
            if let Some(other) = self.owners.insert(key, name.clone()) {
                return Err(format!("{address} is an address of {other} already"));
            }
        }
        self.accounts.insert(name, account);
        Ok(())
    }

    /// Removes an account, and frees its addresses.
    fn remove(&mut self, name: &str) -> Option<Account> {
        self.owners.retain(|_, owner| owner != name);
        self.accounts.remove(name)
    }

    /// The names of the accounts that have that mailbox.
    fn of_mailbox<'a>(&'a self, mailbox: Option<&'a Mailbox>) -> impl Iterator<Item = &'a String> {
        let has = move |(name, account): &(&String, &Account)| account.mailbox(name).as_ref() == mailbox;
        self.accounts.iter().filter(has).map(|(name, _)| name)
    }

    fn account(&mut self, name: &str) -> Result<&mut Account, Error> {
        if !self.accounts.contains_key(name) {
            return Err(self.no_account(name));
        }
        self.accounts.get_mut(name).ok_or_else(|| Error::Absent(name.to_owned()))
    }

    /// The account that has that address.
    fn owner(&self, address: &str) -> Option<&String> {
        self.owners.get(&address_key(address)?)
    }

    /// The error for a name without an account.
    fn no_account(&self, name: &str) -> Error {
        match self.owner(name) {
            Some(account) => Error::FurtherAddress { address: name.to_owned(), account: account.clone() },
            None => Error::Absent(name.to_owned()),
        }
    }
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.accounts.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(Users::default())
    }
}

impl<'de> Visitor<'de> for Users {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of accounts by address, like {\"bob@example.test\": {\"password_hash\": \"…\"}}")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let wrong = |why: &dyn fmt::Display| A::Error::custom(format!("account {key:?}: {why}"));
            let Some(name) = account_name(&key) else {
                return Err(wrong(&"its name is not a whole mail address, like bob@example.test"));
            };
            let read = map.next_value_seed(AccountReader);
            let account = read.map_err(|error| wrong(&in_plain_words(&without_value(&error.to_string()))))?;
            if account.mailbox(&name).is_none() {
                return Err(wrong(&"its name cannot be the name of a mailbox: give it an `inbox`"));
            }
            if self.accounts.contains_key(&name) {
                return Err(wrong(&"it is there twice"));
            }
            self.insert(name, account).map_err(|error| wrong(&error))?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, thread};

    use super::*;

    const MD5: &str = "c8dae1c50e092f3d877192fc555b1dcf";

    fn file(text: &str) -> (tempfile::TempDir, UserFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        fs::write(&path, text).unwrap();
        (directory, UserFile::at(path))
    }

    #[test]
    fn w08_a_name_in_any_form_is_written_as_it_is_read() {
        let (_home, users) = file(
            r#"{"\"A B\"@Bücher.test": {"password_hash": "!"}, "\"a@b\"@c.test": {"password_hash": "!"},
                "a..b@c.test": {"password_hash": "!"}, "\"c\"@c.test": {"password_hash": "!"}}"#,
        );
        let names = || users.users().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let before = names();
        assert_eq!(before, ["\"a b\"@xn--bcher-kva.test", "\"a..b\"@c.test", "\"a@b\"@c.test", "c@c.test"]);
        before.iter().for_each(|name| users.set_disabled(name, true).unwrap());
        assert_eq!(names(), before);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_column_and_account() {
        for (text, place, why) in [
            ("[]", "line 1, column 1: ", "a table of accounts by address"),
            (
                "{\n\"bob\": {}}",
                "line 2, column 5: ",
                "account \"bob\": its name is not a whole mail address",
            ),
            (r#"{"a@b": {}}"#, "line 1, column 10: ", "account \"a@b\": there is no `password_hash`: "),
            (
                r#"{"a@b": {"password": "x"}}"#,
                "line 1, column 19: ",
                "account \"a@b\": unknown key `password`: did you mean `password_hash`?",
            ),
            (
                r#"{"a@b": {"password_hash": "x"}}"#,
                "line 1, column 30: ",
                "account \"a@b\": `password_hash`: not a password hash",
            ),
            (
                r#"{"a@b": {"inbox": "../x"}}"#,
                "line 1, column 25: ",
                "account \"a@b\": `inbox`: \"../x\" cannot be an inbox",
            ),
            (
                r#"{"\"\"@c": {"password_hash": "!"}}"#,
                "line 1, column 34: ",
                "account \"\\\"\\\"@c\": its name cannot be",
            ),
            (
                "{\"a@b\": {\"password_hash\": \"!\"},\n \"A@B\": {\"password_hash\": \"!\"}}",
                "line 2, column 31: ",
                "account \"A@B\": it is there twice",
            ),
            (
                r#"{"a@b": {"password_hash": "!", "quota": {"bytes": 5}}}"#,
                "line 1, column 51: ",
                "account \"a@b\": `quota`: invalid type: integer, expected a size in quotes, like \"50 MiB\"",
            ),
            (
                r#"{"a@b": {"password_hash": "!", "quota": {"octets": 5}}}"#,
                "line 1, column 49: ",
                "account \"a@b\": `quota`: unknown key `octets`: the keys are `bytes`, `messages`",
            ),
            (
                r#"{"a@b": "sesame"}"#,
                "line 1, column 16: ",
                "account \"a@b\": invalid type: string, expected an account, like {\"password_hash\"",
            ),
            (
                r#"{"a@b": {"password_hash": "!", "disabled": "no"}}"#,
                "line 1, column 47: ",
                "account \"a@b\": `disabled`: invalid type: string, expected true or false, without quotes",
            ),
            (
                r#"{"a@b": {"password_hash": "!", "addresses": ["c"]}}"#,
                "line 1, column 50: ",
                "account \"a@b\": `addresses`: \"c\" is not a whole mail address, like",
            ),
            (
                r#"{"a@b": {"password_hash": "!", "may_send_as": ["c"]}}"#,
                "line 1, column 50: ",
                "account \"a@b\": `may_send_as`: \"c\" is no sender: write",
            ),
            (
                "{\"a@b\": {\"password_hash\": \"!\", \"addresses\": [\"C@b\"]},\n\"c@b\": {\"password_hash\": \"!\"}}",
                "line 2, column 30: ",
                "account \"c@b\": c@b is an address of a@b already",
            ),
        ] {
            let (_directory, file) = file(text);
            let error = file.users().unwrap_err().to_string();
            for part in [file.path.to_str().unwrap(), place, why] {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }

    #[test]
    fn a_missing_file_says_how_to_begin_and_is_begun() {
        let directory = tempfile::tempdir().unwrap();
        let file = UserFile::at(directory.path().join("users.json"));
        assert!(file.users().unwrap_err().to_string().contains("restante user add"));
        assert!(matches!(file.remove("a@b"), Err(Error::Absent(_))));
        assert_eq!(file.replace_hash("a@b", "x", "y").unwrap(), None);
        assert!(!file.path.exists());
        file.add("a@b", None, b"sesame").unwrap();
        let users = file.users().unwrap();
        assert_eq!((users.len(), &*users[0].0, users[0].1.inbox.as_deref()), (1, "a@b", Some("a@b")));
    }

    #[test]
    fn a_changed_file_is_private_sorted_whole_and_alone() {
        let (directory, file) = file("{\"b@c\": {\"password_hash\": \"!\", \"inbox\": \"other\"}}");
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o600)).unwrap();
        file.add("a@b", None, b"sesame").unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(&file.path).unwrap();
        assert!(text.starts_with("{\n  \"a@b\": {\n    \"password_hash\": \"$argon2id$"), "{text}");
        assert!(
            text.ends_with("  \"b@c\": {\n    \"password_hash\": \"!\",\n    \"inbox\": \"other\"\n  }\n}\n"),
            "{text}"
        );
        let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".users.json.lock", "users.json"]);
    }

    #[test]
    fn every_field_is_read_and_written_back() {
        let account = "    \"password_hash\": \"!\",\n    \"inbox\": \"x\",\n    \"disabled\": true,\n    \
                       \"addresses\": [\n      \"A.A@b\"\n    ],\n    \"quota\": {\n      \"bytes\": \"1 GiB\",\n      \
                       \"messages\": 1000\n    },\n    \"may_send_as\": [\n      \"*@b\"\n    ],\n    \
                       \"sent_copy\": false\n";
        let text = format!("{{\n  \"a@b\": {{\n{account}  }}\n}}\n");
        let (_directory, file) = file(&text);
        file.add("z@b", None, b"sesame").unwrap();
        file.remove("z@b").unwrap();
        assert_eq!(fs::read_to_string(&file.path).unwrap(), text);
    }

    #[test]
    fn a_stricter_mode_stays() {
        let (_directory, file) = file("{}");
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o440)).unwrap();
        file.add("a@b", None, b"sesame").unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o7777, 0o440);
    }

    #[test]
    fn what_cannot_be_done_changes_nothing() {
        let text = format!("{{\"a@b\":{{\"password_hash\":\"{MD5}\", \"addresses\": [\"x@b\"]}}}}");
        let (_directory, file) = file(&text);
        assert!(matches!(file.add("a@b", None, b"x"), Err(Error::Exists(_))));
        assert!(
            file.add("x@b", None, b"x").unwrap_err().to_string().contains("x@b is an address of a@b already")
        );
        assert!(matches!(file.set_disabled("c@d", true), Err(Error::Absent(_))));
        assert!(matches!(file.set_password("c@d", b"x"), Err(Error::Absent(_))));
        assert!(matches!(file.remove("c@d"), Err(Error::Absent(_))));
        assert_eq!(file.replace_hash("c@d", MD5, "!").unwrap(), None);
        assert_eq!(file.replace_hash("a@b", "some other hash", "!").unwrap().as_deref(), Some(MD5));
        assert_eq!(fs::read_to_string(&file.path).unwrap(), text);
    }

    #[test]
    fn a_password_is_set_a_hash_replaced_and_an_account_disabled_and_removed() {
        let (_directory, file) = file(&format!("{{\"a@b\": {{\"password_hash\": \"{MD5}\"}}}}"));
        assert_eq!(file.replace_hash("a@b", MD5, "!").unwrap().as_deref(), Some("!"));
        assert_eq!(file.users().unwrap()[0].1.password_hash, "!");
        file.set_password("a@b", b"sesame").unwrap();
        assert!(file.users().unwrap()[0].1.password_hash.starts_with("$argon2id$"));
        for disabled in [true, false] {
            file.set_disabled("a@b", disabled).unwrap();
            assert_eq!(file.users().unwrap()[0].1.disabled, disabled);
        }
        file.remove("a@b").unwrap();
        assert!(file.users().unwrap().is_empty());
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let (_directory, file) = file("{}");
        thread::scope(|scope| {
            for n in 0..8 {
                let file = &file;
                scope.spawn(move || file.add(&format!("user{n}@b"), None, b"x").unwrap());
            }
        });
        assert_eq!(file.users().unwrap().len(), 8);
    }
}
