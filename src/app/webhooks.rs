//! Webhooks as their owners see them: made, changed, tried, looked into, replayed.

use hearthway_core::event_out::{EventType, EventTypes};
use hearthway_core::id::{HouseholdId, WebhookId};
use hearthway_core::model::Tenant;
use hearthway_core::time::{Span, Timestamp};

use super::documents::{Condition, Kind, Name, etag};
use super::rows;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};
use crate::engine::events::{Attempt, EventRow, EventState, SecretSeed, WebhookKey, WebhookRow};
use crate::engine::rows::unless_erased;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, number_of};
use crate::store::{Precondition, StoreError, Write};
use crate::webhook::{Courier, Standing, address};

/// Webhooks of one tenant: each costs a row for every event that it wants.
pub const WEBHOOKS_PER_TENANT_MAX: usize = 10;
/// How long the secret before the present one signs as well: a day in which receivers change over.
pub const FORMER_SECRET_KEPT: Span = Span::days(1);
/// Characters of a subject that is filtered by: two names with a slash.
const SUBJECT_CHARS_MAX: usize = 130;
/// Rows that one page of a delivery log looks at, so that a filter that fits nothing ends.
const LOOKED_AT_MAX: usize = 5_000;

/// What a tenant says of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookGiven {
    /// Where events go.
    pub url: String,
    /// Types such as `order.requested`, areas such as `order.*`; none means all that the tenant may hear.
    pub types: Option<Vec<String>>,
    /// Only events about this subject.
    pub subject: Option<String>,
}

/// A webhook, for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookView {
    /// Its name.
    pub id: WebhookId,
    /// As it is kept.
    pub row: WebhookRow,
    /// What waits and what was given up.
    pub standing: Standing,
    /// The secret, where this is the one time that it is shown.
    pub secret: Option<String>,
}

impl WebhookView {
    /// The tag that `If-Match` is compared with.
    pub fn etag(&self) -> String {
        tag(&self.row)
    }
}

fn tag(row: &WebhookRow) -> String {
    etag(&format!("{}\n{}\n{}", row.url, row.types.join(" "), row.subject.as_deref().unwrap_or_default()))
}

/// One line of a delivery log.
pub type Delivered = (u64, EventRow);

/// A word to a receiver, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// The event's id.
    pub event: String,
    /// How it went.
    pub attempt: Attempt,
}

impl App {
    /// Who takes events out into the world.
    pub fn set_courier(&self, courier: Courier) {
        // A second one has no effect: there is one gateway around an application.
        let _ = self.courier.set(courier);
    }

    fn courier(&self) -> Result<&Courier, Failure> {
        self.courier.get().ok_or_else(|| Failure::Conflict("this gateway tells no events".into()))
    }

    /// Makes or replaces a webhook; `true` where it was made. A replaced one is told events again.
    pub async fn put_webhook(
        &self,
        who: &Caller,
        id: &WebhookId,
        given: WebhookGiven,
        condition: &Condition,
    ) -> Result<(WebhookView, bool), Failure> {
        let tenant = who.own(Scope::WebhooksWrite)?;
        let courier = self.courier()?;
        address::read(&given.url, courier.reach()).map_err(|why| Failure::invalid("/url", why.to_string()))?;
        let types = types_of(tenant, given.types.as_deref())?;
        let chars = given.subject.as_ref().map_or(1, |subject| subject.chars().count());
        if chars == 0 || chars > SUBJECT_CHARS_MAX {
            let message = format!("a subject takes 1 to {SUBJECT_CHARS_MAX} characters: a household or `maker/device`");
            return Err(Failure::invalid("/subject", message));
        }
        if let Some(subject) = &given.subject {
            self.check_subject(who, tenant, subject).await?;
        }
        let _turn = self.webhooks.lock().await;
        let key = WebhookKey { tenant: tenant.clone(), id: id.clone() };
        let stored = self.engine.store().get(&key.row())?;
        let known: Option<WebhookRow> =
            stored.as_ref().map(|bytes| codec::decode(Schema::Webhook, &key.row(), bytes)).transpose()?;
        condition.check("webhook", known.as_ref().map(tag).as_deref())?;
        let types = types.iter().map(|kind| kind.as_str().to_owned()).collect();
        let (url, subject) = (given.url, given.subject);
        let is_new = known.is_none();
        let row = match known {
            Some(known) => WebhookRow { url, types, subject, disabled: None, ..known },
            None => {
                if self.webhooks_of(tenant)?.len() >= WEBHOOKS_PER_TENANT_MAX {
                    let message = format!("a tenant has at most {WEBHOOKS_PER_TENANT_MAX} webhooks; delete one first");
                    return Err(Failure::Conflict(message));
                }
                // What a former webhook of this name left behind is not for this one.
                courier.closed(&key).await?;
                let (seed, created_at) = (fresh_seed()?, self.now());
                WebhookRow { url, types, subject, seed, former: None, disabled: None, created_at }
            }
        };
        self.write_webhook(&key, stored, &row).await?;
        let secret = is_new.then(|| courier.secret(&row.seed));
        Ok((WebhookView { id: id.clone(), standing: courier.standing(&key), row, secret }, is_new))
    }

    /// A subject is something that the caller sees, else nothing would ever be told; what belongs to others looks like what
    /// does not exist.
    async fn check_subject(&self, who: &Caller, tenant: &Tenant, subject: &str) -> Result<(), Failure> {
        let is_seen = match (tenant, subject.contains('/'), subject.parse::<HouseholdId>()) {
            (_, true, _) => self.find_device(who, Scope::WebhooksWrite, subject).is_ok(),
            (Tenant::Retailer(retailer), false, Ok(home)) => {
                self.engine.facts(home).await?.is_some_and(|home| home.retailer.as_ref() == Some(retailer))
            }
            // What is told of triggers has their id for its subject.
            (Tenant::Retailer(retailer), false, Err(_)) => {
                let name = Name::of_retailer(Kind::Trigger, retailer, subject);
                self.rulebook.get(&name).is_some()
            }
            (Tenant::Maker(_) | Tenant::Operator, false, _) => false,
        };
        if is_seen {
            return Ok(());
        }
        let kinds = match tenant {
            Tenant::Retailer(_) => "a household (`hh_…`), a device (`maker/device`) or a trigger of yours",
            Tenant::Maker(_) | Tenant::Operator => "a device of yours (`maker/device`)",
        };
        let shown: String = subject.chars().take(SUBJECT_CHARS_MAX).collect();
        Err(Failure::invalid("/subject", format!("`{shown}` is not {kinds}; leave it out to hear of all")))
    }

    /// One webhook of the caller's.
    pub fn webhook(&self, who: &Caller, id: &str) -> Result<WebhookView, Failure> {
        let (key, row, _) = self.find_webhook(who.own(Scope::WebhooksRead)?, id)?;
        let standing = self.courier()?.standing(&key);
        Ok(WebhookView { id: key.id, row, standing, secret: None })
    }

    /// The caller's webhooks. There are few: one page has them all.
    pub fn webhooks(&self, who: &Caller) -> Result<Vec<WebhookView>, Failure> {
        let tenant = who.own(Scope::WebhooksRead)?;
        let courier = self.courier()?;
        let views = self.webhooks_of(tenant)?.into_iter().map(|(key, row)| {
            let standing = courier.standing(&key);
            WebhookView { id: key.id, row, standing, secret: None }
        });
        Ok(views.collect())
    }

    /// Deletes a webhook with all that waits for it.
    pub async fn delete_webhook(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        let (key, _, _) = self.find_webhook(who.own(Scope::WebhooksWrite)?, id)?;
        let _turn = self.webhooks.lock().await;
        rows::write(&self.engine, vec![Write::Delete(key.row())]).await?;
        Ok(self.courier()?.closed(&key).await?)
    }

    /// Gives a webhook another secret. The one before signs as well for a day.
    pub async fn rotate_webhook(&self, who: &Caller, id: &str) -> Result<WebhookView, Failure> {
        let tenant = who.own(Scope::WebhooksWrite)?;
        let _turn = self.webhooks.lock().await;
        let (key, known, stored) = self.find_webhook(tenant, id)?;
        let former = Some((known.seed, self.now() + FORMER_SECRET_KEPT));
        let row = WebhookRow { seed: fresh_seed()?, former, ..known };
        self.write_webhook(&key, Some(stored), &row).await?;
        let courier = self.courier()?;
        let secret = Some(courier.secret(&row.seed));
        Ok(WebhookView { standing: courier.standing(&key), id: key.id, row, secret })
    }

    /// Says a word to a webhook's receiver at once.
    pub async fn test_webhook(&self, who: &Caller, id: &str) -> Result<Tested, Failure> {
        let (key, row, _) = self.find_webhook(who.own(Scope::WebhooksWrite)?, id)?;
        let (event, attempt) = self.courier()?.test(&key, &row).await;
        Ok(Tested { event: event.id.to_string(), attempt })
    }

    /// Tells again what was given up of all that happened from an instant on, and what was told where
    /// `told_too`. Gives how many.
    pub async fn replay_webhook(
        &self,
        who: &Caller,
        id: &str,
        from: Timestamp,
        told_too: bool,
    ) -> Result<usize, Failure> {
        let (key, _, _) = self.find_webhook(who.own(Scope::WebhooksWrite)?, id)?;
        let _turn = self.webhooks.lock().await;
        Ok(self.courier()?.replay(&key, from, told_too).await?)
    }

    /// What became of a webhook's events, newest first.
    pub fn webhook_deliveries(
        &self,
        who: &Caller,
        id: &str,
        state: Option<EventState>,
        page: &PageQuery,
    ) -> Result<Page<Delivered>, Failure> {
        let (key, _, _) = self.find_webhook(who.own(Scope::WebhooksRead)?, id)?;
        let wrong = || Failure::invalid("", "the parameter `cursor` is not one of ours");
        let cursor = page.cursor.as_ref().map(|text| text.parse::<u64>().map_err(|_| wrong())).transpose()?;
        let (mut before, mut looked_at) = (cursor.map(|n| key.event(n)), 0);
        let mut items = Vec::new();
        loop {
            let found = self.engine.store().scan_back(&key.events(), before.as_ref(), page.limit.clamp(64, 1000))?;
            if found.is_empty() {
                return Ok(Page { items, next: None });
            }
            for (at, bytes) in found {
                if items.len() == page.limit || looked_at == LOOKED_AT_MAX {
                    return Ok(Page { items, next: before.as_ref().map(|key| number_of(key).to_string()) });
                }
                looked_at += 1;
                let found = unless_erased(codec::decode::<EventRow>(Schema::Event, &at, &bytes))?;
                let Some(row) = found else {
                    before = Some(at);
                    continue;
                };
                if state.is_none_or(|state| row.state == state) {
                    items.push((number_of(&at), row));
                }
                before = Some(at);
            }
        }
    }

    fn find_webhook(&self, tenant: &Tenant, id: &str) -> Result<(WebhookKey, WebhookRow, Vec<u8>), Failure> {
        let missing = || Failure::not_found("webhook", id.chars().take(80).collect::<String>());
        let key = WebhookKey { tenant: tenant.clone(), id: WebhookId::new(id).map_err(|_| missing())? };
        let stored = self.engine.store().get(&key.row())?.ok_or_else(missing)?;
        let row = codec::decode(Schema::Webhook, &key.row(), &stored)?;
        Ok((key, row, stored))
    }

    fn webhooks_of(&self, tenant: &Tenant) -> Result<Vec<(WebhookKey, WebhookRow)>, StoreError> {
        let mut found = Vec::new();
        rows::each(&**self.engine.store(), &keys::webhooks_of(tenant), |key, bytes| {
            if let Some((tenant, id)) = keys::webhook_of(key) {
                found.push((WebhookKey { tenant, id }, codec::decode(Schema::Webhook, key, bytes)?));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Durable before anybody hears of it. A receiver that says 410 at the same moment makes it a conflict.
    async fn write_webhook(&self, key: &WebhookKey, before: Option<Vec<u8>>, row: &WebhookRow) -> Result<(), Failure> {
        let condition = match before {
            Some(bytes) => Precondition::Equals(key.row(), bytes),
            None => Precondition::Absent(key.row()),
        };
        rows::commit(&self.engine, vec![condition], vec![rows::put(Schema::Webhook, key.row(), row)]).await?;
        self.courier()?.opened(key, row);
        Ok(())
    }
}

/// The types that are meant, of those that the tenant may hear.
fn types_of(tenant: &Tenant, wanted: Option<&[String]>) -> Result<EventTypes, Failure> {
    let allowed = match tenant {
        Tenant::Maker(_) => EventTypes::of_makers(),
        Tenant::Retailer(_) | Tenant::Operator => EventTypes::of_retailers(),
    };
    let Some(wanted) = wanted else { return Ok(allowed) };
    if wanted.is_empty() {
        return Err(Failure::invalid("/types", "name at least one type, or leave the field out for all of them"));
    }
    let mut types = EventTypes::NONE;
    for (at, word) in wanted.iter().enumerate() {
        let fits = |kind: &EventType| match word.strip_suffix(".*") {
            Some(area) => kind.as_str().split('.').next() == Some(area),
            None => kind.as_str() == word,
        };
        let found: EventTypes = allowed.iter().filter(fits).collect();
        if found.is_empty() {
            let known: Vec<&str> = allowed.iter().map(EventType::as_str).collect();
            let shown: String = word.chars().take(60).collect();
            let message = format!("`{shown}` is no type that this tenant hears; there is {}", known.join(", "));
            return Err(Failure::invalid(&format!("/types/{at}"), message));
        }
        types = types.or(found);
    }
    Ok(types)
}

fn fresh_seed() -> Result<SecretSeed, Failure> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| StoreError::Failed {
        doing: "drawing random bytes from the system",
        cause: error.to_string(),
    })?;
    Ok(SecretSeed(seed))
}
