//! Paths that the user types.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A typed path: `~` is the home directory, as in a shell. A path that does not exist as it is typed is one that a shell or a
/// file manager has quoted, if that one exists.
pub(crate) fn typed_path(typed: &str) -> PathBuf {
    let plain = expand_home(typed);
    if plain.exists() {
        return plain;
    }
    unquoted(typed).map(|word| expand_home(&word)).filter(|path| path.exists()).unwrap_or(plain)
}

fn expand_home(typed: &str) -> PathBuf {
    let home = || env::var_os("HOME").map(PathBuf::from);
    match typed.strip_prefix('~') {
        Some("") => home().unwrap_or_else(|| typed.into()),
        Some(rest) if rest.starts_with('/') => {
            home().map_or(typed.into(), |home| home.join(Path::new(&rest[1..])))
        }
        _ => typed.into(),
    }
}

/// The text without the backslashes and quotation marks of a shell (POSIX, Shell Command Language, section 2.2). `None` if a
/// quotation mark is not closed.
fn unquoted(typed: &str) -> Option<String> {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = typed.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None) => word.push(characters.next()?),
            ('\\', Some('"')) => {
                let next = characters.next()?;
                if !"\"\\$`".contains(next) {
                    word.push('\\');
                }
                word.push(next);
            }
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            _ => word.push(c),
        }
    }
    quote.is_none().then_some(word)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn u101_a_path_may_be_quoted_as_in_a_shell() {
        let home = tempfile::tempdir().unwrap();
        for name in ["été liste.txt", "it's", "a\\ b", "\"x\""] {
            fs::write(home.path().join(name), "").unwrap();
        }
        let place = home.path().display();
        for (typed, name) in [
            (r"/été\ liste.txt", "été liste.txt"),
            ("/été liste.txt", "été liste.txt"),
            ("/'été liste.txt'", "été liste.txt"),
            ("/\"été liste.txt\"", "été liste.txt"),
            ("/it's", "it's"),
            (r"/it\'s", "it's"),
            (r"/'it'\''s'", "it's"),
            (r"/a\ b", r"a\ b"),
            ("/\"x\"", "\"x\""),
            (r"/no\ such", r"no\ such"),
            ("/'open", "'open"),
        ] {
            assert_eq!(typed_path(&format!("{place}{typed}")), home.path().join(name), "{typed}");
        }
        assert_eq!(typed_path(&format!("'{place}/été liste.txt'")), home.path().join("été liste.txt"));
    }
}
