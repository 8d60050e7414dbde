//! What is compiled against device models, after a model changed: triggers and audiences.
//!
//! The rules of a version follow from the documents of that version and nothing else, so that a start and a replay come
//! to the same rules as the gateway that took the change. A trigger that does not agree with the models any more is
//! held: it is silent, says why, and speaks again when a model, or it, is mended. One that only proposes a product that
//! is gone stays live: its decisions say so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::audience::Audience;
use hearthway_core::id::{AudienceId, KindId, ModelId, RetailerId, TriggerId};
use hearthway_core::rules::{Held, RuleSet};
use hearthway_core::trigger::TriggerSet;
use tracing::warn;

use super::super::audiences;
use super::{Compiled, Document, Kind, Name, Rulebook, compile};

/// Triggers and audiences that are named in one answer or written to the log at one change: who has more looks at the list.
const NAMED_MAX: usize = 20;

/// A live trigger by its retailer and id, and what holds it.
pub(super) type HeldTrigger = ((RetailerId, TriggerId), Arc<Held>);

/// What agreed with the models before a change of one, and does not any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fallen {
    /// Triggers that are held since.
    pub triggers: Vec<HeldTrigger>,
    /// Audiences that nobody is in since, and why.
    pub audiences: Vec<(RetailerId, AudienceId, String)>,
}

impl Fallen {
    /// A sentence for each, the first of them.
    pub fn named(&self) -> Vec<String> {
        let triggers = self.triggers.iter().map(|((retailer, id), held)| {
            let why = held.problems.first().map(|problem| format!("{}: {}", problem.pointer, problem.message));
            format!("the live trigger `{id}` of `{retailer}` is held: {}", why.unwrap_or_default())
        });
        let audiences = self.audiences.iter();
        let audiences =
            audiences.map(|(retailer, id, why)| format!("nobody is in the audience `{id}` of `{retailer}`: {why}"));
        let mut named: Vec<String> = triggers.chain(audiences).take(NAMED_MAX).collect();
        let all = self.triggers.len() + self.audiences.len();
        if all > NAMED_MAX {
            named.push(format!("and {} more", all - NAMED_MAX));
        }
        named
    }

    /// For somebody who may not know whose they are: how many.
    pub fn counted(&self) -> Vec<String> {
        let (triggers, audiences) = (self.triggers.len(), self.audiences.len());
        let one = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}; their retailers see why"));
        let triggers = one(triggers, "live triggers of retailers do not agree with this model any more and are held");
        let audiences = one(audiences, "audiences of retailers do not agree with this model any more");
        triggers.into_iter().chain(audiences).collect()
    }

    /// Tells them in the log.
    pub(super) fn warn(&self, model: &str) {
        for told in self.named() {
            warn!("The device model `{model}` changed: {told}");
        }
    }
}

/// Tells in the log of a trigger that is held already when the gateway starts.
pub(super) fn warn_of((of, held): (&(RetailerId, TriggerId), &Arc<Held>)) {
    let (retailer, id) = of;
    let why = held.problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
    warn!("The live trigger `{id}` of `{retailer}` is held: {why}");
}

impl Rulebook {
    /// What was compiled against a model, or against those of its kind, and what is held: a change may mend it.
    pub(super) fn leaning_on(&self, model: &ModelId, before: &RuleSet, after: &RuleSet) -> Vec<(Name, Arc<Document>)> {
        let kind = |rules: &RuleSet| rules.models.get(model).map(|model| model.description.kind.clone());
        let kinds: Vec<KindId> = [kind(before), kind(after)].into_iter().flatten().collect();
        let kinds: Vec<&KindId> = kinds.iter().collect();
        let live = before.triggers.iter().filter(|trigger| trigger.on.leans_on(model, &kinds));
        let live = live.map(|trigger| (trigger.retailer.clone(), trigger.id.clone()));
        let leaning: BTreeSet<(RetailerId, TriggerId)> = live.chain(before.held.keys().cloned()).collect();
        let latest = self.latest.read().expect("no holder of this lock panics");
        let triggers = leaning
            .iter()
            .map(|(retailer, id)| Name::of_retailer(Kind::Trigger, retailer, id.as_str()))
            .filter_map(|name| {
                let document = latest.get(&name)?.clone();
                Some((name, document))
            });
        let audiences = latest.iter().filter(|(name, _)| name.kind == Kind::Audience);
        triggers.chain(audiences.map(|(name, document)| (name.clone(), document.clone()))).collect()
    }
}

/// What was compiled against a model that is on its way into the rules, with the document that it was compiled from.
/// It follows from that, the models and the units that they tell; of those nothing changes meanwhile.
#[derive(Default)]
pub(super) struct Ready(BTreeMap<Name, (Arc<Document>, Piece)>);

enum Piece {
    Trigger(Result<Compiled, String>),
    /// None where it is deleted.
    Audience(Result<Option<Arc<Audience>>, String>),
}

impl Ready {
    /// Whether this document was compiled, and not another one of its name.
    pub(super) fn has(&self, name: &Name, document: &Arc<Document>) -> bool {
        self.0.get(name).is_some_and(|(of, _)| Arc::ptr_eq(of, document))
    }

    /// Compiles a trigger or an audience against the models of these rules, where that is not done.
    pub(super) fn compile(&mut self, rules: &RuleSet, name: Name, document: Arc<Document>) {
        if !self.has(&name, &document) {
            let piece = match name.kind {
                Kind::Trigger => Piece::Trigger(compile(rules, &name, &document)),
                _ => Piece::Audience(audiences::compile(rules, &name, &document)),
            };
            self.0.insert(name, (document, piece));
        }
    }

    /// These rules with what was compiled, of these names.
    pub(super) fn into_rules(mut self, mut rules: RuleSet, names: &[Name]) -> (RuleSet, Fallen) {
        let mut fallen = Fallen::default();
        let (mut live, mut again) = (Vec::new(), BTreeSet::new());
        for name in names {
            match self.0.remove(name).map(|(_, piece)| piece) {
                Some(Piece::Audience(compiled)) => take_in_audience(&mut rules, name, compiled, &mut fallen),
                Some(Piece::Trigger(compiled)) => {
                    again.insert((name.tenant.as_str(), name.id.as_str()));
                    match compiled {
                        Ok(Ok(trigger)) => {
                            rules.held.remove(&(trigger.retailer.clone(), trigger.id.clone()));
                            live.push(trigger);
                        }
                        Ok(Err((of, held))) => {
                            if rules.held.insert(of.clone(), held.clone()).is_none() {
                                fallen.triggers.push((of, held));
                            }
                        }
                        Err(problem) => warn!("The trigger `{}` is left out of the rules: {problem}", name.id),
                    }
                }
                None => {}
            }
        }
        if !again.is_empty() {
            let stays =
                rules.triggers.iter().filter(|live| !again.contains(&(live.retailer.as_str(), live.id.as_str())));
            rules.triggers = TriggerSet::build(stays.cloned().chain(live));
        }
        (rules, fallen)
    }
}

fn take_in_audience(
    rules: &mut RuleSet,
    name: &Name,
    compiled: Result<Option<Arc<Audience>>, String>,
    fallen: &mut Fallen,
) {
    let (Ok(retailer), Ok(id)) = (RetailerId::new(&name.tenant), AudienceId::new(&name.id)) else { return };
    match compiled {
        Ok(Some(audience)) => drop(rules.audiences.insert((retailer, id), audience)),
        Ok(None) => drop(rules.audiences.remove(&(retailer, id))),
        Err(why) => {
            if rules.audiences.remove(&(retailer.clone(), id.clone())).is_some() {
                fallen.audiences.push((retailer, id, why));
            }
        }
    }
}
