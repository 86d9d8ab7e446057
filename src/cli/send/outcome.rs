//! The outcome of `restante send`, with its exit code.

use crate::{
    cli::{failure::Failure, output},
    client::{
        ClientError, display, reply_help,
        smtp::{Reply, ReplyClass},
        submit::SubmitOutcome,
    },
    language::Language,
};

/// Reports the outcome for each recipient.
pub(super) fn report(
    outcome: &SubmitOutcome<'_>,
    recipients: &[&str],
    remarks: &[String],
    language: Language,
) -> Result<(), Failure> {
    let explained = |reply: &Reply, recipients: &[&str]| {
        display::printable_line(&reply_help::explain_smtp(reply, recipients, language))
    };
    let for_recipient = |(to, reply): &(&str, Reply)| {
        format!("<{}>: {}", display::printable_line(to), explained(reply, &[to]))
    };
    let mut lines = remarks.to_vec();
    match outcome {
        SubmitOutcome::Refused(reply, recipient) => lines.push(explained(reply, recipient.as_slice())),
        SubmitOutcome::NoRecipient(refusals) => lines.extend(refusals.iter().map(for_recipient)),
        SubmitOutcome::Cancelled => {}
        SubmitOutcome::Replied { reply, refusals, remarks } => {
            lines.extend(refusals.iter().chain(remarks).map(for_recipient));
            lines.push(explained(reply, recipients));
        }
    }
    let lines = lines.join("\n");
    match outcome.worst() {
        ReplyClass::Success => output::page(&format!("{lines}\n")),
        worst => Err(failure_for(worst, lines)),
    }
}

pub(super) fn failure_for(class: ReplyClass, why: String) -> Failure {
    if class == ReplyClass::Transient { Failure::Transient(why) } else { Failure::Permanent(why) }
}

pub(super) fn client_failure(error: &ClientError, language: Language) -> Failure {
    let why = display::printable_line(&error.describe(language));
    match error {
        ClientError::Refused(reply) => failure_for(reply.class(), why),
        ClientError::TooBig { .. } | ClientError::MissingExtension(_) | ClientError::NoAuthMechanism(_) => {
            Failure::Permanent(why)
        }
        _ => Failure::Other(why),
    }
}
