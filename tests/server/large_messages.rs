//! RETR of large messages: the buffers in which they are read and sent are used again.

use std::fs;

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, deliver},
};

const ALICE: &str = "alice@example.test";
const MESSAGES: usize = 4;
const OCTETS: usize = 4 << 20;
const PAGE: usize = 4096;

/// The page faults of the process so far that needed no disk: the field 10 of `/proc/PID/stat` (proc(5)).
fn page_faults(server: &Server) -> usize {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').nth(7).unwrap().parse().unwrap()
}

/// A buffer that goes back to the kernel costs a page fault for each of its pages when the next one is filled. The first large
/// message must not decide about that, so a small one comes first.
#[cfg(target_env = "gnu")]
#[test]
fn r27_large_messages_are_read_and_sent_in_buffers_that_are_used_again() {
    let server = Setup { config: Some(STRICT), users: &[ALICE], ..Setup::default() }.start();
    let line = [b"x".repeat(76), b"\r\n".to_vec()].concat();
    let message = [b"Subject: large\r\n\r\n".to_vec(), line.repeat(OCTETS / line.len())].concat();
    deliver(&server, ALICE, b"Subject: small\r\n\r\nIt is short.\r\n");
    (0..MESSAGES).for_each(|_| deliver(&server, ALICE, &message));
    let mut alice = Client::pop3(&server, ALICE);
    let before = page_faults(&server);
    for number in 2..MESSAGES + 2 {
        assert!(alice.retr(number).ends_with(&line));
    }
    let faults = page_faults(&server) - before;
    let pages = MESSAGES * OCTETS / PAGE;
    assert!(faults < pages / 4, "{faults} page faults for messages of {pages} pages");
}
