//! The problems of a Maildir, and the programs that each of them affects.

/// A problem of a Maildir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Problem {
    /// A name whose `,S=` is not the size of the file.
    WrongNameSize,
    /// A name whose `,W=` is not the number of octets on the wire.
    WrongNameWireSize,
    /// A file whose name up to the first comma or colon is that of another file.
    DuplicateIdentity,
    /// A file in `tmp/` so old that no program can still be writing it.
    StaleTmp,
    /// A file or directory with another owner than the mailbox.
    ForeignOwner,
    /// A file or directory that every user may read or change.
    OpenToOthers,
    /// A file or directory whose mode keeps out its own owner.
    ClosedToOwner,
    /// A mailbox, a folder or a part of one that is mounted read-only, in a spool that is not.
    ReadOnly,
    /// A message that `fsck` cannot open or read.
    Unreadable,
    /// A message of 0 octets.
    EmptyFile,
    /// A message that is larger than the server lists.
    TooLarge,
    /// Messages that are compressed in their files.
    Compressed,
    /// A name in `new/` or `cur/` that begins with a dot.
    HiddenFile,
    /// A directory, link, FIFO, socket or device among the messages.
    NotAFile,
    /// A name with a colon that does not begin flags.
    StrayColon,
    /// Flags that are unsorted or repeated.
    UnsortedFlags,
    /// Letters after `:2,` that are not Maildir flags.
    UnknownFlags,
    /// Flags in the name of a file in `new/`.
    FlagsInNew,
    /// A name that is not UTF-8.
    NotUtf8,
    /// A missing `tmp/`, `new/` or `cur/`.
    MissingDirectory,
    /// A `tmp`, `new` or `cur` that is not a directory.
    NotADirectory,
    /// Parts of `.restante.index` that are torn, or that restante did not write.
    CorruptIndex,
    /// A `.restante.uidvalidity` that has no number.
    BrokenUidValidity,
    /// Lines in `.restante.folders` that restante did not write.
    BrokenFolderRecord,
    /// Lines in `dovecot-keywords` that are no letter with a keyword.
    BrokenKeywords,
    /// Lines in `subscriptions` that are no names of folders.
    BrokenSubscriptions,
    /// A Maildir inside a folder, or one whose name does not begin with a dot: no Maildir++ folder.
    NestedFolder,
    /// Mail outside of the `new/` and `cur/` of every mailbox.
    Misplaced,
    /// A mailbox with mail that no account has.
    WithoutAccount,
}

impl Problem {
    /// The keyword in the output of `restante fsck`.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// The programs that the problem affects, and the effect on each.
    pub(crate) fn affected(self) -> &'static str {
        self.row().1
    }

    /// True if `fsck` reports the problem as a note: mail readers themselves cause it and cope with it, or the operator
    /// may have meant it.
    pub(crate) fn is_allowed(self) -> bool {
        matches!(self, Self::FlagsInNew | Self::WithoutAccount)
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::WrongNameSize => (
                "wrong-size",
                "Dovecot (logs an error and renames the file when it reads it), Courier (counts the quota by it); \
                 restante counts the file itself",
            ),
            Self::WrongNameWireSize => (
                "wrong-octets",
                "Dovecot (tells POP3 clients that size); restante trusts it only in names that it made",
            ),
            Self::DuplicateIdentity => (
                "doubled-identity",
                "mutt (changes the flags of one for the other), Dovecot (renames one), mpop, getmail and other POP3 \
                 clients (know messages by it); restante gives the second another unique id",
            ),
            Self::StaleTmp => {
                ("stale-tmp", "no program reads it: it takes space, and mail in it was never acknowledged")
            }
            Self::ForeignOwner => (
                "foreign-owner",
                "restante and Dovecot (may not be allowed to read, rename or delete it, or to deliver there)",
            ),
            Self::OpenToOthers => {
                ("open-to-others", "its owner, because every user of this machine can read it")
            }
            Self::ClosedToOwner => {
                ("closed-to-owner", "restante (mailbox unusable, or message skipped), mutt, Dovecot")
            }
            Self::ReadOnly => (
                "read-only",
                "restante (refuses its mail, 451; IMAP opens no folder with a message that has no UID yet), Dovecot",
            ),
            Self::Unreadable => {
                ("unreadable", "restante (skips it), mutt, Dovecot (the whole mailbox fails)")
            }
            Self::EmptyFile => (
                "empty-file",
                "its reader: a program or a disk lost the content; mpop and getmail deliver an empty message",
            ),
            Self::TooLarge => {
                ("too-large", "its reader: restante skips it, so no login shows it; other programs read it")
            }
            Self::Compressed => (
                "compressed",
                "their reader: restante and mutt show an empty header and binary data, and so does Dovecot without its zlib plugin",
            ),
            Self::HiddenFile => ("hidden-file", "its reader: mutt, Dovecot, Courier and restante skip it"),
            Self::NotAFile => {
                ("not-a-file", "mutt and Dovecot (follow a link, wait at a FIFO); restante skips it")
            }
            Self::StrayColon => (
                "stray-colon",
                "mutt, Dovecot and restante disagree on where the flags begin; restante ends the identity there",
            ),
            Self::UnsortedFlags => {
                ("unsorted-flags", "programs that compare names (mbsync, rsync): the flags look changed")
            }
            Self::UnknownFlags => {
                ("unknown-flags", "mutt and Dovecot keep or drop them, each by its own rule")
            }
            Self::FlagsInNew => (
                "flags-in-new",
                "Courier (takes the flags as part of the name); mutt and mblaze do it themselves",
            ),
            Self::NotUtf8 => (
                "not-utf8",
                "programs that treat names as text (Python, Java); restante makes its unique id a hash",
            ),
            Self::MissingDirectory => (
                "missing-directory",
                "every program: it is not a Maildir, and restante reports the mailbox as unusable",
            ),
            Self::NotADirectory => (
                "not-a-directory",
                "every program: restante follows no link, and reports the mailbox as unusable",
            ),
            Self::CorruptIndex => (
                "broken-index",
                "restante (reads some messages again at the next start; IMAP clients download some again)",
            ),
            Self::BrokenUidValidity => {
                ("broken-uidvalidity", "restante (takes the time for the UIDVALIDITY of the next new folder)")
            }
            Self::BrokenFolderRecord => (
                "broken-folders",
                "restante (skips the lines: a folder may lose its special use, a renaming that was begun stays as it is)",
            ),
            Self::BrokenKeywords => (
                "broken-keywords",
                "restante and Dovecot (skip the lines: messages lose these keywords for IMAP clients)",
            ),
            Self::BrokenSubscriptions => (
                "broken-subscriptions",
                "IMAP clients that show only subscribed folders; restante and Dovecot skip the lines",
            ),
            Self::Misplaced => {
                ("misplaced", "its reader: restante, mutt and Dovecot look for mail in mailboxes")
            }
            Self::WithoutAccount => {
                ("no-account", "its reader: no login opens the mailbox; other programs may read it")
            }
            Self::NestedFolder => {
                ("nested-folder", "Maildir++ readers (Dovecot, Courier, restante) do not see it")
            }
        }
    }
}
