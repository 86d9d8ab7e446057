//! The settings of mail programs, in the formats that they ask for before they have a password.
//!
//! The rule: an answer depends on the listeners and the domains alone. It is the same for addresses that have an account
//! and for those that have none.

mod apple;
mod mozilla;
mod outlook;
pub(super) mod servers;
mod settings;
mod xml;

use super::{
    api::Document,
    session_config::SessionConfig,
    state::Exchange,
    status::{Refusal, Status},
};
use settings::Settings;

/// The settings in the format of Thunderbird, for the address in the query, if there is one.
pub(super) fn mozilla_answer(exchange: &Exchange, config: &SessionConfig) -> Result<Document, Refusal> {
    settings(requested_address(exchange), exchange, config).map(|settings| mozilla::document(&settings))
}

/// The settings in the format of Apple, for the address in the query, if there is one.
pub(super) fn apple_answer(exchange: &Exchange, config: &SessionConfig) -> Result<Document, Refusal> {
    apple::document(&settings(requested_address(exchange), exchange, config)?)
}

/// The settings in the format of Outlook, for the address in the body.
pub(super) fn outlook_answer(
    exchange: &Exchange,
    body: &[u8],
    config: &SessionConfig,
) -> Result<Document, Refusal> {
    let address = outlook::requested_address(body)?;
    outlook::document(&settings(Some(&address), exchange, config)?)
}

fn requested_address(exchange: &Exchange) -> Option<&str> {
    exchange.head.target.parameter("emailaddress").map(str::trim).filter(|text| !text.is_empty())
}

fn settings<'a>(
    address: Option<&str>,
    exchange: &Exchange,
    config: &'a SessionConfig,
) -> Result<Settings<'a>, Refusal> {
    Settings::find(address, &exchange.head.host, config)
}

pub(super) const LONG_REQUEST: Refusal =
    Refusal::new(Status::TOO_LARGE, "A request of autodiscover has 16 KiB at most");
/// Octets of the longest request of autodiscover. The real ones have 500.
pub(super) const MAX_REQUEST: u64 = 16 * 1024;
