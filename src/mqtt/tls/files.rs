//! From files to a TLS configuration.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearthway_core::id::MakerId;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::revoked::Revoked;
use super::verifier::{Authorities, DeviceVerifier};
use super::{ClientCertificates, Current, Tickets, TlsSettings, certificates_of};
use crate::mqtt::limits::TLS_FILE_BYTES_MAX;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading `{path}`: {cause}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Others may read the private key.
    #[error("the private key `{path}` has mode {mode:o}: everybody can read it")]
    #[diagnostic(help("run `chmod 600 {path}`"))]
    KeyReadable {
        /// Which.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file has been read and is not what it must be.
    #[error("`{path}` {problem}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificates of clients are asked for, and nobody may issue them.
    #[error("`client_certificates` is on, and no authority is named")]
    #[diagnostic(help("name one by `client_ca_file` or `client_ca_dir` in `[mqtt.tls]`, or set it to \"off\""))]
    NoAuthority,
    /// The TLS library refuses.
    #[error("setting up TLS: {0}")]
    Library(String),
}

/// A file with something wrong in it.
pub(super) fn unusable(path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), problem: problem.into() }
}

/// A digest of all that was read, to see whether anything has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content([u8; 32]);

impl Content {
    /// Reads a file of at most so many bytes, and takes it into the digest.
    pub(super) fn with(self, path: &Path, bytes_max: u64) -> Result<(Content, Vec<u8>), TlsError> {
        let unreadable = |cause| TlsError::Unreadable { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > bytes_max {
            return Err(unusable(path, format!("has more than the {bytes_max} bytes of such a file")));
        }
        let digest = Sha256::new().chain_update(self.0).chain_update(path.as_os_str().as_encoded_bytes());
        Ok((Content(digest.chain_update(Sha256::digest(&bytes)).finalize().into()), bytes))
    }
}

pub(super) fn tickets() -> Result<Tickets, TlsError> {
    let draw = || aws_lc_rs::Ticketer::new().map_err(library);
    Ok(Tickets { devices: draw()?, anyone: draw()? })
}

fn library(error: impl std::fmt::Display) -> TlsError {
    TlsError::Library(error.to_string())
}

/// What the files hold at this moment, unread.
pub(super) struct Raw {
    pub(super) content: Content,
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<(Option<MakerId>, PathBuf, Vec<u8>)>,
}

/// Reads the bytes of all files.
pub(super) fn raw(settings: &TlsSettings) -> Result<Raw, TlsError> {
    let (content, certificate) = Content::default().with(&settings.certificate_file, TLS_FILE_BYTES_MAX)?;
    refuse_open_key(&settings.key_file)?;
    let (mut content, key) = content.with(&settings.key_file, TLS_FILE_BYTES_MAX)?;
    let mut authorities = Vec::new();
    if settings.client_certificates != ClientCertificates::Off {
        for (maker, path) in authority_files(settings)? {
            let (next, bytes) = content.with(&path, TLS_FILE_BYTES_MAX)?;
            content = next;
            authorities.push((maker, path, bytes));
        }
    }
    Ok(Raw { content, certificate, key, authorities })
}

/// Reads all files and makes a configuration of them.
pub(super) fn read(settings: &TlsSettings, tickets: &Tickets, revoked: &Arc<Revoked>) -> Result<Current, TlsError> {
    build(settings, raw(settings)?, tickets, revoked)
}

/// Makes a configuration of what the files hold.
pub(super) fn build(
    settings: &TlsSettings,
    raw: Raw,
    tickets: &Tickets,
    revoked: &Arc<Revoked>,
) -> Result<Current, TlsError> {
    let certificate = &settings.certificate_file;
    let chain = certificates_of(&raw.certificate).map_err(|e| unusable(certificate, format!("is not PEM: {e}")))?;
    let Some(leaf) = chain.first() else { return Err(unusable(certificate, "has no certificate in it")) };
    let not_after = not_after(leaf).ok_or_else(|| unusable(certificate, "begins with no readable certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&raw.key)
        .map_err(|e| unusable(&settings.key_file, format!("has no private key in PEM: {e}")))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(settings, raw.authorities, &provider, revoked)?;
    let serve = |verifier: Option<Arc<dyn ClientCertVerifier>>, tickets: &Arc<dyn ProducesTickets>| {
        let config = ServerConfig::builder_with_provider(provider.clone());
        // TLS 1.2 stays on for old appliances; the provider has no suite without forward secrecy.
        let config = config.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        let config = config.map_err(library)?;
        let config = match verifier {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        };
        let made = config.with_single_cert(chain.clone(), key.clone_key());
        let mut config =
            made.map_err(|e| unusable(&settings.key_file, format!("does not fit the certificate: {e}")))?;
        config.ticketer = tickets.clone();
        Ok(Arc::new(config))
    };
    Ok(Current {
        config: serve(verifier.clone(), &tickets.devices)?,
        config_without_clients: serve(None, &tickets.anyone)?,
        verifier,
        not_after,
        content: raw.content,
    })
}

fn verifier(
    settings: &TlsSettings,
    files: Vec<(Option<MakerId>, PathBuf, Vec<u8>)>,
    provider: &Arc<CryptoProvider>,
    revoked: &Arc<Revoked>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let is_mandatory = match settings.client_certificates {
        ClientCertificates::Off => return Ok(None),
        ClientCertificates::Optional => false,
        ClientCertificates::Required => true,
    };
    let mut authorities = Authorities::default();
    for (maker, path, bytes) in files {
        let roots = roots(&path, &bytes)?;
        match maker {
            Some(maker) => _ = authorities.of_makers.insert(maker, roots),
            None => authorities.of_all = Some(roots),
        }
    }
    if authorities.of_all.is_none() && authorities.of_makers.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    let verifier = DeviceVerifier::new(authorities, is_mandatory, provider.clone(), revoked.clone());
    Ok(Some(Arc::new(verifier.map_err(library)?)))
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let certificates = certificates_of(pem).map_err(|e| unusable(path, format!("is not PEM: {e}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|e| unusable(path, format!("has a certificate that is no authority's: {e}")))?;
    }
    if roots.is_empty() { Err(unusable(path, "has no certificate in it")) } else { Ok(roots) }
}

/// The files of authorities, in a settled order, each with the maker that it is bound to.
fn authority_files(settings: &TlsSettings) -> Result<Vec<(Option<MakerId>, PathBuf)>, TlsError> {
    let mut files: Vec<_> = settings.client_ca_file.iter().map(|path| (None, path.clone())).collect();
    let Some(dir) = &settings.client_ca_dir else { return Ok(files) };
    let unreadable = |cause| TlsError::Unreadable { path: dir.clone(), cause };
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|ending| ending != "pem") {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let maker = MakerId::new(name).map_err(|_| unusable(&path, "is not named after a maker: `{maker}.pem`"))?;
        files.push((Some(maker), path));
    }
    files.sort();
    Ok(files)
}

fn refuse_open_key(path: &Path) -> Result<(), TlsError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let unreadable = |cause| TlsError::Unreadable { path: path.to_owned(), cause };
        let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(TlsError::KeyReadable { path: path.display().to_string(), mode });
        }
    }
    Ok(())
}

fn not_after(certificate: &[u8]) -> Option<UnixTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
