//! Other people's clients: rumqttc, 3.1.1 and 5.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::time::timeout;

use super::mqtt_house::*;

#[tokio::test]
async fn rumqttc_3_1_1_has_its_puback_after_the_commit_and_its_offer() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let mut house = House::open().await;
    let mut options = MqttOptions::new("d-42", "127.0.0.1", house.address.port());
    options.set_credentials("acme/d-42", house.secret.clone());
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe(DOWN, QoS::AtLeastOnce).await.unwrap();
    client.publish(TELEMETRY, QoS::AtLeastOnce, false, SAMPLE).await.unwrap();
    let (arrived, mut packets) = tokio::sync::mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(packet) = event {
                let _ = arrived.send(packet).await;
            }
        }
    });
    let waiter = house.input().await.2;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut before = Vec::new();
    while let Ok(packet) = packets.try_recv() {
        before.push(packet);
    }
    assert!(!before.iter().any(|packet| matches!(packet, Packet::PubAck(_))), "{before:?}");
    durable(waiter);
    assert!(house.deliver(1));
    let (mut acknowledged, mut offered) = (false, false);
    while !(acknowledged && offered) {
        match timeout(SOON, packets.recv()).await.unwrap().unwrap() {
            Packet::PubAck(_) => acknowledged = true,
            Packet::Publish(publish) => offered = publish.payload.as_ref() == b"offer 1",
            _ => {}
        }
    }
    assert_eq!(house.delivered().await, 1);
}

#[tokio::test]
async fn rumqttc_5_has_its_puback_after_the_commit_and_its_offer() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let mut house = House::open().await;
    let mut options = MqttOptions::new("d-42", "127.0.0.1", house.address.port());
    options.set_credentials("acme/d-42", house.secret.clone());
    options.set_topic_alias_max(Some(0));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe(DOWN, QoS::AtLeastOnce).await.unwrap();
    client.publish(TELEMETRY, QoS::AtLeastOnce, false, SAMPLE).await.unwrap();
    let (arrived, mut packets) = tokio::sync::mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(packet) = event {
                let _ = arrived.send(packet).await;
            }
        }
    });
    let waiter = house.input().await.2;
    durable(waiter);
    assert!(house.deliver(1));
    let (mut acknowledged, mut offered) = (false, false);
    while !(acknowledged && offered) {
        match timeout(SOON, packets.recv()).await.unwrap().unwrap() {
            Packet::PubAck(_) => acknowledged = true,
            Packet::Publish(publish) => offered = publish.payload.as_ref() == b"offer 1",
            _ => {}
        }
    }
    assert_eq!(house.delivered().await, 1);
}
