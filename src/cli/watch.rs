//! `restante watch`: sessions as they go on, with what each line means.

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

use super::{Failure, output, scenes::Stage};
use crate::{
    config::Config,
    open_regular::{open_regular, read_bounded},
    printable,
    transcript::{self, Reader, mermaid},
};

/// Watch sessions go on, with what every line means and where it is ruled.
///
/// The server has to write transcripts: `restante dev --transcripts`, or `transcripts = "DIR"` in its
/// configuration.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory of the transcripts, or one of them.
    #[arg(value_name = "DIR|FILE", default_value = "./transcripts")]
    path: PathBuf,
    /// The directory that this configuration names.
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,
    /// Show one session, the last one where a directory is named, and end.
    #[arg(long)]
    no_follow: bool,
    /// Print one session as a sequence diagram of Mermaid, and end.
    #[arg(long)]
    mermaid: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = match &arguments.config {
        Some(config) => Config::load(config)?.transcripts.ok_or_else(|| {
            Failure::Usage(format!(
                "{}: no transcripts are written; say transcripts = \"DIR\"",
                config.display()
            ))
        })?,
        None => arguments.path.clone(),
    };
    let is_directory = fs::metadata(&path).map_err(|error| absent(&path, &error))?.is_dir();
    if !is_directory {
        open_regular(&path).map_err(|error| absent(&path, &error))?;
    }
    if arguments.mermaid || arguments.no_follow {
        let file = if is_directory { last(&path)? } else { path };
        let text = read_bounded(&file, LONGEST).map_err(|error| absent(&file, &error))?;
        let text = String::from_utf8_lossy(&text);
        let shown = if arguments.mermaid {
            printable::page(&mermaid::diagram(&text))
        } else {
            let mut stage = Stage::of_terminal();
            let mut reader = Reader::default();
            text.lines().map(|line| stage.show(&mut reader, line, None)).collect()
        };
        return quiet(output::styled(&shown));
    }
    follow(&path, is_directory)
}

/// Shows what is there of the sessions that go on, and what comes, until nobody looks any longer. Of one file:
/// until its session is over.
fn follow(path: &Path, is_directory: bool) -> Result<(), Failure> {
    let (stirred, stirs) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |_| {
        let _ = stirred.send(()); // whoever watched is gone
    })
    .map_err(|error| Failure::Other(format!("cannot watch {}: {error}", path.display())))?;
    let directory = if is_directory { path } else { path.parent().unwrap_or(Path::new(".")) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    watcher
        .watch(directory, RecursiveMode::NonRecursive)
        .map_err(|error| Failure::Other(format!("cannot watch {}: {error}", directory.display())))?;

    let mut stage = Stage::of_terminal();
    let mut plays = BTreeMap::new();
    if is_directory {
        for file in files(path)? {
            let mut play = Play::new(&file);
            if play.skip().is_ok() {
                plays.insert(file, play);
            }
        }
        if io::stdout().is_terminal() {
            let place = printable::path(path);
            quiet(output::styled(&format!("Waiting for sessions in {place}. Ctrl-C ends this.\n")))?;
        }
    }
    loop {
        let all = if is_directory { files(path)? } else { vec![path.to_owned()] };
        plays.retain(|file, _| all.binary_search(file).is_ok());
        for file in all {
            let play = plays.entry(file.clone()).or_insert_with(|| Play::new(&file));
            let shown = match play.show(&mut stage, is_directory) {
                // It has made room for others, or is no transcript.
                Err(error) if is_directory && NO_TRANSCRIPT.contains(&error.kind()) => {
                    continue;
                }
                shown => shown.map_err(|error| absent(&file, &error))?,
            };
            if output::styled(&shown).is_err() {
                return Ok(()); // nobody looks any longer
            }
            if !is_directory && play.reader.is_over() {
                return Ok(());
            }
        }
        // The time is for file systems that tell nobody.
        if stirs.recv_timeout(LOOK_EVERY).is_ok() {
            while stirs.try_recv().is_ok() {}
        }
    }
}

/// One file, as far as it was read.
struct Play {
    path: PathBuf,
    read: u64,
    /// A line that has not ended.
    half: Vec<u8>,
    reader: Reader,
    name: String,
}

impl Play {
    fn new(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.rsplit('-').next().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), read: 0, half: Vec::new(), reader: Reader::default(), name }
    }

    /// Shows nothing of what is there. A session that is over needs not even be read.
    fn skip(&mut self) -> io::Result<()> {
        let length = fs::metadata(&self.path)?.len();
        self.read = length.saturating_sub(END);
        if self.lines()?.iter().any(|line| line.starts_with("# state: ") && line.ends_with(" -> over")) {
            return Ok(());
        }
        self.read = 0;
        self.half.clear();
        self.lines()?.iter().for_each(|line| drop(self.reader.line(line)));
        Ok(())
    }

    fn show(&mut self, stage: &mut Stage, several: bool) -> io::Result<String> {
        let lines = self.lines()?;
        let label = several.then_some(self.name.as_str()); // made harmless by the stage
        Ok(lines.iter().map(|line| stage.show(&mut self.reader, line, label)).collect())
    }

    /// The lines that have come.
    fn lines(&mut self) -> io::Result<Vec<String>> {
        if fs::metadata(&self.path)?.len() <= self.read {
            return Ok(Vec::new());
        }
        // Not kept open: there may be more of them than descriptors.
        let mut file = open_regular(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let room = LONGEST.saturating_sub(self.half.len() as u64);
        self.read += file.take(room).read_to_end(&mut self.half)? as u64;
        if self.half.len() as u64 >= LONGEST && !self.half.contains(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line without end"));
        }
        let Some(end) = memchr::memrchr(b'\n', &self.half) else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.half.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

/// The transcripts of a directory, in the order of time.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).map_err(|error| absent(directory, &error))?;
    let entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let paths = entries.map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.to_string_lossy().ends_with(transcript::SUFFIX);
    let mut files: Vec<PathBuf> = paths.filter(is_one).collect();
    files.sort();
    Ok(files)
}

fn last(directory: &Path) -> Result<PathBuf, Failure> {
    files(directory)?
        .pop()
        .ok_or_else(|| Failure::Other(format!("no session is written down in {} yet", directory.display())))
}

fn absent(path: &Path, error: &io::Error) -> Failure {
    let advice = "name a directory of transcripts, which `restante dev --transcripts` or \
                  `transcripts = \"DIR\"` of a configuration makes";
    Failure::Usage(format!("{}: {error}; {advice}", path.display()))
}

/// A reader who has seen enough is no failure.
fn quiet(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output(error)),
        _ => Ok(()),
    }
}

/// How a file that is gone or not a transcript fails to be read.
const NO_TRANSCRIPT: [io::ErrorKind; 3] =
    [io::ErrorKind::NotFound, io::ErrorKind::InvalidInput, io::ErrorKind::IsADirectory];
/// Octets of a transcript that are read at a time.
const LONGEST: u64 = 64 << 20;
/// Octets at the end of a transcript in which its session is over, if it is.
const END: u64 = 200;
const LOOK_EVERY: Duration = Duration::from_secs(1);
