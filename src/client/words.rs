//! Everything that `restante client` and `restante send` say, in every language they speak.
//!
//! The rule: one table, a column for each language; `{0}`, `{1}` stand for what is filled in.

use std::fmt::Display;

/// A language of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English, wherever nothing else is asked for.
    #[default]
    English,
    /// French.
    French,
}

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

    /// Its tag (RFC 5646).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    english: &'static str,
    french: &'static str,
}

impl Words {
    /// A row with both columns.
    pub const fn new(english: &'static str, french: &'static str) -> Self {
        Self { english, french }
    }

    /// The words in a language.
    pub fn text(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::French => self.french,
        }
    }

    /// The same with values in the places of `{0}`, `{1}`; what is in a value is never a place.
    pub fn with(self, language: Language, values: &[&dyn Display]) -> String {
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

/// The table: a name, English, French.
macro_rules! table {
    ($($name:ident: $english:literal, $french:literal;)*) => {
        $(pub(crate) const $name: Words = Words::new($english, $french);)*
        #[cfg(test)]
        const TABLE: &[(&str, Words)] = &[$((stringify!($name), $name)),*];
    };
}

table! {
    // What went wrong.
    UNREACHABLE:
        "cannot connect to {0}: {1}. Is the server running, and is that its port?",
        "connexion à {0} impossible : {1}. Le serveur est-il en marche, et est-ce le bon port ?";
    LOST:
        "the connection to {0} was closed. Nothing that was not confirmed has happened; connect again.",
        "la connexion à {0} a été coupée. Rien de ce qui n'était pas confirmé n'a eu lieu ; reconnectez-vous.";
    TOO_SLOW:
        "no reply from {0} within {1} seconds. Try again later.",
        "pas de réponse de {0} en {1} secondes. Réessayez plus tard.";
    BABBLE:
        "what answers at {0} does not speak this protocol as it should. Check host, port and --tls.",
        "ce qui répond à {0} ne parle pas ce protocole comme il faut. Vérifiez l'hôte, le port et --tls.";
    NO_TRUST:
        "no TLS with {0}: {1}. Name the certificate to trust with --cacert, or check the port.",
        "pas de TLS avec {0} : {1}. Indiquez le certificat de confiance avec --cacert, ou vérifiez le port.";
    NO_TLS:
        "{0} does not offer TLS here. Nothing secret was sent; use --tls implicit on another port, or --tls none.",
        "{0} n'offre pas TLS ici. Rien de secret n'a été envoyé ; essayez --tls implicit sur un autre port, ou --tls none.";
    INJECTED:
        "somebody between us and {0} spoke before TLS began. Nothing was sent; try another network.",
        "quelqu'un entre nous et {0} a parlé avant le début de TLS. Rien n'a été envoyé ; changez de réseau.";
    NO_LOGIN:
        "{0} offers no login that is known here (PLAIN, LOGIN). Try the submission port, or --tls starttls.",
        "{0} n'offre aucune authentification connue ici (PLAIN, LOGIN). Essayez le port de soumission, ou --tls starttls.";
    TOO_BIG:
        "the message has {0} octets, and {1} is the limit. Make it smaller.",
        "le message fait {0} octets, et la limite est {1}. Réduisez-le.";
    NEEDS:
        "the message needs {0}, which the server does not announce. Use plain ASCII, or another server.",
        "le message a besoin de {0}, que le serveur n'annonce pas. Restez en ASCII, ou changez de serveur.";
    EXPOSED:
        "the password would go to {0} in clear text, for everybody on the way to read. Add --tls starttls or --tls implicit.",
        "le mot de passe irait à {0} en clair, lisible par tous en chemin. Ajoutez --tls starttls ou --tls implicit.";
    // Questions.
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
    // Replies.
    REPLY_DONE: "{0}: accepted.", "{0} : accepté.";
    REPLY_GO_ON: "{0}: the server waits for more.", "{0} : le serveur attend la suite.";
    REPLY_LATER:
        "{0} Not now: the same may work later.",
        "{0} Pas maintenant : réessayez plus tard, sans rien changer.";
    REPLY_REFUSED:
        "{0} Refused: it will not work before something is changed.",
        "{0} Refusé : cela ne marchera pas sans changer quelque chose.";
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
    fn values_are_never_places() {
        let words = Words::new("{1} and {0}.", "{0} et {1}.");
        assert_eq!(words.with(Language::English, &[&"{1}", &2]), "2 and {1}.");
        assert_eq!(words.with(Language::French, &[&"{1}", &2]), "{1} et 2.");
        assert_eq!(Words::new("{0}", "").with(Language::English, &[]), "");
    }
}
