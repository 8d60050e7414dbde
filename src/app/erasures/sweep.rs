//! Rows under the keys that end: sealed anew where others live in their home, else gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::id::{HouseholdId, OrderId, RetailerId};
use hearthway_core::model::Leaving;
use serde_json::Value;

use super::left_behind::LeftBehind;
use super::locked::Apart;
use super::{Home, Job};
use crate::app::{App, Failure, links, rows};
use crate::engine::rows::{OrderRow, OutboxRow};
use crate::store::codec::{self, KeyId, Schema};
use crate::store::keys::{self, Key, table};
use crate::store::sealed::Subject;
use crate::store::{Commit, Outcome, Precondition, Store, Write};

/// Rows looked at between two pauses: below a millisecond of work.
const PAGE_ROWS: usize = 256;
/// How often rows are gone through until none is left under an old key. What was on its way when the key
/// changed is there after the first time.
const PASSES_MAX: usize = 8;

impl App {
    /// The keys that end, each with the home that it was of; none for the person's own.
    fn old_keys(
        &self,
        retailer: &RetailerId,
        leaving: &Leaving,
        homes: &[Home],
    ) -> Result<BTreeMap<KeyId, Option<HouseholdId>>, Failure> {
        let vault = self.vault()?;
        let of_homes = homes.iter().flat_map(|home| {
            let retired = vault.retired(Subject::household(home.household));
            retired.into_iter().map(|id| (id, Some(home.household)))
        });
        let subjects = leaving.names.iter().map(|name| self.profile_row(retailer, name).subject);
        let own = subjects.flat_map(|subject| vault.retired(subject).into_iter().chain(vault.current(subject)));
        Ok(of_homes.chain(own.map(|id| (id, None))).collect())
    }

    /// Goes through all rows until none is left under an old key. These keys, and no others, end with this
    /// erasure: one that another erasure retires meanwhile is still to be swept by that one.
    pub(super) async fn sweep(&self, job: &mut Job, leaving: Leaving, homes: &[Home]) -> Result<(), Failure> {
        let left = LeftBehind { old: self.old_keys(&job.retailer, &leaving, homes)?, leaving };
        for _ in 0..PASSES_MAX {
            if self.sweep_rows(job, &left, homes).await? > 0 {
                continue;
            }
            let merges = self.merges_of(&job.retailer, &left.leaving.names)?;
            if !merges.is_empty() {
                *job.row.report.deleted.entry("merges".to_owned()).or_default() += merges.len() as u64;
                let gone = merges.iter().map(|merge| Write::Delete(keys::merge(&job.retailer, merge.id)));
                rows::write(&self.engine, gone.collect()).await?;
            }
            job.swept = Some(left.old);
            return Ok(());
        }
        Err(Failure::Conflict("rows of the person are still being written; it is tried again".to_owned()))
    }

    /// Homes in which nobody is left: no number leads there any more.
    async fn emptied(&self, homes: &[Home]) -> Result<BTreeSet<HouseholdId>, Failure> {
        let mut emptied = BTreeSet::new();
        for home in homes {
            if self.engine.facts(home.household).await?.is_none_or(|home| home.is_nobodys()) {
                emptied.insert(home.household);
            }
        }
        Ok(emptied)
    }

    /// Goes once through all rows; gives how many stood under an old key.
    async fn sweep_rows(&self, job: &mut Job, left: &LeftBehind, homes: &[Home]) -> Result<u64, Failure> {
        let store = Arc::clone(self.engine.store());
        let own_row = left.leaving.names.first().map(|name| self.profile_row(&job.retailer, name).key);
        let emptied = self.emptied(homes).await?;
        let (mut after, mut found): (Option<Key>, u64) = (None, 0);
        loop {
            let page = store.scan(&[], after.as_ref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            let leads_there =
                |(key, bytes): &(Key, Vec<u8>)| home_led_to(key, bytes).is_some_and(|home| emptied.contains(&home));
            let gone: Vec<Write> =
                page.iter().filter(|row| leads_there(row)).map(|(key, _)| Write::Delete(key.clone())).collect();
            if !gone.is_empty() {
                *job.row.report.deleted.entry("others".to_owned()).or_default() += gone.len() as u64;
                rows::write(&self.engine, gone).await?;
            }
            for (key, bytes) in page {
                let home = match left.old.get(&codec::key_of(&bytes)) {
                    Some(home) => *home,
                    None if left.is_told_of_a_merge(&job.retailer, &key, &bytes) => None,
                    None => continue,
                };
                // These two go together at the end.
                if Some(&key) == own_row.as_ref() || key == job.key() {
                    continue;
                }
                found += 1;
                self.sweep_row(job, left, home, key, bytes).await?;
            }
            tokio::task::yield_now().await;
        }
    }

    /// One row under an old key: sealed anew where its home is still others', or where somebody outside still
    /// waits for it; else gone. What of it the law wants is kept.
    async fn sweep_row(
        &self,
        job: &mut Job,
        left: &LeftBehind,
        home: Option<HouseholdId>,
        key: Key,
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let what = word_of(&key);
        let table = key.0.first().copied().unwrap_or_default();
        let is_somebodys = match home {
            Some(home) => self.engine.facts(home).await?.is_some_and(|home| !home.is_nobodys()),
            None => false,
        };
        let anew = match home {
            Some(_)
                if is_somebodys
                    && table == table::OUTBOX
                    && self.tells_of_a_gone_order(&job.retailer, &key, &bytes)? =>
            {
                None
            }
            Some(_) if is_somebodys => left.without_person(&key, &bytes)?,
            Some(_) if table == table::EVENT => left.waiting_event(&key, &bytes)?,
            Some(_) | None => None,
        };
        let order = match table {
            table::ORDER => Some(codec::decode::<OrderRow>(Schema::Order, &key, &bytes)?.order),
            _ => None,
        };
        let mut apart = Apart { writes: Vec::new(), effects: Vec::new() };
        let mut is_sealed_anew = false;
        match (home, anew) {
            (Some(home), Some(mut bytes)) => {
                codec::belong_to(self.vault()?.key_for(Subject::household(home))?, &mut bytes);
                apart.writes.push(Write::Put(key.clone(), bytes));
                is_sealed_anew = true;
            }
            _ => {
                if let Some(order) = &order {
                    apart = self.kept_apart(job, order);
                }
                apart.writes.push(Write::Delete(key.clone()));
            }
        }
        let preconditions = vec![Precondition::Equals(key, bytes)];
        // A row that was written over meanwhile is looked at again in the next pass.
        let commit = Commit { preconditions, writes: apart.writes };
        if self.engine.settle(commit, &apart.effects).await? == Outcome::Committed {
            let counted = if is_sealed_anew { &mut job.row.report.sealed_anew } else { &mut job.row.report.deleted };
            *counted.entry(what.to_owned()).or_default() += 1;
        }
        Ok(())
    }

    /// Whether a message that waits is about an order that left with its buyer: rows of orders are gone through
    /// before those that wait for devices.
    fn tells_of_a_gone_order(&self, retailer: &RetailerId, key: &Key, bytes: &[u8]) -> Result<bool, Failure> {
        let row: OutboxRow = codec::decode(Schema::Outbox, key, bytes)?;
        let Ok(said) = serde_json::from_slice::<Value>(&row.payload) else { return Ok(false) };
        for order in orders_in(&said) {
            if self.engine.store().get(&keys::order(retailer, order))?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The home that a row leads to which says no more than that: of a link, also one that ended long ago, or a mandate.
fn home_led_to(key: &Key, bytes: &[u8]) -> Option<HouseholdId> {
    match key.0.first().copied()? {
        table::MANDATE => codec::decode::<HouseholdId>(Schema::Mandate, key, bytes).ok(),
        _ => links::hinted_home(key, bytes),
    }
}

/// The orders that a message names.
fn orders_in(said: &Value) -> Vec<OrderId> {
    match said {
        Value::Object(fields) => fields.values().flat_map(orders_in).collect(),
        Value::Array(items) => items.iter().flat_map(orders_in).collect(),
        Value::String(text) => text.parse().ok().into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A table in the report's words.
fn word_of(key: &Key) -> &'static str {
    match key.0.first().copied().unwrap_or_default() {
        table::HOUSEHOLD => "households",
        table::TOLD => "answers to repeated messages",
        table::OUTBOX => "outbox",
        table::MOVE => "moves",
        table::OFFER => "offers",
        table::ORDER => "orders",
        table::PROFILE => "profiles",
        table::EVENT => "events",
        table::MERGE => "merges",
        _ => "others",
    }
}
