//! The commands of the manual hold for more readers than the one who wrote them: beside another server, and in the
//! shells that people have.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;

use crate::common::{home, installed, skip};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// README and the pages of the manual: the path and the text of each.
fn pages() -> Vec<(PathBuf, String)> {
    let manual = fs::read_dir(root().join("docs/manual")).unwrap().map(|entry| entry.unwrap().path());
    let pages = manual.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .chain([root().join("README.md")])
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// A second `make run` on a machine needs another port for each service. The variables are those of the `Makefile`.
#[test]
fn h17_a_line_that_starts_a_second_server_moves_every_port() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let variable = Regex::new(r"(?m)^([A-Z0-9]+) \?= (127\.0\.0\.1:\d+)$").unwrap();
    let ports: Vec<(String, String)> =
        variable.captures_iter(&makefile).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
    assert!(ports.len() >= 3, "{ports:?}");
    let line = Regex::new(r"`(make\s+run\s[^`]*)`").unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        for found in line.captures_iter(&text) {
            let words: Vec<&str> = found[1].split_whitespace().collect();
            let chosen =
                |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            if ports.iter().all(|(name, _)| chosen(name).is_none()) {
                continue;
            }
            seen += 1;
            for (name, usual) in &ports {
                if chosen(name).is_none_or(|address| address == usual) {
                    wrong.push(format!("{}: {} keeps {name}={usual}", path.display(), &found[1]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 3, "README, the French page and the lesson have such a line: {seen}");
}

/// Most shells take the syntax of the Bourne shell; fish has another one. If fish cannot read a block, its page says
/// so.
#[test]
fn h18_a_block_that_fish_cannot_read_names_the_shell() {
    if !installed("fish") {
        return skip("h18_a_block_that_fish_cannot_read_names_the_shell", "fish is not installed");
    }
    let block = Regex::new(r"(?m)^```sh\n((?:[^`].*\n|\n)*)```").unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        for found in block.captures_iter(&text) {
            seen += 1;
            let file = home();
            fs::write(file.path().join("block"), &found[1]).unwrap();
            let read =
                Command::new("fish").arg("--no-execute").arg(file.path().join("block")).output().unwrap();
            let above = &text[..found.get(0).unwrap().start()];
            let is_named = ["fish", "bash"].iter().any(|shell| above.contains(shell));
            if !read.status.success() && !is_named {
                wrong.push(format!("{}: {}", path.display(), &found[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "{seen} blocks");
}

/// zsh refuses a pattern without a match, and fish takes `?` for one too: only names of files may be patterns. Blocks of
/// other kinds have commands after a `$`, and sentences have them in backticks.
#[test]
fn h21_no_command_has_an_unquoted_pattern_that_is_no_file() {
    let block = Regex::new(r"(?m)^```(\w*)\n((?:[^`].*\n|\n)*)```").unwrap();
    let inline = Regex::new(r"`((?:sudo |restante |curl |wget |swaks |journalctl )[^`]*)`").unwrap();
    let quoted = Regex::new(r#"'[^']*'|"(?:\\.|[^"\\])*"|\\.|\$\{[^}]*\}|\$\?"#).unwrap();
    let is_pattern = |word: &&str| {
        // `--option[=VALUE]` is the form of help texts.
        let is_test = ["[", "[["].contains(word) || word.contains("[=");
        !is_test && (word.contains(['?', '[']) || word.contains("://") && word.contains('*'))
    };
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        let mut commands: Vec<String> = Vec::new();
        for found in block.captures_iter(&text) {
            let typed = |line: &str| line.strip_prefix("$ ").or(line.strip_prefix("# ")).map(str::to_owned);
            match &found[1] {
                "sh" | "bash" | "fish" => commands.push(found[2].to_owned()),
                _ => commands.extend(found[2].lines().filter_map(typed)),
            }
        }
        let sentences = block.replace_all(&text, "");
        commands.extend(inline.captures_iter(&sentences).map(|found| found[1].to_owned()));
        for command in commands {
            seen += 1;
            let plain = quoted.replace_all(&command, "");
            let found: Vec<&str> = plain.split_whitespace().filter(is_pattern).collect();
            if !found.is_empty() {
                wrong.push(format!("{}: {found:?} in {command}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "{seen} commands");
}

/// Postfix takes the first restriction that decides: an unknown address tried from the machine itself must not be accepted
/// before restante is asked.
#[test]
fn n57_postfix_asks_about_an_address_also_where_the_operator_tries_it() {
    let page = fs::read_to_string(root().join("docs/manual/operator.md")).unwrap();
    let restrictions = page.split("\nsmtpd_recipient_restrictions = ").nth(1).expect("the page has the line");
    let order = [
        "inline:{example.org=reject_unverified_recipient}",
        "permit_mynetworks",
        "reject_unauth_destination",
    ];
    let places = order.map(|word| restrictions.find(word).unwrap_or_else(|| panic!("{word} is not there")));
    assert!(places.is_sorted(), "{order:?} stand at {places:?}");
    if !installed("postmap") {
        return skip("n57 with the table of Postfix", "postmap is not installed");
    }
    let config = home();
    fs::write(config.path().join("main.cf"), "compatibility_level = 3.6\n").unwrap();
    let mut postmap = Command::new("postmap");
    postmap.arg("-c").arg(config.path()).args(["-q", "example.org", order[0]]);
    let found = postmap.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "reject_unverified_recipient", "{found:?}");
}
