//! Offers as other channels than the device see and answer them.

use hearthway_core::code::{Code, Refusal};
use hearthway_core::decision::Reply;
use hearthway_core::id::{HouseholdId, OfferId, OrderId, ProfileId, RetailerId};
use hearthway_core::input::{Answer, Command};
use hearthway_core::model::{Offer, OfferState};

use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery, rows};
use crate::engine::Target;
use crate::engine::rows::{OfferRow, unless_erased};
use crate::store::Store;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, KeyBuilder, table};

/// Rows looked at for one page of a filtered list.
pub(crate) const LOOKED_AT_MAX: usize = 10_000;
/// Characters of a channel's name.
const CHANNEL_CHARS_MAX: usize = 32;

/// Characters of the shop's reason for taking an offer back.
const REASON_CHARS_MAX: usize = 100;
/// How such a reason begins in an offer's history and on the device.
const BY_SHOP: &str = "shop";

/// An answer from another channel.
#[derive(Debug, Clone)]
pub struct OfferAnswer {
    /// In which revision the person saw the offer.
    pub rev: u32,
    /// What they said.
    pub answer: Answer,
    /// Where.
    pub channel: String,
    /// Who.
    pub profile: Option<ProfileId>,
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The offer's state.
    pub state: String,
    /// The order, where there is one.
    pub order: Option<OrderId>,
}

impl App {
    /// The caller's offers, all or in one state.
    pub fn offers(
        &self,
        who: &Caller,
        state: Option<&str>,
        page: &PageQuery,
    ) -> Result<Page<(HouseholdId, Offer)>, Failure> {
        let retailer = who.retailer(Scope::OffersRead)?;
        let prefix = KeyBuilder::table(table::OFFER).name(retailer.as_str()).prefix();
        let after = cursor(page, |text| text.parse().ok().map(|id| keys::offer(retailer, id)))?;
        let wanted = |row: &OfferRow| state.is_none_or(|state| row.offer.state.as_str() == state);
        let (found, next) = page_of(&**self.engine.store(), Schema::Offer, &prefix, after, page.limit, wanted)?;
        let next = next.map(|row: OfferRow| row.offer.id.to_string());
        Ok(Page { items: found.into_iter().map(|row| (row.household, row.offer)).collect(), next })
    }

    /// One offer of the caller's.
    pub fn offer(&self, who: &Caller, id: &str) -> Result<(HouseholdId, Offer), Failure> {
        let retailer = who.retailer(Scope::OffersRead)?;
        self.find_offer(retailer, id)
    }

    /// Answers an offer from another channel than the device.
    pub async fn answer_offer(&self, who: &Caller, id: &str, answer: OfferAnswer) -> Result<Answered, Failure> {
        let retailer = who.retailer(Scope::OffersAnswer)?;
        check_own_channel(&answer.channel)?;
        let _busy = answer.profile.as_ref().map(|person| self.erasures.check(retailer, person)).transpose()?;
        let (household, offer) = self.find_offer(retailer, id)?;
        let what = Command::AnswerOffer {
            offer: offer.id,
            rev: answer.rev,
            answer: answer.answer.clone(),
            channel: answer.channel,
            profile: answer.profile,
        };
        let input = self.command(Some(&offer.device), "answer", offer.id.bytes(), what);
        match settled(self.engine.call(Target::Household(household), input).await) {
            Ok(Reply::Answered { state, order, .. }) => Ok(Answered { state, order }),
            Ok(
                Reply::Done
                | Reply::Unchanged
                | Reply::Doubted
                | Reply::Moving { .. }
                | Reply::Linked { .. }
                | Reply::OrderMoved { .. },
            ) => {
                let (_, offer) = self.find_offer(retailer, id)?;
                Ok(Answered { state: offer.state.as_str().to_owned(), order: order_of(&offer) })
            }
            Err(Failure::Refused(refusal)) if refusal.code == Code::OfferAlreadyAccepted => {
                let order = self.find_offer(retailer, id).ok().and_then(|(_, offer)| order_of(&offer));
                Err(Failure::AlreadyAccepted { refusal, order })
            }
            Err(failure) => Err(failure),
        }
    }

    /// The shop takes an offer back on all channels; later accepts are told so. One that ended otherwise stays as
    /// it is, and one that was accepted is an order by now.
    pub async fn withdraw_offer(&self, who: &Caller, id: &str, reason: Option<&str>) -> Result<Answered, Failure> {
        let retailer = who.retailer(Scope::OffersAnswer)?;
        if reason.is_some_and(|reason| reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX) {
            let message = format!("a reason takes 1 to {REASON_CHARS_MAX} characters; leave it out to say none");
            return Err(Failure::invalid("/reason", message));
        }
        let (household, offer) = self.find_offer(retailer, id)?;
        // Marked as the shop's word: other causes decide what a later accept is told.
        let reason = reason.map_or_else(|| BY_SHOP.to_owned(), |reason| format!("{BY_SHOP}: {}", reason.trim()));
        let what = Command::WithdrawOffer { offer: offer.id, reason };
        let input = self.command(Some(&offer.device), "withdraw", offer.id.bytes(), what);
        settled(self.engine.call(Target::Household(household), input).await)?;
        let (_, offer) = self.find_offer(retailer, id)?;
        let order = order_of(&offer);
        match order {
            Some(order) => {
                let message = format!("it was accepted before, as order {order}; cancel that, or refuse it");
                let refusal = Refusal::new(Code::OfferAlreadyAccepted, message);
                Err(Failure::AlreadyAccepted { refusal, order: Some(order) })
            }
            None => Ok(Answered { state: offer.state.as_str().to_owned(), order: None }),
        }
    }

    fn find_offer(&self, retailer: &RetailerId, id: &str) -> Result<(HouseholdId, Offer), Failure> {
        let shown: String = id.chars().take(80).collect();
        let missing = || Failure::from(Refusal::new(Code::OfferUnknown, format!("there is no offer `{shown}`")));
        let id: OfferId = id.parse().map_err(|_| missing())?;
        let row: Option<OfferRow> = rows::get(&**self.engine.store(), Schema::Offer, &keys::offer(retailer, id))?;
        row.map(|row| (row.household, row.offer)).ok_or_else(missing)
    }
}

/// The order that an accept made.
pub fn order_of(offer: &Offer) -> Option<OrderId> {
    match offer.state {
        OfferState::Accepted { order } => Some(order),
        OfferState::Queued { .. }
        | OfferState::Sent
        | OfferState::Delivered
        | OfferState::Shown
        | OfferState::Declined
        | OfferState::Snoozed { .. }
        | OfferState::Expired
        | OfferState::Withdrawn
        | OfferState::Failed => None,
    }
}

/// The name of a channel: a word such as `app`, `web`, `store`.
pub(crate) fn check_channel(channel: &str) -> Result<(), Failure> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if channel.is_empty() || channel.len() > CHANNEL_CHARS_MAX || !channel.bytes().all(is_word) {
        let message = format!("a channel is a word of 1 to {CHANNEL_CHARS_MAX} characters such as `app`");
        return Err(Failure::invalid("/channel", message));
    }
    Ok(())
}

/// Names that the rules give themselves, and that mean more than a place: what the device says, what nobody was asked.
const CHANNELS_RESERVED: [&str; 2] = ["device", "mandate"];

/// The channel that somebody answers on over HTTP.
pub(crate) fn check_own_channel(channel: &str) -> Result<(), Failure> {
    check_channel(channel)?;
    if CHANNELS_RESERVED.iter().any(|reserved| channel.eq_ignore_ascii_case(reserved)) {
        let message =
            format!("`{channel}` is the gateway's own word; name the channel where it was said, such as `app`");
        return Err(Failure::invalid("/channel", message));
    }
    Ok(())
}

/// The key behind which a page begins.
pub(crate) fn cursor(page: &PageQuery, key: impl Fn(&str) -> Option<keys::Key>) -> Result<Option<keys::Key>, Failure> {
    match &page.cursor {
        None => Ok(None),
        Some(text) => key(text).map(Some).ok_or_else(|| {
            Failure::invalid("", "the parameter `cursor` is not one of ours; take the `next` of a page")
        }),
    }
}

/// One page of rows that pass `wanted`, and the row that the next page begins behind.
pub(crate) fn page_of<R: serde::de::DeserializeOwned + Clone>(
    store: &dyn Store,
    schema: Schema,
    prefix: &[u8],
    mut after: Option<keys::Key>,
    limit: usize,
    wanted: impl Fn(&R) -> bool,
) -> Result<(Vec<R>, Option<R>), Failure> {
    let mut found: Vec<R> = Vec::new();
    let mut last: Option<R> = None;
    let mut looked_at = 0;
    loop {
        let batch = limit.clamp(64, 1000);
        let rows = store.scan(prefix, after.as_ref(), batch)?;
        if rows.is_empty() {
            return Ok((found, None));
        }
        for (key, bytes) in rows {
            if found.len() == limit || looked_at == LOOKED_AT_MAX {
                return Ok((found, last));
            }
            looked_at += 1;
            after = Some(key.clone());
            let Some(row) = unless_erased(codec::decode::<R>(schema, &key, &bytes))? else { continue };
            if wanted(&row) {
                found.push(row.clone());
            }
            last = Some(row);
        }
    }
}
