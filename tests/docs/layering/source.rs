//! The reader of source text: the paths that a file names, without its comments, strings and unit tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One source file: where it stands in the crate, and its text without comments, strings and unit tests.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) module: Vec<String>,
    pub(super) code: String,
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let below = path.strip_prefix(root).unwrap().with_extension("");
        let mut module: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        Self { module, code: without_tests(&without_comments(&text)), path }
    }

    /// The module below the root that this file belongs to; `lib.rs` is the map of them and imports none.
    pub(super) fn top(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// Whether the file holds unit tests only.
    pub(super) fn is_test(&self) -> bool {
        self.module.iter().any(|part| part == "tests")
    }

    /// The modules below the root that this file names, with the path that does it.
    pub(super) fn imports(&self) -> BTreeSet<(String, String)> {
        let absolute = |path: &Vec<String>| {
            let supers = path.iter().take_while(|part| *part == "super").count();
            let rest = match path[0].as_str() {
                "crate" | "restante" => path[1..].to_vec(),
                "super" => {
                    [&self.module[..self.module.len().saturating_sub(supers)], &path[supers..]].concat()
                }
                _ => return None,
            };
            rest.first().map(|module| (module.clone(), path.join("::")))
        };
        paths(&self.code).iter().filter_map(absolute).collect()
    }

    /// The paths from the root of the crate that this file names, those that it only passes on left out.
    pub(super) fn named(&self, modules: &BTreeSet<Vec<String>>) -> Vec<Vec<String>> {
        let (_, used) = self.passed_on();
        let absolute = |path: Vec<String>| {
            let supers = path.iter().take_while(|part| *part == "super").count();
            match path[0].as_str() {
                "crate" => Some(path[1..].to_vec()),
                "super" => Some([&self.module[..self.module.len() - supers], &path[supers..]].concat()),
                "self" => Some([&self.module, &path[1..]].concat()),
                child if path.len() > 1 => {
                    let child = [&self.module[..], &[child.to_owned()]].concat();
                    modules.contains(&child).then(|| [&self.module, &path[..]].concat())
                }
                _ => None, // a word, as the name behind `mod`
            }
        };
        paths(&used).into_iter().filter_map(absolute).collect()
    }

    /// The paths of `pub use`, and the code without them.
    pub(super) fn passed_on(&self) -> (Vec<Vec<String>>, String) {
        let (mut passed, mut used) = (Vec::new(), String::new());
        let code = self.code.replace("pub(super)", "pub").replace("pub(crate)", "pub"); // no imports
        let mut rest = code.as_str();
        while let Some(at) = rest.find("pub use ") {
            let end = at + rest[at..].find(';').unwrap();
            passed.extend(paths(&rest[at + "pub ".len()..end]));
            used += &rest[..at];
            rest = &rest[end..];
        }
        (passed, used + rest)
    }
}

/// The source files of the crate.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rust_files(&root).into_iter().map(|path| Source::read(&root, path)).collect()
}

/// The files of Rust below a directory, in the order of their paths.
pub(super) fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(rust_files(&entry.path()));
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The text without comments and without the contents of strings and character literals.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// The number of `#` before a raw string, if one begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// The length of a literal that begins here, both quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The code without `#[cfg(test)] mod tests { … }`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let Some(start) = code.find(MARK) else { return code.to_owned() };
    let rest = &code[start + MARK.len()..];
    let mut depth = 0_usize;
    let end = rest.char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0 && (c == '}' || c == ';')).then_some(at + 1)
    });
    format!("{}{}", &code[..start], without_tests(&rest[end.unwrap_or(rest.len())..]))
}

/// All paths in the code, those of nested `use` lists written out.
pub(super) fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let in_use = tokens[at] == "use";
        at += usize::from(in_use);
        let before = at;
        expand(&tokens, &mut at, &[], in_use, &mut found);
        at += usize::from(at == before);
    }
    found
}

/// Names, `::`, and every other character that is not blank.
fn tokens(code: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(c) = rest.chars().next() {
        let length = match c {
            _ if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Reads one path from the tokens, or a list of them in braces, and adds each with `prefix` in front.
fn expand(tokens: &[&str], at: &mut usize, prefix: &[String], lists: bool, found: &mut Vec<Vec<String>>) {
    let is_name = |token: &str| token.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        if is_name(token) {
            path.push((*token).to_owned());
            *at += 1;
            if tokens.get(*at) != Some(&"::") {
                break;
            }
            *at += 1;
        } else if lists && *token == "{" {
            *at += 1;
            while tokens.get(*at).is_some_and(|token| *token != "}") {
                let before = *at;
                expand(tokens, at, &path, lists, found);
                *at += usize::from(*at == before);
            }
            *at += 1;
            return;
        } else {
            break;
        }
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
}

#[test]
fn the_reader_of_source_text_is_not_fooled() {
    for (module, text, imports) in [
        (&["proto", "smtp"][..], "use crate::{clock::Now, net::{a, b}};", &["clock", "net"][..]),
        (&["proto", "smtp"], "use super::dot; use super::super::workers::Job;", &["proto", "workers"]),
        (&["proto"], "use super::{accounts, backend::Backend};", &["accounts", "backend"]),
        (&["main"], "fn main() { restante::cli::run() }", &["cli"]),
        (&["net"], "// crate::cli\n/* crate::cli */ \"crate::cli\" r#\"crate::cli\"# '\"' 'a'", &[]),
        (&["net"], "#[cfg(test)]\nmod tests { use crate::cli; { } }\nuse crate::workers::Job;", &["workers"]),
        (&["net"], "#[cfg(test)]\nuse crate::cli;\nfn f<'a>(x: &'a crate::limits::Size) {}", &["limits"]),
    ] {
        let code = without_tests(&without_comments(text));
        let module = module.iter().map(|part| (*part).to_owned()).collect();
        let source = Source { path: PathBuf::new(), module, code };
        let found: BTreeSet<String> = source.imports().into_iter().map(|(module, _)| module).collect();
        assert!(found.iter().eq(imports), "{found:?} in {text}");
    }
}
