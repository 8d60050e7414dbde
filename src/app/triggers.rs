//! A retailer's triggers: a draft that is written and checked, and the live one that decisions read.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::event_out::{EventOut, EventType};
use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::model::Tenant;
use hearthway_core::rules::{Held, RuleSet};
use hearthway_core::trigger::{Conflict, Problem, Trigger, World, check_json, compile_published, conflicts, run_cases};
use serde_json::{Value, json};

use super::aside::aside;
use super::audiences::unknown_audiences;
use super::catalog::{check_size, document_json};
use super::documents::{Condition, Document, Kind, Looked, Name, Published, Wanted, WantedSet};
use super::second_person::may_publish;
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};
use crate::engine::sweep::Sweep;

/// The code of a case that does not come out as its author expects.
const CASE_FAILED: &str = "trigger.case_failed";
/// Versions of a trigger that are shown: as many as a page has rows.
const VERSIONS_SHOWN_MAX: usize = super::PAGE_ROWS_MAX;
/// Live triggers of one retailer: matching is indexed, but each costs memory.
const TRIGGERS_PER_RETAILER_MAX: usize = 10_000;

/// Findings told of one set: after a hundred nobody reads on.
const FINDINGS_SHOWN_MAX: usize = 100;

/// One thing that is wrong with a trigger, or looks wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable word for the kind of problem.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, as a JSON pointer into the trigger.
    pub pointer: String,
    /// How to mend it, where that is known.
    pub help: Option<String>,
    /// Whether it stops the trigger from being published.
    pub is_error: bool,
}

impl Finding {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code, "message": self.message, "pointer": self.pointer, "help": self.help,
            "severity": if self.is_error { "error" } else { "warning" },
        })
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Finding {
        let is_error = problem.is_error();
        let Problem { code, message, pointer, help, .. } = problem;
        Finding { code, message, pointer, help, is_error }
    }
}

/// What a trigger is compiled against: the models, products and tenants of a rule set.
fn world<'r>(retailer: &RetailerId, version: u64, rules: &'r RuleSet) -> World<'r> {
    World {
        retailer: retailer.clone(),
        version,
        models: &rules.models,
        products: &rules.products,
        default_locale: rules.retailers.get(retailer).map_or("en", |retailer| &retailer.default_locale),
    }
}

/// Compiles a trigger that was published at a version of the rules against the models as they are.
pub(super) fn compile(
    body: &Value,
    retailer: &RetailerId,
    document: &Document,
    rules: &RuleSet,
) -> Result<Arc<Trigger>, Vec<Problem>> {
    compile_published(body, document.version, &rules.units, &world(retailer, document.number, rules))
}

/// Where an earlier version would speak with its numbers in another unit than they were published in.
fn of_units(body: &Value, retailer: &RetailerId, meant: &Document, rules: &RuleSet) -> Vec<Finding> {
    let problems = compile(body, retailer, meant, rules).err().unwrap_or_default();
    let help = "write this version as the draft, look at its numbers, and publish it: that says that they are meant so";
    let found = problems.into_iter().map(|problem| Finding { help: Some(help.to_owned()), ..problem.into() });
    found.collect()
}

fn found_of(held: &Held) -> Vec<Finding> {
    held.problems.iter().cloned().map(Finding::from).collect()
}

/// What is wrong with a live trigger by the models and products of today: what holds it, else what keeps it from
/// proposing anything.
pub(super) fn wrong_today(id: &TriggerId, live: &Document, retailer: &RetailerId, rules: &RuleSet) -> Vec<Finding> {
    if let Some(held) = rules.held.get(&(retailer.clone(), id.clone())) {
        return found_of(held);
    }
    let (_, problems) = check_json(&document_json(live), &world(retailer, live.number, rules));
    problems.into_iter().filter(Problem::is_error).map(Finding::from).collect()
}

/// Everything about a trigger that is wrong or looks wrong: its text, and the cases that travel
/// with it.
pub fn check(body: &Value, retailer: &RetailerId, rules: &RuleSet) -> Vec<Finding> {
    checked(body, retailer, rules).1
}

/// The same, with the trigger where its text is sound.
fn checked(body: &Value, retailer: &RetailerId, rules: &RuleSet) -> (Option<Arc<Trigger>>, Vec<Finding>) {
    let (sound, problems) = check_json(body, &world(retailer, 1, rules));
    let mut findings: Vec<Finding> = problems.into_iter().map(Finding::from).collect();
    let Some((definition, trigger)) = sound else { return (None, findings) };
    findings.extend(unknown_audiences(&trigger, rules));
    let no_files = |name: &str| Err(format!("the file `{name}` cannot be read over HTTP; write its content here"));
    for (at, outcome) in run_cases(&trigger, &definition, rules, &no_files).into_iter().enumerate() {
        findings.extend(outcome.differences.into_iter().map(|difference| Finding {
            code: CASE_FAILED,
            message: format!("the case `{}` fails: {difference}", outcome.name),
            pointer: format!("/test/{at}"),
            help: None,
            is_error: true,
        }));
    }
    (Some(trigger), findings)
}

/// Checks a set, a trigger on each line. What is wrong has the line's number, from 0, before its pointer.
fn check_set(lines: &[u8], retailer: &RetailerId, rules: &RuleSet) -> Result<Vec<Wanted>, Failure> {
    let (mut wanted, mut wrong, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    let given = lines.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    for (at, line) in given.enumerate() {
        let refused = |code: &'static str, pointer: &str, message: String| Finding {
            code,
            message,
            pointer: format!("/{at}{pointer}"),
            help: None,
            is_error: true,
        };
        let body: Value = match serde_json::from_slice(line) {
            Ok(body) => body,
            Err(error) => {
                wrong.push(refused("trigger.type", "", format!("the line is no JSON: {error}")));
                continue;
            }
        };
        let (trigger, mut findings) = checked(&body, retailer, rules);
        findings.retain(|finding| finding.is_error);
        let name = body["id"].as_str().unwrap_or("without an id").chars().take(80).collect::<String>();
        for finding in &mut findings {
            finding.pointer = format!("/{at}{}", finding.pointer);
            finding.message = format!("`{name}`: {}", finding.message);
        }
        wrong.extend(findings);
        if let Some(trigger) = trigger {
            if !ids.insert(trigger.id.clone()) {
                wrong.push(refused("trigger.duplicate_id", "/id", format!("`{name}` stands in this set twice")));
            }
            let text = to_text(&body);
            if let Err(error) = check_size(&text) {
                wrong.push(refused("trigger.too_large", "", format!("`{name}`: {error}")));
            }
            wanted.push(Wanted { body: text, trigger });
        }
        if wrong.len() >= FINDINGS_SHOWN_MAX {
            break;
        }
    }
    if wrong.is_empty() { Ok(wanted) } else { Err(Failure::Trigger { findings: wrong }) }
}

/// A trigger that is sound, compiled; else all that is wrong with it.
pub(super) fn compiled(body: &Value, retailer: &RetailerId, rules: &RuleSet) -> Result<Arc<Trigger>, Failure> {
    let (sound, problems) = check_json(body, &world(retailer, 1, rules));
    let findings: Vec<Finding> = problems.into_iter().map(Finding::from).collect();
    let Some((_, trigger)) = sound else { return Err(Failure::Trigger { findings }) };
    refuse_errors(unknown_audiences(&trigger, rules)).map(|()| trigger)
}

/// Refuses when something is wrong; what only looks wrong passes.
fn refuse_errors(findings: Vec<Finding>) -> Result<(), Failure> {
    if findings.iter().any(|finding| finding.is_error) { Err(Failure::Trigger { findings }) } else { Ok(()) }
}

/// How many of a retailer's triggers are live. One that is held is: it speaks again by itself.
fn live_of(retailer: &RetailerId, rules: &RuleSet) -> usize {
    let held = rules.held.keys().filter(|(of, _)| of == retailer).count();
    rules.triggers.iter().filter(|live| live.retailer == *retailer).count() + held
}

/// Refuses to let one more speak when a retailer has as many live as it may. One that speaks already
/// only changes; one that is paused would come on top, as one that never was live.
fn refuse_one_more(live: Option<&Document>, own: usize) -> Result<(), Failure> {
    let speaks = live.is_some_and(|live| !live.paused);
    if !speaks && own >= TRIGGERS_PER_RETAILER_MAX {
        return Err(Failure::Conflict(format!("{TRIGGERS_PER_RETAILER_MAX} triggers are live; pause some first")));
    }
    Ok(())
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
    /// How far the sweep came that its going live began.
    pub sweep: Option<Sweep>,
    /// Whether it is live, and held since it does not agree with the models as they are.
    pub is_held: bool,
    /// What is wrong with the live one by the models and products of today.
    pub problems: Vec<Finding>,
}

impl TriggerView {
    /// `draft`, `published`, `held` or `paused`.
    pub fn state(&self) -> &'static str {
        match &self.live {
            None => "draft",
            Some(live) if live.paused => "paused",
            Some(_) if self.is_held => "held",
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
            "problems": self.problems.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "activation": self.sweep.as_ref().map(sweep_json),
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
        refuse_errors(check(&body, retailer, &self.engine.rules()))?;
        let text = to_text(&body);
        check_size(&text)?;
        let name = Name::of_retailer(Kind::Draft, retailer, id.as_str());
        let draft = self.rulebook.put(&self.engine, name, text, false, condition).await?;
        self.viewed(retailer, id.clone(), draft)
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
        let rules = self.engine.rules();
        // A page of them is told only what holds each: to ask after all their products takes too long.
        let brief = |view: TriggerView| match rules.held.get(&(retailer.clone(), view.id.clone())) {
            Some(held) => TriggerView { problems: found_of(held), ..view },
            None => view,
        };
        let items = found.items.iter().filter_map(|(id, _)| self.seen(retailer, id).ok().map(brief)).collect();
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
        Ok(check(&body, retailer, &self.engine.rules()))
    }

    /// Makes the draft live. It is refused while anything is wrong with it, and where a marketer would reach more
    /// homes than one may alone; `confirm` is the second person's word to such a request.
    pub async fn publish_trigger(
        &self,
        who: &Caller,
        id: &TriggerId,
        confirm: Option<&str>,
    ) -> Result<TriggerView, Failure> {
        let retailer = may_publish(who)?;
        let (counted, looked) = (self.seen(retailer, id.as_str())?.draft, self.rulebook.look(retailer));
        let trigger = || compiled(&document_json(&counted), retailer, &looked.rules);
        let too_many = confirm.is_none() && self.reaches_too_many(who, trigger).await?;
        let _naming = self.naming_audiences.read().await;
        let view = self.view(retailer, id.as_str())?;
        if view.draft.body != counted.body {
            let message = "the draft changed while it was counted whom it reaches; look at it and publish it again";
            return Err(Failure::Conflict(message.to_owned()));
        }
        let rules = self.engine.rules();
        let body = document_json(&view.draft);
        refuse_errors(check(&body, retailer, &rules))?;
        refuse_one_more(view.live.as_deref(), live_of(retailer, &rules))?;
        self.second_person(who, (retailer, id), &view.draft, confirm, too_many).await?;
        self.let_speak(retailer, id, view.draft.body.clone(), &looked).await?;
        self.tell_published(retailer, &rules).await?;
        if confirm.is_some() {
            self.confirmed_once(retailer, id).await?;
        }
        self.viewed(retailer, view.id, view.draft)
    }

    /// Makes a whole set live, given as JSON Lines: a trigger with its id on each. All of them are
    /// checked aside; where anything is wrong with one, nothing changes. Drafts become the same.
    pub async fn publish_set(&self, who: &Caller, lines: Vec<u8>, pause_others: bool) -> Result<Published, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?.clone();
        who.retailer(Scope::TriggersWrite)?;
        let _naming = self.naming_audiences.read().await;
        let (looked, of) = (self.rulebook.look(&retailer), retailer.clone());
        let (rules, before) = (Arc::clone(&looked.rules), Arc::clone(&looked.rules));
        let triggers = aside("checking the set", move || check_set(&lines, &of, &rules)).await??;
        let set = WantedSet { triggers, pause_others, live_max: TRIGGERS_PER_RETAILER_MAX };
        let published = self.rulebook.put_set(&self.engine, &retailer, looked, set).await?;
        self.tell_published(&retailer, &before).await?;
        Ok(published)
    }

    /// Tells webhooks which triggers are live that were not, or were in another version.
    async fn tell_published(&self, retailer: &RetailerId, before: &RuleSet) -> Result<(), Failure> {
        let (rules, to) = (self.engine.rules(), Tenant::Retailer(retailer.clone()));
        let is_new = |live: &&Arc<Trigger>| {
            let known = before.triggers.get(retailer, &live.id);
            live.retailer == *retailer && known.is_none_or(|known| known.version != live.version)
        };
        let events = rules.triggers.iter().filter(is_new).map(|live| {
            let cause: [&[u8]; 2] = [&live.version.to_be_bytes(), &rules.version.to_be_bytes()];
            let data = json!({"trigger": live.id, "version": live.version});
            EventOut::of_tenant(&to, EventType::TriggerPublished, live.id.as_str(), &cause, self.now(), data)
        });
        let events: Vec<EventOut> = events.collect();
        Ok(self.engine.tell(&events).await?)
    }

    /// Silences a live trigger from the next decision on; publishing ends the pause.
    pub async fn pause_trigger(&self, who: &Caller, id: &TriggerId) -> Result<TriggerView, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?;
        let view = self.view(retailer, id.as_str())?;
        let Some(live) = &view.live else {
            return Err(Failure::Conflict(format!("the trigger `{id}` was never published")));
        };
        let name = Name::of_retailer(Kind::Trigger, retailer, id.as_str());
        self.rulebook.put(&self.engine, name, live.body.clone(), true, &Condition::Any).await?;
        self.viewed(retailer, view.id, view.draft)
    }

    /// The versions of a live trigger, newest first.
    pub fn trigger_versions(&self, who: &Caller, id: &TriggerId) -> Result<Vec<Arc<Document>>, Failure> {
        let retailer = who.retailer(Scope::TriggersRead)?;
        self.view(retailer, id.as_str())?;
        let name = Name::of_retailer(Kind::Trigger, retailer, id.as_str());
        Ok(self.rulebook.versions(&name, VERSIONS_SHOWN_MAX)?)
    }

    /// Makes an earlier version live again, as the next version: the one before the live one, or
    /// the one with this number. The draft stays as it is. It is refused while anything is wrong
    /// with it by the models and products of today.
    pub async fn roll_back_trigger(
        &self,
        who: &Caller,
        id: &TriggerId,
        to: Option<u64>,
    ) -> Result<TriggerView, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?;
        let _naming = self.naming_audiences.read().await;
        let looked = self.rulebook.look(retailer);
        let rules = Arc::clone(&looked.rules);
        let view = self.view(retailer, id.as_str())?;
        let never = || Failure::Conflict(format!("the trigger `{id}` was never published"));
        let live = view.live.clone().ok_or_else(never)?;
        let name = Name::of_retailer(Kind::Trigger, retailer, id.as_str());
        let versions = self.rulebook.versions(&name, usize::MAX)?;
        let wanted = versions.iter().find(|version| match to {
            Some(number) => version.number == number,
            None => version.number < live.number,
        });
        let earlier = wanted.ok_or_else(|| match to {
            Some(number) => Failure::not_found("version", number),
            None => Failure::Conflict(format!("the trigger `{id}` has no earlier version")),
        })?;
        let body = document_json(earlier);
        refuse_errors(check(&body, retailer, &rules))?;
        let meant = self.rulebook.meant_at(&name, earlier.number)?.unwrap_or(earlier.version);
        refuse_errors(of_units(&body, retailer, &Document { version: meant, ..(**earlier).clone() }, &rules))?;
        self.let_speak(retailer, id, earlier.body.clone(), &looked).await?;
        self.tell_published(retailer, &rules).await?;
        self.viewed(retailer, view.id, view.draft)
    }

    /// Makes a text live that was checked against these rules, where neither a model nor somebody who silenced the
    /// trigger was faster.
    async fn let_speak(
        &self,
        retailer: &RetailerId,
        id: &TriggerId,
        body: String,
        looked: &Looked,
    ) -> Result<(), Failure> {
        let name = Name::of_retailer(Kind::Trigger, retailer, id.as_str());
        let may = |rules: &RuleSet, live: Option<&Document>| {
            self.rulebook.not_silenced(looked, live)?;
            refuse_one_more(live, live_of(retailer, rules))
        };
        self.rulebook.put_checked(&self.engine, &looked.rules, name, body, &Condition::Any, may).await.map(|_| ())
    }

    /// What looks wrong about the caller's live triggers together.
    pub fn trigger_conflicts(&self, who: &Caller) -> Result<Vec<Conflict>, Failure> {
        let retailer = who.retailer(Scope::TriggersRead)?;
        let rules = self.engine.rules();
        let own: Vec<_> = rules.triggers.iter().filter(|live| live.retailer == *retailer).cloned().collect();
        Ok(conflicts(&own, &world(retailer, 1, &rules)))
    }

    /// Silences all of a retailer's live triggers at once, from the next decision on; gives how many.
    /// Publishing each again ends its pause.
    pub async fn stop_triggers(&self, who: &Caller) -> Result<usize, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?;
        self.rulebook.pause_all(&self.engine, retailer).await
    }

    fn live(&self, retailer: &RetailerId, id: &TriggerId) -> Option<Arc<Document>> {
        self.rulebook.get(&Name::of_retailer(Kind::Trigger, retailer, id.as_str()))
    }

    /// A trigger with what is wrong with it by the models and products of today.
    fn view(&self, retailer: &RetailerId, id: &str) -> Result<TriggerView, Failure> {
        self.seen(retailer, id).map(|view| self.with_problems(retailer, view))
    }

    /// The same without.
    fn seen(&self, retailer: &RetailerId, id: &str) -> Result<TriggerView, Failure> {
        let missing = || Failure::not_found("trigger", id.chars().take(80).collect::<String>());
        let draft = self.rulebook.get(&Name::of_retailer(Kind::Draft, retailer, id)).ok_or_else(missing)?;
        let id = TriggerId::new(id).map_err(|_| missing())?;
        self.seen_with(retailer, id, draft)
    }

    /// A trigger whose draft this is.
    fn viewed(&self, retailer: &RetailerId, id: TriggerId, draft: Arc<Document>) -> Result<TriggerView, Failure> {
        self.seen_with(retailer, id, draft).map(|view| self.with_problems(retailer, view))
    }

    fn seen_with(&self, retailer: &RetailerId, id: TriggerId, draft: Arc<Document>) -> Result<TriggerView, Failure> {
        let (live, sweep) = (self.live(retailer, &id), self.engine.sweep(retailer, &id)?);
        let is_held = self.engine.rules().held.contains_key(&(retailer.clone(), id.clone()));
        Ok(TriggerView { id, draft, live, sweep, is_held, problems: Vec::new() })
    }

    fn with_problems(&self, retailer: &RetailerId, view: TriggerView) -> TriggerView {
        let speaking = view.live.as_deref().filter(|live| !live.paused);
        let rules = self.engine.rules();
        let problems = speaking.map(|live| wrong_today(&view.id, live, retailer, &rules)).unwrap_or_default();
        TriggerView { problems, ..view }
    }
}

fn sweep_json(sweep: &Sweep) -> Value {
    json!({"version": sweep.version, "looked": sweep.looked, "woken": sweep.woken, "done": sweep.is_done})
}

/// The trigger's `id` is the path's; the body may repeat it.
pub(super) fn name_trigger(body: &mut Value, id: &TriggerId) -> Result<(), Failure> {
    let Some(object) = body.as_object_mut() else {
        return Err(Failure::invalid("", "a trigger is a JSON object"));
    };
    if object.get("id").is_some_and(|named| named.as_str() != Some(id.as_str())) {
        return Err(Failure::invalid("/id", format!("the path says `{id}`; leave the field out or repeat it")));
    }
    object.insert("id".into(), id.as_str().into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use hearthway_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_held_trigger_counts_as_a_live_one() {
        let (shop, id) = (RetailerId::new("shop").expect("a name"), TriggerId::new("t-1").expect("a name"));
        let mut rules = RuleSet::default();
        assert_eq!(live_of(&shop, &rules), 0);
        rules.held.insert((shop.clone(), id), Arc::new(Held { version: 1, problems: Vec::new() }));
        assert_eq!(live_of(&shop, &rules), 1);
        assert_eq!(live_of(&RetailerId::new("other").expect("a name"), &rules), 0);
    }

    #[test]
    fn a_paused_trigger_counts_as_one_more_when_it_is_to_speak_again() {
        let document =
            |paused| Document { version: 1, number: 1, at: Timestamp::default(), body: String::new(), paused };
        let (paused, speaking, full) = (document(true), document(false), TRIGGERS_PER_RETAILER_MAX);
        assert!(refuse_one_more(Some(&paused), full).is_err());
        assert!(refuse_one_more(None, full).is_err());
        assert!(refuse_one_more(Some(&speaking), full).is_ok(), "it only changes");
        assert!(refuse_one_more(Some(&paused), full - 1).is_ok());
    }
}
