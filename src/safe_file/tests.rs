use std::{
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
};

use super::*;

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn refusal(done: io::Result<Directory>) -> String {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    error.to_string()
}

#[test]
fn a_directory_that_others_can_write_to_is_not_trusted_nor_is_what_is_below_it() {
    let home = home();
    let (open, below) = (home.path().join("open"), home.path().join("open/below"));
    std::fs::create_dir_all(&below).unwrap();
    assert!(Directory::trusted(&below).is_ok());
    let mode = |mode| std::fs::set_permissions(&open, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o777);
    for path in [&open, &below, &below.join("..")] {
        let said = refusal(Directory::trusted(path));
        assert!(said.contains("open is not trusted") && said.contains("chmod go-w"), "{said}");
    }
    mode(0o1777);
    assert!(Directory::trusted(&below).is_ok(), "the sticky bit keeps others from what is ours");
}

#[test]
fn root_trusts_neither_a_directory_nor_a_link_of_another_user() {
    if !geteuid().is_root() {
        return println!("SKIPPED root_trusts_neither_a_directory_nor_a_link_of_another_user: not root");
    }
    let home = home();
    let theirs = home.path().join("theirs");
    std::fs::create_dir_all(theirs.join("below")).unwrap();
    chown(&theirs, Some(NOBODY), None).unwrap();
    for path in [theirs.clone(), theirs.join("below")] {
        let said = refusal(Directory::trusted_if_root(&path));
        assert!(said.contains("theirs is not trusted: it is of user 65534"), "{said}");
        assert!(Directory::trusted_or_new(&path.join("new")).is_err() && !path.join("new").exists());
    }
    let (good, link) = (home.path().join("good"), home.path().join("link"));
    std::fs::create_dir(&good).unwrap();
    symlink(&good, &link).unwrap();
    assert!(Directory::trusted(&link).is_ok());
    std::os::unix::fs::lchown(&link, Some(NOBODY), None).unwrap();
    assert!(refusal(Directory::trusted(&link)).contains("link is not trusted"));
}

#[test]
fn a_link_a_fifo_or_another_name_in_the_place_of_a_file_is_not_written_through() {
    let home = home();
    let dir = Directory::trusted(home.path()).unwrap();
    let victim = home.path().join("victim");
    for (name, put) in [
        ("link", &(|at: &Path| symlink(&victim, at).unwrap()) as &dyn Fn(&Path)),
        ("hard", &|at| std::fs::hard_link(&victim, at).unwrap()),
        ("fifo", &|at| fs::mknodat(CWD, at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap()),
    ] {
        std::fs::write(&victim, "kept").unwrap();
        put(&home.path().join(name));
        assert!(dir.append(OsStr::new(name)).is_err(), "{name}");
        assert!(dir.create(OsStr::new(name), 0o600).is_err(), "{name}");
        if name != "hard" {
            assert!(dir.read(OsStr::new(name), 100).is_err(), "{name}");
        }
        dir.replace(OsStr::new(name), 0o644, b"new", Durability::Durable).unwrap();
        assert_eq!(dir.read(OsStr::new(name), 3).unwrap().0, b"new");
        assert!(dir.read(OsStr::new(name), 2).is_err(), "{name} is too long");
        let about = home.path().join(name).symlink_metadata().unwrap();
        assert!(about.is_file() && about.mode() & 0o777 == 0o644 && about.nlink() == 1, "{name}");
        assert_eq!(std::fs::read(&victim).unwrap(), b"kept", "{name}");
    }
    let mut names = dir.names().unwrap();
    names.sort();
    assert_eq!(names, ["fifo", "hard", "link", "victim"], "nothing is left behind");
}

#[test]
fn what_is_begun_is_placed_in_no_other_place() {
    let home = home();
    let dir = Directory::trusted_if_root(home.path()).unwrap();
    std::fs::write(home.path().join("taken"), "old").unwrap();
    let (mut file, unfinished) = dir.create_tmp(0o600).unwrap();
    assert!(is_tmp_name(&unfinished) && !is_tmp_name(OsStr::new(".restante.index")));
    file.write_all(b"new").unwrap();
    assert_eq!(
        dir.publish(&unfinished, OsStr::new("taken")).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    dir.publish(&unfinished, OsStr::new("free")).unwrap();
    assert!(dir.has(OsStr::new("free")) && !dir.has(&unfinished));
    assert_eq!(std::fs::read(home.path().join("taken")).unwrap(), b"old");
}

/// A user without rights.
const NOBODY: u32 = 65534;
