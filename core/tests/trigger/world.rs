//! The models, products and home that the tests stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::id::*;
use hearthway_core::model::*;
use hearthway_core::money::Money;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trigger::World;

fn number(unit: Option<Unit>, min: f64, max: f64) -> FieldSchema {
    let r#type = FieldType::Number { unit, min: Some(min), max: Some(max) };
    FieldSchema { r#type, max_age: Some(Span::minutes(30)) }
}
fn slot(kind: SlotKind, unit: Unit, capacity: f64) -> SlotSchema {
    SlotSchema { kind, unit: Some(unit), capacity: Some(capacity) }
}
fn field(name: &str) -> FieldName {
    FieldName::new(name).unwrap()
}

pub fn thermostat() -> DeviceDescription {
    let mode = FieldType::Enum { values: vec!["off".into(), "heat".into()] };
    DeviceDescription {
        model: ModelId::new("th-200").unwrap(),
        kind: KindId::new("thermostat").unwrap(),
        telemetry: BTreeMap::from([
            (field("temperature"), number(Some(Unit::Celsius), -40.0, 80.0)),
            (field("setpoint"), number(Some(Unit::Celsius), 5.0, 30.0)),
            (field("mode"), FieldSchema { r#type: mode, max_age: None }),
            (field("runtime"), number(Some(Unit::Hour), 0.0, 1e6)),
            (field("window_open"), FieldSchema { r#type: FieldType::Bool, max_age: None }),
        ]),
        slots: BTreeMap::from([(SlotId::new("air_filter").unwrap(), slot(SlotKind::Usage, Unit::Hour, 720.0))]),
        placements: vec![Placement {
            id: PlacementId::new("home.card").unwrap(),
            title_max: Some(40),
            body_max: Some(160),
        }],
        locales: vec!["fr".into(), "en".into()],
        confirm: vec!["press2s".into()],
        buttons: vec!["ok".into(), "later".into()],
    }
}

pub fn coffee_machine() -> DeviceDescription {
    let plain = |r#type| FieldSchema { r#type, max_age: None };
    DeviceDescription {
        model: ModelId::new("cm-300").unwrap(),
        kind: KindId::new("coffee_machine").unwrap(),
        telemetry: BTreeMap::from([(
            field("cups"),
            plain(FieldType::Number { unit: Some(Unit::Count), min: Some(0.0), max: None }),
        )]),
        slots: BTreeMap::from([
            (SlotId::new("water_filter").unwrap(), slot(SlotKind::Countdown, Unit::Count, 200.0)),
            (SlotId::new("beans").unwrap(), slot(SlotKind::Level, Unit::Gram, 500.0)),
        ]),
        placements: vec![Placement {
            id: PlacementId::new("display.card").unwrap(),
            title_max: Some(40),
            body_max: Some(160),
        }],
        locales: vec!["fr".into(), "en".into()],
        confirm: vec!["press2s".into()],
        buttons: vec![],
    }
}

pub fn retailer() -> RetailerId {
    RetailerId::new("shop-a").unwrap()
}

fn product(id: &str, fr: &str, en: &str, price: &str, model: &str, slot: &str) -> Product {
    Product {
        id: ProductId::new(id).unwrap(),
        name: BTreeMap::from([("fr".into(), fr.into()), ("en".into(), en.into())]),
        gtin: None,
        price: Money::parse(price).unwrap(),
        delivery: Money::parse("0.00 EUR").unwrap(),
        tax_incl: true,
        seller: "shop-a".into(),
        withdraw_days: 14,
        fits: vec![Fit { model: ModelId::new(model).unwrap(), slot: SlotId::new(slot).unwrap() }],
        lead_days: None,
        ..Product::plain(ProductId::new(id).unwrap(), BTreeMap::new(), Money::parse(price).unwrap(), "shop-a")
    }
}

/// Models, products and the retailer; no triggers.
pub fn rules() -> RuleSet {
    let maker = MakerId::new("acme").unwrap();
    let models = [thermostat(), coffee_machine()]
        .map(|d| (d.model.clone(), Arc::new(DeviceModel { maker: maker.clone(), description: d })));
    let products = [
        product("flt-20x25", "Filtre 20×25", "Filter 20×25", "19.90 EUR", "th-200", "air_filter"),
        product("wf-3", "Filtre à eau", "Water filter", "12.50 EUR", "cm-300", "water_filter"),
        product("beans-1kg", "Grains, 1 kg", "Beans, 1 kg", "18.00 EUR", "cm-300", "beans"),
    ]
    .map(|p| ((retailer(), p.id.clone()), Arc::new(p)));
    let shop = Retailer {
        name: "Enseigne X".into(),
        default_locale: "fr-FR".into(),
        zone: Zone::new("Europe/Paris").unwrap(),
        ranking: Default::default(),
    };
    RuleSet {
        version: 1,
        models: models.into(),
        products: BTreeMap::from(products).into(),
        retailers: [(retailer(), Arc::new(shop))].into(),
        makers: [(maker, Arc::new(Maker { name: "Acme".into() }))].into(),
        ..RuleSet::default()
    }
}

pub fn world(rules: &RuleSet) -> World<'_> {
    World {
        retailer: retailer(),
        version: 3,
        models: &rules.models,
        products: &rules.products,
        default_locale: "fr-FR",
    }
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// 18:30 on a Tuesday in Paris.
pub fn now() -> Timestamp {
    at("2026-11-10T18:30:00+01:00")
}

/// A home in Paris with one thermostat that reported 16.4 °C forty seconds ago.
pub fn home() -> (Household, Device) {
    let key = DeviceKey::new(MakerId::new("acme").unwrap(), DeviceName::new("d-42").unwrap());
    let mut device = Device::registered(key.clone(), thermostat().model, None, now());
    let said = now() - Span::seconds(40);
    device.reported.insert(field("temperature"), Reading { value: Value::Number(16.4), t: said });
    device.reported.insert(field("setpoint"), Reading { value: Value::Number(21.0), t: now() - Span::hours(2) });
    device.reported.insert(field("mode"), Reading { value: Value::Text("heat".into()), t: now() - Span::days(3) });
    let state = SlotState {
        evidence: Evidence::Usage { used: 612.0 },
        capacity: Some(720.0),
        unit: Some(Unit::Hour),
        t: said,
        changed_at: None,
        on_hand: None,
    };
    device.slots.insert(SlotId::new("air_filter").unwrap(), state);
    let entry = |text: &str, until| ContextEntry { value: Value::Text(text.into()), t: said, until };
    device.context.insert("presence".into(), entry("home", now() + Span::minutes(10)));
    device.context.insert("tariff".into(), entry("low", now()));
    let mut household = Household::empty(HouseholdId::prospect(&key));
    household.zone = Some(Zone::new("Europe/Paris").unwrap());
    household.retailer = Some(retailer());
    let profile = ProfileId::new("p1").unwrap();
    let member = Member {
        profile: profile.clone(),
        display_name: "Maison".into(),
        locale: Some("fr-FR".into()),
        role: Role::Owner,
        segments: BTreeSet::from(["eco".into(), "home-owners".into()]),
        consents: Few::new(),
    };
    let link = Link {
        id: LinkId::derived(&[b"t"]),
        device: key.clone(),
        profile: profile.clone(),
        role: Role::Owner,
        since: now(),
    };
    household.members.insert(profile, Arc::new(member));
    household.links.insert(link.id, link);
    household.devices.insert(key, Box::new(device.clone()));
    (household, device)
}
