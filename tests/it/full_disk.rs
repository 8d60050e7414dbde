//! The disk gets full, on a small disk of the gateway's own: it goes on reading, acknowledges nothing
//! that it cannot keep, says that it is not ready, and recovers by itself when there is room again.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::gateway::{Gateway, wait_until_ready_is};
use crate::homes::{Device, live_until_content, new_homes, nothing_is_lost_or_logged_twice, nothing_is_sold_twice};
use crate::stock_clients::load_the_sample_shop;

/// Room for the database's first segments, and little beyond.
const DISK_MEBIBYTES: u32 = 48;
const HOMES: usize = 4;
const READINGS: u32 = 5;
/// Looks at a full disk, one second in all.
const LOOKS: usize = 20;
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(50);

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut ballast = File::create(path).unwrap();
    let block = vec![0x5a; 64 * 1024];
    for size in [block.len(), 512, 1] {
        while ballast.write_all(&block[..size]).is_ok() {}
    }
}

/// Readings enough to need more room than was asked for before the disk was full.
fn talkative(devices: Vec<Device>) -> Vec<Device> {
    let more = |mut device: Device| {
        let text = "x".repeat(900);
        for n in 0..500 {
            let fields = serde_json::json!({"samples": [{"f": {"temperature": 18 + n % 4, "note": text}}]});
            device.will_say("up/telemetry", fields);
        }
        device
    };
    devices.into_iter().map(more).collect()
}

type Life = tokio::task::JoinHandle<Device>;

/// Lets devices live; one that is turned away comes again.
fn insist(gateway: &Gateway, devices: Vec<Device>, is_over: &watch::Receiver<bool>) -> Vec<Life> {
    let live = |mut device: Device| {
        let (address, is_over) = (gateway.mqtt.clone(), is_over.clone());
        tokio::spawn(async move {
            while !*is_over.borrow() && !device.is_content() {
                device = device.live(address.clone(), is_over.clone()).await;
                tokio::time::sleep(AGAIN).await;
            }
            device
        })
    };
    devices.into_iter().map(live).collect()
}

async fn stop(over: watch::Sender<bool>, lives: Vec<Life>) -> Vec<Device> {
    over.send_replace(true);
    let mut devices = Vec::new();
    for life in lives {
        devices.push(life.await.unwrap());
    }
    devices
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_acknowledgements_and_nothing_else_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    // These devices talk and come again as fast as they can: that is not what is looked at here.
    let config = tempfile::NamedTempFile::new().unwrap();
    let limits = "[limits]\ndevice_messages_per_second = 10000\nmqtt_connects_per_minute = 60000\n";
    std::fs::write(&config, limits).unwrap();
    let Some(gateway) = Gateway::serve_on_small_disk(data, DISK_MEBIBYTES, config.path()) else {
        assert!(std::env::var_os("CI").is_none(), "no disk can be mounted, and CI must run this test");
        eprintln!("SKIPPED: mounting a small disk needs root, or user namespaces");
        return;
    };
    let shop = load_the_sample_shop(&gateway).await;
    let devices = talkative(new_homes(&gateway, &shop, 0, HOMES, READINGS).await);
    wait_until_ready_is(&gateway, 200).await;

    let ballast = gateway.inside(&data.join("ballast"));
    fill(&ballast);
    // They talk and come again until the room that was asked for before is used up: the last bytes
    // may still hold a small group.
    let (over, is_over) = watch::channel(false);
    let lives = insist(&gateway, devices, &is_over);
    let mut full = 0;
    while full < LOOKS {
        let said = wait_until_ready_is(&gateway, 503).await;
        full = if said.contains("No space left on device") { full + 1 } else { 0 };
        tokio::time::sleep(AGAIN).await;
    }
    let devices = stop(over, lives).await;
    let acknowledged = |devices: &[Device]| devices.iter().map(|device| device.acknowledged.len()).sum::<usize>();
    let before = acknowledged(&devices);
    assert!(devices.iter().any(|device| !device.owes.is_empty()), "the disk was never full for anybody");

    // Whoever only reads is served.
    let (over, is_over) = watch::channel(false);
    let lives = insist(&gateway, devices, &is_over);
    for _ in 0..LOOKS {
        gateway.ask(&shop, "GET", "/v1/devices", None).await;
        gateway.ask(&shop, "GET", "/v1/orders", None).await;
        tokio::time::sleep(AGAIN).await;
    }
    let devices = stop(over, lives).await;
    wait_until_ready_is(&gateway, 503).await;
    assert_eq!(acknowledged(&devices), before, "nothing is acknowledged that no disk has");

    std::fs::remove_file(&ballast).unwrap();
    // By itself: nobody talks to it meanwhile.
    wait_until_ready_is(&gateway, 200).await;
    let devices = live_until_content(&gateway, devices).await;
    nothing_is_lost_or_logged_twice(&gateway, &shop, &devices).await;
    nothing_is_sold_twice(&gateway, &shop, &devices).await;
    assert!(gateway.end());
}
