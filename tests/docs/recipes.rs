//! The recipes of the manual for the tests of other languages do what they should: they are copied unchanged from the
//! page, beside a program to be tested. If pytest, Jest or JUnit are not installed, as on most machines, stubs replace
//! the few names that the recipes use of them. Those of Cypress are always stubs: npm's package only downloads the
//! program, from a site that is no registry, and the program needs a window.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{
    home, installed,
    programs::{self, chromium, python},
    skip,
};

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

/// A directory with these files of the manual, and with the files of this test beside them.
fn directory(names: &[&str], beside: &[&str]) -> tempfile::TempDir {
    let dir = home();
    let recipes = recipes();
    for name in names {
        let (_, text) = recipes.iter().find(|(known, _)| known == name).expect(name);
        fs::write(dir.path().join(name), text).unwrap();
    }
    for file in beside {
        let to = dir.path().join(file.strip_prefix("java/").unwrap_or(file));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join("tests/docs/recipes").join(file), to).unwrap();
    }
    dir
}

/// Makes the packages of npm that are installed there its own; the path of a program among them.
fn with_package(dir: &Path, program: &str) -> Option<PathBuf> {
    let modules = PathBuf::from(env::var_os("RESTANTE_NODE_MODULES")?).canonicalize().ok()?;
    modules.join(program).exists().then(|| {
        symlink(&modules, dir.join("node_modules")).unwrap();
        dir.join("node_modules").join(program)
    })
}

/// Runs a program there, and returns its output. It must succeed.
#[track_caller]
fn run(dir: &Path, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    run_with(dir, program, arguments, &[])
}

#[track_caller]
fn run_with(
    dir: &Path,
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    variables: &[(&str, &Path)],
) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(variables.iter().copied())
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
    let dir = directory(&["conftest.py", "test_signup.py"], &["app.py", "without_pytest.py"]);
    let has_pytest = Command::new(python()).args(["-c", "import pytest"]).output().unwrap().status.success();
    let said = if has_pytest {
        run(dir.path(), python(), &["-m", "pytest", "-q", "-p", "no:cacheprovider"])
    } else {
        run(dir.path(), python(), &["without_pytest.py"])
    };
    assert!(said.contains("2 passed") || said.matches("passed test_").count() == 2, "{said}");
}

#[test]
fn h37_a_recipe_that_waits_in_vain_tells_the_mail_that_is_there() {
    let dir = directory(&["conftest.py", "test_signup.py"], &["app.py", "without_pytest.py"]);
    let mut said = vec![run(dir.path(), python(), &["without_pytest.py"])];
    if installed("node") {
        let dir = directory(&["mail.js"], &["app.js", "in_vain.js"]);
        said.push(run(dir.path(), "node", &["in_vain.js"]));
    }
    for said in said {
        for part in [
            "in vain: subject:invoice for ",
            "No such message came in time. Subjects in the inbox: [",
            "Welcome",
        ] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
    }
}

#[test]
fn the_recipe_for_jest() {
    if !installed("node") {
        return skip("the_recipe_for_jest", "node is not installed");
    }
    let dir = directory(&["mail.js", "signup.test.js"], &["app.js", "without_jest.js"]);
    let said = match with_package(dir.path(), "jest/bin/jest.js") {
        Some(jest) => run(dir.path(), "node", &[jest.to_str().unwrap(), "--config", "{}"]),
        None => run(dir.path(), "node", &["without_jest.js"]),
    };
    assert!(said.contains("2 passed, 2 total") || said.contains("pass 2"), "{said}");
}

#[test]
fn the_recipe_for_playwright() {
    let name = "the_recipe_for_playwright";
    let Some(chromium) = chromium() else { return skip(name, "chromium is not installed") };
    let dir = directory(&["mail.js", "fixtures.js", "signup.spec.js"], &["app.js", "playwright.config.js"]);
    let Some(playwright) = with_package(dir.path(), "@playwright/test/cli.js") else {
        return skip(
            name,
            "RESTANTE_NODE_MODULES has no @playwright/test: npm install --prefix DIR @playwright/test",
        );
    };
    let playwright = playwright.to_str().unwrap().to_owned();
    let said = run_with(dir.path(), "node", &[&playwright, "test"], &[("CHROMIUM", &chromium)]);
    assert!(said.contains("2 passed"), "{said}");
}

#[test]
fn the_recipe_for_cypress() {
    if !installed("node") {
        return skip("the_recipe_for_cypress", "node is not installed");
    }
    let names = ["mail.js", "cypress.config.js", "signup.cy.js"];
    let dir = directory(&names, &["app.js", "without_cypress.js"]);
    let said = run(dir.path(), "node", &["without_cypress.js"]);
    assert!(said.contains("passed who signs up"), "{said}");
}

#[test]
fn the_recipe_for_junit() {
    if !installed("javac") {
        return skip("the_recipe_for_junit", "javac is not installed");
    }
    if Path::new(JUNIT).exists() {
        let dir = directory(&["Mail.java", "SignupTest.java"], &["java/App.java"]);
        run(
            dir.path(),
            "javac",
            &["-cp", JUNIT, "-d", "classes", "Mail.java", "SignupTest.java", "App.java"],
        );
        let scan = ["-jar", JUNIT, "--class-path", "classes", "--scan-class-path", "--disable-banner"];
        let said = run(dir.path(), "java", &scan);
        assert!(said.contains(" 2 tests successful "), "{said}");
        return;
    }
    let junit = ["BeforeAll", "AfterAll", "Test", "Assertions"]
        .map(|name| format!("java/org/junit/jupiter/api/{name}.java"));
    let mut beside: Vec<&str> = junit.iter().map(String::as_str).collect();
    beside.extend(["java/App.java", "java/WithoutJUnit.java"]);
    let dir = directory(&["Mail.java", "SignupTest.java"], &beside);
    run(dir.path(), "javac", &["-d", "classes", "SignupTest.java", "WithoutJUnit.java"]);
    let said = run(dir.path(), "java", &["-cp", "classes", "-Xshare:auto", "WithoutJUnit"]);
    assert!(said.contains("passed both"), "{said}");
}

/// JUnit with its launcher, from Debian's package `junit5`.
const JUNIT: &str = "/usr/share/java/junit-platform-console-standalone.jar";
