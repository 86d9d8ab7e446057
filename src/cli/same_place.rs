//! Compares paths by the place that they lead to.

use std::{fs, path::Path};

/// Whether both paths lead to one place. A path that does not is compared as it is written.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    id(one) == id(other)
}
