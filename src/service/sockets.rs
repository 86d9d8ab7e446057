//! Sockets that the service manager has opened, and hands over at the start: sd_listen_fds(3).
//!
//! The rule: each of them is listened to or the server does not start, since clients that come to a socket
//! which nobody looks at wait for ever.

use std::{env, fmt, io};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::net::stream::Socket;

/// The sockets that were handed over, each with its name. Several may have the same one.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<(String, Socket)>,
}

/// Why they cannot be used.
#[derive(Debug)]
pub enum Error {
    /// The environment makes no sense.
    Environment(String),
    /// One of them is not a socket that listens.
    Unfit {
        /// Its name.
        name: String,
        /// Its number.
        descriptor: usize,
        /// What is wrong.
        why: String,
    },
    /// A listener wants one, and none has that name.
    Missing {
        /// The name that is wanted.
        name: String,
        /// Those that there are.
        passed: Vec<String>,
    },
    /// No listener wants that one.
    Unclaimed(String),
}

impl Passed {
    /// Takes what the environment says. Works once in a process, and only before threads are started.
    ///
    /// # Errors
    /// A descriptor is not a socket that listens, or the number of names is wrong.
    pub fn from_environment() -> Result<Self, Error> {
        let (count, names) = (env::var("LISTEN_FDS").ok(), env::var("LISTEN_FDNAMES").ok());
        if let Some(count) = count.filter(|count| count.parse::<usize>().map_or(true, |n| n > MOST)) {
            return Err(Error::Environment(format!("LISTEN_FDS={count} is not a number of sockets")));
        }
        let mut descriptors = ListenFd::from_env();
        let names = named(descriptors.len(), names.as_deref())?;
        let take = |(n, name): (usize, String)| match socket(&mut descriptors, n) {
            Ok(socket) => Ok((name, socket)),
            Err(error) => Err(Error::Unfit { name, descriptor: FIRST + n, why: error.to_string() }),
        };
        names.into_iter().enumerate().map(take).collect::<Result<_, _>>().map(|sockets| Self { sockets })
    }

    /// All that have this name.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&mut self, name: &str) -> Result<Vec<Socket>, Error> {
        let (wanted, others): (Vec<_>, _) =
            std::mem::take(&mut self.sockets).into_iter().partition(|(given, _)| given == name);
        self.sockets = others;
        if wanted.is_empty() {
            let passed = self.sockets.iter().map(|(name, _)| name.clone()).collect();
            return Err(Error::Missing { name: name.to_owned(), passed });
        }
        Ok(wanted.into_iter().map(|(_, socket)| socket).collect())
    }

    /// Every listener has had its sockets.
    ///
    /// # Errors
    /// One is left over.
    pub fn are_claimed(self) -> Result<(), Error> {
        self.sockets.into_iter().next().map_or(Ok(()), |(name, _)| Err(Error::Unclaimed(name)))
    }
}

/// A name for each of `count` sockets, as systemd lists them.
fn named(count: usize, names: Option<&str>) -> Result<Vec<String>, Error> {
    let names = match names.filter(|names| count > 0 && !names.is_empty()) {
        Some(names) => names.split(':').map(str::to_owned).collect(),
        None => vec![NAMELESS.to_owned(); count],
    };
    if names.len() == count {
        return Ok(names);
    }
    Err(Error::Environment(format!(
        "LISTEN_FDNAMES has {} names for the {count} sockets of LISTEN_FDS",
        names.len()
    )))
}

fn socket(descriptors: &mut ListenFd, n: usize) -> io::Result<Socket> {
    let listens = |listens: rustix::io::Result<bool>| match listens {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::Error::other("it does not listen: the socket unit must say Accept=no")),
        Err(error) => Err(error.into()),
    };
    if let Ok(Some(tcp)) = descriptors.take_tcp_listener(n) {
        listens(socket_acceptconn(&tcp))?;
        return Socket::from_tcp(tcp);
    }
    match descriptors.take_unix_listener(n) {
        Ok(Some(unix)) => {
            listens(socket_acceptconn(&unix))?;
            Socket::from_unix(unix)
        }
        _ => Err(io::Error::other("it is no stream socket, as ListenStream= makes them")),
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
                write!(f, ": a socket unit with FileDescriptorName={name} does it, and has to be started")
            }
            Self::Unclaimed(name) => write!(
                f,
                "the service manager passed a socket {name:?}, and no listener takes it: one with address = \
                 \"systemd:{name}\" does, or take it out of the socket unit"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The number of the first descriptor: SD_LISTEN_FDS_START.
const FIRST: usize = 3;
/// More than anybody passes.
const MOST: usize = 1024;
/// The name of a socket of a manager that gives none: sd_listen_fds_with_names(3).
const NAMELESS: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(names: &[&str]) -> Passed {
        let socket = || Socket::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        Passed { sockets: names.iter().map(|name| ((*name).to_owned(), socket())).collect() }
    }

    #[test]
    fn each_socket_has_a_name() {
        assert_eq!(named(2, Some("smtp:pop3")).unwrap(), ["smtp", "pop3"]);
        assert_eq!(named(2, None).unwrap(), [NAMELESS, NAMELESS]);
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
        let error = all.are_claimed().unwrap_err().to_string();
        assert!(error.contains("address = \"systemd:pop3\""), "{error}");
        assert!(Passed::default().are_claimed().is_ok());
        let error = Passed::default().take("smtp").unwrap_err().to_string();
        assert!(error.contains("nor any other: a socket unit with FileDescriptorName=smtp"), "{error}");
    }
}
