//! `restante send`: sends one message to any SMTP server, for scripts and exercises.

pub(super) mod dialogue;
mod outcome;

use std::{
    env,
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Args, ValueEnum};

use super::{failure::Failure, output, spool::is_stdio, xdg::directory_of_user};
use crate::{
    client::{
        ClientError, ConnectOptions, Security, ServerAddr, Tls, Trust, display,
        outgoing::{Attachment, OutgoingMessage, Person, is_address},
        own_address::own_address,
        reply_help,
        smtp::Smtp,
        strings,
        submit::{Submission, SubmitOutcome, submit},
    },
    language::{Language, LocalizedText},
    mua::{
        draft_file::{SendCommand, keep_draft},
        terminal::Terminal,
    },
    proto::request::Secret,
};
use dialogue::{dialogue_printer, tell_silence};
use outcome::{client_failure, failure_for, report};

/// Send one message. On a terminal, asks for the missing parts.
///
/// Exit codes: 0 sent, 4 temporarily refused (4xx), 5 refused (5xx), 1 the connection or TLS failed, 2 the
/// command line is wrong. With several recipients the worst reply counts.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Server, like mx.example.test:25; a port alone is of this machine [default: 127.0.0.1:2525]
    #[arg(long, value_name = "HOST:PORT", allow_negative_numbers = true)]
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

impl Content {
    /// True if the text, or the whole message, comes from standard input.
    fn is_read_from_input(&self) -> bool {
        let file = self.file.as_deref().or(self.raw.as_deref());
        self.body.is_none() && file.is_none_or(is_stdio)
    }
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
            let language = Language::of_environment();
            Err(Failure::Usage(strings::CACERT_WITHOUT_TLS.format(language, &[&path.display()])))
        })
    }
}

type AddressList = Vec<Person>;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut terminal = Terminal::stdio();
    let language = terminal.language();
    let options = connect_options(arguments, &mut terminal)?;
    // A mistake in it is told before the text is typed.
    let password = password(arguments, &options, &mut terminal)?;
    let outgoing = outgoing_message(arguments, &options, &mut terminal)?;
    let message = match &arguments.content.raw {
        Some(path) if is_stdio(path) => standard_input(&mut terminal)?,
        Some(path) => read_file(path)?,
        None => outgoing.build(SystemTime::now(), random()?),
    };
    warn_of_content(&arguments.content, &outgoing, &message, language);
    let recipients = outgoing.recipients();
    let submission = Submission { from: &outgoing.from.address, recipients: &recipients, message: &message };
    // A typed text has no other copy. The file exists while the message is sent, because Ctrl-C ends that.
    let is_typed = terminal.is_interactive() && arguments.content.is_read_from_input();
    let of_user = directory_of_user("XDG_DATA_HOME", ".local/share");
    let draft = is_typed.then(|| keep_draft(of_user.as_deref(), &message));

    let (done, pending) = match send(arguments, &options, password.as_ref(), &submission, language) {
        Ok((outcome, remarks)) => {
            (report(&outcome, &recipients, &remarks, language), outcome.pending(&recipients))
        }
        Err(failure) => (Err(failure), recipients.clone()),
    };
    if pending.is_empty() {
        if let Some(Ok(draft)) = draft {
            let _ = fs::remove_file(draft); // a copy of a message that was sent does no harm
        }
        return done;
    }
    match (draft, done) {
        (Some(draft), Err(failure)) => {
            output::failure(&failure);
            let from = submission.from;
            match draft {
                Ok(draft) => {
                    output::message(strings::KEPT_IN_FILE.format(language, &[&draft.display()]));
                    output::message(send_command(arguments, &options, from).line(&pending, &draft));
                }
                Err(error) => {
                    output::message(strings::TEXT_NOT_KEPT.format(language, &[&language.reason(&error)]));
                }
            }
            Err(Failure::Told(failure.exit_code()))
        }
        (_, done) => done,
    }
}

/// Makes one attempt. Returns the outcome, and the remarks of the server about the login.
fn send<'a>(
    arguments: &Arguments,
    options: &ConnectOptions,
    password: Option<&Secret>,
    submission: &Submission<'a>,
    language: Language,
) -> Result<(SubmitOutcome<'a>, Vec<String>), Failure> {
    let failed = |error: ClientError| client_failure(&error, language);
    let observer = arguments.verbose.then(dialogue_printer);
    let mut smtp = Smtp::open(options, arguments.helo.as_deref(), observer).map_err(failed)?;
    let mut remarks = Vec::new();
    if let (Some(user), Some(password)) = (&arguments.auth, password) {
        let reply = smtp.log_in(user, password).map_err(failed)?;
        let told = display::printable_line(&reply_help::explain_smtp(&reply, &[], language));
        if !reply.is_done() {
            smtp.quit();
            return Err(failure_for(reply.class(), told));
        }
        remarks.extend(reply_help::has_remark(&reply).then_some(told));
    }
    let outcome = submit(&mut smtp, submission, |_| true).map_err(failed)?;
    smtp.quit();
    Ok((outcome, remarks))
}

/// The command with these options for the server.
fn send_command<'a>(arguments: &'a Arguments, options: &'a ConnectOptions, from: &'a str) -> SendCommand<'a> {
    SendCommand {
        smtp: options,
        cacert: arguments.cacert.as_deref(),
        insecure: arguments.insecure,
        user: arguments.auth.as_deref(),
        password_file: arguments.password_file.as_deref(),
        helo: arguments.helo.as_deref(),
        from,
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
    let language = terminal.language();
    let tls = Tls::new(&trust).map_err(|error| Failure::Usage(error.describe(language)))?;
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
        Some(_) => return Err(usage(strings::ONE_SENDER, &[])),
        None => {
            require_address(terminal, "--from", is_raw)?;
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
        require_address(terminal, "--to", is_raw)?;
        let question = (strings::ASK_TO.text(language), outgoing.from.address.as_str());
        outgoing.to = prompt_until(terminal, question, parse_address_list)?;
    }
    outgoing.subject = match &arguments.subject {
        Some(subject) => subject.clone(),
        None if is_raw || !terminal.is_interactive() => String::new(),
        None => prompt_for(terminal, strings::ASK_SUBJECT.text(language), "")?,
    };
    for path in &arguments.attach {
        outgoing.attachments.push(Attachment::read(path).map_err(|error| unreadable(path, &error))?);
    }
    // The last question, because no mistake in another value may lose a typed text.
    if !is_raw {
        outgoing.text = message_text(arguments, terminal)?;
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
    let utf8 =
        |bytes: Vec<u8>, from: &str| String::from_utf8(bytes).map_err(|_| usage(strings::NOT_UTF8, &[&from]));
    if let Some(body) = &content.body {
        return Ok(format!("{body}\n"));
    }
    match &content.file {
        Some(path) if !is_stdio(path) => return utf8(read_file(path)?, &path.display().to_string()),
        None if content.stdin.is_none() => {
            require_terminal(terminal, strings::BODY_OPTIONS.text(terminal.language()))?;
            terminal.print_localized(strings::ASK_TEXT, &[]);
            return Ok(terminal.read_text());
        }
        _ => {}
    }
    utf8(standard_input(terminal)?, strings::STANDARD_INPUT.text(terminal.language()))
}

fn standard_input(terminal: &mut Terminal) -> Result<Vec<u8>, Failure> {
    let language = terminal.language();
    terminal.read_all().map_err(|error| {
        let from = strings::STANDARD_INPUT.text(language);
        Failure::Other(strings::UNREADABLE.format(language, &[&from, &language.reason(&error)]))
    })
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
            return Err(usage(strings::EMPTY_PASSWORD, &[&PASSWORD_VARIABLE]));
        }
        return Ok(Some(Secret::new(password)));
    }
    let missing = strings::PASSWORD_OPTIONS.format(terminal.language(), &[&PASSWORD_VARIABLE]);
    require_terminal(terminal, &missing)?;
    let prompt = terminal.localize(strings::ASK_PASSWORD_OF, &[user]);
    terminal.prompt_secret(&prompt).map(Some).ok_or_else(|| usage(strings::NO_PASSWORD, &[]))
}

/// Fails if the input is not a terminal, because no user can be asked.
fn require_terminal(terminal: &Terminal, what: &str) -> Result<(), Failure> {
    if terminal.is_interactive() {
        return Ok(());
    }
    Err(usage(strings::MISSING_OPTION, &[&what]))
}

/// The same for an address, which a header does not replace.
fn require_address(terminal: &Terminal, option: &str, is_raw: bool) -> Result<(), Failure> {
    if is_raw && !terminal.is_interactive() {
        return Err(usage(strings::RAW_NEEDS, &[&option]));
    }
    require_terminal(terminal, option)
}

/// Warns of a file that is not what its sender believes: one without a text, or a whole message without a header.
fn warn_of_content(content: &Content, outgoing: &OutgoingMessage, message: &[u8], language: Language) {
    let is_read = content.file.is_some() || content.stdin.is_some();
    if let Some(path) = content.raw.as_deref().filter(|_| !begins_with_field(message)) {
        let input = strings::STANDARD_INPUT.text(language).to_owned();
        let from = if is_stdio(path) { input } else { path.display().to_string() };
        output::message(strings::NO_HEADER.format(language, &[&from]));
    } else if is_read && outgoing.text.trim().is_empty() && outgoing.attachments.is_empty() {
        output::message(strings::EMPTY_TEXT.text(language));
    }
}

/// True if a message begins with a field of a header (RFC 5322 section 2.2).
fn begins_with_field(message: &[u8]) -> bool {
    let line = message.split(|&b| b == b'\n').next().unwrap_or_default();
    let name = line.iter().position(|&b| b == b':').map(|at| line[..at].trim_ascii_end());
    name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

fn prompt_for(terminal: &mut Terminal, prompt: &str, offered: &str) -> Result<String, Failure> {
    terminal.prompt_with_default(prompt, offered).ok_or_else(|| usage(strings::INPUT_ENDED, &[]))
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

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let why = Language::of_environment().reason(error);
    usage(strings::UNREADABLE, &[&path.display(), &why])
}

/// A mistake of the command line, in the language of the locale.
fn usage(words: LocalizedText, values: &[&dyn Display]) -> Failure {
    Failure::Usage(mistake(words, values))
}

fn mistake(words: LocalizedText, values: &[&dyn Display]) -> String {
    words.format(Language::of_environment(), values)
}

fn parse_address_list(text: &str) -> Result<AddressList, String> {
    let wrong = |part: &str| mistake(strings::NOT_AN_ADDRESS, &[&format!("{part:?}")]);
    if let Some(person) = Person::with_split_name(text) {
        return Err(mistake(strings::NAME_WITH_COMMA, &[&person]));
    }
    match Person::parse_list(text) {
        Ok(people) if people.is_empty() => Err(wrong(text)),
        people => people.map_err(|part| wrong(&part)),
    }
}

fn parse_one_address(text: &str) -> Result<Person, String> {
    match parse_address_list(text)?.as_slice() {
        [person] => Ok(person.clone()),
        _ => Err(mistake(strings::SEVERAL_ADDRESSES, &[&format!("{text:?}")])),
    }
}

fn parse_helo_name(name: &str) -> Result<String, String> {
    let good = |c: char| !c.is_control() && !c.is_whitespace();
    if !name.is_empty() && name.chars().all(good) {
        Ok(name.to_owned())
    } else {
        Err(mistake(strings::BLANK_IN_HELO, &[]))
    }
}

/// Random bits for a unique Message-ID.
pub(super) fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::Other(mistake(strings::NO_RANDOM, &[&error])))
}

const DEFAULT_SERVER: &str = "127.0.0.1:2525";
const PASSWORD_VARIABLE: &str = "RESTANTE_PASSWORD";
/// Time limit for a reply (RFC 5321 section 4.5.3.2).
const REPLY_TIMEOUT: Duration = Duration::from_secs(5 * 60);
