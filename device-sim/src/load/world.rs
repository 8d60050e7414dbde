//! The world of a load, made over HTTP: makers with a model and a bridge each, a retailer with a
//! product and the triggers, the devices with their links. One maker per bridge connection, so
//! that it is plain which connection an offer must come to.

use reqwest::Method;
use serde_json::{Value, json};

use super::Plan;
use crate::shop::Shop;

const RETAILER: &str = "load-shop";
const PRODUCT: &str = "load-item";
/// Lines of one bulk call: an answer of some 100 KiB.
const BULK_LINES: usize = 1_000;
/// Distance between the thresholds of two triggers, °C.
pub(super) const STEP: f64 = 0.25;
/// Triggers that readings cross.
pub(super) const CROSSED_MAX: u32 = 200;
/// Where the thresholds begin that none crosses, °C.
const COLDEST: f64 = -39.0;

/// The devices of a load and how to connect them.
pub(super) struct World {
    /// Name, user name and secret of each device.
    pub(super) devices: Vec<[String; 3]>,
    /// User name and secret of each bridge.
    pub(super) bridges: Vec<(String, String)>,
}

/// The maker that a bridge connection speaks for.
pub(super) fn maker(n: usize) -> String {
    format!("loadlab-{n}")
}

fn model_of(n: usize) -> String {
    format!("load-th-{n}")
}

/// The threshold of a trigger, °C.
pub(super) fn threshold(trigger: u32) -> f64 {
    f64::from(trigger) * STEP
}

pub(super) async fn prepare(plan: &Plan) -> Result<World, String> {
    let operator = Shop::new(&plan.http, &plan.operator_token).map_err(|error| error.to_string())?;
    let makers = plan.bridges.max(1) as usize;
    let mut bridges = Vec::new();
    for n in 0..makers {
        let name = json!({"name": format!("Load laboratory {n}")});
        operator.call(Method::PUT, &format!("/v1/makers/{}", maker(n)), Some(&name)).await?;
        operator.call(Method::PUT, &format!("/v1/models/{}", model_of(n)), Some(&model(n))).await?;
        let key = operator.call(Method::POST, "/v1/bridge-keys", Some(&json!({"maker": maker(n)}))).await?;
        bridges.push((word(&key, "username")?.to_owned(), word(&key, "secret")?.to_owned()));
    }
    let retailer = json!({"name": "Load shop", "default_locale": "en-GB", "zone": "Europe/Paris"});
    operator.call(Method::PUT, &format!("/v1/retailers/{RETAILER}"), Some(&retailer)).await?;
    let token = json!({"tenant": RETAILER, "role": "retailer_admin", "name": "load"});
    let token = operator.call(Method::POST, "/v1/tokens", Some(&token)).await?;
    let shop = Shop::new(&plan.http, word(&token, "token")?).map_err(|error| error.to_string())?;
    shop.call(Method::PUT, &format!("/v1/products/{PRODUCT}"), Some(&product())).await?;
    let triggers = (0..plan.triggers).map(|n| trigger(&format!("load-{n:05}"), n, plan.triggers, makers));
    shop.call_lines("/v1/triggers:publish?others=pause", joined(triggers)).await?;
    let devices = devices(plan, &operator, &shop).await?;
    Ok(World { devices, bridges })
}

/// A second load against the same gateway finds its devices there already, with their edges as
/// they were left; new names keep the figures clean.
fn run_name() -> String {
    let now = crate::clock::wall_now().0 / 1_000;
    format!("l{:x}", now & 0xFFF_FFFF)
}

async fn devices(plan: &Plan, operator: &Shop, shop: &Shop) -> Result<Vec<[String; 3]>, String> {
    let run = run_name();
    let names: Vec<String> = (0..plan.devices).map(|n| format!("{run}-{n}")).collect();
    let mut devices = Vec::with_capacity(names.len());
    let makers = plan.bridges.max(1) as usize;
    for (at, chunk) in names.chunks(BULK_LINES).enumerate() {
        let lines = chunk.iter().enumerate().map(|(n, name)| {
            let of = (at * BULK_LINES + n) % makers;
            json!({"maker": maker(of), "device": name, "model": model_of(of), "serial": null})
        });
        for made in operator.call_lines("/v1/devices:bulk", joined(lines)).await? {
            let each = ["device", "username", "secret"].map(|name| word(&made, name).map(str::to_owned));
            let [device, username, secret] = each;
            devices.push([device?, username?, secret?]);
        }
        let lines = chunk.iter().map(|name| {
            json!({"device": name, "profile": name, "role": "owner", "tz": "Europe/Paris", "locale": "en-GB",
                   "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"}]})
        });
        for linked in shop.call_lines("/v1/links:bulk", joined(lines)).await? {
            word(&linked, "link")?;
        }
    }
    if devices.len() != names.len() {
        return Err(format!("POST /v1/devices:bulk answered {} lines for {} devices", devices.len(), names.len()));
    }
    Ok(devices)
}

fn joined(lines: impl Iterator<Item = Value>) -> String {
    lines.map(|line| format!("{line}\n")).collect()
}

fn word<'a>(answer: &'a Value, name: &str) -> Result<&'a str, String> {
    answer[name].as_str().ok_or_else(|| {
        format!("an answer has no `{name}`: {}", answer.to_string().chars().take(200).collect::<String>())
    })
}

fn model(n: usize) -> Value {
    json!({
        "maker": maker(n), "kind": "thermostat",
        "telemetry": {"temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80}},
        "slots": [], "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["en"], "confirm": ["press2s"], "buttons": ["ok"],
    })
}

fn product() -> Value {
    json!({
        "name": {"en": "Load item", "fr": "Article"}, "gtin": null,
        "price": {"minor": 1990, "currency": "EUR"}, "delivery": {"minor": 0, "currency": "EUR"},
        "tax_incl": true, "seller": RETAILER, "withdraw_days": 14, "fits": [],
    })
}

/// Each trigger watches a threshold of its own, so that one crossing makes one offer. Those above
/// [`CROSSED_MAX`] watch the same field far below, where no reading comes.
fn trigger(id: &str, n: u32, of: u32, makers: usize) -> Value {
    let models: Vec<String> = (0..makers).map(model_of).collect();
    let at = match n.checked_sub(CROSSED_MAX) {
        None => threshold(n),
        Some(idle) => COLDEST + f64::from(idle) * (-1.0 - COLDEST) / f64::from(of),
    };
    json!({
        "id": id, "kind": "offer", "priority": 50,
        "on": {"event": "telemetry", "device": {"kind": "thermostat", "model": models}, "field": "temperature",
               "falls_below": format!("{at} °C"), "rearm": format!("{} °C", at + STEP / 5.0)},
        "offer": {
            "product": PRODUCT,
            "price_lock": "1h", "expires": "1h", "cancel_window": "0 s",
            "actions": ["order", "decline"], "fulfil": ["deliver"],
            "text": {"en": {"title": "Cold here", "body": "A load offer.", "short": "COLD", "why": "It got cold."}},
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn thresholds_are_apart_and_rearm_below_the_next() {
        let first = trigger("load-00001", 1, 100, 2);
        assert_eq!(first["on"]["device"]["model"], json!(["load-th-0", "load-th-1"]));
        assert_eq!(first["on"]["falls_below"], "0.25 °C");
        assert_eq!(first["on"]["rearm"], "0.3 °C");
        assert!(threshold(2) > 0.3);
        let idle = |n: u32| trigger("idle", n, 10_000, 2)["on"]["rearm"].as_str().unwrap().to_owned();
        assert_eq!(idle(CROSSED_MAX), "-38.95 °C");
        assert!(idle(9_999).starts_with("-1."), "{}", idle(9_999));
    }

    #[test]
    fn an_answer_without_the_word_is_quoted() {
        assert!(word(&json!({"error": "quota"}), "secret").unwrap_err().contains("quota"));
    }
}
