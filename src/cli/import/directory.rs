//! Directories of message files: each file is delivered, or named with the reason and the way to import it.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::{
    fs::{Access, AtFlags, accessat},
    io::Errno,
};

use super::input::{FILES, ImportProgress, InputImport, Options, report_skipped_start};
use crate::{
    cli::{failure::Failure, output},
    command_hint::{path_word, shell_quoted},
    file_rights::user_name,
    maildir::has_all_parts,
    printable,
    tools::mbox::{DirListing, Entry, Error, Import, ImportPass, Imported, MessageDir, Skipped, Source},
};

/// A directory whose files are known.
pub(super) struct Directory {
    dir: File,
    messages: u64,
    octets: u64,
    source: Source,
    /// Messages that cannot be read. Only `--partial` goes on with such ones.
    unreadable: HashSet<PathBuf>,
    /// The places of messages that are older than the server keeps mail.
    expired: Vec<u64>,
    left_out: LeftOut,
}

/// Numbers of files that are left out.
#[derive(Default)]
struct LeftOut {
    /// By the noun for them.
    by_reason: BTreeMap<&'static str, u64>,
    /// Those that may be mail.
    perhaps_mail: u64,
}

impl LeftOut {
    fn add(&mut self, reason: &Skipped) {
        *self.by_reason.entry(reason.noun()).or_default() += 1;
        self.perhaps_mail += u64::from(!reason.is_no_mail());
    }

    /// Text after the number of messages.
    fn summary(&self) -> String {
        let each: Vec<String> =
            self.by_reason.iter().map(|(noun, number)| printable::counted(number, noun)).collect();
        if each.is_empty() { String::new() } else { format!("; left out: {}", each.join(", ")) }
    }
}

impl Directory {
    /// Reads all files once, and names each one that is left out. Messages from before `expires_before` are listed.
    pub(super) fn scan(
        path: &Path,
        dir: File,
        options: &Options<'_>,
        expires_before: Option<SystemTime>,
    ) -> Result<Self, Failure> {
        if accessat(&dir, ".", Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS) {
            return Err(Failure::Other(way_to_copy(path, options)));
        }
        let bar = ImportProgress::new(None, FILES);
        let (mut listing, mut left_out) = (DirListing::default(), LeftOut::default());
        let (mut unreadable, mut odd_starts, mut unread, mut expired) = (HashSet::new(), 0, 0, Vec::new());
        MessageDir { dir: &dir, gz: options.gz }.walk(&mut |relative, entry| -> Result<(), Failure> {
            let whole = path.join(relative);
            let reason = match entry {
                Entry::Message(file, stat) => {
                    let skipped = file.skipped();
                    match file.check(stat.modified) {
                        Ok(date) => {
                            if expires_before.is_some_and(|time| date < time) {
                                expired.push(listing.messages);
                            }
                            if !skipped.is_nothing() {
                                odd_starts += 1;
                                if odd_starts <= MAX_ODD_STARTS {
                                    report_skipped_start(&whole, skipped);
                                }
                            }
                            listing.add(relative, &stat);
                            bar.update(ImportPass::Check, listing.messages);
                            return Ok(());
                        }
                        Err(error) => Skipped::Unreadable(error.into_io()),
                    }
                }
                Entry::Skipped(reason) => reason,
            };
            if matches!(reason, Skipped::Unreadable(_)) {
                unread += 1;
                unreadable.insert(relative.to_owned());
            }
            left_out.add(&reason);
            report(&whole, &reason, options);
            Ok(())
        })?;
        if odd_starts > MAX_ODD_STARTS {
            let more = odd_starts - MAX_ODD_STARTS;
            let files = printable::counted(more, "more file");
            output::message(format_args!("{}: the same in {files}", path.display()));
        }
        if unread > 0 && !options.partial {
            return Err(Failure::Other(format!(
                "{}: {} cannot be read, named above; this run delivered nothing (--partial delivers the others)",
                path.display(),
                printable::counted(unread, "file"),
            )));
        }
        if listing.messages == 0 {
            return Err(Failure::Usage(describe_without_messages(path, &left_out)));
        }
        let (messages, octets) = (listing.messages, listing.octets);
        let failed = |error| Failure::Other(format!("cannot read {}: {error}", path.display()));
        let source = listing.source(&dir).map_err(failed)?;
        Ok(Self { dir, messages, octets, source, unreadable, expired, left_out })
    }

    /// Number of files that are left out although they may be mail.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.perhaps_mail
    }

    /// Delivers the messages.
    pub(super) fn import(&self, one: &InputImport<'_>) -> Result<String, Failure> {
        let bar = ImportProgress::new(Some(self.messages), FILES);
        let mut progress = |pass, at| bar.update(pass, at);
        let mut import = one.begin(SystemTime::now(), &mut progress);
        one.lock(&self.dir)?;
        let left_out = self.left_out.summary();
        if let Some(done) = one.open_record(&mut import, &self.source, &self.dir)? {
            return Ok(format!("{done}{left_out}"));
        }
        let offset = import.finish_previous_run(SystemTime::now(), one.context.tmp_age)?;
        one.refuse_expired(import.count_to_come(&self.expired), &import)?;
        if let Err((path, error)) = self.deliver(&mut import, offset, one.options) {
            let Imported { messages, .. } = import.imported();
            one.report_at_risk(import.at_risk());
            return Err(Failure::Other(format!(
                "{}: {error}; delivered: {}",
                one.path.join(path).display(),
                output::message_count(messages)
            )));
        }
        import.finish(SystemTime::now())?;
        Ok(format!("{}{left_out}", one.finished(&import, self.octets)))
    }

    /// Delivers the messages from number `offset` on. An error comes with the path of its file.
    fn deliver(
        &self,
        import: &mut Import<'_>,
        offset: u64,
        options: &Options<'_>,
    ) -> Result<(), (PathBuf, Error)> {
        let mut listing = DirListing::default();
        let dir = MessageDir { dir: &self.dir, gz: options.gz };
        dir.walk(&mut |relative: &Path, entry| -> Result<(), (PathBuf, Error)> {
            let at = |error| (relative.to_owned(), error);
            let (file, stat) = match entry {
                _ if self.unreadable.contains(relative) => return Ok(()),
                Entry::Message(file, stat) => (file, stat),
                Entry::Skipped(Skipped::Unreadable(error)) => {
                    import.commit_files(listing.messages.max(offset)).map_err(at)?;
                    return Err(at(Error::Read { at: 0, error }));
                }
                Entry::Skipped(_) => return Ok(()),
            };
            let number = listing.messages;
            listing.add(relative, &stat);
            if number < offset {
                return Ok(());
            }
            import.deliver_file(file, relative, number, stat.modified).map_err(at)
        })?;
        let here = |error| (PathBuf::new(), error);
        let source = listing.source(&self.dir).map_err(|error| here(Error::Read { at: 0, error }))?;
        import.commit_files(self.messages).map_err(here)?;
        if source == self.source { Ok(()) } else { Err(here(Error::Changed)) }
    }
}

/// Names a file that is left out, with the next step.
fn report(path: &Path, reason: &Skipped, options: &Options<'_>) {
    let advice = advice_about(path, reason, options);
    let advice = if advice.is_empty() { advice } else { format!(" ({advice})") };
    output::message(format_args!("{}: left out: {reason}{advice}", path.display()));
}

fn advice_about(path: &Path, reason: &Skipped, options: &Options<'_>) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match reason {
        // With --gz, a file of a directory may be compressed or not.
        Skipped::Mbox if options.gz => {
            format!("`zcat -f {} | {}` imports it", path_word(&whole), options.pipe_end())
        }
        Skipped::Mbox => format!("`{}` imports it", (options.import_of)(whole.as_os_str())),
        Skipped::Maildir => import_of_maildir(&whole, options),
        Skipped::Link | Skipped::HiddenDirectory | Skipped::TooDeep => {
            "name what is in it, or where it leads, to import that".into()
        }
        Skipped::Other(other) => other.advice(&path_word(&whole), &options.pipe_end()),
        Skipped::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let cat = if options.gz { "zcat -f" } else { "cat" };
            format!("as root, `{cat} {} | {}` imports it", path_word(&whole), options.pipe_end())
        }
        _ => String::new(),
    }
}

/// The error for a directory that the user of this process may not read. Root imports as the owner of the spool.
fn way_to_copy(path: &Path, options: &Options<'_>) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let user = user_name();
    let mut import = (options.import_of)(OsStr::new(COPY)).replace(&shell_quoted(COPY), "\"$d\"");
    for (option, is_given) in [(" --gz", options.gz), (" --partial", options.partial)] {
        import.push_str(if is_given { option } else { "" });
    }
    format!(
        "{}: {user} may not read it (an import by root goes on as the owner of the spool): as root, import a copy with \
         `d=$(mktemp -d) && cp -r {}/. \"$d\" && chown -R {user}: \"$d\" && {import}`, and remove it with `rm -r \"$d\"`",
        path.display(),
        path_word(&whole),
    )
}

/// The error for a directory in which no message is delivered.
fn describe_without_messages(path: &Path, left_out: &LeftOut) -> String {
    let shown = path.display();
    let entries = entries(path);
    if let Some(maildir) = entries.iter().find(|entry| has_all_parts(entry)) {
        return format!(
            "{shown} has Maildirs in it: import one, like {}; {WHOLE_MAILBOXES}",
            maildir.display()
        );
    }
    let is_apple = |entry: &Path| entry.extension() == Some(OsStr::new("emlx"));
    if entries.iter().any(|entry| is_apple(entry)) {
        return format!(
            "{shown} is a folder of Apple Mail: choose Mailbox > Export Mailbox there, and import the file mbox that it makes"
        );
    }
    format!(
        "{shown} has no file in it that is one message{}: name a directory of such files, or mbox files",
        left_out.summary()
    )
}

/// The way to import a directory that is no directory of message files. `None` if it may be one.
pub(super) fn other_way(path: &Path, options: &Options<'_>) -> Option<String> {
    let shown = path.display();
    if path.join("mbox").is_file() {
        return Some(format!("{shown} is a folder of Apple Mail: import {}", path.join("mbox").display()));
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    has_all_parts(path)
        .then(|| format!("{shown} is a Maildir: {}; {WHOLE_MAILBOXES}", import_of_maildir(&whole, options)))
}

fn import_of_maildir(whole: &Path, options: &Options<'_>) -> String {
    let word = path_word(whole);
    format!("`restante export {word} | {}` imports it once, without its folders", options.pipe_end())
}

/// The first entries of a directory, in order. What cannot be read is left out, because the files say why.
fn entries(path: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        path.read_dir().into_iter().flatten().flatten().take(MOST).map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

const WHOLE_MAILBOXES: &str = "to take over whole mailboxes, copy their Maildirs into the spool (docs/manual/operator.md, \
                               Coming from Dovecot or Courier)";
/// The variable of a shell for a directory.
const COPY: &str = "$d";
/// Entries that are looked at.
const MOST: usize = 1000;
/// Files whose octets before the header are named.
const MAX_ODD_STARTS: u64 = 5;

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::tools::mbox::Format;

    #[test]
    fn n148_the_command_for_a_file_that_is_left_out_has_its_octets() {
        let import_of = |file: &OsStr| format!("restante import {} --to bob", path_word(Path::new(file)));
        let options = Options {
            format: Format::Auto,
            gz: false,
            again: false,
            partial: false,
            even_if_expired: false,
            import_of: &import_of,
        };
        let path = Path::new(OsStr::from_bytes(b"/mail/J\xf6rg"));
        for (reason, expected) in [
            (Skipped::Mbox, r"`restante import $'/mail/J\xf6rg' --to bob` imports it"),
            (
                Skipped::Maildir,
                r"`restante export $'/mail/J\xf6rg' | restante import - --to bob` imports it once, without its folders",
            ),
        ] {
            assert_eq!(advice_about(path, &reason, &options), expected);
        }
    }

    #[test]
    fn u88_the_import_of_a_copy_has_the_options_of_the_command() {
        for (gz, partial, end) in
            [(false, false, ""), (true, false, " --gz"), (true, true, " --gz --partial")]
        {
            let import_of = |file: &OsStr| format!("restante import {} --to bob", path_word(Path::new(file)));
            let options = Options {
                format: Format::Auto,
                gz,
                again: false,
                partial,
                even_if_expired: false,
                import_of: &import_of,
            };
            let told = way_to_copy(Path::new("/mail"), &options);
            assert!(told.contains(&format!("&& restante import \"$d\" --to bob{end}`, and")), "{told}");
        }
    }
}
