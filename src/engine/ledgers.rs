//! What reports count, on disk: a ledger per retailer, home and month, written in the commit of the
//! decision that adds to it. So it is exactly as durable as the decision, and a decision that is
//! forgotten was not counted.

use hearthway_core::id::{HouseholdId, RetailerId};
use hearthway_core::report::{Ledger, Note, Noted, Period};

use super::past::Past;
use super::rows;
use crate::store::codec::{self, Schema};
use crate::store::keys::Key;
use crate::store::{SCAN_ROWS_MAX, Store, StoreError, Write, keys};

/// Months that are kept: two years and the one at hand, so that a month can be compared with the
/// same one of both years before.
pub(crate) const MONTHS_KEPT: u32 = 25;

/// The ledgers of one home in memory: those that wait for the disk, and the last one used.
#[derive(Default)]
pub(super) struct Ledgers {
    /// The last used last.
    open: Vec<(Key, Ledger)>,
    /// Ledgers that are too old, to go with the next write.
    stale: Vec<Key>,
}

impl Ledgers {
    /// Reads those that notes belong into.
    pub(super) fn open(&mut self, home: HouseholdId, notes: &[Note], store: &dyn Store) -> Result<(), StoreError> {
        for note in notes {
            let key = keys::ledger(&note.retailer, home, note.month);
            if self.open.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let stored: Option<Ledger> = rows::get(store, Schema::Ledger, &key)?;
            if stored.is_none() {
                self.stale.extend(too_old(home, note, store)?);
            }
            self.open.push((key, stored.unwrap_or_default()));
        }
        Ok(())
    }

    /// Counts notes whose ledgers are open.
    pub(super) fn write(&mut self, home: HouseholdId, notes: &[Note], writes: &mut Vec<Write>) {
        let mut changed: Vec<Key> = Vec::new();
        for note in notes {
            let key = keys::ledger(&note.retailer, home, note.month);
            let Some(at) = self.open.iter().position(|(known, _)| *known == key) else { continue };
            let (key, mut ledger) = self.open.remove(at);
            if ledger.take(&note.what) && !changed.contains(&key) {
                changed.push(key.clone());
            }
            self.open.push((key, ledger));
        }
        let is_changed = |(key, _): &&(Key, Ledger)| changed.contains(key);
        writes.extend(self.stale.drain(..).map(Write::Delete));
        writes.extend(
            self.open
                .iter()
                .filter(is_changed)
                .map(|(key, ledger)| Write::Put(key.clone(), codec::encode(Schema::Ledger, ledger))),
        );
    }

    /// All that was written is on disk.
    pub(super) fn settle(&mut self) {
        let surplus = self.open.len().saturating_sub(1);
        self.open.drain(..surplus);
    }
}

/// A home's ledgers that its new one makes too old. Looked for once a month and home.
fn too_old(home: HouseholdId, note: &Note, store: &dyn Store) -> Result<Vec<Key>, StoreError> {
    let prefix = keys::ledgers_of_home(&note.retailer, home);
    let known = store.scan(&prefix, None, SCAN_ROWS_MAX)?.into_iter().map(|(key, _)| key);
    let is_too_old = |key: &Key| {
        // What comes of an old offer opens an old month again: that makes no other too old.
        !matches!(note.what, Noted::Became { .. } | Noted::Ordered { .. })
            && keys::home_and_month(key).is_some_and(|(_, month)| month.0 + MONTHS_KEPT <= note.month.0)
    };
    Ok(known.filter(is_too_old).collect())
}

impl Past {
    /// What is counted for a retailer, home by home, the months of each in order: those that a
    /// period reaches.
    pub(super) fn ledgers<E: From<StoreError>>(
        &self,
        retailer: &RetailerId,
        period: &Period,
        mut each: impl FnMut(HouseholdId, &[Ledger]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut home: Option<(HouseholdId, Vec<Ledger>)> = None;
        let mut failed: Option<E> = None;
        rows::walk(&*self.store, &keys::ledgers(retailer), |key, bytes| {
            let Some((household, _)) = keys::home_and_month(key).filter(|(_, month)| period.reaches(*month)) else {
                return Ok(true);
            };
            let ledger: Ledger = codec::decode(Schema::Ledger, key, bytes)?;
            match &mut home {
                Some((known, ledgers)) if *known == household => ledgers.push(ledger),
                _ => {
                    if let Some((known, ledgers)) = home.replace((household, vec![ledger])) {
                        failed = each(known, &ledgers).err();
                    }
                }
            }
            Ok(failed.is_none())
        })?;
        match (failed, home) {
            (Some(error), _) => Err(error),
            (None, Some((known, ledgers))) => each(known, &ledgers),
            (None, None) => Ok(()),
        }
    }
}
