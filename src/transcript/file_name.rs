//! The names of transcript files.

use std::time::SystemTime;

use crate::proto::request::ConnId;

/// The file name, which sorts by time: `20261121T180510.123Z-smtp-c1003.dlg`.
pub(super) fn file_name(service: &str, id: ConnId, date: SystemTime) -> String {
    let date = date.max(SystemTime::UNIX_EPOCH);
    let time = humantime::format_rfc3339_millis(date).to_string().replace(['-', ':'], "");
    format!("{time}-{}-{}{SUFFIX}", service, id)
}

/// True if the name may be that of a transcript. The writer never deletes any other file.
pub(super) fn is_transcript(name: &str) -> bool {
    let mut parts = name.split('-');
    let time = parts.next().is_some_and(|time| {
        time.len() == 20 && time.ends_with('Z') && time.starts_with(|c: char| c.is_ascii_digit())
    });
    time && parts.count() == 2 && name.ends_with(SUFFIX)
}

/// The connection whose transcript has that name.
pub(super) fn session_of(name: &str) -> Option<ConnId> {
    let (_, id) = name.strip_suffix(SUFFIX).filter(|_| is_transcript(name))?.rsplit_once('-')?;
    ConnId::parse(id)
}

/// The suffix of transcript files.
pub const SUFFIX: &str = ".dlg";
