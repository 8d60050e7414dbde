//! The ways by which a client of someone else's making reaches the gateway, and a gateway that
//! has them all.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use device_sim::relay::Relay;
use hearthway::clock::{Clock, SystemClock};
use hearthway::pki::{Issued, Pki};
use serde_json::json;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX, host_and_port};
use crate::mosquitto::{self, GATEWAY_PASSWORD, Mosquitto, PROBE_PASSWORD};
use crate::stock_clients::load_the_sample_shop;

/// What carries MQTT, and how the device says who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Over {
    Plain,
    Tls,
    /// TLS, the device without a secret.
    Certificate,
    WebSocket,
    WebSocketTls,
    /// Through a mosquitto that the gateway is linked to.
    Broker,
}

impl Over {
    pub const ALL: [Over; 6] =
        [Over::Plain, Over::Tls, Over::Certificate, Over::WebSocket, Over::WebSocketTls, Over::Broker];

    pub fn is_websocket(self) -> bool {
        matches!(self, Over::WebSocket | Over::WebSocketTls)
    }

    fn is_secure(self) -> bool {
        matches!(self, Over::Tls | Over::Certificate | Over::WebSocketTls)
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Over::Plain => "plain",
            Over::Tls => "TLS",
            Over::Certificate => "certificate",
            Over::WebSocket => "ws",
            Over::WebSocketTls => "wss",
            Over::Broker => "broker",
        })
    }
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

    /// The last arguments of `paho_device.py` and `mqttjs_device.js`.
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

    /// TLS for rumqttc, where the way is over TLS.
    pub fn relay(&self) -> Option<Relay> {
        assert!(!self.is_websocket, "rumqttc is built without WebSocket");
        let own = self.certificate.as_ref().map(|issued| (issued.certificate.as_path(), issued.key.as_path()));
        let authority = self.authority.as_ref()?;
        Some(Relay::start_as(&self.host, self.port, authority, own).unwrap())
    }
}

/// A gateway with the sample shop that asks for certificates of clients and takes none for granted,
/// speaks WebSocket, and may be linked to a broker.
pub struct Stage {
    pub gateway: Gateway,
    /// The shop's token.
    pub shop: String,
    pub bootstrap_secret: String,
    pki: Pki,
    broker: Option<Mosquitto>,
    /// mosquitto's password file is written by one at a time.
    accounts: tokio::sync::Mutex<()>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// WebSocket is plain or over TLS, not both.
    pub async fn open(websocket_over_tls: bool, with_broker: bool) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        let mut text = tls_sections(&pki, websocket_over_tls);
        let broker = with_broker.then(|| Mosquitto::start(folder.path()));
        if let Some(broker) = &broker {
            let url = format!("mqtt://127.0.0.1:{}", broker.port);
            text += &format!("[broker]\nurl = {url:?}\nusername = \"hearthway\"\nprobe_username = \"acme/probe\"\n");
        }
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, text).unwrap();
        let passwords =
            [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD), ("HEARTHWAY_BROKER_PROBE_PASSWORD", PROBE_PASSWORD)];
        let gateway = Gateway::serve_with(&folder.path().join("data"), &config, &passwords);
        let shop = load_the_sample_shop(&gateway).await;
        let bootstrap = gateway.ask(OPERATOR, "POST", "/v1/bootstrap-keys", Some(&json!({"maker": "acme"}))).await;
        assert_eq!(bootstrap["username"], "acme/_bootstrap");
        let bootstrap_secret = bootstrap["secret"].as_str().unwrap().to_owned();
        let accounts = tokio::sync::Mutex::default();
        let stage = Stage { gateway, shop, bootstrap_secret, pki, broker, accounts, _folder: folder };
        if stage.broker.is_some() {
            stage.admit(Over::Broker, "acme/_bootstrap", &stage.bootstrap_secret).await;
            stage.wait_for_the_broker().await;
        }
        stage
    }

    /// How clients reach it.
    pub fn way(&self, over: Over) -> Way {
        let (host, port) = match over {
            Over::Plain => self.gateway.mqtt.clone(),
            Over::Tls | Over::Certificate => (self.gateway.mqtt.0.clone(), self.gateway.mqtts.unwrap()),
            Over::WebSocket | Over::WebSocketTls => host_and_port(self.gateway.websocket.as_ref().unwrap()),
            Over::Broker => ("127.0.0.1".to_owned(), self.broker.as_ref().unwrap().port),
        };
        let authority = over.is_secure().then(|| self.pki.authority().certificate);
        Way { host, port, is_websocket: over.is_websocket(), authority, certificate: None }
    }

    /// TLS with a certificate of the device's own.
    pub fn way_with_certificate(&self, device: &str) -> Way {
        let device = format!("acme/{device}").parse().unwrap();
        let certificate = Some(self.pki.issue_device(&device, 30, SystemClock.now()).unwrap());
        Way { certificate, ..self.way(Over::Certificate) }
    }

    /// The port that a device which asks this way is told, and whether TLS is spoken there.
    pub fn told(&self, over: Over) -> (u16, bool) {
        match over {
            Over::Broker => (self.broker.as_ref().unwrap().port, false),
            _ if over.is_secure() => (self.gateway.mqtts.unwrap(), true),
            _ => (self.gateway.mqtt.1, false),
        }
    }

    /// Behind a broker the operator keeps the accounts; the endpoint needs none.
    pub async fn admit(&self, over: Over, user: &str, secret: &str) {
        let Some(broker) = self.broker.as_ref().filter(|_| over == Over::Broker) else { return };
        let _one_at_a_time = self.accounts.lock().await;
        broker.add_account(user, secret);
        let until = Instant::now() + STEP_SECONDS_MAX;
        while !mosquitto::lets_in(broker.port, user, secret).await {
            assert!(Instant::now() < until, "mosquitto does not let `{user}` in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until the link stands and the broker's access rules are proved.
    async fn wait_for_the_broker(&self) {
        let until = Instant::now() + STEP_SECONDS_MAX;
        loop {
            let (_, health) = self.gateway.call(OPERATOR, "GET", "/health/ready", None).await;
            let reasons = health["reasons"].as_array().cloned().unwrap_or_default();
            if !reasons.iter().any(|reason| reason["part"] == "broker") {
                return;
            }
            assert!(Instant::now() < until, "the health page goes on to say {health}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn tls_sections(pki: &Pki, websocket_over_tls: bool) -> String {
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = pki.init(&hosts, 30, SystemClock.now()).unwrap();
    format!(
        "[mqtt.tls]\nbind = \"127.0.0.1:0\"\ncertificate_file = {:?}\nkey_file = {:?}\n\
         client_certificates = \"optional\"\nclient_ca_file = {:?}\nrevoked_file = {:?}\n\
         [mqtt.websocket]\nbind = \"127.0.0.1:0\"\ntls = {websocket_over_tls}\n",
        server.certificate,
        server.key,
        pki.authority().certificate,
        pki.revoked(),
    )
}
