//! Compares paths by the place that they lead to.

use std::{
    fs,
    path::{self, Path, PathBuf},
};

/// Whether both paths lead to one place. A path that leads nowhere is a name in the directory above it, as that of a spool
/// that was moved away.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    place(one) == place(other)
}

/// The path without links, as far as it exists.
fn place(path: &Path) -> PathBuf {
    if let Ok(place) = fs::canonicalize(path) {
        return place;
    }
    let path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => place(above).join(name),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn u127_a_path_that_leads_nowhere_is_a_name_in_the_directory_above_it() {
        let home = tempfile::tempdir().unwrap();
        let (there, link) = (home.path().join("there"), home.path().join("link"));
        fs::create_dir(&there).unwrap();
        symlink(&there, &link).unwrap();
        assert!(is_same(&there, &link));
        assert!(is_same(&there.join("gone/spool"), &link.join("./gone/spool")));
        assert!(!is_same(&there.join("gone"), &there.join("other")) && !is_same(&there, &there.join("gone")));
        assert!(is_same(
            Path::new("gone-from-here"),
            &std::env::current_dir().unwrap().join("gone-from-here")
        ));
    }
}
