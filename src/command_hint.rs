//! The commands that messages tell their reader to type.
//!
//! The rule: a command works as it is printed. It repeats the option that has selected the configuration or the spool of
//! this process, and quotes what a shell would change.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::printable;

/// The option that selects what a process works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `--config`, or the variable that stands for it.
    Config,
    /// `--spool`, or the directory that a command takes without it.
    #[cfg(any(test, feature = "tools"))]
    Spool,
}

/// The option of this process, with its value. Without one, commands find their configuration by themselves.
static SELECTED: OnceLock<(Place, PathBuf)> = OnceLock::new();

/// Makes every command that is printed from now on repeat that option. The first call of a process counts.
pub(crate) fn repeat(place: Place, path: &Path) {
    let _ = SELECTED.set((place, path.to_owned())); // only a command line with two of them would set it twice
}

/// The spool that an option of this process has selected.
pub(crate) fn selected_spool() -> Option<&'static Path> {
    match SELECTED.get() {
        #[cfg(any(test, feature = "tools"))]
        Some((Place::Spool, path)) => Some(path),
        Some((Place::Config, _)) | None => None,
    }
}

/// A command of this program in backticks, with the option that selects the same configuration or spool.
pub(crate) fn restante(words: &[&str]) -> String {
    format!("`{}`", pipe_end(words))
}

/// The same without backticks, for the end of a pipe.
pub(crate) fn pipe_end(words: &[&str]) -> String {
    command(words, SELECTED.get())
}

/// The same for words of which some are paths.
pub(crate) fn with_paths(words: &[&OsStr]) -> String {
    command(words, SELECTED.get())
}

fn command(words: &[impl AsRef<OsStr>], selected: Option<&(Place, PathBuf)>) -> String {
    let mut command = "restante".to_owned();
    for word in words {
        command.push(' ');
        command.push_str(&quoted(Path::new(word)));
    }
    if let Some((place, path)) = selected {
        command.push_str(if *place == Place::Config { " --config " } else { " --spool " });
        command.push_str(&path_word(path));
    }
    command
}

/// Quotes a path for a shell command. One that begins with a hyphen keeps `./`, because it would be an option; a hyphen alone
/// is standard input.
pub(crate) fn path_word(path: &Path) -> String {
    let octets = path.as_os_str().as_encoded_bytes();
    if octets.starts_with(b"-") && octets != b"-" { quoted(&Path::new(".").join(path)) } else { quoted(path) }
}

/// Quotes an option or a path. One that cannot be shown gets the form of bash and zsh, `$'\xff'`.
fn quoted(path: &Path) -> String {
    if let Some(word) = path.to_str().filter(|word| printable::escape_line(word) == *word) {
        return shell_quoted(word);
    }
    let octets = path.as_os_str().as_encoded_bytes().iter();
    let escaped = octets.map(|octet| match octet {
        b' '..=b'~' if !b"'\\".contains(octet) => char::from(*octet).to_string(),
        octet => format!("\\x{octet:02x}"),
    });
    format!("$'{}'", escaped.collect::<String>())
}

/// The first free name beside a file or directory, for a command that renames it: `mv -T` replaces a file without a question.
pub(crate) fn free_name(path: &Path) -> PathBuf {
    let mut number = 1_u64;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push("~");
        if number > 1 {
            name.push(number.to_string());
        }
        let renamed = PathBuf::from(name);
        if renamed.symlink_metadata().is_err() {
            return renamed;
        }
        number += 1;
    }
}

/// Quotes one word for a shell command.
pub(crate) fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    let quoted = || format!("'{}'", printable::escape_line(word).replace('\'', r"'\''"));
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quoted() }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::ffi::OsStrExt, process::Command};

    use super::*;

    #[test]
    fn n116_a_path_is_quoted_so_that_a_shell_has_its_octets() {
        for (octets, expected) in [
            (&b"/a b"[..], "'/a b'"),
            (b"o'neil", r"'o'\''neil'"),
            (b"J\xc3\xb6rg", "'J\u{f6}rg'"),
            (b"J\xf6rg", r"$'J\xf6rg'"),
            (b"a\nb\x1b[1m", r"$'a\x0ab\x1b[1m'"),
            (b"it's\\\xff0", r"$'it\x27s\x5c\xff0'"),
            ("a\u{202e}b".as_bytes(), r"$'a\xe2\x80\xaeb'"),
        ] {
            let path = Path::new(OsStr::from_bytes(octets));
            let word = path_word(path);
            assert_eq!(word, expected);
            let selected = (Place::Spool, path.to_owned());
            assert_eq!(command(&["fsck"], Some(&selected)), format!("restante fsck --spool {expected}"));
            let words: [&OsStr; 4] = ["import".as_ref(), path.as_os_str(), "--to".as_ref(), "bob".as_ref()];
            assert_eq!(command(&words, None), format!("restante import {expected} --to bob"));
            // The form for octets that cannot be shown is one of bash, which a machine may lack.
            if let Ok(shell) = Command::new("bash").args(["-c", &format!("printf %s {word}")]).output() {
                assert_eq!(shell.stdout, octets, "{word}");
            }
        }
    }

    #[test]
    fn u163_a_path_that_begins_with_a_hyphen_is_no_option() {
        for (path, word) in
            [("-d", "./-d"), ("-d/a b", "'./-d/a b'"), ("./-d", "./-d"), ("a/-d", "a/-d"), ("-", "-")]
        {
            assert_eq!(path_word(Path::new(path)), word);
        }
        let selected = (Place::Spool, "-d".into());
        assert_eq!(command(&["fsck", "--fix"], Some(&selected)), "restante fsck --fix --spool ./-d");
    }

    #[test]
    fn n38_a_command_repeats_the_selected_place_and_is_quoted_for_a_shell() {
        let words = &["user", "remove", "o'neil@example.test", "--delete-mail"];
        for (selected, end) in [
            (None, ""),
            (Some((Place::Config, "/etc/x.toml".into())), " --config /etc/x.toml"),
            (Some((Place::Spool, "my spool".into())), " --spool 'my spool'"),
        ] {
            let expected = format!(r"restante user remove 'o'\''neil@example.test' --delete-mail{end}");
            assert_eq!(command(words, selected.as_ref()), expected);
        }
    }
}
