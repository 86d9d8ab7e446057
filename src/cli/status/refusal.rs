//! The reason why a server takes no mail.

use std::{fs, io, path::Path};

use crate::{maildir::Spool, metrics::reader::MetricsSnapshot, system::places};

/// The reason why the server takes no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The spool is not in its place.
    Misplaced,
    /// The disk of the spool is full or read-only.
    Unwritable,
}

impl Refusal {
    /// The reason as the server has found it, or as this process sees it now. `is_here`: the spool that the metrics name is one of
    /// this machine.
    pub(super) fn of(reading: &MetricsSnapshot, is_here: bool) -> Option<Self> {
        let spool = reading.spool().filter(|_| is_here);
        Self::of_metrics(reading).or_else(|| Self::of_spool(Path::new(spool?)))
    }

    /// The reason as the server has found it at the time of its metrics.
    pub(super) fn of_metrics(reading: &MetricsSnapshot) -> Option<Self> {
        let is_set = |name| reading.value(name).is_some_and(|value| value > 0.0);
        match () {
            () if is_set("restante_refusing") => Some(Self::Misplaced),
            () if is_set("restante_unwritable") => Some(Self::Unwritable),
            () => None,
        }
    }

    /// The reason as this process sees it now. The server looks at its spool less often, and writes its metrics later still. A
    /// spool that this user may not open is no reason.
    fn of_spool(spool: &Path) -> Option<Self> {
        if fs::metadata(spool).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Some(Self::Misplaced);
        }
        let is_unwritable = Spool::open_existing(spool).is_ok_and(|spool| places::takes_no_mail(&spool));
        is_unwritable.then_some(Self::Unwritable)
    }

    /// The refused requests, and the reason.
    pub(super) fn line(self) -> &'static str {
        match self {
            Self::Misplaced => "deliveries and logins: the spool is not in its place, see the log",
            Self::Unwritable => "deliveries: the disk of the spool is full or read-only",
        }
    }

    /// A sentence.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Misplaced => "the server refuses mail and logins: see its log",
            Self::Unwritable => "the server refuses mail: the disk of its spool is full or read-only",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u129_a_look_at_the_spool_finds_one_that_is_gone_or_on_a_read_only_disk() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Refusal::of_spool(home.path()), None);
        assert_eq!(Refusal::of_spool(&home.path().join("gone")), Some(Refusal::Misplaced));
        // A file system without room of its own.
        assert_eq!(Refusal::of_spool(Path::new("/proc")), Some(Refusal::Unwritable));
    }
}
