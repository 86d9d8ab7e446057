//! The parameters of a request, after the question mark.
//!
//! The rule: a mistyped parameter must not make a request for all messages out of one for a few. Requests that change mail, and
//! `/wait`, have the parameters that are listed here and no others. The lists are read by clients of Mailpit, some of which send
//! more than it reads, so there only the values count.

use super::{
    head::Method,
    routes::Endpoint,
    status::{Refusal, Status},
    target::Target,
};

/// Refuses a request with a parameter that its route does not have, or twice, or with a value that it cannot have.
pub(super) fn check(endpoint: Endpoint, method: Method, target: &Target) -> Result<(), Refusal> {
    let (names, refusal) = match endpoint {
        Endpoint::Wait => (&["query", "timeout"][..], WAIT),
        Endpoint::DeleteSearch => (&["query", "tz"][..], SEARCH),
        Endpoint::SetRead => (&["tz"][..], SET_READ),
        Endpoint::List | Endpoint::Search => return check_numbers(target),
        // These change no mail.
        Endpoint::Autodiscover
        | Endpoint::Send
        | Endpoint::SetTags
        | Endpoint::RenameTag
        | Endpoint::DeleteTag => return Ok(()),
        _ if method.is_safe() => return Ok(()),
        _ => (&[][..], NONE),
    };
    let mut seen = Vec::new();
    for name in target.parameter_names() {
        if !names.contains(&name) || seen.contains(&name) {
            return Err(refusal);
        }
        seen.push(name);
    }
    // An empty variable in the query of a test must not make any message do.
    if endpoint == Endpoint::Wait && target.parameter("query").is_some_and(|query| query.trim().is_empty()) {
        return Err(EMPTY_QUERY);
    }
    Ok(())
}

/// Refuses a place in a list that is no number. An empty one counts as missing.
fn check_numbers(target: &Target) -> Result<(), Refusal> {
    for (name, refusal) in [("start", BAD_START), ("limit", BAD_LIMIT)] {
        let is_given = target.parameter(name).is_some_and(|text| !text.trim().is_empty());
        if is_given && target.number(name).is_none() {
            return Err(refusal);
        }
    }
    Ok(())
}

const fn refused(why: &'static str) -> Refusal {
    Refusal::new(Status::BAD_REQUEST, why)
}

const WAIT: Refusal = refused("This request has the parameters query and timeout, each once, and no other");
const SEARCH: Refusal = refused("This request has the parameters query and tz, each once, and no other");
const SET_READ: Refusal =
    refused("This request has the parameter tz and no other: name messages in its body");
const NONE: Refusal = refused("This request has no parameters: name messages in its body");
const EMPTY_QUERY: Refusal = refused("The parameter query is empty: leave it out to wait for any message");
const BAD_START: Refusal = refused("The parameter start is a number, 0 or more");
const BAD_LIMIT: Refusal = refused("The parameter limit is a number, 0 or more");

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(endpoint: Endpoint, method: Method, query: &str) -> bool {
        check(endpoint, method, &Target::parse(&format!("/x?{query}")).unwrap()).is_err()
    }

    #[test]
    fn v82_a_parameter_that_a_change_or_a_wait_does_not_have_is_refused() {
        for (endpoint, method, good, bad) in [
            (
                Endpoint::Wait,
                Method::Get,
                &["", "query=a", "timeout=1&query=a"][..],
                &["qery=a", "query=", "query=+", "limit=1"][..],
            ),
            (
                Endpoint::DeleteSearch,
                Method::Delete,
                &["query=a", "query=a&tz=UTC"],
                &["query=a&limit=1", "query=a&query=b", "Query=a"],
            ),
            (Endpoint::SetRead, Method::Put, &["", "tz=UTC"], &["query=a", "IDs=a"]),
            (Endpoint::Delete, Method::Delete, &[""], &["query=x", "IDs=zzz", "x"]),
            (Endpoint::Message, Method::Get, &["x=1", "utm=x"], &[]),
        ] {
            for query in good {
                assert!(!is_refused(endpoint, method, query), "{endpoint:?} {query}");
            }
            for query in bad {
                assert!(is_refused(endpoint, method, query), "{endpoint:?} {query}");
            }
        }
    }

    #[test]
    fn v83_lists_take_the_parameters_of_any_client_but_no_bad_numbers() {
        for endpoint in [Endpoint::List, Endpoint::Search] {
            for good in [
                "",
                "limit=1000",
                "limit=99999999999999999999",
                "start=0&limit=",
                "start=+2&tz=UTC&_=17&query=a",
            ] {
                assert!(!is_refused(endpoint, Method::Get, good), "{good}");
            }
            for bad in ["limit=x", "limit=-1", "start=-1", "start=1.5", "start=1&limit=1k"] {
                assert!(is_refused(endpoint, Method::Get, bad), "{bad}");
            }
        }
    }
}
