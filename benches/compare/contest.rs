//! Programs that take turns.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use crate::common::{
    Scratch, dovecot_daemon,
    figures::{Better, Peer, Row, Sample, Spread},
    postfix_daemon,
};

/// The size of the measurements.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) runs: usize,
    /// Length of a run, if it has one.
    pub(crate) seconds: f64,
    /// Messages of the large mailbox.
    pub(crate) messages: usize,
    pub(crate) connections: usize,
}

/// All rows so far.
pub(crate) struct Contest {
    pub(crate) scale: Scale,
    pub(crate) rows: Vec<Row>,
    /// The conditions, each once.
    pub(crate) notes: BTreeSet<String>,
    only: Option<String>,
    /// The version of each peer, or why it can't be measured.
    dovecot: Result<String, String>,
    postfix: Result<String, String>,
}

/// The name and the unit of a row, for all its programs.
pub(crate) struct Figure<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) better: Better,
}

/// One run of one program.
pub(crate) type Run<'a> = Box<dyn FnMut(&mut Scratch) -> io::Result<Sample> + 'a>;

/// A program beside restante: its name, and a run of it or the reason why there is none.
pub(crate) type Beside<'a> = (&'static str, Result<Run<'a>, String>);

pub(crate) const DOVECOT: &str = "Dovecot";
pub(crate) const POSTFIX: &str = "Postfix";

impl Contest {
    /// Finds out which programs are there. `empty` is an empty directory.
    pub(crate) fn new(scale: Scale, only: Option<String>, empty: &Path) -> Self {
        let (dovecot, postfix) = (dovecot_daemon::version(), postfix_daemon::version(empty));
        Self { scale, rows: Vec::new(), notes: BTreeSet::new(), only, dovecot, postfix }
    }

    /// Whether a figure of that name is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|part| name.contains(part.as_str()))
    }

    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let peers = [(DOVECOT, &self.dovecot), (POSTFIX, &self.postfix)];
        let peers =
            peers.into_iter().filter_map(|(name, version)| Some((name, version.as_ref().ok()?.as_str())));
        let all = peers.chain([("restante", env!("CARGO_PKG_VERSION"))]);
        all.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    /// Prepares something of Dovecot, if it is there. A failure is the reason why it has no figure.
    pub(crate) fn dovecot<T>(&self, prepare: impl FnOnce() -> io::Result<T>) -> Result<T, String> {
        self.dovecot.clone()?;
        prepare().map_err(|error| format!("failed: {error}"))
    }

    pub(crate) fn postfix<T>(&self, prepare: impl FnOnce() -> io::Result<T>) -> Result<T, String> {
        self.postfix.clone()?;
        prepare().map_err(|error| format!("failed: {error}"))
    }

    /// Lets the programs take turns, and adds a row. A peer that fails has no figure, and the reason goes to standard
    /// error; restante and the limit must not fail.
    pub(crate) fn row(
        &mut self,
        scratch: &mut Scratch,
        figure: Figure<'_>,
        mut restante: Run<'_>,
        mut limit: Option<Run<'_>>,
        mut besides: Vec<Beside<'_>>,
    ) -> io::Result<()> {
        let Figure { name, unit, better } = figure;
        for (program, _) in besides.iter().filter(|(_, run)| run.is_ok()) {
            let settings =
                if *program == DOVECOT { dovecot_daemon::SETTINGS } else { postfix_daemon::SETTINGS };
            self.notes.insert(settings.to_owned());
        }
        let (mut ours, mut limits) = (Vec::new(), Vec::new());
        let mut theirs: Vec<Vec<Sample>> = besides.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.scale.runs {
            if let Some(limit) = &mut limit {
                limits.push(limit(scratch)?);
            }
            ours.push(restante(scratch)?);
            for ((program, run), samples) in besides.iter_mut().zip(&mut theirs) {
                let Ok(next) = run else { continue };
                match next(scratch) {
                    Ok(sample) => samples.push(sample),
                    Err(error) => {
                        eprintln!("{program}, {name}: {error}");
                        *run = Err("failed".to_owned());
                    }
                }
            }
        }
        let peer = |run: Result<Run<'_>, String>, samples: &[Sample]| match (run, Spread::of(samples)) {
            (Err(absent), _) => Peer::Absent { absent },
            (Ok(_), Some(spread)) => Peer::Measured(spread),
            (Ok(_), None) => Peer::Absent { absent: "no run".to_owned() },
        };
        let peers = besides.into_iter().zip(&theirs);
        let peers = peers.map(|((program, run), samples)| (program.to_owned(), peer(run, samples))).collect();
        let row = Row {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            figure: Spread::of(&ours).ok_or_else(|| io::Error::other("no run"))?,
            limit: Spread::of(&limits),
            peers,
        };
        eprintln!("{name}: {} {unit}", row.figure.median);
        self.rows.push(row);
        Ok(())
    }
}
