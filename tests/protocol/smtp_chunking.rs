//! Mail that comes by BDAT, over real sockets.

use std::{fs, iter};

use crate::common::{
    Server,
    client::{Client, chunked, with_lf, without_trace},
    eventually,
};

const ALICE: &str = "alice@example.test";

#[test]
fn a_large_message_in_chunks_is_streamed_to_the_disk_and_read_back() {
    let server = Server::strict();
    let lines =
        (0..60_000).map(|n| format!("{}line {n} of a large message\r\n", if n % 7 == 0 { "." } else { "" }));
    let message: Vec<u8> =
        iter::once("Subject: large\r\n\r\n".to_owned()).chain(lines).collect::<String>().into();
    let mut client = Client::smtp(&server);
    for sizes in [&[message.len()][..], &[100_000], &[1, 70_000, 3]] {
        client.ask("MAIL FROM:<a@far.test> SIZE=2000000", "250");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.write(&chunked(&message, sizes));
        while !client.expect("250 2.0.0").contains("Queued") {}
    }
    let files = server.maildir(ALICE).files("new");
    assert_eq!(files.len(), 3);
    for file in files {
        assert!(without_trace(&fs::read(file).unwrap()) == with_lf(&message));
    }
    let mut pop3 = Client::pop3(&server, ALICE);
    assert!(without_trace(&pop3.retr(3)) == message);
}

#[test]
fn chunks_that_are_given_up_leave_no_file() {
    let server = Server::strict();
    let chunk = b"x\r\n".repeat(200_000);
    for ending in ["RSET", "EHLO client.test", "QUIT", ""] {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.write(format!("BDAT {}\r\n", chunk.len()).as_bytes());
        client.write(&chunk);
        client.expect("250 2.0.0");
        let tmp = || server.maildir(ALICE).files("tmp");
        assert_eq!(tmp().len(), 1, "the chunk is on the disk");
        if !ending.is_empty() {
            client.send(ending).reply();
        }
        let client = Some(client).filter(|_| !ending.is_empty());
        eventually("tmp/ is empty", || tmp().is_empty().then_some(()));
        drop(client);
    }
    assert_eq!(server.maildir(ALICE).files("new").len(), 0);
}
