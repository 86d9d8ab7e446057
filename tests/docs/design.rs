//! The pages for developers agree with the code: the diagrams of the design have its classes and states, and the catalogue
//! of faults has the tests, and the paths that the pages name are there.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    assert_eq!(seen, 5, "diagrams of states");
}

#[test]
fn every_path_that_a_page_for_developers_names_is_there() {
    let path = Regex::new(r"`((?:src|tests|docs|benches|fuzz|examples|\.ci)/[^`\s]*)`").unwrap();
    let mut lost = Vec::new();
    for page in ["CONTRIBUTING.md", "docs/architecture.md", "docs/dev/glossary.md", "tests/README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let named: Vec<&str> =
            path.captures_iter(&text).map(|found| found.get(1).unwrap().as_str()).collect();
        assert!(!named.is_empty(), "{page} names no path");
        lost.extend(
            named.iter().filter(|path| !root().join(path).exists()).map(|path| format!("{page}: {path}")),
        );
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// A row of the catalogue of faults: its group and its number.
type Row = (char, u32);

#[test]
fn every_test_of_a_fault_has_its_row_in_the_catalogue() {
    let rows = catalogue();
    let without: Vec<String> = cited()
        .into_iter()
        .filter(|(row, _)| !rows.contains_key(row))
        .map(|((group, number), by)| format!("{group}{number:02}, cited by {by}"))
        .collect();
    assert!(without.is_empty(), "not in docs/dev/faults/:\n{}", without.join("\n"));
}

/// A test with a range in its name may stand in the introduction of its section instead.
#[test]
fn every_test_that_carries_the_number_of_a_row_stands_in_that_row() {
    let rows: BTreeMap<Row, Vec<String>> =
        catalogue().into_iter().map(|(row, entry)| (row, tests_named_in(&entry))).collect();
    let introductions = introductions();
    let functions = test_functions().into_iter().map(|(file, name)| (format!("{file}::{name}"), name));
    let dialogues = files_below(&root().join("tests/dialogues"), "dlg").into_iter().map(|path| {
        let directory = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (format!("{directory}/{name}.dlg"), name)
    });
    let (mut seen, mut wrong) = (0, Vec::new());
    for (test, name) in functions.chain(dialogues) {
        let is_introduced = name.contains("_to_") && introductions.contains(&test);
        for (group, number) in rows_in_name(&name) {
            let is_in_row = rows.get(&(group, number)).is_some_and(|named| named.contains(&test));
            if !is_introduced && !is_in_row {
                wrong.push(format!("{group}{number:02} lacks `{test}`"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "in docs/dev/faults/:\n{}", wrong.join("\n"));
    assert!(seen > 300, "{seen} numbers in names");
}

#[test]
fn every_row_of_the_catalogue_has_a_test_that_exists_or_says_why_it_has_none() {
    let (dialogues, functions) = (root().join("tests/dialogues"), test_functions());
    let exists = |test: &str| match test.split_once("::") {
        Some((file, name)) => functions.contains(&(file.to_owned(), name.to_owned())),
        None => dialogues.join(test).is_file(),
    };
    let mut wrong = Vec::new();
    for ((group, number), entry) in catalogue() {
        let named = tests_named_in(&entry);
        wrong.extend(
            named.iter().filter(|test| !exists(test)).map(|test| format!("{group}{number:02}: no {test}")),
        );
        let reason = entry.split_once("- No test: ").map(|(_, reason)| reason.split_whitespace().count());
        if named.is_empty() && reason.is_none_or(|words| words < 5) {
            wrong.push(format!("{group}{number:02} has neither a test nor a reason"));
        }
    }
    for (page, text) in pages_of_faults() {
        let lost = tests_named_in(&text).into_iter().filter(|test| !exists(test));
        wrong.extend(lost.map(|test| format!("{page}: no {test}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_first_page_of_the_catalogue_names_the_groups_of_each_page() {
    let table = fs::read_to_string(root().join("docs/dev/faults/README.md")).unwrap();
    let row = Regex::new(r"(?m)^- \*\*([A-Z])\d\d\d?\*\*").unwrap();
    for (page, text) in pages_of_faults() {
        let groups: BTreeSet<String> = row.captures_iter(&text).map(|found| found[1].to_owned()).collect();
        let link = format!("({page})");
        let line = table.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("no {page}"));
        let named: BTreeSet<String> =
            line.split('|').nth(1).unwrap().split(',').map(|group| group.trim().to_owned()).collect();
        assert_eq!(named, groups, "{page}");
    }
}

/// The text of each row of the catalogue.
fn catalogue() -> BTreeMap<Row, String> {
    let head = Regex::new(r"^- \*\*([A-Z])(\d\d\d?)\*\* .*\*Right:\* ").unwrap();
    let mut rows = BTreeMap::new();
    for (page, text) in pages_of_faults() {
        for entry in text.split("\n- ").skip(1) {
            let entry = entry.split("\n\n").next().unwrap();
            let line = format!("- {}", entry.replace('\n', " "));
            let Some(found) = head.captures(&line) else {
                assert!(!entry.starts_with("**"), "{page}: no row: {entry}");
                continue;
            };
            let row = (found[1].chars().next().unwrap(), found[2].parse().unwrap());
            assert!(rows.insert(row, line.clone()).is_none(), "{page}: twice: {entry}");
        }
    }
    rows
}

/// The tests that the pages name outside of their rows.
fn introductions() -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (_, text) in pages_of_faults() {
        let prose = text.split("\n\n").filter(|paragraph| !paragraph.starts_with("- "));
        named.extend(prose.flat_map(tests_named_in));
    }
    named
}

/// The pages of the catalogue but for the one that explains it.
fn pages_of_faults() -> Vec<(String, String)> {
    let files = files_below(&root().join("docs/dev/faults"), "md").into_iter();
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named
        .filter(|(name, _)| name != "README.md")
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect()
}

/// The dialogues and functions that stand in a text, each in backticks.
fn tests_named_in(text: &str) -> Vec<String> {
    let test = Regex::new(r"`((?:smtp|pop3|http|imap)/\w+\.dlg|[a-z]\w+::\w+)`").unwrap();
    test.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The rows that tests carry in their names or dialogues cite in their first lines, each with one that does.
fn cited() -> BTreeMap<Row, String> {
    let spoken = Regex::new(r"\bFaults? ([^:]*)").unwrap();
    let number = Regex::new(r"\b([A-Z])(\d\d\d?)\b").unwrap();
    let mut cited = BTreeMap::new();
    for path in files_below(&root().join("tests/dialogues"), "dlg") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        cited.extend(rows_in_name(name).into_iter().map(|row| (row, name.to_owned())));
        let text = fs::read_to_string(&path).unwrap();
        for found in spoken.captures_iter(text.lines().next().unwrap()) {
            let rows = number.captures_iter(found.get(1).unwrap().as_str());
            cited.extend(
                rows.map(|row| ((row[1].chars().next().unwrap(), row[2].parse().unwrap()), name.to_owned())),
            );
        }
    }
    for (_, name) in test_functions() {
        cited.extend(rows_in_name(&name).into_iter().map(|row| (row, name.clone())));
    }
    assert!(cited.len() > 150, "{} rows are cited", cited.len());
    cited
}

/// The rows at the front of a test's name: `p15_p16_what` or `m01_to_m06_what`.
fn rows_in_name(name: &str) -> BTreeSet<Row> {
    let row = |word: &str| {
        let (group, digits) = word.split_at_checked(1)?;
        let group = group.chars().next().filter(char::is_ascii_lowercase)?;
        let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| (group.to_ascii_uppercase(), digits.parse().unwrap()))
    };
    let (mut rows, mut last, mut is_range) = (BTreeSet::new(), None, false);
    let mut words = name.split('_');
    for word in words.by_ref() {
        match (row(word), last) {
            (Some((group, end)), Some((_, begin))) if is_range => {
                rows.extend((begin..=end).map(|number| (group, number)));
            }
            (Some(row), _) => drop(rows.insert(row)),
            (None, Some(_)) if word == "to" => {}
            (None, _) => return rows,
        }
        is_range = word == "to";
        last = row(word).or(last);
    }
    BTreeSet::new() // a name that is nothing but numbers is no sentence
}

/// Every test function below `tests/` and `src/`, after the name of its file, or of the directory that a `mod.rs` is for.
/// `main` is one too: that of a test without a harness.
fn test_functions() -> BTreeSet<(String, String)> {
    let function = Regex::new(r"(?m)#\[test\]\s*(?:(?:#\[|//).*\s*)*fn (\w+)|^fn (main)\(\)").unwrap();
    let mut found = BTreeSet::new();
    for path in ["tests", "src"].iter().flat_map(|dir| files_below(&root().join(dir), "rs")) {
        let stem = match path.file_stem().unwrap().to_str().unwrap() {
            "mod" | "tests" | "main" => path.parent().unwrap().file_name().unwrap().to_str().unwrap(),
            stem => stem,
        };
        let text = fs::read_to_string(&path).unwrap();
        found.extend(function.captures_iter(&text).map(|function| {
            let name = function.get(1).or(function.get(2)).unwrap();
            (stem.to_owned(), name.as_str().to_owned())
        }));
    }
    found
}

/// The compiler passes over a file that no `mod` line names, and its tests never run.
#[test]
fn every_file_of_the_tests_is_a_binary_or_a_module_of_one() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let tests = root().join("tests");
    let declares = |file: &Path, name: &str| {
        let line = format!("mod {name};");
        fs::read_to_string(file).is_ok_and(|text| text.lines().any(|found| found.ends_with(&line)))
    };
    let files = files_below(&tests, "rs");
    let all: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let is_lost = |path: &&PathBuf| {
        let (dir, stem) = (path.parent().unwrap(), path.file_stem().unwrap().to_str().unwrap());
        let in_manifest = format!("path = \"{}\"", path.strip_prefix(root()).unwrap().display());
        let in_attribute = format!("{}/{stem}.rs\"]", dir.file_name().unwrap().display());
        if dir == tests || stem == "main" || manifest.contains(&in_manifest) || all.contains(&in_attribute) {
            return false;
        }
        let (dir, name) = match stem {
            "mod" => (dir.parent().unwrap(), dir.file_name().unwrap().to_str().unwrap()),
            stem => (dir, stem),
        };
        let beside = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        !beside.chain([dir.with_extension("rs")]).any(|file| declares(&file, name))
    };
    let lost: Vec<String> = files.iter().filter(is_lost).map(|path| path.display().to_string()).collect();
    assert!(lost.is_empty(), "no `mod` line names them:\n{}", lost.join("\n"));
}

fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
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

/// All source files below a directory, one after the other.
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
