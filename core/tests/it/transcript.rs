//! The session of the device contract, step by step, without a gateway.

use hearthway_core::decision::Reply;
use hearthway_core::input::Command;
use hearthway_core::model::{OrderState, Purpose};
use hearthway_core::time::Span;
use hearthway_core::trace::{StepVerdict, Verdict};
use hearthway_core::wire::DownMessage;

use crate::world::{World, thermostat};

/// The trigger of the transcript: no quiet hours, no hour condition.
pub const FILTER_WORN: &str = r#"
[[trigger]]
id   = "filter-worn"
kind = "offer"
[trigger.on]
event = "slot"
device = { kind = "thermostat" }
slot = "air_filter"
field = "used"
rises_above = "600 h"
rearm = "50 h"
[trigger.offer]
product = "flt-20x25"
cancel_window = "0 s"
actions = ["order", "snooze", "decline", "why"]
[trigger.offer.text.fr]
title = "Filtre bientôt usé"
body = "{{ product.name }}, {{ price.total }}."
why = "Votre filtre a fonctionné {{ slot.used }}."
[trigger.offer.text.en]
title = "Filter nearly worn"
body = "{{ product.name }}, {{ price.total }}."
why = "Your filter has run for {{ slot.used }}."
"#;

pub fn with_cancel_window(window: &str) -> String {
    FILTER_WORN.replace(r#"cancel_window = "0 s""#, &format!(r#"cancel_window = "{window}""#))
}

pub fn used(hours: u32) -> String {
    format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours},"capacity":720,"unit":"h"}}"#)
}

fn claim(world: &mut World) {
    let device = thermostat();
    world.up(&device, "up/claim", r#"{"op":"start","presence":true,"show":"code"}"#).unwrap();
    let heard = world.heard(&device);
    let [DownMessage::ClaimCode { code, .. }] = &heard[..] else {
        panic!("a start is answered with a code: {heard:?}")
    };
    let code = code.clone();
    let join = world.join("p1", &[Purpose::OffersDevice]);
    let linked = world.command(&device, Command::ConfirmClaim { code, join }).unwrap();
    assert!(matches!(linked, Reply::Linked { .. }), "{linked:?}");
    let heard = world.heard(&device);
    assert!(matches!(&heard[..], [DownMessage::ClaimLinked { display_name }] if display_name == "Maison"), "{heard:?}");
}

fn until_the_offer(world: &mut World) -> hearthway_core::model::Offer {
    let device = thermostat();
    world.register(&device);
    world.up(&device, "presence", r#"{"state":"online","epoch":17,"fw":"2.1.0"}"#).unwrap();
    world.up(&device, "desc", r#"{"model":"th-200","kind":"thermostat","slots":[{"slot":"air_filter","kind":"usage","unit":"h","capacity":720}],"placements":[{"id":"home.card","title_max":40,"body_max":160}],"locales":["fr","en"],"confirm":["press2s"]}"#).unwrap();
    world.up(&device, "up/sync", r#"{"want":["time","link","offers"],"have":{"offers":[]}}"#).unwrap();
    let heard = world.heard(&device);
    let [DownMessage::Sync(sync)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((sync.link.as_str(), sync.offers.len()), ("none", 0));
    claim(world);
    world.up(&device, "up/slot", &used(590)).unwrap();
    assert!(world.heard(&device).is_empty(), "590 h is no edge");
    world.up(&device, "up/slot", &used(612)).unwrap();
    let offers = world.offers_put(&device);
    assert_eq!(offers.len(), 1, "{:#?}", world.traces);
    offers.into_iter().next().unwrap()
}

#[test]
fn the_transcript_ends_in_a_delivered_order_and_a_wiped_device() {
    let mut world = World::with(FILTER_WORN);
    let device = thermostat();
    let offer = until_the_offer(&mut world);
    assert_eq!(offer.text.title, "Filtre bientôt usé");
    assert_eq!(
        offer.text.body,
        "Filtre 20×25, 19,90 €.".replace("19,90 €", &offer.price.as_ref().map(|_| price_text(&offer)).unwrap())
    );
    assert_eq!(offer.sold_by.as_deref(), Some("Enseigne X"));
    assert_eq!(offer.confirm.as_ref().unwrap().0, "press2s");

    for state in ["delivered", "shown"] {
        world
            .up(&device, "up/offer/receipt", &format!(r#"{{"offer":"{}","rev":1,"state":"{state}"}}"#, offer.id))
            .unwrap();
    }
    let accept = format!(
        r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n-1","choice":{{"qty":1,"fulfil":"deliver"}}}}"#,
        offer.id
    );
    world.up(&device, "up/offer/answer", &accept).unwrap();
    let heard = world.heard(&device);
    let [DownMessage::Order(order)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((order.state, order.rev, order.cancel_until, order.total.minor), (OrderState::Submitted, 1, None, 1990));

    let id = order.id;
    for (rev, state) in [(2, OrderState::Shipped), (3, OrderState::Delivered)] {
        world.command(&device, Command::SetOrderStatus { order: id, rev, state, eta: None }).unwrap();
        let heard = world.heard(&device);
        assert!(
            matches!(&heard[..], [DownMessage::Order(order)] if order.rev == rev && order.state == state),
            "{heard:?}"
        );
    }

    world.command(&device, Command::Release).unwrap();
    let heard = world.heard(&device);
    assert!(matches!(&heard[..], [DownMessage::Wipe]), "{heard:?}");
    world.up(&device, "up/lifecycle", r#"{"op":"wiped"}"#).unwrap();
    let heard = world.heard(&device);
    assert!(matches!(&heard[..], [DownMessage::Released { .. }]), "{heard:?}");
    let home = world.home_of(&device);
    assert!(home.members.is_empty() && home.offers.is_empty() && home.devices[&device].slots.is_empty());
    assert_eq!(world.orders().len(), 1, "the order stays with those who made it");
}

fn price_text(offer: &hearthway_core::model::Offer) -> String {
    let text = offer.text.body.strip_prefix("Filtre 20×25, ").unwrap().strip_suffix('.').unwrap();
    assert!(text.contains("19") && text.contains("90"), "{text}");
    text.to_owned()
}

#[test]
fn a_cancel_window_holds_the_order_back_until_it_closes() {
    let mut world = World::with(&with_cancel_window("30 min"));
    let device = thermostat();
    let offer = until_the_offer(&mut world);
    world
        .up(
            &device,
            "up/offer/answer",
            &format!(r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n-1"}}"#, offer.id),
        )
        .unwrap();
    let heard = world.heard(&device);
    let [DownMessage::Order(order)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((order.state, order.cancel_until), (OrderState::Confirmed, Some(world.now + Span::minutes(30))));
    world.pass(Span::minutes(31));
    let heard = world.heard(&device);
    let [DownMessage::Order(order)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((order.state, order.rev), (OrderState::Submitted, 2));
}

#[test]
fn a_sent_offer_explains_every_step() {
    let mut world = World::with(FILTER_WORN);
    until_the_offer(&mut world);
    let trace = world.last_trace();
    assert_eq!((trace.verdict, trace.first_block), (Verdict::Sent, None));
    let steps: Vec<&str> = trace.steps.iter().map(|step| step.step.as_str()).collect();
    let all: Vec<&str> = hearthway_core::trace::Step::ALL.iter().map(|step| step.as_str()).collect();
    assert_eq!(steps, all, "every step is in the trace, in the order of evaluation");
    assert!(trace.steps.iter().all(|step| matches!(step.verdict, StepVerdict::Pass | StepVerdict::NotConfigured)));
    assert!(trace.steps.iter().all(|step| !step.reason.is_empty()));
}
