//! A retailer's audiences: named groups of customers, by a rule or by a list, which triggers ask for.
//!
//! Being on a list is a mark on the person (`hearthway_core::model::list_mark`): it goes to their homes as
//! every other change of a profile does, through the input log, and ends with them. There is no second place
//! that says who is in an audience.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::audience::Audience;
use hearthway_core::id::{AudienceId, ProfileId, RetailerId, TriggerId};
use hearthway_core::model::{Profile, list_mark};
use hearthway_core::rules::RuleSet;
use hearthway_core::trigger::condition::{Articles, Fault};
use hearthway_core::trigger::{Trigger, suggestion};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::catalog::document_json;
use super::documents::{Condition, Document, Kind, Name};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::triggers::Finding;
use super::{App, Failure, Page, PageQuery, rows};
use crate::engine::rows::unless_erased;
use crate::store::StoreError;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};

/// Audiences of one retailer: each is a condition or a word in memory.
const AUDIENCES_PER_RETAILER_MAX: usize = 1_000;
/// Lists that one person may be on: as many as segments, since each home carries them.
const LISTS_PER_PROFILE_MAX: usize = 64;
/// Characters of what an audience is about.
const ABOUT_CHARS_MAX: usize = 200;
/// Whoever may not say who is on a list sees no count below this: a group of nine can be guessed by who knows
/// their customers.
pub const COUNT_SHOWN_MIN: u64 = 10;
/// People taken off a list at once when it is deleted: enough that they share the flush, few enough to leave
/// room for claims.
const TAKEN_OFF_AT_ONCE: usize = 64;
/// The body of an audience that was deleted: documents are never taken away, because a replay reads them.
const DELETED: &str = "null";

/// How an audience is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceKind {
    /// By a condition.
    Rule,
    /// By naming people.
    List,
}

/// An audience as clients write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceBody {
    kind: AudienceKind,
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    about: Option<String>,
}

/// An audience as its retailer sees it.
#[derive(Debug, Clone)]
pub struct AudienceView {
    /// Its name.
    pub id: String,
    /// The document.
    pub document: Arc<Document>,
    /// The live triggers that name it.
    pub triggers: Vec<String>,
}

impl AudienceView {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let mut json: Value = serde_json::from_str(&self.document.body).unwrap_or_default();
        json["audience"] = self.id.as_str().into();
        json["version"] = self.document.number.into();
        json["updated_at"] = self.document.at.to_string().into();
        json["triggers"] = self.triggers.clone().into();
        json
    }
}

/// Whether a document says that its audience is gone.
fn is_deleted(document: &Document) -> bool {
    document.body == DELETED
}

fn no_audience(id: &str) -> Failure {
    Failure::not_found("audience", id.chars().take(80).collect::<String>())
}

/// Puts the document of an audience into a rule set.
pub(super) fn add(rules: &mut RuleSet, name: &Name, document: &Document) -> Result<(), String> {
    let retailer = RetailerId::new(&name.tenant).map_err(|error| error.to_string())?;
    let id = AudienceId::new(&name.id).map_err(|error| error.to_string())?;
    match compile(rules, name, document)? {
        Some(audience) => drop(rules.audiences.insert((retailer, id), audience)),
        None => drop(rules.audiences.remove(&(retailer, id))),
    }
    Ok(())
}

/// The audience that a document tells of, against the models of these rules; none where it is deleted.
pub(super) fn compile(rules: &RuleSet, name: &Name, document: &Document) -> Result<Option<Arc<Audience>>, String> {
    let id = AudienceId::new(&name.id).map_err(|error| error.to_string())?;
    if is_deleted(document) {
        return Ok(None);
    }
    let body: AudienceBody = serde_json::from_str(&document.body).map_err(|error| error.to_string())?;
    // What it named was sold when it was written; whether it still is changes nothing about who bought it.
    let compiled = compiled(&body, &id, document.number, rules, Articles::Any);
    compiled.map(|audience| Some(Arc::new(audience))).map_err(|faults| told(&faults))
}

fn compiled(
    body: &AudienceBody,
    id: &AudienceId,
    version: u64,
    rules: &RuleSet,
    products: Articles<'_>,
) -> Result<Audience, Vec<Fault>> {
    match (body.kind, &body.rule) {
        (AudienceKind::Rule, Some(rule)) => {
            let models = rules.models.values().map(|model| &model.description);
            Audience::rule(rule, version, models, products)
        }
        (AudienceKind::Rule | AudienceKind::List, _) => Ok(Audience::list(id, version)),
    }
}

/// What is wrong with a rule, each with its place.
fn told(faults: &[Fault]) -> String {
    let one = |fault: &Fault| {
        let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("at byte {}: {}{help}", fault.span.start + 1, fault.message)
    };
    faults.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The audiences that a trigger names and that are not there.
pub(super) fn unknown_audiences(trigger: &Trigger, rules: &RuleSet) -> Vec<Finding> {
    let named = |key: &'static str, ids: &[AudienceId]| {
        let missing = ids.iter().filter(|id| rules.audience(&trigger.retailer, id).is_none());
        let finding = |id: &AudienceId| Finding {
            code: "trigger.unknown_audience",
            message: format!("there is no audience `{id}`"),
            pointer: format!("/audience/{key}"),
            help: suggestion(id.as_str(), rules.audiences_of(&trigger.retailer).map(AudienceId::as_str))
                .or_else(|| Some(format!("make it by PUT /v1/audiences/{id}"))),
            is_error: true,
        };
        missing.map(finding).collect::<Vec<_>>()
    };
    [named("audience", &trigger.audiences), named("except", &trigger.except)].concat()
}

impl App {
    /// Makes or replaces an audience; live triggers that name it read the new one from the next decision on.
    pub async fn put_audience(
        &self,
        who: &Caller,
        id: &AudienceId,
        body: AudienceBody,
        condition: &Condition,
    ) -> Result<AudienceView, Failure> {
        let retailer = who.retailer(Scope::AudiencesWrite)?;
        let _naming = self.naming_audiences.write().await;
        let rules = self.engine.rules();
        check(&body, id, retailer, &rules)?;
        let name = Name::of_retailer(Kind::Audience, retailer, id.as_str());
        match self.kept_audience(retailer, id.as_str()) {
            Some((_, known)) if known.kind != body.kind => {
                let message =
                    format!("the audience `{id}` is of the other kind; delete it first, or take another name");
                return Err(Failure::Conflict(message));
            }
            Some(_) => {}
            None if rules.audiences_of(retailer).count() >= AUDIENCES_PER_RETAILER_MAX => {
                let message = format!("a retailer has at most {AUDIENCES_PER_RETAILER_MAX} audiences; delete some");
                return Err(Failure::Conflict(message));
            }
            // A deleted one counts as not there.
            None => condition.check("audience", None)?,
        }
        let known = self.rulebook.get(&name).is_some_and(|document| !is_deleted(&document));
        let condition = if known { condition } else { &Condition::Any };
        let put = self.rulebook.put_checked(&self.engine, &rules, name, to_text(&body), condition, |_, _| Ok(()));
        let document = put.await?;
        Ok(self.audience_view(retailer, id.as_str(), document))
    }

    /// An audience of the caller's.
    pub fn audience(&self, who: &Caller, id: &str) -> Result<AudienceView, Failure> {
        let retailer = who.retailer(Scope::AudiencesRead)?;
        let (document, _) = self.kept_audience(retailer, id).ok_or_else(|| no_audience(id))?;
        Ok(self.audience_view(retailer, id, document))
    }

    /// The caller's audiences, by name.
    pub fn audiences(&self, who: &Caller, page: &PageQuery) -> Result<Page<AudienceView>, Failure> {
        let retailer = who.retailer(Scope::AudiencesRead)?;
        let found = self.rulebook.list(Kind::Audience, retailer.as_str(), page, |_, document| !is_deleted(document));
        let view = |(id, document): (String, _)| self.audience_view(retailer, &id, document);
        Ok(Page { items: found.items.into_iter().map(view).collect(), next: found.next })
    }

    /// How many are in an audience now. Only counts, and no small one for who may not name its members.
    pub async fn count_audience(&self, who: &Caller, id: &str) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::AudiencesRead)?.clone();
        let is_told_all = who.may(Scope::AudiencesWrite).is_ok();
        let (document, body) = self.kept_audience(&retailer, id).ok_or_else(|| no_audience(id))?;
        let id = AudienceId::new(id).map_err(|_| no_audience(id))?;
        let rules = self.engine.rules();
        let audience = rules.audience(&retailer, &id).ok_or_else(|| no_audience(id.as_str()))?.clone();
        let turn = self.report_turn().await?;
        let (past, store, now) = (self.engine.past(), self.engine.store().clone(), self.now());
        let (of, mark) = (retailer.clone(), list_mark(&id));
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let size = past.audience_size(&of, &audience, now)?;
            let mut profiles = None;
            if body.kind == AudienceKind::List {
                let mut on_it = 0_u64;
                each_profile(&*store, &of, |profile| on_it += u64::from(is_on(profile, &mark)))?;
                profiles = Some(on_it);
            }
            Ok::<_, StoreError>((size, profiles))
        });
        let broken = |_| StoreError::Failed { doing: "counting an audience", cause: "it broke off".to_owned() };
        let (size, profiles) = work.await.map_err(broken)??;
        let smallest = profiles.into_iter().chain([size.households, size.devices]).min().unwrap_or_default();
        // All or none: one small number beside a large one tells as much.
        let is_shown = is_told_all || smallest >= COUNT_SHOWN_MIN;
        let shown = |count: u64| if is_shown { Value::from(count) } else { Value::Null };
        Ok(json!({
            "audience": id, "version": document.number, "at": now.to_string(),
            "households": shown(size.households), "devices": shown(size.devices), "profiles": profiles.map(shown),
            "hidden_below": if is_told_all { Value::Null } else { COUNT_SHOWN_MIN.into() },
        }))
    }

    /// Puts a person on a list, or takes them off it. Answered when every home of theirs knows.
    pub async fn set_on_list(&self, who: &Caller, audience: &str, profile: &str, on: bool) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::AudiencesWrite)?;
        let _naming = self.naming_audiences.read().await;
        let audience = self.known_list(retailer, audience)?;
        self.put_mark(retailer, &audience, profile, on).await
    }

    /// Refuses what is not a list of the caller's, before any line about its members is read.
    pub fn check_list(&self, who: &Caller, audience: &str) -> Result<(), Failure> {
        self.known_list(who.retailer(Scope::AudiencesWrite)?, audience).map(|_| ())
    }

    fn known_list(&self, retailer: &RetailerId, audience: &str) -> Result<AudienceId, Failure> {
        let (_, body) = self.kept_audience(retailer, audience).ok_or_else(|| no_audience(audience))?;
        if body.kind != AudienceKind::List {
            let message =
                format!("the audience `{audience}` is a rule: who is in it follows from what is known of them");
            return Err(Failure::Conflict(message));
        }
        AudienceId::new(audience).map_err(|_| no_audience(audience))
    }

    async fn put_mark(
        &self,
        retailer: &RetailerId,
        audience: &AudienceId,
        profile: &str,
        on: bool,
    ) -> Result<(), Failure> {
        let id = self.open_profile(retailer, profile)?;
        let mark = list_mark(audience);
        let change = |before: Option<&Profile>| {
            let mut profile = before.cloned().ok_or_else(|| Failure::not_found("profile", &id))?;
            if !on {
                profile.segments.remove(&mark);
            } else if profile.segments.insert(mark.clone()) && profile.lists().count() > LISTS_PER_PROFILE_MAX {
                let message =
                    format!("a person is on at most {LISTS_PER_PROFILE_MAX} lists; take them off another one");
                return Err(Failure::Conflict(message));
            }
            Ok(profile.into())
        };
        let profile = self.change_profile(retailer, &id, &Condition::Any, change).await?;
        self.tell_homes(&profile, None).await
    }

    /// Deletes an audience that no live trigger names, with all marks of it. A list with very many people may
    /// take longer than one call; the same call again goes on.
    pub async fn delete_audience(self: &Arc<Self>, who: &Caller, id: &str) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::AudiencesWrite)?;
        let _naming = self.naming_audiences.write().await;
        let (_, body) = self.kept_audience(retailer, id).ok_or_else(|| no_audience(id))?;
        let named_by = self.audience_triggers(retailer, id);
        if !named_by.is_empty() {
            let message = format!(
                "the audience `{id}` is named by live triggers: {}; pause them, or publish them without it",
                named_by.join(", ")
            );
            return Err(Failure::Conflict(message));
        }
        if body.kind == AudienceKind::List {
            let audience = AudienceId::new(id).map_err(|_| no_audience(id))?;
            self.empty_list(retailer, &audience).await?;
        }
        let name = Name::of_retailer(Kind::Audience, retailer, id);
        self.rulebook.put(&self.engine, name, DELETED.to_owned(), false, &Condition::Any).await.map(|_| ())
    }

    async fn empty_list(self: &Arc<Self>, retailer: &RetailerId, audience: &AudienceId) -> Result<(), Failure> {
        let mark = list_mark(audience);
        let mut working: JoinSet<Result<(), Failure>> = JoinSet::new();
        let mut after: Option<Key> = None;
        loop {
            let (on_it, last) = page_of_list(&**self.engine.store(), retailer, &mark, after.as_ref())?;
            for profile in on_it {
                if working.len() >= TAKEN_OFF_AT_ONCE {
                    ended(working.join_next().await)?;
                }
                let (app, retailer, audience) = (Arc::clone(self), retailer.clone(), audience.clone());
                working.spawn(async move { app.put_mark(&retailer, &audience, profile.as_str(), false).await });
            }
            after = last;
            if after.is_none() {
                break;
            }
        }
        while let Some(done) = working.join_next().await {
            ended(Some(done))?;
        }
        Ok(())
    }

    /// An audience that is there, as kept.
    fn kept_audience(&self, retailer: &RetailerId, id: &str) -> Option<(Arc<Document>, AudienceBody)> {
        let document = self.rulebook.get(&Name::of_retailer(Kind::Audience, retailer, id))?;
        let body = serde_json::from_str::<Option<AudienceBody>>(&document.body).ok()??;
        Some((document, body))
    }

    fn audience_view(&self, retailer: &RetailerId, id: &str, document: Arc<Document>) -> AudienceView {
        AudienceView { id: id.to_owned(), document, triggers: self.audience_triggers(retailer, id) }
    }

    /// The live triggers that name an audience, those that are held among them: they speak again by themselves.
    fn audience_triggers(&self, retailer: &RetailerId, id: &str) -> Vec<String> {
        let rules = self.engine.rules();
        let names = |trigger: &&Arc<Trigger>| {
            let mut named = trigger.audiences.iter().chain(&trigger.except);
            trigger.retailer == *retailer && named.any(|audience| audience.as_str() == id)
        };
        let live = rules.triggers.iter().filter(names).map(|trigger| trigger.id.to_string());
        let held = rules.held.keys().filter(|(of, held)| of == retailer && self.names_audience(of, held, id));
        let named: BTreeSet<String> = live.chain(held.map(|(_, held)| held.to_string())).collect();
        named.into_iter().collect()
    }

    /// Whether the text of a live trigger names an audience.
    fn names_audience(&self, retailer: &RetailerId, trigger: &TriggerId, id: &str) -> bool {
        let Some(live) = self.rulebook.get(&Name::of_retailer(Kind::Trigger, retailer, trigger.as_str())) else {
            return false;
        };
        let written = &document_json(&live)["audience"];
        let names = |written: &Value| match written {
            Value::Array(names) => names.iter().any(|name| name == id),
            one => one == id,
        };
        names(&written["audience"]) || names(&written["except"])
    }
}

/// What became of one who was to be taken off; who was erased meanwhile is off it.
fn ended(done: Option<Result<Result<(), Failure>, tokio::task::JoinError>>) -> Result<(), Failure> {
    match done {
        Some(Ok(Err(Failure::NotFound { .. }))) | Some(Ok(Ok(()))) | None => Ok(()),
        Some(Ok(Err(failure))) => Err(failure),
        Some(Err(_)) => Err(StoreError::Failed { doing: "emptying a list", cause: "it broke off".to_owned() }.into()),
    }
}

fn check(body: &AudienceBody, id: &AudienceId, retailer: &RetailerId, rules: &RuleSet) -> Result<(), Failure> {
    if body.about.as_ref().is_some_and(|about| about.trim().is_empty() || about.chars().count() > ABOUT_CHARS_MAX) {
        return Err(Failure::invalid("/about", format!("1 to {ABOUT_CHARS_MAX} characters, or leave it out")));
    }
    match (body.kind, &body.rule) {
        (AudienceKind::Rule, None) => {
            let message = "write the condition, such as `\"eco\" in profile.segments && device.kind == \"thermostat\"`";
            Err(Failure::invalid("/rule", message))
        }
        (AudienceKind::List, Some(_)) => {
            Err(Failure::invalid("/rule", "a list has no rule: its members are named by POST …/members:bulk"))
        }
        (AudienceKind::Rule, Some(_)) | (AudienceKind::List, None) => {
            compiled(body, id, 1, rules, Articles::Of(&rules.products, retailer))
                .map(|_| ())
                .map_err(|faults| Failure::invalid("/rule", told(&faults)))
        }
    }
}

/// Whether a profile by itself is on the list with this mark; one that was merged is on it through the other.
fn is_on(profile: &Profile, mark: &str) -> bool {
    profile.merged_into.is_none() && profile.segments.contains(mark)
}

fn profiles_of(retailer: &RetailerId) -> Vec<u8> {
    KeyBuilder::table(table::PROFILE).name(retailer.as_str()).prefix()
}

fn each_profile(
    store: &dyn crate::store::Store,
    retailer: &RetailerId,
    mut each: impl FnMut(&Profile),
) -> Result<(), StoreError> {
    rows::each(store, &profiles_of(retailer), |key, bytes| {
        if let Some(profile) = unless_erased(codec::decode::<Profile>(Schema::Profile, key, bytes))? {
            each(&profile);
        }
        Ok(())
    })
}

/// Who is on a list among the next profiles, and the last that was looked at; none at the end.
fn page_of_list(
    store: &dyn crate::store::Store,
    retailer: &RetailerId,
    mark: &str,
    after: Option<&Key>,
) -> Result<(Vec<ProfileId>, Option<Key>), StoreError> {
    const PROFILES: usize = 1_000;
    let mut on_it = Vec::new();
    let page = store.scan(&profiles_of(retailer), after, PROFILES)?;
    for (key, bytes) in &page {
        let profile = unless_erased(codec::decode::<Profile>(Schema::Profile, key, bytes))?;
        on_it.extend(profile.filter(|profile| is_on(profile, mark)).map(|profile| profile.id));
    }
    Ok((on_it, page.into_iter().last().map(|(key, _)| key)))
}
