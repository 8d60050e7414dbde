//! Reports beside what they are about: the stored traces and offers of a week of homes, counted
//! here once more and by other means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use hearthway::engine::Past;
use hearthway::engine::backtest::Outcome;
use hearthway::engine::reports::{Found, Question, Report, ReportKind};
use hearthway::engine::rows::{OfferRow, OrderRow};
use hearthway::store::Store;
use hearthway::store::codec::{self, Schema};
use hearthway_core::id::{HouseholdId, RetailerId};
use hearthway_core::report::{Asked, FunnelReport, Stage};
use hearthway_core::time::Timestamp;
use hearthway_core::trace::{CandidateTrace, Step};
use serde_json::Value;

/// By trigger and what was counted: how often, and in which homes.
type Counted = BTreeMap<(String, String), (u64, BTreeSet<HouseholdId>)>;

fn count(counted: &mut Counted, trigger: &str, what: &str, home: HouseholdId) {
    let (times, homes) = counted.entry((trigger.to_owned(), what.to_owned())).or_default();
    *times += 1;
    homes.insert(home);
}

/// Whether the look was at a home of a retailer's customers: what this shop's reports count.
fn is_of_a_customer(candidate: &CandidateTrace) -> bool {
    let link = candidate.steps.iter().find(|step| step.step == Step::Link);
    link.is_some_and(|step| !matches!(step.code(), "not_linked" | "other_retailer"))
}

/// The funnel by the traces in the log and the offers and orders that other channels see.
fn by_the_log(past: &Past, store: &dyn Store) -> Counted {
    let mut counted = Counted::new();
    past.households(|home| {
        past.traces(home, |_, candidate| {
            if !is_of_a_customer(&candidate) {
                return;
            }
            let trigger = candidate.trigger.as_str();
            count(&mut counted, trigger, "matched", home);
            match Outcome::of(&candidate) {
                Outcome::Sent => count(&mut counted, trigger, "sent", home),
                Outcome::Held => count(&mut counted, trigger, "held", home),
                Outcome::Blocked(Step::Holdout, _) => count(&mut counted, trigger, "held_out", home),
                Outcome::Blocked(step, reason) => {
                    count(&mut counted, trigger, "blocked", home);
                    count(&mut counted, trigger, &format!("{step}:{reason}"), home);
                }
            }
        })
    })
    .unwrap();
    for (key, bytes) in store.scan(b"Fshop-a\0", None, 10_000).unwrap() {
        let row: OfferRow = codec::decode(Schema::Offer, &key, &bytes).unwrap();
        let states: BTreeSet<&str> = row.offer.history.iter().map(|change| &*change.state).collect();
        let trigger = row.offer.trigger.as_str();
        if states.contains("delivered") || states.contains("shown") {
            count(&mut counted, trigger, "delivered", row.household);
        }
        for state in ["shown", "accepted", "declined", "expired", "withdrawn"] {
            if states.contains(state) {
                count(&mut counted, trigger, state, row.household);
            }
        }
    }
    let offers: BTreeMap<_, _> = store
        .scan(b"Fshop-a\0", None, 10_000)
        .unwrap()
        .into_iter()
        .map(|(key, bytes)| codec::decode::<OfferRow>(Schema::Offer, &key, &bytes).unwrap().offer)
        .map(|offer| (offer.id, offer.trigger))
        .collect();
    for (key, bytes) in store.scan(b"Bshop-a\0", None, 10_000).unwrap() {
        let row: OrderRow = codec::decode(Schema::Order, &key, &bytes).unwrap();
        if !["cancelled", "refused"].contains(&row.order.state.as_str()) {
            count(&mut counted, offers[&row.order.offer].as_str(), "ordered", row.household);
        }
    }
    counted
}

/// The same as the report has it.
fn by_the_report(funnel: &FunnelReport) -> BTreeMap<(String, String), (u64, u64)> {
    let mut told = BTreeMap::new();
    for of in &funnel.triggers {
        let stages = of.stages.iter().map(|at| (at.stage.as_str().to_owned(), (at.decisions, at.households)));
        let reasons = of.blocked_by.iter().map(|by| (by.reason.clone(), (by.decisions, by.households)));
        told.extend(stages.chain(reasons).map(|(what, count)| ((of.trigger.clone(), what), count)));
    }
    told.retain(|_, (decisions, _)| *decisions > 0);
    told
}

/// A week's funnel counts what its log and its offers hold, and nothing else.
pub fn a_funnel_is_what_the_log_has(past: &Past, store: &dyn Store) -> Report {
    let shop = RetailerId::new("shop-a").unwrap();
    let question = Question { kind: ReportKind::Funnel, asked: Asked::default(), window: None };
    let report = past.report(&shop, &question, Timestamp(0)).unwrap();
    let Found::Funnel(funnel) = &report.found else { panic!("another report: {report:?}") };
    let log: BTreeMap<_, _> =
        by_the_log(past, store).into_iter().map(|(key, (n, homes))| (key, (n, homes.len() as u64))).collect();
    assert_eq!(by_the_report(funnel), log);
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
