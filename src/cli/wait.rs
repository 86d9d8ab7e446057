//! `restante wait`: blocks until mail arrives, for scripts and tests.

use std::{fs, ops::ControlFlow, time::Duration};

use clap::Args;
use regex::Regex;

use super::{
    failure::Failure,
    mailboxes::{MailboxArgs, SpoolAccounts},
    output::{self, Stdout, message_count},
};
use crate::{
    command_hint::shell_quoted,
    logging::escape,
    maildir,
    printable::escape_line,
    proto::smtp::address::Address,
    search::Query,
    tools::{Mark, Message, Presence, Target, Wait},
};

/// Wait for a message, and print its path, a tab, and its envelope.
///
/// Exit codes: 0 the message arrived, 1 the time limit passed, 2 the command line is wrong, or the mailbox cannot be looked at.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: MailboxArgs,
    /// Address to wait for; with a +tag, only mail for exactly that address
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Sender, in MAIL FROM or in the field From
    #[arg(long, value_name = "ADDRESS", value_parser = parse_sender)]
    from: Option<String>,
    /// Regular expression to find in the decoded subject; with (?i) at its beginning, upper and lower case are the same
    #[arg(long, value_name = "RE", value_parser = parse_regex)]
    subject: Option<Regex>,
    /// Regular expression to find in the decoded text parts; (?i) as for --subject
    #[arg(long, value_name = "RE", value_parser = parse_regex)]
    body: Option<Regex>,
    /// Search words, as in the web API: `from:shop has:attachment "order 4711" -draft`
    #[arg(long, value_name = "QUERY", value_parser = parse_query, allow_hyphen_values = true)]
    search: Option<Query>,
    /// Number of messages to wait for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(allow_negative_numbers = true)]
    count: u64,
    /// Ignore messages that were present at this mark of --mark: the word itself, or @FILE with it
    #[arg(long, value_name = "MARK")]
    after: Option<String>,
    /// Do not wait, but print a mark of the messages present now
    #[arg(long, conflicts_with_all = ["from", "subject", "body", "search", "count", "after", "timeout", "json"])]
    mark: bool,
    /// Time limit, like 30s or 2m; a number alone is seconds
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    #[arg(allow_negative_numbers = true)]
    timeout: Duration,
    /// Print one line of JSON for each message: sender, recipients, text, HTML, links, attachments, header
    #[arg(long)]
    json: bool,
}

/// Only a message that did not come has exit code 1, because a test that nothing came must not pass for another reason.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match wait_for(arguments).map_err(Failure::into_usage)? {
        None => Ok(()),
        Some(in_vain) => Err(Failure::Other(in_vain)),
    }
}

/// Waits. The sentence is that of a wait in vain.
fn wait_for(arguments: &Arguments) -> Result<Option<String>, Failure> {
    // Reads the mark first, because the file may be readable for root only.
    let after = arguments.after.as_deref().map(parse_mark).transpose()?.unwrap_or_default();
    let mailboxes = arguments.place.open()?;
    if mailboxes.is_nowhere() {
        return Err(Failure::Usage(mailboxes.absent()));
    }
    let targets = mailboxes.targets(&arguments.to)?;
    let whose = with_mailboxes(&arguments.to, &targets);
    let wait = Wait { spool: &mailboxes.spool, targets: &targets, after: &after, timeout: arguments.timeout };
    wait.check_mark().map_err(|error| Failure::Usage(format!("--after: {error}")))?;
    let mut out = Stdout::new();
    if arguments.mark {
        let mark = wait.mark().map_err(Failure::of_reader)?;
        warn_of_empty_mark(&whose, &wait)?;
        out.line(mark)?;
        out.flush()?;
        return Ok(None);
    }
    let (mut found, mut failed) = (0, None);
    let enough = wait.run(|message| {
        let step = line_of(arguments, &message).and_then(|line| {
            if let Some(line) = line {
                found += 1;
                out.line(line)?;
                out.flush()?;
            }
            Ok(())
        });
        failed = step.err();
        if failed.is_some() || found == arguments.count {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    match (failed, enough.map_err(Failure::of_reader)?) {
        (Some(failure), _) => Err(failure),
        (None, true) => Ok(None),
        (None, false) => {
            let presence = wait.look().map_err(Failure::of_reader)?;
            let why = describe_failure(arguments, (&whose, found), &mailboxes, &presence);
            match presence {
                Presence::NoSpool => Err(Failure::Usage(why)),
                Presence::NoMailbox { .. } | Presence::Messages { .. } => Ok(Some(why)),
            }
        }
    }
}

/// The address, and the mailboxes of its mail if they have other names: `bob` alone has the first domain, and an alias leads
/// elsewhere.
fn with_mailboxes(to: &str, targets: &[Target]) -> String {
    let mailboxes: Vec<&str> = targets.iter().map(|target| target.destination.mailbox.as_str()).collect();
    let untagged = to.split_once('@').map(|(local, domain)| {
        let (name, _) = local.split_once('+').unwrap_or((local, ""));
        format!("{name}@{domain}")
    });
    if let ([mailbox], Some(untagged)) = (&mailboxes[..], &untagged)
        && mailbox.to_lowercase() == untagged.to_lowercase()
    {
        return to.to_owned();
    }
    let title = if mailboxes.len() == 1 { "mailbox" } else { "mailboxes" };
    format!("{to} ({title} {})", listed(&mailboxes))
}

/// The first of some names.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let more = if names.len() > MAX_NAMES { ", ..." } else { "" };
    let first: Vec<&str> = names.iter().take(MAX_NAMES).map(AsRef::as_ref).collect();
    first.join(", ") + more
}

/// A mark of a mailbox that does not exist yet is in order, and has no messages. A spool that does not exist is more
/// often a mistyped one.
fn warn_of_empty_mark(whose: &str, wait: &Wait<'_>) -> Result<(), Failure> {
    let spool = wait.spool.display();
    match wait.look().map_err(Failure::of_reader)? {
        Presence::NoSpool => output::message(format_args!(
            "restante: there is no spool {spool} yet: start its server, or name another one with --spool or --config"
        )),
        Presence::NoMailbox { .. } => output::message(format_args!(
            "restante: {whose} has no mailbox in {spool} yet: its first message will make it"
        )),
        Presence::Messages { .. } => {}
    }
    Ok(())
}

/// Says where the messages were awaited, and what is there.
fn describe_failure(
    arguments: &Arguments,
    (whose, found): (&str, u64),
    mailboxes: &SpoolAccounts,
    presence: &Presence,
) -> String {
    let Arguments { to, from, subject, body, search, count, timeout, .. } = arguments;
    let number = match found {
        0 => "no matching message".to_owned(),
        found => format!("{found} of {count} matching messages"),
    };
    let time = humantime::format_duration(*timeout).to_string();
    let digits = time.find(|c: char| !c.is_ascii_digit()).unwrap_or(time.len());
    let (value, unit) = time.split_at(digits);
    let is_single = unit.bytes().all(|b| b.is_ascii_alphabetic());
    let time = if is_single { format!("{value} {unit}") } else { time };
    let start = format!("{number} for {whose} in {} after {time}", mailboxes.spool.display());
    match presence {
        Presence::NoSpool => {
            format!("{start}: {}", mailboxes.absent())
        }
        Presence::NoMailbox { others } if others.is_empty() => {
            format!("{start}: there is no such mailbox, nor any other in that spool")
        }
        Presence::NoMailbox { others } => {
            format!("{start}: there is no such mailbox; that spool has {}", listed(others))
        }
        Presence::Messages { there, marked, hidden, elsewhere, newest } => {
            let others = hidden + elsewhere;
            let place = if others > 0 { "in its mailbox" } else { "there" };
            let mut what = format!("{} {place}", message_count(*there));
            if *marked > 0 {
                what += &format!(", {marked} of them from before the mark");
            }
            if *elsewhere > 0 {
                what += &format!(", {elsewhere} of them to another address");
            }
            if *hidden > 0 {
                what += &format!(
                    ", {hidden} of them to several recipients, whom the header does not tell: send to {to} alone, or name it \
                     in To or Cc"
                );
            }
            let filters = [
                from.as_ref().map(|from| format!("from={from}")),
                subject.as_ref().map(|subject| format!("subject={subject}")),
                body.as_ref().map(|body| format!("body={body}")),
                search.as_ref().map(|search| format!("search={search}")),
            ];
            let filters = filters.into_iter().flatten().collect::<Vec<_>>().join(" ");
            if *there > marked + others && found == 0 && !filters.is_empty() {
                what += &format!(", none matches {filters}");
                let newest = newest.iter().map(|message| {
                    format!(
                        "\"{}\" from {}",
                        escape(message.subject()),
                        escape(message.sender().unwrap_or("-"))
                    )
                });
                let newest = newest.collect::<Vec<_>>().join(", ");
                what += &if newest.is_empty() { newest } else { format!("; the newest: {newest}") };
            }
            format!("{start} ({what})")
        }
    }
}

/// A number alone is seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write it like 30s, or a number of seconds"))
}

fn parse_mark(text: &str) -> Result<Mark, Failure> {
    let content = match text.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{file}: {error}")))?,
        None => text.to_owned(),
    };
    if content.trim().is_empty() {
        return Err(Failure::Usage("--after: the mark is empty: `restante wait --mark` prints one".into()));
    }
    content.parse().map_err(|error| Failure::Usage(format!("--after: {error}")))
}

/// A number of seconds ahead of UTC is not known here, so dates without a zone are in UTC.
fn parse_query(text: &str) -> Result<Query, String> {
    let text = not_empty(text)?;
    Query::parse(text, 0).map_err(|mistake| mistake.to_string())
}

fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(not_empty(text)?).map_err(|error| error.to_string())
}

/// An empty variable in the command of a test must not make any message do.
fn not_empty(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() {
        return Err("it is empty: leave the option out to wait for any message".into());
    }
    Ok(text)
}

/// An address that no sender has would be waited for in vain. The empty one is that of bounces.
fn parse_sender(text: &str) -> Result<String, String> {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.trim_end().strip_suffix('>'));
    if let Some(address) = inner {
        let address = shell_quoted(address);
        return Err(format!("write the address alone, without a name and brackets: --from {address}"));
    }
    if !text.is_empty() && Address::parse(text).is_err() {
        return Err("it is not a mail address: write it like bob@example.test".into());
    }
    Ok(text.to_owned())
}

/// The line to print for a message; `None` if it is not wanted, or was deleted meanwhile.
fn line_of(arguments: &Arguments, message: &Message) -> Result<Option<String>, Failure> {
    let Arguments { from, subject, body, search, json, .. } = arguments;
    let header = from.as_ref().is_none_or(|from| message.is_from(from))
        && subject.as_ref().is_none_or(|subject| subject.is_match(message.subject()));
    if !header {
        return Ok(None);
    }
    if let Some(body) = body
        && !present(message.text())?.is_some_and(|text| body.is_match(&text))
    {
        return Ok(None);
    }
    if let Some(query) = search
        && !present(message.object())?.is_some_and(|object| message.is_found_by(query, &object))
    {
        return Ok(None);
    }
    if *json { present(message.to_json()) } else { Ok(Some(as_text(message))) }
}

/// The content of a message; `None` if it was deleted meanwhile.
fn present<T>(content: Result<T, maildir::Error>) -> Result<Option<T>, Failure> {
    match content {
        Err(error) if error.kind() == maildir::Kind::Gone => Ok(None),
        done => done.map(Some).map_err(Failure::of_reader),
    }
}

fn as_text(message: &Message) -> String {
    let or_none = |text: Option<&str>| text.map_or("-".into(), |text| format!("<{}>", escape(text)));
    format!(
        "{}\tfrom={} to={} octets={} id={} subject=\"{}\"",
        escape_line(&message.path().to_string_lossy()),
        or_none(message.from()),
        or_none(message.to()),
        message.octets(),
        message.id(),
        escape(message.subject()),
    )
}

/// Names of mailboxes in an error.
const MAX_NAMES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u161_an_option_that_is_empty_or_names_no_sender_is_refused() {
        for text in ["", " "] {
            assert!(parse_query(text).unwrap_err().starts_with("it is empty: leave the option out"));
            assert!(parse_regex(text).unwrap_err().starts_with("it is empty: leave the option out"));
            let failure = parse_mark(text).unwrap_err().to_string();
            assert!(failure.starts_with("--after: the mark is empty: "), "{failure}");
        }
        for text in ["<shop@example.test>", "Shop <shop@example.test>"] {
            let refusal = parse_sender(text).unwrap_err();
            assert!(refusal.ends_with("without a name and brackets: --from shop@example.test"), "{refusal}");
        }
        parse_sender("a b").unwrap_err();
        for text in ["shop@example.test", "shop", ""] {
            assert_eq!(parse_sender(text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn u80_a_number_alone_is_a_time_in_seconds() {
        for (text, millis) in [("5", 5000), ("0.5", 500), ("0", 0), ("5s", 5000), ("2m", 120_000)] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["-1", "5 parsecs", "inf", ""] {
            parse_time(text).unwrap_err();
        }
    }
}
