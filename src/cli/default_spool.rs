//! The spool of a tool that is given none, and the words about one that is not there.

/// The sentence for a command without a spool, with the places where it has looked.
pub(super) fn no_spool_here(configurations: &str) -> String {
    format!("there is neither {configurations} nor a spool {HERE}: {NAME_SPOOL}")
}

/// The spool of a command that names none: that of `restante dev` in this directory.
pub(super) const HERE: &str = "./spool";
pub(super) const NAME_SPOOL: &str = "name the spool with --spool or --config";

/// The places of a configuration that a command finds by itself.
pub(super) const CONFIGURATIONS: &str =
    "a configuration in the variable RESTANTE_CONFIG, nor /etc/restante/restante.toml,";
pub(super) const VARIABLE_ALONE: &str = "a configuration in the variable RESTANTE_CONFIG";
