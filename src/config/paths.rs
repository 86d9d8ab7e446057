//! The paths of a configuration, as they are written.
//!
//! The rule: a path is taken as it stands, except for the directory of credentials in the section `[tls]`. A path that
//! counts on a replacement, as a shell or a unit of systemd makes it, is refused with the path to write, unless there is
//! something of that very name.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::error::{CREDENTIALS, ConfigError};
use crate::near_name::slips;

/// Checks paths with their keys. Relative ones are relative to `directory`.
///
/// # Errors
/// A path is empty, or counts on a replacement.
pub(super) fn check<'a>(
    paths: impl IntoIterator<Item = (String, &'a Path)>,
    directory: &Path,
) -> Result<(), ConfigError> {
    for (key, path) in paths {
        // An empty path would be that of the directory of the configuration.
        if path.as_os_str().is_empty() {
            return Err(ConfigError::at(key, "the path is empty: write one, or remove the key"));
        }
        if let Some(why) = path.to_str().and_then(|path| unreplaced(&key, path, directory)) {
            return Err(ConfigError::at(key, why));
        }
    }
    Ok(())
}

/// The sentence for a path that counts on a replacement.
fn unreplaced(key: &str, path: &str, directory: &Path) -> Option<String> {
    let is_tls = key.starts_with("tls.");
    let mut literal = directory.to_owned();
    for (n, name) in path.split('/').enumerate() {
        literal.push(if n == 0 && name.is_empty() { "/" } else { name });
        if n == 0 && is_tls && name == CREDENTIALS {
            continue;
        }
        let Some(wanted) = home(name).filter(|_| n == 0).or_else(|| variable(name)) else { continue };
        if literal.symlink_metadata().is_ok() {
            continue;
        }
        let rest = path.split('/').skip(n + 1).collect::<Vec<_>>().join("/");
        let whole = meaning(wanted).filter(|_| n == 0 && wanted == name).map(|start| start.join(&rest));
        let example = whole.map(|path| format!(", like {:?}", path.display())).unwrap_or_default();
        return Some(match (is_credentials(wanted), is_tls) {
            (true, true) => format!(
                "{wanted} is not replaced here, only {CREDENTIALS} at the beginning: write \"{CREDENTIALS}/{rest}\""
            ),
            (true, false) => format!(
                "{wanted} is not replaced here, only {CREDENTIALS} at the beginning of `certificate` and `key` in [tls]: \
                 write the whole path"
            ),
            (false, true) => format!(
                "{wanted} is not replaced here, only {CREDENTIALS} at the beginning: write the whole path{example}"
            ),
            (false, false) => {
                format!("{wanted} is not replaced in a path: write the whole path{example}")
            }
        });
    }
    None
}

/// `~` or `~ann`, which a shell replaces at the beginning of a word.
fn home(name: &str) -> Option<&str> {
    let is_user = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.strip_prefix('~').filter(|user| user.chars().all(is_user)).map(|_| name)
}

/// The first variable of a shell, or specifier of systemd, in a name.
fn variable(name: &str) -> Option<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = name.match_indices(['$', '%']).find_map(|(start, sign)| {
        let rest = &name[start + 1..];
        let length = match rest.chars().next()? {
            '{' if sign == "$" => rest.find('}').map(|end| end + 1)?,
            first if sign == "$" && is_word(first) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            // systemd.unit(5), Specifiers. `50%off` and `a%20b` have none.
            first if sign == "%" && first.is_ascii_alphabetic() => {
                let is_alone = !name[..start].ends_with(is_word) && !rest[1..].starts_with(is_word);
                usize::from(is_alone)
            }
            _ => 0,
        };
        (length > 0).then_some(start..start + 1 + length)
    });
    found.map(|range| &name[range])
}

/// Whether the directory of credentials is meant, by its name, a part of it or the specifier of systemd.
fn is_credentials(wanted: &str) -> bool {
    let name = wanted.trim_matches(['$', '{', '}']);
    let known = &CREDENTIALS[1..];
    wanted == "%d" || name.starts_with("CREDENTIAL") || slips(name, known, 3).is_some()
}

/// The directory that a shell or the manager of the system would write there.
fn meaning(wanted: &str) -> Option<PathBuf> {
    match wanted {
        "~" | "$HOME" | "${HOME}" | "%h" => {
            env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
        }
        "%t" => Some("/run".into()),
        "%S" => Some("/var/lib".into()),
        "%C" => Some("/var/cache".into()),
        "%L" => Some("/var/log".into()),
        "%E" => Some("/etc".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    #[test]
    fn h35_a_path_that_counts_on_a_replacement_comes_with_the_one_to_write() {
        let nowhere = Path::new("/nowhere");
        let credentials = Some("write \"$CREDENTIALS_DIRECTORY/key.pem\"");
        let whole = Some("write the whole path");
        for (path, in_tls) in [
            ("$CREDENTIALS_DIR/key.pem", credentials),
            ("${CREDENTIALS_DIRECTORY}/key.pem", credentials),
            ("$CREDENTAILS_DIRECTORY/key.pem", credentials),
            ("%d/key.pem", credentials),
            ("/etc/$CREDENTIALS_DIRECTORY/key.pem", credentials),
            ("./${CREDENTIALS_DIRECTORY}/key.pem", credentials),
            ("~/key.pem", whole),
            ("~ann/key.pem", whole),
            ("$HOME/key.pem", whole),
            ("${XDG_STATE_HOME}/key.pem", whole),
            ("/home/$USER/key.pem", whole),
            ("/srv/key-$HOSTNAME.pem", whole),
            ("%h/key.pem", whole),
            ("/srv/%i/key.pem", whole),
            ("/srv/key-%H.pem", whole),
            ("$CREDENTIALS_DIRECTORY/$NAME/key.pem", whole),
            ("%t/key.pem", Some("like \"/run/key.pem\"")),
            ("$CREDENTIALS_DIRECTORY/key.pem", None),
            ("/srv/50%off/key.pem", None),
            ("/srv/a%20b/key.pem", None),
            ("/srv/5$/key~", None),
            ("/srv/~/key.pem", None),
            ("~key.pem~", None),
            ("/srv/100%/key.pem", None),
        ] {
            let told = unreplaced("tls.key", path, nowhere);
            assert_eq!(told.is_some(), in_tls.is_some(), "{path}: {told:?}");
            let told = told.unwrap_or_default();
            assert!(told.contains(in_tls.unwrap_or_default()), "{path}: {told}");
            assert_eq!(
                told.contains("only $CREDENTIALS_DIRECTORY at the beginning"),
                in_tls.is_some(),
                "{told}"
            );
        }
        let told = unreplaced("spool", "$CREDENTIALS_DIRECTORY/mail", nowhere).unwrap();
        assert!(
            told.contains("at the beginning of `certificate` and `key` in [tls]: write the whole path"),
            "{told}"
        );
    }

    #[test]
    fn h35_every_path_of_the_configuration_is_looked_at_and_a_file_of_that_very_name_is_taken() {
        let tls = "[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n";
        for (from, to, key) in [
            ("hostname", "spool = \"~/mail\"\nhostname", "spool"),
            ("hostname", "accounts = \"$HOME/users.json\"\nhostname", "accounts"),
            ("hostname", "aliases = \"%h/aliases\"\nhostname", "aliases"),
            ("hostname", "transcripts = \"${HOME}/t\"\nhostname", "transcripts"),
            ("\"127.0.0.1:2525\"", "\"unix:$XDG_RUNTIME_DIR/lmtp.sock\"", "listen.address"),
            ("a.pem", "$CERTS/a.pem", "tls.certificate"),
            ("b.pem", "~/b.pem", "tls.key"),
            ("[pop3]", "[log]\ndestination = \"~/restante.log\"\n[pop3]", "log.destination"),
            ("[pop3]", "[log]\ndestination = \"syslog:%t/log\"\n[pop3]", "log.destination"),
            ("[pop3]", "[metrics]\nfile = \"%t/restante.prom\"\n[pop3]", "metrics.file"),
        ] {
            let error = load(&(GOOD.to_owned() + tls).replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(&format!(": {key}: ")) && error.contains("is not replaced "), "{error}");
        }
        let home = tempfile::tempdir().unwrap();
        for name in ["~", "$x"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
            assert_eq!(unreplaced("spool", &format!("{name}/mail"), home.path()), None, "{name}");
        }
    }
}
