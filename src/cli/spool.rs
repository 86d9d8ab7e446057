//! The options that select a spool, for the tools that work on one, and the mailboxes that their arguments name.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::Args;
use rustix::system::uname;

use super::{
    config_arg::{default_config, repeat_config, tell_of_unnamed},
    default_spool::{CONFIGURATIONS, HERE, NAME_SPOOL, no_spool_here},
    failure::Failure,
    mailbox_path::path_advice,
    mailboxes::{accounts_of, folder_of_tag},
    orphans::{self, way_to_account},
    output,
    owner::{become_configured, become_owner_of},
};
use crate::{
    accounts::Accounts,
    command_hint::{self, Place, path_word},
    config::Config,
    file_rights::{as_another_user, way_to_make},
    limits::Limits,
    maildir::{self, Maildir, PARTS, Spool},
    printable,
    proto::{folder::Folder, pop3::Expire, request::Mailbox, smtp::address::Address},
    system::{places, spool_place},
    tools::mbox,
};

/// The options `--config` and `--spool`, one of which selects the spool.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct SpoolArgs {
    /// Configuration file of the server, for its spool and accounts [default: $RESTANTE_CONFIG, else
    /// /etc/restante/restante.toml, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with the mailboxes, as `restante dev` uses it [default without a configuration: ./spool]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
}

/// The open spool and its settings.
pub(super) struct SpoolContext {
    pub(super) spool: Spool,
    pub(super) path: PathBuf,
    /// The host name for the names of new message files.
    pub(super) host: String,
    /// The age beyond which a file in `tmp/` is stale.
    pub(super) tmp_age: Duration,
    /// Bytes of the largest message that the server lists.
    pub(super) max_listed: u64,
    /// The age at which the server deletes messages.
    pub(super) expire_days: Option<u32>,
    /// The user of the server, if the configuration has one.
    user: Option<String>,
    /// The domains of the configuration, in which an account may be.
    pub(super) domains: Vec<String>,
    /// The accounts of the configuration, otherwise those of `restante dev`, where every address has a mailbox.
    accounts: Accounts,
    /// The reason why the accounts are without their aliases.
    without_aliases: Option<String>,
    has_config: bool,
}

impl SpoolArgs {
    fn config_file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| default_config().filter(|_| self.spool.is_none()))
    }

    /// Makes commands in messages repeat the option.
    pub(super) fn repeat_in_hints(&self) {
        match (self.config_file(), &self.spool) {
            (Some(file), _) => repeat_config(&file),
            (None, Some(spool)) => command_hint::repeat(Place::Spool, spool),
            (None, None) if Path::new(HERE).is_dir() => command_hint::repeat(Place::Spool, Path::new(HERE)),
            (None, None) => {}
        }
    }

    /// Opens the spool, for a command that may name a mailbox. It must exist: a tool creates none.
    pub(super) fn open(&self, mailbox: Option<&str>) -> Result<SpoolContext, Failure> {
        let file = self.config_file();
        self.repeat_in_hints();
        if let (None, Some(taken)) = (&self.config, &file) {
            tell_of_unnamed(taken);
        }
        let read = file.as_deref().map(Config::read).transpose()?;
        let config = read.as_ref().map(|(config, _)| config);
        let path = match (config, &self.spool) {
            (Some(config), _) => config.spool.clone(),
            (None, Some(spool)) => spool.clone(),
            (None, None) => {
                if let Some(advice) = mailbox.and_then(path_advice) {
                    return Err(Failure::Usage(advice));
                }
                PathBuf::from(HERE)
            }
        };
        let is_default = config.is_none() && self.spool.is_none();
        if let Err(error) = path.symlink_metadata() {
            if let Some(advice) = as_another_user(&error) {
                return Err(Failure::Other(format!("{}: {error}: {advice}", path.display())));
            }
            let advice = match config {
                None if is_default => {
                    return Err(Failure::Usage(no_spool_here(CONFIGURATIONS)));
                }
                Some(config) => {
                    // The command of root has the names of the server's user and group.
                    let way = if become_configured(config.user.as_deref())? {
                        way_to_make(&path, "700")
                    } else {
                        format!("`mkdir -m 700 {}`", path_word(&path))
                    };
                    format!("start the server once, or make it with {way}")
                }
                None => "name the spool, with the mailboxes in it".to_owned(),
            };
            return Err(Failure::Usage(format!("{} is not there: {advice}", path.display())));
        }
        if !path.is_dir() {
            return Err(Failure::Usage(format!("{} is not a directory: name the spool", path.display())));
        }
        if let Some(refusal) = spool_place::refusal_of_mailbox(&path, config.is_some()) {
            return Err(Failure::Usage(refusal));
        }
        if is_default {
            must_be_spool(&Spool::open(&path)?)?;
        }
        let limits = config.map_or_else(Limits::default, |config| config.limits.clone());
        let host = config.map(|config| config.hostname.clone());
        let (accounts, without_aliases) = match &read {
            Some((config, text)) => accounts_of(config, text)?,
            None => (Accounts::accept_all(&["localhost".into()]), None),
        };
        Ok(SpoolContext {
            spool: Spool::open(&path)?,
            path,
            host: host.unwrap_or_else(|| uname().nodename().to_string_lossy().into_owned()),
            tmp_age: limits.spool.tmp_max_age.0,
            max_listed: limits.max_listed_size(),
            expire_days: config.and_then(|config| match config.pop3.expire {
                Some(Expire::Days(days)) => Some(days),
                Some(Expire::Never | Expire::Retrieved) | None => None,
            }),
            user: config.and_then(|config| config.user.clone()),
            domains: config.map(|config| config.domains.clone()).unwrap_or_default(),
            accounts,
            without_aliases,
            has_config: config.is_some(),
        })
    }
}

impl SpoolContext {
    /// Drops root for the owner of the spool, see [`become_owner_of`].
    pub(super) fn become_owner(&self) -> Result<(), Failure> {
        become_owner_of(&self.path)
    }

    /// Drops root for the user of the configuration, otherwise for the owner of the spool: a tool then meets what the
    /// server meets.
    pub(super) fn become_server(&self) -> Result<(), Failure> {
        if !become_configured(self.user.as_deref())? {
            return self.become_owner();
        }
        let problem = places::spool_rights(&self.path);
        problem.map_or(Ok(()), |problem| Err(Failure::Other(problem.why)))
    }

    /// The messages in a directory of the spool if the accounts are known, and none has that mailbox.
    pub(super) fn orphaned_messages(&self, directory: &str) -> Option<u64> {
        orphans::orphaned_messages(&self.spool, &self.accounts, directory)
    }

    /// Parses the name of a mailbox. Three forms are accepted: its directory (`bob@example.test` or
    /// `bob@example.test/.Sent`), an address, and a login name (`bob` or `bob+Sent`). The last two are read as a login and as
    /// mail read them.
    fn mailbox_by_name(&self, name: &str) -> Result<Mailbox, Failure> {
        let wrong = || {
            Failure::Usage(path_advice(name).unwrap_or_else(|| {
                format!("{name:?} is not a mailbox: write it like bob@example.test or bob@example.test/.Sent")
            }))
        };
        let (inbox, folder) = split_folder(name);
        let has_domain = |mailbox: &Mailbox| mailbox.address_parts().1.is_some();
        let is_directory = |mailbox: &Mailbox| mailbox_of_address(inbox).as_ref() != Some(mailbox);
        let mailbox = match self.named_or_of_address(inbox)? {
            // A directory of that name takes precedence over a login name.
            Some(mailbox) if self.is_there(&mailbox) || has_domain(&mailbox) && is_directory(&mailbox) => {
                mailbox
            }
            mailbox => {
                let read = self.accounts.mailbox_of(inbox);
                let is_known = |mailbox: &Mailbox| {
                    self.is_there(mailbox) || self.accounts.has_mailbox(&mailbox.clone().without_folder())
                };
                if let Some(why) =
                    self.without_aliases.as_ref().filter(|_| !read.as_ref().is_some_and(is_known))
                {
                    return Err(Failure::Usage(format!(
                        "{inbox}: no account has that address, and no alias is known: {why}"
                    )));
                }
                read.or_else(|| mailbox.filter(has_domain)).ok_or_else(wrong)?
            }
        };
        let Some(folder) = folder else { return Ok(mailbox) };
        let folder = folder.strip_prefix('.').and_then(Folder::from_name).ok_or_else(wrong)?;
        Ok(mailbox.in_folder(folder))
    }

    /// The mailbox whose directory or whose address is `name`. `a%2fb@` may be both: the directory of `a/b@`, and an
    /// address of its own. Then the mailbox that exists counts, and a tool never guesses between two of them.
    fn named_or_of_address(&self, name: &str) -> Result<Option<Mailbox>, Failure> {
        let (by_directory, by_address) = (Mailbox::named(name), mailbox_of_address(name));
        let (Some(directory), Some(address)) = (&by_directory, &by_address) else {
            return Ok(by_directory.or(by_address));
        };
        let is_user = || self.has_config && self.has_login(name);
        if directory == address || !(self.is_there(address) || is_user()) {
            return Ok(by_directory);
        }
        if self.is_there(directory) {
            return Err(Failure::Usage(format!(
                "{name:?} is the directory of one mailbox and the address of another: name the first by its \
                 address, or the second by its directory, {address}"
            )));
        }
        Ok(by_address)
    }

    fn has_login(&self, name: &str) -> bool {
        self.accounts.credential(name).mailbox.is_some()
    }

    fn is_there(&self, mailbox: &Mailbox) -> bool {
        self.path.join(mailbox.as_str()).is_dir()
    }

    /// The directory name of a mailbox below the spool, and that of its folder if `name` has one.
    pub(super) fn directory_names(&self, name: &str) -> Result<(String, Option<String>), Failure> {
        let mailbox = self.mailbox_by_name(name)?;
        let folder = mailbox.folder().map(|folder| folder.directory().to_owned());
        Ok((mailbox.as_str().to_owned(), folder))
    }

    /// Opens an existing mailbox.
    pub(super) fn open_mailbox(&self, name: &str) -> Result<Maildir, Failure> {
        let mailbox = self.mailbox_by_name(name)?;
        let opened = match mailbox.folder() {
            None => self.spool.maildir(mailbox.as_str()),
            Some(folder) => self.spool.folder(mailbox.as_str(), folder.directory()),
        };
        opened.map_err(|error| match error.kind() {
            maildir::Kind::Gone => Failure::Usage(
                path_advice(name).unwrap_or_else(|| format!("{error}: there is no such mailbox")),
            ),
            _ => error.into(),
        })
    }

    /// The time before which the server deletes messages.
    pub(super) fn expires_before(&self) -> Option<SystemTime> {
        let age = self.expire_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
        age.and_then(|age| SystemTime::now().checked_sub(age))
    }

    /// Opens a mailbox for writing. Creates a missing one only if `create` is set or an account has it. Without `create`, a name
    /// with a tag leads where mail for it goes.
    pub(super) fn open_or_create_mailbox(&self, name: &str, create: bool) -> Result<Maildir, Failure> {
        let mailbox = self.mailbox_by_name(name)?;
        if let Some(advice) = path_advice(name).filter(|_| !self.is_there(&mailbox)) {
            return Err(Failure::Usage(advice));
        }
        let may_create = create || self.has_config && self.has_login(name);
        let folder = mailbox.folder().filter(|_| !create && split_folder(name).1.is_none());
        if let Some(folder) = folder
            && (may_create || self.is_there(&mailbox))
        {
            self.warn_if_unread(&mailbox);
            let inbox = if may_create {
                self.spool.open_or_create_maildir(mailbox.as_str())
            } else {
                self.spool.maildir(mailbox.as_str())
            }?;
            return Ok(folder_of_tag(&self.spool, mailbox.as_str(), folder)?.unwrap_or(inbox));
        }
        if !may_create {
            let opened = self.open_mailbox(name);
            let opened = opened.map_err(|failure| match failure {
                Failure::Usage(why) => Failure::Usage(format!("{why}; create it with --create")),
                failure => failure,
            });
            return opened.inspect(|_| self.warn_if_unread(&mailbox));
        }
        self.refuse_foreign(&mailbox)?;
        self.warn_if_unread(&mailbox);
        let inbox = self.spool.open_or_create_maildir(mailbox.as_str())?;
        match mailbox.folder() {
            None => Ok(inbox),
            Some(folder) => Ok(self.spool.open_or_create_folder(mailbox.as_str(), folder.directory())?),
        }
    }
}

impl SpoolContext {
    /// The end of a sentence that tells the directory of an opened mailbox, if its name asks for a folder.
    pub(super) fn place_of(&self, name: &str, opened: &Maildir) -> Result<String, Failure> {
        let place = opened.path().strip_prefix(self.spool.path()).unwrap_or_else(|_| opened.path());
        let has_folder = self.mailbox_by_name(name)?.folder().is_some();
        Ok(if has_folder { format!(", into {}", printable::escape_path(place)) } else { String::new() })
    }

    /// Refuses to make a mailbox in a domain that is not the server's, for which no mail comes and in which no account can be.
    fn refuse_foreign(&self, mailbox: &Mailbox) -> Result<(), Failure> {
        let inbox = mailbox.clone().without_folder();
        let Some(domain) = inbox.address_parts().1.filter(|_| self.has_config) else { return Ok(()) };
        let is_own = self.domains.iter().any(|own| own.eq_ignore_ascii_case(&domain));
        if is_own || self.is_there(&inbox) || self.accounts.has_mailbox(&inbox) {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "{domain} is not in the domains of the configuration, and no account has the mailbox {inbox}: correct the name, add \
             the domain, or make an account with that inbox first, with {}",
            way_to_account(inbox.as_str(), &self.domains)
        )))
    }

    /// Tells of a mailbox that no login reads.
    fn warn_if_unread(&self, mailbox: &Mailbox) {
        let inbox = mailbox.clone().without_folder();
        if self.has_config && !self.accounts.has_mailbox(&inbox) {
            output::message(format_args!(
                "restante: no account has the mailbox {inbox}, so no login reads it: add one with {}, or correct the name",
                way_to_account(inbox.as_str(), &self.domains)
            ));
        } else if !self.has_config && inbox.address_parts().1.is_none() {
            output::message(format_args!(
                "restante: no login of `restante dev` reads the mailbox {inbox}, which has no domain: bob reads \
                 bob@localhost"
            ));
        }
    }
}

/// The parts of a name like `bob@example.test/.Sent`. An address may contain a slash.
fn split_folder(name: &str) -> (&str, Option<&str>) {
    let parts = name.split_once('/').filter(|_| mailbox_of_address(name).is_none());
    parts.map_or((name, None), |(inbox, folder)| (inbox, Some(folder)))
}

/// The mailbox of an address with a domain, such as `O'Neil@example.test`.
fn mailbox_of_address(name: &str) -> Option<Mailbox> {
    let address = Address::parse(name).ok()?;
    Mailbox::of_address(&address.folded_local(), address.domain()?)
}

impl From<mbox::Error> for Failure {
    fn from(error: mbox::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Refuses a directory with other things than mail: a tool that changes all mailboxes would take any subdirectory `new` for
/// one.
pub(super) fn must_be_spool(spool: &Spool) -> Result<(), Failure> {
    let path = spool.path();
    let failed = |error: io::Error| {
        let advice = as_another_user(&error).map(|advice| format!(": {advice}")).unwrap_or_default();
        Failure::Other(format!("{}: {error}{advice}", path.display()))
    };
    let is_empty = fs::read_dir(path).map_err(failed)?.next().is_none();
    if is_empty || Spool::has_sign_of_one(path).map_err(failed)? {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} has no mailbox in it, a directory with tmp, new and cur: {NAME_SPOOL}",
        path.display()
    )))
}

/// Opens the Maildir at a path, in a spool or not. `None` unless `name` begins with `/`, `./` or `../`, as a path must.
pub(super) fn maildir_at_path(name: &str) -> Option<Result<Maildir, Failure>> {
    if !["/", "./", "../"].iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let open = || {
        // The path is the operator's, so a link is followed.
        let path = fs::canonicalize(name).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        let parts = path.parent().zip(path.file_name().and_then(|last| last.to_str()));
        match parts.filter(|_| path.is_dir()) {
            Some((above, last)) => match Spool::open(above)?.maildir(last) {
                Err(_) if is_spool(&path) => Err(Failure::Usage(format!(
                    "{name} is a spool: name a mailbox in it, like {}/bob@example.test",
                    name.trim_end_matches('/')
                ))),
                opened => opened.map_err(Failure::from),
            },
            None => Err(Failure::Usage(format!("{name} is not a named directory"))),
        }
    };
    Some(open())
}

/// Whether a directory has mailboxes in it, and is none.
fn is_spool(path: &Path) -> bool {
    let is_mailbox = PARTS.iter().any(|part| path.join(part).exists());
    !is_mailbox && Spool::has_sign_of_one(path).unwrap_or(false)
}

/// The path of a file for messages to the user; `-` for standard input or output.
pub(super) fn display_name(file: &Path) -> String {
    if is_stdio(file) { "-".into() } else { file.display().to_string() }
}

/// True for `-`, which stands for standard input or output.
pub(super) fn is_stdio(file: &Path) -> bool {
    file == Path::new("-")
}
