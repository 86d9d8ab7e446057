//! Reasons of failures and of the end of a session that POP3 and IMAP tell in the same words, and SMTP in English. Each protocol
//! has response codes of its own.

use crate::language::LocalizedText;

/// [`Failure::AuthFailed`](super::request::Failure::AuthFailed). The reply is the same for every reason, so that a client cannot test
/// names.
pub(super) const WRONG_PASSWORD: LocalizedText =
    LocalizedText::new("Wrong user or password", "Utilisateur ou mot de passe incorrect");
/// [`Failure::MailboxUnusable`](super::request::Failure::MailboxUnusable)
pub(super) const MAILBOX_UNUSABLE: LocalizedText = LocalizedText::new(
    "The mailbox can't be used as it is configured",
    "La boîte est inutilisable, voyez l'administrateur",
);
/// [`Failure::ReadOnly`](super::request::Failure::ReadOnly). Over IMAP also for a folder with a message that has no UID yet, because
/// a UID that is told is written before.
pub(super) const READ_ONLY: LocalizedText = LocalizedText::new(
    "The disk of the mailbox is read-only, try later",
    "Le disque de la boîte est en lecture seule, réessayez plus tard",
);
/// [`Failure::SpoolMoved`](super::request::Failure::SpoolMoved). It has no path: over HTTP, strangers may read it too. SMTP tells it to
/// logged-in users alone.
pub(super) const SPOOL_MOVED: LocalizedText = LocalizedText::new(
    "The spool of the server was moved or removed: put it back, or restart the server",
    "Le dossier du courrier (spool) a été déplacé ou supprimé : remettez-le, ou relancez le serveur",
);
/// [`Failure::TooManyOpen`](super::request::Failure::TooManyOpen)
pub(super) const TOO_MANY_OPEN: LocalizedText = LocalizedText::new(
    "Too many mailboxes are open, try later",
    "Trop de boîtes sont ouvertes, réessayez plus tard",
);
/// [`Failure::LoginDelay`](super::request::Failure::LoginDelay)
pub(super) const LOGIN_DELAY: LocalizedText = LocalizedText::new(
    "The last login was a moment ago, wait a little",
    "La dernière connexion est trop récente, patientez un peu",
);
/// A request of HTTP before the login.
pub(super) const MAIL_SERVER: LocalizedText =
    LocalizedText::new("This is a mail server", "Ceci est un serveur de courrier");
/// The last reply to a user whose account is removed or disabled, or has another password or other mail.
pub(super) const ACCOUNT_CHANGED: LocalizedText = LocalizedText::new(
    "The account has changed, so this session ends",
    "Le compte a changé : cette session se termine",
);
