//! Files with one message each, and directories of them, into a mailbox: every octet once, and nothing in silence.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::geteuid;

use crate::{
    common::{
        inject::can_inject,
        skip,
        tools::{Desk, ended},
    },
    mbox::{BOB, import_survives, mbox, packed, subjects},
};

/// The content of all messages of a mailbox, sorted.
fn contents(backend: &Desk, mailbox: &str) -> Vec<Vec<u8>> {
    let maildir = backend.maildir(mailbox);
    let mut all: Vec<Vec<u8>> = [maildir.files("new"), maildir.files("cur")]
        .concat()
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    all.sort();
    all
}

fn printed(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// Messages as programs write them: their content, the octets left out before the header, and the message.
const MESSAGES: &[(&[u8], &str, &[u8])] = &[
    (b"Subject: plain\n\nx\n", "", b"Subject: plain\n\nx\n"),
    (
        b"\xef\xbb\xbfFrom: a@b.test\nSubject: bom\n\nx\n",
        "a byte order mark",
        b"From: a@b.test\nSubject: bom\n\nx\n",
    ),
    (b"\n\r\nSubject: lines\n\nx\n", "2 empty lines", b"Subject: lines\n\nx\n"),
    (b"\xef\xbb\xbf\nSubject: both\n\nx", "a byte order mark and 1 empty line", b"Subject: both\n\nx"),
    (b"Subject: windows\r\n\r\nx\r\n\r\nFrom here\r\n", "", b"Subject: windows\n\nx\n\nFrom here\n"),
    (b"\xef\xbb\xbfSubject: windows bom\r\n\r\nx", "a byte order mark", b"Subject: windows bom\n\nx"),
    (b"Subject: mac\rTo: a\r\rx\r\ry\r", "", b"Subject: mac\nTo: a\n\nx\n\ny\n"),
    (b"Subject: no end\n\nno line end", "", b"Subject: no end\n\nno line end"),
    (b"Subject: empty lines\n\n\n\n\n", "", b"Subject: empty lines\n\n\n\n\n"),
    (
        b"Subject: quotes\n\nFrom ann@far.test Sat Jan  3 10:05:34 2026\nSubject: inner\n\n>From x\n",
        "",
        b"Subject: quotes\n\nFrom ann@far.test Sat Jan  3 10:05:34 2026\nSubject: inner\n\n>From x\n",
    ),
    (
        b"Subject: gr\xfc\xdfe\n\n\xe9t\xc3\xa9 \0\xff\r\n\r",
        "",
        b"Subject: gr\xfc\xdfe\n\n\xe9t\xc3\xa9 \0\xff\r\n\r",
    ),
    (b"Subject: only a header", "", b"Subject: only a header"),
    (
        b"Received: by x; Sat, 3 Jan 2026 10:00:00 +0000\nStatus: RO\n\nx",
        "",
        b"Received: by x; Sat, 3 Jan 2026 10:00:00 +0000\nStatus: RO\n\nx",
    ),
];

#[test]
fn u85_one_message_is_delivered_octet_for_octet_however_its_file_begins_and_ends() {
    let backend = Desk::new();
    for (n, (content, left_out, message)) in MESSAGES.iter().enumerate() {
        let name = format!("{n} été.eml");
        backend.file(&name, content);
        let to = format!("u{n}@example.test");
        let (out, said) = backend.run(&["import", &name, "--to", &to, "--create"], 0);
        let line = format!("{name}: 1 message in {} octets\n", content.len());
        assert_eq!(printed(&out), line);
        let expected = match *left_out {
            "" => String::new(),
            what => format!("{name}: left out before the header: {what}\n"),
        };
        assert_eq!(said, expected, "{}", content.escape_ascii());
        assert_eq!(contents(&backend, &to), [*message], "{}", content.escape_ascii());
        let (out, _) = backend.run(&["import", &name, "--to", &to], 0);
        assert_eq!(
            printed(&out),
            format!("{name}: already imported, 1 message; --again imports them once more\n")
        );
        // By standard input, and compressed.
        for gz in [false, true] {
            backend.file("in", if gz { packed(content) } else { content.to_vec() });
            let words = [&["import", "-", "--to", &to][..], if gz { &["--gz"] } else { &[] }].concat();
            let mut import = backend.command(&words);
            import.stdin(Stdio::from(fs::File::open(backend.path("in")).unwrap()));
            ended(import.output().unwrap(), &words, 0);
        }
        assert_eq!(contents(&backend, &to), [*message; 3], "{}", content.escape_ascii());
        assert_eq!(backend.maildir(&to).files("tmp").len(), 0);
    }
    // Flags of a header count, and its fields stay.
    let seen = backend.maildir("u12@example.test").files("cur");
    assert!(seen.len() == 3 && seen[0].to_string_lossy().ends_with(":2,S"), "{seen:?}");
}

#[test]
fn u86_each_file_of_a_directory_is_delivered_or_named_with_the_reason() {
    let backend = Desk::new();
    for below in
        ["in/below/été", "in/.hidden", "in/Maildir/cur", "in/Maildir/new", "in/Maildir/tmp", "in/empty"]
    {
        fs::create_dir_all(backend.path(below)).unwrap();
    }
    let names = ["b ö.eml", "10", "9", "a.eml", "below/été/'x.EML", "below/$1 y", "2.eml"];
    let mut expected = Vec::new();
    for (n, (content, _, message)) in MESSAGES.iter().enumerate() {
        let name = names.get(n).map_or_else(|| format!("z{n}"), |name| (*name).to_owned());
        backend.file(&format!("in/{name}"), content);
        expected.push(message.to_vec());
    }
    expected.sort();
    for (name, content) in [
        ("old box", mbox(2)),
        (".mh_sequences", b"cur: 1\n".to_vec()),
        (",7", b"Subject: deleted\n\nx\n".to_vec()),
        (".hidden/1", b"Subject: hidden\n\nx\n".to_vec()),
        ("Maildir/new/1", b"Subject: maildir\n\nx\n".to_vec()),
        ("nothing.eml", Vec::new()),
        ("lines.eml", b"\n\n".to_vec()),
        ("notes.txt", b"hello\n".to_vec()),
        ("date.ics", b"BEGIN:VCALENDAR\nX-A: b\n".to_vec()),
        ("x.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec()),
        ("more.zip", b"PK\x03\x04\x14".to_vec()),
    ] {
        backend.file(&format!("in/{name}"), content);
    }
    backend.file("outside.eml", "Subject: outside\n\nx\n");
    symlink("../outside.eml", backend.path("in/link.eml")).unwrap();
    symlink("..", backend.path("in/up")).unwrap();
    let _socket = UnixListener::bind(backend.path("in/socket")).unwrap();
    let (out, said) = backend.run(&["import", "in", "--to", BOB, "--create"], 1);
    let octets: usize = MESSAGES.iter().map(|(content, ..)| content.len()).sum();
    assert_eq!(
        printed(&out),
        format!(
            "in: 13 messages in {octets} octets; left out: 1 Maildir, 1 deleted message, 2 empty files, 1 hidden \
             file, 1 hidden folder, 2 links, 1 mbox, 4 other files, 1 special file\n"
        )
    );
    for told in [
        "in/old box: left out: is an mbox (`restante import '/",
        "in/.mh_sequences: left out: is a hidden file\n",
        "in/,7: left out: is a message that was deleted in MH\n",
        "in/.hidden: left out: is a hidden directory (name",
        "in/Maildir: left out: is a Maildir (`restante export /",
        "in/nothing.eml: left out: is empty\n",
        "in/lines.eml: left out: is empty\n",
        "in/notes.txt: left out: is neither an mbox nor one message: its first line is \"hello\"",
        "in/date.ics: left out: is neither an mbox nor one message",
        "in/x.msg: left out: is a message of Outlook (.msg) (`msgconvert",
        "in/more.zip: left out: is a zip archive (unpack it with `unzip /",
        "in/link.eml: left out: is a symbolic link, which is not followed (name",
        "in/up: left out: is a symbolic link, which is not followed (name",
        "in/socket: left out: is a device, FIFO or socket\n",
        "in/10: left out before the header: a byte order mark\n",
        "restante: not imported: 12 files, named above",
    ] {
        assert!(said.contains(told), "{told} is not in\n{said}");
    }
    assert_eq!(said.lines().count(), 14 + 4 + 1, "{said}");
    assert_eq!(contents(&backend, BOB), expected);
    assert_eq!(backend.maildir(BOB).files("tmp").len(), 0);
    // The command for the mbox does it, as it stands.
    let line = said.lines().find(|line| line.contains("is an mbox")).unwrap();
    let command = line.split('`').nth(1).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("PATH", path).current_dir(backend.path("."));
    ended(shell.output().unwrap(), &[command], 0);
    assert_eq!(contents(&backend, BOB).len(), expected.len() + 2);
}

#[test]
fn u86_a_folder_of_mh_is_imported_in_the_order_of_its_numbers() {
    let backend = Desk::new();
    fs::create_dir(backend.path("inbox")).unwrap();
    let date = "Date: Sat, 3 Jan 2026 10:00:00 +0000";
    for n in [1, 2, 9, 10, 11, 100] {
        backend.file(&format!("inbox/{n}"), format!("{date}\nSubject: {n}\n\nx\n"));
    }
    backend.file("inbox/.mh_sequences", "cur: 1\n");
    let (out, said) = backend.run(&["import", "inbox", "--to", BOB, "--create"], 0);
    assert!(
        printed(&out).contains("6 messages in") && printed(&out).ends_with("; left out: 1 hidden file\n")
    );
    assert_eq!(said, "inbox/.mh_sequences: left out: is a hidden file\n");
    // Messages of one second keep their order, as it is in the names.
    let order = |file: &std::path::PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.split_once(".M")
            .unwrap()
            .1
            .split_once(|c: char| !c.is_ascii_digit())
            .unwrap()
            .0
            .parse::<u64>()
            .unwrap()
    };
    let mut files = backend.maildir(BOB).files("new");
    files.sort_by_key(order);
    let found: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap().lines().nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(found, [1, 2, 9, 10, 11, 100].map(|n| format!("Subject: {n}")));
    backend.run(&["fsck"], 0);
}

#[test]
fn u86_a_directory_is_not_imported_twice_and_a_changed_one_is_refused() {
    let backend = Desk::new();
    fs::create_dir(backend.path("in")).unwrap();
    for n in 0..5 {
        backend.file(&format!("in/{n}.eml"), format!("Subject: {n}\n\nx\n"));
    }
    let import = ["import", "in", "--to", BOB, "--create"];
    backend.run(&import, 0);
    let (out, _) = backend.run(&import, 0);
    assert_eq!(printed(&out), "in: already imported, 5 messages; --again imports them once more\n");
    // A file that is no mail changes nothing.
    backend.file("in/.mh_sequences", "cur: 2\n");
    backend.run(&import, 0);
    backend.file("in/5.eml", "Subject: 5\n\nx\n");
    let (_, said) = backend.run(&import, 1);
    assert!(said.contains("in was changed since its import began"), "{said}");
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 5);
    backend.run(&[&import[..], &["--again"]].concat(), 0);
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 11);
}

#[test]
fn u88_an_import_of_a_directory_that_fails_or_dies_at_any_step_goes_on_from_there() {
    const FILES: usize = 150; // two batches
    if !can_inject("u88_an_import_of_a_directory_that_fails_or_dies_at_any_step_goes_on_from_there") {
        return;
    }
    let faults = [("renameat2", &[1, 60, 140][..]), ("fsync", &[7]), ("syncfs", &[1])];
    import_survives(&faults, FILES, |desk| {
        fs::create_dir(desk.path("in")).unwrap();
        for n in 0..FILES {
            desk.file(&format!("in/{n}"), format!("Subject: {n}\n\nx"));
        }
    });
}

#[test]
fn u88_a_directory_with_a_file_that_cannot_be_read_is_refused_before_anything_is_delivered() {
    let backend = Desk::new();
    fs::create_dir(backend.path("in")).unwrap();
    backend.file("in/a.eml", packed(b"Subject: a\n\nx\n"));
    backend.file("in/c.eml", "Subject: c\n\nx\n");
    let gz = packed(&[&b"Subject: b\n\n"[..], &b"text\n".repeat(100_000)].concat());
    backend.file("in/b.eml.gz", &gz[..gz.len() - 9]);
    let mut unreadable = vec!["in/b.eml.gz"];
    if !geteuid().is_root() {
        backend.file("in/d.eml", "Subject: d\n\nx\n");
        fs::set_permissions(backend.path("in/d.eml"), Permissions::from_mode(0o000)).unwrap();
        unreadable.push("in/d.eml");
    }
    let import = ["import", "in", "--to", BOB, "--create", "--gz"];
    let (_, said) = backend.run(&import, 1);
    for file in &unreadable {
        assert!(said.contains(&format!("{file}: left out: cannot be read: ")), "{said}");
    }
    assert!(said.contains("this run delivered nothing (--partial delivers the others)"), "{said}");
    assert!(!backend.spool.join(BOB).exists());
    let (out, said) = backend.run(&[&import[..], &["--partial"]].concat(), 1);
    assert!(printed(&out).starts_with("in: 2 messages in "), "{out:?}");
    assert!(said.contains("not imported: "), "{said}");
    let mut found = subjects(&backend.maildir(BOB));
    found.sort();
    assert_eq!(found, ["a", "c"]);
    // The file of MH that gzip has not compressed needs no option.
    let (_, said) = backend.run(&["import", "in", "--to", "alice", "--create"], 1);
    assert!(said.contains("in/a.eml: left out: is compressed with gzip (add --gz)"), "{said}");
}

#[test]
fn u88_a_large_message_of_a_directory_goes_through_little_memory() {
    let backend = Desk::new();
    fs::create_dir(backend.path("in")).unwrap();
    let text = [&b"Subject: x\r\n\r\n"[..], &b"x".repeat(60_000_000)].concat(); // one line
    for name in ["1", "2"] {
        backend.file(&format!("in/{name}"), &text);
    }
    let tool = backend.command(&["import", "in", "--to", BOB, "--create"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 50000 && exec \"$0\" \"$@\""]).arg(tool.get_program()).args(tool.get_args());
    ended(shell.current_dir(backend.path(".")).output().unwrap(), &["import"], 0);
    let lengths: Vec<usize> = contents(&backend, BOB).iter().map(Vec::len).collect();
    assert_eq!(lengths, [text.len() - 2; 2]);
}

#[test]
fn u89_more_files_than_descriptors_are_imported_by_the_name_of_their_directory() {
    const FILES: usize = 60;
    let backend = Desk::new();
    fs::create_dir(backend.path("in")).unwrap();
    let names: Vec<String> = (0..FILES).map(|n| format!("in/{n}.eml")).collect();
    for name in &names {
        backend.file(name, format!("Subject: {name}\n\nx\n"));
    }
    let limited = |words: &[&str], code| {
        let tool = backend.command(words);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n 32; exec \"$0\" \"$@\""]);
        shell.arg(tool.get_program()).args(tool.get_args());
        ended(shell.current_dir(backend.path(".")).output().unwrap(), words, code).1
    };
    let mut words = vec!["import", "--to", BOB, "--create"];
    words.extend(names.iter().map(String::as_str));
    let said = limited(&words, 2);
    assert!(
        said.contains("Too many open files") && said.contains(": name their directory instead"),
        "{said}"
    );
    limited(&["import", "in", "--to", BOB, "--create"], 0);
    assert_eq!(subjects(&backend.maildir(BOB)).len(), FILES);
}

#[test]
fn n112_mail_that_only_root_may_read_is_imported_by_the_command_in_its_refusal() {
    let backend = Desk::new();
    for (directory, mode) in [("closed", 0o700), ("open", 0o755)] {
        fs::create_dir(backend.path(directory)).unwrap();
        let file = backend.file(&format!("{directory}/it's.eml"), format!("Subject: {directory}\n\nx\n"));
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(backend.path(directory), Permissions::from_mode(mode)).unwrap();
    }
    if !backend.give_away() {
        let why = "this is not root, or nobody else can get to the spool";
        return skip("n112_mail_that_only_root_may_read_is_imported_by_the_command_in_its_refusal", why);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for directory in ["closed", "open"] {
        let (_, said) = backend.run(&["import", directory, "--to", BOB, "--create"], 1);
        let commands: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
        let typed = commands.join("; ");
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]).current_dir(backend.path(".")).env("PATH", &path);
        ended(shell.output().unwrap(), &[&typed], 0);
        assert!(subjects(&backend.maildir(BOB)).contains(&directory.to_owned()), "{said}");
    }
}
