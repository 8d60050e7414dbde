//! The session of the device contract, step by step, with clients that we did not write:
//! mosquitto_pub, mosquitto_sub, mosquitto_rr and paho, in MQTT 3.1.1 and 5.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use hearthway::pki::Pki;
use serde_json::{Value, json};

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::way::{Over, Way, serve_with_tls};

/// Messages from a client that the test has not read yet; a session has a few dozen.
const HEARD_LINES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    V311,
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Mosquitto,
    Paho,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_contract_works_with_mosquitto_3_1_1() {
    session(Kind::Mosquitto, Version::V311, Over::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_contract_works_with_mosquitto_5() {
    session(Kind::Mosquitto, Version::V5, Over::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_contract_works_with_paho_3_1_1() {
    session(Kind::Paho, Version::V311, Over::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_contract_works_with_paho_5() {
    session(Kind::Paho, Version::V5, Over::Plain).await;
}

/// Whether the clients are installed; on a user's machine a test may say why it does nothing.
pub fn may_run(kind: Kind) -> bool {
    let is_there = is_there(kind);
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "{kind:?} is not installed, and CI must run this test");
        eprintln!("SKIPPED: {kind:?} is not installed (`.ci/run` installs it)");
    }
    is_there
}

/// Plays the whole session of the contract.
pub async fn session(kind: Kind, version: Version, over: Over) {
    if !may_run(kind) {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let pki = Pki::at(&data.path().join("pki"));
    let gateway =
        if over == Over::Plain { Gateway::serve(data.path()) } else { serve_with_tls(data.path(), &pki, over) };
    let way = Way::to(&gateway, over, &pki);

    // ops → tenants, models, tokens, keys; shop → products, triggers
    let shop = load_the_sample_shop(&gateway).await;
    let bootstrap = gateway.ask(OPERATOR, "POST", "/v1/bootstrap-keys", Some(&json!({"maker": "acme"}))).await;
    assert_eq!(bootstrap["username"], "acme/_bootstrap");

    // dev → _prov/req, gw → _prov/res
    let secret = bootstrap["secret"].as_str().unwrap();
    let credential = provision(kind, version, &way, secret);
    let name = credential["device"].as_str().unwrap().to_owned();
    assert_eq!(credential["username"], format!("acme/{name}"));
    let is_secure = !matches!(over, Over::Plain | Over::WebSocket);
    let told = if is_secure { gateway.mqtts.unwrap() } else { gateway.mqtt.1 };
    assert_eq!((&credential["broker"]["port"], &credential["broker"]["tls"]), (&json!(told), &json!(is_secure)));

    // dev → presence, desc, sync; gw → sync
    let secret = credential["secret"].as_str().unwrap();
    let (way, secret) = match over {
        Over::Certificate => (way.with_certificate(&pki, &name), ""),
        Over::Plain | Over::Tls | Over::WebSocket | Over::WebSocketTls => (way, secret),
    };
    let mut device = Device::connect(kind, version, &way, &name, secret);
    device.say("presence", json!({"state": "online", "epoch": 1, "fw": "2.1.0"}));
    device.say(
        "desc",
        json!({
            "model": "th-200", "kind": "thermostat",
            "telemetry": {"temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80}},
            "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
            "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
            "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok", "later"],
        }),
    );
    device.say("up/sync", json!({"want": ["time", "link", "offers"], "have": {"offers": []}}));
    let sync = device.hear("down/sync");
    assert_eq!(sync["link"]["state"], "none");
    assert_eq!(sync["offers"], json!([]));

    // dev → claim; shop → preview, confirm; gw → linked
    device.say("up/claim", json!({"op": "start", "presence": true, "show": "code"}));
    let code = device.hear("down/claim")["code"].clone();
    let preview = gateway.ask(&shop, "POST", "/v1/claims/preview", Some(&json!({"code": code}))).await;
    assert_eq!((&preview["device"], &preview["model"]), (&json!(name), &json!("th-200")));
    let confirm = json!({
        "code": code, "profile": "p1", "display_name": "Maison", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"},
                     {"purpose": "replenish.device", "granted": true, "text_id": "t1"}],
    });
    let (status, link) = gateway.call(&shop, "POST", "/v1/claims/confirm", Some(&confirm)).await;
    assert_eq!(status, 201, "{link}");
    let household = link["household"].as_str().unwrap().to_owned();
    let linked = device.hear("down/claim");
    assert_eq!((&linked["op"], &linked["display_name"]), (&json!("linked"), &json!("Maison")));

    // dev → slot 590 (no edge), slot 612; gw → offer
    let slot = |used: u32| json!({"slot": "air_filter", "kind": "usage", "used": used, "capacity": 720, "unit": "h"});
    device.say("up/slot", slot(590));
    device.say("up/slot", slot(612));
    let put = device.hear("down/offer");
    assert_eq!(put["op"], "put");
    let offer = &put["offer"];
    assert_eq!((&offer["rev"], &offer["placement"]), (&json!(1), &json!("home.card")));
    assert_eq!(offer["item"]["product"], "flt-20x25");
    assert_eq!(offer["price"]["total"], json!({"minor": 1990, "currency": "EUR"}));
    let id = offer["id"].as_str().unwrap().to_owned();

    // dev → receipts, answer; gw → order
    device.say("up/offer/receipt", json!({"offer": id, "rev": 1, "state": "delivered"}));
    device.say("up/offer/receipt", json!({"offer": id, "rev": 1, "state": "shown"}));
    let choice = json!({"qty": 1, "fulfil": "deliver"});
    device.say("up/offer/answer", json!({"offer": id, "rev": 1, "answer": "accept", "nonce": "n-1", "choice": choice}));
    let order = device.hear("down/order");
    assert_eq!((&order["state"], &order["rev"]), (&json!("submitted"), &json!(1)));
    let order = order["order"].as_str().unwrap().to_owned();

    // shop → explain, orders, status; gw → order
    let why = gateway.ask(&shop, "GET", &format!("/v1/explain?household={household}&trigger=filter-worn"), None).await;
    assert_eq!(why["verdict"], "sent", "{why}");
    let steps: Vec<&str> = why["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
    for step in ["consent", "caps", "offer", "placement", "send"] {
        assert!(steps.contains(&step), "the explanation lacks `{step}`: {steps:?}");
    }
    let open = gateway.ask(&shop, "GET", "/v1/orders?state=submitted", None).await;
    assert_eq!(open["items"].as_array().unwrap().len(), 1, "{open}");
    for (rev, state) in [(2, "shipped"), (3, "delivered")] {
        let status = json!({"rev": rev, "state": state, "eta": "2026-12-01"});
        gateway.ask(&shop, "POST", &format!("/v1/orders/{order}/status"), Some(&status)).await;
        let told = device.hear("down/order");
        assert_eq!((&told["state"], &told["rev"]), (&json!(state), &json!(rev)));
    }

    // shop → release; gw → wipe; dev → wiped; gw → released
    gateway.ask(&shop, "POST", &format!("/v1/devices/{name}/release"), Some(&json!({}))).await;
    assert_eq!(device.hear("down/lifecycle")["op"], "wipe");
    device.say("up/lifecycle", json!({"op": "wiped"}));
    let released = device.hear("down/lifecycle");
    assert_eq!(released["op"], "released");
    assert!(released["receipt"].is_string(), "{released}");

    drop(device);
    assert!(gateway.end(), "the gateway ends by itself, and in order, when it is asked to");
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

fn is_there(kind: Kind) -> bool {
    let (program, arguments) = match kind {
        Kind::Mosquitto => ("mosquitto_rr", &["--version"][..]),
        Kind::Paho => ("python3", &["-c", "import paho.mqtt.client as c; c.CallbackAPIVersion.VERSION2"][..]),
    };
    let found = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // mosquitto's clients answer `--version` with 1.
    found.is_ok_and(|status| kind == Kind::Mosquitto || status.success())
}

/// Asks for a credential with the maker's bootstrap secret and gives the answer's body.
fn provision(kind: Kind, version: Version, way: &Way, secret: &str) -> Value {
    let nonce = "nonce-of-the-first-device";
    let (request, answer) = (format!("chan/v1/acme/_prov/{nonce}/req"), format!("chan/v1/acme/_prov/{nonce}/res"));
    let body = json!({"serial": "TH-0001", "model": "th-200", "hw": "b", "fw": "2.1.0", "proof": null});
    let message = json!({"v": "1.0", "id": "p-1", "body": body}).to_string();
    let text = match kind {
        Kind::Mosquitto => {
            let output = mosquitto("mosquitto_rr", version, way, "acme/_bootstrap", secret)
                .args(["-q", "1", "-W", "20", "-t", &request, "-e", &answer, "-m", &message])
                .output()
                .unwrap();
            assert!(output.status.success(), "mosquitto_rr: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }
        Kind::Paho => {
            let mut line = Line::paho(version, way, ("prov-1", "acme/_bootstrap", secret), &answer);
            line.publish(&request, &message);
            line.next(&answer)
        }
    };
    let envelope: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(envelope["v"], "1.0");
    envelope["body"].clone()
}

/// Without a secret the certificate says who it is.
fn mosquitto(program: &str, version: Version, way: &Way, user: &str, secret: &str) -> Command {
    // Into a pipe, mosquitto's clients keep what they say until there is a block of it.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program, "-V", if version == Version::V5 { "mqttv5" } else { "mqttv311" }]);
    command.args(way.options());
    if !secret.is_empty() {
        command.args(["-u", user, "-P", secret]);
    }
    command
}

/// A device made of a stock client.
struct Device {
    kind: Kind,
    version: Version,
    way: Way,
    root: String,
    name: String,
    secret: String,
    line: Line,
    said: u32,
}

impl Device {
    fn connect(kind: Kind, version: Version, way: &Way, name: &str, secret: &str) -> Device {
        let root = format!("chan/v1/acme/{name}");
        let down = format!("{root}/down/#");
        let user = format!("acme/{name}");
        let line = match kind {
            Kind::Mosquitto => Line::mosquitto(version, way, (name, &user, secret), &down),
            Kind::Paho => Line::paho(version, way, (name, &user, secret), &down),
        };
        let (name, secret) = (name.to_owned(), secret.to_owned());
        Device { kind, version, way: way.clone(), root, name, secret, line, said: 0 }
    }

    /// Publishes a body in an envelope with an id of its own and waits for the acknowledgement.
    fn say(&mut self, topic: &str, body: Value) {
        self.said += 1;
        let topic = format!("{}/{topic}", self.root);
        let message = json!({"v": "1.0", "id": format!("m-{}", self.said), "body": body}).to_string();
        match self.kind {
            Kind::Paho => self.line.publish(&topic, &message),
            Kind::Mosquitto => {
                let user = format!("acme/{}", self.name);
                let mut command = mosquitto("mosquitto_pub", self.version, &self.way, &user, &self.secret);
                let status = command.args(["-q", "1", "-t", &topic, "-m", &message]).status().unwrap();
                assert!(status.success(), "mosquitto_pub {topic}: {status}");
            }
        }
    }

    /// Waits for the next message on a topic and gives its body. What comes on other topics
    /// before it must not be an error.
    fn hear(&mut self, topic: &str) -> Value {
        let text = self.line.next(&format!("{}/{topic}", self.root));
        let envelope: Value = serde_json::from_str(&text).unwrap();
        assert!(envelope["id"].is_string() && envelope["t"].is_i64(), "the envelope of {envelope}");
        envelope["body"].clone()
    }
}

/// A child process that subscribes, and what it printed.
struct Line {
    child: Child,
    speak: Option<ChildStdin>,
    heard: mpsc::Receiver<String>,
    kept: VecDeque<String>,
}

impl Line {
    fn mosquitto(version: Version, way: &Way, who: (&str, &str, &str), topic: &str) -> Line {
        let (client_id, user, secret) = who;
        let mut command = mosquitto("mosquitto_sub", version, way, user, secret);
        command.args(["-i", client_id, "-q", "1", "-t", topic, "-d", "-F", "down\t%t\t%p"]);
        let mut line = Line::of(command);
        line.wait_for("its subscription", |said| said.starts_with("Subscribed"));
        line
    }

    fn paho(version: Version, way: &Way, who: (&str, &str, &str), topic: &str) -> Line {
        let (client_id, user, secret) = who;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/paho_device.py");
        let version = if version == Version::V5 { "5" } else { "3" };
        let mut command = Command::new("python3");
        command.arg(script).args([version, &way.host, &way.port.to_string(), client_id, user, secret, topic]);
        command.args(way.words());
        let mut line = Line::of(command);
        line.wait_for("its subscription", |said| said == "up");
        line
    }

    fn of(mut command: Command) -> Line {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tx, heard) = mpsc::sync_channel(HEARD_LINES_MAX);
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    break;
                }
            }
        });
        let speak = child.stdin.take();
        Line { child, speak, heard, kept: VecDeque::new() }
    }

    /// Publishes and waits for the acknowledgement; what else comes meanwhile is kept.
    fn publish(&mut self, topic: &str, message: &str) {
        writeln!(self.speak.as_mut().unwrap(), "{topic}\t{message}").unwrap();
        loop {
            let said = self.read("an acknowledgement");
            if said == "ack" {
                return;
            }
            self.kept.push_back(said);
        }
    }

    fn next(&mut self, topic: &str) -> String {
        let wanted = format!("down\t{topic}\t");
        let said = self.wait_for(topic, |said| {
            assert!(!said.contains("/down/error\t"), "refused while waiting for {topic}: {said}");
            said.starts_with(&wanted)
        });
        said[wanted.len()..].to_owned()
    }

    fn wait_for(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        loop {
            let said = self.kept.pop_front().unwrap_or_else(|| self.read(what));
            if is_it(&said) {
                return said;
            }
        }
    }

    fn read(&self, what: &str) -> String {
        let said = self.heard.recv_timeout(STEP_SECONDS_MAX);
        let said = said.unwrap_or_else(|_| panic!("waited for {what} in vain"));
        assert!(!said.starts_with("refused"), "while waiting for {what}: {said}");
        said
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
