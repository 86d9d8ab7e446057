//! Directories in the place of an mbox: what they hold, and the path or command that takes it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::{command_hint::shell_quoted, tools::mbox::MESSAGE_TO_MBOX};

/// The error for a directory. `import` is the command that imports standard input in the same way.
pub(super) fn describe(path: &Path, import: &str) -> String {
    let shown = path.display();
    if path.join("mbox").is_file() {
        return format!("{shown} is a folder of Apple Mail: import {}", path.join("mbox").display());
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let word = shell_quoted(&whole.to_string_lossy());
    if is_maildir(path) {
        return format!(
            "{shown} is a Maildir: `restante export {word} | {import}` imports it once, without its folders; {WHOLE_MAILBOXES}"
        );
    }
    let entries = entries(path);
    if let Some(maildir) = entries.iter().find(|entry| is_maildir(entry)) {
        return format!(
            "{shown} has Maildirs in it: import one, like {}; {WHOLE_MAILBOXES}",
            maildir.display()
        );
    }
    let below = entries
        .iter()
        .filter(|entry| entry.is_dir())
        .flat_map(|entry| self::entries(entry).into_iter().take(MOST));
    let has = |ending: &str| {
        let matches =
            |entry: &Path| entry.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
        entries.iter().any(|entry| matches(entry)) || below.clone().any(|entry| matches(&entry))
    };
    let each = |files: &str| {
        format!("`find {word} -type f {files} -exec {MESSAGE_TO_MBOX} {{}} + | {import}` imports them")
    };
    if has("eml") {
        return format!("{shown} has messages in it, each in a file of its own: {}", each("-iname '*.eml'"));
    }
    if has("emlx") {
        return format!(
            "{shown} is a folder of Apple Mail: choose Mailbox > Export Mailbox there, and import the file mbox that it makes"
        );
    }
    let is_number = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    if entries.iter().any(|entry| entry.file_name().is_some_and(is_number) && entry.is_file()) {
        let numbered = each("-regex '.*/[0-9]+'");
        return format!("{shown} is a folder of MH, each message in a file of its own: {numbered}");
    }
    format!("{shown} is a directory: name the mbox files in it")
}

fn is_maildir(path: &Path) -> bool {
    ["cur", "new", "tmp"].iter().all(|part| path.join(part).is_dir())
}

/// The first entries of a directory, in order. What cannot be read is left out, because the files say why.
fn entries(path: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        path.read_dir().into_iter().flatten().flatten().take(MOST).map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

const WHOLE_MAILBOXES: &str = "to take over whole mailboxes, copy their Maildirs into the spool (docs/manual/operator.md, \
                               Coming from Dovecot or Courier)";
/// Entries that are looked at.
const MOST: usize = 1000;
