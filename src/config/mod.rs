//! What the gateway is started with: one small struct per concern, validated once.
//!
//! The file is checked against the table in [`keys`]; the environment goes before the file.
//! After [`Config::load`] nobody checks again.

pub mod broker;
pub mod file;
pub mod keys;
pub mod samples;
pub mod tables;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use file::ConfigError;

use crate::mqtt::tls::ClientCertificates;

/// Characters of the operator's token at least: fewer can be guessed over HTTP.
pub const OPERATOR_TOKEN_CHARS_MIN: usize = 16;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the store is.
    pub data: Data,
    /// The API.
    pub http: Http,
    /// The device endpoint.
    pub mqtt: Mqtt,
    /// The broker link.
    pub broker: broker::Broker,
    /// What one connection, device or maker may take.
    pub limits: Limits,
    /// How inputs become decisions.
    pub engine: Engine,
    /// How far the input log reaches back.
    pub log: Log,
    /// Where events may go.
    pub webhooks: Webhooks,
    /// What is kept of customers, and for how long.
    pub privacy: Privacy,
    /// Who may make triggers live.
    pub triggers: Triggers,
    /// The sample shop.
    pub samples: Samples,
    /// The operator's first token; from the environment only.
    #[serde(skip)]
    pub operator_token: Option<OperatorToken>,
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Directory of the store.
    pub dir: PathBuf,
    /// File with the master key, where it is not in the data directory.
    pub master_key_file: Option<PathBuf>,
    /// File with the customers' keys, where it is not in the data directory.
    pub customer_keys_file: Option<PathBuf>,
    /// Mebibytes of rows that wait in memory to be written behind.
    pub waiting_rows_mib_max: usize,
}

impl Default for Data {
    fn default() -> Data {
        Data { dir: PathBuf::from("data"), master_key_file: None, customer_keys_file: None, waiting_rows_mib_max: 32 }
    }
}

impl Data {
    /// Where the master key is.
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.dir.join("master.key"))
    }
    /// Where the customers' keys are.
    pub fn customer_keys_path(&self) -> PathBuf {
        self.customer_keys_file.clone().unwrap_or_else(|| self.dir.join("customers.keys"))
    }
}

/// The API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where it listens.
    pub bind: SocketAddr,
}

impl Default for Http {
    fn default() -> Http {
        Http { bind: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

/// The device endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Where it listens.
    pub bind: SocketAddr,
    /// The host that provisioned devices are told, where it is not the address of `bind`.
    pub public_host: Option<String>,
    /// How often a provisioned device is told to report.
    pub telemetry_seconds: u32,
    /// The same over TLS.
    pub tls: MqttTls,
    /// The same in WebSocket frames.
    pub websocket: MqttWebSocket,
}

/// The device endpoint over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttTls {
    /// Where it listens; without it there is no TLS.
    pub bind: Option<SocketAddr>,
    /// The gateway's certificate.
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// Whether devices show certificates.
    pub client_certificates: ClientCertificates,
    /// Authorities for devices of every maker.
    pub client_ca_file: Option<PathBuf>,
    /// Authorities of single makers.
    pub client_ca_dir: Option<PathBuf>,
    /// Certificates that are not accepted any more.
    pub revoked_file: Option<PathBuf>,
}

/// The device endpoint in WebSocket frames.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttWebSocket {
    /// Where it listens; without it there is no WebSocket.
    pub bind: Option<SocketAddr>,
    /// Whether it is served over TLS.
    pub tls: bool,
}

impl Default for Mqtt {
    fn default() -> Mqtt {
        Mqtt {
            bind: SocketAddr::from(([127, 0, 0, 1], 1883)),
            public_host: None,
            telemetry_seconds: 60,
            tls: MqttTls::default(),
            websocket: MqttWebSocket::default(),
        }
    }
}

/// What one connection, device or maker may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Devices that one maker may have.
    pub devices_per_maker_max: usize,
    /// MQTT connections at once.
    pub mqtt_connections_max: usize,
    /// How long a client may take to say CONNECT.
    pub mqtt_connect_seconds_max: u64,
    /// Clients that are not known yet.
    pub mqtt_handshakes_max: usize,
    /// Messages of one device in the long run.
    pub device_messages_per_second: u32,
    /// Messages of one device ahead of that.
    pub device_messages_burst: u32,
    /// Messages of all devices of a maker; 0 is no limit.
    pub maker_messages_per_second: u32,
    /// Publishes of one device connection.
    pub mqtt_publishes_per_second: u32,
    /// Publishes of one bridge connection.
    pub mqtt_bridge_publishes_per_second: u32,
    /// Connects of one device.
    pub mqtt_connects_per_minute: u32,
    /// Connects of one device ahead of that.
    pub mqtt_connects_burst: u32,
    /// HTTP connections at once.
    pub http_connections_max: usize,
    /// Calls of one token.
    pub http_calls_per_second: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            devices_per_maker_max: 1_000_000,
            mqtt_connections_max: 100_000,
            mqtt_connect_seconds_max: 10,
            mqtt_handshakes_max: 512,
            device_messages_per_second: 10,
            device_messages_burst: 100,
            maker_messages_per_second: 0,
            mqtt_publishes_per_second: 100,
            mqtt_bridge_publishes_per_second: 20_000,
            mqtt_connects_per_minute: 5,
            mqtt_connects_burst: 30,
            http_connections_max: 1_000,
            http_calls_per_second: 500,
        }
    }
}

/// How inputs become decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Parts that households are spread over.
    pub shards: usize,
    /// Commits that share one durable flush at most.
    pub group_commits_max: usize,
    /// Inputs that wait for one shard.
    pub shard_queue_inputs_max: usize,
    /// Households kept in memory.
    pub cached_households_max: usize,
    /// Homes looked at in a second because a trigger with `on_activate` went live.
    pub activate_homes_per_second: u32,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine {
            shards: 2,
            group_commits_max: 256,
            shard_queue_inputs_max: 1_024,
            cached_households_max: 10_000,
            activate_homes_per_second: 50,
        }
    }
}

/// How far the input log reaches back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Mebibytes of all households' logs together.
    pub size_mib_max: u64,
    /// Days that they are kept.
    pub age_days_max: u32,
}

impl Default for Log {
    fn default() -> Log {
        Log { size_mib_max: 4096, age_days_max: 400 }
    }
}

/// Where events may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Whether they may go to this machine's loopback, by http too.
    pub allow_loopback: bool,
    /// Authorities beside those of the machine.
    pub ca_file: Option<PathBuf>,
}

/// What is kept of customers, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// Days that the bare lines of an order outlive the erasure of who bought.
    pub order_retention_days: u32,
}

impl Default for Privacy {
    fn default() -> Privacy {
        Privacy { order_retention_days: 3653 }
    }
}

/// Who may make triggers live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Triggers {
    /// Homes that a marketer may reach with a trigger without a second person.
    pub publish_reach_max_alone: u64,
}

impl Default for Triggers {
    fn default() -> Triggers {
        Triggers { publish_reach_max_alone: 1_000 }
    }
}

/// The sample shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Samples {
    /// Whether it is loaded at the start.
    pub load: bool,
    /// Where it is.
    pub dir: PathBuf,
}

impl Default for Samples {
    fn default() -> Samples {
        Samples { load: false, dir: PathBuf::from("config") }
    }
}

/// A token that is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorToken(String);

impl OperatorToken {
    /// Takes a token of at least [`OPERATOR_TOKEN_CHARS_MIN`] printable characters.
    pub fn new(text: impl Into<String>) -> Result<OperatorToken, String> {
        let text = text.into();
        let chars = text.chars().count();
        if chars < OPERATOR_TOKEN_CHARS_MIN {
            return Err(format!("has {chars} characters, fewer than {OPERATOR_TOKEN_CHARS_MIN}"));
        }
        if !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err("has characters that an HTTP header cannot carry".to_owned());
        }
        Ok(OperatorToken(text))
    }
    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(…)")
    }
}

/// The environment variables that the gateway reads, as they are.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HEARTHWAY_OPERATOR_TOKEN`.
    pub operator_token: Option<String>,
    /// `HEARTHWAY_TOKEN`: for commands that speak to a running gateway.
    pub token: Option<String>,
    /// `HEARTHWAY_URL`: the running gateway that such commands speak to.
    pub url: Option<String>,
    /// `HEARTHWAY_DATA_DIR`.
    pub data_dir: Option<String>,
    /// `HEARTHWAY_HTTP_BIND`.
    pub http_bind: Option<String>,
    /// `HEARTHWAY_MQTT_BIND`.
    pub mqtt_bind: Option<String>,
    /// `HEARTHWAY_MQTTS_BIND`.
    pub mqtts_bind: Option<String>,
    /// `HEARTHWAY_BROKER_PASSWORD`.
    pub broker_password: Option<String>,
    /// `HEARTHWAY_BROKER_PROBE_PASSWORD`.
    pub broker_probe_password: Option<String>,
}

impl Environment {
    /// Reads them from the process. An empty variable counts as none.
    pub fn of_the_process() -> Result<Environment, ConfigError> {
        Environment::read(|name| {
            std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
        })
    }

    /// A secret may stand in a file instead, which `{NAME}_FILE` names: the environment of a process
    /// can be read by more people than a file.
    fn read(read: impl Fn(&str) -> Option<String>) -> Result<Environment, ConfigError> {
        let secret = |name: &'static str, in_a_file: &'static str| match (read(name), read(in_a_file)) {
            (Some(text), _) => Ok(Some(text)),
            (None, Some(path)) => secret_in(in_a_file, &path).map(Some),
            (None, None) => Ok(None),
        };
        Ok(Environment {
            operator_token: secret("HEARTHWAY_OPERATOR_TOKEN", "HEARTHWAY_OPERATOR_TOKEN_FILE")?,
            token: secret("HEARTHWAY_TOKEN", "HEARTHWAY_TOKEN_FILE")?,
            url: read("HEARTHWAY_URL"),
            data_dir: read("HEARTHWAY_DATA_DIR"),
            http_bind: read("HEARTHWAY_HTTP_BIND"),
            mqtt_bind: read("HEARTHWAY_MQTT_BIND"),
            mqtts_bind: read("HEARTHWAY_MQTTS_BIND"),
            broker_password: secret("HEARTHWAY_BROKER_PASSWORD", "HEARTHWAY_BROKER_PASSWORD_FILE")?,
            broker_probe_password: secret("HEARTHWAY_BROKER_PROBE_PASSWORD", "HEARTHWAY_BROKER_PROBE_PASSWORD_FILE")?,
        })
    }
}

/// The first line of a file that holds a secret and nothing else.
fn secret_in(name: &'static str, path: &str) -> Result<String, ConfigError> {
    let wrong = |problem: String| ConfigError::Environment {
        name,
        problem,
        help: "name a file with the secret in its only line".to_owned(),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|cause| wrong(format!("names `{path}`, which cannot be read: {cause}")))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(wrong(format!("names `{path}`, which is empty"))),
        line if line.contains('\n') => Err(wrong(format!("names `{path}`, which has several lines"))),
        line => Ok(line.to_owned()),
    }
}

impl Config {
    /// The same with the environment of this process.
    pub fn load_here(path: Option<&Path>) -> Result<Config, ConfigError> {
        Config::load(path, &Environment::of_the_process()?)
    }

    /// Reads the file (none means the defaults), lays the environment over it and validates.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Config, ConfigError> {
        let mut config = match path {
            Some(path) => file::parse(path, &file::read(path)?)?,
            None => Config::default(),
        };
        config.overlay(environment)?;
        config.broker.settings()?;
        Ok(config)
    }

    fn overlay(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        if let Some(text) = &environment.operator_token {
            let token = OperatorToken::new(text.as_str());
            self.operator_token = Some(token.map_err(|problem| ConfigError::Environment {
                name: "HEARTHWAY_OPERATOR_TOKEN",
                problem,
                help: "draw one, for example by `openssl rand -hex 16`".to_owned(),
            })?);
        }
        if let Some(dir) = &environment.data_dir {
            self.data.dir = PathBuf::from(dir);
        }
        if let Some(text) = &environment.http_bind {
            self.http.bind = bind_of("HEARTHWAY_HTTP_BIND", text)?;
        }
        if let Some(text) = &environment.mqtt_bind {
            self.mqtt.bind = bind_of("HEARTHWAY_MQTT_BIND", text)?;
        }
        if let Some(text) = &environment.mqtts_bind {
            self.mqtt.tls.bind = Some(bind_of("HEARTHWAY_MQTTS_BIND", text)?);
        }
        self.broker.password = environment.broker_password.clone().map(broker::Password);
        self.broker.probe_password = environment.broker_probe_password.clone().map(broker::Password);
        Ok(())
    }
}

fn bind_of(name: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let help = "write address:port, such as 127.0.0.1:0 (port 0 takes a free one)".to_owned();
    parse_bind(text).map_err(|problem| ConfigError::Environment { name, problem, help })
}

/// Reads `address:port`; says what is wrong where it is not one.
pub fn parse_bind(text: &str) -> Result<SocketAddr, String> {
    let host_as_address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let shown: String = text.chars().take(80).collect();
    host_as_address.as_deref().unwrap_or(text).parse().map_err(|_| format!("is `{shown}`, which is not address:port"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHIPPED: &str = include_str!("../../config/gateway.toml");

    fn mistakes(text: &str) -> Vec<file::Mistake> {
        match file::parse::<Config>(Path::new("gateway.toml"), text) {
            Err(ConfigError::Mistaken { mistakes, .. }) => mistakes,
            other => panic!("expected mistakes, got {other:?}"),
        }
    }

    #[test]
    fn the_shipped_file_is_the_table_of_keys() {
        assert!(SHIPPED == keys::render(), "run `hearthway check-config --print-default > config/gateway.toml`");
    }

    #[test]
    fn the_shipped_file_changes_nothing() {
        let config: Config = file::parse(Path::new("config/gateway.toml"), SHIPPED).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_field_of_the_structs_is_a_documented_key_with_its_true_default() {
        let written = toml::Value::try_from(Config::default()).unwrap();
        let mut fields = 0;
        let mut sections: Vec<_> = written.as_table().unwrap().clone().into_iter().collect();
        while let Some((section, table)) = sections.pop() {
            let section = section.as_str();
            for (name, value) in table.as_table().unwrap() {
                if value.is_table() {
                    sections.push((format!("{section}.{name}"), value.clone()));
                    continue;
                }
                let key = keys::find(section, name).unwrap_or_else(|| panic!("`{section}.{name}` is not in the table"));
                let default: toml::Table = format!("x = {}", key.default.unwrap()).parse().unwrap();
                assert_eq!(&default["x"], value, "default of {section}.{name}");
                fields += 1;
            }
        }
        let with_default = keys::KEYS.iter().filter(|key| key.default.is_some()).count();
        assert_eq!(fields, with_default, "a key without a field would be accepted and ignored");
    }

    #[test]
    fn an_optional_key_reaches_its_field() {
        let text = "[data]\nmaster_key_file = \"/keys/k\"\n[mqtt]\npublic_host = \"hub.example\"\n\
                    [mqtt.tls]\nbind = \"127.0.0.1:8883\"\nclient_certificates = \"required\"\n";
        let config: Config = file::parse(Path::new("x.toml"), text).unwrap();
        assert_eq!(config.data.master_key_path(), PathBuf::from("/keys/k"));
        assert_eq!(config.mqtt.public_host.as_deref(), Some("hub.example"));
        assert_eq!(config.mqtt.tls.bind.map(|bind| bind.port()), Some(8883));
        assert_eq!(config.mqtt.tls.client_certificates, ClientCertificates::Required);
    }

    #[test]
    fn a_mistake_in_a_section_within_a_section_is_told_at_its_place() {
        let text = "[mqtt.tls]\ncertificate_fil = \"a\"\nclient_certificates = \"maybe\"\n[mqtt.tlss]\nbind = 1\n";
        let told: Vec<_> = mistakes(text).into_iter().map(|m| (m.line_column(), m.message, m.help)).collect();
        assert!(
            told.iter().any(|(at, _, help)| *at == (2, 1) && help.as_ref().unwrap().contains("`certificate_file`"))
        );
        assert!(told.iter().any(|(at, _, help)| *at == (3, 23) && help.as_ref().unwrap().contains("\"optional\"")));
        assert!(told.iter().any(|(at, said, _)| *at == (4, 7) && said.contains("`tlss`")), "{told:?}");
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn all_mistakes_are_told_at_their_places_with_the_nearest_name() {
        let text = "[htpp]\nbind = 1\n\n[engine]\nshard = 4\nshards = 0\n[mqtt]\nbind = \"here\"\n";
        let told: Vec<_> = mistakes(text)
            .into_iter()
            .map(|m| (m.line_column(), m.message.clone(), m.help.clone().unwrap_or_default()))
            .collect();
        assert!(told.iter().any(|(at, _, help)| *at == (1, 2) && help.contains("`http`")), "{told:?}");
        assert!(told.iter().any(|(at, _, help)| *at == (5, 1) && help.contains("`shards`")), "{told:?}");
        assert!(told.iter().any(|(at, said, _)| *at == (6, 10) && said.contains("outside 1 to 256")), "{told:?}");
        assert!(told.iter().any(|(at, said, _)| *at == (8, 8) && said.contains("`here`")), "{told:?}");
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn broken_syntax_is_told_at_its_place() {
        let told = mistakes("[http]\nbind = \n");
        assert_eq!(told[0].line_column().0, 2, "{told:?}");
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.toml");
        std::fs::write(&path, "[http]\nbind = \"127.0.0.1:7000\"\n[data]\ndir = \"of-the-file\"\n").unwrap();
        let environment = Environment {
            http_bind: Some("127.0.0.1:0".to_owned()),
            data_dir: Some("of-the-environment".to_owned()),
            ..Environment::default()
        };
        let config = Config::load(Some(&path), &environment).unwrap();
        assert_eq!(config.http.bind.port(), 0);
        assert_eq!(config.data.dir, PathBuf::from("of-the-environment"));
    }

    #[test]
    fn a_short_operator_token_is_refused_without_being_shown() {
        let environment = Environment { operator_token: Some("hunter2".to_owned()), ..Environment::default() };
        let error = Config::load(None, &environment).unwrap_err();
        assert!(error.to_string().contains("7 characters"), "{error}");
        assert!(!error.to_string().contains("hunter2"));
        let long = OperatorToken::new("0123456789abcdef").unwrap();
        assert!(!format!("{long:?}").contains("0123"));
    }

    #[test]
    fn a_bind_that_is_none_is_refused_by_name() {
        let environment = Environment { mqtt_bind: Some("1883".to_owned()), ..Environment::default() };
        let error = Config::load(None, &environment).unwrap_err();
        assert!(error.to_string().contains("HEARTHWAY_MQTT_BIND"), "{error}");
    }
}
