//! `restante watch`: shows running sessions, with an explanation of each line.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use clap::Args;
use notify::{RecursiveMode, Watcher};

use super::{config_arg::default_config, default_spool, failure::Failure, output, transcript_view::Renderer};
use crate::{
    command_hint::path_word,
    config::Config,
    file_rights::{as_another_user, words_of_lock_holder},
    maildir::{Spool, has_all_parts},
    open_regular::{open_regular, read_bounded},
    printable,
    transcript::{self, Reader, mermaid},
};

/// Watch running sessions, with the meaning of every line and the RFC section.
///
/// The server must write transcripts: `restante dev --transcripts`, or `transcripts = "DIR"` in its
/// configuration.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory with transcripts, one transcript, or the id of a session in ./transcripts, like c1007 in the log
    #[arg(value_name = "DIR|FILE|ID", default_value = HERE)]
    path: PathBuf,
    /// Configuration file that names the directory
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,
    /// Show new lines and new sessions as they come: the default
    #[arg(long, conflicts_with_all = ["no_follow", "mermaid"])]
    follow: bool,
    /// Show one session, of a directory the last one, and exit
    #[arg(long)]
    no_follow: bool,
    /// Print one session as a Mermaid sequence diagram, and exit
    #[arg(long)]
    mermaid: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = match &arguments.config {
        Some(config) => transcripts_of(config)?,
        None => path_meant(&arguments.path)?,
    };
    let is_directory = fs::metadata(&path).map_err(|error| absent_place(&path, &error))?.is_dir();
    if is_directory && has_mail(&path) && transcripts_in(&path)?.is_empty() {
        return Err(Failure::Usage(format!(
            "{} is a directory of mail, and no transcript is in it: {NAME_TRANSCRIPTS}",
            path.display()
        )));
    }
    if !is_directory {
        let file = open_regular(&path).map_err(|error| absent(&path, &error))?;
        let mut head = Vec::new();
        file.take(MAX_HEAD).read_to_end(&mut head).map_err(|error| absent(&path, &error))?;
        // A session that begins just now may have written nothing, or a part of its first line.
        let is_begun = head.contains(&b'\n') || head.len() as u64 == MAX_HEAD;
        if is_begun && !transcript::is_transcript(&String::from_utf8_lossy(&head)) {
            return Err(no_transcript(&path));
        }
    }
    if !arguments.follow && (arguments.mermaid || arguments.no_follow) {
        let file = if is_directory { last_transcript(&path)? } else { path };
        let text = read_bounded(&file, MAX_READ).map_err(|error| absent(&file, &error))?;
        let text = String::from_utf8_lossy(&text);
        if !transcript::is_transcript(&text) {
            return Err(no_transcript(&file));
        }
        let shown = if arguments.mermaid {
            printable::escape_text(&mermaid::diagram(&text))
        } else {
            let mut renderer = Renderer::for_output();
            let mut reader = Reader::default();
            text.lines().map(|line| renderer.render(&mut reader, line, None)).collect()
        };
        return output::styled(&shown).map_err(Failure::output);
    }
    follow(&path, is_directory)
}

/// Whether a directory is a spool or a mailbox, in which no server writes transcripts.
fn has_mail(directory: &Path) -> bool {
    has_all_parts(directory) || Spool::has_sign_of_one(directory).unwrap_or(false)
}

/// The transcript in `./transcripts` of a session that is named by its id. After a restart another session may have the
/// same id, and the newest is meant. Any other name is a path.
fn path_meant(named: &Path) -> Result<PathBuf, Failure> {
    let digits = named.to_str().and_then(|word| word.strip_prefix('c'));
    let is_id = digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if !is_id || named.exists() {
        return Ok(named.to_owned());
    }
    let (here, ending) = (Path::new(HERE), format!("-{}{}", named.display(), transcript::SUFFIX));
    fs::metadata(here).map_err(|error| absent_place(here, &error))?;
    let of_session =
        transcripts_in(here)?.into_iter().rfind(|file| file.to_string_lossy().ends_with(&ending));
    of_session.ok_or_else(|| {
        Failure::Usage(format!(
            "there is no transcript of {} in {HERE}: name its file, whose name ends in {ending}; a server removes the oldest ones \
             beyond a limit",
            named.display()
        ))
    })
}

/// The directory that a configuration names.
fn transcripts_of(config: &Path) -> Result<PathBuf, Failure> {
    let none = || {
        Failure::Usage(format!(
            "{}: its server writes no transcripts: set transcripts = \"DIR\" above the first [section], and restart the server, \
             with `restante serve --config {}` or as a service",
            config.display(),
            path_word(config)
        ))
    };
    let directory = Config::load(config)?.transcripts.ok_or_else(none)?;
    let is_missing = directory.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_missing {
        return Err(Failure::Other(format!(
            "{}, the `transcripts` of {}, is not there yet: start the server, which makes it, with `restante serve --config {}`, \
             and repeat this command; {MAKE_AGAIN}",
            directory.display(),
            config.display(),
            path_word(config)
        )));
    }
    Ok(directory)
}

/// Shows running and new sessions until the output is closed. A single file is shown until its session ends.
fn follow(path: &Path, is_directory: bool) -> Result<(), Failure> {
    let (stirred, stirs) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event| {
        if is_change(&event) {
            let _ = stirred.send(()); // the receiver may be gone
        }
    })
    .map_err(|error| unwatchable(path, error))?;
    let directory = if is_directory { path } else { path.parent().unwrap_or(Path::new(".")) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    watcher.watch(directory, RecursiveMode::NonRecursive).map_err(|error| unwatchable(directory, error))?;

    let mut renderer = Renderer::for_output();
    let mut plays = BTreeMap::new();
    if is_directory {
        for file in transcripts_in(path)? {
            let mut play = TranscriptTail::new(&file);
            if play.skip_existing().is_ok() {
                plays.insert(file, play);
            }
        }
        if path == Path::new(HERE) && writes_none() {
            output::message(format_args!("restante: {SERVER_WITHOUT}"));
        }
        if io::stdout().is_terminal() {
            let place = printable::escape_path(path);
            let none = if plays.is_empty() { ", which has no transcript yet" } else { "" };
            output::styled(&format!("Waiting for sessions in {place}{none}. Press Ctrl-C to quit.\n"))
                .map_err(Failure::output)?;
        }
    }
    loop {
        let all = match is_directory {
            true => {
                transcripts_in(path).map_err(|error| if path.exists() { error } else { removed(path) })?
            }
            false => vec![path.to_owned()],
        };
        plays.retain(|file, _| all.binary_search(file).is_ok());
        for file in all {
            let play = plays.entry(file.clone()).or_insert_with(|| TranscriptTail::new(&file));
            let shown = match play.render_new(&mut renderer, is_directory) {
                // The server removed it to stay within its limit, or it is not a transcript.
                Err(error) if is_directory && NO_TRANSCRIPT.contains(&error.kind()) => {
                    continue;
                }
                shown => shown.map_err(|error| absent(&file, &error))?,
            };
            output::styled(&shown).map_err(Failure::output)?;
            if !is_directory && play.reader.is_over() {
                return Ok(());
            }
        }
        if output::is_closed() {
            return Err(Failure::BrokenPipe);
        }
        // The timeout is for file systems without events, and for an output that is closed.
        if stirs.recv_timeout(POLL_INTERVAL).is_ok() {
            while stirs.try_recv().is_ok() {}
        }
    }
}

/// False for an access to a file: each look at the directory is one, and would be the reason for the next look.
fn is_change(event: &notify::Result<notify::Event>) -> bool {
    !event.as_ref().is_ok_and(|event| event.kind.is_access())
}

/// One transcript, with the position read so far.
struct TranscriptTail {
    path: PathBuf,
    read: u64,
    /// A line without its end.
    partial_line: Vec<u8>,
    reader: Reader,
    name: String,
}

impl TranscriptTail {
    fn new(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.rsplit('-').next().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), read: 0, partial_line: Vec::new(), reader: Reader::default(), name }
    }

    /// Skips the lines present. A finished session need not be read at all.
    fn skip_existing(&mut self) -> io::Result<()> {
        let length = fs::metadata(&self.path)?.len();
        self.read = length.saturating_sub(TAIL_OCTETS);
        if self.read_lines()?.iter().any(|line| line.starts_with("# state: ") && line.ends_with(" -> over")) {
            return Ok(());
        }
        self.read = 0;
        self.partial_line.clear();
        self.read_lines()?.iter().for_each(|line| drop(self.reader.line(line)));
        Ok(())
    }

    fn render_new(&mut self, renderer: &mut Renderer, several: bool) -> io::Result<String> {
        let lines = self.read_lines()?;
        let label = several.then_some(self.name.as_str()); // the printer escapes it
        Ok(lines.iter().map(|line| renderer.render(&mut self.reader, line, label)).collect())
    }

    /// The new complete lines.
    fn read_lines(&mut self) -> io::Result<Vec<String>> {
        if fs::metadata(&self.path)?.len() <= self.read {
            return Ok(Vec::new());
        }
        // The file is not kept open, because there may be more transcripts than descriptors.
        let mut file = open_regular(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let room = MAX_READ.saturating_sub(self.partial_line.len() as u64);
        self.read += file.take(room).read_to_end(&mut self.partial_line)? as u64;
        if self.partial_line.len() as u64 >= MAX_READ && !self.partial_line.contains(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line without end"));
        }
        let Some(end) = memchr::memrchr(b'\n', &self.partial_line) else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.partial_line.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

/// The transcripts of a directory in order of time.
fn transcripts_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).map_err(|error| absent_directory(directory, &error))?;
    let entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let paths = entries.map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.to_string_lossy().ends_with(transcript::SUFFIX);
    let mut files: Vec<PathBuf> = paths.filter(is_one).collect();
    files.sort();
    Ok(files)
}

fn last_transcript(directory: &Path) -> Result<PathBuf, Failure> {
    transcripts_in(directory)?
        .pop()
        .ok_or_else(|| Failure::Other(format!("there is no transcript in {} yet", directory.display())))
}

/// The failure to read a path that the user gave. Without the name of a transcript, a directory is meant.
fn absent_place(path: &Path, error: &io::Error) -> Failure {
    match path.to_string_lossy().ends_with(transcript::SUFFIX) {
        true => absent(path, error),
        false if path == Path::new(HERE) && error.kind() == io::ErrorKind::NotFound => none_here(),
        false => absent_directory(path, error),
    }
}

/// Whether the server of the spool in this directory is a `restante dev` without `--transcripts`.
fn writes_none() -> bool {
    words_of_lock_holder(Path::new(default_spool::HERE)).is_some_and(|words| {
        let words: Vec<&[u8]> = words.split(|octet| *octet == 0).collect();
        words.contains(&&b"dev"[..]) && !words.iter().any(|word| word.starts_with(b"--transcripts"))
    })
}

/// The failure of a watch in a directory where no server writes transcripts.
fn none_here() -> Failure {
    let spool = Spool::open_existing(Path::new(default_spool::HERE));
    let why = if writes_none() {
        format!("{SERVER_WITHOUT}, or name the directory of another server")
    } else if spool.is_ok_and(|spool| spool.is_in_use()) {
        format!(
            "there is no {HERE}: name the directory to which the server of {} writes transcripts; if it was removed, \
             {MAKE_AGAIN}",
            default_spool::HERE
        )
    } else {
        format!(
            "there is no {HERE}: start a server that writes transcripts, here with `restante dev --transcripts`"
        )
    };
    let configured = default_config().map(|file| {
        format!(
            "; `restante watch --config {}` shows the sessions of the server of that file",
            path_word(&file)
        )
    });
    Failure::Usage(why + &configured.unwrap_or_default())
}

/// The failure to read a directory of transcripts, which a server that runs makes again.
fn absent_directory(path: &Path, error: &io::Error) -> Failure {
    let is_gone = error.kind() == io::ErrorKind::NotFound;
    let again = if is_gone { format!("; if it was removed, {MAKE_AGAIN}") } else { String::new() };
    Failure::Usage(cause(path, error) + &again)
}

/// The failure to read a transcript.
fn absent(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(cause(path, error))
}

fn cause(path: &Path, error: &io::Error) -> String {
    let advice = as_another_user(error).unwrap_or(NAME_TRANSCRIPTS);
    format!("{}: {error}; {advice}", path.display())
}

/// The failure of a watch whose directory was there before.
fn removed(directory: &Path) -> Failure {
    Failure::Other(format!("{} was removed: {MAKE_AGAIN}", printable::escape_path(directory)))
}

/// The failure of the kernel to report changes. The error of the crate would print its paths as a debugger does.
fn unwatchable(path: &Path, error: notify::Error) -> Failure {
    match error.kind {
        notify::ErrorKind::Io(error) => absent_directory(path, &error),
        kind => Failure::Other(format!("cannot watch {}: {}", path.display(), notify::Error::new(kind))),
    }
}

fn no_transcript(path: &Path) -> Failure {
    Failure::Usage(format!("{} is no transcript: {NAME_TRANSCRIPTS}", path.display()))
}

/// The directory that `restante dev --transcripts` writes to.
const HERE: &str = "./transcripts";
const SERVER_WITHOUT: &str =
    "the server of ./spool writes no transcripts: end it, and start it with `restante dev --transcripts`";
const NAME_TRANSCRIPTS: &str = "name a directory with transcripts, which `restante dev --transcripts` or \
                                `transcripts = \"DIR\"` in a configuration creates";

/// The remedy for a directory that was removed while a server runs.
const MAKE_AGAIN: &str = "a server that runs makes it again with its next session; if its log says that it may not, restart the \
                          server";

/// Errors of a file that is gone or not a transcript.
const NO_TRANSCRIPT: [io::ErrorKind; 3] =
    [io::ErrorKind::NotFound, io::ErrorKind::InvalidInput, io::ErrorKind::IsADirectory];
/// Octets at the beginning of a transcript, with its first lines.
const MAX_HEAD: u64 = 64 << 10;
/// Octets of a transcript read at a time.
const MAX_READ: u64 = 64 << 20;
/// Octets at the end of a transcript that show the end of its session.
const TAIL_OCTETS: u64 = 200;
const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u125_a_look_at_the_directory_is_no_reason_to_look_again() {
        let home = tempfile::tempdir().unwrap();
        let (sender, seen) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(move |event| {
            if is_change(&event) {
                sender.send(event.unwrap().paths).unwrap();
            }
        })
        .unwrap();
        watcher.watch(home.path(), RecursiveMode::NonRecursive).unwrap();
        assert_eq!(transcripts_in(home.path()).unwrap().len(), 0);
        let file = home.path().join(format!("smtp-1{}", transcript::SUFFIX));
        fs::write(&file, "").unwrap();
        assert_eq!(seen.recv().unwrap(), [file], "the first report");
        drop(watcher);
    }
}
