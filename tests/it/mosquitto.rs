//! A real broker beside the gateway: Debian's mosquitto as a child process, and devices behind it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::gateway::STEP_SECONDS_MAX;

/// The gateway's password at the broker.
pub const GATEWAY_PASSWORD: &str = "the-gateways-password";
/// The password of the account for the self-test.
pub const PROBE_PASSWORD: &str = "the-probes-password";
/// Messages to a device that the test has not looked at.
const HEARD_MESSAGES_MAX: usize = 1_024;

/// Whether mosquitto is here. In CI it must be.
pub fn is_there() -> bool {
    let found = Command::new("mosquitto").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "mosquitto is not installed, and CI must run this test");
    if !found {
        eprintln!("SKIPPED: mosquitto is not installed (`.ci/run` installs it)");
    }
    found
}

/// A running mosquitto; killed when it is dropped.
pub struct Mosquitto {
    child: Child,
    folder: PathBuf,
    /// Where it listens.
    pub port: u16,
}

/// A port that was free a moment ago: mosquitto cannot take port 0 and say which it got.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    /// Starts it with the shipped access rules and accounts for the gateway and its self-test.
    pub fn start(folder: &Path) -> Mosquitto {
        Mosquitto::start_with(folder, &access(folder), write_rules_and_accounts)
    }

    /// The same with other access rules.
    pub fn start_with_rules(folder: &Path, rules: &str) -> Mosquitto {
        Mosquitto::start_with(folder, &access(folder), |folder| {
            write_rules_and_accounts(folder);
            std::fs::write(folder.join("acl"), rules).unwrap();
        })
    }

    /// Starts it with a configuration of one's own beside the listener.
    pub fn start_with(folder: &Path, configuration: &str, prepare: impl FnOnce(&Path)) -> Mosquitto {
        let port = free_port();
        // As root, mosquitto would become a user that cannot read the test's folder.
        let user = if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" { "user root\n" } else { "" };
        // The bound of what waits for an absent gateway is the operator's to choose, not the test's.
        let fixed = format!("listener {port} 127.0.0.1\nallow_anonymous false\nmax_queued_messages 0\n{user}");
        std::fs::write(folder.join("mosquitto.conf"), format!("{fixed}{configuration}")).unwrap();
        prepare(folder);
        let mut broker = Mosquitto { child: run(folder), folder: folder.to_owned(), port };
        broker.wait();
        broker
    }

    /// Gives somebody an account.
    pub fn add_account(&self, user: &str, password: &str) {
        set_password(&self.folder, user, password);
        Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
    }

    /// SIGKILL: no moment to write anything down.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same port and with the same files.
    pub fn restart(&mut self) {
        self.child = run(&self.folder);
        self.wait();
    }

    fn wait(&mut self) {
        let until = std::time::Instant::now() + STEP_SECONDS_MAX;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "mosquitto ended; run the test alone to see why");
            assert!(std::time::Instant::now() < until, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn access(folder: &Path) -> String {
    format!("password_file {0}/passwd\nacl_file {0}/acl\n", folder.display())
}

/// Writes the shipped access rules, and accounts for the gateway and its self-test.
pub fn write_rules_and_accounts(folder: &Path) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mosquitto/hearthway.acl");
    std::fs::copy(shipped, folder.join("acl")).unwrap();
    std::fs::write(folder.join("passwd"), "").unwrap();
    set_password(folder, "hearthway", GATEWAY_PASSWORD);
    set_password(folder, "acme/probe", PROBE_PASSWORD);
}

fn run(folder: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(folder.join("mosquitto.conf")).arg("-v");
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn set_password(folder: &Path, user: &str, password: &str) {
    let status = Command::new("mosquitto_passwd").arg("-b").arg(folder.join("passwd")).args([user, password]).status();
    assert!(status.unwrap().success());
}

/// Writes a configuration of the gateway for a broker and gives its path.
pub fn gateway_toml(folder: &Path, port: u16, more: &str) -> String {
    let path = folder.join("gateway.toml");
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "[broker]\nurl = \"mqtt://127.0.0.1:{port}\"\nusername = \"hearthway\"\n{more}").unwrap();
    path.to_str().unwrap().to_owned()
}

/// A message to a device.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The whole topic.
    pub topic: String,
    /// The envelope.
    pub envelope: Value,
}

/// A device behind the broker, with a session that outlives its connection. It comes back by
/// itself when the broker does.
pub struct Device {
    client: AsyncClient,
    heard: mpsc::Receiver<Heard>,
    /// `chan/v1/{maker}/{device}`.
    pub root: String,
    secret: String,
    said: u32,
    pump: tokio::task::JoinHandle<()>,
}

impl Device {
    /// Connects as `{maker}/{device}`.
    pub async fn connect(port: u16, name: &str, secret: &str) -> Device {
        let root = format!("chan/v1/{name}");
        Device::connect_as(port, name, secret, root.clone(), format!("{root}/down/#")).await
    }

    /// Connects and subscribes a filter.
    pub async fn connect_as(port: u16, user: &str, secret: &str, root: String, filter: String) -> Device {
        let mut options = MqttOptions::new(user.replace('/', "-"), "127.0.0.1", port);
        options.set_credentials(user, secret);
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(3_600));
        options.set_max_packet_size(Some(1024 * 1024));
        options.set_connection_timeout(5);
        let (client, mut events) = AsyncClient::new(options, 64);
        let (tx, heard) = mpsc::channel(HEARD_MESSAGES_MAX);
        let (own, presence) = (client.clone(), format!("{root}/presence"));
        let mut connects = 0;
        let (subscribed_in, mut subscribed) = mpsc::channel(1);
        let pump = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        own.try_subscribe(filter.as_str(), QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        connects += 1;
                        // As the contract has it, a device says at each connection that it is there.
                        if connects > 1 {
                            let birth = r#"{"state":"online"}"#;
                            own.try_publish(presence.as_str(), QoS::AtLeastOnce, false, birth).unwrap();
                        }
                        let _ = subscribed_in.try_send(());
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let envelope = serde_json::from_slice(&publish.payload).unwrap_or(Value::Null);
                        tx.try_send(Heard { topic, envelope }).unwrap();
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        tokio::time::timeout(STEP_SECONDS_MAX, subscribed.recv()).await.expect("the broker lets the device in");
        Device { client, heard, root, secret: secret.to_owned(), said: 0, pump }
    }

    /// Publishes a body in an envelope with an id of its own, which it gives.
    pub async fn say(&mut self, below: &str, body: Value) -> String {
        self.said += 1;
        let id = format!("m-{}", self.said);
        self.say_as(&id, below, &body).await;
        id
    }

    /// The same under a given id.
    pub async fn say_as(&self, id: &str, below: &str, body: &Value) {
        let payload = serde_json::json!({"v": "1.0", "id": id, "body": body}).to_string();
        self.publish(&format!("{}/{below}", self.root), payload).await;
    }

    /// Publishes any bytes at QoS 1.
    pub async fn publish(&self, topic: &str, payload: String) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    /// The next message on a topic below `down/`, whatever comes before it.
    pub async fn hear(&mut self, below: &str) -> Value {
        let topic = format!("{}/{below}", self.root);
        self.hear_that(below, |heard| heard.topic == topic).await
    }

    /// The next message that fits.
    pub async fn hear_that(&mut self, what: &str, fits: impl Fn(&Heard) -> bool) -> Value {
        let waited = tokio::time::timeout(STEP_SECONDS_MAX, async {
            loop {
                let heard = self.heard.recv().await.unwrap();
                if fits(&heard) {
                    return heard.envelope["body"].clone();
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{} waited for {what} in vain", self.root))
    }

    /// Says the same again, under the same id, until an answer comes: a broker that is killed
    /// forgets what it had acknowledged.
    pub async fn insist(&mut self, below: &str, payload: &str, answer: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let (topic, answer_topic) = (format!("{}/{below}", self.root), format!("{}/{answer}", self.root));
        let until = std::time::Instant::now() + STEP_SECONDS_MAX;
        loop {
            let _ = self.client.try_publish(topic.as_str(), QoS::AtLeastOnce, false, payload.to_owned());
            let again = tokio::time::sleep(Duration::from_millis(700));
            tokio::pin!(again);
            loop {
                tokio::select! {
                    heard = self.heard.recv() => {
                        let heard = heard.unwrap();
                        if heard.topic == answer_topic && fits(&heard.envelope["body"]) {
                            return heard.envelope["body"].clone();
                        }
                    }
                    () = &mut again => break,
                }
            }
            assert!(std::time::Instant::now() < until, "{topic}: no answer on {answer}");
        }
    }

    /// The payload of a body in an envelope, signed where the contract wants it.
    pub fn letter(&self, id: &str, seq: u32, below: &str, body: &Value) -> String {
        signed(&self.secret, &format!("{}/{below}", self.root), id, seq, body)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A payload with the contract's signature.
pub fn signed(secret: &str, topic: &str, id: &str, seq: u32, body: &Value) -> String {
    let raw = body.to_string();
    let nonce = body["nonce"].as_str().unwrap_or_default();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let text = format!("{topic}\n\n{seq}\n{nonce}\n{}", hex(&Sha256::digest(raw.as_bytes())));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let sig = hex(&mac.finalize().into_bytes());
    format!(r#"{{"v":"1.0","id":"{id}","seq":{seq},"sig":"{sig}","body":{raw}}}"#)
}

/// Where Debian keeps the dynamic security plugin.
pub fn dynamic_security_plugin() -> Option<String> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let mut paths = folders.iter().map(|folder| format!("{folder}/mosquitto_dynamic_security.so"));
    let found = paths.find(|path| Path::new(path).exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "mosquitto's plugin is missing, and CI must run this");
    if found.is_none() {
        eprintln!("SKIPPED: mosquitto is here without its dynamic security plugin");
    }
    found
}

/// Whether the broker lets a client in.
pub async fn lets_in(port: u16, user: &str, secret: &str) -> bool {
    let mut options = MqttOptions::new(format!("try-{}", user.replace('/', "-")), "127.0.0.1", port);
    options.set_credentials(user, secret);
    let (_client, mut events) = AsyncClient::new(options, 4);
    matches!(events.poll().await, Ok(Event::Incoming(Packet::ConnAck(_))))
}
