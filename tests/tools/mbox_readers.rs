//! An mbox that `restante export` has written, as Python and mutt read it.

use std::{fs, process::Command};

use crate::{
    common::{
        home, installed,
        mutt::{NEEDS, mutt_in},
        skip,
        tools::Desk,
    },
    mbox::{BOB, mbox},
};

/// Compares what Python's own reader finds in an mbox with the files of a Maildir, in order.
const PYTHON: &str = r#"
import email.utils, mailbox, re, sys, time
box, files, rd = mailbox.mbox(sys.argv[1], create=False), sys.argv[3:], sys.argv[2] == "mboxrd"
assert len(box) == len(files), (len(box), len(files))
for key, path in zip(box.keys(), files):
    text = box.get_bytes(key)
    if rd:
        text = re.sub(rb"^>(>*From )", rb"\1", text, flags=re.M)
    else:
        text = re.sub(rb"^>From ", b"From ", text, flags=re.M)
    kept = re.sub(rb"^(X-)?Status: .*\n", b"", text, flags=re.M)
    with open(path, "rb") as file:
        assert kept == file.read(), path
    flags = set(box[key].get_flags())
    info = path.partition(":2,")[2]
    letters = {"S": "R", "R": "A", "F": "F", "D": "T", "T": "D"}
    expected = {letters[flag] for flag in info} | ({"O"} if "/cur/" in path else set())
    assert flags == expected, (path, flags, expected)
    date = time.strptime(" ".join(box[key].get_from().split()[1:]))
    assert time.strftime("%s", date) == str(int(__import__("os").stat(path).st_mtime)), path
"#;

#[test]
fn python_reads_the_same_messages() {
    if !installed("python3") {
        return skip("python_reads_the_same_messages", "python3 is not installed");
    }
    let backend = Desk::new();
    backend.file("in", mbox(30));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    let bob = backend.maildir(BOB);
    let mut files = [bob.files("new"), bob.files("cur")].concat();
    files.sort_by_key(|file| {
        file.file_name().unwrap().to_string_lossy().split('Q').next().unwrap().to_owned()
    });
    // In mboxo a line that begins with `>From` looks the same whether the export quoted it or not.
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        fs::write(file, text.replace(">From", " From")).unwrap();
        fs::File::options().write(true).open(file).unwrap().set_modified(modified).unwrap();
    }
    for format in ["mboxrd", "mboxo"] {
        backend.run(&["export", BOB, "--format", format, "-o", format], 0);
        let mut python = Command::new("python3");
        python.env("TZ", "UTC").args(["-c", PYTHON]).arg(backend.path(format)).arg(format).args(&files);
        let output = python.output().unwrap();
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn mutt_counts_the_same_messages_with_the_same_flags() {
    const TEST: &str = "mutt_counts_the_same_messages_with_the_same_flags";
    if let Some(missing) = NEEDS.iter().find(|program| !installed(program)) {
        return skip(TEST, &format!("{missing} is not installed"));
    }
    let backend = Desk::new();
    let text = b"From s@far.test Sat Jan  3 09:00:00 2026\nSubject: tail\n\nFrom here on it is text\n\n";
    backend.file("in", [mbox(12), text.to_vec()].concat());
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    backend.run(&["export", BOB, "-o", "out"], 0);
    for name in ["in", "out"] {
        let listed = |pattern: &str| {
            let home = home();
            let keys =
                format!("<tag-pattern>{pattern}<enter><tag-prefix><pipe-message>cat >> listed<enter><exit>");
            let output = mutt_in(home.path(), &backend.path(name), "-R", &keys, 20);
            assert!(output.status.success(), "{name} {pattern}: {}", output.status);
            let text = fs::read_to_string(home.path().join("listed")).unwrap();
            text.lines().filter(|line| line.starts_with("Subject: ")).count()
        };
        for (pattern, expected) in [("~A", 13), ("~N", 4), ("~O", 3), ("~R", 6), ("~F", 3), ("~Q", 3)] {
            assert_eq!(listed(pattern), expected, "{name} {pattern}");
        }
    }
}
