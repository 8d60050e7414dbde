//! Sessions played without a network: a small gateway in this file answers them on virtual time.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use device_sim::fleet::Fleet;
use device_sim::link::Heard;
use device_sim::oracle::{Finding, Oracle};
use device_sim::session::{Session, Stage, Wish};
use device_sim::{Happening, Soon};
use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};

const FLEET: &str = r#"
seed = 11
days = 12
[[cause]]
model = "th-200"
slot = "air_filter"
field = "used"
rises_above = 600.0
product = "flt"
[[homes]]
id = "flat"
count = 3
zone = "Europe/Paris"
people = [{ id = "ada", role = "owner", accept = 0.9, decline = 0.1 }]
[[homes.devices]]
persona = "thermostat"
model = "th-200"
wear = 0.8
wear_spread = 0.02
faults = { offline = ["P1D/PT5H"], loss = 0.05, duplicate = 0.1, delay = 0.05, reorder = 0.1, reset_at = "P9D" }
"#;

/// How the gateway of this file goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Flaw {
    #[default]
    None,
    ForgetsAccepts,
    OffersTwice,
    OrdersTwice,
    OffersToStrangers,
    NeverSyncs,
}

/// Answers like a gateway, for one device, at once.
#[derive(Default)]
struct Gateway {
    flaw: Flaw,
    linked: bool,
    used: f64,
    seen: BTreeMap<String, ()>,
    offers: u64,
    pending: Vec<Heard>,
    bootstrap: bool,
    root: String,
}

impl Gateway {
    fn say(&mut self, now: Timestamp, tail: &str, body: Value) {
        let message = json!({"v": "1.0", "id": "g", "t": now.0, "body": body});
        let payload = message.to_string().into_bytes();
        self.pending.push(Heard::Message { topic: format!("{}/down/{tail}", self.root), payload });
    }

    fn offer(&mut self, now: Timestamp) {
        self.offers += 1;
        let offer = json!({"id": format!("of_{}_{}", self.root, self.offers), "rev": 1, "kind": "offer",
            "expires_at": (now + Span::days(2)).0, "text": {"title": "Filtre"}, "item": {"product": "flt", "name": "Filtre"},
            "price": {"total": {"minor": 1990, "currency": "EUR"}}, "actions": ["order", "decline"]});
        self.say(now, "offer", json!({"op": "put", "offer": offer}));
    }

    fn publish(&mut self, now: Timestamp, topic: &str, payload: &[u8], ticket: u64) {
        let message: Value = serde_json::from_slice(payload).unwrap();
        let id = message["id"].as_str().unwrap().to_owned();
        let body = &message["body"];
        if topic.contains("/_prov/") {
            let name = format!("d-{}", body["serial"].as_str().unwrap().to_lowercase());
            self.root = format!("chan/v1/acme/{name}");
            let body = json!({"device": name, "username": format!("acme/{name}"), "secret": "s"});
            let payload = json!({"v": "1.0", "id": "g", "body": body}).to_string().into_bytes();
            self.pending.push(Heard::Message { topic: topic.replace("/req", "/res"), payload });
            return;
        }
        self.pending.push(Heard::Acked { ticket, refused: None });
        if self.seen.insert(id, ()).is_some() {
            return;
        }
        match topic.strip_prefix(&self.root).unwrap() {
            "/up/sync" if self.flaw != Flaw::NeverSyncs => {
                let state = if self.linked { "linked" } else { "none" };
                let body = json!({"t": now.0, "link": {"state": state}, "offers": [], "orders": []});
                self.say(now, "sync", body);
            }
            "/up/claim" => self.say(now, "claim", json!({"op": "code", "code": "7K4Q-9XMP"})),
            "/up/slot" => {
                let used = body["used"].as_f64().unwrap();
                let crossed = self.used > 0.0 && self.used <= 600.0 && used > 600.0;
                self.used = used;
                if crossed && (self.linked || self.flaw == Flaw::OffersToStrangers) {
                    self.offer(now);
                    if self.flaw == Flaw::OffersTwice {
                        self.offer(now);
                    }
                }
            }
            "/up/offer/answer" if body["answer"] == "accept" && self.flaw != Flaw::ForgetsAccepts => {
                for n in 0..if self.flaw == Flaw::OrdersTwice { 2 } else { 1 } {
                    let order = format!("or_{}_{n}", body["offer"].as_str().unwrap());
                    let body =
                        json!({"order": order, "offer": body["offer"], "rev": 1, "state": "submitted", "can": []});
                    self.say(now, "order", body);
                }
            }
            "/up/lifecycle" => self.linked = false,
            _ => {}
        }
    }
}

/// Plays a fleet on virtual time; gives the happenings and the findings.
fn play(text: &str, flaw: Flaw) -> (Vec<String>, Vec<Finding>) {
    let fleet = Fleet::parse("test.toml", text).unwrap();
    let start = Timestamp::parse_rfc3339("2026-01-12T06:00:00+01:00").unwrap();
    let stage =
        Arc::new(Stage { seed: fleet.seed, start, tag: String::new(), stamps: true, causes: fleet.causes.clone() });
    let mut oracle = Oracle::new(&fleet, true);
    let mut sessions = Vec::new();
    for home in fleet.homes.iter().cloned().map(Arc::new) {
        for device in home.devices.clone() {
            let session = Session::new(home.clone(), device, stage.clone(), Some("boot".into()), None);
            sessions.push((session, Gateway { flaw, ..Gateway::default() }));
        }
    }
    let mut story = Vec::new();
    let end = start + fleet.length;
    loop {
        let next =
            sessions.iter().enumerate().filter_map(|(n, (session, _))| session.wakes_at().map(|at| (at, n))).min();
        let Some((now, n)) = next.filter(|(at, _)| *at < end) else { break };
        let mut wishes = Vec::new();
        sessions[n].0.wake(now, &mut wishes);
        settle(&mut sessions[n], now, wishes, &mut oracle, &mut story);
    }
    for pair in &mut sessions {
        let mut wishes = Vec::new();
        pair.0.drain(end, &mut wishes);
        settle(pair, end, wishes, &mut oracle, &mut story);
        assert!(pair.0.is_done(), "what waits is sent when the story ends");
    }
    (story, oracle.conclude().0)
}

fn settle(
    (session, gateway): &mut (Session, Gateway),
    now: Timestamp,
    mut wishes: Vec<Wish>,
    oracle: &mut Oracle,
    story: &mut Vec<String>,
) {
    loop {
        for wish in std::mem::take(&mut wishes) {
            match wish {
                Wish::Open(identity) => {
                    gateway.bootstrap = identity.username.ends_with("_bootstrap");
                    gateway.pending.push(Heard::Open);
                }
                Wish::Subscribe(_) => gateway.pending.push(Heard::Subscribed { granted: true }),
                Wish::Publish { topic, payload, ticket } => gateway.publish(now, &topic, &payload, ticket),
                Wish::Leave | Wish::Cut => gateway.pending.clear(),
                Wish::Confirm(_) => {
                    gateway.linked = true;
                    gateway.say(now, "claim", json!({"op": "linked", "display_name": "Maison"}));
                }
                Wish::Advance { .. } => {}
                Wish::Named(name) => oracle.named(session.serial(), &name),
                Wish::Fact(fact) => oracle.observe(session.serial(), now, fact),
                Wish::Tell(happening) => {
                    let scene = happening.scene();
                    story.push(format!("{} {} {} {happening}", scene.at, scene.home, happening.word()));
                }
            }
        }
        if gateway.pending.is_empty() {
            return;
        }
        let heard = gateway.pending.remove(0);
        session.hear(now, heard, &mut wishes);
    }
}

fn rules(findings: &[Finding]) -> Vec<&str> {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_seed_another() {
    let (story, findings) = play(FLEET, Flaw::None);
    assert_eq!(findings, [], "a gateway that keeps its word is not blamed");
    assert_eq!(play(FLEET, Flaw::None).0, story);
    assert_ne!(play(&FLEET.replace("seed = 11", "seed = 12"), Flaw::None).0, story);
}

#[test]
fn a_story_has_its_beginning_its_offers_and_its_reset() {
    let (story, _) = play(FLEET, Flaw::None);
    for word in ["registered", "claim_code", "linked", "offer_shown", "answered", "order_changed", "reset", "offline"] {
        let told = story.iter().filter(|line| line.split(' ').nth(2) == Some(word)).count();
        assert!(told >= 3, "{word} was told {told} times in three homes");
    }
}

#[test]
fn a_gateway_that_breaks_its_word_is_found_out() {
    for (flaw, rule) in [
        (Flaw::ForgetsAccepts, "accept.unanswered"),
        (Flaw::OffersTwice, "offer.doubled"),
        (Flaw::OrdersTwice, "order.doubled"),
        (Flaw::NeverSyncs, "sync.unanswered"),
    ] {
        let (_, findings) = play(FLEET, flaw);
        assert!(rules(&findings).contains(&rule), "{flaw:?} gave {findings:?}");
    }
    let strangers = FLEET.replace("count = 3", "count = 3\nclaim_after = \"never\"");
    let (_, findings) = play(&strangers, Flaw::OffersToStrangers);
    assert_eq!(rules(&findings), ["offer.without_link"]);
}

/// The library's entry is what a host can build on: this is the smallest host.
#[test]
fn a_host_writes_a_customer_in_a_few_lines() {
    struct Nobody;
    impl device_sim::Customer for Nobody {
        fn confirm<'a>(&'a self, _: &'a str, _: &'a device_sim::fleet::Home) -> Soon<'a, Result<(), String>> {
            Box::pin(async { Err("not at home".into()) })
        }
    }
    fn entry(fleet: Fleet, events: tokio::sync::mpsc::Sender<Happening>) -> impl Future<Output = device_sim::Summary> {
        let clock = Arc::new(device_sim::PacedClock::start(Timestamp(0), 60));
        device_sim::run(fleet, device_sim::Target::local(1883), Arc::new(Nobody), clock, events)
    }
    let _ = entry;
}
