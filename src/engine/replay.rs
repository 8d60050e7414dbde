//! The input log decided again: the same facts, inputs, rules and times give the same decisions.

use std::fmt;
use std::sync::Arc;

use hearthway_core::decision::Decision;
use hearthway_core::id::{HouseholdId, InputId};
use hearthway_core::model::Household;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::{CandidateTrace, StepTrace};
use sha2::{Digest, Sha256};

use super::log::{Stretch, TRACES_PER_INPUT_MAX, verdict};
use super::past::{Past, Recording, Window};
use super::rows::LogRow;
use super::{Engine, facts};
use crate::store::{StoreError, codec};

/// Differences of one household that are kept with their words; where there are more, the rest is
/// of the same cause, and only counted.
const DIFFERENCES_KEPT_MAX: usize = 100;

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Inputs decided again.
    pub inputs: u64,
    /// Inputs that are older than the first snapshot that is left, and so cannot be.
    pub cut: u64,
    /// Inputs that cannot be decided again because what was before them was erased with a customer, and
    /// items of the log that were erased themselves.
    pub erased: u64,
    /// When the oldest of them came: from there on the history of the household is there.
    pub since: Option<Timestamp>,
    /// Where the second decision was another one than the first; empty when all is well.
    pub differences: Vec<Difference>,
    /// Differences beyond those.
    pub further: u64,
    /// A sum over every decision as it came out this time: the same for the same log.
    pub digest: [u8; 32],
}

/// A decision that came out otherwise the second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The number of the input; for the end of a stretch, of the input after which it stands.
    pub seq: u64,
    /// The input and when it came; none where a state differs and not a decision.
    pub input: Option<(InputId, Timestamp)>,
    /// What differs, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.input {
            Some((input, at)) => write!(f, "input {} ({input}) at {at}: {}", self.seq, self.what),
            None => write!(f, "after input {}: {}", self.seq, self.what),
        }
    }
}

impl Replayed {
    fn differs(&mut self, difference: Difference) {
        if self.differences.len() < DIFFERENCES_KEPT_MAX {
            self.differences.push(difference);
        } else {
            self.further += 1;
        }
    }
}

impl Past {
    /// Decides a household's log again, and compares verdicts and traces of the inputs in a window
    /// with the stored ones, and the end of each stretch with the snapshot there or the
    /// household's record.
    pub fn replay(&self, household: HouseholdId, window: Window) -> Result<Replayed, StoreError> {
        let store = &*self.store;
        let mut replayed = Replayed::default();
        let mut digest = Sha256::new();
        let record = facts::read_household(household, store, self.decider)?;
        let (mut end, mut what) = (End::At(record.map(|stored| stored.row.facts)), "the household's record");
        let mut before = None;
        // From the newest stretch back to the oldest.
        loop {
            let stretch = Stretch::back(store, household, before, u64::MAX)?;
            replayed.erased += stretch.erased;
            let Some(start) = stretch.start else {
                if stretch.erased > 0 {
                    replayed.erased += stretch.rows.len() as u64;
                    (end, before) = (End::Erased, stretch.before);
                    continue;
                }
                replayed.cut = stretch.rows.iter().filter(|row| window.contains(row.input.received_at)).count() as u64;
                break;
            };
            replayed.since = stretch.rows.first().map(|row| row.input.received_at).or(replayed.since);
            let mut recording = Recording::new(self, &start);
            for row in &stretch.rows {
                let (_, decision) = recording.decide(row)?;
                recording.advance(&decision);
                if window.contains(row.input.received_at) {
                    replayed.inputs += 1;
                    compare(row, decision, &mut replayed, &mut digest);
                }
            }
            let again = recording.household();
            let is_same = match &end {
                End::At(end) => end.as_ref().map_or(again.seq == 0, |end| **end == *again),
                End::Erased => true,
            };
            if !is_same {
                let what = format!("{what} is another than what its log comes to");
                replayed.differs(Difference { seq: again.seq, input: None, what });
            }
            what = "the snapshot";
            before = stretch.before;
            let is_left_of_window = stretch.rows.first().is_some_and(|row| window.is_before(row.input.received_at));
            end = End::At(Some(start));
            if before.is_none() || is_left_of_window {
                break;
            }
        }
        replayed.differences.sort_by_key(|difference| difference.seq);
        replayed.digest = digest.finalize().into();
        Ok(replayed)
    }
}

/// What a stretch must come to.
enum End {
    /// To this.
    At(Option<Arc<Household>>),
    /// What followed was erased, so nobody knows.
    Erased,
}

impl Engine {
    /// Decides a household's whole log again, see [`Past::replay`].
    pub fn replay(&self, household: HouseholdId) -> Result<Replayed, StoreError> {
        self.past().replay(household, Window::default())
    }
}

fn compare(row: &LogRow, again: Decision, replayed: &mut Replayed, digest: &mut Sha256) {
    let mut differs = |what| {
        let input = Some((row.input.id, row.input.received_at));
        replayed.differs(Difference { seq: row.seq, input, what });
    };
    let (first, second) = (&row.verdict, verdict(&again));
    if second != *first {
        differs(format!("was {first}, and again {second}"));
    }
    let mut candidates = again.trace.candidates;
    candidates.truncate(TRACES_PER_INPUT_MAX);
    if candidates != row.candidates {
        differs(other_trace(&row.candidates, &candidates));
    }
    let mut bytes = Vec::new();
    codec::append(&(row.input.id, second, candidates), &mut bytes);
    digest.update(&bytes);
}

/// The triggers that an input woke, in words.
fn woken(candidates: &[CandidateTrace]) -> String {
    let names: Vec<String> = candidates.iter().map(|candidate| format!("`{}`", candidate.trigger)).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// The first thing in which two decisions' traces differ.
fn other_trace(first: &[CandidateTrace], again: &[CandidateTrace]) -> String {
    let Some((was, is)) = first.iter().zip(again).find(|(was, is)| was != is) else {
        return format!("{} woke, and again {}", woken(first), woken(again));
    };
    if was.trigger != is.trigger {
        return format!("`{}` was looked at, and again `{}`", was.trigger, is.trigger);
    }
    let step = |step: Option<&StepTrace>| {
        step.map_or_else(|| "nothing".to_owned(), |step| format!("{} {:?} {}", step.step, step.verdict, step.reason))
    };
    let at = was.steps.iter().zip(&is.steps).position(|(was, is)| was != is);
    let at = at.unwrap_or(was.steps.len().min(is.steps.len()));
    match (was.steps.get(at), is.steps.get(at)) {
        (None, None) => format!("`{}` has another id, version, offer or verdict than the stored trace", was.trigger),
        (was_step, is_step) => format!("`{}`: {}, and again {}", was.trigger, step(was_step), step(is_step)),
    }
}
