//! An IMAP session and a folder that cannot be read: the folder is refused, and never shown as
//! empty.

use std::fs;

use crate::common::{
    PASSWORD, Server,
    client::Client,
    inject::{Fault, can_inject},
};

/// A client that has logged in.
struct Session {
    client: Client,
    commands: usize,
}

impl Session {
    fn new(server: &Server, user: &str) -> Self {
        let mut client = Client::connect(server.addresses("imap")[0]);
        client.expect("* OK");
        let mut session = Self { client, commands: 0 };
        session.ask(&format!("LOGIN {user} {PASSWORD}"), "OK");
        session
    }

    /// The untagged responses to a command that must end with this result.
    #[track_caller]
    fn ask(&mut self, command: &str, result: &str) -> Vec<String> {
        self.commands += 1;
        let tag = format!("a{} ", self.commands);
        self.client.send(&format!("{tag}{command}"));
        let mut responses = Vec::new();
        loop {
            let line = String::from_utf8(self.client.line()).unwrap();
            match line.strip_prefix(&tag) {
                Some(rest) if rest.starts_with(result) => return responses,
                Some(rest) => panic!("{command}: {rest}"),
                None => responses.push(line.trim_end().to_owned()),
            }
        }
    }
}

const STATUS: &str = "STATUS Work (MESSAGES UNSEEN)";
const LIST: &str = "LIST \"\" (INBOX Work) RETURN (STATUS (MESSAGES))";

#[test]
fn y221_a_folder_with_a_file_in_the_place_of_a_directory_is_refused_and_never_called_empty() {
    let server = Server::dev();
    let user = "alice@example.test";
    server.maildir(user).put("1700000001.M1P1.elsewhere", b"1\n");
    let mut session = Session::new(&server, user);
    session.ask("CREATE Work", "OK");
    let new = server.maildir(user).path.join(".Work/new");
    fs::remove_dir(&new).unwrap();
    fs::write(&new, "not a directory").unwrap();

    let no = session.ask("SELECT Work", "NO");
    assert!(!no.iter().any(|line| line.ends_with(" EXISTS")), "{no:?}");
    assert_eq!(session.ask(STATUS, "NO"), [""; 0]);
    let list = session.ask(LIST, "OK");
    assert!(list.iter().any(|line| line.starts_with("* LIST ") && line.ends_with(" Work")), "{list:?}");
    let statuses: Vec<&String> = list.iter().filter(|line| line.starts_with("* STATUS ")).collect();
    assert_eq!(statuses, ["* STATUS INBOX (MESSAGES 1)"], "{list:?}");
    // The file is unchanged, and the other folders are served.
    assert_eq!(fs::read_to_string(&new).unwrap(), "not a directory");
    assert!(session.ask("SELECT INBOX", "OK").contains(&"* 1 EXISTS".to_owned()));
}

#[test]
fn y222_a_folder_whose_directory_cannot_be_read_is_refused_and_never_called_empty() {
    let test = "y222_a_folder_whose_directory_cannot_be_read_is_refused_and_never_called_empty";
    if !can_inject(test) {
        return;
    }
    let server = Server::dev();
    for error in ["EIO", "ESTALE"] {
        for (nth, sub) in [(1, "new"), (2, "cur")] {
            let user = format!("{error}.{sub}@example.test").to_lowercase();
            let mut session = Session::new(&server, &user);
            session.ask("CREATE Work", "OK");
            let work = server.maildir(&user).path.join(".Work");
            for name in ["1.one", "2.two", "3.three"] {
                fs::write(work.join(sub).join(name), "x\n").unwrap();
            }
            // A folder that no session has opened yet has to be read.
            for command in ["SELECT Work", STATUS] {
                let fault = Fault::new(format!("getdents64:error={error}:when={nth}")).on(work.join(sub));
                let no = fault.during(&server, || session.ask(command, "NO"));
                assert_eq!(no, [""; 0], "{command}: {fault:?}");
            }
            assert_eq!(session.ask("STATUS Work (MESSAGES)", "OK"), ["* STATUS Work (MESSAGES 3)"]);
            assert!(session.ask("SELECT Work", "OK").contains(&"* 3 EXISTS".to_owned()));
        }
    }
}
