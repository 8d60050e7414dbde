//! How many logged inputs a backtest decides again per second, on one core, from the disk's logs:
//! `cargo bench --bench backtest`.

use std::path::Path;
use std::sync::Arc;

use divan::counter::ItemsCount;
use hearthway::config::samples::Catalog;
use hearthway::engine::backtest::Backtest;
use hearthway::engine::rows::{HouseholdRow, LastSnapshot, LogItem, LogRow, LogVerdict};
use hearthway::engine::{Past, RuleBook, Window};
use hearthway::store::codec::{self, Schema};
use hearthway::store::embedded::{EmbeddedOptions, EmbeddedStore};
use hearthway::store::{Commit, Store, Write, keys};
use hearthway_core::decide::decide;
use hearthway_core::id::{DeviceKey, HouseholdId, InputId, LinkId, ModelId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Input, Join, Sender, What};
use hearthway_core::model::{Few, Household, Member, Role};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trigger::{SourceFile, TriggerSet, World, check};
use hearthway_core::wire::decode;

fn main() {
    divan::main();
}

const HOMES: u64 = 50;
/// A reading each ten minutes for four weeks.
const READINGS_PER_HOME: u64 = 4_000;
const START: Timestamp = Timestamp(1_774_000_000_000);

struct OneBook(Arc<RuleSet>);

impl RuleBook for OneBook {
    fn current(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0)
    }
    fn at(&self, version: u64) -> Option<Arc<RuleSet>> {
        (version == self.0.version).then(|| Arc::clone(&self.0))
    }
}

/// The sample shop with its triggers.
fn rules() -> RuleSet {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let catalog = Catalog::read(&config.join("catalog")).expect("the samples are right");
    let text = std::fs::read_to_string(config.join("triggers/thermostat.toml")).expect("the samples are there");
    let retailer = shop();
    let world =
        World { retailer, version: 1, models: &catalog.models, products: &catalog.products, default_locale: "fr-FR" };
    let checked = check(&[SourceFile { name: "thermostat.toml".into(), text }], &world);
    let triggers = TriggerSet::build(checked.triggers);
    RuleSet { version: 1, models: catalog.models, products: catalog.products, triggers, ..RuleSet::default() }
}

fn shop() -> RetailerId {
    RetailerId::new("shop-a").expect("a name")
}

fn input(n: u64, device: &DeviceKey, at: Timestamp, what: What) -> Input {
    let id = InputId::derived(&[device.to_string().as_bytes(), &n.to_be_bytes()]);
    let sender = Sender::default();
    Input {
        id,
        message: None,
        received_at: at,
        device: Some(device.clone()),
        entropy: n,
        payload_bytes: 60,
        sender,
        what,
    }
}

/// A linked home as its first inputs make it.
fn home(device: &DeviceKey, rules: &RuleSet) -> Household {
    let profile = ProfileId::new(format!("p-{}", device.device)).expect("a name");
    let id = HouseholdId::of_profile(&shop(), &profile);
    let mut home = Household::empty(id);
    let member = Member {
        profile,
        display_name: "Maison".into(),
        locale: Some("fr-FR".into()),
        role: Role::Owner,
        segments: Default::default(),
        consents: Default::default(),
    };
    let join = Join {
        household: id,
        retailer: shop(),
        link: LinkId::derived(&[id.bytes()]),
        member,
        zone: Zone::new("Europe/Paris").expect("a zone"),
        locale: Some("fr-FR".into()),
    };
    let model = ModelId::new("th-200").expect("a name");
    for command in [Command::Register { model, serial: None, generation: 1 }, Command::LinkDirectly { join }] {
        let decision = decide(&home, &input(home.seq, device, START, What::Command(command)), rules, START);
        decision.changes.iter().for_each(|change| home.apply(change));
        home.seq += 1;
    }
    home
}

/// Four weeks of readings that cross nothing, home by home in turns, as they would have come.
fn fill(store: &EmbeddedStore, rules: &RuleSet) {
    let devices: Vec<DeviceKey> = (0..HOMES).map(|n| format!("acme/d-{n}").parse().expect("a key")).collect();
    let homes: Vec<Household> = devices.iter().map(|device| home(device, rules)).collect();
    let begin = homes.iter().flat_map(|home| {
        let facts = Arc::new(home.clone());
        let snapshot = codec::encode(Schema::Log, &LogItem::Snapshot(Arc::clone(&facts)));
        let row = HouseholdRow { facts, heard: Few::new(), snapshot: LastSnapshot::default() };
        let record = codec::encode(Schema::Household, &row);
        [Write::Put(keys::household(home.id), record), Write::Append(keys::log(home.id), snapshot)]
    });
    let commit = |writes| store.commit(&[Commit { preconditions: Vec::new(), writes }]).expect("the disk works");
    commit(begin.collect());
    for n in 0..READINGS_PER_HOME {
        let row = |(device, home): (&DeviceKey, &Household)| {
            let body = format!(r#"{{"id":"m-{n}","body":{{"samples":[{{"f":{{"temperature":{}}}}}]}}}}"#, 19 + n % 3);
            let message =
                decode(&format!("chan/v1/{device}/up/telemetry"), body.as_bytes()).expect("a message").message;
            let at = START + Span::minutes(10 * (n as i64 + 1));
            let row = LogRow {
                seq: home.seq + n + 1,
                input: input(n, device, at, What::Device(message)),
                rules: 1,
                verdict: LogVerdict::Accepted { sent: 0, held: 0 },
                candidates: Vec::new(),
                answers: Vec::new(),
            };
            Write::Append(keys::log(home.id), codec::encode(Schema::Log, &LogItem::Input(Box::new(row))))
        };
        commit(devices.iter().zip(&homes).map(row).collect());
    }
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn inputs_without_a_candidate(bencher: divan::Bencher) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's folder can be written");
    let store = Arc::new(EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).expect("a new store opens"));
    let rules = Arc::new(rules());
    fill(&store, &rules);
    let candidates = rules.triggers.clone();
    let past = Past::at_rest(store, Arc::new(OneBook(rules)));
    bencher.counter(ItemsCount::new(HOMES * READINGS_PER_HOME)).bench_local(|| {
        let backtest = Backtest::new(past.clone(), shop(), candidates.clone(), Window::default());
        let report = backtest.run(&mut ()).expect("the log is whole").expect("nobody ended it");
        assert_eq!(report.inputs, HOMES * READINGS_PER_HOME);
    });
}
