//! Reports beside what they are about: the stored traces and offers of a week of homes, counted
//! here once more and by other means.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hearthway::clock::SystemClock;
use hearthway::config::{Config, Data, OperatorToken};
use hearthway::engine::reports::{Found, Question, Report, ReportKind};
use hearthway::engine::{Engine, Outcome, Past, Target};
use hearthway::store::Store;
use hearthway_core::id::{DeviceKey, RetailerId};
use hearthway_core::input::{Answer, Command as Asks, Input, What};
use hearthway_core::model::OfferState;
use hearthway_core::report::{Asked, Stage};
use hearthway_core::time::Timestamp;
use hearthway_core::wire::{DeviceMessage, EventUp};
use serde_json::{Value, json};

use crate::gateway::{Gateway, OPERATOR};
use crate::recount::{recounted, told};

/// A week's funnel counts what its log and its offers hold, and nothing else.
pub fn a_funnel_is_what_the_log_has(past: &Past, store: &dyn Store) -> Report {
    let shop = RetailerId::new("shop-a").unwrap();
    let question = Question { kind: ReportKind::Funnel, asked: Asked::default(), window: None };
    let report = past.report(&shop, &question, Timestamp(0)).unwrap();
    let Found::Funnel(funnel) = &report.found else { panic!("another report: {report:?}") };
    assert_eq!(told(funnel), recounted(past, store, &shop));
    for stage in [Stage::Sent, Stage::Shown, Stage::Accepted, Stage::Ordered, Stage::Blocked] {
        let sum: u64 = funnel.triggers.iter().map(|of| of.count(stage).decisions).sum();
        assert!(sum > 0, "no `{}` in the week: it proves nothing", stage.as_str());
    }
    for of in &funnel.triggers {
        let number = |stage: Stage| of.count(stage).decisions;
        let ends = [Stage::Blocked, Stage::Held, Stage::HeldOut, Stage::Sent].map(number).iter().sum::<u64>();
        assert_eq!(number(Stage::Matched), ends, "{}", of.trigger);
        for at in &of.stages {
            let of_days = of.days.iter().flat_map(|day| &day.stages).filter(|day| day.stage == at.stage);
            assert_eq!(at.decisions, of_days.map(|day| day.decisions).sum::<u64>(), "{} {:?}", of.trigger, at.stage);
        }
    }
    report
}

/// The command shows the same report in three ways.
pub fn the_command_tells_the_same(data: &Path, report: &Report) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
        let output = command.arg("report").args(arguments).arg("--data").arg(data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json: Value = serde_json::from_str(&run(&["funnel", "--format", "json"])).unwrap();
    assert_eq!(json, serde_json::to_value(report).unwrap());
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), *report, "it is read back as it was");
    let table = run(&["funnel", "--format", "csv"]);
    assert_eq!(table.lines().next(), Some("trigger,day,stage,reason,decisions,households"));
    assert_eq!(table.lines().count(), report.found.table().rows.len() + 1);
    let page = run(&["funnel", "--trigger", "filter-worn"]);
    for wanted in ["Funnel of shop-a", "Europe/Paris", "filter-worn", "matched", "█", "blocked by", "day "] {
        assert!(page.contains(wanted), "`{wanted}` is not in:\n{page}");
    }
    for kind in ["uplift", "opt-outs", "blocked-reasons", "channel"] {
        assert!(run(&[kind]).contains("shop-a"), "{kind}");
    }
    assert!(run(&["channel"]).contains("thermostat th-200"));
    assert!(run(&["funnel", "--from", "2001-01-01", "--until", "2001-01-02"]).contains("Nothing was counted"));
}

/// Homes of the shop that sells filters.
const HOMES: u64 = 400;

/// What a filter's trigger is: `asked` holds a quarter of the homes out, `shelf` nobody.
fn on_event(id: &str, event: &str, holdout: Option<Value>) -> Value {
    let mut trigger = json!({
        "id": id, "kind": "offer", "on": {"event": "event", "type": event},
        "offer": {"product": "flt-20x25", "cancel_window": "0 s", "actions": ["order", "decline"],
                  "text": {"fr": {"title": "Un filtre ?", "body": "{{ product.name }}"}}},
    });
    if let Some(holdout) = holdout {
        trigger["rollout"] = json!({"holdout": holdout});
    }
    trigger
}

async fn happens(engine: &Engine, device: &DeviceKey, what: &str) {
    let event = EventUp { r#type: what.into(), t: None, data: vec![] };
    let input = engine.command(Some(device.clone()), &[device.to_string().as_bytes(), what.as_bytes()], Asks::Resume);
    let input = Input { what: What::Device(DeviceMessage::Event(event)), ..input };
    let outcome = engine.call(Target::Device(device.clone()), input).await;
    assert!(matches!(outcome, Outcome::Committed(Ok(_))), "{outcome:?}");
}

/// Accepts the latest live offer, if there is one.
async fn accepts(engine: &Engine, device: &DeviceKey) -> bool {
    let household = engine.route(device).unwrap().household;
    let home = engine.facts(household).await.unwrap().unwrap();
    let Some(offer) = home.offers.values().find(|offer| offer.state == OfferState::Sent) else { return false };
    let answer = Answer::Accept { qty: None, fulfil: None };
    let answer = Asks::AnswerOffer { offer: offer.id, rev: 1, answer, channel: "app".into(), profile: None };
    let input = engine.command(Some(device.clone()), &[b"accept", offer.id.bytes()], answer);
    let outcome = engine.call(Target::Household(household), input).await;
    assert!(matches!(outcome, Outcome::Committed(Ok(_))), "{outcome:?}");
    true
}

/// A tenth buys a filter in any case; of those who are asked one in five does because of it, and one
/// in ten withdraws the consent.
#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sees_what_its_trigger_sells_and_whom_it_drives_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data { dir: folder.path().to_owned(), ..Data::default() };
    let token = OperatorToken::new(OPERATOR).unwrap();
    let mut config = Config { data, operator_token: Some(token), ..Config::default() };
    config.http.bind = "127.0.0.1:0".parse().unwrap();
    config.mqtt.bind = "127.0.0.1:0".parse().unwrap();
    let inside = hearthway::gateway::Gateway::open(&config, Arc::new(SystemClock)).await.unwrap();
    let gateway = Gateway::inside_of_this_process(&inside);
    let shop = crate::stock_clients::load_the_sample_shop(&gateway).await;
    for (id, event, holdout) in [("asked", "worn", Some(json!({"percent": 25, "salt": "s"}))), ("shelf", "looks", None)]
    {
        let path = format!("/v1/triggers/{id}");
        gateway.ask(&shop, "PUT", &path, Some(&on_event(id, event, holdout))).await;
        gateway.ask(&shop, "POST", &format!("{path}/publish"), Some(&json!({}))).await;
    }
    let homes = crate::homes::new_homes(&gateway, &shop, 0, HOMES as usize, 0).await;
    let engine = inside.engine();
    let (mut asked, mut bought, mut held_out, mut bought_anyway, mut left) = (0, 0, 0, 0, 0);
    for (n, home) in (0_u64..).zip(&homes) {
        let device: DeviceKey = format!("acme/{}", home.name).parse().unwrap();
        let household = engine.route(&device).unwrap().household;
        happens(engine, &device, "worn").await;
        let is_asked = engine.facts(household).await.unwrap().unwrap().offers.len() == 1;
        let does = if is_asked && n % 5 == 0 {
            accepts(engine, &device).await
        } else if n % 10 == 3 {
            happens(engine, &device, "looks").await;
            accepts(engine, &device).await
        } else {
            false
        };
        let leaves = is_asked && n % 10 == 7;
        if leaves {
            let no = json!({"consents": [{"purpose": "offers.device", "granted": false}]});
            gateway.ask(&shop, "PUT", &format!("/v1/profiles/p-{}/consents", home.name), Some(&no)).await;
            left += 1;
        }
        *(if is_asked { &mut asked } else { &mut held_out }) += 1;
        *(if is_asked { &mut bought } else { &mut bought_anyway }) += u64::from(does);
    }
    let report = gateway.ask(&shop, "GET", "/v1/reports/uplift", None).await;
    let of = &report["triggers"][0];
    let side = |name: &str| ["households", "ordered"].map(|what| of[name][what].as_u64().unwrap());
    assert_eq!((side("treated"), side("held_out")), ([asked, bought], [held_out, bought_anyway]), "{report:#}");
    assert!(asked > 250 && held_out > 60 && bought_anyway > 0 && left > 0, "too few to prove anything");
    assert!(of["uplift"]["low"].as_f64().unwrap() > 0.0, "{report:#}");
    let opt_outs = gateway.ask(&shop, "GET", "/v1/reports/opt-outs?trigger=asked", None).await;
    let of = &opt_outs["triggers"][0];
    assert_eq!((&of["spoken_to"]["consent_withdrawn"], &of["held_out"]["opted_out"]), (&json!(left), &json!(0)));
    assert_eq!(of["drives_opt_outs"], true, "it sells, and drives homes away: {opt_outs:#}");

    inside.drain().await;
    for (kind, over_http) in [("uplift", &report), ("opt-outs", &opt_outs)] {
        let arguments = ["report", kind, "--trigger", "asked", "--format"];
        let shown = |format: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
            let output = command.args(arguments).arg(format).arg("--data").arg(folder.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let at_rest: Value = serde_json::from_str(&shown("json")).unwrap();
        assert_eq!(at_rest, *over_http, "the same from the directory");
        let page = shown("table");
        println!("{page}");
        let wanted = if kind == "uplift" { "it sells more than would have been bought anyway" } else { "FLAG" };
        assert!(page.contains(wanted), "{page}");
    }
}
