//! Opens and reads the regular files that a person names by path. A leaf: imports no other module of the crate.
//!
//! The rule: neither opening nor reading such a file waits for another process or takes more memory than the caller
//! allows. A FIFO, a device, a socket and a directory are refused with a message. A file that grows while it is read
//! is read up to the bound and no further. Links are followed, because they are the operator's. A dead file server
//! can still make the kernel wait: only a thread that may block calls this.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

/// Opens a regular file for reading, without waiting for a writer and without acquiring a controlling terminal.
///
/// # Errors
/// It cannot be opened, or it is not a regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Checked before it is opened, because opening a device may have an effect on it.
    must_be_regular(fs::metadata(path)?.file_type())?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    must_be_regular(file.metadata()?.file_type())?; // the name may lead elsewhere by now
    Ok(file)
}

/// Reads a whole regular file.
///
/// # Errors
/// It cannot be opened or read, is not a regular file, or has more than `limit` octets.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_open(open_regular(path)?, limit)
}

/// Reads the whole of a file that [`open_regular`] has opened.
///
/// # Errors
/// It cannot be read, or has more than `limit` octets.
pub(crate) fn read_open(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    if size > limit {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

/// Reads a whole regular file of UTF-8, without the mark that some editors put in front (a byte order mark).
///
/// # Errors
/// As for [`read_bounded`], or the file is not UTF-8.
pub(crate) fn read_text_bounded(path: &Path, limit: u64) -> io::Result<String> {
    let mut octets = read_bounded(path, limit)?;
    if octets.starts_with(UTF_8_MARK) {
        octets.drain(..UTF_8_MARK.len());
    }
    let is_utf_16 = UTF_16_MARKS.iter().any(|mark| octets.starts_with(mark));
    String::from_utf8(octets).map_err(|error| {
        let why = if is_utf_16 {
            "UTF-16".to_owned()
        } else {
            format!("not UTF-8 at octet {}", error.utf8_error().valid_up_to())
        };
        io::Error::new(io::ErrorKind::InvalidData, format!("it is {why}: save it as UTF-8"))
    })
}

const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

fn must_be_regular(kind: FileType) -> io::Result<()> {
    let (error, name) = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => (io::ErrorKind::IsADirectory, "a directory"),
        kind if kind.is_fifo() => (io::ErrorKind::InvalidInput, "a FIFO"),
        kind if kind.is_socket() => (io::ErrorKind::InvalidInput, "a socket"),
        _ => (io::ErrorKind::InvalidInput, "a device"),
    };
    Err(io::Error::new(error, format!("it is {name}, a regular file is needed")))
}

fn too_large(limit: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("it is larger than {} MiB ({limit} octets), the most that is read of it", limit >> 20),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    const LIMIT: u64 = 1 << 20;

    #[test]
    fn a_regular_file_is_read_up_to_the_limit_also_through_a_link() {
        let home = tempfile::tempdir().unwrap();
        let (path, link) = (home.path().join("file"), home.path().join("link"));
        symlink(&path, &link).unwrap();
        for size in [0, 1, LIMIT] {
            fs::write(&path, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
            assert_eq!(read_bounded(&path, LIMIT).unwrap().len() as u64, size);
            assert_eq!(read_text_bounded(&link, LIMIT).unwrap().len() as u64, size);
        }
        File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
        let error = read_bounded(&path, LIMIT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is larger than 1 MiB (1048576 octets), the most that is read of it"
        );
    }

    #[test]
    fn nothing_else_is_opened_and_each_is_named() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink(at("fifo"), at("link")).unwrap();
        for (path, name) in [
            (home.path().to_owned(), "a directory"),
            (at("fifo"), "a FIFO"),
            (at("link"), "a FIFO"),
            (at("socket"), "a socket"),
            (at("zero"), "a device"),
            ("/dev/tty".into(), "a device"),
        ] {
            let error = read_bounded(&path, LIMIT).unwrap_err().to_string();
            assert_eq!(error, format!("it is {name}, a regular file is needed"), "{}", path.display());
        }
        let absent = read_bounded(&at("absent"), LIMIT).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_says_it_is_empty_is_bounded_too() {
        // The size of files in /proc is 0, whatever they contain.
        let whole = read_bounded(Path::new("/proc/self/status"), LIMIT).unwrap();
        assert!(!whole.is_empty());
        assert!(read_bounded(Path::new("/proc/self/status"), 5).is_err());
    }
}
