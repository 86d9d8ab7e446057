//! The reply texts of the POP3 server, in both languages of LANG (RFC 6856 section 3). A reply of numbers, such as that
//! to STAT, has no translation: the code of its command writes it.

use crate::{
    language::{Language, LocalizedText},
    proto::{EndReason, buffer::Outbox, failure_texts, request::Failure, smtp::reply_codes::ReplyClass},
};

/// The text of a reply in both languages, with the response code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyText {
    /// The response code with the blank after it, such as `[AUTH] `; empty if there is none.
    code: &'static str,
    text: LocalizedText,
}

impl ReplyText {
    const fn new(en: &'static str, fr: &'static str) -> Self {
        Self::coded("", en, fr)
    }

    /// A refusal with a response code (RFC 2449 section 8, RFC 3206). `code` ends with a blank.
    const fn coded(code: &'static str, en: &'static str, fr: &'static str) -> Self {
        Self::of(code, LocalizedText::new(en, fr))
    }

    const fn of(code: &'static str, text: LocalizedText) -> Self {
        Self { code, text }
    }

    /// The same text, with the response code of another text.
    pub(super) const fn with_code_of(self, other: Self) -> Self {
        Self { code: other.code, ..self }
    }

    /// The text in one language.
    pub fn text(&self, language: Language) -> &'static str {
        self.text.text(language)
    }

    /// Writes `+OK` and the text.
    pub fn write_ok(&self, language: Language, out: &mut Outbox) {
        out.line(&format!("+OK {}", self.text(language)));
    }

    /// Writes `-ERR`, the response code and the text.
    pub fn write_err(&self, language: Language, out: &mut Outbox) {
        out.line(&format!("-ERR {}{}", self.code, self.text(language)));
    }

    /// Writes `-ERR`, the response code, the RFC section of the broken rule, and the text.
    pub fn write_err_citing(&self, section: &str, language: Language, out: &mut Outbox) {
        out.line(&format!("-ERR {}{section}: {}", self.code, self.text(language)));
    }

    /// The refusal as a line in English, for a connection that has no session.
    pub fn line(&self) -> String {
        format!("-ERR {}{}", self.code, self.text(Language::English))
    }

    /// The refusal for the log: `-ERR`, or `-ERR-[AUTH]` with a response code.
    pub fn codes(&self) -> String {
        if self.code.is_empty() { "-ERR".into() } else { format!("-ERR-{}", self.code.trim_end()) }
    }
}

/// The refusal of a login or command for which the backend reported a failure.
pub fn failure_text(failure: Failure) -> ReplyText {
    match failure {
        Failure::AuthFailed { .. } => WRONG_PASSWORD,
        Failure::InUse => IN_USE,
        Failure::MailboxUnusable => ReplyText::of("[SYS/PERM] ", failure_texts::MAILBOX_UNUSABLE),
        Failure::TooManyOpen => ReplyText::of("[SYS/TEMP] ", failure_texts::TOO_MANY_OPEN),
        Failure::LoginDelay => ReplyText::of("[LOGIN-DELAY] ", failure_texts::LOGIN_DELAY),
        // Not `[AUTH]`: a client would ask its user for another password (RFC 3206 section 4).
        Failure::NoFolder => ReplyText::coded("[SYS/PERM] ", "No such folder", "Ce dossier n'existe pas"),
        Failure::Gone => ReplyText::new("That message is not there any more", "Ce message n'est plus là"),
        Failure::Changed => ReplyText::coded(
            "[SYS/TEMP] ",
            "That message was changed by another program, log in again",
            "Ce message a été changé par un autre programme, reconnectez-vous",
        ),
        Failure::Busy => ReplyText::coded(
            "[SYS/TEMP] ",
            "Too many logins at once, try again",
            "Trop de connexions à la fois, réessayez",
        ),
        Failure::ReadOnly => ReplyText::of("[SYS/TEMP] ", failure_texts::READ_ONLY),
        Failure::SpoolMoved => ReplyText::of("[SYS/TEMP] ", failure_texts::SPOOL_MOVED),
        Failure::Full | Failure::Quota | Failure::TempFail | Failure::Truncated => ReplyText::coded(
            "[SYS/TEMP] ",
            "The mailbox can't be read now, try later",
            "La boîte ne peut être lue maintenant, réessayez plus tard",
        ),
    }
}

/// The reply to USER, the same for known and unknown users, so that a client cannot test names.
pub const SEND_PASS: ReplyText = ReplyText::new("Send PASS", "Envoyez PASS");
/// A failed login. The reply is the same for every reason, so that a client cannot test names.
pub const WRONG_PASSWORD: ReplyText = ReplyText::of("[AUTH] ", failure_texts::WRONG_PASSWORD);
/// A login to a mailbox that another session has locked (RFC 1939 section 4).
pub const IN_USE: ReplyText = ReplyText::coded(
    "[IN-USE] ",
    "Another session has this mailbox open",
    "Une autre session utilise cette boîte",
);
/// An unknown command, or one that this persona lacks.
pub const UNKNOWN_COMMAND: ReplyText = ReplyText::new("Unknown command", "Commande inconnue");
/// An unknown command that resembles another one. The session appends its name and [`QUESTION_MARK`].
pub const UNKNOWN_COMMAND_BUT: ReplyText =
    ReplyText::new("Unknown command, did you mean", "Commande inconnue, vouliez-vous dire");
/// The end of a question. In French it stands after a blank.
pub const QUESTION_MARK: ReplyText = ReplyText::new("?", " ?");
/// HELP, which POP3 does not have. The session appends the commands that are possible now.
pub const NO_HELP: ReplyText =
    ReplyText::new("POP3 has no HELP; the commands now:", "POP3 n'a pas de HELP ; les commandes ici :");
/// A command that needs a login.
pub const LOG_IN_FIRST: ReplyText =
    ReplyText::new("Log in first (USER, PASS)", "Connectez-vous d'abord (USER, PASS)");
/// PASS without USER.
pub const USER_FIRST: ReplyText = ReplyText::new("Say USER first", "Commencez par USER");
/// A command that is allowed only before the login.
pub const LOGGED_IN_ALREADY: ReplyText =
    ReplyText::new("You are logged in already", "Vous êtes déjà connecté");
/// A missing, superfluous or malformed argument. The session appends the expected syntax.
pub const BAD_ARGUMENT: ReplyText = ReplyText::new("Expected", "Attendu :");
/// A line longer than the limit.
pub const LINE_TOO_LONG: ReplyText = ReplyText::new("Line too long", "Ligne trop longue");
/// A control character in a line.
pub const BAD_LINE: ReplyText =
    ReplyText::new("Control characters are not allowed", "Caractères de contrôle interdits");
/// A message number that the maildrop does not have.
pub const NO_SUCH_MESSAGE: ReplyText = ReplyText::new("No such message", "Ce message n'existe pas");
/// The number of a message that is marked as deleted.
pub const ALREADY_DELETED: ReplyText = ReplyText::new("That message is deleted", "Ce message est effacé");
/// The success of DELE.
pub const DELETED: ReplyText = ReplyText::new("Deleted at QUIT", "Effacé à la fin de la session");
/// DELE in a folder, which POP3 opens for reading only.
pub const READ_ONLY: ReplyText = ReplyText::new(
    "Folders can be read but not changed here",
    "Ici, les dossiers se lisent mais ne se modifient pas",
);
/// The success of NOOP.
pub const NOTHING_DONE: ReplyText = ReplyText::new("Nothing done", "Rien de fait");
/// The success of RSET.
pub const RESTORED: ReplyText =
    ReplyText::new("Nothing is marked as deleted", "Plus rien n'est marqué comme effacé");
/// The first line of the reply to LIST or UIDL without an argument.
pub const LIST_FOLLOWS: ReplyText = ReplyText::new("List follows", "Voici la liste");
/// The first line of the reply to TOP.
pub const TOP_FOLLOWS: ReplyText = ReplyText::new("Top of message follows", "Voici le début du message");
/// The first line of the reply to CAPA.
pub const CAPABILITIES: ReplyText = ReplyText::new("Capabilities follow", "Voici les capacités");
/// The success of UTF8.
pub const UTF8: ReplyText = ReplyText::new("UTF-8 it is", "Va pour UTF-8");
/// The first line of the reply to LANG without an argument.
pub const LANGUAGES: ReplyText = ReplyText::new("Languages follow", "Voici les langues");
/// The success of LANG with an argument, in the new language.
pub const LANGUAGE_CHANGED: ReplyText =
    ReplyText::new("Replies will be in English", "Les réponses seront en français");
/// LANG with a language that the server does not have.
pub const NO_SUCH_LANGUAGE: ReplyText =
    ReplyText::new("Not a language spoken here", "Cette langue n'est pas parlée ici");
/// The success of QUIT.
pub const BYE: ReplyText = ReplyText::new("Bye", "Au revoir");
/// QUIT, if a message could not be deleted.
pub const NOT_ALL_DELETED: ReplyText = ReplyText::coded(
    "[SYS/TEMP] ",
    "some deleted messages not removed",
    "certains messages effacés n'ont pas été supprimés",
);
/// The first line of the reply to AUTH without a mechanism.
pub const MECHANISMS: ReplyText = ReplyText::new("Mechanisms follow", "Voici les mécanismes");
/// AUTH with a mechanism other than PLAIN.
pub const NO_SUCH_MECHANISM: ReplyText = ReplyText::new(
    "Not offered here, AUTH alone lists what is",
    "Non offert ici ; AUTH seul montre ce qui l'est",
);
/// An exchange that the client has cancelled with a lone asterisk (RFC 5034 section 4).
pub const CANCELLED: ReplyText = ReplyText::new("Authentication cancelled", "Authentification annulée");
/// A SASL response that is not base64, or not a PLAIN message.
pub const BAD_RESPONSE: ReplyText = ReplyText::new(
    "Cannot decode the response, expected a PLAIN message in base64",
    "Réponse indéchiffrable, attendu : un message PLAIN en base64",
);
/// A login in clear text where the listener accepts passwords only under TLS.
pub const TLS_NEEDED: ReplyText = ReplyText::coded(
    "[AUTH] ",
    "Passwords are taken under TLS only, begin with STLS",
    "Pas de mot de passe sans TLS, commencez par STLS",
);
/// The refusal of APOP, for which the server would have to store passwords in clear text.
pub const APOP_REFUSED: ReplyText = ReplyText::new(
    "Not offered: it needs the password in clear on the disk; use USER and PASS",
    "Non offert : il faudrait garder le mot de passe en clair ; utilisez USER et PASS",
);
/// The refusal of RPOP, a login without a password (RFC 1081).
pub const RPOP_REFUSED: ReplyText = ReplyText::new(
    "Not offered: it takes the client's word for who it is; use USER and PASS",
    "Non offert : il faudrait croire le client sur parole ; utilisez USER et PASS",
);
/// The success of STLS, the last reply in clear text.
pub const BEGIN_TLS: ReplyText = ReplyText::new("Begin TLS", "Commencez TLS");
/// STLS on a listener without a certificate.
pub const NO_TLS: ReplyText = ReplyText::new("TLS is not offered here", "TLS n'est pas offert ici");
/// STLS under TLS.
pub const TLS_ALREADY: ReplyText = ReplyText::new("TLS is active already", "TLS est déjà actif");
/// The refusal of octets in clear text after STLS: an attacker may have added them (RFC 2595 section 4).
pub const PIPELINED_AFTER_STLS: ReplyText =
    ReplyText::new("Wait for the reply to STLS", "Attendez la réponse à STLS");
/// A TLS handshake on a port without implicit TLS.
pub const NOT_TLS: ReplyText =
    ReplyText::new("This port does not begin with TLS", "Ce port ne commence pas par TLS");
/// A request of HTTP before the login.
pub const NOT_POP3: ReplyText = ReplyText::of("", failure_texts::MAIL_SERVER);
/// The last reply of a session that has reached its error limit.
pub const TOO_MANY_ERRORS: ReplyText =
    ReplyText::new("Too many errors, closing", "Trop d'erreurs, fin de session");
/// The last reply to a client that took too long.
pub const TOO_SLOW: ReplyText = ReplyText::new("Timeout, closing", "Délai dépassé, fin de session");
/// The last reply when the server shuts down.
pub const SHUTTING_DOWN: ReplyText = ReplyText::coded("[SYS/TEMP] ", "Shutting down", "Arrêt du serveur");
/// The last reply to a user who may no longer log in so.
pub const LOGIN_REVOKED: ReplyText = ReplyText::of("", failure_texts::ACCOUNT_CHANGED);

/// The last reply of a session that the server ends.
pub const fn farewell(why: EndReason) -> ReplyText {
    match why {
        EndReason::Shutdown => SHUTTING_DOWN,
        EndReason::LoginRevoked => LOGIN_REVOKED,
    }
}

/// An internal error of the server.
pub const INTERNAL: ReplyText = ReplyText::coded("[SYS/TEMP] ", "Internal error", "Erreur interne");
/// The only line to a client beyond the connection limit.
pub const TOO_MANY_CONNECTIONS: ReplyText =
    ReplyText::coded("[SYS/TEMP] ", "Too many connections, try later", "Trop de connexions, réessayez");

/// The response codes and their meanings. The class says whether the same command may work later.
pub const CODES: [(&str, &str, ReplyClass); 5] = [
    ("AUTH", "name or password are wrong, or may not be sent so (RFC 3206)", ReplyClass::Permanent),
    ("IN-USE", "another session has the mailbox (RFC 2449)", ReplyClass::Transient),
    ("LOGIN-DELAY", "the last login was a moment ago (RFC 2449)", ReplyClass::Transient),
    ("SYS/TEMP", "the server can't now, and may later (RFC 3206)", ReplyClass::Transient),
    ("SYS/PERM", "the server can't, and its operator has to do something (RFC 3206)", ReplyClass::Permanent),
];
