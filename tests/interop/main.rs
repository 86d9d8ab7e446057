//! Beside real programs: mail readers, servers and deliverers that change the same Maildir, relays and proxies in front
//! of us, and clients that we did not write. Nothing is lost, nothing doubled, every octet is the same, and messages
//! are sent as they are listed, whichever program delivered them. `make interop` installs the programs and runs the
//! stories.

mod awkward;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod deliverers;
mod dovecot;
mod fetchers;
mod imap;
mod imap_oracle;
mod imap_programs;
mod imap_readers;
mod ledger;
mod letters;
mod mutt;
mod postfix;
mod programs;
mod proxy;
#[path = "../protocol/dialogue/responses.rs"]
mod responses;
mod senders;
mod thunderbird;
mod together;
mod visit;
mod way_back;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::Instant,
};

use programs::Story;

fn main() -> ExitCode {
    if std::env::var_os("RESTANTE_INTEROP").is_none() {
        println!("skipped: run `make interop`");
        return ExitCode::SUCCESS;
    }
    // Words of the command line choose the stories that have one of them in their name.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen =
        |story: &Story| words.is_empty() || words.iter().any(|word| story.name.contains(word.as_str()));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for story in stories().into_iter().filter(chosen) {
        if let Some(why) = story.needs.iter().find_map(|need| programs::missing(need)) {
            common::skip(&story.name, &why);
            skipped += 1;
            continue;
        }
        let began = Instant::now();
        let good = panic::catch_unwind(AssertUnwindSafe(|| (story.tell)())).is_ok();
        *if good { &mut passed } else { &mut failed } += 1;
        let result = if good { "ok" } else { "FAILED" };
        println!("test {} ... {result} ({:.1} s)", story.name, began.elapsed().as_secs_f64());
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stories() -> Vec<Story> {
    [
        senders::stories(),
        fetchers::stories(),
        deliverers::stories(),
        postfix::stories(),
        proxy::stories(),
        mutt::stories(),
        dovecot::stories(),
        imap_programs::stories(),
        imap_readers::stories(),
        thunderbird::stories(),
        imap_oracle::stories(),
        way_back::stories(),
        clients::stories(),
        together::stories(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
