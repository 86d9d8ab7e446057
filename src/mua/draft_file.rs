//! A letter that was not sent, in a file of its writer, and the command that sends it later.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    client::{ConnectOptions, Security},
    command_hint::{path_word, shell_quoted},
};

/// Keeps a message in a new file below that directory of the user, else in the current directory. Returns the path.
///
/// # Errors
/// Neither can be written to.
pub(crate) fn keep_draft(of_user: Option<&Path>, message: &[u8]) -> io::Result<PathBuf> {
    let here = || env::current_dir().and_then(|here| write_draft(&here, message));
    match of_user {
        Some(directory) => write_draft(&directory.join("drafts"), message).or_else(|_| here()),
        None => here(),
    }
}

/// The way to a server, for the command that sends a draft.
#[derive(Debug)]
pub(crate) struct SendCommand<'a> {
    pub(crate) smtp: &'a ConnectOptions,
    pub(crate) cacert: Option<&'a Path>,
    pub(crate) insecure: bool,
    /// The login name, if the server asks for a login.
    pub(crate) user: Option<&'a str>,
    pub(crate) password_file: Option<&'a Path>,
    pub(crate) helo: Option<&'a str>,
    pub(crate) from: &'a str,
}

impl SendCommand<'_> {
    /// The command that sends the draft to these recipients, as a shell takes it.
    pub(crate) fn line(&self, recipients: &[&str], draft: &Path) -> String {
        let quoted = |option: &str, value: &str| format!("{option}={}", shell_quoted(value));
        // A shell joins the two parts of such a word.
        let with_path = |option: &str, path: &Path| format!("{option}={}", path_word(path));
        let mut words =
            vec!["restante".to_owned(), "send".to_owned(), quoted("--server", &self.smtp.server.to_string())];
        match self.smtp.security {
            Security::None => {}
            Security::StartTls => words.push("--tls=starttls".into()),
            Security::Implicit => words.push("--tls=implicit".into()),
        }
        words.extend(self.cacert.map(|file| with_path("--cacert", file)));
        words.extend(self.user.map(|user| quoted("--auth", user)));
        words.extend(self.password_file.map(|file| with_path("--password-file", file)));
        words.extend(self.insecure.then(|| "--insecure".to_owned()));
        words.extend(self.helo.map(|name| quoted("--helo", name)));
        words.push(quoted("--from", self.from));
        words.push(quoted("--to", &recipients.join(",")));
        words.push(with_path("--raw", draft));
        words.join(" ")
    }
}

/// Writes a draft into a new file of that directory, for its owner alone. Returns the path. Leaves no part of a file.
fn write_draft(directory: &Path, message: &[u8]) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for number in 1..=MAX_DRAFTS {
        let path = directory.join(format!("draft-{number}.eml"));
        // O_EXCL: an existing file or link is never written to.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let written = file.write_all(message).and_then(|()| file.sync_all());
                let written = written.and_then(|()| File::open(directory)?.sync_all());
                if written.is_err() {
                    let _ = fs::remove_file(&path);
                }
                return written.map(|()| path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Drafts in one directory.
const MAX_DRAFTS: u32 = 100_000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn u95_a_draft_is_for_its_owner_and_replaces_no_other_file() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("deep/drafts");
        let first = write_draft(&directory, b"one").unwrap();
        symlink("elsewhere", directory.join("draft-2.eml")).unwrap();
        let third = write_draft(&directory, b"two").unwrap();
        assert_eq!((&first, &third), (&directory.join("draft-1.eml"), &directory.join("draft-3.eml")));
        assert_eq!(
            (fs::read(&first).unwrap(), fs::read(&third).unwrap()),
            (b"one".to_vec(), b"two".to_vec())
        );
        for (path, mode) in [(&first, 0o600), (&directory, 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{path:?}");
        }
        assert!(!directory.join("elsewhere").exists());
    }
}
