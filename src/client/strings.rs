//! All texts of `restante client` and `restante send`, in every language.
//!
//! The rule: one table, one column for each language; `{0}` and `{1}` stand for values.

use std::{env, fmt::Display};

use crate::{
    language::{Language, LocalizedText},
    printable,
};

impl Language {
    /// The language of a locale: the first of these variables that is set and not empty decides (POSIX, Base
    /// Definitions, section 8.2).
    pub fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale =
            ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|set| !set.is_empty());
        let language = locale.as_deref().and_then(|locale| locale.split(['_', '.', '@']).next());
        if language.is_some_and(|language| language.eq_ignore_ascii_case("fr")) {
            Self::French
        } else {
            Self::English
        }
    }

    /// The language of the locale of this process.
    pub fn of_environment() -> Self {
        Self::of_locale(|name| env::var(name).ok())
    }

    /// The colon after a word, as in `Subject:`; French puts a blank before it.
    pub(crate) fn colon(self) -> &'static str {
        match self {
            Self::English => ":",
            Self::French => " :",
        }
    }

    /// A size in octets for people.
    pub(crate) fn size(self, octets: u64) -> String {
        let size = printable::size(octets);
        match (self, size.strip_suffix('B')) {
            (Self::French, Some(unit)) => format!("{unit}o"),
            _ => size,
        }
    }
}

impl LocalizedText {
    /// Fills in values for `{0}` and `{1}`. A value is never searched for placeholders.
    pub(crate) fn format(self, language: Language, values: &[&dyn Display]) -> String {
        let mut filled = String::new();
        let mut rest = self.text(language);
        while let Some(at) = rest.find('{') {
            let place = rest[at + 1..].chars().next().and_then(|digit| digit.to_digit(10));
            let value = place.and_then(|place| values.get(place as usize));
            filled += &rest[..at];
            if let Some(value) = value {
                filled += &value.to_string();
            }
            rest = rest[at..].split_once('}').map_or("", |(_, rest)| rest);
        }
        filled + rest
    }
}

/// The table: name, English, French.
macro_rules! table {
    ($($name:ident: $english:literal, $french:literal;)*) => {
        $(pub(crate) const $name: LocalizedText = LocalizedText::new($english, $french);)*
        #[cfg(test)]
        const TABLE: &[(&str, LocalizedText)] = &[$((stringify!($name), $name)),*];
    };
}

table! {
    // Errors.
    UNREACHABLE:
        "cannot connect to {0}: {1}. Is the server running, and is that its port?",
        "connexion à {0} impossible : {1}. Le serveur est-il en marche, et est-ce le bon port ?";
    UNKNOWN_HOST:
        "no address for the name {0}: {1}. Check the name of the server, or the network of this machine.",
        "aucune adresse pour le nom {0} : {1}. Vérifiez le nom du serveur, ou le réseau de cette machine.";
    LOST:
        "the connection to {0} was closed. Unconfirmed commands may not have been carried out; connect again and check.",
        "la connexion à {0} a été coupée. Les commandes non confirmées n'ont peut-être pas été exécutées ; reconnectez-vous et vérifiez.";
    NO_GREETING:
        "{0} gave no greeting. Nothing was sent to it: check host and port, or try again later.",
        "{0} n'a envoyé aucune salutation. Rien ne lui a été envoyé : vérifiez l'hôte et le port, ou réessayez plus tard.";
    NO_GREETING_TLS:
        "{0} gave no greeting. Nothing was sent to it. A port for TLS from the first octet, as 465, 993, 995, 2465, 1993 and 1995 are, needs --tls implicit.",
        "{0} n'a envoyé aucune salutation. Rien ne lui a été envoyé. Un port pour TLS dès le premier octet, comme 465, 993, 995, 2465, 1993 et 1995, demande --tls implicit.";
    SILENT:
        "{0} has not greeted yet, still waiting. A port for TLS from the first octet, as 465, 993, 995, 2465, 1993 and 1995 are, needs --tls implicit; one for HTTP, as 80, 443 and 8025 are, takes no mail. Ctrl-C ends the wait.",
        "{0} n'a pas encore salué, l'attente continue. Un port pour TLS dès le premier octet, comme 465, 993, 995, 2465, 1993 et 1995, demande --tls implicit ; un port pour HTTP, comme 80, 443 et 8025, ne prend pas de courrier. Ctrl-C met fin à l'attente.";
    SILENT_TLS:
        "{0} has not greeted yet, still waiting. A port for HTTP, as 443 is, takes no mail. Ctrl-C ends the wait.",
        "{0} n'a pas encore salué, l'attente continue. Un port pour HTTP, comme 443, ne prend pas de courrier. Ctrl-C met fin à l'attente.";
    CLEAR_TEXT:
        "{0} speaks clear text, and not TLS from the first octet. No mail and no password was sent: use --tls starttls, or another port.",
        "{0} parle en clair, et non en TLS dès le premier octet. Ni message ni mot de passe n'a été envoyé : prenez --tls starttls, ou un autre port.";
    HTTP:
        "{0} speaks HTTP, and takes no mail. Nothing was sent to it: use the port for SMTP (25, 587, 2525), IMAP (143, 1143) or POP3 (110, 1110).",
        "{0} parle HTTP, et ne prend pas de courrier. Rien ne lui a été envoyé : prenez le port de SMTP (25, 587, 2525), d'IMAP (143, 1143) ou de POP3 (110, 1110).";
    OTHER_PROTOCOL:
        "{0} speaks {1}, and not {2}. Nothing was sent to it: the port for {2} is probably {3}.",
        "{0} parle {1}, et non {2}. Rien ne lui a été envoyé : le port pour {2} est probablement {3}.";
    LIKE_OTHER_PROTOCOL:
        "{0} answers like {1}, and not like {2}. Nothing was sent to it: the port for {2} is probably {3}.",
        "{0} répond comme {1}, et non comme {2}. Rien ne lui a été envoyé : le port pour {2} est probablement {3}.";
    TOO_SLOW:
        "no reply from {0} within {1} seconds. Try again later.",
        "pas de réponse de {0} en {1} secondes. Réessayez plus tard.";
    BABBLE:
        "{0} does not speak this protocol. Check host, port and --tls.",
        "{0} ne parle pas ce protocole. Vérifiez l'hôte, le port et --tls.";
    NO_TRUST:
        "no TLS with {0}: {1}. Check host, port and --tls, or ask the operator of the server.",
        "pas de TLS avec {0} : {1}. Vérifiez l'hôte, le port et --tls, ou demandez à l'exploitant du serveur.";
    CERTIFICATE_EXPIRED:
        "no TLS with {0}: its certificate has expired: {1}. The operator of the server has to renew it.",
        "pas de TLS avec {0} : son certificat a expiré : {1}. L'exploitant du serveur doit le renouveler.";
    CERTIFICATE_EARLY:
        "no TLS with {0}: its certificate is not valid before {1}. Is the clock of this machine right?",
        "pas de TLS avec {0} : son certificat n'est pas valable avant {1}. L'horloge de cette machine est-elle juste ?";
    CERTIFICATE_OF_OTHER_NAME:
        "no TLS with {0}: its certificate is for {1}, and not for {2}. Connect to {3}.",
        "pas de TLS avec {0} : son certificat est pour {1}, et non pour {2}. Connectez-vous à {3}.";
    CERTIFICATE_WITHOUT_NAME:
        "no TLS with {0}: its certificate does not have the name {1}. Connect by a name that it has in subjectAltName.",
        "pas de TLS avec {0} : son certificat n'a pas le nom {1}. Connectez-vous par un nom qu'il a dans subjectAltName.";
    UNKNOWN_AUTHORITY:
        "no TLS with {0}: no authority that this machine knows has signed its certificate. Name the certificate to trust with --cacert.",
        "pas de TLS avec {0} : aucune autorité connue de cette machine n'a signé son certificat. Indiquez le certificat de confiance avec --cacert.";
    CERTIFICATE_NOT_NAMED:
        "no TLS with {0}: its certificate is not in the file of --cacert, and none in that file has signed it. Check the port, or ask the operator of the server for the file.",
        "pas de TLS avec {0} : son certificat n'est pas dans le fichier de --cacert, et aucun de ce fichier ne l'a signé. Vérifiez le port, ou demandez le fichier à l'exploitant du serveur.";
    NO_TLS:
        "{0} does not offer TLS here. Nothing secret was sent; use --tls implicit on another port, or --tls none.",
        "{0} n'offre pas TLS ici. Rien de secret n'a été envoyé ; essayez --tls implicit sur un autre port, ou --tls none.";
    INJECTED:
        "clear text arrived from {0} after it had agreed to TLS: the network may be tampering. Nothing was sent; try another network.",
        "du texte en clair est venu de {0} après son accord pour TLS : le réseau est peut-être manipulé. Rien n'a été envoyé ; changez de réseau.";
    FAULT_OF_ADDRESS:
        "the address asks for it",
        "une panne que l'adresse demande";
    FAULT_BY_CHANCE:
        "the chaos settings of the server ask for it",
        "une panne que demandent les réglages de chaos du serveur";
    CHECK_FAULT:
        "check the fault in the address",
        "vérifiez la panne dans l'adresse";
    NO_LOGIN:
        "{0} offers no supported login (PLAIN, LOGIN). Try the submission port, or --tls starttls.",
        "{0} n'offre aucune authentification connue ici (PLAIN, LOGIN). Essayez le port de soumission, ou --tls starttls.";
    SAID_BYE:
        "{0} ended the session: {1}. Connect again.",
        "{0} a terminé la session : {1}. Reconnectez-vous.";
    TOO_BIG:
        "the message has {0} octets, and {1} is the limit. Make it smaller.",
        "le message fait {0} octets, et la limite est {1}. Réduisez-le.";
    NEEDS:
        "the message needs {0}, which the server does not announce. Use plain ASCII, or another server.",
        "le message a besoin de {0}, que le serveur n'annonce pas. Restez en ASCII, ou changez de serveur.";
    DISK:
        "a file on this disk cannot be used: {0}. Check its permissions and the free space.",
        "un fichier de ce disque est inutilisable : {0}. Vérifiez ses droits, et la place sur le disque.";
    EXPOSED:
        "the password would go to {0} in clear text, readable on the network. Add --tls starttls or --tls implicit.",
        "le mot de passe irait à {0} en clair, lisible sur le réseau. Ajoutez --tls starttls ou --tls implicit.";
    // The command line, and the files that it names.
    BAD_SERVER:
        "{0} is not a host and a port: write it like mx.example.test:25 or [::1]:2525, or 2525 for a port of this machine",
        "{0} n'est pas un hôte et un port : écrivez par exemple mx.example.test:25 ou [::1]:2525, ou 2525 pour un port de cette machine";
    NOT_AN_ADDRESS:
        "{0} is not an address: write user@domain, or Name <user@domain>",
        "{0} n'est pas une adresse : écrivez nom@domaine, ou Prénom Nom <nom@domaine>";
    NAME_WITH_COMMA:
        "a comma separates addresses: write a name with a comma in quotation marks, as in {0}",
        "une virgule sépare deux adresses : mettez entre guillemets un nom qui en contient une, comme dans {0}";
    SEVERAL_ADDRESSES: "{0} is more than one address", "{0} contient plus d'une adresse";
    ONE_SENDER: "--from takes one address", "--from n'accepte qu'une adresse";
    BLANK_IN_HELO: "a name must not contain blanks", "un nom ne doit pas contenir d'espaces";
    CACERT_WITHOUT_TLS:
        "--cacert {0} is for TLS: add --tls=starttls or --tls=implicit",
        "--cacert {0} ne sert qu'avec TLS : ajoutez --tls=starttls ou --tls=implicit";
    NO_CERTIFICATE: "there is no certificate in it", "il n'y a pas de certificat dans ce fichier";
    UNUSABLE_CERTIFICATES:
        "{0}: {1}; name a PEM file with certificates",
        "{0} : {1} ; indiquez un fichier PEM qui contient des certificats";
    MISSING_OPTION:
        "{0} is missing, and there is no terminal to ask at: see restante send --help",
        "il manque {0}, et il n'y a pas de terminal pour le demander : voyez restante send --help";
    RAW_NEEDS:
        "{0} is missing: --raw sends the file as it is, and does not read the addresses in its header",
        "il manque {0} : --raw envoie le fichier tel quel, et ne lit pas les adresses de son en-tête";
    BODY_OPTIONS: "the text (--body, --file, or - for standard input)", "le texte (--body, --file, ou - pour l'entrée standard)";
    EMPTY_TEXT: "warning: the text is empty", "attention : le texte est vide";
    NO_HEADER:
        "warning: {0} has no header, and is sent as it is; a header begins at its first line, like Subject: hello",
        "attention : {0} n'a pas d'en-tête, et part tel quel ; un en-tête commence à la première ligne, par exemple Subject: bonjour";
    PASSWORD_OPTIONS: "--password-file or {0}", "--password-file ou {0}";
    NOT_UTF8:
        "{0} is not UTF-8 text: send it with --attach, or --raw",
        "{0} n'est pas du texte UTF-8 : envoyez-le avec --attach ou --raw";
    STANDARD_INPUT: "standard input", "l'entrée standard";
    UNREADABLE: "cannot read {0}: {1}; nothing was sent", "lecture de {0} impossible : {1} ; rien n'a été envoyé";
    EMPTY_PASSWORD: "the password in {0} is empty", "le mot de passe dans {0} est vide";
    NO_PASSWORD: "no password was given", "aucun mot de passe n'a été donné";
    INPUT_ENDED: "nothing was sent: the input ended", "rien n'a été envoyé : l'entrée s'est terminée";
    NO_RANDOM: "no random numbers: {0}", "pas de nombres aléatoires : {0}";
    NEEDS_TERMINAL:
        "the input ended before a login: `restante client` needs a terminal; in scripts, use `restante send` and curl",
        "l'entrée s'est terminée avant la connexion : `restante client` demande un terminal ; dans un script, prenez `restante send` et curl";
    NO_LISTENER:
        "{0} has no address to connect to for {1}{2}: name one, like {1} {3}",
        "{0} n'a pas d'adresse où se connecter pour {1}{2} : donnez-en une, comme {1} {3}";
    NO_SERVICE:
        "{0} has no listener for {1}: add one with protocol = \"{2}\" and restart the server, or name the address of another server, like {3} {4}",
        "{0} n'a pas de section [[listen]] pour {1} : ajoutez-en une avec protocol = \"{2}\" et redémarrez le serveur, ou donnez l'adresse d'un autre serveur, comme {3} {4}";
    LISTENS_IN_CLEAR: " (it has one for --tls none or --tls starttls)", " (il en a une pour --tls none ou --tls starttls)";
    LISTENS_WITH_TLS: " (it has one for --tls implicit)", " (il en a une pour --tls implicit)";
    // The interactive client: login and menu.
    WELCOME: "restante client: mail by {0} (SMTP) and {1} ({2}).", "restante client : courrier par {0} (SMTP) et {1} ({2}).";
    DOOR: "1 log in   2 sign up   q quit: ", "1 se connecter   2 s'inscrire   q quitter : ";
    USER: "Name or address", "Nom ou adresse";
    PASSWORD: "Password: ", "Mot de passe : ";
    PASSWORD_AGAIN: "Password of {0} (Enter alone: another name): ", "Mot de passe de {0} (Entrée seule : un autre nom) : ";
    REPEAT_PASSWORD: "Repeat the password: ", "Répétez le mot de passe : ";
    PASSWORDS_DIFFER: "The two passwords differ, or are empty. No account was added.", "Les deux mots de passe diffèrent, ou sont vides. Aucun compte n'a été ajouté.";
    SIGNED_UP: "{0} is signed up. 1 logs in.", "{0} est inscrit. 1 pour se connecter.";
    WAIT_FOR_ACCOUNT: "Waiting until the server knows {0}: {1} s at most.", "Attente que le serveur connaisse {0} : {1} s au plus.";
    NO_NAME: "No name was given. Type it, or press Ctrl-D to leave.", "Aucun nom n'a été donné. Tapez-le, ou Ctrl-D pour sortir.";
    FORMER_MAIL:
        "its mailbox has the mail of a former account; ask the operator",
        "sa boîte contient le courrier d'un ancien compte ; demandez à l'exploitant";
    NOT_SIGNED_UP: "Not signed up: {0}.", "Non inscrit : {0}.";
    ATTEMPTS_LEFT: "Login failed: {0} Attempts left: {1}.", "Échec de la connexion : {0} Essais restants : {1}.";
    LOGIN_REMARK: "Check the login name: {0}", "Vérifiez le nom : {0}";
    NOT_NOW: "Not logged in: {0}", "Pas de connexion : {0}";
    NO_MORE_ATTEMPTS:
        "No more attempts: {0} Check the name and the password, and start again.",
        "Plus d'essais : {0} Vérifiez le nom et le mot de passe, puis recommencez.";
    SEND_EXPOSED: "The password will go to {0} in clear text. Send it anyway?", "Le mot de passe ira à {0} en clair. L'envoyer quand même ?";
    MENU_TITLE: "{0}: {1} in the inbox, {2} to be deleted", "{0} : {1} dans la boîte, {2} à supprimer";
    MENU_INBOX: "1  Inbox", "1  Boîte de réception";
    MENU_WRITE: "2  Write", "2  Écrire";
    MENU_SENT: "3  Sent", "3  Envoyés";
    MENU_AGAIN: "4  Check for new mail", "4  Relever le courrier";
    MENU_QUIT: "q  Quit", "q  Quitter";
    MENU_PROMPT: "Your choice: ", "Votre choix : ";
    NO_SUCH_CHOICE: "{0} is not one of the choices.", "{0} n'est pas un choix proposé.";
    RECONNECT: "Connect again?", "Se reconnecter ?";
    MARKS_LOST: "Connected again. Nothing was deleted: the marked messages are still there, unmarked.", "Reconnecté. Rien n'a été supprimé : les messages marqués sont toujours là, sans marque.";
    GOODBYE: "Goodbye.", "Au revoir.";
    ARRIVED: "New messages: {0}.", "Nouveaux messages : {0}.";
    MARKS_KEPT: "Still to be deleted when you quit: {0}.", "Toujours à supprimer quand vous quitterez : {0}.";
    MARKS_REMOVED: "Marks that are gone: {0}. Nothing was deleted: mark the messages again.", "Marques perdues : {0}. Rien n'a été supprimé : marquez de nouveau les messages.";
    DELETED_NOTHING: "Nothing was deleted.", "Rien n'a été supprimé.";
    DELETED_SOME: "Deleted: {0}.", "Supprimés : {0}.";
    NOT_ALL_DELETED: "Some messages may not have been deleted: {0}", "Certains messages n'ont peut-être pas été supprimés : {0}";
    // Message lists.
    INBOX: "Inbox", "Boîte de réception";
    SENT: "Sent", "Envoyés";
    EMPTY: "There is no message.", "Il n'y a aucun message.";
    PAGE_OF: "{0}, page {1} of {2}", "{0}, page {1} sur {2}";
    HEAD_NUMBER: "No", "N°";
    HEAD_FROM: "From", "De";
    HEAD_TO: "To", "À";
    HEAD_SUBJECT: "Subject", "Objet";
    HEAD_DATE: "Date", "Date";
    HEAD_SIZE: "Size", "Taille";
    NO_SENDER: "(no sender)", "(sans expéditeur)";
    NO_SUBJECT: "(no subject)", "(sans objet)";
    MARK: "D", "S";
    MARK_NEW: "N", "N";
    BROWSE: "Number to read it, d 2 5-7 to delete, u 2 to undelete, n/p next/previous page, q back: ", "Numéro : lire, d 2 5-7 : supprimer, u 2 : garder, n/p : page suivante/précédente, q : retour : ";
    BROWSE_SENT: "Number to read it, n/p next/previous page, q back: ", "Numéro : lire, n/p : page suivante/précédente, q : retour : ";
    NO_SUCH_MESSAGE: "There is no message {0} here.", "Il n'y a pas de message {0} ici.";
    IS_DELETED: "Message {0} is to be deleted; u {0} keeps it.", "Le message {0} est à supprimer ; u {0} le garde.";
    WILL_BE_DELETED: "To be deleted when you quit: {0}. u undeletes.", "À supprimer quand vous quitterez : {0}. u les garde.";
    KEPT: "Kept: {0}.", "Gardés : {0}.";
    NOT_MARKED: "Not marked as deleted: {0}.", "Pas marqués à supprimer : {0}.";
    NONE_MARKED: "No message is marked as deleted; d 2 5-7 marks some.", "Aucun message n'est marqué à supprimer ; d 2 5-7 en marque.";
    BROWSE_INBOX_HELP:
        "Marks: N new, D deleted when you quit. A number shows that message. d 2 5-7 marks as deleted, u 2 takes it back. n/p next/previous page, Enter shows the list again. q goes back to the menu, and q there quits and deletes the marked messages.",
        "Marques : N nouveau, S supprimé quand vous quitterez. Un numéro affiche le message. d 2 5-7 marque à supprimer, u 2 l'annule. n/p : page suivante/précédente, Entrée affiche de nouveau la liste. q revient au menu, où q quitte et supprime les messages marqués.";
    BROWSE_SENT_HELP:
        "A number shows that message. n/p next/previous page, Enter shows the list again, q goes back to the menu.",
        "Un numéro affiche le message. n/p : page suivante/précédente, Entrée affiche de nouveau la liste, q revient au menu.";
    NOT_DELETED_HERE: "Sent messages stay.", "Les messages envoyés restent.";
    // Folders of IMAP.
    FOLDERS_TITLE: "The folders of {0}", "Les dossiers de {0}";
    HEAD_FOLDER: "Folder", "Dossier";
    HEAD_MESSAGES: "All", "Total";
    HEAD_UNREAD: "Unread", "Non lus";
    FOLDERS_PROMPT: "Number to open it, w to write, Enter to look again, q to quit: ", "Numéro : ouvrir, w : écrire, Entrée : regarder de nouveau, q : quitter : ";
    NOT_A_FOLDER: "{0} only has folders below it.", "{0} n'a que des dossiers en dessous.";
    RECONNECTED: "Connected again. Marks are on the server, so they are as they were.", "Reconnecté. Les marques sont sur le serveur, donc telles qu'elles étaient.";
    MARK_FLAGGED: "F", "I";
    MARK_ANSWERED: "A", "R";
    BROWSE_FOLDER:
        "Number to read it, d 2 5-7 to mark as deleted, x to remove those, t 2 to Trash, f 2 to flag, /words to search, ? for more, q back: ",
        "Numéro : lire, d 2 5-7 : marquer à supprimer, x : les supprimer, t 2 : jeter, f 2 : signaler, /mots : chercher, ? : la suite, q : retour : ";
    BROWSE_HELP:
        "Marks: N new, A answered, F flagged, D deleted. d 2 5-7 marks as deleted, u 2 takes it back, x removes the marked messages. f 2 flags or unflags, r 2 makes read or unread. t 2 moves to Trash, m 2 FOLDER to another folder. /words shows the messages with these words, / all of them. Enter looks for news, w waits for them. n/p next/previous page.",
        "Marques : N nouveau, R répondu, I signalé, S à supprimer. d 2 5-7 marque à supprimer, u 2 l'annule, x supprime les messages marqués. f 2 signale ou non, r 2 rend lu ou non lu. t 2 jette : il déplace vers le dossier des messages supprimés (souvent Trash), m 2 DOSSIER vers un autre dossier. /mots montre les messages qui ont ces mots, / tous. Entrée relève les nouvelles, w les attend. n/p : page suivante/précédente.";
    MARKED_DELETED: "Marked as deleted: {0}. x removes them, u takes it back.", "Marqués à supprimer : {0}. x les supprime, u l'annule.";
    FLAGGED: "Flagged: {0}.", "Signalés : {0}.";
    UNFLAGGED: "Not flagged any more: {0}.", "Plus signalés : {0}.";
    MADE_READ: "Read: {0}.", "Lus : {0}.";
    MADE_UNREAD: "Unread: {0}.", "Non lus : {0}.";
    MOVED: "Moved to {1}: {0}.", "Déplacés vers {1} : {0}.";
    COPIED_AND_MARKED: "Copied to {1} and marked as deleted here, because this server cannot move: {0}.", "Copiés vers {1} et marqués à supprimer ici, car ce serveur ne sait pas déplacer : {0}.";
    NO_SUCH_FOLDER: "There is no folder {0}. The folders are: {1}.", "Il n'y a pas de dossier {0}. Les dossiers sont : {1}.";
    NO_TRASH: "There is no folder for deleted messages: use d and x, or m 2 FOLDER.", "Il n'y a pas de dossier pour les messages supprimés : prenez d et x, ou m 2 DOSSIER.";
    IS_TRASH: "This is the folder for deleted messages: d and x remove them.", "C'est le dossier des messages supprimés : d et x les suppriment.";
    MOVE_WHERE: "Name the messages and the folder, like m 2 5-7 Archive.", "Nommez les messages et le dossier, par exemple m 2 5-7 Archive.";
    MARK_WHICH: "Name the messages, like {0} 2 5-7.", "Nommez les messages, par exemple {0} 2 5-7.";
    FOUND_IN: "{0}: messages with these words", "{0} : les messages qui ont ces mots";
    FOUND_NONE: "No message here has these words.", "Aucun message ici n'a ces mots.";
    WAITING: "Waiting for news. Press Enter to stop.", "En attente de nouvelles. Tapez Entrée pour arrêter.";
    CANNOT_WAIT: "This server does not tell news by itself. Enter asks for them.", "Ce serveur ne dit pas les nouvelles de lui-même. Entrée les demande.";
    NEWS: "New messages: {0}. Gone: {1}.", "Nouveaux messages : {0}. Partis : {1}.";
    GONE: "Message {0} is gone: another session removed it.", "Le message {0} n'est plus là : une autre session l'a supprimé.";
    // One message.
    ATTACHMENTS: "Attachments:", "Pièces jointes :";
    READ_PROMPT: "r to reply, d to delete this message, Enter to go back: ", "r : répondre, d : supprimer ce message, Entrée : retour : ";
    READ_PROMPT_SAVE: "s 1 to save an attachment, r to reply, d to delete this message, Enter to go back: ", "s 1 : enregistrer une pièce, r : répondre, d : supprimer ce message, Entrée : retour : ";
    DELETES_THIS: "Nothing was deleted: here d deletes message {0}, which you read. For {1}, go back first.", "Rien n'a été supprimé : ici d supprime le message {0}, que vous lisez. Pour {1}, revenez d'abord à la liste.";
    NO_ATTACHMENTS: "This message has no attachment.", "Ce message n'a pas de pièce jointe.";
    SAVE_WHICH: "Name the attachment, like s 1.", "Donnez le numéro de la pièce, par exemple s 1.";
    NO_SUCH_ATTACHMENT: "There is no attachment {0}.", "Il n'y a pas de pièce {0}.";
    ASK_DIRECTORY: "Into the directory", "Dans le répertoire";
    SAVED: "Saved as {0}.", "Enregistré sous {0}.";
    NOT_SAVED: "Not saved in {0}: {1}. Choose another directory.", "Non enregistré dans {0} : {1}. Choisissez un autre répertoire.";
    REPLY_QUOTES: "{0} wrote:", "{0} a écrit :";
    // Writing a message.
    ASK_FROM_ONCE: "Your mail address", "Votre adresse";
    ASK_CC: "Cc", "Cc";
    ASK_BCC: "Bcc", "Cci";
    ASK_ATTACH: "Attach a file (Enter: no more)", "Joindre un fichier (Entrée : c'est tout)";
    ATTACHED: "{0}: {1}, {2}", "{0} : {1}, {2}";
    NOT_ATTACHED: "{0} cannot be read: {1}. Check the path, or press Enter.", "{0} est illisible : {1}. Vérifiez le chemin, ou tapez Entrée.";
    REPLY_TO_CUT: "The message asks for a reply to {0} addresses; these are the first {1}.", "Le message demande une réponse à {0} adresses ; voici les {1} premières.";
    BAD_ADDRESS: "{0} is not an address: write user@domain, with commas between several.", "{0} n'est pas une adresse : écrivez nom@domaine, avec des virgules.";
    NOBODY: "There is no recipient. Name one, or press Ctrl-D to give up.", "Il n'y a pas de destinataire. Nommez-en un, ou Ctrl-D pour abandonner.";
    SUMMARY: "Recipients: {0}. Size: {1}.", "Destinataires : {0}. Taille : {1}.";
    CONFIRM_SEND: "Send it?", "Envoyer ?";
    NOT_SENT: "Not sent.", "Non envoyé.";
    SENT_DONE: "Sent: {0}", "Envoyé : {0}";
    REMARK_FOR: "To {0}: {1}", "Pour {0} : {1}";
    REFUSED_FOR: "Not to {0}: {1}", "Refusé pour {0} : {1}";
    SEND_TO_REST: "Send it to the other recipients anyway?", "L'envoyer quand même aux autres destinataires ?";
    TRY_AGAIN: "Try again?", "Réessayer ?";
    UNSENT: "1 try again   2 change the recipients   3 keep it and go back: ", "1 réessayer   2 changer les destinataires   3 le garder et revenir : ";
    ENTER_OR_HYPHEN: "Enter takes the addresses in brackets, a hyphen takes none.", "Entrée reprend les adresses entre crochets, un tiret n'en prend aucune.";
    KEPT_IN_FOLDER: "Kept in the folder {0}. Open it there with a mail program to send it.", "Gardé dans le dossier {0}. Ouvrez-le là avec un logiciel de courrier pour l'envoyer.";
    KEPT_IN_FILE: "Kept in {0}. To send it later, type:", "Gardé dans {0}. Pour l'envoyer plus tard, tapez :";
    NOT_KEPT: "The letter cannot be kept in a file: {0}. Check the free space and the permissions, then choose again.", "La lettre ne peut pas être gardée dans un fichier : {0}. Vérifiez la place et les droits, puis choisissez de nouveau.";
    TEXT_NOT_KEPT:
        "The text cannot be kept in a file: {0}. Check the free space and the permissions before you type it again.",
        "Le texte ne peut pas être gardé dans un fichier : {0}. Vérifiez la place et les droits avant de le taper de nouveau.";
    COPY_ON_SERVER: "The server keeps a copy, unless it is configured not to.", "Le serveur garde une copie, sauf consigne contraire.";
    COPY_HERE: "A copy is kept on this disk.", "Une copie est gardée sur ce disque.";
    NO_COPY: "No copy could be kept: {0}.", "Aucune copie n'a pu être gardée : {0}.";
    // Prompts.
    ASK_SERVER: "Server", "Serveur";
    ASK_FROM: "From", "De";
    ASK_TO: "To (commas between several)", "À (séparés par des virgules)";
    ASK_SUBJECT: "Subject", "Objet";
    ASK_TEXT:
        "Text, ended by a line with a dot alone, or Ctrl-D:",
        "Texte, terminé par une ligne avec un seul point, ou Ctrl-D :";
    ASK_PASSWORD_OF: "Password of {0}: ", "Mot de passe de {0} : ";
    YES_NO: "[Y/n]", "[O/n]";
    NO_YES: "[y/N]", "[o/N]";
    MORE: "-- Enter for more, q to stop -- ", "-- Entrée pour la suite, q pour arrêter -- ";
    // Replies of servers.
    REPLY_DONE: "{0}: accepted.", "{0} : accepté.";
    REPLY_GO_ON: "{0}: the server waits for more.", "{0} : le serveur attend la suite.";
    REPLY_LATER:
        "{0} Temporary failure: try again later.",
        "{0} Échec temporaire : réessayez plus tard, sans rien changer.";
    REPLY_REFUSED:
        "{0} Refused: trying again will fail unless something is changed.",
        "{0} Refusé : un nouvel essai échouera si rien n'est changé.";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(variables: &[(&str, &str)]) -> Language {
        Language::of_locale(|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_locale_chooses_the_language() {
        assert_eq!(language(&[]), Language::English);
        assert_eq!(language(&[("LANG", "fr_CA.UTF-8")]), Language::French);
        assert_eq!(language(&[("LC_ALL", ""), ("LANG", "fr")]), Language::French);
        assert_eq!(language(&[("LC_ALL", "C"), ("LANG", "fr_FR")]), Language::English);
        assert_eq!(language(&[("LC_MESSAGES", "fr_FR@euro"), ("LANG", "en_GB")]), Language::French);
        assert_eq!(language(&[("LANG", "fra")]), Language::English);
    }

    #[test]
    fn no_word_is_missing_and_both_columns_have_the_same_places() {
        for (name, words) in TABLE {
            let [english, french] =
                [Language::English, Language::French].map(|language| words.text(language));
            assert!(!english.trim().is_empty() && !french.trim().is_empty(), "{name}");
            for place in 0..4 {
                let place = format!("{{{place}}}");
                assert_eq!(english.matches(&place).count(), french.matches(&place).count(), "{name} {place}");
            }
            assert_eq!(english.matches('{').count(), english.matches(['}']).count(), "{name}");
        }
    }

    #[test]
    fn u14_sizes_and_colons_are_those_of_the_language() {
        assert_eq!([510, 3000].map(|octets| Language::French.size(octets)), ["510 o", "3 Kio"]);
        assert_eq!(Language::English.size(510), "510 B");
        assert_eq!(Language::French.colon(), " :");
    }

    #[test]
    fn values_are_never_places() {
        let words = LocalizedText::new("{1} and {0}.", "{0} et {1}.");
        assert_eq!(words.format(Language::English, &[&"{1}", &2]), "2 and {1}.");
        assert_eq!(words.format(Language::French, &[&"{1}", &2]), "{1} et 2.");
        assert_eq!(LocalizedText::new("{0}", "").format(Language::English, &[]), "");
    }
}
