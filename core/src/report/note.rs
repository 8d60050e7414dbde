//! What of one decision reports count.

use crate::decision::{Change, Decision};
use crate::id::{OfferId, OrderId, ProductId, RetailerId, TriggerId};
use crate::model::{Household, Offer, OfferState, Order, OrderState};
use crate::rules::RuleSet;
use crate::time::{Timestamp, Zone};
use crate::trace::{CandidateTrace, Fact, Step, StepVerdict, Verdict};

use super::ledger::{Group, Spoken};
use super::period::{Day, Month};

/// One thing that is counted of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// For whom.
    pub retailer: RetailerId,
    /// In the ledger of which month.
    pub month: Month,
    /// What.
    pub what: Noted,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Noted {
    /// A trigger was looked at and nothing left: the step that stopped it with its reason, as
    /// `consent:no_consent`; none where the offer waits for a better hour.
    Looked {
        /// The trigger.
        trigger: TriggerId,
        /// On which day.
        day: Day,
        /// What stopped it.
        stopped_by: Option<String>,
    },
    /// An offer left, or would have left had its home not been held out.
    Spoke(Spoken<String>),
    /// What became of an offer.
    Became {
        /// Which, see [`short`].
        offer: u64,
        /// What.
        fate: Fate,
    },
    /// An order, as it stands.
    Ordered {
        /// Which, see [`short`].
        order: u64,
        /// The offer that it comes from.
        offer: u64,
        /// What was bought.
        product: ProductId,
        /// When.
        at: Timestamp,
        /// Whether it counts: neither cancelled by the customer nor refused by the shop.
        stands: bool,
    },
    /// The home withdrew from being spoken to.
    OptedOut {
        /// When.
        at: Timestamp,
        /// How.
        kind: OptOutKind,
    },
}

/// What can become of an offer that left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The device has it.
    Delivered,
    /// A person saw it on the device.
    Shown,
    /// Accepted, on any channel.
    Accepted,
    /// Declined, or not needed.
    Declined,
    /// Put off by its reader.
    Snoozed,
    /// Ended by time.
    Expired,
    /// Taken back, or could not be made good.
    Withdrawn,
    /// It never reached the device and waits again: it counts as held, and again when it leaves.
    PutBack,
}

/// How a home withdraws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum OptOutKind {
    /// A consent that was live was withdrawn.
    #[serde(rename = "consent_withdrawn")]
    ConsentWithdrawn,
    /// The home asked for silence.
    #[serde(rename = "paused")]
    Paused,
    /// A linked device was released, reset or unlinked.
    #[serde(rename = "released")]
    Released,
}

/// The first bytes of a derived id: enough to tell the offers of one home apart.
pub(super) fn short(id: &[u8]) -> u64 {
    id.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What reports count of a decision about a home as it was before. Nothing for a reading that woke
/// nothing, at the cost of a look at what kind its changes are.
///
/// An edge that was crossed and waits for its conditions counts once, and again where it then leaves.
///
/// What is looked at belongs to the retailer whose customers live in the home. A device that nobody
/// has claimed is nobody's: only triggers that need no link are counted there. Test offers and
/// orders are not counted.
pub fn notes(home: &Household, decision: &Decision, rules: &RuleSet) -> Vec<Note> {
    if decision.trace.candidates.is_empty() && !decision.changes.iter().any(is_counted) {
        return Vec::new();
    }
    let mut taken = Notes { home, rules, now: decision.trace.at, notes: Vec::new() };
    for candidate in &decision.trace.candidates {
        taken.candidate(candidate);
    }
    for change in &decision.changes {
        match change {
            Change::OfferSet(offer) if !offer.test => taken.offer(offer, &decision.trace.candidates),
            Change::OrderSet(order) if !order.test => taken.order(order),
            _ => {}
        }
    }
    taken.opt_outs(&decision.changes);
    taken.notes
}

/// Whether a change may be counted. One arm per kind, so that a new kind of change is thought about.
fn is_counted(change: &Change) -> bool {
    match change {
        Change::OfferSet(_)
        | Change::OrderSet(_)
        | Change::ConsentSet { .. }
        | Change::PauseSet { .. }
        | Change::LinkEnded(_)
        | Change::DeviceLeft { .. } => true,
        Change::HomeSet { .. }
        | Change::MemberSet(_)
        | Change::MemberLeft(_)
        | Change::DeviceSet(_)
        | Change::Arrived(_)
        | Change::Described { .. }
        | Change::PresenceSet { .. }
        | Change::ClockSet { .. }
        | Change::Reported { .. }
        | Change::SlotSet { .. }
        | Change::ContextSet { .. }
        | Change::ContextDropped { .. }
        | Change::ShelfSet { .. }
        | Change::MandateSet(_)
        | Change::MandateEnded(_)
        | Change::TrackSet { .. }
        | Change::AbsenceSet(_)
        | Change::PurchaseHeard(_)
        | Change::PersonForgotten(_)
        | Change::HabitSet { .. }
        | Change::EdgeSet { .. }
        | Change::TrendFed { .. }
        | Change::TrendDropped(_)
        | Change::ClaimSet { .. }
        | Change::LinkSet(_)
        | Change::OfferDropped(_)
        | Change::OrderDropped(_)
        | Change::ContactSet(_)
        | Change::ContactReleased(_)
        | Change::WipePending { .. }
        | Change::SuspendedSet { .. }
        | Change::CredentialSet { .. }
        | Change::SeqSet { .. }
        | Change::StandingSet { .. }
        | Change::MergeSet(_)
        | Change::MergeEnded(_) => false,
    }
}

struct Notes<'n> {
    home: &'n Household,
    rules: &'n RuleSet,
    now: Timestamp,
    notes: Vec<Note>,
}

impl Notes<'_> {
    fn add(&mut self, retailer: &RetailerId, at: Timestamp, what: Noted) {
        self.notes.push(Note { retailer: retailer.clone(), month: Month::of(at), what });
    }

    /// The retailer's zone; of one that is not known any more, universal time.
    fn zone_of(&self, retailer: &RetailerId) -> Zone {
        self.rules.retailers.get(retailer).map_or_else(Zone::utc, |retailer| retailer.zone.clone())
    }

    /// A look that ended before an offer left; one that left is told by its offer.
    fn candidate(&mut self, candidate: &CandidateTrace) {
        let Some(retailer) = (candidate.verdict == Verdict::Held).then(|| self.owner(candidate)).flatten() else {
            return;
        };
        let day = Day::of(self.now, &self.zone_of(&retailer));
        let stop = candidate.steps.iter().find(|step| step.verdict == StepVerdict::Block);
        let is_held_out = stop.is_some_and(|step| step.step == Step::Holdout);
        // An edge that waits is looked at with every reading; it was counted when it was crossed.
        if stop.is_some() && !is_held_out && candidate.is_another_look() {
            return;
        }
        let what = if is_held_out {
            Noted::Spoke(Spoken {
                offer: short(candidate.decision.bytes()),
                trigger: candidate.trigger.to_string(),
                product: product(candidate),
                kind: None,
                model: None,
                at: self.now,
                day,
                hour: self.hour(&retailer),
                group: Group::HeldOut,
                fates: 0,
            })
        } else {
            let stopped_by = stop.map(|step| format!("{}:{}", step.step, step.code()));
            Noted::Looked { trigger: candidate.trigger.clone(), day, stopped_by }
        };
        self.add(&retailer, self.now, what);
    }

    /// Whose trigger was looked at: in a customer's home its retailer's; at a device that nobody has
    /// claimed only that of a trigger that needs no link.
    fn owner(&self, candidate: &CandidateTrace) -> Option<RetailerId> {
        let known = self.rules.triggers.known(self.home.retailer.as_ref(), &candidate.trigger);
        known.map(|trigger| trigger.retailer.clone())
    }

    fn hour(&self, retailer: &RetailerId) -> u8 {
        let zone = self.home.zone.clone().unwrap_or_else(|| self.zone_of(retailer));
        u8::try_from(zone.local(self.now).hour()).unwrap_or(0)
    }

    fn offer(&mut self, offer: &Offer, candidates: &[CandidateTrace]) {
        let fate = match offer.state {
            OfferState::Sent => {
                // A new price is another word about the same offer: only a decision to send sends.
                let leaves = |candidate: &&CandidateTrace| {
                    candidate.decision == offer.decision && candidate.verdict == Verdict::Sent
                };
                if let Some(candidate) = candidates.iter().find(leaves) {
                    self.sent(offer, candidate);
                }
                return;
            }
            OfferState::Queued { .. } => Fate::PutBack,
            OfferState::Delivered => Fate::Delivered,
            OfferState::Shown => Fate::Shown,
            OfferState::Accepted { .. } => Fate::Accepted,
            OfferState::Declined => Fate::Declined,
            OfferState::Snoozed { .. } => Fate::Snoozed,
            OfferState::Expired => Fate::Expired,
            OfferState::Withdrawn | OfferState::Failed => Fate::Withdrawn,
        };
        // Of one that is held from the start no ledger knows: nothing comes of it there.
        self.add(&offer.retailer, offer.valid_from, Noted::Became { offer: short(offer.id.bytes()), fate });
    }

    fn sent(&mut self, offer: &Offer, candidate: &CandidateTrace) {
        let device = self.home.devices.get(&offer.device);
        let kind = device.and_then(|device| device.description_in(self.rules)).map(|can| can.kind.to_string());
        let drawn = candidate.steps.iter().any(|step| step.step == Step::Holdout && step.verdict == StepVerdict::Pass);
        let what = Noted::Spoke(Spoken {
            offer: short(offer.id.bytes()),
            trigger: offer.trigger.to_string(),
            product: offer.item.as_ref().map(|item| item.product.to_string()),
            kind,
            model: device.map(|device| device.model.to_string()),
            at: offer.valid_from,
            day: Day::of(offer.valid_from, &self.zone_of(&offer.retailer)),
            hour: self.hour(&offer.retailer),
            group: if drawn { Group::Treated } else { Group::NotDrawn },
            fates: 0,
        });
        self.add(&offer.retailer, offer.valid_from, what);
    }

    fn order(&mut self, order: &Order) {
        let OrderId(id) = order.id;
        let OfferId(offer) = order.offer;
        let stands = !matches!(order.state, OrderState::Cancelled | OrderState::Refused);
        for line in &order.lines {
            let (order_id, offer, product) = (short(&id), short(&offer), line.product.clone());
            let what = Noted::Ordered { order: order_id, offer, product, at: order.created_at, stands };
            self.add(&order.retailer, order.created_at, what);
        }
    }

    /// At most one of each kind: a person who withdraws three purposes at once withdrew once.
    fn opt_outs(&mut self, changes: &[Change]) {
        let (home, now) = (self.home, self.now);
        let Some(retailer) = home.retailer.clone() else { return };
        let kind_of = |change: &Change| match change {
            Change::ConsentSet { profile, purpose, record } => {
                let known = home.members.get(profile).and_then(|member| member.consents.get(purpose));
                let was_live = known.is_some_and(|known| known.is_live(now));
                (was_live && !record.granted).then_some(OptOutKind::ConsentWithdrawn)
            }
            Change::PauseSet { until: Some(until) } => {
                let was_paused = home.paused_until.is_some_and(|known| now < known);
                (!was_paused && now < *until).then_some(OptOutKind::Paused)
            }
            Change::LinkEnded(link) => home.links.contains_key(link).then_some(OptOutKind::Released),
            // Who leaves at the end of a stay did not mind being spoken to.
            Change::DeviceLeft { device, .. } => {
                let stay = home.devices.get(device).and_then(|device| device.stay_until());
                let was_given_back = stay.is_none_or(|until| now < until);
                (was_given_back && home.link_of(device).is_some()).then_some(OptOutKind::Released)
            }
            _ => None,
        };
        let kinds: std::collections::BTreeSet<OptOutKind> = changes.iter().filter_map(kind_of).collect();
        for kind in kinds {
            self.add(&retailer, now, Noted::OptedOut { at: now, kind });
        }
    }
}

/// The product that would have been offered.
fn product(candidate: &CandidateTrace) -> Option<String> {
    let step = candidate.steps.iter().find(|step| step.step == Step::Offer)?;
    step.numbers.iter().find_map(|(name, fact)| match fact {
        Fact::Text(product) if name == "product" => Some(product.to_string()),
        _ => None,
    })
}
