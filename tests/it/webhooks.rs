//! A shop's order system behind a webhook: what the customer accepts on the device arrives there,
//! signed, also when the receiver is down and the gateway is killed in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::gateway::{Gateway, STEP_SECONDS_MAX};
use crate::homes::{live_until_content, new_homes};
use crate::stock_clients::load_the_sample_shop;

/// One request, by its headers and its body.
#[derive(Clone)]
struct Heard {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    event: Value,
}

/// A shop's order system: up or down.
pub struct Shop {
    url: String,
    is_up: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
    number: watch::Receiver<usize>,
}

impl Shop {
    pub async fn open() -> Shop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/orders", listener.local_addr().unwrap());
        let (is_up, heard): (Arc<AtomicBool>, Arc<Mutex<Vec<Heard>>>) = Default::default();
        let (counted, number) = watch::channel(0);
        let (up, book) = (is_up.clone(), heard.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read(&mut stream).await else { continue };
                book.lock().unwrap().push(request);
                let status = if up.load(Ordering::Relaxed) { "204 Taken" } else { "500 Down" };
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
                counted.send_modify(|number| *number += 1);
            }
        });
        Shop { url, is_up, heard, number }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
    /// From here on it takes what it hears.
    pub fn is_up(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }
    /// The types of all that it heard.
    pub fn kinds(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|heard| heard.event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// What it was told first by an event of a type.
    pub fn data(&self, kind: &str) -> Value {
        let heard = self.heard.lock().unwrap();
        heard.iter().find(|heard| heard.event["type"] == kind).map_or(Value::Null, |heard| heard.event["data"].clone())
    }

    /// Waits for so many requests with an event of a type, and gives them.
    async fn until(&self, number: usize, kind: &str) -> Vec<Heard> {
        let mut changed = self.number.clone();
        let waited = async {
            loop {
                let found: Vec<Heard> =
                    self.heard.lock().unwrap().iter().filter(|heard| heard.event["type"] == kind).cloned().collect();
                if found.len() >= number {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(STEP_SECONDS_MAX, waited).await.unwrap_or_else(|_| panic!("no {kind} arrives"))
    }
}

async fn read(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let headers: BTreeMap<String, String> = text
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers["content-length"].parse().unwrap();
            if bytes.len() >= head + length {
                let body = bytes[head..].to_vec();
                let event = serde_json::from_slice(&body).unwrap();
                return Some(Heard { headers, body, event });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The signature as the standard has it, written without the gateway's code.
fn is_signed(heard: &Heard, secret: &str) -> bool {
    let key = data_encoding::BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(heard.headers["webhook-id"].as_bytes());
    mac.update(b".");
    mac.update(heard.headers["webhook-timestamp"].as_bytes());
    mac.update(b".");
    mac.update(&heard.body);
    let wanted = format!("v1,{}", data_encoding::BASE64.encode(&mac.finalize().into_bytes()));
    heard.headers["webhook-signature"].split(' ').any(|signature| signature == wanted)
}

pub fn serve(folder: &Path) -> Gateway {
    let config = folder.join("gateway.toml");
    std::fs::write(&config, "[webhooks]\nallow_loopback = true\n").unwrap();
    Gateway::serve_with(&folder.join("data"), &config, &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_the_device_reaches_its_shop_though_the_shop_was_down_and_the_gateway_killed() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = serve(folder.path());
    let token = load_the_sample_shop(&gateway).await;
    let shop = Shop::open().await;
    let hook = json!({"url": shop.url, "types": ["order.requested"]});
    let made = gateway.ask(&token, "PUT", "/v1/webhooks/orders", Some(&hook)).await;
    let secret = made["secret"].as_str().unwrap().to_owned();

    let homes = new_homes(&gateway, &token, 1, 2, 3).await;
    let homes = live_until_content(&gateway, homes).await;
    let tried = shop.until(2, "order.requested").await;
    // It was told that the shop is down, and dies before it can try again.
    drop(gateway);
    shop.is_up();
    let before = shop.heard.lock().unwrap().len();
    let gateway = serve(folder.path());
    shop.until(before + 2, "order.requested").await;

    let heard: Vec<Heard> = shop.heard.lock().unwrap().iter().skip(before).cloned().collect();
    assert!(heard.iter().all(|heard| is_signed(heard, &secret)), "signed by the secret that the shop was shown");
    let orders = gateway.ask(&token, "GET", "/v1/orders?limit=100", None).await;
    let orders = orders["items"].as_array().unwrap();
    assert_eq!(orders.len(), 2);
    for home in &homes {
        let order = home.orders.first().unwrap();
        let told: Vec<&Heard> = heard.iter().filter(|heard| heard.event["data"]["order"] == *order).collect();
        let known = orders.iter().find(|known| known["order"] == *order).unwrap();
        let data = &told[0].event["data"];
        assert_eq!((&data["total"], &data["offer"]), (&known["total"], &known["offer"]));
        assert_eq!((&data["device"], &data["household"]), (&json!(home.name), &known["household"]));
        let first = tried.iter().find(|tried| tried.event["data"]["order"] == *order).unwrap();
        assert_eq!((&first.event["id"], &first.body), (&told[0].event["id"], &told[0].body), "the same event again");
    }
    let log = gateway.ask(&token, "GET", "/v1/webhooks/orders/deliveries", None).await;
    assert_eq!(log["items"].as_array().unwrap().len(), 2, "{log}");
    verified_trail(gateway, &folder.path().join("data"));
}

/// What the session changed stands in the trail, and the trail is whole.
fn verified_trail(gateway: Gateway, data: &Path) {
    assert!(gateway.end());
    let verify = || {
        let output = Command::new(env!("CARGO_BIN_EXE_hearthway")).arg("verify-audit").arg("--data").arg(data).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (is_whole, said) = verify();
    assert!(is_whole && said.starts_with("audit entries=") && said.contains(" head="), "{said}");
    let entries: u64 = said.split("entries=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(entries > 10, "{said}");
    assert_eq!(verify(), (true, said), "a look changes nothing");
}
