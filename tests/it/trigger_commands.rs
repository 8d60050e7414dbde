//! The command line at a running gateway: files with dates, and what silences triggers and brings them back.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::sync::watch;

use crate::gateway::{Gateway, STEP_SECONDS_MAX};
use crate::homes::{Device, new_homes};
use crate::stock_clients::load_the_sample_shop;

const DATED: &str = r#"
[[trigger]]
id    = "dated"
kind  = "offer"
valid = { from = 2020-09-01, until = 2099-04-30 }
[trigger.on]
event       = "slot"
device      = { kind = "thermostat" }
slot        = "air_filter"
field       = "used"
rises_above = "595 h"
rearm       = "50 h"
[trigger.offer]
product = "flt-20x25"
[trigger.offer.text.fr]
title = "Un filtre neuf ?"
body  = "{{ product.name }}"
[trigger.offer.text.en]
title = "A fresh filter?"
body  = "{{ product.name }}"
[[trigger.test]]
name   = "a filter that has run 612 hours is offered"
given  = { household = "home.toml" }
input  = { slot = { air_filter = { used = 612 } } }
expect = { send = true, product = "flt-20x25" }
"#;

/// What a command says, and whether it succeeded.
fn hearthway(gateway: &Gateway, token: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args(arguments).env("HEARTHWAY_URL", &gateway.http).env("HEARTHWAY_TOKEN", token);
    let output = command.env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// The filter of this home wears out; gives the triggers whose offers it got.
async fn wear_out(gateway: &Gateway, shop: &str, mut device: Device) -> BTreeSet<String> {
    let name = device.name.clone();
    device.answers = false;
    let (_never, is_over) = watch::channel(false);
    let life = device.live_until(gateway.mqtt.clone(), is_over, |device| device.owes.is_empty());
    let device = tokio::time::timeout(STEP_SECONDS_MAX, life).await.unwrap();
    assert!(device.owes.is_empty(), "the connection of {name} ended");
    let household = household_of(gateway, shop, &name).await;
    let offers = gateway.ask(shop, "GET", "/v1/offers?limit=100", None).await;
    let own = offers["items"].as_array().unwrap().iter().filter(|offer| offer["household"] == household.as_str());
    own.map(|offer| offer["trigger"].as_str().unwrap().to_owned()).collect()
}

async fn household_of(gateway: &Gateway, shop: &str, device: &str) -> String {
    let device = gateway.ask(shop, "GET", &format!("/v1/devices/{device}"), None).await;
    device["link"]["household"].as_str().unwrap_or_else(|| panic!("{device}")).to_owned()
}

#[tokio::test]
async fn a_trigger_with_dates_goes_through_every_command_that_sends_a_file_to_a_gateway() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let token = load_the_sample_shop(&gateway).await;
    let device = new_homes(&gateway, &token, 1, 1, 0).await.remove(0);
    let household = household_of(&gateway, &token, &device.name).await;
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let file = put("dated.toml", DATED);
    put("home.toml", "zone = \"Europe/Paris\"\nslots = { air_filter = { used = 590 } }\n");
    let input = put("worn.json", r#"{"slot":{"air_filter":{"used":612}}}"#);
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalog");
    let said = |arguments: &[&str], wanted: &str| {
        let (done, text) = hearthway(&gateway, &token, arguments);
        assert!(done && text.contains(wanted), "{arguments:?} says:\n{text}");
    };
    said(&["triggers", "check", &file, "--catalog", catalog.to_str().unwrap()], "1 of 1 case passed");
    let home = ["--household", &household, "--input", &input];
    said(&[&["triggers", "try", "--trigger", "dated", "--file", &file], &home[..]].concat(), "dated (file)");
    said(&[&["triggers", "try", "--file", &file], &home[..]].concat(), "dated (file)");
    said(&[&["triggers", "try"], &home[..]].concat(), "0 woken; ");
    let two = put("two.toml", &format!("{DATED}{}", DATED.replace("\"dated\"", "\"other\"")));
    let (done, text) = hearthway(&gateway, &token, &[&["triggers", "try", "--file", &two], &home[..]].concat());
    assert!(!done && text.contains("2 triggers") && text.contains("--trigger ID"), "{text}");
    said(&["backtest", &file, "--url", &gateway.http], "Backtest of 1 trigger");
    said(&["triggers", "reach", &file, "--url", &gateway.http], "Reach of dated");
    said(&["triggers", "publish", &file], "1 published, 0 unchanged, 0 paused");
    let live = gateway.ask(&token, "GET", "/v1/triggers/dated", None).await;
    assert_eq!(live["draft"]["valid"], serde_json::json!({"from": "2020-09-01", "until": "2099-04-30"}));
}

#[tokio::test]
async fn the_kill_switch_silences_a_live_trigger_and_resume_lets_it_speak() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let token = load_the_sample_shop(&gateway).await;
    let mut homes = new_homes(&gateway, &token, 1, 4, 0).await.into_iter();
    let mut next = || homes.next().unwrap();
    let told = |arguments: &[&str]| hearthway(&gateway, &token, &[&["triggers"], arguments].concat());
    let said = |arguments: &[&str]| {
        let (done, text) = told(arguments);
        assert!(done, "{arguments:?} says:\n{text}");
        text
    };
    let worn = BTreeSet::from(["filter-worn".to_owned()]);
    assert_eq!(wear_out(&gateway, &token, next()).await, worn);
    let published = said(&["list", "--state", "published", "--ids"]);
    assert!(published.lines().any(|id| id == "filter-worn"), "{published}");

    // Nobody stops a whole shop by a slip.
    let (done, text) = told(&["stop"]);
    assert!(!done && text.contains("--all") && text.contains("pause"), "{text}");
    assert_eq!(said(&["list", "--state", "published", "--ids"]), published);
    let text = said(&["stop", "--all"]);
    assert!(text.starts_with(&format!("{} stopped", published.lines().count())), "{text}");
    assert_eq!(said(&["list", "--state", "paused", "--ids"]), published);
    assert_eq!(wear_out(&gateway, &token, next()).await, BTreeSet::new());

    // What is a draft only stays one: what speaks again is what spoke.
    let mut draft = gateway.ask(&token, "GET", "/v1/triggers/filter-worn", None).await["draft"].clone();
    draft["priority"] = 99.into();
    gateway.ask(&token, "PUT", "/v1/triggers/filter-worn", Some(&draft)).await;
    let text = said(&["resume", "filter-worn"]);
    assert!(text.contains("filter-worn v1 is live"), "{text}");
    assert!(said(&["list"]).contains("the draft differs"));
    assert_eq!(wear_out(&gateway, &token, next()).await, worn);
    assert!(said(&["resume", "filter-worn"]).contains("live already"));
    assert!(said(&["pause", "filter-worn"]).contains("filter-worn v1 is paused"));
    assert_eq!(wear_out(&gateway, &token, next()).await, BTreeSet::new());
}

#[tokio::test]
async fn triggers_are_paused_rolled_back_and_listed_and_a_slip_is_told_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let token = load_the_sample_shop(&gateway).await;
    let told = |arguments: &[&str]| hearthway(&gateway, &token, &[&["triggers"], arguments].concat());
    // One of three is none: the others are done, and the command fails.
    let (done, text) = told(&["pause", "filter-worn", "filter-wron", "nobody/else"]);
    assert!(!done && text.contains("filter-worn v1 is paused"), "{text}");
    for wanted in ["`filter-wron` (`hearthway triggers list`", "no trigger `filter-wron`", "404"] {
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
    let draft = serde_json::json!({"kind": "tip", "on": {"event": "event", "type": "error"},
        "offer": {"actions": ["decline"], "text": {"fr": {"title": "Un", "body": "B"}}}});
    gateway.ask(&token, "PUT", "/v1/triggers/hint", Some(&draft)).await;
    for (command, wanted) in [
        (["pause", "hint"], "never published"),
        (["resume", "hint"], "never published"),
        (["roll-back", "hint"], "never published"),
        (["versions", "hint"], "never published"),
    ] {
        let (done, text) = told(&command);
        assert!(!done && text.contains(wanted), "{command:?}: {text}");
    }
    let publish = async |title: &str| {
        let mut draft = draft.clone();
        draft["offer"]["text"]["fr"]["title"] = title.into();
        gateway.ask(&token, "PUT", "/v1/triggers/hint", Some(&draft)).await;
        gateway.ask(&token, "POST", "/v1/triggers/hint/publish", None).await;
    };
    publish("Un").await;
    let (done, text) = told(&["roll-back", "hint"]);
    assert!(!done && text.contains("no earlier version"), "{text}");
    publish("Deux").await;
    let (done, text) = told(&["roll-back", "hint"]);
    assert!(done && text.contains("hint v3 is live") && text.contains("the draft differs"), "{text}");
    let (done, text) = told(&["rollback", "hint", "--to", "2"]);
    assert!(done && text == "hint v4 is live\n", "{text}");
    let (done, text) = told(&["roll-back", "hint", "--to", "9"]);
    assert!(!done && text.contains("no version `9`"), "{text}");
    let (_, text) = told(&["versions", "hint"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("v4 ") && lines[0].ends_with("live") && lines[3].starts_with("v1 "), "{text}");
    let (_, text) = told(&["list"]);
    let line = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("hint").contains("published   v4") && line("filter-worn").contains("paused      v1"), "{text}");
    let (done, text) = told(&["list", "--url", "http://127.0.0.1:1"]);
    assert!(!done && text.contains("calling http://127.0.0.1:1"), "{text}");
}
