//! How values of older releases become values of this one, body by body.

use hearthway_core::id::HouseholdId;
use hearthway_core::model::former::{
    HouseholdV1, HouseholdV2, HouseholdV3, OfferV1, OfferV2, OrderV1, OrderV2, ProfileV1,
};
use hearthway_core::model::{Household, Offer, Order, Profile};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Schema, Upgrade};

/// Every upgrade that reads know.
pub const UPGRADES: &[Upgrade] = &[
    // Version 2 says at its end what the rows add up to; 0 is `Unknown`.
    Upgrade { schema: Schema::Engine, from: 1, step: |body| Ok([body, &[0]].concat()) },
    // Version 2 knows discounts and budgets, of offers and of orders.
    Upgrade { schema: Schema::Household, from: 1, step: first::<HouseholdV1, HouseholdV2> },
    Upgrade { schema: Schema::Offer, from: 1, step: second::<OfferV1, OfferV2> },
    Upgrade { schema: Schema::Order, from: 1, step: second::<OrderV1, OrderV2> },
    Upgrade { schema: Schema::Log, from: 1, step: |body| log_item::<HouseholdV1, HouseholdV2>(body, &[0]) },
    // Version 3 knows what stands on a home's shelf, and trends.
    Upgrade { schema: Schema::Household, from: 2, step: first::<HouseholdV2, HouseholdV3> },
    Upgrade { schema: Schema::Log, from: 2, step: |body| log_item::<HouseholdV2, HouseholdV3>(body, &[]) },
    // Version 4 (of offers and orders 3) knows sellers, stores and what becomes of single lines, what people decide
    // about being spoken to, and merges of profiles.
    Upgrade { schema: Schema::Household, from: 3, step: first::<HouseholdV3, Household> },
    Upgrade { schema: Schema::Offer, from: 2, step: second::<OfferV2, Offer> },
    Upgrade { schema: Schema::Order, from: 2, step: second::<OrderV2, Order> },
    Upgrade { schema: Schema::Log, from: 3, step: |body| log_item::<HouseholdV3, Household>(body, &[]) },
    // Version 2 knows identities, wishes and merges.
    Upgrade { schema: Schema::Profile, from: 1, step: first::<ProfileV1, Profile> },
    // Version 2 knows at the end of a product what price lists say of it: nothing.
    Upgrade { schema: Schema::ProductPack, from: 1, step: pack },
    // Version 2 says at its end what the shop still needs to work on the order; 0 is nothing.
    Upgrade { schema: Schema::KeptOrder, from: 1, step: |body| Ok([body, &[0]].concat()) },
    // Version 2 says at its end how often a prospect was spoken to; 0 is never.
    Upgrade { schema: Schema::Move, from: 1, step: |body| Ok([body, &[0]].concat()) },
];

/// A pack of products, and each of them with a list of nothing at its end. One that is gone has no bytes.
fn pack(body: &[u8]) -> postcard::Result<Vec<u8>> {
    type Changed = (String, u32, Option<(u64, u16)>, Vec<u8>);
    let (at, mut changed): (i64, Vec<Changed>) = postcard::from_bytes(body)?;
    for (.., product) in changed.iter_mut().filter(|(.., product)| !product.is_empty()) {
        product.push(0);
    }
    postcard::to_allocvec(&(at, changed))
}

/// A body that begins with an old type, and goes on as it did.
fn first<Old: DeserializeOwned, New: From<Old> + Serialize>(body: &[u8]) -> postcard::Result<Vec<u8>> {
    let (old, rest) = postcard::take_from_bytes::<Old>(body)?;
    let mut new = postcard::to_allocvec(&New::from(old))?;
    new.extend_from_slice(rest);
    Ok(new)
}

/// The same behind the household that the value belongs to.
fn second<Old: DeserializeOwned, New: From<Old> + Serialize>(body: &[u8]) -> postcard::Result<Vec<u8>> {
    let (_, rest) = postcard::take_from_bytes::<HouseholdId>(body)?;
    let (household, _) = body.split_at(body.len() - rest.len());
    Ok([household, &first::<Old, New>(rest)?].concat())
}

/// An item of a log: an input, which gets `more` at its end, or a household.
fn log_item<Old: DeserializeOwned, New: From<Old> + Serialize>(body: &[u8], more: &[u8]) -> postcard::Result<Vec<u8>> {
    match body.split_first() {
        Some((0, _)) => Ok([body, more].concat()),
        Some((1, household)) => Ok([&[1], &*first::<Old, New>(household)?].concat()),
        Some(_) | None => Err(postcard::Error::DeserializeBadEnum),
    }
}
