//! The failures of the server, which every protocol tells in replies of its own.

use std::time::Duration;

/// The reason for a failure. It selects a reply, and reveals no detail of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The disk, a directory or the memory is full.
    Full,
    /// The user's quota is used up.
    Quota,
    /// The disk is read-only.
    ReadOnly,
    /// The disk or the machine failed, or is overloaded.
    TempFail,
    /// The path of the spool no longer leads to the directory that the server has open.
    SpoolMoved,
    /// The mailbox is unusable: wrong permissions, or not a Maildir.
    MailboxUnusable,
    /// Another session has locked the mailbox.
    InUse,
    /// The limit of open mailboxes is reached.
    TooManyOpen,
    /// The last login to the mailbox was too recent.
    LoginDelay,
    /// The mailbox has no such folder.
    NoFolder,
    /// Wrong user, wrong password, or disabled account: the same failure, so that the reply does not reveal
    /// which.
    AuthFailed {
        /// The time that the session waits before its reply.
        delay: Duration,
    },
    /// Too many password checks are in progress.
    Busy,
    /// The message no longer exists.
    Gone,
    /// The message differs from the one that was listed.
    Changed,
    /// The file ended or failed before the end of the message.
    Truncated,
}

impl Failure {
    /// Every failure; a wrong password without a delay.
    pub const ALL: [Self; 15] = [
        Self::Full,
        Self::Quota,
        Self::ReadOnly,
        Self::TempFail,
        Self::SpoolMoved,
        Self::MailboxUnusable,
        Self::InUse,
        Self::TooManyOpen,
        Self::LoginDelay,
        Self::NoFolder,
        Self::AuthFailed { delay: Duration::ZERO },
        Self::Busy,
        Self::Gone,
        Self::Changed,
        Self::Truncated,
    ];

    /// The word for it in transcripts and dialogues. These words stay, because kept transcripts have them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Quota => "Quota",
            Self::ReadOnly => "ReadOnly",
            Self::TempFail => "Broken",
            Self::SpoolMoved => "SpoolMoved",
            Self::MailboxUnusable => "Unusable",
            Self::InUse => "InUse",
            Self::TooManyOpen => "Crowded",
            Self::LoginDelay => "TooSoon",
            Self::NoFolder => "NoFolder",
            Self::AuthFailed { .. } => "Denied",
            Self::Busy => "Busy",
            Self::Gone => "Gone",
            Self::Changed => "Changed",
            Self::Truncated => "Cut",
        }
    }
}
