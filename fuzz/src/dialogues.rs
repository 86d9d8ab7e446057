//! The dialogues of the tests, as inputs to begin with.

use std::{fs, path::Path};

use restante::transcript::{ElidedData, format::unescaped};

/// The parts of a dialogue that make an input.
pub(crate) struct Dialogue {
    /// The whole file.
    pub(crate) source: String,
    /// The directives, as pairs of key and value.
    pub(crate) directives: Vec<(String, String)>,
    /// Everything that the client sends.
    pub(crate) client: Vec<u8>,
}

impl Dialogue {
    pub(crate) fn says(&self, key: &str, value: &str) -> bool {
        self.directives.iter().any(|(k, v)| k == key && v == value)
    }

    fn of(source: String) -> Self {
        let mut directives = Vec::new();
        let mut client = Vec::new();
        for line in source.lines() {
            if let Some((key, value)) = line.strip_prefix("= ").and_then(|line| line.split_once(' ')) {
                directives.push((key.to_owned(), value.to_owned()));
            } else {
                client.extend(sent(line).unwrap_or_default());
            }
        }
        Self { source, directives, client }
    }
}

/// Octets that the client sends by a line like `C: text`, `C| text`, `C*20: text` or `C~ octets=…`.
fn sent(line: &str) -> Option<Vec<u8>> {
    let rest = line.strip_prefix('C')?;
    let (mark, text) = rest.split_at(rest.find([':', '|', '~'])?);
    let (kind, text) = text.split_at(1);
    let text = text.strip_prefix(' ').unwrap_or(text);
    let octets = match kind {
        ":" => format!("{text}\r\n").into_bytes(),
        "|" => unescaped(text).ok()?,
        _ => ElidedData::reconstruct(text)?,
    };
    let times = mark.strip_prefix('*').map_or(Some(1), |times| times.parse::<usize>().ok())?;
    Some(octets.repeat(times.min(20)))
}

/// All dialogues of that directory that are no longer than an input may be.
pub(crate) fn all(directory: &str) -> Vec<Dialogue> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/dialogues").join(directory);
    let mut paths: Vec<_> = fs::read_dir(below)
        .expect("the dialogues of the tests")
        .map(|entry| entry.expect("a dialogue").path())
        .collect();
    paths.sort();
    let read = |path| Dialogue::of(fs::read_to_string(path).expect("a dialogue"));
    paths
        .iter()
        .map(read)
        .filter(|dialogue| dialogue.source.len().max(dialogue.client.len()) < LONGEST)
        .collect()
}

/// Octets of the longest seed: most faults need few, and short inputs are tried more often.
const LONGEST: usize = 4096;
