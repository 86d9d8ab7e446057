//! The sub-commands beside the server, the mail client, and the library for tests of other programs.

mod client;
mod command_line;
#[path = "../common/mod.rs"]
mod common;
mod completions;
mod compressed;
mod default_spool;
mod explain;
mod fsck;
mod imap_client;
mod large_mail;
mod marks;
mod mbox;
mod mbox_forms;
mod mbox_readers;
mod message_files;
mod mime;
mod misplaced;
mod purge;
mod seed;
mod send;
mod spool_owner;
mod tags;
mod testing_library;
mod wait;
mod wait_failures;
mod watch;
