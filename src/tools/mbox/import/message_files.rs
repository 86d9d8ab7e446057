//! The import of the message files of a directory, one after the other and in common batches.

use std::{io::Read, path::Path, time::SystemTime};

use super::Import;
use crate::tools::mbox::{Error, OpenedFile};

impl Import<'_> {
    /// Sets the name of the file that [`Self::run`] reads. If it is one message, the flags in its name count.
    pub fn set_file_name(&mut self, path: &Path) {
        self.file_name = path.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    }

    /// Delivers the file at `path`, which is one message, with `number` messages before it in its directory. The flags in its
    /// name count. `modified` is its date if its header has none. The message is durable after [`Self::commit_files`]. If reading
    /// fails, the messages before it are delivered.
    pub fn deliver_file(
        &mut self,
        file: OpenedFile<impl Read>,
        path: &Path,
        number: u64,
        modified: SystemTime,
    ) -> Result<(), Error> {
        self.set_file_name(path);
        self.fallback_date = modified;
        match file.deliver(Some(number), self) {
            Ok(_) => Ok(()),
            Err(error) => self.stop(error),
        }
    }

    /// Makes the last of that many messages of a directory durable.
    pub fn commit_files(&mut self, messages: u64) -> Result<(), Error> {
        self.commit(messages)
    }
}
