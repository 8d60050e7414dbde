//! The disk stops answering in the midst of a group: nothing is acknowledged, whoever only reads is
//! served, after a bound the gateway says that it is not ready, and all goes on once the disk answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthway::clock::SystemClock;
use hearthway::config::{Config, OperatorToken};
use hearthway::mqtt::credentials::MasterKey;
use hearthway::store::faults::FreezingStore;
use hearthway::store::memory::MemoryStore;
use tokio::sync::watch;

use crate::gateway::{Gateway, OPERATOR, wait_until_ready_is};
use crate::homes::{live_until_content, new_homes, nothing_is_lost_or_logged_twice, nothing_is_sold_twice};
use crate::stock_clients::load_the_sample_shop;

const HOMES: usize = 3;
const READINGS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_stops_acknowledgements_and_nothing_else() {
    let store = Arc::new(FreezingStore::new(Arc::new(MemoryStore::new())));
    let mut config = Config::default();
    config.http.bind = "127.0.0.1:0".parse().unwrap();
    config.mqtt.bind = "127.0.0.1:0".parse().unwrap();
    config.operator_token = Some(OperatorToken::new(OPERATOR).unwrap());
    let master = MasterKey::new([7; 32]);
    let inner =
        hearthway::gateway::Gateway::build(&config, Arc::new(SystemClock), store.clone(), master).await.unwrap();
    let gateway = Gateway::inside_of_this_process(&inner);
    let shop = load_the_sample_shop(&gateway).await;
    let devices = new_homes(&gateway, &shop, 0, HOMES, READINGS).await;

    store.freeze();
    let frozen = Instant::now();
    let (over, is_over) = watch::channel(false);
    let address = gateway.mqtt.clone();
    let lives: Vec<_> =
        devices.into_iter().map(|device| tokio::spawn(device.live(address.clone(), is_over.clone()))).collect();
    let said = wait_until_ready_is(&gateway, 503).await;
    assert!(said.contains("the disk has not answered for"), "{said}");
    assert!(frozen.elapsed() < Duration::from_secs(15), "it takes {:?} until somebody is told", frozen.elapsed());
    gateway.ask(&shop, "GET", "/v1/devices", None).await;
    gateway.ask(&shop, "GET", "/v1/profiles/p-d-0-0", None).await;
    over.send_replace(true);
    let mut devices = Vec::new();
    for life in lives {
        let device = life.await.unwrap();
        assert_eq!(device.acknowledged, Vec::<String>::new(), "{}: acknowledged, and on no disk", device.name);
        devices.push(device);
    }

    store.thaw();
    wait_until_ready_is(&gateway, 200).await;
    let devices = live_until_content(&gateway, devices).await;
    nothing_is_lost_or_logged_twice(&gateway, &shop, &devices).await;
    nothing_is_sold_twice(&gateway, &shop, &devices).await;
    inner.drain().await;
}
