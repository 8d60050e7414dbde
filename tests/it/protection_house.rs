//! Protection of the whole gateway, as a maker and an operator see it.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use super::mqtt_house::*;

/// A gateway with two makers and a device; gives the device's secret.
async fn stage(data: &std::path::Path) -> (Gateway, String) {
    let gateway = Gateway::serve(data);
    for maker in ["acme", "other"] {
        gateway.ask(OPERATOR, "PUT", &format!("/v1/makers/{maker}"), Some(&json!({"name": maker}))).await;
    }
    let model = json!({"maker": "acme", "kind": "thermostat", "telemetry": {}, "slots": [], "placements": []});
    gateway.ask(OPERATOR, "PUT", "/v1/models/th-200", Some(&model)).await;
    let line = json!({"maker": "acme", "device": "d-42", "model": "th-200", "serial": null}).to_string();
    let made = gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await;
    let secret = made[0]["secret"].as_str().unwrap().to_owned();
    (gateway, secret)
}

async fn maker_token(gateway: &Gateway, maker: &str) -> String {
    let body = json!({"tenant": maker, "role": "maker", "name": "ci"});
    gateway.ask(OPERATOR, "POST", "/v1/tokens", Some(&body)).await["token"].as_str().unwrap().to_owned()
}

async fn connect(gateway: &Gateway, secret: &str) -> Raw {
    let mut raw = Raw { stream: TcpStream::connect(gateway.mqtt.clone()).await.unwrap() };
    let hello = Hello {
        version: 5,
        client_id: "d-42",
        username: "acme/d-42",
        password: secret,
        clean: true,
        keep_alive: 60,
        properties: &[],
        will: None,
    };
    raw.send(&hello.bytes()).await;
    assert_eq!(raw.packet().await.1[1], 0);
    raw
}

/// The quarantine, once it has so many entries: an entry is on disk a moment after the refusal.
async fn quarantine(gateway: &Gateway, token: &str, entries: usize) -> Vec<Value> {
    for _ in 0..200 {
        let found = gateway.ask(token, "GET", "/v1/makers/acme/quarantine?limit=100", None).await;
        let items = found["items"].as_array().unwrap().clone();
        if items.len() >= entries {
            return items;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the quarantine never had {entries} entries");
}

#[tokio::test]
async fn protection_refused_payloads_are_kept_redacted_for_their_maker_and_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (gateway, secret) = stage(data.path()).await;
    let acme = maker_token(&gateway, "acme").await;
    let mut device = connect(&gateway, &secret).await;
    let bad = [
        r#"{"v":"1.0","id":"m-1","body":{"slot":7,"owner":"Ada Lovelace","ada@example.org":1}}"#,
        r#"{"v":"1.0","id":"m-2","body":{"slot":"a","kind":"astrology"}}"#,
        "Ada lives in Paris",
    ];
    for (payload, id) in bad.iter().zip(1..) {
        device.send(&publish(5, 0x02, "chan/v1/acme/d-42/up/slot", id, payload)).await;
        assert_eq!(device.packet().await.0, 0x40, "acknowledged: it does not improve");
    }
    let kept = quarantine(&gateway, &acme, 3).await;
    let text = json!(kept).to_string();
    for value in ["Ada", "Lovelace", "example.org", "astrology", "Paris", "m-1"] {
        assert!(!text.contains(value), "`{value}` is shown: {text}");
    }
    // Two of one millisecond may stand either way round.
    let first = kept.iter().find(|entry| entry["pointer"] == "/body/slot").expect("the first of them");
    assert_eq!((&first["device"], &first["topic"]), (&json!("d-42"), &json!("up/slot")));
    assert_eq!(first["code"], "payload.invalid");
    assert_eq!(first["bytes"], bad[0].len());
    assert!(first["excerpt"].as_str().unwrap().contains(r#""owner":"text of 12""#), "{first}");
    assert_eq!(first["sha256"].as_str().unwrap().len(), 64);

    drop(gateway); // killed
    let gateway = Gateway::serve(data.path());
    assert_eq!(quarantine(&gateway, &acme, 3).await, kept);
    // Page by page it is the same.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.ask(&acme, "GET", &format!("/v1/makers/acme/quarantine?limit=2{cursor}"), None).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, kept);
    let other = maker_token(&gateway, "other").await;
    let (status, strange) = gateway.call(&other, "GET", "/v1/makers/acme/quarantine", None).await;
    let (none, nobody) = gateway.call(&other, "GET", "/v1/makers/nobody/quarantine", None).await;
    assert_eq!((status, &strange["code"]), (404, &nobody["code"]));
    assert_eq!(none, 404, "another maker's looks like none");
    let (status, _) = gateway.call(&acme, "GET", "/v1/makers/acme/quarantine?cursor=zzz", None).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn protection_two_units_with_one_credential_are_found_out_slowed_and_told_of() {
    let data = tempfile::tempdir().unwrap();
    let (gateway, secret) = stage(data.path()).await;
    let mut units = Vec::new();
    for _ in 0..5 {
        units.push(connect(&gateway, &secret).await);
    }
    let acme = maker_token(&gateway, "acme").await;
    let mut view = Value::Null;
    for _ in 0..200 {
        view = gateway.ask(&acme, "GET", "/v1/devices/d-42", None).await;
        if view["suspended"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let health = view["health"].to_string();
    assert!(health.contains("suspended") && health.contains("the credential is used twice"), "{view}");
    let page = gateway.ask(OPERATOR, "GET", "/metrics", None).await;
    assert!(page.as_str().unwrap().contains("limit_hits_total{limit=\"takeovers\"}"), "counted");
    // They go on trying, and run dry.
    let mut refused = None;
    for _ in 0..40 {
        let mut raw = Raw { stream: TcpStream::connect(gateway.mqtt.clone()).await.unwrap() };
        let hello = Hello {
            version: 4,
            client_id: "d-42",
            username: "acme/d-42",
            password: &secret,
            clean: true,
            keep_alive: 60,
            properties: &[],
            will: None,
        };
        raw.send(&hello.bytes()).await;
        let (_, body) = raw.packet().await;
        if body[1] != 0 {
            refused = Some(body[1]);
            break;
        }
    }
    assert_eq!(refused, Some(3), "the connect rate slows the fight");
}

#[tokio::test]
async fn protection_a_token_that_calls_too_often_is_told_when_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("gateway.toml");
    std::fs::write(&config, "[limits]\nhttp_calls_per_second = 1\n").unwrap();
    let gateway = Gateway::serve_with(data.path(), &config, &[]);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(gateway.call(OPERATOR, "GET", "/v1/devices", None).await);
    }
    let (_, refused) = statuses.iter().find(|(status, _)| *status == 429).expect("two at once, one a second");
    assert_eq!((&refused["code"], &refused["retry_after_s"]), (&json!("rate.limited"), &json!(1)));
    assert_eq!(statuses[0].0, 200);
    let page = gateway.ask(OPERATOR, "GET", "/metrics", None).await;
    assert!(page.as_str().unwrap().contains("limit_hits_total{limit=\"http_rate\"}"));
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    // One byte above the bound and no more, so that the answer does not meet a body on its way.
    let head = format!(
        "PUT /v1/makers/acme HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\nContent-Length: 3145728\r\n\r\n"
    );
    let mut stream = TcpStream::connect(gateway.http.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 2 * 1024 * 1024 + 1]).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    let page = gateway.ask(OPERATOR, "GET", "/metrics", None).await;
    assert!(page.as_str().unwrap().contains("limit_hits_total{limit=\"http_body\"}"));
}

#[tokio::test]
async fn protection_a_client_that_never_ends_its_request_is_cut_for_the_next() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("gateway.toml");
    std::fs::write(&config, "[limits]\nhttp_connections_max = 1\n").unwrap();
    let gateway = Gateway::serve_with(data.path(), &config, &[]);
    let address = gateway.http.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-").await.unwrap();
    // It waits in the backlog until the slow one has had its time.
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(STEP_SECONDS_MAX, next.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(STEP_SECONDS_MAX, slow.read_to_end(&mut rest)).await.expect("it was cut");
    let page = gateway.ask(OPERATOR, "GET", "/metrics", None).await;
    for limit in ["http_connections", "http_head_time"] {
        assert!(page.as_str().unwrap().contains(&format!("limit_hits_total{{limit=\"{limit}\"}}")), "{limit}: {page}");
    }
}
