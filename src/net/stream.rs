//! Sockets of both kinds: of the network, and in the file system.
//!
//! The rule: the file of a socket is removed when nobody listens behind it, and never while somebody does.

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
use rustix::fs::FileType;

use super::endpoint::Endpoint;
use crate::{
    closing,
    safe_file::{self, Directory},
};

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    /// At an address.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener, SocketFile),
}

/// The file of a socket. It goes with the socket if it is ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, if it is ours.
    file: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            closing::release(Removal { path: std::mem::take(&mut self.path), file });
        }
    }
}

/// Removes the file of a socket when it is dropped, unless another socket has its name by then.
struct Removal {
    path: PathBuf,
    file: (u64, u64),
}

impl Drop for Removal {
    fn drop(&mut self) {
        if id_of(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path); // the next start removes it
        }
    }
}

/// Device and inode.
fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// One connection.
#[derive(Debug)]
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl Socket {
    /// Listens at an endpoint. A socket file is for its owner and group, and takes the place of one that was
    /// left behind.
    ///
    /// # Errors
    /// The endpoint cannot be had; [`io::ErrorKind::AddrInUse`]: somebody else listens there.
    pub fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Ip(address) => TcpListener::bind(*address).map(Self::Tcp),
            Endpoint::Unix(path) => {
                // Postfix has its sockets in a directory of its own user: what is there is not followed.
                let directory = Directory::of_others(safe_file::parent(path))?;
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                remove_if_stale(path, &directory, name)?;
                let socket = UnixListener::bind(path)?;
                let file = SocketFile { path: path.clone(), file: Some(id_of(path)?) };
                directory.set_mode_of_socket(name, 0o660)?;
                Ok(Self::Unix(socket, file))
            }
            Endpoint::Passed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A socket of the network that somebody else has opened.
    ///
    /// # Errors
    /// It cannot be made not to block.
    pub fn from_tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(socket)))
    }

    /// A socket in the file system that somebody else has opened, who removes its file, too. An abstract name
    /// has no file, and is written behind an `@`.
    ///
    /// # Errors
    /// It cannot be made not to block, or is nowhere.
    pub fn from_unix(socket: unix::net::UnixListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let name = address.as_abstract_name().map(|name| format!("@{}", name.escape_ascii()).into());
        let Some(path) = address.as_pathname().map(Path::to_owned).or(name) else {
            return Err(io::Error::other("it has no name"));
        };
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(socket), SocketFile { path, file: None }))
    }

    /// Where it really is.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Endpoint::Ip),
            Self::Unix(_, file) => Ok(Endpoint::Unix(file.path.clone())),
        }
    }

    /// Takes a connection, and the address of its client: of a program on this machine, 127.0.0.1.
    pub fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                let _ = stream.set_nodelay(true); // slower, not wrong
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

    /// Asks for events.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    /// Lets go of the endpoint.
    pub fn stop(mut self, registry: &Registry) {
        let _ = self.source().deregister(registry); // dropping it does the same
    }
}

/// Removes a socket behind which nobody listens, as a server leaves it that was killed.
fn remove_if_stale(path: &Path, directory: &Directory, name: &OsStr) -> io::Result<()> {
    match directory.kind(name)? {
        Some(FileType::Socket) => {}
        Some(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        None => return Ok(()),
    }
    // Without waiting: whoever is too busy to accept us is there.
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => directory.remove(name),
        Err(error) => Err(error),
    }
}

impl Stream {
    /// Asks for events of both kinds.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, both),
            Self::Unix(stream) => stream.register(registry, token, both),
        }
    }

    /// The first octets that wait to be read, and go on waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] on a socket in the file system.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(buffer),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Says to the peer that nothing more will come.
    pub fn shut_down(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }; // a peer that is gone already does not mind
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_socket_file_is_taken_over_only_when_nobody_listens() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lmtp.sock");
        let endpoint = Endpoint::Unix(path.clone());
        let first = Socket::bind(&endpoint).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(Socket::bind(&endpoint).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let Socket::Unix(socket, file) = first else { panic!() };
        std::mem::forget(file); // as after a kill -9
        drop(socket);
        assert!(path.exists());
        drop(Socket::bind(&endpoint).unwrap());
        assert!(!path.exists(), "who goes in good order leaves nothing behind");

        fs::write(&path, "somebody's file").unwrap();
        assert_eq!(Socket::bind(&endpoint).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's file");
    }
}
