//! The outputs of the registry, for a test to match.

use std::sync::Arc;

use crate::{
    index::{
        Registry, Snapshot,
        job::{IndexId, IndexJob, ScanJob},
    },
    maildir::{Maildir, scan::Recheck},
    proto::request::{ConnId, Failure},
};

/// One output of the registry.
#[derive(Debug)]
pub(super) enum Output {
    Served(ConnId, Arc<Snapshot>),
    Refused(Failure),
    Scan(IndexId, Box<ScanJob>),
    Recheck(IndexId, Arc<Maildir>, Vec<Recheck>),
    CheckTimes(IndexId, Arc<Maildir>),
    Unwatch(IndexId),
    Keep,
}

/// Takes the answers to logins and the jobs of the registry.
pub(super) fn take(registry: &mut Registry) -> Vec<Output> {
    let answer = |(to, result): (ConnId, Result<_, _>)| match result {
        Ok(snapshot) => Output::Served(to, snapshot),
        Err(failure) => Output::Refused(failure),
    };
    let job = |(id, job)| match job {
        IndexJob::Scan(scan) => Output::Scan(id, scan),
        IndexJob::Recheck(maildir, names) if names.is_empty() => Output::CheckTimes(id, maildir),
        IndexJob::Recheck(maildir, names) => Output::Recheck(id, maildir, names),
        IndexJob::Unwatch => Output::Unwatch(id),
        IndexJob::Keep(_) => Output::Keep,
    };
    let answers: Vec<Output> = registry.take_login_results().into_iter().map(answer).collect();
    answers.into_iter().chain(registry.take_jobs().into_iter().map(job)).collect()
}
