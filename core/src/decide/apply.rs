//! How a change becomes part of the household: the only writer of its record.

use std::sync::Arc;

use crate::decision::Change;
use crate::id::DeviceKey;
use crate::limits::{HISTORY_ENTRIES_MAX, MERGES_KEPT_MAX, ORDER_ENTRIES_MAX, PURCHASES_HEARD_MAX};
use crate::model::{Contact, Device, Household, SlotKey, TrendKey, contacts};

/// Moves remembered as applied. A move is delivered again only until its row is gone.
const ARRIVED_KEPT_MAX: usize = 16;

impl Household {
    /// Applies one change. Total: a change about something that is not here does nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::HomeSet { retailer, zone, locale } => {
                self.retailer.clone_from(retailer);
                self.zone.clone_from(zone);
                self.locale.clone_from(locale);
            }
            Change::MemberSet(member) => {
                self.members.insert(member.profile.clone(), member.clone());
            }
            Change::MemberLeft(profile) => {
                self.members.remove(profile);
                self.standings.remove(profile);
            }
            Change::StandingSet { profile, standing } => {
                match standing {
                    Some(standing) => self.standings.insert(profile.clone(), standing.clone()),
                    None => self.standings.remove(profile),
                };
            }
            Change::MergeSet(merged) => {
                self.merges.push(merged.clone());
                if self.merges.len() > MERGES_KEPT_MAX {
                    self.merges.remove(0);
                }
            }
            Change::MergeEnded(id) => self.merges.retain(|merged| merged.id != *id),
            Change::DeviceSet(device) => {
                self.trends.retain(|key, _| key.device != device.key);
                self.habits.remove(&device.key);
                self.devices.insert(device.key.clone(), device.clone());
            }
            Change::DeviceLeft { device, .. } => {
                self.devices.remove(device);
                self.supply.tracks.retain(|slot, _| slot.device != *device);
                self.links.retain(|_, link| link.device != *device);
                self.trends.retain(|key, _| key.device != *device);
                self.habits.remove(device);
            }
            Change::Arrived(id) => {
                self.arrived.push(*id);
                if self.arrived.len() > ARRIVED_KEPT_MAX {
                    self.arrived.remove(0);
                }
            }
            Change::Described { device, description } => self.with(device, |d| {
                d.description.clone_from(description);
                d.described = true;
            }),
            Change::PresenceSet { device, presence, firmware } => self.with(device, |d| {
                d.presence = presence.clone();
                if firmware.is_some() {
                    d.firmware.clone_from(firmware);
                }
            }),
            Change::ClockSet { device, clock } => self.with(device, |d| d.clock = *clock),
            Change::Reported { device, field, reading } => self.with(device, |d| {
                if let Some(known) = d.reported.get_mut(field) {
                    known.clone_from(reading);
                } else {
                    d.reported.insert(field.clone(), reading.clone());
                }
            }),
            Change::SlotSet { device, slot, state } => self.with(device, |d| {
                d.slots.insert(slot.clone(), (**state).clone());
            }),
            Change::ContextDropped { device, name } => self.with(device, |d| {
                d.context.remove(name);
            }),
            Change::TrendFed { device, field, over, reading } => {
                let key = TrendKey { device: device.clone(), field: field.clone(), over: *over };
                let mut trend = self.trends.remove(&key).unwrap_or_default();
                trend.take(*over, *reading);
                self.trends.insert(key, trend);
            }
            Change::TrendDropped(key) => {
                self.trends.remove(key);
            }
            Change::ContextSet { device, name, entry } => self.with(device, |d| {
                d.context.insert(name.clone(), entry.clone());
            }),
            Change::EdgeSet { device, trigger, edge } => self.with(device, |d| {
                match edge {
                    Some(edge) => d.edges.insert(trigger.clone(), edge.clone()),
                    None => d.edges.remove(trigger),
                };
            }),
            Change::ClaimSet { device, claim } => self.with(device, |d| d.claim.clone_from(claim)),
            Change::LinkSet(link) => {
                self.links.insert(link.id, link.clone());
            }
            Change::LinkEnded(link) => {
                self.links.remove(link);
            }
            Change::ConsentSet { profile, purpose, record } => {
                if let Some(member) = self.members.get_mut(profile) {
                    Arc::make_mut(member).consents.insert(*purpose, record.clone());
                }
            }
            Change::PauseSet { until } => self.paused_until = *until,
            Change::OfferSet(offer) => {
                let mut offer = Arc::clone(offer);
                if offer.history.len() > HISTORY_ENTRIES_MAX {
                    bound(&mut Arc::make_mut(&mut offer).history, HISTORY_ENTRIES_MAX);
                }
                self.offers.insert(offer.id, offer);
            }
            Change::OfferDropped(id) => {
                self.offers.remove(id);
            }
            Change::OrderSet(order) => {
                let mut order = Arc::clone(order);
                if order.history.len() > ORDER_ENTRIES_MAX {
                    bound(&mut Arc::make_mut(&mut order).history, ORDER_ENTRIES_MAX);
                }
                self.orders.insert(order.id, order);
            }
            Change::OrderDropped(id) => {
                self.orders.remove(id);
            }
            Change::ContactSet(contact) => self.set_contact(contact),
            Change::ContactReleased(offer) => self.contacts.retain(|contact| contact.offer != *offer),
            Change::WipePending { device, pending } => self.with(device, |d| d.wipe_pending = *pending),
            Change::SuspendedSet { device, reason } => self.with(device, |d| d.suspended.clone_from(reason)),
            Change::CredentialSet { device, generation, used } => self.with(device, |d| {
                d.generation = *generation;
                d.credential_used = *used;
            }),
            Change::ShelfSet { product, shelf } => {
                self.supply.shelves.insert(product.clone(), shelf.clone());
            }
            Change::MandateSet(mandate) => {
                self.supply.mandates.insert(mandate.id.clone(), mandate.clone());
            }
            Change::MandateEnded(id) => {
                self.supply.mandates.remove(id);
            }
            Change::TrackSet { device, slot, track } => {
                let key = SlotKey { device: device.clone(), slot: slot.clone() };
                match track {
                    Some(track) => self.supply.tracks.insert(key, track.clone()),
                    None => self.supply.tracks.remove(&key),
                };
            }
            Change::HabitSet { device, habit } => {
                match habit {
                    Some(habit) => self.habits.insert(device.clone(), habit.clone()),
                    None => self.habits.remove(device),
                };
            }
            Change::PersonForgotten(profile) => self.forget_person(profile),
            Change::PurchaseHeard(cause) => {
                self.supply.heard.push(*cause);
                if self.supply.heard.len() > PURCHASES_HEARD_MAX {
                    self.supply.heard.remove(0);
                }
            }
            Change::AbsenceSet(absence) => self.supply.absence = *absence,
            Change::SeqSet { device, last, gaps } => self.with(device, |d| {
                d.last_seq = Some(*last);
                d.seq_gaps = *gaps;
            }),
        }
    }

    fn with(&mut self, device: &DeviceKey, change: impl FnOnce(&mut Device)) {
        if let Some(device) = self.devices.get_mut(device) {
            change(device);
        }
    }

    /// One contact per offer.
    fn set_contact(&mut self, contact: &Contact) {
        match self.contacts.iter_mut().find(|known| known.offer == contact.offer) {
            Some(known) => known.clone_from(contact),
            None => contacts::remember(&mut self.contacts, contact.clone(), |contact| &contact.trigger),
        }
    }
}

/// Keeps the first entry, which says where it began, and the latest ones.
fn bound<T>(history: &mut Vec<T>, entries_max: usize) {
    while history.len() > entries_max {
        history.remove(1);
    }
}
