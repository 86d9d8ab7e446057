//! The names in the file of aliases that have no domain: they stand for an address in the first of several domains.

use std::path::Path;

use crate::printable::counted;

/// The names without a domain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WithoutDomain {
    /// The line and the text of the first one.
    first: Option<(usize, String)>,
    count: usize,
}

impl WithoutDomain {
    /// Counts a name of that line, if it has no domain.
    pub(super) fn add(&mut self, name: &str, line: usize) {
        if !name.contains('@') {
            self.count += 1;
            self.first.get_or_insert_with(|| (line, name.to_owned()));
        }
    }

    /// The sentence about them for a server of several domains, the first of which is `domain`.
    pub(super) fn note(&self, file: &Path, domain: &str) -> Option<String> {
        let (line, name) = self.first.as_ref()?;
        let more = match self.count {
            1 => String::new(),
            count => format!(" ({} in the file)", counted(count, "such name")),
        };
        Some(format!(
            "{}, line {line}: {name} has no domain, and stands for {name}@{domain} alone, not for the other domains{more}",
            file.display()
        ))
    }
}
