//! The manual is right: the server says the lines of its dialogues, and its commands do what they
//! should.

pub(crate) mod page;
pub(crate) mod session;

use std::{
    collections::BTreeSet,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{self, Server, Setup, client::deliver, eventually, installed, skip};
use page::{Block, Kind, Page, Port, Terminal};
use session::Sessions;

/// README and all pages of the manual.
fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_dir(root.join("docs/manual")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        manual.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.push(root.join("README.md"));
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

#[test]
fn every_dialogue_is_what_the_server_says() {
    let (mut played, mut failures) = (0, Vec::new());
    for page in pages().into_iter().filter(|page| !page.is_tour()) {
        let (mut plain, mut secure, mut pedantic) = (None, None, None);
        let mut sessions = Sessions::default();
        for block in &page.blocks {
            let Kind::Dialogue { port, tls, strict } = block.kind else { continue };
            let server = match (tls, strict) {
                (true, _) => secure.get_or_insert_with(with_tls),
                (_, true) => pedantic.get_or_insert_with(strict_server),
                _ => plain.get_or_insert_with(Server::dev),
            };
            if let Err(why) = sessions.play(block, address(server, port)) {
                failures.push(format!("{}: {why}", page.path.display()));
            }
            played += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(played >= 10, "{played} dialogues");
}

#[test]
fn every_command_does_what_it_should() {
    commands_do_what_they_should("bash");
}

#[test]
fn h18_every_command_does_what_it_should_in_zsh() {
    if !installed("zsh") {
        return skip("h18_every_command_does_what_it_should_in_zsh", "zsh is not installed");
    }
    commands_do_what_they_should("zsh");
}

fn commands_do_what_they_should(program: &str) {
    let (mut run, mut failures) = (0, Vec::new());
    for page in pages().into_iter().filter(|page| !page.is_tour()) {
        let is_typed = |block: &&Block| block.kind == Kind::Commands && block.terminal == Terminal::Second;
        let commands: Vec<_> = page.blocks.iter().filter(is_typed).collect();
        if commands.is_empty() {
            continue;
        }
        let dir = common::home();
        let server = Setup { spool: Some(dir.path().join("spool")), ..Setup::default() }.start();
        eventually("figures for `restante status`", || {
            let mut files = fs::read_dir(server.runtime.path().join("restante")).ok()?;
            files.any(|file| file.unwrap().path().extension().is_some_and(|end| end == "prom")).then_some(())
        });
        // If a block needs a program that is not installed, the blocks after it are skipped too, since
        // they may need its results.
        let mut missing = None;
        for block in commands {
            let needed = NEEDED.iter().find(|needed| block.lines.iter().any(|line| calls(line, needed)));
            missing = missing.or(needed.filter(|needed| !installed(needed)));
            let name = format!("{}:{}", page.path.display(), block.line);
            if let Some(missing) = missing {
                skip(&name, &format!("{missing} is not installed"));
                break;
            }
            run += 1;
            if let Err(what) = shell(program, &block.lines.join("\n"), &server, dir.path()) {
                failures.push(format!("{name}: {what}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(run >= 2, "{run} blocks of commands");
}

/// README sends its readers to the lesson, with the mail of its tour in the mailboxes.
#[test]
fn h09_the_lesson_begins_in_the_mailboxes_of_the_tour() {
    let home = common::home();
    let server = Setup { spool: Some(home.path().join("spool")), ..Setup::default() }.start();
    for _ in 0..4 {
        deliver(&server, "bob@example.test", b"Subject: hello\r\n\r\nIt works.\r\n");
    }
    let mut sessions = Sessions::default();
    let page = Page::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual/lesson.md"));
    for block in &page.blocks {
        match block.kind {
            Kind::Commands => shell("bash", &block.lines.join("\n"), &server, home.path()).unwrap(),
            Kind::Dialogue { tls: true, .. } => {} // that server is another one
            Kind::Dialogue { port, .. } => sessions.play(block, address(&server, port)).unwrap(),
        }
    }
    assert!(sessions.count() >= 8, "{} sessions", sessions.count());
}

/// Every line that the table of POP3 and IMAP cites stands in a dialogue of the page.
#[test]
fn y122_each_row_of_the_table_of_pop3_and_imap_is_shown_by_a_dialogue() {
    let page = Page::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual/lesson.md"));
    let dialogues = page.blocks.iter().filter(|block| matches!(block.kind, Kind::Dialogue { .. }));
    let lines = dialogues.flat_map(|block| &block.lines).filter_map(|line| line.get(3..));
    let said: BTreeSet<&str> = lines.collect();
    let text = fs::read_to_string(&page.path).unwrap();
    let (_, table) = text.split_once("| | POP3 | IMAP | seen in |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 10, "{rows:#?}");
    for row in rows {
        let seen = row.trim_end_matches('|').rsplit_once(" | ").unwrap().1;
        let cited: Vec<&str> = seen.split('`').skip(1).step_by(2).collect();
        assert!(!cited.is_empty(), "no dialogue shows {row}");
        for line in cited {
            assert!(said.contains(line), "no dialogue has {line:?}, which shows {row}");
        }
    }
}

fn address(server: &Server, port: Port) -> SocketAddr {
    match port {
        Port::Smtp => server.smtp(),
        Port::Pop3 => server.pop3(),
        Port::Imap => server.addresses("imap")[0],
    }
}

fn strict_server() -> Server {
    Setup { arguments: &["--strict"], ..Setup::default() }.start()
}

fn with_tls() -> Server {
    let certificate = common::home();
    let tls = format!("--tls={}", certificate.path().display());
    let arguments = &[tls.as_str(), "--smtps", "127.0.0.1:0", "--pop3s", "127.0.0.1:0"];
    Setup { arguments, ..Setup::default() }.start()
}

/// Runs commands for a user at the running server: at its ports, with its spool in `spool/`.
fn shell(program: &str, commands: &str, server: &Server, dir: &Path) -> Result<(), String> {
    let commands = commands
        .replace("127.0.0.1:2525", &server.smtp().to_string())
        .replace("127.0.0.1:1110", &server.pop3().to_string())
        .replace("127.0.0.1:8025", &server.addresses("http")[0].to_string());
    let mut path = vec![Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap().to_owned()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let done = Command::new(program)
        .args(["-euo", "pipefail", "-c", &commands])
        .current_dir(dir)
        .env("PATH", env::join_paths(path).unwrap())
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", server.runtime.path()) // figures
        .output()
        .unwrap();
    if done.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Err(format!("{}\n{commands}\n--- {out}\n--- {err}", done.status))
}

/// Whether a line of a shell calls a program.
fn calls(line: &str, program: &str) -> bool {
    line.split([' ', '|', ';', '(', '`']).any(|word| word == program)
}

/// Programs that not every machine has.
const NEEDED: [&str; 9] =
    ["curl", "swaks", "mutt", "openssl", "fetchmail", "node", "python3", "pytest", "javac"];

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let link = regex::Regex::new(r"\]\(([^):#]+)(?:#[^)]*)?\)").unwrap();
    let mut broken = Vec::new();
    for dir in [
        ".",
        "docs",
        "docs/dev",
        "docs/dev/faults",
        "docs/manual",
        "fuzz",
        "tests",
        "tests/dialogues",
        "tests/dialogues/regress",
    ] {
        for page in fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path()) {
            if page.extension().is_none_or(|end| end != "md") {
                continue;
            }
            let text = fs::read_to_string(&page).unwrap();
            let lost = |target: &&str| !page.parent().unwrap().join(target).exists();
            let targets = link.captures_iter(&text).map(|found| found.get(1).unwrap().as_str());
            broken.extend(targets.filter(lost).map(|target| format!("{}: {target}", page.display())));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
