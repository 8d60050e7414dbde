//! Certificates to try TLS with: an authority, the gateway's certificate, certificates of devices.
//!
//! The only file that names rcgen. Nothing is ever overwritten, and only the owner can read what
//! is written. For homes in earnest, the maker's own authority issues certificates.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthway_core::id::DeviceKey;
use hearthway_core::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::mqtt::tls::certificate::{IDENTITY_PREFIX, Marks, first_host};

/// How long an authority lives, days: longer than anybody should use one made here.
const AUTHORITY_DAYS: u32 = 3_650;
/// How long before its making a certificate is valid already: clocks of devices differ.
const BACKDATED: Duration = Duration::from_secs(3_600);
/// Bytes of a PEM file that is read here.
const PEM_BYTES_MAX: u64 = 512 * 1024;

/// Why a certificate was not made, or not revoked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PkiError {
    /// A file is there already.
    #[error("`{path}` exists; nothing was written")]
    #[diagnostic(help("choose another directory, or take the file away yourself"))]
    Exists {
        /// Which.
        path: String,
    },
    /// The file system refuses.
    #[error("{doing} `{path}`: {cause}")]
    File {
        /// Reading or writing.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// There is no authority in the directory.
    #[error("there is no authority in `{dir}`: {cause}")]
    #[diagnostic(help("make one by `hearthway pki init --dir {dir}`"))]
    NoAuthority {
        /// Where it was looked for.
        dir: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A name cannot stand in a certificate.
    #[error("`{name}` is no host name or address")]
    #[diagnostic(help("write it as devices connect to it, such as gateway.example or 192.0.2.7"))]
    HostName {
        /// Which.
        name: String,
    },
    /// A file to be revoked has no certificate in it.
    #[error("`{path}` has no certificate in PEM")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// The library refuses.
    #[error("making a certificate: {0}")]
    Library(#[from] rcgen::Error),
}

/// A directory with an authority and what it has issued.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate: PathBuf,
    /// The key in PEM.
    pub key: PathBuf,
}

impl Pki {
    /// The directory; nothing is read yet.
    pub fn at(dir: &Path) -> Pki {
        Pki { dir: dir.to_owned() }
    }

    /// The authority's files.
    pub fn authority(&self) -> Issued {
        self.files("ca")
    }

    /// The list of revoked certificates.
    pub fn revoked(&self) -> PathBuf {
        self.dir.join("revoked.txt")
    }

    /// Makes an authority, a certificate for a gateway of these names, and an empty list of
    /// revoked certificates.
    pub fn init(&self, hosts: &[String], days: u32, now: Timestamp) -> Result<Issued, PkiError> {
        let (authority, server, revoked) = (self.authority(), self.files("server"), self.revoked());
        refuse_existing([&authority.certificate, &authority.key, &server.certificate, &server.key, &revoked])?;
        let key = KeyPair::generate()?;
        let mut params = params("Hearthway development authority", AUTHORITY_DAYS, now);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let (server_key, server_params) = (KeyPair::generate()?, server_params(hosts, days, now)?);
        let server_certificate = server_params.signed_by(&server_key, &Issuer::new(params, &key))?;
        make_dir(&self.dir)?;
        write_new(&authority.key, &key.serialize_pem())?;
        write_new(&authority.certificate, &certificate.pem())?;
        write_new(&server.key, &server_key.serialize_pem())?;
        write_new(&server.certificate, &server_certificate.pem())?;
        write_new(&revoked, "# Certificates that are not accepted any more: sha256:… or serial:…, a line each.\n")?;
        Ok(server)
    }

    /// Makes a certificate for a gateway of these names, under a file name of one's choice.
    pub fn issue_server(&self, name: &str, hosts: &[String], days: u32, now: Timestamp) -> Result<Issued, PkiError> {
        self.issue(name, server_params(hosts, days, now)?)
    }

    /// Makes a certificate for a device.
    pub fn issue_device(&self, device: &DeviceKey, days: u32, now: Timestamp) -> Result<Issued, PkiError> {
        let mut params = params(&device.to_string(), days, now);
        let uri = format!("{IDENTITY_PREFIX}{}:{}", device.maker, device.device);
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&format!("{}.{}", device.maker, device.device), params)
    }

    fn issue(&self, name: &str, params: CertificateParams) -> Result<Issued, PkiError> {
        let (authority, issued) = (self.authority(), self.files(name));
        let no_authority = |cause: String| PkiError::NoAuthority { dir: self.dir.display().to_string(), cause };
        let read = |path: &Path| read(path).map_err(|error| no_authority(error.to_string()));
        let (certificate, key) = (read(&authority.certificate)?, read(&authority.key)?);
        let key = KeyPair::from_pem(&key).map_err(|e| no_authority(e.to_string()))?;
        let authority = Issuer::from_ca_cert_pem(&certificate, key).map_err(|e| no_authority(e.to_string()))?;
        refuse_existing([&issued.certificate, &issued.key])?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        write_new(&issued.key, &key.serialize_pem())?;
        write_new(&issued.certificate, &certificate.pem())?;
        Ok(issued)
    }

    /// The name by which the gateway of the first certificate is reached, as that says.
    pub fn server_host(&self) -> Option<String> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let text = read(&self.files("server").certificate).ok()?;
        first_host(&CertificateDer::from_pem_slice(text.as_bytes()).ok()?)
    }

    fn files(&self, name: &str) -> Issued {
        // Not `with_extension`: a device's name may have a dot before it.
        let file = |ending: &str| self.dir.join(format!("{name}.{ending}"));
        Issued { certificate: file("pem"), key: file("key") }
    }
}

/// Adds certificates to a list of revoked ones; the file is replaced as a whole, so that nobody
/// reads half of it. Gives the line of each.
pub fn revoke(list: &Path, certificates: &[PathBuf]) -> Result<Vec<String>, PkiError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut text = read(list)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut lines = Vec::new();
    for path in certificates {
        let none = || PkiError::NoCertificate { path: path.clone() };
        let certificate = CertificateDer::from_pem_slice(read(path)?.as_bytes()).map_err(|_| none())?;
        let marks = Marks::of(&certificate).map_err(|_| none())?;
        lines.push(format!("sha256:{} # {}", data_encoding::HEXLOWER.encode(&marks.fingerprint), path.display()));
    }
    for line in &lines {
        text.push_str(line);
        text.push('\n');
    }
    replace(list, &text)?;
    Ok(lines)
}

fn params(common_name: &str, days: u32, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::from_secs(u64::from(days) * 86_400);
    params
}

fn server_params(hosts: &[String], days: u32, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params = params(hosts.first().map_or("gateway", String::as_str), days, now);
    let wrong = |name: &String| PkiError::HostName { name: name.clone() };
    let name = |host: &String| match host.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) if is_host_name(host) => Ok(SanType::DnsName(host.as_str().try_into().map_err(|_| wrong(host))?)),
        Err(_) => Err(wrong(host)),
    };
    params.subject_alt_names = hosts.iter().map(name).collect::<Result<_, PkiError>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'*')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn refuse_existing<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), PkiError> {
    for path in paths {
        if path.exists() {
            return Err(PkiError::Exists { path: path.display().to_string() });
        }
    }
    Ok(())
}

fn file_error<'a>(doing: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> PkiError + 'a {
    move |cause| PkiError::File { doing, path: path.to_owned(), cause }
}

fn read(path: &Path) -> Result<String, PkiError> {
    let failed = file_error("reading", path);
    let bytes = std::fs::metadata(path).map_err(&failed)?.len();
    if bytes > PEM_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it has more than {PEM_BYTES_MAX} bytes"))));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn make_dir(dir: &Path) -> Result<(), PkiError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(file_error("making", dir))
}

fn write_new(path: &Path, text: &str) -> Result<(), PkiError> {
    let failed = file_error("writing", path);
    let mut file = for_the_owner(OpenOptions::new().write(true).create_new(true)).open(path).map_err(&failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn replace(path: &Path, text: &str) -> Result<(), PkiError> {
    let failed = file_error("writing", path);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(&failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(&failed)?;
    // Whoever could read the list before still can: the gateway may be another user.
    let permissions = std::fs::metadata(path).map_err(&failed)?.permissions();
    file.as_file().set_permissions(permissions).map_err(&failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    // The name is durable with its directory.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn for_the_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn nothing_is_overwritten_and_only_the_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        pki.init(&hosts(&["localhost", "127.0.0.1"]), 30, NOW).unwrap();
        let device = "acme/d-42".parse().unwrap();
        let issued = pki.issue_device(&device, 30, NOW).unwrap();
        #[cfg(unix)]
        for path in [&issued.certificate, &issued.key, &pki.authority().key, &pki.revoked()] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        let before = std::fs::read(&issued.key).unwrap();
        assert!(matches!(pki.issue_device(&device, 30, NOW), Err(PkiError::Exists { .. })));
        assert!(matches!(pki.init(&hosts(&["localhost"]), 30, NOW), Err(PkiError::Exists { .. })));
        assert_eq!(std::fs::read(&issued.key).unwrap(), before);
    }

    #[test]
    fn a_device_without_an_authority_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let error = Pki::at(folder.path()).issue_device(&"acme/d-42".parse().unwrap(), 30, NOW).unwrap_err();
        assert!(matches!(error, PkiError::NoAuthority { .. }), "{error}");
    }

    #[test]
    fn a_host_that_is_none_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for bad in ["", "a b", "http://gateway", "gateway:8883"] {
            let error = Pki::at(folder.path()).init(&hosts(&[bad]), 30, NOW).unwrap_err();
            assert!(matches!(error, PkiError::HostName { .. }), "{bad}: {error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_revoked_certificate_is_added_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(folder.path());
        pki.init(&hosts(&["localhost"]), 30, NOW).unwrap();
        let one = pki.issue_device(&"acme/d-1".parse().unwrap(), 30, NOW).unwrap().certificate;
        let two = pki.issue_device(&"acme/d-2".parse().unwrap(), 30, NOW).unwrap().certificate;
        revoke(&pki.revoked(), &[one]).unwrap();
        revoke(&pki.revoked(), &[two]).unwrap();
        let text = std::fs::read_to_string(pki.revoked()).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("sha256:")).count(), 2, "{text}");
        let error = revoke(&pki.revoked(), &[pki.authority().key]).unwrap_err();
        assert!(matches!(error, PkiError::NoCertificate { .. }), "{error}");
    }
}
