//! Errors of accounts, in words for the operator.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::json_error::in_plain_words;
use crate::{
    command_hint::{path_word, restante},
    path_hint::did_you_mean,
    printable::counted,
};

/// The reason why an account could not be read, changed or made. Prints as a sentence for the operator.
#[derive(Debug)]
pub enum Error {
    /// There is no file of accounts.
    Missing(PathBuf),
    /// The file of accounts is gone, and a server has read it before.
    Gone {
        /// The file of accounts.
        path: PathBuf,
        /// The number of accounts in the last good file, if it is known.
        in_force: Option<usize>,
    },
    /// The file cannot be read, locked or replaced.
    Io {
        /// The file, or the lock beside it.
        path: PathBuf,
        /// The failed step, such as "lock".
        action: &'static str,
        /// The reason, from the system.
        error: io::Error,
    },
    /// The file of accounts has a mistake.
    Content {
        /// The file of accounts.
        path: PathBuf,
        /// The place and the reason.
        error: serde_json::Error,
    },
    /// The file of aliases has a mistake.
    Aliases {
        /// The file of aliases.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// The reason, and the accepted form.
        why: String,
    },
    /// The inbox of an account is a path that does not lead into the spool.
    Inbox {
        /// The file of accounts.
        path: PathBuf,
        /// The account, the inbox and the remedy.
        why: String,
    },
    /// The name is not valid for an account.
    Name(String),
    /// An account of that name exists already.
    Exists(String),
    /// No account of that name exists.
    Absent(String),
    /// The name is a further address of an account, which has another name.
    FurtherAddress {
        /// The name that was given.
        address: String,
        /// The account that has it.
        account: String,
    },
    /// Argon2 failed: no memory, or no random numbers.
    Hash(String),
}

impl Error {
    /// The file that could not be read or written, if this is such an error.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "there are no accounts at {}: ", path.display())?;
                let make = match did_you_mean(path, Path::is_file) {
                    Some(question) => format!("{question} Otherwise make"),
                    None => "make".to_owned(),
                };
                write!(f, "{make} the first one with {}", restante(&["user", "add", "NAME@DOMAIN"]))
            }
            Self::Gone { path, in_force } => {
                let accounts =
                    in_force.map_or_else(|| "accounts".to_owned(), |count| counted(count, "account"));
                write!(
                    f,
                    "{} is gone: put it back; until then the server keeps the {accounts} that it has read (a new \
                     file takes their place)",
                    path.display()
                )
            }
            Self::Io { path, action, error } => {
                write!(f, "cannot {action} {}: {error}", path.display())?;
                match path.parent() {
                    Some(above)
                        if *action != "read"
                            && error.kind() == io::ErrorKind::NotFound
                            && !above.exists() =>
                    {
                        write!(f, "; make its directory with `mkdir -p {}`", path_word(above))
                    }
                    _ => Ok(()),
                }
            }
            Self::Content { path, error } => {
                let (line, column) = (error.line(), error.column());
                let text = error.to_string();
                let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
                write!(
                    f,
                    "{}, line {}, column {}: {}",
                    path.display(),
                    line.max(1),
                    column.max(1),
                    in_plain_words(text)
                )
            }
            Self::Aliases { path, line, column, why } => {
                write!(f, "{}, line {line}, column {column}: {why}", path.display())
            }
            Self::Inbox { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Name(why) => f.write_str(why),
            Self::Exists(name) => write!(
                f,
                "there is an account {name} already: {} changes its password",
                restante(&["user", "passwd", name])
            ),
            Self::Absent(name) => {
                write!(f, "there is no account {name}: {} shows those there are", restante(&["user", "list"]))
            }
            Self::FurtherAddress { address, account } => {
                write!(f, "{address} is a further address of the account {account}: name that one")
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
