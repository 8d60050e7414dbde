//! A backup brings everything back: taken from a gateway that works or one that stands still,
//! restored into an empty directory, and refused where it is not whole.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::gateway::{Gateway, OPERATOR};
use crate::homes::{Device, live_until_content, new_homes, nothing_is_lost_or_logged_twice, nothing_is_sold_twice};
use crate::stock_clients::load_the_sample_shop;

const HOMES: usize = 5;
const READINGS: u32 = 20;

fn hearthway(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args(arguments).env("NO_COLOR", "1").env("HEARTHWAY_DATA_DIR", data);
    command.env("HEARTHWAY_OPERATOR_TOKEN", OPERATOR).output().unwrap()
}
fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"");
    // One line, however wide the terminal is taken to be.
    let said = String::from_utf8(output.stderr).unwrap();
    said.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// All that a retailer can ask about these homes.
async fn answers(gateway: &Gateway, shop: &str, devices: &[Device]) -> Vec<(String, Value)> {
    let mut paths: Vec<String> = ["orders?limit=100", "offers?limit=100", "products", "triggers", "devices"]
        .map(|path| format!("/v1/{path}"))
        .to_vec();
    for device in devices {
        let name = &device.name;
        paths.extend(["", "/state", "/slots", "/messages?last=1000"].map(|what| format!("/v1/devices/{name}{what}")));
        paths.push(format!("/v1/profiles/p-{name}"));
        let profile = gateway.ask(shop, "GET", &format!("/v1/profiles/p-{name}"), None).await;
        let household = profile["links"][0]["household"].as_str().expect("the home is named").to_owned();
        paths.push(format!("/v1/decisions?household={household}"));
        paths.push(format!("/v1/explain?household={household}&trigger=filter-worn"));
    }
    let mut answers = Vec::new();
    for path in paths {
        let mut answer = gateway.ask(shop, "GET", &path, None).await;
        forget_connections(&mut answer);
        answers.push((path, answer));
    }
    answers
}

/// Whether a device is connected at this moment is not a thing that is kept.
fn forget_connections(answer: &mut Value) {
    match answer {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "connected" && name != "online");
            fields.values_mut().for_each(forget_connections);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_connections),
        _ => {}
    }
}

fn empty_directory_with_key_of(data: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for key in ["master.key", "customers.keys"] {
        std::fs::copy(data.join(key), directory.path().join(key)).unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_gateway_at_work_and_of_one_at_rest_bring_everything_back() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| -> PathBuf { files.path().join(name) };
    let (at_work, at_rest) = (file("at-work.backup"), file("at-rest.backup"));
    let gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let devices = new_homes(&gateway, &shop, 0, HOMES, READINGS).await;
    let devices = live_until_content(&gateway, devices).await;

    let said = refused(hearthway(data.path(), &["backup", "--out", text(&at_rest)]));
    assert!(said.contains("another process has it open") && said.contains("--from"), "{said}");
    let said = done(hearthway(data.path(), &["backup", "--from", &gateway.http, "--out", text(&at_work)]));
    assert!(said.starts_with("whole gateway=gw_"), "{said}");
    let (status, _) = gateway.call(&shop, "GET", "/v1/backup", None).await;
    assert_eq!(status, 403, "a backup is everybody's data: the operator's only");
    let before = answers(&gateway, &shop, &devices).await;
    assert!(gateway.end());
    let rested = done(hearthway(data.path(), &["backup", "--out", text(&at_rest)]));
    let number = |said: &str, of: &str| -> u64 {
        said.split_once(of).unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!(number(&rested, " items="), number(&said, " items="), "nothing happened between the two");
    assert_eq!(number(&rested, " rows="), number(&said, " rows=") + 1, "but the entry that says who took the first");
    assert_eq!(done(hearthway(data.path(), &["backup", "--verify", text(&at_rest)])), rested);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&at_rest).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "nobody else may read it");
    let said = refused(hearthway(data.path(), &["backup", "--out", text(&at_rest)]));
    assert!(said.contains("there already"), "{said}");

    for backup in [at_work, at_rest] {
        let restored = empty_directory_with_key_of(data.path());
        let said = done(hearthway(restored.path(), &["restore", text(&backup)]));
        assert!(said.contains("the gateway can be started"), "{said}");
        let gateway = Gateway::serve(restored.path());
        for (now, then) in answers(&gateway, &shop, &devices).await.into_iter().zip(&before) {
            assert_eq!(&now, then);
        }
        nothing_is_lost_or_logged_twice(&gateway, &shop, &devices).await;
        // It goes on: new homes live in it, and the next offers and orders join those of before.
        let round = 1;
        let more = new_homes(&gateway, &shop, round, 1, READINGS).await;
        let more = live_until_content(&gateway, more).await;
        nothing_is_lost_or_logged_twice(&gateway, &shop, &more).await;
        assert!(gateway.end());
        let said = refused(hearthway(restored.path(), &["restore", text(&backup)]));
        assert!(said.contains("is not empty: it holds `store`"), "{said}");
    }
    // The one that was backed up is as it was.
    let gateway = Gateway::serve(data.path());
    nothing_is_sold_twice(&gateway, &shop, &devices).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_or_of_another_gateway_is_refused_and_leaves_nothing() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(Gateway::serve(data.path()).end());
    let whole = files.path().join("whole.backup");
    done(hearthway(data.path(), &["backup", "--out", text(&whole)]));
    let bytes = std::fs::read(&whole).unwrap();
    let middle = bytes.len() / 2;
    let mut flipped = bytes.clone();
    flipped[40] ^= 4; // In the header: a flipped length looks like a file that was cut.
    let mut newer = bytes.clone();
    newer[16] += 1;
    let cases: [(&[u8], &str); 4] = [
        (&bytes[..middle], "it was cut short; take another copy"),
        (&flipped, "it is damaged at byte"),
        (&newer, "this release reads format 1; use the release that made it"),
        (b"a photo album", "it is no backup of Hearthway"),
    ];
    for (bytes, wanted) in cases {
        let file = files.path().join("broken.backup");
        std::fs::write(&file, bytes).unwrap();
        let target = empty_directory_with_key_of(data.path());
        for arguments in [["restore", text(&file)].as_slice(), &["backup", "--verify", text(&file)]] {
            let said = refused(hearthway(target.path(), arguments));
            assert!(said.contains(wanted) && said.contains("broken.backup"), "{said}");
        }
        let mut left: Vec<_> =
            std::fs::read_dir(target.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["customers.keys", "master.key"], "nothing is left of what was refused");
    }

    let other = tempfile::tempdir().unwrap();
    assert!(Gateway::serve(other.path()).end());
    let target = empty_directory_with_key_of(other.path());
    let said = refused(hearthway(target.path(), &["restore", text(&whole)]));
    assert!(said.contains("it is a backup of the gateway gw_"), "{said}");

    let bare = tempfile::tempdir().unwrap();
    let said = done(hearthway(bare.path(), &["restore", text(&whole)]));
    assert!(said.contains("put the master key of gw_") && said.contains("customers.keys`, then start"), "{said}");
    std::fs::copy(data.path().join("master.key"), bare.path().join("master.key")).unwrap();
    let serve = ["serve", "--http-bind", "127.0.0.1:0", "--mqtt-bind", "127.0.0.1:0"];
    let said = refused(hearthway(bare.path(), &serve));
    assert!(said.contains("it is missing, and values of this store are sealed with its keys"), "{said}");
    assert!(!bare.path().join("customers.keys").exists(), "nothing is made in its place");

    // A restore that was cut short is not taken for an empty directory.
    let cut = empty_directory_with_key_of(data.path());
    std::fs::create_dir(cut.path().join("store.restoring")).unwrap();
    let serve = ["serve", "--http-bind", "127.0.0.1:0", "--mqtt-bind", "127.0.0.1:0"];
    for arguments in [serve.as_slice(), &["restore", text(&whole)]] {
        let said = refused(hearthway(cut.path(), arguments));
        assert!(said.contains("cut short") && said.contains("remove that directory"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_another_gateway_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(Gateway::serve(one.path()).end());
    assert!(Gateway::serve(other.path()).end());
    std::fs::copy(other.path().join("master.key"), one.path().join("master.key")).unwrap();
    let serve = ["serve", "--http-bind", "127.0.0.1:0", "--mqtt-bind", "127.0.0.1:0"];
    let said = refused(hearthway(one.path(), &serve));
    assert!(said.contains("it belongs to the gateway `gw_"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_back_up_where_no_gateway_was() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = files.path().join("none.backup");
    let said = refused(hearthway(data.path(), &["backup", "--out", text(&file)]));
    assert!(said.contains("there is no gateway's data in"), "{said}");
    let said = refused(hearthway(data.path(), &["backup", "--from", "http://127.0.0.1:9", "--out", text(&file)]));
    assert!(said.contains("calling http://127.0.0.1:9/v1/backup"), "{said}");
    assert_eq!(std::fs::read_dir(files.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nor is anything made");
}
