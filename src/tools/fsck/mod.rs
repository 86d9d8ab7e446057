//! Finds problems in a mailbox, and repairs those that can be repaired beside running servers and other
//! programs.
//!
//! The rule: it writes only on request, never deletes mail, never overwrites a name, and changes a file only
//! while it is still the file it examined. A second repair changes nothing.

mod advice;
mod check;
mod compression;
mod finding;
mod folder_files;
mod mailbox;
mod misplaced;
mod name_check;
mod problem;
mod repair;
mod unshown;

pub(crate) use check::Rules;
pub(crate) use compression::Compression;
pub(crate) use finding::{Finding, Report, shown};
pub(crate) use mailbox::Mailbox;
pub(crate) use misplaced::{
    hidden_maildirs, misnamed_maildir, misplaced_files, misplaced_in_spool, unusable,
};
pub(crate) use name_check::{check as check_name, number_in_name};
pub(crate) use problem::Problem;
pub(crate) use repair::ClosedDirectory;
