//! Whom a trigger would reach, before it is published: the retailer's homes as they are, held
//! against every step that does not wait for something to happen, and what it would have sent
//! lately by a backtest.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthway_core::id::{DeviceKey, InputId, RetailerId, TriggerId};
use hearthway_core::input::{Input, Sender, What};
use hearthway_core::model::Household;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::{CandidateTrace, Step, StepTrace, StepVerdict};
use hearthway_core::trigger::{Trigger, TriggerSet};
use hearthway_core::words::Reason;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::backtest::{Backtest, Listener, Progress};
use super::facts::read_household;
use super::past::{Past, Window};
use super::rows::{LogItem, unless_erased};
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError};

/// Days of history that a forecast looks back over, where nobody says: two of each day of the week.
pub const DAYS_DEFAULT: u32 = 14;
/// Days of history that a forecast looks back over at most.
pub const DAYS_MAX: u32 = 366;

/// The steps that a home is held against, in the order of evaluation. The others wait for what
/// happens (`dedup`, `age`), for the calendar (`validity`, `quiet`) or are told apart (`conditions`,
/// `holdout`). A text that lacks what the trigger will bring with it (`content:no_text`) stops nobody.
const STEPS: [Step; 10] = [
    Step::Suspension,
    Step::Link,
    Step::Consent,
    Step::Controls,
    Step::Audience,
    Step::Suppression,
    Step::Caps,
    Step::Offer,
    Step::Content,
    Step::Placement,
];

/// Steps that stop a home until somebody gives leave, or joins an audience.
const LASTING: [Step; 3] = [Step::Link, Step::Consent, Step::Audience];

/// Homes that are left after a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachStage {
    /// `homes` of the retailer, those with a `device` that the trigger is about, then step by step.
    pub stage: String,
    /// How many are left.
    pub households: u64,
}

/// What stands in the way, at the home's most suitable device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachBlock {
    /// The first step and its reason, as `consent:no_consent`.
    pub reason: String,
    /// How many homes.
    pub households: u64,
}

/// What the trigger would have sent lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReachHistory {
    /// Days of history that were looked at.
    pub days: f64,
    /// Offers that would have left.
    pub sent: u64,
    /// To so many homes.
    pub households: u64,
    /// Offers a day; none where there is less than a day of history.
    pub sent_per_day: Option<f64>,
}

/// Whom a trigger would reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReachReport {
    /// The trigger.
    pub trigger: TriggerId,
    /// Homes, from all of the retailer's to those that could be sent an offer now.
    pub stages: Vec<ReachStage>,
    /// What stops the others, the most frequent first.
    pub blocked_by: Vec<ReachBlock>,
    /// Of those that are left, the ones whose conditions hold at this moment.
    pub conditions_hold: u64,
    /// Of those that are left, the ones that would be held out.
    pub held_out: u64,
    /// What it would have sent lately, beside the triggers that are live.
    pub history: ReachHistory,
}

/// How far one home comes: the number of [`STEPS`] passed, and what stopped it.
struct Came {
    passed: usize,
    stopped_by: Option<String>,
    conditions_hold: bool,
}

impl Past {
    /// Whom a trigger would reach at `now`, and what it would have sent in the days before. None
    /// where the listener ended it.
    pub fn reach(
        &self,
        trigger: &Arc<Trigger>,
        now: Timestamp,
        days: u32,
        listener: &mut dyn Listener,
    ) -> Result<Option<ReachReport>, StoreError> {
        let rules = self.rules();
        let live = rules.triggers.iter().filter(|live| live.retailer == trigger.retailer && live.id != trigger.id);
        let candidates = TriggerSet::build(live.cloned().chain([Arc::clone(trigger)]).collect::<Vec<_>>());
        let rules = Arc::new(RuleSet { triggers: candidates.clone(), ..(*rules).clone() });

        let (mut homes, mut with_device, mut passed) = (0_u64, 0_u64, [0_u64; STEPS.len()]);
        let (mut conditions_hold, mut held_out) = (0, 0);
        let mut blocks: BTreeMap<String, u64> = BTreeMap::new();
        let mut goes_on = true;
        self.households(|household| {
            if !goes_on {
                return Ok(());
            }
            let Some(stored) = read_household(household, &*self.store, self.decider)? else { return Ok(()) };
            let home = &*stored.row.facts;
            if home.retailer.as_ref() != Some(&trigger.retailer) {
                return Ok(());
            }
            homes += 1;
            goes_on = listener.progress(Progress::default());
            let Some(came) = self.comes(home, &rules, trigger, now) else { return Ok(()) };
            with_device += 1;
            passed.iter_mut().take(came.passed).for_each(|left| *left += 1);
            match came.stopped_by {
                Some(reason) => *blocks.entry(reason).or_default() += 1,
                None => {
                    conditions_hold += u64::from(came.conditions_hold);
                    let is_held_out = trigger.holdout.as_ref().is_some_and(|holdout| holdout.holds_out(home.id));
                    held_out += u64::from(is_held_out);
                }
            }
            Ok(())
        })?;
        if !goes_on {
            return Ok(None);
        }
        let Some(history) = self.lately(trigger, candidates, now, days, listener)? else { return Ok(None) };
        let first = [("homes", homes), ("device", with_device)];
        let stages = first.into_iter().chain(STEPS.iter().map(|step| step.as_str()).zip(passed));
        let stages = stages.map(|(stage, households)| ReachStage { stage: stage.to_owned(), households }).collect();
        let mut blocked_by: Vec<_> =
            blocks.into_iter().map(|(reason, households)| ReachBlock { reason, households }).collect();
        blocked_by.sort_by(|a, b| (b.households, &a.reason).cmp(&(a.households, &b.reason)));
        let trigger = trigger.id.clone();
        Ok(Some(ReachReport { trigger, stages, blocked_by, conditions_hold, held_out, history }))
    }

    /// Whether a trigger may speak to more homes than so many: they have a device that it is about, and consent
    /// and audience let it speak. What passes by itself, such as a pause or a cap that is used up, makes it no smaller:
    /// else it would be published alone while many are silent for a week.
    pub fn reaches_more_than(&self, trigger: &Arc<Trigger>, now: Timestamp, max: u64) -> Result<bool, StoreError> {
        let rules = self.rules();
        let live = rules.triggers.iter().filter(|live| live.retailer == trigger.retailer && live.id != trigger.id);
        let triggers = TriggerSet::build(live.cloned().chain([Arc::clone(trigger)]).collect::<Vec<_>>());
        let rules = RuleSet { triggers, ..(*rules).clone() };
        let mut reached = 0;
        self.households_while(|household| {
            let Some(stored) = read_household(household, &*self.store, self.decider)? else { return Ok(true) };
            let home = &*stored.row.facts;
            let is_ours = home.retailer.as_ref() == Some(&trigger.retailer);
            let may_hear = |candidate: &CandidateTrace| !LASTING.iter().any(|step| is_stopped(candidate, *step));
            let is_reached = is_ours && self.looked(home, &rules, trigger, now).any(|looked| may_hear(&looked));
            reached += u64::from(is_reached);
            Ok(reached <= max)
        })?;
        Ok(reached > max)
    }

    /// How far a home comes at the device that comes furthest; none where the trigger is about none.
    fn comes(&self, home: &Household, rules: &RuleSet, trigger: &Trigger, now: Timestamp) -> Option<Came> {
        self.looked(home, rules, trigger, now).map(|looked| how_far(&looked)).max_by_key(|came| came.passed)
    }

    /// What would be decided at each device of a home that the trigger is about.
    fn looked<'h>(
        &self,
        home: &'h Household,
        rules: &'h RuleSet,
        trigger: &'h Trigger,
        now: Timestamp,
    ) -> impl Iterator<Item = CandidateTrace> + use<'h> {
        let why_not = self.decider.why_not;
        let is_about = |key: &&DeviceKey| {
            home.devices.get(key).is_some_and(|device| {
                device.description_in(rules).is_some_and(|can| trigger.on.covers(&can.kind, &device.model))
            })
        };
        home.devices.keys().filter(is_about).map(move |device| {
            let input = Input {
                id: InputId::derived(&[b"reach", home.id.bytes(), &now.0.to_be_bytes()]),
                message: None,
                received_at: now,
                device: Some(device.clone()),
                entropy: 0,
                payload_bytes: 0,
                sender: Sender::default(),
                what: What::Timer,
            };
            why_not(home, &input, rules, trigger)
        })
    }

    /// What the trigger would have sent in the last days that the log has.
    fn lately(
        &self,
        trigger: &Trigger,
        candidates: TriggerSet,
        now: Timestamp,
        days: u32,
        listener: &mut dyn Listener,
    ) -> Result<Option<ReachHistory>, StoreError> {
        let oldest = oldest_input(&*self.store)?.unwrap_or(now);
        let from = (now - Span::days(days.into())).max(oldest);
        let window = Window { from: Some(from), until: Some(now) };
        let retailer: RetailerId = trigger.retailer.clone();
        let Some(report) = Backtest::new(self.clone(), retailer, candidates, window).run(listener)? else {
            return Ok(None);
        };
        let of = report.triggers.get(&trigger.id).cloned().unwrap_or_default();
        let days = (now - from).0 as f64 / Span::days(1).0 as f64;
        let sent_per_day = (days >= 1.0).then(|| of.counts.sent as f64 / days);
        Ok(Some(ReachHistory { days, sent: of.counts.sent, households: of.households, sent_per_day }))
    }
}

fn is_stopped(candidate: &CandidateTrace, wanted: Step) -> bool {
    let stops = |step: &StepTrace| step.verdict == StepVerdict::Block && step.code() != Reason::NoText.code();
    candidate.steps.iter().find(|step| step.step == wanted).is_some_and(stops)
}

fn how_far(candidate: &CandidateTrace) -> Came {
    let step = |wanted: Step| candidate.steps.iter().find(|step| step.step == wanted);
    let stop = STEPS.iter().position(|step| is_stopped(candidate, *step));
    let conditions = step(Step::Conditions).map(|step| step.verdict);
    Came {
        passed: stop.unwrap_or(STEPS.len()),
        stopped_by: stop.and_then(|at| step(STEPS[at])).map(named),
        conditions_hold: matches!(conditions, Some(StepVerdict::Pass | StepVerdict::NotConfigured)),
    }
}

fn named(step: &StepTrace) -> String {
    format!("{}:{}", step.step, step.code())
}

impl Engine {
    /// The oldest version of the rules that an input of any log read, as far as the first items tell; none where no
    /// log has an input. Reads the disk.
    pub fn oldest_rules_read(&self) -> Result<Option<u64>, StoreError> {
        /// Enough to find an input: snapshots and what was erased stand among them.
        const ITEMS: usize = 1_000;
        let (store, mut after) = (self.store(), None);
        loop {
            let page = store.items(after, ITEMS)?;
            let Some((last, ..)) = page.last() else { return Ok(None) };
            after = Some(*last);
            let mut oldest: Option<u64> = None;
            for (_, log, bytes) in page {
                if let Some(LogItem::Input(row)) = unless_erased(codec::decode(Schema::Log, &log, &bytes))? {
                    oldest = Some(oldest.map_or(row.rules, |oldest| oldest.min(row.rules)));
                }
            }
            if oldest.is_some() {
                return Ok(oldest);
            }
        }
    }
}

/// When the oldest input came that any log still has.
fn oldest_input(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    /// The first items of all logs are mostly inputs; a snapshot among them is passed by.
    const ITEMS: usize = 16;
    for (_, log, bytes) in store.items(None, ITEMS)? {
        if let Some(LogItem::Input(row)) = unless_erased(codec::decode(Schema::Log, &log, &bytes))? {
            return Ok(Some(row.input.received_at));
        }
    }
    Ok(None)
}
