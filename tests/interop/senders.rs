//! SMTP clients that we did not write.

use std::process::Output;

use crate::{
    common::{Server, client::stuffed},
    letters::{ALICE, file, ids, letter},
    programs::{Story, at_home, feed, limited, succeeded},
    visit::look_for,
};

/// A program that sends mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Swaks,
    Msmtp,
    Curl,
}

impl Sender {
    pub(crate) const ALL: [Self; 3] = [Self::Swaks, Self::Msmtp, Self::Curl];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Swaks => "swaks",
            Self::Msmtp => "msmtp",
            Self::Curl => "curl",
        }
    }

    /// Sends that letter to alice.
    pub(crate) fn send(self, server: &Server, id: &str) -> Output {
        let address = server.smtp();
        let mut command = limited(self.program());
        at_home(&mut command, server.home.path());
        match self {
            Self::Swaks => {
                command.args(["--server", &address.to_string(), "--helo", "client.test", "--data", "-"]);
                command.args(["--from", "ann@far.test", "--to", ALICE]);
                // Left to itself it drops blank lines at the end. The end of the line with the dot is its own.
                let wire = stuffed(&letter(id));
                feed(command.arg("--no-data-fixup"), wire.strip_suffix(b"\r\n").unwrap_or(&wire))
            }
            Self::Msmtp => {
                command.args(["--file", "/dev/null", "--host", &address.ip().to_string()]);
                command.args(["--port", &address.port().to_string(), "--from", "ann@far.test", ALICE]);
                feed(&mut command, &file(id))
            }
            Self::Curl => {
                command.args(["--silent", "--show-error", "--noproxy", "*", "--upload-file", "-"]);
                command.args(["--mail-from", "ann@far.test", "--mail-rcpt", ALICE]);
                command.arg(format!("smtp://{address}/client.test"));
                feed(&mut command, &letter(id))
            }
        }
    }
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&["swaks"], swaks_sends_and_every_octet_arrives),
        Story::new(&["msmtp"], msmtp_sends_and_every_octet_arrives),
        Story::new(&["curl"], curl_sends_and_every_octet_arrives),
    ]
}

fn swaks_sends_and_every_octet_arrives() {
    sends(Sender::Swaks);
}

fn msmtp_sends_and_every_octet_arrives() {
    sends(Sender::Msmtp);
}

fn curl_sends_and_every_octet_arrives() {
    sends(Sender::Curl);
}

fn sends(sender: Sender) {
    let server = Server::strict();
    let sent = ids(sender.program(), 16);
    for id in &sent {
        succeeded(sender.send(&server, id));
    }
    let before = look_for(&server, &sent);
    assert_eq!(look_for(&server, &sent), before, "the unique ids are stable");
    assert!(server.maildir(ALICE).files("tmp").is_empty());
}
