//! The words of the page in English and French.

use crate::language::Language;

/// A word of the page by its key. A test holds every key of the templates to the table.
pub(super) fn word(language: Language, key: &str) -> &'static str {
    let row = WORDS.iter().find(|(known, ..)| *known == key);
    debug_assert!(row.is_some(), "no word {key}");
    row.map_or("", |(_, english, french)| match language {
        Language::English => english,
        Language::French => french,
    })
}

/// A number with the words for one and for many: `{n}` stands for the number.
pub(super) fn counted(language: Language, number: u64, one: &str, many: &str) -> String {
    // French counts zero as one.
    let is_one = number == 1 || (number == 0 && language == Language::French);
    word(language, if is_one { one } else { many }).replace("{n}", &number.to_string())
}

/// A size for people.
pub(super) fn size(language: Language, octets: u64) -> String {
    let text = match octets {
        // Nearest, because a list compares sizes, and a small one has tenths: `1.2 KiB`.
        0x400..0x2800 => {
            let tenths = (octets * 10 + 0x200) / 0x400;
            format!("{}.{} KiB", tenths / 10, tenths % 10)
        }
        0x2800..0x10_0000 => format!("{} KiB", (octets + 0x200) / 0x400),
        _ => crate::printable::size(octets),
    };
    match language {
        Language::English => text,
        // An octet is `o` in French, and a comma begins the fraction.
        Language::French => text.replace('.', ",").replace('B', "o"),
    }
}

const WORDS: &[(&str, &str, &str)] = &[
    ("lang", "en", "fr"),
    ("skip", "Skip to the messages", "Aller aux messages"),
    ("inboxes", "Inboxes", "Boîtes"),
    ("by_name", "by name", "par nom"),
    ("newest_first", "newest first", "les plus récents d’abord"),
    ("all", "All mail", "Tout le courrier"),
    ("search", "Search", "Chercher"),
    ("search_label", "Search the messages", "Chercher dans les messages"),
    ("search_hint", "Search: from:ann has:attachment", "Chercher : from:ann has:attachment"),
    ("select_all", "Select all", "Tout choisir"),
    ("select", "Select", "Sélectionner"),
    ("delete", "Delete", "Supprimer"),
    ("delete_selected", "Delete selected", "Supprimer la sélection"),
    ("delete_all", "Delete all", "Tout supprimer"),
    (
        "delete_all_question",
        "Delete all {n} messages of this list?",
        "Supprimer les {n} messages de cette liste ?",
    ),
    ("delete_question", "Delete this message for good?", "Supprimer ce message pour de bon ?"),
    ("delete_questions", "Delete these {n} messages for good?", "Supprimer ces {n} messages pour de bon ?"),
    ("keep", "Keep it", "Le garder"),
    ("deleted", "Deleted", "Supprimé"),
    ("mark_unread", "Mark as unread", "Marquer comme non lu"),
    ("unread", "unread", "non lu"),
    ("unread_one", "{n} unread", "{n} non lu"),
    ("unread_many", "{n} unread", "{n} non lus"),
    ("count_one", "{n} message", "{n} message"),
    ("count_many", "{n} messages", "{n} messages"),
    ("attachment_one", "{n} attachment", "{n} pièce jointe"),
    ("attachment_many", "{n} attachments", "{n} pièces jointes"),
    ("new_one", "Show 1 new message", "Afficher 1 nouveau message"),
    ("new_many", "Show {n} new messages", "Afficher {n} nouveaux messages"),
    ("new_from", "New message", "Nouveau message"),
    (
        "gone",
        "This message is not here: it has been deleted, or its address is mistyped.",
        "Ce message n’est pas ici : il a été supprimé, ou son adresse est mal écrite.",
    ),
    ("lost", "No connection to the server; trying again.", "Serveur injoignable ; nouvel essai."),
    ("failed", "The server cannot do that now.", "Le serveur ne peut pas le faire maintenant."),
    (
        "empty",
        "No messages yet. Send one, and it appears here.",
        "Aucun message. Envoyez-en un : il apparaît ici.",
    ),
    (
        "empty_send",
        "No messages yet. Send one to {to} by SMTP at {at}, and it appears here.",
        "Aucun message. Envoyez-en un à {to} en SMTP sur {at} : il apparaît ici.",
    ),
    ("any_address", "any address", "n’importe quelle adresse"),
    (
        "no_mailbox",
        "You have no mailbox yet. The first message makes it, and appears here.",
        "Vous n’avez pas encore de boîte. Le premier message la crée et apparaît ici.",
    ),
    (
        "unreadable",
        "These mailboxes cannot be read now, the log of the server says why:",
        "Ces boîtes ne peuvent pas être lues maintenant, le journal du serveur dit pourquoi :",
    ),
    ("nothing_found", "No message matches.", "Aucun message ne correspond."),
    (
        "beyond_end",
        "This part of the list is empty: messages have been deleted.",
        "Cette partie de la liste est vide : des messages ont été supprimés.",
    ),
    ("newer", "Newer", "Plus récents"),
    ("older", "Older", "Plus anciens"),
    ("choose", "Choose a message to read it.", "Choisissez un message pour le lire."),
    (
        "keys",
        "Keys: j and k for the next and the previous message, Enter to open, Delete to delete, / to search.",
        "Touches : j et k pour le message suivant et le précédent, Entrée pour ouvrir, Suppr pour supprimer, / pour chercher.",
    ),
    ("back", "Back to the list", "Retour à la liste"),
    ("no_subject", "(no subject)", "(sans objet)"),
    ("no_sender", "(no sender)", "(sans expéditeur)"),
    ("from", "From", "De"),
    ("to", "To", "À"),
    ("cc", "Cc", "Copie à"),
    ("bcc", "Bcc", "Copie cachée à"),
    ("reply_to", "Reply to", "Répondre à"),
    ("date", "Date", "Date"),
    ("message", "Message", "Message"),
    ("forms", "Forms of the message", "Formes du message"),
    ("text", "Text", "Texte"),
    ("html", "HTML", "HTML"),
    (
        "html_note",
        "Scripts, forms and remote images are off.",
        "Scripts, formulaires et images distantes sont désactivés.",
    ),
    ("html_remote", "Load remote images", "Charger les images distantes"),
    ("html_alone", "In a page of its own", "Dans une page à part"),
    ("headers", "Headers", "En-têtes"),
    ("as_sent", "As sent", "Tels qu’envoyés"),
    ("parts", "Parts", "Parties"),
    ("no_parts", "This message has no files.", "Ce message n’a pas de fichiers."),
    ("file", "File", "Fichier"),
    ("kind", "Type", "Type"),
    ("size", "Size", "Taille"),
    ("source", "Source", "Source"),
    ("source_whole", "The whole source", "La source entière"),
    ("text_whole", "The whole text", "Le texte entier"),
    ("links", "Links", "Liens"),
    ("origin", "How it came here", "Son trajet"),
    ("envelope", "Envelope", "Enveloppe"),
    ("envelope_from", "Sender (MAIL FROM)", "Expéditeur (MAIL FROM)"),
    ("envelope_to", "Recipient (RCPT TO)", "Destinataire (RCPT TO)"),
    ("empty_sender", "empty: a bounce", "vide : un avis de non-remise"),
    ("unknown", "not in the header", "absent de l’en-tête"),
    ("queued", "Id in the reply", "Identifiant de la réponse"),
    ("arrived", "Delivered", "Remis"),
    ("size_stored", "Size of the file", "Taille du fichier"),
    ("size_wire", "Size on the wire", "Taille sur le réseau"),
    ("encryption", "Encryption", "Chiffrement"),
    ("with_tls", "TLS, as {p} says", "TLS, comme le dit {p}"),
    ("without_tls", "none, as {p} says", "aucun, comme le dit {p}"),
    ("session", "The session that brought it", "La session qui l’a apporté"),
    (
        "session_hidden",
        "Only an administrator sees the session: it names all recipients.",
        "Seul un administrateur voit la session : elle nomme tous les destinataires.",
    ),
    (
        "session_off",
        "Sessions are not recorded: transcripts = \"DIR\" in the configuration switches that on.",
        "Les sessions ne sont pas enregistrées : transcripts = \"DIR\" dans la configuration les enregistre.",
    ),
    (
        "session_api",
        "There is no transcript of it: it came by the web API (POST /api/v1/send), and only files of transcripts have \
         sessions of HTTP.",
        "Il n’y en a pas de transcription : il est arrivé par l’API web (POST /api/v1/send), et seuls les fichiers de \
         transcriptions contiennent les sessions HTTP.",
    ),
    (
        "session_gone",
        "There is no transcript of it: another program brought it, or it is too long ago.",
        "Il n’y en a pas de transcription : un autre programme l’a apporté, ou c’est trop ancien.",
    ),
    ("lines_cut", "The rest is too long for this page.", "La suite est trop longue pour cette page."),
    ("sessions", "Sessions", "Sessions"),
    ("skip_list", "Skip to the session", "Aller à la session"),
    ("newest", "Newest session", "Session la plus récente"),
    ("newer_session", "Show the newest session", "Afficher la session la plus récente"),
    ("open", "open", "ouverte"),
    ("delivered_one", "{n} message delivered", "{n} message remis"),
    ("delivered_many", "{n} messages delivered", "{n} messages remis"),
    ("retrieved_one", "{n} message read", "{n} message lu"),
    ("retrieved_many", "{n} messages read", "{n} messages lus"),
    ("refused", "refused: {c}", "refus : {c}"),
    ("open_one", "{n} open", "{n} ouverte"),
    ("open_many", "{n} open", "{n} ouvertes"),
    (
        "no_session",
        "No session yet. Connect to SMTP, IMAP or POP3, and each line appears here with its meaning.",
        "Aucune session. Connectez-vous en SMTP, en IMAP ou en POP3 : chaque ligne apparaît ici, expliquée.",
    ),
    (
        "session_forgotten",
        "This session is among the last ones no longer.",
        "Cette session ne fait plus partie des dernières.",
    ),
    ("transcripts_off", "Sessions are not recorded", "Les sessions ne sont pas enregistrées"),
    (
        "transcripts_on",
        "Add this line to the configuration, above its first section, and restart the server. Passwords are never recorded.",
        "Ajoutez cette ligne à la configuration, avant sa première section, et redémarrez le serveur. Les mots de passe ne sont jamais \
         enregistrés.",
    ),
    ("octets", "octets", "octets"),
    ("hops", "Hops, the first one on top", "Étapes, la première en haut"),
    ("no_hops", "No server has added a Received field.", "Aucun serveur n’a ajouté de champ Received."),
    ("server", "Server", "Serveur"),
    ("received_from", "Received from", "Reçu de"),
    ("protocol", "Protocol", "Protocole"),
    ("time", "Time", "Heure"),
    ("delay", "Delay", "Délai"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::page::{HTML, SESSIONS_HTML};

    #[test]
    fn the_words_are_those_of_the_templates() {
        for (at, (key, english, french)) in WORDS.iter().enumerate() {
            assert!(!english.is_empty() && !french.is_empty(), "{key}");
            assert!(WORDS[..at].iter().all(|(other, ..)| other != key), "{key} stands there twice");
        }
        let templates = [
            HTML,
            SESSIONS_HTML,
            include_str!("mod.rs"),
            include_str!("list.rs"),
            include_str!("message.rs"),
            include_str!("origin.rs"),
            include_str!("sessions.rs"),
            include_str!("transcript.rs"),
        ];
        for template in templates {
            for rest in template.split("{{:").skip(1) {
                let key = rest.split("}}").next().unwrap();
                assert!(WORDS.iter().any(|(known, ..)| *known == key), "no word {key}");
            }
        }
    }

    #[test]
    fn v105_a_size_in_a_list_is_the_nearest_and_not_the_next() {
        for (octets, shown) in [
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1025, "1.0 KiB"),
            (2000, "2.0 KiB"),
            (2600, "2.5 KiB"),
            (10_239, "10.0 KiB"),
            (10_300, "10 KiB"),
            (100_000, "98 KiB"),
            ((1 << 20) - 1, "1024 KiB"),
        ] {
            assert_eq!(size(Language::English, octets), shown, "{octets}");
        }
    }

    #[test]
    fn numbers_and_sizes_are_those_of_the_language() {
        assert_eq!(counted(Language::English, 0, "count_one", "count_many"), "0 messages");
        assert_eq!(counted(Language::French, 0, "count_one", "count_many"), "0 message");
        assert_eq!(counted(Language::French, 2, "unread_one", "unread_many"), "2 non lus");
        assert_eq!(size(Language::French, 5 << 20), "5,0 Mio");
        assert_eq!(size(Language::French, 1 << 20), "1,0 Mio");
        assert_eq!(size(Language::English, 700), "700 B");
        assert_eq!(size(Language::French, 700), "700 o");
    }
}
