//! Single files, through the descriptor of their directory.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    time::SystemTime,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

/// The event that the content of a file has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Written to the page cache: the content may be lost with the power.
    Cached,
    /// Content and name are on the disk before the call returns.
    Durable,
}

/// Replaces a file: creates the new one in the first of two directories of one file system, and renames it into the
/// second.
///
/// # Errors
/// An error of the system. The name then has the old file, or the whole new one.
pub fn replace_in(
    (from, into): (impl AsFd, impl AsFd),
    name: &OsStr,
    mode: u32,
    content: &[u8],
    keep: Durability,
) -> io::Result<()> {
    let unfinished = tmp_name()?;
    let mut file = create_in(&from, &unfinished, mode)?;
    let done = file.write_all(content).and_then(|()| {
        if keep == Durability::Durable {
            file.sync_all()?;
        }
        fs::renameat(&from, &unfinished, &into, name)?;
        if keep == Durability::Durable {
            sync(&into)?;
        }
        Ok(())
    });
    if done.is_err() {
        let _ = fs::unlinkat(&from, &unfinished, AtFlags::empty()); // it may have its name already
    }
    done
}

/// Creates a new file with exactly this mode, whatever the umask.
pub(super) fn create_in(dir: impl AsFd, name: &OsStr, mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    if mode != 0o600 {
        fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    }
    Ok(File::from(file))
}

/// Opens a regular file to write in its place, or creates it if `how` says so. The file must have no other name, because
/// the owner of the directory may have made this name for a file of another user. `RDWR` in `how` opens it to read it too.
///
/// # Errors
/// `MLINK` for a file with other names, `INVAL` for a name that belongs to no regular file.
pub fn open_to_write_in(dir: impl AsFd, name: &OsStr, how: OFlags) -> Result<File, Errno> {
    let access = if how.contains(OFlags::RDWR) { OFlags::RDWR } else { OFlags::WRONLY };
    let flags = how | access | OFlags::NOFOLLOW | NO_WAIT;
    let file = match fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR) {
        Err(Errno::NXIO) => return Err(Errno::INVAL), // a FIFO without a reader
        opened => opened?,
    };
    let stat = fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink == 1 => Ok(File::from(file)),
        FileType::RegularFile => Err(Errno::MLINK),
        _ => Err(Errno::INVAL),
    }
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// Whether this is the random name of a file that never got its own name.
pub fn is_tmp_name(name: &OsStr) -> bool {
    let random = name.as_bytes().strip_prefix(TMP_PREFIX).and_then(|rest| rest.strip_suffix(TMP_SUFFIX));
    random.is_some_and(|random| random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit))
}

pub(super) fn tmp_name() -> io::Result<OsString> {
    let random = format!("{:016x}", getrandom::u64().map_err(io::Error::other)?);
    Ok(OsStr::from_bytes(&[TMP_PREFIX, random.as_bytes(), TMP_SUFFIX].concat()).to_owned())
}

pub(super) fn contents(file: File, max: u64) -> io::Result<(Vec<u8>, SystemTime)> {
    let file = regular(file)?;
    let written = file.metadata()?.modified()?;
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        let why = format!("longer than the {max} octets that are read of it");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok((content, written))
}

/// Makes the names in a directory durable. The descriptor may be one that cannot read.
pub(super) fn sync(dir: impl AsFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    sync_directory(fs::openat(dir, c".", flags, Mode::empty())?)
}

/// Makes the names in a directory durable. XFS that has shut itself down, after an error of its disk, has
/// nothing left to write and calls that a success; asked for the state of a file, it admits the shutdown.
///
/// # Errors
/// The disk failed.
pub fn sync_directory(dir: impl AsFd) -> Result<(), Errno> {
    fs::fsync(&dir)?;
    fs::fstat(dir).map(drop)
}

pub(super) const NO_WAIT: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const TMP_PREFIX: &[u8] = b".restante.";
const TMP_SUFFIX: &[u8] = b".new";
