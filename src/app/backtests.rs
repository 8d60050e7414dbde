//! Backtests and forecasts of reach that the gateway makes while it works: asked for, watched,
//! fetched when done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hearthway_core::id::{RetailerId, TriggerId, base32};
use hearthway_core::time::Timestamp;
use hearthway_core::trigger::{Trigger, TriggerSet};
use serde_json::Value;

use super::documents::{Kind, Name};
use super::tokens::{Caller, Scope};
use super::triggers::{compiled, name_trigger};
use super::{App, Failure};
use crate::engine::backtest::{Backtest, Listener, Progress, Report};
use crate::engine::reach::{DAYS_DEFAULT, DAYS_MAX, ReachReport};
use crate::engine::{Engine, Window, entropy};
use crate::store::StoreError;

/// Backtests at work at once: each takes a core.
const AT_WORK_MAX: usize = 1;
/// Backtests remembered, with their reports, until newer ones take their place.
const KEPT_MAX: usize = 16;
/// Triggers of one backtest: what one body can hold.
const TRIGGERS_MAX: usize = 1_000;

/// What the id of a backtest begins with.
const BACKTEST: &str = "bt";
/// What the id of a forecast of reach begins with.
const REACH: &str = "re";

/// What is to be tested.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Triggers as JSON.
    pub triggers: Vec<Value>,
    /// With all that are live now; the ones above take the place of those with their ids.
    pub with_live: bool,
    /// From when.
    pub from: Option<Timestamp>,
    /// Up to and without this instant.
    pub until: Option<Timestamp>,
}

/// How a backtest stands.
#[derive(Debug, Clone, Default)]
pub enum Standing {
    /// It is at work.
    #[default]
    Begun,
    /// So far.
    Running(Progress),
    /// Done.
    Done(Box<Report>),
    /// A forecast of reach is done.
    Reached(Box<ReachReport>),
    /// It could not be made.
    Failed(String),
}

/// The backtests of a gateway. They are not kept on disk: the same one can be made again.
#[derive(Default)]
pub(crate) struct Backtests(Mutex<VecDeque<Arc<Job>>>);

struct Job {
    id: String,
    retailer: RetailerId,
    standing: Mutex<Standing>,
}

impl Job {
    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn stands(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
    fn is_at_work(&self) -> bool {
        matches!(self.standing(), Standing::Begun | Standing::Running(_))
    }
}

/// A job while somebody works on it. However that ends (done, no thread to be had, a panic), the
/// job is at work no longer: one left so would keep every later backtest out.
struct AtWork(Arc<Job>);

impl AtWork {
    fn job(&self) -> &Job {
        &self.0
    }
    fn ends(self, standing: Standing) {
        self.0.stands(standing);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if self.0.is_at_work() {
            self.0.stands(Standing::Failed("it broke off before its end; begin it again".to_owned()));
        }
    }
}

/// Tells a job how far its backtest is, and the backtest when the gateway ends.
struct Watching<'j> {
    job: &'j Job,
    engine: &'j Engine,
}

impl Listener for Watching<'_> {
    fn progress(&mut self, progress: Progress) -> bool {
        self.job.stands(Standing::Running(progress));
        !self.engine.is_closed()
    }
}

impl App {
    /// Begins a backtest; gives its id.
    pub fn begin_backtest(&self, who: &Caller, wanted: Wanted) -> Result<String, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        if wanted.triggers.len() > TRIGGERS_MAX {
            return Err(Failure::invalid("/triggers", format!("a backtest takes at most {TRIGGERS_MAX} triggers")));
        }
        if wanted.triggers.is_empty() && !wanted.with_live {
            return Err(Failure::invalid("/triggers", "name triggers, or set `live`"));
        }
        let rules = self.engine.rules();
        let mut all: Vec<Arc<Trigger>> = Vec::new();
        if wanted.with_live {
            all.extend(rules.triggers.iter().filter(|trigger| trigger.retailer == *retailer).cloned());
        }
        for (at, body) in wanted.triggers.iter().enumerate() {
            all.push(compiled(body, retailer, &rules).map_err(|findings| in_list(findings, at))?);
        }
        let window = Window { from: wanted.from, until: wanted.until };
        let backtest = Backtest::new(self.engine.past(), retailer.clone(), TriggerSet::build(all), window);
        let made = move |listener: &mut dyn Listener| {
            Ok(backtest.run(listener)?.map(|report| Standing::Done(Box::new(report))))
        };
        self.begin(BACKTEST, retailer, made)
    }

    /// Begins a forecast of whom a trigger would reach, and of what it would send in a day by the
    /// last `days`; gives its id.
    pub fn begin_reach(&self, who: &Caller, trigger: &Value, days: Option<u32>) -> Result<String, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        let days = days.unwrap_or(DAYS_DEFAULT);
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(Failure::invalid("/days", format!("takes 1 to {DAYS_MAX}")));
        }
        let trigger = compiled(trigger, retailer, &self.engine.rules())?;
        let (past, now) = (self.engine.past(), self.now());
        let made = move |listener: &mut dyn Listener| {
            let report = past.reach(&trigger, now, days, listener)?;
            Ok(report.map(|report| Standing::Reached(Box::new(report))))
        };
        self.begin(REACH, retailer, made)
    }

    /// Begins a job on a thread of its own: it takes as long as the log is long, and nobody waits.
    fn begin(
        &self,
        kind: &str,
        retailer: &RetailerId,
        made: impl FnOnce(&mut dyn Listener) -> Result<Option<Standing>, StoreError> + Send + 'static,
    ) -> Result<String, Failure> {
        let work = self.backtests.enter(kind, retailer)?;
        let (id, engine) = (work.job().id.clone(), self.engine.clone());
        let at_work = std::thread::Builder::new().name("backtest".to_owned()).spawn(move || {
            let ended = made(&mut Watching { job: work.job(), engine: &engine });
            work.ends(match ended {
                Ok(Some(standing)) => standing,
                Ok(None) => Standing::Failed("the gateway is stopping".to_owned()),
                Err(error) => Standing::Failed(error.to_string()),
            });
        });
        at_work.map_err(|error| Failure::Conflict(format!("no thread can be had: {error}")))?;
        Ok(id)
    }

    /// Begins a backtest of the live triggers with a draft among them: what if it were published?
    pub fn begin_backtest_of_draft(
        &self,
        who: &Caller,
        id: &TriggerId,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<String, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        let missing = || Failure::not_found("trigger", id);
        let draft = self.rulebook.get(&Name::of_retailer(Kind::Draft, retailer, id.as_str())).ok_or_else(missing)?;
        let mut body = super::catalog::document_json(&draft);
        name_trigger(&mut body, id)?;
        self.begin_backtest(who, Wanted { triggers: vec![body], with_live: true, from, until })
    }

    /// How a backtest of the caller's stands.
    pub fn backtest(&self, who: &Caller, id: &str) -> Result<Standing, Failure> {
        self.job(who, "backtest", BACKTEST, id)
    }

    /// How a forecast of reach of the caller's stands.
    pub fn reach(&self, who: &Caller, id: &str) -> Result<Standing, Failure> {
        self.job(who, "forecast of reach", REACH, id)
    }

    fn job(&self, who: &Caller, what: &'static str, kind: &str, id: &str) -> Result<Standing, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        let missing = || Failure::not_found(what, id.chars().take(80).collect::<String>());
        let found = self.backtests.get(retailer, id).filter(|job| job.id.starts_with(kind));
        found.map(|job| job.standing()).ok_or_else(missing)
    }
}

impl App {
    /// Whether a long work is under way.
    #[cfg(test)]
    pub(crate) fn is_backtesting(&self) -> bool {
        let jobs = self.backtests.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().any(|job| job.is_at_work())
    }
}

impl Backtests {
    fn enter(&self, kind: &str, retailer: &RetailerId) -> Result<AtWork, Failure> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.iter().filter(|job| job.is_at_work()).count() >= AT_WORK_MAX {
            return Err(Failure::Conflict("another backtest is at work; ask again when it is done".to_owned()));
        }
        let id = format!("{kind}_{}", base32(&entropy::draw().to_be_bytes()));
        let job = Arc::new(Job { id, retailer: retailer.clone(), standing: Mutex::default() });
        jobs.push_back(Arc::clone(&job));
        if jobs.len() > KEPT_MAX {
            jobs.pop_front();
        }
        Ok(AtWork(job))
    }

    fn get(&self, retailer: &RetailerId, id: &str) -> Option<Arc<Job>> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().find(|job| job.id == id && job.retailer == *retailer).cloned()
    }
}

/// The problems of one trigger of a list, with where it stands.
fn in_list(failure: Failure, at: usize) -> Failure {
    match failure {
        Failure::Trigger { mut findings } => {
            findings.iter_mut().for_each(|finding| finding.pointer = format!("/triggers/{at}{}", finding.pointer));
            Failure::Trigger { findings }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_backtest_whose_thread_panics_has_failed_and_makes_room_for_the_next() {
        let (backtests, retailer) = (Backtests::default(), RetailerId::new("shop").unwrap());
        let work = backtests.enter(BACKTEST, &retailer).unwrap();
        let id = work.job().id.clone();
        assert!(backtests.enter(BACKTEST, &retailer).is_err(), "one is at work");
        let thread = std::thread::spawn(move || {
            work.job().stands(Standing::Running(Progress::default()));
            panic!("the backtest breaks");
        });
        assert!(thread.join().is_err());
        assert!(matches!(backtests.get(&retailer, &id).unwrap().standing(), Standing::Failed(_)));
        backtests.enter(BACKTEST, &retailer).expect("there is room again");
    }

    #[test]
    fn a_backtest_that_ended_keeps_how_it_ended() {
        let (backtests, retailer) = (Backtests::default(), RetailerId::new("shop").unwrap());
        let work = backtests.enter(BACKTEST, &retailer).unwrap();
        let id = work.job().id.clone();
        work.ends(Standing::Failed("the log cannot be read".to_owned()));
        let standing = backtests.get(&retailer, &id).unwrap().standing();
        assert!(matches!(standing, Standing::Failed(why) if why == "the log cannot be read"));
    }
}
