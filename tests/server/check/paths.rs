//! Paths that lead nowhere: `restante check` and a start tell the one that is meant.

use std::fs;

use super::Story;
use crate::common::{STRICT, listener_at, write_private};

/// A directory with a certificate and its key in `tls`, under the names of certbot too.
fn with_certificate() -> Story {
    let story = Story::new();
    let output = story.restante_alone(&["cert", "--self-signed", "--host", "mx.example.test", "tls"]);
    assert!(output.status.success());
    for (from, to) in [("key.pem", "privkey.pem"), ("certificate.pem", "fullchain.pem")] {
        fs::copy(story.at("tls").join(from), story.at("tls").join(to)).unwrap();
    }
    story
}

fn tls(certificate: &str, key: &str) -> String {
    format!("{STRICT}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
}

/// Asserts that `restante check` and a start refuse the configuration with these words.
#[track_caller]
fn is_refused(story: &Story, told: &[&str]) {
    let (code, said) = story.check(&[]);
    assert_eq!(code, Some(2), "{said}");
    let served = story.serve_fails();
    for part in told {
        assert!(
            said.contains(part) && served.contains(part),
            "{part:?} is not in {said:?} or not in {served:?}"
        );
    }
}

#[test]
fn h34_a_mistyped_path_is_told_with_the_one_that_is_meant() {
    let story = with_certificate();
    fs::create_dir_all(story.at("run/logs")).unwrap();
    fs::write(story.at("aliases"), "").unwrap();
    let log = |to: &str| format!("{STRICT}[log]\ndestination = {to:?}\n");
    let socket = listener_at("lmtp", "unix:run/lgos/lmtp.sock", "");
    for (keys, rest, key, meant) in [
        ("", tls("tls/certificate.pem", "tls/kye.pem"), "tls.key: ", "tls/key.pem"),
        ("", tls("tls/certifcate.pem", "tls/key.pem"), "tls.certificate: ", "tls/certificate.pem"),
        ("", tls("tls/certificate.pem", "tsl/key.pem"), "tls.key: ", "tls/key.pem"),
        ("", tls("tls", "tls/key.pem"), "tls.certificate: ", "tls/fullchain.pem"),
        ("accounts = \"user.json\"", STRICT.to_owned(), "accounts: ", "users.json"),
        ("aliases = \"alises\"", STRICT.to_owned(), "aliases: ", "aliases"),
        ("spool = \"rnu/mail\"", STRICT.to_owned(), "spool: ", "run"),
        ("transcripts = \"run/log/all\"", STRICT.to_owned(), "transcripts: ", "run/logs"),
        ("", log("run/lgos/restante.log"), "log.destination: ", "run/logs"),
        ("", socket, "", "run/logs"),
    ] {
        story.configure(keys, &rest);
        is_refused(&story, &[key, &format!("did you mean {}?", story.at(meant).display())]);
        assert!(!story.check(&[]).1.contains("restante cert "), "{keys}{rest}");
    }
    let rest = tls("tls/certificate.pem", "tls/other.pem");
    story.configure("", &rest);
    is_refused(&story, &["tls.key: ", "tls/key.pem or ", "tls/privkey.pem?"]);
    // A warning, because the server starts without it.
    story.configure("", &format!("{STRICT}[metrics]\nfile = \"run/lgos/restante.prom\"\n"));
    let (code, said) = story.check(&[]);
    assert!(code == Some(0) && said.contains("run/logs? Otherwise make it with `mkdir -p "), "{said}");
    // The spool would be made, beside the one that is meant.
    fs::create_dir_all(story.at("mail/bob@example.test/new")).unwrap();
    story.configure("spool = \"mial\"", STRICT);
    let (code, said) = story.check(&[]);
    let note = format!("did you mean {}?", story.at("mail").display());
    assert!(
        code == Some(0) && said.contains("no server has used the spool ") && said.contains(&note),
        "{said}"
    );
    // Nothing is near, and nothing holds a key.
    story.configure("", &tls("tls/certificate.pem", "other/key.pem"));
    let make =
        format!("`restante cert --self-signed --host NAME {}` makes a pair", story.at("other").display());
    is_refused(&story, &["tls.key: ", &make]);
}

#[test]
fn h35_a_path_that_a_shell_or_systemd_would_replace_is_told_and_nothing_is_made() {
    let story = with_certificate();
    for (keys, rest, told) in [
        (
            "",
            tls("tls/certificate.pem", "$CREDENTIALS_DIR/key.pem"),
            "write \"$CREDENTIALS_DIRECTORY/key.pem\"",
        ),
        ("", tls("%d/certificate.pem", "tls/key.pem"), "write \"$CREDENTIALS_DIRECTORY/certificate.pem\""),
        (
            "",
            tls("tls/certificate.pem", "~/key.pem"),
            "tls.key: ~ is not replaced here, only $CREDENTIALS_DIRECTORY at",
        ),
        ("spool = \"~/mail\"", STRICT.to_owned(), "spool: ~ is not replaced in a path: write the whole path"),
        ("transcripts = \"$HOME/t\"", STRICT.to_owned(), "transcripts: $HOME is not replaced in a path"),
    ] {
        story.configure(keys, &rest);
        is_refused(&story, &[told]);
        assert!(!story.check(&[]).1.contains("restante cert "), "{keys}{rest}");
    }
    assert!(!["~", "$HOME"].iter().any(|name| story.at(name).exists()));
}

#[test]
fn h36_the_line_of_the_file_at_fault_is_told_with_the_next_step() {
    let story = with_certificate();
    fs::create_dir(story.at("other")).unwrap();
    write_private(&story.at("other/empty.pem"), "");
    let second = story.restante_alone(&["cert", "--self-signed", "--host", "mx.example.test", "second"]);
    assert!(second.status.success());
    let (certificate, key) = ("tls/certificate.pem", "tls/key.pem");
    for (certificate, key, at, told) in [
        (certificate, certificate, "key", "it holds a certificate and no private key: did you mean "),
        (key, key, "certificate", "it holds a private key and no certificate: did you mean "),
        (key, certificate, "certificate", "`certificate` and `key` are swapped: the certificate is in "),
        (certificate, "other/empty.pem", "key", "it is empty: name a PEM file"),
        ("other/empty.pem", key, "certificate", "it is empty: name a PEM file"),
        (certificate, "tls", "key", "it is a directory, a regular file is needed; did you mean "),
        (certificate, "second/key.pem", "key", "name two files that were made together"),
    ] {
        story.configure("", &tls(certificate, key));
        let text = fs::read_to_string(story.at("restante.toml")).unwrap();
        let line = text.lines().position(|line| line.starts_with(&format!("{at} = "))).unwrap() + 1;
        is_refused(&story, &[&format!(", line {line}, column {}: tls.{at}: ", at.len() + 4), told]);
    }
}

#[test]
fn n117_a_log_or_a_socket_in_the_spool_is_a_warning_with_a_better_place() {
    let story = Story::new();
    fs::create_dir(story.at("spool")).unwrap();
    let socket = listener_at("lmtp", "unix:spool/lmtp.sock", "");
    for (keys, rest, key, name) in [
        ("", format!("{STRICT}[log]\ndestination = \"./spool/log\"\n"), "log.destination", "log"),
        ("", socket, "address", "lmtp.sock"),
        ("", format!("{STRICT}[metrics]\nfile = \"spool/restante.prom\"\n"), "metrics.file", "restante.prom"),
        ("transcripts = \"spool/transcripts\"", STRICT.to_owned(), "transcripts", "transcripts"),
    ] {
        story.configure(keys, &rest);
        let (code, said) = story.check(&[]);
        let warning = said.lines().find(|line| line.contains("is in the spool, which is for mail alone"));
        let warning = warning.unwrap_or_else(|| panic!("{keys}{rest}: {said}"));
        assert!(code == Some(0) && warning.starts_with("# warning: ") && warning.contains(key), "{said}");
        assert!(
            warning.ends_with(&format!("name another place, such as {}", story.at(name).display())),
            "{said}"
        );
    }
}
