//! `restante fsck`: finds and repairs problems in mailboxes.

mod progress;

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use clap::Args;
use serde::Serialize;

use self::progress::Progress;
use super::{
    failure::Failure,
    mailbox_path::path_advice,
    orphans::ways_to_account,
    output::{Stdout, wrapped},
    spool::{SpoolArgs, SpoolContext, must_be_spool},
};
use crate::{
    maildir::{Error, Kind},
    printable,
    tools::fsck::{
        ClosedDirectory, Finding, Mailbox, Problem, Report, Rules, hidden_maildirs, misnamed_maildir,
        misplaced_files, misplaced_in_spool, shown, unusable,
    },
};

/// Find problems in mailboxes: names, sizes, owners, modes, misplaced files.
///
/// Changes nothing without --fix, and never deletes mail. It may run beside a server and mail readers. The
/// exit code is 1 while any problem is left.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Mailboxes to check, with their folders [default: all mailboxes of the spool]
    #[arg(value_name = "MAILBOX")]
    mailboxes: Vec<String>,
    #[command(flatten)]
    place: SpoolArgs,
    /// Repair what can be repaired safely: names, modes, missing directories, stale files in tmp/
    #[arg(long)]
    fix: bool,
    /// Print one line of JSON for each finding
    #[arg(long)]
    json: bool,
}

/// A finding as JSON.
#[derive(Debug, Serialize)]
struct JsonFinding<'a> {
    path: String,
    problem: &'static str,
    detail: &'a str,
    stumbles: &'static str,
    advice: String,
    repairable: bool,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The state of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Not repaired.
    Found,
    /// Repaired.
    Fixed,
    /// The repair failed.
    Failed,
    /// Harmless.
    Note,
}

/// Totals of all mailboxes.
#[derive(Debug, Default)]
struct Totals {
    mailboxes: u64,
    messages: u64,
    fixed: u64,
    left: u64,
    repairable: u64,
    notes: u64,
    /// Files and directories of a foreign owner with wrong modes.
    foreign_modes: u64,
    /// Directories that have to get another owner, each reported once: a mailbox may keep this user from all its folders.
    foreign: HashSet<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let context = arguments.place.open(arguments.mailboxes.first().map(String::as_str))?;
    context.become_server()?;
    if arguments.mailboxes.is_empty() {
        must_be_spool(&context.spool)?;
    }
    let mut out = Stdout::new();
    let mut sum = Totals::default();
    let mut absent = Vec::new();
    let progress = Progress::begin(Instant::now());
    let rules = Rules {
        now: SystemTime::now(),
        tmp_age: context.tmp_age,
        max_listed: context.max_listed,
        progress: &|file, octets| progress.reading(file, octets),
    };
    for Selection { mailbox, folder, named } in select(arguments, &context)? {
        let mut path = context.path.join(&mailbox);
        if let Some(closed) = ClosedDirectory::of_mailbox(&context.spool, &mailbox)
            && !open_to_owner(arguments, &closed, &mut sum, &mut out)?
        {
            continue;
        }
        let mut opened = Mailbox::open(&context.spool, &mailbox);
        if let Some(folder) = &folder {
            path.push(folder);
            if let Ok(Some(inbox)) = &opened
                && let Some(closed) = ClosedDirectory::of_folder(inbox, folder)
                && !open_to_owner(arguments, &closed, &mut sum, &mut out)?
            {
                continue;
            }
            // A directory that is not a mailbox has no folders.
            opened = opened.and_then(|mailbox| mailbox.map_or(Ok(None), |mailbox| mailbox.folder(folder)));
        }
        match opened {
            Ok(Some(mailbox)) => {
                let orphaned = path.file_name().and_then(|name| name.to_str()).filter(|_| folder.is_none());
                let orphaned = orphaned.and_then(|name| Some((name, context.orphaned_messages(name)?)));
                if let Some((name, messages)) = orphaned {
                    let finding =
                        Finding::without_account(&path, messages, ways_to_account(name, &context.domains));
                    report(arguments, &finding, State::Note, None, &mut sum, &mut out)?;
                }
                if let Some(finding) = misnamed_maildir(&path, &context.path).filter(|_| !named) {
                    report(arguments, &finding, State::Found, None, &mut sum, &mut out)?;
                }
                let folders = if folder.is_none() { mailbox.folders() } else { Ok(Vec::new()) };
                check_mailbox(arguments, &rules, &mailbox, &mut sum, &mut out)?;
                for name in folders.unwrap_or_default() {
                    if let Some(closed) = ClosedDirectory::of_folder(&mailbox, &name)
                        && !open_to_owner(arguments, &closed, &mut sum, &mut out)?
                    {
                        continue;
                    }
                    // If the folders cannot be listed, the check has reported the reason.
                    match mailbox.folder(&name) {
                        Ok(Some(folder)) => check_mailbox(arguments, &rules, &folder, &mut sum, &mut out)?,
                        Ok(None) => {}
                        Err(error) => {
                            report_unusable(
                                arguments,
                                &mailbox.path().join(name),
                                &error,
                                &mut sum,
                                &mut out,
                            )?;
                        }
                    }
                }
            }
            Ok(None) if named => absent.push(format!("{} is not a mailbox", path.display())),
            Ok(None) => {
                for finding in misplaced_in_spool(&path, &context.path) {
                    report(arguments, &finding, State::Found, None, &mut sum, &mut out)?;
                }
            }
            Err(error) if error.kind() == Kind::Gone && named => {
                absent.push(format!("{error}: there is no such mailbox"));
            }
            Err(error) => report_unusable(arguments, &path, &error, &mut sum, &mut out)?,
        }
    }
    if arguments.mailboxes.is_empty() {
        for finding in misplaced_files(&context.path).iter().chain(&hidden_maildirs(&context.path)) {
            report(arguments, finding, State::Found, None, &mut sum, &mut out)?;
        }
    }
    let Totals { mailboxes, messages, fixed, left, repairable, notes, foreign_modes, .. } = sum;
    if !arguments.json {
        if foreign_modes > 0 {
            out.line(format_args!(
                "not listed: {} of files and directories with a foreign owner; --fix corrects them after the change of the owner",
                printable::counted(foreign_modes, "wrong mode")
            ))?;
        }
        let all = fixed + left + notes;
        let allowed = if notes > 0 { format!(", no problem: {notes}") } else { String::new() };
        out.line(format_args!(
            "mailboxes and folders: {mailboxes}, messages: {messages}, findings: {all}, fixed: {fixed}{allowed}"
        ))?;
    }
    out.flush()?;
    if !absent.is_empty() {
        absent.extend(arguments.mailboxes.iter().filter_map(|name| path_advice(name)));
        return Err(Failure::Usage(absent.join("; ")));
    }
    match left {
        0 => Ok(()),
        _ if arguments.fix => Err(Failure::Other(format!("findings left, to be repaired by hand: {left}"))),
        _ => Err(Failure::Other(format!(
            "findings: {}, of which --fix repairs {repairable}",
            fixed + left + notes
        ))),
    }
}

/// A mailbox or folder to check.
struct Selection {
    mailbox: OsString,
    folder: Option<OsString>,
    /// True if the user named it, so that it has to exist.
    named: bool,
}

fn select(arguments: &Arguments, context: &SpoolContext) -> Result<Vec<Selection>, Failure> {
    if !arguments.mailboxes.is_empty() {
        let named = arguments.mailboxes.iter().map(|name| {
            let (mailbox, folder) = context.directory_names(name)?;
            Ok(Selection { mailbox: mailbox.into(), folder: folder.map(OsString::from), named: true })
        });
        return named.collect();
    }
    let mut all = context.spool.names()?;
    all.extend(context.spool.misplaced_names()?);
    all.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    all.sort();
    Ok(all.into_iter().map(|mailbox| Selection { mailbox, folder: None, named: false }).collect())
}

fn check_mailbox(
    arguments: &Arguments,
    rules: &Rules<'_>,
    mailbox: &Mailbox,
    sum: &mut Totals,
    out: &mut Stdout,
) -> Result<(), Failure> {
    sum.mailboxes += 1;
    let checked = match mailbox.check(rules) {
        Ok(checked) => checked,
        Err(error) => return report_unusable(arguments, mailbox.path(), &error, sum, out),
    };
    let modes = if arguments.fix { checked.mode_repairs() } else { Vec::new() };
    if modes.is_empty() {
        return report_all(arguments, mailbox, checked, sum, out);
    }
    // A repair of modes shows files that were hidden, so the mailbox is checked once more.
    mend(arguments, mailbox, &modes, sum, out)?;
    let told: HashSet<(PathBuf, Problem)> =
        modes.into_iter().map(|finding| (finding.path, finding.problem)).collect();
    let again = mailbox.reopened().and_then(|reopened| {
        let Some(mailbox) = reopened else { return Ok(None) };
        let mut checked = mailbox.check(rules)?;
        checked.findings.retain(|finding| !told.contains(&(finding.path.clone(), finding.problem)));
        Ok(Some((mailbox, checked)))
    });
    match again {
        Ok(Some((mailbox, checked))) => report_all(arguments, &mailbox, checked, sum, out),
        Ok(None) => Ok(()),
        Err(error) => report_unusable(arguments, mailbox.path(), &error, sum, out),
    }
}

/// Reports the findings of a mailbox, repaired if that is wanted.
fn report_all(
    arguments: &Arguments,
    mailbox: &Mailbox,
    Report { messages, mut findings, foreign_modes }: Report,
    sum: &mut Totals,
    out: &mut Stdout,
) -> Result<(), Failure> {
    sum.messages += messages;
    sum.foreign_modes += foreign_modes;
    findings.sort_by(|a, b| (&a.path, a.problem).cmp(&(&b.path, b.problem)));
    let (repairable, others): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| arguments.fix && finding.is_repairable());
    mend(arguments, mailbox, &repairable, sum, out)?;
    for finding in &others {
        let state = if finding.problem.is_allowed() { State::Note } else { State::Found };
        report(arguments, finding, state, None, sum, out)?;
    }
    Ok(())
}

/// Repairs and reports these findings of a mailbox.
fn mend(
    arguments: &Arguments,
    mailbox: &Mailbox,
    repairable: &[Finding],
    sum: &mut Totals,
    out: &mut Stdout,
) -> Result<(), Failure> {
    for (finding, done) in repairable.iter().zip(mailbox.repair(repairable)) {
        let state = if done.is_ok() { State::Fixed } else { State::Failed };
        report(arguments, finding, state, done.err(), sum, out)?;
    }
    Ok(())
}

/// Reports a mailbox or folder whose mode keeps out its owner. Returns whether `--fix` has opened it.
fn open_to_owner(
    arguments: &Arguments,
    closed: &ClosedDirectory<'_>,
    sum: &mut Totals,
    out: &mut Stdout,
) -> Result<bool, Failure> {
    let (state, error) = match arguments.fix.then(|| closed.open()) {
        None => (State::Found, None),
        Some(Ok(())) => (State::Fixed, None),
        Some(Err(error)) => (State::Failed, Some(error)),
    };
    report(arguments, &closed.finding, state, error, sum, out)?;
    Ok(state == State::Fixed)
}

/// Reports a mailbox that cannot be checked, and goes on with the others.
fn report_unusable(
    arguments: &Arguments,
    path: &Path,
    error: &Error,
    sum: &mut Totals,
    out: &mut Stdout,
) -> Result<(), Failure> {
    report(arguments, &unusable(path, error), State::Found, None, sum, out)
}

fn report(
    arguments: &Arguments,
    finding: &Finding,
    state: State,
    error: Option<Error>,
    sum: &mut Totals,
    out: &mut Stdout,
) -> Result<(), Failure> {
    if finding.problem == Problem::ForeignOwner && !sum.foreign.insert(finding.path.clone()) {
        return Ok(());
    }
    match state {
        State::Fixed => sum.fixed += 1,
        State::Note => sum.notes += 1,
        State::Found | State::Failed => {
            sum.left += 1;
            sum.repairable += u64::from(finding.is_repairable());
        }
    }
    let error = error.map(|error| error.to_string());
    if arguments.json {
        return out.line(json(finding, state, error));
    }
    out.page(&text(finding, state, error))
}

fn json(finding: &Finding, state: State, error: Option<String>) -> String {
    let line = JsonFinding {
        path: path_for_json(&finding.path),
        problem: finding.problem.name(),
        detail: &finding.detail,
        stumbles: finding.problem.affected(),
        advice: finding.advice(),
        repairable: finding.is_repairable(),
        state,
        error,
    };
    printable::json(&line, false)
}

/// The path as JSON text; octets that are not UTF-8 are escaped.
fn path_for_json(path: &Path) -> String {
    path.to_str().map_or_else(|| shown(path.as_os_str().as_encoded_bytes()), str::to_owned)
}

fn text(finding: &Finding, state: State, error: Option<String>) -> String {
    let path = shown(finding.path.as_os_str().as_encoded_bytes());
    let (problem, detail) = (finding.problem.name(), printable::escape_line(&finding.detail));
    let done = match (state, error) {
        (State::Fixed, _) => format!("fixed: {}", finding.repaired_text()),
        (_, Some(error)) => format!("not fixed: {}", printable::escape_line(&error)),
        _ => finding.advice(),
    };
    let stumbles = wrapped(&format!("affects: {}", finding.problem.affected()), 2);
    format!("{path}\n  {problem}: {detail}\n{stumbles}\n  {done}\n")
}
