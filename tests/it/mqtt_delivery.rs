//! Deliveries, sessions, takeovers, wills and keep-alives.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use hearthway::mqtt::Known;
use hearthway_core::input::{Command, What};
use hearthway_core::wire::{DeviceMessage, PresenceWord};

use super::mqtt_house::*;

const PRESENCE: &str = "chan/v1/acme/d-42/presence";
const LOST: &str = r#"{"v":"1.0","id":"will-17","epoch":17,"body":{"state":"lost","epoch":17}}"#;

#[tokio::test]
async fn a_delivery_is_done_when_the_device_acknowledges_it() {
    let mut house = House::open().await;
    assert!(!house.deliver(1), "nobody listens");
    let mut raw = house.client(5, "d-42").await;
    assert!(!house.deliver(1), "connected, but not listening");
    raw.listen(5, DOWN, 1).await;
    house.reachable().await;
    assert!(house.deliver(1));
    let down = raw.came_down(5).await;
    assert_eq!((down.topic.as_str(), down.qos, down.dup), ("chan/v1/acme/d-42/down/offer", 1, false));
    assert_eq!(down.payload, b"offer 1");
    assert_eq!(down.properties[..5], [0x02, 0, 0, 0, 91], "message expiry in seconds");
    assert!(String::from_utf8_lossy(&down.properties).contains("trace"));
    assert!(house.deliver(1), "the outbox may ask again");
    raw.silence().await;
    raw.acknowledge(down.id).await;
    assert_eq!(house.delivered().await, 1);
    assert!(house.endpoint.is_connected(&house.device));
}

#[tokio::test]
async fn the_clients_receive_maximum_is_kept() {
    let mut house = House::open().await;
    let mut raw = house.client_as(&Hello { version: 5, properties: &[0x21, 0, 2], ..house.hello() }).await;
    raw.listen(5, DOWN, 1).await;
    for n in 1..=3 {
        assert!(house.deliver(n));
    }
    let (first, _second) = (raw.came_down(5).await, raw.came_down(5).await);
    raw.silence().await;
    raw.acknowledge(first.id).await;
    assert_eq!(raw.came_down(5).await.payload, b"offer 3");
    assert_eq!(house.delivered().await, 1);
}

#[tokio::test]
async fn a_packet_above_the_clients_maximum_is_given_up_and_does_not_block() {
    let mut house = House::open().await;
    let mut raw = house.client_as(&Hello { version: 5, properties: &[0x27, 0, 0, 0, 40], ..house.hello() }).await;
    raw.listen(5, DOWN, 1).await;
    assert!(house.deliver(1));
    assert_eq!(house.delivered().await, 1);
    raw.is_alive().await;
}

#[tokio::test]
async fn a_full_queue_waits_in_the_outbox_and_is_asked_for_again() {
    let mut house = House::open().await;
    let mut raw = house.client_as(&Hello { version: 5, properties: &[0x21, 0, 1], ..house.hello() }).await;
    raw.listen(5, DOWN, 1).await;
    house.reachable().await;
    let taken = (1..=200).take_while(|n| house.deliver(*n)).count();
    assert!((100..=102).contains(&taken), "{taken}");
    for _ in 0..taken {
        let id = raw.came_down(5).await.id;
        raw.acknowledge(id).await;
    }
    house.reachable().await;
    assert!(house.deliver(200));
}

#[tokio::test]
async fn what_a_kept_session_did_not_acknowledge_comes_again_with_dup() {
    let mut house = House::open().await;
    let keep = Hello { clean: false, ..house.hello() };
    let mut raw = house.client_as(&keep).await;
    raw.listen(4, DOWN, 1).await;
    house.reachable().await;
    assert!(house.deliver(5));
    let first = raw.came_down(4).await;
    drop(raw);
    assert!(matches!(house.input().await.0.what, What::ConnectionLost));
    assert!(!house.deliver(6), "nobody is there");
    let hello = Hello { clean: false, ..house.hello() }.bytes();
    let mut again = house.raw().await;
    again.send(&hello).await;
    assert_eq!(again.packet().await, (0x20, vec![1, 0]), "session present");
    house.reachable().await; // the filters are still there
    assert!(house.deliver(5) && house.deliver(6));
    let second = again.came_down(4).await;
    assert_eq!((second.id, second.dup, &second.payload), (first.id, true, &first.payload));
    let fresh = again.came_down(4).await;
    assert!(!fresh.dup && fresh.id != first.id);
    let mut clean = house.client(4, "d-42").await;
    again.closed().await;
    assert!(!house.deliver(7), "a clean start forgets the filters");
    clean.is_alive().await;
}

#[tokio::test]
async fn every_listening_connection_has_a_copy_and_the_main_ones_acknowledgement_counts() {
    let mut house = House::open().await;
    let mut side = house.client(4, "tool").await;
    side.listen(4, DOWN, 1).await;
    assert!(house.deliver(1), "a side connection will do where the main one is not there");
    let copy = side.came_down(4).await;
    side.acknowledge(copy.id).await;
    assert_eq!(house.delivered().await, 1);
    let mut main = house.client(4, "d-42").await;
    main.listen(4, DOWN, 1).await;
    assert!(house.deliver(2));
    let copy = side.came_down(4).await;
    side.acknowledge(copy.id).await;
    side.is_alive().await;
    let own = main.came_down(4).await;
    main.acknowledge(own.id).await;
    assert_eq!(house.delivered().await, 2);
    let mut qos_0 = house.client(4, "reader").await;
    drop((main, side));
    house.input().await;
    qos_0.listen(4, DOWN, 0).await;
    while !house.deliver(3) {}
    assert_eq!(qos_0.came_down(4).await.qos, 0);
}

#[tokio::test]
async fn a_bridge_has_what_its_devices_do_not_fetch_themselves() {
    let mut house = House::open().await;
    let hello = Hello { username: "acme/_bridge", password: "bridge", client_id: "cloud", ..house.hello() };
    let mut bridge = house.client_as(&hello).await;
    bridge.listen(4, "chan/v1/acme/+/down/#", 1).await;
    assert!(matches!(house.seen().await, Seen::ReachableMaker));
    assert!(house.deliver(1));
    let down = bridge.came_down(4).await;
    assert_eq!(down.topic, "chan/v1/acme/d-42/down/offer");
    bridge.acknowledge(down.id).await;
    assert_eq!(house.delivered().await, 1);
    house.commit_at_once();
    bridge.send(&publish(4, 0x02, TELEMETRY, 1, SAMPLE)).await;
    assert_eq!(house.input().await.0.device, Some(house.device.clone()));
}

#[tokio::test]
async fn a_second_main_connection_takes_over_and_a_fight_suspends_the_device() {
    let mut house = House::open().await;
    let mut old = house.client(5, "d-42").await;
    let mut new = house.client(5, "d-42").await;
    old.closed_with(0x8e).await;
    new.is_alive().await;
    house.nothing_comes().await; // the device is not lost
    let mut rest = Vec::new();
    for _ in 0..2 {
        rest.push(house.client(5, "d-42").await);
    }
    house.nothing_comes().await;
    rest.push(house.client(5, "d-42").await);
    assert!(matches!(house.input().await.0.what, What::Command(Command::Suspend { .. })));
    house.link.disconnect(&house.device, "suspended");
    rest.pop().unwrap().closed_with(0x98).await;
}

#[tokio::test]
async fn four_side_connections_are_the_most() {
    let house = House::open().await;
    let mut sides = Vec::new();
    for n in 0..4 {
        sides.push(house.client(5, &format!("side-{n}")).await);
    }
    let mut fifth = house.raw().await;
    fifth.send(&Hello { version: 5, client_id: "side-5", ..house.hello() }.bytes()).await;
    assert_eq!(fifth.packet().await.1[1], 0x97);
    let _main = house.client(5, "d-42").await;
    sides[0].is_alive().await;
}

#[tokio::test]
async fn a_will_is_said_when_the_connection_breaks_and_not_after_a_goodbye() {
    let mut house = House::open().await;
    let with_will = Hello { will: Some((PRESENCE, LOST, &[])), ..house.hello() };
    drop(house.client_as(&with_will).await);
    let (input, ..) = house.input().await;
    let What::Device(DeviceMessage::Presence(presence)) = input.what else { panic!("not a presence: {input:?}") };
    assert!(presence.is_will && presence.state == PresenceWord::Lost);
    assert_eq!(input.message.unwrap().as_str(), "will-17");

    let with_will = Hello { will: Some((PRESENCE, LOST, &[])), ..house.hello() };
    let mut polite = house.client_as(&with_will).await;
    polite.send(&[0xe0, 0]).await;
    polite.closed().await;
    house.nothing_comes().await;

    let with_will = Hello { version: 5, will: Some((PRESENCE, LOST, &[])), ..house.hello() };
    let mut wants_it = house.client_as(&with_will).await;
    wants_it.send(&[0xe0, 1, 0x04]).await;
    wants_it.closed().await;
    assert!(matches!(house.input().await.0.what, What::Device(DeviceMessage::Presence(_))));

    drop(house.client(4, "side").await);
    house.nothing_comes().await; // a side connection sets no presence
}

#[tokio::test]
async fn a_delayed_will_stays_unsaid_when_the_device_is_back_in_time() {
    let mut house = House::open().await;
    let hello = house.hello();
    let delayed = Hello {
        version: 5,
        properties: &[0x11, 0, 0, 0, 60],
        will: Some((PRESENCE, LOST, &[0x18, 0, 0, 0, 1])),
        ..hello
    };
    let bytes = delayed.bytes();
    drop(house.client_as(&delayed).await);
    house.nothing_comes().await;
    let mut back = house.raw().await;
    back.send(&bytes).await;
    assert_eq!(back.packet().await.1[1], 0);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    house.nothing_comes().await;
    drop(back);
    assert!(matches!(house.input().await.0.what, What::Device(DeviceMessage::Presence(_))), "after a second");
}

#[tokio::test]
async fn a_will_of_another_topic_or_word_is_refused() {
    let house = House::open().await;
    for (topic, payload, old, new) in [
        ("chan/v1/acme/d-43/presence", LOST, 5, 0x87),
        (TELEMETRY, SAMPLE, 5, 0x87),
        (PRESENCE, r#"{"state":"online"}"#, 5, 0x99),
    ] {
        for (version, code) in [(4, old), (5, new)] {
            let mut raw = house.raw().await;
            raw.send(&Hello { version, will: Some((topic, payload, &[])), ..house.hello() }.bytes()).await;
            assert_eq!(raw.packet().await.1[1], code, "{topic} {payload}");
        }
    }
}

#[tokio::test]
async fn silence_beyond_the_keep_alive_ends_the_connection() {
    let mut house = House::open().await;
    let started = std::time::Instant::now();
    let mut raw = house.client_as(&Hello { version: 5, keep_alive: 1, ..house.hello() }).await;
    raw.closed_with(0x8d).await;
    assert!((1_400..4_000).contains(&started.elapsed().as_millis()), "one and a half times a second");
    assert!(matches!(house.input().await.0.what, What::ConnectionLost));
}

#[tokio::test]
async fn shutdown_says_goodbye_and_nobody_is_lost() {
    let mut house = House::open().await;
    let mut raw = house.client(5, "d-42").await;
    house.endpoint.shutdown().await;
    raw.closed_with(0x8b).await;
    house.nothing_comes().await;
}

#[tokio::test]
async fn the_connack_of_v5_says_what_is_served() {
    let house = House::open().await;
    let mut raw = house.raw().await;
    raw.send(&Hello { version: 5, client_id: "", keep_alive: 60_000, ..house.hello() }.bytes()).await;
    let (_, body) = raw.packet().await;
    assert_eq!(body[1], 0);
    let properties = &body[3..];
    for expected in [
        &[0x21, 0, 100][..], // Receive Maximum
        &[0x24, 1],          // Maximum QoS
        &[0x25, 0],          // Retain Available
        &[0x27, 0, 1, 0, 0], // Maximum Packet Size
        &[0x2a, 0],          // Shared Subscription Available
        &[0x29, 0],          // Subscription Identifier Available
        &[0x13, 0x04, 0xb0], // Server Keep Alive 1200
        b"side-",            // Assigned Client Identifier
    ] {
        assert!(properties.windows(expected.len()).any(|window| window == expected), "{expected:x?} {body:x?}");
    }
    // The retain flag is served as if it were not set, although Retain Available is 0.
    house.commit_at_once();
    raw.send(&publish(5, 0x03, TELEMETRY, 1, SAMPLE)).await;
    assert_eq!(raw.packet().await, (0x40, vec![0, 1]));
}

#[tokio::test]
async fn a_rotated_secret_lets_in_and_kills_the_old_one_when_used() {
    let house = House::open().await;
    house.stand.set(&house.device, Known { generation: 2, credential_used: false, suspended: false });
    house.client(4, "d-42").await.is_alive().await; // generation 1 still works
    house.stand.set(&house.device, Known { generation: 2, credential_used: true, suspended: false });
    let mut raw = house.raw().await;
    raw.send(&house.hello().bytes()).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 4]));
}
