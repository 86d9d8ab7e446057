//! The commands of the manual hold for more readers than the one who wrote them: beside another server, and in the
//! shells that people have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

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
