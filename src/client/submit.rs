//! One message on its way to a server: the transaction of SMTP (RFC 5321 section 3.3), and what came of it.

use super::{
    Trouble,
    smtp::{Class, Needs, Reply, Smtp},
};

/// A message and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The sender of the envelope.
    pub from: &'a str,
    /// The recipients of the envelope.
    pub recipients: &'a [&'a str],
    /// The message; its line ends may be LF or CRLF.
    pub message: &'a [u8],
}

/// A recipient that the server does not take.
pub type Refusal<'a> = (&'a str, Reply);

/// What came of it.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The sender was refused, or the server ended the session: nobody gets it.
    Refused(Reply),
    /// Every recipient was refused.
    NoRecipient(Vec<Refusal<'a>>),
    /// Some recipients were refused, and then the rest was not to get it either.
    GivenUp,
    /// The answer to the message itself, and who does not get it in any case.
    Answered(Reply, Vec<Refusal<'a>>),
}

impl Outcome<'_> {
    /// Every reply that says whether the message arrived.
    pub fn replies(&self) -> impl Iterator<Item = &Reply> {
        let (reply, refusals) = match self {
            Self::Refused(reply) => (Some(reply), &[][..]),
            Self::NoRecipient(refusals) => (None, refusals.as_slice()),
            Self::GivenUp => (None, &[][..]),
            Self::Answered(reply, refusals) => (Some(reply), refusals.as_slice()),
        };
        reply.into_iter().chain(refusals.iter().map(|(_, reply)| reply))
    }

    /// Whether somebody gets the message.
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Answered(reply, _) if reply.is_done())
    }

    /// The worst that happened: something to be changed, then something to be tried later.
    pub fn worst(&self) -> Class {
        let mut worst = Class::Done;
        for reply in self.replies() {
            worst = match (worst, reply.class()) {
                (Class::Refused, _) | (_, Class::Refused | Class::GoOn) => Class::Refused,
                (_, Class::TryLater) => Class::TryLater,
                (worst, Class::Done) => worst,
            };
        }
        worst
    }
}

/// Sends a message. `go_on` is asked when some recipients were refused and others were not.
///
/// # Errors
/// The server cannot take such a message, or the connection broke: then nobody can say whether it arrived,
/// if its final dot was sent.
pub fn submit<'a>(
    smtp: &mut Smtp,
    submission: &Submission<'a>,
    go_on: impl FnOnce(&[Refusal<'a>]) -> bool,
) -> Result<Outcome<'a>, Trouble> {
    let Submission { from, recipients, message } = *submission;
    let needs = Needs::of(message, recipients.iter().copied().chain([from]));
    let reply = smtp.mail(from, &needs)?;
    if !reply.is_done() {
        return Ok(Outcome::Refused(reply));
    }
    let mut refusals = Vec::new();
    for recipient in recipients {
        let reply = smtp.recipient(recipient)?;
        if reply.code == CLOSING {
            return Ok(Outcome::Refused(reply));
        }
        if !reply.is_done() {
            refusals.push((*recipient, reply));
        }
    }
    // QUIT is next in both cases: without DATA nothing was handed over (RFC 5321 section 4.1.1.10).
    if refusals.len() == recipients.len() {
        return Ok(Outcome::NoRecipient(refusals));
    }
    if !refusals.is_empty() && !go_on(&refusals) {
        return Ok(Outcome::GivenUp);
    }
    Ok(Outcome::Answered(smtp.data(message)?, refusals))
}

/// The server closes the connection (RFC 5321 section 3.8).
const CLOSING: u16 = 421;
