//! The process: accounts, listeners, configuration, reload, the log, metrics, the sandbox, and its start and end.

mod accounts;
mod accounts_reload;
mod cached_reads;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod confined;
mod container;
mod credentials;
mod dev_network;
mod idle;
mod imap_logs;
mod large_messages;
mod leaving_root;
mod listeners;
mod logins;
mod logs;
mod loop_calls;
mod metrics;
mod odd_files;
mod operators;
mod priorities;
mod reload;
mod rights;
mod running;
mod service;
mod service_files;
mod session_logins;
mod status;
mod stop;
mod users;
mod words;
