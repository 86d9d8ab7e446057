//! The arrows between the modules: a leaf that grows a dependency, or a protocol that opens a file, fails
//! here. Comments and unit tests are not looked at.

mod arrows;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use arrows::ARROWS;
use source::{Source, paths, rust_files, sources};

/// Modules that are plain values: sessions, the MIME reader, and the modules that stand on it.
const PLAIN: [&str; 6] = ["compose", "proto", "mime", "message_object", "search", "api"];

/// These words may not stand in them.
const NOT_IN_PROTO: [&str; 5] = ["std::fs", "std::thread", "std::process", "SystemTime::now", "Instant"];

/// These types of `std::net` may: addresses are values too.
const ADDRESSES: [&str; 6] = ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

/// Every crate that the daemon is built of, with what those import: one name a line.
const LIST_OF_CRATES: &str = "tests/docs/daemon_crates.txt";

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let most = |path: &Path| if path.ends_with("src/server/event_loop.rs") { 400 } else { 500 };
    let mut long = Vec::new();
    for dir in ["src", "tests", "benches", "fuzz/src", "fuzz/programs"] {
        for path in rust_files(&root.join(dir)) {
            let (lines, most) = (fs::read_to_string(&path).unwrap().lines().count(), most(&path));
            long.extend((lines > most).then(|| format!("{}: {lines} lines, at most {most}", path.display())));
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn names_are_compared_with_mistyped_ones_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let compare = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("strsim::");
    let found: Vec<PathBuf> = rust_files(&root).into_iter().filter(compare).collect();
    assert_eq!(found, [root.join("near_name.rs")], "near_name has the bound and the tests");
}
