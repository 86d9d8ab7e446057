//! Reloads the files of accounts, in separate threads, because reading may wait for a disk.

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{Accounts, Error, Sources, Stamp, aliases::Aliases};
use crate::{
    file_poller::{ErrorLogThrottle, FilePoller, PollInterval, RETRY_INTERVAL},
    file_rights::way_to_read,
    metrics::METRICS,
};

/// Watches the files of accounts until dropped.
#[derive(Debug)]
pub struct Reloader {
    _poller: FilePoller,
}

impl Reloader {
    /// Reads `sources` at once and after each change, checks them every `look_every` if the kernel reports no changes, and passes every new table to `take`. A
    /// mistake in a file is logged, and changes nothing. If only the aliases have a mistake, accounts still change, and
    /// the last good aliases stay in force.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        sources: Sources,
        (look_every, use_inotify): (Duration, bool),
        take: impl Fn(Accounts) + Send + 'static,
    ) -> io::Result<Self> {
        let paths = sources.paths().cloned().collect();
        let look = move || {
            let mut files = WatchedSources::new(sources.clone());
            move |now| files.reload_if_changed(now)
        };
        Ok(Self {
            _poller: FilePoller::start(
                ("accounts", paths),
                PollInterval::new(look_every, use_inotify),
                look,
                take,
            )?,
        })
    }
}

struct WatchedSources {
    sources: Sources,
    /// The stamps of the last read.
    stamp: Option<Stamp>,
    /// Whether the files may have changed since then without a new stamp.
    racy: bool,
    /// The time of a failed read: the file may become readable without a new stamp.
    unreadable_since: Option<SystemTime>,
    /// The number of accounts in the last good file.
    in_force: Option<usize>,
    /// The last aliases without a mistake, in force until the file is mended.
    aliases: Aliases,
    /// The mistake in the files, as in the log.
    error_log: ErrorLogThrottle,
}

impl WatchedSources {
    fn new(sources: Sources) -> Self {
        Self {
            sources,
            stamp: None,
            racy: false,
            unreadable_since: None,
            in_force: None,
            aliases: Aliases::default(),
            error_log: ErrorLogThrottle::default(),
        }
    }

    /// Reads the files if they have changed. A half-written file changes once more, so a later check finds it whole.
    fn reload_if_changed(&mut self, now: SystemTime) -> Option<Accounts> {
        let stamp = self.sources.stamp();
        let changed = self.stamp.as_ref() != Some(&stamp);
        let again =
            |tried: SystemTime| now.duration_since(tried).map_or(true, |since| since >= RETRY_INTERVAL);
        if !changed && !self.racy && !self.unreadable_since.is_some_and(again) {
            let still = self.error_log.last_error().map(str::to_owned);
            self.log_state(still, false, now);
            return None;
        }
        self.racy = stamp.is_racy(now);
        let known = self.stamp.replace(stamp).is_some();
        // A server does not start without the file, so it has accounts of an earlier one.
        let table = self.sources.load_table().map_err(|error| match error {
            Error::Missing(path) => Error::Gone { path, in_force: self.in_force },
            error => error,
        });
        let aliases = table.as_ref().ok().map(|table| self.sources.load_aliases(table));
        METRICS.set_stale("accounts", table.is_err());
        aliases.iter().for_each(|aliases| METRICS.set_stale("aliases", aliases.is_err()));
        let error = table.as_ref().err().or(aliases.as_ref().and_then(|aliases| aliases.as_ref().err()));
        self.unreadable_since = matches!(error, Some(Error::Io { .. })).then_some(now);
        let file = if table.is_err() { "accounts" } else { "aliases" };
        let wrong = error.map(|error| {
            let way = error.file().and_then(way_to_read);
            let way = way.map(|way| format!(": {way}")).unwrap_or_default();
            format!("{file} reload failed, keeping the old ones: {error}{way}")
        });
        if let (Ok(table), true) = (&table, known && changed) {
            let (level, message) = reload_message(self.in_force, table.len(), &self.sources.users);
            log::log!(level, "{message}");
        }
        self.log_state(wrong, changed, now);
        let table = table.ok()?;
        self.in_force = Some(table.len());
        if let Some(Ok(aliases)) = aliases {
            self.aliases = aliases;
        } else if !changed {
            return None; // as it was the last time
        }
        let accounts = self.sources.assemble(table, self.aliases.clone());
        if known && changed {
            accounts.warnings().iter().for_each(|warning| log::warn!("{warning}"));
        }
        Some(accounts)
    }

    fn log_state(&mut self, wrong: Option<String>, changed: bool, now: SystemTime) {
        match wrong {
            Some(wrong) if self.error_log.should_log(&wrong, changed, now) => log::error!("{wrong}"),
            Some(_) => {}
            None => self.error_log.clear(),
        }
    }
}

/// The line of the log about the number of accounts now, in place of those before.
fn reload_message(before: Option<usize>, now: usize, file: &Path) -> (log::Level, String) {
    match before {
        Some(before @ 1..) if now == 0 => {
            let message = format!(
                "accounts reloaded: 0 in place of {before}, so that nobody can log in and no mail arrives: if that is not \
                 intended, restore {} from the backup",
                file.display()
            );
            (log::Level::Warn, message)
        }
        _ => (log::Level::Info, format!("accounts reloaded: {now}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::proto::{
        request::{AccountDirectory, Lookup},
        smtp::address::Address,
    };

    /// A moment long after the last write.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3600)
    }

    struct Home {
        directory: tempfile::TempDir,
        files: WatchedSources,
    }

    impl Home {
        fn new(users: &[&str], aliases: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = |name| directory.path().join(name);
            let domains = vec!["b.test".into()];
            let sources = Sources {
                users: path("users.json"),
                aliases: Some(path("aliases")),
                domains,
                ..Sources::default()
            };
            let home = Self { directory, files: WatchedSources::new(sources) };
            home.write(users);
            home.write_aliases(aliases);
            home
        }

        /// Puts another file in the place of the old one, as an editor does.
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
            self.files.reload_if_changed(later())
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
        assert!(
            home.files
                .error_log
                .last_error()
                .is_some_and(|told| told.contains("users.json, line 1, column 5: "))
        );
        assert!(home.look().is_none());
        home.write(&["bob"]);
        assert!(home.look().is_some_and(|accounts| has(&accounts, "bob") && !has(&accounts, "ann")));
        assert_eq!(home.files.error_log.last_error(), None);
        fs::remove_file(home.directory.path().join("users.json")).unwrap();
        assert!(home.look().is_none());
    }

    #[test]
    fn n45_accounts_that_are_gone_are_to_be_put_back_and_not_begun_again() {
        let mut home = Home::new(&["ann", "bob"], "");
        assert!(home.look().is_some());
        fs::remove_file(home.directory.path().join("users.json")).unwrap();
        assert!(home.look().is_none());
        let told = home.files.error_log.last_error().unwrap();
        assert!(told.contains("users.json is gone: put it back; until then the server keeps the 2 accounts"));
        assert!(!told.contains("user add"), "{told}");
    }

    #[test]
    fn n156_no_account_in_the_place_of_some_is_a_warning() {
        let told = |before, now| reload_message(before, now, Path::new("/etc/users.json"));
        let (level, text) = told(Some(5), 0);
        assert!(
            level == log::Level::Warn && text.starts_with("accounts reloaded: 0 in place of 5, "),
            "{text}"
        );
        assert!(
            text.ends_with(": if that is not intended, restore /etc/users.json from the backup"),
            "{text}"
        );
        for (before, now) in [(None, 0), (Some(0), 0), (Some(5), 1), (Some(0), 3)] {
            assert_eq!(told(before, now), (log::Level::Info, format!("accounts reloaded: {now}")));
        }
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
                .error_log
                .last_error()
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
        assert!(home.files.reload_if_changed(now).is_some());
        assert!(home.files.reload_if_changed(now).is_some());
        assert!(home.look().is_some());
        assert!(home.look().is_none());
    }
}
