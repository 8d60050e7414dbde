//! MQTT in WebSocket frames: who is let in, and that frames are no packets.
#![allow(clippy::unwrap_used)]

use futures_util::{SinkExt, StreamExt};
use hearthway::mqtt::websocket::WebSocketSettings;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::mqtt_house::{House, SAMPLE, SOON, TELEMETRY, publish};

async fn house() -> House {
    let address = ([127, 0, 0, 1], 0).into();
    House::open_with(|settings| settings.websocket = Some(WebSocketSettings { address, tls: false })).await
}

async fn open(url: &str, subprotocol: Option<&'static str>) -> Result<WebSocketStream<TcpStream>, Error> {
    let (host, port) = crate::gateway::host_and_port(url);
    let mut request = url.into_client_request().unwrap();
    if let Some(name) = subprotocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(name));
    }
    let stream = TcpStream::connect((host, port)).await.unwrap();
    client_async(request, stream).await.map(|(stream, _)| stream)
}

async fn heard(stream: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    timeout(SOON, stream.next()).await.expect("something comes").and_then(Result::ok)
}

#[tokio::test]
async fn websocket_frames_may_cut_packets_anywhere() {
    let mut house = house().await;
    house.commit_at_once();
    let url = house.endpoint.websocket_url().unwrap();
    let mut stream = open(&url, Some("mqttv3.1, mqtt")).await.unwrap();
    // CONNECT byte by byte, then two publishes and a ping in one frame.
    for byte in house.hello().bytes() {
        stream.send(Message::Binary(Bytes::copy_from_slice(&[byte]))).await.unwrap();
    }
    assert_eq!(heard(&mut stream).await, Some(Message::Binary(Bytes::from_static(&[0x20, 2, 0, 0]))));
    let mut together = publish(4, 2, TELEMETRY, 1, SAMPLE);
    together.extend(publish(4, 2, TELEMETRY, 2, SAMPLE));
    together.extend([0xc0, 0]);
    stream.send(Message::Binary(together.into())).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 10 {
        let Some(Message::Binary(bytes)) = heard(&mut stream).await else { panic!("binary frames") };
        came.extend(bytes);
    }
    for part in [&[0x40, 2, 0, 1][..], &[0x40, 2, 0, 2], &[0xd0, 0]] {
        assert!(came.windows(part.len()).any(|window| window == part), "{part:x?} in {came:x?}");
    }
    stream.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(heard(&mut stream).await, Some(Message::Pong(Bytes::from_static(b"there?"))));
    house.input().await;
}

#[tokio::test]
async fn websocket_is_served_at_its_path_with_its_subprotocol_only() {
    let house = house().await;
    let url = house.endpoint.websocket_url().unwrap();
    let status = |answer: Result<WebSocketStream<TcpStream>, Error>| match answer {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(open(&url.replace("/mqtt", "/"), Some("mqtt")).await), 404);
    assert_eq!(status(open(&url, None).await), 400);
    assert_eq!(status(open(&url, Some("chat")).await), 400);
    assert!(open(&url, Some("mqtt")).await.is_ok());
}

#[tokio::test]
async fn websocket_text_and_frames_above_the_bound_end_the_connection() {
    let house = house().await;
    let url = house.endpoint.websocket_url().unwrap();
    for bad in [Message::Text("CONNECT".into()), Message::Binary(vec![0; 200 * 1024].into())] {
        let mut stream = open(&url, Some("mqtt")).await.unwrap();
        // The endpoint may cut the connection before all of it is written.
        let _ = stream.send(bad).await;
        let ended = timeout(SOON, async { while let Some(Ok(_)) = stream.next().await {} }).await;
        assert!(ended.is_ok(), "the connection ends");
    }
}
