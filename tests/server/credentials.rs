//! The files of TLS for a server that becomes another user: those that systemd passes, and those that this user cannot read.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use tempfile::TempDir;

use crate::{
    common::{STRICT, home},
    leaving_root::{can_become_somebody_else, checked},
};

/// A directory with accounts, a spool and, in `tls/` with that mode, a certificate.
fn home_with_certificate(mode: u32) -> TempDir {
    let home = home();
    let at = |name: &str| home.path().join(name);
    fs::write(at("users.json"), "{}").unwrap();
    fs::create_dir(at("spool")).unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["cert", "--self-signed", "--host", "mx.example.test"])
        .arg(at("tls"))
        .output()
        .unwrap();
    assert!(made.status.success());
    fs::set_permissions(at("tls"), PermissionsExt::from_mode(mode)).unwrap();
    home
}

#[test]
fn n47_check_tells_that_a_start_by_hand_cannot_read_the_credentials() {
    if !can_become_somebody_else("n47_check_tells_that_a_start_by_hand_cannot_read_the_credentials") {
        return;
    }
    let home = home_with_certificate(0o711);
    let at = |name: &str| home.path().join(name);
    let tls = format!(
        "{STRICT}[tls]\ncertificate = \"$CREDENTIALS_DIRECTORY/certificate.pem\"\nkey = \"$CREDENTIALS_DIRECTORY/key.pem\"\n"
    );
    let (code, said) = checked(home.path(), &tls);
    let note = said.lines().find(|line| line.contains("(its key)")).unwrap_or_default();
    assert!(code == Some(0) && note.starts_with("# note: ") && note.contains("would not start: "), "{said}");
    assert!(note.find("chgrp ") < note.find("setfacl "), "the advice that works everywhere is first: {note}");
    fs::set_permissions(at("tls/key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(!checked(home.path(), &tls).1.contains("would not start"));
}

#[test]
fn h27_a_comment_about_credentials_passes_none_to_the_server() {
    if !can_become_somebody_else("h27_a_comment_about_credentials_passes_none_to_the_server") {
        return;
    }
    let home = home_with_certificate(0o700);
    let comment = "# with LoadCredential=, write \"$CREDENTIALS_DIRECTORY/certificate.pem\"";
    let credential = "$CREDENTIALS_DIRECTORY/certificate.pem";
    for (certificate, key, denied) in [
        ("tls/certificate.pem", "tls/key.pem", Some("tls.certificate: ")),
        (credential, "tls/key.pem", Some("tls.key: ")),
        (credential, "$CREDENTIALS_DIRECTORY/key.pem", None),
    ] {
        let tls = format!("{STRICT}{comment}\n[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        let (code, said) = checked(home.path(), &tls);
        let Some(denied) = denied else {
            assert!(
                code == Some(0) && said.contains("# note: right for a service with LoadCredential="),
                "{said}"
            );
            continue;
        };
        assert!(code == Some(2) && said.contains(denied) && said.contains("has no permission for"), "{said}");
    }
}
