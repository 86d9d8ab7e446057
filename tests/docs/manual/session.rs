//! Plays a dialogue of the manual with a server.

use std::{collections::BTreeMap, net::SocketAddr, sync::LazyLock};

use regex::Regex;

use super::page::Block;
use crate::common::client::Client;

/// Plays a block to its end, or to the first difference. The session stays open unless it has said goodbye.
pub(crate) fn play(block: &Block, address: SocketAddr) -> Result<Client, String> {
    let mut client = Client::connect(address);
    go_on(block, &mut client)?;
    Ok(client)
}

/// Plays a block that goes on with a session.
fn go_on(block: &Block, client: &mut Client) -> Result<(), String> {
    let mut skipping = false;
    for (line, number) in block.lines.iter().zip(block.line + 1..) {
        let (mark, text) = line.split_at(line.len().min(2));
        let text = text.strip_prefix(' ').unwrap_or(text);
        match mark {
            "C:" => {
                if std::mem::take(&mut skipping) {
                    client.text();
                }
                client.send(text);
            }
            "S:" => loop {
                let octets = client.line();
                let said = String::from_utf8_lossy(&octets).trim_end_matches(['\r', '\n']).to_owned();
                if same(&said, text) {
                    skipping = false;
                    break;
                }
                if !skipping || octets.is_empty() {
                    return Err(format!("line {number}: the manual says {text:?}, the server {said:?}"));
                }
            },
            _ if line.trim() == "..." => skipping = true,
            _ => return Err(format!("line {number}: {line:?} is neither side's")),
        }
    }
    Ok(())
}

/// The sessions of a page. Those with a name go on in later blocks.
#[derive(Default)]
pub(crate) struct Sessions {
    named: BTreeMap<String, Client>,
    others: Vec<Client>,
}

impl Sessions {
    /// Plays a block in its own session.
    pub(crate) fn play(&mut self, block: &Block, address: SocketAddr) -> Result<(), String> {
        match &block.speaker {
            None => self.others.push(play(block, address)?),
            Some(speaker) => {
                let client = self.named.entry(speaker.clone());
                go_on(block, client.or_insert_with(|| Client::connect(address)))?;
            }
        }
        Ok(())
    }

    /// The number of sessions so far.
    pub(crate) fn count(&self) -> usize {
        self.named.len() + self.others.len()
    }
}

/// Whether two lines are equal apart from the values that are new each time.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let known = |line| {
        let line = ID.replace_all(line, "ID");
        let line = DATE.replace_all(&line, "DATE");
        let line = CAPABILITIES.replace_all(&line, "CAPABILITY");
        let line = VALIDITY.replace_all(&line, "$1 VALIDITY");
        UNIQUE.replace_all(&line, "UNIQUE").into_owned()
    };
    known(one) == known(other)
}

static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bc[0-9a-f]+-[0-9]+").unwrap());
static DATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\w{3}, \d{2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}").unwrap());
/// The extensions of IMAP that a session has, which depend on its state.
static CAPABILITIES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bCAPABILITY [^\]]+").unwrap());
static VALIDITY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[(\w+) \d{9,}\b").unwrap());
static UNIQUE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b\d{9,}\.M\d+P\S+").unwrap());
