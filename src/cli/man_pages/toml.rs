//! restante.toml(5), from the commented example configuration.

use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::titles::{DOCUMENTS, MANUAL};

/// The manual page of the configuration file.
pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["restante.toml", "5", "", concat!("restante ", env!("CARGO_PKG_VERSION")), MANUAL]);
    page.control("SH", ["NAME"]).text([roman("restante.toml - configuration of restante")]);
    page.control("SH", ["DESCRIPTION"]);
    for part in parts(EXAMPLE) {
        match part {
            Part::Section(name) => {
                page.control("SH", [name.as_str()]);
            }
            Part::Text(text) => {
                page.control("PP", []).text([roman(text)]);
            }
            Part::Keys(keys) => {
                page.control("PP", []).control("RS", ["4"]).control("nf", []);
                for (key, text) in keys {
                    let remark = text.map(|text| roman(format!("  # {text}")));
                    page.text([bold(key)].into_iter().chain(remark).collect::<Vec<Inline>>());
                }
                page.control("fi", []).control("RE", []);
            }
        }
    }
    page.control("SH", ["FILES"]);
    for (path, what) in FILES {
        page.control("TP", []).text([bold(*path)]).text([roman(*what)]);
    }
    page.control("SH", ["SEE ALSO"])
        .text([roman(format!("restante(1), restante-check(1). The whole manual is in {}.", DOCUMENTS))]);
    page.to_roff()
}

/// One part of the example.
#[derive(Debug, PartialEq)]
enum Part {
    /// The beginning of a section: `LISTEN`.
    Section(String),
    /// Text in comments.
    Text(String),
    /// Keys with their values, and the comments after them.
    Keys(Vec<(String, Option<String>)>),
}

/// Parses the example. Comments are text; lines that are configuration, or would be without `#`, are keys.
fn parts(example: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut open = false;
    let mut limits = false;
    for line in example.lines() {
        let bare = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
        let proposed = line.strip_prefix("# ").filter(|rest| is_key(rest) && (limits || rest.contains('"')));
        match (bare.or(proposed).unwrap_or(line), line.strip_prefix("# ")) {
            ("", _) => open = false,
            (name, _) if name.starts_with('[') => {
                let (name, remark) = key(name);
                limits = name.starts_with("[limits");
                let section = Part::Section(name.trim_matches(['[', ']']).to_uppercase());
                // A list of sections has one heading.
                if !parts.contains(&section) {
                    // The text just before a section describes it.
                    let about =
                        matches!(parts.last(), Some(Part::Text(_)) if open).then(|| parts.pop()).flatten();
                    parts.push(section);
                    parts.extend(about);
                }
                parts.push(Part::Keys(vec![(name, remark)]));
                open = true;
            }
            (text, Some(comment)) if text == line => match parts.last_mut() {
                Some(Part::Text(text)) if open => {
                    text.push(' ');
                    text.push_str(comment);
                }
                _ => {
                    parts.push(Part::Text(comment.to_owned()));
                    open = true;
                }
            },
            (text, _) => {
                // A limit in a comment is its default; another key there is an example.
                let is_example = text != line && !limits && is_key(text);
                let entry = if is_example { not_set(key(text)) } else { key(text) };
                match parts.last_mut() {
                    Some(Part::Keys(keys)) if open => keys.push(entry),
                    _ => {
                        parts.push(Part::Keys(vec![entry]));
                        open = true;
                    }
                }
            }
        }
    }
    parts
}

/// True for `name = value`.
fn is_key(line: &str) -> bool {
    line.split_once(" = ")
        .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// Splits a key with its value from the comment after it.
fn key(line: &str) -> (String, Option<String>) {
    match line.split_once(" #") {
        Some((key, remark)) => (key.trim_end().to_owned(), Some(remark.trim().to_owned())),
        None => (line.to_owned(), None),
    }
}

/// Marks a key that is an example, and no default.
fn not_set((key, remark): (String, Option<String>)) -> (String, Option<String>) {
    let remark = remark.map_or_else(String::new, |remark| format!(": {remark}"));
    (key, Some(format!("not set{remark}")))
}

const EXAMPLE: &str = include_str!("../../../examples/restante.toml");
const FILES: &[(&str, &str)] = &[
    ("/etc/restante/restante.toml", "The configuration of the service."),
    ("/var/lib/restante", "Mail and accounts of the service."),
    ("/usr/share/doc/restante/examples", "This example, systemd units and more."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u51_comments_are_text_and_keys_are_keys_and_an_example_is_no_default() {
        let example = "# Intro,\n# two lines.\n\n# Our name.\nname = \"x\"  # a remark\n#other = 1\n\n# All limits.\n[limits.smtp]  # SMTP\n# a = 5   # first\n";
        let keys = |keys: &[(&str, Option<&str>)]| {
            Part::Keys(keys.iter().map(|(key, text)| ((*key).into(), text.map(Into::into))).collect())
        };
        assert_eq!(
            parts(example),
            [
                Part::Text("Intro, two lines.".into()),
                Part::Text("Our name.".into()),
                keys(&[("name = \"x\"", Some("a remark")), ("other = 1", Some("not set"))]),
                Part::Section("LIMITS.SMTP".into()),
                Part::Text("All limits.".into()),
                keys(&[("[limits.smtp]", Some("SMTP")), ("a = 5", Some("first"))]),
            ]
        );
    }

    #[test]
    fn every_key_of_the_example_is_on_the_page() {
        let page = page();
        for key in [
            "hostname",
            "domains",
            "shared_spool",
            "auth_allow_cleartext",
            "certificate",
            "expire",
            "tmp_max_age",
        ] {
            let found = page.lines().any(|line| line.starts_with(&format!("\\fB{key} =")));
            assert!(found, "{key}");
        }
    }
}
