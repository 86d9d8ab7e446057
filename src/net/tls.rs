//! TLS 1.2 and 1.3: a session, and the configuration of new sessions.
//!
//! The rules: a session gets decrypted octets at once, and the output held for a peer that does not read is bounded.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Duration, SystemTime},
};

use rustls::{
    CipherSuite, Error, ProtocolVersion, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};

use super::{
    certificate::{self, CertificatePair, LoadedCertificate, Stamp},
    tls_error::describe_error,
};
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
        Self::watch(pair, loaded, (interval, true), |_| None)
    }

    /// Starts the thread that watches the files of a loaded pair, because a disk may be too slow for the loop.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(
        pair: CertificatePair,
        loaded: LoadedCertificate,
        (interval, use_inotify): (Duration, bool),
        explain: Explain,
    ) -> Result<Self, certificate::Error> {
        let (stamp, paths) = (loaded.stamp.clone(), vec![pair.certificate.clone(), pair.key.clone()]);
        let current = RefCell::new(log_warnings(&pair, loaded));
        let (sender, reloaded) = mpsc::channel();
        let new_reloader = move || {
            let mut reloader = CertificateReloader::new(pair.clone(), stamp.clone(), explain);
            move |now| reloader.poll(now)
        };
        let send = move |config| drop(sender.send(config)); // fails only when the server is ending
        let poller = FilePoller::start(
            ("certificate", paths),
            PollInterval::new(interval, use_inotify),
            new_reloader,
            send,
        );
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
    explain: Explain,
    error_log: ErrorLogThrottle,
}

/// The reason why this process cannot read a file, if it is more than a missing permission.
type Explain = fn(&Path) -> Option<String>;

impl CertificateReloader {
    fn new(pair: CertificatePair, stamp: Stamp, explain: Explain) -> Self {
        Self { pair, stamp, unreadable_since: None, explain, error_log: ErrorLogThrottle::default() }
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
            Some(Err(error)) => {
                let reason = match error {
                    certificate::Error::Unreadable(_, path, _) => (self.explain)(path),
                    _ => None,
                };
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                Some(format!("tls certificate reload failed, keeping the old one: {error}{reason}"))
            }
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
    let path = pair.certificate.display();
    loaded.warnings().for_each(|warning| log::warn!("tls certificate path={path} {warning}"));
    loaded.note().iter().for_each(|note| log::info!("tls certificate path={path} {note}"));
    loaded.config
}

/// The server side of a TLS session. Its buffers are here and not in the library, because nearly all sessions are idle and need
/// none then.
pub(super) struct TlsSession {
    connection: UnbufferedServerConnection,
    /// Octets from the wire that wait for the rest of their record or of their handshake message.
    partial: Vec<u8>,
    /// Octets for the wire. The first `written` of them are sent.
    output: Vec<u8>,
    written: usize,
    /// The peer has violated TLS: the library must not be asked again.
    has_failed: bool,
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSession")
    }
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
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, partial: Vec::new(), output: Vec::new(), written: 0, has_failed: false })
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

    /// Decrypts octets from the wire into the inbox, in their place.
    pub(super) fn decrypt(&mut self, wire: &mut [u8], inbox: &mut Inbox) -> DecryptOutcome {
        let mut joined = std::mem::take(&mut self.partial);
        if joined.is_empty() {
            let (used, outcome) = self.process(wire, inbox);
            self.partial = wire[used..].to_vec();
            return self.bound_partial(outcome);
        }
        joined.extend_from_slice(wire);
        let (used, outcome) = self.process(&mut joined, inbox);
        if used == joined.len() {
            joined = Vec::new();
        } else {
            joined.drain(..used);
        }
        self.partial = joined;
        self.bound_partial(outcome)
    }

    /// A message that never ends must not fill the memory.
    fn bound_partial(&mut self, outcome: DecryptOutcome) -> DecryptOutcome {
        if outcome != DecryptOutcome::All {
            self.partial = Vec::new(); // no more input is decrypted
        } else if self.partial.len() > MAX_PARTIAL_INPUT {
            self.has_failed = true;
            return DecryptOutcome::Error("a handshake message is too long".into());
        }
        outcome
    }

    /// Processes complete records. Returns the octets that are no longer needed.
    fn process(&mut self, records: &mut [u8], inbox: &mut Inbox) -> (usize, DecryptOutcome) {
        let mut used = 0;
        if self.has_failed {
            return (records.len(), DecryptOutcome::All);
        }
        loop {
            let handshaking = self.connection.is_handshaking();
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut records[used..]);
            let outcome = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        inbox.push(record.payload);
                        discard += record.discard;
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.output);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                // Octets after close_notify are not part of the connection (RFC 8446 section 6.1).
                Ok(ConnectionState::PeerClosed) => Some(DecryptOutcome::CloseNotify),
                Ok(_) => Some(DecryptOutcome::All),
                Err(error) => Some(DecryptOutcome::Error(describe_error(&error, handshaking))),
            };
            used += discard;
            if let Some(DecryptOutcome::Error(_)) = outcome {
                self.has_failed = true;
                self.encode_alert(&mut records[used..]);
            }
            if let Some(outcome) = outcome {
                return (used, outcome);
            }
        }
    }

    /// Queues the alert that tells the peer of its error.
    fn encode_alert(&mut self, records: &mut [u8]) {
        let status = self.connection.process_tls_records(records);
        if let Ok(ConnectionState::EncodeTlsData(data)) = status.state {
            encode(data, &mut self.output);
        }
    }

    /// Encrypts as much of the outbox as the bound on held output allows. Encrypts nothing before the end of the
    /// handshake.
    pub(super) fn encrypt(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        let room = MAX_BUFFERED_OUTPUT.saturating_sub(self.output.len() - self.written);
        if room == 0 || outbox.is_empty() || self.connection.is_handshaking() {
            return Ok(());
        }
        self.with_traffic(|mut traffic, output| {
            let plain = &outbox.pending()[..outbox.pending().len().min(room)];
            let octets = append(output, plain.len() + RECORD_OVERHEAD, |room| traffic.encrypt(plain, room))?;
            if octets > 0 {
                let taken = plain.len();
                outbox.consume(taken);
            }
            Ok(())
        })
    }

    /// Lets the library encrypt, after everything that it has queued.
    fn with_traffic(
        &mut self,
        encrypt: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        while !self.has_failed {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.partial);
            match state.map_err(io::Error::other)? {
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.output),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(traffic) => return encrypt(traffic, &mut self.output),
                _ => break,
            }
        }
        Ok(())
    }

    pub(super) fn has_output(&self, outbox: &Outbox) -> bool {
        !self.output.is_empty() || (!outbox.is_empty() && !self.connection.is_handshaking())
    }

    pub(super) fn write(&mut self, stream: &mut dyn Write) -> io::Result<usize> {
        let octets = stream.write(&self.output[self.written..])?;
        self.written += octets;
        if self.written == self.output.len() {
            (self.output, self.written) = (Vec::new(), 0);
        }
        Ok(octets)
    }

    /// Queues close_notify once, unless an alert has ended the session, or the handshake never ended.
    pub(super) fn send_close_notify(&mut self) {
        // Fails only if the session has failed: then the peer has its alert.
        let _ = self.with_traffic(|mut traffic, output| {
            append(output, RECORD_OVERHEAD, |room| traffic.queue_close_notify(room)).map(drop)
        });
    }
}

/// Appends octets of the handshake, or an alert, to the output.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, output: &mut Vec<u8>) {
    let start = output.len();
    let needed = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        _ => 0,
    };
    output.resize(start + needed, 0);
    let written = data.encode(&mut output[start..]).unwrap_or(0);
    output.truncate(start + written);
}

/// Appends encrypted octets to the output, and returns their number. `expected` may be too small.
fn append(
    output: &mut Vec<u8>,
    expected: usize,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<usize> {
    let start = output.len();
    output.resize(start + expected, 0);
    let mut written = encrypt(&mut output[start..]);
    if let Err(EncryptError::InsufficientSize(size)) = &written {
        output.resize(start + size.required_size, 0);
        written = encrypt(&mut output[start..]);
    }
    output.truncate(start + written.as_ref().map_or(0, |octets| *octets));
    written.map_err(io::Error::other)
}

/// Octets of encrypted output held in a session, in addition to the outbox.
const MAX_BUFFERED_OUTPUT: usize = 32 * 1024;
/// Octets that the records of one turn's output take in addition to the text in them, and close_notify.
const RECORD_OVERHEAD: usize = 128;
/// Octets of a handshake message that has not come whole: the bound of rustls for its own buffers.
const MAX_PARTIAL_INPUT: usize = 0xffff;

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
        let mut reloader = CertificateReloader::new(pair.clone(), pair.stamp(), |_| None);
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
    fn n49_a_file_that_the_process_cannot_reach_is_told_with_the_reason() {
        let home = tempfile::tempdir().unwrap();
        let pair = pair_in(&home);
        let mut reloader = CertificateReloader::new(pair.clone(), pair.stamp(), |_| Some("outside".into()));
        std::fs::remove_file(&pair.key).unwrap();
        assert!(reloader.poll(SystemTime::now()).is_none());
        let told = reloader.error_log.last_error().unwrap();
        assert!(told.contains("key.pem") && told.ends_with(": outside"), "{told}");
        std::fs::write(&pair.key, "half").unwrap();
        assert!(reloader.poll(SystemTime::now()).is_none());
        assert!(!reloader.error_log.last_error().unwrap().contains("outside"), "it can be read");
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
        let DecryptOutcome::Error(why) = session.decrypt(&mut b"EHLO client.test\r\n".to_vec(), &mut inbox)
        else {
            panic!()
        };
        assert_eq!((why.as_str(), inbox.len()), ("clear text where TLS begins", 0));
        let mut wire = Vec::new();
        session.send_close_notify();
        session.write(&mut wire).unwrap();
        assert_eq!((wire[0], wire.len()), (0x15, 7), "an alert, and no close_notify behind it");
    }
}
