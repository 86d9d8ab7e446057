//! Mistakes in a configuration, with their place and their message.
//!
//! The rule: a mistake is reported with file, line, column, key and accepted form.

use std::{
    env, fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{choices::in_plain_choices, renamed};
use crate::{
    file_rights::{as_another_user, way_to_read},
    limits::in_plain_types,
};

/// The reason why a configuration cannot be used. Prints as a sentence for the operator.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A mistake in the file.
    Wrong {
        /// The configuration file, as the command line named it.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
        /// Key with its sections, like `limits.smtp.max_message_size`; empty if the file is not TOML.
        key: String,
        /// The mistake, and the accepted form.
        why: String,
    },
    /// An argument of `restante dev` is not possible.
    Development(String),
}

impl Error {
    /// The sentence for the log of a server, which cannot run as another user: with the command that lets it read the file.
    pub(crate) fn for_server(&self) -> String {
        match self {
            Self::Unreadable(path, error) if as_another_user(error).is_some() => {
                let way = way_to_read(path).map(|way| format!(": as root, {way}")).unwrap_or_default();
                format!("cannot read {}: {error}{way}", path.display())
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "cannot read {}: {error}", path.display())?;
                if error.kind() == io::ErrorKind::NotFound {
                    f.write_str(": name the configuration with --config FILE")?;
                }
                as_another_user(error).map_or(Ok(()), |advice| write!(f, ": {advice}"))
            }
            Self::Wrong { path, line, column, key, why } => {
                write!(f, "{}, line {line}, column {column}: ", path.display())?;
                if !key.is_empty() {
                    write!(f, "{key}: ")?;
                }
                f.write_str(why)
            }
            Self::Development(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            _ => None,
        }
    }
}

/// The text of a configuration, to find the place of a mistake that shows up later.
#[derive(Debug, Clone, Default)]
pub struct ConfigText {
    /// `None` if the configuration does not come from a file.
    path: Option<PathBuf>,
    text: String,
    renamed: Vec<String>,
}

impl ConfigText {
    pub(super) fn of_file(path: &Path, text: String, renamed: Vec<String>) -> Self {
        Self { path: Some(path.to_owned()), text, renamed }
    }

    /// A sentence for each key or value that the file has under the name of an earlier version.
    pub fn renamed(&self) -> &[String] {
        &self.renamed
    }

    /// Whether the value of a key is a credential that a service manager would pass, and this process has none.
    pub fn is_credential(&self, key: &str) -> bool {
        self.credential(key).is_some() && env::var_os(&CREDENTIALS[1..]).is_none()
    }

    /// The name of the credential that the value of a key is.
    pub fn credential(&self, key: &str) -> Option<PathBuf> {
        let document = parsed(&self.text).ok()?;
        let path = Path::new(find(&document, key)?.get_ref().as_str()?);
        path.strip_prefix(CREDENTIALS).ok().map(Path::to_owned)
    }

    /// The configuration file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The error for a wrong value. Elements of a list are written by number: `listen.0.address`.
    pub fn error_at(&self, key: &str, why: impl Into<String>) -> Error {
        let why = why.into();
        match &self.path {
            Some(path) => ConfigError::at(key, why).locate(path, &self.text),
            None => Error::Development(why),
        }
    }
}

/// A mistake in the file, with its place and its message.
pub(super) struct ConfigError {
    at: Location,
    pub(super) why: String,
}

enum Location {
    /// The value of a key, with elements of a list by number: `listen.0.address`.
    Key(String),
    /// A byte range of the text.
    Text(Range<usize>),
}

impl ConfigError {
    pub(super) fn at(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: Location::Key(key.into()), why: why.into() }
    }

    pub(super) fn in_text(span: Range<usize>, why: impl Into<String>) -> Self {
        Self { at: Location::Text(span), why: why.into() }
    }

    /// Determines line, column and key.
    pub(super) fn locate(self, path: &Path, text: &str) -> Error {
        let document = parsed(text);
        let upto = |offset| text.get(..offset).unwrap_or(text);
        let mut why = self.why;
        let (offset, key) = match (self.at, document) {
            (Location::Key(key), Ok(document)) => {
                let key = path_in_file(&document, key);
                (start_of(&document, &key), key)
            }
            (Location::Key(key), Err(_)) => (0, key),
            (Location::Text(span), Ok(document)) => {
                (span.start, key_at(&document, span.start).unwrap_or_default())
            }
            (Location::Text(span), Err(_)) => {
                let line = text.lines().nth(upto(span.start).matches('\n').count()).unwrap_or_default();
                // The second section with one pair of brackets too few is a mistake of syntax.
                let header = line.trim().trim_matches(['[', ']']);
                // `connections` in [limits] has become the name of a section.
                let renamed = renamed::KEYS.iter().find(|(old, _)| *old == header);
                why = match (header, renamed, with_quotes(line)) {
                    _ if has_curly_quotes(line) => {
                        format!("curly quotation marks enclose no text: write \" in place of each: {line}")
                    }
                    ("listen", _, _) => format!("{why}: {LISTENERS_ARE_A_LIST}"),
                    (_, _, Some(quoted)) => format!("a text stands in quotes: write it as {quoted}"),
                    (_, Some((old, new)), _) => {
                        format!(
                            "{why}: {line}: the key {old} is named {} now, move it there",
                            new.join(" and ")
                        )
                    }
                    _ => format!("{why}: {line}"),
                };
                (span.start, String::new())
            }
        };
        let before = upto(offset);
        Error::Wrong {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            key: without_indices(&key),
            why,
        }
    }
}

impl From<toml::de::Error> for ConfigError {
    fn from(error: toml::de::Error) -> Self {
        // Terms of Rust are replaced by terms of the file.
        let why = in_plain_choices(error.message());
        let why = in_plain_types(&why.trim_end().replace('\n', ", "));
        let why = why.replace("wanted string or table", "expected a text in quotes");
        let why = if why.starts_with("missing field") { format!("{why}; {ALL_KEYS}") } else { why };
        Self { at: Location::Text(error.span().unwrap_or_default()), why }
    }
}

/// A value of the file with its position.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

fn parsed(text: &str) -> Result<Node<'_>, toml::de::Error> {
    DeTable::parse(text).map(|table| Node::new(table.span(), DeValue::Table(table.into_inner())))
}

fn parts<'a>(node: &'a Node<'_>) -> Vec<(String, &'a Node<'a>)> {
    match node.get_ref() {
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), value)).collect()
        }
        DeValue::Array(array) => array.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    }
}

/// The line of a key whose value is a text without quotes, such as `user = nobody`, with the quotes.
fn with_quotes(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = value.split(" #").next()?.trim();
    let is_yes_or_no = ["true", "false", "yes", "no"].iter().any(|word| word.eq_ignore_ascii_case(value));
    if value.is_empty() || is_yes_or_no || value.contains(['"', '\'', '[', ']', '{', '}', ',', '=', '\\']) {
        return None;
    }
    let quoted = format!("{} = \"{value}\"", key.trim());
    let is_good = |line: &str| line.parse::<toml::Table>().is_ok();
    (is_good(&quoted) && !is_good(&format!("x = {value}"))).then_some(quoted)
}

/// Whether a value in the line begins or ends with a quotation mark of an office program.
fn has_curly_quotes(line: &str) -> bool {
    let mut values = line.split(['=', ',', '[', ']', '{', '}']).map(str::trim);
    values.any(|value| value.starts_with(CURLY_QUOTES) || value.ends_with(CURLY_QUOTES))
}

/// The value of a key.
pub(super) fn find<'a>(document: &'a Node<'a>, key: &str) -> Option<&'a Node<'a>> {
    key.split('.').try_fold(document, |node, name| {
        parts(node).into_iter().find_map(|(part, value)| (part == name).then_some(value))
    })
}

/// The path of a key in the file: an old one, if the file has the key under its old name.
fn path_in_file(document: &Node<'_>, key: String) -> String {
    if find(document, &key).is_some() {
        return key;
    }
    let has = |old: &String| find(document, old).is_some_and(|value| !value.get_ref().is_table());
    let old = renamed::old_paths(&key).find(has);
    old.unwrap_or(key)
}

/// The position of a key's value, or of the nearest part around it.
fn start_of(document: &Node<'_>, key: &str) -> usize {
    let mut node = document;
    for name in key.split('.') {
        match parts(node).into_iter().find(|(part, _)| part == name) {
            Some((_, part)) => node = part,
            None => break,
        }
    }
    node.span().start
}

/// The key whose value, or the section whose header, is at an offset.
fn key_at(node: &Node<'_>, offset: usize) -> Option<String> {
    parts(node).into_iter().find_map(|(name, part)| match key_at(part, offset) {
        Some(inner) => Some(format!("{name}.{inner}")),
        None => part.span().contains(&offset).then_some(name),
    })
}

/// `listen.0.address` without the numbers; the line tells which one it is.
fn without_indices(key: &str) -> String {
    let names: Vec<_> =
        key.split('.').filter(|name| !name.starts_with(|c: char| c.is_ascii_digit())).collect();
    names.join(".")
}

const CURLY_QUOTES: [char; 6] = ['“', '”', '„', '«', '»', '‘'];

/// The only section that stands once for each of its objects.
pub(super) const LISTENERS: &str = "listen";

pub(super) const LISTENERS_ARE_A_LIST: &str =
    "write [[listen]], in double brackets: one section for each listener";

/// The way to a key that the reader does not know.
pub(super) const ALL_KEYS: &str = "restante.toml(5) and examples/restante.toml list all keys";

/// The directory of credentials in the paths of a configuration: a variable of the environment.
pub(super) const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

#[cfg(test)]
mod tests {
    use super::{has_curly_quotes, with_quotes};
    use crate::config::tests::{GOOD, load};

    #[test]
    fn n140_a_text_without_quotes_is_told_with_them() {
        let error = load(&format!("user = nobody\n{GOOD}")).unwrap_err();
        assert!(error.starts_with(", line 1, column "), "{error}");
        assert!(error.ends_with(": a text stands in quotes: write it as user = \"nobody\""), "{error}");
        for (line, quoted) in [
            ("hostname = mx.example.test # here", Some("hostname = \"mx.example.test\"")),
            ("  spool=/srv/mail", Some("spool = \"/srv/mail\"")),
            ("max_message_size = 5 MiB", Some("max_message_size = \"5 MiB\"")),
            ("address = 127.0.0.1:25", Some("address = \"127.0.0.1:25\"")),
            // These have another mistake, or none.
            ("strict = yes", None),
            ("messages = 5", None),
            ("user = \"nobody", None),
            ("domains = [a.test]", None),
            ("a b = c", None),
            ("user =", None),
            ("user", None),
        ] {
            assert_eq!(with_quotes(line).as_deref(), quoted, "{line}");
        }
    }

    #[test]
    fn n191_curly_quotation_marks_are_to_be_replaced() {
        let error = load(&format!("user = “nobody”\n{GOOD}")).unwrap_err();
        assert!(error.starts_with(", line 1, column "), "{error}");
        let told = ": curly quotation marks enclose no text: write \" in place of each: user = “nobody”";
        assert!(error.ends_with(told), "{error}");
        for (line, is_so) in [
            ("domains = [“a.test”]", true),
            ("  „a.test“,", true),
            ("hostname = \"mx.test”", true),
            ("hostname = «mx.test»", true),
            ("hostname = \"mx “one” test\" x", false),
            ("user = nobody", false),
            ("[log]", false),
        ] {
            assert_eq!(has_curly_quotes(line), is_so, "{line}");
        }
    }
}
