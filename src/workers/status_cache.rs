//! The numbers of folders, as they were while their directories and their files of UIDs had certain times.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    index::uid_book::NextNumbers,
    maildir::{FileVersion, scan::DirTimes},
    proto::imap::request::FolderStatus,
};

/// The numbers, by device and inode of the folder.
#[derive(Debug, Default)]
pub(super) struct StatusCache(Mutex<HashMap<(u64, u64), CachedStatus>>);

/// The numbers of a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedStatus {
    /// The times of its directories.
    pub(super) times: DirTimes,
    /// The version of its file of UIDs.
    pub(super) uids: Option<FileVersion>,
    /// The numbers of the UIDs in memory.
    pub(super) next: Option<NextNumbers>,
    /// The first UID of which no session had been told.
    pub(super) first_recent: Option<u32>,
    /// Whether the octets of its messages were counted.
    pub(super) has_size: bool,
    /// The numbers.
    pub(super) status: FolderStatus,
}

impl StatusCache {
    /// The numbers that were stored last.
    pub(super) fn get(&self, folder: (u64, u64)) -> Option<CachedStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&folder).copied()
    }

    /// Stores numbers. A full cache begins anew.
    pub(super) fn insert(&self, folder: (u64, u64), status: CachedStatus) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(folder, status);
    }
}

/// Folders whose numbers are kept, at some 180 octets each.
const MAX_CACHED: usize = 20_000;
