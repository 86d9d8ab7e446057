//! The text that `restante dev` prints at its start: commands to paste.
//!
//! The rule: each command works in a shell in the directory where the server was started, with the PATH that the server
//! has. It carries no comment, because an interactive zsh takes `#` for a word; the line above explains it. On a screen
//! of 80 columns and 24 lines all of it is visible, with the first lines of the log below it.

use std::{
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    command_hint::{path_word, shell_quoted},
    printable,
};

/// The facts that the text tells. Paths are absolute.
pub(super) struct Banner<'a> {
    pub(super) http: Option<SocketAddr>,
    pub(super) smtp: SocketAddr,
    pub(super) imap: Option<SocketAddr>,
    pub(super) pop3: SocketAddr,
    pub(super) tls: Option<TlsListeners<'a>>,
    pub(super) spool: &'a Path,
    pub(super) transcripts: Option<&'a Path>,
    /// Faults on demand are on.
    pub(super) faults: bool,
    /// Other machines can connect.
    pub(super) network: bool,
}

/// The listeners that begin with TLS, and the certificate to trust.
pub(super) struct TlsListeners<'a> {
    pub(super) smtps: SocketAddr,
    pub(super) imaps: Option<SocketAddr>,
    pub(super) pop3s: SocketAddr,
    pub(super) certificate: &'a Path,
}

impl Banner<'_> {
    /// The text for a shell in `directory`, in which the word `restante` starts this program.
    pub(super) fn text(&self, directory: &Path, restante: &str) -> String {
        let Self { http, smtp, imap, pop3, spool, .. } = self;
        let http = http.map(|http| format!("web inbox http://{http}/, ")).unwrap_or_default();
        let first = first_message(*imap, "imap", *pop3, "pop3");
        let imap = imap.map(|imap| format!("IMAP at {imap}, ")).unwrap_or_default();
        let below = |path: &Path| path.strip_prefix(directory).unwrap_or(path).to_owned();
        let spool = below(spool);
        let here =
            if *spool == *DEFAULT_SPOOL { String::new() } else { format!(" --spool {}", path_word(&spool)) };
        let mailbox = path_word(&spool.join(DEMO_USER));
        let reach =
            if self.network { "No mail goes on from here: it is" } else { "Mail stays on this machine," };
        let mut text = format!(
            r"restante dev: {http}SMTP at {smtp},
{imap}POP3 at {pop3}. Any address has a mailbox, any
password opens it. {reach} below {}. Ctrl-C ends it.
Type these in a second terminal, in the same directory:
  printf 'From: me@example.test\nSubject: hello\n\nIt works.\n' | curl \
    --crlf {} --mail-from me@example.test \
    --mail-rcpt {DEMO_USER} -T -
  curl {} -u {DEMO_USER}:any
  mutt -f {mailbox}
",
            printable::escape_path(&spool),
            shell_quoted(&format!("smtp://{smtp}")),
            shell_quoted(&first),
        );
        if cfg!(feature = "tools") {
            let client = format!("{restante} client{}", self.ports_for_client());
            let wait = format!("{restante} wait{here} --to {DEMO_USER}");
            let watch = if self.transcripts.is_some() { "; every session explained" } else { "" };
            text.push_str(&format!("A mail client; a wait, for scripts{watch}:\n  {client}\n  {wait}\n"));
        }
        if let Some(directory) = self.transcripts.map(below) {
            let word = path_word(&directory);
            text.push_str(&match () {
                () if !cfg!(feature = "tools") => format!("Transcripts of all sessions are below {word}.\n"),
                () if *directory == *DEFAULT_TRANSCRIPTS => format!("  {restante} watch\n"),
                () => format!("  {restante} watch {word}\n"),
            });
        }
        text.push_str(&self.by_hand());
        text
    }

    /// The options of `restante client` that are not at their defaults.
    fn ports_for_client(&self) -> String {
        let option = |name, address: SocketAddr, default: &str| {
            let word = address.to_string();
            if word == default { String::new() } else { format!(" --{name} {}", shell_quoted(&word)) }
        };
        option("smtp", self.smtp, "127.0.0.1:2525") + &option("pop3", self.pop3, "127.0.0.1:1110")
    }

    /// The commands for people who type the protocols, for TLS, and the settings of a mail program.
    fn by_hand(&self) -> String {
        let (smtp_host, smtp_port) = (self.smtp.ip(), self.smtp.port());
        let (pop3_host, pop3_port) = (self.pop3.ip(), self.pop3.port());
        let (imap_hint, imap_command) = match self.imap {
            Some(imap) => (IMAP_HINT, format!("  telnet {} {}\n", imap.ip(), imap.port())),
            None => ("", String::new()),
        };
        let smtp = shell_quoted(&self.smtp.to_string());
        let tls = self.tls.as_ref().map(TlsListeners::text).unwrap_or_default();
        let (kind, to) =
            if self.faults { ("refusal", "you+452@example.test") } else { ("message", DEMO_USER) };
        format!(
            r"A {kind}; SMTP (HELP); {imap_hint}POP3 (USER, PASS):
  swaks -s {smtp} -f me@example.test -t {to}
  telnet {smtp_host} {smtp_port}
{imap_command}  telnet {pop3_host} {pop3_port}
{tls}{}

",
            self.thunderbird(),
        )
    }

    /// The settings for Thunderbird's wizard, whose button *Test* finds the encryption. It asks port 80 of the address's
    /// domain for all settings, and no other port.
    fn thunderbird(&self) -> String {
        if self.http.is_some_and(|http| http.port() == AUTOCONFIG_PORT) {
            return "Thunderbird finds the settings of you@localhost itself, with any password.".into();
        }
        let reading = self.imap.map_or(format!("POP3 {}", self.pop3), |imap| format!("IMAP {imap}"));
        format!("Thunderbird, by hand: {reading}, SMTP {}; press Test.", self.smtp)
    }
}

/// The URL of the first message, over IMAP if there is IMAP.
fn first_message(imap: Option<SocketAddr>, imap_scheme: &str, pop3: SocketAddr, pop3_scheme: &str) -> String {
    match imap {
        Some(imap) => format!("{imap_scheme}://{imap}/INBOX;MAILINDEX=1"),
        None => format!("{pop3_scheme}://{pop3}/1"),
    }
}

impl TlsListeners<'_> {
    fn text(&self) -> String {
        let word = |address: SocketAddr| shell_quoted(&address.to_string());
        let url = shell_quoted(&first_message(self.imaps, "imaps", self.pop3s, "pop3s"));
        let certificate = path_word(self.certificate);
        format!(
            r"  curl {url} -u {DEMO_USER}:any \
    --cacert {certificate}
  openssl s_client -quiet -crlf -connect {}
  openssl s_client -quiet -crlf -connect {}
",
            word(self.smtps),
            word(self.pop3s),
        )
    }
}

/// The word that starts this program again: its name if the shell finds it on the PATH, else the path that was typed.
pub(super) fn command_word() -> String {
    let typed = env::args_os().next().map(PathBuf::from).unwrap_or_else(|| NAME.into());
    let on_path = env::var_os("PATH").and_then(|path| found_on(&path));
    let is_this = |found: PathBuf| match (fs::canonicalize(found), env::current_exe()) {
        (Ok(found), Ok(this)) => found == this,
        _ => false,
    };
    if on_path.is_some_and(is_this) { NAME.into() } else { path_word(&typed) }
}

/// The program of this name that a shell would start.
fn found_on(path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(NAME)).find(|file| file.is_file())
}

const NAME: &str = "restante";
const DEMO_USER: &str = "you@example.test";
const AUTOCONFIG_PORT: u16 = 80;
const IMAP_HINT: &str = "IMAP (a LOGIN you@example.test x); ";

/// The directories in which the other commands look, if nothing else is said.
const DEFAULT_SPOOL: &str = "spool";
const DEFAULT_TRANSCRIPTS: &str = "transcripts";

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/somebody/projects/restante";

    fn screen(restante: &str, spool: &Path, transcripts: Option<&Path>, tls: bool) -> String {
        screen_with_http("127.0.0.1:8025", restante, spool, transcripts, tls)
    }

    fn screen_with_http(
        http: &str,
        restante: &str,
        spool: &Path,
        transcripts: Option<&Path>,
        tls: bool,
    ) -> String {
        let smtp = "127.0.0.1:2525".parse().unwrap();
        let imap = Some("127.0.0.1:51143".parse().unwrap());
        let pop3 = "127.0.0.1:51110".parse().unwrap();
        let certificate = Path::new("/home/somebody/.local/state/restante/certificate.pem");
        let tls = tls.then(|| TlsListeners {
            smtps: "127.0.0.1:2465".parse().unwrap(),
            imaps: Some("127.0.0.1:1993".parse().unwrap()),
            pop3s: "127.0.0.1:1995".parse().unwrap(),
            certificate,
        });
        let http = Some(http.parse().unwrap());
        Banner { http, smtp, imap, pop3, tls, spool, transcripts, faults: true, network: false }
            .text(Path::new(HOME), restante)
    }

    #[test]
    fn h02_the_screen_fits_80_columns_and_24_lines_with_the_log() {
        let (spool, transcripts) = (Path::new(HOME).join("spool"), Path::new(HOME).join("transcripts"));
        for tls in [false, true] {
            let screen = screen("target/release/restante", &spool, Some(&transcripts), tls);
            let rows: usize = screen.lines().map(|line| line.chars().count().div_ceil(80).max(1)).sum();
            // The lines of the log that name the listeners stand above, and may scroll away.
            let log = if tls { 0 } else { 3 };
            assert!(rows + log <= 24, "{rows} rows:\n{screen}");
        }
    }

    #[test]
    fn h02_the_commands_name_the_ports_taken_and_the_directories_from_here() {
        let (spool, transcripts) = (Path::new(HOME).join("spool"), Path::new("/var/tmp/my sessions"));
        let screen = screen("target/release/restante", &spool, Some(transcripts), true);
        for command in [
            "restante dev: web inbox http://127.0.0.1:8025/, SMTP",
            "--crlf smtp://127.0.0.1:2525 --mail-from me@example.test \\\n",
            "swaks -s 127.0.0.1:2525 ",
            "IMAP at 127.0.0.1:51143, POP3 at 127.0.0.1:51110. ",
            "curl 'imap://127.0.0.1:51143/INBOX;MAILINDEX=1' -u you@example.test:any\n",
            "mutt -f spool/you@example.test\n",
            #[cfg(feature = "tools")]
            "  target/release/restante client --pop3 127.0.0.1:51110\n",
            #[cfg(feature = "tools")]
            "  target/release/restante wait --to you@example.test\n",
            #[cfg(feature = "tools")]
            "  target/release/restante watch '/var/tmp/my sessions'\n",
            "telnet 127.0.0.1 2525\n",
            "telnet 127.0.0.1 51143\n",
            "telnet 127.0.0.1 51110\n",
            "Thunderbird, by hand: IMAP 127.0.0.1:51143, SMTP 127.0.0.1:2525; press Test.\n",
            "curl 'imaps://127.0.0.1:1993/INBOX;MAILINDEX=1' -u",
            "connect 127.0.0.1:1995\n",
            "connect 127.0.0.1:2465\n",
        ] {
            assert!(screen.contains(command), "{command:?} is not in {screen}");
        }
        assert!(!screen.contains('#'), "a comment that zsh takes for words: {screen}");
    }

    #[test]
    fn y211_thunderbird_is_told_the_ports_or_finds_them_at_port_80() {
        let spool = Path::new(HOME).join("spool");
        for tls in [false, true] {
            let line = |http| {
                let screen = screen_with_http(http, NAME, &spool, None, tls);
                let mut lines = screen.lines().filter(|line| line.starts_with("Thunderbird"));
                let line = lines.next().map(str::to_owned).unwrap_or_default();
                assert!(line.len() <= 80 && lines.next().is_none(), "{screen}");
                line
            };
            // The button finds STARTTLS or none. It trusts no certificate of ours at ports that begin with TLS.
            let by_hand = "Thunderbird, by hand: IMAP 127.0.0.1:51143, SMTP 127.0.0.1:2525; press Test.";
            assert_eq!(line("127.0.0.1:8025"), by_hand);
            assert_eq!(
                line("127.0.0.1:80"),
                "Thunderbird finds the settings of you@localhost itself, with any password."
            );
        }
    }

    #[cfg(feature = "tools")]
    #[test]
    fn h02_a_spool_elsewhere_is_named() {
        let screen = screen(NAME, Path::new("/srv/mail"), None, false);
        assert!(screen.contains("  restante wait --spool /srv/mail --to you@example.test\n"), "{screen}");
        assert!(!screen.contains("watch"), "there is nothing to watch: {screen}");
    }

    #[cfg(feature = "tools")]
    #[test]
    fn u163_a_spool_that_begins_with_a_hyphen_keeps_its_place() {
        let screen = screen(NAME, &Path::new(HOME).join("-d"), None, false);
        assert!(screen.contains("  restante wait --spool ./-d --to you@example.test\n"), "{screen}");
        assert!(screen.contains("  mutt -f ./-d/you@example.test\n"), "{screen}");
    }

    #[test]
    fn h10_a_server_without_faults_offers_none() {
        let (smtp, pop3) = ("127.0.0.1:2525".parse().unwrap(), "127.0.0.1:1110".parse().unwrap());
        let spool = &Path::new(HOME).join("spool");
        let screen = |faults| {
            Banner {
                http: None,
                smtp,
                imap: None,
                pop3,
                tls: None,
                spool,
                transcripts: None,
                faults,
                network: false,
            }
            .text(Path::new(HOME), NAME)
        };
        assert!(screen(true).contains("-t you+452@example.test\n"));
        assert!(screen(false).contains("-t you@example.test\n") && !screen(false).contains("refusal"));
        assert!(!screen(true).contains("IMAP") && screen(true).contains("curl pop3://127.0.0.1:1110/1 -u"));
    }

    #[test]
    fn what_a_shell_would_change_is_quoted() {
        for (word, quoted) in [
            ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525"),
            ("smtp://[::1]:2525", "'smtp://[::1]:2525'"),
            ("/my mail/$x", "'/my mail/$x'"),
            ("/it's", r"'/it'\''s'"),
        ] {
            assert_eq!(shell_quoted(word), quoted);
        }
    }
}
