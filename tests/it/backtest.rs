//! A week of homes, lived through the real gateway, and then looked at again from its data: by
//! `hearthway replay`, and by `hearthway backtest` with the triggers that were live and with others.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use device_sim::{Fleet, SimClock, Soon};
use hearthway::app::Rulebook;
use hearthway::clock::{Clock, FastClock};
use hearthway::config::{Config, Data, OperatorToken, samples};
use hearthway::engine::backtest::{Backtest, Listener, Looked, Report};
use hearthway::engine::{Past, Window};
use hearthway::gateway::{Gateway, samples as loading};
use hearthway::mqtt::credentials::MasterKey;
use hearthway::store::codec::{self, Schema};
use hearthway::store::embedded::{EmbeddedOptions, EmbeddedStore};
use hearthway::store::keys::Key;
use hearthway::store::sealed::{Making, SealedStore};
use hearthway::store::{Commit, Store, Write};
use hearthway_core::id::{HouseholdId, RetailerId};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::{CandidateTrace, Step, Verdict};
use serde_json::{Value, json};

/// So many times as fast as life: the week takes fifty seconds.
const SPEED: u32 = 12_000;

/// One clock for the gateway and the homes.
#[derive(Clone, Copy)]
struct WeekClock(FastClock);

impl Clock for WeekClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn sleep_until(&self, at: Timestamp) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.sleep_until(at)
    }
}

impl SimClock for WeekClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn sleep_until(&self, at: Timestamp) -> Soon<'_, ()> {
        Box::pin(async move { self.0.sleep_until(at).await })
    }
}

/// A week through the gateway, over MQTT and HTTP.
async fn a_week_is_lived(directory: &Path) {
    let fleet = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fleets/quick.toml");
    let mut fleet = Fleet::read(&fleet).unwrap();
    fleet.length = Span::days(7);
    fleet.homes.truncate(10);
    fleet.expects.clear(); // they are of other homes
    let operator_token = OperatorToken::new(crate::gateway::OPERATOR).unwrap();
    let data = Data { dir: directory.to_owned(), ..Data::default() };
    let mut config = Config { data, operator_token: Some(operator_token), ..Config::default() };
    config.http.bind = "127.0.0.1:0".parse().unwrap();
    config.mqtt.bind = "127.0.0.1:0".parse().unwrap();
    // What is a second for the gateway is three hours for the homes.
    config.limits.mqtt_connects_per_minute = 60_000;
    config.limits.mqtt_connects_burst = 60_000;
    config.limits.mqtt_publishes_per_second = 10_000;
    config.limits.device_messages_per_second = 10_000;
    config.limits.device_messages_burst = 10_000;
    let clock = Arc::new(WeekClock(FastClock::start(fleet.start.unwrap(), SPEED)));
    let gateway = Gateway::open(&config, clock.clone()).await.unwrap();
    let base = format!("http://{}", gateway.http_address());
    let operator = loading::Client::new(base.clone(), crate::gateway::OPERATOR);
    let tokens = loading::load(&operator, &samples::shipped().unwrap()).await.unwrap();
    let mut bootstrap = std::collections::BTreeMap::new();
    for maker in ["acme", "brewco"] {
        let key = operator.call("POST", "/v1/bootstrap-keys", &json!({"maker": maker})).await.unwrap();
        bootstrap.insert(maker.to_owned(), key["secret"].as_str().unwrap().to_owned());
    }
    let shop = Arc::new(device_sim::shop::Shop::new(&base, &tokens["shop-a"]).unwrap());
    let target = device_sim::Target {
        bootstrap,
        shares_clock: true,
        ..device_sim::Target::local(gateway.mqtt_address().port())
    };
    let (events, mut happenings) = tokio::sync::mpsc::channel(64);
    let watching = tokio::spawn(async move { while happenings.recv().await.is_some() {} });
    let summary = device_sim::run(fleet, target, shop, clock, events).await;
    watching.await.unwrap();
    for word in ["linked", "offer_shown", "order_changed"] {
        assert!(summary.count(word) > 0, "no `{word}`, so it proves nothing: {summary}");
    }
    gateway.drain().await;
}

/// What is compared of a decision: which, about what, and how it ended.
type Seen = BTreeSet<Sight>;
type Sight = (HouseholdId, String, String, bool, Option<Step>, Option<String>);

fn seen(household: HouseholdId, of: &CandidateTrace) -> Sight {
    let offer = of.offer.map(|offer| offer.to_string());
    let sent = of.verdict == Verdict::Sent;
    (household, of.decision.to_string(), of.trigger.to_string(), sent, of.first_block, offer)
}

#[derive(Default)]
struct Witness(Seen);

impl Listener for Witness {
    fn looked(&mut self, looked: &Looked<'_>) {
        self.0.insert(seen(looked.household, looked.candidate));
    }
}

fn store_in(data: &Path) -> Arc<dyn Store> {
    let store = Arc::new(EmbeddedStore::open(&data.join("store"), EmbeddedOptions::default()).unwrap());
    let master = MasterKey::load_existing(&data.join("master.key")).unwrap().unwrap();
    SealedStore::open(store, &data.join("customers.keys"), master.sealing_secrets(), Making::Refused).unwrap()
}

fn past_of(store: Arc<dyn Store>) -> Past {
    let rulebook = Rulebook::open(store.clone()).unwrap();
    Past::at_rest(store, rulebook)
}

/// What was decided live, by the stored traces.
fn decided_live(past: &Past) -> Seen {
    let mut live = Seen::new();
    past.households(|household| {
        past.traces(household, |_, candidate| {
            live.insert(seen(household, &candidate));
        })
    })
    .unwrap();
    live
}

fn backtested(past: &Past, window: Window) -> (Report, Seen) {
    let mut witness = Witness::default();
    let (shop, live) = (RetailerId::new("shop-a").unwrap(), past.rules().triggers.clone());
    let report = Backtest::new(past.clone(), shop, live, window).run(&mut witness).unwrap().unwrap();
    (report, witness.0)
}

fn hearthway(arguments: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args(arguments).arg("--data").arg(data).env("NO_COLOR", "1");
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_replays_and_a_backtest_of_its_triggers_decides_what_was_decided() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    a_week_is_lived(data).await;

    let store = store_in(data);
    let past = past_of(store.clone());
    let funnel = crate::reports::a_funnel_is_what_the_log_has(&past, &*store);
    let live = decided_live(&past);
    let (report, again) = backtested(&past, Window::default());
    assert!(report.counts.sent >= 3 && report.counts.held + report.counts.blocked > 0, "too little: {report:#?}");
    let differs = |of: &Seen, from: &Seen| of.difference(from).cloned().collect::<Vec<_>>();
    assert!(live == again, "only live: {:#?}\nonly again: {:#?}", differs(&live, &again), differs(&again, &live));
    assert_eq!(report.counts.sent, live.iter().filter(|of| of.3).count() as u64);
    assert!(report.most_contacted.len() > 1 && report.worth.values().sum::<i64>() > 0, "{report:#?}");

    // From the middle of the week on the homes are as they were then.
    let middle = report.until.unwrap() - Span::days(4);
    let (half, later) = backtested(&past, Window { from: Some(middle), until: None });
    assert!(half.inputs < report.inputs && half.inputs > 0 && half.shorter_history == 0, "{half:#?}");
    assert!(later.is_subset(&live), "made up: {:#?}", differs(&later, &live));
    drop((past, store));

    crate::reports::the_command_tells_the_same(data, &funnel);
    the_commands_say_the_same_twice(data, &report);
    a_changed_past_is_found(data);
}

fn the_commands_say_the_same_twice(data: &Path, report: &Report) {
    let replays = [0; 2].map(|_| hearthway(&["replay"], data));
    assert_eq!(replays[0].status.code(), Some(0), "{:?}", replays[0]);
    assert!(said(&replays[0]).contains("differences=0"), "{}", said(&replays[0]));
    assert_eq!(replays[0].stdout, replays[1].stdout);

    let pages = [0; 2].map(|_| hearthway(&["backtest", "--live"], data));
    assert_eq!(pages[0].status.code(), Some(0), "{:?}", pages[0]);
    assert_eq!(pages[0].stdout, pages[1].stdout);
    for wanted in ["█", "Blocked by", "Most contacted", "filter-worn"] {
        assert!(said(&pages[0]).contains(wanted), "`{wanted}` is not in:\n{}", said(&pages[0]));
    }
    let json: Value = serde_json::from_slice(&hearthway(&["backtest", "--live", "--json"], data).stdout).unwrap();
    assert_eq!(json, serde_json::to_value(report).unwrap());
    let table = said(&hearthway(&["backtest", "--live", "--csv"], data));
    assert_eq!(table.lines().count(), report.days.len() + 1, "{table}");

    // A candidate that offers nothing to buy and asks nobody: other decisions, by the same log.
    let quieter = data.join("quieter.toml");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/triggers/thermostat.toml");
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(&quieter, text.replace("rises_above = \"600 h\"", "rises_above = \"700 h\"")).unwrap();
    let other = hearthway(&["backtest", quieter.to_str().unwrap(), "--json"], data);
    assert_eq!(other.status.code(), Some(0), "{}", String::from_utf8_lossy(&other.stderr));
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert!(other["sent"].as_u64().unwrap() < report.counts.sent, "{other:#}");
    let wrong = data.join("wrong.toml");
    std::fs::write(&wrong, text.replace("rises_above", "rises_abov")).unwrap();
    let wrong = hearthway(&["backtest", wrong.to_str().unwrap()], data);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("rises_above"), "the nearest name is told");
}

/// Somebody rewrites a version of a trigger behind the gateway's back: the replay says so.
fn a_changed_past_is_found(data: &Path) {
    let store = store_in(data);
    let rows = store.scan(b"Dtrigger\0shop-a\0filter-worn\0", None, 100).unwrap();
    let writes = rows.into_iter().map(|(key, bytes)| changed(key, &bytes)).collect();
    store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
    drop(store);
    let replay = hearthway(&["replay"], data);
    assert_eq!(replay.status.code(), Some(1), "{replay:?}");
    let said = said(&replay);
    assert!(said.contains("hh_") && said.contains("input ") && said.contains("filter-worn"), "{said}");
    assert!(!said.contains("differences=0 "), "{said}");
}

fn changed(key: Key, bytes: &[u8]) -> Write {
    let mut document: hearthway::app::documents::Document = codec::decode(Schema::Document, &key, bytes).unwrap();
    let before = document.body.clone();
    document.body = document.body.replace("600 h", "605 h");
    assert_ne!(before, document.body, "the trigger is written otherwise");
    Write::Put(key, codec::encode(Schema::Document, &document))
}

#[test]
fn a_directory_without_a_gateway_is_told_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["replay"][..], &["backtest", "--live"]] {
        let output = hearthway(command, folder.path());
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("no gateway's data"), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
