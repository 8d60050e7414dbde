//! Inputs that the rules fail on.

use super::*;

fn refused_for_good(outcome: Outcome) {
    match outcome {
        Outcome::Committed(Err(refusal)) => assert_eq!(refusal.code, Code::PayloadInvalid),
        other => panic!("a poison message is answered and does not come again: {other:?}"),
    }
}

impl Home {
    fn quarantined(&self) -> Vec<QuarantineRow> {
        let rows = self.engine.quarantined(&"acme".parse().unwrap(), None, 100).unwrap();
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

#[test]
fn a_poison_message_is_on_disk_for_its_maker_before_it_is_acknowledged_and_survives_a_restart() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    let before = home.facts(HouseholdId::prospect(&device)).unwrap();
    let mut outcome = home.say(&device, "m-1", event("poison"));
    home.decide_all();
    assert!(is_open(&mut outcome), "not before the disk has it");
    assert!(home.heard().is_empty());
    home.settle();
    refused_for_good(taken(outcome));
    assert_eq!(home.facts(HouseholdId::prospect(&device)), Some(before), "it changed nothing");
    let told = home.heard();
    assert!(told.iter().any(|told| &*told.topic == "down/error"), "its sender is told: {told:?}");
    home.crash();
    let kept = home.quarantined();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].is_fault_of_gateway && kept[0].device == device && kept[0].topic == "up/event");
    assert!(!kept[0].excerpt.contains("poison"), "values are not shown: {}", kept[0].excerpt);
    // A device that sends it again gets the same answer, and nothing goes round in circles.
    let outcome = home.say(&device, "m-1", event("poison"));
    home.settle();
    refused_for_good(taken(outcome));
    let outcome = home.say(&device, "m-2", temperature(16.0));
    home.settle();
    assert_eq!(taken(outcome), Outcome::Committed(Ok(Reply::Done)), "the shard lives on");
}

#[test]
fn a_poison_message_that_cannot_be_kept_is_not_acknowledged() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.store.fails.store(true, Ordering::Relaxed);
    let outcome = home.say(&device, "m-1", event("poison"));
    home.settle();
    assert!(matches!(taken(outcome), Outcome::Failed(_)));
    home.store.fails.store(false, Ordering::Relaxed);
    let outcome = home.say(&device, "m-1", event("poison"));
    home.settle();
    refused_for_good(taken(outcome));
}

#[test]
fn a_message_that_fails_half_way_leaves_nothing_of_itself() {
    let home = Home::with(Settings { shards: 1, ..Settings::default() });
    let (device, other) = (home.registered("acme/d-1"), home.registered("acme/d-2"));
    let before = home.facts(HouseholdId::prospect(&device)).unwrap();
    // Decided and not on disk when the poison comes: it is turned away to come again.
    let earlier = home.say(&other, "m-1", temperature(16.0));
    let poison = home.say(&device, "m-1", temperature(HALF_WAY));
    home.settle();
    assert!(matches!(taken(earlier), Outcome::Failed(_)));
    refused_for_good(taken(poison));
    assert_eq!(home.facts(HouseholdId::prospect(&device)), Some(before));
    let again = home.say(&other, "m-1", temperature(16.0));
    let next = home.say(&device, "m-2", temperature(17.0));
    home.settle();
    assert_eq!(taken(again), Outcome::Committed(Ok(Reply::Done)));
    assert_eq!(taken(next), Outcome::Committed(Ok(Reply::Done)));
    for device in [&device, &other] {
        let household = HouseholdId::prospect(device);
        assert_eq!(home.engine.replay(household).unwrap().differences, []);
    }
}

#[tokio::test]
async fn a_shards_thread_outlives_a_poison_message() {
    let store = Arc::new(TestStore::default());
    let settings = Settings { shards: 1, ..Settings::default() };
    let clock = Arc::new(crate::clock::SystemClock);
    let engine = Engine::start_with(settings, clock, store.clone(), book(), decider()).unwrap();
    let device: DeviceKey = "acme/d-1".parse().unwrap();
    let model = ModelId::new("th-200").unwrap();
    let register = Command::Register { model, serial: None, generation: 1 };
    let input = engine.command(Some(device.clone()), &[b"register"], register);
    engine.call(Target::Device(device.clone()), input).await;
    for (n, message) in
        [event("poison"), temperature(16.0), temperature(HALF_WAY), temperature(17.0)].into_iter().enumerate()
    {
        let mut input = engine.command(Some(device.clone()), &[&n.to_be_bytes()], Command::CredentialUsed);
        input.what = What::Device(message);
        let outcome = engine.call(Target::Device(device.clone()), input).await;
        match n % 2 {
            0 => refused_for_good(outcome),
            _ => assert_eq!(outcome, Outcome::Committed(Ok(Reply::Done))),
        }
    }
    assert_eq!(engine.quarantined(&"acme".parse().unwrap(), None, 10).unwrap().len(), 2);
    engine.drain().await;
}
