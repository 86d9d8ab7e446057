//! The recipes of the manual for the tests of other languages do what they should: they are taken from the page
//! as they stand there, beside a program to be tested. Where pytest, Jest or JUnit are not installed, as they are
//! on few machines, the few names that the recipes use of them are stood in for.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{home, installed, programs, skip};

/// The files of the page: each block whose line above names a file.
fn recipes() -> Vec<(String, String)> {
    let page = fs::read_to_string(root().join("docs/manual/tester.md")).unwrap();
    let mut found = Vec::new();
    let mut named = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.extend(named.take().map(|name: &str| (name.to_owned(), block.join("\n") + "\n")));
        } else if let Some(name) = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:")) {
            named = Some(name);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A directory with the files of the manual that end so, and with what stands beside them here.
fn directory(ending: &str, beside: &[&str]) -> tempfile::TempDir {
    let dir = home();
    let recipes: Vec<_> = recipes().into_iter().filter(|(name, _)| name.ends_with(ending)).collect();
    assert_eq!(recipes.len(), 2, "a helper and a test: {recipes:?}");
    for (name, text) in recipes {
        fs::write(dir.path().join(name), text).unwrap();
    }
    for file in beside {
        let to = dir.path().join(file.strip_prefix("java/").unwrap_or(file));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join("tests/docs/recipes").join(file), to).unwrap();
    }
    dir
}

/// Runs a program there; what it says. Both its tests must have passed.
#[track_caller]
fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(dir)
        .env("RESTANTE", env!("CARGO_BIN_EXE_restante"))
        .env("TMPDIR", dir);
    let done = command.output().unwrap();
    let said = programs::said(&done);
    assert!(done.status.success(), "{said}");
    said
}

#[test]
fn the_recipe_for_pytest() {
    let dir = directory(".py", &["app.py", "without_pytest.py"]);
    let has_pytest = Command::new("python3").args(["-c", "import pytest"]).output().unwrap().status.success();
    let said = if has_pytest {
        run(dir.path(), "python3", &["-m", "pytest", "-q", "-p", "no:cacheprovider"])
    } else {
        run(dir.path(), "python3", &["without_pytest.py"])
    };
    assert!(said.contains("2 passed") || said.matches("passed test_").count() == 2, "{said}");
}

#[test]
fn the_recipe_for_jest() {
    if !installed("node") {
        return skip("the_recipe_for_jest", "node is not installed");
    }
    let dir = directory(".js", &["app.js", "without_jest.js"]);
    let said = run(dir.path(), "node", &["without_jest.js"]);
    assert!(said.contains("# pass 2") || said.contains("pass 2"), "{said}");
}

#[test]
fn the_recipe_for_junit() {
    if !installed("javac") {
        return skip("the_recipe_for_junit", "javac is not installed");
    }
    let junit = ["BeforeAll", "AfterAll", "Test", "Assertions"]
        .map(|name| format!("java/org/junit/jupiter/api/{name}.java"));
    let mut beside: Vec<&str> = junit.iter().map(String::as_str).collect();
    beside.extend(["java/App.java", "java/WithoutJUnit.java"]);
    let dir = directory(".java", &beside);
    run(dir.path(), "javac", &["-d", "classes", "SignupTest.java", "WithoutJUnit.java"]);
    let said = run(dir.path(), "java", &["-cp", "classes", "-Xshare:auto", "WithoutJUnit"]);
    assert!(said.contains("passed both"), "{said}");
}
