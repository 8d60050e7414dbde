//! A person is erased: nothing of them is left in the home.

use std::sync::Arc;

use super::Answered;
use super::draft::Draft;
use super::{leave, offer, order};
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, HouseholdId, OfferId, ProfileId};
use crate::model::{Household, Leaving, Offer, OfferText, Order, OrderState};

/// What a device is told of an offer that greeted the person.
const GREETED: &str = "it named somebody who left";

/// Devices that nobody else here is linked to go back to households of their own and owe a wipe; what the
/// person gave ends, no offer greets them any more, and what they bought leaves the home; then they do. A home
/// where nobody is left forgets everything but how many inputs it had, so that nothing that follows from their
/// numbers comes twice.
pub(super) fn forgotten(draft: &mut Draft<'_>, leaving: &Leaving) -> Answered {
    let home = draft.before();
    let is_left_empty = home.members.keys().all(|member| leaving.is(member));
    // A home that the last one left before has nobody who lives there, and keeps what it had of them.
    let is_deserted = home.members.is_empty() && home.retailer.is_some();
    if !leaving.is_known_in(home) && !is_deserted {
        return Ok(Reply::Unchanged);
    }
    let is_theirs_alone = |device: &DeviceKey| {
        let mut links = home.links.values().filter(|link| link.device == *device).peekable();
        links.peek().is_some() && links.all(|link| leaving.is(&link.profile))
    };
    let prospect = |device: &DeviceKey| HouseholdId::prospect(device);
    let departing: Vec<DeviceKey> = home
        .devices
        .keys()
        .filter(|device| home.id != prospect(device) && (is_left_empty || is_theirs_alone(device)))
        .cloned()
        .collect();
    for device in &departing {
        leave::depart(draft, device, prospect(device), None, true)?;
    }
    if !is_left_empty || is_deserted {
        ungreet(draft, leaving);
    }
    // The shop was not asked for these yet, and would not know for whom they are.
    let is_theirs = |order: &Order| is_left_empty || order.profile.as_ref().is_some_and(|buyer| leaving.is(buyer));
    let in_window = |order: &&Arc<Order>| order.state == OrderState::Confirmed && is_theirs(order);
    let called_off: Vec<Arc<Order>> = home.orders.values().filter(in_window).cloned().collect();
    called_off.iter().for_each(|order| order::called_off(draft, order, "its buyer was erased"));
    draft.note("a person of this home was erased");
    for name in &leaving.names {
        draft.change(Change::PersonForgotten(name.clone()));
    }
    Ok(Reply::Done)
}

/// An offer that calls the person by name is taken back where it is live, and loses its words: rules that look
/// at what was offered before need none of them.
fn ungreet(draft: &mut Draft<'_>, leaving: &Leaving) {
    let greets = |offer: &&Arc<Offer>| leaving.is_called_in_offer(&offer.text);
    let live = draft.home().offers.values().filter(|offer| offer.state.is_live()).filter(greets);
    let live: Vec<OfferId> = live.map(|offer| offer.id).collect();
    for id in live {
        offer::withdraw(draft, id, GREETED);
    }
    let greeting: Vec<Arc<Offer>> = draft.home().offers.values().filter(greets).cloned().collect();
    for offer in greeting {
        let locale = offer.text.locale.clone();
        let text = OfferText { locale, title: String::new(), body: String::new(), short: None, say: None, why: None };
        draft.change(Change::OfferSet(Arc::new(Offer { text, ..(*offer).clone() })));
    }
}

impl Household {
    /// Applies [`Change::PersonForgotten`].
    pub(super) fn forget_person(&mut self, profile: &ProfileId) {
        let was_lived_in = !self.members.is_empty();
        self.members.remove(profile);
        self.standings.remove(profile);
        self.merges.retain(|merged| !merged.names(profile));
        self.links.retain(|_, link| link.profile != *profile);
        self.supply.mandates.retain(|_, mandate| mandate.profile != *profile);
        // What they bought is theirs, and none of those who stay: it is kept apart, for the accounts.
        self.orders.retain(|_, order| order.profile.as_ref() != Some(profile));
        // Where nobody lived any more, what others left stays theirs.
        let is_others = |order: &Arc<Order>| order.profile.is_some();
        let has_others = !self.standings.is_empty() || self.orders.values().any(is_others);
        if self.members.is_empty() && (was_lived_in || !has_others) {
            // A device that is still here never left: it is nobody's, and goes on as such.
            let devices = std::mem::take(&mut self.devices);
            let arrived = std::mem::take(&mut self.arrived);
            *self = Household { seq: self.seq, devices, arrived, ..Household::empty(self.id) };
        }
    }
}
