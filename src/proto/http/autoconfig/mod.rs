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
    routes::Endpoint,
    session_config::SessionConfig,
    state::Exchange,
    status::{Refusal, Status},
};
use settings::Settings;

/// The answer to a request for settings. `None` if the request is for something else.
pub(super) fn answer(
    exchange: &Exchange,
    body: &[u8],
    config: &SessionConfig,
) -> Option<Result<Document, Refusal>> {
    let parameter =
        || exchange.head.target.parameter("emailaddress").map(str::trim).filter(|text| !text.is_empty());
    let settings = |address: Option<&str>| Settings::find(address, &exchange.head.host, config);
    Some(match exchange.endpoint {
        Endpoint::Autoconfig => settings(parameter()).map(|settings| mozilla::document(&settings)),
        Endpoint::AppleProfile => settings(parameter()).and_then(|settings| apple::document(&settings)),
        Endpoint::Autodiscover => outlook::requested_address(body)
            .and_then(|address| settings(Some(&address)))
            .and_then(|settings| outlook::document(&settings)),
        _ => return None,
    })
}

pub(super) const LONG_REQUEST: Refusal =
    Refusal::new(Status::TOO_LARGE, "A request of autodiscover has 16 KiB at most");
/// Octets of the longest request of autodiscover. The real ones have 500.
pub(super) const MAX_REQUEST: u64 = 16 * 1024;
