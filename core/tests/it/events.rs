//! What is told to systems outside, story by story.

use hearthway_core::event_out::{EventOut, EventType, EventTypes, Wanted, events};
use hearthway_core::id::{MakerId, OfferId, ProfileId, RetailerId};
use hearthway_core::input::{Answer, Command};
use hearthway_core::model::{OrderState, Purpose, Tenant};
use hearthway_core::time::Span;
use serde_json::{Value, json};

use crate::transcript::{used, with_cancel_window};
use crate::world::{World, shop, thermostat};

/// What the shop was told since the story last looked.
fn told(world: &mut World) -> Vec<EventOut> {
    let told: Vec<EventOut> = world.told.drain(..).collect();
    told.into_iter().filter(|event| event.to == Tenant::Retailer(shop())).collect()
}

fn kinds(told: &[EventOut]) -> Vec<&'static str> {
    told.iter().map(|event| event.kind.as_str()).collect()
}

fn offered(world: &mut World) -> OfferId {
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    world.offers_put(&thermostat()).remove(0).id
}

fn press(world: &mut World, offer: OfferId, answer: &str) {
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"{answer}","nonce":"n-1"}}"#);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
}

#[test]
fn an_order_is_requested_when_its_cancel_window_closes_and_not_before() {
    let mut world = World::at_home(&with_cancel_window("30 min"));
    told(&mut world);
    let offer = offered(&mut world);
    let body = format!(r#"{{"offer":"{offer}","rev":1,"state":"shown"}}"#);
    world.up(&thermostat(), "up/offer/receipt", &body).unwrap();
    press(&mut world, offer, "accept");
    let heard = told(&mut world);
    assert_eq!(kinds(&heard), ["offer.sent", "offer.shown", "offer.answered", "order.status"]);
    assert_eq!((&heard[2].data["state"], &heard[2].data["cause"]), (&json!("accepted"), &json!("device")));
    assert_eq!(heard[3].data["state"], "confirmed");
    world.pass(Span::minutes(29));
    assert_eq!(told(&mut world), []);
    world.pass(Span::minutes(2));
    let heard = told(&mut world);
    assert_eq!(kinds(&heard), ["order.requested"]);
    let home = world.home_of(&thermostat()).id;
    assert_eq!((heard[0].subject.clone(), heard[0].household), (home.to_string(), Some(home)));
    let order = world.orders()[0].clone();
    let data = &heard[0].data;
    assert_eq!(data["order"], json!(order.id));
    assert_eq!(data["total"], json!({"minor": order.total.minor, "currency": "EUR"}));
    assert_eq!(data["lines"][0]["product"], json!("flt-20x25"));
    assert_eq!(
        (&data["profile"], &data["device"], &data["slot"]),
        (&json!("p1"), &json!("d-42"), &json!("air_filter"))
    );
    let status = |rev, state| Command::SetOrderStatus { order: order.id, rev, state, eta: None };
    world.command(&thermostat(), status(order.rev + 1, OrderState::Shipped)).unwrap();
    let heard = told(&mut world);
    assert_eq!((kinds(&heard), &heard[0].data["state"]), (vec!["order.status"], &json!("shipped")));
}

#[test]
fn a_cancellation_says_whether_the_shop_had_the_order() {
    let mut world = World::at_home(&with_cancel_window("30 min"));
    let offer = offered(&mut world);
    press(&mut world, offer, "accept");
    told(&mut world);
    press_no(&mut world, offer);
    let heard = told(&mut world);
    assert_eq!((kinds(&heard), &heard[0].data["requested"]), (vec!["order.cancelled"], &json!(false)));
    world.pass(Span::days(1));
    assert_eq!(told(&mut world), [], "what was cancelled is never requested");
}

fn press_no(world: &mut World, offer: OfferId) {
    let profile = Some(ProfileId::new("p1").unwrap());
    let answer = Command::AnswerOffer { offer, rev: 1, answer: Answer::Decline, channel: "app".into(), profile };
    world.command(&thermostat(), answer).unwrap();
}

#[test]
fn a_device_is_told_from_its_registration_to_its_release() {
    let mut world = World::with("");
    let device = thermostat();
    world.register(&device);
    world.up(&device, "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&device, "p1", &[Purpose::OffersDevice]);
    world.up(&device, "presence", r#"{"state":"lost","epoch":1}"#).unwrap();
    world.up(&device, "presence", r#"{"state":"lost","epoch":1}"#).unwrap();
    world.command(&device, Command::Suspend { reason: "stolen".into() }).unwrap();
    world.command(&device, Command::Release).unwrap();
    let of = |to: &Tenant, world: &World| -> Vec<&'static str> {
        world.told.iter().filter(|event| event.to == *to).map(|event| event.kind.as_str()).collect()
    };
    let maker = Tenant::Maker(MakerId::new("acme").unwrap());
    let health = "device.health_changed";
    assert_eq!(of(&maker, &world), ["device.registered", "device.linked", "device.lost", health, "device.released"]);
    // What was consented to with the claim is told as well.
    let told = ["consent.changed", "device.linked", "device.lost", health, "device.released"];
    assert_eq!(of(&Tenant::Retailer(shop()), &world), told);
    let of_shop = |kind: EventType| {
        world.told.iter().find(|event| event.kind == kind && event.to == Tenant::Retailer(shop())).unwrap()
    };
    let linked = of_shop(EventType::DeviceLinked);
    assert_eq!((&linked.data["profile"], &linked.data["role"]), (&json!("p1"), &json!("owner")));
    assert_eq!(linked.subject, "acme/d-42");
    assert_eq!(of_shop(EventType::DeviceReleased).data["links"], json!([linked.data["link"]]));
    assert_eq!(of_shop(EventType::DeviceHealthChanged).data["health"], json!(["suspended"]));
}

#[test]
fn a_slot_is_low_once_and_refilled_once() {
    let mut world = World::at_home("");
    told(&mut world);
    for (hours, expected) in
        [(100, vec![]), (647, vec![]), (649, vec!["slot.low"]), (700, vec![]), (3, vec!["slot.refilled"]), (20, vec![])]
    {
        world.now = world.now + Span::hours(30);
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
        let heard = told(&mut world);
        assert_eq!(kinds(&heard), expected, "{hours}");
        if let Some(event) = heard.first() {
            let data = &event.data;
            assert_eq!(
                (&data["slot"], &data["used"], &data["unit"]),
                (&json!("air_filter"), &json!(f64::from(hours)), &json!("h"))
            );
        }
    }
}

#[test]
fn a_consent_is_told_when_it_changes_and_a_withdrawal_takes_the_offer_along() {
    let mut world = World::at_home(&with_cancel_window("0 s"));
    let offer = offered(&mut world);
    told(&mut world);
    let profile = ProfileId::new("p1").unwrap();
    world.now = world.now + Span::minutes(1);
    let records = vec![(Purpose::OffersDevice, world.word(false))];
    world.command(&thermostat(), Command::SetConsents { profile: profile.clone(), records: records.clone() }).unwrap();
    let heard = told(&mut world);
    assert_eq!(kinds(&heard), ["consent.changed", "offer.withdrawn"]);
    let data = &heard[0].data;
    assert_eq!(
        (&data["profile"], &data["purpose"], &data["granted"]),
        (&json!("p1"), &json!("offers.device"), &json!(false))
    );
    assert_eq!((&heard[1].data["offer"], &heard[1].data["cause"]), (&json!(offer), &json!("consent withdrawn")));
    world.command(&thermostat(), Command::SetConsents { profile, records }).unwrap();
    assert_eq!(told(&mut world), [], "the same word again is no news");
}

#[test]
fn an_offer_that_nobody_answers_is_told_as_expired() {
    let mut world = World::at_home(&with_cancel_window("0 s"));
    offered(&mut world);
    told(&mut world);
    world.pass(Span::days(40));
    assert_eq!(kinds(&told(&mut world)), ["offer.expired"]);
}

#[test]
fn an_event_is_a_cloud_event_with_all_that_the_standard_asks() {
    let mut world = World::at_home("");
    let event = world.told.remove(0);
    let body: Value = serde_json::from_slice(&event.body()).unwrap();
    let object = body.as_object().unwrap();
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(names, ["data", "datacontenttype", "id", "source", "specversion", "subject", "time", "type"]);
    assert_eq!((&body["specversion"], &body["source"]), (&json!("1.0"), &json!("/makers/acme")));
    assert_eq!((&body["id"], &body["type"]), (&json!(event.id), &json!("device.registered")));
    assert_eq!(body["time"], event.at.to_string());
}

/// Hears of orders of one shop and nothing else.
struct OneShop;

impl Wanted for OneShop {
    fn by_retailer(&self, retailer: &RetailerId) -> EventTypes {
        let wanted = [EventType::OrderRequested];
        if *retailer == shop() { wanted.into_iter().collect() } else { EventTypes::NONE }
    }
    fn by_maker(&self, _: &MakerId) -> EventTypes {
        EventTypes::NONE
    }
}

#[test]
fn only_what_somebody_wants_is_made_and_its_id_does_not_depend_on_who_listens() {
    let mut world = World::at_home(&with_cancel_window("0 s"));
    let offer = offered(&mut world);
    let home = world.home_of(&thermostat()).clone();
    told(&mut world);
    press(&mut world, offer, "accept");
    let all = told(&mut world);
    let (_, input) = world.log.last().unwrap();
    let decision = hearthway_core::decide::decide(&home, input, &world.rules, input.received_at);
    let few = events(&home, input, &decision, &world.rules, &OneShop);
    assert_eq!(kinds(&few), ["order.requested"]);
    let same = all.iter().find(|event| event.kind == EventType::OrderRequested).unwrap();
    assert_eq!(few[0], *same);
}
