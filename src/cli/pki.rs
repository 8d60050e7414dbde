//! `hearthway pki`: certificates to try TLS with, and the list of revoked ones.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hearthway_core::id::{DeviceKey, DeviceName, MakerId};

use crate::clock::{Clock, SystemClock};
use crate::pki::{self, Issued, PkiError};

/// Days that a certificate lives.
const DAYS: u32 = 365;

/// What to do about certificates.
#[derive(Debug, Subcommand)]
pub enum Pki {
    /// Makes a development authority and a certificate for the gateway.
    Init(Init),
    /// Makes one more certificate for the gateway, to replace the first.
    Server(Server),
    /// Makes a certificate for a device.
    Device(Device),
    /// Adds certificates to the list of those that are not accepted any more.
    Revoke(Revoke),
}

/// Makes a development authority and a certificate for the gateway.
#[derive(Debug, Args)]
pub struct Init {
    /// Where the files go; made where it is missing, nothing in it is overwritten.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub dir: PathBuf,
    /// A name or address that devices connect to; may be given more than once.
    #[arg(long = "host", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub hosts: Vec<String>,
    /// Days that the gateway's certificate lives.
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// Makes one more certificate for the gateway.
#[derive(Debug, Args)]
pub struct Server {
    /// Where the authority is.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub dir: PathBuf,
    /// The name of the new files.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// A name or address that devices connect to; may be given more than once.
    #[arg(long = "host", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub hosts: Vec<String>,
    /// Days that it lives.
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// Makes a certificate for a device.
#[derive(Debug, Args)]
pub struct Device {
    /// Where the authority is.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub dir: PathBuf,
    /// The maker's name.
    #[arg(long, value_parser = maker)]
    pub maker: MakerId,
    /// The device's name, as it is registered.
    #[arg(long, value_parser = device)]
    pub device: DeviceName,
    /// Days that it lives.
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// Adds certificates to the list of those that are not accepted any more.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The list: what `revoked_file` in `[mqtt.tls]` names.
    #[arg(long, value_name = "FILE", default_value = "pki/revoked.txt")]
    pub list: PathBuf,
    /// The certificates, in PEM.
    #[arg(required = true, value_name = "CERTIFICATE")]
    pub certificates: Vec<PathBuf>,
}

impl Pki {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let done = match self {
            Pki::Init(command) => command.run(),
            Pki::Server(command) => command.run(),
            Pki::Device(command) => command.run(),
            Pki::Revoke(command) => command.run(),
        };
        match done {
            Ok(text) => {
                super::say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => super::failed(error),
        }
    }
}

impl Init {
    fn run(self) -> Result<String, PkiError> {
        let pki = pki::Pki::at(&self.dir);
        let server = pki.init(&self.hosts, self.days, SystemClock.now())?;
        let (authority, revoked) = (pki.authority().certificate, pki.revoked());
        let host = self.hosts.first().map_or("localhost", String::as_str);
        Ok(format!(
            "Made an authority and a certificate for {hosts} in `{dir}`. Keep `{key}` to yourself.\n\n\
             Into the configuration:\n\n\
             [mqtt.tls]\nbind = \"127.0.0.1:8883\"\n{files}\
             client_certificates = \"optional\"\nclient_ca_file = {authority:?}\nrevoked_file = {revoked:?}\n\n\
             A device that has a secret then connects by:\n\n\
             mosquitto_pub -h {host} -p 8883 --cafile {ca} -u acme/d-42 -P SECRET -q 1 \\\n  \
             -t chan/v1/acme/d-42/up/telemetry -m '{{\"temperature\":16.4}}'\n\n\
             For one without a secret: hearthway pki device --dir {dir} --maker acme --device d-42\n",
            hosts = self.hosts.join(", "),
            dir = self.dir.display(),
            key = pki.authority().key.display(),
            files = keys_of(&server),
            ca = authority.display(),
        ))
    }
}

impl Server {
    fn run(self) -> Result<String, PkiError> {
        let pki = pki::Pki::at(&self.dir);
        let server = pki.issue_server(&self.name, &self.hosts, self.days, SystemClock.now())?;
        Ok(format!(
            "Made a certificate for {}. Into `[mqtt.tls]`, or over the files that are named there (the key last):\n\n{}",
            self.hosts.join(", "),
            keys_of(&server)
        ))
    }
}

impl Device {
    fn run(self) -> Result<String, PkiError> {
        let pki = pki::Pki::at(&self.dir);
        let device = DeviceKey::new(self.maker, self.device);
        let issued = pki.issue_device(&device, self.days, SystemClock.now())?;
        Ok(format!(
            "Made a certificate for `{device}`. Once the device is registered it connects by:\n\n\
             mosquitto_pub -h {host} -p 8883 --cafile {ca} --cert {certificate} --key {key} -q 1 \\\n  \
             -t chan/v1/{device}/up/telemetry -m '{{\"temperature\":16.4}}'\n",
            host = pki.server_host().as_deref().unwrap_or("localhost"),
            ca = shown(&pki.authority().certificate),
            certificate = shown(&issued.certificate),
            key = shown(&issued.key),
        ))
    }
}

impl Revoke {
    fn run(self) -> Result<String, PkiError> {
        let lines = pki::revoke(&self.list, &self.certificates)?;
        let list = shown(&self.list);
        Ok(format!(
            "Added to `{list}`; a gateway that uses it has ended their connections within a second:\n\n{}\n",
            lines.join("\n")
        ))
    }
}

fn keys_of(server: &Issued) -> String {
    format!("certificate_file = {:?}\nkey_file = {:?}\n", server.certificate, server.key)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn maker(text: &str) -> Result<MakerId, String> {
    MakerId::new(text).map_err(|e| e.to_string())
}

fn device(text: &str) -> Result<DeviceName, String> {
    DeviceName::new(text).map_err(|e| e.to_string())
}
