//! The life of an offer after it left: receipts, answers, expiry, withdrawal.

use std::sync::Arc;

use super::draft::Draft;
use super::event_time::event_time;
use super::pipeline::{self, Cause, Wake};
use super::{Answered, Refusal, accept, controls, forecast, order, quote, shared, steps, supply};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, OfferId, ProfileId, SlotId};
use crate::input::{Answer, Choice};
use crate::limits::ANSWER_BOUNCE;
use crate::model::{Action, Contact, ContactState, Household, Offer, OfferState, Order, StateChange};
use crate::time::{Span, Timestamp};
use crate::trigger::OfferKind;
use crate::wire::{AnswerUp, DownMessage, ReceiptUp, ReceiptWord};

/// How long a snooze lasts where the person did not say.
const SNOOZE_DEFAULT: Span = Span::days(1);

/// The reason of a "not needed" that says there is one at home.
pub(super) const HAVE_SPARE: &str = "have_spare";

/// The reason of a "not needed" that says that another brand is used.
const OTHER_BRAND: &str = "other_brand";

/// Who answers, and from where.
pub(super) struct Answerer<'s> {
    /// The channel's name: `device`, `app`, ….
    pub(super) channel: &'s str,
    /// The person, where known.
    pub(super) profile: Option<&'s ProfileId>,
    /// When it was pressed, by a clock that can be believed.
    pub(super) pressed_at: Timestamp,
    /// Makes a repeated press harmless.
    nonce: Option<&'s str>,
}

/// The offer with a new state and the reason in its history.
pub(super) fn moved(offer: &Offer, state: OfferState, at: Timestamp, cause: &str) -> Offer {
    let mut offer = offer.clone();
    offer.state = state;
    offer.history.push(StateChange { state: Arc::from(state.as_str()), at, cause: Arc::from(cause) });
    offer
}

fn unknown(offer: OfferId) -> Refusal {
    Refusal::new(Code::OfferUnknown, format!("there is no offer {offer} here")).at("/body/offer")
}

/// What the device did with an offer. The first receipt counts the contact.
pub(super) fn receipt(draft: &mut Draft<'_>, key: &DeviceKey, said: &ReceiptUp) -> Answered {
    let home = draft.before();
    let Some(offer) = home.offers.get(&said.offer).filter(|offer| offer.device == *key) else {
        return Err(unknown(said.offer));
    };
    if offer.rev != said.rev {
        draft.note(format!("receipt for rev {} of an offer at rev {}", said.rev, offer.rev));
    }
    let ends_there = matches!(said.state, ReceiptWord::Expired | ReceiptWord::SuppressedOnDevice);
    if !ends_there {
        count_contact(draft, offer);
    }
    let next = match (said.state, offer.state) {
        (ReceiptWord::Delivered, OfferState::Sent) => Some((OfferState::Delivered, "receipt")),
        (ReceiptWord::Shown, OfferState::Sent | OfferState::Delivered) => Some((OfferState::Shown, "receipt")),
        (ReceiptWord::Expired, state) if state.is_live() => Some((OfferState::Expired, "expired on the device")),
        (ReceiptWord::SuppressedOnDevice, state) if state.is_live() => {
            Some((OfferState::Withdrawn, "suppressed on the device"))
        }
        _ => None,
    };
    let Some((state, cause)) = next else { return Ok(Reply::Unchanged) };
    if ends_there && offer.state != OfferState::Shown {
        // Nobody saw it: it does not count as a contact.
        release(draft, offer.id);
    }
    let now = draft.now;
    draft.change(Change::OfferSet(Arc::new(moved(offer, state, now, cause))));
    super::drop_ended(draft);
    Ok(Reply::Done)
}

/// A contact that nobody saw is none: neither for the home's caps nor for those of all homes.
fn release(draft: &mut Draft<'_>, id: OfferId) {
    if let Some(contact) = draft.home().contacts.iter().find(|contact| contact.offer == id).cloned() {
        shared::give_back(draft, &contact);
    }
    draft.change(Change::ContactReleased(id));
}

fn count_contact(draft: &mut Draft<'_>, offer: &Offer) {
    let reserved = draft.before().contacts.iter().find(|contact| contact.offer == offer.id);
    if let Some(contact) = reserved.filter(|contact| contact.state == ContactState::Reserved) {
        draft.change(Change::ContactSet(Contact { state: ContactState::Counted, ..contact.clone() }));
    }
}

pub(super) fn answered_on_device(draft: &mut Draft<'_>, key: &DeviceKey, said: &AnswerUp) -> Answered {
    let home = draft.before();
    if home.offers.get(&said.offer).is_none_or(|offer| offer.device != *key) {
        return Err(unknown(said.offer));
    }
    let pressed_at = home
        .devices
        .get(key)
        .map(|device| event_time(device, &draft.input.sender, said.t, draft.now))
        .filter(|time| time.trusted)
        .map_or(draft.now, |time| time.at);
    super::habit::learn(draft, key, pressed_at);
    let who = Answerer { channel: "device", profile: None, pressed_at, nonce: said.nonce.as_deref() };
    answer(draft, said.offer, said.rev, &said.answer, &who)
}

pub(super) fn answered_elsewhere(
    draft: &mut Draft<'_>,
    offer: OfferId,
    rev: u32,
    said: &Answer,
    channel: &str,
    profile: Option<&ProfileId>,
) -> Answered {
    let who = Answerer { channel, profile, pressed_at: draft.now, nonce: None };
    answer(draft, offer, rev, said, &who)
}

fn answer(draft: &mut Draft<'_>, id: OfferId, rev: u32, said: &Answer, who: &Answerer<'_>) -> Answered {
    let Some(offer) = draft.before().offers.get(&id) else { return Err(unknown(id)) };
    if let Some(known) = repeated(draft, offer, said, who) {
        return Ok(known);
    }
    match (said, offer.state) {
        (Answer::Why, _) => return why(draft, offer),
        (Answer::Accept { .. } | Answer::AcceptAs(_), OfferState::Accepted { order }) => {
            return Err(Refusal::new(
                Code::OfferAlreadyAccepted,
                format!("the offer was accepted before, as order {order}"),
            ));
        }
        // Who declines what they accepted a moment ago wants the order gone.
        (Answer::Decline | Answer::NotNeeded { .. }, OfferState::Accepted { order }) => {
            return order::cancel(draft, order, who.channel);
        }
        _ => {}
    }
    still_open(offer, rev, who, draft.now)?;
    allowed(draft, offer, said, who)?;
    count_contact(draft, offer);
    if let Some(choice) = said.choice() {
        return accept::accept(draft, offer, &choice, who);
    }
    match said {
        Answer::Accept { .. } | Answer::AcceptAs(_) => Err(unknown(id)),
        Answer::Decline => close(draft, offer, OfferState::Declined, "declined", who),
        Answer::NotNeeded { reason } => {
            if let Some(reason) = reason {
                draft.note(format!("not needed: {reason}"));
            }
            if reason.as_deref() == Some(HAVE_SPARE)
                && let Some(item) = &offer.item
            {
                let believed = supply::believed_for(draft, &item.product);
                supply::has_spare(draft, &item.product);
                let (rules, now) = (draft.rules, draft.now);
                let trigger = rules.triggers.get(&offer.retailer, &offer.trigger);
                if let (Some(span), Some(trigger)) = (believed, trigger) {
                    forecast::put_off(draft, &offer.device, trigger, now + span);
                }
            }
            let is_other = reason.as_deref() == Some(OTHER_BRAND);
            let cause = if is_other { steps::OTHER_BRAND } else { "not needed" };
            close(draft, offer, OfferState::Declined, cause, who)
        }
        Answer::Snooze { until } => {
            let until = until.unwrap_or(draft.now + SNOOZE_DEFAULT).max(draft.now + Span::minutes(1));
            close(draft, offer, OfferState::Snoozed { until }, "snoozed", who)
        }
        Answer::Why => why(draft, offer),
    }
}

/// The same press twice: the same nonce, or the same answer within a bounce of the button.
fn repeated(draft: &mut Draft<'_>, offer: &Offer, said: &Answer, who: &Answerer<'_>) -> Option<Reply> {
    let (last, at) = offer.last_answer.as_ref()?;
    let mark = mark(said, who);
    let same_nonce = who.nonce.is_some() && *last == mark;
    let bounced = who.channel == "device"
        && last.split(':').next() == mark.split(':').next()
        && (draft.now - *at).0 <= ANSWER_BOUNCE.0;
    if !same_nonce && !bounced {
        return None;
    }
    draft.note("the same answer again");
    let order = match offer.state {
        OfferState::Accepted { order } => Some(order),
        _ => None,
    };
    if let Some(order) = order.and_then(|order| draft.before().orders.get(&order)) {
        order::tell(draft, order);
    }
    Some(Reply::Answered { offer: offer.id, state: offer.state.as_str().to_owned(), order })
}

/// What is remembered of an answer: channel and answer, then the nonce.
pub(super) fn mark(said: &Answer, who: &Answerer<'_>) -> String {
    format!("{} {}:{}", who.channel, said.as_str(), who.nonce.unwrap_or_default())
}

fn still_open(offer: &Offer, rev: u32, who: &Answerer<'_>, now: Timestamp) -> Result<(), Refusal> {
    let expired = || Refusal::new(Code::OfferExpired, format!("the offer ended at {}", offer.expires_at));
    match offer.state {
        // Pressed in time on a device that was offline, by a clock that can be believed.
        // Its code has gone back, and may be somebody else's by now.
        OfferState::Expired if offer.code.is_some() && !offer.may_have_been_seen() => return Err(expired()),
        OfferState::Expired if who.pressed_at < offer.expires_at && who.pressed_at < now => {}
        OfferState::Expired => return Err(expired()),
        // The same refusal to the same press that comes again.
        OfferState::Withdrawn if offer.history.last().is_some_and(|last| *last.cause == *accept::BUDGET_EXHAUSTED) => {
            return Err(accept::budget_exhausted());
        }
        OfferState::Withdrawn if offer.history.last().is_some_and(|last| *last.cause == *accept::SOLD_OUT) => {
            return Err(Refusal::new(Code::OfferOutOfStock, "it was sold out; nothing was ordered"));
        }
        OfferState::Withdrawn | OfferState::Failed => {
            return Err(Refusal::new(Code::OfferWithdrawn, "the offer was withdrawn"));
        }
        OfferState::Declined => return Err(Refusal::new(Code::OfferNotAllowed, "the offer was declined before")),
        OfferState::Accepted { .. } => {
            return Err(Refusal::new(Code::OfferAlreadyAccepted, "the offer was accepted before"));
        }
        OfferState::Queued { .. } => return Err(unknown(offer.id)),
        OfferState::Sent | OfferState::Delivered | OfferState::Shown | OfferState::Snoozed { .. } => {
            if who.pressed_at >= offer.expires_at {
                return Err(expired());
            }
        }
    }
    if rev != offer.rev {
        let message =
            format!("the offer is at rev {}, the answer is to rev {rev}; look at the present one first", offer.rev);
        return Err(Refusal::new(Code::OfferPriceChanged, message).at("/body/rev"));
    }
    Ok(())
}

fn allowed(draft: &Draft<'_>, offer: &Offer, said: &Answer, who: &Answerer<'_>) -> Result<(), Refusal> {
    let not_allowed = |message: String| Refusal::new(Code::OfferNotAllowed, message);
    let home = draft.before();
    let needs = match said {
        Answer::Accept { .. } | Answer::AcceptAs(_) => Action::Order,
        Answer::Snooze { .. } => Action::Snooze,
        Answer::Decline | Answer::NotNeeded { .. } | Answer::Why => Action::Decline,
    };
    // Saying no is always possible, whatever buttons the retailer chose to show.
    if needs != Action::Decline && !offer.actions.contains(&needs) {
        return Err(not_allowed(format!("this offer cannot be answered with `{}`", said.as_str())));
    }
    if let Some(profile) = who.profile {
        let member = home.members.get(profile).ok_or_else(|| not_allowed(format!("`{profile}` does not live here")))?;
        if said.choice().is_some() && !member.role.may_order() {
            return Err(not_allowed(format!("a {} may not order", member.role.as_str())));
        }
    }
    if let (Some(choice), None) = (said.choice(), who.profile)
        && !unattended(home, offer, &choice)?
    {
        return Err(not_allowed("it is more than may be ordered here without the app; accept it there".to_owned()));
    }
    if said.choice().is_some() && home.link_of(&offer.device).is_none() {
        return Err(Refusal::new(Code::DeviceNotLinked, "the device is not linked to this household"));
    }
    Ok(())
}

/// Whether it may be ordered where nobody knows who says yes: everybody who may buy at the device and set a limit
/// to that must permit it.
fn unattended(home: &Household, offer: &Offer, choice: &Choice) -> Result<bool, Refusal> {
    let people = home.standings_at(&offer.device).filter(|(link, _)| link.role.may_order());
    let mut limits = people.filter_map(|(_, standing)| standing.preferences.unattended_max);
    let price = match accept::alternative(offer, choice)? {
        Some(other) => &other.price,
        None => match &offer.price {
            Some(price) => price,
            None => return Ok(true),
        },
    };
    let pieces = choice.qty.or(offer.item.as_ref().map(|item| item.qty)).unwrap_or(1);
    let total = price.item.times(pieces).and_then(|items| items.plus(price.delivery));
    Ok(limits.all(|max| total.is_some_and(|total| total.currency == max.currency && total.minor <= max.minor)))
}

/// Accepts an offer that nobody was shown, in the name of somebody who permitted it. None where it
/// cannot be ordered.
pub(super) fn accept_under(
    draft: &mut Draft<'_>,
    offer: &Offer,
    profile: &ProfileId,
    channel: &'static str,
) -> Option<Order> {
    let who = Answerer { channel, profile: Some(profile), pressed_at: draft.now, nonce: None };
    let accepted = accept::accept(draft, offer, &Choice::default(), &who);
    let Ok(Reply::Answered { order: Some(order), .. }) = accepted else { return None };
    draft.home().orders.get(&order).map(|order| (**order).clone())
}

fn close(draft: &mut Draft<'_>, offer: &Offer, state: OfferState, cause: &str, who: &Answerer<'_>) -> Answered {
    let now = draft.now;
    let mut closed = moved(offer, state, now, cause);
    let said = match state {
        OfferState::Snoozed { .. } => Answer::Snooze { until: None },
        _ => Answer::Decline,
    };
    closed.last_answer = Some((mark(&said, who), now));
    pipeline::drop_waiting(draft, &offer.device, offer.id);
    draft.change(Change::OfferSet(Arc::new(closed)));
    if who.channel != "device" {
        let withdraw = DownMessage::OfferWithdraw { offer: offer.id, reason: cause.to_owned() };
        draft.say(&offer.device, withdraw, Some(offer.expires_at));
    }
    super::drop_ended(draft);
    Ok(Reply::Answered { offer: offer.id, state: state.as_str().to_owned(), order: None })
}

fn why(draft: &mut Draft<'_>, offer: &Offer) -> Answered {
    let about = [
        ("offer".to_owned(), offer.id.to_string()),
        ("why".to_owned(), offer.text.why.clone().unwrap_or_else(|| offer.text.title.clone())),
        ("trigger".to_owned(), offer.trigger.to_string()),
    ];
    draft.say(&offer.device, DownMessage::Reply { about: about.into() }, Some(draft.now + super::REPLY_TTL));
    Ok(Reply::Answered { offer: offer.id, state: offer.state.as_str().to_owned(), order: None })
}

pub(super) fn taken_back(draft: &mut Draft<'_>, id: OfferId, reason: &str) -> Answered {
    let Some(offer) = draft.before().offers.get(&id) else { return Err(unknown(id)) };
    if !offer.state.is_live() {
        return Ok(Reply::Unchanged);
    }
    withdraw(draft, id, reason);
    Ok(Reply::Answered { offer: id, state: "withdrawn".to_owned(), order: None })
}

/// Takes a live offer back: from the record, from the outbox, and from the device if it may have
/// it. A contact that nobody saw is given back.
pub(super) fn withdraw(draft: &mut Draft<'_>, id: OfferId, reason: &str) {
    if let Some(offer) = end(draft, id, OfferState::Withdrawn, reason)
        && !matches!(offer.state, OfferState::Queued { .. })
    {
        let message = DownMessage::OfferWithdraw { offer: id, reason: reason.to_owned() };
        draft.say(&offer.device, message, Some(offer.expires_at));
    }
}

/// Ends a live offer without a word to the device. Gives it as it was.
fn end(draft: &mut Draft<'_>, id: OfferId, state: OfferState, reason: &str) -> Option<Arc<Offer>> {
    let now = draft.now;
    let home = draft.home();
    let offer = home.offers.get(&id).filter(|offer| offer.state.is_live()).cloned()?;
    let unseen = home.contacts.iter().any(|contact| contact.offer == id && contact.state == ContactState::Reserved);
    pipeline::drop_waiting(draft, &offer.device, id);
    if unseen {
        release(draft, id);
    }
    draft.change(Change::OfferSet(Arc::new(moved(&offer, state, now, reason))));
    super::drop_ended(draft);
    Some(offer)
}

/// Ends an offer whose time is up. The device checks the time itself and needs no word.
pub(super) fn expire(draft: &mut Draft<'_>, id: OfferId) {
    end(draft, id, OfferState::Expired, "time");
}

pub(super) fn withdraw_all_of(draft: &mut Draft<'_>, key: &DeviceKey, reason: &str) {
    for id in live_on(draft, key) {
        withdraw(draft, id, reason);
    }
}

/// The same without a word: the device forgets them with its people, and a word that waits for it would be
/// heard by whoever has it next.
pub(super) fn forget_all_of(draft: &mut Draft<'_>, key: &DeviceKey, reason: &str) {
    for id in live_on(draft, key) {
        end(draft, id, OfferState::Withdrawn, reason);
    }
}

fn live_on(draft: &mut Draft<'_>, key: &DeviceKey) -> Vec<OfferId> {
    let offers = draft.home().offers.values().filter(|offer| offer.device == *key && offer.state.is_live());
    offers.map(|offer| offer.id).collect()
}

/// A slot was refilled: what was suggested for it is over.
pub(super) fn withdraw_refilled(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId) {
    let is_of_slot = |offer: &&Arc<Offer>| {
        offer.device == *key && offer.slot.as_ref() == Some(slot) && *offer.kind == *OfferKind::Replenish.as_str()
    };
    let offers = draft.home().offers.values().filter(|offer| offer.state.is_live()).filter(is_of_slot);
    let live: Vec<OfferId> = offers.map(|offer| offer.id).collect();
    for id in live {
        withdraw(draft, id, "refilled");
    }
}

/// Whether an offer that was decided earlier may still be said now.
pub(super) enum Welcome {
    /// Yes.
    Yes,
    /// Not at this hour.
    Later(Timestamp),
    /// No, for this reason.
    No(&'static str),
    /// No: the people at the device do not want it, for this reason.
    Unwanted(&'static str),
}

/// Whether the product of an offer is sold at all, and by who was to sell it.
fn still_sold(draft: &Draft<'_>, offer: &Offer) -> bool {
    let Some(item) = &offer.item else { return true };
    let Some(product) = draft.rules.product(&offer.retailer, &item.product) else { return false };
    offer.seller.as_ref().is_none_or(|seller| quote::sells(draft.rules, &offer.retailer, &product, seller))
}

/// Looks again at an offer before it is (re-)delivered: what the customer decides beats what was
/// decided before.
pub(super) fn welcome(draft: &mut Draft<'_>, offer: &Offer) -> Welcome {
    let (now, rules) = (draft.now, draft.rules);
    let trigger = rules.triggers.get(&offer.retailer, &offer.trigger);
    if now >= offer.expires_at {
        return Welcome::No("time");
    }
    let Some(trigger) = trigger else { return Welcome::No("the trigger is not live any more") };
    if !still_sold(draft, offer) {
        return Welcome::No(accept::SOLD_OUT);
    }
    let home = draft.home();
    // A device that nobody has claimed has nobody to consent.
    let consents = |purpose| home.consent_for(rules, &offer.device, purpose, now).is_some();
    if !trigger.consent.iter().all(|purpose| consents(*purpose)) {
        return Welcome::Unwanted("consent withdrawn");
    }
    let Some(device) = home.devices.get(&offer.device) else { return Welcome::No("the device left") };
    if let Some(silence) = controls::silence(home, device, &offer.kind, now) {
        return Welcome::Unwanted(silence.cause());
    }
    let windows = controls::quiet_windows(home, device, trigger.quiet);
    match &home.zone {
        _ if windows.is_empty() => Welcome::Yes,
        None => Welcome::No("zone unknown"),
        Some(zone) => controls::quiet_until(&windows, zone, now).map_or(Welcome::Yes, Welcome::Later),
    }
}

/// The device listens again: offers that no connection has taken are looked at once more.
pub(super) fn reachable(draft: &mut Draft<'_>, key: &DeviceKey, waiting: &[OfferId]) -> Answered {
    let now = draft.now;
    for id in waiting {
        let Some(offer) = draft.home().offers.get(id).filter(|offer| offer.device == *key).cloned() else {
            pipeline::drop_waiting(draft, key, *id);
            continue;
        };
        // One that waits for its hour, or was put off on another channel, is said when that hour comes.
        if !offer.state.is_said() {
            pipeline::drop_waiting(draft, key, *id);
            continue;
        }
        match welcome(draft, &offer) {
            Welcome::Yes => {
                pipeline::drop_waiting(draft, key, *id);
                draft.say(key, DownMessage::OfferPut(offer.clone()), Some(offer.expires_at));
            }
            // What somebody has seen stays as it is on the screen; the device's next sync brings what has changed.
            Welcome::Later(_) if offer.state != OfferState::Sent => pipeline::drop_waiting(draft, key, *id),
            Welcome::Later(until) => {
                pipeline::drop_waiting(draft, key, *id);
                release(draft, *id);
                draft.change(Change::OfferSet(Arc::new(moved(
                    &offer,
                    OfferState::Queued { until },
                    now,
                    "quiet hours",
                ))));
            }
            Welcome::No("time") => expire(draft, *id),
            Welcome::No(reason) | Welcome::Unwanted(reason) => withdraw(draft, *id, reason),
        }
    }
    Ok(Reply::Done)
}

/// A held or snoozed offer's hour has come: the whole pipeline looks at it again.
pub(super) fn hour_has_come(draft: &mut Draft<'_>, id: OfferId) {
    let rules = draft.rules;
    // One that was due with it may have taken its place.
    let Some(offer) = draft.home().offers.get(&id).filter(|offer| offer.state.is_live()).cloned() else { return };
    match rules.triggers.get(&offer.retailer, &offer.trigger) {
        Some(trigger) => {
            let wake = Wake {
                device: &offer.device,
                slot: offer.slot.as_ref(),
                event: None,
                at: draft.now,
                cause: Cause::Held(id),
            };
            pipeline::consider(draft, trigger, &wake);
        }
        None => withdraw(draft, id, "the trigger is not live any more"),
    }
}
