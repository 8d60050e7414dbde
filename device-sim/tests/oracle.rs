//! The oracle, fed with histories in which one thing is wrong.

#![allow(clippy::unwrap_used)]

use device_sim::Fleet;
use device_sim::oracle::{Duty, Fact, Finding, Oracle};
use hearthway_core::time::{Span, Timestamp};
use serde_json::json;

const FLEET: &str = r#"
days = 3
[[cause]]
model = "th-200"
slot = "air_filter"
field = "used"
rises_above = 600.0
[[home]]
id = "one"
zone = "Europe/Paris"
quiet = { from = "21:00", to = "08:00" }
people = [{ id = "p1", role = "owner" }]
[[home.device]]
persona = "thermostat"
model = "th-200"
serial = "A"
[[home]]
id = "two"
zone = "Europe/Paris"
people = [{ id = "p2", role = "owner" }]
[[home.device]]
persona = "thermostat"
model = "th-200"
serial = "B"
"#;

/// A history of device A, at noon unless it says otherwise.
struct History {
    oracle: Oracle,
    now: Timestamp,
    messages: u32,
}

impl History {
    fn new() -> History {
        let fleet = Fleet::parse("f.toml", FLEET).unwrap();
        let now = Timestamp::parse_rfc3339("2026-02-03T12:00:00+01:00").unwrap();
        History { oracle: Oracle::new(&fleet, true), now, messages: 0 }
    }
    /// Linked, consented, and just across the threshold.
    fn crossed() -> History {
        let mut it = History::new();
        it.see("A", Fact::Consented { purposes: vec!["offers.device".into()] });
        it.see("A", Fact::Linked);
        it.used(590.0);
        it.used(612.0);
        it
    }
    fn see(&mut self, device: &str, fact: Fact) {
        self.oracle.observe(device, self.now, fact);
    }
    fn sent(&mut self, duty: Duty) -> String {
        self.messages += 1;
        let id = format!("m{}", self.messages);
        self.see("A", Fact::Sent { id: id.clone(), duty });
        id
    }
    fn acknowledged(&mut self, duty: Duty) -> String {
        let id = self.sent(duty);
        self.see("A", Fact::Acked { id: id.clone() });
        id
    }
    fn used(&mut self, value: f64) -> String {
        self.now = self.now + Span::minutes(1);
        self.acknowledged(Duty::Slot { slot: "air_filter".into(), field: "used".into(), value, at: self.now })
    }
    fn put(&mut self, device: &str, offer: &str) {
        self.put_at(device, offer, self.now);
    }
    fn put_at(&mut self, device: &str, offer: &str, sent_at: Timestamp) {
        let expires_at = Some(self.now + Span::days(1));
        let (offer, kind) = (offer.to_owned(), "offer".to_owned());
        self.see(device, Fact::Put { offer, kind, product: None, expires_at, sent_at, in_sync: false });
    }
    fn rules(self) -> Vec<&'static str> {
        self.findings().into_iter().map(|finding| finding.rule).collect()
    }
    fn findings(self) -> Vec<Finding> {
        self.oracle.conclude().0
    }
}

#[test]
fn a_story_as_it_should_be_has_no_finding() {
    let mut it = History::crossed();
    it.put("A", "of_1");
    it.put("A", "of_1"); // delivered again after a reconnect
    it.acknowledged(Duty::Accept { offer: "of_1".into() });
    it.see("A", Fact::Order { order: "or_1".into(), offer: "of_1".into() });
    it.see("A", Fact::Order { order: "or_1".into(), offer: "of_1".into() });
    it.acknowledged(Duty::Claim);
    it.see("A", Fact::Code);
    it.acknowledged(Duty::Sync);
    it.see("A", Fact::Synced);
    it.oracle.witnessed("A", &[json!({"slot": "air_filter", "used": 612})]);
    assert!(it.oracle.is_settled());
    assert_eq!(it.findings(), []);
}

#[test]
fn an_answer_that_overtakes_its_acknowledgement_counts() {
    let mut it = History::crossed();
    let claim = it.sent(Duty::Claim);
    it.see("A", Fact::Code);
    it.see("A", Fact::Acked { id: claim });
    it.put("A", "of_1");
    let accept = it.sent(Duty::Accept { offer: "of_1".into() });
    it.see("A", Fact::Order { order: "or_1".into(), offer: "of_1".into() });
    it.see("A", Fact::Acked { id: accept });
    assert_eq!(it.findings(), []);
}

#[test]
fn what_was_acknowledged_and_shows_no_effect_is_found() {
    for (duty, rule) in [
        (Duty::Claim, "claim.unanswered"),
        (Duty::Sync, "sync.unanswered"),
        (Duty::Accept { offer: "of_1".into() }, "accept.unanswered"),
    ] {
        let mut it = History::new();
        let id = it.acknowledged(duty.clone());
        assert!(!it.oracle.is_settled());
        let findings = it.findings();
        assert_eq!((findings[0].rule, &findings[0].id, findings.len()), (rule, &id, 1));

        let mut refused = History::new();
        let id = refused.acknowledged(duty);
        refused.see("A", Fact::Refused { id: Some(id) });
        assert_eq!(refused.findings(), [], "a refusal is an effect");
    }
    let mut it = History::new();
    it.sent(Duty::Keep);
    assert_eq!(it.rules(), ["message.unacknowledged"]);
}

#[test]
fn an_acknowledged_report_that_the_gateway_does_not_show_is_lost() {
    for seen in [json!([]), json!([{"slot": "air_filter", "used": 590}])] {
        let mut it = History::crossed();
        it.oracle.witnessed("A", seen.as_array().unwrap());
        assert_eq!(it.rules(), ["report.lost"]);
    }
    let mut refused = History::new();
    let id = refused.used(590.0);
    refused.see("A", Fact::Refused { id: Some(id) });
    refused.oracle.witnessed("A", &[]);
    assert_eq!(refused.findings(), [], "what was refused need not show");
}

#[test]
fn an_offer_without_a_crossing_or_a_second_one_for_it_is_found() {
    let mut it = History::crossed();
    it.put("A", "of_1");
    it.put("A", "of_2");
    assert_eq!(it.rules(), ["offer.doubled"]);

    let mut it = History::new();
    it.see("A", Fact::Consented { purposes: vec!["offers.device".into()] });
    it.see("A", Fact::Linked);
    it.used(612.0); // a first report is no crossing
    it.put("A", "of_1");
    assert_eq!(it.rules(), ["offer.without_cause"]);

    let mut it = History::crossed();
    it.put("A", "of_1");
    it.used(1.0);
    it.used(601.0);
    it.put("A", "of_2");
    assert_eq!(it.findings(), [], "a new filter that wears out is a new cause");
}

#[test]
fn an_offer_without_link_or_consent_is_found() {
    let mut it = History::crossed();
    it.see("A", Fact::Unlinked);
    it.put("A", "of_1");
    assert_eq!(it.rules(), ["offer.without_link"]);

    let mut it = History::new();
    it.see("A", Fact::Linked);
    it.used(590.0);
    it.used(612.0);
    it.put("A", "of_1");
    assert_eq!(it.rules(), ["offer.without_consent"]);

    let mut it = History::crossed();
    it.acknowledged(Duty::Withdrawal { purpose: "offers.device".into() });
    it.put("A", "of_1");
    assert_eq!(it.rules(), ["offer.without_consent"]);

    let mut it = History::crossed();
    it.sent(Duty::Withdrawal { purpose: "offers.device".into() });
    it.put("A", "of_1");
    assert_eq!(it.rules(), ["message.unacknowledged"], "before its acknowledgement a withdrawal binds nobody");
}

#[test]
fn an_offer_after_its_end_after_its_withdrawal_or_in_quiet_hours_is_found() {
    let mut it = History::crossed();
    it.put_at("A", "of_1", it.now + Span::days(1));
    assert_eq!(it.rules(), ["offer.after_expiry"]);

    let mut it = History::crossed();
    it.put("A", "of_1");
    it.see("A", Fact::OfferWithdrawn { offer: "of_1".into() });
    it.put("A", "of_1");
    assert_eq!(it.rules(), ["offer.after_withdrawal"]);

    let mut it = History::crossed();
    it.put_at("A", "of_1", Timestamp::parse_rfc3339("2026-02-03T21:00:00+01:00").unwrap());
    assert_eq!(it.rules(), ["offer.in_quiet_hours"]);
}

#[test]
fn what_came_to_the_wrong_device_or_home_is_found() {
    let mut it = History::crossed();
    it.see("A", Fact::Foreign { topic: "chan/v1/acme/d-9/down/offer".into() });
    assert_eq!(it.rules(), ["message.misrouted"]);

    let mut it = History::crossed();
    it.put("A", "of_1");
    it.see("B", Fact::Consented { purposes: vec!["offers.device".into()] });
    it.see("B", Fact::Linked);
    it.put("B", "of_1");
    assert!(it.rules().contains(&"offer.misrouted"));
}

#[test]
fn one_accept_that_makes_two_orders_is_found() {
    let mut it = History::crossed();
    it.put("A", "of_1");
    it.acknowledged(Duty::Accept { offer: "of_1".into() });
    it.see("A", Fact::Order { order: "or_1".into(), offer: "of_1".into() });
    it.see("A", Fact::Order { order: "or_2".into(), offer: "of_1".into() });
    assert_eq!(it.rules(), ["order.doubled"]);
}
