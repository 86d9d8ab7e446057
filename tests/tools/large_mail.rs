//! Mail that is larger than the server lists, so that no login shows it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use crate::common::{
    PASSWORD_MD5, STRICT, configuration,
    tools::{Desk, ended},
};

const BOB: &str = "bob@example.test";

#[test]
fn m35_an_import_and_fsck_tell_of_mail_that_the_limits_hide() {
    let desk = Desk::new();
    let limits = "[limits.smtp]\nmax_message_size = \"1 KiB\"\n[limits.pop3]\nmax_message_size = \"4 KiB\"\n";
    let rest = format!("{STRICT}{limits}");
    desk.file("restante.toml", configuration(&desk.path("."), &desk.spool, &rest));
    desk.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    let small = "From s@far.test Sat Jan  3 01:00:00 2026\nSubject: small\n\nx\n\n";
    let large = small.replace("x\n", &"text\n".repeat(1000));
    desk.file("in", format!("{small}{large}{small}"));
    let run = |words: &[&str], code: i32| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        tool.args(words).args(["--config", "restante.toml"]).current_dir(desk.path("."));
        let (printed, said) = ended(tool.output().unwrap(), words, code);
        (String::from_utf8(printed).unwrap(), said)
    };
    let (_, said) = run(&["import", "in", "--to", BOB], 0);
    let warning = "in: warning: 1 message is larger than the 4 KiB that the server lists, so no login shows such mail: set \
                   max_message_size = \"1 MiB\" in [limits.pop3]";
    assert!(said.contains(warning), "{said}");
    let (printed, _) = run(&["fsck"], 1);
    for told in [
        "too-large: it has 5 KiB, and the server lists messages of 4 KiB at most",
        "messages: 3, findings: 1",
    ] {
        assert!(printed.contains(told), "{printed}");
    }
    let (printed, _) = run(&["check"], 0);
    let warning =
        "# warning: the server skips 1 message file of more than 4 KiB, and no login shows such mail: ";
    assert!(printed.contains(warning) && printed.contains("max_message_size = \"1 MiB\""), "{printed}");
}

/// The server skips the file, and to read its holes would take minutes.
#[test]
fn m35_fsck_reads_no_file_that_the_server_skips() {
    let desk = Desk::new();
    for part in ["tmp", "new", "cur"] {
        let part = desk.spool.join(BOB).join(part);
        fs::create_dir_all(&part).unwrap();
        fs::set_permissions(&part, Permissions::from_mode(0o700)).unwrap();
    }
    let path = desk.spool.join(BOB).join("new/1.x,S=1");
    fs::File::create(&path).unwrap().set_len(1 << 43).unwrap();
    let (printed, _) = desk.run(&["fsck", "--fix", "--json"], 1);
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("\"problem\":\"too-large\"") && !printed.contains("wrong-size"), "{printed}");
    assert!(printed.contains("it has 8.0 TiB") && printed.contains("no limit allows it"), "{printed}");
    assert!(path.exists());
}
