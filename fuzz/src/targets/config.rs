//! The configuration: a file is accepted, or refused with a printable message, and an accepted one is written so
//! that it reads back the same.

use restante::config::Config;

use super::owned;
use crate::{Target, scratch};

/// This target.
pub const TARGET: Target = Target { name: "config", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        include_str!("../../../examples/restante.toml"),
        include_str!("../../../examples/service.toml"),
        include_str!("../../../tests/configurations/configuration-0.1.toml"),
        "hostname = \"mx.test\"\ndomains = [\"here.test\"]\nunknown_recipients = \"create\"\n[[listen]]\nprotocol = \"smtp\"\n\
         address = \"127.0.0.1:2525\"\nline_endings = \"lenient\"\npersona = \"rfc821\"\n[[listen]]\n\
         protocol = \"pop3\"\naddress = \"unix:/run/pop3\"\ntrusted_networks = [\"192.0.2.0/24\"]\n",
        "hostname = \"mx.test\"\ndomains = [\"a.test\", \"b.test\"]\nuser = \"mail\"\n[log]\ndestination = \"stderr\"\n\
         [metrics]\ninterval = \"10s\"\n[pop3]\nexpire = \"30 days\"\n[limits]\nsmtp.max_message_size = \"10 MiB\"\nsmtp.command_timeout = \"1m 30s\"\n\
         [tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[[listen]]\nprotocol = \"submission\"\n\
         address = \"[::1]:587\"\ntls = \"starttls\"\n",
    ])
}

fn run(data: &[u8]) {
    let path = scratch::file("restante.toml", data);
    match Config::load(&path) {
        Ok(config) => {
            let doubts: Vec<String> = config.warnings().collect();
            let written = config.effective();
            let again = Config::load(&scratch::file("restante.toml", written.as_bytes()));
            let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert_eq!(again, config, "{written}");
            assert_eq!(again.warnings().collect::<Vec<_>>(), doubts);
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("restante.toml"), "{told:?} names no file");
            assert!(!told.is_empty() && told.len() <= 4096 + 8 * data.len(), "{} octets", told.len());
        }
    }
}
