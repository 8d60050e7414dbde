//! What people with more than one home heard in each: for caps that count a person's contacts wherever they live.
//!
//! A household knows its own contacts. Of the others of its people it is told here, and only homes of people who
//! have another one too are watched at all. Who leaves a home takes along what it had heard: that counts for them
//! wherever they live next, and for nobody else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::SharedCap;
use crate::id::{HouseholdId, OfferId, ProfileId, RetailerId, TriggerId};
use crate::model::{Contact, Household, contacts};
use crate::time::Timestamp;

/// Who is about to hear something, and where.
#[derive(Debug, Clone, Copy)]
pub struct Hearing<'h> {
    /// In which home: its own contacts are not looked at.
    pub household: HouseholdId,
    /// By whom.
    pub retailer: &'h RetailerId,
    /// The people at the device.
    pub people: &'h [&'h ProfileId],
    /// By which trigger.
    pub trigger: &'h TriggerId,
}

/// An offer that is about to leave under caps of people.
#[derive(Debug, Clone, Copy)]
pub struct Speaking<'s> {
    /// Who hears it.
    pub hearing: Hearing<'s>,
    /// The offer.
    pub offer: OfferId,
    /// When.
    pub at: Timestamp,
    /// The caps, each with the room that the home's own contacts leave.
    pub caps: &'s [SharedCap],
}

/// A time that a home was spoken to. Stored: what a person who left takes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// By which offer.
    pub offer: OfferId,
    /// Of which trigger.
    pub trigger: TriggerId,
    /// When.
    pub at: Timestamp,
}

impl From<&Contact> for Heard {
    fn from(contact: &Contact) -> Heard {
        Heard { offer: contact.offer, trigger: contact.trigger.clone(), at: contact.at }
    }
}

/// The homes that are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    homes: BTreeMap<HouseholdId, OfHome>,
    /// Where each of their people lives.
    of_people: BTreeMap<(RetailerId, ProfileId), BTreeSet<HouseholdId>>,
    /// What people heard in homes that they left.
    taken_along: BTreeMap<(RetailerId, ProfileId), BTreeMap<HouseholdId, Vec<Heard>>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfHome {
    people: Vec<(RetailerId, ProfileId)>,
    /// As many as a home remembers at most, in the order in which they came.
    heard: Vec<Heard>,
}

impl Elsewhere {
    /// Whether a home is watched.
    pub fn watches(&self, home: HouseholdId) -> bool {
        self.homes.contains_key(&home)
    }

    /// Watches a home from here on.
    pub fn watch(&mut self, home: &Household) {
        self.homes.entry(home.id).or_default();
        self.people_are(home);
        for contact in &home.contacts {
            self.add(home.id, contact);
        }
    }

    /// Who lives in a watched home by now. A home that nobody is left in has heard nothing.
    pub fn people_are(&mut self, home: &Household) {
        let Some(of) = self.homes.get_mut(&home.id) else { return };
        let retailer = home.retailer.clone();
        let people = retailer.iter().flat_map(|shop| home.members.keys().map(|who| (shop.clone(), who.clone())));
        let before = std::mem::replace(&mut of.people, people.collect());
        if home.is_nobodys() {
            of.heard.clear();
        }
        let now = of.people.clone();
        for person in before {
            if let Some(homes) = self.of_people.get_mut(&person) {
                homes.remove(&home.id);
                if homes.is_empty() {
                    self.of_people.remove(&person);
                }
            }
        }
        for person in now {
            self.of_people.entry(person).or_default().insert(home.id);
        }
    }

    /// These people are in the home from here on, beside who was there.
    pub fn people_come(&mut self, home: &Household) {
        let Some(of) = self.homes.get_mut(&home.id) else { return };
        let Some(retailer) = &home.retailer else { return };
        for who in home.members.keys() {
            let person = (retailer.clone(), who.clone());
            if !of.people.contains(&person) {
                of.people.push(person.clone());
                self.of_people.entry(person).or_default().insert(home.id);
            }
        }
    }

    /// Watched homes of which nobody has another one.
    pub fn idle(&self) -> Vec<HouseholdId> {
        let has_others = |person: &(RetailerId, ProfileId)| self.of_people.get(person).is_some_and(|all| all.len() > 1);
        let homes = self.homes.iter().filter(|(_, of)| !of.people.iter().any(has_others));
        homes.map(|(home, _)| *home).collect()
    }

    /// Does not watch a home any more.
    pub fn unwatch(&mut self, home: HouseholdId) {
        self.people_are(&Household::empty(home));
        self.homes.remove(&home);
    }

    /// A person left a home, and takes along what it had heard.
    pub fn take_along(&mut self, retailer: &RetailerId, person: &ProfileId, home: HouseholdId, heard: Vec<Heard>) {
        let person = (retailer.clone(), person.clone());
        self.taken_along.entry(person).or_default().insert(home, heard);
    }

    /// Nothing is known any more of what somebody heard in a home that they left, or of any that such a person left.
    pub fn leave_behind(&mut self, person: &ProfileId, home: HouseholdId) {
        self.taken_along.retain(|(_, who), homes| who != person || !homes.contains_key(&home));
    }

    /// What was taken along and ended before: it is over.
    pub fn forget_before(&mut self, before: Timestamp) {
        self.taken_along.retain(|_, homes| {
            homes.retain(|_, heard| heard.iter().any(|heard| heard.at >= before));
            !homes.is_empty()
        });
    }

    /// How often those heard something in their other homes, and in those that they left, of whom that is most.
    pub fn count(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> u32 {
        let is_counted = |heard: &&Heard| {
            (cap.from..cap.until).contains(&heard.at) && (!cap.own_only || heard.trigger == *hearing.trigger)
        };
        let others = |person: &&ProfileId| {
            let person = (hearing.retailer.clone(), (**person).clone());
            let homes = self.of_people.get(&person).into_iter().flatten();
            let homes = homes.filter(|home| **home != hearing.household).filter_map(|home| self.homes.get(home));
            let lived = homes.flat_map(|home| &home.heard);
            let Some(left) = self.taken_along.get(&person) else { return lived.filter(is_counted).count() };
            let left = left.iter().filter(|(home, _)| **home != hearing.household).flat_map(|(_, heard)| heard);
            // Who came back to a home that they had left heard what was said before once.
            let offers: BTreeSet<OfferId> = lived.chain(left).filter(is_counted).map(|heard| heard.offer).collect();
            offers.len()
        };
        if self.homes.is_empty() && self.taken_along.is_empty() {
            return 0;
        }
        let most = hearing.people.iter().map(others).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Notes what is about to be said, where every cap has room; whether that is new. Else which of the caps has none.
    pub fn speak(&mut self, speaking: &Speaking<'_>) -> Result<bool, usize> {
        let is_reached = |cap: &SharedCap| self.count(&speaking.hearing, cap) >= cap.max;
        if let Some(reached) = speaking.caps.iter().position(is_reached) {
            return Err(reached);
        }
        let (home, trigger) = (speaking.hearing.household, speaking.hearing.trigger.clone());
        Ok(self.hear(home, Heard { offer: speaking.offer, trigger, at: speaking.at }))
    }

    /// A home was spoken to. False where it is not watched, or was counted before.
    pub fn add(&mut self, home: HouseholdId, contact: &Contact) -> bool {
        self.hear(home, contact.into())
    }

    fn hear(&mut self, home: HouseholdId, heard: Heard) -> bool {
        let Some(of) = self.homes.get_mut(&home) else { return false };
        if let Some(known) = of.heard.iter_mut().find(|known| known.offer == heard.offer) {
            *known = heard;
            return false;
        }
        contacts::remember(&mut of.heard, heard, |heard| &heard.trigger);
        true
    }

    /// What nobody saw, or what did not leave after all, was not heard.
    pub fn take_back(&mut self, home: HouseholdId, offer: OfferId) {
        if let Some(of) = self.homes.get_mut(&home) {
            of.heard.retain(|heard| heard.offer != offer);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::id::DeviceKey;
    use crate::model::{ContactState, Member, Role};

    fn home(name: &str, people: &[&str], at: &[i64]) -> Household {
        let member = |who: &&str| {
            let profile = ProfileId::new(*who).unwrap();
            let display_name = String::new();
            let (locale, segments, consents) = (None, BTreeSet::new(), Default::default());
            (profile.clone(), Arc::new(Member { profile, display_name, locale, role: Role::Owner, segments, consents }))
        };
        let contact = |(n, at): (usize, &i64)| Contact {
            offer: OfferId::derived(&[name.as_bytes(), &[n as u8]]),
            trigger: TriggerId::new(if n == 0 { "first" } else { "others" }).unwrap(),
            device: "acme/d-1".parse::<DeviceKey>().unwrap(),
            at: Timestamp(*at),
            state: ContactState::Counted,
        };
        Household {
            retailer: Some(shop()),
            members: people.iter().map(member).collect(),
            contacts: at.iter().enumerate().map(contact).collect(),
            ..Household::empty(HouseholdId::derived(&[name.as_bytes()]))
        }
    }
    fn heard(home: &Household) -> Vec<Heard> {
        home.contacts.iter().map(Heard::from).collect()
    }
    fn shop() -> RetailerId {
        RetailerId::new("shop-a").unwrap()
    }
    fn count(all: &Elsewhere, at_home: &Household, own_only: bool, from: i64) -> u32 {
        let (people, trigger): (Vec<_>, _) = (at_home.members.keys().collect(), TriggerId::new("first").unwrap());
        let hearing = Hearing { household: at_home.id, retailer: &shop(), people: &people, trigger: &trigger };
        let until = Timestamp(i64::MAX);
        all.count(&hearing, &SharedCap { max: 1, own_only, from: Timestamp(from), until })
    }

    #[test]
    fn of_a_person_the_other_homes_are_counted_and_of_a_home_the_person_who_heard_most() {
        let (town, sea) = (home("town", &["p1", "p2"], &[10, 20, 30]), home("sea", &["p1"], &[]));
        let (hut, theirs) = (home("hut", &["p2"], &[15]), home("theirs", &["p3"], &[40]));
        let mut all = Elsewhere::default();
        assert_eq!(count(&all, &sea, false, 0), 0, "nobody is watched");
        for home in [&town, &sea, &hut, &theirs] {
            all.watch(home);
        }
        assert_eq!((count(&all, &sea, false, 0), count(&all, &sea, true, 0), count(&all, &sea, false, 20)), (3, 1, 2));
        assert_eq!((count(&all, &town, false, 0), count(&all, &theirs, false, 0)), (1, 0));
        all.watch(&town);
        assert_eq!(count(&all, &sea, false, 0), 3, "looked at twice is counted once");
        all.take_back(town.id, town.contacts[1].offer);
        assert_eq!(count(&all, &sea, false, 0), 2);
        all.people_are(&home("town", &["p2"], &[]));
        assert_eq!((count(&all, &sea, false, 0), count(&all, &hut, false, 0)), (0, 2), "p1 moved out");
        all.people_are(&Household::empty(town.id));
        assert_eq!(all.homes[&town.id], OfHome::default());
    }

    #[test]
    fn the_last_room_is_given_once() {
        let (town, sea) = (home("town", &["p1"], &[]), home("sea", &["p1"], &[]));
        let mut all = Elsewhere::default();
        all.watch(&town);
        all.watch(&sea);
        let (p1, trigger) = (ProfileId::new("p1").unwrap(), TriggerId::new("first").unwrap());
        let mut speak = |home: &Household, n: u8| {
            let hearing = Hearing { household: home.id, retailer: &shop(), people: &[&p1], trigger: &trigger };
            let caps = [SharedCap { max: 1, own_only: false, from: Timestamp(0), until: Timestamp(i64::MAX) }];
            all.speak(&Speaking { hearing, offer: OfferId::derived(&[&[n]]), at: Timestamp(5), caps: &caps })
        };
        assert_eq!([speak(&town, 1), speak(&sea, 2), speak(&town, 1)], [Ok(true), Err(0), Ok(false)]);
    }

    #[test]
    fn who_leaves_a_home_takes_along_what_it_heard_and_the_others_do_not() {
        let (town, sea, hut) =
            (home("town", &["p1", "p2"], &[10, 20]), home("sea", &["p1"], &[]), home("hut", &["p2"], &[]));
        let mut all = Elsewhere::default();
        let p1 = ProfileId::new("p1").unwrap();
        all.take_along(&shop(), &p1, town.id, heard(&town));
        assert_eq!((count(&all, &sea, false, 0), count(&all, &sea, true, 0), count(&all, &sea, false, 15)), (2, 1, 1));
        assert_eq!(count(&all, &hut, false, 0), 0, "p2 took nothing along");
        assert_eq!(count(&all, &town, false, 0), 0, "who comes back: the home knows by itself");
        all.watch(&town);
        assert_eq!(count(&all, &sea, false, 0), 2, "and everything is counted once");
        all.forget_before(Timestamp(20));
        assert_eq!(all.taken_along.len(), 1);
        all.forget_before(Timestamp(21));
        assert_eq!(all.taken_along.len(), 0);
        all.take_along(&shop(), &p1, town.id, heard(&town));
        all.leave_behind(&p1, sea.id);
        assert_eq!(all.taken_along.len(), 1, "nothing was taken along from there");
        all.leave_behind(&p1, town.id);
        assert_eq!(all.taken_along.len(), 0);
    }

    #[test]
    fn a_home_is_watched_while_somebody_in_it_has_another_one() {
        let (town, sea) = (home("town", &["p2"], &[10]), home("sea", &["p1"], &[]));
        let mut all = Elsewhere::default();
        all.watch(&town);
        all.watch(&sea);
        assert_eq!(all.idle().len(), 2);
        all.people_come(&home("town", &["p1"], &[]));
        assert_eq!((all.idle(), count(&all, &sea, false, 0)), (vec![], 1));
        assert_eq!(all.homes[&town.id].people.len(), 2, "who was there is there still");
        all.people_are(&home("town", &["p2"], &[]));
        assert_eq!(all.idle().len(), 2);
        all.unwatch(town.id);
        all.unwatch(sea.id);
        assert_eq!(all, Elsewhere::default());
    }
}
