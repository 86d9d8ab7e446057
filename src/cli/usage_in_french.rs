//! Mistakes in the options of `restante client` and `restante send`, in French. The parser of the command line has its words
//! in English alone.

use std::{error::Error as _, ffi::OsString};

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::language::Language;

/// The mistake in French, with a tip, if the locale asks for it and the command is one that speaks French.
pub(super) fn in_french(
    error: &Error,
    tip: Option<&str>,
    words: impl IntoIterator<Item = OsString>,
) -> Option<String> {
    let command = words.into_iter().nth(1)?;
    let speaks_french = ["client", "send"].iter().any(|name| command == *name);
    if !speaks_french || Language::of_environment() != Language::French {
        return None;
    }
    let told = translated(error)?;
    let help =
        format!("Pour toutes les options (en anglais), tapez `restante {} --help`.", command.display());
    let tip = tip.map(|tip| format!("\n\n  conseil : {tip}")).unwrap_or_default();
    Some(format!("erreur : {told}{tip}\n\n{help}\n"))
}

/// The mistake and the advice. `None` for a text that was asked for, such as the help.
fn translated(error: &Error) -> Option<String> {
    let of = |kind| error.get(kind).map(in_words).filter(|words| !words.is_empty());
    let option = of(ContextKind::InvalidArg).unwrap_or_default();
    let value = of(ContextKind::InvalidValue);
    let told = match error.kind() {
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            format!("la valeur {} ne convient pas pour {option} : {why}", value.unwrap_or_default())
        }
        ErrorKind::InvalidValue => match value {
            Some(value) => format!("la valeur {value} ne convient pas pour {option}"),
            None => format!("il manque une valeur pour {option}"),
        },
        ErrorKind::NoEquals => format!("il faut un signe = après {option}"),
        ErrorKind::UnknownArgument => format!("l'argument {option} est inconnu"),
        ErrorKind::ArgumentConflict => match of(ContextKind::PriorArg) {
            Some(prior) if prior == option => format!("l'argument {option} ne peut être donné qu'une fois"),
            Some(prior) => format!("l'argument {option} est incompatible avec {prior}"),
            None => format!("l'argument {option} est incompatible avec les autres"),
        },
        ErrorKind::MissingRequiredArgument => format!("il manque {option}"),
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            format!("le nombre de valeurs est incorrect pour {option}")
        }
        ErrorKind::InvalidUtf8 => "un argument n'est pas du texte UTF-8".into(),
        _ => return None,
    };
    let values = of(ContextKind::ValidValue).map(|known| format!("\n  [valeurs possibles : {known}]"));
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedValue].into_iter().find_map(of);
    let near = near.map(|near| format!("\n\n  conseil : vouliez-vous dire {near} ?"));
    Some(format!("{told}{}{}", values.unwrap_or_default(), near.unwrap_or_default()))
}

/// One word or several, each in quotation marks.
fn in_words(value: &ContextValue) -> String {
    let quoted = |word: &String| if word.is_empty() { String::new() } else { format!("'{word}'") };
    match value {
        ContextValue::String(word) => quoted(word),
        ContextValue::Strings(words) => words.iter().map(quoted).collect::<Vec<_>>().join(", "),
        ContextValue::StyledStrs(words) => {
            words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        ContextValue::StyledStr(words) => words.to_string(),
        _ => String::new(),
    }
}
