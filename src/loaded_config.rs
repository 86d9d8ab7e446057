//! All files that a server reads before it serves: the configuration, the accounts and aliases it names, and the
//! certificate. They are used together or not at all, at the start, at a reload and by `restante check`, so that the
//! three agree about errors.

mod pair_error;

use std::{
    fmt, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::SystemTime,
};

use rustix::process::{Gid, getegid, geteuid, getgroups};

use crate::{
    accounts::{self, Accounts, Sources},
    command_hint::path_word,
    config::{self, Config, ConfigText, UnknownRecipients},
    file_rights::{as_another_user, is_user, way_to_read},
    net::certificate::{CertificatePair, LoadedCertificate},
    path_hint::did_you_mean,
};

/// The configuration and the files that it names.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration file, checked.
    pub config: Config,
    /// The accounts and aliases.
    pub accounts: Accounts,
    /// The certificate, if one is configured.
    pub certificate: Option<LoadedCertificate>,
    /// A sentence for each place that every user of this machine can read or change, and should not.
    pub exposed: Vec<String>,
}

/// The reason why they cannot be used. Prints as a sentence for the operator.
#[derive(Debug)]
pub enum Error {
    /// An error in the configuration, or in a file that it names, which a change of the configuration would mend.
    Config(config::Error),
    /// An error in the accounts or aliases.
    Accounts(accounts::Error),
}

impl LoadedConfig {
    /// Reads a configuration, and everything that it names.
    ///
    /// # Errors
    /// One of the files cannot be used.
    pub fn read(path: &Path, now: SystemTime) -> Result<(Self, ConfigText), Error> {
        let (config, text) = Config::read(path)?;
        let files = Self::from_config(config, &text, now)?;
        Ok((files, text))
    }

    /// Reads the files that a configuration names; `text` is its text.
    ///
    /// # Errors
    /// One of the files cannot be used.
    pub fn from_config(config: Config, text: &ConfigText, now: SystemTime) -> Result<Self, Error> {
        // Another user's `check` must not open the server's files to that user.
        let is_server = config.user.as_deref().is_none_or(is_user);
        let advice = |path: &Path, error: &io::Error| match is_server {
            true => way_to_read(path),
            false => as_another_user(error).map(str::to_owned),
        };
        let accounts = load_accounts(&config, text, advice)?;
        let load = |pair: &CertificatePair| pair.load(now).map_err(|error| pair_error::locate(&error, text));
        let certificate = config.tls.as_ref().map(load).transpose()?;
        let exposed = exposed_places(&config, accounts.sources.is_some());
        Ok(Self { config, accounts, certificate, exposed })
    }

    /// Likewise, for a server that runs with the files of `current`.
    ///
    /// # Errors
    /// One of the files cannot be used.
    pub fn reload(
        config: Config,
        text: &ConfigText,
        current: &Config,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let has_file = |config: &Config| config.unknown_recipients == UnknownRecipients::Reject;
        if config.accounts == current.accounts
            && has_file(&config)
            && has_file(current)
            && fs::metadata(&config.accounts).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            let gone = accounts::Error::Gone { path: config.accounts, in_force: None };
            return Err(text.error_at("accounts", gone.to_string()).into());
        }
        Self::from_config(config, text, now)
    }

    /// Settings and files that are valid but probably not intended, without those of [`Self::certificate_warnings`].
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.config.warnings().collect();
        let unfit = self.certificate.as_ref().and_then(|loaded| loaded.unfit_for(&self.config.hostname));
        warnings.extend(unfit.map(self.about_certificate()));
        warnings.extend(self.exposed.iter().cloned());
        warnings.extend(self.accounts.warnings());
        warnings
    }

    /// The reasons why clients may reject the certificate, which the thread that watches it logs.
    pub fn certificate_warnings(&self) -> Vec<String> {
        self.certificate.iter().flat_map(LoadedCertificate::warnings).map(self.about_certificate()).collect()
    }

    /// A sentence about the certificate that is right for many operators.
    pub fn certificate_note(&self) -> Option<String> {
        self.certificate.as_ref()?.note().map(self.about_certificate())
    }

    fn about_certificate(&self) -> impl Fn(String) -> String {
        let path = self.config.tls.iter().map(|pair| pair.certificate.display().to_string()).next();
        move |what| format!("the certificate {} {what}", path.as_deref().unwrap_or_default())
    }
}

/// Refuses a private key with a passphrase. A process of root looks before it becomes the server's user, so that no advice
/// about the rights to that file comes first: another file will take its place.
///
/// # Errors
/// The key has a passphrase.
pub fn refuse_passphrase(config: &Config, text: &ConfigText) -> Result<(), config::Error> {
    let error = config.tls.as_ref().and_then(CertificatePair::passphrase_error);
    error.map_or(Ok(()), |error| Err(pair_error::locate(&error, text)))
}

/// The sentences about places that are open to all users.
fn exposed_places(config: &Config, has_accounts: bool) -> Vec<String> {
    let mut exposed = Vec::new();
    // The group of another user than the server's gets no file of the server.
    let is_server = config.user.as_deref().is_none_or(is_user);
    let way = |file: &Path| match is_server {
        true => format!("run {}", way_to_close(file)),
        false => "`restante check`, run as root, has the commands".to_owned(),
    };
    if has_accounts && is_open_to_all(&config.accounts, READ).unwrap_or(false) {
        exposed.push(format!(
            "every user of this machine can read {}, which has the hashes of the passwords: {}",
            config.accounts.display(),
            way(&config.accounts)
        ));
    }
    let key = config.tls.as_ref().map(|pair| &pair.key);
    if let Some(key) = key.filter(|key| is_open_to_all(key, READ).unwrap_or(false)) {
        exposed.push(format!(
            "every user of this machine can read the key {}, and so pass for this server: {}",
            key.display(),
            way(key)
        ));
    }
    if is_open_to_all(&config.spool, WRITE).unwrap_or(false) {
        exposed.push(format!(
            "every user of this machine can change the spool {}: run `chmod o-w {}`",
            config.spool.display(),
            path_word(&config.spool)
        ));
    }
    exposed
}

const READ: u32 = 0o004;
const WRITE: u32 = 0o002;
const SEARCH: u32 = 0o001;

/// Whether every user has that right to a file: its mode and those of all directories above it allow it.
fn is_open_to_all(file: &Path, right: u32) -> io::Result<bool> {
    let file = fs::canonicalize(file)?;
    let allows = |path: &Path, right: u32| Ok(fs::metadata(path)?.permissions().mode() & right != 0);
    for directory in file.ancestors().skip(1) {
        if !allows(directory, SEARCH)? {
            return Ok(false);
        }
    }
    allows(&file, right)
}

/// The commands that take the file from all other users, and leave it to this one, which the server runs as.
fn way_to_close(file: &Path) -> String {
    let (user, group) = (geteuid(), getegid());
    let reads_as_other = fs::metadata(file).is_ok_and(|file| {
        let groups = getgroups().unwrap_or_default();
        let is_in = |id: Gid| id.as_raw() == file.gid();
        !user.is_root() && file.uid() != user.as_raw() && !is_in(group) && !groups.into_iter().any(is_in)
    });
    let file = path_word(file);
    if reads_as_other {
        format!("`chgrp {} {file}` and `chmod 640 {file}`", group.as_raw())
    } else {
        format!("`chmod o= {file}`")
    }
}

/// Loads the accounts of a configuration for a command, whose user may be another one than that of the server; `text` is
/// the text of the configuration. If the aliases alone cannot be used, it returns the accounts without them and the error,
/// because a server that runs keeps the aliases of before, and few commands need any.
///
/// # Errors
/// The accounts cannot be used.
pub fn accounts_of(config: &Config, text: &ConfigText) -> Result<(Accounts, Option<Error>), Error> {
    match load_accounts(config, text, |_, error| as_another_user(error).map(str::to_owned)) {
        Ok(accounts) => Ok((accounts, None)),
        Err(error) => match account_sources(config).load_without_aliases() {
            Ok(accounts) => Ok((accounts, Some(error))),
            Err(_) => Err(error),
        },
    }
}

/// Loads the accounts of a configuration. `advice` is for a file that cannot be read.
fn load_accounts(
    config: &Config,
    text: &ConfigText,
    advice: impl Fn(&Path, &io::Error) -> Option<String>,
) -> Result<Accounts, Error> {
    if config.unknown_recipients == UnknownRecipients::Create {
        return Ok(match config.development {
            Some(_) => Accounts::accept_all(&config.domains),
            None => Accounts::accept_all_in(&config.domains),
        });
    }
    account_sources(config).load().map_err(|error| match &error {
        accounts::Error::Missing(_) => text.error_at("accounts", error.to_string()).into(),
        accounts::Error::Io { path, error: cause, .. } => {
            let key = if Some(path) == config.aliases.as_ref() { "aliases" } else { "accounts" };
            let without = || {
                (cause.kind() == io::ErrorKind::NotFound).then(|| {
                    let command = format!("`install -D -m 644 /dev/null {}`", path_word(path));
                    format!("make an empty one with {command}, or take `{key}` out of the configuration")
                })
            };
            let advice = advice(path, cause).or_else(|| did_you_mean(path, Path::is_file)).or_else(without);
            let advice = advice.map(|advice| format!(": {advice}")).unwrap_or_default();
            text.error_at(key, format!("{error}{advice}")).into()
        }
        _ => Error::Accounts(error),
    })
}

/// The sources of the accounts of a configuration.
pub fn account_sources(config: &Config) -> Sources {
    Sources {
        users: config.accounts.clone(),
        aliases: config.aliases.clone(),
        domains: config.domains.clone(),
        spool: config.spool.clone(),
        keep_hashes: !config.upgrade_hashes,
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Accounts(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Accounts(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n66_a_key_that_all_can_read_and_a_spool_that_all_can_change_are_told() {
        let home = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let loopback = ([127, 0, 0, 1], 0).into();
        let mut config = Config::development(at("spool"), (loopback, loopback), false).unwrap();
        config.tls = Some(CertificatePair { certificate: at("c.pem"), key: at("k.pem") });
        fs::write(at("k.pem"), "").unwrap();
        fs::create_dir(at("spool")).unwrap();
        for (mode, count) in [(0o600, 0), (0o644, 1)] {
            fs::set_permissions(at("k.pem"), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(exposed_places(&config, false).len(), count, "{mode:o}");
        }
        fs::set_permissions(at("spool"), PermissionsExt::from_mode(0o777)).unwrap();
        let told = exposed_places(&config, false);
        assert!(told[0].contains("can read the key") && told[1].contains("can change the spool"), "{told:?}");
    }
}
