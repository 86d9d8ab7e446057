//! Plays the dialogues below `tests/dialogues/`; `tests/dialogues/README.md` tells how they are written.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::dialogue::{
    file::{Dialogue, Problem},
    play,
    sealed::{self, Seal},
    way::Way,
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
fn http() {
    play_all("http", Some(Service::Http));
}

#[test]
fn imap() {
    play_all("imap", Some(Service::Imap));
}

#[test]
fn regress() {
    play_all("regress", None);
}

/// RFC 2034 sections 3 and 4. The banner, the reply to EHLO and HELO, and 3xx have none.
#[test]
fn c19_every_reply_has_an_enhanced_code_of_its_class_and_a_text() {
    let reply = Regex::new(r"^S(?:\*\d+)?: ((\d)\d\d)([ -])(.*)$").unwrap();
    let enhanced = Regex::new(r"^(\d)\.\d{1,3}\.\d{1,3} \S").unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files("smtp") {
        let text = String::from_utf8(fs::read(&file).unwrap()).unwrap();
        let mut is_greeting = false; // the banner, or a line of the reply to EHLO or HELO
        for line in text.lines() {
            let Some(found) = reply.captures(line) else { continue };
            is_greeting |= ["220", "250"].contains(&&found[1]) && found[4].starts_with("mx.test");
            let has_one = enhanced.captures(&found[4]).is_some_and(|code| code[1] == found[2]);
            if !has_one && !is_greeting && found[2] != *"3" {
                wrong.push(format!("{}: {line}", file.file_name().unwrap().display()));
            }
            seen += usize::from(has_one);
            is_greeting &= found[3] == *"-";
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 500, "{seen} replies");
}

/// This covers the replies that no dialogue reaches.
#[test]
fn c19_every_reply_of_the_source_has_an_enhanced_code_of_its_class() {
    let new = Regex::new(r#"Reply::new\(\s*(\d)(\d\d),\s*"([0-9.]*)",\s*"(.?)"#).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto/smtp");
    let mut seen = 0;
    for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        for found in new.captures_iter(&text) {
            let (class, code) = (&found[1], &found[3]);
            let needs_none = class == "3" || found[0].contains("250");
            let is_right = code.starts_with(&format!("{class}.")) && code.split('.').count() == 3;
            assert!(is_right || code.is_empty() && needs_none, "{}: {}", file.display(), &found[0]);
            assert!(!found[4].is_empty() || class == "3", "no text: {}", &found[0]);
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} replies");
}

#[test]
fn nothing_changes_where_faults_would_happen_on_demand_and_nobody_asks() {
    let mut failures = String::new();
    for (directory, service) in [("smtp", Service::Smtp), ("pop3", Service::Pop3), ("imap", Service::Imap)] {
        for file in files(directory) {
            let Ok(mut dialogue) = Dialogue::read(&fs::read_to_string(&file).unwrap(), Some(service)) else {
                continue; // which another test tells
            };
            // Those of the name belong to a dialogue that expects them.
            dialogue.world.notes = dialogue.world.faults;
            dialogue.world.faults = true;
            if let Err(Problem { line, what }) = play::check(&dialogue, dialogue.ways[0]) {
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

#[test]
fn imap_is_the_same_over_tls() {
    play_over_tls("imap", Service::Imap, 20);
}

#[test]
fn http_is_the_same_over_tls() {
    play_over_tls("http", Service::Http, 20);
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
        if let Err(Problem { line, what }) = sealed::check(&dialogue, &seal) {
            failures.push_str(&format!("{}:{line}:\n    {what}\n", file.display()));
        }
    }
    assert!(failures.is_empty(), "over TLS:\n{failures}");
    assert!(played >= least, "{played} dialogues");
}

/// Plays the files of a directory, and reports every one that fails.
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
    let told = |ways: &str, Problem { line, what }: Problem| format!("{name}:{line}: {ways}\n    {what}\n");
    let dialogue = Dialogue::read(&source, service).map_err(|failure| told("not played", failure))?;
    if env::var_os("BLESS").is_some() {
        let blessed = play::bless(&dialogue).map_err(|failure| told("not blessed", failure))?;
        if blessed != source {
            fs::write(file, blessed).map_err(|e| format!("{name}: {e}\n"))?;
        }
        return Ok(());
    }
    let failures: Vec<(Way, Problem)> =
        dialogue.ways.iter().filter_map(|&way| Some((way, play::check(&dialogue, way).err()?))).collect();
    let texts = failures.chunk_by(|one, other| one.1 == other.1).map(|same| {
        let ways: Vec<&str> = same.iter().map(|(way, _)| way.name()).collect();
        told(&ways.join(", "), Problem { line: same[0].1.line, what: same[0].1.what.clone() })
    });
    let text: String = texts.collect();
    if text.is_empty() { Ok(()) } else { Err(text) }
}
