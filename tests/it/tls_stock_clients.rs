//! The session of the device contract over TLS, by certificate and over WebSocket, with clients
//! that we did not write. Provisioning is part of it.

use crate::stock_clients::{Kind, Version, session};
use crate::way::Over;

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_the_session_of_mosquitto_3_1_1() {
    session(Kind::Mosquitto, Version::V311, Over::Tls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_the_session_of_mosquitto_5() {
    session(Kind::Mosquitto, Version::V5, Over::Tls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_the_session_of_paho_5() {
    session(Kind::Paho, Version::V5, Over::Tls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_a_certificate_is_enough_for_mosquitto_3_1_1() {
    session(Kind::Mosquitto, Version::V311, Over::Certificate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_a_certificate_is_enough_for_mosquitto_5() {
    session(Kind::Mosquitto, Version::V5, Over::Certificate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_a_certificate_is_enough_for_paho_5() {
    session(Kind::Paho, Version::V5, Over::Certificate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_websocket_carries_the_session_of_paho_3_1_1() {
    session(Kind::Paho, Version::V311, Over::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_websocket_carries_the_session_of_paho_5() {
    session(Kind::Paho, Version::V5, Over::WebSocketTls).await;
}
