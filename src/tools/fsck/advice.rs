//! The commands that bring mail to the place where its reader looks for it.
//!
//! The rule: a command works as it is printed, and loses nothing. A whole Maildir is renamed if nothing is in its new place, so
//! that it keeps its flags, keywords and UIDs. Otherwise its messages are imported with their flags, and a person removes it.

use std::{
    ffi::OsStr,
    iter,
    path::{self, Path, PathBuf},
};

use rustix::fs::Access;

use crate::{
    command_hint::{free_name, path_word, pipe_end, shell_quoted},
    file_rights::{is_denied, is_own, user_name},
    maildir::PARTS,
    printable::counted,
    proto::folder::Folder,
    unread_maildirs::{folders_of, is_maildir, is_name_of_mailbox, mailbox_meant_by},
};

/// The mailbox, or the folder of one, whose reader looks for the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    spool: PathBuf,
    mailbox: String,
    /// The name of the folder's directory.
    folder: Option<String>,
}

impl Destination {
    /// The destination that is a mailbox or folder, by its directory.
    pub(super) fn of(maildir: &Path, is_folder: bool) -> Self {
        let folder = maildir.file_name().filter(|_| is_folder).map(text);
        let home = if is_folder { maildir.parent().unwrap_or(maildir) } else { maildir };
        let name = home.file_name().unwrap_or_default();
        let mailbox = if is_name_of_mailbox(name) { text(name) } else { mailbox_of(name) };
        Self { spool: home.parent().unwrap_or(home).to_owned(), mailbox, folder }
    }

    /// The destination of a Maildir in the spool, as its path tells it.
    pub(super) fn of_path(maildir: &Path, spool: &Path) -> Self {
        let names = names_below(maildir, spool);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let whole = |mailbox: String| Self { spool: spool.to_owned(), mailbox, folder: None };
        let first = maildir.strip_prefix(spool).unwrap_or(maildir).iter().next().unwrap_or_default();
        let is_hidden = first.as_encoded_bytes().starts_with(b".");
        match names[..] {
            // Hidden on purpose: no new mailbox by its name.
            _ if is_hidden => whole(SOME_ADDRESS.to_owned()),
            [name, ..] if name.contains('@') => {
                let mailbox = whole(mailbox_of(OsStr::new(name)));
                if names.len() == 1 { mailbox } else { mailbox.in_folder(&names[1..]) }
            }
            [domain, user] if domain.contains('.') => {
                whole(mailbox_of(OsStr::new(&format!("{user}@{domain}"))))
            }
            _ => whole(SOME_ADDRESS.to_owned()),
        }
    }

    /// The destination of a Maildir in the directory of this one, `home`.
    pub(super) fn below(&self, maildir: &Path, home: &Path) -> Self {
        let names = names_below(maildir, home);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() { self.clone() } else { self.in_folder(&names) }
    }

    fn in_folder(&self, names: &[&str]) -> Self {
        let above = self.folder.as_deref().map(|folder| folder.trim_start_matches('.'));
        let name: Vec<&str> = above.into_iter().chain(names.iter().copied()).collect();
        let folder = Folder::from_name(&name.join("."));
        let folder = folder.map_or_else(|| SOME_FOLDER.to_owned(), |folder| folder.directory().to_owned());
        Self { folder: Some(folder), ..self.clone() }
    }

    fn name(&self) -> String {
        let folder = self.folder.iter().flat_map(|folder| ["/", folder]);
        [self.mailbox.as_str()].into_iter().chain(folder).collect()
    }

    fn place(&self) -> PathBuf {
        let home = self.spool.join(&self.mailbox);
        self.folder.iter().fold(home, |home, folder| home.join(folder))
    }

    fn is_known(&self) -> bool {
        self.mailbox != SOME_ADDRESS
    }

    /// The command that imports a file or a directory; `-` is standard input.
    fn import_of(&self, path: &Path) -> String {
        // A person who writes the address may mistype it.
        let may_create = self.is_known() || self.folder.is_some();
        let create = if may_create && !is_maildir(&self.place()) { " --create" } else { "" };
        let import = pipe_end(&["import"]);
        format!("{import} {} --to {}{create}", path_word(path), shell_quoted(&self.name()))
    }

    /// The advice for a file of mail: the original goes after an import that has succeeded.
    pub(super) fn advice_for_file(&self, file: &Path) -> String {
        let command = format!("{} && rm {}", self.import_of(file), path_word(file));
        format!("{}`{command}` delivers it and removes it here", as_root(file))
    }

    /// The advice for a directory of messages. It first gets a name that no mailbox can have, because the import may make a
    /// mailbox of its name in it. It is removed only after an import that has left out nothing.
    pub(super) fn advice_for_directory(&self, directory: &Path) -> String {
        let renamed = free_name(directory);
        format!(
            "{}rename it with `mv -T {} {}`; then `{} && rm -r {}` delivers what is in it, and removes it unless the import \
             leaves out a file, which it names",
            as_root(directory),
            path_word(directory),
            path_word(&renamed),
            self.import_of(&renamed),
            path_word(&renamed)
        )
    }

    /// The advice for a file of mail in the place of a mailbox.
    pub(super) fn advice_for_file_in_place(&self, file: &Path) -> String {
        let renamed = free_name(file);
        let (from, to) = (path_word(file), path_word(&renamed));
        let command = format!("mv -T {from} {to} && {} && rm {to}", self.import_of(&renamed));
        format!("{}`{command}` delivers its mail to a mailbox in its place", as_root(file))
    }

    /// The advice for a whole Maildir with its folders.
    pub(super) fn advice_for_maildir(&self, maildir: &Path) -> String {
        let folders = folders_of(maildir);
        let more = folders.len().saturating_sub(MAX_FOLDERS);
        let parts = folders.iter().take(MAX_FOLDERS).map(|folder| {
            let name = text(folder.file_name().unwrap_or_default());
            (folder.clone(), self.in_folder(&[name.trim_start_matches('.')]))
        });
        let parts: Vec<(PathBuf, Self)> =
            iter::once((maildir.to_owned(), self.clone())).chain(parts).collect();
        let home = self.spool.join(&self.mailbox);
        if self.place() == maildir && !is_maildir(&home) {
            return advice_for_home(maildir, &home);
        }
        let is_free = match self.folder {
            None => !self.place().exists(),
            Some(_) => more == 0 && is_maildir(&home) && !parts.iter().any(|(_, to)| to.place().exists()),
        };
        let mut advice = Vec::new();
        if is_free {
            advice.push(self.renaming(maildir, &parts));
        }
        if !is_free || !self.is_known() {
            advice.push(self.importing(maildir, &parts, more));
        }
        advice.join("; ")
    }

    /// The command that renames the Maildir. Its folders are directories in it, and those of a folder are not.
    fn renaming(&self, maildir: &Path, parts: &[(PathBuf, Self)]) -> String {
        let moved = if self.folder.is_none() { &parts[..1] } else { parts };
        let mut commands: Vec<String> = moved
            .iter()
            .rev()
            .map(|(from, to)| format!("mv -T {} {}", path_word(from), path_word(&to.place())))
            .collect();
        let others = as_root(maildir);
        if !others.is_empty() {
            let places: Vec<String> = moved.iter().map(|(_, to)| path_word(&to.place())).collect();
            commands.push(format!("chown -R {}: {}", user_name(), places.join(" ")));
        }
        let what = match self.folder {
            Some(_) => format!("the folder {}", self.name()),
            None if self.is_known() => format!("the mailbox {}", self.name()),
            None => "the mailbox of an address that has none yet".to_owned(),
        };
        format!("{others}`{}` makes it {what}", commands.join(" && "))
    }

    /// The commands that import the messages of the Maildir, and remove it.
    fn importing(&self, maildir: &Path, parts: &[(PathBuf, Self)], more: usize) -> String {
        let commands: Vec<String> = parts
            .iter()
            .map(|(from, to)| {
                // `export` takes a path only if it begins like one.
                let from = path::absolute(from).unwrap_or_else(|_| from.clone());
                let missing = PARTS.map(|part| from.join(part)).into_iter().filter(|part| !part.exists());
                let made: String = missing.map(|part| format!("mkdir {} && ", path_word(&part))).collect();
                format!("{made}restante export {} | {}", path_word(&from), to.import_of(Path::new("-")))
            })
            .collect();
        let rest = match more {
            0 => format!("; after a look at it there, `rm -r {}` removes it here", path_word(maildir)),
            more => format!("; {} of it come after that, in the same way", counted(more, "folder")),
        };
        format!("{}`{}` delivers its mail to {}{rest}", as_root(maildir), commands.join(" && "), self.name())
    }
}

/// The advice for a folder in its place whose mailbox has no directories for mail of its own.
fn advice_for_home(folder: &Path, home: &Path) -> String {
    let parts = PARTS.map(|part| path_word(&home.join(part))).join(" ");
    let others = as_root(folder);
    let given = if others.is_empty() {
        String::new()
    } else {
        format!(" && chown -R {}: {}", user_name(), path_word(home))
    };
    format!("{others}`mkdir -p -m 700 {parts}{given}` makes the mailbox whose folder it is")
}

/// The mailbox that the name of a directory means, or a word for the person to replace.
fn mailbox_of(name: &OsStr) -> String {
    if is_name_of_mailbox(name) && name.to_string_lossy().contains('@') {
        return text(name);
    }
    mailbox_meant_by(name).map_or_else(|| SOME_ADDRESS.to_owned(), |mailbox| mailbox.as_str().to_owned())
}

/// The names that lead from a directory to one below it, without dots at their beginning, and without a last one that stands for the
/// inbox of a user.
fn names_below(path: &Path, above: &Path) -> Vec<String> {
    let rest = path.strip_prefix(above).unwrap_or(path);
    let mut names: Vec<String> = rest
        .iter()
        .map(|name| text(name).trim_start_matches('.').to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if names.last().is_some_and(|last| INBOXES.contains(&last.to_lowercase().as_str())) {
        names.pop();
    }
    names
}

/// The words before commands that the user of this process may not run.
pub(super) fn as_root(path: &Path) -> &'static str {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_closed = !is_own(path) || is_denied(above, Access::WRITE_OK | Access::EXEC_OK);
    if is_closed { "as root, " } else { "" }
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// Words that a person replaces.
const SOME_ADDRESS: &str = "ADDRESS";
const SOME_FOLDER: &str = ".FOLDER";
/// Names that programs give to the directory of a user's mail.
const INBOXES: [&str; 3] = ["maildir", "mail", "inbox"];
/// Folders in one command.
const MAX_FOLDERS: usize = 50;
