//! Notifications to the service manager: sd_notify(3).
//!
//! The rule: the manager may be slow or gone, and notifying it never waits. Messages that it does not accept
//! are sent later, in the same order.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState::{self, MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};

/// The service manager. Without one, notifications do nothing.
#[derive(Debug, Default)]
pub struct SdNotify {
    socket: Option<UnixDatagram>,
    /// Interval of the watchdog messages.
    watchdog: Option<Duration>,
    /// Messages it has not accepted yet.
    pending: VecDeque<String>,
}

impl SdNotify {
    /// The manager named by the environment, if there is one.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn from_environment() -> io::Result<Self> {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let why = |error| io::Error::other(format!("NOTIFY_SOCKET={}: {error}", address.to_string_lossy()));
        let manager = Self::at(&address).map_err(why)?;
        Ok(Self { watchdog: sd_notify::watchdog_enabled().map(|whole| whole / 2), ..manager })
    }

    /// A manager that listens at a path, or at an abstract name after `@`.
    fn at(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&address)?;
        Ok(Self { socket: Some(socket), ..Self::default() })
    }

    /// Interval at which to call [`SdNotify::watchdog_ping`]: half the manager's time limit.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Reports that clients are served, or that a reload has finished.
    pub fn ready(&mut self, status: &str) {
        self.notify(&[Ready, Status(&one_line(status))]);
    }

    /// Reports the start of a reload. Since systemd 253 (`Type=notify-reload`) the message includes the time.
    pub fn reloading(&mut self) {
        let when = NotifyState::monotonic_usec_now().unwrap_or(MonotonicUsec(0)); // every Linux has that clock
        self.notify(&[Reloading, when, Status("reading the configuration again")]);
    }

    /// Reports that no more clients are accepted.
    pub fn stopping(&mut self, status: &str) {
        self.notify(&[Stopping, Status(&one_line(status))]);
    }

    /// Sends messages that could not be sent before. Returns whether none is left; otherwise it has to be called again soon.
    pub fn flush_pending(&mut self) -> bool {
        self.send_pending();
        self.pending.is_empty()
    }

    /// Reports that the loop is running. Messages that could not be sent before go first.
    pub fn watchdog_ping(&mut self) {
        self.send_pending();
        if self.watchdog.is_some() && self.pending.is_empty() {
            let _ = self.send(&text(&[Watchdog])); // the next one comes long before the manager's time limit
        }
    }

    fn notify(&mut self, states: &[NotifyState<'_>]) {
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(text(states));
        self.send_pending();
    }

    fn send_pending(&mut self) {
        while let Some(text) = self.pending.front() {
            match self.send(text) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => log::warn!("cannot notify the service manager: {error}"),
                Ok(()) => {}
            }
            self.pending.pop_front();
        }
    }

    fn send(&self, text: &str) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send(text.as_bytes()).map(drop))
    }
}

/// Replaces control characters, so that the text cannot become a message of its own, and cuts it to fit the
/// manager's limit.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_STATUS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn text(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

/// Characters of a status: systemd accepts messages of 4096 bytes.
const MAX_STATUS: usize = 1000;
/// Messages queued for a manager that does not read.
const MAX_PENDING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(socket: &UnixDatagram) -> String {
        let mut text = [0; 1000];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let name = format!("restante-test-{}", std::process::id());
        for (address, socket) in [
            (path.as_os_str().to_owned(), UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}").into(),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            ),
        ] {
            let mut manager = SdNotify::at(&address).unwrap();
            manager.ready("here\nwe are");
            assert_eq!(said(&socket), "READY=1\nSTATUS=here we are\n");
            manager.reloading();
            let reloading = said(&socket);
            assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
            manager.watchdog = Some(Duration::from_secs(1));
            manager.watchdog_ping();
            assert_eq!(said(&socket), "WATCHDOG=1\n");
        }
        assert!(SdNotify::at(OsStr::new("vsock:2:1234")).is_err());
        assert!(SdNotify::at(OsStr::new("/nowhere/notify")).is_err());
        SdNotify::default().ready("to nobody");
    }

    #[test]
    fn a_manager_that_does_not_read_costs_no_time_and_is_told_later() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut manager = SdNotify::at(path.as_os_str()).unwrap();
        while manager.send("X=1\n").is_ok() {}
        manager.stopping("goodbye");
        assert_eq!(manager.pending.len(), 1);
        (0..2 * MAX_PENDING).for_each(|_| manager.ready("hello"));
        assert_eq!(manager.pending.len(), MAX_PENDING);

        socket.set_nonblocking(true).unwrap();
        let mut heard = 0;
        while !manager.pending.is_empty() {
            while socket.recv(&mut [0; 100]).is_ok() {}
            manager.flush_pending();
            heard += 1;
            assert!(heard <= MAX_PENDING, "each time some are taken");
        }
        drop(socket);
        manager.ready("to nobody");
        assert!(manager.pending.is_empty(), "who is gone is owed nothing");
    }
}
