//! Directories that are no spool, although a configuration or an option names them as one.
//!
//! The rule: a place that is for other things alone is refused. One that may be right is a warning, and only before its
//! first start, because a spool that works keeps working.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::problem::Problem;
#[cfg(feature = "tools")]
use crate::command_hint::path_word;
use crate::{
    maildir::{Spool, has_all_parts},
    path_hint::did_you_mean,
};

/// The reason why a directory should not be the spool. `source` is the configuration file.
pub fn problem(spool: &Path, source: Option<&Path>) -> Option<Problem> {
    let real = fs::canonicalize(spool).unwrap_or_else(|_| spool.to_owned());
    let shown = real.display();
    let refused = |why: String| Some(Problem::new(KEY, format!("{why}: {ADVICE}")));
    if OF_THE_SYSTEM.iter().any(|place| real == Path::new(place))
        || BELOW.iter().any(|place| real.starts_with(place))
    {
        return refused(format!("{shown} is no place for mail"));
    }
    let others = other_things(&real).ok()?;
    if is_one_mailbox(&real, &others) {
        return refused(format!(
            "{shown} is itself a Maildir, the mail of one user, and a spool has one for each"
        ));
    }
    if Spool::has_sign_of_one(&real).unwrap_or(true) {
        return None;
    }
    let source = source.and_then(|source| fs::canonicalize(source).ok());
    if let Some(source) = source.filter(|source| source.starts_with(&real)) {
        return refused(format!(
            "the configuration {} is in {shown}, and a spool has nothing but mailboxes",
            source.display()
        ));
    }
    let names: Vec<String> = others.iter().take(SHOWN).map(|name| name.display().to_string()).collect();
    let more =
        if others.len() > SHOWN { format!(" and {} more", others.len() - SHOWN) } else { String::new() };
    (!others.is_empty()).then(|| Problem {
        is_warning: true,
        ..Problem::new(
            KEY,
            format!(
                "the spool {shown} has other things in it ({}{more}), and mailboxes come beside them: {ADVICE}",
                names.join(", ")
            ),
        )
    })
}

/// The refusal of a command whose spool is the mailbox of one user, with the spool above it to name instead.
#[cfg(feature = "tools")]
pub fn refusal_of_mailbox(spool: &Path, is_configured: bool) -> Option<String> {
    let real = fs::canonicalize(spool).ok()?;
    let is_mailbox = |place: &Path| other_things(place).is_ok_and(|names| is_one_mailbox(place, &names));
    if !is_mailbox(&real) {
        return None;
    }
    let above = real.ancestors().find(|above| !is_mailbox(above))?;
    let right = if is_configured {
        format!("spool = {above:?} in the configuration")
    } else {
        format!("--spool {}", path_word(above))
    };
    Some(format!(
        "{} is itself a Maildir, the mail of one user: name the spool above, {right}",
        spool.display()
    ))
}

/// Whether a directory with these names in it is the mailbox of one user.
fn is_one_mailbox(directory: &Path, names: &[PathBuf]) -> bool {
    let has_mailbox = names.iter().any(|name| name.to_string_lossy().contains('@'));
    !has_mailbox && has_all_parts(directory)
}

/// The question for a spool that is not there, and would be made, if one that a server has used has nearly the same name.
pub fn used_spool_near(spool: &Path) -> Option<String> {
    did_you_mean(spool, |meant| Spool::has_sign_of_one(meant).unwrap_or(false))
}

/// Names in the directory that nobody expects beside mailboxes. Hidden files, a note to readers and what a file system
/// makes for itself are no sign of another purpose.
fn other_things(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let names = fs::read_dir(directory)?.take(MOST).flatten().map(|entry| PathBuf::from(entry.file_name()));
    let is_usual = |name: &Path| {
        let name = name.to_string_lossy();
        name.starts_with('.') || name.starts_with("README") || name == "lost+found"
    };
    let mut others: Vec<PathBuf> = names.filter(|name| !is_usual(name)).collect();
    others.sort();
    Ok(others)
}

const KEY: &str = "spool";
const ADVICE: &str = "name a directory of its own";
/// Names in a warning.
const SHOWN: usize = 3;
/// Entries that are looked at.
const MOST: usize = 1000;
/// Directories whose content belongs to the machine and its programs, or goes away with the next boot.
const OF_THE_SYSTEM: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/dev/shm",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/run",
    "/sbin",
    "/tmp",
    "/usr",
    "/usr/lib",
    "/usr/local",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];
/// Directories of the kernel.
const BELOW: &[&str] = &["/proc", "/sys"];

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spool: &Path, source: Option<&Path>) -> (bool, String) {
        problem(spool, source).map_or((true, String::new()), |problem| (problem.is_warning, problem.why))
    }

    #[test]
    fn n68_a_directory_for_other_things_is_no_spool() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for place in ["/", "/tmp", "/tmp/../tmp/.", "/var/lib", "/proc/self", "/etc"] {
            let (is_warning, why) = told(Path::new(place), None);
            assert!(
                !is_warning && why.contains("is no place for mail: name a directory of its own"),
                "{place}: {why}"
            );
        }
        for name in [
            "empty",
            "alice/tmp",
            "alice/new",
            "alice/cur",
            "etc/restante",
            "bob/.restante.d",
            "bob/tmp",
            "bob/new",
            "bob/cur",
            "work/src/new",
        ] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let source = at("etc/restante/restante.toml");
        fs::write(&source, "").unwrap();
        for (spool, expected_warning, expected) in [
            ("empty", true, ""),
            ("missing", true, ""),
            ("alice", false, "is itself a Maildir"),
            ("bob", false, "is itself a Maildir"),
            ("etc/restante", false, "restante.toml is in "),
            ("etc", false, "restante.toml is in "),
            ("work", true, "has other things in it (src), and mailboxes come beside them"),
        ] {
            let (is_warning, why) = told(&at(spool), Some(&source));
            assert!(is_warning == expected_warning && why.contains(expected), "{spool}: {why}");
            assert_eq!(why.is_empty(), expected.is_empty(), "{spool}: {why}");
        }
        // Files without another purpose, and the lock of a spool that has worked.
        for (name, spool) in
            [("empty/.gitignore", "empty"), ("empty/README", "empty"), ("etc/.restante.lock", "etc")]
        {
            fs::write(at(name), "").unwrap();
            assert_eq!(told(&at(spool), Some(&source)).1, "", "{name}");
        }
        fs::create_dir(at("work/bob@example.test")).unwrap();
        assert_eq!(told(&at("work"), None).1, "");
        // The directory above has `alice`, a mailbox.
        assert_eq!(told(home.path(), Some(&source)).1, "");
    }

    #[test]
    fn n68_the_names_of_a_home_are_told() {
        let home = tempfile::tempdir().unwrap();
        for name in [".bashrc", "Desktop", "Documents", "Music", "notes.txt"] {
            fs::write(home.path().join(name), "").unwrap();
        }
        let (is_warning, why) = told(home.path(), None);
        assert!(is_warning && why.contains("(Desktop, Documents, Music and 1 more)"), "{why}");
    }
}
