//! The transcript of a session, played again: as a dialogue, and as a client of a fresh server.

use std::{fs, net::SocketAddr, path::Path};

use crate::{
    common::{
        Setup,
        client::{Client, chunked},
        eventually, home,
        secure::ALICE,
    },
    dialogue::{
        file::{Dialogue, Problem, What},
        play,
        sealed::{self, Seal},
        way::Way,
        world::Service,
    },
    transcripts::{LETTER, ends, strict, transcripts},
};
use restante::{limits::Limits, transcript::Transcripts};

/// Plays the dialogues of a directory through a connection with a transcript, then the transcript as a
/// dialogue.
fn play_what_is_written_down(service: Service, directory: &str, bodies: bool, least: usize) {
    let (seal, mut played, mut failures) = (Seal::new(), 0, String::new());
    let dialogues = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues").join(directory);
    for file in fs::read_dir(dialogues).unwrap().map(|entry| entry.unwrap().path()) {
        let dialogue = Dialogue::read(&fs::read_to_string(&file).unwrap(), Some(service)).ok();
        let Some(dialogue) = dialogue.filter(sealed::is_timeless) else { continue };
        // A transcript does not show which LF stands beside a dot in elided data, a telnet request in a response to
        // AUTH, the literals of LOGIN, or what a person has typed in the place of a command or an address. The second message of an
        // APPEND is a part of the elided data.
        let untold = [
            "normalise_never_mends_around_a_dot.dlg",
            "w19_a_timing_mark_in_auth_is_answered.dlg",
            "every_command_before_the_login.dlg",
            "several_messages_in_one_append.dlg",
            "c04_control_characters_are_refused.dlg",
            "h57_a_mistyped_command_is_answered_with_the_near_one.dlg",
            "h57_an_old_persona_names_no_near_command.dlg",
            "u117_a_name_before_the_address_is_told_from_a_parameter.dlg",
            "u122_help_is_answered_with_the_commands_that_are_possible_now.dlg",
            "y200_a_strict_listener_takes_only_ascii_outside_of_literals.dlg",
        ];
        if untold.iter().any(|name| file.ends_with(name)) {
            continue;
        }
        let place = home();
        let transcripts =
            Transcripts::start(Some(place.path()), bodies, &Limits::default(), 64, || ()).unwrap();
        sealed::record(&dialogue, &seal, &transcripts).unwrap();
        drop(transcripts);
        let written = fs::read_dir(place.path()).unwrap().next().unwrap().unwrap().path();
        let written = fs::read_to_string(written).unwrap();
        // Users and messages stand in the dialogue's own head.
        let known = dialogue.head.iter().filter(|line| line.starts_with("= "));
        let known: String = known.map(|line| format!("{line}\n")).collect();
        let said = written.lines().skip_while(|line| !line.starts_with("# tls: "));
        let said: String = said.map(|line| format!("{line}\n")).collect();
        if service == Service::Imap && (known.contains("= faults ") || has_masked_lines(&said)) {
            continue;
        }
        let text = format!("# What was written down.\n= tls implicit\n{known}{said}");
        let again = Dialogue::read(&text, Some(service));
        if let Err(Problem { line, what }) = again.and_then(|again| play::check(&again, Way::Whole)) {
            failures.push_str(&format!("{}:{line}:\n    {what}\n{text}\n", file.display()));
        }
        played += 1;
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(played >= least, "{played} dialogues");
}

/// Whether a mask stands for a whole line of IMAP (which may be a password), a mechanism, or the mail in a response.
fn has_masked_lines(said: &str) -> bool {
    said.lines().any(|line| {
        ["C: ***", "S: ***", "S~"].iter().any(|mask| line.starts_with(mask))
            || line.ends_with(" AUTHENTICATE ***")
            || line.contains(" FETCH (") && line.contains("\"***\"")
    })
}

#[test]
fn what_is_written_down_of_a_dialogue_of_smtp_is_one() {
    play_what_is_written_down(Service::Smtp, "smtp", false, 60);
}

#[test]
fn what_is_written_down_of_a_dialogue_of_pop3_is_one() {
    play_what_is_written_down(Service::Pop3, "pop3", false, 30);
}

#[test]
fn what_is_written_down_of_a_dialogue_of_imap_is_one() {
    play_what_is_written_down(Service::Imap, "imap", false, 35);
}

#[test]
fn what_is_written_down_with_bodies_is_a_dialogue_too() {
    play_what_is_written_down(Service::Smtp, "smtp", true, 60);
    play_what_is_written_down(Service::Pop3, "pop3", true, 30);
    play_what_is_written_down(Service::Imap, "imap", true, 45);
}

/// Sends the client's lines of a transcript to a server, with other text in the place of masked parts, and
/// compares the replies except for the names of messages, which are new.
#[track_caller]
fn is_answered_alike(transcript: &str, address: SocketAddr) {
    let masked = |line: &str| match line.split_once("Queued as ") {
        Some((before, _)) => format!("{before}Queued as ID"),
        None => line.to_owned(),
    };
    let dialogue = Dialogue::read(transcript, None).unwrap_or_else(|failure| panic!("{failure:?}"));
    let mut client = Client::connect(address);
    for item in &dialogue.items {
        match &item.what {
            What::Client(octets) => client.write(octets),
            What::Session(text) if text == ". close" => assert_eq!(client.rest(), b"", "{transcript}"),
            What::Session(text) => {
                let Some(expected) = text.strip_prefix("S:") else { continue };
                let line = String::from_utf8(client.line()).unwrap();
                assert_eq!(masked(line.trim_end()), masked(expected.trim_start()), "{transcript}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_fresh_server_answers_a_transcript_alike() {
    let mut server = strict("");
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[ALICE], LETTER).starts_with("250"));
    client.ask("MAIL FROM:<a b@far.test>", "501");
    client.ask("MAIL FROM:<a@far.test>", "250");
    client.ask("RCPT TO:<nobody@example.test>", "550");
    client.ask("DATA", "554");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    client.write(&chunked(LETTER, &[20]));
    (0..3).for_each(|_| drop(client.expect("250")));
    client.begin_data("a@far.test", &[ALICE]);
    client.write(b"a bare\nline feed\r\n.\r\n");
    client.expect("550 5.5.2");
    client.ask("HELP MAIL", "214");
    client.send("QUIT").expect("221");
    ends(client);
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask("STAT", "-ERR");
    client.ask("USER bob@example.test", "+OK");
    client.ask("PASS wrong", "-ERR");
    client.ask("CAPA", "+OK");
    client.text();
    client.ask("LSIT", "-ERR");
    client.ask("QUIT", "+OK");
    ends(client);
    let transcripts = transcripts(&mut server);
    let fresh = strict("");
    is_answered_alike(&transcripts[0], fresh.smtp());
    is_answered_alike(&transcripts[1], fresh.pop3());
}

#[test]
fn a_masked_password_opens_a_mailbox_of_a_server_for_development() {
    let directory = home();
    let argument = format!("--transcripts={}", directory.path().join("transcripts").display());
    let server = Setup { arguments: &[&argument], ..Setup::default() }.start();
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask("USER alice@example.test", "+OK");
    client.ask("PASS hunter2", "+OK 0");
    client.ask("QUIT", "+OK");
    ends(client);
    let transcript = eventually("the transcript is whole", || {
        let file = fs::read_dir(directory.path().join("transcripts")).unwrap().next()?.unwrap().path();
        fs::read_to_string(file).ok().filter(|text| text.ends_with("-> over\n"))
    });
    assert!(transcript.contains("C: PASS ***\n") && !transcript.contains("hunter2"));
    is_answered_alike(&transcript, server.pop3());
}
