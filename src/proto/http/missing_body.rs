//! The refusal of a request that came without the body that it needs, with the body to send.

use super::{
    routes::Endpoint,
    status::{Refusal, Status},
};

/// The refusal, if the endpoint needs a body.
pub(super) fn refusal(endpoint: Endpoint) -> Option<Refusal> {
    let example = match endpoint {
        Endpoint::SetRead => r#"{"IDs": ["a1b2c3"], "Read": true}"#,
        Endpoint::Send => {
            r#"{"From": {"Email": "ann@example.test"}, "To": [{"Email": "bob@example.test"}], "Subject": "Hi", "Text": "Hello"}"#
        }
        Endpoint::SetChaos => r#"{"Recipient": {"ErrorCode": 451, "Probability": 50}}"#,
        Endpoint::SetTags => r#"{"IDs": ["a1b2c3"], "Tags": []}"#,
        Endpoint::Autodiscover => {
            "<Autodiscover><Request><EMailAddress>bob@example.test</EMailAddress></Request></Autodiscover>"
        }
        _ => return None,
    };
    let why = format!("This request needs a body, sent with Content-Length, like {example}");
    Some(Refusal::saying(Status::BAD_REQUEST, why))
}
