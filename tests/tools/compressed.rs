//! Mail that Dovecot's zlib plugin has compressed in its files.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};

use crate::{
    common::{
        installed, skip,
        tools::{Desk, ended},
    },
    mbox::BOB,
};

const LETTER: &[u8] = b"Subject: compressed\n\nThe text of the letter.\n";

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(octets).unwrap();
    packed.finish().unwrap()
}

#[test]
fn m38_the_names_of_compressed_messages_stay_and_the_finding_has_the_command_that_decompresses_them() {
    const TEST: &str =
        "m38_the_names_of_compressed_messages_stay_and_the_finding_has_the_command_that_decompresses_them";
    let desk = Desk::new();
    let cur = desk.spool.join(BOB).join("cur");
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(cur.with_file_name(part)).unwrap();
        fs::set_permissions(cur.with_file_name(part), Permissions::from_mode(0o700)).unwrap();
    }
    fs::set_permissions(desk.spool.join(BOB), Permissions::from_mode(0o700)).unwrap();
    let (octets, packed) = (LETTER.len(), gzip(LETTER));
    let name = |n: u32, flags: &str| format!("{n}.M1P1.h,S={octets},W={}:2,{flags}", octets + 3);
    let old = SystemTime::now() - Duration::from_secs(400 * 86400);
    for (name, content) in
        [(name(1, "S"), &packed[..]), (name(2, "SR"), &packed), (name(3, "S"), LETTER), (name(4, ""), LETTER)]
    {
        let path = cur.join(name);
        fs::write(&path, content).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    let mut explain = Command::new(env!("CARGO_BIN_EXE_restante"));
    let output = explain.arg("explain").arg(cur.join(name(1, "S"))).output().unwrap();
    let explained = String::from_utf8_lossy(&output.stdout);
    assert!(explained.contains("compressed") && !explained.contains("wrong-size"), "{explained}");
    let (exported, said) = desk.run(&["export", BOB], 1);
    assert!(
        said.contains("compressed in their files") && said.contains(": 2 messages; `restante fsck"),
        "{said}"
    );
    assert_eq!(String::from_utf8(exported).unwrap().matches("The text of the letter.").count(), 2);
    let (printed, _) = desk.run(&["fsck", "--fix"], 1);
    let printed = String::from_utf8(printed).unwrap();
    for told in [
        "compressed: 2 messages compressed in the file (gzip)",
        "fixed: renamed to 2.M1P1.h",
        "`doveadm -o mail_plugins=zlib -o plugin/zlib_save= backup -u USER ",
        "findings: 2, fixed: 1",
    ] {
        assert!(printed.contains(told), "{told}: {printed}");
    }
    assert!(!printed.contains("wrong-"), "{printed}");
    // The sizes of the messages are still in their names.
    for name in [name(1, "S"), name(2, "RS")] {
        assert_eq!(fs::read(cur.join(&name)).unwrap(), packed, "{name}");
    }

    if !installed("gzip") {
        return skip(TEST, "gzip is not installed");
    }
    let command = printed.split('`').find(|text| text.starts_with("cd ")).unwrap();
    let output = Command::new("sh").args(["-c", command]).current_dir(desk.path(".")).output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    for name in [name(1, "S"), name(2, "RS"), name(3, "S"), name(4, "")] {
        let data = cur.join(&name).metadata().unwrap();
        assert_eq!(fs::read(cur.join(&name)).unwrap(), LETTER, "{name}");
        assert_eq!((data.modified().unwrap(), data.mode() & 0o777), (old, 0o600), "{name}");
    }
    assert_eq!(fs::read_dir(cur.with_file_name("tmp")).unwrap().count(), 0);
    ended(desk.command(&["fsck"]).output().unwrap(), &["fsck"], 0);
}
