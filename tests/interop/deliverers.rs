//! Programs that put mail into a Maildir beside us.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use crate::{
    common::{Server, client::deliver, home},
    dovecot::{DOVECOT_LDA, dovecot},
    letters::{ALICE, OPEN, file, ids, letter},
    programs::{Story, UNSHARE, at_home, feed, limited, succeeded},
    visit::{Visit, look_for},
};

/// A program that delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deliverer {
    Procmail,
    Maildrop,
    DovecotLda,
    /// `cp` into `tmp/`, and `mv` from there into `new/`.
    Cp,
    /// `mv` from somewhere else.
    Mv,
}

impl Deliverer {
    pub(crate) const ALL: [Self; 5] = [Self::Procmail, Self::Maildrop, Self::DovecotLda, Self::Cp, Self::Mv];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Procmail => "procmail",
            Self::Maildrop => "maildrop",
            Self::DovecotLda => "dovecot-lda",
            Self::Cp => "cp",
            Self::Mv => "mv",
        }
    }

    /// Delivers that letter to alice, whose Maildir is there.
    pub(crate) fn deliver(self, server: &Server, id: &str) -> Output {
        let (home, maildir, text) = (home(), server.maildir(ALICE).path, file(id));
        let write = |name: &str, content: &[u8]| {
            let file = home.path().join(name);
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            file
        };
        let target = maildir.display();
        let mut command = match self {
            Self::Procmail => {
                let rules = write("rules", format!("DEFAULT={target}/\n").as_bytes());
                let mut command = limited("procmail");
                command.arg(rules);
                command
            }
            Self::Maildrop => {
                let rules = write("rules", format!("to \"{target}\"\n").as_bytes());
                let mut command = limited("maildrop");
                command.arg(rules);
                command
            }
            Self::DovecotLda => dovecot(DOVECOT_LDA, home.path(), &server.maildir(ALICE).path),
            Self::Cp | Self::Mv => {
                let mut command = limited("sh");
                let cp = "cp \"$1\" \"$2/tmp/$3\" && mv \"$2/tmp/$3\" \"$2/new/$3\"";
                command.args(["-c", if self == Self::Cp { cp } else { "mv \"$1\" \"$2/new/$3\"" }, "sh"]);
                command.arg(write("letter", &text)).arg(&maildir).arg(format!("1767268800.{id}.host"));
                command
            }
        };
        feed(at_home(&mut command, home.path()), &text)
    }
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&["procmail"], procmail_delivers_and_the_sizes_are_right),
        Story::new(&["maildrop"], maildrop_delivers_and_the_sizes_are_right),
        Story::new(&[DOVECOT_LDA, UNSHARE], dovecot_lda_delivers_and_the_sizes_are_right),
        Story::new(&["sh", "cp", "mv"], cp_delivers_and_the_sizes_are_right),
        Story::new(&["sh", "mv"], mv_delivers_and_the_sizes_are_right),
        Story::new(&["procmail", "maildrop"], what_comes_in_during_a_session_waits_for_the_next_one),
    ]
}

fn procmail_delivers_and_the_sizes_are_right() {
    delivers(Deliverer::Procmail);
}

fn maildrop_delivers_and_the_sizes_are_right() {
    delivers(Deliverer::Maildrop);
}

fn dovecot_lda_delivers_and_the_sizes_are_right() {
    delivers(Deliverer::DovecotLda);
}

fn cp_delivers_and_the_sizes_are_right() {
    delivers(Deliverer::Cp);
}

fn mv_delivers_and_the_sizes_are_right() {
    delivers(Deliverer::Mv);
}

/// Delivers in turn with our own deliveries. Half of its letters have no end of the last line.
fn delivers(by: Deliverer) {
    let mut server = Server::strict();
    let mut all = Vec::new();
    for (n, id) in ids("ours", 10).into_iter().enumerate() {
        deliver(&server, ALICE, &letter(&id));
        let theirs = [format!("theirs-{n}"), format!("theirs-{n}{OPEN}")];
        theirs.iter().for_each(|id| drop(succeeded(by.deliver(&server, id))));
        all.extend(theirs.into_iter().chain([id]));
    }
    let before = look_for(&server, &all);
    assert_eq!(look_for(&server, &all), before, "the unique ids are stable");
    server.restart();
    assert_eq!(look_for(&server, &all), before, "and survive a new start");
}

fn what_comes_in_during_a_session_waits_for_the_next_one() {
    let server = Server::strict();
    let mut all = ids("ours", 3);
    all.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let mut visit = Visit::begin(&server);
    for (by, id) in [(Deliverer::Procmail, "procmail"), (Deliverer::Maildrop, "maildrop")] {
        succeeded(by.deliver(&server, id));
        all.push(id.to_owned());
    }
    assert_eq!(visit.read_all().len(), 3);
    visit.delete(1);
    visit.quit();
    all.remove(0);
    look_for(&server, &all);
}
