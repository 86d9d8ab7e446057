//! The failure of a command, with its exit code.

use std::{fmt, io, path::Path, process::ExitCode};

use rustix::process::geteuid;

use crate::{
    accounts, config,
    file_rights::{self, as_another_user},
    loaded_config, maildir, printable,
};

/// The failure of a command.
#[derive(Debug)]
pub(super) enum Failure {
    /// The operator has to correct something: exit code 2.
    Usage(String),
    /// Any other failure: exit code 1.
    Other(String),
    /// The reader of standard output has closed it, as `head` does: exit code 141, without a word, as after SIGPIPE.
    BrokenPipe,
    /// A failure that was told already, with its exit code.
    Told(ExitCode),
    /// A server replied 4xx: exit code 4.
    #[cfg(feature = "tools")]
    Transient(String),
    /// A server replied 5xx: exit code 5.
    #[cfg(feature = "tools")]
    Permanent(String),
}

impl Failure {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Other(_) => ExitCode::FAILURE,
            Self::BrokenPipe => ExitCode::from(128 + BROKEN_PIPE),
            Self::Told(code) => *code,
            #[cfg(feature = "tools")]
            Self::Transient(_) => ExitCode::from(4),
            #[cfg(feature = "tools")]
            Self::Permanent(_) => ExitCode::from(5),
        }
    }

    /// The same failure as one that the operator has to correct.
    pub(super) fn into_usage(self) -> Self {
        match self {
            Self::Other(why) => Self::Usage(why),
            failure => failure,
        }
    }

    /// The failure of a command that only reads: the mail stays its owner's, so the advice is to run the command as that user.
    #[cfg(feature = "tools")]
    pub(super) fn of_reader(error: maildir::Error) -> Self {
        match file_rights::way_to_read_as_owner(error.path()).filter(|_| error.is_denied()) {
            Some(way) => Self::Other(format!("{}: {way}", error.without_remedy())),
            None => error.into(),
        }
    }

    /// A failure to write the command's output.
    pub(super) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Other(format!("cannot write to standard output: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenPipe | Self::Told(_) => Ok(()),
            // A path in the text may contain line ends.
            Self::Usage(why) | Self::Other(why) => f.write_str(&printable::escape_line(why)),
            #[cfg(feature = "tools")]
            // One line for each recipient.
            Self::Transient(why) | Self::Permanent(why) => f.write_str(&printable::escape_text(why)),
        }
    }
}

impl From<maildir::Error> for Failure {
    fn from(error: maildir::Error) -> Self {
        if error.is_denied() && is_another_user(error.path()) {
            return Self::Other(format!("{error}: {AS_SERVER}"));
        }
        Self::Other(error.to_string())
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<loaded_config::Error> for Failure {
    fn from(error: loaded_config::Error) -> Self {
        match error {
            loaded_config::Error::Config(error) => error.into(),
            loaded_config::Error::Accounts(error) => error.into(),
        }
    }
}

impl From<accounts::Error> for Failure {
    fn from(error: accounts::Error) -> Self {
        use accounts::Error::{
            Absent, Aliases, Content, Exists, FurtherAddress, Gone, Hash, Inbox, Io, Missing, Name,
        };
        match error {
            Missing(_) | Gone { .. } | Content { .. } | Aliases { .. } | Inbox { .. } | Name(_) => {
                Self::Usage(error.to_string())
            }
            Io { action, error: ref cause, .. } => Self::Other(match as_another_user(cause) {
                Some(advice) if action == "read" => format!("{error}: {advice}"),
                // A refusal of our own has its own way out.
                Some(_) if cause.raw_os_error().is_some() => {
                    format!("{error}: run this as root, or as a user who may write there")
                }
                _ => error.to_string(),
            }),
            Exists(_) | Absent(_) | FurtherAddress { .. } | Hash(_) => Self::Other(error.to_string()),
        }
    }
}

/// Whether this process is neither root nor the owner of a path, or of the directory that hides it, or of the one above.
fn is_another_user(path: &Path) -> bool {
    let place = file_rights::closed_directory(path).unwrap_or(path);
    !geteuid().is_root() && !file_rights::is_own(place) && file_rights::ForeignPlace::of(path).is_none()
}

const AS_SERVER: &str = "run this as root, or as the server's user";
/// The number of SIGPIPE. Shells add 128 to the number of the signal that ended a process.
const BROKEN_PIPE: u8 = 13;
