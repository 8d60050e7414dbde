//! TLS in front of the endpoint: the gateway's own certificate, and devices that prove who they
//! are by theirs.
//!
//! All that is read from files can be replaced while the gateway runs (`watch`): new connections
//! meet the new configuration, live ones go on. What a certificate says is read in one place
//! (`certificate`), whether it is good in one (`verifier`), whether it has been revoked in one
//! (`revoked`).

pub mod certificate;
mod files;
mod revoked;
mod verifier;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hearthway_core::wire::topic::Who;
use metrics::counter;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, HandshakeKind, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::certificate::Certificate;
pub use self::files::TlsError;
use self::revoked::{Revoked, Seat};
use self::verifier::Unfit;
use super::limits::TLS_HANDSHAKE_LIMIT;
use super::mailbox::Mailbox;
use super::metrics as names;
use crate::clock::{Clock, SystemClock};

/// How the TLS endpoint is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where to listen; port 0 takes a free one.
    pub address: std::net::SocketAddr,
    /// PEM: the gateway's certificate and those between it and its authority.
    pub certificate_file: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
    /// Whether devices show certificates.
    pub client_certificates: ClientCertificates,
    /// PEM: authorities that may name devices of every maker.
    pub client_ca_file: Option<PathBuf>,
    /// Directory with `{maker}.pem`: authorities that may name devices of that maker only.
    pub client_ca_dir: Option<PathBuf>,
    /// Text: certificates that are not accepted any more.
    pub revoked_file: Option<PathBuf>,
}

/// Whether devices show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// None is asked for.
    #[default]
    Off,
    /// A client without one logs in by its secret.
    Optional,
    /// A client without one is not let in.
    Required,
}

/// The TLS of the endpoint: what it answers with, and whom it trusts.
pub struct Tls {
    settings: TlsSettings,
    /// For MQTT, where devices may show certificates.
    devices: ArcSwap<Current>,
    tickets: Tickets,
    revoked: Arc<Revoked>,
}

/// Keys for session tickets, drawn anew every six hours by the library. One for each kind of
/// listener: a ticket from one that asks for no certificate must not open one that does.
struct Tickets {
    devices: Arc<dyn ProducesTickets>,
    anyone: Arc<dyn ProducesTickets>,
}

/// One reading of the files.
struct Current {
    config: Arc<ServerConfig>,
    /// The same certificate without asking for the client's: a browser shows its user's
    /// certificates on behalf of any page, so over WebSocket they prove nothing.
    config_without_clients: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// When the gateway's own certificate ends.
    not_after: UnixTime,
    /// Of everything that was read.
    content: files::Content,
}

impl Tls {
    /// Reads all files. What cannot be served is refused here, at the start.
    pub fn open(settings: TlsSettings) -> Result<Arc<Tls>, TlsError> {
        let tickets = files::tickets()?;
        let revoked = Arc::new(Revoked::open(settings.revoked_file.as_deref())?);
        let current = files::read(&settings, &tickets, &revoked)?;
        let tls = Tls { settings, devices: ArcSwap::from_pointee(current), tickets, revoked };
        tls.tell_time_left(&mut watch::Told::default());
        Ok(Arc::new(tls))
    }

    /// Where to listen.
    pub fn address(&self) -> std::net::SocketAddr {
        self.settings.address
    }

    /// Lets a client in for MQTT: its stream, and whether it has shown a certificate.
    pub(super) async fn accept(&self, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Security)> {
        let current = self.devices.load_full();
        let stream = handshake(stream, current.config.clone()).await?;
        match self.certified(&stream, &current) {
            Ok(certified) => Some((stream, certified.map_or(Security::Tls, Security::Certificate))),
            Err(error) => {
                refused(&io::Error::other(error));
                None
            }
        }
    }

    /// Lets a client in for WebSocket, where certificates of clients have no meaning.
    pub(super) async fn accept_anyone(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let config = self.devices.load().config_without_clients.clone();
        handshake(stream, config).await
    }

    fn certified(&self, stream: &TlsStream<TcpStream>, current: &Current) -> Result<Option<Certified>, rustls::Error> {
        let (_, session) = stream.get_ref();
        let Some([leaf, between @ ..]) = session.peer_certificates() else {
            // The handshake asks for it; this holds whatever a ticket has brought back.
            return match self.settings.client_certificates {
                ClientCertificates::Off | ClientCertificates::Optional => Ok(None),
                ClientCertificates::Required => Err(rustls::Error::NoCertificatesPresented),
            };
        };
        let now = now();
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            // A ticket brings back what was verified then; revoked or expired it may be since.
            let Some(verifier) = &current.verifier else { return Ok(None) };
            verifier.verify_client_cert(leaf, between, now)?;
        }
        let certificate = Certificate::read(leaf).map_err(|unfit| Unfit::from(unfit).into_error())?;
        let left = Duration::from_secs(certificate.not_after.as_secs().saturating_sub(now.as_secs()));
        if let Some(days) = days_warned(left) {
            counter!(names::TLS_CLIENTS_EXPIRING, "within_days" => days.to_string()).increment(1);
            tracing::info!(who = ?certificate.who, "The certificate of a client expires within {days} days");
        }
        Ok(Some(Certified {
            who: certificate.who.clone(),
            ends_at: Instant::now() + left,
            seat: self.revoked.seat(certificate.marks),
        }))
    }
}

/// What stands between a client's bytes and others on the way.
pub(super) enum Security {
    /// Nothing.
    Plain,
    /// TLS; the client says who it is by its secret.
    Tls,
    /// TLS, with a certificate of the client.
    Certificate(Certified),
}

impl Security {
    /// The client's certificate.
    pub(super) fn certified(&self) -> Option<&Certified> {
        match self {
            Security::Plain | Security::Tls => None,
            Security::Certificate(certified) => Some(certified),
        }
    }

    /// Whether others on the way can read.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Security::Plain)
    }
}

/// What a client has proved by its certificate, for as long as its connection lives.
pub(super) struct Certified {
    /// Whom the certificate names.
    pub(super) who: Who,
    /// When the certificate ends, and the connection with it.
    pub(super) ends_at: Instant,
    seat: Seat,
}

impl Certified {
    /// From here on the connection ends when its certificate is revoked.
    pub(super) fn seat(&self, mailbox: Arc<Mailbox>) {
        self.seat.take(mailbox);
    }
}

async fn handshake(stream: TcpStream, config: Arc<ServerConfig>) -> Option<TlsStream<TcpStream>> {
    match timeout(TLS_HANDSHAKE_LIMIT, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            counter!(names::TLS_HANDSHAKES, "kind" => if is_resumed { "resumed" } else { "full" }).increment(1);
            Some(stream)
        }
        Ok(Err(error)) => {
            refused(&error);
            None
        }
        Err(_) => {
            crate::observe::limits::hit(crate::observe::limits::Limit::HandshakeTime);
            counter!(names::TLS_REFUSED, "reason" => "timeout").increment(1);
            None
        }
    }
}

fn refused(error: &io::Error) {
    let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map_or("gone", label);
    counter!(names::TLS_REFUSED, "reason" => reason).increment(1);
    tracing::debug!(reason, "A TLS handshake failed: {error}");
}

/// The verdict as a word for metrics: few, so that they can be told apart on a page.
fn label(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_yet_valid",
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "unknown_issuer",
            CertificateError::Revoked => "revoked",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "wrong_usage",
            CertificateError::Other(other) => other.0.downcast_ref::<Unfit>().map_or("certificate", Unfit::label),
            _ => "certificate",
        },
        rustls::Error::NoCertificatesPresented => "no_certificate",
        rustls::Error::AlertReceived(_) => "alert",
        rustls::Error::PeerIncompatible(_) => "incompatible",
        _ => "protocol",
    }
}

/// The warning that is due when so much is left: within 30, 14 or 3 days.
fn days_warned(left: Duration) -> Option<u64> {
    const DAY_SECONDS: u64 = 86_400;
    [3, 14, 30].into_iter().find(|days| left.as_secs() < days * DAY_SECONDS)
}

/// The machine's time: certificates are issued in it, whatever clock the homes live by.
fn now() -> UnixTime {
    let milliseconds = u64::try_from(SystemClock.now().0).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_millis(milliseconds))
}

/// Reads every certificate of a PEM text.
fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(pem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_within_30_14_and_3_days() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        assert_eq!(days_warned(days(31)), None);
        assert_eq!(days_warned(days(29)), Some(30));
        assert_eq!(days_warned(days(13)), Some(14));
        assert_eq!(days_warned(days(2)), Some(3));
        assert_eq!(days_warned(Duration::ZERO), Some(3));
    }
}
