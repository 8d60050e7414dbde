//! The sample shop of the simulation: one retailer, one model, one product, two triggers.

use std::sync::Arc;

use hearthway_core::id::RetailerId;
use hearthway_core::model::{DeviceModel, Fit, Product, Retailer};
use hearthway_core::money::{Currency, Money};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Zone;
use hearthway_core::trigger::{SourceFile, TriggerSet, World, check};
use hearthway_core::wire::read_description;

const TRIGGERS: &str = r#"
[[trigger]]
id = "filter-worn"
kind = "offer"
[trigger.on]
event = "slot"
device = { kind = "thermostat" }
slot = "air_filter"
field = "used"
rises_above = "600 h"
rearm = "50 h"
[trigger.offer]
product = "flt-20x25"
cancel_window = "30 min"
actions = ["order", "snooze", "decline", "why"]
[trigger.offer.text.fr]
title = "Filtre bientôt usé"
body = "{{ product.name }}, {{ price.total }}."
[trigger.limits]
budget = { count = 1 }

[[trigger]]
id = "cold-home"
kind = "tip"
[trigger.on]
event = "telemetry"
device = { kind = "thermostat" }
field = "temperature"
falls_below = "17 °C"
rearm = "18 °C"
[trigger.offer]
actions = ["decline"]
[trigger.offer.text.fr]
title = "Il fait froid"
body = "Fermez les volets."
[trigger.limits]
quiet = { from = "21:00", to = "08:00", when_quiet = "hold" }
caps = [ { max = 3, per = "offer", scope = "household", within = "7d" } ]
"#;

/// Orders that the budget of `filter-worn` pays for: one, so that three devices come in each other's way.
pub const BUDGET: usize = 1;

pub fn retailer() -> RetailerId {
    RetailerId::new("shop-a").unwrap()
}

pub fn rules() -> RuleSet {
    let mut rules = RuleSet { version: 1, ..RuleSet::default() };
    let zone = Zone::new("Europe/Paris").unwrap();
    let shop =
        Retailer { name: "Enseigne X".into(), default_locale: "fr-FR".into(), zone, ranking: Default::default() };
    rules.retailers.insert(retailer(), Arc::new(shop));
    let description = serde_json::json!({
        "model": "th-200", "kind": "thermostat",
        "telemetry": {"temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80}},
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["fr"], "confirm": ["press2s"]
    });
    let description = read_description(&description, None).unwrap();
    let model = DeviceModel { maker: "acme".to_owned().try_into().unwrap(), description };
    rules.models.insert(model.description.model.clone(), Arc::new(model));
    let eur = Currency::new("EUR").unwrap();
    let product = Product {
        id: "flt-20x25".to_owned().try_into().unwrap(),
        name: [("fr".to_owned(), "Filtre 20×25".to_owned())].into(),
        gtin: None,
        price: Money::new(1990, eur),
        delivery: Money::new(0, eur),
        tax_incl: true,
        seller: "shop-a".into(),
        withdraw_days: 14,
        fits: vec![Fit {
            model: "th-200".to_owned().try_into().unwrap(),
            slot: "air_filter".to_owned().try_into().unwrap(),
        }],
        lead_days: None,
        ..Product::plain(
            "flt-20x25".to_owned().try_into().unwrap(),
            Default::default(),
            Money::new(1990, eur),
            "shop-a",
        )
    };
    rules.products.listed.insert((retailer(), product.id.clone()), Arc::new(product));
    let world = World {
        retailer: retailer(),
        version: 1,
        models: &rules.models,
        products: &rules.products,
        default_locale: "fr-FR",
    };
    let checked = check(&[SourceFile { name: "sim.toml".into(), text: TRIGGERS.into() }], &world);
    assert!(checked.problems.is_empty(), "{:#?}", checked.problems);
    rules.triggers = TriggerSet::build(checked.triggers);
    rules
}
