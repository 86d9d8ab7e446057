//! The arrows between the modules: a leaf that grows a dependency, or a protocol that opens a file, fails
//! here. Comments and unit tests are not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each module and the modules that it imports, from the leaves to the top: a module may name only modules that stand
/// above it here, so no circle can form. An arrow that nothing uses any more has to go.
const ARROWS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("wire_size", &[]),
    ("clock", &[]),
    ("deferred_drop", &[]),
    ("file_stamp", &[]),
    ("open_regular", &[]),
    ("ending_signals", &[]),
    ("password_prompt", &["ending_signals"]),
    ("time_zone", &["open_regular"]),
    ("local_fs", &[]),
    ("file_watch", &["local_fs"]),
    ("file_poller", &["file_watch"]),
    ("round_robin", &[]),
    ("capacity", &[]),
    ("parking_queue", &[]),
    ("printable", &[]),
    ("compose", &[]),
    ("command_hint", &["printable"]),
    ("safe_file", &["printable"]),
    ("mime", &["printable", "wire_size"]),
    ("message_object", &["mime", "printable"]),
    ("search", &["message_object", "mime"]),
    ("thread_limits", &["limits"]),
    ("fd_limits", &["thread_limits", "limits"]),
    ("proto", &["limits", "wire_size", "clock", "printable", "mime"]),
    ("transcript", &["proto", "limits", "clock", "safe_file", "printable", "open_regular"]),
    ("api", &["printable", "compose", "proto", "mime", "message_object", "search", "transcript"]),
    ("maildir", &["wire_size", "deferred_drop", "local_fs", "safe_file", "printable"]),
    ("metrics", &["proto", "open_regular", "safe_file"]),
    ("logging", &["limits", "proto", "metrics", "safe_file", "printable", "parking_queue"]),
    (
        "net",
        &[
            "limits",
            "deferred_drop",
            "file_stamp",
            "open_regular",
            "file_poller",
            "safe_file",
            "proto",
            "metrics",
        ],
    ),
    (
        "accounts",
        &[
            "limits",
            "file_stamp",
            "open_regular",
            "file_poller",
            "capacity",
            "printable",
            "command_hint",
            "safe_file",
            "proto",
            "metrics",
        ],
    ),
    ("config", &["limits", "maildir", "net", "open_regular", "proto", "logging"]),
    ("loaded_config", &["accounts", "command_hint", "config", "net"]),
    (
        "index",
        &["limits", "deferred_drop", "round_robin", "capacity", "proto", "maildir", "metrics", "logging"],
    ),
    (
        "workers",
        &[
            "deferred_drop",
            "proto",
            "accounts",
            "maildir",
            "index",
            "limits",
            "wire_size",
            "logging",
            "metrics",
            "parking_queue",
            "printable",
            "mime",
            "message_object",
            "search",
            "transcript",
            "api",
            "time_zone",
        ],
    ),
    (
        "delivery",
        &["thread_limits", "proto", "maildir", "limits", "wire_size", "workers", "logging", "metrics"],
    ),
    ("connection", &["net", "proto", "limits", "clock", "logging", "metrics", "transcript"]),
    (
        "backend",
        &[
            "limits",
            "clock",
            "deferred_drop",
            "capacity",
            "fd_limits",
            "thread_limits",
            "printable",
            "proto",
            "maildir",
            "metrics",
            "transcript",
            "accounts",
            "config",
            "index",
            "workers",
            "delivery",
            "connection",
        ],
    ),
    ("system", &["command_hint", "config", "logging", "maildir", "metrics", "net", "safe_file", "time_zone"]),
    ("listener", &["clock", "config", "metrics", "net", "proto", "system", "transcript"]),
    (
        "server",
        &[
            "net",
            "proto",
            "limits",
            "clock",
            "logging",
            "metrics",
            "transcript",
            "config",
            "system",
            "file_poller",
            "round_robin",
            "capacity",
            "printable",
            "fd_limits",
            "maildir",
            "loaded_config",
            "workers",
            "backend",
            "connection",
            "listener",
        ],
    ),
    ("client", &["wire_size", "printable", "compose", "mime", "proto"]),
    ("mua", &["password_prompt", "accounts", "maildir", "wire_size", "mime", "proto", "client"]),
    (
        "tools",
        &[
            "maildir",
            "mime",
            "message_object",
            "search",
            "printable",
            "index",
            "limits",
            "proto",
            "wire_size",
            "safe_file",
        ],
    ),
    (
        "testing",
        &[
            "limits",
            "proto",
            "maildir",
            "accounts",
            "config",
            "loaded_config",
            "system",
            "listener",
            "server",
            "tools",
        ],
    ),
    (
        "cli",
        &[
            "limits",
            "open_regular",
            "ending_signals",
            "password_prompt",
            "printable",
            "command_hint",
            "safe_file",
            "fd_limits",
            "thread_limits",
            "proto",
            "maildir",
            "metrics",
            "logging",
            "transcript",
            "net",
            "accounts",
            "config",
            "loaded_config",
            "system",
            "listener",
            "server",
            "client",
            "mua",
            "search",
            "tools",
        ],
    ),
    ("main", &["cli"]),
];

/// Modules that are plain values: sessions, the MIME reader, and the modules that stand on it.
const PLAIN: [&str; 6] = ["compose", "proto", "mime", "message_object", "search", "api"];

/// These words may not stand in them.
const NOT_IN_PROTO: [&str; 5] = ["std::fs", "std::thread", "std::process", "SystemTime::now", "Instant"];

/// These types of `std::net` may: addresses are values too.
const ADDRESSES: [&str; 6] = ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

/// Every crate that the daemon is built of, with what those import: one name a line.
const LIST_OF_CRATES: &str = "tests/docs/daemon_crates.txt";

/// One source file: where it stands in the crate, and its text without comments, strings and unit tests.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    lines: usize,
    code: String,
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let below = path.strip_prefix(root).unwrap().with_extension("");
        let mut module: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        Self { module, lines: text.lines().count(), code: without_tests(&without_comments(&text)), path }
    }

    /// The module below the root that this file belongs to; `lib.rs` is the map of them and imports none.
    fn top(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// Whether the file holds unit tests only.
    fn is_test(&self) -> bool {
        self.module.iter().any(|part| part == "tests")
    }

    /// The modules below the root that this file names, with the path that does it.
    fn imports(&self) -> BTreeSet<(String, String)> {
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
    fn named(&self, modules: &BTreeSet<Vec<String>>) -> Vec<Vec<String>> {
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
    fn passed_on(&self) -> (Vec<Vec<String>>, String) {
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

fn sources() -> Vec<Source> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), found);
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                found.push(entry.path());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    found.sort();
    found.into_iter().map(|path| Source::read(&root, path)).collect()
}

/// The text without comments and without what is in strings and character literals.
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

/// How many `#` a raw string begins with, if one begins here.
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
fn paths(code: &str) -> Vec<Vec<String>> {
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

/// Reads one path from the tokens, or a list of them in braces, and adds them behind `prefix`.
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
fn every_arrow_between_modules_is_in_the_table_and_every_one_there_is_used() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(top) = source.top() else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == top) else {
            wrong.push(format!("{}: {top} is not in the table of arrows", source.path.display()));
            continue;
        };
        for (module, path) in source.imports() {
            if module != top && !allowed.contains(&module.as_str()) {
                wrong.push(format!("{}: {top} may not import {module} ({path})", source.path.display()));
            }
            used.insert((top.to_owned(), module));
        }
    }
    for (module, allowed) in ARROWS {
        let idle = allowed.iter().filter(|below| !used.contains(&((*module).into(), (**below).into())));
        wrong.extend(idle.map(|below| format!("{module} imports {below} no more: take it out of the table")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The files that import each other in a circle, by the module below the root that they belong to. A name that a file
/// only passes on with `pub use` is looked for where it comes from.
fn circles(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|source| source.module.clone()).collect();
    let mut passed_on: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for source in sources {
        for path in source.passed_on().0 {
            let name = [&source.module[..], &path[path.len() - 1..]].concat();
            passed_on.insert(name, [&source.module[..], &path[..]].concat());
        }
    }
    let file_of = |mut path: Vec<String>| {
        for _ in 0..8 {
            let depth = (0..=path.len()).rev().find(|depth| modules.contains(&path[..*depth])).unwrap_or(0);
            let name = &path[..path.len().min(depth + 1)];
            match passed_on.get(name) {
                Some(origin) => path = origin.clone(),
                None => return path[..depth].to_vec(),
            }
        }
        path
    };
    let mut reached: BTreeMap<&[String], BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in sources {
        let within = |to: &Vec<String>| to.first() == source.module.first() && *to != source.module;
        let files = source.named(&modules).into_iter().map(file_of).filter(within);
        reached.entry(&source.module).or_default().extend(files);
    }
    let mut grows = true;
    while grows {
        grows = false;
        for module in modules.iter() {
            let from = reached[&module[..]].clone();
            let more: BTreeSet<_> = from.iter().flat_map(|to| reached[&to[..]].iter().cloned()).collect();
            grows |= !more.is_subset(&from);
            reached.get_mut(&module[..]).unwrap().extend(more);
        }
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| reached[&source.module[..]].contains(&source.module)) {
        found.entry(source.module[0].clone()).or_default().insert(source.module.join("::"));
    }
    found
}

#[test]
fn no_file_imports_another_in_a_circle() {
    let found = circles(&sources());
    assert!(found.is_empty(), "put the data types into a file below the code that acts on them: {found:#?}");
}

#[test]
fn a_circle_is_found_and_a_name_that_is_passed_on_makes_none() {
    let source = |module: &str, code: &str| Source {
        path: PathBuf::new(),
        module: module.split("::").map(str::to_owned).collect(),
        lines: 0,
        code: code.to_owned(),
    };
    let files = |sources: &[Source]| circles(sources).into_values().flatten().collect::<Vec<_>>();
    let facade = || source("a", "mod b; mod c; pub use b::{B, T}; pub(crate) fn helper() {}");
    let apart =
        [facade(), source("a::b", "use super::c::C;"), source("a::c", "use super::helper; use crate::d::D;")];
    assert_eq!(files(&apart), [""; 0]);
    let circle = [facade(), source("a::b", "use super::c::C;"), source("a::c", "use super::T;")];
    assert_eq!(files(&circle), ["a::b", "a::c"]);
    let seen = [source("a", "mod b; use b::B;"), source("a::b", "pub(super) fn f() {}")];
    assert_eq!(files(&seen), [""; 0]);
    let parent = [source("a", "mod b; use b::B;"), source("a::b", "fn f(_: super::State) {}")];
    assert_eq!(files(&parent), ["a", "a::b"]);
}

#[test]
fn every_arrow_points_down() {
    let mut wrong = Vec::new();
    for (at, (module, allowed)) in ARROWS.iter().enumerate() {
        let below: BTreeSet<&str> = ARROWS[..at].iter().map(|(module, _)| *module).collect();
        let up = allowed.iter().filter(|name| !below.contains(*name));
        wrong.extend(
            up.map(|name| format!("{module} imports {name}, which does not stand above it in the table")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The modules of the feature `tools`, as `src/lib.rs` has them.
fn modules_of_tools() -> BTreeSet<String> {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let gated = map.split("#[cfg(feature = \"tools\")]\n").skip(1);
    gated
        .filter_map(|rest| Some(rest.lines().next()?.strip_prefix("pub mod ")?.trim_end_matches(';').into()))
        .collect()
}

#[test]
fn the_daemon_imports_nothing_of_the_clients_and_tools() {
    let tools = modules_of_tools();
    assert!(["client", "tools", "testing"].iter().all(|name| tools.contains(*name)), "{tools:?}");
    for (module, allowed) in ARROWS.iter().filter(|(module, _)| !tools.contains(*module) && *module != "cli")
    {
        let wrong: Vec<_> = allowed.iter().filter(|name| tools.contains(**name)).collect();
        assert!(wrong.is_empty(), "{module} is part of the daemon and imports {wrong:?}");
    }
}

/// Packagers and auditors read the list. A crate more in it is a decision: CONTRIBUTING.md.
#[test]
fn the_daemon_is_built_of_the_crates_that_its_list_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--no-default-features", "--edges", "normal"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let crates: BTreeSet<String> = String::from_utf8_lossy(&tree.stdout)
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .filter(|name| name != env!("CARGO_PKG_NAME"))
        .collect();
    let listed = fs::read_to_string(root.join(LIST_OF_CRATES)).unwrap();
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let (more, fewer): (Vec<_>, Vec<_>) =
        crates.symmetric_difference(&listed).partition(|name| crates.contains(*name));
    assert!(
        more.is_empty() && fewer.is_empty(),
        "crates of `cargo tree --no-default-features` that are not in {LIST_OF_CRATES}: {more:?}; \
         those there that it does not have: {fewer:?}"
    );
}

#[test]
fn plain_values_touch_no_file_thread_socket_or_clock() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.top().is_some_and(|top| PLAIN.contains(&top))) {
        for path in paths(&source.code) {
            let joined = path.join("::");
            let address = path.get(2).is_some_and(|name| ADDRESSES.contains(&name.as_str()));
            let whole = format!("::{joined}::");
            let forbidden = NOT_IN_PROTO.iter().any(|name| whole.contains(&format!("::{name}::")));
            if forbidden || (joined.starts_with("std::net") && !address) {
                wrong.push(format!("{}: {joined}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Names and reasons come from others: what prints them is in one place, which escapes them.
#[test]
fn no_command_writes_to_the_terminal_by_itself() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.top() == Some("cli")) {
        // The mbox of an export is octets, and goes nowhere else.
        let mut allowed = usize::from(source.path.ends_with("src/cli/export.rs"));
        if source.path.ends_with("src/cli/output.rs") {
            continue;
        }
        for name in ["stdout()", "stderr()"] {
            for (at, _) in source.code.match_indices(name) {
                let asks = source.code[at + name.len()..].starts_with(".is_terminal()")
                    || source.code[..at].ends_with("use_"); // a question to clap
                if !asks && allowed > 0 && name == "stdout()" {
                    allowed -= 1;
                } else if !asks {
                    wrong.push(format!("{}: {name}", source.path.display()));
                }
            }
        }
        for name in ["println!", "print!"] {
            wrong.extend(source.code.contains(name).then(|| format!("{}: {name}", source.path.display())));
        }
    }
    assert!(wrong.is_empty(), "use src/cli/output.rs:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_grows_too_long_to_read() {
    let limit = |source: &Source| if source.path.ends_with("src/server/event_loop.rs") { 400 } else { 500 };
    let long = |source: &Source| source.lines > limit(source);
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| long(source))
        .map(|source| format!("{}: {} lines, at most {}", source.path.display(), source.lines, limit(source)))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
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
        let source = Source { path: PathBuf::new(), module, lines: 0, code };
        let found: BTreeSet<String> = source.imports().into_iter().map(|(module, _)| module).collect();
        assert!(found.iter().eq(imports), "{found:?} in {text}");
    }
}
