//! A device model is replaced: what leans on it is compiled again.
//!
//! Ten thousand triggers take a second or two, and who stops them meanwhile must not wait. So they are compiled beside
//! all other changes; what changed meanwhile is compiled again while the model is taken in, and that is little.

use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::ModelId;
use hearthway_core::rules::RuleSet;

use super::super::Failure;
use super::super::aside::aside;
use super::held::{Fallen, Ready};
use super::put::{Wish, with};
use super::{Condition, Document, Kind, Name, Rulebook};
use crate::engine::Engine;

/// Triggers and audiences that are compiled while other changes wait: some ten milliseconds.
const COMPILED_AT_LAST_MAX: usize = 100;
/// How often is begun anew with what changed meanwhile: only a set of triggers is more than the above, and to check one
/// takes longer than to compile it.
const ROUNDS_MAX: usize = 8;

impl Rulebook {
    /// Writes the next version of a device model, as [`Rulebook::put`] does; tells what does not agree with it any
    /// more. `may` is asked of the rules while no model changes.
    pub async fn put_model(
        self: &Arc<Self>,
        engine: &Engine,
        id: &ModelId,
        body: &str,
        condition: &Condition,
        may: impl FnOnce(&RuleSet) -> Result<(), Failure>,
    ) -> Result<(Arc<Document>, Fallen), Failure> {
        let _no_other = self.changing_models.lock().await;
        let name = Name::of_house(Kind::Model, id.as_str());
        let wish = Wish { name: &name, body, paused: false, condition };
        may(&self.current.load())?;
        let mut ready = Ready::default();
        for _ in 0..ROUNDS_MAX {
            // Of the model itself nothing changes meanwhile, and of no other.
            let (rules, before) = (self.current.load_full(), self.get(&name));
            let Some(document) = self.wished(&rules, before.as_deref(), &wish, engine)? else {
                return Ok((before.expect("what is the same is there"), Fallen::default()));
            };
            let (this, of) = (Arc::clone(self), (name.clone(), id.clone()));
            let compiling = move || this.ready_for(&rules, &of.0, &of.1, &document, ready);
            ready = aside("compiling the triggers again", compiling).await?;

            let mut unsure = self.changing.lock().await;
            let rules = self.current.load_full();
            let Some(document) = self.wished(&rules, before.as_deref(), &wish, engine)? else { continue };
            let (this, of, with) = (Arc::clone(self), (name.clone(), id.clone()), Arc::clone(&document));
            let last = move || this.last(&rules, &of.0, &of.1, &with, ready);
            let (next, fallen) = match aside("taking a model in", last).await? {
                Ok(done) => done,
                Err(unfinished) => {
                    ready = unfinished;
                    continue;
                }
            };
            self.write(&mut unsure, engine, &name, &document, Some(next)).await?;
            fallen.warn(&name.id);
            return Ok((document, fallen));
        }
        let message = "the triggers changed all the while that they were compiled; send the model again";
        Err(Refusal::new(Code::InternalRetry, message).into())
    }

    /// All that leans on a model, compiled against it as it is to be.
    fn ready_for(&self, rules: &RuleSet, name: &Name, id: &ModelId, document: &Document, mut ready: Ready) -> Ready {
        let next = with(rules, name, document);
        // What is newer than these rules is left for the next look: whether a unit changed after it was published hangs
        // on the model's version, which is given at the end.
        let known = self.leaning_on(id, rules, &next).into_iter().filter(|(_, known)| known.version <= rules.version);
        known.for_each(|(name, known)| ready.compile(&next, name, known));
        ready
    }

    /// The rules with the model, where little is left to compile; else what is compiled already.
    fn last(
        &self,
        rules: &RuleSet,
        name: &Name,
        id: &ModelId,
        document: &Document,
        mut ready: Ready,
    ) -> Result<(RuleSet, Fallen), Ready> {
        let next = with(rules, name, document);
        let leaning = self.leaning_on(id, rules, &next);
        if leaning.iter().filter(|(name, document)| !ready.has(name, document)).count() > COMPILED_AT_LAST_MAX {
            return Err(ready);
        }
        let names: Vec<Name> = leaning.iter().map(|(name, _)| name.clone()).collect();
        leaning.into_iter().for_each(|(name, document)| ready.compile(&next, name, document));
        Ok(ready.into_rules(next, &names))
    }
}
