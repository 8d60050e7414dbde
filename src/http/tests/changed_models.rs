//! What live triggers do when a device model, or a product that they name, changes under them.

use hearthway_core::id::{ModelId, RetailerId, TriggerId};
use serde_json::{Value, json};

use super::{House, OPERATOR, house, model, product, trigger};
use crate::app::documents::Condition;
use crate::app::{Failure, Rulebook};
use crate::engine::RuleBook;

const PATH: &str = "/v1/models/th-200";

/// A shop whose trigger is live, with a home.
async fn open() -> (House, String) {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    publish(&house, trigger()).await;
    let home = house.link("d-1", "p1").await["household"].as_str().unwrap().to_owned();
    (house, home)
}

async fn publish(house: &House, body: Value) -> Value {
    let id = body["id"].as_str().unwrap().to_owned();
    house.ok("PUT", &format!("/v1/triggers/{id}"), &house.shop, body).await;
    house.ok("POST", &format!("/v1/triggers/{id}/publish"), &house.shop, json!({})).await
}

async fn shown(house: &House) -> Value {
    house.get("/v1/triggers/filter-worn", &house.shop).await.json
}

async fn offers(house: &House) -> usize {
    house.get("/v1/offers", &house.shop).await.json["items"].as_array().unwrap().len()
}

async fn wear_out(house: &House) {
    for used in [10.0, 590.0, 612.0] {
        house.used("d-1", used).await;
    }
}

/// The rules that are read are those that a start, or a replay, comes to from what is on disk.
fn same_after_a_start(house: &House) {
    let live = house.app.engine.rules();
    let reopened = Rulebook::open(house.disk.open()).unwrap();
    let again = reopened.current();
    let told = |rules: &hearthway_core::rules::RuleSet| {
        let triggers: Vec<String> = rules.triggers.iter().map(|trigger| format!("{trigger:?}")).collect();
        (triggers, rules.held.clone(), rules.units.clone(), format!("{:?}", rules.audiences))
    };
    assert_eq!(live.version, again.version);
    assert_eq!(told(&live), told(&again));
}

fn without_slot() -> Value {
    let mut changed = model();
    changed["slots"] = json!([]);
    changed
}

#[tokio::test]
async fn a_trigger_whose_slot_is_gone_is_held_tells_why_and_speaks_again_when_it_is_back() {
    let (house, home) = open().await;
    publish(&house, {
        let mut other = trigger();
        other["id"] = json!("cold");
        other["on"] =
            json!({"event": "telemetry", "device": {"kind": "thermostat"}, "field": "temperature", "falls_below": 17});
        other["test"] = json!([]);
        other
    })
    .await;
    let answer = house.ok("PUT", PATH, OPERATOR, without_slot()).await;
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("`filter-worn` of `shop-a` is held") && warnings.contains("air_filter"), "{warnings}");
    assert!(!warnings.contains("cold"), "{warnings}");
    let held = shown(&house).await;
    assert_eq!((&held["state"], &held["problems"][0]["severity"]), (&json!("held"), &json!("error")), "{held}");
    assert_eq!(house.get("/v1/triggers/cold", &house.shop).await.json["state"], "published");
    let listed = house.get("/v1/triggers", &house.shop).await.json;
    assert_eq!((&listed["items"][1]["state"], &listed["items"][1]["problems"]), (&json!("held"), &held["problems"]));
    assert_eq!(house.app.engine.rules().triggers.len(), 1);
    same_after_a_start(&house);

    let back = house.ok("PUT", PATH, OPERATOR, model()).await;
    assert_eq!(back["warnings"], Value::Null);
    let live = shown(&house).await;
    assert_eq!((&live["state"], &live["problems"]), (&json!("published"), &json!([])));
    same_after_a_start(&house);
    wear_out(&house).await;
    assert_eq!(offers(&house).await, 1);
    assert_eq!(house.app.engine.replay(home.parse().unwrap()).unwrap().differences, []);
}

#[tokio::test]
async fn a_maker_hears_how_many_triggers_its_change_holds_and_not_whose() {
    let (house, _) = open().await;
    let answer = house.call("PUT", PATH, &house.maker, without_slot()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["warnings"].as_array().unwrap().len(), 1);
    assert!(answer.text.contains("1 live triggers"), "{}", answer.text);
    assert!(!answer.text.contains("filter-worn") && !answer.text.contains("shop-a"), "{}", answer.text);
}

#[tokio::test]
async fn a_number_without_a_unit_does_not_come_to_mean_another() {
    let (house, home) = open().await;
    let mut bare = trigger();
    bare["on"]["rises_above"] = json!(600);
    bare["on"]["rearm"] = json!(50);
    bare["test"] = json!([]);
    publish(&house, bare).await;
    let mut changed = model();
    changed["slots"][0]["unit"] = json!("min");
    house.ok("PUT", PATH, OPERATOR, changed).await;
    let held = shown(&house).await;
    assert_eq!(
        (&held["state"], &held["problems"][0]["code"]),
        (&json!("held"), &json!("trigger.unit_changed")),
        "{held}"
    );
    same_after_a_start(&house);
    wear_out(&house).await;
    assert_eq!(offers(&house).await, 0);
    // Neither a model that forgets the slot for a while mends it, nor another trigger's change.
    house.ok("PUT", PATH, OPERATOR, without_slot()).await;
    let mut changed = model();
    changed["slots"][0]["unit"] = json!("min");
    house.ok("PUT", PATH, OPERATOR, changed).await;
    assert_eq!(shown(&house).await["state"], "held");
    same_after_a_start(&house);
    // Who publishes it as it is means the new unit.
    let published = house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    assert_eq!((&published["state"], &published["version"]), (&json!("published"), &json!(2)), "{published}");
    same_after_a_start(&house);
    wear_out(&house).await;
    assert_eq!(offers(&house).await, 1);
    assert_eq!(house.app.engine.replay(home.parse().unwrap()).unwrap().differences, []);
    // Back in hours it would mean hours again: held, until somebody looks.
    house.ok("PUT", PATH, OPERATOR, model()).await;
    assert_eq!(shown(&house).await["state"], "held");
    same_after_a_start(&house);
}

#[tokio::test]
async fn neither_a_set_nor_a_roll_back_gives_a_number_another_unit() {
    let (house, home) = open().await;
    let mut bare = trigger();
    bare["on"]["rises_above"] = json!(600);
    bare["on"]["rearm"] = json!(50);
    bare["test"] = json!([]);
    publish(&house, bare.clone()).await;
    let mut changed = model();
    changed["slots"][0]["unit"] = json!("min");
    house.ok("PUT", PATH, OPERATOR, changed).await;
    assert_eq!(shown(&house).await["state"], "held");
    let set = async || {
        let told = house.bulk("/v1/triggers:publish", &house.shop, &[bare.to_string()]).await[0].clone();
        (told["published"].clone(), told["held"].clone())
    };
    let roll_back = async |to: u64| {
        let path = "/v1/triggers/filter-worn/rollback";
        let told = house.call("POST", path, &house.shop, json!({"version": to})).await;
        (told.status, told.json["problems"][0]["code"].clone())
    };
    let of_unit = (422, json!("trigger.unit_changed"));
    assert_eq!(set().await, (json!(0), json!(["filter-worn"])));
    assert_eq!((roll_back(2).await, shown(&house).await["state"].clone()), (of_unit.clone(), json!("held")));
    // A pause says nothing about the numbers either.
    house.ok("POST", "/v1/triggers/filter-worn/pause", &house.shop, json!({})).await;
    assert_eq!(set().await, (json!(0), json!(["filter-worn"])));
    assert_eq!((roll_back(2).await, shown(&house).await["state"].clone()), (of_unit.clone(), json!("paused")));
    // Another text says what it means; the earlier one still does not.
    let mut other = bare.clone();
    other["on"]["rises_above"] = json!("36000 min");
    other["on"]["rearm"] = json!("3000 min");
    publish(&house, other).await;
    assert_eq!(roll_back(2).await, of_unit);
    wear_out(&house).await;
    assert_eq!(offers(&house).await, 0);
    same_after_a_start(&house);
    assert_eq!(house.app.engine.replay(home.parse().unwrap()).unwrap().differences, []);
    // Once it is meant so by somebody, a set and a roll back may bring it.
    publish(&house, bare.clone()).await;
    house.ok("POST", "/v1/triggers/filter-worn/pause", &house.shop, json!({})).await;
    assert_eq!(set().await, (json!(1), json!([])));
    same_after_a_start(&house);
}

#[tokio::test]
async fn a_held_trigger_is_paused_and_published_like_any_other() {
    let (house, _) = open().await;
    house.ok("PUT", PATH, OPERATOR, without_slot()).await;
    let refused = house.call("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    house.ok("POST", "/v1/triggers:stop", &house.shop, json!({})).await;
    assert_eq!(shown(&house).await["state"], "paused");
    same_after_a_start(&house);
    house.ok("PUT", PATH, OPERATOR, model()).await;
    assert_eq!(shown(&house).await["state"], "paused", "nobody asked it to speak");
    let line = trigger().to_string();
    house.bulk("/v1/triggers:publish", &house.shop, &[line]).await;
    assert_eq!(shown(&house).await["state"], "published");
    same_after_a_start(&house);
}

#[tokio::test]
async fn a_product_that_is_gone_or_does_not_fit_leaves_its_trigger_live_and_silent() {
    let (house, home) = open().await;
    let mut unfit = product();
    unfit["fits"] = json!([{"model": "th-900", "slot": "air_filter"}]);
    let answer = house.ok("PUT", "/v1/products/flt-20x25", &house.shop, unfit).await;
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("the live trigger `filter-worn`") && warnings.contains("does not fit"), "{warnings}");
    let live = shown(&house).await;
    let told = (&live["state"], &live["problems"][0]["code"]);
    assert_eq!(told, (&json!("published"), &json!("trigger.product_does_not_fit")), "{live}");
    wear_out(&house).await;
    assert_eq!(offers(&house).await, 0);
    let why = house.get(&format!("/v1/explain?household={home}&trigger=filter-worn"), &house.shop).await;
    assert_eq!(why.json["first_block"], "offer", "{}", why.text);
    assert!(why.text.contains("flt-20x25 does not fit air_filter"), "{}", why.text);

    house.send("DELETE", "/v1/products/flt-20x25", &house.shop, &[], None).await;
    assert_eq!(shown(&house).await["problems"][0]["code"], "trigger.unknown_product");
    same_after_a_start(&house);
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    wear_out(&house).await;
    assert_eq!((offers(&house).await, shown(&house).await["problems"].clone()), (1, json!([])));
    assert_eq!(house.app.engine.replay(home.parse().unwrap()).unwrap().differences, []);
}

#[tokio::test]
async fn an_audience_that_does_not_agree_with_the_models_any_more_is_told_too() {
    let (house, _) = open().await;
    let rule = json!({"kind": "rule", "rule": "device.kind == \"thermostat\""});
    house.ok("PUT", "/v1/audiences/warm", &house.shop, rule).await;
    let mut changed = model();
    changed["kind"] = json!("boiler");
    let answer = house.ok("PUT", PATH, OPERATOR, changed).await;
    assert!(answer["warnings"].to_string().contains("nobody is in the audience `warm` of `shop-a`"), "{answer}");
    same_after_a_start(&house);
    house.ok("PUT", PATH, OPERATOR, model()).await;
    same_after_a_start(&house);
}

/// A shop with many live triggers, all of which a change of the model compiles again: that takes long.
async fn many_live() -> House {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let lines: Vec<String> = (0..MANY)
        .map(|n| {
            let mut one = trigger();
            one["id"] = json!(format!("t-{n:04}"));
            one["test"] = json!([]);
            one.to_string()
        })
        .collect();
    assert_eq!(house.bulk("/v1/triggers:publish", &house.shop, &lines).await[0]["published"], MANY);
    house
}

/// As many as take some hundred milliseconds, where one change of the rules takes one.
const MANY: usize = 600;

/// A model's id, and its text as it is kept.
fn kept(mut model: Value) -> (ModelId, String) {
    model["model"] = json!("th-200");
    (ModelId::new("th-200").unwrap(), model.to_string())
}

fn renamed(n: u64) -> Value {
    let mut changed = model();
    changed["slots"][0]["capacity"] = json!(720 + n);
    changed
}

#[tokio::test]
async fn a_stop_acts_while_a_model_that_changes_is_still_looked_at() {
    let house = many_live().await;
    let (rulebook, engine, shop) = (&house.app.rulebook, &house.app.engine, RetailerId::new("shop-a").unwrap());
    let (id, text) = kept(renamed(1));
    let (changed, stopped) = tokio::join!(rulebook.put_model(engine, &id, &text, &Condition::Any, |_| Ok(())), async {
        // The model came first, and its triggers are being compiled.
        let stopped = rulebook.pause_all(engine, &shop).await;
        (stopped.unwrap(), engine.rules())
    });
    let ((changed, _), (stopped, rules)) = (changed.unwrap(), stopped);
    assert_eq!((stopped, rules.triggers.len()), (MANY, 0));
    assert!(rules.version < changed.version, "the stop waited for nothing");
    assert_eq!(engine.rules().triggers.len(), 0, "and none speaks by the model's change");
    assert!(format!("{:?}", engine.rules().models[&id]).contains("721"), "which came");
    same_after_a_start(&house);
}

#[tokio::test]
async fn what_is_published_while_a_model_is_looked_at_is_compiled_against_it_too() {
    let house = many_live().await;
    let mut bare = trigger();
    bare["on"]["rises_above"] = json!(600);
    bare["on"]["rearm"] = json!(50);
    bare["test"] = json!([]);
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, bare).await;
    let caller = house.app.caller(&house.shop).unwrap();
    let (app, engine, filter) = (&house.app, &house.app.engine, TriggerId::new("filter-worn").unwrap());
    let mut in_minutes = model();
    in_minutes["slots"][0]["unit"] = json!("min");
    let (id, text) = kept(in_minutes);
    let (changed, published) = tokio::join!(
        app.rulebook.put_model(engine, &id, &text, &Condition::Any, |_| Ok(())),
        app.publish_trigger(&caller, &filter, None),
    );
    assert_eq!(published.unwrap().state(), "published");
    let (document, fallen) = changed.unwrap();
    assert_eq!(shown(&house).await["problems"][0]["code"], "trigger.unit_changed", "600 h are no 600 min");
    // So it is with the many, who say that they mean hours.
    assert_eq!((fallen.triggers.len(), engine.rules().version), (MANY + 1, document.version));
    same_after_a_start(&house);
}

#[tokio::test]
async fn what_was_checked_against_another_model_does_not_go_live() {
    let (house, _) = open().await;
    let marketer = house.app.caller(&house.token("shop-a", "marketer").await).unwrap();
    let (app, filter) = (&house.app, TriggerId::new("filter-worn").unwrap());
    house.ok("POST", "/v1/triggers/filter-worn/pause", &house.shop, json!({})).await;
    let refused = |failure: Failure| match failure {
        Failure::Refused(refusal) => (refusal.code.as_str(), refusal.message),
        other => panic!("{other:?}"),
    };
    // One by one: it waits until it is counted whom it reaches.
    let turn = app.counting_homes.clone().acquire_owned().await.unwrap();
    let (published, ()) = tokio::join!(app.publish_trigger(&marketer, &filter, None), async {
        house.ok("PUT", PATH, OPERATOR, renamed(1)).await;
        drop(turn);
    });
    let (code, why) = refused(published.unwrap_err());
    assert!(code == "internal.retry" && why.contains("model changed while"), "{code} {why}");
    assert_eq!(shown(&house).await["state"], "paused");
    // As a set, whose check takes long.
    let caller = house.app.caller(&house.shop).unwrap();
    let line = |n: usize| {
        let mut one = trigger();
        one["id"] = json!(format!("t-{n:04}"));
        one["test"] = json!([]);
        one.to_string()
    };
    let lines: Vec<String> = (0..MANY).map(line).collect();
    let (id, text) = kept(renamed(2));
    let (published, changed) = tokio::join!(
        app.publish_set(&caller, lines.join("\n").into_bytes(), false),
        app.rulebook.put_model(&app.engine, &id, &text, &Condition::Any, |_| Ok(())),
    );
    changed.unwrap();
    let (code, why) = refused(published.unwrap_err());
    assert!(code == "internal.retry" && why.contains("model changed while"), "{code} {why}");
    assert_eq!(app.engine.rules().triggers.len(), 0);
    let again = app.publish_set(&caller, lines.join("\n").into_bytes(), false).await.unwrap();
    assert_eq!(again.published, MANY);
}

#[tokio::test]
async fn nothing_speaks_after_a_stop_that_was_on_its_way_before_it() {
    let (house, _) = open().await;
    let mut other = trigger();
    other["on"]["rises_above"] = json!("620 h");
    other["test"] = json!([]);
    publish(&house, other).await;
    let (app, filter) = (&house.app, TriggerId::new("filter-worn").unwrap());
    let (shop, caller) = (RetailerId::new("shop-a").unwrap(), app.caller(&house.shop).unwrap());
    // Somebody else's change is being written; behind it wait the stop and what was checked before it.
    let long = || {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let change = app.rulebook.put_products(&app.engine, &shop, Vec::new(), move |_| {
            ended.recv().unwrap();
            Ok((Vec::new(), ()))
        });
        (change, async move { end.send(()).unwrap() })
    };
    let (other, end) = long();
    let (other, stopped, rolled_back, ()) =
        tokio::join!(other, app.stop_triggers(&caller), app.roll_back_trigger(&caller, &filter, None), end);
    assert_eq!((other.unwrap(), stopped.unwrap()), ((0, ()), 1));
    let why = rolled_back.unwrap_err().to_string();
    assert!(why.contains("somebody silenced triggers"), "{why}");
    assert_eq!(shown(&house).await["state"], "paused");

    let set = || {
        let mut fresh = trigger();
        fresh["id"] = json!("fresh");
        app.publish_set(&caller, format!("{}\n{fresh}", trigger()).into_bytes(), false)
    };
    let (other, end) = long();
    let (other, stopped, published, ()) = tokio::join!(other, app.stop_triggers(&caller), set(), end);
    assert_eq!((other.unwrap(), stopped.unwrap()), ((0, ()), 0), "all are silent");
    let why = published.unwrap_err().to_string();
    assert!(why.contains("somebody silenced triggers"), "{why}");
    assert_eq!(set().await.unwrap().published, 2, "who sends it now has seen the stop");
}

#[tokio::test]
async fn a_held_trigger_tells_its_budget() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let mut drawing = trigger();
    drawing["limits"] = json!({"budget": {"count": 50, "amount": "500.00 EUR"}});
    publish(&house, drawing).await;
    let path = "/v1/triggers/filter-worn/budget";
    let before = house.get(path, &house.shop).await;
    house.ok("PUT", PATH, OPERATOR, without_slot()).await;
    let held = house.get(path, &house.shop).await;
    assert_eq!((held.status, &held.json), (200, &before.json), "{}", held.text);
    assert_eq!(held.json["budget"]["count"], 50);
}

#[tokio::test]
async fn of_two_makers_who_take_one_model_id_at_once_one_has_it() {
    let house = house().await;
    house.ok("PUT", "/v1/makers/other", OPERATOR, json!({"name": "Other"})).await;
    let callers = [house.maker.clone(), house.token("other", "maker").await];
    let [first, second] = callers.map(|token| house.app.caller(&token).unwrap());
    let mut body = model();
    body.as_object_mut().unwrap().remove("maker");
    let (app, id) = (&house.app, ModelId::new("new-1").unwrap());
    let (first, second) = tokio::join!(
        app.put_model(&first, &id, &body, &Condition::Any),
        app.put_model(&second, &id, &body, &Condition::Any),
    );
    let refused = second.unwrap_err().to_string();
    assert!(first.is_ok() && refused.contains("taken by another maker"), "{refused}");
    assert_eq!(app.engine.rules().models[&id].maker.as_str(), "acme");
}
