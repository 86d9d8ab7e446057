//! A log below a directory of another user.
//!
//! The rule: the directory is the cause, and no command for the file mends it.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::Uid;

use super::problem::Problem;
use crate::{file_rights::name_of, safe_file};

/// The problem of a log below a directory that root may not write to, because another user can change it.
pub(super) fn untrusted(path: &Path) -> Option<Problem> {
    let error = safe_file::open_parent_of(path).err()?;
    // The system's own refusals have a number.
    if error.kind() != io::ErrorKind::PermissionDenied || error.raw_os_error().is_some() {
        return None;
    }
    let other = match fs::metadata(safe_file::parent(path)).map(|about| about.uid()) {
        Ok(owner) if owner != 0 => format!(", or set user = \"{}\"", name_of(Uid::from_raw(owner))),
        _ => String::new(),
    };
    let why = format!("cannot log to {}: {error}{other}", path.display());
    Some(Problem::denied("log.destination", why))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn n138_a_log_in_a_directory_of_another_user_comes_with_no_command_for_the_file() {
        if !Uid::effective().is_root() {
            return; // another user may name any directory
        }
        let home = tempfile::tempdir().unwrap();
        let (directory, nobody) = (home.path().join("log"), Uid::from_raw(65534));
        let file = directory.join("restante.log");
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        for path in [&directory, &file] {
            chown(path, Some(nobody.as_raw()), None).unwrap();
        }
        let end = format!("run this as that user, or set user = \"{}\"", name_of(nobody));
        for path in [&file, &directory.join("new.log")] {
            let why = untrusted(path).unwrap().why;
            assert!(why.ends_with(&end) && !why.contains("chown"), "{why}");
        }
        chown(&directory, Some(0), None).unwrap();
        assert!(untrusted(&file).is_none(), "the file alone is of another user");
    }
}
