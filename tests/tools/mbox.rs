//! mbox files into a mailbox and out of it, by the program itself: whole, and once.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use crate::common::{
    Maildir, PASSWORD_MD5, STRICT, Server,
    client::Client,
    configuration, eventually,
    inject::can_inject,
    tools::{Desk, command_on, ended},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const BOB: &str = "bob@example.test";

/// An mbox of so many messages, one a second, of which some are seen, answered or flagged.
pub(crate) fn mbox(messages: usize) -> Vec<u8> {
    let mut mbox = Vec::new();
    for n in 0..messages {
        let (minute, second) = (n / 60 % 60, n % 60);
        let state = match n % 4 {
            0 => "",
            1 => "Status: O\n",
            2 => "Status: RO\n",
            _ => "Status: RO\nX-Status: FA\n",
        };
        let text = format!(
            "From s@far.test Sat Jan  3 {:02}:{minute:02}:{second:02} 2026\n\
             Return-Path: <s@far.test>\nSubject: {n}\n{state}\n>From the start\n>>From {n}\n",
            1 + n / 3600
        );
        mbox.extend(text.into_bytes());
        mbox.extend("text\n".repeat(n % 7).into_bytes());
        mbox.push(b'\n');
    }
    mbox
}

pub(crate) fn packed(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut text).unwrap();
    text
}

/// The subjects of what lies in a mailbox, in no order.
pub(crate) fn subjects(maildir: &Maildir) -> Vec<String> {
    let files = [maildir.files("new"), maildir.files("cur")].concat();
    files.iter().filter_map(|file| subject(&fs::read(file).ok()?)).collect()
}

fn subject(message: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned)
}

#[test]
fn what_was_imported_is_exported_as_it_was() {
    let backend = Desk::new();
    let original = mbox(300);
    backend.file("in", &original);
    for gz in [&[][..], &["--gz"]] {
        let (name, to) = if gz.is_empty() { ("in", "bob") } else { ("in.gz", "alice") };
        if !gz.is_empty() {
            backend.file(name, packed(&original));
        }
        let (printed, _) = backend.run(&[&["import", name, "--to", to, "--create"], gz].concat(), 0);
        assert_eq!(
            String::from_utf8_lossy(&printed),
            format!("{name}: 300 messages in {} octets\n", original.len())
        );
        let (exported, _) = backend.run(&["export", to], 0);
        assert!(exported == original, "{gz:?}");
        backend.run(&[&["export", to, "-o", "out"], gz].concat(), 0);
        let out = fs::read(backend.path("out")).unwrap();
        assert!(gz.is_empty() && out == original || !gz.is_empty() && unpacked(&out) == original);
        fs::remove_file(backend.path("out")).unwrap();
    }
}

#[test]
fn dates_and_flags_are_in_the_files() {
    let backend = Desk::new();
    backend.file("in", mbox(4));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    let bob = backend.maildir(BOB);
    let (new, cur) = (bob.files("new"), bob.files("cur"));
    assert_eq!((new.len(), cur.len()), (1, 3));
    let info = |file: &Path| file.to_string_lossy().split_once(":2,").map(|(_, flags)| flags.to_owned());
    assert_eq!(info(&new[0]), None);
    assert_eq!(
        cur.iter().map(|file| info(file)).collect::<Vec<_>>(),
        ["", "S", "FRS"].map(|f| Some(f.to_owned()))
    );
    let first = UNIX_EPOCH + Duration::from_secs(1_767_402_000);
    assert_eq!(new[0].metadata().unwrap().modified().unwrap(), first);
    assert!(new[0].file_name().unwrap().to_string_lossy().starts_with("1767402000.M"));
    let text = fs::read_to_string(&new[0]).unwrap();
    assert_eq!(text, "Return-Path: <s@far.test>\nSubject: 0\n\nFrom the start\n>From 0\n");
    assert!(!fs::read_to_string(&cur[2]).unwrap().contains("Status"));
    backend.run(&["fsck"], 0);
}

#[test]
fn half_a_file_is_refused_whole_and_partial_takes_what_is_whole_of_it() {
    let backend = Desk::new();
    let whole = mbox(50);
    let gz = packed(&whole);
    let mut flipped = gz.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    let cut_short = whole.len() - 3;
    let begin = memchr::memmem::rfind(&whole, b"\nFrom ").unwrap() + 1;
    for (name, content, options, tells) in [
        (
            "cut",
            &whole[..cut_short],
            &[][..],
            format!("begins at octet {begin}, ends in the middle of a line"),
        ),
        ("cut.gz", &gz[..gz.len() - 9], &["--gz"], format!("cannot be read beyond octet {}", whole.len())),
        ("flipped.gz", &flipped, &["--gz"], format!("cannot be read beyond octet {}", whole.len())),
        (
            "trailer.gz",
            &gz[..gz.len() - 1],
            &["--gz"],
            format!("cannot be read beyond octet {}", whole.len()),
        ),
    ] {
        backend.file(name, content);
        let words = [&["import", name, "--to", name, "--create"], options].concat();
        let (_, said) = backend.run(&words, 1);
        assert!(said.contains(&tells), "{name}: {said}");
        let there = backend.maildir(&format!("{name}@localhost"));
        assert_eq!(subjects(&there), [""; 0], "{name}");

        let (_, said) = backend.run(&[&words[..], &["--partial"]].concat(), 1);
        assert!(said.contains("delivered: 49 messages"), "{name}: {said}");
        assert_eq!(subjects(&there).len(), 49, "{name}");
        assert_eq!(there.files("tmp").len(), 0, "{name}");
    }
}

#[test]
fn what_cannot_be_opened_is_refused_with_a_hint() {
    let backend = Desk::new();
    backend.file("letter", "Subject: x\n\nhello\n");
    let (_, said) = backend.run(&["import", "nowhere", "--to", BOB, "--create"], 2);
    assert!(said.contains("nowhere"), "{said}");
    let (_, said) = backend.run(&["import", "letter", "--to", "nobody"], 2);
    assert!(said.contains("--create"), "{said}");
    backend.run(&["import", "letter", "--to", "../bob", "--create"], 2);
    backend.run(&["export", "nobody"], 2);
}

#[test]
fn what_is_done_is_not_done_again() {
    let backend = Desk::new();
    let file = backend.file("in", mbox(5));
    let import = ["import", "in", "--to", BOB, "--create"];
    backend.run(&import, 0);
    let (printed, _) = backend.run(&import, 0);
    assert!(String::from_utf8_lossy(&printed).contains("already imported"));
    fs::write(&file, mbox(6)).unwrap();
    let (_, said) = backend.run(&import, 1);
    assert!(said.contains("changed since its import began"), "{said}");
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 5);
    backend.run(&[&import[..], &["--again"]].concat(), 0);
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 11);
}

#[test]
fn standard_input_is_taken_as_far_as_it_is_whole() {
    let backend = Desk::new();
    let mbox = mbox(20);
    let words = ["import", "-", "--to", BOB, "--create"];
    for (input, code, expected) in [(&mbox[..], 0, 20), (&mbox[..mbox.len() - 2], 1, 39)] {
        let mut child = backend
            .command(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        ended(child.wait_with_output().unwrap(), &words, code);
        assert_eq!(subjects(&backend.maildir(BOB)).len(), expected);
    }
}

#[test]
fn an_export_overwrites_nothing_and_leaves_nothing_half() {
    let backend = Desk::new();
    backend.file("in", mbox(3));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    backend.file("there", "precious");
    let (_, said) = backend.run(&["export", BOB, "-o", "there"], 2);
    assert!(said.contains("exists already"), "{said}");
    assert_eq!(fs::read(backend.path("there")).unwrap(), b"precious");
    backend.run(&["export", BOB, "-o", "nowhere/out"], 1);
    if Path::new("/dev/full").exists() {
        let words = ["export", BOB];
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = backend.command(&words).stdout(full).output().unwrap();
        let (_, said) = ended(output, &words, 1);
        assert!(said.contains("cannot be written"), "{said}");
    }
    let left: Vec<_> =
        fs::read_dir(backend.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn n109_an_export_that_a_signal_ends_leaves_nothing() {
    let backend = Desk::new();
    backend.file("in", mbox(1));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    // Zeros that take no room on the disk, and take a while to compress.
    let large = fs::File::create(backend.maildir(BOB).path.join("cur/2.large:2,S")).unwrap();
    large.set_len(1 << 30).unwrap();
    let names = || -> BTreeSet<_> {
        fs::read_dir(backend.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        // A test in the background has inherited a SIGINT that is ignored.
        let tool = backend.command(&["export", BOB, "--gz", "-o", "out"]);
        let mut export = Command::new("env");
        export.arg("--default-signal=INT,TERM,HUP").arg(tool.get_program()).args(tool.get_args());
        let mut export = export.current_dir(backend.path(".")).spawn().unwrap();
        eventually("the unfinished file is there", || (names().len() == 3).then_some(()));
        kill_process(Pid::from_child(&export), signal).unwrap();
        assert_eq!(export.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(names(), BTreeSet::from(["in".into(), "spool".into()]));
    }
}

#[test]
fn n111_the_path_of_a_mailbox_is_refused_with_its_name() {
    let backend = Desk::new();
    backend.file("in", mbox(1));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    let path = format!("spool/{BOB}");
    let told = format!("{path} is a path: name the mailbox {BOB} alone, with --spool spool");
    let mut export = Command::new(env!("CARGO_BIN_EXE_restante"));
    export.args(["export", &path]).current_dir(backend.path(".")).env_remove("RESTANTE_CONFIG");
    let mut said = vec![ended(export.output().unwrap(), &["export"], 2).1];
    for words in [
        &["export", &path][..],
        &["fsck", &path],
        &["import", "in", "--to", &path, "--create"],
        &["wait", "--to", &path],
        &["purge", "--to", &path, "--yes"],
    ] {
        said.push(backend.run(words, 2).1);
    }
    for said in said {
        assert!(said.contains(&told), "{said}");
    }
    let names = fs::read_dir(&backend.spool).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("%2f")));
}

#[test]
fn an_import_that_is_killed_goes_on_and_nothing_is_lost_or_doubled() {
    const MESSAGES: usize = 3000;
    let backend = Desk::new();
    backend.file("in", mbox(MESSAGES));
    let bob = backend.maildir(BOB);
    let words = ["import", "in", "--to", BOB, "--create"];
    let (mut deleted, mut killed) = (BTreeSet::new(), 0);
    loop {
        let before = subjects(&bob).len();
        let mut import = backend.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let ended = eventually("the import goes on, or ends", || {
            let status = import.try_wait().unwrap();
            let seen = bob.files("new").len() + bob.files("cur").len();
            // The first and the third time at once, else when something is delivered.
            (status.is_some() || killed % 2 == 0 || seen > before).then_some(status)
        });
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        let _ = import.kill(); // it may have ended by itself
        import.wait().unwrap();
        killed += 1;
        // Deletes messages meanwhile, like a client that reads the mail.
        for file in bob.files("new").last().into_iter().chain(bob.files("cur").first()) {
            let gone = subject(&fs::read(file).unwrap()).unwrap();
            fs::remove_file(file).unwrap();
            assert!(deleted.insert(gone.clone()), "{gone} was delivered again");
        }
    }
    assert!(killed > 2, "it was killed {killed} times only");
    let there = subjects(&bob);
    let distinct: BTreeSet<String> = there.iter().cloned().collect();
    assert_eq!(there.len(), distinct.len(), "doubled");
    assert_eq!(distinct.intersection(&deleted).count(), 0, "what was deleted is there again");
    assert_eq!(distinct.len() + deleted.len(), MESSAGES, "lost, after {killed} kills");
    backend.run(&words, 0);
    assert_eq!(subjects(&bob).len(), there.len());
}

#[test]
fn an_import_that_fails_or_dies_at_any_step_goes_on_from_there() {
    const MESSAGES: usize = 150; // two batches
    if !can_inject("an_import_that_fails_or_dies_at_any_step_goes_on_from_there") {
        return;
    }
    let text = mbox(MESSAGES);
    let faults =
        [("renameat2", &[1, 60, 128][..]), ("renameat", &[1, 2]), ("fsync", &[7, 8]), ("syncfs", &[1])];
    import_survives(&faults, MESSAGES, |desk| drop(desk.file("in", &text)));
}

/// Imports `in` once with each fault, at the calls of these numbers, and again without one: then each message, whose subject is
/// its number, has come once.
#[track_caller]
pub(crate) fn import_survives(faults: &[(&str, &[usize])], messages: usize, fill: impl Fn(&Desk)) {
    let expected: BTreeSet<String> = (0..messages).map(|n| n.to_string()).collect();
    let mut wrong = Vec::new();
    for (call, nths) in faults {
        for (nth, fault) in nths.iter().flat_map(|nth| [(nth, "signal=KILL"), (nth, "error=EIO")]) {
            let desk = Desk::new();
            fill(&desk);
            let words = ["import", "in", "--to", BOB, "--create"];
            let tool = desk.command(&words);
            let mut strace = Command::new("strace");
            strace.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:{fault}:when={nth}")]);
            strace.arg(tool.get_program()).args(tool.get_args()).current_dir(desk.path("."));
            let first = strace.output().unwrap();
            let whole = first.status.success();
            desk.run(&words, 0);
            let there = subjects(&desk.maildir(BOB));
            let distinct: BTreeSet<String> = there.iter().cloned().collect();
            if there.len() != messages || distinct != expected {
                let said = String::from_utf8_lossy(&first.stderr).into_owned();
                wrong.push(format!("{call} {nth} {fault} ({whole}): {} messages; {said}", there.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_message_larger_than_the_memory_goes_through() {
    const OCTETS: usize = 60_000_000;
    let backend = Desk::new();
    let mut file = fs::File::create(backend.path("in")).unwrap();
    file.write_all(b"From MAILER-DAEMON Sat Jan  3 01:02:03 2026\nSubject: x\n\n").unwrap();
    let piece = [&b"x".repeat(999_999)[..], b">"].concat(); // one line
    (0..OCTETS / piece.len()).for_each(|_| file.write_all(&piece).unwrap());
    file.write_all(b"\n\n").unwrap();
    let bounded = |words: &[&str]| {
        let tool = backend.command(words);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -v 50000 && exec \"$0\" \"$@\""])
            .arg(tool.get_program())
            .args(tool.get_args());
        ended(shell.current_dir(backend.path(".")).output().unwrap(), words, 0);
    };
    bounded(&["import", "in", "--to", BOB, "--create"]);
    bounded(&["export", BOB, "-o", "out"]);
    let same = Command::new("cmp").args(["in", "out"]).current_dir(backend.path(".")).status().unwrap();
    assert!(same.success());
}

#[test]
fn with_few_descriptors_the_tools_do_all_that_they_do_with_many() {
    let backend = Desk::new();
    fs::write(backend.path("in"), mbox(300)).unwrap();
    let limited = |words: &[&str]| {
        let tool = backend.command(words);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n 32; exec \"$0\" \"$@\""]);
        shell.arg(tool.get_program()).args(tool.get_args());
        ended(shell.current_dir(backend.path(".")).output().unwrap(), words, 0);
    };
    limited(&["import", "in", "--to", BOB, "--create"]);
    limited(&["seed", "--to", BOB, "--count", "300"]);
    limited(&["fsck", BOB]);
    limited(&["export", BOB, "-o", "out"]);
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 600);
}

#[test]
fn what_is_imported_beside_a_server_is_in_the_next_login() {
    let server = Server::dev();
    let mut first = Client::pop3(&server, BOB);
    first.ask("STAT", "+OK 0 0");
    let file = server.home.path().join("in");
    fs::write(&file, mbox(40)).unwrap();
    let words = ["import", file.to_str().unwrap(), "--to", BOB, "--create"];
    ended(command_on(&server.spool, &words).output().unwrap(), &words, 0);
    first.ask("STAT", "+OK 0 0");
    first.ask("QUIT", "+OK");
    let mut second = Client::pop3(&server, BOB);
    let sizes: Vec<u64> = second.listing("LIST").iter().map(|size| size.parse().unwrap()).collect();
    assert_eq!(sizes.len(), 40);
    for (n, size) in (1..).zip(sizes) {
        let message = second.retr(n);
        assert_eq!(message.len() as u64, size);
        assert_eq!(subject(&message), Some((n - 1).to_string()), "the order is that of the mbox");
    }
}

#[test]
fn a_configuration_tells_where_the_mailbox_of_a_user_is() {
    let backend = Desk::new();
    backend.file("in", mbox(3));
    let user = format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}, \"inbox\": \"box\"}}}}");
    backend.file("users.json", user);
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, STRICT));
    let run = |words: &[&str], code| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        tool.args(words).args(["--config", "restante.toml"]).current_dir(backend.path("."));
        ended(tool.output().unwrap(), words, code).0
    };
    run(&["import", "in", "--to", "nobody"], 2);
    run(&["import", "in", "--to", "bob"], 0);
    assert_eq!(subjects(&backend.maildir("box")).len(), 3);
    assert_eq!(run(&["export", BOB], 0), mbox(3));
    assert_eq!(run(&["export", "box"], 0), mbox(3));
    run(&["fsck", "bob"], 0);
    run(&["fsck"], 0);
}

#[test]
fn u42_an_import_tells_of_messages_that_the_server_is_about_to_delete() {
    let backend = Desk::new();
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let old = "From s@far.test Sat Jan  3 01:00:00 2026\nSubject: old\n\nx\n\n";
    let young = format!("From s@far.test {}\nSubject: young\n\nx\n\n", asctime(now - 3600));
    backend.file("in", format!("{old}{young}{old}"));
    backend.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    for (expire, told) in [("30 days", true), ("100 years", false), ("never", false)] {
        let rest = format!("{STRICT}[pop3]\nexpire = {:?}\n", expire.replace("100 years", "36500 days"));
        backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, &rest));
        for file in ["in", "-"] {
            let words =
                ["import", file, "--to", BOB, "--again", "--even-if-expired", "--config", "restante.toml"];
            let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
            tool.args(words).current_dir(backend.path("."));
            tool.stdin(fs::File::open(backend.path("in")).unwrap());
            let (printed, said) = ended(tool.output().unwrap(), &words, 0);
            assert!(printed.starts_with(format!("{file}: 3 messages").as_bytes()), "{printed:?}");
            let warning = format!("{file}: warning: 2 messages are older than `expire = \"30 days\"`: ");
            assert_eq!(said.contains(&warning), told, "{said}");
            assert_eq!(said.contains("warning"), told, "{said}");
        }
    }
}

/// The date of a From_ line.
fn asctime(seconds: u64) -> String {
    let mut date = Command::new("date");
    date.args(["-u", "-d", &format!("@{seconds}"), "+%a %b %e %H:%M:%S %Y"]).env("LC_ALL", "C");
    String::from_utf8(date.output().unwrap().stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_maildir_anywhere_is_exported_by_its_path() {
    let backend = Desk::new();
    let original = mbox(10);
    backend.file("in", &original);
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    fs::rename(backend.spool.join(BOB), backend.path("Maildir")).unwrap();
    let export = |path: &str| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        tool.args(["export", path]).current_dir(backend.path(".")).output().unwrap()
    };
    assert!(ended(export("./Maildir"), &["export"], 0).0 == original);
    assert!(ended(export(backend.path("Maildir").to_str().unwrap()), &["export"], 0).0 == original);
    ended(export("./nowhere"), &["export"], 2);
    ended(export("Maildir"), &["export"], 2);
}
