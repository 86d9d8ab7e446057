//! The steps of a start before the sandbox, the log and the lock of the spool. `serve` and `dev` take them; `check` takes
//! the same ones without keeping anything.
//!
//! The order matters. First come inherited sockets and low ports, which need privileges. Then the process drops its
//! privileges, and reads files with the rights that a reload will have. Privileges apply to the calling thread and to
//! the threads it starts, so no other thread may exist before.

use std::{io, time::SystemTime};

use super::{
    failure::Failure,
    output, running,
    start_failure::{Alternatives, IN_CONFIGURATION, start_failure},
};
use crate::{
    config::{Config, ConfigText, Sandbox},
    fd_limits::{FdBudget, count_open_fds, raise_fd_limit},
    file_rights,
    listener::{self, BoundListener},
    loaded_config::{self, LoadedConfig},
    maildir::mount::MountInfo,
    metrics::{location, publish},
    net::endpoint::Endpoint,
    server,
    system::{
        DroppedPrivileges, mailbox_rights, places, privileges, problem::Problem,
        socket_activation::InheritedSockets, spool_place, written_files,
    },
    thread_limits, unread_maildirs,
};

/// The purpose of the steps.
pub(super) enum Purpose<'a> {
    /// Start a server, with these sockets of the service manager, and the user's alternatives.
    Serve(InheritedSockets, Alternatives<'a>),
    /// Report what would prevent a start.
    Check,
}

/// The result of the steps.
pub(super) struct Prepared {
    pub(super) files: LoadedConfig,
    /// The bound sockets of a server.
    pub(super) sockets: Vec<BoundListener>,
    /// `None` if the configuration comes from no file and names no user.
    pub(super) privileges: Option<DroppedPrivileges>,
    /// Valid settings that are probably not intended, and places that the server can do without.
    pub(super) warnings: Vec<String>,
}

/// Takes the steps.
pub(super) fn prepare(config: Config, text: &ConfigText, purpose: Purpose<'_>) -> Result<Prepared, Failure> {
    let is_check = matches!(purpose, Purpose::Check);
    let mut warnings = text.renamed().to_vec();
    // Checked first, because with too few descriptors every later step fails with an unclear error.
    descriptors_fit(&config, text)?;
    let sockets = match purpose {
        Purpose::Serve(passed, alternatives) => {
            let mut about_wait = |sentence: &str| output::message(format_args!("restante: {sentence}"));
            listener::bind_all(&config, passed, &mut about_wait).map_err(|error| {
                let error = error.into();
                let own = running::own_server(&error, &config, text, alternatives);
                own.unwrap_or_else(|| start_failure(&error, &config.listen, alternatives))
            })?
        }
        Purpose::Check => {
            let is_displaced = running::is_displaced(&config, text.path());
            warnings.extend(check_addresses(&config, text, is_displaced)?);
            if is_displaced {
                let why = text.error_at("spool", running::about_displaced(&config));
                return Err(Failure::Other(why.to_string()));
            }
            Vec::new()
        }
    };
    loaded_config::refuse_passphrase(&config, text)?;
    // The service manager reads its credentials as root, whatever user the server becomes.
    let is_credential = |key: &str| is_check && text.is_credential(key);
    let has_credentials = places::CERTIFICATE_KEYS.iter().any(|key| is_credential(key));
    let early = has_credentials.then(|| LoadedConfig::from_config(config.clone(), text, SystemTime::now()));
    let early = early.transpose()?;
    let has_user = text.path().is_some() || config.user.is_some();
    // A check leaves the sockets of a server that runs as they are.
    let own = sockets.iter().filter(|_| !is_check).map(|bound| &bound.config);
    let (privileges, is_certain) = match has_user.then(|| DroppedPrivileges::drop_to_user(&config, own)) {
        None => (None, true),
        Some(Ok(privileges)) => {
            let is_certain = !is_check || privileges.is_certain();
            (Some(privileges), is_certain)
        }
        Some(Err(error @ privileges::Error::NotRoot { .. })) if is_check => {
            warnings.push(format!("not checked with the rights of the server: {error}"));
            (None, false)
        }
        Some(Err(error)) => return Err(Failure::Other(text.error_at("user", error.to_string()).to_string())),
    };
    let _ = (file_rights::user_name(), file_rights::group_name()); // kept for the sandbox
    let configuration = text.path().and_then(places::configuration).into_iter();
    let written = written_files::problems(&config, text.path());
    let beside = written_files::in_spool(&config, text.path());
    let spool = spool_place::problem(&config.spool, text.path());
    let places = places::problems(&config).into_iter().filter(|problem| !is_credential(&problem.key));
    // Another user's rights are not those of the server, and must not be widened.
    let is_another = has_user && privileges.is_none();
    for problem in configuration.chain(written).chain(beside).chain(spool).chain(places) {
        let why = if is_another { problem.for_another_user() } else { problem.why.clone() };
        let Problem { key, is_denied, is_warning, .. } = problem;
        let told = if key.is_empty() { why } else { text.error_at(&key, why).to_string() };
        if is_warning || is_denied && !is_certain {
            warnings.push(told);
        } else {
            return Err(Failure::Other(told));
        }
    }
    let files = match early {
        Some(files) => files,
        None => LoadedConfig::from_config(config, text, SystemTime::now())?,
    };
    // Before the sandbox, which hides the thread limits, and as the user whose threads they will be.
    thread_limits::check(&files.config.limits)
        .map_err(|error| Failure::from(text.error_at(error.key, error.to_string())))?;
    warnings.extend(files.warnings());
    let unread = if is_check { unread_maildirs::warnings } else { unread_maildirs::warnings_of_start };
    warnings.extend(unread(&files.config.spool));
    warnings.extend(barrier_warning(&files.config));
    // A service manager may start it as another user than the one of a check.
    let is_roots = !is_check && privileges.as_ref().is_some_and(|privileges| !privileges.is_certain());
    warnings.extend(mailbox_rights::made_by_root(&files.config.spool).filter(|_| is_roots));
    // A server that starts as another user gets the directories of that user, or of the service manager.
    let is_like_server = privileges.as_ref().is_some_and(DroppedPrivileges::left_root);
    if is_check && is_like_server && files.config.metrics.file.is_none() && !location::has_export_directory()
    {
        warnings.push(publish::no_directory(true));
    }
    Ok(Prepared { files, sockets, privileges, warnings })
}

/// The warning about a spool on a disk whose cache a sync does not empty.
fn barrier_warning(config: &Config) -> Option<String> {
    let mount = MountInfo::at(&config.spool).filter(MountInfo::has_no_barriers)?;
    Some(format!(
        "the spool {} is on the file system {}, mounted with {}: a power cut can take mail that the server has \
         acknowledged, unless the disk keeps its cache; remount it with barriers",
        config.spool.display(),
        mount.place.display(),
        mount.durability_options().join(",")
    ))
}

/// Checks the addresses of the listeners, as a start does. A server of this spool, or of this file, that runs has them
/// already, which is no fault, even if its spool is not in its place.
fn check_addresses(config: &Config, text: &ConfigText, is_displaced: bool) -> Result<Vec<String>, Failure> {
    let spools = running::spools(config, text.path());
    let mut warnings = Vec::new();
    for (n, listen) in config.listen.iter().enumerate() {
        let Err(cause) = listener::try_bind(listen, &config.listen[..n]) else { continue };
        let kind = cause.kind();
        let is_refused = matches!(kind, io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied);
        let is_of_server = || {
            running::may_have(&spools, &listen.address)
                || (is_displaced && running::may_have_displaced(text.path(), &listen.address))
        };
        if is_refused && is_of_server() {
            continue;
        }
        let error = listener::Error::Bind(listen.protocol, listen.address.clone(), cause);
        let told = start_failure(&error.into(), &config.listen, IN_CONFIGURATION).to_string();
        let told = text.error_at(&format!("listen.{n}.address"), told).to_string();
        // Root, or the user of the configuration, may have the right to the port.
        if kind == io::ErrorKind::PermissionDenied && !privileges::can_become(config.user.as_deref()) {
            warnings.push(told);
        } else {
            return Err(Failure::Other(told));
        }
    }
    Ok(warnings)
}

/// Checks that the descriptor limit is high enough for the server.
fn descriptors_fit(config: &Config, text: &ConfigText) -> Result<(), Failure> {
    let passed =
        config.listen.iter().filter(|listen| matches!(listen.address, Endpoint::Inherited(_))).count();
    // The sandbox keeps one descriptor open, of this process's directory in /proc.
    let sandboxed = config.sandbox == Sandbox::Landlock && text.path().is_some();
    let inherited = count_open_fds().saturating_sub(passed) + usize::from(sandboxed);
    let inputs = server::fd_inputs(config, config.listen.len(), inherited, text.path().is_some());
    let shared = FdBudget::allocate(raise_fd_limit(), &config.limits, &inputs);
    shared.map(drop).map_err(|error| Failure::Other(error.to_string()))
}
