//! restante: mail in over SMTP, one durable Maildir, mail out over POP3.
//!
//! A map of the crate, from the outside in:
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | the command line: one file for each sub-command |
//! | [`config`] | the configuration file: text in, checked values out |
//! | [`loaded_config`] | all that is read before anything is served: configuration, accounts, certificate |
//! | [`client`] | the other side of both protocols, for people and scripts |
//! | [`server`] | the loop: poll, accept, dispatch, timers, shutdown |
//! | [`backend`] | serves requests from sessions: from memory, or by a job for a worker |
//! | [`connection`] | one connection: readiness, buffers, deadline, the pump |
//! | [`net`] | transports, TLS and timers |
//! | [`proto`] | SMTP and POP3 as plain values, without a socket or a disk |
//! | [`index`] | the contents of mailboxes in memory, and who has which one open |
//! | [`delivery`] | the committer: makes deliveries durable, many at a time |
//! | [`transcript`] | every session as a text: recording, writing, reading |
//! | [`workers`] | threads that may wait: the disk, passwords |
//! | [`accounts`] | users, their passwords and mailboxes |
//! | [`maildir`] | the files: names, delivery, scans, deletions |
//! | [`tools`] | what is wrong in a spool, mbox files into it and out of it, one message explained; what testers wait for, file and throw away |
//! | [`testing`] | a server for the tests of other programs |
//! | [`logging`], [`server::signals`] | what they say |
//! | [`metrics`] | what is counted, and where that goes |
//! | [`system`] | what it is to its machine: whom it runs as, what it may reach, what the service manager does and is told |
//! | [`fd_limits`] | how many connections and mailboxes may be open |
//! | [`printable`] | text from outside on a terminal, in a log, in JSON |
//! | [`safe_file`] | files by fixed names in directories that others may write to |
//! | [`deferred_drop`] | a leaf: files and memory that the loop lets go of are closed and freed by another thread |
//! | [`thread_limits`] | how many threads there are, and whether they can be had |
//! | [`limits`], [`wire_size`], [`clock`], [`file_stamp`], `open_regular`, `file_poller`, `capacity`, `rota` | leaves: every bound, the one size function, the time, changes of files, reading them within a bound, looking at them again and again, maps that shrink after a rush, fair turns |
//!
//! The feature `tools`, on by default, has `client`, `tools`, `testing` and the sub-commands that need them. Without it the
//! crate is the daemon.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod backend;
mod capacity;
pub mod cli;
#[cfg(feature = "tools")]
pub mod client;
pub mod clock;
pub mod config;
pub mod connection;
pub mod deferred_drop;
pub mod delivery;
pub mod fd_limits;
mod file_poller;
pub mod file_stamp;
pub mod index;
pub mod limits;
pub mod listener;
pub mod loaded_config;
pub mod logging;
pub mod maildir;
pub mod metrics;
#[cfg(feature = "tools")]
pub mod mua;
pub mod net;
mod open_regular;
pub mod printable;
pub mod proto;
mod rota;
pub mod safe_file;
pub mod server;
pub mod system;
#[cfg(feature = "tools")]
pub mod testing;
pub mod thread_limits;
#[cfg(feature = "tools")]
pub mod tools;
pub mod transcript;
pub mod wire_size;
pub mod workers;
