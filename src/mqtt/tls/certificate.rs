//! What a client's certificate says: whom it names, until when, and by what it can be revoked.

use std::time::Duration;

use hearthway_core::wire::topic::Who;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::mqtt::login::read_username;

/// How a device's name stands in the subject alternative names: `urn:gw:{maker}:{device}`.
pub const IDENTITY_PREFIX: &str = "urn:gw:";

/// A client's certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it names.
    pub who: Who,
    /// When it ends.
    pub not_after: UnixTime,
    /// What a list of revoked certificates may name it by.
    pub marks: Marks,
}

/// What a list of revoked certificates may name a certificate by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
    /// Its serial number, without leading zeros.
    pub serial: Vec<u8>,
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unnamed {
    /// Not a certificate.
    #[error("the certificate cannot be read")]
    Malformed,
    /// Neither of the two places has a name.
    #[error("the certificate has neither a URI `urn:gw:MAKER:DEVICE` nor a common name `MAKER/DEVICE`")]
    NoName,
    /// Two names.
    #[error("the certificate has more than one URI `urn:gw:…`; it must name one device")]
    TwoNames,
}

impl Marks {
    /// Of a certificate in DER.
    pub fn of(der: &CertificateDer<'_>) -> Result<Marks, Unnamed> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Unnamed::Malformed)?;
        Ok(Marks { fingerprint: Sha256::digest(der).into(), serial: without_zeros(parsed.raw_serial()).to_vec() })
    }
}

impl Certificate {
    /// Reads a certificate; does not ask whether it is good.
    pub fn read(der: &CertificateDer<'_>) -> Result<Certificate, Unnamed> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Unnamed::Malformed)?;
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Certificate {
            who: who(&parsed)?,
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(not_after)),
            marks: Marks::of(der)?,
        })
    }
}

/// The one URI `urn:gw:…`; where there is none, the common name in the form of a user name.
fn who(parsed: &X509Certificate<'_>) -> Result<Who, Unnamed> {
    let names = parsed.subject_alternative_name().map_err(|_| Unnamed::Malformed)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let mut uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(IDENTITY_PREFIX),
        _ => None,
    });
    let named = match (uris.next(), uris.next()) {
        (Some(_), Some(_)) => return Err(Unnamed::TwoNames),
        (Some(uri), None) => uri.replacen(':', "/", 1),
        (None, _) => {
            let mut common = parsed.subject().iter_common_name();
            let (Some(name), None) = (common.next(), common.next()) else { return Err(Unnamed::NoName) };
            name.as_str().map_err(|_| Unnamed::NoName)?.to_owned()
        }
    };
    read_username(&named).map_err(|_| Unnamed::NoName)
}

/// The first name by which a server's certificate may be reached.
pub fn first_host(der: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(address) => Some(std::net::Ipv4Addr::from(address).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    })
}

fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn issued(uris: &[&str], common_name: Option<&str>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.serial_number = Some(vec![0, 0x80, 1].into());
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }
    fn read(uris: &[&str], common_name: Option<&str>) -> Result<Who, Unnamed> {
        Certificate::read(&issued(uris, common_name)).map(|certificate| certificate.who)
    }

    #[test]
    fn the_uri_names_the_device_and_goes_before_the_common_name() {
        let device = Ok(Who::Device("acme/d-42".parse().unwrap()));
        assert_eq!(read(&["urn:gw:acme:d-42"], None), device);
        assert_eq!(read(&["https://acme.example/", "urn:gw:acme:d-42"], Some("brewco/d-1")), device);
        assert_eq!(read(&[], Some("acme/d-42")), device);
        assert_eq!(read(&["urn:gw:acme:_bridge"], None), Ok(Who::Bridge("acme".parse().unwrap())));
    }

    #[test]
    fn a_certificate_that_names_nobody_or_two_is_told_apart() {
        assert_eq!(read(&[], None), Err(Unnamed::NoName));
        assert_eq!(read(&[], Some("d-42")), Err(Unnamed::NoName));
        assert_eq!(read(&["urn:gw:acme:d-42:extra"], None), Err(Unnamed::NoName));
        assert_eq!(read(&["urn:gw:ACME:d-42"], Some("acme/d-42")), Err(Unnamed::NoName));
        assert_eq!(read(&["urn:gw:acme:d-1", "urn:gw:acme:d-2"], None), Err(Unnamed::TwoNames));
        assert_eq!(Certificate::read(&CertificateDer::from(vec![0x30, 0x82])), Err(Unnamed::Malformed));
    }

    #[test]
    fn a_serial_is_compared_without_its_leading_zeros() {
        assert_eq!(Marks::of(&issued(&[], None)).unwrap().serial, [0x80, 1]);
    }
}
