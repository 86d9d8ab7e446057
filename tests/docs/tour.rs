//! README, and each page that starts its own servers, is a path that a newcomer types from top to bottom: in a fresh
//! clone, with a fresh home, in the terminals that it names. Each command does what it should, and prints the output
//! that stands below it.

mod terminal;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
    time::Instant,
};

use regex::Regex;

use crate::{
    common::{PATIENCE, home, installed, programs::said, skip},
    manual::{
        page::{Kind, Page, Port, Terminal},
        session,
    },
};
use terminal::{Running, Shell, Visitor};

/// Set in the process that has a network of its own, in which the ports of the pages are free.
const INSIDE: &str = "RESTANTE_TOUR";
const PROGRAMS: [&str; 9] = ["git", "make", "bash", "script", "curl", "telnet", "swaks", "mutt", "openssl"];

#[test]
fn h01_readme_is_typed_from_top_to_bottom_in_a_fresh_clone() {
    typed_in_order("README.md", "h01_readme_is_typed_from_top_to_bottom_in_a_fresh_clone");
}

#[test]
fn h05_the_page_of_the_course_is_typed_with_the_configurations_as_they_stand() {
    typed_in_order(
        "docs/manual/course.md",
        "h05_the_page_of_the_course_is_typed_with_the_configurations_as_they_stand",
    );
}

#[test]
fn h01_the_french_page_is_typed_from_top_to_bottom() {
    typed_in_order("docs/manual/demarrage.md", "h01_the_french_page_is_typed_from_top_to_bottom");
}

#[test]
fn h06_the_page_of_the_second_year_is_typed_beside_a_server() {
    let name = "h06_the_page_of_the_second_year_is_typed_beside_a_server";
    if !installed("rsync") {
        return skip(name, "rsync is not installed");
    }
    typed_in_order("docs/manual/year-two.md", name);
}

#[test]
fn h06_the_firewall_of_the_examples_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/firewall.nft");
    // Without a network of its own, nft may change nothing, and cannot even check.
    let words = ["--user", "--map-root-user", "--net", "nft", "-c", "-f", file];
    match Command::new("unshare").args(words).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) if installed("nft") && !said(&output).contains("not permitted") => {
            panic!("{}", said(&output))
        }
        _ => skip("h06_the_firewall_of_the_examples_is_valid", "nft cannot check it here"),
    }
}

/// The reason why the pages cannot be typed on this machine.
fn missing() -> Option<String> {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists() {
        return Some("this tree is no clone, and cannot be cloned".into());
    }
    PROGRAMS.iter().find(|program| !installed(program)).map(|program| format!("{program} is not installed"))
}

/// Types a page, in a process that has a network of its own. The arguments of that process name the test alone.
fn typed_in_order(page: &str, test: &str) {
    if env::var_os(INSIDE).is_some() {
        return tour(page);
    }
    if let Some(missing) = missing() {
        return skip(test, &missing);
    }
    let in_namespace = |words: &[&str]| {
        let script = "ip link set lo up && exec \"$@\"";
        let is_root = rustix::process::geteuid().is_root();
        let user: &[&str] = if is_root { &[] } else { &["--map-current-user", "--keep-caps"] };
        let mut command = Command::new("unshare");
        command.arg("--net").args(user).args(["sh", "-c", script, "sh"]).args(words).env(INSIDE, "1");
        command
    };
    if !in_namespace(&["true"]).output().is_ok_and(|output| output.status.success()) {
        return skip(test, "this process cannot have a network of its own (unshare, ip)");
    }
    let this = env::current_exe().unwrap();
    let (this, test) = (this.to_str().unwrap(), format!("tour::{test}"));
    let done = in_namespace(&[this, "--exact", &test, "--nocapture"]).output().unwrap();
    let said = said(&done);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

fn tour(name: &str) {
    let home = home();
    let visitor = Visitor::new(home.path(), clone(&home.path().join("restante")));
    let before = status(&visitor.clone);
    let page = Page::read(visitor.clone.join(name));
    let mut failures = Vec::new();
    let mut every: Vec<String> = Vec::new();
    let mut second = Shell::open(&visitor);
    if name != "README.md" {
        let readme = Page::read(visitor.clone.join("README.md"));
        let first_steps = readme.blocks.into_iter().find(|block| block.terminal == Terminal::Every);
        every = first_steps.expect("README says how to begin").lines;
        second.run(&every);
    }
    let (mut first, mut third): (Option<Running>, Option<(Running, _)>) = (None, None);
    let mut typed = 0;
    for block in &page.blocks {
        let at = format!("{name}:{}", block.line);
        match (block.kind, block.terminal) {
            (Kind::Dialogue { port, .. }, _) => {
                let port = match port {
                    Port::Smtp => 2525,
                    Port::Pop3 => 1110,
                    Port::Imap => 1143,
                };
                let played = session::play(block, ([127, 0, 0, 1], port).into());
                failures.extend(played.err().map(|why| format!("{at}: {why}")));
            }
            (Kind::Commands, Terminal::First) => {
                drop(first.take()); // Ctrl-C
                let server = Running::start(&visitor, &every, &block.lines);
                server.tells("pop3 listening");
                first = Some(server);
            }
            (Kind::Commands, Terminal::Third) => {
                let watch = Running::on_screen(&visitor, &every, &block.lines, 100);
                watch.tells("Waiting for sessions");
                third = Some((watch, block));
            }
            (Kind::Commands, Terminal::Fourth) => {
                let expected = block.output.as_ref().unwrap();
                let mut program = Running::on_screen(&visitor, &every, &block.lines, 80);
                program.answers(&answers(expected));
                program.prints(|printed| difference(expected, printed));
            }
            (Kind::Commands, _) => {
                match block.terminal {
                    Terminal::Every => every.extend(block.lines.clone()),
                    Terminal::SecondAlone => drop(first.take()),
                    _ => {}
                }
                // In a user namespace the directories of root belong to the user `nobody`, and `restante status`
                // trusts none of them.
                let looks = block.lines == ["restante status"];
                if looks && !rustix::process::geteuid().is_root() {
                    continue;
                }
                let mut type_it = || {
                    let (printed, is_good) = second.run(&block.lines);
                    let wrong = match &block.output {
                        Some(expected) => difference(expected, &printed),
                        None => (!is_good).then(|| "a command failed".into()),
                    };
                    (printed, wrong)
                };
                let (mut printed, mut wrong) = type_it();
                let deadline = Instant::now() + PATIENCE;
                // The server writes its figures every few seconds, and a visitor asks again.
                while wrong.is_some() && looks && Instant::now() < deadline {
                    (printed, wrong) = type_it();
                }
                failures.extend(wrong.map(|wrong| format!("{at}: {wrong}\n--- it printed:\n{printed}")));
            }
        }
        typed += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if let Some((watch, block)) = third {
        watch.prints(|printed| difference(block.output.as_ref().unwrap(), printed));
    }
    drop((first, second));
    assert_eq!(before, status(&visitor.clone), "the tour leaves nothing in the clone");
    assert!(typed >= 5, "{typed} blocks");
}

#[test]
fn h02_h03_make_run_takes_other_ports_and_the_commands_on_its_screen_work_as_they_stand() {
    let name = "h02_h03_make_run_takes_other_ports_and_the_commands_on_its_screen_work_as_they_stand";
    if let Some(missing) = missing() {
        return skip(name, &missing);
    }
    let home = home();
    let visitor = Visitor::new(home.path(), clone(&home.path().join("restante")));
    let make =
        "make run SMTP=127.0.0.1:0 POP3=127.0.0.1:0 IMAP=127.0.0.1:0 HTTP=127.0.0.1:0 ARGS=--no-faults";
    let server = Running::start(&visitor, &[], &[make.to_owned()]);
    server.tells("pop3 listening"); // the thread of the log may write this before the screen is there
    let screen = server.tells("restante watch").replace("\\\n", "");
    let commands: Vec<&str> = screen.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let mut shell = Shell::open(&visitor);
    let mut run = Vec::new();
    for command in &commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let is_typed_by_people =
            ["mutt", "telnet"].contains(&words[0]) || ["client", "watch"].contains(&words[1]);
        let line =
            if is_typed_by_people { format!("command -v {}", words[0]) } else { (*command).to_owned() };
        let (printed, is_good) = shell.run(&[line]);
        assert!(is_good, "{command}: {printed}");
        run.push(words[..2].join(" "));
    }
    for wanted in
        ["printf 'From:", "mutt -f", "target/release/restante client", "target/release/restante watch"]
    {
        assert!(run.iter().any(|command| command == wanted), "{wanted} is not among {run:?}");
    }
    let written = fs::read_dir(visitor.clone.join("transcripts")).unwrap().count();
    assert!(written > 0, "restante watch has something to show");
}

/// The questions of a program on the page, and the typed answer to each of them.
fn answers(lines: &[String]) -> Vec<(&str, &str)> {
    let ends = ["Name or address:", "Password:", "Your choice:", "q back:"];
    let typed = lines.iter().filter_map(|line| {
        let end = ends.iter().find_map(|end| Some(line.find(end)? + end.len()))?;
        let (question, answer) = line.split_at(end);
        Some((question, if question == "Password:" { "any" } else { answer.trim() }))
    });
    typed.collect()
}

/// Compares the lines of an output with those of the page. A line `...` there stands for any lines.
fn difference(expected: &[String], printed: &str) -> Option<String> {
    let mut lines = printed.lines().map(str::trim_end);
    let mut skipping = false;
    for line in expected {
        if line.trim() == "..." {
            skipping = true;
            continue;
        }
        let found = if skipping { lines.by_ref().find(|other| same(line, other)) } else { lines.next() };
        if found.is_none_or(|other| !same(line, other)) {
            return Some(format!("the page has {line:?}, and the terminal {found:?}"));
        }
        skipping = false;
    }
    lines.next().filter(|_| !skipping).map(|line| format!("the page does not have {line:?}"))
}

/// Whether two lines differ in nothing but ids, dates, times, sizes and the names of files, or in the figures of
/// `restante status`.
fn same(one: &str, other: &str) -> bool {
    let known = |line: &str| {
        let mut line = line.trim_end().to_owned();
        for (pattern, name) in NEW_EACH_TIME.iter() {
            line = pattern.replace_all(&line, *name).into_owned();
        }
        if ROW_OF_STATUS.is_match(&line) {
            line = FIGURE.replace_all(&line, "N").into_owned();
            line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        line
    };
    session::same(&known(one), &known(other))
}

// Made once: a slow machine would take longer for them than a terminal is waited for.
static NEW_EACH_TIME: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        // The rows of `restante client`; `swaks` puts the date into its subjects.
        (r"\btest \w{3}, [^…]*… +", "SUBJECT "),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d +\d+ B$", "DATE SIZE"),
        ("^'(.*)'$", "$1"), // some `ls` quote names on a terminal
        (r"^(\d+) \d+$", "$1 SIZE"),
        (r"\boctets=\d+|\b\d+ octets\b", "OCTETS"),
        (r"^c[0-9a-f]+ +(\+\d+\.\d{3} +)?", "ID TIME "),
        (r"\b\d{9,}\.M[^\s:]+", "FILE"),
    ];
    patterns.map(|(pattern, name)| (Regex::new(pattern).unwrap(), name)).into()
});
static ROW_OF_STATUS: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-z][a-z0-9]+ {2,}").unwrap());
static FIGURE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\d.]+( [KMG]?i?B\b| ?m?s\b)?").unwrap());

/// Clones the tree, with its changes that are not committed yet.
fn clone(to: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cloned = git(Path::new("/"), &["clone", "-q", root.to_str().unwrap(), to.to_str().unwrap()]);
    assert!(cloned.status.success(), "{}", said(&cloned));
    let files = git(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).stdout;
    for file in String::from_utf8(files).unwrap().split_terminator('\0') {
        let (from, to) = (root.join(file), to.join(file));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        match fs::read(&from) {
            Ok(content) if fs::read(&to).ok().as_ref() == Some(&content) => {}
            Ok(_) => drop(fs::copy(&from, &to).unwrap()),
            Err(_) => drop(fs::remove_file(&to)), // deleted, and not committed yet
        }
    }
    to.to_owned()
}

/// The files of a clone that differ from its last commit.
fn status(clone: &Path) -> String {
    String::from_utf8(git(clone, &["status", "--porcelain"]).stdout).unwrap()
}

/// Runs git, which may read a repository of another user too.
fn git(directory: &Path, words: &[&str]) -> Output {
    let trusting = home();
    let file = trusting.path().join("gitconfig");
    fs::write(&file, "[safe]\n\tdirectory = *\n").unwrap();
    let mut git = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(variable); // a hook of git sets them for its own repository
    }
    git.env("GIT_CONFIG_GLOBAL", file).current_dir(directory).args(words).output().unwrap()
}
