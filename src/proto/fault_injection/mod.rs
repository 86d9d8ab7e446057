//! Faults on demand: a tester writes the name of a fault into an address, as in `bob+452@example.test`, and
//! the fault occurs. This is for development only: a configuration file cannot enable it.
//!
//! The sessions contain no code for this. If faults are enabled, each session is wrapped in a
//! [`FaultySession`], which changes its input and output. Otherwise there is no wrapper, and no cost. The
//! manual's table is `docs/manual/faults.md`; a test in `injection` compares it with the code.

mod counts;
mod directory;
mod folder;
mod hint;
mod maildrop;
mod plan;
mod session;

pub use counts::SequenceCounts;
pub use hint::hint_for_recipient;
pub use session::FaultySession;
