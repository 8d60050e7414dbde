//! The broker link against Debian's mosquitto: brokers and gateways that die in the middle, access
//! rules that hold and that do not. The session of the contract behind it: `every_client.rs`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::mosquitto::{Device, GATEWAY_PASSWORD, Mosquitto, PROBE_PASSWORD, free_port, gateway_toml, is_there};
use crate::stock_clients::load_the_sample_shop;

/// A gateway linked to a broker, with the account for the self-test.
fn serve(folder: &Path, broker: &Mosquitto, more: &str) -> Gateway {
    let config = gateway_toml(folder, broker.port, &format!("probe_username = \"acme/probe\"\n{more}"));
    let environment =
        [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD), ("HEARTHWAY_BROKER_PROBE_PASSWORD", PROBE_PASSWORD)];
    Gateway::serve_with(&folder.join("data"), Path::new(&config), &environment)
}

/// Waits until what the health page says of the broker fits, and gives it.
async fn complaints(gateway: &Gateway, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    let until = Instant::now() + STEP_SECONDS_MAX;
    loop {
        let (_, health) = gateway.call(OPERATOR, "GET", "/health/ready", None).await;
        let reasons = health["reasons"].as_array().cloned().unwrap_or_default();
        let of_the_broker = reasons.iter().filter(|reason| reason["part"] == "broker");
        let said: Vec<String> =
            of_the_broker.map(|reason| reason["message"].as_str().unwrap_or_default().to_owned()).collect();
        if fits(&said) {
            return said;
        }
        assert!(Instant::now() < until, "the health page goes on to say {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn slot(used: u32) -> Value {
    json!({"slot": "air_filter", "kind": "usage", "used": used, "capacity": 720, "unit": "h"})
}

/// Registers devices that are linked already and gives their secrets.
async fn fleet(gateway: &Gateway, shop: &str, names: &[&str]) -> Vec<String> {
    let lines = |of: &dyn Fn(&str) -> Value| names.iter().map(|name| format!("{}\n", of(name))).collect::<String>();
    let registered = gateway
        .bulk(OPERATOR, "/v1/devices:bulk", lines(&|name| json!({"maker": "acme", "device": name, "model": "th-200"})))
        .await;
    let link = |name: &str| {
        json!({"device": name, "profile": format!("p-{name}"), "role": "owner", "tz": "Europe/Paris",
               "locale": "fr-FR", "consents": [{"purpose": "offers.device", "granted": true}]})
    };
    let linked = gateway.bulk(shop, "/v1/links:bulk", lines(&link)).await;
    assert!(linked.iter().all(|line| line["link"].is_string()), "{linked:?}");
    registered.iter().map(|line| line["secret"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
}

/// The ids of a device's messages that took effect, oldest first; those in the short form apart.
async fn logged(gateway: &Gateway, name: &str) -> Vec<String> {
    let log = gateway.ask(OPERATOR, "GET", &format!("/v1/devices/{name}/messages?last=1000"), None).await;
    let ids = log["items"].as_array().unwrap().iter().filter_map(|message| message["id"].as_str());
    let mut ids: Vec<String> = ids.filter(|id| !id.starts_with("mqtt-")).map(str::to_owned).collect();
    ids.reverse();
    ids
}

/// One figure of the metrics page.
async fn figure(gateway: &Gateway, name: &str) -> f64 {
    let (_, page) = gateway.call(OPERATOR, "GET", "/metrics", None).await;
    let page = page.as_str().unwrap().to_owned();
    let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

async fn wait_until_the_outbox_is_empty(gateway: &Gateway) {
    let until = Instant::now() + STEP_SECONDS_MAX;
    while figure(gateway, "outbox_rows").await != 0.0 {
        assert!(Instant::now() < until, "something waits for ever in the outbox");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_killed_in_mid_flow_loses_no_order_and_no_word_to_a_device() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::start(folder.path());
    let gateway = serve(folder.path(), &broker, "");
    let shop = load_the_sample_shop(&gateway).await;
    let names = ["d-1", "d-2", "d-3"];
    let secrets = fleet(&gateway, &shop, &names).await;
    let mut devices = Vec::new();
    for (name, secret) in names.iter().zip(&secrets) {
        broker.add_account(&format!("acme/{name}"), secret);
        devices.push(Device::connect(broker.port, &format!("acme/{name}"), secret).await);
    }
    complaints(&gateway, |said| said.is_empty()).await;

    // The broker dies between any two steps of the devices' stories.
    let mut orders = Vec::new();
    for device in &mut devices {
        let low = json!({"v": "1.0", "id": "m-1", "body": slot(590)}).to_string();
        let sync = json!({"v": "1.0", "id": "m-0", "body": {"want": ["offers"], "have": {"offers": []}}}).to_string();
        device.publish(&format!("{}/up/slot", device.root), low.clone()).await;
        device.insist("up/sync", &sync, "down/sync", |_| true).await;
        device.publish(&format!("{}/up/slot", device.root), low).await;
        let high = json!({"v": "1.0", "id": "m-2", "body": slot(612)}).to_string();
        device.publish(&format!("{}/up/slot", device.root), high.clone()).await;
        broker.kill();
        broker.restart();
        let put = device.insist("up/slot", &high, "down/offer", |body| body["op"] == "put").await;
        let offer = put["offer"]["id"].as_str().unwrap();
        let accept = json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1"});
        let accept = device.letter("m-3", 3, "up/offer/answer", &accept);
        device.publish(&format!("{}/up/offer/answer", device.root), accept.clone()).await;
        broker.kill();
        broker.restart();
        let order = device.insist("up/offer/answer", &accept, "down/order", |_| true).await;
        orders.push(order["order"].as_str().unwrap().to_owned());
    }

    // What is decided while the broker is away waits in the outbox.
    broker.kill();
    complaints(&gateway, |said| said.iter().any(|said| said.contains("no connection to the broker"))).await;
    for order in &orders {
        let status = json!({"rev": 2, "state": "shipped", "eta": "2026-12-01"});
        gateway.ask(&shop, "POST", &format!("/v1/orders/{order}/status"), Some(&status)).await;
    }
    assert!(figure(&gateway, "outbox_rows").await >= orders.len() as f64);
    broker.restart();
    for device in &mut devices {
        let topic = format!("{}/down/order", device.root);
        let shipped =
            |heard: &crate::mosquitto::Heard| heard.topic == topic && heard.envelope["body"]["state"] == "shipped";
        device.hear_that("its order to be shipped", shipped).await;
    }
    wait_until_the_outbox_is_empty(&gateway).await;
    for name in names {
        let mut ids = logged(&gateway, name).await;
        ids.sort();
        assert_eq!(ids, ["m-0", "m-1", "m-2", "m-3"], "{name}: each message took effect once");
    }
    let sold = gateway.ask(&shop, "GET", "/v1/orders", None).await;
    assert_eq!(sold["items"].as_array().unwrap().len(), names.len(), "{sold}");
    assert!(gateway.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_keeps_for_a_killed_gateway_what_it_had_not_acknowledged() {
    if !is_there() {
        return;
    }
    const DEVICES: usize = 8;
    const MESSAGES: u32 = 300;
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(folder.path());
    let mut gateway = serve(folder.path(), &broker, "");
    let shop = load_the_sample_shop(&gateway).await;
    let names: Vec<String> = (0..DEVICES).map(|n| format!("d-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let secrets = fleet(&gateway, &shop, &names).await;
    for (name, secret) in names.iter().zip(&secrets) {
        broker.add_account(&format!("acme/{name}"), secret);
    }
    complaints(&gateway, |said| said.is_empty()).await;

    // Everything is said once, and the broker acknowledges it at once; the gateway is killed in
    // the middle of whatever it does with it.
    let mut talks = Vec::new();
    for (name, secret) in names.iter().zip(&secrets) {
        let mut device = Device::connect(broker.port, &format!("acme/{name}"), secret).await;
        talks.push(tokio::spawn(async move {
            let mut said = Vec::new();
            for n in 0..MESSAGES {
                let reading = json!({"samples": [{"f": {"temperature": 18 + n % 4}}]});
                said.push(device.say("up/telemetry", reading).await);
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            (device, said)
        }));
    }
    let mut kills = 0;
    while talks.iter().any(|talk| !talk.is_finished()) {
        let before = figure(&gateway, "broker_messages_in_total").await;
        let until = Instant::now() + STEP_SECONDS_MAX;
        while figure(&gateway, "broker_messages_in_total").await < before + 40.0 && Instant::now() < until {
            if talks.iter().all(tokio::task::JoinHandle::is_finished) {
                break;
            }
        }
        drop(gateway);
        kills += 1;
        gateway = serve(folder.path(), &broker, "");
    }
    assert!(kills >= 3, "{kills} kills prove little");
    for (name, talk) in names.iter().zip(talks) {
        let (_device, mut said) = talk.await.unwrap();
        let until = Instant::now() + STEP_SECONDS_MAX;
        while logged(&gateway, name).await.len() < said.len() {
            let found = logged(&gateway, name).await.len();
            assert!(Instant::now() < until, "{name}: {found} of {} messages came through", said.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut once = logged(&gateway, name).await;
        once.sort();
        said.sort();
        assert_eq!(once, said, "{name}: each message took effect once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_whose_rules_let_devices_be_others_is_found_out() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start_with_rules(folder.path(), "pattern readwrite #\n");
    let gateway = serve(folder.path(), &broker, "unsigned_orders_where_acl_proved = true");
    let shop = load_the_sample_shop(&gateway).await;
    let said = complaints(&gateway, |said| said.iter().any(|said| said.contains("do not hold"))).await;
    for harm in ["publish as another", "read what is said to another", "read the secrets"] {
        assert!(said[0].contains(harm), "{said:?}");
    }
    let secrets = fleet(&gateway, &shop, &["d-1", "d-2"]).await;
    broker.add_account("acme/d-1", &secrets[0]);
    broker.add_account("acme/thief", "anything");

    // Who listens to the device and speaks for it can neither order nor get a credential.
    let mut device = Device::connect(broker.port, "acme/d-1", &secrets[0]).await;
    device.say("up/slot", slot(590)).await;
    device.say("up/slot", slot(612)).await;
    let offer = device.hear("down/offer").await["offer"]["id"].as_str().unwrap().to_owned();
    let thief = Device::connect_as(broker.port, "acme/thief", "anything", device.root.clone(), "none".into()).await;
    let accept = json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1"});
    thief.say_as("t-1", "up/offer/answer", &accept).await;
    assert_eq!(device.hear("down/error").await["code"], "sig.missing");
    let nonce = "nonce-of-a-device-that-is-read";
    let answer = format!("chan/v1/acme/_prov/{nonce}/res");
    broker.add_account("acme/fresh", "anything");
    let mut fresh =
        Device::connect_as(broker.port, "acme/fresh", "anything", "chan/v1/acme".into(), answer.clone()).await;
    fresh.say(&format!("_prov/{nonce}/req"), json!({"serial": "TH-0009", "model": "th-200"})).await;
    let refused = fresh.hear_that("a refusal", |heard| heard.topic == answer).await;
    assert_eq!(refused["error"]["code"], "topic.not_allowed", "{refused}");
    let orders = gateway.ask(&shop, "GET", "/v1/orders", None).await;
    assert_eq!(orders["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_accounts_are_kept_over_the_dynamic_security_plugin() {
    if !is_there() {
        return;
    }
    let Some(plugin) = crate::mosquitto::dynamic_security_plugin() else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("dynsec.json");
    let more = format!("plugin {plugin}\nplugin_opt_config_file {}\n", state.display());
    let broker = Mosquitto::start_with(folder.path(), &more, |_| {
        let mut init = std::process::Command::new("mosquitto_ctrl");
        init.args(["dynsec", "init"]).arg(&state).args(["hearthway", GATEWAY_PASSWORD]);
        assert!(init.output().unwrap().status.success());
    });
    let config = gateway_toml(folder.path(), broker.port, "accounts = \"dynsec\"");
    let data = folder.path().join("data");
    let environment = [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD)];
    let gateway = Gateway::serve_with(&data, Path::new(&config), &environment);
    let shop = load_the_sample_shop(&gateway).await;
    complaints(&gateway, |said| said.is_empty()).await;

    // Registered, a device has its account at the broker without a restart of anything.
    let secrets = fleet(&gateway, &shop, &["d-1"]).await;
    let mut device = Device::connect(broker.port, "acme/d-1", &secrets[0]).await;
    device.say("up/sync", json!({"want": ["link"], "have": {"offers": []}})).await;
    assert_eq!(device.hear("down/sync").await["link"]["state"], "linked");

    // Suspended, it is cut and stays out; resumed, it is back.
    gateway.ask(OPERATOR, "POST", "/v1/devices/d-1/suspend", Some(&json!({"reason": "stolen"}))).await;
    drop(device);
    assert!(!crate::mosquitto::lets_in(broker.port, "acme/d-1", &secrets[0]).await);
    gateway.ask(OPERATOR, "POST", "/v1/devices/d-1/resume", Some(&json!({}))).await;
    assert!(crate::mosquitto::lets_in(broker.port, "acme/d-1", &secrets[0]).await);

    // What was registered while the broker could not be told is written when it can.
    assert!(gateway.end());
    let elsewhere = gateway_toml(folder.path(), free_port(), "accounts = \"dynsec\"");
    let gateway = Gateway::serve_with(&data, Path::new(&elsewhere), &environment);
    let secrets = fleet(&gateway, &shop, &["d-2"]).await;
    assert!(!crate::mosquitto::lets_in(broker.port, "acme/d-2", &secrets[0]).await);
    assert!(gateway.end());
    let config = gateway_toml(folder.path(), broker.port, "accounts = \"dynsec\"");
    let gateway = Gateway::serve_with(&data, Path::new(&config), &environment);
    complaints(&gateway, |said| said.is_empty()).await;
    let until = Instant::now() + STEP_SECONDS_MAX;
    while !crate::mosquitto::lets_in(broker.port, "acme/d-2", &secrets[0]).await {
        assert!(Instant::now() < until, "the account of d-2 was never written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_that_asks_is_answered_by_the_rules_of_the_endpoint_and_refused_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let config = gateway_toml(folder.path(), free_port(), "accounts = \"http-hook\"");
    let environment = [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD)];
    let gateway = Gateway::serve_with(&folder.path().join("data"), Path::new(&config), &environment);
    let shop = load_the_sample_shop(&gateway).await;
    let secrets = fleet(&gateway, &shop, &["d-1"]).await;
    let ask = async |path: &str, body: Value| {
        let (status, answer) = gateway.call("no-token", "POST", path, Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
        answer["result"].as_str().unwrap().to_owned()
    };
    for (username, password, wanted) in [
        ("acme/d-1", secrets[0].as_str(), "allow"),
        ("acme/d-1", "wrong", "deny"),
        ("acme/d-2", secrets[0].as_str(), "deny"),
        ("hearthway", GATEWAY_PASSWORD, "allow"),
        ("hearthway", "wrong", "deny"),
        ("acme/_bootstrap", "wrong", "deny"),
    ] {
        let body = json!({"username": username, "password": password, "clientid": "x"});
        assert_eq!(ask("/broker/auth", body).await, wanted, "{username}");
    }
    for (username, action, topic, wanted) in [
        ("acme/d-1", "publish", "chan/v1/acme/d-1/up/telemetry", "allow"),
        ("acme/d-1", "publish", "chan/v1/acme/d-2/up/telemetry", "deny"),
        ("acme/d-1", "subscribe", "chan/v1/acme/d-1/down/#", "allow"),
        ("acme/d-1", "subscribe", "chan/v1/acme/+/down/#", "deny"),
        ("acme/d-1", "subscribe", "$share/hearthway/chan/v1/+/+/up/#", "deny"),
        ("hearthway", "subscribe", "$share/hearthway/chan/v1/+/+/up/#", "allow"),
        ("hearthway", "publish", "chan/v1/acme/d-1/down/offer", "allow"),
    ] {
        let body = json!({"username": username, "clientid": "x", "action": action, "topic": topic});
        assert_eq!(ask("/broker/acl", body).await, wanted, "{username} {action} {topic}");
    }
    for nonsense in [json!(7), json!({"username": "acme/d-1"}), json!({"username": ["acme/d-1"], "password": {}})] {
        for path in ["/broker/auth", "/broker/acl"] {
            assert_eq!(ask(path, nonsense.clone()).await, "deny");
        }
    }
    gateway.ask(OPERATOR, "POST", "/v1/devices/d-1/suspend", Some(&json!({"reason": "stolen"}))).await;
    let body = json!({"username": "acme/d-1", "password": secrets[0], "clientid": "x"});
    assert_eq!(ask("/broker/auth", body).await, "deny", "a suspended device stays out");
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_over_tls_is_believed_only_with_the_right_authority() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let authority = || {
        let mut asked = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        asked.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = asked.self_signed(&key).unwrap();
        (certificate.pem(), rcgen::Issuer::new(asked, key))
    };
    let (ours, issuer) = authority();
    let (others, _) = authority();
    let key = rcgen::KeyPair::generate().unwrap();
    let asked = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = asked.signed_by(&key, &issuer).unwrap();
    for (name, pem) in
        [("ca.pem", ours), ("other.pem", others), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(path(name), pem).unwrap();
    }
    let port = free_port();
    let tls = format!(
        "listener {port} 127.0.0.1\ncertfile {0}/cert.pem\nkeyfile {0}/key.pem\nacl_file {0}/acl\npassword_file {0}/passwd\n",
        folder.path().display()
    );
    let broker = Mosquitto::start_with(folder.path(), &tls, crate::mosquitto::write_rules_and_accounts);
    let write = |ca: &str| {
        let file = path("tls.toml");
        let text = format!(
            "[broker]\nurl = \"mqtts://127.0.0.1:{port}\"\nusername = \"hearthway\"\nprobe_username = \"acme/probe\"\nca_file = \"{}\"\n",
            path(ca).display()
        );
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let environment =
        [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD), ("HEARTHWAY_BROKER_PROBE_PASSWORD", PROBE_PASSWORD)];
    let data = folder.path().join("data");

    let config = write("other.pem");
    let gateway = Gateway::serve_with(&data, Path::new(&config), &environment);
    complaints(&gateway, |said| said.iter().any(|said| said.contains("TLS: invalid peer certificate"))).await;
    assert!(gateway.end());

    let config = write("ca.pem");
    let gateway = Gateway::serve_with(&data, Path::new(&config), &environment);
    let shop = load_the_sample_shop(&gateway).await;
    complaints(&gateway, |said| said.is_empty()).await;
    let secrets = fleet(&gateway, &shop, &["d-1"]).await;
    broker.add_account("acme/d-1", &secrets[0]);
    let mut device = Device::connect(broker.port, "acme/d-1", &secrets[0]).await;
    device.say("up/sync", json!({"want": ["link"], "have": {"offers": []}})).await;
    assert_eq!(device.hear("down/sync").await["link"]["state"], "linked");
    assert!(gateway.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_carries_whole_homes_as_the_endpoint_does() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Accounts are shown elsewhere: here everybody is let in.
    let open = Mosquitto::start_with(folder.path(), "", |folder| {
        let file = folder.join("mosquitto.conf");
        let closed = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, closed.replace("allow_anonymous false", "allow_anonymous true")).unwrap();
    });
    let config = gateway_toml(folder.path(), open.port, "");
    let environment = [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD)];
    let gateway = Gateway::serve_with(&folder.path().join("data"), Path::new(&config), &environment);

    let shop = load_the_sample_shop(&gateway).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fleets/quick.toml");
    let mut fleet = device_sim::Fleet::read(&path).unwrap();
    fleet.length = hearthway_core::time::Span(36 * 3_600_000);
    fleet.homes.truncate(8);
    fleet.expects.clear(); // they are of five days
    let (shop, start) = (device_sim::shop::Shop::new(&gateway.http, &shop).unwrap(), fleet.start.unwrap());
    let shop = std::sync::Arc::new(shop);
    let target = device_sim::Target {
        bootstrap: ["acme", "brewco"].map(|maker| (maker.to_owned(), "anything".to_owned())).into(),
        witness: Some(shop.clone()),
        ..device_sim::Target::local(open.port)
    };
    let clock = std::sync::Arc::new(device_sim::PacedClock::start(start, 7_200));
    let (events, mut happenings) = tokio::sync::mpsc::channel(64);
    let watching = tokio::spawn(async move { while happenings.recv().await.is_some() {} });
    let summary = device_sim::run(fleet, target, shop, clock, events).await;
    watching.await.unwrap();
    assert!(summary.is_good(), "{summary}");
    for word in ["linked", "offer_shown", "order_changed"] {
        assert!(summary.count(word) > 0, "no `{word}`, so it proves nothing: {summary}");
    }
    // Whoever listens from now on, as the next owner's device, is told nothing that was said before.
    let mut late = std::process::Command::new("mosquitto_sub");
    late.args(["-h", "127.0.0.1", "-p", &open.port.to_string(), "-t", "#", "-v", "--retained-only", "-W", "2"]);
    let told = late.output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&told), "", "nothing is retained");
}
