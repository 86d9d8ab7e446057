//! restante: mail in over SMTP, one durable Maildir, mail out over IMAP and POP3.
//!
//! A map of the crate, from the outside in:
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | the command line: one file for each sub-command |
//! | [`config`] | the configuration file: text in, checked values out |
//! | [`loaded_config`] | all files that are read before the server serves: configuration, accounts, certificate |
//! | [`client`] | the client side of both protocols, for people and scripts |
//! | [`server`] | the loop: poll, accept, dispatch, timers, shutdown |
//! | [`backend`] | serves requests from sessions: from memory, or by a job for a worker |
//! | [`connection`] | one connection: readiness, buffers, deadline, the pump |
//! | [`net`] | transports, TLS and timers |
//! | [`proto`] | SMTP, IMAP, POP3 and HTTP as plain values, without a socket or a disk |
//! | [`index`] | the contents of mailboxes in memory, and the sessions that have them open |
//! | [`delivery`] | the committer: makes deliveries durable, many at a time |
//! | [`transcript`] | every session as a text: recording, writing, reading |
//! | [`workers`] | threads that may block: the disk, passwords |
//! | [`api`] | messages in the JSON of the web API |
//! | [`accounts`] | users, their passwords and mailboxes |
//! | [`maildir`] | the files: names, delivery, scans, deletions |
//! | [`tools`] | spool checks and repairs, mbox import and export, explanations of one message; waiting, seeding and purging for testers |
//! | `unread_maildirs` | mail in the spool that no login reads, because its place is not that of a mailbox |
//! | [`testing`] | a server for the tests of other programs |
//! | [`logging`], [`server::signals`] | log lines, and the signals that the server handles |
//! | [`metrics`] | counters, gauges and histograms, and their export |
//! | [`system`] | the process on its machine: its user, its sandbox, and the service manager |
//! | [`fd_limits`] | the largest number of connections and open mailboxes |
//! | [`mime`] | received messages: their parts, texts, addresses and dates |
//! | [`message_object`], [`search`] | a received message as one value, for the web API and `restante wait`; the search words of both |
//! | [`compose`] | messages to be sent, as RFC 5322 and MIME text |
//! | [`printable`] | text from outside on a terminal, in a log, in JSON |
//! | [`safe_file`] | files with fixed names in directories that other users may write to |
//! | `time_zone` | the time zones of this machine, for dates in a search |
//! | `password_prompt`, `ending_signals` | passwords typed at a terminal, and signals that wait until it is restored or an unfinished file is gone |
//! | `allocator` | the size of the buffers that the C library keeps for the next use |
//! | [`deferred_drop`] | a leaf: another thread closes files and frees memory for the loop |
//! | [`thread_limits`] | the number of threads that the server needs, and whether the system allows it |
//! | [`special_use`], `imap_characters` | leaves: the special uses of folders, and the classes of characters of IMAP, for the protocol and the files of a mailbox |
//! | [`limits`], [`language`], [`wire_size`], [`clock`], [`file_stamp`], `open_regular`, `local_fs`, `file_watch`, `file_poller`, `capacity`, `round_robin`, `parking_queue`, `near_name`, `plain_object` | leaves: every bound, the languages of texts, the one size function, the time, changes of files, bounded reads of files, local file systems, watches and polling of files, maps that shrink after a rush, fair turns, queues whose readers sleep, the name that is meant by a mistyped one, objects of JSON that are no lists |
//!
//! The feature `tools`, on by default, adds `client`, `tools`, `testing` and the sub-commands that need them. Without
//! it the crate is the daemon.
#![forbid(unsafe_code)]

pub mod accounts;
mod allocator;
pub mod api;
pub mod backend;
mod capacity;
mod certificate_words;
pub mod cli;
#[cfg(feature = "tools")]
pub mod client;
pub mod clock;
mod command_hint;
pub mod compose;
pub mod config;
pub mod connection;
pub mod deferred_drop;
pub mod delivery;
mod ending_signals;
pub mod fd_limits;
mod file_poller;
mod file_rights;
pub mod file_stamp;
mod file_watch;
mod imap_characters;
pub mod index;
pub mod language;
pub mod limits;
pub mod listener;
pub mod loaded_config;
mod local_fs;
pub mod logging;
pub mod maildir;
pub mod message_object;
pub mod metrics;
pub mod mime;
#[cfg(feature = "tools")]
pub mod mua;
mod near_name;
pub mod net;
mod open_regular;
mod parking_queue;
mod password_prompt;
mod path_hint;
mod plain_object;
pub mod printable;
pub mod proto;
mod round_robin;
pub mod safe_file;
pub mod search;
pub mod server;
pub mod special_use;
pub mod system;
#[cfg(feature = "tools")]
pub mod testing;
pub mod thread_limits;
mod time_zone;
#[cfg(feature = "tools")]
pub mod tools;
pub mod transcript;
mod unread_maildirs;
pub mod wire_size;
pub mod workers;
