//! What reaches many homes is published by two persons.
//!
//! A marketer publishes alone what reaches few. What reaches more waits for a second one: somebody with another token
//! of the retailer confirms it by the id of the request, within a day, while the draft is as it was asked for.

use std::sync::Arc;

use hearthway_core::id::{RetailerId, TriggerId, base32};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trigger::Trigger;
use serde::{Deserialize, Serialize};

use super::audit::Change;
use super::documents::Document;
use super::roles::TokenRole;
use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::engine::entropy;
use crate::store::Write;
use crate::store::codec::Schema;
use crate::store::keys::{Key, KeyBuilder, table};

/// How long a request waits for the second person.
const WAITS: Span = Span::hours(24);

/// A publication that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    id: String,
    /// The token that asked.
    by: String,
    at: Timestamp,
    /// The tag of the draft that is to go live.
    draft: String,
}

/// Where the newest request of a trigger stands: a later one takes its place.
fn asked_key(retailer: &RetailerId, trigger: &TriggerId) -> Key {
    KeyBuilder::table(table::DOCUMENT).name("publish-asked").name(retailer.as_str()).name(trigger.as_str()).key()
}

/// Whose trigger a caller may publish, alone or with somebody else.
pub(super) fn may_publish(who: &Caller) -> Result<&RetailerId, Failure> {
    match who.role() {
        TokenRole::Marketer => who.retailer(Scope::TriggersWrite),
        _ => who.retailer(Scope::TriggersPublish),
    }
}

impl App {
    /// Whether a trigger reaches more homes than this caller may reach alone. It may look at every home: nothing is
    /// held meanwhile that others wait for, and one such look goes on at a time.
    pub(super) async fn reaches_too_many(
        &self,
        who: &Caller,
        trigger: impl FnOnce() -> Result<Arc<Trigger>, Failure>,
    ) -> Result<bool, Failure> {
        if who.role() != TokenRole::Marketer {
            return Ok(false);
        }
        // Where it is nobody's alone, it is so also of what reaches no home yet.
        if self.publish_reach_max_alone == 0 {
            return Ok(true);
        }
        let stopping = || Failure::Conflict("the gateway is stopping; come again".to_owned());
        let turn = Arc::clone(&self.counting_homes).acquire_owned().await.map_err(|_| stopping())?;
        let (past, of, now, max) = (self.engine.past(), trigger()?, self.now(), self.publish_reach_max_alone);
        let look = tokio::task::spawn_blocking(move || {
            // Until it is over, also where nobody waits for its answer any more.
            let _turn = turn;
            past.reaches_more_than(&of, now, max)
        });
        Ok(look.await.map_err(|_| stopping())??)
    }

    /// Refuses what this caller may not publish alone, and says how it goes on; with the id of a request, what that
    /// request does not cover.
    pub(super) async fn second_person(
        &self,
        who: &Caller,
        (retailer, trigger): (&RetailerId, &TriggerId),
        draft: &Document,
        confirm: Option<&str>,
        reaches_too_many: bool,
    ) -> Result<(), Failure> {
        let key = asked_key(retailer, trigger);
        if let Some(id) = confirm {
            return self.confirmed(who, &key, id, draft);
        }
        if !reaches_too_many {
            return Ok(());
        }
        let (max, now) = (self.publish_reach_max_alone, self.now());
        let id = format!("pq_{}", base32(&entropy::draw().to_be_bytes()));
        let asked = Asked { id: id.clone(), by: who.token().to_owned(), at: now, draft: draft.etag() };
        rows::write(&self.engine, vec![rows::put(Schema::Document, key, &asked)]).await?;
        self.record(Change {
            actor: who.token().to_owned(),
            role: who.role().as_str().to_owned(),
            tenant: who.tenant().clone(),
            action: "ask to publish".to_owned(),
            target: format!("triggers/{trigger}"),
            is_about_a_customer: false,
            before: None,
            after: None,
            is_unfinished: false,
        })
        .await;
        Err(Failure::SecondPerson { request: id, reach_more_than: max, until: now + WAITS })
    }

    /// A request is confirmed once.
    pub(super) async fn confirmed_once(&self, retailer: &RetailerId, trigger: &TriggerId) -> Result<(), Failure> {
        rows::write(&self.engine, vec![Write::Delete(asked_key(retailer, trigger))]).await
    }

    /// Refuses a confirmation of nothing, of something else, too late, or by who asked.
    fn confirmed(&self, who: &Caller, key: &Key, id: &str, draft: &Document) -> Result<(), Failure> {
        let asked: Option<Asked> = rows::get(&**self.engine.store(), Schema::Document, key)?;
        let shown: String = id.chars().take(80).collect();
        let asked = asked.filter(|asked| asked.id == id && self.now() < asked.at + WAITS).ok_or_else(|| {
            Failure::Conflict(format!(
                "no publication `{shown}` of this trigger waits: it is over after 24 h, and where a later one was asked for; ask again"
            ))
        })?;
        if asked.draft != draft.etag() {
            let message =
                format!("the draft is another one than when `{shown}` was asked for; look at it and ask again");
            return Err(Failure::Conflict(message));
        }
        if asked.by == who.token() {
            let message = format!("`{shown}` was asked for with this token; somebody else's token confirms it");
            return Err(Failure::Conflict(message));
        }
        Ok(())
    }
}
