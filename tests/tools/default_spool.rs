//! The spool of a tool that is given none.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::common::{home, skip};

#[test]
fn u111_every_tool_for_a_spool_takes_that_of_the_directory_and_tells_where_it_has_looked() {
    if Path::new("/etc/restante/restante.toml").exists() {
        return skip(
            "u111_every_tool_for_a_spool_takes_that_of_the_directory_and_tells_where_it_has_looked",
            "this machine has a configuration",
        );
    }
    let home = home();
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(words).current_dir(home.path()).env_remove("RESTANTE_CONFIG").stdin(Stdio::null());
        let output = command.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let letter = "From a@b.test Sat Jan  3 01:05:34 1996\nSubject: here\n\nx\n";
    fs::write(home.path().join("old.mbox"), letter).unwrap();
    let import = ["import", "old.mbox", "--to", "bob@example.test", "--create"];
    let (export, fsck) = (["export", "bob@example.test"], ["fsck"]);
    let (wait, purge) = (["wait", "--to", "bob@example.test", "--timeout=0"], ["purge", "--all", "--yes"]);
    let all = [&import[..], &export, &fsck, &wait, &purge];
    for words in all {
        let (code, _, told) = run(words);
        assert!(code == 1 || code == 2, "{words:?}: {told}");
        for part in [
            "there is neither ",
            "RESTANTE_CONFIG",
            " a spool ./spool: name the spool with --spool or --config",
        ] {
            assert!(told.contains(part), "{words:?}: {told}");
        }
    }
    fs::create_dir_all(home.path().join("spool/src")).unwrap();
    for words in [&import[..], &export, &fsck, &purge] {
        let (code, _, told) = run(words);
        assert!(code == 2 && told.contains("has no mailbox in it"), "{words:?}: {told}");
    }
    fs::remove_dir(home.path().join("spool/src")).unwrap();
    for words in all {
        let (code, said, told) = run(words);
        assert_eq!(code, 0, "{words:?}: {said}{told}");
        assert_eq!(said.contains("Subject: here"), words[0] == "export", "{said}");
    }
}
