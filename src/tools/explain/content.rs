//! A file that is not one message: an mbox, of which the first message is explained, or no mail.

use std::{fs::File, io, io::Seek, path::Path};

use crate::{
    command_hint::{path_word, pipe_end},
    printable::counted,
    tools::mbox::{Beginning, Error, Format, FromLine, MessageSink, OpenedFile, parse},
};

/// The content of a file that is not one message.
#[derive(Debug, Default)]
pub(super) struct NotOneMessage {
    /// The sentence about it, with the next step.
    pub(super) note: Option<String>,
    /// The first message of an mbox, up to the octets that are explained.
    pub(super) first: Option<Vec<u8>>,
}

/// Finds out whether a file is one message. Leaves it at its beginning.
pub(super) fn inspect(file: &mut File, path: &Path) -> io::Result<NotOneMessage> {
    let opened = OpenedFile::open(&*file).map_err(Error::into_io)?;
    let word = path_word(path);
    let (note, first) = match opened.beginning() {
        Beginning::Message(_) => (None, None),
        Beginning::Empty => (Some(format!("an empty file, which is no message: {NAME_ONE}")), None),
        Beginning::Mbox => {
            file.rewind()?;
            let mut messages = FirstMessage::default();
            match parse(&*file, Format::Auto, 0, &mut messages) {
                Ok(_) | Err(Error::Cut { .. }) => {}
                Err(error) => return Err(error.into_io()),
            }
            let import = format!("`{} {word} --to MAILBOX --create`", pipe_end(&["import"]));
            let count = counted(messages.count, "message");
            let which = if messages.count == 1 { "this one" } else { "of which this is the first" };
            let note = format!("an mbox with {count}, {which}: {import} makes a file of each message");
            (Some(note), Some(messages.octets))
        }
        Beginning::Other(other) => {
            let import = pipe_end(&["import", "-", "--to", "MAILBOX", "--create"]);
            let advice = other.advice(&word, &import);
            let advice = if advice.is_empty() { NAME_ONE.to_owned() } else { advice };
            (Some(format!("no mail: the file {other}: {advice}")), None)
        }
    };
    file.rewind()?;
    Ok(NotOneMessage { note, first })
}

/// Keeps the first message of an mbox, and counts all.
#[derive(Default)]
struct FirstMessage {
    octets: Vec<u8>,
    count: u64,
}

impl MessageSink for FirstMessage {
    fn begin(&mut self, _: &FromLine, _: u64) -> Result<(), Error> {
        self.count += 1;
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Error> {
        if self.count == 1 && (self.octets.len() as u64) < MAX_CONTENT {
            self.octets.extend_from_slice(text);
        }
        Ok(())
    }

    fn end(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

/// Octets of a message whose parts are shown.
pub(super) const MAX_CONTENT: u64 = 32 << 20;
const NAME_ONE: &str = "name a file with one message, as in new/ or cur/ of a mailbox, or an .eml file";
