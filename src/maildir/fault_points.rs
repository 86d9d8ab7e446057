//! The seam at which a test makes one step of a delivery fail: each step announces itself here.

#[cfg(test)]
pub(crate) use planned::{FaultKind, PlannedFault, fault_point, memory_dir};

/// Called before a step of a delivery, with a path below the spool. Outside of unit tests it does nothing.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in unit tests it fails")]
#[inline]
pub(crate) fn fault_point(_: &std::path::Path, _: &'static str) -> Result<(), super::Error> {
    Ok(())
}

#[cfg(test)]
mod planned {
    use std::{
        io, panic,
        path::{Path, PathBuf},
        sync::{Mutex, PoisonError},
    };

    use crate::maildir::Error;

    /// A directory in memory if there is one, for a test with hundreds of syncs.
    pub(crate) fn memory_dir() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
    }

    /// The result of a step.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum FaultKind {
        Error,
        Panic,
        /// Every later step fails too.
        Outage,
    }

    /// A fault at one step of the deliveries below a directory, until this is dropped.
    #[derive(Debug)]
    pub(crate) struct PlannedFault(PathBuf);

    #[derive(Debug)]
    struct ArmedFault {
        path_prefix: PathBuf,
        remaining: usize,
        error: FaultKind,
        triggered_at: Option<&'static str>,
    }

    static PLANNED: Mutex<Vec<ArmedFault>> = Mutex::new(Vec::new());

    impl PlannedFault {
        /// A fault at the step of that number, counted from 1.
        pub(crate) fn new(below: &Path, number: usize, error: FaultKind) -> Self {
            let below = below.to_owned();
            let planned =
                ArmedFault { path_prefix: below.clone(), remaining: number, error, triggered_at: None };
            PLANNED.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
            Self(below)
        }

        /// The step that was hit, if it was reached.
        pub(crate) fn triggered_at(&self) -> Option<&'static str> {
            let plans = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
            plans.iter().find(|plan| plan.path_prefix == self.0).and_then(|plan| plan.triggered_at)
        }
    }

    impl Drop for PlannedFault {
        fn drop(&mut self) {
            let mut plans = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
            plans.retain(|plan| plan.path_prefix != self.0);
        }
    }

    /// Fails or panics if a test has planned it for this step.
    pub(crate) fn fault_point(path: &Path, name: &'static str) -> Result<(), Error> {
        let error = {
            let mut plans = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = plans.iter_mut().find(|plan| path.starts_with(&plan.path_prefix));
            plan.and_then(|plan| {
                if plan.error == FaultKind::Outage && plan.triggered_at.is_some() {
                    return Some(plan.error);
                }
                plan.remaining = plan.remaining.checked_sub(1)?;
                (plan.remaining == 0).then(|| {
                    plan.triggered_at = Some(name);
                    plan.error
                })
            })
        };
        match error {
            None => Ok(()),
            Some(FaultKind::Error | FaultKind::Outage) => {
                Err(Error::at(path, name, io::Error::other("planned by a test")))
            }
            // Without the hook, which would print hundreds of them.
            Some(FaultKind::Panic) => panic::resume_unwind(Box::new(name)),
        }
    }
}
