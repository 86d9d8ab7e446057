//! Errors of a certificate and its key at the line of the configuration that names the file at fault, with the next step.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    command_hint::path_word,
    config::{self, ConfigText},
    net::{
        certificate::Error,
        pem_content::{Part, did_you_mean},
    },
};

/// The error of a pair as one of the configuration, whose text is `text`.
pub(super) fn locate(error: &Error, text: &ConfigText) -> config::Error {
    let key = match error.part() {
        Part::Certificate => "tls.certificate",
        Part::Key => "tls.key",
    };
    let advice = match error {
        Error::Unreadable(part, path, cause) => match cause.kind() {
            io::ErrorKind::NotFound => Some(for_missing(*part, path, text.credential(key).as_deref())),
            io::ErrorKind::IsADirectory => did_you_mean(&part.files_in(path)),
            _ => None,
        },
        _ => None,
    };
    let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
    text.error_at(key, format!("{error}{advice}"))
}

/// The next step after a file that is not there. `credential` is its name if it is one of the service manager's.
fn for_missing(part: Part, path: &Path, credential: Option<&Path>) -> String {
    if let Ok(target) = fs::read_link(path) {
        return format!("it is a link to {}, which is not there", target.display());
    }
    let directory = path.parent().unwrap_or(path);
    let passed = credential.filter(|_| env::var_os("CREDENTIALS_DIRECTORY").is_some());
    let as_written = |file: PathBuf| match (passed, file.file_name()) {
        (Some(_), Some(name)) => Path::new("$CREDENTIALS_DIRECTORY").join(name),
        _ => file,
    };
    let meant: Vec<PathBuf> = part.meant_by(path).into_iter().map(as_written).collect();
    if let Some(question) = did_you_mean(&meant) {
        return question;
    }
    match passed {
        Some(name) => format!(
            "the service manager has not passed it: set `LoadCredential={}:FILE` in [Service] of the unit",
            name.display()
        ),
        None => {
            format!(
                "`restante cert --self-signed --host NAME {}` makes a pair for tests",
                path_word(directory)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h34_a_certificate_is_made_only_where_none_may_be_meant() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let told = |name: &str| for_missing(Part::Key, &at(name), None);
        let make = format!("`restante cert --self-signed --host NAME {}`", path_word(home.path()));
        assert!(told("key.pem").starts_with(&make), "{}", told("key.pem"));
        fs::write(at("key.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let question = format!("did you mean {}?", at("key.pem").display());
        for name in ["kye.pem", "Key.pem", "mx.example.test.key"] {
            assert_eq!(told(name), question, "{name}");
        }
        std::os::unix::fs::symlink("/no/such/privkey.pem", at("link.pem")).unwrap();
        assert_eq!(told("link.pem"), "it is a link to /no/such/privkey.pem, which is not there");
    }
}
