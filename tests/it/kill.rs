//! The gateway is killed again and again while homes talk to it, and nothing that it acknowledged
//! is lost or done twice.
//!
//! It is killed in the midst of its work, while it drains and writes behind what is in the journal,
//! and while it starts and recovers. SIGKILL leaves it no moment to tidy up. The page cache survives
//! it, so this tests the order of commit and acknowledgement, the reading back and the absorbing of
//! repeats; that the acknowledgement waits for the disk is for `sync_order`, and what a power cut may
//! leave for the images of the store's own tests.

use std::time::Duration;

use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::homes::{Device, live_until_content, new_homes, nothing_is_lost_or_logged_twice, nothing_is_sold_twice};
use crate::stock_clients::load_the_sample_shop;

/// Kills on a person's machine, and in CI. `HEARTHWAY_KILLS=1000` sets another number.
const KILLS: u64 = 20;
const KILLS_IN_CI: u64 = 200;
/// Homes that come new in each round; those of the rounds before go on with what they still owe.
const HOMES_PER_ROUND: usize = 3;
/// Readings that a device sends beside what it lives through.
const READINGS: u32 = 40;
/// The longest that devices talk to a gateway before it is killed: less than they have to say.
const LIFE_MILLISECONDS_MAX: u64 = 100;
/// The longest that a gateway drains, and the longest that it starts, before it is killed.
const DRAIN_MILLISECONDS_MAX: u64 = 25;
const START_MILLISECONDS_MAX: u64 = 60;

fn kills() -> u64 {
    match std::env::var("HEARTHWAY_KILLS") {
        Ok(number) => number.parse().expect("HEARTHWAY_KILLS is a number"),
        Err(_) if std::env::var_os("CI").is_some() => KILLS_IN_CI,
        Err(_) => KILLS,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_every_kill_and_happens_once() {
    let data = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let mut devices: Vec<Device> = Vec::new();
    let mut moment = Moment(0x5eed);
    let (mut at_work, mut draining, mut starting, mut interrupted) = (0, 0, 0, 0);
    for round in 0.. {
        devices.extend(new_homes(&gateway, &shop, round, HOMES_PER_ROUND, READINGS).await);
        let (over, is_over) = watch::channel(false);
        let (asleep, awake): (Vec<_>, Vec<_>) = devices.into_iter().partition(Device::is_content);
        let lives: Vec<_> =
            awake.into_iter().map(|device| tokio::spawn(device.live(gateway.mqtt.clone(), is_over.clone()))).collect();
        tokio::time::sleep(moment.within(LIFE_MILLISECONDS_MAX)).await;
        if round % 3 == 2 {
            gateway.kill_while_it_drains(moment.within(DRAIN_MILLISECONDS_MAX));
            draining += 1;
        } else {
            // Dropping it kills it, in the middle of whatever it does.
            drop(gateway);
            at_work += 1;
        }
        over.send_replace(true);
        devices = asleep;
        for life in lives {
            let device = life.await.unwrap();
            interrupted += u64::from(!device.is_content() && !device.acknowledged.is_empty());
            devices.push(device);
        }
        if round % 2 == 1 {
            Gateway::kill_while_it_starts(data.path(), moment.within(START_MILLISECONDS_MAX));
            starting += 1;
        }
        gateway = Gateway::serve(data.path());
        if at_work + draining + starting >= kills() {
            break;
        }
    }

    // Left alone, everybody comes to an end.
    let devices = live_until_content(&gateway, devices).await;
    assert!(interrupted > kills() / 2, "kills that hit nobody in the middle of its story prove nothing: {interrupted}");
    println!(
        "killed {at_work} times at work, {draining} while it drained, {starting} while it started; {} devices, \
         interrupted {interrupted} times",
        devices.len()
    );
    nothing_is_lost_or_logged_twice(&gateway, &shop, &devices).await;
    nothing_is_sold_twice(&gateway, &shop, &devices).await;
}

/// Chooses the moments of the kills; SplitMix64, so that a failure has the same moments again.
struct Moment(u64);

impl Moment {
    fn within(&mut self, milliseconds: u64) -> Duration {
        Duration::from_micros(self.next() % (milliseconds * 1_000))
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
