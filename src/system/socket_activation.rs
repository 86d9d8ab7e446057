//! Sockets that the service manager opened and passes at the start: sd_listen_fds(3).
//!
//! The rule: the server listens to each of them or does not start, because clients of an ignored socket would
//! wait for ever.

use std::{env, fmt, io};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::net::socket::ListenSocket;

/// The passed sockets with their names. Several may share one name.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    sockets: Vec<(String, ListenSocket)>,
}

/// The reason why they cannot be used.
#[derive(Debug)]
pub enum Error {
    /// The environment variables are inconsistent.
    Environment(String),
    /// A descriptor is not a listening socket.
    Unfit {
        /// The name that LISTEN_FDNAMES gives it.
        name: String,
        /// The number of the descriptor, from 3.
        descriptor: usize,
        /// The difference from a listening socket.
        why: String,
    },
    /// A listener asks for a name that no socket has.
    Missing {
        /// The name in the configuration of the listener.
        name: String,
        /// Names of the passed sockets.
        passed: Vec<String>,
    },
    /// No listener uses this socket.
    Unclaimed(String),
}

impl InheritedSockets {
    /// Takes the sockets named by the environment. Works once in a process, and only before threads are
    /// started.
    ///
    /// # Errors
    /// A descriptor is not a listening socket, or the number of names is wrong.
    pub fn from_environment() -> Result<Self, Error> {
        let (count, names) = (env::var("LISTEN_FDS").ok(), env::var("LISTEN_FDNAMES").ok());
        if let Some(count) = count.filter(|count| count.parse::<usize>().map_or(true, |n| n > MAX_SOCKETS)) {
            return Err(Error::Environment(format!("LISTEN_FDS={count} is not a number of sockets")));
        }
        let mut descriptors = ListenFd::from_env();
        let names = named(descriptors.len(), names.as_deref())?;
        let take = |(n, name): (usize, String)| match socket(&mut descriptors, n) {
            Ok(socket) => Ok((name, socket)),
            Err(error) => Err(Error::Unfit { name, descriptor: FIRST_FD + n, why: error.to_string() }),
        };
        names.into_iter().enumerate().map(take).collect::<Result<_, _>>().map(|sockets| Self { sockets })
    }

    /// Takes all sockets with this name.
    ///
    /// # Errors
    /// No socket has this name.
    pub fn take(&mut self, name: &str) -> Result<Vec<ListenSocket>, Error> {
        let (wanted, others): (Vec<_>, _) =
            std::mem::take(&mut self.sockets).into_iter().partition(|(given, _)| given == name);
        self.sockets = others;
        if wanted.is_empty() {
            let passed = self.sockets.iter().map(|(name, _)| name.clone()).collect();
            return Err(Error::Missing { name: name.to_owned(), passed });
        }
        Ok(wanted.into_iter().map(|(_, socket)| socket).collect())
    }

    /// Checks that the listeners have taken all sockets.
    ///
    /// # Errors
    /// A socket is left.
    pub fn check_all_claimed(self) -> Result<(), Error> {
        self.sockets.into_iter().next().map_or(Ok(()), |(name, _)| Err(Error::Unclaimed(name)))
    }
}

/// The names of `count` sockets, in systemd's notation.
fn named(count: usize, names: Option<&str>) -> Result<Vec<String>, Error> {
    let names = match names.filter(|names| count > 0 && !names.is_empty()) {
        Some(names) => names.split(':').map(str::to_owned).collect(),
        None => vec![UNNAMED.to_owned(); count],
    };
    if names.len() == count {
        return Ok(names);
    }
    Err(Error::Environment(format!(
        "LISTEN_FDNAMES has {} names for the {count} sockets of LISTEN_FDS",
        names.len()
    )))
}

fn socket(descriptors: &mut ListenFd, n: usize) -> io::Result<ListenSocket> {
    let listens = |listens: rustix::io::Result<bool>| match listens {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::Error::other("it does not listen: set Accept=no in the socket unit")),
        Err(error) => Err(error.into()),
    };
    if let Ok(Some(tcp)) = descriptors.take_tcp_listener(n) {
        listens(socket_acceptconn(&tcp))?;
        return ListenSocket::from_tcp(tcp);
    }
    match descriptors.take_unix_listener(n) {
        Ok(Some(unix)) => {
            listens(socket_acceptconn(&unix))?;
            ListenSocket::from_unix(unix)
        }
        _ => Err(io::Error::other("it is not a stream socket as created by ListenStream=")),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(why) => write!(f, "the sockets of the service manager: {why}"),
            Self::Unfit { name, descriptor, why } => {
                write!(f, "the service manager's socket {name:?} (descriptor {descriptor}): {why}")
            }
            Self::Missing { name, passed } => {
                write!(f, "no socket named {name:?} was passed by the service manager, ")?;
                match passed.as_slice() {
                    [] => f.write_str("nor any other")?,
                    passed => write!(f, "only {}", passed.join(", "))?,
                }
                write!(f, ": add a socket unit with FileDescriptorName={name}, and start it")
            }
            Self::Unclaimed(name) => write!(
                f,
                "the service manager passed a socket {name:?}, and no listener uses it: add one with address = \
                 \"systemd:{name}\", or remove it from the socket unit"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The first passed descriptor, SD_LISTEN_FDS_START of sd_listen_fds(3).
const FIRST_FD: usize = 3;
/// An upper bound for the number of sockets.
const MAX_SOCKETS: usize = 1024;
/// The name of a socket if the manager gives none: sd_listen_fds_with_names(3).
const UNNAMED: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(names: &[&str]) -> InheritedSockets {
        let socket = || ListenSocket::bind(&"127.0.0.1:0".parse().unwrap(), None).unwrap();
        InheritedSockets { sockets: names.iter().map(|name| ((*name).to_owned(), socket())).collect() }
    }

    #[test]
    fn each_socket_has_a_name() {
        assert_eq!(named(2, Some("smtp:pop3")).unwrap(), ["smtp", "pop3"]);
        assert_eq!(named(2, None).unwrap(), [UNNAMED, UNNAMED]);
        assert!(named(0, Some("left:over")).unwrap().is_empty());
        for (count, names) in [(2, "smtp"), (1, "smtp:pop3")] {
            let error = named(count, Some(names)).unwrap_err().to_string();
            assert!(error.contains(&format!("for the {count} sockets of LISTEN_FDS")), "{error}");
        }
    }

    #[test]
    fn a_name_may_have_several_sockets_and_none_is_left_over() {
        let mut all = passed(&["smtp", "pop3", "smtp"]);
        assert_eq!(all.take("smtp").unwrap().len(), 2);
        let error = all.take("smtp").unwrap_err().to_string();
        assert!(error.contains("\"smtp\" was passed by the service manager, only pop3: "), "{error}");
        let error = all.check_all_claimed().unwrap_err().to_string();
        assert!(error.contains("address = \"systemd:pop3\""), "{error}");
        assert!(InheritedSockets::default().check_all_claimed().is_ok());
        let error = InheritedSockets::default().take("smtp").unwrap_err().to_string();
        assert!(error.contains("nor any other: add a socket unit with FileDescriptorName=smtp"), "{error}");
    }
}
