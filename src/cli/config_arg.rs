//! The configuration file of a command.

use std::{
    env,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{failure::Failure, output, same_place::is_same};
use crate::{
    command_hint::{self, Place, path_word},
    config::Config,
};

/// The option for the configuration file.
#[derive(Debug, Args)]
pub(super) struct ConfigArg {
    /// Configuration file [default: $RESTANTE_CONFIG, else /etc/restante/restante.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// The configuration file. Commands in messages repeat it, unless it is the one that they find by themselves.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        let path = self.find()?;
        repeat_config(&path);
        Ok(path)
    }

    /// The same for a server, whose log is read in another directory.
    pub(super) fn path_for_log(&self) -> Result<PathBuf, Failure> {
        let path = self.find()?;
        repeat_config(&std::path::absolute(&path).unwrap_or_else(|_| path.clone()));
        Ok(path)
    }

    fn find(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = &self.config {
            return Ok(named.clone());
        }
        if let Some(found) = default_config() {
            tell_of_unnamed(&found);
            return Ok(found);
        }
        let advice = unnamed_config(None).unwrap_or_else(|| {
            format!("name the configuration with --config FILE, or in the variable {VARIABLE}")
        });
        Err(Failure::Usage(format!("there is no {DEFAULT}: {advice}")))
    }

    pub(super) fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.path()?)?)
    }
}

/// Makes commands in messages repeat this configuration.
pub(super) fn repeat_config(path: &Path) {
    if path != Path::new(DEFAULT) || named_config().is_some() {
        command_hint::repeat(Place::Config, path);
    }
}

/// The configuration of a command that was given none, if there is one.
pub(super) fn default_config() -> Option<PathBuf> {
    named_config().or_else(|| Some(PathBuf::from(DEFAULT)).filter(|path| Path::exists(path)))
}

/// Names the configuration in this directory, if the command has `taken` a default one instead.
pub(super) fn tell_of_unnamed(taken: &Path) {
    if let Some(advice) = unnamed_config(Some(taken)) {
        output::message(format_args!("restante: takes {}: {advice}", taken.display()));
    }
}

/// The advice about the configuration in this directory, which no command takes by itself: another user may have put it
/// there. `None` if there is none, if it is the one that was `taken`, or if the environment names another one.
pub(super) fn unnamed_config(taken: Option<&Path>) -> Option<String> {
    if named_config().is_some() {
        return None;
    }
    advice_about(Path::new(HERE), taken)
}

fn advice_about(here: &Path, taken: Option<&Path>) -> Option<String> {
    let is_other = here.is_file() && taken.is_none_or(|taken| !is_same(taken, here));
    is_other.then(|| format!("for the configuration in this directory, add `--config {}`", path_word(here)))
}

/// The configuration that the environment names.
pub(super) fn named_config() -> Option<PathBuf> {
    env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The configuration of a `restante serve` with these words and that environment, as `cmdline` and `environ` of proc(5) have
/// them: each entry ends with a zero octet. `None` for another command.
pub(super) fn config_of_server(words: &[u8], environment: &[u8]) -> Option<PathBuf> {
    let words: Vec<&[u8]> = words.split(|octet| *octet == 0).collect();
    let is_serve = words.iter().any(|word| *word == b"serve");
    let named = words.iter().enumerate().find_map(|(n, word)| match word.strip_prefix(b"--config") {
        Some([]) => words.get(n + 1).copied(),
        Some(rest) => rest.strip_prefix(b"="),
        None => None,
    });
    let variable = environment
        .split(|octet| *octet == 0)
        .find_map(|entry| entry.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))
        .filter(|path| !path.is_empty());
    let path = named.or(variable).unwrap_or(DEFAULT.as_bytes());
    is_serve.then(|| PathBuf::from(OsStr::from_bytes(path)))
}

const VARIABLE: &str = "RESTANTE_CONFIG";
const DEFAULT: &str = "/etc/restante/restante.toml";
/// A configuration of the usual name in this directory.
const HERE: &str = "./restante.toml";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn n146_a_configuration_in_this_directory_comes_with_the_option_to_type() {
        let home = tempfile::tempdir().unwrap();
        let [here, other] = ["restante.toml", "other.toml"].map(|name| home.path().join(name));
        fs::write(&other, "").unwrap();
        assert_eq!(advice_about(&here, Some(&other)), None, "there is none");
        fs::write(&here, "").unwrap();
        let expected =
            format!("for the configuration in this directory, add `--config {}`", path_word(&here));
        assert_eq!(advice_about(&here, None), Some(expected.clone()));
        assert_eq!(advice_about(&here, Some(&other)), Some(expected));
        // The commands in /etc/restante itself.
        assert_eq!(advice_about(&here, Some(&home.path().join("./restante.toml"))), None);
    }

    #[test]
    fn n136_the_configuration_of_a_server_is_read_from_its_words() {
        for (words, environment, expected) in [
            ("restante\0serve\0--config\0r.toml\0", "", Some("r.toml")),
            ("restante\0serve\0--config=/a/r.toml\0", "RESTANTE_CONFIG=b\0", Some("/a/r.toml")),
            ("restante\0serve\0", "HOME=/\0RESTANTE_CONFIG=b.toml\0", Some("b.toml")),
            ("restante\0serve\0", "RESTANTE_CONFIG=\0", Some(DEFAULT)),
            ("restante\0check\0--config\0r.toml\0", "", None),
            ("", "", None),
        ] {
            let found = config_of_server(words.as_bytes(), environment.as_bytes());
            assert_eq!(found, expected.map(PathBuf::from), "{words:?}");
        }
    }
}
