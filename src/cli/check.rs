//! `restante check`: takes the steps of a start up to the lock of the spool, and prints the settings.

use std::io::{self, IsTerminal};

use clap::Args;

use super::{
    config_arg::ConfigArg,
    failure::Failure,
    orphans, output, running,
    serve::is_unused,
    startup::{self, Prepared, Purpose},
};
use crate::{
    config::{Config, ConfigText},
    file_rights::is_user,
    limits::way_to_list,
    loaded_config::LoadedConfig,
    printable,
    proto::request::Mailbox,
    system::{mailbox_rights, places, spool_files, spool_place},
};

/// Check a configuration and all that it names, and print the settings that differ from the defaults.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigArg,
    /// Print every setting
    #[arg(long)]
    all: bool,
    /// Exit with 1 if there is a warning
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.file.path()?;
    let (config, text) = Config::read(&path)?;
    // Before the check becomes the user of the server, who may not see it.
    let elsewhere = running::elsewhere(&config, text.path());
    let is_taken = running::is_of_another_file(&config, text.path());
    let Prepared { files, mut warnings, privileges, .. } =
        startup::prepare(config, &text, Purpose::Check).map_err(Failure::into_usage)?;
    let is_uncertain = privileges.is_some_and(|privileges| !privileges.is_certain());
    warnings.extend(files.certificate_warnings());
    let spool = &files.config.spool;
    warnings.extend(mailbox_rights::warning(spool));
    warnings.extend(mailbox_rights::read_only_mailboxes(spool));
    let newest = mailbox_rights::newest_files(spool);
    warnings.extend(mailbox_rights::unreadable_messages(&newest));
    let max_listed = files.config.limits.max_listed_size();
    warnings.extend(mailbox_rights::too_large_messages(&newest, max_listed, way_to_list));
    warnings.extend(spool_files::warnings(spool, &files.config.domains, |name| {
        let mailbox = Mailbox::named(name).filter(|_| name.contains('@') || files.accounts.count().is_some());
        mailbox.is_some_and(|mailbox| files.accounts.has_mailbox(&mailbox))
    }));
    warnings.extend(orphans::warning(spool, &files.accounts));
    // Another user's rights are not those of the server.
    let is_server = files.config.user.as_deref().is_none_or(is_user);
    warnings.extend(files.accounts.upgrade_warning().filter(|_| is_server));
    let users = match files.accounts.count() {
        Some(count) => format!("accounts: {count}"),
        None => "accounts: every address has one, with any password".into(),
    };
    let verdict = match warnings.len() {
        0 => "is good".to_owned(),
        count => format!("works, with {}", printable::counted(count, "warning")),
    };
    let beside = if is_taken { ", but another restante uses its spool now" } else { "" };
    let file = printable::escape_path(&path);
    let comments: String =
        warnings.iter().map(|warning| format!("# warning: {}\n", printable::escape_line(warning))).collect();
    let elsewhere = elsewhere.iter().map(|spool| {
        format!(
            "the server of this file that runs has the spool {}, and some of these addresses may be its own: a new `spool` \
             takes a restart",
            spool.display()
        )
    });
    let taken = is_taken.then(|| {
        format!(
            "a start with this file is refused while another restante uses the spool {}: end that one, set `shared_spool = true` \
             in both configurations, or name another `spool`",
            files.config.spool.display()
        )
    });
    let notes: String = taken
        .into_iter()
        .chain(elsewhere)
        .chain(mailbox_rights::made_by_root(&files.config.spool).filter(|_| is_uncertain))
        .chain(notes(&files, &text))
        .map(|note| format!("# note: {}\n", printable::escape_line(&note)))
        .collect();
    let settings = if arguments.all { files.config.effective() } else { files.config.differences() };
    output::page(&format!("# {file} {verdict}{beside}; {users}\n{comments}{notes}{settings}"))?;
    if arguments.strict && !warnings.is_empty() {
        // The warnings themselves, if they went elsewhere.
        let why = if io::stdout().is_terminal() { "see above".to_owned() } else { warnings.join("; ") };
        return Err(Failure::Other(format!("{file} {verdict}: {}", printable::escape_line(&why))));
    }
    Ok(())
}

/// Sentences that are no warnings, because they are right for many operators.
fn notes(files: &LoadedConfig, text: &ConfigText) -> Vec<String> {
    let spool = &files.config.spool;
    let question = spool_place::used_spool_near(spool).map(|question| format!("; {question}"));
    let new = format!(
        "no server has used the spool {} yet: right before a first start, otherwise mount its disk{}",
        spool.display(),
        question.unwrap_or_default()
    );
    let mut notes: Vec<String> = is_unused(spool).then_some(new).into_iter().collect();
    // The service manager reads them as root; a start by hand reads them as the user that this process has become.
    let by_hand = places::certificate(&files.config).filter(|problem| text.is_credential(&problem.key));
    notes.extend(by_hand.map(|problem| {
        format!(
            "right for a service with LoadCredential=; `restante serve` without $CREDENTIALS_DIRECTORY would not start: {}",
            text.error_at(&problem.key, problem.why)
        )
    }));
    notes.extend(files.config.network_notes());
    notes.extend(files.certificate_note());
    notes.extend(files.accounts.notes());
    notes
}
