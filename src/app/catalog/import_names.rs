//! How long the name is known by which an import goes on.

use std::collections::BTreeMap;

use hearthway_core::id::RetailerId;
use hearthway_core::time::{Span, Timestamp};

use super::super::{App, Failure, rows};
use super::import::wrong_key;
use crate::store::codec::Schema;
use crate::store::{Write, keys};

/// Names of one retailer's imports: one a night for over two years. With one more the one goes that was used longest
/// ago.
#[cfg(not(test))]
const NAMES_MAX: usize = 1_000;
/// So that a test can reach it.
#[cfg(test)]
const NAMES_MAX: usize = 5;
/// How long after it was used last an import can still go on.
const KEPT: Span = Span::days(90);

/// Names with when they were used last, by that.
type Known = Vec<(Timestamp, String)>;

/// That an import is used now.
pub(super) fn touched(retailer: &RetailerId, name: &str, now: Timestamp) -> Write {
    let at = u64::try_from(now.0).unwrap_or(0);
    rows::put(Schema::Counter, keys::product_import_at(retailer, name), &at)
}

/// An import is not known any more.
fn forgotten(retailer: &RetailerId, name: &str) -> [Write; 3] {
    let rows =
        [keys::product_import(retailer, name), keys::product_import_at(retailer, name), wrong_key(retailer, name)];
    rows.map(Write::Delete)
}

impl App {
    /// The imports of one retailer or of all, the one that was used longest ago first. One of which that is not
    /// known, from an earlier release, was used now: that is written down.
    async fn import_names(&self, prefix: &[u8]) -> Result<BTreeMap<RetailerId, Known>, Failure> {
        let store = &**self.engine.store();
        let (mut found, mut unknown): (BTreeMap<RetailerId, Known>, Vec<Write>) = (BTreeMap::new(), Vec::new());
        let now = self.now();
        rows::each(store, prefix, |key, _| {
            let Some((retailer, name)) = keys::product_import_of(key) else { return Ok(()) };
            let at: Option<u64> = rows::get(store, Schema::Counter, &keys::product_import_at(&retailer, &name))?;
            let at = at.and_then(|at| i64::try_from(at).ok()).map(Timestamp);
            if at.is_none() {
                unknown.push(touched(&retailer, &name, now));
            }
            found.entry(retailer).or_default().push((at.unwrap_or(now), name));
            Ok(())
        })?;
        if !unknown.is_empty() {
            rows::write(&self.engine, unknown).await?;
        }
        found.values_mut().for_each(|known| known.sort());
        Ok(found)
    }

    /// An import begins or goes on: a new name takes the place of the one that was used longest ago, where there are
    /// too many.
    pub(super) async fn make_room_for_import(&self, retailer: &RetailerId, name: &str) -> Result<(), Failure> {
        let of_retailer = keys::product_imports_of(retailer);
        let known = self.import_names(&of_retailer).await?.remove(retailer).unwrap_or_default();
        if known.iter().any(|(_, other)| other == name) {
            return rows::write(&self.engine, vec![touched(retailer, name, self.now())]).await;
        }
        if known.len() < NAMES_MAX {
            return Ok(());
        }
        let surplus = known.len() + 1 - NAMES_MAX;
        let gone = known.iter().take(surplus).flat_map(|(_, name)| forgotten(retailer, name));
        rows::write(&self.engine, gone.collect()).await
    }

    /// Names of imports that nobody will go on with are forgotten.
    pub(in crate::app) async fn sweep_import_names(&self) -> Result<(), Failure> {
        let now = self.now();
        for (retailer, known) in self.import_names(&keys::product_imports()).await? {
            let surplus = known.len().saturating_sub(NAMES_MAX);
            let is_over = |(at, (used, _)): &(usize, &(Timestamp, String))| *at < surplus || *used + KEPT <= now;
            let over = known.iter().enumerate().filter(is_over);
            let gone: Vec<Write> = over.flat_map(|(_, (_, name))| forgotten(&retailer, name)).collect();
            if !gone.is_empty() {
                rows::write(&self.engine, gone).await?;
            }
        }
        Ok(())
    }
}
