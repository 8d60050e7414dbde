//! Clients that we did not write, each driven through one small door: connect and subscribe,
//! publish and wait for the acknowledgement, hear. What is said with them is `contract_session.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use device_sim::link::{Dial, Heard, Link, Protocol};
use device_sim::relay::Relay;
use serde_json::json;
use tokio::sync::mpsc;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::way::Way;

/// Events of a client that the test has not read yet; a session has a few dozen.
const EVENTS_MAX: usize = 1_024;
/// Publishes of rumqttc under way: each is waited for.
const WINDOW: u16 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    V311,
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Version::V5 { "5" } else { "3.1.1" })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `mosquitto_sub`, `mosquitto_pub`, `mosquitto_rr`.
    Mosquitto,
    /// paho-mqtt, Python.
    Paho,
    /// MQTT.js, Node.
    MqttJs,
    /// rumqttc, Rust; the way `device-sim` uses it.
    Rumqttc,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Mosquitto, Kind::Paho, Kind::MqttJs, Kind::Rumqttc];

    /// Whether it can put MQTT into WebSocket frames; rumqttc is built without.
    pub fn speaks_websocket(self) -> bool {
        matches!(self, Kind::Paho | Kind::MqttJs)
    }

    fn is_there(self) -> bool {
        let (program, arguments) = match self {
            Kind::Mosquitto => ("mosquitto_rr", &["--version"][..]),
            Kind::Paho => ("python3", &["-c", "import paho.mqtt.client as c; c.CallbackAPIVersion.VERSION2"][..]),
            Kind::MqttJs => ("node", &["-e", "require('mqtt').connect"][..]),
            Kind::Rumqttc => return true,
        };
        let mut command = Command::new(program);
        command.args(arguments).env("NODE_PATH", node_path());
        let found = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        // mosquitto's clients answer `--version` with 1.
        found.is_ok_and(|status| self == Kind::Mosquitto || status.success())
    }
}

/// Whether the clients are installed; on a user's machine a test may say why it does nothing.
pub fn may_run(kind: Kind) -> bool {
    let is_there = kind.is_there();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "{kind:?} is not installed, and CI must run this test");
        eprintln!("SKIPPED: {kind:?} is not installed (`.ci/run` installs it)");
    }
    is_there
}

/// Where `.ci/run` puts MQTT.js, before whatever else Node searches.
fn node_path() -> String {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci-node/node_modules");
    format!("{}:{}", ours.display(), std::env::var("NODE_PATH").unwrap_or_default())
}

/// Makes the calls of the sample shop as its tenants would, and gives the shop's token.
pub async fn load_the_sample_shop(gateway: &Gateway) -> String {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let calls = hearthway::config::samples::load(&config).unwrap();
    let (of_the_operator, of_the_shop): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.retailer.is_none());
    for call in of_the_operator {
        gateway.ask(OPERATOR, call.method, &call.path, Some(&call.body)).await;
    }
    let asked = json!({"tenant": "shop-a", "role": "retailer_admin", "name": "ci"});
    let token = gateway.ask(OPERATOR, "POST", "/v1/tokens", Some(&asked)).await["token"].as_str().unwrap().to_owned();
    for call in of_the_shop {
        gateway.ask(&token, call.method, &call.path, Some(&call.body)).await;
    }
    token
}

/// Which client in which version of MQTT, by which way.
#[derive(Clone)]
pub struct Client {
    pub kind: Kind,
    pub version: Version,
    pub way: Way,
}

/// Who connects. Without a secret its certificate says who it is.
pub struct Account<'a> {
    pub client_id: &'a str,
    pub user: &'a str,
    pub secret: &'a str,
}

impl Client {
    /// Connects and subscribes.
    pub async fn connect(&self, account: Account<'_>, filter: &str) -> Line {
        let mut line = match self.kind {
            Kind::Mosquitto => self.mosquitto_line(&account, filter),
            Kind::Paho => self.scripted_line("python3", "tests/it/paho_device.py", &account, filter),
            Kind::MqttJs => self.scripted_line("node", "tests/it/mqttjs_device.js", &account, filter),
            Kind::Rumqttc => self.rumqttc_line(&account, filter).await,
        };
        line.wait_for("its subscription", |event| matches!(event, Event::Up)).await;
        line
    }

    /// Publishes one message and gives the first that comes on another topic, over one connection.
    pub async fn ask(&self, account: Account<'_>, topic: &str, message: &str, answer: &str) -> String {
        if self.kind != Kind::Mosquitto {
            let mut line = self.connect(account, answer).await;
            line.publish(topic, message).await;
            return line.next(answer).await;
        }
        let mut command = self.mosquitto("mosquitto_rr", account.user, account.secret);
        command.args(["-q", "1", "-W", "20", "-t", topic, "-e", answer, "-m", message]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "mosquitto_rr: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn mosquitto(&self, program: &str, user: &str, secret: &str) -> Command {
        // Into a pipe, mosquitto's clients keep what they say until there is a block of it.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-V", if self.version == Version::V5 { "mqttv5" } else { "mqttv311" }]);
        command.args(self.way.options());
        if !secret.is_empty() {
            command.args(["-u", user, "-P", secret]);
        }
        command
    }

    fn mosquitto_line(&self, account: &Account<'_>, filter: &str) -> Line {
        let mut command = self.mosquitto("mosquitto_sub", account.user, account.secret);
        command.args(["-i", account.client_id, "-q", "1", "-t", filter, "-d", "-F", "down\t%t\t%p"]);
        let (child, _, heard) = started(command);
        let (user, secret) = (account.user.to_owned(), account.secret.to_owned());
        Line::new(Speaker::Mosquitto { client: self.clone(), user, secret, _child: child }, heard)
    }

    fn scripted_line(&self, program: &str, script: &str, account: &Account<'_>, filter: &str) -> Line {
        let mut command = Command::new(program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).env("NODE_PATH", node_path());
        command.arg(if self.version == Version::V5 { "5" } else { "3" });
        command.args([&self.way.host, &self.way.port.to_string()]);
        command.args([account.client_id, account.user, account.secret, filter]).args(self.way.words());
        let (child, stdin, heard) = started(command);
        Line::new(Speaker::Script { stdin, _child: child }, heard)
    }

    async fn rumqttc_line(&self, account: &Account<'_>, filter: &str) -> Line {
        let relay = self.way.relay();
        let dial = Dial {
            host: relay.as_ref().map_or_else(|| self.way.host.clone(), |relay| relay.path().display().to_string()),
            port: self.way.port,
            protocol: if self.version == Version::V5 { Protocol::V5 } else { Protocol::V3 },
            client_id: account.client_id.to_owned(),
            username: account.user.to_owned(),
            password: account.secret.to_owned(),
            will: None,
            clean: true,
            window: WINDOW,
        };
        let (mut link, mut heard) = Link::open(dial);
        link.subscribe(filter).unwrap();
        let (to, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(async move {
            while let Some(heard) = heard.recv().await {
                let event = match heard {
                    Heard::Open => continue,
                    Heard::Subscribed { granted: true } => Event::Up,
                    Heard::Subscribed { granted: false } => Event::Refused("the subscription".to_owned()),
                    Heard::Acked { refused: None, .. } => Event::Acknowledged,
                    Heard::Acked { refused: Some(why), .. } | Heard::Closed { why } => Event::Refused(why),
                    Heard::Message { topic, payload } => {
                        Event::Down { topic, payload: String::from_utf8(payload).unwrap() }
                    }
                };
                if to.send(event).await.is_err() {
                    return;
                }
            }
        });
        Line::new(Speaker::Rumqttc { link, said: 0, _relay: relay }, events)
    }
}

/// What a client tells the test.
#[derive(Debug)]
enum Event {
    /// Connected and subscribed.
    Up,
    /// A publish was acknowledged.
    Acknowledged,
    Down {
        topic: String,
        payload: String,
    },
    /// The connection, a subscription or a publish was refused.
    Refused(String),
}

impl Event {
    /// What a client printed; mosquitto's say more than is asked of them.
    fn read(line: &str) -> Option<Event> {
        let mut words = line.splitn(3, '\t');
        match (words.next()?, words.next(), words.next()) {
            ("up", ..) => Some(Event::Up),
            ("ack", ..) => Some(Event::Acknowledged),
            ("refused", ..) => Some(Event::Refused(line.to_owned())),
            ("down", Some(topic), Some(payload)) => {
                Some(Event::Down { topic: topic.to_owned(), payload: payload.to_owned() })
            }
            (other, ..) => other.starts_with("Subscribed").then_some(Event::Up),
        }
    }
}

/// A child process that is killed when nobody needs it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(mut command: Command) -> (Running, ChildStdin, mpsc::Receiver<Event>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (to, events) = mpsc::channel(EVENTS_MAX);
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let events = BufReader::new(stdout).lines().map_while(Result::ok).filter_map(|line| Event::read(&line));
        for event in events {
            if to.blocking_send(event).is_err() {
                break;
            }
        }
    });
    (Running(child), stdin, events)
}

/// How a client is told to publish.
enum Speaker {
    /// Each publish is a program of its own, on a side connection.
    Mosquitto {
        client: Client,
        user: String,
        secret: String,
        _child: Running,
    },
    Script {
        stdin: ChildStdin,
        _child: Running,
    },
    Rumqttc {
        link: Link,
        said: u64,
        _relay: Option<Relay>,
    },
}

/// A client that is connected.
pub struct Line {
    speaker: Speaker,
    heard: mpsc::Receiver<Event>,
    kept: VecDeque<Event>,
}

impl Line {
    fn new(speaker: Speaker, heard: mpsc::Receiver<Event>) -> Line {
        Line { speaker, heard, kept: VecDeque::new() }
    }

    /// Publishes and waits for the acknowledgement; what else comes meanwhile is kept.
    pub async fn publish(&mut self, topic: &str, message: &str) {
        match &mut self.speaker {
            Speaker::Mosquitto { client, user, secret, .. } => {
                let mut command = client.mosquitto("mosquitto_pub", user, secret);
                command.args(["-q", "1", "-t", topic, "-m", message]);
                let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
                assert!(status.success(), "mosquitto_pub {topic}: {status}");
                return;
            }
            Speaker::Script { stdin, .. } => writeln!(stdin, "{topic}\t{message}").unwrap(),
            Speaker::Rumqttc { link, said, .. } => {
                *said += 1;
                link.publish(topic, message.as_bytes().to_vec(), *said).unwrap();
            }
        }
        loop {
            match self.read("an acknowledgement").await {
                Event::Acknowledged => return,
                other => self.kept.push_back(other),
            }
        }
    }

    /// Waits for the next message on a topic. What comes on other topics before it must not be an error.
    pub async fn next(&mut self, wanted: &str) -> String {
        let event = self.wait_for(wanted, |event| {
            let Event::Down { topic, payload } = event else { return false };
            let is_error = topic.ends_with("/down/error") && topic != wanted;
            assert!(!is_error, "refused while waiting for {wanted}: {payload}");
            topic == wanted
        });
        match event.await {
            Event::Down { payload, .. } => payload,
            other => panic!("{other:?}"),
        }
    }

    async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = match self.kept.pop_front() {
                Some(event) => event,
                None => self.read(what).await,
            };
            if is_it(&event) {
                return event;
            }
        }
    }

    async fn read(&mut self, what: &str) -> Event {
        match tokio::time::timeout(STEP_SECONDS_MAX, self.heard.recv()).await {
            Ok(Some(Event::Refused(why))) => panic!("while waiting for {what}: {why}"),
            Ok(Some(event)) => event,
            Ok(None) => panic!("the client ended while the test waited for {what}"),
            Err(_) => panic!("waited for {what} in vain"),
        }
    }
}
