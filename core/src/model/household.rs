use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Device, Few, Habit, Link, Locale, Member, Merged, Offer, Order, Role, Standing, Supply, Trend, TrendKey};
use crate::id::{DeviceKey, HouseholdId, LinkId, MoveId, OfferId, OrderId, ProfileId, RetailerId, TriggerId};
use crate::time::{Timestamp, Zone};

/// How far a contact got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContactState {
    /// Reserved at send: counts, and comes back if the offer ends unseen.
    Reserved,
    /// Counted at the first receipt.
    Counted,
}

/// One time that the household was spoken to: what caps count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The offer.
    pub offer: OfferId,
    /// The trigger, across its versions.
    pub trigger: TriggerId,
    /// The device.
    pub device: DeviceKey,
    /// When it was sent.
    pub at: Timestamp,
    /// How far it got.
    pub state: ContactState,
}

/// All that is known about one home: the facts that a decision reads. Large values that change
/// seldom are shared: a decision that looks at the home as it will be copies none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Household {
    /// Its id.
    pub id: HouseholdId,
    /// Inputs applied so far: the position in its input log.
    pub seq: u64,
    /// Whose customers live here; none for a prospect.
    pub retailer: Option<RetailerId>,
    /// Where it is.
    pub zone: Option<Zone>,
    /// Its language.
    pub locale: Option<Locale>,
    /// The people.
    pub members: Few<ProfileId, Arc<Member>>,
    /// The devices.
    pub devices: Few<DeviceKey, Box<Device>>,
    /// Who is linked to what.
    pub links: Few<LinkId, Link>,
    /// Until when the people want silence.
    pub paused_until: Option<Timestamp>,
    /// Live offers, and the last few ended ones.
    pub offers: Few<OfferId, Arc<Offer>>,
    /// Open orders, and the last few ended ones.
    pub orders: Few<OrderId, Arc<Order>>,
    /// The last times it was spoken to, oldest first.
    pub contacts: Vec<Contact>,
    /// Moves that have arrived, so that each is applied once; the last few, oldest first.
    pub arrived: Vec<MoveId>,
    /// Consumables on the shelf.
    pub supply: Supply,
    /// Trends that triggers watch.
    pub trends: Few<TrendKey, Trend>,
    /// What is known of people beside their consents; none of whom nothing was said.
    pub standings: Few<ProfileId, Box<Standing>>,
    /// Merges that can be taken back, oldest first.
    pub merges: Vec<Box<Merged>>,
    /// When devices are used, of those whose people permit to learn it.
    pub habits: Few<DeviceKey, Box<Habit>>,
}

impl Household {
    /// A home with nobody and nothing in it.
    pub fn empty(id: HouseholdId) -> Household {
        Household {
            id,
            seq: 0,
            retailer: None,
            zone: None,
            locale: None,
            members: Few::new(),
            devices: Few::new(),
            links: Few::new(),
            paused_until: None,
            offers: Few::new(),
            orders: Few::new(),
            contacts: Vec::new(),
            arrived: Vec::new(),
            supply: Supply::default(),
            trends: Few::new(),
            standings: Few::new(),
            merges: Vec::new(),
            habits: Few::new(),
        }
    }
    /// Whether nothing here is anybody's: nobody lives or lived here, and nobody is to come.
    pub fn is_nobodys(&self) -> bool {
        self.retailer.is_none() && self.members.is_empty() && self.standings.is_empty()
    }
    /// The device's link with the strongest role.
    pub fn link_of(&self, device: &DeviceKey) -> Option<&Link> {
        self.links.values().filter(|link| link.device == *device).min_by_key(|link| link.role)
    }
    /// Who is linked to a device, with what is known of them.
    pub fn standings_at<'h>(&'h self, device: &'h DeviceKey) -> impl Iterator<Item = (&'h Link, &'h Standing)> {
        let links = self.links.values().filter(move |link| link.device == *device);
        links.filter_map(|link| self.standings.get(&link.profile).map(|standing| (link, &**standing)))
    }
    /// The person who stands for the household: its first owner.
    pub fn owner(&self) -> Option<&Member> {
        self.members.values().map(|member| &**member).find(|member| member.role == Role::Owner)
    }
    /// A device whose guest's stay is over; the first one to end.
    pub fn stay_over(&self, now: Timestamp) -> Option<DeviceKey> {
        let ends = self.devices.iter().filter_map(|(key, device)| Some((device.stay_until()?, key)));
        ends.filter(|(until, _)| *until <= now).min().map(|(_, key)| key.clone())
    }
    /// The next instant at which something is due: a claim or an offer ends, a held or snoozed
    /// offer is looked at again, a cancel window closes, an armed trigger may turn, a pause ends, a
    /// guest's stay is over.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        use super::{OfferState, OrderState};
        let claims = self.devices.values().filter_map(|device| device.claim.as_ref().map(|claim| claim.expires_at));
        let offers = self.offers.values().filter(|offer| offer.state.is_live()).map(|offer| match offer.state {
            OfferState::Queued { until } | OfferState::Snoozed { until } => until.min(offer.expires_at),
            _ => offer.expires_at,
        });
        let orders = self
            .orders
            .values()
            .filter(|order| order.state == OrderState::Confirmed)
            .map(|order| order.cancel_until.unwrap_or(order.created_at));
        let waiting = self.orders.values().filter_map(|order| order.waits_until());
        let armed = self.devices.values().flat_map(|device| device.edges.values().filter_map(|edge| edge.again_at));
        let stays = self.devices.values().filter_map(|device| device.stay_until());
        claims.chain(stays).chain(offers).chain(orders).chain(waiting).chain(armed).chain(self.paused_until).min()
    }
}
