//! Faults on demand: a tester writes into an address what shall go wrong, `bob+452@example.test`, and it does.
//! For development alone: a configuration file cannot ask for it.
//!
//! Nothing in a session knows of this. Where faults are wanted, a session is wrapped in [`FaultySession`], which sees
//! what goes in and what comes out, and spoils it; elsewhere there is no wrapper, and it costs nothing. The
//! table for people is `docs/manual/faults.md`, and a test in `injection` holds it to the words that there are.

mod counts;
mod maildrop;
mod plan;
mod session;

pub use counts::SequenceCounts;
pub use session::FaultySession;
