//! The rights of this process to files, by their owners and modes, and the commands that give it one that it lacks.
//!
//! The rule: nothing is changed here, and a sandbox is not seen: it leaves access(2) alone.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{self, Component, Path, PathBuf},
    sync::OnceLock,
};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::{
    fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, major, minor, statvfs},
    io::Errno,
    process::geteuid,
};

use crate::command_hint::{path_word, selected_spool, shell_quoted};

/// Whether owners and modes refuse that right to this process, with the user that it has at the moment.
pub(crate) fn is_denied(path: &Path, rights: Access) -> bool {
    matches!(accessat(CWD, path, rights, AtFlags::EACCESS), Err(Errno::ACCESS | Errno::PERM))
}

/// Whether the user of this process owns the file.
pub(crate) fn is_own(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.uid() == geteuid().as_raw())
}

/// The directory above a file that keeps this user out of all that is in it.
pub(crate) fn closed_directory(path: &Path) -> Option<&Path> {
    let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    above.filter(|above| is_denied(above, Access::EXEC_OK)).last()
}

/// The advice that lets the user of this process into a directory.
pub(crate) fn way_into(directory: &Path) -> String {
    let (word, name, group) = (path_word(directory), user_name(), group_name());
    if is_own(directory) {
        return format!("let its owner in with `chmod u+x {word}`");
    }
    format!("as root, run `chgrp {group} {word}` and `chmod g+x {word}`, or `setfacl -m u:{name}:x {word}`")
}

/// The commands after which the user of this process can read the file, if owners or modes refuse that now.
pub(crate) fn way_to_read(file: &Path) -> Option<String> {
    if !is_denied(file, Access::READ_OK) {
        return None;
    }
    let (place, right) = match closed_directory(file) {
        Some(directory) => (directory, 'x'),
        None => (file, 'r'),
    };
    let word = path_word(place);
    Some(if is_own(place) {
        format!("run `chmod u+{right} {word}`")
    } else {
        format!("run `chgrp {} {word}` and `chmod g+{right} {word}`", group_name())
    })
}

/// The advice after which the user of this process can read a file, for one that its own programs write. Another user who
/// has replaced the file in a directory of this one gives it back.
pub(crate) fn way_to_read_again(file: &Path) -> Option<String> {
    let way = way_to_read(file)?;
    let is_replaced = closed_directory(file).is_none() && !is_own(file) && file.parent().is_some_and(is_own);
    Some(if is_replaced {
        advice_to_own(file, &name_of(Uid::effective()))
    } else {
        format!("as root, {way}")
    })
}

/// A file or directory of another user, who keeps the user of this process from changing it or what is in it.
#[derive(Debug)]
pub(crate) struct ForeignPlace {
    /// The topmost of them in the spool: the directory above it is no obstacle.
    pub(crate) path: PathBuf,
    owner: u32,
    /// Another user whose server has the place, or one in it, as its spool.
    server: Option<Uid>,
}

impl ForeignPlace {
    /// The place that keeps this process from changing a path below a directory of its own. `None` if no other user does,
    /// and also if none of the directories above lets this process in: then this is the wrong process, not the wrong owner.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let path = without_steps_up(path)?;
        let closed = closed_place(&path).filter(|place| !is_own(place))?;
        let is_closed = |place: &&Path| *place == closed || (!is_own(place) && is_denied(place, ALL));
        let top = closed.ancestors().take_while(is_closed).last()?;
        let above = top.parent()?;
        // Every user may make a directory in one like /tmp, and that makes nothing in it theirs.
        let is_shared = fs::metadata(above).is_ok_and(|about| about.mode() & STICKY != 0);
        if is_shared && !is_own(above) {
            return None;
        }
        // A directory above the spool may have files of others.
        let spool = selected_spool().and_then(without_steps_up);
        let is_below = |spool: &&Path| path.starts_with(spool) && *spool != top && spool.starts_with(top);
        let top = match spool.as_deref().filter(is_below) {
            Some(spool) if closed.starts_with(spool) => spool,
            Some(_) => return None,
            None => top,
        };
        let below = path.ancestors().take_while(|below| below.starts_with(top));
        let server = below.filter_map(lock_holder).find(|user| *user != Uid::effective());
        Some(Self { path: top.to_owned(), owner: owner_of(top)?, server })
    }

    /// The owner, in words. Without a name: the server finds none in its sandbox.
    pub(crate) fn owner(&self) -> String {
        owner_words(self.owner)
    }

    /// The advice that gives the place to the user of this process, unless that would take it from a server that runs.
    pub(crate) fn advice(&self) -> String {
        match self.server {
            Some(user) => {
                format!("{}, so leave its owner: {}", server_words(user), way_to_become(user))
            }
            None => advice_to_own(&self.path, &user_name()),
        }
    }
}

/// The sentence for a place that is the spool of a server of that user.
pub(crate) fn server_words(user: Uid) -> String {
    format!("a server of the user {:?} has it", name_of(user))
}

/// The end of the advice about a directory that a server has: `command` gives it to another user, and the operator may have
/// changed `user` on purpose.
pub(crate) fn advice_to_hand_over(server: Option<Uid>, command: &str) -> String {
    let advice = |_| {
        format!("; if you have changed `user` on purpose, stop that server, then, as root, run {command}")
    };
    server.map(advice).unwrap_or_default()
}

/// The ways to run the same command with the rights of that user.
pub(crate) fn way_to_become(user: Uid) -> String {
    if user.is_root() {
        return "run this as root".into();
    }
    let name = User::from_uid(user).ok().flatten().map_or_else(|| format!("#{user}"), |user| user.name);
    format!("run this as root, or with `sudo -u {}`", shell_quoted(&name))
}

/// The user of the process that holds a lock of flock(2) on a directory, as a server does on its spool. Every user may read
/// `/proc/locks`.
pub(crate) fn lock_holder(directory: &Path) -> Option<Uid> {
    let about = fs::metadata(directory).ok()?;
    let process = lock_process(&about)?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = ids.and_then(|ids| ids.split_ascii_whitespace().nth(1)?.parse().ok());
    // The process is not shown if it belongs to a container, or if /proc hides the processes of others.
    Some(Uid::from_raw(effective.unwrap_or_else(|| about.uid())))
}

/// The place that is mounted read-only and has a directory, which lies in one that is not: the directory or one above it.
/// `None` for a directory that is writable, or on a disk that is read-only as a whole.
pub(crate) fn read_only_below(directory: &Path, above: &Path) -> Option<PathBuf> {
    let is_read_only =
        |path: &Path| statvfs(path).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY));
    if !is_read_only(directory) || is_read_only(above) {
        return None;
    }
    let below = directory.ancestors().take_while(|path| *path != above && is_read_only(path));
    below.last().map(Path::to_owned)
}

/// The words after a path that is mounted read-only.
pub(crate) fn advice_to_mount(place: &Path) -> String {
    format!("as root, run `mount -o remount,bind,rw {}`, or mount its disk writable", path_word(place))
}

/// The directory in /proc of that process.
pub(crate) fn process_with_lock(directory: &Path) -> Option<PathBuf> {
    let process = lock_process(&fs::metadata(directory).ok()?)?;
    Some(Path::new("/proc").join(process))
}

/// The words of the command of that process, as `cmdline` of proc(5) has them: each ends with a zero octet.
#[cfg(feature = "tools")]
pub(crate) fn words_of_lock_holder(directory: &Path) -> Option<Vec<u8>> {
    fs::read(process_with_lock(directory)?.join("cmdline")).ok()
}

/// The number of the process that holds a lock on the directory that this is about.
fn lock_process(about: &Metadata) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let (device, inode) = ((major(about.dev()), minor(about.dev())), about.ino());
    locks.lines().filter_map(FileLock::parse).find_map(|lock| {
        let is_on = lock.is_on(device, inode, |process| may_have_open(process, about));
        is_on.then(|| lock.process.to_owned())
    })
}

/// A lock of flock(2), as a line of `/proc/locks` shows it (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct FileLock<'a> {
    process: &'a str,
    /// The major and the minor number.
    device: (u32, u32),
    inode: u64,
}

impl<'a> FileLock<'a> {
    /// `None` for a lock of another kind, and for a process that waits for one.
    fn parse(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (kind, process, file) = (words.get(1)?, words.get(4)?, words.get(5)?);
        let mut numbers = file.split(':');
        let mut hex = || u32::from_str_radix(numbers.next()?, 16).ok();
        let device = (hex()?, hex()?);
        let inode = numbers.next()?.parse().ok()?;
        (*kind == "FLOCK").then_some(Self { process, device, inode })
    }

    /// Whether it is on the file with the device and the inode of stat(2).
    ///
    /// The rule: the roots of two file systems may have one inode number, so the devices are compared too. stat(2) may tell
    /// another device than `/proc/locks` only where no block device is below (major number 0), as on btrfs; there the
    /// process must have the file open, as far as that can be known.
    fn is_on(&self, device: (u32, u32), inode: u64, may_have_open: impl FnOnce(&str) -> bool) -> bool {
        let has_other_name = self.device.0 == 0 && device.0 == 0;
        self.inode == inode && (self.device == device || (has_other_name && may_have_open(self.process)))
    }
}

/// Whether a process has that file open, or does not show its files to this user.
fn may_have_open(process: &str, about: &Metadata) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return true };
    let files = open.flatten().filter_map(|entry| fs::metadata(entry.path()).ok());
    files.into_iter().any(|file| (file.dev(), file.ino()) == (about.dev(), about.ino()))
}

/// The advice that gives a file, or a directory with all that is in it, to that user.
pub(crate) fn advice_to_own(path: &Path, user: &str) -> String {
    let command = if path.is_dir() { "chown -R" } else { "chown" };
    format!("as root, run `{command} {user}: {}`", path_word(path))
}

/// The advice that gives a file to the user of this process. It looks at nothing, so the event loop may ask for it.
pub(crate) fn advice_to_own_file(file: &Path) -> String {
    format!("as root, run `chown {}: {}`", user_name(), path_word(file))
}

/// The advice for a file of the user of this process that its mode closes. It looks at nothing either.
pub(crate) fn advice_to_open_file(file: &Path) -> String {
    format!("let its owner in with `chmod u+rw {}`", path_word(file))
}

/// The reason why this process may not change a path, with the advice that mends it, if an owner or a mode is the reason.
pub(crate) fn way_to_change(path: &Path) -> Option<String> {
    if let Some(place) = ForeignPlace::of(path) {
        return Some(format!("{} is of {}: {}", place.path.display(), place.owner(), place.advice()));
    }
    let path = without_steps_up(path)?;
    let closed = closed_place(&path)?;
    if !is_own(closed) {
        return words_of_foreign(closed);
    }
    let about = fs::metadata(closed).ok()?;
    let (bits, rights) = if about.is_dir() { (0o700, "rwx") } else { (0o600, "rw") };
    // Otherwise the file is immutable, as chattr(1) makes it.
    (about.mode() & bits != bits)
        .then(|| format!("let its owner in with `chmod u+{rights} {}`", path_word(closed)))
}

/// The reason why this process may not read a path, for a command that changes nothing: another user keeps the mail, and the
/// command is for that user. `None` if no other user is the reason.
#[cfg(feature = "tools")]
pub(crate) fn way_to_read_as_owner(path: &Path) -> Option<String> {
    if ForeignPlace::of(path).is_some_and(|place| place.server.is_some()) {
        return way_to_change(path);
    }
    let path = without_steps_up(path)?;
    let closed = closed_place(&path).filter(|place| !is_own(place))?;
    let owner = Uid::from_raw(owner_of(closed)?);
    Some(format!("{}: {}", words_of_foreign(closed)?, way_to_become(owner)))
}

/// The sentence for a place of another user.
fn words_of_foreign(closed: &Path) -> Option<String> {
    let owner = match owner_of(closed)? {
        0 => "root, its owner,".to_owned(),
        owner => format!("root and its owner, {},", owner_words(owner)),
    };
    let verb = if is_unreadable(closed) { "open" } else { "change" };
    Some(format!("only {owner} may {verb} {}", closed.display()))
}

/// The reason why the user of this process, the server's, no longer gets into its spool, with the command that lets it in.
/// `None` if no directory above the spool and no other owner is the reason.
pub(crate) fn way_back_into(spool: &Path) -> Option<String> {
    if let Some(closed) = closed_directory(spool) {
        return Some(format!("{} is closed to the server's user: {}", closed.display(), way_into(closed)));
    }
    if !is_denied(spool, ALL) || is_own(spool) {
        return None;
    }
    // A link may lead below a directory that is closed: then the owner is not the reason.
    let owner = owner_words(fs::metadata(spool).ok()?.uid());
    Some(format!("{} is of {owner}: {}", spool.display(), advice_to_own(spool, &user_name())))
}

/// The advice after which the user of this process can make a file or append to it, if owners or modes refuse that now.
pub(crate) fn way_to_append(file: &Path) -> Option<String> {
    let above = file.parent()?;
    if let Some(closed) = closed_directory(above) {
        return Some(way_into(closed));
    }
    if file.symlink_metadata().is_ok() {
        return is_denied(file, Access::WRITE_OK).then(|| {
            if is_own(file) {
                format!("let its owner write to it with `chmod u+rw {}`", path_word(file))
            } else {
                advice_to_own(file, &user_name())
            }
        });
    }
    if owner_of(above) != Some(0) || !is_denied(above, Access::WRITE_OK | Access::EXEC_OK) {
        return way_to_change(file);
    }
    let command = || format!("as root, run `chown {}: {}`", user_name(), path_word(above));
    Some(of_its_own(above).unwrap_or_else(command))
}

/// The advice to make a directory in one of root that has other files, such as `/run` or `/etc`, because its owner could replace
/// those. `None` for any other directory.
pub(crate) fn of_its_own(above: &Path) -> Option<String> {
    let is_of_root = !is_own(above) && fs::metadata(above).is_ok_and(|about| about.uid() == 0);
    let has_files = || match fs::read_dir(above) {
        Ok(mut entries) => entries.next().is_some(),
        // A sandbox hides what the modes show.
        Err(_) => !is_denied(above, Access::READ_OK),
    };
    (is_of_root && has_files()).then(|| {
        let own = above.join("restante");
        format!(
            "it is root's and has other files: make a directory of its own, as root, with {}, and name a file in {}",
            way_to_make(&own, "755"),
            own.display()
        )
    })
}

/// The file or directory whose owner or mode keeps this process from changing that path: a directory above it, itself if it is
/// closed to readers too, the one that it is in, or itself.
fn closed_place(path: &Path) -> Option<&Path> {
    let is_closed = |place: &Path| is_denied(place, ALL);
    let unreadable = || Some(path).filter(|path| is_unreadable(path));
    let above = || path.parent().filter(|above| is_closed(above));
    closed_directory(path).or_else(unreadable).or_else(above).or_else(|| {
        let rights = if path.is_dir() { ALL } else { READ_WRITE };
        // The rights to a link are those to its target, which is another place.
        (!path.is_symlink() && is_denied(path, rights)).then_some(path)
    })
}

/// Whether this process may not read a file, or not look into a directory.
fn is_unreadable(path: &Path) -> bool {
    let rights = if path.is_dir() { Access::READ_OK | Access::EXEC_OK } else { Access::READ_OK };
    !path.is_symlink() && is_denied(path, rights)
}

/// The absolute path without `..`, so that the directories above it are those by its name. After a link, `..` is the directory
/// above the target of the link.
fn without_steps_up(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path::absolute(path).ok()?.components() {
        if part == Component::ParentDir {
            if plain.is_symlink() {
                plain = fs::canonicalize(&plain).ok()?;
            }
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    Some(plain)
}

fn owner_of(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().map(|about| about.uid())
}

fn owner_words(uid: u32) -> String {
    if uid == 0 { "root".into() } else { format!("user {uid}") }
}

/// The name of the user of this process. The first call is before the sandbox, which hides the users of this machine.
pub(crate) fn user_name() -> String {
    static NAME: OnceLock<(Uid, String)> = OnceLock::new();
    let now = Uid::effective();
    let (user, name) = NAME.get_or_init(|| (now, name_of(now)));
    if *user == now { name.clone() } else { name_of(now) }
}

/// Whether this process has that user, by name or number, or is root, who can become any.
pub(crate) fn is_user(user: &str) -> bool {
    let now = Uid::effective();
    now.is_root() || user == user_name() || user == now.to_string()
}

/// The name of the group of this process, which the sandbox hides likewise.
pub(crate) fn group_name() -> String {
    static NAME: OnceLock<(Gid, String)> = OnceLock::new();
    let name_of =
        |gid| Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    let now = Gid::effective();
    let (group, name) = NAME.get_or_init(|| (now, name_of(now)));
    if *group == now { name.clone() } else { name_of(now) }
}

/// The name of a user, otherwise the number.
pub(crate) fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// The command that makes a directory with that mode for the user of this process, or gives one to that user, for root
/// or that user to type.
pub(crate) fn way_to_make(path: &Path, mode: &str) -> String {
    let (user, group) = (user_name(), group_name());
    format!("`install -d -o {user} -g {group} -m {mode} {}`", path_word(path))
}

/// The rights that a directory of mail needs.
pub(crate) const ALL: Access = Access::READ_OK.union(Access::WRITE_OK).union(Access::EXEC_OK);

const STICKY: u32 = 0o1000;
const READ_WRITE: Access = Access::READ_OK.union(Access::WRITE_OK);

/// The advice to the user of a command who lacks the right to read a file.
pub(crate) fn as_another_user(error: &io::Error) -> Option<&'static str> {
    (error.kind() == io::ErrorKind::PermissionDenied)
        .then_some("run this as root, or as a user who may read it")
}

#[cfg(test)]
mod tests;
