//! Reports and forecasts over HTTP: what they tell, and whom.

use std::time::Duration;

use super::*;

const KINDS: [&str; 5] = ["funnel", "uplift", "opt-outs", "blocked-reasons", "channel"];

/// A shop with a live trigger, a home that was offered a filter and one that has not consented.
async fn sold() -> House {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.link("d-1", "p1").await;
    house.link("d-2", "p2").await;
    let no = json!({"consents": [{"purpose": "offers.device", "granted": false, "text_id": "t1"}]});
    house.ok("PUT", "/v1/profiles/p2/consents", &house.shop, no).await;
    for device in ["d-1", "d-2"] {
        house.used(device, 590.0).await;
        house.used(device, 612.0).await;
    }
    house
}

fn decisions(report: &Value, stage: &str) -> u64 {
    let stages = report["triggers"][0]["stages"].as_array().unwrap();
    let at = stages.iter().find(|at| at["stage"] == stage).unwrap();
    at["decisions"].as_u64().unwrap()
}

#[tokio::test]
async fn a_funnel_tells_what_became_of_a_trigger() {
    let house = sold().await;
    let report = house.get("/v1/reports/funnel", &house.shop).await;
    assert_eq!(report.status, 200, "{}", report.text);
    let report = report.json;
    assert_eq!((report["report"].as_str(), report["zone"].as_str()), (Some("funnel"), Some("Europe/Paris")));
    let counts = ["matched", "blocked", "sent", "accepted"].map(|stage| decisions(&report, stage));
    assert_eq!(counts, [2, 1, 1, 0], "{report:#}");
    let offer = house.get("/v1/offers?limit=1", &house.shop).await.json["items"][0]["offer"].clone();
    let answer = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    house.ok("POST", &format!("/v1/offers/{}/answer", offer.as_str().unwrap()), &house.shop, answer).await;
    let report = house.get("/v1/reports/funnel?trigger=filter-worn", &house.shop).await.json;
    assert_eq!(["accepted", "ordered"].map(|stage| decisions(&report, stage)), [1, 1]);
    let reasons = house.get("/v1/reports/blocked-reasons", &house.shop).await.json;
    assert_eq!(reasons["triggers"][0]["blocked_by"][0]["reason"], "consent:no_consent");
    let channel = house.get("/v1/reports/channel", &house.shop).await.json;
    assert_eq!((&channel["rows"][0]["model"], &channel["rows"][0]["accepted"]), (&json!("th-200"), &json!(1)));
}

#[tokio::test]
async fn every_report_is_a_table_too() {
    let house = sold().await;
    for kind in KINDS {
        let answer = house.get(&format!("/v1/reports/{kind}?format=csv"), &house.shop).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/csv; charset=utf-8"), "{kind}");
        let columns = answer.text.lines().next().unwrap().split(',').count();
        assert!(columns >= 6 && answer.text.lines().all(|line| line.split(',').count() == columns), "{}", answer.text);
    }
    let csv = house.get("/v1/reports/funnel?format=csv", &house.shop).await.text;
    assert!(csv.contains("filter-worn,all,blocked,consent:no_consent,1,1\n"), "{csv}");
}

#[tokio::test]
async fn a_shop_sees_its_own_reports_and_nobody_elses() {
    let house = sold().await;
    let marketer = house.token("shop-a", "marketer").await;
    let (support, other) = (house.token("shop-a", "support").await, house.token("shop-b", "marketer").await);
    for kind in KINDS {
        let path = format!("/v1/reports/{kind}");
        for (token, status) in [
            (house.shop.as_str(), 200),
            (&marketer, 200),
            (&support, 403),
            (OPERATOR, 403),
            (&house.maker, 403),
            ("", 401),
        ] {
            assert_eq!(house.get(&path, token).await.status, status, "{kind}");
        }
        for token in [&house.other_shop, &other] {
            let theirs = house.get(&path, token).await.json;
            assert_eq!((&theirs["retailer"], &theirs["households"]), (&json!("shop-b"), &json!(0)), "{theirs:#}");
            let found = theirs["triggers"].as_array().or(theirs["rows"].as_array()).unwrap();
            assert!(found.is_empty(), "{theirs:#}");
        }
    }
}

#[tokio::test]
async fn a_report_holds_nobodys_data() {
    let house = sold().await;
    let home = house.get("/v1/devices/d-1", &house.shop).await.json["link"]["household"].as_str().unwrap().to_owned();
    for kind in KINDS {
        for format in ["json", "csv"] {
            let text = house.get(&format!("/v1/reports/{kind}?format={format}"), &house.shop).await.text;
            for secret in ["Maison", "p1", "d-1", home.as_str()] {
                assert!(!text.contains(&format!("\"{secret}\"")) && !text.contains("hh_"), "{kind}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn wrong_questions_are_told_with_what_is_wrong() {
    let house = sold().await;
    for (path, said) in [
        ("funnel?from=yesterday", "the parameter `from`: write a day as `2026-11-10`"),
        ("funnel?from=2026-11-10&until=2026-11-10", "the parameter `until`: 2026-11-10 is not after"),
        ("funnel?window=14d", "the parameter `window`: `funnel` looks at no time after an offer"),
        ("uplift?window=two%20weeks", "the parameter `window`: `two weeks` is not a duration"),
        ("funnel?format=xlsx", "the parameter `format`: takes `json` or `csv`"),
        ("funnel?trigger=No%20Name", "the parameter `trigger`: "),
        ("funnel?days=7", "unknown field `days`"),
    ] {
        let answer = house.get(&format!("/v1/reports/{path}"), &house.shop).await;
        assert_eq!((answer.status, answer.code()), (422, "payload.invalid"), "{path}: {}", answer.text);
        assert!(answer.json["detail"].as_str().unwrap().contains(said), "{path}: {}", answer.text);
    }
    let unknown = house.get("/v1/reports/funnel?trigger=filter-wron", &house.shop).await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"), "{}", unknown.text);
    let nothing = house.get("/v1/reports/funnel?trigger=filter-worn&until=2001-01-01", &house.shop).await;
    assert_eq!((nothing.status, &nothing.json["triggers"]), (200, &json!([])), "there is such a trigger");
}

async fn forecast(house: &House, trigger: Value) -> Value {
    let begun = house.ok("POST", "/v1/triggers:reach", &house.shop, json!({"trigger": trigger})).await;
    let path = format!("/v1/triggers:reach/{}", begun["reach"].as_str().unwrap());
    for _ in 0..500 {
        let state = house.get(&path, &house.shop).await.json;
        if state["state"] != "running" {
            let theirs = house.get(&path, &house.other_shop).await;
            assert_eq!(theirs.status, 404, "another shop's forecast");
            let as_backtest = house.get(&path.replace("triggers:reach", "backtests"), &house.shop).await;
            assert_eq!(as_backtest.status, 404, "it is no backtest");
            assert_eq!(state["state"], "done", "{state:#}");
            return state["report"].clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the forecast never ends");
}

#[tokio::test]
async fn a_forecast_of_reach_counts_homes_step_by_step() {
    let house = sold().await;
    // Another shop's home, and a device that nobody claimed, are not this shop's.
    house.register("d-3").await;
    let mut wanted = trigger();
    wanted["id"] = json!("spare-filter");
    // The same slot has a live trigger already: on one surface the higher priority wins.
    wanted["priority"] = json!(90);
    let report = forecast(&house, wanted.clone()).await;
    let left = |report: &Value, stage: &str| {
        let stages = report["stages"].as_array().unwrap();
        stages.iter().find(|at| at["stage"] == stage).unwrap()["households"].as_u64().unwrap()
    };
    assert_eq!(["homes", "device", "link"].map(|stage| left(&report, stage)), [2, 2, 2], "{report:#}");
    assert_eq!(["consent", "placement"].map(|stage| left(&report, stage)), [1, 1], "{report:#}");
    assert_eq!(report["blocked_by"], json!([{"reason": "consent:no_consent", "households": 1}]));
    assert_eq!((&report["history"]["sent"], &report["history"]["sent_per_day"]), (&json!(1), &Value::Null));
    // Whoever is capped, not in the audience or without the device is not reached.
    wanted["limits"] = json!({"caps": [{"max": 1, "per": "all", "within": "7d"}]});
    assert_eq!(forecast(&house, wanted.clone()).await["blocked_by"][0]["reason"], "caps:cap_reached");
    wanted["audience"] = json!({"include": ["owners-of-a-boat"]});
    let report = forecast(&house, wanted.clone()).await;
    assert_eq!((left(&report, "consent"), left(&report, "audience")), (1, 0));
    wanted["on"]["device"]["model"] = json!(["th-200"]);
    assert_eq!(left(&forecast(&house, wanted).await, "device"), 2);
}

#[tokio::test]
async fn a_forecast_of_a_wrong_trigger_lists_what_is_wrong() {
    let house = sold().await;
    let mut wrong = trigger();
    wrong["on"]["slot"] = json!("air_filtre");
    let answer = house.call("POST", "/v1/triggers:reach", &house.shop, json!({"trigger": wrong})).await;
    assert_eq!((answer.status, answer.code()), (422, "payload.invalid"), "{}", answer.text);
    let answer = house.call("POST", "/v1/triggers:reach", &house.shop, json!({"trigger": trigger(), "days": 0})).await;
    assert_eq!((answer.status, &answer.json["pointer"]), (422, &json!("/days")), "{}", answer.text);
    let support = house.token("shop-a", "support").await;
    let answer = house.call("POST", "/v1/triggers:reach", &support, json!({"trigger": trigger()})).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn how_likely_offers_are_accepted_is_learned_from_what_was_counted() {
    let house = sold().await;
    assert_eq!(house.get("/v1/chances", &house.shop).await.status, 404);
    let offer = house.get("/v1/offers?limit=1", &house.shop).await.json["items"][0]["offer"].clone();
    let answer = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    house.ok("POST", &format!("/v1/offers/{}/answer", offer.as_str().unwrap()), &house.shop, answer).await;
    let learned = house.ok("POST", "/v1/chances:learn", &house.shop, json!({"explore": true})).await;
    assert_eq!((&learned["seen"], &learned["accepted"], &learned["explore"]), (&json!(1), &json!(1), &json!(true)));
    let rows = learned["items"].as_array().unwrap();
    assert_eq!(
        (rows[0]["trigger"].as_str(), &rows[0]["model"], &rows[1]["model"]),
        (Some("filter-worn"), &Value::Null, &json!("th-200"))
    );
    let chance = rows[1]["chance"].as_f64().unwrap();
    assert!((0.1..0.4).contains(&chance), "one of one is no certainty: {chance}");
    assert_eq!(house.get("/v1/chances", &house.shop).await.json, learned);
    let again = house.ok("POST", "/v1/chances:learn", &house.shop, json!({})).await;
    assert_eq!(again, learned, "nothing new: the same version stays");
    assert_eq!(house.get("/v1/chances", &house.other_shop).await.status, 404);
    assert_eq!(house.call("POST", "/v1/chances:learn", &house.maker, json!({})).await.status, 403);
    let wrong = json!({"id": "x", "name": {"en": "X"}, "price": {"minor": 100, "currency": "EUR"}, "margin": {"minor": 101, "currency": "EUR"}});
    let refused = house.call("PUT", "/v1/products/x", &house.shop, wrong).await;
    assert_eq!((refused.status, &refused.json["pointer"]), (422, &json!("/margin/minor")));
}
