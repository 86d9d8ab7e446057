//! The directories of the user, by the XDG Base Directory Specification.

use std::{env, path::PathBuf};

/// Our own directory of the user (XDG Base Directory Specification): below the directory in the variable,
/// else below `at_home` in the home directory.
pub(super) fn directory_of_user(variable: &str, at_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute(variable).or_else(|| Some(absolute("HOME")?.join(at_home)))?;
    Some(directory.join("restante"))
}
