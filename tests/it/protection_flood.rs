//! Flood: one device may not take what is the others'. Counted, not timed.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hearthway::mqtt::Known;
use hearthway_core::id::DeviceKey;
use hearthway_core::input::What;
use hearthway_core::wire::DeviceMessage;

use super::mqtt_house::*;
use super::protection_limits::{figure, hits};

const KNOWN: Known = Known { generation: 1, credential_used: true, suspended: false };

fn telemetry(device: &str) -> String {
    format!("chan/v1/acme/{device}/up/telemetry")
}

impl House {
    fn knows(&self, name: &str) -> DeviceKey {
        let device: DeviceKey = format!("acme/{name}").parse().unwrap();
        self.stand.set(&device, KNOWN);
        device
    }
    async fn bridge(&self, version: u8) -> Raw {
        let hello = Hello { version, username: "acme/_bridge", password: "bridge", client_id: "b", ..self.hello() };
        self.client_as(&hello).await
    }
}

#[tokio::test]
async fn protection_a_flooding_device_is_slowed_loses_nothing_and_holds_nobody() {
    let before = hits("device_rate");
    let mut house = House::open_with(|settings| settings.publishes_per_second = 10_000).await;
    house.commit_at_once();
    let mut flooder = house.client(4, "d-42").await;
    let all: Vec<u8> = (1..=600).flat_map(|id| publish(4, 0x02, TELEMETRY, id, SAMPLE)).collect();
    flooder.send(&all).await;
    let master = hearthway::mqtt::credentials::MasterKey::new([7; 32]);
    let begun = std::time::Instant::now();
    for n in 0..5 {
        let device = house.knows(&format!("calm-{n}"));
        let (name, username, secret) =
            (device.device.as_str().to_owned(), device.to_string(), master.device_secret(&device, 1));
        let hello = Hello { client_id: &name, username: &username, password: &secret, ..house.hello() };
        let mut calm = house.client_as(&hello).await;
        for id in 1..=20u16 {
            calm.send(&publish(4, 0x02, &telemetry(&name), id, SAMPLE)).await;
            assert_eq!(calm.packet().await, (0x40, id.to_be_bytes().to_vec()));
        }
    }
    let (mut flood, mut calm) = (0, 0);
    while calm < 100 {
        match house.input().await.0.device.unwrap().device.as_str() {
            "d-42" => flood += 1,
            _ => calm += 1,
        }
    }
    let fair = 102 + 10 * begun.elapsed().as_secs() as usize;
    assert!(flood <= fair, "{flood} of the flooder's messages were taken, its share is {fair}");
    // What was taken was acknowledged, in order; the rest waits unacknowledged in the socket.
    for id in 1..=100u16 {
        assert_eq!(flooder.packet().await, (0x40, id.to_be_bytes().to_vec()));
    }
    assert!(hits("device_rate") > before);
}

#[tokio::test]
async fn protection_readings_at_qos_0_above_the_rate_are_dropped_and_counted() {
    let shed = "mqtt_messages_shed_total{class=\"telemetry\"}";
    let before = figure(shed);
    let mut house = House::open_with(|settings| settings.publishes_per_second = 10_000).await;
    house.commit_at_once();
    let mut client = house.client(4, "d-42").await;
    let all: Vec<u8> = (0..1_000).flat_map(|_| publish(4, 0, TELEMETRY, 0, SAMPLE)).collect();
    client.send(&all).await;
    client.is_alive().await; // in order: all of them were looked at
    let mut taken = 0;
    client.send(&publish(4, 0x02, "chan/v1/acme/d-42/up/event", 1, r#"{"type":"button"}"#)).await;
    while matches!(house.input().await.0.what, What::Device(DeviceMessage::Telemetry(_))) {
        taken += 1;
    }
    assert!((100..300).contains(&taken), "{taken}");
    assert!(figure(shed) >= before + 700);
}

#[tokio::test]
async fn protection_behind_a_bridge_one_device_is_refused_and_the_others_lose_nothing() {
    for version in [4, 5] {
        let mut house = House::open().await;
        house.commit_at_once();
        house.knows("loud");
        for n in 0..10 {
            house.knows(&format!("calm-{n}"));
        }
        let mut bridge = house.bridge(version).await;
        bridge.listen(version, "chan/v1/acme/+/down/#", 1).await;
        let (mut refused, mut id) = (0, 0);
        let mut told = Vec::new();
        for n in 0..300 {
            // One of ten devices speaks after every loud message.
            for (name, is_loud) in [("loud".to_owned(), true), (format!("calm-{}", n % 10), false)] {
                id += 1;
                bridge.send(&publish(version, 0x02, &telemetry(&name), id, SAMPLE)).await;
                let body = loop {
                    match bridge.packet().await {
                        (0x40, body) => break body,
                        (_, body) => told.push(String::from_utf8_lossy(&body).into_owned()),
                    }
                };
                assert_eq!(body[..2], id.to_be_bytes());
                let is_refused = body.get(2).is_some_and(|reason| *reason == 0x97);
                assert!(is_loud || !is_refused, "message {n} of a calm device was refused");
                refused += u32::from(is_refused);
            }
        }
        if version == 5 {
            assert!((150..=200).contains(&refused), "{refused} of 300");
        }
        let answer = told.iter().find(|body| body.contains("rate.limited")).expect("the device is told");
        assert!(answer.contains("chan/v1/acme/loud/down/error") && answer.contains("retry_after_s"), "{answer}");
        let (mut calm, mut loud) = (0, 0);
        while calm < 300 {
            match house.input().await.0.device.unwrap().device.as_str() {
                "loud" => loud += 1,
                _ => calm += 1,
            }
        }
        assert!((100..150).contains(&loud), "{loud}");
        // A person's no is taken even from the loud one.
        let no = r#"{"set":[{"purpose":"offers.device","granted":false}]}"#;
        bridge.send(&publish(version, 0x02, "chan/v1/acme/loud/up/consent", 9_999, no)).await;
        loop {
            if let What::Device(DeviceMessage::Consent(_)) = house.input().await.0.what {
                break;
            }
        }
    }
}

#[tokio::test]
async fn protection_a_makers_rate_slows_its_connections_and_no_other_makers() {
    let before = hits("maker_rate");
    let mut house = House::open_with(|settings| settings.flood.maker_per_second = 20).await;
    house.commit_at_once();
    for n in 0..30 {
        house.knows(&format!("m-{n}"));
    }
    let mut bridge = house.bridge(4).await;
    let all: Vec<u8> = (0..30).flat_map(|n| publish(4, 0x02, &telemetry(&format!("m-{n}")), n + 1, SAMPLE)).collect();
    let begun = std::time::Instant::now();
    bridge.send(&all).await;
    for id in 1..=30u16 {
        assert_eq!(bridge.packet().await, (0x40, id.to_be_bytes().to_vec()));
        house.input().await;
    }
    assert!(begun.elapsed().as_millis() >= 400, "ten above twenty a second wait their turn");
    assert!(hits("maker_rate") > before);
}

#[tokio::test]
async fn protection_more_under_way_than_announced_is_counted() {
    let before = hits("in_flight");
    let house = Arc::new(House::open().await);
    let mut client = house.client(5, "d-42").await;
    for id in 1..=101 {
        client.send(&publish(5, 0x02, TELEMETRY, id, SAMPLE)).await;
    }
    client.closed_with(0x93).await;
    assert!(hits("in_flight") > before);
}
