//! TLS 1.2 and 1.3: a session, and the configuration of new sessions.
//!
//! The rules: a session gets decrypted octets at once, and the output held for a peer that does not read is bounded.

use std::{
    cell::RefCell,
    fmt,
    io::{self, BufRead, Write},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Duration, SystemTime},
};

use rustls::{
    AlertDescription, CipherSuite, Error, InvalidMessage, PeerIncompatible, ProtocolVersion, ServerConfig,
    ServerConnection,
};

use super::certificate::{self, CertificatePair, LoadedCertificate, Stamp};
use crate::{
    file_poller::{ErrorLogThrottle, FilePoller, PollInterval, RETRY_INTERVAL},
    metrics::METRICS,
    proto::{
        Encryption,
        buffer::{Inbox, Outbox},
    },
};

/// The TLS configuration of new sessions, with a certificate that may be renewed while the server runs.
pub struct TlsConfig {
    current: RefCell<Arc<ServerConfig>>,
    reloaded: Receiver<Arc<ServerConfig>>,
    _poller: FilePoller,
}

impl TlsConfig {
    /// Loads the pair, and starts the thread that watches its files.
    ///
    /// # Errors
    /// The pair cannot be used, or the thread cannot be started.
    pub fn start(pair: CertificatePair, interval: Duration) -> Result<Self, certificate::Error> {
        let loaded = pair.load(SystemTime::now())?;
        Self::watch(pair, loaded, interval)
    }

    /// Starts the thread that watches the files of a loaded pair. The loop must not read them, because a disk may be
    /// slow.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(
        pair: CertificatePair,
        loaded: LoadedCertificate,
        interval: Duration,
    ) -> Result<Self, certificate::Error> {
        let stamp = loaded.stamp.clone();
        let current = RefCell::new(log_warnings(&pair, loaded));
        let (sender, reloaded) = mpsc::channel();
        let new_reloader = move || {
            let mut reloader = CertificateReloader::new(pair.clone(), stamp.clone());
            move |now| reloader.poll(now)
        };
        let send = move |config| drop(sender.send(config)); // fails only when the server is ending
        let poller = FilePoller::start("certificate", PollInterval::new(interval), new_reloader, send);
        Ok(Self { current, reloaded, _poller: poller.map_err(certificate::Error::Thread)? })
    }

    /// Uses a pair from the same files, loaded elsewhere, for future sessions.
    pub fn replace(&self, loaded: LoadedCertificate) {
        while self.reloaded.try_recv().is_ok() {}
        self.current.replace(loaded.config);
    }

    /// A session with the newest certificate.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn session(&self) -> Result<TlsSession, Error> {
        let mut current = self.current.borrow_mut();
        while let Ok(renewed) = self.reloaded.try_recv() {
            *current = renewed;
        }
        TlsSession::new(Arc::clone(&current))
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Watches the files of a certificate and its key.
struct CertificateReloader {
    pair: CertificatePair,
    /// State of the files when they were last read.
    stamp: Stamp,
    /// Time of the last failed read. The files may become readable without a change of their stamp.
    unreadable_since: Option<SystemTime>,
    error_log: ErrorLogThrottle,
}

impl CertificateReloader {
    fn new(pair: CertificatePair, stamp: Stamp) -> Self {
        Self { pair, stamp, unreadable_since: None, error_log: ErrorLogThrottle::default() }
    }

    fn poll(&mut self, now: SystemTime) -> Option<Arc<ServerConfig>> {
        let stamp = self.stamp.clone();
        let loaded = self.reload_if_changed(now);
        let wrong = match &loaded {
            Some(Ok(_)) => {
                log::info!("tls certificate reloaded path={}", self.pair.certificate.display());
                self.error_log.clear();
                None
            }
            Some(Err(error)) => Some(format!("tls certificate reload failed, keeping the old one: {error}")),
            None => self.error_log.last_error().map(str::to_owned),
        };
        METRICS.set_stale("certificate", wrong.is_some());
        if let Some(wrong) = wrong.filter(|wrong| self.error_log.should_log(wrong, stamp != self.stamp, now))
        {
            log::error!("{wrong}");
        }
        loaded?.ok()
    }

    /// Loads the pair if a file has changed. A half-written pair is loaded by a later check, because its
    /// files change once more.
    fn reload_if_changed(
        &mut self,
        now: SystemTime,
    ) -> Option<Result<Arc<ServerConfig>, certificate::Error>> {
        let stamp = self.pair.stamp();
        let again =
            |tried: SystemTime| now.duration_since(tried).map_or(true, |since| since >= RETRY_INTERVAL);
        if stamp == self.stamp && !self.unreadable_since.is_some_and(again) {
            return None;
        }
        self.stamp = stamp;
        let loaded = self.pair.load(now);
        self.unreadable_since = matches!(loaded, Err(certificate::Error::Unreadable(..))).then_some(now);
        Some(loaded.map(|loaded| log_warnings(&self.pair, loaded)))
    }
}

/// Logs a warning if clients may reject the certificate.
fn log_warnings(pair: &CertificatePair, loaded: LoadedCertificate) -> Arc<ServerConfig> {
    if let Some(warning) = loaded.warning {
        log::warn!("tls certificate path={} {warning}", pair.certificate.display());
    }
    loaded.config
}

/// The server side of a TLS session.
#[derive(Debug)]
pub(super) struct TlsSession {
    connection: ServerConnection,
}

/// The result of decrypting octets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecryptOutcome {
    /// The inbox has all octets that can be decrypted so far.
    All,
    /// Likewise, and the peer has closed its side.
    CloseNotify,
    /// A violation of TLS, with the reason. An alert is queued for writing.
    Error(String),
}

impl TlsSession {
    fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(MAX_BUFFERED_OUTPUT));
        Ok(Self { connection })
    }

    pub(super) fn encryption(&self) -> Option<Encryption> {
        if self.connection.is_handshaking() {
            return None;
        }
        let version = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "1.2",
            _ => "1.3",
        };
        let cipher = match self.connection.negotiated_cipher_suite()?.suite() {
            CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
            CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
            suite => suite.as_str()?,
        };
        Some(Encryption { version, cipher })
    }

    /// Decrypts octets from the wire into the inbox.
    pub(super) fn decrypt(&mut self, mut wire: &[u8], inbox: &mut Inbox) -> DecryptOutcome {
        while !wire.is_empty() {
            let handshaking = self.connection.is_handshaking();
            if let Err(error) = self.connection.read_tls(&mut wire) {
                return DecryptOutcome::Error(error.to_string());
            }
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => return DecryptOutcome::Error(describe_error(&error, handshaking)),
            };
            let mut plain = self.connection.reader();
            while let Ok(octets) = plain.fill_buf()
                && !octets.is_empty()
            {
                inbox.push(octets);
                let taken = octets.len();
                plain.consume(taken);
            }
            // Octets after close_notify are not part of the connection (RFC 8446 section 6.1).
            if state.peer_has_closed() {
                return DecryptOutcome::CloseNotify;
            }
        }
        DecryptOutcome::All
    }

    /// Encrypts as much of the outbox as the bound on held output allows. Encrypts nothing before the end of the
    /// handshake.
    pub(super) fn encrypt(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        if !self.connection.is_handshaking() && !outbox.is_empty() {
            let taken = self.connection.writer().write(outbox.pending())?;
            outbox.consume(taken);
        }
        Ok(())
    }

    pub(super) fn has_output(&self, outbox: &Outbox) -> bool {
        self.connection.wants_write() || (!outbox.is_empty() && !self.connection.is_handshaking())
    }

    pub(super) fn write(&mut self, stream: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(stream)
    }

    /// Queues close_notify once, unless an alert has ended the session.
    pub(super) fn send_close_notify(&mut self) {
        self.connection.send_close_notify();
    }
}

/// A TLS error in words for an operator.
fn describe_error(error: &Error, handshaking: bool) -> String {
    use AlertDescription as Alert;
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) if handshaking => "clear text where TLS begins".into(),
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        ) => "no cipher or key exchange in common".into(),
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            "no signature scheme in common".into()
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => "no version in common: TLS 1.2 and 1.3 are spoken here".into(),
        Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown),
        ) => format!("the client rejected the certificate: {alert:?}"),
        Error::AlertReceived(alert) => format!("the client gave up: {alert:?}"),
        error => error.to_string(),
    }
}

/// Octets of encrypted output held in a session, in addition to the outbox.
const MAX_BUFFERED_OUTPUT: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write_pair(pair: &CertificatePair) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&pair.certificate, made.cert.pem()).unwrap();
        fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
    }

    fn pair_in(home: &tempfile::TempDir) -> CertificatePair {
        let pair = CertificatePair {
            certificate: home.path().join("certificate.pem"),
            key: home.path().join("key.pem"),
        };
        write_pair(&pair);
        pair
    }

    #[test]
    fn a_changed_pair_is_loaded_once_and_a_bad_one_is_told_once() {
        let home = tempfile::tempdir().unwrap();
        let pair = pair_in(&home);
        let now = SystemTime::now();
        let mut reloader = CertificateReloader::new(pair.clone(), pair.stamp());
        assert!(reloader.reload_if_changed(now).is_none());

        fs::write(&pair.key, "half").unwrap();
        let error = reloader.reload_if_changed(now).unwrap().unwrap_err().to_string();
        assert!(error.contains("key.pem"), "{error}");
        assert!(reloader.reload_if_changed(now).is_none(), "told once");

        write_pair(&pair);
        assert!(reloader.reload_if_changed(now).unwrap().is_ok());
        assert!(reloader.reload_if_changed(now).is_none());
    }

    #[test]
    fn sessions_begin_with_the_newest_pair_and_a_bad_one_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let pair = pair_in(&home);
        let tls = TlsConfig::start(pair.clone(), Duration::from_millis(20)).unwrap();
        let first = Arc::clone(&tls.current.borrow());
        tls.session().unwrap();
        assert!(Arc::ptr_eq(&first, &tls.current.borrow()));

        fs::write(&pair.certificate, "").unwrap();
        assert!(tls.reloaded.recv_timeout(Duration::from_millis(100)).is_err());
        write_pair(&pair);
        let renewed = tls.reloaded.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(!Arc::ptr_eq(&first, &renewed));
        tls.session().unwrap();

        let loaded = pair.load(SystemTime::now()).unwrap();
        let given = Arc::clone(&loaded.config);
        tls.replace(loaded);
        tls.session().unwrap();
        assert!(Arc::ptr_eq(&given, &tls.current.borrow()));
    }

    #[test]
    fn a_session_says_goodbye_once_and_takes_no_clear_text() {
        let home = tempfile::tempdir().unwrap();
        let tls = TlsConfig::start(pair_in(&home), Duration::from_secs(3600)).unwrap();
        let (mut session, mut inbox) = (tls.session().unwrap(), Inbox::default());
        assert_eq!(session.encryption(), None);
        let mut outbox = Outbox::default();
        outbox.line("220 too early");
        session.encrypt(&mut outbox).unwrap();
        assert!(!outbox.is_empty() && !session.has_output(&outbox), "nothing is said before the handshake");
        let DecryptOutcome::Error(why) = session.decrypt(b"EHLO client.test\r\n", &mut inbox) else {
            panic!()
        };
        assert_eq!((why.as_str(), inbox.len()), ("clear text where TLS begins", 0));
        let mut wire = Vec::new();
        session.send_close_notify();
        session.write(&mut wire).unwrap();
        assert_eq!((wire[0], wire.len()), (0x15, 7), "an alert, and no close_notify behind it");
    }
}
