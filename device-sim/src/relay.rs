//! TLS for the simulated devices: a socket in a private folder on one side, TLS to the gateway on
//! the other, one to one. The MQTT library's own TLS would bring a certificate library with open
//! advisories.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long TCP and TLS together may take to come up.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A relay; it ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    folder: tempfile::TempDir,
    task: JoinHandle<()>,
}

/// Where a relay leads.
#[derive(Clone)]
struct Far {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Relay {
    /// Leads to a gateway whose certificate comes from the authority in a PEM file.
    pub fn start(host: &str, port: u16, authority: &Path) -> anyhow::Result<Relay> {
        Relay::start_as(host, port, authority, None)
    }

    /// The same with a certificate of the device's own and its key, both PEM files.
    pub fn start_as(host: &str, port: u16, authority: &Path, own: Option<(&Path, &Path)>) -> anyhow::Result<Relay> {
        let tls = TlsConnector::from(Arc::new(client_config(authority, own)?));
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("`{host}` as a TLS name"))?;
        let far = Far { host: host.to_owned(), port, name, tls };
        let folder = tempfile::tempdir().context("making a folder for the relay's socket")?;
        let listener = UnixListener::bind(folder.path().join("mqtt")).context("opening the relay's socket")?;
        Ok(Relay { folder, task: tokio::spawn(serve(listener, far)) })
    }

    /// What a link dials as its host.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mqtt")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// TLS towards a gateway whose certificate comes from the authority in a PEM file, with a
/// certificate of one's own and its key where there are some.
pub(crate) fn client_config(authority: &Path, own: Option<(&Path, &Path)>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate).with_context(|| format!("`{}` is no authority", authority.display()))?;
    }
    anyhow::ensure!(!roots.is_empty(), "`{}` has no certificate in it", authority.display());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots);
    let Some((certificate, key)) = own else { return Ok(config.with_no_client_auth()) };
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading `{}`", key.display()))?;
    let fits = config.with_client_auth_cert(certificates(certificate)?, secret);
    fits.with_context(|| format!("`{}` with the key `{}`", certificate.display(), key.display()))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let reading = || format!("reading `{}`", file.display());
    CertificateDer::pem_file_iter(file).with_context(reading)?.collect::<Result<_, _>>().with_context(reading)
}

async fn serve(listener: UnixListener, far: Far) {
    // As many as there are links in this process: each of them dials once.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            near = listener.accept() => match near {
                Ok((near, _)) => _ = open.spawn(carry(near, far.clone())),
                Err(error) => {
                    tracing::warn!("The relay's socket failed: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn carry(mut near: UnixStream, far: Far) {
    let connect = async {
        let stream = TcpStream::connect((far.host.as_str(), far.port)).await?;
        stream.set_nodelay(true)?;
        far.tls.connect(far.name.clone(), stream).await
    };
    match timeout(CONNECT_LIMIT, connect).await {
        // How it ends is the link's to tell: it sees its own side close.
        Ok(Ok(mut stream)) => _ = copy_bidirectional(&mut near, &mut stream).await,
        Ok(Err(error)) => tracing::warn!("TLS to {}:{} failed: {error}", far.host, far.port),
        Err(_) => tracing::warn!("TLS to {}:{} did not come up", far.host, far.port),
    }
}
