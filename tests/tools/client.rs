//! `restante client` in a pseudo-terminal, as a person sees it. Each story is told in `tests/python/terminal.py`.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use crate::common::{
    STRICT, Server, Setup,
    client::deliver,
    configuration,
    disk::SmallDisk,
    home, installed, listeners, programs,
    secure::{ALICE, Keys},
    skip,
};

const BOB: &str = "bob@example.test";

/// Runs one story against that server.
fn story(name: &str, server: &Server, services: [&str; 2], keys: Option<&Keys>) {
    story_of("terminal.py", name, server, services, keys);
}

/// Runs one story of that script.
pub(crate) fn story_of(
    script: &str,
    name: &str,
    server: &Server,
    [smtp, reading]: [&str; 2],
    keys: Option<&Keys>,
) {
    if !installed("python3") {
        return skip(name, "python3 is not installed");
    }
    let port = |service| server.addresses(service)[0].port().to_string();
    let script = format!("{}/tests/python/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new("python3");
    python.args([&script, name, env!("CARGO_BIN_EXE_restante"), &port(smtp), &port(reading)]);
    python.arg(server.home.path()).args(keys.map(Keys::certificate));
    let output = python.output().unwrap();
    let said = programs::said(&output);
    assert!(output.status.success(), "{}\n{said}", output.status);
}

const CLEAR: [&str; 2] = ["smtp", "pop3"];

#[test]
fn a_password_is_asked_for_three_times_and_never_shown() {
    let server = Server::strict();
    story("wrong_twice_then_right", &server, CLEAR, None);
    story("wrong_three_times", &server, CLEAR, None);
}

#[test]
fn attachments_with_names_in_utf8_go_out_and_come_back_octet_for_octet() {
    let keys = Keys::make();
    let listeners = listeners(&["submissions", "pop3s"]);
    let (certificate, key) = (keys.certificate(), keys.key());
    let config = format!("{listeners}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let server = Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start();
    story("write_with_attachments", &server, ["submissions", "pop3s"], Some(&keys));
}

#[test]
fn a_french_locale_is_spoken_to_in_french() {
    story("in_french", &Server::dev(), CLEAR, None);
}

#[test]
fn a_table_fits_80_columns_and_no_escape_of_a_stranger_gets_through() {
    let server = Server::dev();
    for number in 1..=10 {
        let subject = "=?utf-8?b?5pel5pys6Kqe?= ".repeat(8);
        let message = format!(
            "From: =?utf-8?q?=1B=5B2J_{number}?= <x@far.test>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n\x1b]0;title\x07\r\n{}--x\r\n\
             Content-Disposition: attachment; filename=\"../../etc/passwd\"\r\n\r\nno\r\n--x--\r\n",
            "a line\r\n".repeat(40)
        );
        deliver(&server, ALICE, message.as_bytes());
    }
    story("a_table_of_80_columns", &server, CLEAR, None);
}

#[test]
fn no_part_of_a_letter_is_lost_and_an_attached_text_is_saved_octet_for_octet() {
    let server = Server::dev();
    let message = "From: x@far.test\r\nSubject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?iso-2022-jp?B?GyRCOGwbKEI=?=\r\n\
                   Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                   Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n \r\n--c\r\n\
                   Content-Type: text/html\r\n\r\n<p>Click <a href='https://shop.test/?a=1&amp;b=2'>here</a>\r\n--c--\r\n\
                   --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: no body\r\n\
                   --b\r\nContent-Type: text/csv; charset=iso-8859-1; name=\"- .zshenv\"\r\n\
                   Content-Transfer-Encoding: base64 (csv)\r\n\r\n6Ts\r\n!!!\r\nxDQo=\r\n--b--\r\n";
    deliver(&server, ALICE, message.as_bytes());
    story("odd_parts", &server, CLEAR, None);
}

#[test]
fn u52_an_attachment_that_a_full_disk_cannot_take_leaves_no_part_of_itself() {
    let Some(disk) = SmallDisk::mount("64k") else {
        return skip("u52_an_attachment_on_a_full_disk", "this user may not mount");
    };
    let server = Server::dev();
    let message = format!(
        "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n\
         --b\r\nContent-Type: text/csv; name=report.csv\r\n\r\n{}--b--\r\n",
        "1;2;3\r\n".repeat(2000)
    );
    deliver(&server, ALICE, message.as_bytes());
    symlink(disk.dir.path(), server.home.path().join("full")).unwrap();
    disk.fill(4096); // room for the beginning
    story("save_on_a_full_disk", &server, CLEAR, None);
}

pub(crate) fn three_letters() -> Server {
    let server = Server::dev();
    for number in 1..=3 {
        deliver(&server, ALICE, format!("Subject: letter {number}\r\n\r\ntext\r\n").as_bytes());
    }
    server
}

#[test]
fn what_is_deleted_is_kept_until_the_end_and_can_be_taken_back() {
    let server = three_letters();
    story("delete_and_keep", &server, CLEAR, None);
    let left = server.maildir(ALICE).only_message();
    assert!(String::from_utf8_lossy(&left).contains("letter 2"));
}

#[test]
fn u08_a_look_for_new_mail_deletes_nothing_and_shows_what_is_new() {
    let server = three_letters();
    story("look_for_new_mail", &server, CLEAR, None);
    let maildir = server.maildir(ALICE);
    assert_eq!(maildir.files("new").len() + maildir.files("cur").len(), 3);
}

#[test]
fn u10_a_key_that_does_not_fit_ends_and_deletes_nothing() {
    story("slips", &three_letters(), CLEAR, None);
}

#[test]
fn u29_u140_marks_that_are_removed_together_cost_one_command_and_a_giant_range_one_line() {
    let server = three_letters();
    story("many_marks", &server, CLEAR, None);
    assert_eq!(server.maildir(ALICE).files("new").len() + server.maildir(ALICE).files("cur").len(), 2);
}

#[test]
fn u12_no_line_is_wider_than_a_window_of_20_to_200_columns() {
    let server = Server::dev();
    let long = "=?utf-8?b?5pel5pys6Kqe44Gu5YWI55Sf?= ".repeat(6);
    let message = format!(
        "From: {long}<x@far.test>\r\nTo: {}alice@example.test\r\nSubject: {long}\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {}\r\n{}\r\n--x\r\nContent-Disposition: attachment; filename=\"{}.pdf\"\r\n\r\nno\r\n--x--\r\n",
        "Somebody with a name <somebody@example.test>, ".repeat(5),
        "日本語の文章".repeat(30),
        "word ".repeat(60),
        "a long name ".repeat(15)
    );
    for _ in 0..12 {
        deliver(&server, ALICE, message.as_bytes());
    }
    story("windows_of_all_widths", &server, CLEAR, None);
}

#[test]
fn a_lost_connection_deletes_nothing_and_is_opened_again() {
    let server = three_letters();
    story("a_lost_connection", &server, CLEAR, None);
    let maildir = server.maildir(ALICE);
    assert_eq!(maildir.files("new").len() + maildir.files("cur").len(), 3);
}

#[test]
fn n08_u09_who_signs_up_logs_in_at_once_and_no_attempt_is_spent() {
    let config = format!("{STRICT}\n[limits]\nauth.reload_interval = \"5s\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    server.maildir("dora@example.test").put("1.x", b"Subject: to the former Dora\r\n\r\n");
    story("sign_up", &server, CLEAR, None);
}

#[test]
fn a_reply_quotes_and_belongs_to_its_thread() {
    let server = Server::dev();
    let letter = "From: ann@far.test\r\nReply-To: =?utf-8?q?=C3=89lodie?= <bob@example.test>\r\nSubject: =?utf-8?b?w4l0w6k=?=\r\n\
                  Message-ID: <2@far.test>\r\nReferences: <1@far.test>\r\n\r\nLunch?\r\n> Dinner.\r\n";
    deliver(&server, ALICE, letter.as_bytes());
    story("replies", &server, CLEAR, None);
}

#[test]
fn u06_a_password_prompt_leaves_the_echo_on_whatever_ends_it() {
    let server = Setup { config: Some(STRICT), users: &[ALICE], ..Setup::default() }.start();
    story("the_echo_comes_back", &server, CLEAR, None);
}

#[test]
fn u06_the_live_screen_gives_the_terminal_back_whatever_ends_it() {
    let server = Server::dev();
    fs::write(
        server.home.path().join("metrics"),
        "# restante at mx.example.test\nrestante_start_time_seconds 1\n",
    )
    .unwrap();
    story("the_live_screen_gives_the_terminal_back", &server, CLEAR, None);
}

#[test]
fn send_asks_on_a_terminal_for_what_is_missing() {
    story("send_asks", &Server::dev(), CLEAR, None);
}

#[test]
fn u57_the_address_on_offer_is_one_whose_mail_the_login_gets() {
    story("the_own_address", &Server::dev(), CLEAR, None);
    story("the_own_address_in_a_domain", &Server::strict(), CLEAR, None);
}

#[test]
fn u59_a_client_with_a_configuration_and_a_user_asks_for_the_password_alone() {
    let server = Server::strict();
    let listeners = CLEAR.map(|protocol| {
        format!("[[listen]]\nprotocol = {protocol:?}\naddress = \"{}\"\n", server.addresses(protocol)[0])
    });
    let text = configuration(server.home.path(), &server.spool, &listeners.concat());
    fs::write(server.home.path().join("at.toml"), text).unwrap();
    story("the_listeners_of_a_configuration", &server, CLEAR, None);
}

#[test]
fn u59_a_configuration_without_a_listener_for_the_protocol_is_told_with_what_to_add() {
    let home = home();
    let listeners = "[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:2525\"\n";
    let path = home.path().join("restante.toml");
    fs::write(&path, configuration(home.path(), &home.path().join("spool"), listeners)).unwrap();
    for (locale, words) in [
        (
            "C",
            "has no listener for IMAP: add one with protocol = \"imap\" and restart the server, or name the address of \
             another server, like --imap 127.0.0.1:1143",
        ),
        ("fr_FR.UTF-8", "n'a pas de section [[listen]] pour IMAP : ajoutez-en une avec protocol = \"imap\""),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(["client", "--imap", "--config"]).arg(&path).env("LC_ALL", locale).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = programs::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn u60_a_mailbox_in_use_is_no_failed_login() {
    story("a_mailbox_in_use", &Server::strict(), CLEAR, None);
}

#[test]
fn u44_a_port_that_waits_for_tls_is_told_on_a_terminal_at_once() {
    story("a_silent_port", &Server::dev(), CLEAR, None);
}

#[test]
fn u45_send_asks_again_after_a_mistyped_answer() {
    story("a_mistyped_answer", &Server::dev(), CLEAR, None);
}

#[test]
fn u95_a_letter_that_the_server_refuses_is_tried_again_goes_to_others_or_is_kept() {
    let server = Server::dev();
    story("a_refused_letter", &server, CLEAR, None);
    assert_eq!(server.maildir(BOB).files("new").len(), 3, "the rest, the file, and the changed recipients");
}

#[test]
fn u95_the_end_of_the_input_and_a_signal_keep_the_letter() {
    story("a_letter_kept_by_a_signal", &Server::dev(), CLEAR, None);
}

#[test]
fn u96_an_answer_that_is_none_of_the_choices_is_told() {
    story("answers_that_are_no_choices", &three_letters(), CLEAR, None);
}

#[test]
fn u101_an_attachment_may_be_named_as_a_shell_quotes_it() {
    story("quoted_attachments", &Server::dev(), CLEAR, None);
}

#[test]
fn u102_send_keeps_a_typed_letter_that_was_not_sent() {
    let server = Server::dev();
    story("a_typed_letter_is_kept", &server, CLEAR, None);
    assert_eq!(server.maildir(BOB).files("new").len(), 2, "one that was taken, and one from its file");
}

#[test]
fn u103_a_q_leaves_a_question_with_yes_and_no() {
    story("q_at_yes_or_no", &three_letters(), CLEAR, None);
}

#[test]
fn u98_a_remark_about_a_fault_in_the_login_name_is_shown() {
    story("a_mistyped_fault", &Server::dev(), CLEAR, None);
}
