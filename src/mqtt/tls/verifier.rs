//! Whether a client's certificate is good: of bounded length, issued by an authority that may
//! speak for that maker, in its time, for clients, and not revoked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hearthway_core::id::MakerId;
use hearthway_core::wire::topic::Who;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::{Certificate, Unnamed};
use super::revoked::Revoked;
use crate::mqtt::limits::TLS_CHAIN_CERTIFICATES_MAX;

/// A certificate that breaks a rule of this gateway; the others are those of X.509.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It names nobody.
    #[error(transparent)]
    Unnamed(#[from] Unnamed),
    /// Checking it would cost too much.
    #[error("the client sent {0} certificates, more than the {TLS_CHAIN_CERTIFICATES_MAX} of a chain")]
    ChainTooLong(usize),
}

impl Unfit {
    /// The word in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Unfit::Unnamed(_) => "unnamed",
            Unfit::ChainTooLong(_) => "chain_too_long",
        }
    }

    /// As the TLS library carries it.
    pub(super) fn into_error(self) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

/// The authorities of devices.
#[derive(Default)]
pub(super) struct Authorities {
    /// They may name devices of every maker.
    pub(super) of_all: Option<RootCertStore>,
    /// They may name devices of that maker only.
    pub(super) of_makers: BTreeMap<MakerId, RootCertStore>,
}

pub(super) struct DeviceVerifier {
    of_all: Option<Arc<dyn ClientCertVerifier>>,
    of_makers: BTreeMap<MakerId, Arc<dyn ClientCertVerifier>>,
    /// The names of all authorities, told to clients so that they choose the right certificate.
    subjects: Vec<DistinguishedName>,
    is_mandatory: bool,
    provider: Arc<CryptoProvider>,
    revoked: Arc<Revoked>,
}

impl DeviceVerifier {
    pub(super) fn new(
        authorities: Authorities,
        is_mandatory: bool,
        provider: Arc<CryptoProvider>,
        revoked: Arc<Revoked>,
    ) -> Result<DeviceVerifier, rustls::server::VerifierBuilderError> {
        let mut subjects = authorities.of_all.as_ref().map(RootCertStore::subjects).unwrap_or_default();
        subjects.extend(authorities.of_makers.values().flat_map(RootCertStore::subjects));
        let build = |roots| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let of_all = authorities.of_all.map(build).transpose()?;
        let of_makers = authorities.of_makers.into_iter().map(|(maker, roots)| Ok((maker, build(roots)?)));
        let of_makers = of_makers.collect::<Result<_, rustls::server::VerifierBuilderError>>()?;
        Ok(DeviceVerifier { of_all, of_makers, subjects, is_mandatory, provider, revoked })
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let sent = 1 + between.len();
        if sent > TLS_CHAIN_CERTIFICATES_MAX {
            return Err(Unfit::ChainTooLong(sent).into_error());
        }
        let certificate = Certificate::read(leaf).map_err(|unnamed| Unfit::from(unnamed).into_error())?;
        let maker = match &certificate.who {
            Who::Device(device) => &device.maker,
            Who::Bridge(maker) | Who::Bootstrap(maker) => maker,
        };
        // A maker's own authority first: then its refusal is the one that is told.
        let verifiers = self.of_makers.get(maker).into_iter().chain(&self.of_all);
        let mut verdict = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        for verifier in verifiers {
            verdict = verifier.verify_client_cert(leaf, between, now);
            if verdict.as_ref().err() != Some(&Error::InvalidCertificate(CertificateError::UnknownIssuer)) {
                break;
            }
        }
        let verified = verdict?;
        if self.revoked.has(&certificate.marks) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for DeviceVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceVerifier").field("makers", &self.of_makers.keys()).finish_non_exhaustive()
    }
}
