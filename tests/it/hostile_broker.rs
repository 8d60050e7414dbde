//! A broker that breaks every rule it can: a small TCP server of our own that speaks just enough
//! MQTT 5 to be let in, and then says what no broker should.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::mosquitto::gateway_toml;
use crate::stock_clients::load_the_sample_shop;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;

/// The server's side of one connection.
struct Peer(TcpStream);

impl Peer {
    /// The next packet: its type and body. None when the gateway went away.
    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let header = self.0.read_u8().await.ok()?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.0.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some((header >> 4, body))
    }

    async fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Lets the gateway in and grants what it subscribes.
    async fn welcome(&mut self, connack_properties: &[u8]) {
        assert_eq!(self.read().await.unwrap().0, CONNECT);
        let mut body = vec![0, 0, connack_properties.len() as u8];
        body.extend_from_slice(connack_properties);
        self.write(&packet(0x20, &body)).await;
        while let Some((kind, body)) = self.read().await {
            if kind == SUBSCRIBE {
                self.write(&packet(0x90, &[body[0], body[1], 0, 1, 1, 1, 1])).await;
                return;
            }
        }
        panic!("the gateway does not subscribe");
    }

    /// Waits until the gateway has gone away.
    async fn is_left(&mut self) -> bool {
        let reading = async { while self.read().await.is_some() {} };
        tokio::time::timeout(STEP_SECONDS_MAX, reading).await.is_ok()
    }
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![header];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// A PUBLISH; `flags` are the low four bits of its header.
fn publish(flags: u8, topic: &[u8], id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(topic);
    if flags & 0b0110 != 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.push(0);
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

const QOS1: u8 = 0b0010;
const RETAINED_QOS1: u8 = 0b0011;

/// The topic and packet id of a QoS 1 PUBLISH.
fn address_of(body: &[u8]) -> (String, [u8; 2]) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    (topic, [body[2 + length], body[3 + length]])
}

impl Peer {
    /// The packet id of the next PUBLISH on a topic.
    async fn hears(&mut self, topic: &str) -> [u8; 2] {
        let hearing = async {
            loop {
                let (kind, body) = self.read().await.expect("the gateway stays");
                if kind == PUBLISH && address_of(&body).0 == topic {
                    return address_of(&body).1;
                }
            }
        };
        let heard = tokio::time::timeout(STEP_SECONDS_MAX, hearing).await;
        heard.unwrap_or_else(|_| panic!("the gateway does not publish `{topic}`"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_broker_that_loses_or_disowns_a_message_gets_it_again_from_the_outbox() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = gateway_toml(folder.path(), listener.local_addr().unwrap().port(), "");
    let environment = [("HEARTHWAY_BROKER_PASSWORD", "anything")];
    let gateway = Gateway::serve_with(&folder.path().join("data"), Path::new(&config), &environment);
    load_the_sample_shop(&gateway).await;
    let line = format!("{}\n", json!({"maker": "acme", "device": "d-1", "model": "th-200"}));
    gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await;
    let next = async || Peer(tokio::time::timeout(STEP_SECONDS_MAX, listener.accept()).await.unwrap().unwrap().0);
    let sync = json!({"v": "1.0", "id": "m-1", "body": {"want": ["link"], "have": {"offers": []}}}).to_string();

    // In flight when the connection is lost: the device says nothing more, and it comes again.
    let mut peer = next().await;
    peer.welcome(&[]).await;
    peer.write(&publish(QOS1, b"chan/v1/acme/d-1/up/sync", 1, sync.as_bytes())).await;
    peer.hears("chan/v1/acme/d-1/down/sync").await;
    drop(peer);
    let mut peer = next().await;
    peer.welcome(&[]).await;
    let [high, low] = peer.hears("chan/v1/acme/d-1/down/sync").await;

    // Nobody listens, says the broker: then the message has not arrived, and waits for the birth.
    peer.write(&packet(0x40, &[high, low, 0x10, 0])).await;
    let birth = br#"{"state":"online"}"#;
    peer.write(&publish(QOS1, b"chan/v1/acme/d-1/presence", 2, birth)).await;
    let [high, low] = peer.hears("chan/v1/acme/d-1/down/sync").await;

    // Refused, it waits as well; taken, it is done with.
    peer.write(&packet(0x40, &[high, low, 0x87, 0])).await;
    peer.write(&publish(QOS1, b"chan/v1/acme/d-1/presence", 3, birth)).await;
    let [high, low] = peer.hears("chan/v1/acme/d-1/down/sync").await;
    assert!(rows(&gateway).await >= 1.0);
    peer.write(&packet(0x40, &[high, low, 0, 0])).await;
    let until = std::time::Instant::now() + STEP_SECONDS_MAX;
    while rows(&gateway).await > 0.0 {
        assert!(std::time::Instant::now() < until, "what the broker took stays in the outbox");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(gateway.end());
}

/// What waits in the outbox.
async fn rows(gateway: &Gateway) -> f64 {
    let (_, page) = gateway.call(OPERATOR, "GET", "/metrics", None).await;
    let page = page.as_str().unwrap().to_owned();
    page.lines().find_map(|line| line.strip_prefix("outbox_rows ")?.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_broker_disturbs_nobody_and_a_word_in_between_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = gateway_toml(folder.path(), listener.local_addr().unwrap().port(), "receive_max = 50");
    let environment = [("HEARTHWAY_BROKER_PASSWORD", "anything")];
    let gateway = Gateway::serve_with(&folder.path().join("data"), Path::new(&config), &environment);
    load_the_sample_shop(&gateway).await;
    // d-2 is the one that is flooded: the log that the test looks at reaches back 512 inputs.
    let lines = ["d-1", "d-2"].map(|name| json!({"maker": "acme", "device": name, "model": "th-200"}).to_string());
    let registered = gateway.bulk(OPERATOR, "/v1/devices:bulk", lines.join("\n")).await;
    let secret = registered[0]["secret"].as_str().unwrap().to_owned();
    let topic = b"chan/v1/acme/d-1/up/telemetry";
    let word = |id: &str| json!({"v": "1.0", "id": id, "body": {"temperature": 16.4}}).to_string();
    let next = async || Peer(tokio::time::timeout(STEP_SECONDS_MAX, listener.accept()).await.unwrap().unwrap().0);

    // Floods, foreign topics, nonsense: absorbed on one connection, every packet acknowledged.
    let mut peer = next().await;
    peer.welcome(&[]).await;
    let mut owed = 0;
    for n in 0..40u16 {
        let bytes = match n % 8 {
            0 => publish(RETAINED_QOS1, topic, n + 1, word("of-the-past").as_bytes()),
            1 => publish(QOS1, b"homeassistant/sensor/x/config", n + 1, b"{}"),
            2 => publish(QOS1, b"chan/v1/acme/d-1/down/offer", n + 1, b"{\"body\":{}}"),
            3 => publish(QOS1, b"chan/v1/acme/d-1/up/\xff\xfe", n + 1, b"{}"),
            4 => publish(QOS1, b"chan/v1/acme/nobody/up/telemetry", n + 1, b"{\"temperature\":1}"),
            5 => publish(QOS1, topic, n + 1, &[b'['; 20_000]),
            6 => publish(QOS1, b"chan/v1/acme/_prov/short/req", n + 1, b"\x00\x01"),
            _ => publish(QOS1, topic, n + 1, word(&format!("kept-{n}")).as_bytes()),
        };
        peer.write(&bytes).await;
        owed += 1;
    }
    let mut acknowledged = Vec::new();
    while acknowledged.len() < owed {
        let (kind, body) = peer.read().await.expect("the gateway stays");
        match kind {
            PUBACK => acknowledged.push(u16::from_be_bytes([body[0], body[1]])),
            PUBLISH => {} // tells devices what was wrong
            _ => {}
        }
    }
    assert_eq!(acknowledged, (1..=40).collect::<Vec<u16>>(), "in the order of arrival");
    // QoS 0 without end fills no queue that matters.
    for _ in 0..5_000 {
        peer.write(&publish(0, b"chan/v1/acme/d-2/up/telemetry", 0, b"{\"temperature\":17}")).await;
    }
    // An acknowledgement of what was never sent.
    peer.write(&packet(0x40, &[0x0f, 0xff])).await;
    assert!(peer.is_left().await);

    // Receive Maximum 0, which no broker may say; then it does not keep to ours.
    let mut peer = next().await;
    peer.read().await;
    peer.write(&packet(0x20, &[0, 0, 3, 0x21, 0, 0])).await;
    assert!(peer.is_left().await);
    let mut peer = next().await;
    peer.welcome(&[]).await;
    let mut flood = Vec::new();
    for n in 0..20_000u16 {
        flood.extend_from_slice(&publish(QOS1, b"chan/v1/acme/nobody/up/doctor", n + 1, b"{}"));
    }
    peer.write(&flood).await;
    let mut acknowledged = 0;
    while acknowledged < 20_000 {
        let (kind, _) = peer.read().await.expect("the gateway takes what it can and leaves the rest to TCP");
        acknowledged += u32::from(kind == PUBACK);
    }
    drop(peer);

    // A packet of 200 MB, announced; then bytes that are no packet at all.
    let mut peer = next().await;
    peer.welcome(&[]).await;
    peer.write(&[0x32, 0xff, 0xff, 0xff, 0x5f, 0, 1]).await;
    assert!(peer.is_left().await);
    let mut peer = next().await;
    peer.read().await;
    peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(peer.is_left().await);

    // The endpoint never noticed.
    let (host, port) = gateway.mqtt.clone();
    let mut options = rumqttc::MqttOptions::new("d-1", host, port);
    options.set_credentials("acme/d-1", secret);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 4);
    let at = std::str::from_utf8(topic).unwrap();
    client.publish(at, rumqttc::QoS::AtLeastOnce, false, word("at-the-endpoint")).await.unwrap();
    let acknowledged = async {
        while !matches!(events.poll().await.unwrap(), rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) {}
    };
    tokio::time::timeout(STEP_SECONDS_MAX, acknowledged).await.unwrap();

    // And a broker that comes to its senses is served.
    let mut peer = next().await;
    peer.welcome(&[]).await;
    peer.write(&publish(QOS1, topic, 7, word("at-last").as_bytes())).await;
    let heard = async {
        loop {
            let (kind, body) = peer.read().await.expect("the gateway stays");
            if kind == PUBACK {
                return u16::from_be_bytes([body[0], body[1]]);
            }
        }
    };
    assert_eq!(tokio::time::timeout(STEP_SECONDS_MAX, heard).await.unwrap(), 7);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let log = gateway.ask(OPERATOR, "GET", "/v1/devices/d-1/messages?last=1000", None).await;
    let ids: Vec<&str> = log["items"].as_array().unwrap().iter().filter_map(|message| message["id"].as_str()).collect();
    for id in ["kept-7", "kept-15", "kept-23", "kept-31", "kept-39", "at-the-endpoint", "at-last"] {
        assert!(ids.contains(&id), "{id} is not in the log");
    }
    assert!(!ids.contains(&"of-the-past"), "what is retained is of the past");
    assert!(gateway.end());
}
