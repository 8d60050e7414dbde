//! How long it takes to understand a message and to render an offer.
//!
//! `cargo bench -p hearthway-core --bench wire`

use std::sync::Arc;

use hearthway_core::id::{DecisionId, DeviceKey, MakerId, OfferId, PlacementId, ProductId, RetailerId, TriggerId};
use hearthway_core::model::{Action, Fulfil, Offer, OfferItem, OfferPrice, OfferState, OfferText};
use hearthway_core::money::{Currency, Money};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::wire::{DownHead, DownMessage, Who, decode, encode, matches, may_publish};

fn main() {
    divan::main();
}

const TELEMETRY: &str = r#"{"v":"1.0","id":"01JD9ZK3","seq":4711,"epoch":17,"t":1774000000000,"body":{"samples":[{"t":1774000000000,"f":{"temperature":16.4,"mode":"heat"}}]}}"#;
const TELEMETRY_SHORT: &str = r#"{"temperature":16.4}"#;
const SLOT: &str =
    r#"{"v":"1.0","id":"01JD9ZK4","body":{"slot":"air_filter","kind":"usage","used":612,"capacity":720,"unit":"h"}}"#;
const RECEIPT: &str = r#"{"v":"1.0","id":"01JD9ZK5","body":{"offer":"of_aaaaaaaaaaaaaaaaaaaaaaaa","rev":1,"state":"shown","t":1774000000000}}"#;
const ANSWER_SIGNED: &str = r#"{"v":"1.0","id":"01JD9ZK6","sig":"0000000000000000000000000000000000000000000000000000000000000000","body":{"offer":"of_aaaaaaaaaaaaaaaaaaaaaaaa","rev":1,"answer":"accept","nonce":"n-1","choice":{"qty":1,"fulfil":"deliver"}}}"#;
const DESC: &str = r#"{"v":"1.0","id":"01JD9ZK7","body":{"model":"th-200","kind":"thermostat","telemetry":{"temperature":{"type":"number","unit":"°C","min":-40,"max":80},"mode":{"type":"enum","values":["off","heat"]}},"slots":[{"slot":"air_filter","kind":"usage","unit":"h","capacity":720}],"placements":[{"id":"home.card","title_max":40,"body_max":160}],"locales":["fr","en"],"confirm":["press2s"],"buttons":["ok","later"]}}"#;

fn decoded(bencher: divan::Bencher<'_, '_>, below: &str, payload: &str) {
    let topic = format!("chan/v1/acme/d-42/{below}");
    assert!(decode(&topic, payload.as_bytes()).is_ok(), "{payload}");
    bencher.bench(|| decode(divan::black_box(&topic), divan::black_box(payload.as_bytes())));
}

#[divan::bench]
fn telemetry(bencher: divan::Bencher<'_, '_>) {
    decoded(bencher, "up/telemetry", TELEMETRY);
}

#[divan::bench]
fn telemetry_short_form(bencher: divan::Bencher<'_, '_>) {
    decoded(bencher, "up/telemetry", TELEMETRY_SHORT);
}

#[divan::bench]
fn slot(bencher: divan::Bencher<'_, '_>) {
    decoded(bencher, "up/slot", SLOT);
}

#[divan::bench]
fn receipt(bencher: divan::Bencher<'_, '_>) {
    decoded(bencher, "up/offer/receipt", RECEIPT);
}

#[divan::bench]
fn answer_with_a_signature(bencher: divan::Bencher<'_, '_>) {
    decoded(bencher, "up/offer/answer", ANSWER_SIGNED);
}

#[divan::bench]
fn desc(bencher: divan::Bencher<'_, '_>) {
    decoded(bencher, "desc", DESC);
}

/// The most samples that one message may hold.
#[divan::bench]
fn telemetry_of_200_samples(bencher: divan::Bencher<'_, '_>) {
    let sample = r#"{"t":1774000000000,"f":{"temperature":16.4}}"#;
    let payload = format!(r#"{{"v":"1.0","id":"m","body":{{"samples":[{}]}}}}"#, vec![sample; 200].join(","));
    decoded(bencher, "up/telemetry", &payload);
}

/// A poison message: as many distinct keys as fit.
#[divan::bench]
fn refusing_an_object_of_1500_keys(bencher: divan::Bencher<'_, '_>) {
    let keys: Vec<String> = (0..1500).map(|n| format!(r#""{n}":1"#)).collect();
    let payload = format!("{{{}}}", keys.join(","));
    assert!(decode("chan/v1/acme/d-42/up/telemetry", payload.as_bytes()).is_err());
    bencher.bench(|| decode("chan/v1/acme/d-42/up/telemetry", divan::black_box(payload.as_bytes())));
}

#[divan::bench]
fn may_publish_own_topic(bencher: divan::Bencher<'_, '_>) {
    let who = Who::Device(device());
    bencher.bench(|| may_publish(divan::black_box(&who), divan::black_box("chan/v1/acme/d-42/up/telemetry")));
}

#[divan::bench]
fn matching(bencher: divan::Bencher<'_, '_>) {
    bencher
        .bench(|| matches(divan::black_box("chan/v1/acme/+/down/#"), divan::black_box("chan/v1/acme/d-42/down/offer")));
}

#[divan::bench]
fn rendering_an_offer(bencher: divan::Bencher<'_, '_>) {
    let message = DownMessage::OfferPut(offer().into());
    let head = DownHead {
        device: device(),
        id: "ob-1".to_owned(),
        t: Timestamp(1_774_000_000_000),
        exp: Some(Timestamp(1_774_086_400_000)),
        trace: DecisionId([1; 15]).to_string(),
        corr: None,
    };
    bencher.bench(|| encode(divan::black_box(&message), divan::black_box(&head)));
}

fn device() -> DeviceKey {
    "acme/d-42".parse().expect("a device key")
}

fn offer() -> Offer {
    let eur = Currency::new("EUR").expect("a currency");
    Offer {
        id: OfferId([7; 15]),
        rev: 1,
        retailer: RetailerId::new("shop-a").expect("a name"),
        trigger: TriggerId::new("filter-worn").expect("a name"),
        trigger_version: 1,
        decision: DecisionId([1; 15]),
        kind: Arc::from("replenish"),
        device: DeviceKey::new(MakerId::new("acme").expect("a name"), device().device),
        slot: None,
        placement: PlacementId::new("home.card").expect("a name"),
        priority: 60,
        valid_from: Timestamp(1_773_997_200_000),
        expires_at: Timestamp(1_774_170_000_000),
        text: OfferText {
            locale: "fr-FR".to_owned(),
            title: "Filtre bientôt usé".to_owned(),
            body: "Remplacement vers le 29 mars".to_owned(),
            short: Some("FILTRE".to_owned()),
            say: None,
            why: Some("Votre filtre a tourné 612 h".to_owned()),
        },
        item: Some(OfferItem {
            product: ProductId::new("flt-20x25").expect("a name"),
            name: "Filtre 20×25".to_owned(),
            qty: 1,
        }),
        price: Some(OfferPrice {
            item: Money::new(1990, eur),
            delivery: Money::new(0, eur),
            total: Money::new(1990, eur),
            tax_incl: true,
            lock_until: Timestamp(1_774_083_600_000),
            was: None,
            reduced: None,
        }),
        sold_by: Some("Enseigne X".to_owned()),
        withdraw_days: Some(14),
        fulfil: vec![Fulfil::Deliver],
        actions: vec![Action::Order, Action::Snooze, Action::Decline, Action::Why],
        confirm: Some(("press2s".to_owned(), "Commander avec obligation de paiement".to_owned())),
        cancel_window: Span::ZERO,
        test: false,
        state: OfferState::Sent,
        history: Vec::new(),
        last_answer: None,
        budget: None,
        code: None,
        seller: None,
        ships_by: None,
        alternatives: Vec::new(),
        stores: Vec::new(),
    }
}
