//! One message on its way to a server: the SMTP transaction (RFC 5321 section 3.3) and its outcome.

use super::{
    ClientError,
    reply_help::has_remark,
    smtp::{MessageRequirements, Reply, ReplyClass, Smtp},
};

/// A message with its envelope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submission<'a> {
    /// Envelope sender, without angle brackets; empty for the null sender.
    pub from: &'a str,
    /// Envelope recipients, without angle brackets.
    pub recipients: &'a [&'a str],
    /// The message; its line ends may be LF or CRLF.
    pub message: &'a [u8],
}

/// A refused recipient, with the reply.
pub(crate) type Refusal<'a> = (&'a str, Reply);

#[derive(Debug)]
pub(crate) enum SubmitOutcome<'a> {
    /// The server refused the sender, or ended the session at this recipient: no recipient gets the message.
    Refused(Reply, Option<&'a str>),
    /// The server refused every recipient.
    NoRecipient(Vec<Refusal<'a>>),
    /// The server refused some recipients, and the caller then gave up on the others.
    Cancelled,
    /// The reply to the message itself.
    Replied {
        reply: Reply,
        /// The recipients refused before it.
        refusals: Vec<Refusal<'a>>,
        /// The recipients taken with a remark about a fault in their address.
        remarks: Vec<(&'a str, Reply)>,
    },
}

impl SubmitOutcome<'_> {
    /// Returns every reply that decides whether the message arrived.
    pub(crate) fn replies(&self) -> impl Iterator<Item = &Reply> {
        let (reply, refusals) = match self {
            Self::Refused(reply, _) => (Some(reply), &[][..]),
            Self::NoRecipient(refusals) => (None, refusals.as_slice()),
            Self::Cancelled => (None, &[][..]),
            Self::Replied { reply, refusals, .. } => (Some(reply), refusals.as_slice()),
        };
        reply.into_iter().chain(refusals.iter().map(|(_, reply)| reply))
    }

    /// True if at least one recipient gets the message.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Replied { reply, .. } if reply.is_done())
    }

    /// Of these recipients, those that do not get the message.
    pub(crate) fn pending<'a>(&self, recipients: &[&'a str]) -> Vec<&'a str> {
        let is_refused = |address: &&str| match self {
            Self::Replied { reply, refusals, .. } if reply.is_done() => {
                refusals.iter().any(|(refused, _)| refused == address)
            }
            _ => true,
        };
        recipients.iter().copied().filter(is_refused).collect()
    }

    /// The worst class of all replies: a permanent failure, then a temporary one.
    pub(crate) fn worst(&self) -> ReplyClass {
        let mut worst = ReplyClass::Success;
        for reply in self.replies() {
            worst = match (worst, reply.class()) {
                (ReplyClass::Permanent, _) | (_, ReplyClass::Permanent | ReplyClass::Intermediate) => {
                    ReplyClass::Permanent
                }
                (_, ReplyClass::Transient) => ReplyClass::Transient,
                (worst, ReplyClass::Success) => worst,
            };
        }
        worst
    }
}

/// Sends a message. If the server refuses some recipients and takes others, `go_on` decides.
///
/// # Errors
/// The server does not announce an extension that the message needs, or the connection broke. After the final
/// dot, a broken connection leaves the message's fate unknown.
pub(crate) fn submit<'a>(
    smtp: &mut Smtp,
    submission: &Submission<'a>,
    go_on: impl FnOnce(&[Refusal<'a>]) -> bool,
) -> Result<SubmitOutcome<'a>, ClientError> {
    let Submission { from, recipients, message } = *submission;
    let needs = MessageRequirements::for_message(message, recipients.iter().copied().chain([from]));
    let reply = smtp.mail(from, &needs)?;
    if !reply.is_done() {
        return Ok(SubmitOutcome::Refused(reply, None));
    }
    let (mut refusals, mut remarks) = (Vec::new(), Vec::new());
    for recipient in recipients {
        let reply = smtp.recipient(recipient)?;
        if reply.code == CLOSING {
            return Ok(SubmitOutcome::Refused(reply, Some(recipient)));
        }
        if !reply.is_done() {
            refusals.push((*recipient, reply));
        } else if has_remark(&reply) {
            remarks.push((*recipient, reply));
        }
    }
    // QUIT follows in both cases: without DATA nothing was handed over (RFC 5321 section 4.1.1.10).
    if refusals.len() == recipients.len() {
        return Ok(SubmitOutcome::NoRecipient(refusals));
    }
    if !refusals.is_empty() && !go_on(&refusals) {
        return Ok(SubmitOutcome::Cancelled);
    }
    Ok(SubmitOutcome::Replied { reply: smtp.data(message)?, refusals, remarks })
}

/// The server closes the connection (RFC 5321 section 3.8).
const CLOSING: u16 = 421;
