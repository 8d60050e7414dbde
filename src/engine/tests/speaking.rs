//! The outbox and the timers.

use super::*;

#[test]
fn a_message_waits_until_its_device_listens_and_goes_when_it_is_acknowledged() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "c1", DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true }));
    home.settle();
    assert_eq!(home.count(&keys::outbox_of(&device)), 1);
    home.crash();
    home.listen(&device);
    home.engine.reachable(&device);
    home.settle();
    let heard = home.heard();
    assert_eq!(heard.iter().map(|delivery| &*delivery.topic).collect::<Vec<_>>(), ["down/claim"]);
    home.engine.reachable(&device);
    home.settle();
    assert_eq!(home.heard(), heard, "not acknowledged: the same again at the next connection");
    home.engine.delivered(&device, heard[0].n);
    home.engine.step_time();
    home.settle();
    assert_eq!(home.count(&keys::outbox_of(&device)), 0);
    home.engine.reachable(&device);
    home.settle();
    assert_eq!(home.heard(), []);
}

#[test]
fn nothing_is_said_before_its_commit_is_durable() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    home.say(&device, "p1", event("put"));
    home.decide_all();
    assert_eq!(home.heard(), []);
    home.store.fails.store(true, Ordering::Relaxed);
    home.engine.step_writer();
    assert_eq!(home.heard(), [], "and never when it failed");
    home.store.fails.store(false, Ordering::Relaxed);
    home.engine.reachable(&device);
    home.settle();
    assert_eq!(home.heard(), [], "nor later");
    home.say(&device, "p1", event("put"));
    home.settle();
    assert_eq!(home.heard().len(), 1);
}

#[test]
fn a_waiting_offer_is_decided_again_before_it_is_sent() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "p1", event("put"));
    home.settle();
    let waiting = home.store.scan(&keys::outbox_of(&device), None, 10).unwrap();
    home.listen(&device);
    home.engine.reachable(&device);
    home.settle();
    let heard = home.heard();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].n > keys::number_of(&waiting[0].0), "another row, of another decision");
    assert_eq!(home.count(&keys::outbox_of(&device)), 1, "the first one is gone");
    let last = home.log(HouseholdId::prospect(&device)).pop().unwrap();
    let What::Reachable { waiting } = last.input.what else { panic!("{:?}", last.input.what) };
    assert_eq!(waiting, [OfferId::derived(&[b"offer"])]);
}

#[test]
fn a_row_taken_back_before_its_delivery_is_not_delivered() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    home.say(&device, "p1", event("put"));
    home.say(&device, "p2", event("drop"));
    home.settle();
    assert_eq!(home.heard(), []);
    assert_eq!(home.count(&keys::outbox_of(&device)), 0);
}

#[test]
fn an_outbox_keeps_its_newest_hundred_rows_and_its_bytes_bound() {
    let home = Home::with(Settings { snapshot_inputs: 16, ..Settings::default() });
    let device = home.registered("acme/d-1");
    home.say(&device, "c1", DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true }));
    for n in 0..8 {
        home.say(&device, &format!("p{n}"), event("many"));
    }
    home.settle();
    let rows = home.store.scan(&keys::outbox_of(&device), None, 1_000).unwrap();
    assert!(rows.len() <= outbox::ROWS_PER_DEVICE_MAX, "{}", rows.len());
    let bytes: usize = rows.iter().map(|(_, row)| row.len()).sum();
    assert!(bytes <= outbox::BYTES_PER_DEVICE_MAX * 2, "{bytes}");
    let newest = keys::number_of(&rows.last().unwrap().0);
    assert_eq!(newest, 241, "the newest stay");
}

#[test]
fn an_expired_row_is_let_go_when_its_device_returns() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "c1", DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true }));
    home.settle();
    home.turn_clock(Span::hours(1));
    home.listen(&device);
    home.engine.reachable(&device);
    home.settle();
    home.engine.step_time();
    home.settle();
    assert_eq!(home.heard(), []);
    assert_eq!(home.count(&keys::outbox_of(&device)), 0);
}

#[test]
fn numbers_of_rows_grow_over_a_restart_even_when_no_row_is_left() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    home.say(&device, "p1", event("put"));
    home.settle();
    let n = home.heard()[0].n;
    home.engine.delivered(&device, n);
    home.engine.step_time();
    home.settle();
    home.crash();
    home.listen(&device);
    home.say(&device, "p2", event("put"));
    home.settle();
    assert!(home.heard()[0].n > n);
}

#[test]
fn a_deadline_comes_at_its_time_also_after_a_restart() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    home.say(&device, "c1", DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true }));
    home.settle();
    home.crash();
    assert_eq!(home.engine.next_deadline(), Some(START + Span::minutes(10)));
    home.turn_clock(Span::minutes(9));
    home.engine.step_time();
    home.settle();
    assert!(home.facts(household).unwrap().devices[&device].claim.is_some());
    home.turn_clock(Span::minutes(1));
    home.engine.step_time();
    home.settle();
    assert_eq!(home.facts(household).unwrap().devices[&device].claim, None);
    assert_eq!(home.engine.next_deadline(), None);
}

#[test]
fn what_must_stay_is_kept_over_a_restart() {
    use hearthway_core::wire::{PresenceUp, PresenceWord};
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.command(&device, Command::LinkDirectly { join: join() });
    home.settle();
    let household = join().household;
    for (id, state) in [("p1", PresenceWord::Online), ("p2", PresenceWord::Lost)] {
        let said = PresenceUp { state, epoch: None, firmware: None, wake_at: None, is_will: false };
        home.say(&device, id, DeviceMessage::Presence(said));
        home.settle();
    }
    home.crash();
    assert_eq!(home.engine.next_deadline(), Some(START + Span::hours(1)));
    home.turn_clock(Span::minutes(65));
    home.engine.step_time();
    home.settle();
    let rows = home.log(household);
    let candidate = &rows.last().unwrap().candidates[0];
    assert_eq!(candidate.trigger.as_str(), "lost-for-an-hour");
    assert_eq!(
        candidate.steps[1].in_words(hearthway_core::words::Tongue::En),
        "The value stayed for 1 hour; that was full 5 minutes ago."
    );
    assert_eq!(home.engine.next_deadline(), None, "once");
    home.crash();
    assert_eq!(home.log(household), rows, "the log reads back as it was written");
    assert_eq!(home.facts(household).unwrap().devices[&device].edges.len(), 1);
}

#[test]
fn a_deadline_whose_commit_failed_comes_again() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    home.say(&device, "c1", DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true }));
    home.settle();
    home.turn_clock(Span::minutes(10));
    home.store.fails.store(true, Ordering::Relaxed);
    home.engine.step_time();
    home.settle();
    home.store.fails.store(false, Ordering::Relaxed);
    assert!(home.facts(household).unwrap().devices[&device].claim.is_some());
    home.turn_clock(timers::RETRY);
    home.engine.step_time();
    home.settle();
    assert_eq!(home.facts(household).unwrap().devices[&device].claim, None);
}
