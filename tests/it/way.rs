//! The ways by which a client of someone else's making reaches the gateway.

use std::path::{Path, PathBuf};

use hearthway::clock::{Clock, SystemClock};
use hearthway::pki::{Issued, Pki};

use crate::gateway::{Gateway, host_and_port};

/// What carries MQTT, and how the device says who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Over {
    Plain,
    Tls,
    /// TLS, the device without a secret.
    Certificate,
    WebSocket,
    WebSocketTls,
}

/// How a client reaches the gateway.
#[derive(Clone)]
pub struct Way {
    pub host: String,
    pub port: u16,
    is_websocket: bool,
    /// The authority, where the way is over TLS.
    authority: Option<PathBuf>,
    /// The device's certificate.
    certificate: Option<Issued>,
}

impl Way {
    pub fn to(gateway: &Gateway, over: Over, pki: &Pki) -> Way {
        let (host, port) = match over {
            Over::Plain => gateway.mqtt.clone(),
            Over::Tls | Over::Certificate => (gateway.mqtt.0.clone(), gateway.mqtts.unwrap()),
            Over::WebSocket | Over::WebSocketTls => host_and_port(gateway.websocket.as_ref().unwrap()),
        };
        let is_websocket = matches!(over, Over::WebSocket | Over::WebSocketTls);
        let is_plain = matches!(over, Over::Plain | Over::WebSocket);
        let authority = (!is_plain).then(|| pki.authority().certificate);
        Way { host, port, is_websocket, authority, certificate: None }
    }

    pub fn with_certificate(&self, pki: &Pki, device: &str) -> Way {
        let device = format!("acme/{device}").parse().unwrap();
        Way { certificate: Some(pki.issue_device(&device, 30, SystemClock.now()).unwrap()), ..self.clone() }
    }

    /// The options of mosquitto's clients.
    pub fn options(&self) -> Vec<String> {
        assert!(!self.is_websocket, "mosquitto's clients speak no WebSocket");
        let mut options = vec!["-h".to_owned(), self.host.clone(), "-p".to_owned(), self.port.to_string()];
        let mut add = |name: &str, path: &Path| options.extend([name.to_owned(), path.display().to_string()]);
        if let Some(authority) = &self.authority {
            add("--cafile", authority);
        }
        if let Some(issued) = &self.certificate {
            add("--cert", &issued.certificate);
            add("--key", &issued.key);
        }
        options
    }

    /// The last arguments of `paho_device.py`.
    pub fn words(&self) -> [String; 4] {
        let path = |path: Option<&PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
        let certificate = self.certificate.as_ref();
        [
            if self.is_websocket { "websockets" } else { "tcp" }.to_owned(),
            path(self.authority.as_ref()),
            path(certificate.map(|issued| &issued.certificate)),
            path(certificate.map(|issued| &issued.key)),
        ]
    }
}

/// A gateway that asks for certificates of clients and takes none for granted, and speaks WebSocket.
pub fn serve_with_tls(data: &Path, pki: &Pki, over: Over) -> Gateway {
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = pki.init(&hosts, 30, SystemClock.now()).unwrap();
    let config = data.join("gateway.toml");
    let text = format!(
        "[mqtt.tls]\nbind = \"127.0.0.1:0\"\ncertificate_file = {:?}\nkey_file = {:?}\n\
         client_certificates = \"optional\"\nclient_ca_file = {:?}\nrevoked_file = {:?}\n\
         [mqtt.websocket]\nbind = \"127.0.0.1:0\"\ntls = {}\n",
        server.certificate,
        server.key,
        pki.authority().certificate,
        pki.revoked(),
        over == Over::WebSocketTls,
    );
    std::fs::write(&config, text).unwrap();
    Gateway::serve_with(data, &config, &[])
}
