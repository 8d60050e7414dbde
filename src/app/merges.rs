//! Two profiles that turn out to be one person, and how that is taken back.
//!
//! A merge is a document first: with it, in one commit, the profiles and their identities change. Then every home
//! of either is told, by an input of its own, since no commit spans two homes. What a kill leaves half told is
//! told on at the next start; a home that knows already says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::event_out::{EventOut, ProfilesMerged};
use hearthway_core::id::{HouseholdId, MergeId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{Merge, Profile, Purpose, Role, Unmerge};
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::consents::latest;
use super::profiles::{member_of, settled, writable};
use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::engine::Target;
use crate::engine::events::Telling;
use crate::engine::rows::unless_erased;
use crate::store::codec::{self, NOT_SEALED, Schema};
use crate::store::{Precondition, StoreError, Write, keys};

/// How far a merge came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeState {
    /// Not every home knows yet.
    Merging,
    /// Every home knows.
    Merged,
    /// It is being taken back; not every home knows yet.
    Undoing,
    /// It was taken back.
    Undone,
}

impl MergeState {
    /// The state as written.
    pub fn as_str(self) -> &'static str {
        match self {
            MergeState::Merging => "merging",
            MergeState::Merged => "merged",
            MergeState::Undoing => "undoing",
            MergeState::Undone => "undone",
        }
    }
}

/// A merge as it is kept: enough to go on with it, and to take it back exactly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MergeRow {
    /// Its id.
    pub id: MergeId,
    /// Who ended.
    pub from: ProfileId,
    /// Who stayed.
    pub into: ProfileId,
    /// When.
    pub at: Timestamp,
    /// By which token.
    pub by: String,
    /// How far it came.
    pub state: MergeState,
    /// The homes of either.
    pub homes: BTreeSet<HouseholdId>,
    /// When it was taken back.
    pub undone_at: Option<Timestamp>,
    /// What it takes to take it back; none once it was, since the row is sealed with the key of one of two people.
    before: Option<Box<Before>>,
}

/// Two persons as they were, and what became of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    /// The purposes that one of the two had withdrawn somewhere.
    withdrawn: Vec<Purpose>,
    from: Profile,
    into: Profile,
    into_after: Profile,
}

impl MergeRow {
    /// What those of these names were called before it.
    pub(crate) fn called<'r>(&'r self, names: &'r [ProfileId]) -> impl Iterator<Item = &'r str> {
        let both = self.before.iter().flat_map(|before| [&before.from, &before.into]);
        both.filter(|profile| names.contains(&profile.id)).map(|profile| profile.display_name.as_str())
    }
    fn names_any_of(&self, names: &[ProfileId]) -> bool {
        names.contains(&self.from) || names.contains(&self.into)
    }
}

/// Both as one person: what either is known by and belongs to, and the stricter of their wishes.
fn joined(from: &Profile, into: &Profile) -> Profile {
    let both = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.union(b).cloned().collect();
    let loyalty = match (&from.loyalty, &into.loyalty) {
        (Some(from), Some(into)) => Some(hearthway_core::model::Loyalty {
            tier: into.tier.clone().or_else(|| from.tier.clone()),
            points: into.points.saturating_add(from.points),
        }),
        (one, None) | (None, one) => one.clone(),
    };
    let mut identities = into.identities.clone();
    identities.extend(from.identities.iter().map(|(identity, since)| (*identity, *since)));
    let mut flags = from.flags.clone();
    flags.extend(into.flags.iter().map(|(flag, note)| (*flag, note.clone())));
    let mut merged_from: BTreeSet<ProfileId> = into.merged_from.union(&from.merged_from).cloned().collect();
    merged_from.insert(from.id.clone());
    Profile {
        id: into.id.clone(),
        display_name: into.display_name.clone(),
        locale: into.locale.clone().or_else(|| from.locale.clone()),
        zone: into.zone.clone().or_else(|| from.zone.clone()),
        segments: both(&from.segments, &into.segments),
        households: into.households.union(&from.households).copied().collect(),
        identities,
        loyalty,
        preferences: into.preferences.strictest(&from.preferences),
        flags,
        merged_into: None,
        merged_from,
    }
}

/// A field as it was before the merge, unless it was changed since.
fn back<T: PartialEq + Clone>(before: &T, after: &T, now: &T) -> T {
    if now == after { before.clone() } else { now.clone() }
}

/// A set as it was before the merge, with what was added and taken away since.
fn set_back<T: Ord + Clone>(before: &BTreeSet<T>, after: &BTreeSet<T>, now: &BTreeSet<T>) -> BTreeSet<T> {
    let kept = before.iter().filter(|item| now.contains(*item) || !after.contains(*item));
    kept.chain(now.difference(after)).cloned().collect()
}

/// Who stayed, without the other again.
fn parted(row: &Before, now: &Profile) -> Profile {
    let (before, after) = (&row.into, &row.into_after);
    let mut identities: BTreeMap<_, _> = now.identities.clone();
    identities
        .retain(|identity, _| before.identities.contains_key(identity) || !row.from.identities.contains_key(identity));
    Profile {
        id: now.id.clone(),
        display_name: back(&before.display_name, &after.display_name, &now.display_name),
        locale: back(&before.locale, &after.locale, &now.locale),
        zone: back(&before.zone, &after.zone, &now.zone),
        segments: set_back(&before.segments, &after.segments, &now.segments),
        households: set_back(&before.households, &after.households, &now.households),
        identities,
        loyalty: back(&before.loyalty, &after.loyalty, &now.loyalty),
        preferences: back(&before.preferences, &after.preferences, &now.preferences),
        flags: back(&before.flags, &after.flags, &now.flags),
        merged_into: now.merged_into.clone(),
        merged_from: set_back(&before.merged_from, &after.merged_from, &now.merged_from),
    }
}

impl App {
    /// Makes two profiles one: what was `from`'s is `into`'s from here on. Answered when every home of theirs knows.
    pub async fn merge_profiles(&self, who: &Caller, from: &str, into: &str) -> Result<MergeRow, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?.clone();
        let _turn = self.merging.lock().await;
        let (from_now, into_now) = (self.known_profile(&retailer, from)?, self.known_profile(&retailer, into)?);
        if from_now.id == into_now.id {
            return Err(Failure::invalid("/into", "a profile is not merged with itself"));
        }
        let _busy = [self.erasures.check(&retailer, &from_now.id)?, self.erasures.check(&retailer, &into_now.id)?];
        for profile in [&from_now, &into_now] {
            writable(profile)?;
        }
        let (from, into) = (self.person(&retailer, from).await?, self.person(&retailer, into).await?);
        let spoken = [latest(&from.profile.id, &from.homes), latest(&into.profile.id, &into.homes)];
        let withdrawn = Purpose::ALL.into_iter().filter(|purpose| {
            let mut words = spoken.iter().filter_map(|words| words.get(purpose));
            words.any(|record| !record.granted)
        });
        let now = self.now();
        // Of their hidden names: it stands in a key of the store.
        let (ended, stays) = (self.hidden(&retailer, &from.profile.id), self.hidden(&retailer, &into.profile.id));
        let id = MergeId::derived(&[retailer.as_str().as_bytes(), &ended, &stays, &now.0.to_be_bytes()]);
        let before = Before {
            withdrawn: withdrawn.collect(),
            into_after: joined(&from_now, &into_now),
            from: from_now.clone(),
            into: into_now.clone(),
        };
        let row = MergeRow {
            id,
            from: from_now.id.clone(),
            into: into_now.id.clone(),
            at: now,
            by: who.token().to_owned(),
            state: MergeState::Merging,
            homes: from.homes.iter().chain(&into.homes).map(|home| home.id).collect(),
            undone_at: None,
            before: Some(Box::new(before)),
        };
        let into_then = joined(&from_now, &into_now);
        let ended = Profile {
            identities: BTreeMap::new(),
            households: BTreeSet::new(),
            merged_into: Some(into_now.id.clone()),
            ..from_now.clone()
        };
        self.watch_homes(&into_then).await?;
        let (store, survivor) = (&**self.engine.store(), self.profile_row(&retailer, &into_now.id));
        let found_by = from_now.identities.keys().map(|identity| {
            let key = keys::identity(&retailer, identity.kind.as_str(), &identity.mark);
            survivor.own(store, rows::put(Schema::Identity, key, &into_now.id))
        });
        let mut writes: Vec<Write> = found_by.collect::<Result<_, StoreError>>()?;
        writes.push(self.merge_written(&retailer, &row)?);
        let telling = self.telling_merge(&retailer, &row, now, &mut writes)?;
        self.write_both(&retailer, [(&from_now, &ended), (&into_now, &into_then)], writes).await?;
        telling.stand();
        info!(token = who.token(), merge = %id, "Two profiles were merged");
        self.tell_merge(&retailer, row).await
    }

    /// Takes a merge back: links, orders, consents and identities are whose they were. What was offered in between
    /// is marked with the merge in its trace.
    pub async fn undo_merge(&self, who: &Caller, id: &str) -> Result<MergeRow, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?.clone();
        let _turn = self.merging.lock().await;
        let mut row = self.find_merge(&retailer, id)?;
        let _busy = [self.erasures.check(&retailer, &row.from)?, self.erasures.check(&retailer, &row.into)?];
        if row.state == MergeState::Merging {
            row = self.tell_merge(&retailer, row).await?;
        }
        match row.state {
            MergeState::Undone => return Err(Failure::Conflict(format!("the merge {} was taken back before", row.id))),
            MergeState::Undoing => return self.tell_merge(&retailer, row).await,
            MergeState::Merging | MergeState::Merged => {}
        }
        if let Some(later) = self.merge_over(&retailer, &row)? {
            let message = format!("the merge {later} came after this one and rests on it; take that one back first");
            return Err(Failure::Conflict(message));
        }
        let missing = |profile: &ProfileId| Failure::not_found("profile", profile);
        let from_now = self.stored_profile(&retailer, &row.from)?.ok_or_else(|| missing(&row.from))?;
        let into_now = self.stored_profile(&retailer, &row.into)?.ok_or_else(|| missing(&row.into))?;
        let before = row.before.as_deref().ok_or_else(|| missing(&row.from))?;
        let into_then = parted(before, &into_now);
        let mut from_then = before.from.clone();
        // An identity that the shop took away since stays away.
        from_then.identities.retain(|identity, _| into_now.identities.contains_key(identity));
        let found_by = from_then.identities.keys().filter(|identity| !into_then.identities.contains_key(identity));
        let (store, own) = (&**self.engine.store(), self.profile_row(&retailer, &row.from));
        let found_by = found_by.map(|identity| {
            let key = keys::identity(&retailer, identity.kind.as_str(), &identity.mark);
            own.own(store, rows::put(Schema::Identity, key, &row.from))
        });
        let mut writes: Vec<Write> = found_by.collect::<Result<_, StoreError>>()?;
        row.state = MergeState::Undoing;
        let now = self.now();
        row.undone_at = Some(now);
        row.homes.extend(&into_now.households);
        writes.push(self.merge_written(&retailer, &row)?);
        let telling = self.telling_merge(&retailer, &row, now, &mut writes)?;
        self.write_both(&retailer, [(&from_now, &from_then), (&into_now, &into_then)], writes).await?;
        telling.stand();
        info!(token = who.token(), merge = %row.id, "A merge of two profiles was taken back");
        self.tell_merge(&retailer, row).await
    }

    /// A merge of the caller's.
    pub fn merge(&self, who: &Caller, id: &str) -> Result<MergeRow, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        self.find_merge(retailer, id)
    }

    /// A merge as it is kept: it goes with the profile that stands for both.
    fn merge_written(&self, retailer: &RetailerId, row: &MergeRow) -> Result<Write, StoreError> {
        let write = rows::put(Schema::Merge, keys::merge(retailer, row.id), row);
        self.profile_row(retailer, &row.into).own(&**self.engine.store(), write)
    }

    /// The shop's systems are told in the commit of the merge, or of its undoing. What waits for them names both, and
    /// goes with the key of who stands for both.
    fn telling_merge(
        &self,
        retailer: &RetailerId,
        row: &MergeRow,
        at: Timestamp,
        writes: &mut Vec<Write>,
    ) -> Result<Telling<'_>, Failure> {
        let state = if row.undone_at.is_some() { MergeState::Undone } else { MergeState::Merged };
        let told = ProfilesMerged { merge: row.id, from: &row.from, into: &row.into, state: state.as_str(), at };
        let key = match self.engine.store().vault() {
            Some(vault) => vault.key_for(self.profile_row(retailer, &row.into).subject)?,
            None => NOT_SEALED,
        };
        Ok(self.engine.telling(&[EventOut::profile_merged(retailer, &told)], key, writes))
    }

    fn find_merge(&self, retailer: &RetailerId, id: &str) -> Result<MergeRow, Failure> {
        let missing = || Failure::not_found("merge", id.chars().take(80).collect::<String>());
        let id: MergeId = id.parse().map_err(|_| missing())?;
        rows::get(&**self.engine.store(), Schema::Merge, &keys::merge(retailer, id))?.ok_or_else(missing)
    }

    /// Every merge that is or was about one of these names.
    pub(super) fn merges_of(&self, retailer: &RetailerId, names: &[ProfileId]) -> Result<Vec<MergeRow>, StoreError> {
        let mut found = Vec::new();
        let of_retailer = keys::KeyBuilder::table(keys::table::MERGE).name(retailer.as_str()).prefix();
        rows::each(&**self.engine.store(), &of_retailer, |key, bytes| {
            let row = unless_erased(codec::decode::<MergeRow>(Schema::Merge, key, bytes))?;
            found.extend(row.filter(|row| row.names_any_of(names)));
            Ok(())
        })?;
        Ok(found)
    }

    /// Tells on what is half told of these names. Under the lock of merges.
    pub(super) async fn finish_merges(&self, retailer: &RetailerId, names: &[ProfileId]) -> Result<(), Failure> {
        for row in self.merges_of(retailer, names)? {
            self.tell_merge(retailer, row).await?;
        }
        Ok(())
    }

    /// A merge that came later and changed one of the same two profiles.
    fn merge_over(&self, retailer: &RetailerId, row: &MergeRow) -> Result<Option<MergeId>, Failure> {
        let mut over = None;
        let of_retailer = keys::KeyBuilder::table(keys::table::MERGE).name(retailer.as_str()).prefix();
        rows::each(&**self.engine.store(), &of_retailer, |key, bytes| {
            let Some(other) = unless_erased(codec::decode::<MergeRow>(Schema::Merge, key, bytes))? else {
                return Ok(());
            };
            let touches = other.into == row.into || other.from == row.into;
            if other.id != row.id && touches && other.at >= row.at && other.state != MergeState::Undone {
                over = Some(other.id);
            }
            Ok(())
        })?;
        Ok(over)
    }

    /// Both profiles in one commit, if they are still as they were read.
    async fn write_both(
        &self,
        retailer: &RetailerId,
        both: [(&Profile, &Profile); 2],
        mut writes: Vec<Write>,
    ) -> Result<(), Failure> {
        let mut only_if = Vec::new();
        for (before, after) in both {
            let of_person = self.profile_row(retailer, &before.id);
            let key = of_person.key.clone();
            let Some(bytes) = self.engine.store().get(&key)? else {
                return Err(Failure::not_found("profile", &before.id));
            };
            if codec::decode::<Profile>(Schema::Profile, &key, &bytes)? != *before {
                return Err(Failure::Conflict(format!("the profile `{}` changed meanwhile; try again", before.id)));
            }
            only_if.push(Precondition::Equals(key.clone(), bytes));
            writes.push(of_person.put(&**self.engine.store(), after)?);
        }
        rows::commit(&self.engine, only_if, writes).await
    }

    /// Tells every home that does not know yet, and notes when all do.
    async fn tell_merge(&self, retailer: &RetailerId, mut row: MergeRow) -> Result<MergeRow, Failure> {
        if matches!(row.state, MergeState::Merged | MergeState::Undone) {
            return Ok(row);
        }
        let missing = |profile: &ProfileId| Failure::not_found("profile", profile);
        let from = self.stored_profile(retailer, &row.from)?.ok_or_else(|| missing(&row.from))?;
        let into = self.stored_profile(retailer, &row.into)?.ok_or_else(|| missing(&row.into))?;
        let (next, what) = match row.state {
            MergeState::Merging => {
                let merge = Merge {
                    id: row.id,
                    from: row.from.clone(),
                    into: member_of(&into, Role::Viewer),
                    standing: into.standing(),
                    withdrawn: row.before.as_ref().map(|before| before.withdrawn.clone()).unwrap_or_default(),
                };
                (MergeState::Merged, Command::Merge(Box::new(merge)))
            }
            MergeState::Undoing => {
                let undo = Unmerge {
                    id: row.id,
                    from: member_of(&from, Role::Viewer),
                    from_standing: from.standing(),
                    into: member_of(&into, Role::Viewer),
                    into_standing: into.standing(),
                };
                (MergeState::Undone, Command::Unmerge(Box::new(undo)))
            }
            MergeState::Merged | MergeState::Undone => return Ok(row),
        };
        for home in &row.homes {
            let input = self.command(None, "merge", row.id.bytes(), what.clone());
            settled(self.engine.call(Target::Household(*home), input).await)?;
        }
        row.state = next;
        if next == MergeState::Undone {
            row.before = None;
        }
        rows::write(&self.engine, vec![self.merge_written(retailer, &row)?]).await?;
        Ok(row)
    }
}

/// Goes on with what an earlier run left half told; with that work, where there is any.
pub(crate) fn resume(app: &Arc<App>) -> Result<Option<JoinHandle<()>>, StoreError> {
    let mut unfinished: Vec<(RetailerId, MergeRow)> = Vec::new();
    rows::each(&**app.engine.store(), &keys::merges(), |key, bytes| {
        let Some(row) = unless_erased(codec::decode::<MergeRow>(Schema::Merge, key, bytes))? else { return Ok(()) };
        if let (MergeState::Merging | MergeState::Undoing, Some(retailer)) = (row.state, keys::retailer_of(key)) {
            unfinished.push((retailer, row));
        }
        Ok(())
    })?;
    if unfinished.is_empty() {
        return Ok(None);
    }
    let app = Arc::clone(app);
    let finishing = tokio::spawn(async move {
        let _turn = app.merging.lock().await;
        for (retailer, row) in unfinished {
            let id = row.id;
            match app.tell_merge(&retailer, row).await {
                Ok(row) => info!(merge = %id, state = row.state.as_str(), "A merge was finished that a stop had cut"),
                Err(failure) => {
                    warn!(merge = %id, reason = failure.kind(), "A merge could not be finished; its undoing or the next start tries again")
                }
            }
        }
    });
    Ok(Some(finishing))
}

/// What tests of a stop in the middle need.
#[cfg(test)]
pub(crate) mod tests_only {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all(app: &App) -> Vec<MergeRow> {
        let mut found = Vec::new();
        rows::each(&**app.engine.store(), &keys::merges(), |key, bytes| {
            found.push(codec::decode(Schema::Merge, key, bytes)?);
            Ok(())
        })
        .unwrap();
        found
    }

    /// How far each merge came.
    pub(crate) fn states(app: &App) -> Vec<&'static str> {
        all(app).iter().map(|row| row.state.as_str()).collect()
    }

    /// Leaves every merge as a stop does before the last home was told.
    pub(crate) async fn cut_short(app: &App, retailer: &RetailerId) {
        for mut row in all(app) {
            row.state = MergeState::Merging;
            let key = keys::merge(retailer, row.id);
            rows::write(&app.engine, vec![rows::put(Schema::Merge, key, &row)]).await.unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_goes_back_with_what_was_changed_since() {
        let set = |text: &str| text.chars().collect::<BTreeSet<char>>();
        assert_eq!(set_back(&set("ab"), &set("abc"), &set("abc")), set("ab"));
        assert_eq!(set_back(&set("ab"), &set("abc"), &set("abcd")), set("abd"));
        assert_eq!(set_back(&set("ab"), &set("abc"), &set("ac")), set("a"));
    }
}
