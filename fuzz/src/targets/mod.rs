//! The targets, each in a file of its own.

pub mod accounts;
pub mod address;
pub mod client;
pub mod config;
pub mod dot;
pub mod http;
pub mod imap;
pub mod mbox;
pub mod mime;
pub mod name;
pub mod pop3;
pub mod proxy;
pub mod search;
pub mod sizes;
pub mod skeleton;
pub mod smtp;
pub mod transcript;
pub mod view;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    accounts::TARGET,
    address::TARGET,
    client::TARGET,
    config::TARGET,
    dot::TARGET,
    http::TARGET,
    imap::TARGET,
    mbox::TARGET,
    mime::TARGET,
    name::TARGET,
    pop3::TARGET,
    proxy::TARGET,
    search::TARGET,
    sizes::TARGET,
    skeleton::TARGET,
    smtp::TARGET,
    transcript::TARGET,
    view::TARGET,
];

/// Seeds written by hand.
fn owned<T: AsRef<[u8]>>(seeds: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect()
}
