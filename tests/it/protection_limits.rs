//! The limits of the endpoint, each over a real socket, each counted by its name.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use hearthway::engine::Delivery;
use hearthway::mqtt::websocket::WebSocketSettings;
use hearthway::observe::Metrics;
use hearthway_core::id::DeviceKey;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::mqtt_house::*;

/// How often a limit was at work in this process so far. Other tests count too: ask for a growth.
pub fn hits(limit: &str) -> u64 {
    figure(&format!("limit_hits_total{{limit=\"{limit}\"}}"))
}

/// A line of the metrics page.
pub fn figure(name: &str) -> u64 {
    let page = Metrics::of_the_process().render();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |rest| rest.trim().parse::<f64>().unwrap() as u64)
}

#[tokio::test]
async fn protection_before_connect_is_bounded_in_bytes_and_time() {
    let (bytes, time) = (hits("connect_bytes"), hits("connect_time"));
    let house = House::open_with(|settings| settings.connect_timeout = A_WHILE).await;
    let mut large = house.raw().await;
    large.send(&[0x10, 0x81, 0x20]).await; // one byte above 4 KiB announced
    large.closed().await;
    let mut slow = house.raw().await;
    slow.send(&house.hello().bytes()[..9]).await;
    slow.closed().await;
    assert!(hits("connect_bytes") > bytes);
    assert!(hits("connect_time") > time);
}

#[tokio::test]
async fn protection_a_handshake_that_never_ends_is_cut() {
    let before = hits("handshake_time");
    let address = "127.0.0.1:0".parse().unwrap();
    let house = House::open_with(|settings| settings.websocket = Some(WebSocketSettings { address, tls: false })).await;
    let url = house.endpoint.websocket_url().unwrap();
    let (host, port) = super::gateway::host_and_port(&url);
    let stream = tokio::net::TcpStream::connect((host, port)).await.unwrap();
    Raw { stream }.closed().await;
    assert!(hits("handshake_time") > before);
}

#[tokio::test]
async fn protection_of_the_lobby_cuts_who_only_holds_a_place_and_lets_the_honest_in() {
    let before = hits("handshakes");
    let house = House::open_with(|settings| settings.handshakes_max = 16).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(house.raw().await);
    }
    // The honest one stands behind forty that never say a word; ten seconds would be theirs.
    let begun = Instant::now();
    let mut honest = house.client(5, "d-42").await;
    honest.is_alive().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(hits("handshakes") >= before + 16, "the idle ones were cut for the next");
}

#[tokio::test]
async fn protection_a_storm_of_connects_through_a_small_lobby_lets_everybody_in() {
    let house = Arc::new(House::open_with(|settings| settings.handshakes_max = 8).await);
    house.commit_at_once();
    let known = hearthway::mqtt::Known { generation: 1, credential_used: true, suspended: false };
    let master = hearthway::mqtt::credentials::MasterKey::new([7; 32]);
    let mut storm = JoinSet::new();
    for n in 0..300 {
        let device: DeviceKey = format!("acme/s-{n}").parse().unwrap();
        house.stand.set(&device, known);
        let (house, secret) = (house.clone(), master.device_secret(&device, 1));
        storm.spawn(async move {
            let (name, username) = (device.device.as_str(), device.to_string());
            let hello = Hello { client_id: name, username: &username, password: &secret, ..house.hello() };
            house.client_as(&hello).await
        });
    }
    let mut back = Vec::new();
    while let Some(client) = storm.join_next().await {
        back.push(client.unwrap());
    }
    for client in &mut back {
        client.is_alive().await;
    }
    assert_eq!(back.len(), 300);
}

#[tokio::test]
async fn protection_of_names_topics_and_filters_is_counted() {
    let house = House::open().await;
    let before: Vec<u64> =
        ["client_id_bytes", "topic_bounds", "filters", "packet_bytes"].iter().map(|limit| hits(limit)).collect();
    let long = "x".repeat(129);
    let mut raw = house.raw().await;
    raw.send(&Hello { version: 5, client_id: &long, ..house.hello() }.bytes()).await;
    assert_eq!(raw.packet().await.1[1], 0x85);
    let mut client = house.client(5, "d-42").await;
    client.send(&publish(5, 0x02, "chan/v1/acme/d-42/up/a/b/c/d", 1, "{}")).await;
    assert_eq!(client.packet().await.0, 0x40);
    let filters: Vec<String> = (0..9).map(|n| format!("chan/v1/acme/d-42/down/{n}")).collect();
    let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
    client.send(&subscribe(5, 2, &filters)).await;
    assert_eq!(client.packet().await.1.last(), Some(&0x97), "the ninth of one packet");
    client.send(&[0x32, 0x80, 0x80, 0x08]).await;
    client.closed_with(0x95).await;
    for (limit, before) in ["client_id_bytes", "topic_bounds", "filters", "packet_bytes"].iter().zip(before) {
        assert!(hits(limit) > before, "{limit}");
    }
}

#[tokio::test]
async fn protection_connects_above_the_rate_are_told_when_to_come_back() {
    let before = hits("connect_rate");
    let house = House::open_with(|settings| settings.connects_burst = 3).await;
    for n in 0..3 {
        house.client(5, &format!("tool-{n}")).await;
    }
    let mut fourth = house.raw().await;
    fourth.send(&Hello { version: 5, client_id: "tool-4", ..house.hello() }.bytes()).await;
    let (_, body) = fourth.packet().await;
    assert_eq!(body[1], 0x9f);
    let told = String::from_utf8_lossy(&body).into_owned();
    assert!(told.contains("wait 12 s"), "5 a minute are one in 12 s: {told}");
    let mut old = house.raw().await;
    old.send(&Hello { client_id: "tool-5", ..house.hello() }.bytes()).await;
    assert_eq!(old.packet().await, (0x20, vec![0, 3]));
    let bridge = Hello { username: "acme/_bridge", password: "bridge", client_id: "b", ..house.hello() };
    house.client_as(&bridge).await;
    assert!(hits("connect_rate") >= before + 2);
}

#[tokio::test]
async fn protection_a_half_open_connection_ends_with_its_keep_alive() {
    let before = hits("keep_alive");
    let house = House::open().await;
    house.commit_at_once();
    // Its radio is gone: it neither speaks nor says good-bye, and its socket stays.
    let mut gone = house.client_as(&Hello { keep_alive: 1, ..house.hello() }).await;
    assert!(house.endpoint.is_connected(&house.device));
    gone.closed().await;
    assert!(!house.endpoint.is_connected(&house.device));
    assert!(hits("keep_alive") > before);
}

#[tokio::test]
async fn protection_a_client_that_never_reads_is_bounded_then_cut_and_holds_nobody() {
    let before = hits("slow_consumer");
    let limit = Duration::from_secs(2);
    let house = House::open_with(|settings| settings.slow_consumer_limit = limit).await;
    house.commit_at_once();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut deaf = Raw { stream: socket.connect(house.address).await.unwrap() };
    deaf.send(&house.hello().bytes()).await;
    assert_eq!(deaf.packet().await.0, 0x20);
    deaf.listen(4, DOWN, 0).await;
    let payload: Arc<[u8]> = Arc::from(vec![b'x'; 60_000]);
    let mut sent = 0;
    // What the sockets of the system take is theirs; beyond it a bounded number waits with us.
    while sent < 1_000 {
        let delivery = Delivery {
            n: sent,
            device: house.device.clone(),
            topic: "down/offer".into(),
            payload: payload.clone(),
            qos: 1,
            expires_at: None,
            trace: "".into(),
        };
        if !house.link.deliver(delivery) {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(sent < 1_000, "the mailbox never filled");
    let mut other = house.client_as(&Hello { client_id: "side", ..house.hello() }).await;
    other.is_alive().await;
    let ended = async {
        while house.endpoint.is_connected(&house.device) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, ended).await.expect("the client that never reads is cut");
    other.is_alive().await;
    assert!(hits("slow_consumer") > before);
}

#[tokio::test]
async fn protection_payloads_above_the_contract_are_counted() {
    let before = hits("payload_bounds");
    let house = House::open().await;
    let mut client = house.client(4, "d-42").await;
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000));
    client.send(&publish(4, 0x02, TELEMETRY, 1, &large)).await;
    assert_eq!(client.packet().await, (0x40, vec![0, 1]));
    assert!(hits("payload_bounds") > before);
}

#[tokio::test]
async fn protection_connections_beyond_the_bound_wait_and_are_served_when_there_is_room() {
    let before = hits("connections");
    let house = House::open_with(|settings| settings.connections_max = 2).await;
    let (first, _second) = (house.client(5, "d-42").await, house.client(5, "side").await);
    let mut third = house.raw().await;
    third.send(&Hello { client_id: "third", ..house.hello() }.bytes()).await;
    third.silence().await;
    drop(first);
    assert_eq!(third.packet().await, (0x20, vec![0, 0]));
    assert!(hits("connections") > before);
}

#[tokio::test]
async fn protection_connections_of_one_name_and_forbidden_publishes_are_counted() {
    let (names, forbidden) = (hits("connections_per_name"), hits("forbidden_publishes"));
    let house = House::open().await;
    let mut sides = Vec::new();
    for n in 0..4 {
        sides.push(house.client(5, &format!("side-{n}")).await);
    }
    let mut fifth = house.raw().await;
    fifth.send(&Hello { version: 5, client_id: "side-5", ..house.hello() }.bytes()).await;
    assert_eq!(fifth.packet().await.1[1], 0x97);
    for id in 1..=11 {
        sides[0].send(&publish(5, 0x02, "chan/v1/acme/other/up/event", id, "{}")).await;
    }
    sides[0].closed().await;
    assert!(hits("connections_per_name") > names);
    assert!(hits("forbidden_publishes") > forbidden);
}
