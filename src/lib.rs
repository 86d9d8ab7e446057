//! restante: mail in over SMTP, one durable Maildir, mail out over POP3.
//!
//! A map of the crate, from the outside in:
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | the command line: one file for each sub-command |
//! | [`config`] | the configuration file: text in, checked values out |
//! | [`files`] | all that is read before anything is served: configuration, accounts, certificate |
//! | [`client`] | the other side of both protocols, for people and scripts |
//! | [`server`] | the loop: poll, accept, dispatch, timers, shutdown |
//! | [`backend`] | serves requests from sessions: from memory, or by a job for a worker |
//! | [`conn`] | one connection: readiness, buffers, deadline, the pump |
//! | [`net`] | transports, TLS and timers |
//! | [`proto`] | SMTP and POP3 as plain values, without a socket or a disk |
//! | [`mailbox`] | the contents of mailboxes in memory, and who has which one open |
//! | [`commit`] | the committer: makes deliveries durable, many at a time |
//! | [`transcript`] | every session as a text: recording, writing, reading |
//! | [`workers`] | threads that may wait: the disk, passwords |
//! | [`accounts`] | users, their passwords and mailboxes |
//! | [`maildir`] | the files: names, delivery, scans, deletions |
//! | [`tools`] | what is wrong in a spool, mbox files into it and out of it, one message explained; what testers wait for, file and throw away |
//! | [`testing`] | a server for the tests of other programs |
//! | [`logging`], [`signals`] | what they say |
//! | [`metrics`] | what is counted, and where that goes |
//! | [`service`] | what it is to its machine: whom it runs as, what it may reach, what the service manager does and is told |
//! | [`descriptors`] | how many connections and mailboxes may be open |
//! | [`printable`] | text from outside on a terminal, in a log, in JSON |
//! | [`safe_file`] | files by fixed names in directories that others may write to |
//! | [`closing`] | a leaf: files that the loop lets go of are closed by another thread |
//! | [`threads`] | how many threads there are, and whether they can be had |
//! | [`limits`], [`octets`], [`clock`], [`stamp`], `open_regular`, `file_poller` | leaves: every bound, the one size function, the time, changes of files, reading them within a bound, looking at them again and again |
#![forbid(unsafe_code)]

pub mod accounts;
pub mod backend;
pub mod cli;
pub mod client;
pub mod clock;
pub mod closing;
pub mod commit;
pub mod config;
pub mod conn;
pub mod descriptors;
mod file_poller;
pub mod files;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod mailbox;
pub mod maildir;
pub mod metrics;
pub mod net;
pub mod octets;
mod open_regular;
pub mod printable;
pub mod proto;
pub mod safe_file;
pub mod server;
pub mod service;
pub mod signals;
pub mod stamp;
pub mod testing;
pub mod threads;
pub mod tools;
pub mod transcript;
pub mod workers;
