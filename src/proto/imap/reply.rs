//! The reply texts of the IMAP server, in both languages of LANGUAGE (RFC 5255), with their response codes (RFC 3501
//! section 7.1, RFC 5530).

use super::{
    mailbox_name::NameRule,
    request::Refusal,
    response::writer::{Condition, Items, status},
};
use crate::{
    language::{Language, LocalizedText},
    proto::{EndReason, failure_texts, request::Failure},
};

/// The text of a reply in both languages, with its response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyText {
    /// The response code, such as `TRYCREATE`; empty if there is none.
    code: &'static str,
    text: LocalizedText,
}

impl ReplyText {
    const fn new(en: &'static str, fr: &'static str) -> Self {
        Self::coded("", en, fr)
    }

    const fn coded(code: &'static str, en: &'static str, fr: &'static str) -> Self {
        Self::of(code, LocalizedText::new(en, fr))
    }

    const fn of(code: &'static str, text: LocalizedText) -> Self {
        Self { code, text }
    }

    /// The text in one language.
    pub(super) fn text(&self, language: Language) -> &'static str {
        self.text.text(language)
    }

    /// Writes the code, if there is one.
    pub(super) fn write_code(&self, items: &mut Items<'_>) {
        if !self.code.is_empty() {
            items.atom(self.code);
        }
    }

    /// The last line of a connection, in English, for one that has no session.
    pub fn bye_line(&self) -> String {
        let mut line = Vec::new();
        status(&mut line, None, Condition::Bye, |code| self.write_code(code), self.text(Language::English));
        String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
    }

    /// The reply for the log: `NO`, or `NO-[TRYCREATE]` with a response code.
    pub(super) fn codes(&self, condition: Condition) -> String {
        let name = if condition == Condition::Bad { "BAD" } else { "NO" };
        if self.code.is_empty() { name.into() } else { format!("{name}-[{}]", self.code) }
    }
}

/// The reply to a command for which the backend reported a failure.
pub(super) fn failure_text(failure: Failure) -> ReplyText {
    match failure {
        Failure::AuthFailed { .. } => WRONG_PASSWORD,
        Failure::InUse => ReplyText::coded(
            "INUSE",
            "Another session is changing the mailbox, try again",
            "Une autre session modifie cette boîte, réessayez",
        ),
        Failure::MailboxUnusable => ReplyText::of("CONTACTADMIN", failure_texts::MAILBOX_UNUSABLE),
        Failure::TooManyOpen => ReplyText::of("UNAVAILABLE", failure_texts::TOO_MANY_OPEN),
        Failure::LoginDelay => ReplyText::of("UNAVAILABLE", failure_texts::LOGIN_DELAY),
        Failure::NoFolder => NO_SUCH_MAILBOX,
        Failure::Gone => SOME_GONE,
        Failure::Changed => ReplyText::coded(
            "UNAVAILABLE",
            "A message was changed by another program, try again",
            "Un message a été changé par un autre programme, réessayez",
        ),
        Failure::Busy => ReplyText::coded(
            "UNAVAILABLE",
            "Too many requests at once, try again",
            "Trop de demandes à la fois, réessayez",
        ),
        Failure::Quota => OVER_QUOTA,
        Failure::Full => ReplyText::coded(
            "UNAVAILABLE",
            "The disk of the server is full, try later",
            "Le disque du serveur est plein, réessayez plus tard",
        ),
        Failure::ReadOnly => ReplyText::of("UNAVAILABLE", failure_texts::READ_ONLY),
        Failure::SpoolMoved => ReplyText::of("UNAVAILABLE", failure_texts::SPOOL_MOVED),
        Failure::TempFail | Failure::Truncated => ReplyText::coded(
            "UNAVAILABLE",
            "The mailbox can't be read or changed now, try later",
            "La boîte ne peut être lue ni modifiée maintenant, réessayez plus tard",
        ),
    }
}

/// The reply to a request that the backend refused. `may_create`: the client can try again after a CREATE.
pub(super) fn refusal_text(refusal: Refusal, may_create: bool) -> ReplyText {
    match refusal {
        Refusal::Exists => EXISTS_ALREADY,
        Refusal::NoFolder if may_create => ReplyText::coded(
            "TRYCREATE",
            "No such mailbox, create it first",
            "Cette boîte n'existe pas, créez-la d'abord",
        ),
        Refusal::NoFolder => NO_SUCH_MAILBOX,
        Refusal::HasChildren => ReplyText::coded(
            "HASCHILDREN",
            "There are mailboxes below it, delete them first",
            "Elle contient d'autres boîtes, supprimez-les d'abord",
        ),
        Refusal::Cannot => CANNOT,
        Refusal::TooManyKeywords => ReplyText::coded(
            "LIMIT",
            "A mailbox has room for 26 keywords, and with these it would have more",
            "Une boîte a de la place pour 26 mots-clés, et avec ceux-ci elle en aurait plus",
        ),
        Refusal::TooManyFolders => {
            ReplyText::coded("LIMIT", "There are too many mailboxes", "Il y a trop de boîtes")
        }
        Refusal::TooManySubscriptions => ReplyText::coded(
            "LIMIT",
            "There are too many subscriptions, unsubscribe from some",
            "Il y a trop d'abonnements, supprimez-en",
        ),
        Refusal::TooManySessions => ReplyText::coded(
            "LIMIT",
            "You have too many sessions from this address, end one of them",
            "Vous avez trop de sessions depuis cette adresse, terminez-en une",
        ),
    }
}

/// The success of a command.
pub(super) const DONE: ReplyText = ReplyText::new("Done", "C'est fait");
/// The success of LANGUAGE, in the new language.
pub(super) const LANGUAGE_CHANGED: ReplyText =
    ReplyText::new("Replies will be in English", "Les réponses seront en français");
/// LANGUAGE with languages that the server does not have.
pub(super) const NO_SUCH_LANGUAGE: ReplyText =
    ReplyText::new("Not a language spoken here", "Cette langue n'est pas parlée ici");
/// The success of a STORE that left some messages as they were.
pub(super) const SOME_MODIFIED: ReplyText = ReplyText::new(
    "Another client has changed some of the messages, they stay as they are",
    "Un autre client a changé certains messages, ils restent tels quels",
);
/// The text after PERMANENTFLAGS.
pub(super) const FLAGS_STAY: ReplyText = ReplyText::new("These flags stay", "Ces indicateurs restent");
/// The text after PERMANENTFLAGS of a mailbox that is selected for reading only.
pub(super) const NO_FLAG_STAYS: ReplyText =
    ReplyText::new("No flag can be changed", "Aucun indicateur ne peut être changé");
/// The untagged reply to MOVE, with the UIDs of the copies.
pub(super) const MOVED: ReplyText = ReplyText::new("Moved", "Déplacé");
/// The success of SELECT.
pub(super) const SELECTED: ReplyText = ReplyText::coded("READ-WRITE", "Selected", "Boîte choisie");
/// The success of EXAMINE.
pub(super) const SELECTED_READ_ONLY: ReplyText =
    ReplyText::coded("READ-ONLY", "Selected for reading only", "Boîte choisie, en lecture seule");
/// The untagged reply to a SELECT that leaves another mailbox.
pub(super) const CLOSED: ReplyText =
    ReplyText::coded("CLOSED", "The mailbox before is closed", "La boîte précédente est fermée");
/// The text after UIDVALIDITY.
pub(super) const UIDS_VALID: ReplyText = ReplyText::new("The UIDs are valid", "Les UID sont valables");
/// The text after UNSEEN.
pub(super) const FIRST_UNSEEN: ReplyText =
    ReplyText::new("The first unseen message", "Le premier message non lu");
/// The text after UIDNEXT.
pub(super) const UID_NEXT: ReplyText = ReplyText::new("The next UID", "Le prochain UID");
/// The text after HIGHESTMODSEQ.
pub(super) const HIGHEST: ReplyText = ReplyText::new("The last change", "Le dernier changement");
/// The line in IDLE without updates.
pub(super) const STILL_HERE: ReplyText = ReplyText::new("Still here", "Toujours là");
/// A line in IDLE that is not DONE.
pub(super) const DONE_EXPECTED: ReplyText =
    ReplyText::new("Expected DONE, which ends IDLE", "Attendu : DONE, qui met fin à IDLE");
/// The UIDs that the client knows are not valid any more.
pub(super) const UIDS_CHANGED: ReplyText = ReplyText::new(
    "The UIDs of the mailbox have changed, connect again",
    "Les UID de la boîte ont changé, reconnectez-vous",
);
/// The selected mailbox has another name now, or is gone (RFC 2180 section 3.3).
pub(super) const MAILBOX_GONE: ReplyText = ReplyText::new(
    "The mailbox has another name or is gone, connect again",
    "La boîte a un autre nom ou n'existe plus, reconnectez-vous",
);
/// A change of a mailbox that is selected for reading only.
pub(super) const READ_ONLY: ReplyText = ReplyText::coded(
    "READ-ONLY",
    "The mailbox is selected for reading only",
    "La boîte est en lecture seule",
);
/// A message number beyond the last message.
pub(super) const NO_SUCH_NUMBER: ReplyText =
    ReplyText::new("No message has this number", "Aucun message n'a ce numéro");
/// SEARCH in a character set that this server does not have.
pub(super) const BAD_CHARSET: ReplyText =
    ReplyText::new("Not a character set of SEARCH here", "Jeu de caractères inconnu de SEARCH");
/// SEARCH with more texts than one search may have.
pub(super) const TOO_MANY_TEXTS: ReplyText = ReplyText::coded(
    "LIMIT",
    "A search has at most 100 of BODY and TEXT",
    "Une recherche a au plus 100 BODY et TEXT",
);
/// CREATE for a special use that this server does not have.
pub(super) const NO_SUCH_USE: ReplyText =
    ReplyText::coded("USEATTR", "Not a special use of this server", "Usage spécial inconnu");
/// GETQUOTA with another root than the empty one.
pub(super) const NO_SUCH_ROOT: ReplyText =
    ReplyText::coded("NONEXISTENT", "No such quota root", "Cette racine de quota n'existe pas");
/// APPEND of a message above the limit.
pub(super) const MESSAGE_TOO_BIG: ReplyText =
    ReplyText::coded("TOOBIG", "The message is too big", "Le message est trop gros");
/// APPEND with a date that no file could have as its time.
pub(super) const DATE_OUT_OF_RANGE: ReplyText = ReplyText::new(
    "The date is out of range: write one from 1902 to 2445",
    "La date est hors limites : écrivez-en une de 1902 à 2445",
);
/// APPEND of no octets.
pub(super) const NO_MESSAGE: ReplyText = ReplyText::new("The message has no octets", "Le message est vide");
/// The success of a login.
pub(super) const LOGGED_IN: ReplyText = ReplyText::new("Logged in", "Connexion établie");
/// A failed login. The reply is the same for every reason, so that a client cannot test names.
pub(super) const WRONG_PASSWORD: ReplyText =
    ReplyText::of("AUTHENTICATIONFAILED", failure_texts::WRONG_PASSWORD);
/// A login in clear text where the listener accepts passwords only under TLS (RFC 3501 section 6.2.3).
pub(super) const TLS_NEEDED: ReplyText = ReplyText::coded(
    "PRIVACYREQUIRED",
    "Passwords are taken under TLS only, begin with STARTTLS",
    "Pas de mot de passe sans TLS, commencez par STARTTLS",
);
/// AUTHENTICATE with a mechanism other than PLAIN.
pub(super) const NO_SUCH_MECHANISM: ReplyText = ReplyText::new(
    "Not a mechanism of this server, CAPABILITY lists them",
    "Mécanisme non offert, CAPABILITY montre ceux qui le sont",
);
/// An exchange that the client has cancelled with a lone asterisk (RFC 3501 section 6.2.2).
pub(super) const CANCELLED: ReplyText =
    ReplyText::new("Authentication cancelled", "Authentification annulée");
/// A SASL response that is not base64, or not a PLAIN message.
pub(super) const BAD_RESPONSE: ReplyText =
    ReplyText::new("Expected a PLAIN message in base64", "Attendu : un message PLAIN en base64");
/// The success of STARTTLS, the last reply in clear text.
pub(super) const BEGIN_TLS: ReplyText = ReplyText::new("Begin TLS", "Commencez TLS");
/// STARTTLS on a listener without a certificate.
pub(super) const NO_TLS: ReplyText = ReplyText::new("TLS is not offered here", "TLS n'est pas offert ici");
/// STARTTLS under TLS.
pub(super) const TLS_ALREADY: ReplyText = ReplyText::new("TLS is active already", "TLS est déjà actif");
/// The refusal of octets in clear text after STARTTLS: an attacker may have added them.
pub(super) const PIPELINED_AFTER_STARTTLS: ReplyText =
    ReplyText::new("Wait for the reply to STARTTLS", "Attendez la réponse à STARTTLS");
/// A TLS handshake on a port without implicit TLS.
pub(super) const NOT_TLS: ReplyText =
    ReplyText::new("This port does not begin with TLS", "Ce port ne commence pas par TLS");
/// A request of HTTP before the login.
pub(super) const NOT_IMAP: ReplyText = ReplyText::of("", failure_texts::MAIL_SERVER);
/// A command that needs a login.
pub(super) const LOG_IN_FIRST: ReplyText = ReplyText::new("Log in first", "Connectez-vous d'abord");
/// A command that is allowed only before the login.
pub(super) const LOGGED_IN_ALREADY: ReplyText =
    ReplyText::new("You are logged in already", "Vous êtes déjà connecté");
/// A command that needs a selected mailbox.
pub(super) const SELECT_FIRST: ReplyText =
    ReplyText::new("Select a mailbox first", "Choisissez d'abord une boîte (SELECT)");
/// An unknown command.
pub(super) const UNKNOWN_COMMAND: ReplyText = ReplyText::new("Unknown command", "Commande inconnue");
/// An unknown command that resembles another one. The session appends its name and [`QUESTION_MARK`].
pub(super) const UNKNOWN_COMMAND_BUT: LocalizedText =
    LocalizedText::new("Unknown command, did you mean", "Commande inconnue, vouliez-vous dire");
/// The end of a question. In French it stands after a blank.
pub(super) const QUESTION_MARK: LocalizedText = LocalizedText::new("?", " ?");
/// UID before a command that takes no UIDs, or before none.
pub(super) const COMMAND_WITH_UID: LocalizedText = LocalizedText::new(
    "UID stands before COPY, EXPUNGE, FETCH, MOVE, SEARCH or STORE",
    "UID se place devant COPY, EXPUNGE, FETCH, MOVE, SEARCH ou STORE",
);
/// HELP, which IMAP does not have. The session appends examples of the commands that are possible now.
pub(super) const NO_HELP: ReplyText = ReplyText::new(
    "IMAP has no HELP. Each command begins with a tag of your choice; try",
    "IMAP n'a pas de HELP. Chaque commande commence par une étiquette de votre choix ; essayez",
);
/// A command in the place of its tag. The session appends an example.
pub(super) const NO_TAG: ReplyText =
    ReplyText::new("The tag before the command is missing:", "Il manque l'étiquette avant la commande :");
/// A command that does not follow the grammar. The session appends the part that was expected, and the syntax.
pub(super) const EXPECTED: ReplyText = ReplyText::new("Expected", "Attendu :");
/// The colon before the syntax. In French it stands between blanks.
pub(super) const COLON: LocalizedText = LocalizedText::new(":", " :");
/// Follows the syntax of a command with a name, which may be the reason.
pub(super) const NEEDS_QUOTES: LocalizedText = LocalizedText::new(
    "; a name with a blank needs quotation marks",
    " ; un nom avec un espace s'écrit entre guillemets",
);
/// The syntax of every command, for a line that has none.
pub(super) const ANY_COMMAND: LocalizedText = LocalizedText::new(
    "tag command arguments, as in a1 NOOP",
    "étiquette commande arguments, comme dans a1 NOOP",
);
/// A tag with an octet that no tag has. The session appends the octet and the syntax.
pub(super) const TAG_WITHOUT: LocalizedText =
    LocalizedText::new("Expected a tag without", "Attendu : une étiquette sans");
/// A command longer than the limit.
pub(super) const TOO_LONG: ReplyText =
    ReplyText::new("The command is too long", "La commande est trop longue");
/// A literal longer than the limit, outside APPEND.
pub(super) const LITERAL_TOO_LONG: ReplyText =
    ReplyText::coded("LIMIT", "The literal is too long", "Le littéral est trop long");
/// The only line to a client that sends a literal that is too long to be skipped.
pub(super) const LITERAL_ENDLESS: ReplyText = ReplyText::new(
    "The literal is longer than any message may be",
    "Le littéral est plus long que tout message permis",
);
/// The last reply of a session that has reached its error limit.
pub(super) const TOO_MANY_ERRORS: ReplyText =
    ReplyText::new("Too many errors, closing", "Trop d'erreurs, fin de session");
/// The last reply after too many wrong passwords.
pub(super) const TOO_MANY_PASSWORDS: ReplyText =
    ReplyText::new("Too many wrong passwords, closing", "Trop de mots de passe faux, fin de session");
/// A bare LF on a listener that enforces every rule.
pub(super) const BARE_LINE_FEED: ReplyText =
    ReplyText::new("RFC 3501 2.2: a line ends in CR LF", "RFC 3501 2.2 : une ligne finit par CR LF");
/// The first word of the reply to LOGOUT.
pub(super) const BYE: ReplyText = ReplyText::new("Bye", "Au revoir");
/// The last reply to a client that took too long.
pub(super) const TOO_SLOW: ReplyText = ReplyText::new("Timeout, closing", "Délai dépassé, fin de session");
/// The last reply when the server shuts down.
pub(super) const SHUTTING_DOWN: ReplyText =
    ReplyText::coded("UNAVAILABLE", "Shutting down, log in again", "Arrêt du serveur, reconnectez-vous");
/// The last reply to a user who may no longer log in so.
pub(super) const LOGIN_REVOKED: ReplyText = ReplyText::of("", failure_texts::ACCOUNT_CHANGED);

/// The last reply of a session that the server ends.
pub(super) const fn farewell(why: EndReason) -> ReplyText {
    match why {
        EndReason::Shutdown => SHUTTING_DOWN,
        EndReason::LoginRevoked => LOGIN_REVOKED,
    }
}

/// An internal error of the server.
pub const INTERNAL: ReplyText = ReplyText::coded("UNAVAILABLE", "Internal error", "Erreur interne");
/// The only line to a client beyond the connection limit.
pub const TOO_MANY_CONNECTIONS: ReplyText =
    ReplyText::coded("UNAVAILABLE", "Too many connections, try later", "Trop de connexions, réessayez");
/// The name of a mailbox that does not exist.
pub(super) const NO_SUCH_MAILBOX: ReplyText =
    ReplyText::coded("NONEXISTENT", "No such mailbox", "Cette boîte n'existe pas");
/// CREATE of a mailbox that exists.
pub(super) const EXISTS_ALREADY: ReplyText =
    ReplyText::coded("ALREADYEXISTS", "The mailbox exists already", "Cette boîte existe déjà");
/// DELETE of INBOX, and the like.
pub(super) const CANNOT: ReplyText =
    ReplyText::coded("CANNOT", "That can't be done with this mailbox", "Impossible avec cette boîte");
/// A name that no mailbox can have. The session appends the rule that it breaks.
pub(super) const IMPOSSIBLE_NAME: ReplyText =
    ReplyText::coded("CANNOT", "No mailbox can have this name:", "Aucune boîte ne peut avoir ce nom :");
/// The words before a name as it is written.
pub(super) const WRITE: LocalizedText = LocalizedText::new("; write", " ; écrivez");

/// The rule that the name of a mailbox breaks.
pub(super) const fn name_rule(rule: NameRule) -> LocalizedText {
    match rule {
        NameRule::Ascii => LocalizedText::new(
            "names are in modified UTF-7 (RFC 3501 5.1.3), without octets above 0x7F",
            "les noms s'écrivent en UTF-7 modifié (RFC 3501 5.1.3), sans octets au-delà de 0x7F",
        ),
        NameRule::Ampersand => LocalizedText::new(
            "in modified UTF-7 an & begins base64 that ends with -, and an & alone is &-",
            "en UTF-7 modifié, un & commence du base64 que - termine, et un & seul s'écrit &-",
        ),
        NameRule::Base64 => LocalizedText::new(
            "in modified UTF-7 the letters between & and - are UTF-16 in base64, and these are not",
            "en UTF-7 modifié, les lettres entre & et - sont de l'UTF-16 en base64, et celles-ci n'en sont pas",
        ),
        NameRule::OneSpelling => LocalizedText::new(
            "modified UTF-7 has one spelling of each name, and this is another",
            "l'UTF-7 modifié n'écrit un nom que d'une manière, et celle-ci est une autre",
        ),
        NameRule::Length => LocalizedText::new(
            "names have at most 199 octets in modified UTF-7",
            "les noms ont au plus 199 octets en UTF-7 modifié",
        ),
        NameRule::Slash => LocalizedText::new(
            "names have dots between levels, and no slash",
            "les noms ont des points entre les niveaux, et pas de barre oblique",
        ),
        NameRule::Level => LocalizedText::new(
            "dots stand only between levels, each of at least one character",
            "les points ne sont qu'entre les niveaux, chacun d'au moins un caractère",
        ),
        NameRule::Control => LocalizedText::new(
            "names have no control characters",
            "les noms n'ont pas de caractères de contrôle",
        ),
        NameRule::Login => LOG_IN_FIRST.text,
    }
}

/// The words before the number of messages that an interrupted command has changed all the same.
pub(super) fn done_messages(command: &str) -> LocalizedText {
    match command {
        "EXPUNGE" | "CLOSE" => LocalizedText::new("Messages removed", "Messages supprimés"),
        "MOVE" => LocalizedText::new("Messages moved", "Messages déplacés"),
        _ => LocalizedText::new("Messages changed", "Messages changés"),
    }
}

/// The words after that number. The reason follows.
pub(super) const AND_NO_MORE: LocalizedText = LocalizedText::new(", and no more", ", et pas plus");

/// The limits on the user's mail are reached.
pub(super) const OVER_QUOTA: ReplyText =
    ReplyText::coded("OVERQUOTA", "The quota is used up", "Le quota est épuisé");
/// A message was gone before it could be sent or changed (RFC 5530).
pub(super) const SOME_GONE: ReplyText = ReplyText::coded(
    "EXPUNGEISSUED",
    "Some of the messages are not there any more",
    "Certains messages ne sont plus là",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        folder::Folder,
        imap::mailbox_name::{MailboxName, NameMistake},
    };

    #[test]
    fn u71_the_refusal_of_a_name_tells_how_long_a_name_may_be() {
        let longest = Folder::MAX_NAME - ".".len();
        for language in [Language::English, Language::French] {
            assert!(name_rule(NameRule::Length).text(language).contains(&format!("{longest} octets")));
        }
        let name = |octets: usize| MailboxName::parse(&vec![b'a'; octets]);
        assert!(matches!(name(longest), MailboxName::Folder(_)));
        let too_long = NameMistake { rule: NameRule::Length, written: None };
        assert_eq!(name(longest + 1), MailboxName::Impossible(too_long));
    }
}
