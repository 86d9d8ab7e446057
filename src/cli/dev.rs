//! `restante dev`: a test server that needs no configuration.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;

use super::{
    cert,
    failure::Failure,
    output,
    serve::{self, RunArgs},
    xdg::directory_of_user,
};
use crate::{
    config::{Config, ConfigText, Development, Service},
    net::certificate::CertificatePair,
    printable,
};

/// Run a test server: every address has a mailbox, any password opens it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory for the mailboxes
    #[arg(long, value_name = "DIR", default_value = "./spool")]
    spool: PathBuf,
    /// Address for SMTP on loopback; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2525")]
    smtp: SocketAddr,
    /// Address for POP3 on loopback; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1110")]
    pop3: SocketAddr,
    /// Also listen for TLS. The certificate is in DIR and is made if it does not exist. Without DIR it is
    /// below $XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    tls: Option<Option<PathBuf>>,
    /// Address for SMTP over TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2465", requires = "tls")]
    smtps: SocketAddr,
    /// Address for POP3 over TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1995", requires = "tls")]
    pop3s: SocketAddr,
    /// Turn faults on demand off: bob+452@ is then bob's folder 452, not a refusal
    #[arg(long)]
    no_faults: bool,
    /// Hold clients to every rule of the protocols, and name each rule that they break
    #[arg(long, alias = "pedantic")]
    strict: bool,
    /// Let other machines connect, for a class: each of them can read and delete the mail of everybody. Needs --smtp and
    /// --pop3, like 0.0.0.0:2525
    #[arg(long)]
    network: bool,
    /// Generation of a protocol: rfc821 for SMTP; rfc1081, rfc1460 or rfc1939 for POP3; repeat for both
    #[arg(long = "persona", value_name = "NAME", value_delimiter = ',')]
    personas: Vec<String>,
    /// Write a transcript of every session to a file in DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "./transcripts")]
    transcripts: Option<PathBuf>,
    #[command(flatten)]
    running: RunArgs,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config =
        Config::development(arguments.spool, (arguments.smtp, arguments.pop3), arguments.network)?;
    config.development =
        Some(Development { faults_on_demand: !arguments.no_faults, network: arguments.network });
    if let Some(directory) = &arguments.tls {
        let pair = certificate(directory.as_deref())?;
        config = config.with_tls(pair, arguments.smtps, arguments.pop3s)?;
    }
    if arguments.network {
        config.open_to_network();
    }
    arguments.personas.iter().try_for_each(|name| config.set_persona(name))?;
    config.transcripts.clone_from(&arguments.transcripts);
    if arguments.strict {
        config.set_strict();
    }
    let certificate = config.tls.as_ref().map(|pair| pair.certificate.clone());
    let spool = config.spool.clone();
    let others = "choose others with --smtp and --pop3";
    let started = serve::start(config, &ConfigText::default(), &arguments.running, others)?;
    let taken = started.server.endpoints();
    let at = |service| taken.iter().find(|(taken, _)| *taken == service).and_then(|(_, at)| at.ip());
    if let (Some(smtp), Some(pop3)) = (at(Service::Smtp), at(Service::Pop3)) {
        let mut text = banner(smtp, pop3, &spool);
        if arguments.network {
            text.push_str(OPEN_TO_NETWORK);
        }
        if let (Some(smtps), Some(pop3s), Some(certificate)) =
            (at(Service::Submissions), at(Service::Pop3s), certificate)
        {
            text.push_str(&tls_banner(smtps, pop3s, &certificate));
        }
        if let Some(directory) = &arguments.transcripts {
            let directory = shell_quoted(&directory.to_string_lossy());
            text.push_str(&if cfg!(feature = "tools") {
                format!("Watch the sessions, with explanations:\n  restante watch {directory}\n\n")
            } else {
                format!("A transcript of every session is written below {directory}\n\n")
            });
        }
        let _ = output::page(&text); // the server runs even if standard output is closed
    }
    started.run_until_stopped()
}

/// The text on the screen: commands to paste.
fn banner(smtp: SocketAddr, pop3: SocketAddr, spool: &Path) -> String {
    let (smtp, pop3) = (reachable(smtp), reachable(pop3));
    let (smtp_host, smtp_port, pop3_host, pop3_port) = (smtp.ip(), smtp.port(), pop3.ip(), pop3.port());
    let (smtp_url, pop3_url) =
        (shell_quoted(&format!("smtp://{smtp}")), shell_quoted(&format!("pop3://{pop3}/1")));
    let mailbox = shell_quoted(&spool.join(DEMO_USER).to_string_lossy());
    let smtp_quoted = shell_quoted(&smtp.to_string());
    let quoted_spool = shell_quoted(&spool.to_string_lossy());
    let spool = printable::path(spool);
    let scripts = if cfg!(feature = "tools") {
        format!(
            "Wait for it in a script, or test how your program handles a refusal:\n  \
             restante wait --spool {quoted_spool} --to {DEMO_USER}"
        )
    } else {
        "Test how your program handles a refusal:".to_owned()
    };
    format!(
        r"
restante dev receives mail at {smtp} (SMTP) and serves it at {pop3} (POP3).
Every address has a mailbox, any password opens it, and nothing leaves this machine.

Send a message:
  printf 'Subject: hello\r\n\r\nIt works.\r\n' | curl {smtp_url} \
    --mail-from me@example.test --mail-rcpt {DEMO_USER} -T -
  swaks --server {smtp_quoted} --from me@example.test --to {DEMO_USER}

Read it:
  curl {pop3_url} -u {DEMO_USER}:any
  mutt -f {mailbox}

{scripts}
  swaks --server {smtp_quoted} --from me@example.test --to you+452@example.test

Type the protocols yourself:
  telnet {smtp_host} {smtp_port}   # HELO me, MAIL FROM:<me@example.test>, RCPT TO:<{DEMO_USER}>, DATA
  telnet {pop3_host} {pop3_port}   # USER {DEMO_USER}, PASS any, LIST, RETR 1, QUIT

Thunderbird, new account, configured by hand: address {DEMO_USER}, any password
  incoming   POP3   {pop3_host}   port {pop3_port}   security: none   authentication: normal password
  outgoing   SMTP   {smtp_host}   port {smtp_port}   security: none   authentication: as above, or none

The messages are files below {spool}
Ctrl-C ends the server.

"
    )
}

/// The address at which this machine reaches itself: loopback for every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The warning of a server that other machines can reach.
const OPEN_TO_NETWORK: &str = "\
Other machines can connect, at the address of this one: each of them can read and delete the mail of everybody,
and passwords are sent in clear text. Use it only on a network whose users you know.

";

/// The commands for TLS.
fn tls_banner(smtps: SocketAddr, pop3s: SocketAddr, certificate: &Path) -> String {
    let (smtps_url, pop3s_url) =
        (shell_quoted(&format!("smtps://{smtps}")), shell_quoted(&format!("pop3s://{pop3s}/1")));
    let (smtps, pop3s) = (shell_quoted(&smtps.to_string()), shell_quoted(&pop3s.to_string()));
    let certificate = shell_quoted(&certificate.to_string_lossy());
    format!(
        r"Over TLS, with the certificate {certificate}:
  printf 'Subject: hello\r\n\r\nIt works.\r\n' | curl {smtps_url} \
    --mail-from me@example.test --mail-rcpt {DEMO_USER} -T - --cacert {certificate}
  curl {pop3s_url} -u {DEMO_USER}:any --cacert {certificate}
  openssl s_client -quiet -crlf -connect {smtps}
  openssl s_client -quiet -crlf -connect {pop3s}

"
    )
}

/// The developer's certificate, made at the first use. It stays, so that a mail program has to trust it only
/// once.
fn certificate(directory: Option<&Path>) -> Result<CertificatePair, Failure> {
    let directory = directory
        .map(Path::to_owned)
        .or_else(|| directory_of_user("XDG_STATE_HOME", ".local/state"))
        .ok_or_else(|| {
            Failure::Usage(
                "there is no home directory for the certificate: choose a directory with --tls=DIR".into(),
            )
        })?;
    let directory = std::path::absolute(&directory)
        .map_err(|error| Failure::Usage(format!("{}: {error}", directory.display())))?;
    let pair = cert::pair_in(&directory);
    if pair.certificate.exists() && pair.key.exists() {
        return Ok(pair);
    }
    cert::make(&directory, &["localhost", "127.0.0.1", "::1"], SystemTime::now())
}

/// Quotes one word for a shell command.
fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    let quoted = || format!("'{}'", printable::line(word).replace('\'', r"'\''"));
    if word.chars().all(plain) { word.to_owned() } else { quoted() }
}

const DEMO_USER: &str = "you@example.test";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_fits_a_terminal_and_names_the_ports_taken() {
        let screen = banner(
            "127.0.0.1:45678".parse().unwrap(),
            "127.0.0.1:56789".parse().unwrap(),
            Path::new("/home/somebody/projects/restante/spool"),
        );
        assert!(screen.lines().count() <= 30, "{}", screen.lines().count());
        for line in screen.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for command in [
            "| curl smtp://127.0.0.1:45678 \\\n",
            "swaks --server 127.0.0.1:45678 ",
            "curl pop3://127.0.0.1:56789/1 -u you@example.test:any\n",
            "mutt -f /home/somebody/projects/restante/spool/you@example.test\n",
            #[cfg(feature = "tools")]
            "restante wait --spool /home/somebody/projects/restante/spool --to you@example.test\n",
            "telnet 127.0.0.1 45678 ",
            "telnet 127.0.0.1 56789 ",
            "port 56789 ",
            "port 45678 ",
        ] {
            assert!(screen.contains(command), "{command:?} is not in {screen}");
        }
    }

    #[test]
    fn what_a_shell_would_change_is_quoted() {
        for (word, quoted) in [
            ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525"),
            ("smtp://[::1]:2525", "'smtp://[::1]:2525'"),
            ("/my mail/$x", "'/my mail/$x'"),
            ("/it's", r"'/it'\''s'"),
        ] {
            assert_eq!(shell_quoted(word), quoted);
        }
    }
}
