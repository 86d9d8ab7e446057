//! Large messages that lose their names while slow clients read them: by IMAP, by POP3, and by the web API.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use crate::common::{
    PASSWORD, PATIENCE, Server, Setup,
    client::{Client, with_crlf},
    eventually,
};

const FILE: &str = "1700000001.M1P1.elsewhere";
/// More than the kernel takes for a client that does not read.
const OCTETS: usize = 12 << 20;

fn large_message() -> Vec<u8> {
    let line = b"a line of sixty-four octets, which many messages have in them..\n";
    [&b"Subject: large\n\n"[..], &line.repeat(OCTETS / line.len())].concat()
}

/// A client whose kernel takes little of the server's output.
fn slow_client(address: SocketAddr) -> Client {
    let slow = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&slow, 64 << 10).unwrap();
    connect(&slow, &address).unwrap();
    let stream = TcpStream::from(slow);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::over(stream)
}

/// A slow IMAP client that has selected a folder.
fn imap(server: &Server, user: &str, folder: &str) -> Client {
    let mut client = slow_client(server.addresses("imap")[0]);
    client.expect("* OK");
    ask(&mut client, &format!("LOGIN {user} {PASSWORD}"));
    ask(&mut client, &format!("SELECT {folder}"));
    client
}

/// Sends a command that succeeds.
#[track_caller]
fn ask(client: &mut Client, command: &str) {
    client.send(&format!("a {command}"));
    loop {
        let line = client.line();
        if line.starts_with(b"a ") {
            return assert!(line.starts_with(b"a OK"), "{command}: {}", line.escape_ascii());
        }
    }
}

/// Begins to read the only message. The server waits for the client at its end.
#[track_caller]
fn begin_fetch(client: &mut Client) {
    client.send("f FETCH 1 (BODY.PEEK[] RFC822.SIZE)");
    client.send("g LOGOUT");
    let head = client.line();
    assert!(head.starts_with(b"* 1 FETCH (BODY[] {"), "{}", head.escape_ascii());
}

/// Whether the rest of the session has the message and the replies.
fn is_whole(mut client: Client, message: &[u8]) -> bool {
    let rest = client.rest();
    let Some(replies) = rest.strip_prefix(message) else { return false };
    let replies = String::from_utf8_lossy(replies);
    let size = format!(" RFC822.SIZE {})\r\n", message.len());
    // A folder that is gone may have had other messages.
    assert!(replies.starts_with(&size) && replies.contains("\r\nf "), "{replies}");
    true
}

/// The open files of the server with messages.
fn open_messages(server: &Server) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let is_message = |path: &Path| path.to_string_lossy().contains(".elsewhere");
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).filter(|path| is_message(path)).count()
}

#[test]
fn y226_a_slow_client_gets_a_large_message_whole_that_loses_its_name_meanwhile() {
    let message = large_message();
    let wire = with_crlf(&message);
    type Change = (&'static str, fn(&Server, &Path));
    let changes: [Change; 4] = [
        ("another program removes it", |_, file| fs::remove_file(file).unwrap()),
        ("another program marks it", |_, file| {
            let seen = format!("../cur/{FILE}:2,S");
            fs::rename(file, file.parent().unwrap().join(seen)).unwrap();
        }),
        ("another session expunges it", |server, _| {
            let mut other = imap(server, "b@example.test", "Work");
            ask(&mut other, "STORE 1 +FLAGS (\\Deleted)");
            ask(&mut other, "EXPUNGE");
        }),
        ("another session deletes the folder", |server, _| {
            ask(&mut imap(server, "b@example.test", "INBOX"), "DELETE Work");
        }),
    ];
    for (name, change) in changes {
        let server = Server::dev();
        ask(&mut imap(&server, "b@example.test", "INBOX"), "CREATE Work");
        let file = server.maildir("b@example.test").path.join(".Work/new").join(FILE);
        fs::write(&file, &message).unwrap();
        let mut client = imap(&server, "b@example.test", "Work");
        begin_fetch(&mut client);
        change(&server, &file);
        assert!(is_whole(client, &wire), "{name}");
        eventually("the file is closed", || (open_messages(&server) == 0).then_some(()));
    }
}

#[test]
fn y226_a_message_that_is_removed_meanwhile_comes_whole_by_pop3_and_http_too() {
    let message = large_message();
    let wire = with_crlf(&message);
    let server = Server::dev();
    let maildir = server.maildir("b@example.test");
    let file = maildir.put(FILE, &message);
    let mut client = slow_client(server.pop3());
    client.expect("+OK");
    client.ask("USER b@example.test", "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "+OK");
    client.ask("RETR 1", "+OK");
    fs::remove_file(file).unwrap();
    assert!(client.text() == wire);
    client.ask("QUIT", "+OK");

    let file = maildir.put(FILE, &message);
    let mut client = slow_client(server.addresses("http")[0]);
    client.send("GET /api/v1/message/latest/raw HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    client.expect("HTTP/1.1 200");
    while client.line() != b"\r\n" {}
    fs::remove_file(file).unwrap();
    assert!(client.rest() == wire);
    eventually("the file is closed", || (open_messages(&server) == 0).then_some(()));
}

#[test]
fn y227_any_number_of_slow_clients_keeps_few_files_open() {
    let wrapper = &["sh", "-c", "ulimit -n 400; exec \"$@\"", "sh"];
    let server = Setup { wrapper, ..Setup::default() }.start();
    let message = large_message();
    let users = ["a@example.test", "b@example.test", "c@example.test"];
    let files = users.map(|user| server.maildir(user).put(FILE, &message));
    let mut clients: Vec<Client> =
        users.iter().cycle().take(12).map(|user| imap(&server, user, "INBOX")).collect();
    clients.iter_mut().for_each(begin_fetch);
    // The server opens files for a moment, until its clients have no room for more.
    let open = eventually("the server waits for its clients", || {
        let open = open_messages(&server);
        (open <= 400 / 64).then_some(open)
    });
    assert!(open > 0, "{}", server.log());
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    let wire = with_crlf(&message);
    let whole = clients.into_iter().map(|client| is_whole(client, &wire)).filter(|whole| *whole).count();
    assert!((1..=400 / 64).contains(&whole), "{whole} clients have the message, and {open} files were open");
    eventually("the files are closed", || (open_messages(&server) == 0).then_some(()));
}
