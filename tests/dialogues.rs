//! Plays the dialogues below `tests/dialogues/`; `tests/dialogue/README.md` tells how they are written.

mod common;
mod dialogue;
mod secure;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use dialogue::{
    file::{Dialogue, Failure},
    play::{self, Way},
    sealed::{self, Seal},
    world::Service,
};

#[test]
fn smtp() {
    play_all("smtp", Some(Service::Smtp));
}

#[test]
fn pop3() {
    play_all("pop3", Some(Service::Pop3));
}

#[test]
fn regress() {
    play_all("regress", None);
}

#[test]
fn nothing_changes_where_faults_would_happen_on_demand_and_nobody_asks() {
    let mut failures = String::new();
    for (directory, service) in [("smtp", Service::Smtp), ("pop3", Service::Pop3)] {
        for file in files(directory) {
            let Ok(mut dialogue) = Dialogue::read(&fs::read_to_string(&file).unwrap(), Some(service)) else {
                continue; // which another test tells
            };
            dialogue.world.faults = true;
            if let Err(Failure { line, what }) = play::check(&dialogue, dialogue.ways[0]) {
                failures.push_str(&format!("{}:{line}:\n    {what}\n", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn smtp_is_the_same_over_tls() {
    play_over_tls("smtp", Service::Smtp, 60);
}

#[test]
fn pop3_is_the_same_over_tls() {
    play_over_tls("pop3", Service::Pop3, 30);
}

/// The dialogues of a directory, in order.
fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues").join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "dlg"));
    files.sort();
    files
}

/// Plays all dialogues over TLS in which it changes nothing; there must be that many at least.
fn play_over_tls(directory: &str, service: Service, least: usize) {
    let seal = Seal::new();
    let (mut played, mut failures) = (0, String::new());
    for file in files(directory) {
        let dialogue = Dialogue::read(&fs::read_to_string(&file).unwrap(), Some(service));
        let Some(dialogue) = dialogue.ok().filter(sealed::is_timeless) else { continue };
        played += 1;
        if let Err(Failure { line, what }) = sealed::check(&dialogue, &seal) {
            failures.push_str(&format!("{}:{line}:\n    {what}\n", file.display()));
        }
    }
    assert!(failures.is_empty(), "over TLS:\n{failures}");
    assert!(played >= least, "{played} dialogues");
}

/// Plays the files of a directory, and tells of every one that fails.
fn play_all(directory: &str, service: Option<Service>) {
    let files = files(directory);
    assert!(!files.is_empty() || service.is_none(), "no dialogues");
    let failures: Vec<String> = files.iter().filter_map(|file| play_file(file, service).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} dialogues fail:\n{}",
        failures.len(),
        files.len(),
        failures.concat()
    );
}

fn play_file(file: &Path, service: Option<Service>) -> Result<(), String> {
    let source = fs::read_to_string(file).map_err(|e| format!("{}: {e}\n", file.display()))?;
    let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display();
    let told = |ways: &str, Failure { line, what }: Failure| format!("{name}:{line}: {ways}\n    {what}\n");
    let dialogue = Dialogue::read(&source, service).map_err(|failure| told("not played", failure))?;
    if env::var_os("BLESS").is_some() {
        let blessed = play::bless(&dialogue).map_err(|failure| told("not blessed", failure))?;
        if blessed != source {
            fs::write(file, blessed).map_err(|e| format!("{name}: {e}\n"))?;
        }
        return Ok(());
    }
    let failures: Vec<(Way, Failure)> =
        dialogue.ways.iter().filter_map(|&way| Some((way, play::check(&dialogue, way).err()?))).collect();
    let texts = failures.chunk_by(|one, other| one.1 == other.1).map(|same| {
        let ways: Vec<&str> = same.iter().map(|(way, _)| way.name()).collect();
        told(&ways.join(", "), Failure { line: same[0].1.line, what: same[0].1.what.clone() })
    });
    let text: String = texts.collect();
    if text.is_empty() { Ok(()) } else { Err(text) }
}
