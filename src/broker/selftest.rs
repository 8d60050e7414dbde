//! The self-test of the broker's access rules: as one device it tries to be another.
//!
//! A refusal on paper is not believed, for brokers differ in how they refuse: some say so, some
//! stay silent, some cut the connection. What counts is what arrives. So every forbidden try is
//! followed by an allowed one over the same way, and only when that has arrived and the other has
//! not are the rules proved.

use std::time::Duration;

use hearthway_core::id::{DeviceKey, base32};
use hearthway_core::wire::topic::{device_topic, provisioning_response_topic};
use tokio::time::{Instant, timeout, timeout_at};

use super::house::{AccountsBy, Probe, Settings};
use super::line::{Dial, Fate, Happening, Heard, Letter, Line};
use super::trust::Acl;

/// The maker of the accounts that the gateway makes for its own test. Messages of its devices
/// are never looked at.
pub const PROBE_MAKER: &str = "acl-probe";
/// The device that the operator's probe tries to be.
const OTHER_DEVICE: &str = "acl-other";
/// How long one step may take.
const STEP_SECONDS_MAX: Duration = Duration::from_secs(5);
/// How long to listen on for what should not come: brokers may deliver two topics in any order.
const GRACE: Duration = Duration::from_millis(300);
/// Publishes in flight and messages on a test connection.
const WINDOW: u16 = 8;

/// Whether a device is one of the gateway's own test accounts.
pub fn is_probe(device: &DeviceKey) -> bool {
    device.maker.as_str() == PROBE_MAKER
}

/// Whether a device has the name that the operator's probe plays against.
pub fn is_other(device: &DeviceKey) -> bool {
    device.device.as_str() == OTHER_DEVICE
}

/// The account that a test of these settings logs in with; `secret` derives those of the gateway's
/// own making.
pub fn probe_of(settings: &Settings, secret: impl Fn(&DeviceKey) -> String) -> Option<Probe> {
    match settings.accounts {
        AccountsBy::Operator => settings.probe.clone(),
        AccountsBy::Dynsec | AccountsBy::HttpHook => {
            let device: DeviceKey = format!("{PROBE_MAKER}/probe").parse().ok()?;
            Some(Probe { password: secret(&device), device })
        }
    }
}

/// Runs the test. `dial` is how the gateway itself connects.
pub async fn run(probe: &Probe, dial: &Dial) -> Acl {
    match try_everything(probe, dial).await {
        Ok(found) if found.is_empty() => Acl::Proved,
        Ok(found) => Acl::Broken(found.join("; ")),
        Err(why) => Acl::Untested(why),
    }
}

async fn try_everything(probe: &Probe, dial: &Dial) -> Result<Vec<&'static str>, String> {
    let mine = &probe.device;
    let other = DeviceKey::new(mine.maker.clone(), OTHER_DEVICE.parse().map_err(|_| "no name for the other device")?);
    let nonce = base32(&std::array::from_fn::<u8, 16, _>(|_| crate::engine::entropy::draw() as u8));
    let (my_up, other_up) = (device_topic(mine, "up/doctor"), device_topic(&other, "up/doctor"));
    let (my_down, other_down) = (device_topic(mine, "down/doctor"), device_topic(&other, "down/doctor"));
    let prov_down = provisioning_response_topic(&mine.maker, &nonce);
    let as_gateway = Dial { session_seconds: None, window: WINDOW, receive_max: WINDOW, ..dial.clone() };
    let as_gateway = Dial { client_id: format!("{}-{}", dial.client_id, &nonce[..8]), ..as_gateway };
    let as_probe = |n: u8| Dial {
        client_id: format!("{}-{}-{n}", mine.device, &nonce[..8]),
        credentials: Some((mine.to_string(), probe.password.clone())),
        ..as_gateway.clone()
    };
    let mut found = Vec::new();

    let mut gateway =
        Client::connect(&as_gateway).await.map_err(|why| format!("the gateway's second connection: {why}"))?;
    for topic in [&my_up, &other_up] {
        if gateway.subscribe(topic).await != Ok(true) {
            return Err(format!("the gateway may not subscribe `{topic}`"));
        }
    }

    // Speaking as another.
    let no_login = |why| format!("the test account `{mine}` is not let in: {why}");
    let mut liar = Client::connect(&as_probe(1)).await.map_err(no_login)?;
    let _ = liar.publish(&other_up, &nonce).await; // refused, dropped or cut: all the same
    drop(liar);
    let mut device = Client::connect(&as_probe(2)).await.map_err(no_login)?;
    let _ = device.publish(&my_up, &nonce).await;
    let heard = gateway.hear_until(&my_up, &nonce).await;
    if !heard.contains(&my_up) {
        return Err(format!(
            "the test account `{mine}` cannot publish `{my_up}`, so its silence elsewhere proves nothing"
        ));
    }
    if heard.contains(&other_up) {
        found.push("a device can publish as another");
    }

    // Listening to another.
    if device.subscribe(&device_topic(mine, "down/#")).await != Ok(true) {
        return Err(format!("the test account `{mine}` may not subscribe its own `down/#`"));
    }
    let mut may_listen = true;
    for filter in [device_topic(&other, "down/#"), format!("chan/v1/{}/_prov/+/res", mine.maker)] {
        // A broker that cuts whoever asks has refused it.
        may_listen = may_listen && device.subscribe(&filter).await.is_ok();
    }
    if may_listen {
        for topic in [&other_down, &prov_down, &my_down] {
            match gateway.publish(topic, &nonce).await {
                Ok(Fate::Refused(why)) => return Err(format!("the gateway may not publish `{topic}`: {why}")),
                Ok(Fate::Taken | Fate::NobodyListens | Fate::Written) => {}
                Err(why) => return Err(format!("the gateway's second connection: {why}")),
            }
        }
        let heard = device.hear_until(&my_down, &nonce).await;
        if !heard.contains(&my_down) {
            return Err(format!(
                "the test account `{mine}` did not hear `{my_down}`, so its silence elsewhere proves nothing"
            ));
        }
        if heard.contains(&other_down) {
            found.push("a device can read what is said to another");
        }
        if heard.contains(&prov_down) {
            found.push("a device can read the secrets that others are given");
        }
    }
    Ok(found)
}

/// A connection of the test.
struct Client {
    line: Line,
    heard: Heard,
}

impl Client {
    async fn connect(dial: &Dial) -> Result<Client, String> {
        let (line, heard) = Line::open(dial);
        let mut client = Client { line, heard };
        match client.next().await? {
            Happening::Open(_) => Ok(client),
            other => Err(format!("{other:?} before the CONNACK")),
        }
    }

    /// What happens next; an end is an error.
    async fn next(&mut self) -> Result<Happening, String> {
        match timeout(STEP_SECONDS_MAX, self.heard.events.recv()).await {
            Ok(Some(Happening::Closed { why })) => Err(why),
            Ok(Some(happening)) => Ok(happening),
            Ok(None) => Err("the connection ended".to_owned()),
            Err(_) => Err(format!("no answer within {} s", STEP_SECONDS_MAX.as_secs())),
        }
    }

    async fn subscribe(&mut self, filter: &str) -> Result<bool, String> {
        self.line.subscribe(&[filter.to_owned()]).map_err(|gone| gone.to_string())?;
        loop {
            if let Happening::Subscribed(granted) = self.next().await? {
                return Ok(granted.iter().all(|granted| *granted));
            }
        }
    }

    async fn publish(&mut self, topic: &str, nonce: &str) -> Result<Fate, String> {
        let letter = Letter {
            topic: topic.to_owned(),
            payload: nonce.as_bytes().to_vec(),
            qos: 1,
            expiry_seconds: Some(60),
            user: Vec::new(),
        };
        self.line.publish(letter, 0).map_err(|gone| gone.to_string())?;
        loop {
            if let Happening::Done { fate, .. } = self.next().await? {
                return Ok(fate);
            }
        }
    }

    /// The topics on which the nonce came, until it came on the one named and a while longer.
    async fn hear_until(&mut self, fence: &str, nonce: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut until = Instant::now() + STEP_SECONDS_MAX;
        while let Ok(Some(message)) = timeout_at(until, self.heard.messages.recv()).await {
            if message.payload == nonce.as_bytes() {
                if message.topic == fence {
                    until = Instant::now() + GRACE;
                }
                heard.push(message.topic);
            }
        }
        heard
    }
}
