//! Certificates of every kind, good and bad, and a TLS client that shows them.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearthway::clock::{Clock, SystemClock};
use hearthway::mqtt::tls::{ClientCertificates, TlsSettings};
use hearthway::pki::Pki;
use hearthway_core::time::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::mqtt_house::{Hello, House, Raw};

/// A chain and its key, as a client shows them.
pub struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Shown {
    fn clone(&self) -> Shown {
        Shown { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// What stands in a certificate. Without a change it is a good one of `acme/d-42`.
pub struct Wanted<'a> {
    pub uris: &'a [&'a str],
    pub common_name: &'a str,
    pub from: Span,
    pub until: Span,
    pub usage: ExtendedKeyUsagePurpose,
    pub serial: u8,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Wanted {
            uris: &["urn:gw:acme:d-42"],
            common_name: "a device",
            from: Span::minutes(-5),
            until: Span::minutes(60),
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            serial: 42,
        }
    }
}

/// An authority in memory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    between: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let issuer = CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap();
        Authority { issuer, between: Vec::new() }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str) -> Authority {
        let issuer = CertifiedIssuer::signed_by(authority(name), KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let mut between = vec![issuer.der().clone()];
        between.extend(self.between.iter().cloned());
        Authority { issuer, between }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn issue(&self, wanted: &Wanted<'_>) -> Shown {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, wanted.common_name);
        params.subject_alt_names = wanted.uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![wanted.usage.clone()];
        params.serial_number = Some(vec![wanted.serial].into());
        let since = |time: Timestamp| Duration::from_millis(u64::try_from(time.0).unwrap());
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since(SystemClock.now() + wanted.from);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since(SystemClock.now() + wanted.until);
        let key = KeyPair::generate().unwrap();
        let mut chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        chain.extend(self.between.iter().cloned());
        Shown { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A gateway's certificate and all that may stand beside it, in a folder.
pub struct Stage {
    pub folder: tempfile::TempDir,
    pub pki: Pki,
    pub acme: Authority,
    pub brewco: Authority,
    pub all: Authority,
}

impl Stage {
    pub fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        pki.init(&["localhost".to_owned(), "127.0.0.1".to_owned()], 90, SystemClock.now()).unwrap();
        let makers = folder.path().join("makers");
        std::fs::create_dir(&makers).unwrap();
        let (acme, brewco, all) = (Authority::new("acme"), Authority::new("brewco"), Authority::new("all makers"));
        std::fs::write(makers.join("acme.pem"), acme.pem()).unwrap();
        std::fs::write(makers.join("brewco.pem"), brewco.pem()).unwrap();
        std::fs::write(folder.path().join("all.pem"), all.pem()).unwrap();
        Stage { folder, pki, acme, brewco, all }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn settings(&self, client_certificates: ClientCertificates) -> TlsSettings {
        TlsSettings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate_file: self.path("pki/server.pem"),
            key_file: self.path("pki/server.key"),
            client_certificates,
            client_ca_file: Some(self.path("all.pem")),
            client_ca_dir: Some(self.path("makers")),
            revoked_file: Some(self.pki.revoked()),
        }
    }

    pub async fn house(&self, client_certificates: ClientCertificates) -> House {
        House::open_with(|settings| settings.tls = Some(self.settings(client_certificates))).await
    }

    pub fn client(&self, shown: Option<&Shown>, version: &'static SupportedProtocolVersion) -> Client {
        Client::new(&self.path("pki/ca.pem"), shown, version)
    }

    pub fn revoke(&self, line: &str) {
        std::fs::write(self.pki.revoked(), format!("{line}\n")).unwrap();
    }
}

/// A TLS client; it resumes what it can.
pub struct Client(TlsConnector);

/// Why a client was not let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// TLS refused it with this alert.
    Alert(rustls::AlertDescription),
    /// Something else ended the connection.
    Closed,
    /// MQTT refused it with this code.
    Connack(u8),
}

impl Client {
    pub fn new(authority: &Path, shown: Option<&Shown>, version: &'static SupportedProtocolVersion) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots);
        let config = match shown {
            Some(shown) => config.with_client_auth_cert(shown.chain.clone(), shown.key.clone_key()).unwrap(),
            None => config.with_no_client_auth(),
        };
        Client(TlsConnector::from(Arc::new(config)))
    }

    /// The handshake alone.
    pub async fn reach(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        self.0.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// The handshake and a CONNECT.
    pub async fn connect(&self, address: SocketAddr, hello: &[u8]) -> Result<Raw<TlsStream<TcpStream>>, Refused> {
        let stream = self.reach(address).await.map_err(|error| refused(&error))?;
        let mut raw = Raw { stream };
        raw.send(hello).await;
        let (kind, body) = raw.read_packet().await.map_err(|error| refused(&error))?;
        assert_eq!(kind, 0x20, "CONNACK");
        if body[1] == 0 { Ok(raw) } else { Err(Refused::Connack(body[1])) }
    }
}

fn refused(error: &std::io::Error) -> Refused {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Refused::Alert(*alert),
        _ => Refused::Closed,
    }
}

/// A CONNECT without user name and secret: the certificate says who it is.
pub fn certified_hello(client_id: &str) -> Vec<u8> {
    let mut bytes = Hello {
        version: 5,
        client_id,
        username: "",
        password: "",
        clean: true,
        keep_alive: 60,
        properties: &[],
        will: None,
    }
    .bytes();
    // The flags say that neither comes, and the two empty texts at the end go.
    bytes[9] &= 0x3f;
    bytes.truncate(bytes.len() - 4);
    bytes[1] -= 4;
    bytes
}
