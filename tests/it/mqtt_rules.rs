//! Who may say what, and when it is acknowledged.
#![allow(clippy::unwrap_used)]

use hearthway::engine::Repeat;
use hearthway::mqtt::Known;
use hearthway_core::input::{Command, What};
use hearthway_core::wire::DeviceMessage;

use super::mqtt_house::*;

#[tokio::test]
async fn the_acknowledgement_leaves_after_the_commit_and_not_before() {
    let mut house = House::open().await;
    for version in [4, 5] {
        let mut raw = house.client(version, "side").await;
        raw.send(&publish(version, 0x02, TELEMETRY, 7, SAMPLE)).await;
        let (input, _, waiter) = house.input().await;
        assert!(matches!(input.what, What::Device(DeviceMessage::Telemetry(_))));
        raw.silence().await;
        durable(waiter);
        assert_eq!(raw.packet().await, (0x40, vec![0, 7]));
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_not_acknowledged_and_ends_the_connection() {
    let mut house = House::open().await;
    let mut raw = house.client(5, "d-42").await;
    raw.send(&publish(5, 0x02, TELEMETRY, 7, SAMPLE)).await;
    failed(house.input().await.2);
    raw.closed_with(0x89).await;
}

#[tokio::test]
async fn a_late_commit_never_acknowledges_on_a_newer_connection() {
    let mut house = House::open().await;
    let mut old = house.client(4, "d-42").await;
    old.send(&publish(4, 0x02, TELEMETRY, 7, SAMPLE)).await;
    let late = house.input().await.2;
    let mut new = house.client(4, "d-42").await;
    old.closed().await;
    new.send(&publish(4, 0x02, TELEMETRY, 7, r#"{"temperature":17}"#)).await;
    let fresh = house.input().await.2;
    durable(late);
    new.silence().await;
    durable(fresh);
    assert_eq!(new.packet().await, (0x40, vec![0, 7]));
}

#[tokio::test]
async fn the_short_form_is_recognised_again_by_mqtts_own_redelivery_only() {
    let mut house = House::open().await;
    house.commit_at_once();
    let mut raw = house.client(4, "d-42").await;
    raw.send(&publish(4, 0x02, TELEMETRY, 7, SAMPLE)).await;
    let (first, repeat, _) = house.input().await;
    assert_eq!(repeat, Repeat::RememberUnlessRedelivered);
    raw.send(&publish(4, 0x0a, TELEMETRY, 7, SAMPLE)).await;
    let (again, repeat, _) = house.input().await;
    assert_eq!((again.message, repeat), (first.message.clone(), Repeat::Remember));
    raw.send(&publish(4, 0x02, TELEMETRY, 8, SAMPLE)).await;
    assert_ne!(house.input().await.0.message, first.message, "another packet id is another message");
    raw.send(&publish(4, 0x02, TELEMETRY, 9, r#"{"v":"1.0","id":"m-1","body":{"temperature":1}}"#)).await;
    let (named, repeat, _) = house.input().await;
    assert_eq!((named.message.unwrap().as_str(), repeat), ("m-1", Repeat::Remember));
    raw.send(&publish(4, 0x00, TELEMETRY, 0, SAMPLE)).await;
    let (lossy, repeat, _) = house.input().await;
    assert_eq!((lossy.message, repeat), (None, Repeat::Ignore));
}

#[tokio::test]
async fn qos_2_of_a_3_1_1_client_is_taken_exactly_once() {
    let mut house = House::open().await;
    let mut raw = house.client(4, "d-42").await;
    raw.send(&publish(4, 0x04, TELEMETRY, 7, SAMPLE)).await;
    raw.send(&publish(4, 0x0c, TELEMETRY, 7, SAMPLE)).await;
    let waiter = house.input().await.2;
    raw.silence().await;
    durable(waiter);
    assert_eq!(raw.packet().await, (0x50, vec![0, 7]));
    raw.send(&publish(4, 0x0c, TELEMETRY, 7, SAMPLE)).await;
    assert_eq!(raw.packet().await, (0x50, vec![0, 7]));
    house.nothing_comes().await;
    raw.send(&[0x62, 2, 0, 7]).await;
    assert_eq!(raw.packet().await, (0x70, vec![0, 7]));
    raw.send(&publish(4, 0x04, TELEMETRY, 7, SAMPLE)).await;
    durable(house.input().await.2); // after PUBREL the packet id is a new message
    assert_eq!(raw.packet().await, (0x50, vec![0, 7]));
}

#[tokio::test]
async fn a_forbidden_publish_is_acknowledged_answered_and_ends_after_ten_a_minute() {
    let mut house = House::open().await;
    let mut watcher = house.client(4, "watcher").await;
    watcher.listen(4, DOWN, 1).await;
    let mut new = house.client(5, "d-42").await;
    for id in 1..=11 {
        new.send(&publish(5, 0x02, "chan/v1/acme/d-43/up/telemetry", id, SAMPLE)).await;
        assert_eq!(new.packet().await, (0x40, vec![0, id as u8, 0x87]));
    }
    new.closed_with(0x87).await;
    let told = watcher.came_down(4).await;
    assert_eq!(told.topic, "chan/v1/acme/d-42/down/error");
    assert!(String::from_utf8_lossy(&told.payload).contains("topic.not_allowed"));
    let mut old = house.client(4, "d-42").await;
    old.send(&publish(4, 0x02, "anything/else", 1, SAMPLE)).await;
    assert_eq!(old.packet().await, (0x40, vec![0, 1]));
    assert!(matches!(house.seen().await, Seen::Reachable), "the watcher listened");
    // The v5 connection was cut for abuse: that its device is lost is all that reached the engine.
    assert!(matches!(house.input().await.0.what, What::ConnectionLost));
    house.nothing_comes().await;
}

#[tokio::test]
async fn refusals_are_told_once_a_second_and_then_counted() {
    let house = House::open().await;
    let mut raw = house.client(4, "d-42").await;
    raw.listen(4, DOWN, 0).await;
    for id in 1..=6 {
        raw.send(&publish(4, 0x02, TELEMETRY, id, "not json")).await;
    }
    let (mut acknowledged, mut told) = (0, Vec::new());
    while acknowledged < 6 || told.len() < 2 {
        let (kind, body) = raw.packet().await;
        match kind {
            0x40 => acknowledged += 1,
            _ => told.push(String::from_utf8_lossy(&body).into_owned()),
        }
    }
    assert!(told[0].contains("payload.invalid"), "{}", told[0]);
    assert!(told[1].contains("5 messages were refused"), "{}", told[1]);
}

#[tokio::test]
async fn a_suspended_or_unknown_device_is_answered_and_has_no_effect() {
    let mut house = House::open().await;
    house.stand.set(&house.device, Known { generation: 1, credential_used: true, suspended: true });
    let mut raw = house.client(4, "d-42").await;
    raw.listen(4, DOWN, 0).await;
    raw.send(&publish(4, 0x02, TELEMETRY, 1, SAMPLE)).await;
    let (first, second) = (raw.packet().await, raw.packet().await);
    let told = if first.0 == 0x40 { second } else { first };
    assert!(String::from_utf8_lossy(&told.1).contains("device.suspended"));

    let bridge = Hello { username: "acme/_bridge", password: "bridge", client_id: "cloud", ..house.hello() };
    let mut bridge = house.client_as(&bridge).await;
    bridge.listen(4, "chan/v1/acme/+/down/#", 0).await;
    bridge.send(&publish(4, 0x02, "chan/v1/acme/d-99/up/telemetry", 1, SAMPLE)).await;
    let (first, second) = (bridge.packet().await, bridge.packet().await);
    let told = if first.0 == 0x40 { second } else { first };
    assert!(String::from_utf8_lossy(&told.1).contains("device.unknown"));
    house.nothing_comes_but_reach().await;
}

impl House {
    async fn nothing_comes_but_reach(&mut self) {
        self.reachable().await;
        self.reachable().await;
        self.nothing_comes().await;
    }
}

#[tokio::test]
async fn what_must_not_be_lost_is_refused_at_qos_0_and_a_bad_signature_always() {
    let mut house = House::open().await;
    let mut raw = house.client(4, "d-42").await;
    raw.listen(4, DOWN, 0).await;
    house.reachable().await;
    raw.send(&publish(4, 0x00, "chan/v1/acme/d-42/up/slot", 0, r#"{"slot":"a","kind":"flag","flag":"low"}"#)).await;
    let told = raw.came_down(4).await;
    assert!(String::from_utf8_lossy(&told.payload).contains("qos.unsupported"));
    let mut other = house.client(4, "other").await;
    let signed = r#"{"v":"1.0","id":"m-2","epoch":1,"seq":2,"sig":"00","body":{"temperature":1,"nonce":"n"}}"#;
    other.send(&publish(4, 0x02, TELEMETRY, 1, signed)).await;
    assert_eq!(other.packet().await, (0x40, vec![0, 1]));
    let told = raw.came_down(4).await;
    assert!(String::from_utf8_lossy(&told.payload).contains("sig.bad"));
    house.nothing_comes().await;
}

#[tokio::test]
async fn only_who_proves_it_comes_in() {
    let mut house = House::open().await;
    let hello = house.hello();
    for (username, password) in [
        ("acme/d-42", "wrong"),
        ("acme/d-43", hello.password),
        ("acme", hello.password),
        ("acme/_bridge", "boot"),
        ("other/_bootstrap", "boot"),
        ("Acme/d-42", hello.password),
    ] {
        for (version, code) in [(4, 4), (5, 0x86)] {
            let mut raw = house.raw().await;
            raw.send(&Hello { version, username, password, ..hello }.bytes()).await;
            assert_eq!(raw.packet().await.1[1], code, "{username}");
            raw.closed().await;
        }
    }
    let device = house.device.clone();
    house.stand.set(&device, Known { generation: 1, credential_used: false, suspended: false });
    let _first = house.client(4, "d-42").await;
    assert!(matches!(house.input().await.0.what, What::Command(Command::CredentialUsed)));
}

#[tokio::test]
async fn subscriptions_are_granted_by_topic_and_bounded() {
    let house = House::open().await;
    let mut raw = house.client(5, "d-42").await;
    let own = "chan/v1/acme/d-42/down/offer";
    let filters = [(own, 2), (DOWN, 0), ("#", 1), ("chan/v1/acme/+/down/#", 1), ("$share/g/x", 1), ("a/#/b", 1)];
    raw.send(&subscribe(5, 1, &filters)).await;
    assert_eq!(raw.packet().await, (0x90, vec![0, 1, 0, 1, 0, 0x87, 0x87, 0x9e, 0x8f]));
    let nine = vec![(own, 1); 9];
    raw.send(&subscribe(5, 2, &nine)).await;
    assert_eq!(raw.packet().await.1[3..], [1, 1, 1, 1, 1, 1, 1, 1, 0x97]);
    for id in 0..60u16 {
        let filter = format!("chan/v1/acme/d-42/down/x{id}");
        raw.send(&subscribe(5, 10 + id, &[(&filter, 1)])).await;
        let granted = raw.packet().await.1[3];
        assert_eq!(granted, if id < 48 { 1 } else { 0x97 });
    }
    let mut old = house.client(4, "side").await;
    old.send(&subscribe(4, 1, &[("#", 1), (own, 2)])).await;
    assert_eq!(old.packet().await, (0x90, vec![0, 1, 0x80, 1]));
}

#[tokio::test]
async fn bootstrap_asks_and_is_answered_on_the_connection_that_asked() {
    let mut house = House::open().await;
    let hello = Hello { username: "acme/_bootstrap", password: "boot", client_id: "x", ..house.hello() };
    let mut other = house.client_as(&hello).await;
    let mut raw = house.client_as(&hello).await;
    let answer = format!("chan/v1/acme/_prov/{NONCE}/res");
    raw.listen(4, &answer, 1).await;
    other.listen(4, &answer, 1).await;
    raw.send(&publish(4, 0x02, &format!("chan/v1/acme/_prov/{NONCE}/req"), 3, "{}")).await;
    assert_eq!(raw.packet().await, (0x40, vec![0, 3]));
    let told = raw.came_down(4).await;
    assert_eq!((told.topic, told.payload), (answer, format!("acme {NONCE} 2").into_bytes()));
    other.silence().await;
    raw.send(&publish(4, 0x02, TELEMETRY, 4, SAMPLE)).await;
    assert_eq!(raw.packet().await, (0x40, vec![0, 4]));
    house.nothing_comes().await;
}

#[tokio::test]
async fn a_client_above_its_rate_is_read_more_slowly_and_loses_nothing() {
    let mut house = House::open_with(|settings| settings.publishes_per_second = 50).await;
    house.commit_at_once();
    let mut raw = house.client(4, "d-42").await;
    let started = std::time::Instant::now();
    for id in 1..=70 {
        raw.send(&publish(4, 0x02, TELEMETRY, id, SAMPLE)).await;
    }
    for id in 1..=70u16 {
        assert_eq!(raw.packet().await, (0x40, id.to_be_bytes().to_vec()));
        house.input().await;
    }
    assert!(started.elapsed().as_millis() >= 350, "twenty above fifty a second take 0.4 s");
}

#[tokio::test]
async fn a_topic_alias_stands_for_its_topic() {
    let mut house = House::open().await;
    house.commit_at_once();
    let mut raw = house.client(5, "d-42").await;
    let mut body = Vec::new();
    text(&mut body, TELEMETRY);
    body.extend(b"\0\x01\x03\x23\0\x05");
    body.extend(SAMPLE.as_bytes());
    raw.send(&framed(0x32, &body)).await;
    let short = [b"\0\0\0\x02\x03\x23\0\x05", SAMPLE.as_bytes()].concat();
    raw.send(&framed(0x32, &short)).await;
    for id in 1..=2 {
        assert_eq!(raw.packet().await, (0x40, vec![0, id]));
        assert!(matches!(house.input().await.0.what, What::Device(DeviceMessage::Telemetry(_))));
    }
}
