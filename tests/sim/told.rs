//! What is told to systems outside, beside what happened: a shop and a maker listen from the start,
//! nobody takes anything out, so that every event that was ever told stands in the store.

use std::collections::{BTreeMap, BTreeSet};

use hearthway::engine::events::{EventRow, SecretSeed, WebhookKey, WebhookRow};
use hearthway::engine::rows::OrderRow;
use hearthway::store::codec::{self, Schema};
use hearthway::store::keys::{KeyBuilder, table};
use hearthway::store::{Commit, SCAN_ROWS_MAX, Store, Write};
use hearthway_core::event_out::{EventType, EventTypes};
use hearthway_core::id::{MakerId, WebhookId};
use hearthway_core::model::Tenant;
use hearthway_core::time::Timestamp;

use crate::shop;

fn webhooks() -> [(WebhookKey, EventTypes); 2] {
    let key = |tenant| WebhookKey { tenant, id: WebhookId::new("all").unwrap() };
    [
        (key(Tenant::Retailer(shop::retailer())), EventTypes::of_retailers()),
        (key(Tenant::Maker(MakerId::new("acme").unwrap())), EventTypes::of_makers()),
    ]
}

/// Both want to hear everything that they may.
pub fn listen(store: &dyn Store, now: Timestamp) {
    let writes = webhooks().into_iter().map(|(key, types)| {
        let row = WebhookRow {
            url: "https://hooks.shop.example/".to_owned(),
            types: types.iter().map(|kind| kind.as_str().to_owned()).collect(),
            subject: None,
            seed: SecretSeed([0; 16]),
            former: None,
            disabled: None,
            created_at: now,
        };
        Write::Put(key.row(), codec::encode(Schema::Webhook, &row))
    });
    let writes = writes.collect();
    store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
}

fn told_to(store: &dyn Store, key: &WebhookKey) -> Vec<EventRow> {
    let rows = store.scan(&key.events(), None, SCAN_ROWS_MAX).unwrap();
    rows.iter().map(|(key, bytes)| codec::decode(Schema::Event, key, bytes).unwrap()).collect()
}

/// An order that became the shop's is told, once; what is told as an order is one; nothing is told
/// twice under two ids of one cause, and a maker hears of nobody.
pub fn check(store: &dyn Store) {
    let [(shop, _), (maker, _)] = webhooks();
    let told = told_to(store, &shop);
    let ids: BTreeSet<_> = told.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), told.len(), "an event was told twice");
    let mut requested: BTreeMap<String, usize> = BTreeMap::new();
    for row in told.iter().filter(|row| row.kind == EventType::OrderRequested.as_str()) {
        let event: serde_json::Value = serde_json::from_slice(&row.body).unwrap();
        *requested.entry(event["data"]["order"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let prefix = KeyBuilder::table(table::ORDER).name(shop::retailer().as_str()).prefix();
    let orders = store.scan(&prefix, None, SCAN_ROWS_MAX).unwrap();
    let of_the_shop = orders.iter().filter_map(|(key, bytes)| {
        let OrderRow { order, .. } = codec::decode(Schema::Order, key, bytes).unwrap();
        order.history.iter().any(|change| &*change.state == "submitted").then(|| (order.id.to_string(), 1))
    });
    assert_eq!(requested, of_the_shop.collect(), "orders told beside orders that are the shop's");
    for row in told_to(store, &maker) {
        let body = String::from_utf8(row.body).unwrap();
        assert!(row.household.is_none() && !body.contains("hh_") && !body.contains("\"p1\""), "{body}");
    }
}
