//! Mailboxes that get no mail: `restante check` and `restante fsck` name them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use super::Story;
use crate::common::{STRICT, Setup, disk::Mount, skip};

const BOB: &str = "bob@example.test";

#[test]
fn n164_a_mailbox_that_is_mounted_read_only_is_named_by_check_and_fsck() {
    let story = Story::new();
    let (disk, mailbox) = (story.at("disk"), story.at("spool").join(BOB));
    for directory in [&disk, &mailbox] {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(directory.join(part)).unwrap();
            fs::set_permissions(directory.join(part), Permissions::from_mode(0o700)).unwrap();
        }
        fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
    }
    story.configure(&format!("spool = {:?}", story.at("spool")), STRICT);
    let (_, said) = story.check(&[]);
    assert!(!said.contains("mounted read-only"), "{said}");
    let Some(_mount) = Mount::new(&["--bind", "-o", "ro", disk.to_str().unwrap()], &mailbox) else {
        return skip(
            "n164_a_mailbox_that_is_mounted_read_only_is_named_by_check_and_fsck",
            "this user may not mount",
        );
    };
    let command = format!("as root, run `mount -o remount,bind,rw {}`", mailbox.display());
    let (code, said) = story.check(&[]);
    let warning = format!(
        "# warning: {} is mounted read-only below the spool, so mail for it is refused: {command}",
        mailbox.display()
    );
    assert!(code == Some(0) && said.contains(&warning), "{said}");
    let output = story.restante(&["fsck"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains(&command), "{said}");
    assert_eq!(said.matches("read-only: it is mounted read-only").count(), 1, "{said}");
}

#[test]
fn n167_a_second_configuration_of_a_spool_in_use_is_told_on_the_first_line() {
    let server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let story = Story::new();
    let spool = format!("spool = {:?}", server.spool);
    story.configure(&spool, STRICT);
    let (code, said) = story.check(&[]);
    let first = said.lines().next().unwrap();
    assert!(
        code == Some(0) && first.ends_with(", but another restante uses its spool now; accounts: 0"),
        "{said}"
    );
    let note = "# note: a start with this file is refused while another restante uses the spool ";
    assert!(said.contains(note), "{said}");
    assert!(story.serve_fails().contains("another restante uses it"));
    story.configure(&format!("{spool}\nshared_spool = true"), STRICT);
    let (_, said) = story.check(&[]);
    assert!(!said.contains("another restante"), "{said}");
}
