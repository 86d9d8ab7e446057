//! Clients under TLS.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::client;

/// A client of TLS 1.3 that trusts this certificate.
pub(crate) fn trust(certificate: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A session under TLS that said something, and got an answer that contains `end`.
pub(crate) fn tls_session(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    command: &[u8],
    end: &[u8],
) -> io::Result<impl Sized + use<>> {
    let name = "localhost".try_into().map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, client::connect(address, 1)?.into_inner());
    stream.write_all(command)?;
    let (mut said, mut piece) = (Vec::new(), [0; 1024]);
    while !said.windows(end.len()).any(|octets| octets == end) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            octets => said.extend_from_slice(&piece[..octets]),
        }
    }
    Ok(stream)
}
