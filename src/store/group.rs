//! What a group of commits comes to: who is refused, and one last write per key.
//!
//! Every engine stages a group here, so that preconditions mean the same everywhere; the
//! conformance suite checks the result against a model of its own.

use std::collections::BTreeMap;

use super::keys::Key;
use super::{Commit, Outcome, Precondition, StoreError, Write};

/// A group, ready to be written as one batch.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    /// One per commit, true once the writes are durable.
    pub(super) outcomes: Vec<Outcome>,
    /// The last write of each key; none removes it.
    pub(super) writes: BTreeMap<&'a Key, Option<&'a [u8]>>,
    /// What joins logs, in order.
    pub(super) appends: Vec<(&'a Key, &'a [u8])>,
}

impl Staged<'_> {
    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.appends.is_empty()
    }
}

/// Checks the preconditions in order, each against the store (`read`) under the writes of the
/// accepted commits before it.
pub(super) fn stage<'a>(
    group: &'a [Commit],
    mut read: impl FnMut(&Key) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Staged<'a>, StoreError> {
    group.iter().try_for_each(Commit::check)?;
    let mut outcomes = Vec::with_capacity(group.len());
    let (mut writes, mut appends) = (BTreeMap::new(), Vec::new());
    for commit in group {
        let conflict = first_conflict(commit, &writes, &mut read)?;
        if conflict.is_none() {
            for write in &commit.writes {
                match write {
                    Write::Put(key, value) => drop(writes.insert(key, Some(value.as_slice()))),
                    Write::Delete(key) => drop(writes.insert(key, None)),
                    Write::Append(log, item) => appends.push((log, item.as_slice())),
                }
            }
        }
        outcomes.push(conflict.unwrap_or(Outcome::Committed));
    }
    Ok(Staged { outcomes, writes, appends })
}

fn first_conflict(
    commit: &Commit,
    staged: &BTreeMap<&Key, Option<&[u8]>>,
    read: &mut impl FnMut(&Key) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Option<Outcome>, StoreError> {
    for precondition in &commit.preconditions {
        let (key, wanted) = match precondition {
            Precondition::Absent(key) => (key, None),
            Precondition::Equals(key, value) => (key, Some(value)),
        };
        let current = match staged.get(key) {
            Some(written) => written.map(<[u8]>::to_vec),
            None => read(key)?,
        };
        if current.as_ref() != wanted {
            return Ok(Some(Outcome::Conflict { key: key.clone(), current }));
        }
    }
    Ok(None)
}
