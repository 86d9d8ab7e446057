//! The files of accounts and aliases.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Accounts, Error, UserFile, Users,
    account::own_mailbox,
    aliases::{AliasError, Aliases, Position},
    table::AccountTable,
};
use crate::{
    file_stamp::FileStamp, limits::MAX_ALIASES_FILE, open_regular::read_text_bounded, proto::request::Mailbox,
};

/// The paths of the files, and the domains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The file of accounts, in JSON.
    pub users: PathBuf,
    /// The file of aliases, if there is one.
    pub aliases: Option<PathBuf>,
    /// Our domains, in lower case. A name without a domain belongs to the first one.
    pub domains: Vec<String>,
    /// The directory of the mailboxes, for inboxes that are written as paths.
    pub spool: PathBuf,
    /// Whether hashes of other servers stay as they are.
    pub keep_hashes: bool,
}

/// The state of the files at one moment: another stamp means that they have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<FileStamp>>);

impl Sources {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or has a mistake.
    pub fn load(&self) -> Result<Accounts, Error> {
        let table = self.load_table()?;
        let aliases = self.load_aliases(&table)?;
        Ok(self.assemble(table, aliases))
    }

    /// Reads the file of accounts alone: no alias is known.
    ///
    /// # Errors
    /// It cannot be read, or has a mistake.
    pub fn load_without_aliases(&self) -> Result<Accounts, Error> {
        Ok(self.assemble(self.load_table()?, Aliases::default()))
    }

    pub(super) fn assemble(&self, table: AccountTable, aliases: Aliases) -> Accounts {
        Accounts {
            domains: self.domains.clone(),
            users: Users::Listed(table.with_aliases(aliases)),
            sources: Some(self.clone()),
        }
    }

    /// The accounts without their aliases.
    pub(super) fn load_table(&self) -> Result<AccountTable, Error> {
        let users = UserFile::at(&self.users).users()?;
        for (name, account) in &users {
            let directory =
                account.inbox_directory().map(|directory| directory.strip_prefix(".").unwrap_or(directory));
            if let (Some(directory), Some(mailbox)) = (directory, account.mailbox(name))
                && (!self.spool.ends_with(directory) || directory.as_os_str().is_empty())
            {
                let why = self.wrong_inbox(name, account.inbox.as_deref(), directory, mailbox.as_str());
                return Err(Error::Inbox { path: self.users.clone(), why });
            }
        }
        Ok(AccountTable::new(users))
    }

    /// The sentence for an inbox that is the path of a `mailbox` in a `directory`, which is not the spool.
    fn wrong_inbox(&self, name: &str, inbox: Option<&str>, directory: &Path, mailbox: &str) -> String {
        let spool = self.spool.display();
        // Such a path was written for a spool beside the file.
        if directory.is_relative() && directory.file_name().is_some() {
            return format!(
                "account {name:?}: its inbox is a path, and the mailboxes are in {spool}: set spool = {:?} in the \
                 configuration, or write \"inbox\": {mailbox:?}",
                directory.display()
            );
        }
        let own = own_mailbox(name);
        let own = own.as_ref().map_or(mailbox, Mailbox::as_str);
        format!(
            "account {name:?}: its inbox {:?} is outside of the spool {spool}, and each mailbox is a directory in the spool: \
             write its name, like \"inbox\": {own:?}",
            inbox.unwrap_or_default()
        )
    }

    pub(super) fn load_aliases(&self, table: &AccountTable) -> Result<Aliases, Error> {
        let Some(path) = &self.aliases else { return Ok(Aliases::default()) };
        let text = aliases_text(path)?;
        Aliases::read(&text, &self.domains, |address| table.owner(address).cloned()).map_err(
            |AliasError { position: Position { line, column }, why }| Error::Aliases {
                path: path.clone(),
                line,
                column,
                why,
            },
        )
    }

    /// The file and the line of the alias of that name, which is in the form in which names are compared. The file may have
    /// mistakes in other lines, as between two renames of accounts that an alias names.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn place_of_alias(&self, name: &str) -> Result<Option<(&Path, usize)>, Error> {
        let Some(path) = &self.aliases else { return Ok(None) };
        let text = match aliases_text(path) {
            Err(Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        Ok(Aliases::line_of(&text, &self.domains, name).map(|line| (path.as_path(), line)))
    }

    /// The present state of the files.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.paths().map(|path| FileStamp::of(path)).collect())
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.users), self.aliases.as_ref()].into_iter().flatten()
    }
}

fn aliases_text(path: &Path) -> Result<String, Error> {
    let unreadable = |error| Error::Io { path: path.to_owned(), action: "read", error };
    read_text_bounded(path, MAX_ALIASES_FILE.0).map_err(unreadable)
}

impl Stamp {
    /// Whether one of them may have changed since then without a new stamp.
    pub(super) fn is_racy(&self, now: SystemTime) -> bool {
        self.0.iter().flatten().any(|file| file.is_racy(now))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn n80_an_inbox_outside_of_the_spool_comes_with_the_one_that_is_allowed() {
        let home = tempfile::tempdir().unwrap();
        let users = home.path().join("users.json");
        let spool = home.path().join("mail");
        let sources = Sources { users: users.clone(), spool: spool.clone(), ..Sources::default() };
        let own = "write its name, like \"inbox\": \"bob@example.test\"";
        for (inbox, told) in [
            ("/etc", own),
            ("/", "cannot be an inbox"),
            ("/var/mail/bob", own),
            ("./bob", own),
            ("../mail/bob", "cannot be an inbox"),
            (
                "boite_mail/bob",
                "set spool = \"boite_mail\" in the configuration, or write \"inbox\": \"bob\"",
            ),
        ] {
            let text =
                format!("{{\"bob@example.test\": {{\"password_hash\": \"!\", \"inbox\": {inbox:?}}}}}");
            fs::write(&users, text).unwrap();
            let error = sources.load_table().unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("spool = \"\""), "{inbox}: {error}");
        }
        for inbox in ["bob", "mail/bob", "./mail/bob", spool.join("bob").to_str().unwrap()] {
            let text =
                format!("{{\"bob@example.test\": {{\"password_hash\": \"!\", \"inbox\": {inbox:?}}}}}");
            fs::write(&users, text).unwrap();
            sources.load_table().unwrap();
        }
    }
}
