//! Bytes that are wrong: each known fault of the protocol library, violations of the protocol,
//! and noise. Every one ends its own connection and nothing else.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::mqtt_house::*;

#[tokio::test]
async fn a_v5_connect_with_topic_alias_maximum_0_is_let_in() {
    let house = House::open().await;
    let mut raw = house.client_as(&Hello { version: 5, properties: &[0x22, 0, 0], ..house.hello() }).await;
    raw.is_alive().await;
}

#[tokio::test]
async fn packet_id_0_ends_the_connection() {
    let house = House::open().await;
    for version in [4, 5] {
        let v5 = &[0u8][..usize::from(version == 5)];
        let filter = [&[0, 0], v5, b"\0\x01a\0"].concat();
        let packets = [
            publish(version, 0x02, TELEMETRY, 0, SAMPLE),
            framed(0x82, &filter),
            framed(0xa2, &filter[..filter.len() - 1]),
            framed(0x62, &[0, 0]),
            framed(0x40, &[0, 0]),
        ];
        for packet in packets {
            let mut raw = house.client(version, "d-42").await;
            raw.send(&packet).await;
            raw.closed().await;
        }
    }
}

#[tokio::test]
async fn receive_maximum_binds_v5_clients_and_slows_3_1_1_clients() {
    let mut house = House::open_with(|settings| {
        settings.publishes_per_second = 1_000;
        settings.flood.device_burst = 1_000;
    })
    .await;
    let mut old = house.client(4, "side-old").await;
    for id in 1..=150 {
        old.send(&publish(4, 0x02, TELEMETRY, id, SAMPLE)).await;
    }
    let mut waiters = Vec::new();
    for _ in 0..100 {
        waiters.push(house.input().await.2);
    }
    house.nothing_comes().await; // the other fifty wait in the socket
    waiters.into_iter().for_each(durable);
    for _ in 0..50 {
        durable(house.input().await.2);
    }
    for id in 1..=150u16 {
        assert_eq!(old.packet().await, (0x40, id.to_be_bytes().to_vec()));
    }

    let mut new = house.client(5, "side-new").await;
    for id in 1..=101 {
        new.send(&publish(5, 0x02, TELEMETRY, id, SAMPLE)).await;
    }
    new.closed_with(0x93).await;
}

#[tokio::test]
async fn connects_that_the_standard_forbids_are_refused() {
    let house = House::open().await;
    let hello = house.hello().bytes();
    let flags_at = 9;
    for flags in [0xc3, 0xda, 0xca, 0xe2, 0xde] {
        // reserved; will QoS without will (twice); will retain without will; will QoS 3
        let mut bytes = hello.clone();
        bytes[flags_at] = flags;
        let mut raw = house.raw().await;
        raw.send(&bytes).await;
        raw.closed().await;
    }
    let mut raw = house.raw().await;
    raw.send(&house.client_bytes_with_version(3)).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 1]), "unacceptable protocol version");
}

impl House {
    fn client_bytes_with_version(&self, version: u8) -> Vec<u8> {
        let mut bytes = self.hello().bytes();
        bytes[8] = version;
        bytes
    }
}

#[tokio::test]
async fn wildcards_in_a_publish_topic_end_the_connection() {
    let house = House::open().await;
    for topic in ["chan/v1/acme/d-42/up/+", "chan/v1/acme/d-42/up/#", ""] {
        let mut old = house.client(4, "side-4").await;
        old.send(&publish(4, 0x02, topic, 1, SAMPLE)).await;
        old.closed().await;
    }
    let mut new = house.client(5, "side-5").await;
    new.send(&publish(5, 0x02, "chan/v1/acme/d-42/up/#", 1, SAMPLE)).await;
    new.closed_with(0x90).await;
}

#[tokio::test]
async fn violations_of_the_order_end_the_connection() {
    let house = House::open().await;
    let mut raw = house.raw().await;
    raw.send(&publish(4, 0, TELEMETRY, 0, SAMPLE)).await;
    raw.closed().await;

    let second_connect = house.hello().bytes();
    for packet in [
        &second_connect[..],
        &[0xd0, 0],                         // PINGRESP from a client
        &[0x20, 2, 0, 0],                   // CONNACK from a client
        &[0x50, 2, 0, 1],                   // PUBREC without a QoS 2 delivery
        &[0x70, 2, 0, 1],                   // PUBCOMP likewise
        &[0xf0, 0],                         // AUTH in 3.1.1
        &[0xc1, 0],                         // reserved flags
        &[0x80, 6, 0, 1, 0, 1, b'a', 0],    // SUBSCRIBE with the flags of 3.1
        &[0x36, 4, 0, 1, b'a', 0],          // QoS 3
        &[0xc0, 1, 0],                      // PINGREQ with a body
        &[0x40, 3, 0, 1, 0],                // a 3.1.1 PUBACK with a reason
        &[0x30, 0xff, 0xff, 0xff, 0xff, 1], // a length of five bytes
    ] {
        let mut raw = house.client(4, "side").await;
        raw.send(packet).await;
        raw.closed().await;
    }
}

#[tokio::test]
async fn a_packet_above_the_bound_is_refused_at_its_length() {
    let house = House::open().await;
    let mut raw = house.raw().await;
    raw.send(&[0x10, 0xff, 0x7f]).await; // 16 KiB of CONNECT announced, none sent
    raw.closed().await;
    let mut new = house.client(5, "d-42").await;
    new.send(&[0x32, 0x80, 0x80, 0x08]).await; // 128 KiB of PUBLISH
    new.closed_with(0x95).await;
}

#[tokio::test]
async fn silence_before_connect_is_cut() {
    let house = House::open_with(|settings| settings.connect_timeout = A_WHILE).await;
    let mut raw = house.raw().await;
    raw.send(&house.hello().bytes()[..20]).await;
    raw.closed().await;
}

#[tokio::test]
async fn unknown_aliases_and_v5_extras_that_are_not_served_are_refused_with_their_reason() {
    let house = House::open().await;
    let mut new = house.client(5, "a").await;
    new.send(&framed(0x32, b"\0\0\0\x01\x03\x23\0\x01{}")).await; // alias 1, never set
    new.closed_with(0x94).await;
    let mut new = house.client(5, "b").await;
    new.send(&publish(5, 0x04, TELEMETRY, 1, SAMPLE)).await;
    new.closed_with(0x9b).await;
    let mut new = house.client(5, "c").await;
    new.send(&framed(0x82, b"\0\x01\x02\x0b\x01\0\x01a\0")).await; // a subscription identifier
    new.closed_with(0xa1).await;
    let mut raw = house.raw().await;
    raw.send(&Hello { version: 5, properties: b"\x15\0\x01x", ..house.hello() }.bytes()).await;
    assert_eq!(raw.packet().await.1[1], 0x8c, "enhanced authentication");
}

#[tokio::test]
async fn a_packet_may_come_byte_by_byte() {
    let mut house = House::open().await;
    house.commit_at_once();
    let mut raw = house.client(4, "d-42").await;
    for byte in publish(4, 0x02, TELEMETRY, 7, SAMPLE) {
        raw.stream.write_all(&[byte]).await.unwrap();
        raw.stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.packet().await, (0x40, vec![0, 7]));
    house.input().await;
}

#[test]
fn noise_never_harms_another_connection() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (house, witness) = runtime.block_on(async {
        let house = House::open_with(|settings| settings.connects_burst = 100_000).await;
        house.commit_at_once();
        let bridge = Hello { username: "acme/_bridge", password: "bridge", client_id: "witness", ..house.hello() };
        let witness = house.client_as(&bridge).await;
        (house, tokio::sync::Mutex::new(witness))
    });
    let good = [
        house.hello().bytes(),
        Hello { version: 5, client_id: "noisy", properties: &[0x22, 0, 1], ..house.hello() }.bytes(),
        publish(4, 0x02, TELEMETRY, 1, SAMPLE),
        subscribe(5, 1, &[(DOWN, 1)]),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let noise = (
        0..good.len(),
        proptest::collection::vec((0usize..200, any::<u8>()), 0..6),
        proptest::collection::vec(any::<u8>(), 0..300),
        any::<bool>(),
    );
    runner
        .run(&noise, |(place, changes, tail, after_connect)| {
            let mut bytes = good[place].clone();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.extend(tail);
            runtime.block_on(async {
                let mut raw = if after_connect { house.client(5, "noisy").await } else { house.raw().await };
                raw.send(&bytes).await;
                let _ = raw.stream.shutdown().await;
                raw.closed().await;
                witness.lock().await.is_alive().await;
            });
            Ok(())
        })
        .unwrap();
}
