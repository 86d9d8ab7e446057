//! A reload on its own thread: it reads the files and binds the new addresses, and changes nothing of the server.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::Receiver,
    time::{Duration, SystemTime},
};

use crate::{
    config::{self, Config, ConfigText, ListenerConfig, Service},
    listener::{self, ListenerId},
    loaded_config::{self, LoadedConfig},
    net::{endpoint::Endpoint, socket::ListenSocket},
    printable::counted,
    system::{
        sandbox::{self, check_and_restart},
        written_files,
    },
};

/// A reload that its thread has not finished.
pub(super) struct PendingReload {
    pub(super) result: Receiver<Result<NewState, Refusal>>,
    pub(super) started_at: Duration,
    /// Whether another reload was requested meanwhile: the files that this one has read may be out of date.
    pub(super) requested_again: bool,
}

/// The reason why a reload changes nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The files have a mistake, or cannot be read or applied.
    Invalid(String),
    /// The configuration is the one in force, and a file that it names has a mistake or cannot be read. The thread that watches
    /// that file counts it as stale until it is mended.
    NamedFile(String),
    /// A server that runs cannot take it, and a restart may. Only `restante check` knows whether it would.
    NeedsRestart(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Invalid(why)
    }
}

impl From<config::Error> for Refusal {
    fn from(error: config::Error) -> Self {
        Self::Invalid(error.for_server())
    }
}

/// The refusal of a setting that needs a restart.
fn needs_restart(text: &ConfigText, key: &str, why: String) -> Refusal {
    Refusal::NeedsRestart(text.error_at(key, why).to_string())
}

/// The state of the server when a reload begins.
pub(super) struct CurrentState {
    pub(super) config_path: PathBuf,
    pub(super) config: Config,
    pub(super) listeners: Vec<CurrentListener>,
    /// New sockets that there are descriptors for, in addition to those of `listeners`.
    pub(super) max_new_listeners: usize,
}

/// A listener as the reload thread needs it: its socket stays with the loop.
#[derive(Clone)]
pub(super) struct CurrentListener {
    pub(super) id: ListenerId,
    pub(super) service: Service,
    /// The address in the configuration.
    pub(super) configured_endpoint: Endpoint,
    /// The address that the socket is bound to.
    pub(super) endpoint: Endpoint,
}

/// The state that the reload asks for.
pub(super) struct NewState {
    pub(super) files: LoadedConfig,
    pub(super) listeners: Vec<(ListenerConfig, SocketSource)>,
    /// A warning for each key that the file has under the name of an earlier version.
    pub(super) renamed: Vec<String>,
    /// Keys whose new values take effect only after a restart.
    pub(super) restart_needed: Vec<&'static str>,
}

/// The origin of a listener's socket.
pub(super) enum SocketSource {
    /// The socket of a listener that is open now.
    Existing(ListenerId),
    New(ListenSocket),
}

impl CurrentState {
    /// Reads the files and binds the new addresses.
    pub(super) fn load(&self, now: SystemTime) -> Result<NewState, Refusal> {
        let (config, text) = Config::read(&self.config_path)?;
        if let Some(why) = sandbox::unreachable_place(&config) {
            return Err(Refusal::NeedsRestart(format!("{}: {why}", self.config_path.display())));
        }
        let is_in_force = self.is_in_force(&config);
        let mut files = LoadedConfig::reload(config, &text, &self.config, now).map_err(
            |error: loaded_config::Error| {
                let why = error.to_string();
                if is_in_force { Refusal::NamedFile(why) } else { Refusal::Invalid(why) }
            },
        )?;
        if let Some(key) = files.config.changed_fixed_key(&self.config) {
            let why = format!("this cannot change while the server runs: {}", check_and_restart());
            return Err(needs_restart(&text, key, why));
        }
        let waiting = files.config.retain_restart_only(&self.config);
        if let Some(problem) = written_files::problems_of_reload(&files.config, text.path()) {
            return Err(text.error_at(&problem.key, problem.why).into());
        }
        let listeners = self.assign_sockets(&files.config.listen, &text)?;
        Ok(NewState { files, listeners, renamed: text.renamed().to_vec(), restart_needed: waiting })
    }

    /// Whether the server has taken all of this configuration that it can take while it runs.
    fn is_in_force(&self, config: &Config) -> bool {
        let mut config = config.clone();
        config.retain_restart_only(&self.config);
        config == self.config
    }

    /// Assigns a socket to each listener: an open one at the same address if there is one, otherwise a new one. New
    /// addresses are bound last, after every other check.
    fn assign_sockets(
        &self,
        listeners: &[ListenerConfig],
        text: &ConfigText,
    ) -> Result<Vec<(ListenerConfig, SocketSource)>, Refusal> {
        let mut held = self.listeners.clone();
        let mut seats = Vec::new();
        let mut rest: Vec<(usize, &ListenerConfig)> = listeners.iter().enumerate().collect();
        for (n, listen) in rest.extract_if(.., |(_, listen)| matches!(listen.address, Endpoint::Inherited(_)))
        {
            for id in inherited_sockets(&mut held, n, listen, text)? {
                seats.push((listen.clone(), SocketSource::Existing(id)));
            }
        }
        if let Some(left) =
            held.iter().find(|held| matches!(held.configured_endpoint, Endpoint::Inherited(_)))
        {
            let why = format!(
                "the socket of {} would have no listener: to do without it, {}",
                left.configured_endpoint,
                check_and_restart()
            );
            return Err(needs_restart(text, "listen", why));
        }
        // Port 0 may be configured more than once: a listener that has a socket keeps it.
        for same_service in [true, false] {
            rest.retain(|(_, listen)| {
                let fits = |held: &CurrentListener| {
                    held.configured_endpoint == listen.address
                        && (held.service == listen.protocol || !same_service)
                };
                let found = held.iter().position(fits);
                found
                    .map(|at| seats.push(((*listen).clone(), SocketSource::Existing(held.remove(at).id))))
                    .is_none()
            });
        }
        if rest.len() > self.max_new_listeners {
            let why = format!(
                "the descriptors are enough for {} beside the old ones, and there are {}: add them in several \
                 reloads, or {}",
                counted(self.max_new_listeners, "new address"),
                rest.len(),
                check_and_restart()
            );
            return Err(needs_restart(text, "listen", why));
        }
        for (n, listen) in rest {
            let socket =
                ListenSocket::bind(&listen.address, listen.socket_group.as_deref()).map_err(|error| {
                    let advice = match error.kind() {
                        io::ErrorKind::PermissionDenied => lacking_right(&listen.address),
                        _ => conflicting_listener(&held, &listen.address),
                    };
                    let why = listener::Error::Bind(listen.protocol, listen.address.clone(), error);
                    let key = format!("listen.{n}.address");
                    match advice {
                        None => text.error_at(&key, why.to_string()).into(),
                        Some(advice) => needs_restart(text, &key, format!("{why}; {advice}")),
                    }
                })?;
            seats.push((listen.clone(), SocketSource::New(socket)));
        }
        Ok(seats)
    }
}

/// The way to a port that only root may bind: a server that was started as root is another user by now.
fn lacking_right(wanted: &Endpoint) -> Option<String> {
    wanted
        .ip()
        .filter(|address| address.port() < FIRST_FREE_PORT)
        .map(|_| format!("a new port below {FIRST_FREE_PORT} needs a restart: {}", check_and_restart()))
}

/// Names the listener that may prevent a new one: an open listener on the same port.
fn conflicting_listener(held: &[CurrentListener], wanted: &Endpoint) -> Option<String> {
    let port = |endpoint: &Endpoint| endpoint.ip().map(|address| address.port());
    let other = held.iter().find(|held| port(wanted).is_some() && port(&held.endpoint) == port(wanted))?;
    Some(format!(
        "this server is at {}, which it closes only after it has the new one: {}",
        other.endpoint,
        check_and_restart()
    ))
}

/// The first port that needs no privilege.
const FIRST_FREE_PORT: u16 = 1024;

/// Takes the sockets that the service manager passed for the `n`th listener.
fn inherited_sockets(
    held: &mut Vec<CurrentListener>,
    n: usize,
    listen: &ListenerConfig,
    text: &ConfigText,
) -> Result<Vec<ListenerId>, Refusal> {
    let taken: Vec<CurrentListener> =
        held.extract_if(.., |held| held.configured_endpoint == listen.address).collect();
    if taken.is_empty() {
        let why =
            format!("no socket for {} was passed at the start: {}", listen.address, check_and_restart());
        return Err(needs_restart(text, &format!("listen.{n}.address"), why));
    }
    for CurrentListener { endpoint, .. } in &taken {
        if let Some((key, why)) = listen.incompatible_with(endpoint) {
            return Err(text.error_at(&format!("listen.{n}.{key}"), why).into());
        }
    }
    Ok(taken.into_iter().map(|held| held.id).collect())
}
