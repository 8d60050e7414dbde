//! A decision in the making: changes and effects gathered in order, with the household as it
//! will be after them.

use std::collections::BTreeSet;

use crate::budget::Purse;
use crate::code::Refusal;
use crate::decision::{Change, Decision, Effect, Reply};
use crate::id::{DecisionId, DeviceKey};
use crate::input::{Input, What};
use crate::limits::LOOKS_PER_INPUT_MAX;
use crate::model::{Device, DeviceDescription, Household};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{CandidateTrace, Trace};
use crate::wire::DownMessage;

/// A decision in the making.
pub(super) struct Draft<'a> {
    facts: &'a Household,
    /// What happened.
    pub(super) input: &'a Input,
    /// The rules in their version.
    pub(super) rules: &'a RuleSet,
    /// The instant of the decision.
    pub(super) now: Timestamp,
    /// What it asks of what homes share.
    pub(super) purse: &'a dyn Purse,
    after: Option<Box<Household>>,
    applied: usize,
    moved_an_edge: bool,
    changes: Vec<Change>,
    effects: Vec<Effect>,
    notes: Vec<String>,
    candidates: Vec<CandidateTrace>,
    /// Decisions that made an offer.
    offered: BTreeSet<DecisionId>,
    looks: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        facts: &'a Household,
        input: &'a Input,
        rules: &'a RuleSet,
        now: Timestamp,
        purse: &'a dyn Purse,
    ) -> Draft<'a> {
        Draft {
            facts,
            input,
            rules,
            now,
            purse,
            after: None,
            applied: 0,
            moved_an_edge: false,
            changes: Vec::new(),
            effects: Vec::new(),
            notes: Vec::new(),
            candidates: Vec::new(),
            offered: BTreeSet::new(),
            looks: 0,
        }
    }

    /// The household as it was before the input.
    pub(super) fn before(&self) -> &'a Household {
        self.facts
    }

    /// The household after every change so far. Copies it at the first change that somebody wants
    /// to see: a plain reading, the usual case, is never seen again and costs no copy.
    pub(super) fn home(&mut self) -> &Household {
        if self.applied < self.changes.len() {
            let after = self.after.get_or_insert_with(|| Box::new(self.facts.clone()));
            for change in &self.changes[self.applied..] {
                after.apply(change);
            }
            self.applied = self.changes.len();
        }
        self.after.as_deref().unwrap_or(self.facts)
    }

    /// A device of the household as it is after every change so far.
    pub(super) fn device(&mut self, key: &DeviceKey) -> Option<&Device> {
        self.home().devices.get(key).map(|device| &**device)
    }

    /// Whether this very input moved an edge.
    pub(super) fn moved_an_edge(&self) -> bool {
        self.moved_an_edge
    }

    pub(super) fn change(&mut self, change: Change) {
        self.moved_an_edge |= matches!(change, Change::EdgeSet { .. });
        self.changes.push(change);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Says something to a device.
    pub(super) fn say(&mut self, device: &DeviceKey, message: DownMessage, expires_at: Option<Timestamp>) {
        let corr = self.input.sender.corr.clone().filter(|_| self.input.device.as_ref() == Some(device));
        self.effects.push(Effect::Down { device: device.clone(), message: Box::new(message), expires_at, corr });
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn note_once(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether this decision made an offer already.
    pub(super) fn has_offered(&self, decision: DecisionId) -> bool {
        self.offered.contains(&decision)
    }

    /// Whether there was such a decision already.
    pub(super) fn has_looked(&self, decision: DecisionId) -> bool {
        self.candidates.iter().any(|candidate| candidate.decision == decision)
    }

    /// Whether one more trigger may be looked at: a batch that swings to and fro wakes every trigger
    /// with each of its samples, and nobody else may wait for it that long.
    pub(super) fn may_look(&mut self) -> bool {
        self.looks += 1;
        let may = self.looks <= LOOKS_PER_INPUT_MAX;
        if !may {
            self.note_once(format!(
                "more than {LOOKS_PER_INPUT_MAX} triggers were woken: the others were not looked at"
            ));
        }
        may
    }

    pub(super) fn candidate(&mut self, candidate: CandidateTrace) {
        if candidate.offer.is_some() {
            self.offered.insert(candidate.decision);
        }
        self.candidates.push(candidate);
    }

    /// Closes the draft. A refusal of a device's message is also told to the device.
    pub(super) fn close(mut self, reply: Result<Reply, Refusal>) -> Decision {
        if let (Err(refusal), What::Device(message), Some(device)) = (&reply, &self.input.what, &self.input.device) {
            let error = DownMessage::Error {
                refusal: refusal.clone(),
                reference: self.input.message.clone(),
                topic: message.topic().to_owned(),
            };
            self.say(device, error, Some(self.now + super::REPLY_TTL));
        }
        Decision {
            changes: self.changes,
            effects: self.effects,
            reply,
            trace: Trace { input: self.input.id, at: self.now, notes: self.notes, candidates: self.candidates },
        }
    }
}

/// What a device can do: by its own words, else by its model's.
pub(super) fn description<'a>(device: &'a Device, rules: &'a RuleSet) -> Option<&'a DeviceDescription> {
    device.description_in(rules)
}
