//! The configuration file of a command.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Args;

use super::failure::Failure;
use crate::{
    command_hint::{self, Place},
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
        let found = self.config.clone().or_else(default_config);
        found.ok_or_else(|| {
            Failure::Usage(format!(
                "there is no {DEFAULT}: name the configuration with --config FILE, or in the variable {VARIABLE}"
            ))
        })
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

/// The configuration that the environment names.
pub(super) fn named_config() -> Option<PathBuf> {
    env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

const VARIABLE: &str = "RESTANTE_CONFIG";
const DEFAULT: &str = "/etc/restante/restante.toml";
