//! An IMAP client of our own, at our server or at Dovecot's.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use tempfile::TempDir;

use crate::{
    common::{PASSWORD, PATIENCE, STRICT, Server, Setup, home, listener},
    dovecot::{DOVECOT_IMAP, dovecot},
    letters::{ALICE, identified},
    responses,
};

/// A session, logged in as alice.
pub(crate) struct Imap {
    input: Box<dyn Write + Send>,
    output: BufReader<Box<dyn Read + Send>>,
    tags: usize,
    /// Dovecot's; `None` is a session with us.
    process: Option<Process>,
}

/// Dovecot's server, which ends with its standard input.
struct Process {
    child: Child,
    log: PathBuf,
    _home: TempDir,
}

/// A line of the server, and the literals in it (RFC 9051 section 4.3).
pub(crate) struct Response {
    pub(crate) text: String,
    pub(crate) literals: Vec<Vec<u8>>,
}

/// A server with strict SMTP, POP3 and IMAP, for alice.
pub(crate) fn server() -> Server {
    let config = format!("{STRICT}{}\n[limits]\nauth.failure_delay = \"0s\"\n", listener("imap", ""));
    Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start()
}

impl Imap {
    /// A session with us.
    pub(crate) fn ours(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addresses("imap")[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let input = Box::new(stream.try_clone().unwrap());
        let mut imap = Self { input, output: BufReader::new(Box::new(stream)), tags: 0, process: None };
        let greeting = imap.response();
        assert!(greeting.text.starts_with("* OK"), "{}", greeting.text);
        imap.ask(&format!("LOGIN {ALICE} {PASSWORD}"));
        imap
    }

    /// A session with Dovecot in the same mailbox.
    pub(crate) fn dovecot(server: &Server) -> Self {
        Self::dovecot_in(&server.maildir(ALICE).path)
    }

    /// A session with Dovecot in any Maildir.
    pub(crate) fn dovecot_in(maildir: &Path) -> Self {
        let home = home();
        let log = home.path().join("log");
        let mut command = dovecot(DOVECOT_IMAP, home.path(), maildir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let input = Box::new(child.stdin.take().unwrap());
        let output: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let process = Some(Process { child, log, _home: home });
        let mut imap = Self { input, output: BufReader::new(output), tags: 0, process };
        let greeting = imap.response();
        assert!(greeting.text.starts_with("* PREAUTH"), "{}", greeting.text);
        imap
    }

    /// The next response. One of ours must be one that `imap-codec` can read.
    fn response(&mut self) -> Response {
        let (mut line, mut literals, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let begun = line.len();
            if self.output.read_until(b'\n', &mut line).unwrap() == 0 {
                self.is_gone(&line);
            }
            whole.extend_from_slice(&line[begun..]);
            let text = String::from_utf8_lossy(&line).into_owned();
            let octets = text.trim_end().strip_suffix('}').and_then(|text| text.rsplit_once('{'));
            let Some(octets) = octets.and_then(|(_, octets)| octets.parse().ok()) else {
                if self.process.is_none() {
                    responses::check(&whole).unwrap();
                }
                return Response { text, literals };
            };
            let mut literal = vec![0; octets];
            if self.output.read_exact(&mut literal).is_err() {
                self.is_gone(&line);
            }
            whole.extend_from_slice(&literal);
            literals.push(literal);
        }
    }

    /// Fails because the server ended in the midst of a response, with Dovecot's log.
    #[track_caller]
    fn is_gone(&self, line: &[u8]) -> ! {
        let log = self.process.as_ref().map(|process| fs::read_to_string(&process.log).unwrap());
        panic!("the IMAP server is gone: {log:?}, after {}", line.escape_ascii());
    }

    /// Sends a command that must be answered with OK, and returns the responses before that.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> Vec<Response> {
        let (responses, result) = self.command(command.as_bytes());
        assert!(result.starts_with("OK"), "{command}: {result}");
        responses
    }

    /// Sends a command that may come too late if the messages are gone: then its answer is NO.
    pub(crate) fn try_ask(&mut self, command: &str) -> Vec<Response> {
        let (responses, result) = self.command(command.as_bytes());
        assert!(!result.starts_with("BAD"), "{command}: {result}");
        responses
    }

    /// Sends a command, and returns the responses before its result, and the result.
    pub(crate) fn command(&mut self, command: &[u8]) -> (Vec<Response>, String) {
        self.tags += 1;
        let tag = format!("a{} ", self.tags);
        self.input.write_all(&[tag.as_bytes(), command, b"\r\n"].concat()).unwrap();
        let mut responses = Vec::new();
        loop {
            let response = self.response();
            if let Some(result) = response.text.strip_prefix(&tag) {
                return (responses, result.to_owned());
            }
            responses.push(response);
        }
    }

    /// Puts a letter into a mailbox.
    pub(crate) fn append(&mut self, mailbox: &str, letter: &[u8]) {
        let command = format!("APPEND {mailbox} {{{}+}}\r\n", letter.len());
        let (_, result) = self.command(&[command.as_bytes(), letter].concat());
        assert!(result.starts_with("OK"), "{result}");
    }

    /// Opens a mailbox and reads everything in it: the unique ids of IMAP, and the letters. Messages that are
    /// removed meanwhile are left out.
    pub(crate) fn read_all(&mut self, mailbox: &str) -> Vec<(usize, String)> {
        self.ask(&format!("SELECT {mailbox}"));
        let fetched = self.try_ask("UID FETCH 1:* BODY.PEEK[]");
        let with_text = fetched.iter().filter_map(|response| Some((response, response.literals.first()?)));
        with_text.map(|(response, text)| (number_after(&response.text, "UID "), identified(text))).collect()
    }

    /// Ends the session.
    pub(crate) fn logout(mut self) {
        self.ask("LOGOUT");
        if let Some(process) = &mut self.process {
            assert!(process.child.wait().unwrap().success());
        }
    }
}

/// A session that keeps its mailbox open, and knows of it only the server's responses.
pub(crate) struct View {
    imap: Imap,
    /// The unique id of each message, once it is known.
    uids: Vec<Option<usize>>,
    /// Whether it asks for news by IDLE the next time, in place of NOOP.
    idles: bool,
}

impl View {
    pub(crate) fn open(server: &Server, mailbox: &str) -> Self {
        let mut view = Self { imap: Imap::ours(server), uids: Vec::new(), idles: false };
        let told = view.imap.ask(&format!("SELECT {mailbox}"));
        view.note(&told);
        view
    }

    /// Asks for news. Returns the unique ids of all messages.
    #[track_caller]
    pub(crate) fn news(&mut self) -> Vec<usize> {
        let told = self.imap.ask(if self.idles { "IDLE\r\nDONE" } else { "NOOP" });
        self.idles = !self.idles;
        self.note(&told);
        if let Some(first) = self.uids.iter().position(Option::is_none) {
            let told = self.imap.try_ask(&format!("FETCH {}:* (UID)", first + 1));
            self.note(&told);
        }
        self.uids.iter().flatten().copied().collect()
    }

    #[track_caller]
    fn note(&mut self, told: &[Response]) {
        for response in told {
            match response.text.split_whitespace().collect::<Vec<_>>()[..] {
                ["*", number, "EXPUNGE"] => drop(self.uids.remove(number.parse::<usize>().unwrap() - 1)),
                ["*", number, "EXISTS"] => {
                    let exists = number.parse().unwrap();
                    assert!(exists >= self.uids.len(), "{exists} of {} without EXPUNGE", self.uids.len());
                    self.uids.resize(exists, None);
                }
                ["*", number, "FETCH", "(UID", uid] => {
                    let uid = uid.trim_end_matches(')').parse().unwrap();
                    let known = self.uids[number.parse::<usize>().unwrap() - 1].replace(uid);
                    assert!(known.is_none_or(|known| known == uid), "{known:?} has another UID: {uid}");
                }
                _ => {}
            }
        }
        let known: Vec<usize> = self.uids.iter().flatten().copied().collect();
        assert!(known.is_sorted_by(|a, b| a < b), "{known:?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended if all went well
        let _ = self.child.wait();
    }
}

/// The number that follows this word.
#[track_caller]
pub(crate) fn number_after(text: &str, word: &str) -> usize {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {text:?}"));
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().unwrap()
}
