//! The spool of a command that is given none, and the words about one that is not there.

use super::config_arg::unnamed_config;

/// The sentence for a command without a spool, with the places where it has looked.
pub(super) fn no_spool_here(configurations: &str) -> String {
    let advice = unnamed_config(None);
    let advice = advice.as_deref().unwrap_or(NAME_SPOOL);
    format!("there is neither {configurations} nor a spool {HERE}: {advice}")
}

/// The spool of a command that names none: that of `restante dev` in this directory.
pub(super) const HERE: &str = "./spool";
pub(super) const NAME_SPOOL: &str = "name the spool with --spool or --config";

/// The places of a configuration that a command finds by itself.
pub(super) const CONFIGURATIONS: &str =
    "a configuration in the variable RESTANTE_CONFIG, nor /etc/restante/restante.toml,";
#[cfg(feature = "tools")]
pub(super) const VARIABLE_ALONE: &str = "a configuration in the variable RESTANTE_CONFIG";
