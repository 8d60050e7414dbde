//! A retailer's triggers: a draft that is written and checked, and the live one that decisions read.

use std::sync::Arc;

use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::rules::RuleSet;
use hearthway_core::trigger::Trigger;
use serde_json::{Value, json};

use super::catalog::{check_size, document_json};
use super::documents::{Condition, Document, Kind, Name};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};

/// Live triggers of one retailer: matching is indexed, but each costs memory.
const TRIGGERS_PER_RETAILER_MAX: usize = 10_000;

/// One thing that is wrong with a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, as a JSON pointer into the trigger.
    pub pointer: String,
    /// How to mend it, where that is known.
    pub help: Option<String>,
}

/// Checks and compiles one trigger against the models and products of a rule set, and runs the
/// tests that travel with it. The one place that calls the compiler.
pub fn compile(
    body: &Value,
    retailer: &RetailerId,
    version: u64,
    rules: &RuleSet,
) -> Result<Arc<Trigger>, Vec<Finding>> {
    let _ = (body, retailer, version, rules);
    Err(vec![Finding {
        message: "the trigger compiler is not part of this build".into(),
        pointer: String::new(),
        help: None,
    }])
}

/// A trigger as its retailer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerView {
    /// Its id.
    pub id: TriggerId,
    /// The draft.
    pub draft: Arc<Document>,
    /// The live one, if it was ever published.
    pub live: Option<Arc<Document>>,
}

impl TriggerView {
    /// `draft`, `published` or `paused`.
    pub fn state(&self) -> &'static str {
        match &self.live {
            None => "draft",
            Some(live) if live.paused => "paused",
            Some(_) => "published",
        }
    }
    /// As JSON: what is known about it, with the draft's text.
    pub fn to_json(&self) -> Value {
        json!({
            "trigger": self.id.as_str(),
            "state": self.state(),
            "version": self.live.as_ref().map(|live| live.number),
            "draft_differs": self.live.as_ref().is_none_or(|live| live.body != self.draft.body),
            "updated_at": self.draft.at.to_string(),
            "draft": document_json(&self.draft),
        })
    }
}

impl App {
    /// Writes the draft of a trigger.
    pub async fn put_trigger(
        &self,
        who: &Caller,
        id: &TriggerId,
        mut body: Value,
        condition: &Condition,
    ) -> Result<TriggerView, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        name_trigger(&mut body, id)?;
        // A draft that cannot be compiled is refused with all that is wrong with it: nobody is
        // helped by finding that out at the publication.
        compile(&body, retailer, 1, &self.engine.rules()).map_err(|findings| Failure::Trigger { findings })?;
        let text = to_text(&body);
        check_size(&text)?;
        let name = Name::of_retailer(Kind::Draft, retailer, id.as_str());
        let draft = self.rulebook.put(&self.engine, name, text, false, condition).await?;
        let live = self.live(retailer, id);
        Ok(TriggerView { id: id.clone(), draft, live })
    }

    /// A trigger of the caller's.
    pub fn trigger(&self, who: &Caller, id: &str) -> Result<TriggerView, Failure> {
        let retailer = who.retailer(Scope::TriggersRead)?;
        self.view(retailer, id)
    }

    /// The caller's triggers, by id.
    pub fn triggers(&self, who: &Caller, page: &PageQuery) -> Result<Page<TriggerView>, Failure> {
        let retailer = who.retailer(Scope::TriggersRead)?;
        let found = self.rulebook.list(Kind::Draft, retailer.as_str(), page, |_, _| true);
        let items = found.items.iter().filter_map(|(id, _)| self.view(retailer, id).ok()).collect();
        Ok(Page { items, next: found.next })
    }

    /// Everything that is wrong with a trigger: the given text, or else the draft.
    pub fn check_trigger(&self, who: &Caller, id: &TriggerId, body: Option<Value>) -> Result<Vec<Finding>, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        let mut body = match body {
            Some(body) => body,
            None => document_json(&self.view(retailer, id.as_str())?.draft),
        };
        name_trigger(&mut body, id)?;
        Ok(compile(&body, retailer, 1, &self.engine.rules()).err().unwrap_or_default())
    }

    /// Makes the draft live. It is refused while anything is wrong with it.
    pub async fn publish_trigger(&self, who: &Caller, id: &TriggerId) -> Result<TriggerView, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?;
        let view = self.view(retailer, id.as_str())?;
        let rules = self.engine.rules();
        let body = document_json(&view.draft);
        compile(&body, retailer, 1, &rules).map_err(|findings| Failure::Trigger { findings })?;
        let own = rules.triggers.iter().filter(|live| live.retailer == *retailer).count();
        if view.live.is_none() && own >= TRIGGERS_PER_RETAILER_MAX {
            return Err(Failure::Conflict(format!("{TRIGGERS_PER_RETAILER_MAX} triggers are live; pause some first")));
        }
        let name = Name::of_retailer(Kind::Trigger, retailer, id.as_str());
        let live = self.rulebook.put(&self.engine, name, view.draft.body.clone(), false, &Condition::Any).await?;
        Ok(TriggerView { live: Some(live), ..view })
    }

    /// Silences a live trigger from the next decision on; publishing ends the pause.
    pub async fn pause_trigger(&self, who: &Caller, id: &TriggerId) -> Result<TriggerView, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?;
        let view = self.view(retailer, id.as_str())?;
        let Some(live) = &view.live else {
            return Err(Failure::Conflict(format!("the trigger `{id}` was never published")));
        };
        let name = Name::of_retailer(Kind::Trigger, retailer, id.as_str());
        let live = self.rulebook.put(&self.engine, name, live.body.clone(), true, &Condition::Any).await?;
        Ok(TriggerView { live: Some(live), ..view })
    }

    fn live(&self, retailer: &RetailerId, id: &TriggerId) -> Option<Arc<Document>> {
        self.rulebook.get(&Name::of_retailer(Kind::Trigger, retailer, id.as_str()))
    }

    fn view(&self, retailer: &RetailerId, id: &str) -> Result<TriggerView, Failure> {
        let missing = || Failure::not_found("trigger", id.chars().take(80).collect::<String>());
        let draft = self.rulebook.get(&Name::of_retailer(Kind::Draft, retailer, id)).ok_or_else(missing)?;
        let id = TriggerId::new(id).map_err(|_| missing())?;
        let live = self.live(retailer, &id);
        Ok(TriggerView { id, draft, live })
    }
}

/// The trigger's `id` is the path's; the body may repeat it.
fn name_trigger(body: &mut Value, id: &TriggerId) -> Result<(), Failure> {
    let Some(object) = body.as_object_mut() else {
        return Err(Failure::invalid("", "a trigger is a JSON object"));
    };
    if object.get("id").is_some_and(|named| named.as_str() != Some(id.as_str())) {
        return Err(Failure::invalid("/id", format!("the path says `{id}`; leave the field out or repeat it")));
    }
    object.insert("id".into(), id.as_str().into());
    Ok(())
}
