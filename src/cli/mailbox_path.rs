//! Paths in the place of mailboxes, as a shell completes them.

use std::path::Path;

use crate::{
    command_hint::{path_word, shell_quoted},
    proto::request::Mailbox,
};

/// The refusal of a name that is the path of a Maildir, with the words to type: the address, which is the name of the mailbox
/// in the spool.
pub(super) fn path_advice(name: &str) -> Option<String> {
    let path = Path::new(name);
    let is_maildir = ["cur", "new"].iter().all(|part| path.join(part).is_dir());
    if !name.contains('/') || !is_maildir {
        return None;
    }
    let (spool, mailbox) = (path.parent()?, path.file_name()?.to_str()?);
    let spool = if spool.as_os_str().is_empty() { Path::new(".") } else { spool };
    Some(match Mailbox::named(mailbox) {
        Some(_) => format!(
            "{name} is a path: name the mailbox {} alone, with --spool {}",
            shell_quoted(mailbox),
            path_word(spool)
        ),
        None => format!(
            "{name} is a path, and no mailbox of a spool: `restante export` takes it if it begins with ./ or /"
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn n111_the_path_of_a_mailbox_is_told_from_its_name() {
        let home = tempfile::tempdir().unwrap();
        let spool = home.path().join("my spool");
        for part in ["bob@example.test/cur", "bob@example.test/new"] {
            fs::create_dir_all(spool.join(part)).unwrap();
        }
        let at = |name: &str| spool.join(name).to_str().unwrap().to_owned();
        let told = path_advice(&at("bob@example.test")).unwrap();
        let words = format!("name the mailbox bob@example.test alone, with --spool '{}'", spool.display());
        assert!(told.ends_with(&words), "{told}");
        for name in [at("ann@example.test"), "bob@example.test".into(), at("."), "a/b@example.test".into()] {
            assert_eq!(path_advice(&name), None, "{name}");
        }
    }
}
