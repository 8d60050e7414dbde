//! From a woken trigger to an order: how far each look came, and what stood in the way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, Spoken};
use super::note::Fate;
use super::period::Day;
use super::table::{Table, places};
use super::{Asked, Counts, Group, ROWS_MAX, TooMuch};

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// How far a look at a trigger came.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Stage { $($(#[$doc])* #[serde(rename = $text)] $name,)* }
        impl Stage {
            /// All, in the order in which they are passed.
            pub const ALL: &'static [Stage] = &[$(Stage::$name,)*];
            /// As written.
            pub fn as_str(self) -> &'static str { match self { $(Stage::$name => $text,)* } }
        }
    };
}
stages! {
    /// The trigger was woken and looked at: what follows down to `sent` adds up to it.
    Matched = "matched";
    /// A step stopped it.
    Blocked = "blocked";
    /// It waits for a better hour, and is looked at again then.
    Held = "held";
    /// The home is in the control group.
    HeldOut = "held_out";
    /// The offer left. What follows is what became of the offers that left in the period.
    Sent = "sent";
    /// The device has it.
    Delivered = "delivered";
    /// A person saw it on the device.
    Shown = "shown";
    /// Accepted, on any channel.
    Accepted = "accepted";
    /// There is an order, neither cancelled nor refused.
    Ordered = "ordered";
    /// Declined, or not needed.
    Declined = "declined";
    /// It ended by time.
    Expired = "expired";
    /// It was taken back.
    Withdrawn = "withdrawn";
}

/// So many looks in so many homes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Decisions: looks at the trigger, or offers.
    pub decisions: u64,
    /// Homes in which there was at least one.
    pub households: u64,
}

/// What is counted: a trigger, maybe one day of it, a stage, and at `blocked` maybe a reason.
type Key = (String, Option<Day>, Stage, Option<String>);

/// Counts a funnel, home by home.
#[derive(Debug, Default)]
pub struct Funnel {
    asked: Asked,
    counts: BTreeMap<Key, Count>,
}

impl Funnel {
    /// Nothing counted yet.
    pub fn new(asked: Asked) -> Funnel {
        Funnel { asked, counts: BTreeMap::new() }
    }

    /// What was counted.
    pub fn report(self) -> FunnelReport {
        let mut triggers: BTreeMap<String, FunnelTrigger> = BTreeMap::new();
        for ((trigger, day, stage, reason), count) in self.counts {
            let Count { decisions, households } = count;
            let of = triggers.entry(trigger.clone()).or_insert_with(|| FunnelTrigger::of(trigger));
            match (day, reason) {
                (None, None) => set(&mut of.stages, stage, count),
                (None, Some(reason)) => of.blocked_by.push(ReasonCount { reason, decisions, households }),
                (Some(day), _) => {
                    let text = day.to_string();
                    if of.days.last().is_none_or(|last| last.day != text) {
                        of.days.push(FunnelDay { day: text, stages: every_stage() });
                    }
                    if let Some(day) = of.days.last_mut() {
                        set(&mut day.stages, stage, count);
                    }
                }
            }
        }
        let mut triggers: Vec<FunnelTrigger> = triggers.into_values().collect();
        for trigger in &mut triggers {
            trigger.blocked_by.sort_by(|a, b| (b.decisions, &a.reason).cmp(&(a.decisions, &b.reason)));
        }
        FunnelReport { triggers }
    }
}

fn every_stage() -> Vec<StageCount> {
    Stage::ALL.iter().map(|stage| StageCount { stage: *stage, decisions: 0, households: 0 }).collect()
}

fn set(stages: &mut [StageCount], stage: Stage, count: Count) {
    if let Some(at) = stages.iter_mut().find(|at| at.stage == stage) {
        (at.decisions, at.households) = (count.decisions, count.households);
    }
}

impl Counts for Funnel {
    fn add(&mut self, home: &[Ledger]) -> Result<(), TooMuch> {
        let mut of_home: BTreeMap<Key, u64> = BTreeMap::new();
        let mut count = |trigger: &str, day: Day, stage: Stage, times: u32| {
            for day in [None, Some(day)] {
                *of_home.entry((trigger.to_owned(), day, stage, None)).or_default() += u64::from(times);
            }
        };
        for look in home.iter().flat_map(Ledger::looks).filter(|look| self.asked.takes(look.trigger, look.day)) {
            count(look.trigger, look.day, Stage::Matched, look.times);
            let stage = if look.stopped_by.is_some() { Stage::Blocked } else { Stage::Held };
            count(look.trigger, look.day, stage, look.times);
        }
        let said = home.iter().flat_map(Ledger::spoken).filter(|said| self.asked.takes(said.trigger, said.day));
        for said in said {
            for stage in stages_of(&said, home) {
                count(said.trigger, said.day, stage, 1);
            }
        }
        for look in home.iter().flat_map(Ledger::looks).filter(|look| self.asked.takes(look.trigger, look.day)) {
            if let Some(reason) = look.stopped_by {
                let key = (look.trigger.to_owned(), None, Stage::Blocked, Some(reason.to_owned()));
                *of_home.entry(key).or_default() += u64::from(look.times);
            }
        }
        for (key, times) in of_home {
            let all = self.counts.entry(key).or_default();
            all.decisions += times;
            all.households += 1;
        }
        if self.counts.len() > ROWS_MAX { Err(TooMuch) } else { Ok(()) }
    }
}

/// The stages that an offer passed.
fn stages_of(said: &Spoken<&str>, home: &[Ledger]) -> Vec<Stage> {
    if said.group == Group::HeldOut {
        return vec![Stage::Matched, Stage::HeldOut];
    }
    if !said.was_sent() {
        return vec![Stage::Matched, Stage::Held];
    }
    let became = [
        (Fate::Delivered, Stage::Delivered),
        (Fate::Shown, Stage::Shown),
        (Fate::Accepted, Stage::Accepted),
        (Fate::Declined, Stage::Declined),
        (Fate::Expired, Stage::Expired),
        (Fate::Withdrawn, Stage::Withdrawn),
    ];
    let became = became.into_iter().filter(|(fate, _)| said.became(*fate)).map(|(_, stage)| stage);
    let is_ordered = said.became(Fate::Accepted)
        && home.iter().flat_map(Ledger::orders).any(|order| order.offer == said.offer && order.stands);
    [Stage::Matched, Stage::Sent].into_iter().chain(became).chain(is_ordered.then_some(Stage::Ordered)).collect()
}

/// One stage with its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCount {
    /// Which.
    pub stage: Stage,
    /// Looks, or offers.
    pub decisions: u64,
    /// Homes.
    pub households: u64,
}

/// A reason that stopped looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The first step that blocked and its reason, as `consent:no_consent`.
    pub reason: String,
    /// Looks that it stopped.
    pub decisions: u64,
    /// Homes.
    pub households: u64,
}

/// A day of a trigger's funnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunnelDay {
    /// In the retailer's zone.
    pub day: String,
    /// Every stage in order.
    pub stages: Vec<StageCount>,
}

/// A trigger's funnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunnelTrigger {
    /// The trigger.
    pub trigger: String,
    /// Every stage in order.
    pub stages: Vec<StageCount>,
    /// What stopped looks, the most frequent first.
    pub blocked_by: Vec<ReasonCount>,
    /// Day by day.
    pub days: Vec<FunnelDay>,
}

impl FunnelTrigger {
    fn of(trigger: String) -> FunnelTrigger {
        FunnelTrigger { trigger, stages: every_stage(), blocked_by: Vec::new(), days: Vec::new() }
    }
    /// The numbers of a stage.
    pub fn count(&self, stage: Stage) -> Count {
        let found = self.stages.iter().find(|at| at.stage == stage);
        found.map_or_else(Count::default, |at| Count { decisions: at.decisions, households: at.households })
    }
}

/// All triggers' funnels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunnelReport {
    /// By trigger.
    pub triggers: Vec<FunnelTrigger>,
}

impl FunnelReport {
    /// A row per trigger, day and stage; `all` in the place of a day is the whole period. A stage
    /// with a reason is a part of that stage.
    pub fn table(&self) -> Table {
        let mut rows = Vec::new();
        for of in &self.triggers {
            let mut row = |day: &str, stage: Stage, reason: &str, decisions: u64, households: u64| {
                let texts = [&of.trigger, day, stage.as_str(), reason, &decisions.to_string(), &households.to_string()];
                rows.push(texts.map(str::to_owned).to_vec());
            };
            let days = of.days.iter().map(|day| (day.day.as_str(), &day.stages));
            for (day, stages) in [("all", &of.stages)].into_iter().chain(days) {
                for at in stages {
                    row(day, at.stage, "", at.decisions, at.households);
                    if day == "all" && at.stage == Stage::Blocked {
                        for by in &of.blocked_by {
                            row(day, at.stage, &by.reason, by.decisions, by.households);
                        }
                    }
                }
            }
        }
        Table { columns: vec!["trigger", "day", "stage", "reason", "decisions", "households"], rows }
    }
}

/// What stopped the looks at a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonsTrigger {
    /// The trigger.
    pub trigger: String,
    /// All looks at it.
    pub matched: Count,
    /// Those that a step stopped.
    pub blocked: Count,
    /// By reason, the most frequent first.
    pub blocked_by: Vec<ReasonCount>,
}

/// What stopped looks, by trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonsReport {
    /// By trigger.
    pub triggers: Vec<ReasonsTrigger>,
}

impl From<FunnelReport> for ReasonsReport {
    fn from(funnel: FunnelReport) -> ReasonsReport {
        let triggers = funnel.triggers.into_iter().map(|of| ReasonsTrigger {
            matched: of.count(Stage::Matched),
            blocked: of.count(Stage::Blocked),
            trigger: of.trigger,
            blocked_by: of.blocked_by,
        });
        ReasonsReport { triggers: triggers.collect() }
    }
}

impl ReasonsReport {
    /// A row per trigger and reason, with its share of all looks at the trigger.
    pub fn table(&self) -> Table {
        let mut rows = Vec::new();
        for of in &self.triggers {
            for by in &of.blocked_by {
                let (step, reason) = by.reason.split_once(':').unwrap_or((&by.reason, ""));
                let share = places(super::Share { of: by.decisions, all: of.matched.decisions }.rate());
                let numbers = [by.decisions.to_string(), by.households.to_string(), share];
                rows.push(
                    [of.trigger.clone(), step.to_owned(), reason.to_owned()].into_iter().chain(numbers).collect(),
                );
            }
        }
        Table { columns: vec!["trigger", "step", "reason", "decisions", "households", "share"], rows }
    }
}
