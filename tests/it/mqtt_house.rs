//! An endpoint on a free port with a stand-in for the engine, and a client that speaks bytes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearthway::engine::{Delivery, Link, Outcome, RefusedPayload, Repeat, Target, Waiter};
use hearthway::mqtt::credentials::MasterKey;
use hearthway::mqtt::house::Later;
use hearthway::mqtt::login::Door;
use hearthway::mqtt::{Endpoint, EndpointError, Intake, IssuedSecrets, Known, Provisioner, Settings};
use hearthway_core::code::{Code, Refusal};
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, MakerId};
use hearthway_core::input::Input;
use hearthway_core::time::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(10);
/// Long enough that what should not come would have come.
pub const A_WHILE: Duration = Duration::from_millis(150);
const SEEN_MAX: usize = 10_000;
pub const NONCE: &str = "0123456789abcdefABCDE_-";

/// What the engine's stand-in saw.
pub enum Seen {
    Input(Box<Input>, Repeat, Waiter),
    Delivered(u64),
    Reachable,
    ReachableMaker,
}

pub struct Stand {
    devices: Mutex<BTreeMap<DeviceKey, Known>>,
    seen: mpsc::Sender<Seen>,
    /// Every commit is durable at once.
    at_once: AtomicBool,
}

impl Stand {
    pub fn set(&self, device: &DeviceKey, known: Known) {
        self.devices.lock().unwrap().insert(device.clone(), known);
    }
    fn saw(&self, seen: Seen) {
        assert!(self.seen.try_send(seen).is_ok(), "tests look at what they cause");
    }
}

impl Intake for Stand {
    fn submit(&self, _to: Target, input: Input, repeat: Repeat, waiter: Waiter) -> Later<'_, ()> {
        let waiter = if self.at_once.load(Ordering::Relaxed) {
            settle(waiter, Outcome::Committed(Ok(Reply::Done)));
            Waiter::None
        } else {
            waiter
        };
        self.saw(Seen::Input(Box::new(input), repeat, waiter));
        Box::pin(async {})
    }
    fn known(&self, device: &DeviceKey) -> Option<Known> {
        self.devices.lock().unwrap().get(device).copied()
    }
    fn delivered(&self, _device: &DeviceKey, n: u64) {
        self.saw(Seen::Delivered(n));
    }
    fn reachable(&self, _device: &DeviceKey) {
        self.saw(Seen::Reachable);
    }
    fn reachable_maker(&self, _maker: &MakerId) {
        self.saw(Seen::ReachableMaker);
    }
    fn quarantine(&self, _: &RefusedPayload<'_>) {}
    fn now(&self) -> Timestamp {
        Timestamp(1_774_000_000_000)
    }
}

pub fn settle(waiter: Waiter, outcome: Outcome) {
    match waiter {
        Waiter::None => {}
        Waiter::Ack(told) => told(outcome),
        Waiter::Caller(_) => panic!("the endpoint never waits as a caller"),
    }
}

struct Issued;
impl IssuedSecrets for Issued {
    fn is_bootstrap_secret(&self, maker: &MakerId, secret: &[u8]) -> bool {
        maker.as_str() == "acme" && secret == b"boot"
    }
    fn is_bridge_secret(&self, maker: &MakerId, secret: &[u8]) -> bool {
        maker.as_str() == "acme" && secret == b"bridge"
    }
}

struct Answers;
impl Provisioner for Answers {
    fn provision<'a>(&'a self, maker: &'a MakerId, nonce: &'a str, payload: &'a [u8], _: bool) -> Later<'a, Vec<u8>> {
        Box::pin(async move { format!("{maker} {nonce} {}", payload.len()).into_bytes() })
    }
}

/// An endpoint that runs.
pub struct House {
    pub endpoint: Endpoint,
    pub address: SocketAddr,
    pub link: Arc<dyn Link>,
    pub stand: Arc<Stand>,
    pub secret: String,
    pub device: DeviceKey,
    seen: mpsc::Receiver<Seen>,
}

impl House {
    pub async fn open() -> House {
        House::open_with(|_| {}).await
    }
    pub async fn open_with(change: impl FnOnce(&mut Settings)) -> House {
        House::try_open_with(change).await.unwrap()
    }
    pub async fn try_open_with(change: impl FnOnce(&mut Settings)) -> Result<House, EndpointError> {
        let (sender, seen) = mpsc::channel(SEEN_MAX);
        let stand = Arc::new(Stand { devices: Mutex::default(), seen: sender, at_once: AtomicBool::new(false) });
        let device: DeviceKey = "acme/d-42".parse().unwrap();
        stand.set(&device, Known { generation: 1, credential_used: true, suspended: false });
        let master = Arc::new(MasterKey::new([7; 32]));
        let secret = master.device_secret(&device, 1);
        let door = Arc::new(Door::new(master, stand.clone(), Arc::new(Issued)));
        let mut settings = Settings { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Settings::default() };
        change(&mut settings);
        let endpoint = Endpoint::bind(settings, stand.clone(), door, Arc::new(Answers)).await?;
        let running = endpoint.clone();
        tokio::spawn(async move { running.run().await });
        let (address, link) = (endpoint.local_addr(), endpoint.link());
        Ok(House { endpoint, address, link, stand, secret, device, seen })
    }
    /// From here on every commit is durable at once.
    pub fn commit_at_once(&self) {
        self.stand.at_once.store(true, Ordering::Relaxed);
    }
    pub async fn seen(&mut self) -> Seen {
        timeout(SOON, self.seen.recv()).await.expect("something reaches the engine").unwrap()
    }
    pub async fn input(&mut self) -> (Input, Repeat, Waiter) {
        loop {
            if let Seen::Input(input, repeat, waiter) = self.seen().await {
                return (*input, repeat, waiter);
            }
        }
    }
    pub async fn nothing_comes(&mut self) {
        let seen = timeout(A_WHILE, self.seen.recv()).await;
        assert!(!matches!(seen, Ok(Some(Seen::Input(..)))), "nothing should have reached the engine");
    }
    pub async fn delivered(&mut self) -> u64 {
        loop {
            if let Seen::Delivered(n) = self.seen().await {
                return n;
            }
        }
    }
    pub async fn reachable(&mut self) {
        while !matches!(self.seen().await, Seen::Reachable | Seen::ReachableMaker) {}
    }
    pub async fn raw(&self) -> Raw {
        Raw { stream: TcpStream::connect(self.address).await.unwrap() }
    }
    /// A client of the device that is in.
    pub async fn client(&self, version: u8, client_id: &str) -> Raw {
        self.client_as(&Hello { version, client_id, ..self.hello() }).await
    }
    pub async fn client_as(&self, hello: &Hello<'_>) -> Raw {
        let mut raw = self.raw().await;
        raw.send(&hello.bytes()).await;
        let (kind, body) = raw.packet().await;
        assert_eq!((kind, body[1]), (0x20, 0), "CONNACK of an accepted CONNECT: {body:?}");
        raw
    }
    pub fn hello(&self) -> Hello<'_> {
        Hello {
            version: 4,
            client_id: "d-42",
            username: "acme/d-42",
            password: &self.secret,
            clean: true,
            keep_alive: 60,
            properties: &[],
            will: None,
        }
    }
    pub fn deliver(&self, n: u64) -> bool {
        self.link.deliver(Delivery {
            n,
            device: self.device.clone(),
            topic: "down/offer".into(),
            payload: Arc::from(format!("offer {n}").into_bytes()),
            qos: 1,
            expires_at: Some(Timestamp(1_774_000_090_000)),
            trace: "de_1".into(),
        })
    }
}

pub fn durable(waiter: Waiter) {
    settle(waiter, Outcome::Committed(Ok(Reply::Done)));
}
pub fn failed(waiter: Waiter) {
    settle(waiter, Outcome::Failed(Refusal::new(Code::InternalRetry, "the disk is full")));
}

/// A CONNECT.
#[derive(Clone, Copy)]
pub struct Hello<'a> {
    pub version: u8,
    pub client_id: &'a str,
    pub username: &'a str,
    pub password: &'a str,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: &'a [u8],
    /// Topic, payload and, in version 5, properties.
    pub will: Option<(&'a str, &'a str, &'a [u8])>,
}

impl Hello<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = b"\0\x04MQTT".to_vec();
        let flags = 0xc0 | u8::from(self.clean) << 1 | if self.will.is_some() { 0x0c } else { 0 };
        body.extend([self.version, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == 5 {
            body.push(self.properties.len() as u8);
            body.extend(self.properties);
        }
        text(&mut body, self.client_id);
        if let Some((topic, payload, properties)) = self.will {
            if self.version == 5 {
                body.push(properties.len() as u8);
                body.extend(properties);
            }
            text(&mut body, topic);
            text(&mut body, payload);
        }
        text(&mut body, self.username);
        text(&mut body, self.password);
        framed(0x10, &body)
    }
}

pub fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}

pub fn framed(header: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![header];
    let mut rest = body.len();
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        bytes.push(if rest > 0 { byte | 0x80 } else { byte });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub fn publish(version: u8, flags: u8, topic: &str, id: u16, payload: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    if flags & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    if version == 5 {
        body.push(0);
    }
    body.extend(payload.as_bytes());
    framed(0x30 | flags, &body)
}

pub fn subscribe(version: u8, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    for (filter, qos) in filters {
        text(&mut body, filter);
        body.push(*qos);
    }
    framed(0x82, &body)
}

pub const TELEMETRY: &str = "chan/v1/acme/d-42/up/telemetry";
pub const DOWN: &str = "chan/v1/acme/d-42/down/#";
pub const SAMPLE: &str = r#"{"temperature":16.4}"#;

/// A client that speaks bytes, over a plain socket or anything else.
pub struct Raw<S = TcpStream> {
    pub stream: S,
}

/// A PUBLISH as it came down.
#[derive(Debug, PartialEq, Eq)]
pub struct CameDown {
    pub topic: String,
    pub qos: u8,
    pub dup: bool,
    pub id: u16,
    pub properties: Vec<u8>,
    pub payload: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        // The endpoint may have cut the connection already: then the next look tells.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }
    pub async fn packet(&mut self) -> (u8, Vec<u8>) {
        timeout(SOON, self.read_packet()).await.expect("a packet comes").expect("the connection is open")
    }
    pub async fn read_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let header = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((header, body))
    }
    pub async fn came_down(&mut self, version: u8) -> CameDown {
        let (header, body) = self.packet().await;
        assert_eq!(header & 0xf0, 0x30, "a PUBLISH, not {header:#x} {body:?}");
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let qos = header >> 1 & 3;
        let mut rest = &body[topic_end..];
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        let mut properties = Vec::new();
        if version == 5 {
            let length = usize::from(rest[0]);
            properties = rest[1..=length].to_vec();
            rest = &rest[1 + length..];
        }
        let topic = String::from_utf8(body[2..topic_end].to_vec()).unwrap();
        CameDown { topic, qos, dup: header & 8 != 0, id, properties, payload: rest.to_vec() }
    }
    pub async fn silence(&mut self) {
        assert!(timeout(A_WHILE, self.stream.read_u8()).await.is_err(), "nothing should come");
    }
    /// The connection ends, whatever is said before.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("the connection ends");
    }
    /// The connection ends with a v5 DISCONNECT.
    pub async fn closed_with(&mut self, reason: u8) {
        let (kind, body) = self.packet().await;
        assert_eq!((kind, body[0]), (0xe0, reason), "DISCONNECT: {body:?}");
        self.closed().await;
    }
    /// Subscribes to all that comes down and is granted it.
    pub async fn listen(&mut self, version: u8, filter: &str, qos: u8) {
        self.send(&subscribe(version, 9, &[(filter, qos)])).await;
        let (kind, body) = self.packet().await;
        assert_eq!((kind, *body.last().unwrap()), (0x90, qos.min(1)));
    }
    /// Whether the endpoint still answers.
    pub async fn is_alive(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.packet().await, (0xd0, vec![]));
    }
    pub async fn acknowledge(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        self.send(&[0x40, 2, high, low]).await;
    }
}
