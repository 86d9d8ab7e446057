//! The rights of this process to files, by their owners and modes, and the commands that give it one that it lacks.
//!
//! The rule: nothing is changed here, and a sandbox is not seen: it leaves access(2) alone.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::{
    fs::{Access, access},
    io::Errno,
    process::{getegid, geteuid},
};

use crate::command_hint::path_word;

/// Whether owners and modes refuse that right to this process.
pub(crate) fn is_denied(path: &Path, rights: Access) -> bool {
    matches!(access(path, rights), Err(Errno::ACCESS | Errno::PERM))
}

/// Whether the user of this process owns the file.
pub(crate) fn is_own(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.uid() == geteuid().as_raw())
}

/// The directory above a file that keeps this user out of all that is in it.
pub(crate) fn closed_directory(path: &Path) -> Option<&Path> {
    let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    above.filter(|above| is_denied(above, Access::EXEC_OK)).last()
}

/// The commands after which the user of this process can read the file, if owners or modes refuse that now.
pub(crate) fn way_to_read(file: &Path) -> Option<String> {
    if !is_denied(file, Access::READ_OK) {
        return None;
    }
    let (place, right) = match closed_directory(file) {
        Some(directory) => (directory, 'x'),
        None => (file, 'r'),
    };
    let word = path_word(place);
    Some(if is_own(place) {
        format!("run `chmod u+{right} {word}`")
    } else {
        format!("run `chgrp {} {word}` and `chmod g+{right} {word}`", getegid().as_raw())
    })
}

/// The advice to the user of a command who lacks the right to read a file.
pub(crate) fn as_another_user(error: &io::Error) -> Option<&'static str> {
    (error.kind() == io::ErrorKind::PermissionDenied)
        .then_some("run this as root, or as a user who may read it")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn h32_a_file_that_its_mode_closes_comes_with_the_command_that_opens_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("users.json");
        fs::write(&file, "{}").unwrap();
        assert_eq!(way_to_read(&file), None);
        if geteuid().is_root() {
            return; // no mode keeps root out
        }
        fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
        assert_eq!(way_to_read(&file), Some(format!("run `chmod u+r {}`", path_word(&file))));
        fs::set_permissions(home.path(), PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(way_to_read(&file), Some(format!("run `chmod u+x {}`", path_word(home.path()))));
        fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
    }
}
