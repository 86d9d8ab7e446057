//! Looks after the files of accounts, in a thread of its own: reading may wait for a disk.

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, SystemTime},
};

use super::{Accounts, Sources, Stamp, aliases::Aliases};

/// Looks after the files of accounts as long as it is held.
#[derive(Debug)]
pub struct Keeper {
    _ends: Sender<()>,
}

impl Keeper {
    /// Starts the thread. It looks for changes of `sources` every `look_every`, the first time at once, and
    /// hands every new table to `take`. A file that is wrong is told in the log, once, and changes nothing;
    /// but accounts change also while the aliases are wrong, whose last good ones stay in force.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        sources: Sources,
        look_every: Duration,
        take: impl Fn(Accounts) + Send + 'static,
    ) -> io::Result<Self> {
        let (ends, ended) = mpsc::channel();
        let mut files = Files::new(sources);
        thread::Builder::new()
            .name("accounts".into())
            .spawn(move || files.keep(look_every, &ended, &take))?;
        Ok(Self { _ends: ends })
    }
}

struct Files {
    sources: Sources,
    /// What they were like when they were last read.
    stamp: Option<Stamp>,
    /// Whether they may have changed since and still look the same.
    young: bool,
    /// The last good ones.
    aliases: Aliases,
    /// What is wrong with them, as the log has it.
    told: Option<String>,
}

impl Files {
    fn new(sources: Sources) -> Self {
        Self { sources, stamp: None, young: false, aliases: Aliases::default(), told: None }
    }

    fn keep(&mut self, look_every: Duration, ended: &Receiver<()>, take: &impl Fn(Accounts)) {
        loop {
            self.look(SystemTime::now()).into_iter().for_each(take);
            if ended.recv_timeout(look_every) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Reads the files if they have changed. What is half written is found whole at a later look, since it
    /// changes once more.
    fn look(&mut self, now: SystemTime) -> Option<Accounts> {
        let stamp = self.sources.stamp();
        let changed = self.stamp.as_ref() != Some(&stamp);
        if !changed && !self.young {
            return None;
        }
        self.young = stamp.is_young(now);
        let known = self.stamp.replace(stamp).is_some();
        match self.sources.table() {
            Ok(table) => {
                let wrong = match self.sources.read_aliases(&table) {
                    Ok(aliases) => {
                        self.aliases = aliases;
                        None
                    }
                    Err(error) => Some(format!("aliases not read again, the old ones stay: {error}")),
                };
                if known && changed {
                    log::info!("accounts read again: {}", table.len());
                }
                self.tell(wrong);
                Some(self.sources.accounts(table, self.aliases.clone()))
            }
            Err(error) => {
                self.tell(Some(format!("accounts not read again, the old ones stay: {error}")));
                None
            }
        }
    }

    fn tell(&mut self, wrong: Option<String>) {
        if let Some(wrong) = wrong.as_ref().filter(|wrong| self.told.as_ref() != Some(wrong)) {
            log::error!("{wrong}");
        }
        self.told = wrong;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::proto::{
        ask::{Directory, Lookup},
        smtp::address::Address,
    };

    /// A moment long after anything was written.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3600)
    }

    struct Home {
        directory: tempfile::TempDir,
        files: Files,
    }

    impl Home {
        fn new(users: &[&str], aliases: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = |name| directory.path().join(name);
            let domains = vec!["b.test".into()];
            let sources = Sources { users: path("users.json"), aliases: Some(path("aliases")), domains };
            let home = Self { directory, files: Files::new(sources) };
            home.write(users);
            home.write_aliases(aliases);
            home
        }

        /// As an editor does: another file in the place of the old one.
        fn put(&self, name: &str, text: &str) {
            let (new, path) = (self.directory.path().join("new"), self.directory.path().join(name));
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }

        fn write(&self, users: &[&str]) {
            let users: Vec<_> =
                users.iter().map(|u| format!("\"{u}@b.test\":{{\"password_hash\":\"!\"}}")).collect();
            self.put("users.json", &format!("{{{}}}", users.join(",")));
        }

        fn write_aliases(&self, text: &str) {
            self.put("aliases", text);
        }

        fn look(&mut self) -> Option<Accounts> {
            self.files.look(later())
        }
    }

    fn has(accounts: &Accounts, user: &str) -> bool {
        matches!(accounts.lookup(&Address::parse(&format!("{user}@b.test")).unwrap()), Lookup::Local(_))
    }

    #[test]
    fn a_changed_file_is_read_once_and_a_broken_one_changes_nothing() {
        let mut home = Home::new(&["ann"], "");
        assert!(home.look().is_some_and(|accounts| has(&accounts, "ann")));
        assert!(home.look().is_none());
        home.put("users.json", "{\"ann");
        assert!(home.look().is_none());
        assert!(home.files.told.as_ref().is_some_and(|told| told.contains("users.json, line 1, column 5: ")));
        assert!(home.look().is_none());
        home.write(&["bob"]);
        assert!(home.look().is_some_and(|accounts| has(&accounts, "bob") && !has(&accounts, "ann")));
        assert_eq!(home.files.told, None);
        fs::remove_file(home.directory.path().join("users.json")).unwrap();
        assert!(home.look().is_none());
        assert!(home.files.told.as_ref().is_some_and(|told| told.contains("there are no accounts at")));
    }

    #[test]
    fn accounts_change_also_while_the_aliases_are_wrong() {
        let mut home = Home::new(&["ann", "bob"], "all: ann, bob\nboth: ann, bob\n");
        assert!(home.look().is_some_and(|accounts| has(&accounts, "all")));
        home.write(&["ann"]);
        let accounts = home.look().unwrap();
        assert!(!has(&accounts, "bob") && has(&accounts, "all"), "what is left of it");
        assert!(
            home.files
                .told
                .as_ref()
                .is_some_and(|told| told.contains("aliases, line 1, column 11: there is no account"))
        );
        home.write(&["carl"]);
        assert!(home.look().is_some_and(|accounts| !has(&accounts, "all")));
        home.write_aliases("all: carl\n");
        assert!(home.look().is_some_and(|accounts| has(&accounts, "all") && !has(&accounts, "both")));
    }

    #[test]
    fn a_file_that_was_written_to_a_moment_ago_is_read_again() {
        let mut home = Home::new(&["ann"], "");
        let now = SystemTime::now();
        assert!(home.files.look(now).is_some());
        assert!(home.files.look(now).is_some());
        assert!(home.look().is_some());
        assert!(home.look().is_none());
    }
}
