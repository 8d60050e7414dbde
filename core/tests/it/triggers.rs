//! When a trigger speaks, and when it keeps silent.

use std::ops::ControlFlow;
use std::sync::Arc;

use hearthway_core::catalog::{Keeper, Products};
use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::id::{ModelId, ProductId, RetailerId, SlotId};
use hearthway_core::input::{Command, What};
use hearthway_core::limits::CONTACTS_MAX;
use hearthway_core::model::{OfferState, Product, Purpose};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::{Step, StepVerdict, Verdict};
use hearthway_core::trigger::{World as Catalogue, compile_published};
use hearthway_core::wire::DownMessage;
use serde_json::{Value, json};

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, shop, thermostat};

pub const COLD: &str = r#"
[[trigger]]
id = "cold-home"
kind = "offer"
[trigger.on]
event = "telemetry"
device = { kind = "thermostat" }
field = "temperature"
falls_below = "17 °C"
rearm = "18 °C"
[trigger.offer]
product = "flt-20x25"
actions = ["order", "decline"]
[trigger.offer.text.fr]
title = "Il fait froid"
body = "{{ product.name }}"
"#;

fn temperature(world: &mut World, value: f64) {
    world.up(&thermostat(), "up/telemetry", &format!(r#"{{"samples":[{{"f":{{"temperature":{value}}}}}]}}"#)).unwrap();
}

fn offers_for(world: &mut World, values: &[f64]) -> usize {
    for value in values {
        world.pass(Span::minutes(1));
        temperature(world, *value);
    }
    world.offers_put(&thermostat()).len()
}

fn with(extra: &str) -> String {
    format!("{COLD}{extra}")
}

#[test]
fn an_edge_fires_once_and_not_on_each_message_below() {
    let mut world = World::at_home(COLD);
    assert_eq!(offers_for(&mut world, &[19.0, 16.5, 16.4, 16.9, 17.5, 16.5]), 1, "17.5 does not re-arm at 18");
    assert_eq!(offers_for(&mut world, &[18.0, 16.5]), 1, "18 does");
}

/// Nobody may ask after a product.
struct Unasked;

impl Keeper for Unasked {
    fn product(&self, _: &RetailerId, product: &ProductId, _: u64) -> Option<Arc<Product>> {
        panic!("{product} was looked up")
    }
    fn fitting(&self, _: &RetailerId, _: &ModelId, slot: &SlotId, _: u64, _: usize) -> Arc<Vec<ProductId>> {
        panic!("what fits {slot} was looked up")
    }
    fn ids(&self, _: &RetailerId, _: Option<&ProductId>, _: u64, _: &mut dyn FnMut(&ProductId) -> ControlFlow<()>) {
        panic!("products were listed")
    }
}

#[test]
fn a_live_trigger_is_compiled_again_without_a_look_at_any_product() {
    let world = World::at_home(FILTER_WORN);
    let rules = &world.rules;
    let body = |product: Value| {
        let text = json!({"title": "{{ product.name }}", "body": "{{ price.total }}"});
        let mut on = json!({"event": "slot", "device": {"kind": "thermostat"}, "slot": "air_filter", "field": "used"});
        on["rises_above"] = json!("600 h");
        let mut body = json!({"id": "filter-worn", "kind": "offer", "on": on});
        body["offer"] = json!({"discount": {"percent": 10}, "text": {"fr": text}});
        if !product.is_null() {
            body["offer"]["product"] = product;
        }
        body
    };
    for product in [json!("flt-20x25"), json!({"by": "slot_compatible", "fallback": "flt-20x25"}), Value::Null] {
        let catalogue = Catalogue {
            retailer: shop(),
            version: 1,
            models: &rules.models,
            products: &Products::kept(Arc::new(Unasked), 1),
            default_locale: "fr-FR",
        };
        let compiled = compile_published(&body(product), 1, &rules.units, &catalogue);
        assert!(compiled.is_ok(), "{:#?}", compiled.err());
    }
}

#[test]
fn a_first_report_makes_no_edge() {
    let mut world = World::at_home(COLD);
    assert_eq!(offers_for(&mut world, &[16.5, 16.0]), 0);
}

#[test]
fn an_older_sample_is_history_and_makes_no_edge() {
    let mut world = World::at_home(COLD);
    temperature(&mut world, 19.0);
    let earlier = world.now - Span::minutes(10);
    world
        .up(
            &thermostat(),
            "up/telemetry",
            &format!(r#"{{"samples":[{{"t":{},"f":{{"temperature":12}}}}]}}"#, earlier.0),
        )
        .unwrap();
    assert!(world.offers_put(&thermostat()).is_empty());
    assert_eq!(offers_for(&mut world, &[16.0]), 1, "the newest value was 19, so 16 is an edge");
}

#[test]
fn a_month_of_readings_at_once_sends_nothing_for_instants_that_are_past() {
    let mut world = World::at_home(COLD);
    let mut samples = Vec::new();
    for hour in 0..180 {
        let t = (world.now - Span::hours(4 * (180 - hour) + 3)).0;
        let value = if hour % 6 < 3 { 19 } else { 15 };
        samples.push(format!(r#"{{"t":{t},"f":{{"temperature":{value}}}}}"#));
    }
    world.up(&thermostat(), "up/telemetry", &format!(r#"{{"samples":[{}]}}"#, samples.join(","))).unwrap();
    assert!(world.offers_put(&thermostat()).is_empty());
    assert!(world.traces.len() > 10, "the edges were seen");
    let blocked = |trace: &hearthway_core::trace::CandidateTrace| trace.first_block == Some(Step::Age);
    assert!(world.traces.iter().all(blocked), "and each was too old");
    assert!(world.last_trace().steps[1].reason.starts_with("event_too_old"));
}

#[test]
fn a_device_clock_in_1970_is_not_believed() {
    let mut world = World::at_home(COLD);
    temperature(&mut world, 19.0);
    let device = thermostat();
    world.up_raw(&device, "presence", r#"{"id":"b-2","t":1000,"body":{"state":"online"}}"#).unwrap();
    assert!(matches!(&world.heard(&device)[..], [DownMessage::Time { .. }]), "it is told the time");
    world
        .up_raw(
            &device,
            "up/telemetry",
            r#"{"id":"b-3","t":2000,"body":{"samples":[{"t":2000,"f":{"temperature":16}}]}}"#,
        )
        .unwrap();
    assert_eq!(world.offers_put(&device).len(), 1);
    assert_eq!(world.home_of(&device).devices[&device].reported["temperature"].t, world.now);
}

#[test]
fn conditions_that_do_not_hold_yet_arm_the_edge() {
    let mut world = World::at_home(&with("[trigger.when]\nall = 'local.hour >= 17'\n"));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0, "it is ten in the morning");
    assert_eq!(world.last_trace().first_block, Some(Step::Conditions));
    world.pass(Span::hours(8));
    assert_eq!(world.offers_put(&thermostat()).len(), 1, "at five the hour turns, and the edge still holds");
}

#[test]
fn an_armed_edge_is_disarmed_on_the_way_back() {
    let mut world = World::at_home(&with("[trigger.when]\nall = 'local.hour >= 17'\n"));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0, 17.4]), 0);
    world.pass(Span::hours(8));
    assert!(world.offers_put(&thermostat()).is_empty());
}

#[test]
fn what_was_never_reported_is_unknown_and_never_sends() {
    for condition in ["context.presence == \"home\"", "!(context.presence == \"away\")"] {
        let mut world = World::at_home(&with(&format!("[trigger.when]\nall = '{condition}'\n")));
        assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0, "{condition}");
        assert!(
            world.last_trace().steps.iter().any(|step| step.reason.starts_with("conditions_unknown")),
            "{condition}"
        );
        world.up(&thermostat(), "up/context", r#"{"presence":"home","ttl_s":900}"#).unwrap();
        assert_eq!(world.offers_put(&thermostat()).len(), 1, "{condition}: known by now, and the edge still holds");
    }
}

#[test]
fn nobody_is_offered_anything_without_consent() {
    let mut world = World::with(COLD);
    world.register(&thermostat());
    world.link(&thermostat(), "p1", &[Purpose::ProfilingUsage]);
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
    assert_eq!(world.last_trace().first_block, Some(Step::Consent));
}

#[test]
fn an_unlinked_device_is_offered_nothing() {
    let mut world = World::with(COLD);
    world.register(&thermostat());
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
}

#[test]
fn a_withdrawn_consent_takes_the_offer_back_and_silences_the_next() {
    let mut world = World::at_home(COLD);
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 1);
    let device = thermostat();
    let body = r#"{"set":[{"purpose":"offers.device","granted":false,"method":"button"}]}"#;
    world.up(&device, "up/consent", body).unwrap();
    let heard = world.heard(&device);
    assert!(heard.iter().any(|message| matches!(message, DownMessage::OfferWithdraw { .. })), "{heard:?}");
    assert!(heard.iter().any(|message| matches!(message, DownMessage::Consent { .. })), "{heard:?}");
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
}

#[test]
fn a_withdrawal_pressed_offline_beats_an_older_grant_from_the_app() {
    let mut world = World::at_home(COLD);
    let device = thermostat();
    let pressed = world.now + Span::minutes(1);
    world.pass(Span::minutes(5));
    let body = format!(r#"{{"set":[{{"purpose":"offers.device","granted":false,"t":{}}}]}}"#, pressed.0);
    world.up(&device, "up/consent", &body).unwrap();
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
    let older = hearthway_core::model::ConsentRecord { at: pressed - Span::seconds(30), ..world.word(true) };
    let profile = hearthway_core::id::ProfileId::new("p1").unwrap();
    world.command(&device, Command::SetConsents { profile, records: vec![(Purpose::OffersDevice, older)] }).unwrap();
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0, "the newer word stands");
}

pub const QUIET: &str = "[trigger.limits]\nquiet = { from = \"21:00\", to = \"08:00\", when_quiet = \"hold\" }\n";

#[test]
fn quiet_hours_hold_an_offer_until_their_end() {
    let mut world = World::at_home(&with(QUIET));
    world.pass(Span::hours(13));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0, "it is eleven at night");
    assert_eq!((world.last_trace().verdict, world.last_trace().first_block), (Verdict::Held, Some(Step::Quiet)));
    world.pass(Span::hours(8));
    assert!(world.offers_put(&thermostat()).is_empty());
    world.pass(Span::minutes(70));
    let offers = world.offers_put(&thermostat());
    assert_eq!(offers.len(), 1);
    let local = hearthway_core::time::Zone::new("Europe/Paris").unwrap().local(world.now);
    assert_eq!(local.hour(), 8);
}

#[test]
fn a_held_offer_goes_out_only_if_it_is_still_eligible() {
    let mut world = World::at_home(&with(QUIET));
    world.pass(Span::hours(13));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
    let device = thermostat();
    let profile = hearthway_core::id::ProfileId::new("p1").unwrap();
    let word = world.word(false);
    world.command(&device, Command::SetConsents { profile, records: vec![(Purpose::OffersDevice, word)] }).unwrap();
    world.pass(Span::hours(12));
    assert!(world.offers_put(&device).is_empty());
    assert_eq!(world.offer_states(&device), [OfferState::Withdrawn]);
}

#[test]
fn an_unknown_zone_is_quiet_where_quiet_hours_are_asked_for() {
    let mut world = World::at_home(&with(QUIET));
    let home = world.routes[&thermostat()];
    world.homes.get_mut(&home).unwrap().zone = None;
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
    assert_eq!(world.last_trace().first_block, Some(Step::Quiet));
}

#[test]
fn an_offer_that_waited_for_the_device_into_the_night_is_held_at_delivery() {
    let mut world = World::at_home(&with(QUIET));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 1);
    let id = *world.home_of(&thermostat()).offers.keys().next().unwrap();
    world.pass(Span::hours(13));
    world.input(&thermostat(), What::Reachable { waiting: vec![id] }).unwrap();
    assert!(world.offers_put(&thermostat()).is_empty());
    world.pass(Span::hours(10));
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

#[test]
fn a_cap_of_a_year_is_not_forgotten_because_other_offers_were_made() {
    let yearly =
        "[trigger.limits]\ncaps = [ { max = 1, per = \"offer\", scope = \"household\", within = \"365d\" } ]\n";
    let often = COLD.replace("cold-home", "cool-home").replace("17 °C", "19 °C").replace("18 °C", "20 °C");
    let mut world = World::at_home(&format!("{}{often}", with(yearly)));
    // Each is refused at once.
    let refused = |world: &mut World, values: &[f64]| {
        for value in values {
            world.pass(Span::minutes(1));
            temperature(world, *value);
        }
        let offers = world.offers_put(&thermostat());
        for offer in &offers {
            let body = format!(r#"{{"offer":"{0}","rev":1,"answer":"decline","nonce":"{0}"}}"#, offer.id);
            world.up(&thermostat(), "up/offer/answer", &body).unwrap();
        }
        offers.len()
    };
    assert_eq!((refused(&mut world, &[21.0, 18.5]), refused(&mut world, &[16.0])), (1, 1));
    for _ in 0..100 {
        world.pass(Span::days(3));
        assert_eq!(refused(&mut world, &[21.0, 18.5]), 1);
    }
    assert_eq!(world.home_of(&thermostat()).contacts.len(), CONTACTS_MAX + 1);
    assert_eq!(refused(&mut world, &[16.0]), 0, "three hundred days later");
    assert_eq!(world.last_trace().first_block, Some(Step::Caps));
    world.pass(Span::days(66));
    assert_eq!((refused(&mut world, &[21.0, 18.5]), refused(&mut world, &[16.0])), (1, 1), "after a year, both");
}

#[test]
fn caps_count_contacts_and_name_what_is_used_up() {
    let caps = "[trigger.limits]\ncaps = [ { max = 1, per = \"offer\", scope = \"household\", within = \"7d\" } ]\n";
    let mut world = World::at_home(&with(caps));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0, 19.0, 16.0]), 1);
    let trace = world.last_trace();
    assert_eq!(trace.first_block, Some(Step::Caps));
    let step = trace.steps.iter().find(|step| step.step == Step::Caps).unwrap();
    assert_eq!((step.verdict, &*step.reason), (StepVerdict::Block, "cap_reached: household 1 of 1 in 7 d"));
    assert!(step.numbers.iter().any(|(name, _)| name == "frees"));
    world.pass(Span::days(7));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 1);
}

#[test]
fn an_offer_nobody_saw_gives_its_contact_back_when_it_expires() {
    let caps = "[trigger.limits]\ncaps = [ { max = 1, per = \"offer\", scope = \"household\", within = \"7d\" } ]\n";
    let mut world = World::at_home(&with(caps));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 1);
    world.pass(Span::hours(49));
    assert_eq!(world.offer_states(&thermostat()), [OfferState::Expired]);
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 1);
}

#[test]
fn a_refused_offer_stays_silent_for_its_cool_down() {
    let after = "[trigger.limits]\nafter = { declined = \"45d\" }\n";
    let mut world = World::at_home(&with(after));
    temperature(&mut world, 19.0);
    temperature(&mut world, 16.0);
    let offer = world.offers_put(&thermostat()).remove(0);
    world
        .up(
            &thermostat(),
            "up/offer/answer",
            &format!(r#"{{"offer":"{}","rev":1,"answer":"decline","nonce":"n"}}"#, offer.id),
        )
        .unwrap();
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
    assert_eq!(world.last_trace().first_block, Some(Step::Suppression));
    world.pass(Span::days(46));
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 1);
}

#[test]
fn a_product_on_its_way_is_not_offered_again() {
    let mut world = World::at_home(FILTER_WORN);
    let device = thermostat();
    for hours in [590, 612] {
        world.up(&device, "up/slot", &used(hours)).unwrap();
    }
    let offer = world.offers_put(&device).remove(0);
    world
        .up(&device, "up/offer/answer", &format!(r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n"}}"#, offer.id))
        .unwrap();
    for hours in [10, 612] {
        world.pass(Span::minutes(1));
        world.up(&device, "up/slot", &used(hours)).unwrap();
    }
    assert_eq!(world.last_trace().first_block, Some(Step::Suppression));
}

#[test]
fn a_device_without_the_placement_the_language_or_the_confirmation_gets_no_offer_that_needs_it() {
    let device = thermostat();
    let desc = |placements: &str, locales: &str, confirm: &str| {
        format!(
            r#"{{"model":"th-200","kind":"thermostat","placements":[{placements}],"locales":[{locales}],"confirm":[{confirm}]}}"#
        )
    };
    let card = r#"{"id":"home.card","title_max":40,"body_max":160}"#;
    for (body, block) in [
        (desc(r#"{"id":"led"}"#, r#""fr""#, r#""press2s""#), Some(Step::Placement)),
        (desc(card, r#""de""#, r#""press2s""#), Some(Step::Content)),
        (desc(r#"{"id":"home.card","title_max":5}"#, r#""fr""#, r#""press2s""#), Some(Step::Placement)),
    ] {
        let mut world = World::at_home(&with("[trigger.channel]\norder = [\"device:home.card\"]\n"));
        world.up(&device, "desc", &body).unwrap();
        assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0, "{body}");
        assert_eq!(world.last_trace().first_block, block, "{body}");
    }
}

#[test]
fn a_model_without_confirmation_degrades_order_to_open_app() {
    use hearthway_core::model::Action;
    let mut world = World::at_home(COLD);
    let mut model = (*world.rules.models["th-200"]).clone();
    model.description.confirm.clear();
    world.rules.models.insert(model.description.model.clone(), std::sync::Arc::new(model));
    temperature(&mut world, 19.0);
    temperature(&mut world, 16.0);
    let offer = world.offers_put(&thermostat()).remove(0);
    assert_eq!(offer.actions, [Action::OpenApp, Action::Decline]);
    assert_eq!(offer.confirm, None);
    let accept = format!(r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n"}}"#, offer.id);
    assert_eq!(world.up(&thermostat(), "up/offer/answer", &accept), Err(Code::OfferNotAllowed));
}

#[test]
fn a_slot_or_unit_that_is_not_declared_is_refused_with_its_code() {
    let mut world = World::at_home(FILTER_WORN);
    let device = thermostat();
    let slot = r#"{"slot":"water_filter","kind":"usage","used":1,"unit":"h"}"#;
    assert_eq!(world.up(&device, "up/slot", slot), Err(Code::SlotUnknown));
    let unit = r#"{"slot":"air_filter","kind":"usage","used":1,"unit":"d"}"#;
    assert_eq!(world.up(&device, "up/slot", unit), Err(Code::UnitMismatch));
    let heard = world.heard(&device);
    assert!(matches!(&heard[..], [DownMessage::Error { .. }, DownMessage::Error { .. }]), "{heard:?}");
}

#[test]
fn a_suspended_device_is_refused_but_its_withdrawal_of_consent_is_not() {
    let mut world = World::at_home(COLD);
    let device = thermostat();
    world.command(&device, Command::Suspend { reason: "stolen".into() }).unwrap();
    assert_eq!(world.up(&device, "up/telemetry", r#"{"temperature":19}"#), Err(Code::DeviceSuspended));
    let withdraw = r#"{"set":[{"purpose":"offers.device","granted":false}]}"#;
    assert_eq!(world.up(&device, "up/consent", withdraw), Ok(Reply::Done));
    world.command(&device, Command::Resume).unwrap();
    assert_eq!(offers_for(&mut world, &[19.0, 16.0]), 0);
}

#[test]
fn an_old_will_does_not_take_a_newer_birth_offline() {
    use hearthway_core::model::PresenceState;
    let mut world = World::at_home(COLD);
    let device = thermostat();
    world.up(&device, "presence", r#"{"state":"online","epoch":18}"#).unwrap();
    world.up_raw(&device, "presence", r#"{"id":"will-17","body":{"state":"lost","epoch":17}}"#).unwrap();
    assert_eq!(world.home_of(&device).devices[&device].presence.state, PresenceState::Online);
    world.up_raw(&device, "presence", r#"{"id":"will-18","body":{"state":"lost","epoch":18}}"#).unwrap();
    assert_eq!(world.home_of(&device).devices[&device].presence.state, PresenceState::Lost);
}

#[test]
fn why_an_input_woke_nothing_is_told_with_every_step() {
    let mut world = World::at_home(COLD);
    temperature(&mut world, 19.0);
    let (id, input) = world.log.last().cloned().unwrap();
    let trigger = world.rules.triggers.iter().next().unwrap().clone();
    let trace = hearthway_core::decide::why_not_candidate(&world.homes[&id], &input, &world.rules, &trigger);
    assert_eq!(trace.verdict, Verdict::Held);
    let reasons: Vec<&str> = trace.steps.iter().map(|step| &*step.reason).collect();
    assert!(reasons.contains(&"not_woken: temperature is 19, it did not fall below 17"), "{reasons:?}");
    temperature(&mut world, 16.0);
    temperature(&mut world, 15.5);
    let (id, input) = world.log.last().cloned().unwrap();
    let trace = hearthway_core::decide::why_not_candidate(&world.homes[&id], &input, &world.rules, &trigger);
    let reasons: Vec<&str> = trace.steps.iter().map(|step| &*step.reason).collect();
    let beyond = "not_woken: temperature is 15.5 already: it must come back before it can fall below 17; ";
    assert!(reasons.iter().any(|reason| reason.starts_with(beyond)), "{reasons:?}");
    let _ = Timestamp(0);
}
