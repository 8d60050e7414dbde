//! Two profiles that are one person, in one home: links, mandates and orders of the one are the other's from here
//! on, of their words the more restrictive holds, and what it was like before is kept, so that it can be taken
//! back. Offers keep their ids, and contacts stay the home's: nobody hears more for being one.

use std::sync::Arc;

use super::draft::Draft;
use super::{Answered, consent};
use crate::decision::{Change, Reply};
use crate::id::ProfileId;
use crate::model::{
    ConsentRecord, ConsentSource, Few, Household, Link, Mandate, Member, Merge, Merged, Order, Purpose, Standing,
    Unmerge,
};
use crate::time::Timestamp;

/// How a word that a merge withdraws was said.
const METHOD: &str = "merge";

pub(super) fn merged(draft: &mut Draft<'_>, merge: &Merge) -> Answered {
    let home = draft.before();
    let (from, into) = (&merge.from, &merge.into.profile);
    if home.merges.iter().any(|known| known.id == merge.id) {
        return Ok(Reply::Unchanged);
    }
    let (from_member, into_member) = (home.members.get(from).cloned(), home.members.get(into).cloned());
    if from_member.is_none() && into_member.is_none() {
        return Ok(Reply::Unchanged);
    }
    let words = words(from_member.as_deref(), into_member.as_deref(), &merge.withdrawn, draft.now);
    let role = [&from_member, &into_member].into_iter().flatten().map(|member| member.role).min();
    let member = Member {
        role: role.unwrap_or(merge.into.role),
        consents: before(&words, from_member.as_deref(), into_member.as_deref()),
        ..merge.into.clone()
    };
    let links: Vec<&Link> = home.links.values().filter(|link| link.profile == *from).collect();
    let mandates: Vec<&Mandate> = mandates_of(home, from);
    let orders: Vec<&Arc<Order>> = home.orders.values().filter(|order| order.profile.as_ref() == Some(from)).collect();
    let kept = Merged {
        id: merge.id,
        at: draft.now,
        from: from.clone(),
        into: into.clone(),
        from_member: from_member.clone(),
        into_member,
        made: words.clone(),
        links: links.iter().map(|link| link.id).collect(),
        mandates: mandates.iter().map(|mandate| mandate.id.clone()).collect(),
        orders: orders.iter().map(|order| order.id).collect(),
    };
    draft.note("two profiles are one");
    draft.change(Change::MemberSet(Arc::new(member)));
    // One by one, so that each new word has its proof in the history.
    for (purpose, record) in &words {
        let known = draft.home().members.get(into).and_then(|member| member.consents.get(purpose)).cloned();
        if known.as_ref() != Some(record) {
            draft.change(Change::ConsentSet { profile: into.clone(), purpose: *purpose, record: record.clone() });
        }
    }
    for link in links {
        draft.change(Change::LinkSet(Link { profile: into.clone(), ..link.clone() }));
    }
    give_to(draft, &mandates, &orders, into);
    if from_member.is_some() {
        draft.change(Change::MemberLeft(from.clone()));
    }
    set_standing(draft, into, &merge.standing);
    draft.change(Change::MergeSet(Box::new(kept)));
    consent::withdraw_unwelcome(draft);
    consent::tell(draft, into);
    Ok(Reply::Done)
}

/// Takes a merge back. What was said since then was said by nobody knows which of the two: a withdrawal holds for
/// both, a grant for the one in whose name it was given.
pub(super) fn unmerged(draft: &mut Draft<'_>, undo: &Unmerge) -> Answered {
    let home = draft.before();
    let Some(kept) = home.merges.iter().find(|known| known.id == undo.id) else { return Ok(Reply::Unchanged) };
    let (from, into) = (&undo.from.profile, &undo.into.profile);
    let present = home.members.get(into);
    let said_since: Vec<(Purpose, ConsentRecord)> = present
        .into_iter()
        .flat_map(|member| member.consents.iter())
        .filter(|(purpose, record)| kept.made.get(purpose) != Some(*record))
        .map(|(purpose, record)| (*purpose, record.clone()))
        .collect();
    if let Some(was) = &kept.from_member {
        let mut member = Member { role: was.role, consents: was.consents.clone(), ..undo.from.clone() };
        for (purpose, record) in said_since.iter().filter(|(_, record)| !record.granted) {
            member.consents.insert(*purpose, record.clone());
        }
        draft.change(Change::MemberSet(Arc::new(member)));
    }
    let back: Vec<Link> = home
        .links
        .values()
        .filter(|link| link.profile == *into && kept.links.contains(&link.id))
        .map(|link| Link { profile: from.clone(), ..link.clone() })
        .collect();
    let stays = home.links.values().any(|link| link.profile == *into && !kept.links.contains(&link.id));
    for link in back {
        draft.change(Change::LinkSet(link));
    }
    match (&kept.into_member, present) {
        (None, _) if !stays => draft.change(Change::MemberLeft(into.clone())),
        (was, Some(present)) => {
            let mut member = Member {
                role: was.as_ref().map_or(present.role, |was| was.role),
                consents: was.as_ref().map(|was| was.consents.clone()).unwrap_or_default(),
                ..undo.into.clone()
            };
            for (purpose, record) in said_since {
                member.consents.insert(purpose, record);
            }
            draft.change(Change::MemberSet(Arc::new(member)));
        }
        (_, None) => {}
    }
    let mandates = mandates_of(home, into).into_iter().filter(|mandate| kept.mandates.contains(&mandate.id));
    let orders = home.orders.values().filter(|order| kept.orders.contains(&order.id));
    give_to(draft, &mandates.collect::<Vec<_>>(), &orders.collect::<Vec<_>>(), from);
    for (profile, standing) in [(from, &undo.from_standing), (into, &undo.into_standing)] {
        if draft.home().members.contains_key(profile) {
            set_standing(draft, profile, standing);
        }
    }
    draft.note("one profile is two again");
    draft.change(Change::MergeEnded(undo.id));
    consent::withdraw_unwelcome(draft);
    for profile in [from, into] {
        consent::tell(draft, profile);
    }
    Ok(Reply::Done)
}

/// The words of both as one person's: withdrawn where either withdrew it, else the later one.
fn words(
    from: Option<&Member>,
    into: Option<&Member>,
    withdrawn: &[Purpose],
    now: Timestamp,
) -> Few<Purpose, ConsentRecord> {
    let mut words = Few::new();
    for purpose in Purpose::ALL {
        let said: Vec<&ConsentRecord> =
            [from, into].into_iter().flatten().filter_map(|member| member.consents.get(&purpose)).collect();
        let latest = said.iter().copied().max_by_key(|record| (record.at, !record.granted)).cloned();
        let is_withdrawn = withdrawn.contains(&purpose) || said.iter().any(|record| !record.granted);
        let word = match latest {
            Some(record) if !is_withdrawn || !record.granted => record,
            Some(_) => ConsentRecord {
                granted: false,
                at: now,
                source: ConsentSource::Merge,
                method: Some(METHOD.to_owned()),
                text_id: None,
                expires_at: None,
            },
            None => continue,
        };
        words.insert(purpose, word);
    }
    words
}

/// Of the merged words those that somebody had said: the others follow as changes of their own.
fn before(
    words: &Few<Purpose, ConsentRecord>,
    from: Option<&Member>,
    into: Option<&Member>,
) -> Few<Purpose, ConsentRecord> {
    let said = |purpose: &Purpose, record: &ConsentRecord| {
        [from, into].into_iter().flatten().any(|member| member.consents.get(purpose) == Some(record))
    };
    let own = words.iter().filter(|(purpose, record)| said(purpose, record));
    own.map(|(purpose, record)| (*purpose, record.clone())).collect()
}

fn mandates_of<'h>(home: &'h Household, profile: &ProfileId) -> Vec<&'h Mandate> {
    let mandates = home.supply.mandates.values().map(|mandate| &**mandate);
    mandates.filter(|mandate| mandate.profile == *profile).collect()
}

fn give_to(draft: &mut Draft<'_>, mandates: &[&Mandate], orders: &[&Arc<Order>], profile: &ProfileId) {
    for mandate in mandates {
        let mandate = Mandate { profile: profile.clone(), ..(*mandate).clone() };
        draft.change(Change::MandateSet(Box::new(mandate)));
    }
    for order in orders {
        let order = Order { profile: Some(profile.clone()), ..(***order).clone() };
        draft.change(Change::OrderSet(Arc::new(order)));
    }
}

fn set_standing(draft: &mut Draft<'_>, profile: &ProfileId, standing: &Standing) {
    let standing = (!standing.is_empty()).then(|| Box::new(standing.clone()));
    draft.change(Change::StandingSet { profile: profile.clone(), standing });
}
