//! The order of evaluation, on one page: from a woken trigger to an offer that leaves, waits or
//! does not exist, with the reason of every step.

use std::sync::Arc;

use super::budget;
use super::draft::{Draft, description};
use super::mandate::{self, Permission};
use super::rank;
use super::render::{self, Proposal};
use super::said::{Steps, block, not_configured};
use super::shared;
use super::steps::{self, Look};
use super::supply::{self, Spares};
use crate::budget::Purse;
use crate::decision::{Change, Effect};
use crate::id::{DecisionId, DeviceKey, OfferId, SlotId};
use crate::input::Input;
use crate::model::{Contact, ContactState, Household, Offer, OfferState, StateChange};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};
use crate::trace::{CandidateTrace, Step, StepTrace, StepVerdict, Verdict};
use crate::trigger::{Count, Trigger};
use crate::wire::{DownMessage, EventUp};
use crate::words::Reason;

/// Why a trigger is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A value crossed its edge.
    Edge,
    /// Its edge was crossed before, and its conditions may hold by now.
    Armed,
    /// A discrete event, or a moment of a link or an order.
    Event,
    /// A value stayed beyond its edge for so long.
    Stayed(Span),
    /// It happened as often as it takes.
    Counted(Count),
    /// Nothing came for so long.
    Silent(Span),
    /// An hour of local time.
    Hour,
    /// The forecast of a slot came near.
    Foreseen,
    /// The trigger went live, and a value stands beyond its edge.
    Activated,
    /// An offer was held, or put off by its reader, and its hour has come.
    Held(OfferId),
}

impl Cause {
    /// The offer that was held, where that is why.
    pub(super) fn held(self) -> Option<OfferId> {
        match self {
            Cause::Held(offer) => Some(offer),
            Cause::Edge
            | Cause::Armed
            | Cause::Event
            | Cause::Stayed(_)
            | Cause::Counted(_)
            | Cause::Silent(_)
            | Cause::Hour
            | Cause::Foreseen
            | Cause::Activated => None,
        }
    }
    /// Whether it is a deadline, which can be kept late.
    pub(super) fn is_deadline(self) -> bool {
        matches!(self, Cause::Stayed(_) | Cause::Silent(_) | Cause::Hour)
    }
}

/// What woke a trigger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wake<'w> {
    /// On which device.
    pub(super) device: &'w DeviceKey,
    /// On which slot.
    pub(super) slot: Option<&'w SlotId>,
    /// By which event.
    pub(super) event: Option<&'w EventUp>,
    /// When it happened.
    pub(super) at: Timestamp,
    /// Why.
    pub(super) cause: Cause,
}

/// What all steps together say.
pub(super) struct Evaluated {
    /// Every step in order.
    pub(super) steps: Vec<StepTrace>,
    /// What would be proposed, as far as the steps could say.
    proposal: Option<Proposal>,
    /// When a held offer may leave.
    hold: Option<Hold>,
    /// Whether it may be ordered without asking, where the trigger wants to.
    permission: Option<Permission>,
}

/// What the caller of [`consider`] needs to know.
pub(super) struct Considered {
    /// Nothing stood in the way but its conditions, or another offer on its surface: it is looked at
    /// again.
    pub(super) waits: bool,
}

impl Evaluated {
    fn first_block(&self) -> Option<Step> {
        self.steps
            .iter()
            .find(|step| matches!(step.verdict, StepVerdict::Block | StepVerdict::Hold))
            .map(|step| step.step)
    }
    fn is_blocked(&self) -> bool {
        self.steps.iter().any(|step| step.verdict == StepVerdict::Block)
    }
    fn waits(&self) -> bool {
        let first = self.steps.iter().find(|step| step.verdict == StepVerdict::Block);
        first.is_some_and(|step| step.step == Step::Conditions || step.says(Reason::LostRanking))
    }
}

/// Until when an offer waits for a better hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) until: Timestamp,
    /// As it stands in the offer's history.
    pub(super) why: &'static str,
}

/// The id of the decision about one trigger on one device at one input: at one deadline the same
/// trigger may be looked at on several devices.
pub(super) fn decision_id(
    home: &Household,
    input: &Input,
    trigger: &Trigger,
    device: Option<&DeviceKey>,
) -> DecisionId {
    let device = device.filter(|device| input.device.as_ref() != Some(*device)).map(DeviceKey::to_string);
    let parts = [home.id.bytes(), input.id.bytes(), trigger.id.as_str().as_bytes()];
    match &device {
        None => DecisionId::derived(&parts),
        Some(device) => DecisionId::derived(&[parts[0], parts[1], parts[2], device.as_bytes()]),
    }
}

/// Looks at a woken trigger, step by step, and does what follows.
pub(super) fn consider(draft: &mut Draft<'_>, trigger: &Trigger, wake: &Wake<'_>) -> Considered {
    let (input, rules, now, purse) = (draft.input, draft.rules, draft.now, draft.purse);
    let home = draft.home();
    let decision = decision_id(home, input, trigger, Some(wake.device));
    // Two offers of one trigger may have waited for the same hour: each is looked at, as a decision of its own.
    let decision = match wake.cause.held() {
        Some(held) if draft.has_looked(decision) => DecisionId::derived(&[decision.bytes(), held.bytes()]),
        Some(_) | None => decision,
    };
    if draft.has_offered(decision) || !draft.may_look() {
        // A batch crossed the edge more than once: one message makes one offer.
        return Considered { waits: false };
    }
    let evaluated = evaluate(draft.home(), rules, trigger, wake, input, now, purse);
    let first_block = evaluated.first_block();
    let considered = Considered { waits: evaluated.waits() };
    let held_before = wake.cause.held();
    let offer = if evaluated.is_blocked() {
        None
    } else {
        evaluated.proposal.map(|proposal| {
            let id = held_before.unwrap_or_else(|| OfferId::derived(&[decision.bytes()]));
            let mut offer = proposal.into_offer(id, decision, trigger, wake, now);
            // An offer does not outlive what permits it.
            let permits = |purpose| draft.before().consent_for(rules, wake.device, purpose, now);
            let ends =
                trigger.consent.iter().filter_map(|purpose| permits(*purpose)).filter_map(|word| word.expires_at);
            offer.expires_at = ends.fold(offer.expires_at, Timestamp::min);
            if evaluated.hold.is_none()
                && let Some(permission) = &evaluated.permission
            {
                if permission.order(draft, trigger, &offer) {
                    return id;
                }
                let is_over = |known: &Arc<Offer>| !known.state.is_live();
                if draft.home().offers.get(&id).is_some_and(is_over) {
                    // What could not be ordered ended with the attempt, as when a budget is used up.
                    return id;
                }
                permission.tell_why_asked(&mut offer);
            }
            give(draft, offer, evaluated.hold, held_before.is_some())
        })
    };
    if let (None, Some(held)) = (offer, held_before) {
        let reason = first_block.map_or("not eligible any more", Step::as_str);
        super::offer::withdraw(draft, held, reason);
    }
    let verdict = if offer.is_some() && evaluated.hold.is_none() { Verdict::Sent } else { Verdict::Held };
    draft.candidate(CandidateTrace {
        decision,
        trigger: trigger.id.clone(),
        trigger_version: trigger.version,
        verdict,
        first_block,
        offer,
        steps: evaluated.steps,
    });
    considered
}

/// Sends an offer, or keeps it for a better hour; makes room for it first.
fn give(draft: &mut Draft<'_>, mut offer: Offer, hold: Option<Hold>, was_held: bool) -> OfferId {
    let (id, now, device) = (offer.id, draft.now, offer.device.clone());
    for weaker in rank::outranked(draft.home(), &offer, was_held, now) {
        super::offer::withdraw(draft, weaker, "superseded");
    }
    if let Some(earlier) = draft.home().offers.get(&id) {
        // What somebody has seen, and may answer still, is another revision than what is said now.
        let was_said = earlier.history.iter().any(|change| &*change.state == OfferState::Sent.as_str());
        offer.rev = earlier.rev + u32::from(was_said);
        offer.history.clone_from(&earlier.history);
        offer.last_answer.clone_from(&earlier.last_answer);
    }
    let (state, cause) = match hold {
        Some(Hold { until, why }) => (OfferState::Queued { until }, why),
        None => (OfferState::Sent, "decision"),
    };
    offer.state = state;
    offer.history.push(StateChange { state: Arc::from(state.as_str()), at: now, cause: Arc::from(cause) });
    let offer = Arc::new(offer);
    if hold.is_none() {
        let contact = Contact {
            offer: id,
            trigger: offer.trigger.clone(),
            device: device.clone(),
            at: now,
            state: ContactState::Reserved,
        };
        draft.change(Change::ContactSet(contact));
        let expires_at = offer.expires_at;
        draft.say(&device, DownMessage::OfferPut(Arc::clone(&offer)), Some(expires_at));
    }
    draft.change(Change::OfferSet(offer));
    super::drop_ended(draft);
    id
}

/// All steps in their fixed order, none skipped because an earlier one blocked: explain shows
/// everything, the first block is the reason.
pub(super) fn evaluate(
    home: &Household,
    rules: &RuleSet,
    trigger: &Trigger,
    wake: &Wake<'_>,
    input: &Input,
    now: Timestamp,
    purse: &dyn Purse,
) -> Evaluated {
    let mut taken = Steps::new();
    let Some(device) = home.devices.get(wake.device) else {
        taken.say(Step::Link, block(Reason::NoDevice));
        return Evaluated { steps: taken.0, proposal: None, hold: None, permission: None };
    };
    let Some(can) = description(device, rules) else {
        taken.say(Step::Placement, block(Reason::NoDescription));
        return Evaluated { steps: taken.0, proposal: None, hold: None, permission: None };
    };
    let look = Look { home, rules, trigger, wake, input, now, device, can };

    taken.say(Step::Dedup, steps::dedup(&look));
    taken.say(Step::Age, steps::age(&look));
    taken.say(Step::Validity, steps::validity(&look));
    taken.say(Step::Suspension, steps::suspension(&look));
    taken.say(Step::Link, steps::link(&look));
    taken.say(Step::Consent, steps::consent(&look));
    taken.say(Step::Controls, steps::controls(&look));
    taken.say(Step::Audience, steps::audience(&look));
    taken.say(Step::Conditions, steps::conditions(&look));
    let product = render::product(home, rules, trigger, wake.slot, device);
    let known = product.as_ref().and_then(|product| product.as_deref().ok());
    let spares = known.and_then(|product| supply::spares(&look, &product.id));
    taken.say(Step::Suppression, steps::suppression(&look, known.map(|product| &product.id), spares));
    taken.say(Step::Caps, steps::caps(&look, rules, purse));
    let qty = known.map_or(1, |product| supply::quantity(home, rules, trigger, product));
    let (said, priced) = match product {
        Some(product) => render::priced(&look, product, qty, purse),
        None => (not_configured(Reason::NothingToBuy), None),
    };
    taken.say(Step::Offer, said);
    // A code is taken only for what nothing stood in the way of so far; where a later step blocks, it
    // is on no offer and goes back.
    let code = budget::code(&look, taken.is_blocked(), purse);
    let (said, text) = render::content(&look.scope(), trigger, priced.as_ref(), &code, rules);
    taken.say(Step::Content, said);
    let text = text.map(|text| match spares {
        Some(Spares::Doubted(spares)) => render::question(text, spares),
        _ => text,
    });
    let (said, place) = render::placement(trigger, can, priced.as_ref(), text.as_ref());
    let lost = place.as_ref().and_then(|place| rank::lost(&look, place.id()));
    taken.say(Step::Placement, lost.unwrap_or(said));
    let (said, hold) = steps::quiet(&look);
    taken.say(Step::Quiet, said);
    let price = priced.as_ref().map(|priced| &priced.chosen.price);
    taken.say(Step::Budget, budget::step(&look, rules, price, &code, purse));
    taken.say(Step::Holdout, steps::holdout(&look, hold.is_some()));
    // The very last: what is counted leaves.
    if !taken.is_blocked()
        && hold.is_none()
        && text.is_some()
        && place.is_some()
        && let Some(said) = shared::send(&look, rules, purse).or_else(|| shared::speak(&look, purse))
    {
        taken.say_instead(Step::Caps, said);
    }
    let proposal = match (text, place) {
        (Some(text), Some(place)) => Some(render::propose(trigger, priced, text, place, code.into_offered())),
        _ => None,
    };
    let is_blocked = taken.is_blocked();
    let permission = mandate::permission(&look, proposal.as_ref(), spares);
    taken.say(Step::Send, steps::send(is_blocked, hold.map(|hold| hold.until), proposal.as_ref(), permission.as_ref()));
    Evaluated { steps: taken.0, proposal: proposal.filter(|_| !is_blocked), hold, permission }
}

/// Takes whatever waits about an offer out of the outbox.
pub(super) fn drop_waiting(draft: &mut Draft<'_>, device: &DeviceKey, offer: OfferId) {
    draft.effect(Effect::DropOffer { device: device.clone(), offer });
}
