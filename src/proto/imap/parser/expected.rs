//! The parts of the grammar that a client can miss, in the words of BAD.

use crate::language::{Language, LocalizedText};

/// The part of the grammar that the client did not follow. Only the table below has values, so that each has a text in every
/// language of LANGUAGE (RFC 5255).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected(LocalizedText);

impl Expected {
    /// The words for it, which follow "Expected".
    pub(in crate::proto::imap) fn text(self, language: Language) -> &'static str {
        self.0.text(language)
    }
}

/// Defines a constant for each row, and for the tests the table of them.
macro_rules! table {
    ($($name:ident: $english:literal, $french:literal;)*) => {
        $(pub(in crate::proto::imap) const $name: Expected = Expected(LocalizedText::new($english, $french));)*

        #[cfg(test)]
        const TABLE: &[Expected] = &[$($name),*];
    };
}

table! {
    // Every command
    TAG: "a tag", "une étiquette";
    COMMAND: "a command", "une commande";
    COMMAND_AFTER_UID: "a command after UID", "une commande après UID";
    ARGUMENT: "a blank and the next argument", "un espace et l'argument suivant";
    END_OF_LINE: "the end of the line", "la fin de la ligne";
    SHORTER_LIST: "a shorter list", "une liste plus courte";

    // Strings
    ASCII: "ASCII, or a literal (in SEARCH after CHARSET UTF-8)", "de l'ASCII, ou un littéral (dans SEARCH après CHARSET UTF-8)";
    END_OF_QUOTED: "the end of a quoted string", "la fin d'une chaîne entre guillemets";
    QUOTED_SPECIAL: "a quotation mark or backslash after a backslash", "un guillemet ou une barre oblique inverse après une autre";
    LITERAL_AT_END: "a literal at the end of the line", "un littéral à la fin de la ligne";
    LITERAL_WITHOUT_NUL: "a literal without NUL", "un littéral sans NUL";

    // Arguments of several commands
    NUMBERS: "a set of numbers like 1:3,7", "un ensemble de numéros comme 1:3,7";
    MAILBOX: "the name of a mailbox", "le nom d'une boîte";
    STATUS_ITEMS: "items of STATUS in parentheses", "des éléments de STATUS entre parenthèses";
    STATUS_ITEM: "an item of STATUS", "un élément de STATUS";
    KNOWN_STATUS_ITEM: "an item of STATUS that this server has", "un élément de STATUS que ce serveur connaît";
    FLAGS: "flags in parentheses", "des indicateurs entre parenthèses";
    FLAG: "a flag", "un indicateur";
    KNOWN_FLAG: "a flag that this server has", "un indicateur que ce serveur connaît";
    SHORT_KEYWORD: "keywords of at most 100 characters of ASCII", "des mots-clés d'au plus 100 caractères ASCII";

    // Sessions
    ID_FIELDS: "NIL, or fields and values in parentheses", "NIL, ou des champs et leurs valeurs entre parenthèses";
    ID_FIELD: "the name of a field as a string", "le nom d'un champ, comme chaîne";
    ID_VALUE: "the value of a field: a string or NIL", "la valeur d'un champ : une chaîne ou NIL";
    MECHANISM: "a mechanism", "un mécanisme";
    USER_NAME: "a user name", "un nom d'utilisateur";
    PASSWORD: "a password", "un mot de passe";
    LANGUAGE_TAG: "the tag of a language", "l'étiquette d'une langue";
    EXTENSION: "the name of an extension", "le nom d'une extension";

    // Mailboxes
    PARAMETERS: "parameters in parentheses", "des paramètres entre parenthèses";
    PARAMETER: "a parameter", "un paramètre";
    ONLY_CONDSTORE: "CONDSTORE as the only parameter", "CONDSTORE comme seul paramètre";
    ONE_SPECIAL_USE: "(USE (\\Use)) with one special use", "(USE (\\Use)) avec un seul usage spécial";
    QUOTA_ROOT: "a quota root", "une racine de quota";
    SELECTION_OPTIONS: "selection options", "des options de sélection";
    SELECTION_OPTION: "a selection option", "une option de sélection";
    KNOWN_SELECTION_OPTION: "a selection option that this server has", "une option de sélection que ce serveur connaît";
    BESIDE_RECURSIVEMATCH: "SUBSCRIBED or SPECIAL-USE beside RECURSIVEMATCH", "SUBSCRIBED ou SPECIAL-USE avec RECURSIVEMATCH";
    REFERENCE: "a reference name, often \"\"", "un nom de référence, souvent \"\"";
    PATTERNS: "patterns", "des motifs";
    PATTERN: "a pattern of mailbox names", "un motif de noms de boîtes";
    RETURN: "RETURN and options in parentheses", "RETURN et des options entre parenthèses";
    RETURN_OPTION: "a return option", "une option de RETURN";
    KNOWN_RETURN_OPTION: "a return option that this server has", "une option de RETURN que ce serveur connaît";

    // APPEND
    DATE_TIME: "a date like \"17-Jul-1996 02:44:25 -0700\"", "une date comme \"17-Jul-1996 02:44:25 -0700\"";
    MESSAGE: "a message as a literal", "un message sous forme de littéral";
    MESSAGE_WITHOUT_NUL: "a message without NUL", "un message sans NUL";
    END_AFTER_MESSAGE: "the end of the line after the message", "la fin de la ligne après le message";
    ONE_MESSAGE: "one message", "un seul message";

    // FETCH and STORE
    FETCH_ITEMS: "items", "des éléments";
    FETCH_ITEM: "an item to fetch", "un élément à lire";
    KNOWN_FETCH_ITEM: "an item to fetch that this server has", "un élément à lire que ce serveur connaît";
    ONE_LIST: "several items in one pair of parentheses, as in (FLAGS UID)", "plusieurs éléments dans une seule paire de parenthèses, comme (FLAGS UID)";
    CHANGEDSINCE: "(CHANGEDSINCE number)", "(CHANGEDSINCE numéro)";
    SECTION: "a section in brackets", "une section entre crochets";
    SECTION_END: "the end of the section: ]", "la fin de la section : ]";
    KNOWN_SECTION: "a section that messages have", "une section qu'ont les messages";
    PART: "the number of a part", "le numéro d'une partie";
    PARTIAL: "<first.count> with numbers of octets", "<début.nombre> en octets";
    PARTIAL_COUNT: "a number of octets above 0", "un nombre d'octets supérieur à 0";
    HEADER_FIELDS: "names of header fields", "des noms de champs d'en-tête";
    HEADER_FIELD: "the name of a header field", "le nom d'un champ d'en-tête";
    STORE_ITEM: "FLAGS, +FLAGS or -FLAGS", "FLAGS, +FLAGS ou -FLAGS";
    UNCHANGEDSINCE: "(UNCHANGEDSINCE number)", "(UNCHANGEDSINCE numéro)";

    // SEARCH
    RESULTS: "results in parentheses", "des résultats entre parenthèses";
    RESULT: "a result", "un résultat";
    KNOWN_RESULT: "MIN, MAX, ALL or COUNT", "MIN, MAX, ALL ou COUNT";
    CHARSET: "a character set", "un jeu de caractères";
    CONDITION: "a condition", "une condition";
    KNOWN_CONDITION: "a condition that this server has", "une condition que ce serveur connaît";
    QUOTED_TEXT: "a condition that this server has, or quotation marks around a text with a blank", "une condition que ce serveur connaît, ou des guillemets autour d'un texte avec un espace";
    SMALLER_CONDITION: "a smaller condition", "une condition plus petite";
    CLOSING_PARENTHESIS: "a closing parenthesis", "une parenthèse fermante";
    SEARCH_TEXT: "a text to search for", "un texte à chercher";
    KEYWORD: "a keyword", "un mot-clé";
    OCTETS: "a number of octets", "un nombre d'octets";
    FLAG_NAME: "the name of a flag", "le nom d'un indicateur";
    FLAG_SCOPE: "priv, shared or all", "priv, shared ou all";
    MODSEQ: "a modification sequence", "un numéro de modification";
    DAY: "a day like 1-Feb-1994", "un jour comme 1-Feb-1994";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn y201_every_part_of_the_grammar_has_words_of_its_own_in_each_language() {
        for language in [Language::English, Language::French] {
            let texts: HashSet<&str> = TABLE.iter().map(|expected| expected.text(language)).collect();
            assert_eq!(texts.len(), TABLE.len(), "{language:?}");
            assert!(texts.iter().all(|text| !text.is_empty()), "{language:?}");
        }
        for expected in TABLE {
            let [english, french] =
                [Language::English, Language::French].map(|language| expected.text(language));
            assert_ne!(english, french);
            let is_english =
                |word: &str| ["the", "of", "and", "or", "in", "with", "that", "number"].contains(&word);
            assert!(!french.split(' ').any(is_english), "{french}");
        }
    }
}
