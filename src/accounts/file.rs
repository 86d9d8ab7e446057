//! The accounts on disk: one JSON file, read whole and replaced whole.
//!
//! The rule: who changes it holds the lock beside it from reading to renaming, so that the server and
//! `restante user` never undo each other's work; and who reads it sees the old file or the new one.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ffi::OsString,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};

use super::password::{self, Stored};
use crate::proto::{ask::Mailbox, smtp::address::Address};

/// One account, as the file has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// An Argon2id hash, or the MD5 of an old file, or `!` for an account that nobody can log in to.
    #[serde(deserialize_with = "checked_hash")]
    pub password_hash: String,
    /// The mailbox, if it has not the name of the account.
    #[serde(default, deserialize_with = "checked_inbox", skip_serializing_if = "Option::is_none")]
    pub inbox: Option<String>,
}

impl Account {
    /// The mailbox of the account of that name.
    pub fn mailbox(&self, name: &str) -> Option<Mailbox> {
        Mailbox::named(self.inbox.as_deref().unwrap_or(name))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

/// The file of accounts.
#[derive(Debug, Clone)]
pub struct UserFile {
    path: PathBuf,
}

impl UserFile {
    /// The file at that path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Every account with its name, in the order of the names, which are in lower case.
    pub fn users(&self) -> Result<Vec<(String, Account)>, Error> {
        Ok(self.read()?.0.into_iter().collect())
    }

    /// Adds an account; its inbox has its name. Makes the file if there is none.
    pub fn add(&self, name: &str, password: &[u8]) -> Result<(), Error> {
        let password_hash = password::hash(password)?;
        let account = Account { password_hash, inbox: Some(name.to_owned()) };
        self.change(|users| match users.entry(name.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(account);
                Ok(())
            }
            Entry::Occupied(_) => Err(Error::Exists(name.to_owned())),
        })
    }

    /// Gives an account another password.
    pub fn set_password(&self, name: &str, password: &[u8]) -> Result<(), Error> {
        let hash = password::hash(password)?;
        self.change(|users| {
            users.get_mut(name).ok_or_else(|| Error::Absent(name.to_owned()))?.password_hash = hash;
            Ok(())
        })
    }

    /// Takes an account out of the file; its mail stays where it is.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.change(|users| users.remove(name).map(drop).ok_or_else(|| Error::Absent(name.to_owned())))
    }

    /// Puts a hash in the place of another one, if that is still there: somebody may have changed the
    /// password, or removed the account, since it was read.
    pub fn replace_hash(&self, user: &str, old_hash: &str, new_hash: &str) -> Result<(), Error> {
        self.change(|users| {
            if let Some(account) = users.get_mut(user)
                && account.password_hash == old_hash
            {
                account.password_hash = new_hash.to_owned();
            }
            Ok(())
        })
    }

    fn read(&self) -> Result<Users, Error> {
        let text = fs::read(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing(self.path.clone()),
            _ => self.failed("read", error),
        })?;
        serde_json::from_slice(&text).map_err(|error| Error::Content { path: self.path.clone(), error })
    }

    /// Reads, changes and replaces the file, with the lock held all the while.
    fn change(
        &self,
        edit: impl FnOnce(&mut BTreeMap<String, Account>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let lock = self.beside(".lock");
        let lock = open_private(&lock, false)
            .and_then(|lock| {
                self.give_to_owner(&lock)?;
                lock.lock()?;
                Ok(lock)
            })
            .map_err(|error| Error::Io { path: lock, action: "lock", error })?;
        let mut users = match self.read() {
            Err(Error::Missing(_)) => Users::default(),
            users => users?,
        };
        let before = users.clone();
        edit(&mut users.0)?;
        if users == before {
            return Ok(());
        }
        let temporary = self.beside(".new");
        let written = self.replace(&temporary, &users);
        drop(lock);
        written.map_err(|error| self.failed("replace", error))
    }

    fn replace(&self, temporary: &Path, users: &Users) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(users)?;
        text.push(b'\n');
        let mut file = open_private(temporary, true)?;
        self.give_to_owner(&file)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        fs::File::open(directory(&self.path))?.sync_all()
    }

    /// What root changes stays readable to the user that the server runs as.
    fn give_to_owner(&self, file: &fs::File) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(old) if rustix::process::geteuid().is_root() => fchown(file, Some(old.uid()), Some(old.gid())),
            _ => Ok(()), // a new file is its maker's
        }
    }

    /// A hidden name of ours in the same directory.
    fn beside(&self, end: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(end);
        self.path.with_file_name(name)
    }

    fn failed(&self, action: &'static str, error: io::Error) -> Error {
        Error::Io { path: self.path.clone(), action, error }
    }
}

fn open_private(path: &Path, truncate: bool) -> io::Result<fs::File> {
    fs::File::options().write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The content of the file: every name a whole address in lower case, every account with an inbox.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct Users(BTreeMap<String, Account>);

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
            let name = key.to_ascii_lowercase();
            if !Address::parse(&name).is_ok_and(|address| address.domain().is_some()) {
                return Err(wrong(&"its name is not a whole mail address, like bob@example.test"));
            }
            let account: Account = map.next_value().map_err(|error| wrong(&error))?;
            if account.mailbox(&name).is_none() {
                return Err(wrong(&"its name cannot be the name of a mailbox: give it an `inbox`"));
            }
            if self.0.insert(name, account).is_some() {
                return Err(wrong(&"it is there twice"));
            }
        }
        Ok(self)
    }
}

fn checked_hash<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let hash = String::deserialize(d)?;
    hash.parse::<Stored>().map_err(D::Error::custom)?;
    Ok(hash)
}

fn checked_inbox<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let inbox = Option::<String>::deserialize(d)?;
    match inbox {
        Some(name) if Mailbox::named(&name).is_none() => Err(D::Error::custom(format!(
            "{name:?} cannot be an inbox: 1 to {} of a-z, 0-9 and @ . _ + - =, not beginning with . or -",
            Mailbox::LONGEST
        ))),
        inbox => Ok(inbox),
    }
}

/// Why an account could not be read, changed or made. Prints as a sentence for the operator.
#[derive(Debug)]
pub enum Error {
    /// There is no file of accounts.
    Missing(PathBuf),
    /// The file cannot be read, locked or replaced.
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// What the file says is wrong.
    Content {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// That cannot be the name of an account.
    Name(String),
    /// There is an account of that name already.
    Exists(String),
    /// There is no account of that name.
    Absent(String),
    /// Argon2 failed: no memory, or no random numbers.
    Hash(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(
                f,
                "there are no accounts at {}: make the first one with \
                 `restante user add NAME@DOMAIN --config FILE`",
                path.display()
            ),
            Self::Io { path, action, error } => write!(f, "cannot {action} {}: {error}", path.display()),
            Self::Content { path, error } => {
                let (line, column) = (error.line(), error.column());
                let text = error.to_string();
                let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
                write!(f, "{}, line {line}, column {column}: {text}", path.display())
            }
            Self::Name(why) => f.write_str(why),
            Self::Exists(name) => write!(
                f,
                "there is an account {name} already: `restante user passwd {name}` changes its password"
            ),
            Self::Absent(name) => {
                write!(f, "there is no account {name}: `restante user list` shows those there are")
            }
            Self::Hash(why) => write!(f, "cannot hash the password: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Content { error, .. } => Some(error),
            _ => None,
        }
    }
}
