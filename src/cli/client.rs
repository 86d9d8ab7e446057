//! `restante client`: an interactive mail client.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    config_arg::repeat_config,
    failure::Failure,
    send::{
        Protection,
        dialogue::{dialogue_printer, tell_silence},
    },
    xdg::directory_of_user,
};
use crate::{
    accounts::UserFile,
    client::{ConnectOptions, ServerAddr, Tls, Trust, WireProtocol, strings},
    config::{Config, Service},
    language::Language,
    limits::Limits,
    mua::{
        app::{AppConfig, ReadingProtocol, SignUp},
        menu::{self, ExitReason},
        terminal::Terminal,
    },
    net::endpoint::reachable,
};

/// Read and write mail at a terminal, over POP3 or IMAP, and SMTP, of any server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SMTP server to send mail to; a port alone is of this machine [default: the listener of --config, else 127.0.0.1:2525]
    #[arg(long, value_name = "HOST:PORT", allow_negative_numbers = true)]
    smtp: Option<ServerAddr>,
    /// POP3 server to read mail from; likewise [default: the listener of --config, else 127.0.0.1:1110]
    #[arg(long, value_name = "HOST:PORT", allow_negative_numbers = true)]
    pop3: Option<ServerAddr>,
    /// Read mail by IMAP: folders, flags, search [default server: the listener of --config, else 127.0.0.1:1143]
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, conflicts_with = "pop3")]
    #[arg(allow_negative_numbers = true)]
    imap: Option<Option<ServerAddr>>,
    /// Protection of both connections
    #[arg(long, value_name = "HOW", default_value = "none")]
    tls: Protection,
    /// PEM file with certificates to trust instead of this machine's authorities
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// User name to log in with
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Offer sign-up, with this accounts file of a server on this machine
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    accounts: Option<PathBuf>,
    /// Offer sign-up, with the accounts and domains of this configuration file, and connect to its listeners
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show the dialogues with the servers on standard error
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.tls.must_use(arguments.cacert.as_deref())?;
    let mut terminal = Terminal::stdio();
    let trust = arguments.cacert.clone().map_or(Trust::System, Trust::File);
    let tls = Tls::new(&trust).map_err(|error| Failure::Usage(error.describe(terminal.language())))?;
    let route = |place| ConnectOptions {
        server: place,
        security: arguments.tls.security(),
        tls: tls.clone(),
        timeout: PATIENCE,
        on_silence: Some(tell_silence),
    };
    arguments.config.iter().for_each(|path| repeat_config(path));
    let config = arguments.config.map(|path| Config::load(&path).map(|config| (path, config))).transpose()?;
    let at = |named: Option<ServerAddr>, services: &Services| match (named, &config) {
        (Some(named), _) => Ok(named),
        (None, Some((path, config))) => listener_of(path, config, services, arguments.tls),
        (None, None) => services.default.parse().map_err(Failure::Usage),
    };
    let smtp = at(arguments.smtp, &SMTP)?;
    let (protocol, reading) = match arguments.imap {
        Some(named) => (ReadingProtocol::Imap, at(named, &IMAP)?),
        None => (ReadingProtocol::Pop3, at(arguments.pop3, &POP3)?),
    };
    let domains = config.as_ref().map(|(_, config)| config.domains.clone()).unwrap_or_default();
    let door = match (arguments.accounts, config) {
        (Some(accounts), _) => Some(SignUp {
            users: UserFile::at(accounts),
            domains: Vec::new(),
            spool: None,
            reload_interval: Limits::default().auth.reload_interval.0,
        }),
        (None, Some((_, config))) => {
            let reload_interval = config.limits.auth.reload_interval.0;
            let users = UserFile::at(config.accounts);
            Some(SignUp { users, domains: config.domains, spool: Some(config.spool), reload_interval })
        }
        (None, None) => None,
    };
    let plan = AppConfig {
        smtp: route(smtp),
        reading: route(reading),
        protocol,
        observer: arguments.verbose.then_some(dialogue_printer),
        user: arguments.user,
        sign_up: door,
        domains,
        sent_dir: directory_of_user("XDG_DATA_HOME", ".local/share"),
        cacert: arguments.cacert,
        random: || getrandom::u64().unwrap_or_default(),
    };
    let language = terminal.language();
    match menu::run(&plan, &mut terminal) {
        Ok(ExitReason::Normal) => Ok(()),
        Ok(ExitReason::NoInput) => Err(Failure::Usage(strings::NEEDS_TERMINAL.text(language).into())),
        Ok(ExitReason::LoginFailed(why)) => Err(Failure::Other(why)),
        Err(error) => Err(Failure::Other(crate::client::display::printable_line(&error.describe(language)))),
    }
}

/// The services of a server that one connection of the client may use.
struct Services {
    protocol: WireProtocol,
    option: &'static str,
    /// Without TLS from the first octet, the best first.
    plain: &'static [Service],
    /// With TLS from the first octet.
    implicit: &'static [Service],
    default: &'static str,
}

const SMTP: Services = Services {
    protocol: WireProtocol::Smtp,
    option: "--smtp",
    plain: &[Service::Submission, Service::Smtp],
    implicit: &[Service::Submissions],
    default: "127.0.0.1:2525",
};
const POP3: Services = Services {
    protocol: WireProtocol::Pop3,
    option: "--pop3",
    plain: &[Service::Pop3],
    implicit: &[Service::Pop3s],
    default: "127.0.0.1:1110",
};
const IMAP: Services = Services {
    protocol: WireProtocol::Imap,
    option: "--imap",
    plain: &[Service::Imap],
    implicit: &[Service::Imaps],
    default: "127.0.0.1:1143",
};

/// The address of the listener of a configuration for that protection.
fn listener_of(
    path: &Path,
    config: &Config,
    services: &Services,
    protection: Protection,
) -> Result<ServerAddr, Failure> {
    let (wanted, others) = match protection {
        Protection::Implicit => (services.implicit, services.plain),
        Protection::None | Protection::Starttls => (services.plain, services.implicit),
    };
    let find = |services: &[Service]| {
        services.iter().find_map(|service| {
            let mut such = config.listen.iter().filter(|listen| listen.protocol == *service);
            such.find_map(|listen| listen.address.ip().filter(|address| address.port() != 0))
        })
    };
    if let Some(address) = find(wanted).map(reachable) {
        return Ok(ServerAddr { host: address.ip().to_string(), port: address.port() });
    }
    let language = Language::of_environment();
    let is_served = config
        .listen
        .iter()
        .any(|listen| wanted.contains(&listen.protocol) || others.contains(&listen.protocol));
    if let Some(service) = wanted.last().filter(|_| !is_served) {
        let Services { protocol, option, default, .. } = services;
        let values: [&dyn Display; 5] = [&path.display(), protocol, &service.name(), option, default];
        return Err(Failure::Usage(strings::NO_SERVICE.format(language, &values)));
    }
    let other = match (find(others).is_some(), protection) {
        (false, _) => "",
        (true, Protection::Implicit) => strings::LISTENS_IN_CLEAR.text(language),
        (true, _) => strings::LISTENS_WITH_TLS.text(language),
    };
    let (path, option) = (path.display(), services.option);
    let why = strings::NO_LISTENER.format(language, &[&path, &option, &other, &services.default]);
    Err(Failure::Usage(why))
}

/// Time limit for a reply, for a person who waits.
const PATIENCE: Duration = Duration::from_secs(60);
