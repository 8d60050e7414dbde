//! What is fuzzed of the gateway's edges: bytes in, and what must hold whatever they are. Shared
//! by the targets of cargo-fuzz and by the test that replays the corpus.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hearthway::app::{App, BrokerAddress, Rulebook, Settings};
use hearthway::clock::{Clock, SystemClock};
use hearthway::config::{Config, file};
use hearthway::engine::{self, Engine, RefusedPayload};
use hearthway::mqtt::codec::{Decoder, Packet};
use hearthway::mqtt::limits::{CONNECT_BYTES_MAX, PACKET_BYTES_MAX};
use hearthway::store::Store;
use hearthway::store::memory::MemoryStore;
use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::DeviceKey;
use hearthway_core::time::Timestamp;

/// CONNECT of a device, without properties: 3.1.1 and 5.
const CONNECTS: [(u8, &[u8]); 2] = [
    (4, b"\x10\x1a\0\x04MQTT\x04\xc2\0\x3c\0\x04d-42\0\x04a/d4\0\x02pw"),
    (5, b"\x10\x1b\0\x04MQTT\x05\xc2\0\x3c\0\0\x04d-42\0\x04a/d4\0\x02pw"),
];

/// The first byte says what came before: 4 or 5 is a CONNECT of that version, else nothing.
pub fn packets(data: &[u8]) {
    let Some((&before, mut bytes)) = data.split_first() else { return };
    let mut decoder = Decoder::new(CONNECT_BYTES_MAX);
    if let Some((_, connect)) = CONNECTS.iter().find(|(version, _)| *version == before) {
        let read = decoder.read(connect);
        assert!(matches!(read, Ok(Some((Packet::Connect(_), used))) if used == connect.len()), "{read:?}");
        decoder.set_packet_bytes_max(PACKET_BYTES_MAX);
    }
    loop {
        match decoder.read(bytes) {
            Ok(Some((packet, used))) => {
                assert!((2..=bytes.len()).contains(&used));
                if let Packet::Publish(publish) = &packet {
                    assert!(publish.qos <= 2 && (publish.qos == 0) == (publish.id == 0));
                    assert!(!publish.topic().contains(['+', '#']));
                    let _ = publish.correlation();
                }
                bytes = &bytes[used..];
            }
            Ok(None) => break,
            Err(fault) => {
                assert!(fault.reason >= 0x80 && !fault.what.is_empty(), "{fault}");
                assert_ne!(fault.what, "the packet broke its parser", "a panic of the parser was caught");
                break;
            }
        }
    }
}

/// A configuration file.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = file::parse::<Config>(Path::new("fuzzed.toml"), text) {
        assert!(!error.to_string().is_empty());
    }
}

/// A refused payload, on its way into the quarantine.
pub fn quarantine(data: &[u8]) {
    let device: DeviceKey = "acme/d-42".parse().expect("a name");
    let refusal = Refusal::new(Code::PayloadInvalid, "").at("/body/x");
    let refused = RefusedPayload { device: &device, topic: "up/slot", refusal: &refusal, payload: data };
    let row = refused.row(Timestamp(1_774_000_000_000));
    assert!(row.excerpt.len() <= 1_100, "{}", row.excerpt.len());
    assert!(row.excerpt.is_ascii() || row.excerpt.contains('…'), "only names and kinds: {}", row.excerpt);
}

/// The calls with a body, in the order of the corpus.
const CALLS: [(&str, &str); 18] = [
    ("PUT", "/v1/makers/acme"),
    ("PUT", "/v1/retailers/shop-a"),
    ("POST", "/v1/tokens"),
    ("POST", "/v1/bootstrap-keys"),
    ("PUT", "/v1/models/th-200"),
    ("POST", "/v1/devices:bulk"),
    ("PUT", "/v1/products/flt-20x25"),
    ("PUT", "/v1/triggers/filter-worn"),
    ("POST", "/v1/triggers/filter-worn/check"),
    ("PUT", "/v1/profiles/p1"),
    ("POST", "/v1/claims/preview"),
    ("POST", "/v1/claims/confirm"),
    ("POST", "/v1/links:bulk"),
    ("PUT", "/v1/profiles/p1/consents"),
    ("POST", "/v1/offers/of_aaaaaaaaaaaaaaaaaaaaaaaa/answer"),
    ("POST", "/v1/orders/or_aaaaaaaaaaaaaaaaaaaaaaaa/status"),
    ("POST", "/broker/auth"),
    ("POST", "/v1/devices/d-7/suspend"),
];
const OPERATOR: &str = "operator-token-of-the-fuzzer";

/// An application on a loopback port, for the life of the process, and a retailer's token.
struct Stage {
    address: SocketAddr,
    shop: String,
    /// Keeps the server alive.
    _runtime: tokio::runtime::Runtime,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let address = runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let rulebook = Rulebook::open(store.clone()).expect("an empty store");
        let engine = Engine::start(engine::Settings::default(), clock, store, rulebook.clone()).expect("an engine");
        let settings = Settings {
            operator_token: Some(OPERATOR.into()),
            identity_key: [7; 32],
            secrets: Arc::new(|device: &DeviceKey, generation: u32| format!("secret of {device} {generation}")),
            broker: BrokerAddress { host: "127.0.0.1".into(), port: 1883, tls: false },
            telemetry_s: 60,
            devices_per_maker_max: 1_000,
            calls_per_second: 1_000_000,
            order_retention: hearthway_core::time::Span::days(3653),
            publish_reach_max_alone: 2,
        };
        let app = App::start(engine, rulebook, settings).await.expect("an application").app;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = hearthway::http::router(app, Arc::new(String::new));
        tokio::spawn(hearthway::http::serve(listener, router, 100, std::future::pending()));
        address
    });
    let mut stage = Stage { address, shop: String::new(), _runtime: runtime };
    for (path, body) in [
        ("/v1/makers/acme", r#"{"name":"Acme"}"#),
        ("/v1/retailers/shop-a", r#"{"name":"X","default_locale":"fr-FR","zone":"Europe/Paris"}"#),
    ] {
        stage.call("PUT", path, OPERATOR, body.as_bytes());
    }
    let (_, made) =
        stage.call("POST", "/v1/tokens", OPERATOR, br#"{"tenant":"shop-a","role":"retailer_admin","name":"f"}"#);
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    stage.shop = made["token"].as_str().expect("a token").to_owned();
    stage
});

impl Stage {
    /// Status and body of an answer.
    fn call(&self, method: &str, path: &str, token: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: fuzz\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // It may have answered before the body's end; then the answer tells.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in text");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status.expect("a status"), body.to_owned())
    }
}

/// The first byte says which call, the rest is its body.
pub fn http_body(data: &[u8]) {
    let Some((&which, body)) = data.split_first() else { return };
    let (method, path) = CALLS[usize::from(which) % CALLS.len()];
    let stage = &*STAGE;
    for token in [OPERATOR, &stage.shop] {
        let (status, answer) = stage.call(method, path, token, body);
        assert!((200..500).contains(&status), "{method} {path} → {status}: {answer}");
        if status >= 400 {
            let problem: serde_json::Value = serde_json::from_str(&answer).expect("a problem is JSON");
            assert!(problem["code"].is_string() && problem["detail"].is_string(), "{answer}");
        }
    }
}
