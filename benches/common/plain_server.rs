//! The limit of memory and loopback: files to sockets, without a mail server around it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use super::{client, pop3_load::Maildrop};

/// The limit to compare with: a client names a mailbox, then message after message, and gets the length and the bytes of
/// each file.
pub(crate) fn serve_plainly(spool: PathBuf) -> io::Result<SocketAddr> {
    serve_each("the plain server", move |stream| send_plainly(&spool, stream))
}

/// Serves each connection by a thread of its own. The threads end with this process.
pub(crate) fn serve_each(
    name: &'static str,
    serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                if let Err(error) = serve(stream) {
                    eprintln!("{name}: {error}");
                }
            });
        }
    });
    Ok(address)
}

fn send_plainly(spool: &Path, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let Some(user) = lines.next().transpose()? else { return Ok(()) };
    let new = spool.join(user).join("new");
    let mut buffer = vec![0; client::READ];
    for number in lines {
        let number = number?.parse().map_err(io::Error::other)?;
        let mut file = fs::File::open(new.join(Maildrop::file(number)))?;
        // The length goes out with the first bytes: a small message is one write, as it is for a good server.
        buffer[..LENGTH].copy_from_slice(&file.metadata()?.len().to_be_bytes());
        let mut kept = LENGTH;
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 && kept == 0 {
                break;
            }
            stream.write_all(&buffer[..kept + read])?;
            kept = 0;
        }
    }
    Ok(())
}

/// Octets of the length that goes before a file.
pub(crate) const LENGTH: usize = size_of::<u64>();
