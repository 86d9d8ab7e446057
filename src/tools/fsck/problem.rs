//! What can be wrong in a Maildir, and who stumbles over it: one table.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Problem {
    /// `,S=` is not the size of the file.
    WrongSize,
    /// `,W=` is not the size on the wire.
    WrongOctets,
    /// Two files are one message by their names.
    DoubledIdentity,
    /// A file in `tmp/` that nobody can be writing any more.
    StaleTmp,
    /// A file or directory that is not of the mailbox's owner.
    ForeignOwner,
    /// A file or directory that everybody may read or change.
    OpenToOthers,
    /// A file or directory that its own owner can't use.
    ClosedToOwner,
    /// A message that can't be read.
    Unreadable,
    /// A message of no octets.
    EmptyFile,
    /// A name in `new/` or `cur/` that begins with a dot.
    HiddenFile,
    /// A directory, link, FIFO, socket or device where messages are.
    NotAFile,
    /// A name with a colon that begins no flags.
    StrayColon,
    /// Flags that are not in order, or twice there.
    UnsortedFlags,
    /// Flags that nobody has defined.
    UnknownFlags,
    /// Flags in the name of a file in `new/`.
    FlagsInNew,
    /// A name that is not UTF-8.
    NotUtf8,
    /// There is no `tmp/`, `new/` or `cur/`.
    MissingDirectory,
    /// `tmp`, `new` or `cur` is something else than a directory.
    NotADirectory,
    /// Records in `.restante.sizes` that are torn or not ours.
    BrokenSizes,
    /// A folder in a folder, or one whose name does not begin with a dot.
    NestedFolder,
}

impl Problem {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        self.rule().0
    }

    /// Who stumbles over it, and how.
    pub fn stumbles(self) -> &'static str {
        self.rule().1
    }

    /// Whether it is worth knowing, but allowed: the programs that do so live with it.
    pub fn is_allowed(self) -> bool {
        self == Self::FlagsInNew
    }

    fn rule(self) -> (&'static str, &'static str) {
        match self {
            Self::WrongSize => (
                "wrong-size",
                "Dovecot (logs an error and renames the file when it reads it), Courier (counts the quota by it); \
                 restante counts the file itself",
            ),
            Self::WrongOctets => (
                "wrong-octets",
                "Dovecot (tells POP3 clients that size); restante believes it only in a name of its own",
            ),
            Self::DoubledIdentity => (
                "doubled-identity",
                "mutt (changes the flags of one for the other), Dovecot (renames one), mpop, getmail and other POP3 \
                 clients (know messages by it); restante gives the second another unique id",
            ),
            Self::StaleTmp => {
                ("stale-tmp", "nobody reads it: it takes room, and mail in it was never acknowledged")
            }
            Self::ForeignOwner => {
                ("foreign-owner", "restante and Dovecot (may not be allowed to read, rename or delete it)")
            }
            Self::OpenToOthers => ("open-to-others", "its owner: every user of this machine can read it"),
            Self::ClosedToOwner => {
                ("closed-to-owner", "restante (mailbox unusable, or message left out), mutt, Dovecot")
            }
            Self::Unreadable => {
                ("unreadable", "restante (left out), mutt, Dovecot (the whole mailbox fails)")
            }
            Self::EmptyFile => (
                "empty-file",
                "its reader: a program or a disk lost the content; mpop and getmail deliver an empty message",
            ),
            Self::HiddenFile => {
                ("hidden-file", "its reader: mutt, Dovecot, Courier and restante pass it over")
            }
            Self::NotAFile => {
                ("not-a-file", "mutt and Dovecot (follow a link, wait at a FIFO); restante leaves it out")
            }
            Self::StrayColon => (
                "stray-colon",
                "mutt, Dovecot and restante do not agree where its flags begin; restante ends the identity there",
            ),
            Self::UnsortedFlags => {
                ("unsorted-flags", "programs that compare names (mbsync, rsync): the flags look changed")
            }
            Self::UnknownFlags => {
                ("unknown-flags", "mutt and Dovecot keep them or drop them, each by its own rule")
            }
            Self::FlagsInNew => (
                "flags-in-new",
                "Courier (takes the flags for a part of the name); mutt and mblaze do it themselves",
            ),
            Self::NotUtf8 => (
                "not-utf8",
                "programs that take names for text (Python, Java); restante makes its unique id a hash",
            ),
            Self::MissingDirectory => {
                ("missing-directory", "everybody: it is no Maildir, and restante calls the mailbox unusable")
            }
            Self::NotADirectory => {
                ("not-a-directory", "everybody: restante follows no link, and calls the mailbox unusable")
            }
            Self::BrokenSizes => {
                ("broken-sizes", "restante (reads the messages anew at the next start, no more)")
            }
            Self::NestedFolder => {
                ("nested-folder", "Maildir++ readers (Dovecot, Courier, restante): they do not see it")
            }
        }
    }
}
