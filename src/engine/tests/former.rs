//! Values as a release before budgets and discounts wrote them, and one before trends.

use hearthway_core::model::{OfferState, OrderState};
use serde::de::DeserializeOwned;

use crate::engine::rows::{HouseholdRow, LogItem, OfferRow, OrderRow};
use crate::store::codec::{self, Schema};
use crate::store::keys::Key;

/// A home that was offered a filter and took it: its record, its offer, its order, an input of its log
/// and a snapshot.
const VERSION_1: &str = include_str!("version_1.txt");
/// The same record, input and snapshot from before trends.
const VERSION_2: &str = include_str!("version_2.txt");

fn read<T: DeserializeOwned>(schema: Schema) -> Vec<T> {
    read_of(VERSION_1, 1, schema)
}

fn read_of<T: DeserializeOwned>(text: &str, version: u8, schema: Schema) -> Vec<T> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let of_schema = lines.filter(|(name, _)| *name == format!("{schema:?}"));
    of_schema
        .map(|(_, hex)| {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            assert_eq!(bytes[2], version, "it is of that version");
            codec::decode(schema, &Key(b"X".to_vec()), &bytes).unwrap()
        })
        .collect()
}

#[test]
fn what_a_release_before_budgets_wrote_is_read_whole() {
    let households = read::<HouseholdRow>(Schema::Household);
    let [HouseholdRow { facts, heard, snapshot }] = &households[..] else { panic!("{households:#?}") };
    let (offer, order) = (facts.offers.values().next().unwrap(), facts.orders.values().next().unwrap());
    assert_eq!(offer.state, OfferState::Accepted { order: order.id });
    assert_eq!((offer.price.as_ref().unwrap().was, offer.budget), (None, None));
    assert_eq!((order.state, order.total.to_string().as_str()), (OrderState::Submitted, "19.90 EUR"));
    assert_eq!(order.drawn, None);
    assert!(!heard.is_empty() && snapshot.seq > 0, "what stands behind the household is read too");
    assert_eq!(facts.contacts.len(), 1, "and what stands behind offers and orders in it");

    let [offer_row] = &read::<OfferRow>(Schema::Offer)[..] else { panic!("one offer") };
    assert_eq!((offer_row.household, &offer_row.offer), (facts.id, &**offer));
    let [order_row] = &read::<OrderRow>(Schema::Order)[..] else { panic!("one order") };
    assert_eq!((order_row.household, &order_row.order), (facts.id, &**order));

    let [LogItem::Input(input), LogItem::Snapshot(home)] = &read::<LogItem>(Schema::Log)[..] else {
        panic!("an input and a snapshot")
    };
    assert!(input.answers.is_empty() && input.seq > 0);
    assert_eq!((home.id, home.orders.len()), (facts.id, 1));
    // Written again they are of this release, and the same.
    let bytes = codec::encode(Schema::Log, &LogItem::Snapshot(home.clone()));
    assert_eq!(bytes[2], Schema::Log.version());
    let again: LogItem = codec::decode(Schema::Log, &Key(b"X".to_vec()), &bytes).unwrap();
    assert!(matches!(again, LogItem::Snapshot(again) if again == *home));
}

#[test]
fn what_a_release_before_trends_wrote_is_read_whole() {
    let (old, new) =
        (read::<HouseholdRow>(Schema::Household), read_of::<HouseholdRow>(VERSION_2, 2, Schema::Household));
    assert_eq!((&old[0].facts, new.len()), (&new[0].facts, 1));
    assert!(new[0].facts.trends.is_empty() && new[0].snapshot.seq > 0 && !new[0].heard.is_empty());
    let [LogItem::Input(input), LogItem::Snapshot(home)] = &read_of::<LogItem>(VERSION_2, 2, Schema::Log)[..] else {
        panic!("an input and a snapshot")
    };
    assert!(input.seq > 0 && home.trends.is_empty());
    assert_eq!(home.orders.len(), 1);
}
