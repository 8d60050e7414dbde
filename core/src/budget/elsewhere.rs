//! What people with more than one home heard in each: for caps that count a person's contacts wherever they live.
//!
//! A household knows its own contacts. Of the others of its people it is told here, and only homes of people who
//! have another one too are watched at all.

use std::collections::{BTreeMap, BTreeSet};

use super::SharedCap;
use crate::id::{HouseholdId, OfferId, ProfileId, RetailerId, TriggerId};
use crate::limits::CONTACTS_MAX;
use crate::model::{Contact, Household};
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

/// A time that a watched home was spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    offer: OfferId,
    trigger: TriggerId,
    at: Timestamp,
}

/// The homes that are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    homes: BTreeMap<HouseholdId, OfHome>,
    /// Where each of their people lives.
    of_people: BTreeMap<(RetailerId, ProfileId), BTreeSet<HouseholdId>>,
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

    /// How often those heard something in their other homes of whom that is most.
    pub fn count(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> u32 {
        let others = |person: &&ProfileId| {
            let homes = self.of_people.get(&(hearing.retailer.clone(), (**person).clone())).into_iter().flatten();
            let homes = homes.filter(|home| **home != hearing.household).filter_map(|home| self.homes.get(home));
            let heard = homes.flat_map(|home| &home.heard).filter(|heard| (cap.from..cap.until).contains(&heard.at));
            heard.filter(|heard| !cap.own_only || heard.trigger == *hearing.trigger).count()
        };
        if self.homes.is_empty() {
            return 0;
        }
        let most = hearing.people.iter().map(others).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Notes what is about to be said, where every cap has room; whether that is new. None where there is no room.
    pub fn speak(&mut self, speaking: &Speaking<'_>) -> Option<bool> {
        let has_room = |cap: &SharedCap| self.count(&speaking.hearing, cap) < cap.max;
        if !speaking.caps.iter().all(has_room) {
            return None;
        }
        let (home, trigger) = (speaking.hearing.household, speaking.hearing.trigger.clone());
        Some(self.hear(home, Heard { offer: speaking.offer, trigger, at: speaking.at }))
    }

    /// A home was spoken to. False where it is not watched, or was counted before.
    pub fn add(&mut self, home: HouseholdId, contact: &Contact) -> bool {
        self.hear(home, Heard { offer: contact.offer, trigger: contact.trigger.clone(), at: contact.at })
    }

    fn hear(&mut self, home: HouseholdId, heard: Heard) -> bool {
        let Some(of) = self.homes.get_mut(&home) else { return false };
        if let Some(known) = of.heard.iter_mut().find(|known| known.offer == heard.offer) {
            *known = heard;
            return false;
        }
        of.heard.push(heard);
        if of.heard.len() > CONTACTS_MAX {
            of.heard.remove(0);
        }
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
        assert_eq!([speak(&town, 1), speak(&sea, 2), speak(&town, 1)], [Some(true), None, Some(false)]);
    }
}
