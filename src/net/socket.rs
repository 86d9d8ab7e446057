//! Sockets of both kinds, TCP and Unix.
//!
//! The rule: a socket file is removed after its listener is closed, and never while one is open.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
    os::{
        linux::net::SocketAddrExt,
        unix::{self, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use nix::unistd::Group;
use rustix::{
    fs::{FileType, Gid},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, listen, socket_with, sockopt::set_socket_reuseaddr},
};

use super::endpoint::Endpoint;
use crate::{
    deferred_drop,
    safe_file::{self, Directory},
};

/// A socket that accepts connections, without waiting.
#[derive(Debug)]
pub enum ListenSocket {
    /// A TCP socket of IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix socket with its file.
    Unix(UnixListener, SocketFile),
}

/// The file of a socket, removed with it if this process created it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, if this process created it.
    file: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            deferred_drop::drop_deferred(UnlinkOnDrop { path: std::mem::take(&mut self.path), file });
        }
    }
}

/// Removes a socket's file when it is dropped, unless another socket has taken its name.
struct UnlinkOnDrop {
    path: PathBuf,
    file: (u64, u64),
}

impl Drop for UnlinkOnDrop {
    fn drop(&mut self) {
        if id_of(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path); // a leftover is removed at the next start
        }
    }
}

fn find_group(name: &str) -> io::Result<Gid> {
    let group = Group::from_name(name)?;
    let told = || format!("there is no group {name:?} on this machine: correct socket_group");
    group.map(|group| Gid::from_raw(group.gid.as_raw())).ok_or_else(|| io::Error::other(told()))
}

fn not_in_group(group: &str) -> String {
    format!(
        "the socket cannot be given to the group {group}: start the server as root, with `user` in the configuration, \
         or add its user to the group"
    )
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// A connected socket that never waits.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection, with TCP_NODELAY.
    Tcp(TcpStream),
    /// A connection to a Unix socket. Its other end has no address.
    Unix(UnixStream),
}

impl ListenSocket {
    /// Listens at an endpoint. A socket file has a mode for owner and `group`, and replaces one left by a
    /// killed server.
    ///
    /// # Errors
    /// The endpoint is not available; [`io::ErrorKind::AddrInUse`] if another process listens there. There is no such
    /// group, or this user is not in it.
    pub fn bind(endpoint: &Endpoint, group: Option<&str>) -> io::Result<Self> {
        match endpoint {
            Endpoint::Ip(address) => {
                let socket = TcpListener::bind(*address)?;
                listen(&socket, BACKLOG)?; // mio asks for 128
                Ok(Self::Tcp(socket))
            }
            Endpoint::Unix(path) => {
                // Postfix keeps its sockets in a directory of its own user, so links in it are not followed.
                let directory = Directory::untrusted(safe_file::parent(path))?;
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                let gid = group.map(find_group).transpose()?;
                remove_if_stale(path, &directory, name)?;
                let socket = UnixListener::bind(path)?;
                listen(&socket, BACKLOG)?;
                let file = SocketFile { path: path.clone(), file: Some(id_of(path)?) };
                directory.set_access_to_socket(name, 0o660, gid).map_err(|error| match group {
                    Some(group) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                        io::Error::other(not_in_group(group))
                    }
                    _ => error,
                })?;
                Ok(Self::Unix(socket, file))
            }
            Endpoint::Inherited(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether [`Self::bind`] would succeed. Nothing listens meanwhile, so no client is accepted, and a socket file
    /// stays as it is.
    ///
    /// # Errors
    /// As for [`Self::bind`].
    pub fn try_bind(endpoint: &Endpoint, group: Option<&str>) -> io::Result<()> {
        group.map(find_group).transpose()?;
        match endpoint {
            Endpoint::Ip(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
                set_socket_reuseaddr(&socket, true)?; // as the listener has it
                Ok(rustix::net::bind(&socket, address)?)
            }
            Endpoint::Unix(path) => {
                let directory = Directory::untrusted(safe_file::parent(path))?;
                check_stale(path, &directory, path.file_name().ok_or(io::ErrorKind::InvalidInput)?).map(drop)
            }
            Endpoint::Inherited(_) => Ok(()),
        }
    }

    /// Adopts a TCP socket opened by another process.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn from_tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(socket)))
    }

    /// Adopts a Unix socket opened by another process, which also removes its file. An abstract name has no
    /// file, and is written after `@`.
    ///
    /// # Errors
    /// It cannot be made non-blocking, or has no name.
    pub fn from_unix(socket: unix::net::UnixListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let name = address.as_abstract_name().map(|name| format!("@{}", name.escape_ascii()).into());
        let Some(path) = address.as_pathname().map(Path::to_owned).or(name) else {
            return Err(io::Error::other("it has no name"));
        };
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(socket), SocketFile { path, file: None }))
    }

    /// The endpoint that the system assigned: if port 0 was requested, another one.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Endpoint::Ip),
            Self::Unix(_, file) => Ok(Endpoint::Unix(file.path.clone())),
        }
    }

    /// Accepts a connection, with the address of its client; 127.0.0.1 for a Unix socket.
    pub fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                let _ = stream.set_nodelay(true); // without it the connection is slower, not wrong
                Ok((Stream::Tcp(stream), SocketAddr::new(peer.ip().to_canonical(), peer.port())))
            }
            Self::Unix(socket, _) => {
                let (stream, _) = socket.accept()?;
                Ok((Stream::Unix(stream), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)))
            }
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(socket) => socket,
            Self::Unix(socket, _) => socket,
        }
    }

    /// Registers for events that announce clients.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    /// Closes the socket, and removes its file if this process created it.
    pub fn close(mut self, registry: &Registry) {
        let _ = self.source().deregister(registry); // dropping it does the same
    }
}

/// Connections that may wait to be accepted; the kernel may lower it (net.core.somaxconn). If the queue is full, the
/// kernel drops the client's SYN, and the client tries again after a second.
pub(crate) const BACKLOG: i32 = 1024;

/// Removes a socket file without a listener, as a killed server leaves it.
fn remove_if_stale(path: &Path, directory: &Directory, name: &OsStr) -> io::Result<()> {
    if check_stale(path, directory, name)? { directory.remove(name) } else { Ok(()) }
}

/// Whether a socket file without a listener has the name.
///
/// # Errors
/// Another program listens there, or something else has the name.
fn check_stale(path: &Path, directory: &Directory, name: &OsStr) -> io::Result<bool> {
    match directory.kind(name)? {
        Some(FileType::Socket) => {}
        Some(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file there is not a socket"));
        }
        None => return Ok(false),
    }
    // Non-blocking: a server too busy to accept the connection is still running.
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error),
    }
}

impl Stream {
    /// Registers for both kinds of events.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, both),
            Self::Unix(stream) => stream.register(registry, token, both),
        }
    }

    /// Copies the first unread octets without consuming them.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] on a Unix socket.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(buffer),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Closes the sending direction: the peer reads the end of the data.
    pub fn shut_down(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }; // the peer may be gone already
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(octets),
            Self::Unix(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use super::*;

    /// A client whose SYN is dropped waits a second at least, and for ever if no connection is accepted.
    #[test]
    fn l14_hundreds_of_clients_may_wait_to_be_accepted() {
        let listener = ListenSocket::bind(&"127.0.0.1:0".parse().unwrap(), None).unwrap();
        let Endpoint::Ip(address) = listener.endpoint().unwrap() else { panic!() };
        let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        let waiting: Vec<_> = (0..300).map(connect).collect();
        assert_eq!(waiting.iter().filter(|client| client.peer_addr().is_ok()).count(), 300);
    }

    #[test]
    fn a_group_that_does_not_exist_leaves_no_socket() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(home.path().join("lmtp.sock"));
        for done in [
            ListenSocket::bind(&endpoint, Some("no-such-group")).map(drop),
            ListenSocket::try_bind(&endpoint, Some("no-such-group")),
        ] {
            assert!(done.unwrap_err().to_string().contains("no group \"no-such-group\""));
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_file_is_taken_over_only_when_nobody_listens() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lmtp.sock");
        let endpoint = Endpoint::Unix(path.clone());
        let first = ListenSocket::bind(&endpoint, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(ListenSocket::bind(&endpoint, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let ListenSocket::Unix(socket, file) = first else { panic!() };
        std::mem::forget(file); // as after a kill -9
        drop(socket);
        assert!(path.exists());
        drop(ListenSocket::bind(&endpoint, None).unwrap());
        assert!(!path.exists(), "who goes in good order leaves nothing behind");

        fs::write(&path, "somebody's file").unwrap();
        assert_eq!(ListenSocket::bind(&endpoint, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's file");
    }
}
