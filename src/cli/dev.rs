//! `restante dev`: a test server that needs no configuration.

mod banner;
mod network;
mod place;

use std::{
    collections::HashSet,
    env,
    ffi::OsString,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use nix::unistd::{Uid, User};

use super::{
    cert,
    failure::Failure,
    output,
    serve::{self, RunArgs},
    start_failure::Alternatives,
    xdg::directory_of_user,
};
use banner::{Banner, TlsListeners, command_word};
use place::{Place, listen_address};

#[cfg(feature = "tools")]
use crate::command_hint;
use crate::{
    config::{Config, ConfigText, Development, Service, TlsAddresses},
    logging,
    net::{
        certificate::{CertificatePair, LoadedCertificate},
        endpoint::reachable,
    },
    safe_file,
};

/// Run a test server: every address has a mailbox, any password opens it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory for the mailboxes
    #[arg(long, value_name = "DIR", default_value = "./spool")]
    spool: PathBuf,
    /// IP address of the services whose options name a port alone; other than loopback only with
    /// --allow-remote-without-login
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", value_parser = listen_address)]
    listen: IpAddr,
    /// Port for SMTP, or address with a port; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "2525", allow_negative_numbers = true)]
    smtp: Place,
    /// Port for POP3, or address with a port; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "1110", allow_negative_numbers = true)]
    pop3: Place,
    /// Port for IMAP, or address with a port; port 0 takes any free port [default: 1143, or any free port if --smtp or --pop3
    /// takes one]
    #[arg(long, value_name = "ADDR", allow_negative_numbers = true)]
    imap: Option<Place>,
    /// Serve no IMAP
    #[arg(long, conflicts_with = "imap")]
    no_imap: bool,
    /// Port for HTTP, or address with a port: the web inbox and its API; port 0 takes any free port [default: 8025, or
    /// any free port if --smtp or --pop3 takes one]
    #[arg(long, value_name = "ADDR", allow_negative_numbers = true)]
    http: Option<Place>,
    /// Serve no HTTP. Then no sessions are kept in memory for the web inbox either
    #[arg(long, conflicts_with = "http")]
    no_http: bool,
    /// Name under which browsers and programs reach HTTP, besides localhost; repeat for more
    #[arg(long = "host", value_name = "NAME", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Also listen for TLS. The certificate is in DIR and is made if it does not exist. Without DIR it is
    /// below $XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    tls: Option<Option<PathBuf>>,
    /// Port for SMTP over TLS, or address with a port
    #[arg(long, value_name = "ADDR", default_value = "2465", requires = "tls")]
    #[arg(allow_negative_numbers = true)]
    smtps: Place,
    /// Port for POP3 over TLS, or address with a port
    #[arg(long, value_name = "ADDR", default_value = "1995", requires = "tls")]
    #[arg(allow_negative_numbers = true)]
    pop3s: Place,
    /// Port for IMAP over TLS, or address with a port [default: 1993, or any free port if --smtps or --pop3s takes one]
    #[arg(long, value_name = "ADDR", requires = "tls", conflicts_with = "no_imap")]
    #[arg(allow_negative_numbers = true)]
    imaps: Option<Place>,
    /// Turn faults on demand off: bob+452@ is then bob's folder 452, not a refusal
    #[arg(long)]
    no_faults: bool,
    /// Hold clients to every rule of the protocols, and name each rule that they break
    #[arg(long, alias = "pedantic")]
    strict: bool,
    /// Let other machines connect, for a class or in a container: each of them can read and delete the mail of everybody.
    /// Needs --listen, like 0.0.0.0
    #[arg(long, visible_alias = "allow-remote-without-login")]
    network: bool,
    /// Generation of a protocol: rfc821 for SMTP; rfc1081, rfc1460 or rfc1939 for POP3; repeat for both
    #[arg(long = "persona", value_name = "NAME", value_delimiter = ',', value_parser = PERSONAS)]
    personas: Vec<String>,
    /// Write a transcript of every session to a file in DIR [default: ./transcripts, or ./transcripts-NAME for a spool of
    /// another name]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    transcripts: Option<Option<PathBuf>>,
    #[command(flatten)]
    running: RunArgs,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    for (option, path) in [
        ("--spool", Some(&arguments.spool)),
        ("--tls", arguments.tls.as_ref().and_then(Option::as_ref)),
        ("--transcripts", arguments.transcripts.as_ref().and_then(Option::as_ref)),
    ] {
        if let Some(why) = path.and_then(|path| unreplaced_home(option, path)) {
            return Err(Failure::Usage(why));
        }
    }
    let ip = arguments.listen;
    let (smtp, pop3) = (arguments.smtp.at(ip), arguments.pop3.at(ip));
    let mut config = Config::development(arguments.spool, (smtp, pop3), arguments.network)?;
    config.development =
        Some(Development { faults_on_demand: !arguments.no_faults, network: arguments.network });
    if !arguments.no_imap {
        config = config.with_imap(place_beside(arguments.imap, 1143, [smtp, pop3]).at(ip))?;
    }
    if let Some(directory) = &arguments.tls {
        let pair = CertificatePair::made_in(&certificate_directory(directory.as_deref())?);
        let (smtps, pop3s) = (arguments.smtps.at(ip), arguments.pop3s.at(ip));
        let imaps = place_beside(arguments.imaps, 1993, [smtps, pop3s]).at(ip);
        config = config.with_tls(pair, TlsAddresses { smtps, imaps, pop3s })?;
    }
    if !arguments.no_http {
        config = config.with_http(place_beside(arguments.http, 8025, [smtp, pop3]).at(ip))?;
    }
    config = config.with_http_hosts(&arguments.hosts)?;
    if arguments.network {
        config.open_to_network();
    }
    config.set_personas(&arguments.personas)?;
    config.transcripts =
        arguments.transcripts.map(|named| named.unwrap_or_else(|| transcripts_of(&config.spool)));
    let transcripts = config.transcripts.clone();
    if arguments.strict {
        config.set_strict();
    }
    config.user = owner_of(&config.spool);
    let certificate = config.tls.as_ref().map(|pair| pair.certificate.clone());
    let spool = config.spool.clone();
    #[cfg(feature = "tools")]
    if let Ok(spool) = std::path::absolute(&spool) {
        command_hint::repeat(command_hint::Place::Spool, &spool);
    }
    let names = certificate_names(&config, &arguments.hosts);
    let in_use = names_in_use(&config, &arguments.hosts);
    let made = config.tls.as_ref().map(|pair| make_missing(pair, &names, &in_use)).transpose();
    let made = made.map_err(|failure| Failure::Other(format!("{failure}; {OTHER_DIRECTORY}")))?.flatten();
    let alternatives = alternatives(certificate.is_some());
    let started = serve::start(config, &ConfigText::default(), &arguments.running, alternatives)
        .inspect_err(|_| made.iter().for_each(remove_pair))?;
    let taken = started.server.endpoints();
    // The commands on the screen are for this machine.
    let at = |service| {
        let found = taken.iter().find(|(taken, _)| *taken == service);
        found.and_then(|(_, at)| at.ip()).map(reachable)
    };
    if let (Some(smtp), Some(pop3)) = (at(Service::Smtp), at(Service::Pop3)) {
        let tls = match (at(Service::Submissions), at(Service::Pop3s), &certificate) {
            (Some(smtps), Some(pop3s), Some(certificate)) => {
                Some(TlsListeners { smtps, imaps: at(Service::Imaps), pop3s, certificate })
            }
            _ => None,
        };
        let transcripts = transcripts.as_deref().and_then(|path| std::path::absolute(path).ok());
        let (imap, http) = (at(Service::Imap), at(Service::Http));
        let faults = !arguments.no_faults;
        let transcripts = transcripts.as_deref();
        let warning = network::warning(&network::open_to_others(&taken));
        let network = warning.is_some();
        let banner = Banner { http, smtp, imap, pop3, tls, spool: &spool, transcripts, faults, network };
        let directory = env::current_dir().unwrap_or_default();
        let mut text = banner.text(&directory, &command_word());
        match warning {
            Some(warning) => text.push_str(&warning),
            None if arguments.network => text.push_str(network::NOT_OPEN),
            None => {}
        }
        // The log comes first, so that a small terminal keeps the first line of the text, which has the address of the web inbox.
        logging::flush();
        let _ = output::page(&text); // the server runs even if standard output is closed
    }
    started.run_until_stopped()
}

/// The sentence for a path below a directory `~`, which the server would make: the shell has not replaced it.
fn unreplaced_home(option: &str, path: &Path) -> Option<String> {
    let rest = path.strip_prefix("~").ok().filter(|_| !Path::new("~").exists())?;
    let home = Path::new("$HOME").join(rest);
    Some(format!(
        "{option}={}: a shell leaves ~ as it is after `=` and in quotation marks: write {option}=\"{}\"",
        path.display(),
        home.display()
    ))
}

/// The place of a service that an option names, else its usual port. A user who takes any free port for one of the `others`
/// expects no fixed one.
fn place_beside(named: Option<Place>, usual: u16, others: [SocketAddr; 2]) -> Place {
    let is_any = others.iter().any(|address| address.port() == 0);
    named.unwrap_or(Place::Port(if is_any { 0 } else { usual }))
}

/// The user whose spool root has named. The server changes to that user after it has its ports, so that nothing in the
/// spool belongs to root.
fn owner_of(spool: &Path) -> Option<String> {
    let owner = spool.metadata().ok()?.uid();
    let is_other = Uid::effective().is_root() && owner != 0;
    let user = User::from_uid(Uid::from_raw(owner)).ok().flatten().filter(|_| is_other);
    user.map(|user| user.uid.to_string())
}

/// The directory for transcripts that has no name: one for each spool, because servers number their sessions alike.
fn transcripts_of(spool: &Path) -> PathBuf {
    let is_default = std::path::absolute(spool).ok() == std::path::absolute("spool").ok();
    let name = spool.file_name().filter(|_| !is_default);
    let mut directory = OsString::from("./transcripts");
    if let Some(name) = name {
        directory.push("-");
        directory.push(name);
    }
    directory.into()
}

const PERSONAS: [&str; 5] = ["rfc821", "rfc1081", "rfc1460", "rfc1939", "modern"];

/// The choices beside a server that runs already, with its TLS listeners or without.
const fn alternatives(tls: bool) -> Alternatives<'static> {
    let addresses = if tls {
        "choose others with --smtp, --pop3, --imap, --http, --smtps, --pop3s and --imaps (`make run SMTP=127.0.0.1:2526 \
         POP3=127.0.0.1:1111 IMAP=127.0.0.1:1144 HTTP=127.0.0.1:8026 ARGS='--tls --smtps 2466 --pop3s 1996 --imaps 1994'`)"
    } else {
        "choose others with --smtp, --pop3, --imap and --http (`make run SMTP=127.0.0.1:2526 POP3=127.0.0.1:1111 \
         IMAP=127.0.0.1:1144 HTTP=127.0.0.1:8026`)"
    };
    Alternatives {
        addresses,
        spool: "choose another directory with --spool (`make run ARGS='--spool other'`)",
    }
}

/// The directory of the developer's certificate.
fn certificate_directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(word) = named.filter(|named| !named.exists()).and_then(Path::to_str)
        && ["yes", "no", "true", "false", "on", "off", "1", "0"].contains(&word)
    {
        return Err(Failure::Usage(format!(
            "--tls={word} names a directory: write --tls alone, or --tls=./{word} for a directory of that name"
        )));
    }
    let directory = named
        .map(Path::to_owned)
        .or_else(|| directory_of_user("XDG_STATE_HOME", ".local/state"))
        .ok_or_else(|| {
            Failure::Usage(
                "there is no home directory for the certificate: choose a directory with --tls=DIR".into(),
            )
        })?;
    std::path::absolute(&directory)
        .map_err(|error| Failure::Usage(format!("{}: {error}", directory.display())))
}

const OTHER_DIRECTORY: &str = "choose another directory for the certificate with --tls=DIR";

/// A certificate that this process has made.
struct MadePair {
    pair: CertificatePair,
    /// The directory, if this process has made it too.
    directory: Option<PathBuf>,
}

/// The names of this machine, and the addresses at which others reach a server with these listeners.
fn certificate_names(config: &Config, hosts: &[String]) -> Vec<String> {
    let mut names = cert::names_of_this_machine();
    names.extend(hosts.iter().filter(|host| cert::is_possible(host)).cloned());
    let listeners = config.listen.iter().filter_map(|listener| listener.address.ip());
    names.extend(listeners.flat_map(|at| network::addresses_of(at.ip())).map(|ip| ip.to_string()));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The names that clients of other machines use: those of `--host`, and the likeliest address of each listener. Bridges of
/// containers and temporary addresses of IPv6 come and go, and no client knows them.
fn names_in_use(config: &Config, hosts: &[String]) -> Vec<String> {
    let mut names: Vec<String> = hosts.iter().filter(|host| cert::is_possible(host)).cloned().collect();
    let listeners = config.listen.iter().filter_map(|listener| listener.address.ip());
    let likeliest = listeners.filter_map(|at| network::addresses_of(at.ip()).into_iter().next());
    for name in likeliest.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Makes the certificate for `names` at the first use. It stays, so that a mail program has to trust it only once.
fn make_missing(
    pair: &CertificatePair,
    names: &[String],
    in_use: &[String],
) -> Result<Option<MadePair>, Failure> {
    if pair.certificate.exists() && pair.key.exists() {
        warn_of_other_names(pair, in_use);
        return Ok(None);
    }
    let directory = safe_file::parent(&pair.certificate);
    let is_new = !directory.exists();
    let pair =
        cert::make(directory, &names.iter().map(String::as_str).collect::<Vec<_>>(), SystemTime::now())?;
    Ok(Some(MadePair { directory: is_new.then(|| directory.to_owned()), pair }))
}

/// Tells of names in use that an earlier certificate is not for.
fn warn_of_other_names(pair: &CertificatePair, in_use: &[String]) {
    // The server tells of a pair that it cannot load.
    let Ok(loaded) = pair.load(SystemTime::now()) else { return };
    let missing = names_without(&loaded, in_use);
    if !missing.is_empty() {
        output::message(format_args!(
            "restante: the certificate {} is not for {}, so clients of other machines reject it: end the server, remove that \
             file and key.pem beside it, and start again to have a new one, which mail programs must trust anew",
            pair.certificate.display(),
            missing.join(", ")
        ));
    }
}

/// The names that a certificate is not for.
fn names_without<'a>(loaded: &LoadedCertificate, names: &'a [String]) -> Vec<&'a str> {
    names.iter().filter(|name| !loaded.is_for(name)).map(String::as_str).collect()
}

/// Takes back the certificate of a server that did not start.
fn remove_pair(made: &MadePair) {
    // The error of the start is the one to report.
    let _ = fs::remove_file(&made.pair.certificate);
    let _ = fs::remove_file(&made.pair.key);
    if let Some(directory) = &made.directory {
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h39_a_tilde_that_the_shell_has_left_is_told_with_the_path_to_type() {
        let told = unreplaced_home("--tls", Path::new("~/certificates")).unwrap();
        assert!(told.ends_with("write --tls=\"$HOME/certificates\""), "{told}");
        for path in ["./~/x", "/home/~", "~x", "spool"] {
            assert_eq!(unreplaced_home("--tls", Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn n127_the_certificate_is_for_the_addresses_at_which_others_reach_the_server() {
        let home = tempfile::tempdir().unwrap();
        let at = |ip: &str| {
            let places = ["2525", "1110"].map(|port| format!("{ip}:{port}").parse().unwrap());
            let config =
                Config::development(home.path().join("spool"), (places[0], places[1]), true).unwrap();
            let hosts = ["inbox.example.test".to_owned(), "a b".to_owned()];
            (certificate_names(&config, &hosts), names_in_use(&config, &hosts))
        };
        let (own, in_use) = at("127.0.0.1");
        assert_eq!(in_use, ["inbox.example.test"]);
        assert_eq!(own[..3], ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(own.last().unwrap(), "inbox.example.test");
        let (open, in_use) = at("192.0.2.7");
        assert_eq!(in_use, ["inbox.example.test", "192.0.2.7"]);
        assert_eq!(open[..own.len()], own);
        assert_eq!(open[own.len()..], ["192.0.2.7"]);
        // Every address of this machine; none if it is in no network.
        assert!(at("0.0.0.0").0.iter().all(|name| name != "0.0.0.0"));

        let pair = CertificatePair::made_in(home.path());
        let made = make_missing(&pair, &open, &in_use).unwrap().unwrap();
        let loaded = made.pair.load(SystemTime::now()).unwrap();
        for name in ["localhost", "127.0.0.1", "::1", "192.0.2.7", "inbox.example.test"] {
            assert!(loaded.is_for(name), "{name}");
        }
        assert!(make_missing(&pair, &open, &in_use).unwrap().is_none(), "it stays");
        assert_eq!(names_without(&loaded, &in_use), Vec::<&str>::new());
        let moved = ["other.example.test", "192.0.2.8"].map(str::to_owned);
        assert_eq!(names_without(&loaded, &[&in_use[..], &moved].concat()), moved);
    }

    #[test]
    fn h15_each_spool_has_transcripts_of_its_own() {
        for (spool, expected) in [
            ("./spool", "./transcripts"),
            ("spool", "./transcripts"),
            ("other", "./transcripts-other"),
            ("/a/b/mail/", "./transcripts-mail"),
            ("/", "./transcripts"),
        ] {
            assert_eq!(transcripts_of(Path::new(spool)), Path::new(expected), "{spool}");
        }
    }
}
