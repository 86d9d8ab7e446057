//! `restante check`: reads a configuration and its accounts, and prints the effective settings.

use std::{path::PathBuf, time::SystemTime};

use clap::Args;

use super::{
    failure::Failure,
    output,
    serve::{descriptors_fit, threads_fit},
};
use crate::{loaded_config::LoadedConfig, printable};

/// Check a configuration and its accounts, and print the effective settings.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (LoadedConfig { config, accounts, certificate }, text) =
        LoadedConfig::read(&arguments.config, SystemTime::now())?;
    threads_fit(&config, &text)?;
    descriptors_fit(&config, &text)?;
    let doubt = match certificate.and_then(|certificate| certificate.warning) {
        Some(doubt) => format!("; the certificate {doubt}"),
        None => String::new(),
    };
    let users = match accounts.count() {
        Some(count) => format!("accounts: {count}"),
        None => "accounts: every address has one, with any password".into(),
    };
    let file = printable::escape_path(&arguments.config);
    let doubts = text.renamed().iter().cloned().chain(config.warnings());
    let doubts: String = doubts.map(|doubt| format!("# {}\n", printable::EscapedLine(doubt))).collect();
    output::page(&format!("# {file} is valid; {users}{doubt}\n{doubts}{}", config.effective()))
}
