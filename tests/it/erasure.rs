//! The data directory of a gateway at work holds nothing of a customer in clear, neither before they are
//! erased nor after; and a backup of before does not bring back who was erased since.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::homes::{live_until_content, new_homes};
use crate::stock_clients::load_the_sample_shop;

const HOMES: usize = 3;
const READINGS: u32 = 20;
/// The end of every customer's address.
const EMAIL: &str = "marquise@example.org";
/// A second profile of a customer, merged into the first.
const MERGED: &str = "twice-met-marquise";
/// What the people are called.
const NAME: &str = "Chez Marker-0451";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Every place in a directory at which one of these texts stands.
fn in_clear(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(folder) {
        let bytes = std::fs::read(&path).unwrap();
        for text in texts {
            let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            found.extend(at.map(|at| {
                let around = bytes[at.saturating_sub(120)..(at + 60).min(bytes.len())].escape_ascii().to_string();
                format!("`{text}` in {} at byte {at}: {around}", path.display())
            }));
        }
    }
    found
}

fn hearthway(data: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args(arguments).env("NO_COLOR", "1").env("HEARTHWAY_DATA_DIR", data);
    let output = command.env("HEARTHWAY_OPERATOR_TOKEN", OPERATOR).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn until_done(gateway: &Gateway, shop: &str, id: &str) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let told = gateway.ask(shop, "GET", &format!("/v1/erase/{id}"), None).await;
        if told["state"] == "done" {
            return told;
        }
        assert!(begun.elapsed() < STEP_SECONDS_MAX, "{told}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_a_customer_in_clear_and_no_backup_brings_an_erased_one_back() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    // Nobody answers there: events wait.
    let webhook = json!({"url": "https://hooks.invalid/hearthway", "types": ["offer.*", "order.*", "device.*", "consent.changed", "profile.*"]});
    gateway.ask(&shop, "PUT", "/v1/webhooks/all", Some(&webhook)).await;
    let devices = new_homes(&gateway, &shop, 0, HOMES, READINGS).await;
    for device in &devices {
        let identities = json!([{"type": "email", "value": format!("{}.{EMAIL}", device.name)}]);
        let body = json!({"display_name": NAME, "locale": "fr-FR", "tz": "Europe/Paris", "identities": identities});
        gateway.ask(&shop, "PUT", &format!("/v1/profiles/p-{}", device.name), Some(&body)).await;
        let words = json!({"consents": [{"purpose": "profiling.usage", "granted": true}], "source": "app"});
        gateway.ask(&shop, "PUT", &format!("/v1/profiles/p-{}/consents", device.name), Some(&words)).await;
    }
    gateway.ask(&shop, "PUT", &format!("/v1/profiles/{MERGED}"), Some(&json!({"display_name": NAME}))).await;
    let merge = json!({"from": MERGED, "into": format!("p-{}", devices[0].name)});
    gateway.ask(&shop, "POST", "/v1/profiles/merge", Some(&merge)).await;
    let devices = live_until_content(&gateway, devices).await;
    let profiles: Vec<String> = devices.iter().map(|device| format!("p-{}", device.name)).collect();
    let offers: Vec<&String> = devices.iter().flat_map(|device| &device.offers).collect();
    let personal: Vec<&str> = profiles.iter().map(String::as_str).chain([NAME, EMAIL, MERGED]).collect();
    let home = |profile: &str| {
        let path = format!("/v1/profiles/{profile}");
        let (gateway, shop) = (&gateway, &shop);
        async move { gateway.ask(shop, "GET", &path, None).await["links"][0]["household"].as_str().unwrap().to_owned() }
    };
    let (gone, stays) = (home(&profiles[0]).await, home(&profiles[1]).await);

    // While it works, in the journal and wherever else.
    assert_eq!(in_clear(data.path(), &personal), [] as [&str; 0]);
    let backup = files.path().join("before.backup");
    let copy = files.path().join("customers.keys");
    let (to, keys) = (backup.to_str().unwrap(), copy.to_str().unwrap());
    hearthway(data.path(), &["backup", "--from", &gateway.http, "--out", to, "--customer-keys", keys]);
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(data.path().join("customers.keys")).unwrap());
    assert_eq!(in_clear(files.path(), &personal), [] as [&str; 0]);

    let begun = gateway.ask(&shop, "DELETE", &format!("/v1/profiles/{}", profiles[0]), None).await;
    let told = until_done(&gateway, &shop, begun["erase"].as_str().unwrap()).await;
    assert_eq!(
        told["report"]["keys_destroyed"], 3,
        "the home's, the person's, that of who was merged into them: {told}"
    );
    assert_eq!(told["report"]["devices_given_back"], 1, "{told}");
    assert_eq!(in_clear(data.path(), &personal), [] as [&str; 0]);
    assert!(gateway.end());
    assert_eq!(in_clear(data.path(), &personal), [] as [&str; 0]);
    let replayed = hearthway(data.path(), &["replay"]);
    assert!(replayed.contains(" differences=0 ") && !replayed.contains(" erased=0 "), "{replayed}");

    // It opens, and the others are as they were.
    let gateway = Gateway::serve(data.path());
    let (status, _) = gateway.call(&shop, "GET", &format!("/v1/profiles/{}", profiles[0]), None).await;
    assert_eq!(status, 404);
    let (status, _) = gateway.call(&shop, "GET", &format!("/v1/profiles/{MERGED}"), None).await;
    assert_eq!(status, 404);
    let email = json!({"type": "email", "value": format!("{}.{EMAIL}", devices[0].name)});
    let (status, _) = gateway.call(&shop, "POST", "/v1/profiles/lookup", Some(&email)).await;
    assert_eq!(status, 404, "nobody is found by it");
    let orders = gateway.ask(&shop, "GET", "/v1/orders?limit=100", None).await;
    assert_eq!(orders["items"].as_array().unwrap().len(), HOMES - 1, "{orders}");
    assert_eq!(offers.len(), HOMES);
    let before = gateway.ask(&shop, "GET", &format!("/v1/profiles/{}", profiles[1]), None).await;
    assert!(gateway.end());

    // The backup of before, with the keys of now.
    let restored = tempfile::tempdir().unwrap();
    for key in ["master.key", "customers.keys"] {
        std::fs::copy(data.path().join(key), restored.path().join(key)).unwrap();
    }
    hearthway(restored.path(), &["restore", backup.to_str().unwrap()]);
    let gateway = Gateway::serve(restored.path());
    let (status, _) = gateway.call(&shop, "GET", &format!("/v1/profiles/{}", profiles[0]), None).await;
    assert_eq!(status, 404, "the backup was made before the erasure");
    let orders = gateway.ask(&shop, "GET", "/v1/orders?limit=100", None).await;
    assert_eq!(orders["items"].as_array().unwrap().len(), HOMES - 1, "{orders}");
    let decisions = gateway.ask(&shop, "GET", &format!("/v1/decisions?household={stays}"), None).await;
    assert!(!decisions["items"].as_array().unwrap().is_empty());
    let after = gateway.ask(&shop, "GET", &format!("/v1/profiles/{}", profiles[1]), None).await;
    assert_eq!((&after["links"], &after["orders"]), (&before["links"], &before["orders"]));
    let (status, answer) = gateway.call(&shop, "GET", &format!("/v1/decisions?household={gone}"), None).await;
    assert!(status == 404 || answer["items"] == json!([]), "{status} {answer}");
    assert!(gateway.end());
    let replayed = hearthway(restored.path(), &["replay"]);
    assert!(replayed.contains(" differences=0 "), "{replayed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_kill_cuts_short_ends_after_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let devices = new_homes(&gateway, &shop, 0, HOMES, READINGS).await;
    let devices = live_until_content(&gateway, devices).await;
    for (n, device) in devices.iter().enumerate() {
        let begun = gateway.ask(&shop, "DELETE", &format!("/v1/profiles/p-{}", device.name), None).await;
        // At once, a moment later, and where it may be over.
        tokio::time::sleep(std::time::Duration::from_millis(3 * n as u64)).await;
        drop(gateway);
        gateway = Gateway::serve(data.path());
        let told = until_done(&gateway, &shop, begun["erase"].as_str().unwrap()).await;
        assert_eq!(told["report"]["homes_emptied"], 1, "{told}");
        let (status, _) = gateway.call(&shop, "GET", &format!("/v1/profiles/p-{}", device.name), None).await;
        assert_eq!(status, 404);
        let orders = gateway.ask(&shop, "GET", "/v1/orders?limit=100", None).await;
        assert_eq!(orders["items"].as_array().unwrap().len(), HOMES - 1 - n, "{orders}");
    }
    assert!(gateway.end());
    let names: Vec<String> = devices.iter().map(|device| format!("p-{}", device.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(in_clear(data.path(), &names), [] as [&str; 0]);
}
