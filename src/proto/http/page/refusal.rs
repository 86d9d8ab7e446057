//! The page that a person reads instead of one that is refused: the reason, and a way back. Programs get JSON.

use crate::{
    language::Language,
    proto::http::status::{Refusal, Status},
};

/// The page of a refusal. Nothing in it comes from the request.
pub(crate) fn refusal_page(refusal: &Refusal, language: Language) -> String {
    let Status(code, _) = refusal.status;
    let row = TITLES.iter().find(|(known, ..)| *known == code || (*known == 0));
    let (title, sentence, back) = match (row, language) {
        (Some((_, _, title, sentence)), Language::French) => (*title, *sentence, "Ouvrir les boîtes"),
        (Some((_, title, ..)), Language::English) => (*title, "", "Open the inboxes"),
        (None, _) => ("", "", "/"),
    };
    let (sentence, class) = match sentence {
        "" => (String::new(), ""),
        sentence => (format!("<p>{sentence}</p>\n"), " class=\"quiet\""),
    };
    // It may repeat a word of the client.
    let why = refusal.why.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · restante</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/assets/page.css\">\n</head>\n\
         <body class=\"refusal\">\n<main>\n<p class=\"code\">{code}</p>\n<h1>{title}</h1>\n{sentence}\
         <p lang=\"en\"{class}>{why}.</p>\n<p><a href=\"/\">{back}</a></p>\n</main>\n</body>\n</html>\n",
        language.tag(),
    )
}

/// A status with its title in English and French, and a sentence in French, because reasons are in English. 0 stands for
/// any other.
const TITLES: &[(u16, &str, &str, &str)] = &[
    (
        401,
        "Log in to read mail",
        "Connexion nécessaire",
        "Donnez le nom et le mot de passe d’un compte : rechargez la page.",
    ),
    (
        403,
        "You may not open this",
        "Accès refusé",
        "Le serveur refuse cette demande. La raison, en anglais :",
    ),
    (
        404,
        "There is nothing here",
        "Rien à cette adresse",
        "Le message, la boîte ou la page n’existe pas, ou plus.",
    ),
    (405, "This is not a page to open", "Demande impossible", "Cette adresse ne s’ouvre pas ainsi."),
    (
        421,
        "This server has another name",
        "Autre nom de serveur",
        "Ce serveur ne porte pas ce nom. Le remède, en anglais :",
    ),
    (429, "Too many attempts", "Trop d’essais", "Attendez un moment avant de réessayer."),
    (500, "Something went wrong", "Une erreur est survenue", "Réessayez."),
    (503, "Not now", "Pas maintenant", "Réessayez dans un instant."),
    (
        0,
        "The request is refused",
        "Demande refusée",
        "Le serveur refuse cette demande. La raison, en anglais :",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v62_a_refusal_is_a_page_with_its_reason_in_the_language_of_the_reader() {
        let no_route = Refusal::new(Status::NOT_FOUND, "There is nothing at this path");
        let english = refusal_page(&no_route, Language::English);
        assert!(english.contains("<html lang=\"en\">") && english.contains("<h1>There is nothing here</h1>"));
        assert!(english.contains("There is nothing at this path.") && !english.contains("n’existe"));
        let french = refusal_page(&no_route, Language::French);
        assert!(french.contains("<html lang=\"fr\">") && french.contains("n’existe pas"), "{french}");
        let other = refusal_page(&Refusal::new(Status::CONFLICT, "x"), Language::English);
        assert!(other.contains("The request is refused"), "{other}");
        assert!(!english.contains("<script") && !english.contains("style="));
    }
}
