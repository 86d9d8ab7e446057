//! Errors of a certificate and its key at the line of the configuration that names the file at fault, with the next step.

use std::{
    env, fs, io, iter,
    path::{Path, PathBuf},
};

use crate::{
    command_hint::path_word,
    config::{self, ConfigText},
    net::{
        certificate::{CertificatePair, Error},
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
    let is_closed =
        fs::read_dir(directory).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    match passed {
        None if is_closed => did_you_mean(&usual_names(part, directory)).unwrap_or_else(|| {
            format!("look for it as root with `ls {}`: the server's user cannot", path_word(directory))
        }),
        None if has_pair(directory) => {
            format!(
                "{} has a file certificate.pem or key.pem: name the files of one pair",
                directory.display()
            )
        }
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

/// The files in a directory with the usual names of this part. This needs no right to list the directory.
fn usual_names(part: Part, directory: &Path) -> Vec<PathBuf> {
    let made = CertificatePair::made_in(directory);
    let (made, others) = match part {
        Part::Certificate => (made.certificate, ["fullchain.pem", "cert.pem"]),
        Part::Key => (made.key, ["privkey.pem", "certificate.key"]),
    };
    let others = others.iter().map(|name| directory.join(name));
    iter::once(made).chain(others).filter(|path| path.is_file()).collect()
}

/// Whether `restante cert` would refuse the directory, because it replaces no file.
fn has_pair(directory: &Path) -> bool {
    let CertificatePair { certificate, key } = CertificatePair::made_in(directory);
    [certificate, key].iter().any(|path| path.symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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

    #[test]
    fn n139_no_pair_is_made_beside_a_file_of_one() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("certificate.pem"), "").unwrap();
        assert_eq!(usual_names(Part::Certificate, home.path()), [at("certificate.pem")]);
        assert!(usual_names(Part::Key, home.path()).is_empty());
        let told = for_missing(Part::Key, &at("mx.key"), None);
        assert!(
            told.contains("has a file certificate.pem or key.pem") && !told.contains("restante cert"),
            "{told}"
        );
        if rustix::process::geteuid().is_root() {
            return; // no mode keeps root out
        }
        let mode = |mode| fs::set_permissions(home.path(), PermissionsExt::from_mode(mode)).unwrap();
        mode(0o100);
        let told = [Part::Certificate, Part::Key].map(|part| for_missing(part, &at("mx.pem"), None));
        mode(0o700);
        assert_eq!(told[0], format!("did you mean {}?", at("certificate.pem").display()));
        assert!(told[1].starts_with("look for it as root with `ls "), "{}", told[1]);
    }
}
