//! The diagrams of the design are drawn of this code: every class and what it does, every state.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// The lines of each diagram of the design.
fn diagrams() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let mut lines = page.lines();
    let mut found = Vec::new();
    while lines.by_ref().any(|line| line == "```mermaid") {
        found.push(
            lines.by_ref().take_while(|line| *line != "```").map(|line| line.trim().to_owned()).collect(),
        );
    }
    found
}

#[test]
fn every_class_is_there_and_does_what_is_said() {
    let code = everything(&root().join("src"));
    let class = Regex::new(r"^class (\w+) \{(?: <<trait>>)? (.*)\}$").unwrap();
    let diagrams = diagrams();
    let mut seen = 0;
    for line in diagrams.iter().filter(|lines| lines[0] == "classDiagram").flatten() {
        let Some(found) = class.captures(line) else { continue };
        let name = &found[1];
        let kind = if line.contains("<<trait>>") { "trait" } else { "struct" };
        assert!(defines(&code, kind, name), "the design has a {kind} {name}");
        for member in found[2].split([',', ';']).map(str::trim).filter(|member| !member.is_empty()) {
            let (pattern, what) = match member.strip_suffix("()") {
                Some(method) => (format!(r"\bfn {method}\b"), "does"),
                None => (format!(r"\b{member}: "), "has"),
            };
            assert!(Regex::new(&pattern).unwrap().is_match(&code), "{name} {what} {member}");
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen} classes");
}

#[test]
fn every_state_is_drawn_and_no_other() {
    let mut seen = 0;
    for lines in diagrams().iter().filter(|lines| lines[0] == "stateDiagram-v2") {
        let (kind, path) =
            lines[1].strip_prefix("%% enum ").and_then(|rest| rest.split_once(" in ")).expect("whose states");
        let code = fs::read_to_string(root().join(path)).unwrap();
        let drawn: BTreeSet<&str> = lines[2..]
            .iter()
            .flat_map(|line| line.split(':').next().unwrap().split(" --> "))
            .map(str::trim)
            .filter(|state| *state != "[*]")
            .collect();
        assert_eq!(drawn, variants(&code, kind), "{kind} in {path}");
        seen += 1;
    }
    assert_eq!(seen, 3, "diagrams of states");
}

fn defines(code: &str, kind: &str, name: &str) -> bool {
    Regex::new(&format!(r"\b{kind} {name}\b")).unwrap().is_match(code)
}

/// The variants of an enum whose body is indented by four.
fn variants<'a>(code: &'a str, name: &str) -> BTreeSet<&'a str> {
    let begin = code.find(&format!("enum {name} {{")).expect("the enum");
    let body = &code[begin..begin + code[begin..].find("\n}").unwrap()];
    let named = |line: &'a str| {
        let name = line.strip_prefix("    ")?.split(|c: char| !c.is_alphanumeric()).next()?;
        name.starts_with(char::is_uppercase).then_some(name)
    };
    body.lines().filter_map(named).collect()
}

/// All source files below a directory, one behind the other.
fn everything(dir: &Path) -> String {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let text =
        |path: &PathBuf| if path.is_dir() { everything(path) } else { fs::read_to_string(path).unwrap() };
    paths.iter().map(text).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
