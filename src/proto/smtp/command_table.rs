//! The SMTP command table: for each command its phases, its syntax and its RFC section. Refusals, HELP and
//! the personas of older protocols all read it.

use crate::proto::{
    SessionPhase,
    command_table::{self, row},
};

/// One row of the table. In other phases than the allowed ones the reply is 503 5.5.1.
pub type CommandSpec = command_table::CommandSpec<Verb, CommandPhase>;

/// The phase of a session, on which the allowed commands depend (RFC 5321 section 4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPhase {
    /// Before EHLO, HELO or LHLO.
    Start,
    /// After EHLO or HELO, without a message begun.
    Greeted,
    /// After MAIL, before an accepted RCPT.
    Sender,
    /// After at least one accepted RCPT.
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

/// The commands of SMTP and LMTP, as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a word of the RFCs, and its row in the table explains it")]
pub enum Verb {
    Helo,
    Ehlo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Auth,
    Starttls,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    /// A command of the RFCs that this server lacks.
    Unimplemented,
}

impl Verb {
    /// True if the command counts as a junk command between two messages.
    pub fn is_junk(self) -> bool {
        matches!(
            self,
            Self::Ehlo | Self::Helo | Self::Lhlo | Self::Rset | Self::Noop | Self::Vrfy | Self::Help
        )
    }
}

/// The row of a command of the RFCs, even if no listener has it. `name` may be in any case.
pub fn find_command(name: &[u8]) -> Option<&'static CommandSpec> {
    COMMANDS.iter().chain(UNIMPLEMENTED).find(|rule| rule.is_named(name))
}

use CommandPhase::{Chunks, Greeted, Recipients, Sender, Start};

const ANY: &[CommandPhase] = &[Start, Greeted, Sender, Recipients, Chunks];

const fn unimplemented(name: &'static str, rfc: &'static str) -> CommandSpec {
    row(Verb::Unimplemented, name, name, "Not implemented here", rfc, ANY)
}

/// All commands that some listener has.
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
pub(super) const UNIMPLEMENTED: &[CommandSpec] = &[
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
