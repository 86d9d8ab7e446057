//! Common parts of the tests of TLS: a certificate, a server that has it, and clients with a TLS of their
//! own.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use super::{
    Server, Setup,
    client::{Client, Stream, socket},
    home, listener, listeners,
};

pub(crate) const ALICE: &str = "alice@example.test";
pub(crate) const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// A certificate and its key, made by `restante cert`.
pub(crate) struct Keys {
    home: TempDir,
}

impl Keys {
    pub(crate) fn make() -> Self {
        let keys = Self { home: home() };
        make_pair(keys.home.path());
        keys
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.home.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.home.path().join("key.pem")
    }

    /// Configuration of a client that trusts this certificate.
    pub(crate) fn trusted(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        client_config(roots, versions)
    }

    /// These listeners, with this certificate.
    pub(crate) fn serve(&self, listeners: &str) -> Server {
        let (certificate, key) = (self.certificate(), self.key());
        let config = format!("{listeners}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
        let arguments = &["--log-level", "debug"];
        Setup { config: Some(&config), users: &[ALICE], arguments, ..Setup::default() }.start()
    }

    /// Every service, with and without TLS, and these limits.
    pub(crate) fn server(&self, limits: &str) -> Server {
        // These tests are about the transport only, so no client has to log in.
        let listeners = listeners(&["smtp", "pop3", "pop3s", "submission"])
            + &listener("submissions", "trusted_networks = [\"127.0.0.0/8\"]");
        self.serve(&format!("[limits]\n{limits}\n{listeners}"))
    }
}

/// Makes `certificate.pem` and `key.pem`.
pub(crate) fn make_pair(directory: &Path) {
    let mut cert = Command::new(env!("CARGO_BIN_EXE_restante"));
    let output = cert.args(["cert", "--self-signed"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Replaces a file as certbot does: whole.
pub(crate) fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, file).unwrap();
}

pub(crate) fn client_config(
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

pub(crate) fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap()
}

/// TLS over a stream; the handshake is done with the first octets of the client.
pub(crate) fn over<S: Stream>(stream: S, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, S> {
    StreamOwned::new(session(config), stream)
}

pub(crate) fn smtps(server: &Server, keys: &Keys) -> Client {
    let mut client = Client::over(over(socket(address(server, "submissions")), &keys.trusted(BOTH)));
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client
}

pub(crate) fn pop3s(server: &Server, keys: &Keys) -> Client {
    let mut client = Client::over(over(socket(address(server, "pop3s")), &keys.trusted(BOTH)));
    client.expect("+OK");
    log_in(&mut client);
    client
}

pub(crate) fn log_in(client: &mut Client) {
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.ask(&format!("PASS {}", super::PASSWORD), "+OK");
}

pub(crate) fn address(server: &Server, service: &str) -> SocketAddr {
    server.addresses(service)[0]
}

/// A socket that sends octet by octet.
pub(crate) struct Bytewise(pub(crate) TcpStream);

impl Read for Bytewise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bytewise {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(&octets[..octets.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all that a TLS session has to say in one piece.
pub(crate) fn flight(session: &mut ClientConnection) -> Vec<u8> {
    let mut octets = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut octets).unwrap();
    }
    octets
}
