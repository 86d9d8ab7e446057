//! The rights that the upgrade of password hashes needs, and the commands that give them.

use std::{ffi::OsString, fs, path::Path};

use rustix::fs::Access;

use super::{Accounts, UserFile, Users};
use crate::{
    command_hint::path_word,
    file_rights::{ALL, advice_to_own_file, is_denied, is_own, way_to_make},
};

impl UserFile {
    /// The advice after which this process can replace the file, if owners or modes refuse that now. The directory may be
    /// one with files of others, so the file gets a directory of its own.
    pub(crate) fn way_to_replace(&self) -> Option<String> {
        let file = fs::canonicalize(&self.path).ok()?;
        let (directory, name) = (file.parent()?, file.file_name()?);
        if is_denied(directory, ALL) {
            return Some(if is_own(directory) {
                format!("let its owner in with `chmod u+rwx {}`", path_word(directory))
            } else {
                way_to_own_directory(&file, &directory.join(OWN_DIRECTORY))
            });
        }
        let mut lock = OsString::from(".");
        lock.push(name);
        lock.push(".lock");
        let lock = directory.join(lock);
        is_denied(&lock, Access::WRITE_OK).then(|| advice_to_own_file(&lock))
    }
}

impl Accounts {
    /// The warning about hashes of other servers which this process is to replace, and may not.
    pub(crate) fn upgrade_warning(&self) -> Option<String> {
        let sources = self.sources.as_ref().filter(|sources| !sources.keep_hashes)?;
        if !matches!(&self.users, Users::Listed(table) if table.has_old_hashes()) {
            return None;
        }
        let way = UserFile::at(&sources.users).way_to_replace()?;
        Some(format!(
            "the old password hashes in {} stay, because the server's user may not replace the file: {way}",
            sources.users.display()
        ))
    }
}

/// The commands that move the file into a directory of this user.
fn way_to_own_directory(file: &Path, own: &Path) -> String {
    let moved = file.file_name().map_or_else(|| own.to_owned(), |name| own.join(name));
    format!(
        "as root, run {} and `mv {} {}`, set accounts = {moved:?}, and restart; or set upgrade_hashes = false",
        way_to_make(own, "700"),
        path_word(file),
        path_word(own)
    )
}

const OWN_DIRECTORY: &str = "accounts";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n142_old_hashes_in_a_directory_of_root_come_with_the_commands_that_let_them_be_replaced() {
        let home = tempfile::tempdir().unwrap();
        let users = home.path().join("users.json");
        fs::write(&users, "{}").unwrap();
        assert_eq!(UserFile::at(&users).way_to_replace(), None);
        let way = way_to_own_directory(Path::new("/lib/users.json"), Path::new("/lib/accounts"));
        for words in [
            "-m 700 /lib/accounts` and `mv /lib/users.json /lib/accounts`",
            "set accounts = \"/lib/accounts/users.json\", and restart; or set upgrade_hashes = false",
        ] {
            assert!(way.contains(words), "{way}");
        }
    }
}
