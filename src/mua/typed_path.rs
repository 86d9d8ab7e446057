//! Paths that the user types.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A typed path: `~` is the home directory, as in a shell.
pub(crate) fn expand_home(typed: &str) -> PathBuf {
    let home = || env::var_os("HOME").map(PathBuf::from);
    match typed.strip_prefix('~') {
        Some("") => home().unwrap_or_else(|| typed.into()),
        Some(rest) if rest.starts_with('/') => {
            home().map_or(typed.into(), |home| home.join(Path::new(&rest[1..])))
        }
        _ => typed.into(),
    }
}
