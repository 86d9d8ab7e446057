//! `restante send`: sends one message to any SMTP server, for scripts and exercises.

use std::{
    env, fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Args, ValueEnum};

use super::{failure::Failure, output, spool::is_stdio};
use crate::{
    client::{
        ClientError, ConnectOptions, Security, ServerAddr, Tls, Trust, WireEvent, WireObserver, display,
        outgoing::{Attachment, OutgoingMessage, Person, is_address},
        own_address::own_address,
        reply_help,
        smtp::{Reply, ReplyClass, Smtp},
        strings,
        submit::{Submission, SubmitOutcome, submit},
    },
    language::Language,
    mua::terminal::{Terminal, supports_styles},
    proto::request::Secret,
};

/// Send one message. On a terminal, asks for the missing parts.
///
/// Exit codes: 0 sent, 4 temporarily refused (4xx), 5 refused (5xx), 1 the connection or TLS failed, 2 the
/// command line is wrong. With several recipients the worst reply counts.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Server, like mx.example.test:25 [default: 127.0.0.1:2525]
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<ServerAddr>,
    /// Sender: an address, or a name followed by the address in <>
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address_list)]
    from: Option<AddressList>,
    /// Recipient; repeat, or separate with commas
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address_list)]
    to: Vec<AddressList>,
    /// Recipient of a copy; repeat, or separate with commas
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address_list)]
    cc: Vec<AddressList>,
    /// Recipient of a hidden copy; repeat, or separate with commas
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address_list)]
    bcc: Vec<AddressList>,
    /// Subject
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    subject: Option<String>,
    #[command(flatten)]
    content: Content,
    /// File to attach; repeat for more
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    attach: Vec<PathBuf>,
    /// Protection of the connection
    #[arg(long, value_name = "HOW", default_value = "none")]
    tls: Protection,
    /// PEM file with certificates to trust instead of this machine's authorities
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Trust any certificate, and send a password even in clear text; for tests
    #[arg(long, conflicts_with = "cacert")]
    insecure: bool,
    /// User name to log in with
    #[arg(long, value_name = "USER")]
    auth: Option<String>,
    /// File with the password in its first line [default: RESTANTE_PASSWORD, else asks]
    #[arg(long, value_name = "FILE", requires = "auth")]
    password_file: Option<PathBuf>,
    /// Name to give in EHLO [default: this machine's address]
    #[arg(long, value_name = "NAME", value_parser = parse_helo_name)]
    helo: Option<String>,
    /// Show the dialogue on standard error, without secrets
    #[arg(long, short)]
    verbose: bool,
}

/// The text, or the whole message.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Content {
    /// Text of the message
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// File with the text; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// File with the whole message including its header, sent unchanged; `-` is standard input
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Read the text from standard input
    #[arg(value_name = "-", value_parser = ["-"])]
    stdin: Option<String>,
}

/// The protection of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Protection {
    /// No TLS
    None,
    /// STARTTLS, or STLS
    Starttls,
    /// TLS from the first octet
    Implicit,
}

impl Protection {
    pub(super) fn security(self) -> Security {
        match self {
            Self::None => Security::None,
            Self::Starttls => Security::StartTls,
            Self::Implicit => Security::Implicit,
        }
    }

    /// Refuses trusted certificates for a connection without TLS: a user who names them expects protection.
    pub(super) fn must_use(self, trusted: Option<&Path>) -> Result<(), Failure> {
        let path = trusted.filter(|_| matches!(self, Self::None));
        path.map_or(Ok(()), |path| {
            Err(Failure::Usage(format!(
                "--cacert {} is for TLS: add --tls=starttls or --tls=implicit",
                path.display()
            )))
        })
    }
}

type AddressList = Vec<Person>;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut terminal = Terminal::stdio();
    let language = terminal.language();
    let options = connect_options(arguments, &mut terminal)?;
    let outgoing = outgoing_message(arguments, &options, &mut terminal)?;
    let message = match &arguments.content.raw {
        Some(path) if is_stdio(path) => standard_input(&mut terminal)?,
        Some(path) => read_file(path)?,
        None => outgoing.build(SystemTime::now(), random()?),
    };
    let password = password(arguments, &options, &mut terminal)?;

    let failed = |error: ClientError| client_failure(&error, language);
    let observer = arguments.verbose.then(dialogue_printer);
    let mut smtp = Smtp::open(&options, arguments.helo.as_deref(), observer).map_err(failed)?;
    if let (Some(user), Some(password)) = (&arguments.auth, password) {
        let reply = smtp.log_in(user, &password).map_err(failed)?;
        if !reply.is_done() {
            smtp.quit();
            return Err(failure_for(
                reply.class(),
                display::printable_line(&reply_help::explain_smtp(&reply, language)),
            ));
        }
    }
    let recipients = outgoing.recipients();
    let submission = Submission { from: &outgoing.from.address, recipients: &recipients, message: &message };
    let outcome = submit(&mut smtp, &submission, |_| true).map_err(failed)?;
    smtp.quit();
    report(&outcome, language)
}

/// Tells the user that the server says nothing.
pub(super) fn tell_silence(server: &ServerAddr, in_clear_text: bool) {
    let language = Language::of_locale(|name| env::var(name).ok());
    let words = if in_clear_text { strings::SILENT } else { strings::SILENT_TLS };
    output::message(words.format(language, &[server]));
}

/// Reports the outcome for each recipient.
fn report(outcome: &SubmitOutcome<'_>, language: Language) -> Result<(), Failure> {
    let explained = |reply: &Reply| display::printable_line(&reply_help::explain_smtp(reply, language));
    let mut lines = Vec::new();
    if let SubmitOutcome::NoRecipient(refusals) | SubmitOutcome::Replied(_, refusals) = outcome {
        lines.extend(
            refusals
                .iter()
                .map(|(to, reply)| format!("<{}>: {}", display::printable_line(to), explained(reply))),
        );
    }
    if let SubmitOutcome::Refused(reply) | SubmitOutcome::Replied(reply, _) = outcome {
        lines.push(explained(reply));
    }
    let lines = lines.join("\n");
    match outcome.worst() {
        ReplyClass::Success => output::page(&format!("{lines}\n")),
        worst => Err(failure_for(worst, lines)),
    }
}

fn failure_for(class: ReplyClass, why: String) -> Failure {
    if class == ReplyClass::Transient { Failure::Transient(why) } else { Failure::Permanent(why) }
}

fn client_failure(error: &ClientError, language: Language) -> Failure {
    let why = display::printable_line(&error.describe(language));
    match error {
        ClientError::Refused(reply) => failure_for(reply.class(), why),
        ClientError::TooBig { .. } | ClientError::MissingExtension(_) | ClientError::NoAuthMechanism(_) => {
            Failure::Permanent(why)
        }
        _ => Failure::Other(why),
    }
}

fn connect_options(arguments: &Arguments, terminal: &mut Terminal) -> Result<ConnectOptions, Failure> {
    arguments.tls.must_use(arguments.cacert.as_deref())?;
    let server = server_address(arguments, terminal)?;
    let trust = match (&arguments.cacert, arguments.insecure) {
        (_, true) => Trust::AnyCertificate,
        (Some(path), _) => Trust::File(path.clone()),
        (None, false) => Trust::System,
    };
    let tls = Tls::new(&trust).map_err(Failure::Usage)?;
    Ok(ConnectOptions {
        server,
        security: arguments.tls.security(),
        tls,
        timeout: REPLY_TIMEOUT,
        on_silence: Some(tell_silence),
    })
}

fn server_address(arguments: &Arguments, terminal: &mut Terminal) -> Result<ServerAddr, Failure> {
    let given = arguments.server.clone();
    if let Some(place) = given {
        return Ok(place);
    }
    if !terminal.is_interactive() {
        return DEFAULT_SERVER.parse().map_err(Failure::Usage);
    }
    let prompt = strings::ASK_SERVER.text(terminal.language());
    prompt_until(terminal, (prompt, DEFAULT_SERVER), str::parse)
}

/// Builds the message from the command line, and asks for missing parts. With `--raw` only the envelope
/// counts.
fn outgoing_message(
    arguments: &Arguments,
    options: &ConnectOptions,
    terminal: &mut Terminal,
) -> Result<OutgoingMessage, Failure> {
    let language = terminal.language();
    let is_raw = arguments.content.raw.is_some();
    let from = match arguments.from.as_deref() {
        Some([from]) => from.clone(),
        Some(_) => return Err(Failure::Usage("--from takes one address".into())),
        None => {
            require_terminal(terminal, "--from")?;
            let name = env::var("USER").ok().filter(|name| is_address(name)).unwrap_or("me".into());
            let offered = address_at(options, &name).map_err(|error| client_failure(&error, language))?;
            let offered = offered.unwrap_or_default();
            prompt_until(terminal, (strings::ASK_FROM.text(language), &offered), parse_one_address)?
        }
    };
    let mut outgoing = OutgoingMessage::from(from);
    outgoing.to = arguments.to.concat();
    outgoing.cc = arguments.cc.concat();
    outgoing.bcc = arguments.bcc.concat();
    if outgoing.recipients().is_empty() {
        require_terminal(terminal, "--to")?;
        let question = (strings::ASK_TO.text(language), outgoing.from.address.as_str());
        outgoing.to = prompt_until(terminal, question, parse_address_list)?;
    }
    outgoing.subject = match &arguments.subject {
        Some(subject) => subject.clone(),
        None if is_raw || !terminal.is_interactive() => String::new(),
        None => prompt_for(terminal, strings::ASK_SUBJECT.text(language), "")?,
    };
    if !is_raw {
        outgoing.text = message_text(arguments, terminal)?;
    }
    for path in &arguments.attach {
        outgoing.attachments.push(Attachment::read(path).map_err(|error| unreadable(path, &error))?);
    }
    Ok(outgoing)
}

/// The address of a user of that name at the server, to offer; `None` if the server has none, or asks for a login first.
fn address_at(options: &ConnectOptions, name: &str) -> Result<Option<String>, ClientError> {
    let mut smtp = Smtp::open(options, None, None)?;
    let found = own_address(&mut smtp, name, (&[], &options.server))?;
    smtp.quit();
    Ok(found)
}

fn message_text(arguments: &Arguments, terminal: &mut Terminal) -> Result<String, Failure> {
    let content = &arguments.content;
    let utf8 = |bytes: Vec<u8>, from: &str| {
        String::from_utf8(bytes)
            .map_err(|_| Failure::Usage(format!("{from} is not UTF-8 text: send it with --attach, or --raw")))
    };
    if let Some(body) = &content.body {
        return Ok(format!("{body}\n"));
    }
    match &content.file {
        Some(path) if !is_stdio(path) => return utf8(read_file(path)?, &path.display().to_string()),
        None if content.stdin.is_none() => {
            require_terminal(terminal, "--body, --file or -")?;
            terminal.print_localized(strings::ASK_TEXT, &[]);
            return Ok(terminal.read_text());
        }
        _ => {}
    }
    utf8(standard_input(terminal)?, "standard input")
}

fn standard_input(terminal: &mut Terminal) -> Result<Vec<u8>, Failure> {
    terminal
        .read_all()
        .map_err(|error| Failure::Other(format!("cannot read standard input: {error}; nothing was sent")))
}

/// The password of `--auth`. It leaves this machine in clear text only with --insecure.
fn password(
    arguments: &Arguments,
    options: &ConnectOptions,
    terminal: &mut Terminal,
) -> Result<Option<Secret>, Failure> {
    let Some(user) = &arguments.auth else { return Ok(None) };
    if options.exposes_passwords() && !arguments.insecure {
        return Err(Failure::Usage(strings::EXPOSED.format(terminal.language(), &[&options.server])));
    }
    if let Some(path) = &arguments.password_file {
        let content = read_file(path)?;
        let line = content.split(|b| *b == b'\n').next().unwrap_or_default();
        return Ok(Some(Secret::new(line.strip_suffix(b"\r").unwrap_or(line))));
    }
    if let Ok(password) = env::var(PASSWORD_VARIABLE) {
        if password.is_empty() {
            return Err(Failure::Usage(format!("the password in {PASSWORD_VARIABLE} is empty")));
        }
        return Ok(Some(Secret::new(password)));
    }
    require_terminal(terminal, &format!("--password-file or {PASSWORD_VARIABLE}"))?;
    let prompt = terminal.localize(strings::ASK_PASSWORD_OF, &[user]);
    terminal.prompt_secret(&prompt).map(Some).ok_or_else(|| Failure::Usage("no password was given".into()))
}

/// Fails if the input is not a terminal, because no user can be asked.
fn require_terminal(terminal: &Terminal, what: &str) -> Result<(), Failure> {
    if terminal.is_interactive() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{what} is missing, and there is no terminal to ask at: see restante send --help"
    )))
}

fn prompt_for(terminal: &mut Terminal, prompt: &str, offered: &str) -> Result<String, Failure> {
    terminal
        .prompt_with_default(prompt, offered)
        .ok_or_else(|| Failure::Usage("nothing was sent: the input ended".into()))
}

/// Asks until the answer can be read, and says each time why it cannot.
fn prompt_until<T>(
    terminal: &mut Terminal,
    (prompt, offered): (&str, &str),
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        match parse(&prompt_for(terminal, prompt, offered)?) {
            Ok(value) => return Ok(value),
            Err(why) => terminal.print_wrapped(&display::printable_line(&why)),
        }
    }
}

/// Prints the dialogue in the notation of the tests: `C:` and `S:`.
pub(super) fn dialogue_printer() -> WireObserver {
    let coloured = io::stderr().is_terminal() && supports_styles();
    Box::new(move |said| {
        let (who, line, colour) = match said {
            WireEvent::ClientLine(line) => ("C", display::printable_line(line), "36"),
            WireEvent::ServerLine(line) => {
                let line = display::printable_line(&String::from_utf8_lossy(line));
                let colour = if refuses(&line) { "31" } else { "32" };
                ("S", line, colour)
            }
            WireEvent::MessageSent(octets) => ("C", format!("({octets} octets of a message)"), "36"),
            WireEvent::DataReceived(octets) => ("S", format!("({octets} octets)"), "32"),
            WireEvent::TlsStarted(version) => ("*", format!("(TLS {version} from here on)"), "33"),
        };
        let line = format!("{who}: {line}");
        let line = if coloured { format!("\x1b[{colour}m{line}\x1b[0m") } else { line };
        output::message_styled(&line);
    })
}

/// Whether a line refuses a command of SMTP, POP3 or IMAP.
fn refuses(line: &str) -> bool {
    line.starts_with(['4', '5'])
        || line.starts_with("-ERR")
        || line.split(' ').nth(1).is_some_and(|word| ["NO", "BAD", "BYE"].contains(&word))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}; nothing was sent", path.display()))
}

fn parse_address_list(text: &str) -> Result<AddressList, String> {
    let wrong = |part: &str| format!("{part:?} is not an address: write user@domain, or Name <user@domain>");
    match Person::parse_list(text) {
        Ok(people) if people.is_empty() => Err(wrong(text)),
        people => people.map_err(|part| wrong(&part)),
    }
}

fn parse_one_address(text: &str) -> Result<Person, String> {
    match parse_address_list(text)?.as_slice() {
        [person] => Ok(person.clone()),
        _ => Err(format!("{text:?} is more than one address")),
    }
}

fn parse_helo_name(name: &str) -> Result<String, String> {
    let good = |c: char| !c.is_control() && !c.is_whitespace();
    if !name.is_empty() && name.chars().all(good) {
        Ok(name.to_owned())
    } else {
        Err("a name must not contain blanks".into())
    }
}

/// Random bits for a unique Message-ID.
pub(super) fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::Other(format!("no random numbers: {error}")))
}

const DEFAULT_SERVER: &str = "127.0.0.1:2525";
const PASSWORD_VARIABLE: &str = "RESTANTE_PASSWORD";
/// Time limit for a reply (RFC 5321 section 4.5.3.2).
const REPLY_TIMEOUT: Duration = Duration::from_secs(5 * 60);
