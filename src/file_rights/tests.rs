use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn h22_a_server_is_stopped_before_its_mail_gets_another_owner_on_purpose() {
    let told = advice_to_hand_over(Some(Uid::from_raw(65534)), "`chown -R post: /srv/mail`");
    assert!(told.ends_with("stop that server, then, as root, run `chown -R post: /srv/mail`"), "{told}");
    assert_eq!(advice_to_hand_over(None, "`chown -R post: /srv/mail`"), "");
}

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

#[test]
fn h22_a_lock_is_recognized_by_its_device_and_inode() {
    for other in [
        "1: POSIX  ADVISORY  WRITE 812 fe:00:4711 0 EOF",
        "2: -> FLOCK  ADVISORY  WRITE 900 fe:00:4713 0 EOF",
        "3: FLOCK",
        "4: FLOCK  ADVISORY  WRITE 813 fe:00 0 EOF",
        "",
    ] {
        assert_eq!(FileLock::parse(other), None, "{other}");
    }
    let lock = FileLock::parse("2: FLOCK  ADVISORY  WRITE 813 fe:1a:4712 0 EOF").unwrap();
    assert_eq!(lock, FileLock { process: "813", device: (0xfe, 0x1a), inode: 4712 });
    for (device, inode, is_on) in [
        ((0xfe, 0x1a), 4712, true),
        ((0xfe, 0x1b), 4712, false),
        ((0, 0x1a), 4712, false),
        ((0xfe, 0x1a), 2, false),
    ] {
        assert_eq!(lock.is_on(device, inode, |_| true), is_on, "{device:?} {inode}");
    }
    let lock = FileLock { device: (0, 30), ..lock };
    for (device, has_open) in [((0, 30), true), ((0, 31), true), ((0, 31), false)] {
        let is_on = lock.is_on(device, 4712, |process| process == "813" && has_open);
        assert_eq!(is_on, device == (0, 30) || has_open, "{device:?} {has_open}");
    }
}

#[test]
fn h22_the_holder_of_a_lock_on_a_directory_is_found() {
    let home = tempfile::tempdir().unwrap();
    let directory = fs::File::open(home.path()).unwrap();
    assert_eq!(lock_holder(home.path()), None);
    directory.lock().unwrap();
    if fs::exists("/proc/locks").unwrap() {
        assert_eq!(lock_holder(home.path()), Some(Uid::effective()));
    }
    let process = std::process::id().to_string();
    assert!(may_have_open(&process, &directory.metadata().unwrap()));
    let closed = tempfile::tempdir().unwrap();
    assert!(!may_have_open(&process, &fs::metadata(closed.path()).unwrap()));
    assert!(may_have_open("0", &fs::metadata(closed.path()).unwrap()), "a process that is not shown");
}

#[test]
fn n75_a_place_is_foreign_only_below_a_directory_of_ones_own() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = home.path().join("bob");
    let new = mailbox.join("new");
    fs::create_dir_all(&new).unwrap();
    assert!(ForeignPlace::of(&new).is_none());
    assert_eq!(way_to_change(&new.join("1.x")), None);
    if geteuid().is_root() {
        return; // no owner and no mode keeps root out
    }
    fs::set_permissions(&new, PermissionsExt::from_mode(0o500)).unwrap();
    let told = format!("let its owner in with `chmod u+rwx {}`", path_word(&new));
    assert_eq!(way_to_change(&new.join("1.x")), Some(told));
    assert!(ForeignPlace::of(&new).is_none(), "only its mode is wrong");
    fs::set_permissions(&new, PermissionsExt::from_mode(0o700)).unwrap();
    // A directory of root in one of root: this user is the wrong one.
    assert!(ForeignPlace::of(Path::new("/etc/passwd")).is_none());
    assert_eq!(way_to_change(Path::new("/etc/passwd")), Some("only root, its owner, may change /etc".into()));
}

#[test]
fn u158_a_step_to_the_directory_above_leads_where_the_kernel_goes() {
    let home = tempfile::tempdir().unwrap();
    let top = home.path();
    fs::create_dir_all(top.join("own/deep")).unwrap();
    std::os::unix::fs::symlink(top.join("own/deep"), top.join("link")).unwrap();
    for (text, plain) in [
        ("own/../t9/spool", "t9/spool"),
        ("own/deep/../../t9", "t9"),
        ("link/../x", "own/x"),
        ("link/x", "link/x"),
        ("gone/../t9", "t9"),
    ] {
        assert_eq!(without_steps_up(&top.join(text)).unwrap(), top.join(plain), "{text}");
    }
    assert_eq!(without_steps_up(Path::new("/../..")).unwrap(), Path::new("/"));
}
