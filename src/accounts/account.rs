//! One account in the file, with the types of its fields.

use std::{fmt, path::Path, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _},
};

use super::password::StoredHash;
use crate::{
    limits::{Size, text_in_configuration},
    plain_object::ObjectOf,
    proto::{
        request::{self, Mailbox},
        smtp::address::{Address, fold_local},
    },
};

/// One account in the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// An Argon2id hash, a hash of another server, or `!` for an account without logins.
    #[serde(deserialize_with = "checked_hash")]
    pub password_hash: String,
    /// The mailbox, if its name differs from the account's.
    #[serde(default, deserialize_with = "checked_inbox", skip_serializing_if = "Option::is_none")]
    pub inbox: Option<String>,
    /// Refuses logins for now; mail still arrives.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disabled: bool,
    /// Further addresses of the account.
    #[serde(default, deserialize_with = "checked_addresses", skip_serializing_if = "is_default")]
    pub addresses: Vec<String>,
    /// The quota of the mailbox.
    #[serde(default, deserialize_with = "checked_quota", skip_serializing_if = "is_default")]
    pub quota: Quota,
    /// Allowed addresses for MAIL FROM, beside the account's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub may_send_as: Vec<Sender>,
    /// The former name of the account, whose mailbox was moved to this one's. `restante user rename` goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// Whether the account may read and change the mail of all others in the web inbox.
    #[serde(default, skip_serializing_if = "is_default")]
    pub admin: bool,
    /// Whether a copy of each message sent with this account is filed in `.Sent`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub sent_copy: bool,
}

impl Account {
    /// An account with that hash, its own mailbox and default settings.
    pub fn new(password_hash: String, inbox: Option<String>) -> Self {
        Self {
            password_hash,
            inbox,
            disabled: false,
            addresses: Vec::new(),
            quota: Quota::default(),
            may_send_as: Vec::new(),
            renamed_from: None,
            admin: false,
            sent_copy: true,
        }
    }

    /// The mailbox of the account of that name. An inbox may be the path of a mailbox in the spool, as some files of
    /// other servers have it.
    pub fn mailbox(&self, name: &str) -> Option<Mailbox> {
        match &self.inbox {
            Some(inbox) => Mailbox::named(split_inbox(inbox).1),
            None => own_mailbox(name),
        }
    }

    /// The directory that the inbox is in, if it is written as a path.
    pub(super) fn inbox_directory(&self) -> Option<&Path> {
        split_inbox(self.inbox.as_deref()?).0.map(Path::new)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

/// The quota of a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Octets of all files together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Size>,
    /// Messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

impl From<Quota> for request::Quota {
    fn from(quota: Quota) -> Self {
        Self { octets: quota.bytes.map(|bytes| bytes.0), messages: quota.messages }
    }
}

/// A pattern for MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// Any address: `*`.
    Anybody,
    /// Any address of one domain: `*@example.test`.
    Domain(String),
    /// One address.
    Address(Address),
}

impl Sender {
    /// Whether it matches that address, case aside.
    pub fn matches(&self, from: &Address) -> bool {
        match self {
            Self::Anybody => true,
            Self::Domain(domain) => from.domain() == Some(domain),
            Self::Address(address) => {
                address.domain() == from.domain() && address.folded_local() == from.folded_local()
            }
        }
    }
}

impl FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Anybody);
        }
        let address = Address::parse(text).ok().filter(|address| address.domain().is_some());
        match address {
            Some(any) if any.local() == "*" => {
                Ok(any.domain().map_or(Self::Anybody, |domain| Self::Domain(domain.to_owned())))
            }
            Some(address) => Ok(Self::Address(address)),
            None => Err(format!(
                "{text:?} is no sender: write \"boss@example.test\", \"*@example.test\" or \"*\" (anybody)"
            )),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("*"),
            Self::Domain(domain) => write!(f, "*@{domain}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

text_in_configuration!(Sender, "a sender in quotes, like \"boss@example.test\", \"*@example.test\" or \"*\"");

/// The key of an address: its local part in the form in which it is compared, and its domain.
pub(super) fn lookup_key(local: &str, domain: &str) -> String {
    format!("{}@{domain}", fold_local(local))
}

/// The key of a whole address.
pub(super) fn address_key(text: &str) -> Option<String> {
    let address = Address::parse(text).ok()?;
    Some(lookup_key(address.local(), address.domain()?))
}

/// The name of the account with a whole address: the address in the form in which it is compared.
pub(super) fn account_name(text: &str) -> Option<String> {
    let address = Address::parse(text).ok().filter(|address| address.domain().is_some())?;
    Some(address.canonical().to_string())
}

fn checked_hash<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let hash = String::deserialize(d)?;
    hash.parse::<StoredHash>().map_err(D::Error::custom)?;
    Ok(hash)
}

/// The mailbox that an account of that name has if it names no other.
pub fn own_mailbox(name: &str) -> Option<Mailbox> {
    let address = Address::parse(name).ok()?;
    Mailbox::of_address(&address.folded_local(), address.domain()?)
}

/// The directory of an inbox that is written as a path, and the name of its mailbox.
fn split_inbox(inbox: &str) -> (Option<&str>, &str) {
    inbox.rsplit_once('/').map_or((None, inbox), |(directory, name)| (Some(directory), name))
}

fn leads_up(inbox: &str) -> bool {
    inbox.split('/').any(|part| part == "..")
}

fn checked_inbox<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let inbox = Option::<String>::deserialize(d)?;
    match inbox {
        Some(name) if Mailbox::named(split_inbox(&name).1).is_none() || leads_up(&name) => {
            Err(D::Error::custom(format!(
                "{name:?} cannot be an inbox: 1 to {} of a-z, 0-9 and @ . _ + - =, not beginning with . or -; any other octet is \
                 % and two digits, like %2f",
                Mailbox::MAX_NAME
            )))
        }
        inbox => Ok(inbox),
    }
}

fn checked_quota<'de, D: Deserializer<'de>>(d: D) -> Result<Quota, D::Error> {
    ObjectOf::<Quota>::new("a quota").deserialize(d).map_err(|error: D::Error| {
        let told = error.to_string();
        let is_other_type = told.contains("expected a quota");
        D::Error::custom(match told.as_str() {
            _ if is_other_type => "write it like {\"bytes\": \"1 GiB\", \"messages\": 1000}",
            told => told,
        })
    })
}

fn checked_addresses<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let addresses = Vec::<String>::deserialize(d)?;
    match addresses.iter().find(|text| address_key(text).is_none()) {
        Some(bad) => {
            Err(D::Error::custom(format!("{bad:?} is not a whole mail address, like bob.b@example.test")))
        }
        None => Ok(addresses),
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n22_a_quota_of_another_type_is_told_how_to_write_it() {
        for quota in ["\"lots\"", "5", "true", "null", "[]", "[\"1 GiB\", 5]"] {
            let text = format!("{{\"password_hash\": \"!\", \"quota\": {quota}}}");
            let error = serde_json::from_str::<Account>(&text).unwrap_err().to_string();
            let told = "write it like {\"bytes\": \"1 GiB\", \"messages\": 1000}";
            assert!(error.starts_with(told), "{quota}: {error}");
        }
    }

    #[test]
    fn senders_are_addresses_domains_or_anybody_and_read_back_what_they_print() {
        let from = Address::parse("Boss@Example.test").unwrap();
        for (text, printed, is) in [
            ("*", "*", true),
            ("*@EXAMPLE.test", "*@example.test", true),
            ("boss@example.test", "boss@example.test", true),
            ("*@far.test", "*@far.test", false),
            ("boss@far.test", "boss@far.test", false),
            ("bos@example.test", "bos@example.test", false),
        ] {
            let sender: Sender = text.parse().unwrap();
            assert_eq!((sender.to_string().as_str(), sender.matches(&from)), (printed, is), "{text}");
        }
        for bad in ["", "boss", "*@", "@example.test", "**", "a b@c"] {
            assert!(bad.parse::<Sender>().unwrap_err().contains("*@example.test"), "{bad}");
        }
    }
}
