//! TLS as an operator sets it up: `hearthway pki`, the configuration that it prints, SIGHUP.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use device_sim::link::{Dial, Heard, Link, Protocol};
use device_sim::relay::Relay;
use rustls::version::TLS13;
use serde_json::json;

use crate::certificates::Client;
use crate::gateway::{Gateway, OPERATOR};
use crate::stock_clients::{Kind, load_the_sample_shop, may_run};

fn pki(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hearthway")).arg("pki").args(arguments).output().unwrap()
}

fn done(arguments: &[&str]) -> String {
    let output = pki(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A gateway with the configuration that `hearthway pki init` printed, on a free port.
fn gateway(data: &Path, dir: &str) -> Gateway {
    let told = done(&["init", "--dir", dir]);
    let section = told.split("[mqtt.tls]").nth(1).unwrap().split("\n\n").next().unwrap();
    let config = data.join("gateway.toml");
    std::fs::write(&config, format!("[mqtt.tls]{}\n", section.replace(":8883", ":0"))).unwrap();
    Gateway::serve_with(data, &config, &[])
}

/// The line of a text that pastes into a terminal, for the gateway's real port.
fn pasted(told: &str, port: u16) -> String {
    let line = told.split("mosquitto_pub").nth(1).unwrap().split("\n\n").next().unwrap();
    format!("mosquitto_pub{}", line.replace("8883", &port.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_tls_has_nothing_to_read_again_and_stays() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    gateway.hang_up();
    // Ended by the signal it would not end by itself here.
    assert!(gateway.end(), "SIGHUP must not end a gateway");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_what_pki_prints_works_as_pasted_until_the_certificate_is_revoked() {
    if !may_run(Kind::Mosquitto) {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("pki").display().to_string();
    let gateway = gateway(data.path(), &dir);
    let port = gateway.mqtts.unwrap();
    load_the_sample_shop(&gateway).await;
    let line = json!({"maker": "acme", "device": "d-42", "model": "th-200", "serial": null}).to_string();
    let secret = gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await[0]["secret"].as_str().unwrap().to_owned();

    let by_certificate = pasted(&done(&["device", "--dir", &dir, "--maker", "acme", "--device", "d-42"]), port);
    let paste = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap().status.success();
    assert!(paste(&by_certificate), "{by_certificate}");
    let by_secret = format!(
        "mosquitto_pub -h localhost -p {port} --cafile {dir}/ca.pem -u acme/d-42 -P {secret} -q 1 \
         -t chan/v1/acme/d-42/up/telemetry -m '{{\"temperature\":16.4}}'"
    );
    assert!(paste(&by_secret), "{by_secret}");

    done(&["revoke", "--list", &format!("{dir}/revoked.txt"), &format!("{dir}/acme.d-42.pem")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!paste(&by_certificate), "it has been revoked");
    assert!(paste(&by_secret), "the secret has not");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_a_hangup_takes_the_new_certificate_at_once() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("pki").display().to_string();
    let gateway = gateway(data.path(), &dir);
    let address = ([127, 0, 0, 1], gateway.mqtts.unwrap()).into();
    let client = Client::new(&data.path().join("pki/ca.pem"), None, &TLS13);
    let served = async || client.reach(address).await.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let before = served().await;
    // The first look at all files is over once the certificate has been served for a while.
    tokio::time::sleep(Duration::from_millis(500)).await;
    done(&["server", "--dir", &dir, "--name", "next"]);
    for ending in ["pem", "key"] {
        std::fs::rename(format!("{dir}/next.{ending}"), format!("{dir}/server.{ending}")).unwrap();
    }
    let asked_at = Instant::now();
    gateway.hang_up();
    while served().await == before {
        assert!(asked_at.elapsed() < Duration::from_secs(3), "well before the next look by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_simulated_devices_come_through_a_relay_and_only_to_the_right_gateway() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("pki").display().to_string();
    let gateway = gateway(data.path(), &dir);
    load_the_sample_shop(&gateway).await;
    let line = json!({"maker": "acme", "device": "d-42", "model": "th-200", "serial": null}).to_string();
    let secret = gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await[0]["secret"].as_str().unwrap().to_owned();
    let other = data.path().join("other").display().to_string();
    done(&["init", "--dir", &other]);
    let port = gateway.mqtts.unwrap();
    for (authority, is_right) in [(format!("{dir}/ca.pem"), true), (format!("{other}/ca.pem"), false)] {
        let relay = Relay::start("localhost", port, Path::new(&authority)).unwrap();
        for protocol in [Protocol::V5, Protocol::V3] {
            let (mut link, mut heard) = Link::open(Dial {
                host: relay.path().display().to_string(),
                port,
                protocol,
                client_id: "d-42".into(),
                username: "acme/d-42".into(),
                password: secret.clone(),
                will: None,
                clean: true,
                window: 4,
            });
            let first = heard.recv().await;
            if !is_right {
                assert!(matches!(first, Some(Heard::Closed { .. })), "{first:?}");
                continue;
            }
            assert_eq!(first, Some(Heard::Open));
            link.publish("chan/v1/acme/d-42/up/telemetry", br#"{"temperature":16.4}"#.to_vec(), 7).unwrap();
            assert_eq!(heard.recv().await, Some(Heard::Acked { ticket: 7, refused: None }));
        }
    }
}

#[test]
fn tls_a_configuration_without_a_certificate_is_refused_with_the_mend() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("gateway.toml");
    let refused = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
        command.args(["serve", "--config"]).arg(&config).env("HEARTHWAY_DATA_DIR", data.path());
        command.env("HEARTHWAY_HTTP_BIND", "127.0.0.1:0").env("HEARTHWAY_MQTT_BIND", "127.0.0.1:0");
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused("[mqtt.tls]\nbind = \"127.0.0.1:0\"\n");
    assert!(told.contains("`certificate_file` is not") && told.contains("hearthway pki init"), "{told}");
    let told = refused("[mqtt.websocket]\nbind = \"127.0.0.1:0\"\ntls = true\n");
    assert!(told.contains("[mqtt.tls]"), "{told}");
    let told = refused("[mqtt.tls]\nbind = \"127.0.0.1:0\"\ncertificate_file = \"no.pem\"\nkey_file = \"no.key\"\n");
    assert!(told.contains("no.pem"), "{told}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    let checked = command.args(["check-config", "--config"]).arg(&config).output().unwrap();
    assert!(!checked.status.success() && String::from_utf8_lossy(&checked.stderr).contains("no.pem"));
}
