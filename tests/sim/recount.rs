//! The funnel counted once more, by other means than reports count it: from the traces in the log
//! and from the offers and orders that other channels see.

use std::collections::{BTreeMap, BTreeSet};

use hearthway::engine::Past;
use hearthway::engine::backtest::Outcome;
use hearthway::engine::rows::{OfferRow, OrderRow};
use hearthway::store::codec::{self, Schema};
use hearthway::store::keys::{self, KeyBuilder, table};
use hearthway::store::{SCAN_ROWS_MAX, Store};
use hearthway_core::id::{HouseholdId, RetailerId};
use hearthway_core::model::Offer;
use hearthway_core::report::FunnelReport;
use hearthway_core::trace::Step;

/// By trigger and what was counted: how often, and in how many homes.
pub type Numbers = BTreeMap<(String, String), (u64, u64)>;

#[derive(Default)]
struct Counted(BTreeMap<(String, String), (u64, BTreeSet<HouseholdId>)>);

impl Counted {
    fn add(&mut self, trigger: &str, what: &str, home: HouseholdId) {
        let (times, homes) = self.0.entry((trigger.to_owned(), what.to_owned())).or_default();
        *times += 1;
        homes.insert(home);
    }
}

/// What became of an offer each time that it left: none of it where it came back before it reached
/// the device.
fn lives(offer: &Offer) -> Vec<Option<BTreeSet<&str>>> {
    let mut lives: Vec<Option<BTreeSet<&str>>> = Vec::new();
    for change in &offer.history {
        match (&*change.state, &*change.cause) {
            ("sent", "decision") => lives.push(Some(BTreeSet::new())),
            ("queued", _) => {
                if let Some(life) = lives.last_mut() {
                    *life = None;
                }
            }
            (state, _) => {
                if let Some(Some(life)) = lives.last_mut() {
                    life.insert(state);
                }
            }
        }
    }
    lives
}

/// The funnel of a retailer with one id per trigger, all of whose history is there.
pub fn recounted(past: &Past, store: &dyn Store, retailer: &RetailerId) -> Numbers {
    let mut counted = Counted::default();
    // A device that nobody claimed is nobody's customer.
    let devices = store.scan(&keys::routes(), None, SCAN_ROWS_MAX).unwrap();
    let prospects: BTreeSet<HouseholdId> =
        devices.iter().filter_map(|(key, _)| keys::device_of(key)).map(|key| HouseholdId::prospect(&key)).collect();
    let looked = |home: HouseholdId| {
        past.traces(home, |_, candidate| {
            if prospects.contains(&home) {
                return;
            }
            let trigger = candidate.trigger.as_str();
            let outcome = Outcome::of(&candidate);
            if candidate.is_another_look() && matches!(outcome, Outcome::Blocked(step, _) if step != Step::Holdout) {
                return;
            }
            counted.add(trigger, "matched", home);
            match outcome {
                // Told by its offer.
                Outcome::Sent => {}
                Outcome::Held => counted.add(trigger, "held", home),
                Outcome::Blocked(Step::Holdout, _) => counted.add(trigger, "held_out", home),
                Outcome::Blocked(step, reason) => {
                    counted.add(trigger, "blocked", home);
                    counted.add(trigger, &format!("{step}:{reason}"), home);
                }
            }
        })
    };
    past.households(looked).unwrap();
    let rows = |table: u8| {
        let prefix = KeyBuilder::table(table).name(retailer.as_str()).prefix();
        store.scan(&prefix, None, SCAN_ROWS_MAX).unwrap()
    };
    let mut triggers = BTreeMap::new();
    for (key, bytes) in rows(table::OFFER) {
        let OfferRow { household, offer } = codec::decode(Schema::Offer, &key, &bytes).unwrap();
        let trigger = offer.trigger.as_str();
        for life in lives(&offer) {
            let Some(life) = life else {
                counted.add(trigger, "held", household);
                continue;
            };
            counted.add(trigger, "sent", household);
            if life.contains("delivered") || life.contains("shown") {
                counted.add(trigger, "delivered", household);
            }
            for state in ["shown", "accepted", "declined", "expired", "withdrawn"] {
                if life.contains(state) {
                    counted.add(trigger, state, household);
                }
            }
        }
        triggers.insert(offer.id, offer.trigger);
    }
    for (key, bytes) in rows(table::ORDER) {
        let OrderRow { household, order } = codec::decode(Schema::Order, &key, &bytes).unwrap();
        if !["cancelled", "refused"].contains(&order.state.as_str()) {
            counted.add(triggers[&order.offer].as_str(), "ordered", household);
        }
    }
    counted.0.into_iter().map(|(key, (times, homes))| (key, (times, homes.len() as u64))).collect()
}

/// The same as a report has it.
pub fn told(funnel: &FunnelReport) -> Numbers {
    let mut told = Numbers::new();
    for of in &funnel.triggers {
        let stages = of.stages.iter().map(|at| (at.stage.as_str().to_owned(), (at.decisions, at.households)));
        let reasons = of.blocked_by.iter().map(|by| (by.reason.clone(), (by.decisions, by.households)));
        told.extend(stages.chain(reasons).map(|(what, count)| ((of.trigger.clone(), what), count)));
    }
    told.retain(|_, (decisions, _)| *decisions > 0);
    told
}
