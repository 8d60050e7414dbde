//! What goes down has the contract's shape, key for key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::*;
use crate::code::{Code, Refusal};
use crate::id::*;
use crate::model::*;
use crate::money::{Currency, Money};
use crate::time::{Span, Timestamp, Zone};

const T: Timestamp = Timestamp(1_774_000_000_000);

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::new("EUR").unwrap())
}

fn head() -> DownHead {
    DownHead {
        device: "acme/d-42".parse().unwrap(),
        id: "m-1".to_owned(),
        t: T,
        exp: Some(Timestamp(1_774_086_400_000)),
        trace: "de_x".to_owned(),
        corr: None,
    }
}

fn offer() -> Offer {
    Offer {
        id: OfferId([7; 15]),
        rev: 1,
        retailer: RetailerId::new("shop-a").unwrap(),
        trigger: TriggerId::new("filter-worn").unwrap(),
        trigger_version: 1,
        decision: DecisionId([1; 15]),
        kind: Arc::from("replenish"),
        device: "acme/d-42".parse().unwrap(),
        slot: SlotId::new("air_filter").ok(),
        placement: PlacementId::new("home.card").unwrap(),
        priority: 60,
        valid_from: Timestamp(1_773_997_200_000),
        expires_at: Timestamp(1_774_170_000_000),
        text: OfferText {
            locale: "fr-FR".to_owned(),
            title: "Filtre bientôt usé".to_owned(),
            body: "Remplacement vers le 29 mars".to_owned(),
            short: Some("FILTRE".to_owned()),
            say: Some("…".to_owned()),
            why: Some("Votre filtre a tourné 612 h".to_owned()),
        },
        item: Some(OfferItem {
            product: ProductId::new("flt-20x25").unwrap(),
            name: "Filtre 20×25 MERV 11".to_owned(),
            qty: 1,
        }),
        price: Some(OfferPrice {
            item: eur(1990),
            delivery: eur(0),
            total: eur(1990),
            tax_incl: true,
            lock_until: Timestamp(1_774_083_600_000),
            was: None,
            reduced: None,
        }),
        sold_by: Some("Enseigne X".to_owned()),
        withdraw_days: Some(14),
        fulfil: vec![Fulfil::Deliver, Fulfil::Collect],
        actions: vec![Action::Order, Action::Snooze, Action::Decline, Action::Why, Action::OpenApp],
        confirm: Some(("press2s".to_owned(), "Commander avec obligation de paiement".to_owned())),
        cancel_window: Span::minutes(30),
        test: false,
        state: OfferState::Sent,
        history: vec![],
        last_answer: None,
        budget: None,
        code: None,
        seller: None,
        ships_by: None,
        alternatives: Vec::new(),
        stores: Vec::new(),
    }
}

fn order(state: OrderState) -> Order {
    Order {
        id: OrderId([3; 15]),
        offer: OfferId([7; 15]),
        retailer: RetailerId::new("shop-a").unwrap(),
        device: "acme/d-42".parse().unwrap(),
        profile: None,
        rev: 1,
        state,
        total: eur(1990),
        cancel_until: Some(Timestamp(1_774_001_800_000)),
        fulfil: Fulfil::Deliver,
        lines: vec![],
        eta: None,
        test: false,
        created_at: T,
        history: vec![],
        drawn: None,
        seller: None,
        sold_by: None,
        held: None,
        pickup: None,
        withdraw_days: None,
        withdrawn_at: None,
    }
}

fn body_of(message: &DownMessage) -> Value {
    let down = encode(message, &head());
    assert_eq!(down.topic, down_topic(message));
    let mut envelope: Value = serde_json::from_slice(&down.payload).unwrap();
    envelope["body"].take()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_envelope_down_is_the_contracts() {
    let down = encode(&DownMessage::Wipe, &head());
    let text = String::from_utf8(down.payload).unwrap();
    assert_eq!(
        text,
        r#"{"v":"1.0","id":"m-1","t":1774000000000,"exp":1774086400000,"trace":"de_x","body":{"op":"wipe"}}"#
    );
    let head = DownHead { exp: None, corr: Some("c-1".to_owned()), ..head() };
    let envelope: Value = serde_json::from_slice(&encode(&DownMessage::Wipe, &head).payload).unwrap();
    assert_eq!((&envelope["exp"], &envelope["corr"]), (&Value::Null, &json!("c-1")));
}

#[test]
fn an_offer_has_every_key_of_the_contracts_example() {
    // The example as the contract prints it.
    let example: Value = serde_json::from_str(r#"{"id":"of_7q2…","rev":1,"kind":"replenish","placement":"home.card","priority":60,
 "valid_from":1773997200000,"expires_at":1774170000000,
 "text":{"locale":"fr-FR","title":"Filtre bientôt usé","body":"Remplacement vers le 29 mars","short":"FILTRE","say":"…"},
 "item":{"product":"flt-20x25","name":"Filtre 20×25 MERV 11","qty":1,"unit":"count","image":null},
 "price":{"item":{"minor":1990,"currency":"EUR"},"delivery":{"minor":0,"currency":"EUR"},"total":{"minor":1990,"currency":"EUR"},"was":null,"tax_incl":true,"lock_until":1774083600000},
 "sold_by":"Enseigne X","ships":{"by":"2026-03-24"},"alternatives":[{"id":"a1","name":"…","total":{"minor":1690,"currency":"EUR"},"sold_by":"…"}],
 "fulfil":["deliver","collect"],"stores":[{"id":"st-12","name":"…","ready":"today"}],
 "actions":["order","snooze","decline","why","open_app"],
 "confirm":{"strength":"press2s","pay_label":"Commander avec obligation de paiement"},
 "legal":{"withdraw_days":14,"terms_id":"t-9","seller_id":"s-4"},
 "why":{"short":"Votre filtre a tourné 612 h"},"continue":"short code","test":false}"#).unwrap();
    let body = body_of(&DownMessage::OfferPut(offer().into()));
    assert_eq!(body["op"], "put");
    let shown = &body["offer"];
    assert_eq!(keys(shown), keys(&example));
    for part in ["text", "item", "price", "confirm", "legal", "why"] {
        assert_eq!(keys(&shown[part]), keys(&example[part]), "{part}");
    }
    for same in [
        "rev",
        "kind",
        "placement",
        "priority",
        "valid_from",
        "expires_at",
        "text",
        "item",
        "price",
        "sold_by",
        "fulfil",
        "actions",
        "confirm",
        "why",
        "test",
    ] {
        assert_eq!(shown[same], example[same], "{same}");
    }
    assert_eq!((&shown["alternatives"], &shown["stores"], &shown["ships"]), (&json!([]), &json!([]), &Value::Null));
    assert_eq!(shown["id"], offer().id.to_string());
    assert_eq!(shown["legal"]["withdraw_days"], 14);
    assert_eq!(*shown, offer_json(&offer()));
}

#[test]
fn a_tip_without_price_keeps_the_shape() {
    let tip = Offer { item: None, price: None, sold_by: None, confirm: None, withdraw_days: None, ..offer() };
    let shown = offer_json(&tip);
    assert_eq!(keys(&shown), keys(&offer_json(&offer())));
    for part in ["item", "price", "sold_by", "confirm", "legal"] {
        assert_eq!(shown[part], Value::Null, "{part}");
    }
}

#[test]
fn a_short_code_is_its_offers_own_and_easy_to_read_out() {
    let code = continue_code(&OfferId([7; 15]));
    assert_eq!(code, continue_code(&OfferId([7; 15])));
    assert_ne!(code, continue_code(&OfferId([8; 15])));
    assert_eq!(code.len(), 8);
    assert!(code.bytes().all(|c| CODE_ALPHABET.contains(&c)), "{code}");
    let used: BTreeSet<u8> = (0..100u8).flat_map(|n| continue_code(&OfferId([n; 15])).into_bytes()).collect();
    assert_eq!(used.len(), CODE_ALPHABET.len(), "every letter comes up");
}

#[test]
fn an_order_can_be_cancelled_while_confirmed_only() {
    let shown = body_of(&DownMessage::Order(order(OrderState::Confirmed).into()));
    let expected = json!({"order": OrderId([3; 15]).to_string(), "offer": OfferId([7; 15]).to_string(), "rev": 1, "state": "confirmed",
        "total": {"minor": 1990, "currency": "EUR"}, "cancel_until": 1774001800000i64, "can": ["cancel"]});
    assert_eq!(shown, expected);
    assert_eq!(order_json(&order(OrderState::Confirmed)), expected);
    for state in OrderState::ALL.iter().filter(|state| **state != OrderState::Confirmed) {
        let shown = order_json(&Order { cancel_until: None, eta: Some("2026-12-01".to_owned()), ..order(*state) });
        assert_eq!((&shown["can"], &shown["state"]), (&json!([]), &json!(state.as_str())));
        assert_eq!((&shown["cancel_until"], &shown["eta"]), (&Value::Null, &json!("2026-12-01")));
    }
}

#[test]
fn small_messages_are_as_the_contract_prints_them() {
    let offer = OfferId([7; 15]);
    for (message, topic, body) in [
        (
            DownMessage::OfferWithdraw { offer, reason: "consent withdrawn".to_owned() },
            "down/offer",
            json!({"op": "withdraw", "offer": offer.to_string(), "reason": "consent withdrawn"}),
        ),
        (
            DownMessage::ClaimCode { code: "7K4Q9XMP".to_owned(), expires_at: Timestamp(1_774_000_600_000) },
            "down/claim",
            json!({"op": "code", "code": "7K4Q-9XMP", "expires_at": 1774000600000i64, "url": null}),
        ),
        (
            DownMessage::ClaimLinked { display_name: "Maison".to_owned() },
            "down/claim",
            json!({"op": "linked", "display_name": "Maison"}),
        ),
        (
            DownMessage::ClaimRefused { error: Code::ClaimExpired },
            "down/claim",
            json!({"op": "refused", "error": "claim.expired"}),
        ),
        (DownMessage::Wipe, "down/lifecycle", json!({"op": "wipe"})),
        (
            DownMessage::Released { receipt: "in_1".to_owned() },
            "down/lifecycle",
            json!({"op": "released", "receipt": "in_1"}),
        ),
        (
            DownMessage::Suspended { reason: "cloned".to_owned() },
            "down/lifecycle",
            json!({"op": "suspended", "reason": "cloned"}),
        ),
        (
            DownMessage::Time { t0: None, t1: Timestamp(1), t2: Timestamp(2) },
            "down/time",
            json!({"t0": null, "t1": 1, "t2": 2}),
        ),
        (
            DownMessage::Reply { about: BTreeMap::from([("why".to_owned(), "612 h".to_owned())]) },
            "down/reply",
            json!({"why": "612 h"}),
        ),
        (
            DownMessage::Doctor {
                findings: vec![("clock".to_owned(), "900 s off".to_owned())],
                known: BTreeMap::from([("model".to_owned(), "th-200".to_owned())]),
                reference: MessageId::new("m-0").ok(),
            },
            "down/doctor",
            json!({"findings": [{"code": "clock", "message": "900 s off"}], "known": {"model": "th-200"}, "ref": {"id": "m-0"}}),
        ),
    ] {
        assert_eq!(down_topic(&message), topic);
        assert_eq!(body_of(&message), body);
    }
}

#[test]
fn an_error_names_the_message_the_full_topic_and_its_documentation() {
    let refusal =
        Refusal { retry_after_seconds: Some(3), ..Refusal::new(Code::SlotUnknown, "no slot `x`").at("/body/slot") };
    let message =
        DownMessage::Error { refusal, reference: MessageId::new("01JD9ZK3").ok(), topic: "up/slot".to_owned() };
    assert_eq!(
        body_of(&message),
        json!({"code": "slot.unknown", "message": "no slot `x`", "ref": {"id": "01JD9ZK3", "topic": "chan/v1/acme/d-42/up/slot"},
            "pointer": "/body/slot", "retry_after_s": 3, "doc": "docs/errors.md#slot-unknown"})
    );
    let bare = DownMessage::Error {
        refusal: Refusal::new(Code::InternalRetry, "x"),
        reference: None,
        topic: "desc".to_owned(),
    };
    let body = body_of(&bare);
    assert_eq!(
        (&body["ref"]["id"], &body["pointer"], &body["retry_after_s"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
}

fn consents() -> Vec<(Purpose, ConsentRecord)> {
    let record = ConsentRecord {
        granted: true,
        at: T,
        source: ConsentSource::Shop,
        method: None,
        text_id: Some("t1".to_owned()),
        expires_at: None,
    };
    vec![(Purpose::OffersDevice, record)]
}

#[test]
fn a_sync_answers_what_was_asked_for_and_all_when_nothing_was() {
    let sync = |want: &[&str]| {
        body_of(&DownMessage::Sync(Box::new(SyncDown {
            t: T,
            zone: Zone::new("Europe/Paris").ok(),
            link: "linked".to_owned(),
            display_name: Some("Maison".to_owned()),
            household: HouseholdId([9; 15]),
            offers: vec![offer()],
            orders: vec![order(OrderState::Submitted)],
            consents: consents(),
            want: want.iter().map(|word| (*word).to_owned()).collect(),
            profile: None,
        })))
    };
    let all = sync(&[]);
    assert_eq!(all, sync(&["time", "link", "offers", "orders", "consent", "state"]));
    let consent = json!({"purpose": "offers.device", "granted": true, "t": 1774000000000i64, "source": "shop", "method": null, "text_id": "t1", "expires_at": null});
    assert_eq!(
        all,
        json!({"t": 1774000000000i64, "zone": "Europe/Paris", "link": {"state": "linked", "display_name": "Maison"},
            "offers": [offer_json(&offer())], "orders": [order_json(&order(OrderState::Submitted))],
            "consents": [consent], "state": {"version": 0, "desired": {}}})
    );
    assert!(!all.to_string().contains("hh_"), "the household stays inside");
    assert_eq!(keys(&sync(&["time", "link", "offers"])), BTreeSet::from(["t", "zone", "link", "offers"]));
    assert_eq!(keys(&sync(&["orders"])), BTreeSet::from(["t", "orders"]));
}

#[test]
fn the_consent_list_is_authoritative() {
    let profile = crate::id::ProfileId::new("p1").ok();
    let message = DownMessage::Consent { consents: consents(), pause_until: Some(T), profile };
    let body = body_of(&message);
    let receipt = body["consents"][0]["receipt"].as_str().unwrap_or_default();
    assert!(receipt.starts_with("cr_"), "each word comes with its proof: {body}");
    assert_eq!(body, body_of(&message), "and the same word with the same one");
    assert_eq!(keys(&body), BTreeSet::from(["consents", "pause_until"]));
    assert_eq!(body["pause_until"], 1774000000000i64);
    assert_eq!(body["consents"][0]["purpose"], "offers.device");
}

#[test]
fn provisioning_answers_carry_the_credential_or_the_code() {
    let head = ProvisionHead { id: "p-1".to_owned(), t: T, trace: "pv".to_owned(), corr: Some("c".to_owned()) };
    let grant = ProvisionGrant {
        device: "acme/d-42".parse().unwrap(),
        secret: "s3cret".to_owned(),
        host: "hub.local".to_owned(),
        port: 1883,
        tls: false,
        telemetry_seconds: 60,
    };
    assert!(!format!("{grant:?}").contains("s3cret"));
    let answer: Value = serde_json::from_slice(&encode_provision(&Ok(grant), &head)).unwrap();
    assert_eq!((&answer["v"], &answer["id"], &answer["corr"]), (&json!("1.0"), &json!("p-1"), &json!("c")));
    assert_eq!(
        answer["body"],
        json!({"device": "d-42", "username": "acme/d-42", "secret": "s3cret", "broker": {"host": "hub.local", "port": 1883, "tls": false}, "policy": {"telemetry_s": 60}})
    );
    let refused = Err(Refusal::new(Code::ProvSerialUnknown, "serial `X` is not on the list"));
    let answer: Value = serde_json::from_slice(&encode_provision(&refused, &head)).unwrap();
    assert_eq!(answer["body"]["error"]["code"], "prov.serial_unknown");
    assert_eq!(answer["body"]["error"]["message"], "serial `X` is not on the list");
}
