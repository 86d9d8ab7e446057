//! The limit of memory and loopback for IMAP: files to sockets, in as much of the protocol as one client needs.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{imap_load::file_name, plain_server::serve_each};

/// Serves mailboxes of so many messages each, which `imap_load::fill` made. Each connection has a thread, which opens the
/// files that are asked for, and writes them to the socket as they are, several together.
pub(crate) fn serve_imap_plainly(maildirs: PathBuf, messages: usize) -> io::Result<SocketAddr> {
    serve_each("the plain IMAP server", move |stream| serve(&maildirs, messages, stream))
}

fn serve(maildirs: &Path, messages: usize, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"* OK\r\n")?;
    let mut folder = PathBuf::new();
    let mut output = Vec::with_capacity(2 * WRITE);
    while let Some(line) = lines.next().transpose()? {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [_, "LOGIN", user, _] => folder = maildirs.join(user).join("cur"),
            [_, "SELECT", _] => output.extend_from_slice(format!("* {messages} EXISTS\r\n").as_bytes()),
            [_, "UID", "FETCH", "1:*", ..] => fetch(&folder, 0..messages, &mut output, &mut stream)?,
            [_, "FETCH", number, ..] => {
                let number: usize = number.parse().map_err(io::Error::other)?;
                fetch(&folder, number - 1..number, &mut output, &mut stream)?;
            }
            _ => return Err(io::Error::other(format!("the command {line:?}"))),
        }
        output.extend_from_slice(format!("{} OK\r\n", words[0]).as_bytes());
        stream.write_all(&output)?;
        output.clear();
    }
    Ok(())
}

/// Sends whole messages; the caller writes the rest of `output`.
fn fetch(folder: &Path, files: Range<usize>, output: &mut Vec<u8>, stream: &mut TcpStream) -> io::Result<()> {
    for file in files {
        let mut message = File::open(folder.join(file_name(file)))?;
        let (number, octets) = (file + 1, message.metadata()?.len());
        write!(output, "* {number} FETCH (UID {number} BODY[] {{{octets}}}\r\n")?;
        message.read_to_end(output)?;
        output.extend_from_slice(b")\r\n");
        if output.len() >= WRITE {
            stream.write_all(output)?;
            output.clear();
        }
    }
    Ok(())
}

/// Octets of one write, where there are so many.
const WRITE: usize = 64 * 1024;
