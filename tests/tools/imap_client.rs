//! `restante client --imap` in a pseudo-terminal. Each story is told in `tests/python/imap_terminal.py`.

use crate::{
    client::{story_of, three_letters},
    common::{
        STRICT, Server, Setup, listeners,
        secure::{ALICE, Keys},
    },
};

const CLEAR: [&str; 2] = ["smtp", "imap"];

fn story(name: &str, server: &Server) {
    story_of("imap_terminal.py", name, server, CLEAR, None);
}

#[test]
fn u140_folders_flags_and_searches_are_those_of_the_server() {
    let server = three_letters();
    story("folders_flags_and_searches", &server);
    let maildir = server.maildir(ALICE);
    assert!(maildir.files("new").is_empty() && maildir.files("cur").is_empty(), "all have moved");
}

#[test]
fn u92_u93_a_date_of_arrival_stands_in_and_a_reply_goes_to_the_recipients() {
    story("sent_and_without_a_date", &Server::dev());
}

#[test]
fn u95_a_letter_that_the_server_refuses_becomes_a_draft_in_its_folder() {
    story("a_refused_letter_is_a_draft", &Server::dev());
}

#[test]
fn the_server_tells_news_and_the_dialogue_is_shown_without_the_password() {
    story("news", &Server::dev());
}

#[test]
fn a_lost_connection_loses_no_mark() {
    story("a_lost_connection", &three_letters());
}

#[test]
fn a_french_locale_reads_its_folders_in_french() {
    story("in_french", &three_letters());
}

#[test]
fn a_refused_login_is_explained_and_no_password_shown() {
    story("wrong_passwords", &without_delay());
}

#[test]
fn h59_a_french_locale_is_refused_in_french() {
    story("a_refusal_in_french", &without_delay());
}

/// A server that refuses a wrong password at once.
fn without_delay() -> Server {
    let config = format!("{STRICT}{}\n[limits]\nauth.failure_delay = \"0s\"\n", listeners(&["imap"]));
    Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start()
}

#[test]
fn folders_are_read_over_tls() {
    let keys = Keys::make();
    let listeners = listeners(&["submissions", "imaps"]);
    let (certificate, key) = (keys.certificate(), keys.key());
    let config = format!("{listeners}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    story_of("imap_terminal.py", "over_tls", &server, ["submissions", "imaps"], Some(&keys));
}

#[test]
fn no_line_of_a_folder_is_wider_than_its_window() {
    story("windows_of_all_widths", &three_letters());
}

#[test]
fn y115_a_hostile_server_neither_hangs_nor_exhausts_the_client() {
    story("hostile_servers", &Server::dev());
}

#[test]
fn y116_numbers_on_the_screen_mean_what_it_shows() {
    story("numbers_on_the_screen", &three_letters());
}

#[test]
fn u98_a_remark_about_a_fault_in_the_login_name_is_shown_by_imap_too() {
    story("a_mistyped_fault", &Server::dev());
}
