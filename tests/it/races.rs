//! Accept, decline, cancel, withdraw, expire, a new price, another seller, an empty store: from three
//! channels at once, over the running program, which is killed in the middle of some of it. Whatever
//! overtakes what, an offer makes one order at most, on a quote that was told and still held.
//!
//! A home is an interleaving: its people follow a story drawn from a seed, which a failure prints. The
//! stories come again with the seed; which of two requests is served first does not. `HEARTHWAY_RACES=5000`
//! sets how many, `HEARTHWAY_RACES_SEED=…` where they begin.

mod book;
mod door;
mod home;
mod market;
mod script;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::gateway::{Gateway, OPERATOR};
use door::{Address, Door, Window};
use home::{Ending, Home};
use market::Market;
use script::{Draw, Story};
use verdict::Tally;

/// Interleavings, and how many of them are under way at once.
const INTERLEAVINGS: u64 = 1_000;
const HOMES_PER_ROUND: u64 = 100;
/// In every second round the gateway is killed, at most so long after everybody began to press.
const KILLED_AFTER_MILLISECONDS_MAX: u64 = 250;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_races_never_make_two_orders_or_one_without_a_live_quote() {
    let data = tempfile::tempdir().unwrap();
    let mut gateway = Some(Gateway::serve(data.path()));
    let token = tenants(gateway.as_ref().unwrap()).await;
    let (address, is_at) = watch::channel(Address::of(gateway.as_ref().unwrap()));
    let door = Door::new(token, is_at.clone());
    let operator = Door::new(OPERATOR.to_owned(), is_at);
    let store = json!({"name": "Store", "ready": "today", "hold_hours": 1});
    assert!(door.call("PUT", "/v1/stores/st-1", Some(&store), "").await.is_success());
    let seed = number("HEARTHWAY_RACES_SEED", 0x5eed);
    let wanted = number("HEARTHWAY_RACES", INTERLEAVINGS);
    let (mut tally, mut kills) = (Tally::default(), 0);
    for round in 0..wanted.div_ceil(HOMES_PER_ROUND) {
        let mut draw = Draw::new(seed.wrapping_add(round << 32));
        let market = Arc::new(Market::open(&door, &operator, round, &mut draw).await);
        let stories = (0..HOMES_PER_ROUND.min(wanted - round * HOMES_PER_ROUND)).map(|_| {
            let seed = draw.next();
            (seed, Story::of(seed))
        });
        let homes = settle_in(gateway.as_ref().unwrap(), &door, &market, stories.collect()).await;
        let (go, may_go) = watch::channel(false);
        let (over, is_over) = watch::channel(false);
        let selling = Arc::clone(&market);
        let selling_seed = draw.next();
        let selling = tokio::spawn({
            let may_go = may_go.clone();
            async move { selling.live(selling_seed, may_go, is_over).await }
        });
        let lives: Vec<_> = homes.iter().map(|home| tokio::spawn(Arc::clone(home).live(may_go.clone()))).collect();
        for home in &homes {
            home.offered().wait_for(|offered| *offered).await.unwrap();
        }
        go.send_replace(true);
        if round % 2 == 1 {
            tokio::time::sleep(draw.milliseconds(KILLED_AFTER_MILLISECONDS_MAX)).await;
            drop(gateway.take());
            gateway = Some(Gateway::serve(data.path()));
            address.send_replace(Address::of(gateway.as_ref().unwrap()));
            kills += 1;
        }
        let mut endings = Vec::new();
        for life in lives {
            endings.push(life.await.unwrap());
        }
        over.send_replace(true);
        selling.await.unwrap();
        judge(&door, &market, &endings, &mut tally, seed).await;
    }
    println!("{wanted} interleavings from seed {seed:#x}, {kills} kills: {:?}", tally.0);
    if wanted == INTERLEAVINGS {
        is_worth_it(&tally);
    }
}

/// A maker, and a shop with its token.
async fn tenants(gateway: &Gateway) -> String {
    let shop = json!({"name": market::OWN, "default_locale": "fr-FR", "zone": "Europe/Paris"});
    gateway.ask(OPERATOR, "PUT", "/v1/makers/acme", Some(&json!({"name": "Acme"}))).await;
    gateway.ask(OPERATOR, "PUT", "/v1/retailers/shop-a", Some(&shop)).await;
    let asked = json!({"tenant": "shop-a", "role": "retailer_admin", "name": "races"});
    gateway.ask(OPERATOR, "POST", "/v1/tokens", Some(&asked)).await["token"].as_str().unwrap().to_owned()
}

/// Homes of this round with a linked device each, as a shop brings an existing fleet in.
async fn settle_in(gateway: &Gateway, door: &Door, market: &Market, stories: Vec<(u64, Story)>) -> Vec<Arc<Home>> {
    let name = |n: usize| format!("r-{}-{n}", market.round);
    let (mut devices, mut links) = (String::new(), String::new());
    for (n, (_, story)) in stories.iter().enumerate() {
        let device = json!({"maker": "acme", "device": name(n), "model": market.model(story.pace)});
        let link = json!({"device": name(n), "profile": format!("p-{}", name(n)), "role": "owner", "tz": "Europe/Paris",
                          "locale": "fr-FR", "consents": [{"purpose": "offers.device", "granted": true}]});
        devices.push_str(&format!("{device}\n"));
        links.push_str(&format!("{link}\n"));
    }
    let registered = gateway.bulk(OPERATOR, "/v1/devices:bulk", devices).await;
    let linked = gateway.bulk(door.token(), "/v1/links:bulk", links).await;
    assert!(linked.iter().all(|line| line["link"].is_string()), "{linked:?}");
    let homes = stories.into_iter().zip(registered).enumerate().map(|(n, ((seed, story), line))| {
        let secret = line["secret"].as_str().unwrap().to_owned();
        Arc::new(Home::new(seed, story, name(n), secret, door.clone()))
    });
    homes.collect()
}

/// Reads how everything stands, and has it judged.
async fn judge(door: &Door, market: &Market, endings: &[Ending], tally: &mut Tally, seed: u64) {
    let mut orders: Vec<Value> = Vec::new();
    let mut path = "/v1/orders?limit=100".to_owned();
    loop {
        let mut page = door.get(&path).await;
        orders.append(page["items"].as_array_mut().unwrap());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/orders?limit=100&cursor={next}");
    }
    orders.retain(|order| order["lines"][0]["product"] == *market.product());
    let from = door.now();
    let stock = door.get(&market.stock()).await;
    let product = door.get(&format!("/v1/products/{}", market.product())).await;
    let end = Window { from, to: from + Duration::from_millis(1) };
    let ledger = market.ledger.lock().unwrap();
    let faults = verdict::faults(endings, &ledger, &orders, &stock, &product, end, tally);
    let told = ledger.told();
    assert!(faults.is_empty(), "round {} from seed {seed:#x}:\n\n{}\n\n{told}", market.round, faults.join("\n\n"));
}

/// A run in which nothing met proves nothing.
fn is_worth_it(tally: &Tally) {
    for (what, least) in [
        ("pressed on two channels at once", 100),
        ("offer accepted", 300),
        ("offer declined", 20),
        ("offer expired", 1),
        ("order cancelled", 40),
        ("order shipped", 20),
        ("offer.already_accepted", 200),
        ("offer.price_changed", 50),
        ("offer.out_of_stock", 1),
        ("offer.expired", 1),
    ] {
        assert!(tally.of(what) >= least, "{what}: {} times, and {least} are wanted: {:?}", tally.of(what), tally.0);
    }
}
