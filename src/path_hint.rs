//! The path that is meant by one that does not exist.
//!
//! The rule: directories are read and nothing is opened, and a directory with many entries is read in part.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::near_name::{most_in_refused, slips};

/// The path that differs from a missing one in a single name, which is a slip of the hand, and is right for its purpose.
pub(crate) fn near_path(path: &Path, is_right: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let is_missing =
        |path: &&Path| path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let missing = path.ancestors().take_while(is_missing).last()?;
    let rest = path.strip_prefix(missing).ok()?;
    let typed = missing.file_name()?.to_str()?.to_lowercase();
    let most = most_in_refused(&typed);
    let near = entries(missing.parent()?).filter_map(|entry| {
        let name = entry.file_name()?.to_str()?.to_lowercase();
        let slips = if has_other_ending(&name, &typed) { 1 } else { slips(&typed, &name, most)? };
        let meant = if rest.as_os_str().is_empty() { entry } else { entry.join(rest) };
        is_right(&meant).then_some((slips, meant))
    });
    near.min().map(|(_, meant)| meant)
}

/// Whether the names differ in their endings alone, as `key.crt`, `key.pem` and `key` do.
fn has_other_ending(one: &str, other: &str) -> bool {
    let stem = |name| Path::new(name).file_stem().map(ToOwned::to_owned);
    one != other && stem(one) == stem(other)
}

/// The question to a person who has typed a path that does not exist, if another one is near.
pub(crate) fn did_you_mean(path: &Path, is_right: impl Fn(&Path) -> bool) -> Option<String> {
    near_path(path, is_right).map(|meant| format!("did you mean {}?", meant.display()))
}

/// The paths of the first entries of a directory; none if it cannot be read.
pub(crate) fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    fs::read_dir(directory).into_iter().flatten().take(MOST).flatten().map(|entry| entry.path())
}

/// Entries of a directory that are compared.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h34_the_name_that_is_near_is_meant_if_it_leads_to_the_right_kind_of_thing() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("etc/restante/tls")).unwrap();
        fs::create_dir(at("etc/restante/keys.pem")).unwrap();
        for name in ["tls/key.pem", "tls/privkey.pem", "tls/fullchain.pem", "users.json"] {
            fs::write(at("etc/restante").join(name), "").unwrap();
        }
        for (typed, meant) in [
            ("etc/restante/tls/kye.pem", Some("etc/restante/tls/key.pem")),
            ("etc/restante/tls/KEY.PEM", Some("etc/restante/tls/key.pem")),
            ("etc/restante/tls/privkeys.pem", Some("etc/restante/tls/privkey.pem")),
            ("etc/restante/tls/fulchain.pem", Some("etc/restante/tls/fullchain.pem")),
            ("etc/restnate/tls/key.pem", Some("etc/restante/tls/key.pem")),
            ("etc/restante/user.json", Some("etc/restante/users.json")),
            ("etc/restante/users", Some("etc/restante/users.json")),
            ("etc/restante/tls/key.crt", Some("etc/restante/tls/key.pem")),
            // A directory, a name that is far away, two slips, and a path that is there.
            ("etc/restante/key.pem", None),
            ("etc/restante/tls/certificate.pem", None),
            ("etc/restnate/tls/kye.pem", None),
            ("etc/restante/users.json/key.pem", None),
            ("etc/restante/tls/key.pem", None),
        ] {
            assert_eq!(near_path(&at(typed), Path::is_file), meant.map(at), "{typed}");
        }
        assert_eq!(near_path(&at("ect/restante"), Path::is_dir), Some(at("etc/restante")));
    }
}
