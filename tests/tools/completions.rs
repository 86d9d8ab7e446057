//! The completions of each shell, read by that shell.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::common::{home, installed, programs, skip};

/// The files that `make install` puts in place.
fn pages() -> TempDir {
    let pages = home();
    let mut restante = Command::new(env!("CARGO_BIN_EXE_restante"));
    let output = restante.arg("pages").arg(pages.path()).output().unwrap();
    assert!(output.status.success(), "{}", programs::said(&output));
    pages
}

/// Runs a script in a shell that knows nothing of its user. Its standard output, unless it complained.
#[track_caller]
fn shell(words: &[&str], script: &str, file: &Path) -> String {
    let empty = home();
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(["-c", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", empty.path())
        .env("COMPLETION", file)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{words:?}: {}\n{complaint}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Each word must be a line of its own, perhaps before a tab and its description.
#[track_caller]
fn proposes(said: &str, words: &[&str]) {
    let offered: Vec<&str> = said.lines().map(|line| line.split('\t').next().unwrap()).collect();
    let missing: Vec<_> = words.iter().filter(|word| !offered.contains(word)).collect();
    assert!(missing.is_empty(), "{missing:?} are not proposed, but\n{said}");
}

/// The sub-commands of `restante s…`, and the formats of `restante import --format`.
const COMMANDS: [&str; 4] = ["seed", "send", "serve", "status"];
const FORMATS: [&str; 3] = ["mboxrd", "mboxo", "auto"];

#[test]
fn h04_bash_reads_its_completion_and_proposes_words() {
    if !installed("bash") {
        return skip("h04_bash_reads_its_completion_and_proposes_words", "bash is not installed");
    }
    let pages = pages();
    let file: PathBuf = pages.path().join("bash/restante");
    let script = r#"
        set -e
        source "$COMPLETION"
        complete -p restante > /dev/null
        propose() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _restante restante "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
            printf '%s\n' "${COMPREPLY[@]}"
        }
        propose restante s
        propose restante import --format ''
    "#;
    let said = shell(&["bash", "--norc", "--noprofile"], script, &file);
    proposes(&said, &[&COMMANDS[..], &FORMATS].concat());
}

#[test]
fn u66_files_are_proposed_only_where_a_path_is_taken() {
    if !installed("bash") {
        return skip("u66_files_are_proposed_only_where_a_path_is_taken", "bash is not installed");
    }
    let pages = pages();
    let script = r#"
        source "$COMPLETION"
        cd "${COMPLETION%/*}"
        compopt() { :; } # which works in a terminal only
        propose() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _restante restante "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
            printf '%s\n' "${COMPREPLY[@]}"
        }
        propose restante dev --persona ''
        propose restante dev --host ''
        propose restante wait --to ''
        echo --
        propose restante check --config ''
    "#;
    let said = shell(&["bash", "--norc", "--noprofile"], script, &pages.path().join("bash/restante"));
    let (names, paths) = said.split_once("--\n").unwrap();
    proposes(names, &["rfc821", "rfc1081", "rfc1460", "rfc1939", "modern"]);
    // The only file of the directory is the completion itself.
    assert!(!names.lines().any(|name| name == "restante"), "{names}");
    proposes(paths, &["restante"]);
}

#[test]
fn h04_fish_reads_its_completion_and_proposes_words() {
    if !installed("fish") {
        return skip("h04_fish_reads_its_completion_and_proposes_words", "fish is not installed");
    }
    let pages = pages();
    let script = r#"
        source $COMPLETION
        complete --do-complete 'restante s'
        complete --do-complete 'restante import --format '
    "#;
    let said = shell(&["fish", "--no-config"], script, &pages.path().join("fish/restante.fish"));
    proposes(&said, &[&COMMANDS[..], &FORMATS].concat());
    assert!(said.contains("mboxrd\tAny number of > before “From ”"), "{said}");
}

#[test]
fn h04_zsh_reads_its_completion_and_knows_the_words() {
    if !installed("zsh") {
        return skip("h04_zsh_reads_its_completion_and_knows_the_words", "zsh is not installed");
    }
    let pages = pages();
    // compadd works in a terminal only, so a function in its place says what the completion describes.
    let script = r#"
        setopt err_exit
        fpath=(${COMPLETION:h} $fpath)
        autoload -Uz compinit
        compinit -D -u
        [[ $_comps[restante] = _restante ]]
        zsh -n $COMPLETION
        _describe() { print -rl -- "${(@)${(P)4}%%:*}" }
        _arguments() { : }
        autoload +X _restante
        _restante > /dev/null
        _restante_commands
    "#;
    let said = shell(&["zsh", "-f"], script, &pages.path().join("zsh/_restante"));
    proposes(&said, &COMMANDS);
}
