//! The mistakes in a search, in both languages.

use crate::{language::Language, search::Advice};

/// The remedy of a mistake.
pub(super) fn advice(language: Language, advice: Advice) -> String {
    match language {
        Language::English => advice.to_string(),
        Language::French => french(advice),
    }
}

fn french(advice: Advice) -> String {
    let text = match advice {
        Advice::Is => {
            "écrivez is:read ou is:unread (aucun message n’a d’étiquette : is:tagged n’en trouve aucun)"
        }
        Advice::IsRead => "vouliez-vous dire is:read ?",
        Advice::IsUnread => "vouliez-vous dire is:unread ?",
        Advice::Has => "écrivez has:attachment ou has:inline",
        Advice::Size => "écrivez une taille comme 2000, 10k ou 1.5m",
        Advice::Date => "écrivez une date comme 2026-11-20, ou \"2026-11-20 10:00\" entre guillemets droits",
        Advice::Value => "écrivez un mot après les deux-points",
        Advice::DidYouMean(keyword) => {
            return format!(
                "vouliez-vous dire {keyword}: ? Pour chercher le texte, mettez-le entre guillemets droits"
            );
        }
        Advice::Signs => "écrivez un seul - ou ! devant un mot à exclure",
        Advice::Colons => {
            "écrivez un seul deux-points après le mot-clé ; pour chercher un deux-points, mettez-le entre guillemets droits"
        }
        Advice::NoWord => "écrivez un mot de lettres ou de chiffres",
        Advice::OpenQuotation => "un guillemet droit n’est pas fermé",
        Advice::TooManyWords => "écrivez 100 mots au plus",
    };
    text.to_owned()
}
