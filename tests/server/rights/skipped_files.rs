//! Files of root that the server may not read or replace, and files in the places of mailboxes.

use super::*;
use crate::common::PASSWORD_MD5;

/// Runs a command line of the program's advice.
fn type_command(line: &str) {
    let done = Command::new("sh").args(["-c", line]).status().unwrap();
    assert!(done.success(), "{line}");
}

fn put_of_root(mailbox: &Path) -> PathBuf {
    let file = mailbox.join("new/9.of.root");
    fs::write(&file, "Subject: x\n\nx\n").unwrap();
    mode(&file, PRIVATE);
    file
}

#[test]
fn n141_a_message_file_of_root_comes_with_the_command_in_the_log_and_in_a_check() {
    if !can_become_somebody_else(
        "n141_a_message_file_of_root_comes_with_the_command_in_the_log_and_in_a_check",
    ) {
        return;
    }
    let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody");
    deliver(&server, BOB, b"Subject: one\r\n\r\nx\r\n");
    let file = put_of_root(&server.spool.join(BOB));
    drop(session_with(&server, BOB, 1));
    server.tells(&format!("skipped: unreadable: as root, run `chown nobody: {}`", file.display()));

    let story = Story::new("");
    let file = put_of_root(&story.put(BOB, NOBODY, PRIVATE));
    let command = format!("chown nobody: {}", file.display());
    let (code, said) = story.run(&[], &["check"]);
    let warning =
        format!("skips 1 message file that its user cannot read: as root, run `{command}`; `restante");
    assert!(code == Some(0) && said.contains(&warning), "{said}");
    type_command(&command);
    let (_, said) = story.run(&[], &["check"]);
    assert!(!said.contains("cannot read"), "{said}");
}

#[test]
fn n142_old_hashes_that_the_server_may_not_replace_come_with_the_commands() {
    if !can_become_somebody_else("n142_old_hashes_that_the_server_may_not_replace_come_with_the_commands") {
        return;
    }
    let for_the_group = |users: &Path| {
        chown(users, Some(0), Some(NOBODY)).unwrap();
        fs::set_permissions(users, Permissions::from_mode(0o640)).unwrap();
    };
    let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody");
    chown(server.home.path(), Some(0), Some(0)).unwrap();
    for_the_group(&server.home.path().join("users.json"));
    drop(session_with(&server, BOB, 0));
    server.tells("password hashes are not upgraded");
    server.tells("as root, run `install -d -o nobody -g ");

    let story = Story::new("");
    let users = story.at("users.json");
    fs::write(&users, format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}")).unwrap();
    for_the_group(&users);
    let (code, said) = story.run(&[], &["check"]);
    let warning = said.lines().find(|line| line.contains("old password hashes")).unwrap_or_default();
    assert!(code == Some(0) && warning.contains("may not replace the file: as root, run "), "{said}");
    warning.split('`').skip(1).step_by(2).for_each(type_command);
    let text = fs::read_to_string(story.at("restante.toml")).unwrap();
    fs::write(story.at("restante.toml"), text.replace("/users.json", "/accounts/users.json")).unwrap();
    let (code, said) = story.run(&[], &["check"]);
    assert!(code == Some(0) && !said.contains("old password hashes"), "{said}");
}

#[test]
fn n143_a_file_in_the_place_of_a_mailbox_is_a_warning() {
    if !can_become_somebody_else("n143_a_file_in_the_place_of_a_mailbox_is_a_warning") {
        return;
    }
    let story = Story::new("");
    fs::write(story.at("users.json"), format!("{{{BOB:?}: {{\"password_hash\": \"!\"}}}}")).unwrap();
    fs::write(story.at("spool/README"), "").unwrap();
    let (code, said) = story.run(&[], &["check"]);
    assert!(code == Some(0) && !said.contains("in the place of a mailbox"), "{said}");
    let file = story.at("spool").join(BOB);
    fs::write(&file, "").unwrap();
    let (code, said) = story.run(&[], &["check"]);
    let warning =
        format!("1 file in the place of a mailbox, so that its mail is refused: {}", file.display());
    assert!(code == Some(0) && said.contains(&warning), "{said}");
}
