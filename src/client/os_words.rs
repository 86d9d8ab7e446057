//! The reasons of the operating system, in the language of the user.
//!
//! The standard library has them in English alone, whatever the locale.

use std::io;

use rustix::io::Errno;

use crate::language::Language;

impl Language {
    /// The reason of an error of the operating system. One without words in this language keeps those of the library.
    pub(crate) fn reason(self, error: &io::Error) -> String {
        let french = (self == Self::French).then(|| french_reason(error)).flatten();
        french.unwrap_or_else(|| error.to_string())
    }
}

fn french_reason(error: &io::Error) -> Option<String> {
    if let Some(number) = error.raw_os_error() {
        let known = REASONS.iter().find(|(errno, _)| errno.raw_os_error() == number);
        return known.map(|(_, words)| format!("{words} (erreur {number} du système)"));
    }
    // The library's own errors have no number.
    let words = match error.kind() {
        io::ErrorKind::TimedOut => "pas de réponse à temps",
        io::ErrorKind::NotFound => "le nom n'a pas d'adresse",
        _ if error.to_string().starts_with(LOOKUP) => "le nom est inconnu du DNS, ou le DNS est injoignable",
        _ => return None,
    };
    Some(words.into())
}

/// The beginning of the library's words for a failure of getaddrinfo.
const LOOKUP: &str = "failed to lookup address information";

const REASONS: &[(Errno, &str)] = &[
    (Errno::NOENT, "ce fichier ou ce répertoire n'existe pas"),
    (Errno::ACCESS, "les droits ne le permettent pas"),
    (Errno::PERM, "cette opération n'est pas permise"),
    (Errno::ISDIR, "c'est un répertoire"),
    (Errno::NOTDIR, "ce n'est pas un répertoire"),
    (Errno::EXIST, "ce fichier existe déjà"),
    (Errno::LOOP, "trop de liens symboliques"),
    (Errno::NAMETOOLONG, "le nom est trop long"),
    (Errno::NOSPC, "il n'y a plus de place sur le disque"),
    (Errno::DQUOT, "le quota de disque est atteint"),
    (Errno::ROFS, "le disque est en lecture seule"),
    (Errno::IO, "erreur d'entrée ou de sortie du disque"),
    (Errno::MFILE, "trop de fichiers sont ouverts"),
    (Errno::INVAL, "argument non valable"),
    (Errno::CONNREFUSED, "connexion refusée"),
    (Errno::CONNRESET, "connexion coupée par l'autre côté"),
    (Errno::TIMEDOUT, "pas de réponse à temps"),
    (Errno::HOSTUNREACH, "aucune route vers cette machine"),
    (Errno::NETUNREACH, "le réseau est inaccessible"),
    (Errno::ADDRNOTAVAIL, "cette adresse ne peut pas servir ici"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u99_a_reason_of_the_system_is_in_the_language_of_the_user() {
        let absent = || io::Error::from(Errno::NOENT);
        assert_eq!(Language::English.reason(&absent()), absent().to_string());
        let told = Language::French.reason(&absent());
        assert_eq!(told, "ce fichier ou ce répertoire n'existe pas (erreur 2 du système)");
        let lookup = io::Error::other(format!("{LOOKUP}: Name or service not known"));
        assert!(Language::French.reason(&lookup).contains("DNS"));
        let other = io::Error::from(Errno::XDEV);
        assert_eq!(Language::French.reason(&other), other.to_string());
    }
}
