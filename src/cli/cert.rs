//! `restante cert`: makes a self-signed certificate for trying TLS.

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::Args;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, string::Ia5String};
use rustix::system::uname;

use super::{failure::Failure, output};
use crate::{net::certificate::CertificatePair, safe_file::Directory};

/// Make a certificate and its key: certificate.pem and key.pem.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Self-sign the certificate, for development and tests; clients must be told to trust it
    #[arg(long, required = true)]
    self_signed: bool,
    /// Host name or address in the certificate; repeat for more [default: localhost, 127.0.0.1, ::1 and the
    /// name of this machine]
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Directory for the two files; `.` is this one
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let hosts = if arguments.hosts.is_empty() { names_of_this_machine() } else { arguments.hosts.clone() };
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let pair = make(&arguments.directory, &hosts, SystemTime::now())?;
    let written = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\n",
        pair.certificate.to_string_lossy(),
        pair.key.to_string_lossy()
    );
    output::page(&written)
}

/// The names under which programs on this machine reach it, and the one by which others may know it.
pub(super) fn names_of_this_machine() -> Vec<String> {
    let own = uname().nodename().to_string_lossy().to_ascii_lowercase();
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter();
    // A short name has the ending of multicast DNS (RFC 6762) too, as telephones look it up.
    let multicast = (!own.contains('.')).then(|| format!("{own}.local"));
    local.chain([own]).chain(multicast).filter(|name| is_possible(name)).fold(
        Vec::new(),
        |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        },
    )
}

/// Whether a certificate can be for that name or address.
pub(super) fn is_possible(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || is_host_name(host)
}

/// Makes a certificate for these hosts. Overwrites nothing; only the owner may read the key.
pub(super) fn make(directory: &Path, hosts: &[&str], now: SystemTime) -> Result<CertificatePair, Failure> {
    let directory = std::path::absolute(directory).map_err(|error| not_written(directory, &error))?;
    make_directory(&directory).map_err(|error| not_written(&directory, &error))?;
    let pair = CertificatePair::made_in(&directory);
    if let Some(there) = [&pair.certificate, &pair.key].into_iter().find(|path| path.exists()) {
        let there = there.display();
        return Err(Failure::Other(format!("{there} exists: remove it, or choose another directory")));
    }
    let failed = |error: rcgen::Error| Failure::Other(format!("cannot make a certificate: {error}"));
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = parameters(hosts, now)?.self_signed(&key).map_err(failed)?;
    let open = Directory::trusted_if_root(&directory).map_err(|error| not_written(&directory, &error))?;
    write_new(&open, &pair.key, 0o600, &key.serialize_pem())?;
    if let Err(failure) = write_new(&open, &pair.certificate, 0o644, &certificate.pem()) {
        let _ = open.remove(pair.key.file_name().unwrap_or_default()); // else it would be in the way of the next attempt
        return Err(failure);
    }
    Ok(pair)
}

/// Creates the directory. Root creates none inside a directory of another user.
fn make_directory(path: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Directory::trusted_or_new(path).map(drop);
    }
    fs::create_dir_all(path)
}

fn parameters(hosts: &[&str], now: SystemTime) -> Result<CertificateParams, Failure> {
    let wrong = |host: &str| {
        Failure::Usage(format!(
            "{host:?} is not a host name: write it in ASCII letters, digits, hyphens and dots, like mx.example.test"
        ))
    };
    let name = |host: &&str| match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) if is_host_name(host) => {
            Ia5String::try_from(*host).map(SanType::DnsName).map_err(|_| wrong(host))
        }
        Err(_) => Err(wrong(host)),
    };
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = hosts.iter().map(name).collect::<Result<_, _>>()?;
    parameters.distinguished_name.push(DnType::CommonName, "restante self-signed");
    parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    // Valid from an hour ago, because the clients' clocks may be slow.
    parameters.not_before = (now - Duration::from_secs(3600)).into();
    parameters.not_after = (now + VALID_FOR).into();
    Ok(parameters)
}

/// Whether a certificate can be for that name: labels of letters, digits, hyphens and underscores (RFC 1123 section 2.1;
/// the names of containers have underscores), the first perhaps `*` (RFC 9525 section 6.3).
fn is_host_name(host: &str) -> bool {
    let is_part = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_part);
    let labels = host.strip_prefix("*.").unwrap_or(host);
    host.len() <= 253 && labels.split('.').all(is_label)
}

/// Writes a file whole, or leaves nothing of it.
fn write_new(directory: &Directory, path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| not_written(path, &error);
    let (mut file, unfinished) = directory.create_tmp(mode).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let done = written.and_then(|()| directory.publish(&unfinished, path.file_name().unwrap_or_default()));
    if done.is_err() {
        let _ = directory.remove(&unfinished); // a random name that is in nobody's way
    }
    done.map_err(failed)
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot write {}: {error}", path.display()))
}

/// Apple's clients reject certificates valid for more than 825 days.
const VALID_FOR: Duration = Duration::from_secs(825 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::net::certificate::ValidityWarning;

    #[test]
    fn a_pair_is_made_once_for_its_owner_and_can_be_used() {
        let home = tempfile::tempdir().unwrap();
        let (directory, now) = (home.path().join("below/tls"), SystemTime::now());
        let pair = make(&directory, &["mx.example.test", "::1"], now).unwrap();
        assert_eq!(fs::metadata(&pair.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(pair.load(now).unwrap().warning, None);
        for (later, expired) in [(VALID_FOR - Duration::from_secs(3600), false), (VALID_FOR * 2, true)] {
            let doubt = pair.load(now + later).unwrap().warning.unwrap();
            assert_eq!(matches!(doubt, ValidityWarning::Expired(_)), expired, "{doubt}");
        }
        let early = pair.load(now - Duration::from_secs(7200)).unwrap().warning.unwrap();
        assert!(matches!(early, ValidityWarning::NotYetValid(_)), "{early}");

        let before = fs::read(&pair.key).unwrap();
        fs::remove_file(&pair.certificate).unwrap();
        let error = make(&directory, &["localhost"], now).unwrap_err().to_string();
        assert!(error.contains("key.pem exists"), "{error}");
        assert_eq!(fs::read(&pair.key).unwrap(), before);
    }

    #[test]
    fn n126_a_certificate_without_a_name_is_for_all_names_of_this_machine() {
        let names = names_of_this_machine();
        assert_eq!(names[..3], ["localhost", "127.0.0.1", "::1"]);
        let home = tempfile::tempdir().unwrap();
        let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
        let loaded = make(home.path(), &hosts, SystemTime::now()).unwrap().load(SystemTime::now()).unwrap();
        let own = uname().nodename().to_string_lossy().into_owned();
        for name in ["localhost", "127.0.0.1", "::1"].into_iter().chain(is_host_name(&own).then_some(&*own)) {
            assert!(loaded.is_for(name), "{name}");
        }
        assert!(!loaded.is_for("192.0.2.1"));
    }

    #[test]
    fn u54_a_name_that_no_certificate_can_have_is_told() {
        let home = tempfile::tempdir().unwrap();
        for host in ["bücher.test", "a b", "", ".", "mx..test", "mx.test:25", "*", "a@b.test", "mx.test."] {
            let error = make(home.path(), &[host], SystemTime::now()).unwrap_err();
            assert!(error.to_string().contains("not a host name"), "{host:?}: {error}");
        }
        for host in ["mx.example.test", "localhost", "*.example.test", "mail_1", "xn--bcher-kva.test"] {
            assert!(is_host_name(host), "{host}");
        }
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    }
}
