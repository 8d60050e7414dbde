//! One try: look the name up, check each address, connect to a checked one, say the event, read
//! the answer. Nothing is followed, nothing is taken from the environment.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::{self, Place, Reach, Unreachable};

/// How long one try may take, from the name to the end of the answer. Real time: it is the network's.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read: its status is all that counts.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Addresses of one name that are looked at; beyond them it is not a webhook's name.
const ADDRESSES_MAX: usize = 32;
/// The media type of structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json; charset=utf-8";

/// What looks names up.
pub type Resolve =
    Arc<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// The way out.
#[derive(Clone)]
pub struct Wire {
    reach: Reach,
    timeout: Duration,
    resolve: Resolve,
    tls: Tls,
}

/// What an event is sent with.
#[derive(Debug, Clone)]
pub struct Letterhead {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp_seconds: i64,
    /// `webhook-signature`.
    pub signatures: String,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// What the receiver says about when to come again.
    pub retry_after: Option<String>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("reading the authorities of webhooks, `{path}`: {cause}")]
#[diagnostic(help("`ca_file` in `[webhooks]` names a PEM file with certificates"))]
pub struct AuthoritiesError {
    path: PathBuf,
    cause: String,
}

/// Authorities, read when the first event goes out over TLS: a gateway without webhooks needs none.
#[derive(Clone, Default)]
struct Tls {
    more: Vec<CertificateDer<'static>>,
    config: Arc<OnceLock<Result<TlsConnector, String>>>,
}

impl Wire {
    /// A way out that reaches so far, and trusts a further file of authorities.
    pub fn new(reach: Reach, ca_file: Option<&Path>) -> Result<Wire, AuthoritiesError> {
        let more = ca_file.map(certificates).transpose()?.unwrap_or_default();
        let tls = Tls { more, config: Arc::default() };
        Ok(Wire { reach, timeout: ATTEMPT_TIMEOUT, resolve: Arc::new(system_resolve), tls })
    }
    /// The same with another patience.
    pub fn with_timeout(self, timeout: Duration) -> Wire {
        Wire { timeout, ..self }
    }
    /// The same that looks names up elsewhere.
    pub fn with_resolve(self, resolve: Resolve) -> Wire {
        Wire { resolve, ..self }
    }
    /// How far it reaches.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Says an event once. The error is for the person who looks into the delivery log: it names what
    /// went wrong and nothing of what the receiver's network looks like.
    pub async fn post(&self, url: &str, head: &Letterhead, body: Vec<u8>) -> Result<Answered, String> {
        match tokio::time::timeout(self.timeout, self.post_patiently(url, head, body)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer within {} s", self.timeout.as_secs_f32())),
        }
    }

    async fn post_patiently(&self, url: &str, head: &Letterhead, body: Vec<u8>) -> Result<Answered, String> {
        let place = address::read(url, self.reach).map_err(|why| why.to_string())?;
        let addresses = self.addresses(&place).await?;
        let stream = connect(&addresses).await?;
        if !place.tls {
            return say(stream, &place, head, body).await;
        }
        let name = match place.ip {
            Some(ip) => ServerName::IpAddress(ip.into()),
            None => ServerName::try_from(place.host.clone()).map_err(|_| "no certificate can have this host's name")?,
        };
        let stream = self.tls.connector()?.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        say(stream, &place, head, body).await
    }

    /// The addresses of a place. One that must not be spoken to spoils all: a name that leads inside
    /// now and then is not a receiver's.
    async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, String> {
        if let Some(ip) = place.ip {
            return Ok(vec![SocketAddr::new(ip, place.port)]);
        }
        let found = (self.resolve)(place.host.clone(), place.port).await;
        let found = found.map_err(|_| "the host's name cannot be looked up".to_owned())?;
        if found.is_empty() || found.len() > ADDRESSES_MAX {
            return Err(format!("the host's name has {} addresses", found.len()));
        }
        for found in &found {
            // Only names of this machine may lead to it, where anything may.
            let reach = if place.host == "localhost" { self.reach } else { Reach::Public };
            address::check(found.ip(), reach).map_err(|why| refused(&why))?;
        }
        Ok(found.into_iter().map(|found| SocketAddr::new(found.ip(), place.port)).collect())
    }
}

/// What a name leads to is nothing that a tenant should learn through the gateway.
fn refused(why: &Unreachable) -> String {
    match why {
        Unreachable::Address(_, why) => format!("the host's name leads to an address that is {why}"),
        other => other.to_string(),
    }
}

fn system_resolve(host: String, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// The first of the addresses that takes the connection.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // The body must not wait for the acknowledgement of the head.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
        _ => "the connection did not come about".to_owned(),
    })
}

async fn say(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: &Place,
    head: &Letterhead,
    body: Vec<u8>,
) -> Result<Answered, String> {
    let broke = |error: hyper::Error| {
        if error.is_incomplete_message() || error.is_canceled() {
            "the connection broke before the answer was whole".to_owned()
        } else {
            format!("the answer is not HTTP: {error}")
        }
    };
    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broke)?;
    // Ends with the answer; what it says about the connection's end, the answer has said.
    let driven = tokio::spawn(async move { connection.await.is_ok() });
    let request = Request::builder()
        .method(Method::POST)
        .uri(&place.target)
        .header(HOST, place.authority())
        .header(USER_AGENT, concat!("hearthway/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, CLOUD_EVENT)
        .header("webhook-id", &head.id)
        .header("webhook-timestamp", head.timestamp_seconds)
        .header("webhook-signature", &head.signatures)
        .body(Body::from(body))
        .map_err(|error| format!("the URL cannot be asked for: {error}"))?;
    let answer = match sender.send_request(request).await {
        Ok(response) => read(response).await.map_err(broke),
        Err(error) => Err(broke(error)),
    };
    driven.abort();
    answer
}

/// Reads an answer up to its bound. One that breaks off before its end may come from a receiver that
/// broke off before it had done its work.
async fn read(response: Response<hyper::body::Incoming>) -> Result<Answered, hyper::Error> {
    let (head, mut body) = response.into_parts();
    let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.map(|text| text.chars().take(64).collect());
    let mut bytes = 0;
    while bytes < ANSWER_BYTES_MAX {
        match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            Some(frame) => bytes += frame?.data_ref().map_or(0, |data| data.len()),
            None => break,
        }
    }
    Ok(Answered { status: head.status.as_u16(), retry_after })
}

impl Tls {
    fn connector(&self) -> Result<TlsConnector, String> {
        self.config.get_or_init(|| self.open()).clone()
    }

    fn open(&self) -> Result<TlsConnector, String> {
        let mut roots = RootCertStore::empty();
        // Some machines have a certificate among theirs that nobody can read; the others still serve.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.more.iter().cloned());
        if roots.is_empty() {
            return Err("this machine has no authorities to know a receiver by; set `ca_file` in `[webhooks]`".into());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("TLS: {error}"))?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let wrong = |cause: String| AuthoritiesError { path: path.to_owned(), cause };
    let read = CertificateDer::pem_file_iter(path).map_err(|cause| wrong(cause.to_string()))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|cause| wrong(cause.to_string()))?;
    if found.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(found) }
}
