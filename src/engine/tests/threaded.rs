//! The same with its threads.

use super::*;
use crate::clock::SystemClock;

fn start(store: &Arc<TestStore>) -> Engine {
    let settings = Settings { shards: 3, shard_queue_inputs_max: 4, ..Settings::default() };
    Engine::start_with(settings, Arc::new(SystemClock), store.clone(), book(), decider()).unwrap()
}

async fn register(engine: &Engine, device: &DeviceKey) -> Outcome {
    let model = ModelId::new("th-200").unwrap();
    let command = Command::Register { model, serial: None, generation: 1 };
    let input = engine.command(Some(device.clone()), &[b"register", device.to_string().as_bytes()], command);
    engine.call(Target::Device(device.clone()), input).await
}

#[tokio::test]
async fn a_thousand_inputs_over_a_short_queue_are_all_answered_and_survive_a_restart() {
    let store = Arc::new(TestStore::default());
    let engine = start(&store);
    let devices: Vec<DeviceKey> = (0..50).map(|n| format!("acme/d-{n}").parse().unwrap()).collect();
    for device in &devices {
        assert_eq!(register(&engine, device).await, Outcome::Committed(Ok(Reply::Done)));
    }
    let mut outcomes = Vec::new();
    for n in 0..1_000 {
        let device = &devices[n % devices.len()];
        let mut input = engine.command(Some(device.clone()), &[&n.to_be_bytes()], Command::CredentialUsed);
        input.what = What::Device(temperature(n as f64));
        let (waiter, outcome) = oneshot::channel();
        engine.submit(Target::Device(device.clone()), input, Repeat::Ignore, Waiter::Caller(waiter)).await;
        outcomes.push(outcome);
    }
    for outcome in outcomes {
        assert_eq!(outcome.await.unwrap(), Outcome::Committed(Ok(Reply::Done)));
    }
    engine.drain().await;
    let refused = register(&engine, &devices[0]).await;
    assert!(matches!(refused, Outcome::Failed(_)), "nothing is taken in after the end: {refused:?}");
    let again = start(&store);
    for device in &devices {
        let household = HouseholdId::prospect(device);
        assert_eq!(again.facts(household).await.unwrap().unwrap().seq, 21);
        assert_eq!(again.replay(household).unwrap().differences, []);
    }
    again.drain().await;
}

#[tokio::test]
#[allow(
    clippy::await_holding_lock,
    reason = "the gate holds the writer's thread, and no task of this test waits for it"
)]
async fn no_acknowledgement_passes_a_disk_that_has_not_answered() {
    let store = Arc::new(TestStore::default());
    let engine = start(&store);
    let device: DeviceKey = "acme/d-1".parse().unwrap();
    register(&engine, &device).await;
    let (acknowledged, mut acknowledgements) = mpsc::channel(8);
    let gate = store.gate.lock().unwrap();
    for n in 0u8..3 {
        let mut input = engine.command(Some(device.clone()), &[&[n]], Command::CredentialUsed);
        input.what = What::Device(temperature(1.0));
        let acknowledged = acknowledged.clone();
        let ack = Waiter::Ack(Box::new(move |outcome| acknowledged.try_send(outcome).unwrap()));
        engine.submit(Target::Device(device.clone()), input, Repeat::Ignore, ack).await;
    }
    // Two barriers of the shards: all three are decided.
    for shard in 0..engine.shards() {
        let (done, passed) = oneshot::channel();
        engine.house().inboxes.queue(shard).send(Job::Barrier(done)).await.ok().unwrap();
        passed.await.unwrap();
    }
    assert!(acknowledgements.try_recv().is_err());
    drop(gate);
    for _ in 0..3 {
        assert_eq!(acknowledgements.recv().await.unwrap(), Outcome::Committed(Ok(Reply::Done)));
    }
    engine.drain().await;
}

#[tokio::test]
async fn a_move_under_threads_is_answered_by_its_arrival() {
    let store = Arc::new(TestStore::default());
    let engine = start(&store);
    let device: DeviceKey = "acme/d-1".parse().unwrap();
    register(&engine, &device).await;
    let input = engine.command(Some(device.clone()), &[b"link"], Command::LinkDirectly { join: join() });
    let outcome = engine.call(Target::Device(device.clone()), input).await;
    assert_eq!(outcome, Outcome::Committed(Ok(Reply::Linked { link: join().link, household: join().household })));
    let input = engine.command(Some(device.clone()), &[b"release"], Command::Release);
    let outcome = engine.call(Target::Device(device.clone()), input).await;
    assert!(matches!(outcome, Outcome::Committed(Ok(_))), "{outcome:?}");
    assert_eq!(engine.route(&device).unwrap().household, HouseholdId::prospect(&device));
    engine.drain().await;
}

#[tokio::test]
async fn drain_deletes_what_devices_acknowledged() {
    let store = Arc::new(TestStore::default());
    let engine = start(&store);
    let link = Arc::new(TestLink::default());
    engine.set_link(link.clone());
    let device: DeviceKey = "acme/d-1".parse().unwrap();
    register(&engine, &device).await;
    link.listening.lock().unwrap().insert(device.clone());
    let mut input = engine.command(Some(device.clone()), &[b"put"], Command::CredentialUsed);
    input.what = What::Device(event("put"));
    engine.call(Target::Device(device.clone()), input).await;
    let n = loop {
        if let Some(delivery) = link.delivered.lock().unwrap().pop() {
            break delivery.n;
        }
        tokio::task::yield_now().await;
    };
    engine.delivered(&device, n);
    engine.drain().await;
    assert_eq!(store.scan(&keys::outbox_of(&device), None, 10).unwrap(), []);
}
