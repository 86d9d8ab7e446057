//! Explains a server's reply in one sentence.
//!
//! SMTP replies are explained by their enhanced status code (RFC 3463, RFC 5248), else by their three digits
//! (RFC 5321 section 4.2.3); POP3 denials by their response code (RFC 2449 section 8, RFC 3206), and those of IMAP too (RFC
//! 5530).

use super::{
    imap::Status,
    pop3::ErrReply,
    smtp::{Enhanced, Reply, ReplyClass},
    strings,
};
use crate::{
    language::{Language, LocalizedText},
    proto::{injection::InjectedFault, smtp::reply_codes::FAULT_ON_DEMAND},
};

/// Explains an SMTP reply: its text, its meaning, and whether trying again helps. `recipients` are those that it is about.
pub(crate) fn explain_smtp(reply: &Reply, recipients: &[&str], language: Language) -> String {
    let class = match reply.class() {
        ReplyClass::Success => strings::REPLY_DONE,
        ReplyClass::Intermediate => strings::REPLY_GO_ON,
        ReplyClass::Transient => strings::REPLY_LATER,
        ReplyClass::Permanent => strings::REPLY_REFUSED,
    };
    // 530 says more than the 5.7.0 that RFC 4954 section 6 puts after it.
    let enhanced = reply.enhanced.filter(|_| reply.code != 530);
    let meaning = enhanced.and_then(detail).or_else(|| code(reply.code)).map(|words| words.text(language));
    let mut said = reply_text(reply);
    if reply.lines.iter().any(|line| line.split(REMARK).next() == Some(FAULT_ON_DEMAND)) {
        let is_asked_for = recipients.iter().any(|to| InjectedFault::is_asked_for(to, reply.code));
        // Without such an address, only the triggers of `PUT /api/v1/chaos` are left.
        let cause = if is_asked_for { strings::FAULT_OF_ADDRESS } else { strings::FAULT_BY_CHANCE };
        said += &format!(" ({})", cause.text(language));
    } else if reply.is_done() && has_remark(reply) {
        said += &format!(" ({})", strings::CHECK_FAULT.text(language));
    }
    match (reply.class(), meaning) {
        (ReplyClass::Success | ReplyClass::Intermediate, _) | (_, None) => class.format(language, &[&said]),
        (_, Some(meaning)) => class.format(language, &[&format!("{said}{} {meaning}.", language.colon())]),
    }
}

/// True if a line of the reply has such a remark.
pub(crate) fn has_remark(reply: &Reply) -> bool {
    reply.lines.iter().any(|line| remark_in(line).is_some())
}

/// The remark of our server in the text of a reply: a fault in an address or login name is none, or does nothing there; or a
/// name without a domain opens that mailbox.
pub(crate) fn remark_in(text: &str) -> Option<&str> {
    let is_remark = |remark: &&str| remark.starts_with('+') || remark.starts_with(NO_DOMAIN);
    text.split_once(REMARK).map(|(_, remark)| remark).filter(is_remark)
}

/// Such a remark about a login name in the language of the user: our server writes it in English.
pub(crate) fn translated_remark(remark: &str, language: Language) -> String {
    match remark.strip_prefix(NO_DOMAIN).and_then(|rest| rest.strip_prefix(OPENS)) {
        Some(mailbox) if language == Language::French => {
            format!("il n'a pas de domaine, c'est donc la boîte de {mailbox}")
        }
        _ => remark.to_owned(),
    }
}

/// The reply in one line, as the server sent it.
pub(crate) fn reply_text(reply: &Reply) -> String {
    let enhanced =
        reply.enhanced.map(|Enhanced(class, subject, detail)| format!(" {class}.{subject}.{detail}"));
    let text = reply.lines.join(" / ");
    let gap = if text.is_empty() { "" } else { " " };
    format!("{}{}{gap}{text}", reply.code, enhanced.unwrap_or_default())
}

/// Explains a POP3 denial in the same way.
pub(crate) fn explain_pop3(denial: &ErrReply, language: Language) -> String {
    let said = match &denial.code {
        Some(code) => format!("-ERR [{code}] {}", denial.text),
        None => format!("-ERR {}", denial.text),
    };
    with_meaning(said, denial.code.as_deref(), CODES, language)
}

/// Explains an IMAP refusal in the same way.
pub(crate) fn explain_imap(Status { condition, code, text }: &Status, language: Language) -> String {
    let word = condition.name();
    let said = match code {
        Some(code) => format!("{word} [{code}] {text}"),
        None => format!("{word} {text}"),
    };
    let code = code.as_deref().and_then(|code| code.split(' ').next()).map(str::to_ascii_uppercase);
    with_meaning(said, code.as_deref(), IMAP_CODES, language)
}

fn with_meaning(
    said: String,
    code: Option<&str>,
    codes: &[(&str, LocalizedText)],
    language: Language,
) -> String {
    match code.and_then(|code| codes.iter().find(|(known, _)| *known == code)) {
        Some((_, meaning)) => format!("{said}{} {}.", language.colon(), meaning.text(language)),
        None => said,
    }
}

/// Explains subject and detail of an enhanced status code; the class does not matter (RFC 3463 section 3).
fn detail(Enhanced(_, subject, detail): Enhanced) -> Option<LocalizedText> {
    let found = |wanted: u16| {
        DETAILS.iter().find(|(codes, _)| *codes == (subject, wanted)).map(|(_, meaning)| *meaning)
    };
    found(detail).or_else(|| found(0))
}

/// Separates a remark about a fault from the text of a reply.
const REMARK: &str = "; ";
/// The begin of the remark about a login name without a domain.
const NO_DOMAIN: &str = "the name has no domain";
/// The words between it and the mailbox that the name opens.
const OPENS: &str = ", so this is the mailbox of ";

fn code(code: u16) -> Option<LocalizedText> {
    REPLIES.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning)
}

macro_rules! meanings {
    ($($key:tt: $english:literal, $french:literal;)*) => {
        &[$(($key, LocalizedText::new($english, $french))),*]
    };
}

const DETAILS: &[((u16, u16), LocalizedText)] = meanings! {
    (1, 0): "something is wrong with the address", "l'adresse a un problème";
    (1, 1): "there is no such address there: check its spelling", "cette adresse n'existe pas là-bas : vérifiez-la";
    (1, 2): "that domain takes no mail: check its spelling", "ce domaine ne reçoit pas de courrier : vérifiez-le";
    (1, 3): "that is not a mail address", "ce n'est pas une adresse de courrier";
    (1, 6): "that mailbox has moved", "cette boîte a déménagé";
    (1, 7): "the sender is not a mail address", "l'expéditeur n'est pas une adresse de courrier";
    (1, 8): "the domain of the sender is not known", "le domaine de l'expéditeur est inconnu";
    (1, 10): "that domain says that it takes no mail", "ce domaine déclare ne pas recevoir de courrier";
    (2, 0): "something is wrong with the mailbox", "la boîte a un problème";
    (2, 1): "that mailbox takes no mail", "cette boîte n'accepte pas de courrier";
    (2, 2): "that mailbox is full", "cette boîte est pleine";
    (2, 3): "the message is longer than that mailbox takes", "le message est plus long que cette boîte ne l'accepte";
    (3, 0): "something is wrong with the server: its log says what", "le serveur a un problème : son journal dit lequel";
    (3, 1): "the server has no room left", "le serveur n'a plus de place";
    (3, 2): "the server takes no mail at the moment", "le serveur n'accepte pas de courrier pour le moment";
    (3, 4): "the message is longer than the server takes", "le message est plus long que le serveur ne l'accepte";
    (3, 5): "the server is not configured as it should be", "le serveur est mal configuré";
    (4, 0): "the server cannot route the message", "le serveur ne peut pas acheminer le message";
    (4, 2): "the connection was bad", "la connexion était mauvaise";
    (4, 6): "the message goes in circles", "le message tourne en rond";
    (5, 0): "the server did not understand the command", "le serveur n'a pas compris la commande";
    (5, 1): "the command is not allowed now", "la commande n'est pas permise maintenant";
    (5, 2): "the command has a syntax error", "la commande a une erreur de syntaxe";
    (5, 3): "there are too many recipients: send it in parts", "il y a trop de destinataires : envoyez en plusieurs fois";
    (5, 4): "a parameter of the command is wrong", "un paramètre de la commande est faux";
    (5, 6): "a line of the login is too long", "une ligne de l'authentification est trop longue";
    (6, 0): "the content is not accepted", "le contenu n'est pas accepté";
    (6, 7): "the address needs SMTPUTF8", "l'adresse a besoin de SMTPUTF8";
    (7, 0): "a rule of the server forbids it", "une règle du serveur l'interdit";
    (7, 1): "the server does not take this mail from you: check the sender and the recipient, or use the server of your provider",
        "le serveur n'accepte pas ce courrier de votre part : vérifiez l'expéditeur et le destinataire, ou prenez le serveur de votre fournisseur";
    (7, 8): "the name or the password is wrong", "le nom ou le mot de passe est faux";
    (7, 9): "that login mechanism is too weak", "cette authentification est trop faible";
    (7, 11): "a password needs TLS: use --tls", "un mot de passe exige TLS : utilisez --tls";
};

const REPLIES: &[(u16, LocalizedText)] = meanings! {
    421: "the server closes the connection", "le serveur ferme la connexion";
    450: "the mailbox is busy", "la boîte est occupée";
    451: "the server has an internal problem", "le serveur a un problème";
    452: "the server has no room left", "le serveur n'a plus de place";
    454: "the server cannot check passwords, or begin TLS, at the moment",
        "le serveur ne peut pas vérifier les mots de passe, ou passer à TLS, pour le moment";
    500: "the server does not know that command", "le serveur ne connaît pas cette commande";
    501: "an argument of the command is wrong", "un argument de la commande est faux";
    502: "the server does not have that command", "le serveur n'a pas cette commande";
    503: "commands came in the wrong order", "les commandes sont dans le mauvais ordre";
    504: "the server does not know that parameter", "le serveur ne connaît pas ce paramètre";
    530: "you have to log in first, or to use TLS", "il faut s'authentifier d'abord, ou passer à TLS";
    535: "the name or the password is wrong", "le nom ou le mot de passe est faux";
    538: "a password needs TLS: use --tls", "un mot de passe exige TLS : utilisez --tls";
    550: "there is no such mailbox, or you may not send there", "cette boîte n'existe pas, ou vous n'y avez pas droit";
    551: "that user is not here", "cet utilisateur n'est pas ici";
    552: "there is no room for the message", "il n'y a pas de place pour le message";
    553: "that address cannot be used here", "cette adresse ne peut pas servir ici";
    554: "the message cannot be taken", "le message ne peut pas être accepté";
    555: "a parameter of MAIL or RCPT is not known", "un paramètre de MAIL ou RCPT est inconnu";
};

const CODES: &[(&str, LocalizedText)] = meanings! {
    "IN-USE": "another session has that mailbox open: try again in a minute",
        "une autre session a cette boîte ouverte : réessayez dans une minute";
    "LOGIN-DELAY": "you logged in a moment ago: wait before the next login",
        "vous venez de vous connecter : attendez avant de recommencer";
    "SYS/TEMP": "the server has a problem: try again later", "le serveur a un problème : réessayez plus tard";
    "SYS/PERM": "the server has a permanent problem: ask its operator",
        "le serveur a un problème durable : prévenez son responsable";
    "AUTH": "the name or the password is wrong, or a password needs TLS here",
        "le nom ou le mot de passe est faux, ou un mot de passe exige TLS ici";
};

const IMAP_CODES: &[(&str, LocalizedText)] = meanings! {
    "ALREADYEXISTS": "there is such a folder already", "ce dossier existe déjà";
    "AUTHENTICATIONFAILED": "the name or the password is wrong", "le nom ou le mot de passe est faux";
    "CANNOT": "the server can never do that", "le serveur ne pourra jamais le faire";
    "EXPIRED": "the account or the password has expired", "le compte ou le mot de passe a expiré";
    "INUSE": "another session uses it: try again in a minute",
        "une autre session l'utilise : réessayez dans une minute";
    "LIMIT": "the server allows no more of that", "le serveur n'en permet pas plus";
    "NOPERM": "you may not do that", "vous n'en avez pas le droit";
    "NONEXISTENT": "there is no such folder", "ce dossier n'existe pas";
    "OVERQUOTA": "the mailbox is full", "la boîte est pleine";
    "PRIVACYREQUIRED": "a password needs TLS: use --tls", "un mot de passe exige TLS : utilisez --tls";
    "SERVERBUG": "the server has a problem: ask its operator", "le serveur a un problème : prévenez son responsable";
    "TRYCREATE": "there is no such folder", "ce dossier n'existe pas";
    "UNAVAILABLE": "the server has a problem: try again later", "le serveur a un problème : réessayez plus tard";
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::imap::Condition;

    fn reply(code: u16, enhanced: Option<Enhanced>, text: &str) -> Reply {
        Reply { code, enhanced, lines: vec![text.into()] }
    }

    #[test]
    fn a_reply_is_explained_by_the_most_exact_code_there_is() {
        let told = explain_smtp(&reply(550, Some(Enhanced(5, 1, 1)), "No"), &[], Language::English);
        assert!(told.starts_with("550 5.1.1 No: there is no such address there"), "{told}");
        assert!(told.ends_with("Refused: trying again will fail unless something is changed."), "{told}");
        let told = explain_smtp(&reply(452, Some(Enhanced(4, 2, 99)), "x"), &[], Language::English);
        assert!(told.contains("something is wrong with the mailbox") && told.contains("later"), "{told}");
        let told = explain_smtp(&reply(550, Some(Enhanced(5, 99, 1)), "x"), &[], Language::French);
        assert!(told.contains("cette boîte n'existe pas"), "{told}");
        let told = explain_smtp(&reply(530, Some(Enhanced(5, 7, 0)), "x"), &[], Language::English);
        assert!(told.contains("log in first"), "{told}");
        assert_eq!(
            explain_smtp(&reply(599, None, ""), &[], Language::English).split(' ').next(),
            Some("599")
        );
        assert_eq!(explain_smtp(&reply(250, None, "Ok"), &[], Language::English), "250 Ok: accepted.");
    }

    #[test]
    fn u151_a_failure_of_the_server_leads_to_its_log() {
        let failure = reply(451, Some(Enhanced(4, 3, 0)), "The message could not be stored, try later");
        let told = explain_smtp(&failure, &[], Language::English);
        assert!(told.contains("something is wrong with the server: its log says what"), "{told}");
    }

    #[test]
    fn u73_u97_a_fault_on_demand_is_told_with_its_cause_in_the_language_of_the_user() {
        let fault = reply(452, Some(Enhanced(4, 0, 0)), FAULT_ON_DEMAND);
        let asked = ["bob+452@example.test", "bob+first-3-452@example.test", "bob+452-after-dot+slow@x.test"];
        for to in asked {
            let told = explain_smtp(&fault, &["ann@example.test", to], Language::English);
            let start = "452 4.0.0 A fault on demand (the address asks for it): the server has";
            assert!(told.starts_with(start), "{to}: {told}");
            let told = explain_smtp(&fault, &[to], Language::French);
            let start = "452 4.0.0 A fault on demand (une panne que l'adresse demande) : le serveur n'a";
            assert!(told.starts_with(start), "{to}: {told}");
        }
        let others = ["bob@example.test", "bob+451@example.test", "bob+lists@example.test", "bob@x+452.test"];
        for to in others.iter().map(std::slice::from_ref).chain([&[][..]]) {
            let told = explain_smtp(&fault, to, Language::English);
            let start =
                "452 4.0.0 A fault on demand (the chaos settings of the server ask for it): the server has";
            assert!(told.starts_with(start), "{to:?}: {told}");
            let told = explain_smtp(&fault, to, Language::French);
            assert!(told.contains("(une panne que demandent les réglages de chaos du serveur)"), "{told}");
        }
        let with_remark = format!("{FAULT_ON_DEMAND}; +452-afterdot is no fault on demand");
        let told = explain_smtp(&reply(452, None, &with_remark), &[], Language::English);
        assert!(told.contains("(the chaos settings"), "{told}");
    }

    #[test]
    fn u98_a_remark_about_a_fault_is_shown_with_the_next_step() {
        let remark = "Recipient ok; +no-on-selct is no fault on demand, did you mean +no-on-select?";
        let reply = reply(250, Some(Enhanced(2, 1, 5)), remark);
        assert!(has_remark(&reply));
        let told = explain_smtp(&reply, &[], Language::English);
        assert_eq!(told, format!("250 2.1.5 {remark} (check the fault in the address): accepted."));
        let told = explain_smtp(&reply, &[], Language::French);
        assert!(told.ends_with(" (vérifiez la panne dans l'adresse) : accepté."), "{told}");
        for plain in ["Recipient ok", "Ok; queued", "1+1; x"] {
            assert!(!has_remark(&Reply { lines: vec![plain.into()], ..reply.clone() }), "{plain}");
        }
    }

    #[test]
    fn h08_nobody_is_told_to_log_in_for_mail_that_no_login_sends() {
        let told =
            explain_smtp(&reply(550, Some(Enhanced(5, 7, 1)), "Own users only"), &[], Language::English);
        assert!(told.contains("use the server of your provider") && !told.contains("log in"), "{told}");
    }

    #[test]
    fn a_denial_is_explained_by_its_code() {
        let denial = ErrReply { code: Some("IN-USE".into()), text: "Locked".into() };
        let told = explain_pop3(&denial, Language::English);
        assert!(told.starts_with("-ERR [IN-USE] Locked: another session"), "{told}");
        let denial = ErrReply { code: None, text: "no".into() };
        assert_eq!(explain_pop3(&denial, Language::French), "-ERR no");
        let refused = |code: Option<&str>| Status {
            condition: Condition::No,
            code: code.map(str::to_owned),
            text: "No".into(),
        };
        let told = explain_imap(&refused(Some("TryCreate")), Language::English);
        assert_eq!(told, "NO [TryCreate] No: there is no such folder.");
        assert_eq!(explain_imap(&refused(None), Language::French), "NO No");
    }

    #[test]
    fn no_meaning_is_missing_or_there_twice() {
        let both = |words: &LocalizedText| {
            [Language::English, Language::French].map(|language| words.text(language))
        };
        let all = DETAILS.iter().map(|(_, words)| words).chain(REPLIES.iter().map(|(_, words)| words));
        for words in all.chain(CODES.iter().chain(IMAP_CODES).map(|(_, words)| words)) {
            assert!(both(words).iter().all(|text| !text.is_empty()), "{words:?}");
        }
        assert!(DETAILS.is_sorted_by(|(a, _), (b, _)| a < b) && REPLIES.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn h59_u137_the_mailbox_of_a_name_without_a_domain_is_a_remark() {
        let remark = "the name has no domain, so this is the mailbox of bob@localhost";
        assert_eq!(remark_in(&format!("0 messages (0 octets); {remark}")), Some(remark));
        assert_eq!(remark_in("0 messages; and more"), None);
        let french = "il n'a pas de domaine, c'est donc la boîte de bob@localhost";
        assert_eq!(translated_remark(remark, Language::French), french);
        assert_eq!(translated_remark(remark, Language::English), remark);
        assert_eq!(translated_remark("+slwo is no fault", Language::French), "+slwo is no fault");
    }
}
