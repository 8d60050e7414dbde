//! A trigger goes live over homes in which it holds already: each is told once, no faster than the
//! configuration says, and a gateway that is killed on the way goes on where it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, STEP_SECONDS_MAX};
use crate::homes::{live_until_content, new_homes};
use crate::stock_clients::load_the_sample_shop;

const HOMES: usize = 80;
const HOMES_PER_SECOND: u32 = 40;

fn warm(title: &str) -> Value {
    json!({
        "kind": "tip",
        "on": {"event": "telemetry", "device": {"model": "th-200"}, "field": "temperature", "rises_above": "17 °C", "on_activate": true},
        "offer": {"actions": ["decline"], "text": {"fr": {"title": title, "body": "Aérez."}, "en": {"title": title, "body": "Open a window."}}},
    })
}

/// Offers of the trigger, by home.
async fn told(gateway: &Gateway, shop: &str) -> BTreeMap<String, usize> {
    let (mut homes, mut path) = (BTreeMap::new(), "/v1/offers?limit=100".to_owned());
    loop {
        let page = gateway.ask(shop, "GET", &path, None).await;
        for offer in page["items"].as_array().unwrap().iter().filter(|offer| offer["trigger"] == "warm") {
            *homes.entry(offer["household"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let Some(next) = page["next"].as_str() else { return homes };
        path = format!("/v1/offers?limit=100&cursor={next}");
    }
}

async fn until_done(gateway: &Gateway, shop: &str, version: u64) -> Value {
    let begin = Instant::now();
    loop {
        let activation = gateway.ask(shop, "GET", "/v1/triggers/warm", None).await["activation"].clone();
        if activation["version"] == version && activation["done"] == true {
            return activation;
        }
        assert!(begin.elapsed() < STEP_SECONDS_MAX, "the sweep does not end: {activation}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_trigger_that_goes_live_looks_at_every_home_once_over_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("gateway.toml");
    std::fs::write(&config, format!("[engine]\nactivate_homes_per_second = {HOMES_PER_SECOND}\n")).unwrap();
    let gateway = Gateway::serve_with(&data.path().join("data"), &config, &[]);
    let shop = load_the_sample_shop(&gateway).await;
    let devices = new_homes(&gateway, &shop, 1, HOMES, 1).await;
    live_until_content(&gateway, devices).await;
    assert!(told(&gateway, &shop).await.is_empty());

    let begin = Instant::now();
    gateway.ask(&shop, "PUT", "/v1/triggers/warm", Some(&warm("Il fait chaud"))).await;
    gateway.ask(&shop, "POST", "/v1/triggers/warm/publish", Some(&json!({}))).await;
    while told(&gateway, &shop).await.len() < HOMES / 4 {
        assert!(begin.elapsed() < STEP_SECONDS_MAX, "nobody is told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(gateway);
    let gateway = Gateway::serve_with(&data.path().join("data"), &config, &[]);
    let activation = until_done(&gateway, &shop, 1).await;
    let least = Duration::from_millis(1_000 / u64::from(HOMES_PER_SECOND) * (HOMES as u64 - 1));
    assert!(
        begin.elapsed() >= least,
        "{HOMES} homes in {:?}: faster than {HOMES_PER_SECOND} a second",
        begin.elapsed()
    );
    assert_eq!(activation["looked"], HOMES);
    let homes = told(&gateway, &shop).await;
    assert_eq!((homes.len(), homes.values().max()), (HOMES, Some(&1)), "each home once");

    // The same text is the same version: nobody is looked at again.
    gateway.ask(&shop, "POST", "/v1/triggers/warm/pause", Some(&json!({}))).await;
    gateway.ask(&shop, "POST", "/v1/triggers/warm/publish", Some(&json!({}))).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(until_done(&gateway, &shop, 1).await, activation);
    // Another one looks at all, and finds that each was told.
    gateway.ask(&shop, "PUT", "/v1/triggers/warm", Some(&warm("Il fait trop chaud"))).await;
    gateway.ask(&shop, "POST", "/v1/triggers/warm/publish", Some(&json!({}))).await;
    let again = until_done(&gateway, &shop, 2).await;
    assert_eq!((&again["looked"], &again["woken"]), (&json!(HOMES), &json!(0)));
    assert_eq!(told(&gateway, &shop).await, homes);
}
