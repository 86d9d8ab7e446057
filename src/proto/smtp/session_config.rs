//! The SMTP command table: for each command its phases, its syntax and its RFC section. Refusals, HELP and
//! the personas of older protocols all read it.

use serde::{Deserialize, Serialize};

use crate::{
    limits::Limits,
    proto::{SessionPhase, dot::LineEndings, section, syntax::Syntax},
};

/// The configuration shared by a listener's sessions.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The server's name in the banner, in EHLO and in `Received:`.
    pub hostname: String,
    /// The accepted line ends.
    pub line_endings: LineEndings,
    /// The accepted syntax of commands, except for older personas: see [`SessionConfig::syntax`].
    pub syntax: Syntax,
    /// The generation of the protocol.
    pub persona: Persona,
    /// The limits.
    pub limits: Limits,
    /// The permissions of clients.
    pub policy: Policy,
    /// True if every rule is enforced to the letter, and each refusal names the broken rule.
    pub pedantic: bool,
}

/// The permissions of the clients of a listener, or of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The purpose of the listener.
    pub kind: Kind,
    /// When users may log in.
    pub auth: AuthPolicy,
    /// True if STARTTLS works, because there is a certificate.
    pub starttls: bool,
    /// True if the client is trusted by its address, and may send without a login on a listener that requires
    /// one.
    pub trusted: bool,
}

/// The purpose of a listener. No listener relays: recipients are always local.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Receives mail from other servers.
    #[default]
    Smtp,
    /// Receives mail from users, who must log in (RFC 6409).
    Submission,
    /// Receives mail from a trusted server, which needs a reply for each recipient (LMTP, RFC 2033).
    Lmtp,
}

/// When AUTH is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPolicy {
    /// Never.
    #[default]
    Off,
    /// Under TLS.
    UnderTls,
    /// In clear text too: on loopback, or if the operator enables it.
    InClear,
}

/// A generation of SMTP, which determines the commands and extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persona {
    /// The current protocol, with all extensions of this server.
    #[default]
    Modern,
    /// SMTP as of 1982: EHLO is not implemented.
    Rfc821,
}

/// The phase of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPhase {
    /// Before EHLO or HELO.
    Start,
    /// After EHLO or HELO, without a message begun.
    Greeted,
    /// After MAIL.
    Sender,
    /// After an accepted RCPT.
    Recipients,
    /// After a BDAT that was not the last one.
    Chunks,
}

impl CommandPhase {
    /// The phase in a transcript.
    pub fn session_phase(self) -> SessionPhase {
        match self {
            Self::Start => SessionPhase::Start,
            Self::Greeted => SessionPhase::Greeted,
            Self::Sender => SessionPhase::Sender,
            Self::Recipients => SessionPhase::Recipients,
            Self::Chunks => SessionPhase::Chunks,
        }
    }
}

/// The commands of SMTP and LMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Names the client, without extensions.
    Helo,
    /// Names the client, and asks for the extensions.
    Ehlo,
    /// Names the client in LMTP, and asks for the extensions.
    Lhlo,
    /// Begins a message.
    Mail,
    /// Names a recipient.
    Rcpt,
    /// Sends the message.
    Data,
    /// Sends a part of the message.
    Bdat,
    /// Logs in.
    Auth,
    /// Begins TLS.
    Starttls,
    /// Discards the message begun.
    Rset,
    /// Does nothing.
    Noop,
    /// Ends the session.
    Quit,
    /// Asks whether a user exists.
    Vrfy,
    /// Explains a command.
    Help,
    /// A command of the RFCs that this server lacks.
    Unimplemented,
}

/// One row of the command table.
#[derive(Debug)]
pub struct CommandSpec {
    /// The command.
    pub verb: Verb,
    /// Its name on the wire.
    pub name: &'static str,
    /// The syntax, for HELP.
    pub syntax: &'static str,
    /// The purpose of the command, for HELP.
    pub meaning: &'static str,
    /// The RFC sections that define it.
    pub rfc: &'static str,
    /// The phases in which it is allowed. In other phases the reply is 503 5.5.1.
    pub allowed: &'static [CommandPhase],
    /// True if it counts as a junk command between two messages.
    pub junk: bool,
}

impl SessionConfig {
    /// The accepted syntax of commands. A persona of an older protocol keeps the syntax of its time, unless its line
    /// ends are lenient too.
    pub fn syntax(&self) -> Syntax {
        let of_its_time = self.persona != Persona::Modern && self.line_endings != LineEndings::Lenient;
        if self.pedantic || of_its_time { Syntax::Exact } else { self.syntax }
    }

    /// The row of a command. A known command that this listener lacks gets a row with [`Verb::Unimplemented`].
    /// `name` may be in any case.
    pub fn command(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        let named = |rule: &&CommandSpec| rule.name.as_bytes().eq_ignore_ascii_case(name);
        let here = COMMANDS.iter().find(named).filter(|rule| self.has(rule.verb));
        here.or_else(|| UNIMPLEMENTED.iter().find(named))
    }

    /// True if the listener speaks LMTP, with a reply for every recipient.
    pub fn is_lmtp(&self) -> bool {
        self.policy.kind == Kind::Lmtp
    }

    /// The command that a session begins with.
    pub fn hello(&self) -> &'static str {
        match self.persona {
            _ if self.is_lmtp() => "LHLO",
            Persona::Modern => "EHLO",
            Persona::Rfc821 => "HELO",
        }
    }

    fn has(&self, verb: Verb) -> bool {
        let modern = self.persona == Persona::Modern;
        match verb {
            Verb::Ehlo => modern && !self.is_lmtp(),
            Verb::Helo => !self.is_lmtp(),
            Verb::Lhlo => self.is_lmtp(),
            Verb::Bdat => modern,
            Verb::Auth => modern && self.policy.auth != AuthPolicy::Off,
            Verb::Starttls => modern && self.policy.starttls,
            _ => true,
        }
    }

    /// The text of HELP without an argument.
    pub fn overview(&self) -> String {
        let here = COMMANDS.iter().filter_map(|rule| self.command(rule.name.as_bytes()));
        let names: Vec<&str> =
            here.filter(|rule| rule.verb != Verb::Unimplemented).map(|rule| rule.name).collect();
        format!("Commands: {}\nHELP <command> tells its syntax and where it is ruled", names.join(" "))
    }
}

/// The row of a command of the RFCs, even if no listener has it. `name` may be in any case.
pub fn find_command(name: &[u8]) -> Option<&'static CommandSpec> {
    COMMANDS.iter().chain(UNIMPLEMENTED).find(|rule| rule.name.as_bytes().eq_ignore_ascii_case(name))
}

impl CommandSpec {
    /// The first section that defines the command, abbreviated: `RFC 5321 4.1.1.2`.
    pub fn section(&self) -> String {
        section(self.rfc)
    }

    /// The text of HELP for this command.
    pub fn help(&self) -> String {
        format!("{}\n{}\n{}", self.syntax, self.meaning, self.rfc)
    }
}

use CommandPhase::{Chunks, Greeted, Recipients, Sender, Start};

const ANY: &[CommandPhase] = &[Start, Greeted, Sender, Recipients, Chunks];

const fn row(
    verb: Verb,
    name: &'static str,
    syntax: &'static str,
    meaning: &'static str,
    rfc: &'static str,
    allowed: &'static [CommandPhase],
) -> CommandSpec {
    let junk = matches!(
        verb,
        Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Rset | Verb::Noop | Verb::Vrfy | Verb::Help
    );
    CommandSpec { verb, name, syntax, meaning, rfc, allowed, junk }
}

const fn unimplemented(name: &'static str, rfc: &'static str) -> CommandSpec {
    row(Verb::Unimplemented, name, name, "Not implemented here", rfc, ANY)
}

/// The command table.
pub const COMMANDS: &[CommandSpec] = &[
    row(
        Verb::Ehlo,
        "EHLO",
        "EHLO <client's name>",
        "Says who is calling and asks which extensions there are",
        "RFC 5321 section 4.1.1.1",
        ANY,
    ),
    row(
        Verb::Helo,
        "HELO",
        "HELO <client's name>",
        "Says who is calling, without extensions",
        "RFC 5321 section 4.1.1.1",
        ANY,
    ),
    row(
        Verb::Lhlo,
        "LHLO",
        "LHLO <client's name>",
        "Says who is calling and asks which extensions there are",
        "RFC 2033 section 4.1",
        ANY,
    ),
    row(
        Verb::Mail,
        "MAIL",
        "MAIL FROM:<sender> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [AUTH=mailbox]",
        "Begins a message; the sender is where bounces go, <> for none",
        "RFC 5321 section 4.1.1.2, RFC 1870, RFC 6152, RFC 6531, RFC 4954 section 5",
        &[Greeted],
    ),
    row(
        Verb::Rcpt,
        "RCPT",
        "RCPT TO:<recipient>",
        "Names a recipient; once for each",
        "RFC 5321 section 4.1.1.3",
        &[Sender, Recipients],
    ),
    row(
        Verb::Data,
        "DATA",
        "DATA",
        "Sends the message; a line with only a dot ends it, and every line that begins with a dot gets another",
        "RFC 5321 sections 4.1.1.4 and 4.5.2",
        &[Sender, Recipients],
    ),
    row(
        Verb::Bdat,
        "BDAT",
        "BDAT <octets> [LAST]",
        "Sends a part of the message: exactly that many octets follow the line; LAST with the last part",
        "RFC 3030",
        &[Sender, Recipients, Chunks],
    ),
    row(Verb::Rset, "RSET", "RSET", "Forgets the message that was begun", "RFC 5321 section 4.1.1.5", ANY),
    row(Verb::Noop, "NOOP", "NOOP [text]", "Does nothing, and says so", "RFC 5321 section 4.1.1.9", ANY),
    row(
        Verb::Auth,
        "AUTH",
        "AUTH PLAIN|LOGIN [response in base64]",
        "Logs in; without a response one is asked for, and * cancels",
        "RFC 4954",
        &[Greeted],
    ),
    row(Verb::Starttls, "STARTTLS", "STARTTLS", "Begins TLS; then say EHLO again", "RFC 3207", &[Greeted]),
    row(
        Verb::Vrfy,
        "VRFY",
        "VRFY <user>",
        "Would tell whether a user exists; here it tells nothing",
        "RFC 5321 sections 4.1.1.6 and 7.3",
        ANY,
    ),
    row(Verb::Help, "HELP", "HELP [command]", "Explains the commands", "RFC 5321 section 4.1.1.8", ANY),
    row(Verb::Quit, "QUIT", "QUIT", "Ends the session", "RFC 5321 section 4.1.1.10", ANY),
];

/// The extensions that EHLO may list: keyword, meaning and RFC section.
pub const EXTENSIONS: &[(&str, &str, &str)] = &[
    ("PIPELINING", "commands may come in groups", "RFC 2920"),
    ("SIZE", "octets of the largest message", "RFC 1870"),
    ("8BITMIME", "octets above 0x7f may be in a message", "RFC 6152"),
    ("SMTPUTF8", "addresses and headers may be UTF-8", "RFC 6531"),
    ("ENHANCEDSTATUSCODES", "replies have three more numbers", "RFC 2034"),
    ("CHUNKING", "BDAT is there", "RFC 3030"),
    ("LIMITS", "how much of what is allowed", "RFC 9422"),
    ("STARTTLS", "TLS may begin", "RFC 3207"),
    ("AUTH", "users may log in, by these mechanisms", "RFC 4954"),
    ("HELP", "HELP is there", "RFC 5321 section 4.1.1.8"),
];

/// Commands of the RFCs that no listener has, or only some listeners have.
const UNIMPLEMENTED: &[CommandSpec] = &[
    unimplemented("EHLO", "RFC 5321 section 4.1.1.1; not in RFC 821 and not in LMTP"),
    unimplemented("HELO", "RFC 5321 section 4.1.1.1; not in LMTP"),
    unimplemented("LHLO", "RFC 2033; not in SMTP"),
    unimplemented("BDAT", "RFC 3030; not in RFC 821"),
    unimplemented("AUTH", "RFC 4954"),
    unimplemented("STARTTLS", "RFC 3207"),
    unimplemented("EXPN", "RFC 5321 sections 4.1.1.7 and 7.3"),
    unimplemented("TURN", "RFC 5321 appendix F.1"),
    unimplemented("ETRN", "RFC 1985"),
    unimplemented("SEND", "RFC 5321 appendix F.6"),
    unimplemented("SOML", "RFC 5321 appendix F.6"),
    unimplemented("SAML", "RFC 5321 appendix F.6"),
];
