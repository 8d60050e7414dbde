//! TLS to a broker: a relay between a Unix socket and the broker's port.
//!
//! The MQTT library's own TLS brings a certificate library with open advisories, so it is told to
//! speak plain MQTT to a socket in a folder that only this process's user can enter, and what is
//! said there goes out through rustls. Nothing else listens on that socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::house::TlsFiles;

/// How long TCP and the handshake may take, each.
const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(8);
/// Connections at once: the link, the self-test's, the accounts', and those that are ending.
const CONNECTIONS_MAX: usize = 16;

/// Why there is no TLS to the broker.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A file is missing or not what it should be.
    #[error("reading `{path}` for TLS to the broker: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The library refuses what the files say.
    #[error("setting up TLS to the broker: {0}")]
    Setup(#[from] rustls::Error),
    /// The host is no name that a certificate could have.
    #[error("`{0}` is no host name or address that a certificate could name")]
    Host(String),
    /// The socket cannot be made.
    #[error("making the socket of the relay to the broker: {0}")]
    Socket(#[from] std::io::Error),
}

/// A running relay; ends when it is dropped.
pub struct Relay {
    /// Only its owner can enter it. Goes with the relay.
    folder: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Told why a connection did not come about: on the socket it only breaks.
pub type Complain = Arc<dyn Fn(String) + Send + Sync>;

impl Relay {
    /// Reads the files and listens. Must be called within a runtime.
    pub fn start(address: &Address, files: &TlsFiles, complain: Complain) -> Result<Relay, RelayError> {
        let (connector, name) = connector(address, files)?;
        let folder = tempfile::Builder::new().prefix("hearthway-").tempdir()?;
        let listener = UnixListener::bind(folder.path().join("s"))?;
        let address = address.clone();
        let task = tokio::spawn(async move {
            let seats = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
            loop {
                let Ok(seat) = seats.clone().acquire_owned().await else { return };
                let Ok((near, _)) = listener.accept().await else { return };
                let (connector, name, address) = (connector.clone(), name.clone(), address.clone());
                let complain = complain.clone();
                tokio::spawn(async move {
                    if let Err(why) = relay(near, &connector, name, &address).await {
                        complain(why);
                    }
                    drop(seat);
                });
            }
        });
        Ok(Relay { folder, task })
    }

    /// Where the relay listens.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }
}

/// Whether TLS to a broker can be spoken with these files, without speaking it.
pub fn check(address: &Address, files: &TlsFiles) -> Result<(), RelayError> {
    if address.tls { connector(address, files).map(drop) } else { Ok(()) }
}

fn connector(address: &Address, files: &TlsFiles) -> Result<(TlsConnector, ServerName<'static>), RelayError> {
    let name = ServerName::try_from(address.host.clone()).map_err(|_| RelayError::Host(address.host.clone()))?;
    Ok((TlsConnector::from(Arc::new(client_config(files)?)), name))
}

async fn relay(
    mut near: UnixStream,
    connector: &TlsConnector,
    name: ServerName<'static>,
    address: &Address,
) -> Result<(), String> {
    let tcp = timeout(HANDSHAKE_SECONDS_MAX, TcpStream::connect((address.host.as_str(), address.port))).await;
    let tcp = tcp.map_err(|_| "no answer to the TCP connection".to_owned())?.map_err(|error| error.to_string())?;
    // Small packets both ways must not wait for the next segment.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let far = timeout(HANDSHAKE_SECONDS_MAX, connector.connect(name, tcp)).await;
    let mut far = far.map_err(|_| "the TLS handshake does not end".to_owned())?;
    let far = far.as_mut().map_err(|error| format!("TLS: {error}"))?;
    // How a connection ends that was once there, MQTT notices by itself.
    let _ = copy_bidirectional(&mut near, far).await;
    let _ = far.shutdown().await;
    Ok(())
}

fn client_config(files: &TlsFiles) -> Result<ClientConfig, RelayError> {
    let mut roots = RootCertStore::empty();
    for path in files.ca.iter() {
        for certificate in certificates(path)? {
            roots.add(certificate)?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(match (&files.certificate, &files.key) {
        (Some(chain), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key);
            let private = private.map_err(|cause| RelayError::File { path: key.clone(), cause: cause.to_string() })?;
            builder.with_client_auth_cert(certificates(chain)?, private)?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, RelayError> {
    let wrong = |cause: String| RelayError::File { path: path.clone(), cause };
    let read = CertificateDer::pem_file_iter(path).map_err(|cause| wrong(cause.to_string()))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|cause| wrong(cause.to_string()))?;
    if found.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(found) }
}
