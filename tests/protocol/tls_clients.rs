//! TLS of others: Python's ssl, curl and OpenSSL, which share no code with ours.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::common::{
    self, Setup,
    client::deliver,
    eventually, installed,
    programs::{self, run},
    secure::{ALICE, Keys, address},
    skip,
};

#[test]
fn python_sends_and_reads_under_tls() {
    if !installed("python3") {
        return skip("python_sends_and_reads_under_tls", "python3 is not installed");
    }
    let keys = Keys::make();
    let server = keys.server("");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/tls_clients.py");
    let port = |service| address(&server, service).port().to_string();
    let mut python = Command::new("python3");
    python.args([script, &port("submissions"), &port("pop3s"), &port("pop3")]).arg(keys.certificate());
    run(&mut python, "");
}

#[test]
fn curl_sends_and_reads_at_the_ports_that_dev_shows() {
    if !installed("curl") {
        return skip("curl_sends_and_reads_at_the_ports_that_dev_shows", "curl is not installed");
    }
    let keys = Keys::make();
    let directory = keys.certificate().parent().unwrap().join("dev");
    let tls = format!("--tls={}", directory.display());
    let arguments = [&tls, "--smtps", "127.0.0.1:0", "--imaps", "127.0.0.1:0", "--pop3s", "127.0.0.1:0"];
    let server = Setup { arguments: &arguments, ..Setup::default() }.start();
    let curl = |url: String| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", &url]);
        command.arg("--cacert").arg(directory.join("certificate.pem"));
        command
    };
    let [smtps, imaps, pop3s] = ["submissions", "imaps", "pop3s"].map(|service| address(&server, service));
    let first = format!("imaps://{imaps}/INBOX;MAILINDEX=1");
    let mut send = curl(format!("smtps://{smtps}/client.test"));
    send.args(["--mail-from", "ann@far.test", "--mail-rcpt", ALICE, "--upload-file", "-"]);
    let mut sending = send.stdin(Stdio::piped()).spawn().unwrap();
    sending.stdin.take().unwrap().write_all(b"Subject: by curl\r\n\r\nbody\r\n").unwrap();
    assert!(sending.wait().unwrap().success());
    let pop3 = format!("pop3://{}/1", server.pop3());
    for (url, stls) in
        [(first.clone(), None), (format!("pop3s://{pop3s}/1"), None), (pop3, Some("--ssl-reqd"))]
    {
        let message = run(curl(url).args(stls).args(["--user", &format!("{ALICE}:any")]), "").stdout;
        assert!(message.ends_with(b"Subject: by curl\r\n\r\nbody\r\n"));
    }
    for shown in [format!("openssl s_client -quiet -crlf -connect {smtps}"), format!("curl '{first}' ")] {
        server.tells(&shown);
    }
}

#[test]
fn t18_openssl_reads_after_stls_and_is_told_why_it_is_too_old() {
    if !installed("openssl") {
        return skip("openssl_reads_after_stls_and_is_told_why_it_is_too_old", "openssl is not installed");
    }
    let keys = Keys::make();
    let server = keys.server("");
    deliver(&server, ALICE, b"Subject: for openssl\r\n\r\n");
    let openssl = |words: &[&str], input: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-crlf", "-ign_eof", "-CAfile"]).arg(keys.certificate()).args(words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // it may have given up already
        let output = child.wait_with_output().unwrap();
        programs::said(&output)
    };
    let plain = server.pop3().to_string();
    let input = format!("USER {ALICE}\nPASS {}\nRETR 1\nQUIT\n", common::PASSWORD);
    let said = openssl(&["-starttls", "pop3", "-connect", &plain], &input);
    for part in ["Verify return code: 0 (ok)", "Subject: for openssl", "+OK Bye"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let secure = address(&server, "pop3s").to_string();
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", &secure];
    let weak = ["-tls1_2", "-cipher", "AES128-SHA", "-connect", &secure];
    for (words, why) in [(old, "no version in common"), (weak, "no cipher or key exchange in common")] {
        let said = openssl(&words, "");
        assert!(said.contains("alert"), "{said}");
        eventually("the reason is told", || server.log().contains(why).then_some(()));
    }
}
