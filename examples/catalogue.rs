//! What a large catalogue costs: `cargo run --release --example catalogue [products] [directory]`.
//!
//! Builds a gateway, imports products over HTTP as `hearthway products import` does, changes every
//! tenth, asks what fits a slot, and opens it again. Says lines a second, what memory grew by beside
//! what the lines had, how long a look-up takes, and what the files have.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use hearthway::clock::SystemClock;
use hearthway::config::{Config, OperatorToken};
use hearthway::gateway::Gateway;
use hearthway_core::id::{ModelId, RetailerId, SlotId};

/// As in the program: memory is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PRODUCTS: usize = 1_000_000;
const TOKEN: &str = "operator-token-of-the-catalogue";
/// Lines of one call.
const PART: usize = 20_000;
/// Slots that the products fit, so that a thousand of a million fit one.
const SLOTS: usize = 1_000;

fn main() -> Result<()> {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let arguments: Vec<String> = env::args().skip(1).collect();
    let products = match arguments.first() {
        Some(text) => text.parse().with_context(|| format!("`{text}` is no number of products"))?,
        None => PRODUCTS,
    };
    let temporary = tempfile::tempdir_in(".").context("making a directory here")?;
    let directory = arguments.get(1).map_or_else(|| temporary.path().join("data"), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(fill(products, &directory))?;
    runtime.block_on(open_again(products, &directory))
}

fn config(directory: &Path) -> Result<Config> {
    let mut config = Config::default();
    config.data.dir = directory.to_owned();
    config.http.bind = "127.0.0.1:0".parse()?;
    config.mqtt.bind = "127.0.0.1:0".parse()?;
    config.operator_token = Some(OperatorToken::new(TOKEN).map_err(|problem| anyhow!(problem))?);
    Ok(config)
}

fn line(n: usize, minor: usize, into: &mut String) {
    let _ = writeln!(
        into,
        r#"{{"id":"flt-{n:07}","name":{{"fr":"Filtre à air plissé 20×25 MERV 11 n° {n}","en":"Pleated air filter 20×25 MERV 11 no. {n}"}},"gtin":null,"price":{{"minor":{minor},"currency":"EUR"}},"delivery":{{"minor":490,"currency":"EUR"}},"tax_incl":true,"seller":"shop-a","withdraw_days":14,"fits":[{{"model":"th-200","slot":"slot-{:04}"}}]}}"#,
        n % SLOTS,
    );
}

struct Caller {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Caller {
    async fn import(&self, lines: String) -> Result<u64> {
        let request = self.client.post(format!("{}/v1/products:import", self.base)).bearer_auth(&self.token);
        let text = request.body(lines).send().await?.text().await?;
        let summary: serde_json::Value = serde_json::from_str(text.lines().last().context("a summary")?)?;
        summary["summary"]["changed"].as_u64().with_context(|| text.clone())
    }
}

async fn fill(products: usize, directory: &Path) -> Result<()> {
    let mut config = config(directory)?;
    config.samples.load = true;
    let gateway = Gateway::open(&config, Arc::new(SystemClock)).await?;
    gateway.load_samples(&config).await?;
    let base = format!("http://{}", gateway.http_address());
    let client = reqwest::Client::new();
    let asked = serde_json::json!({"tenant": "shop-a", "role": "retailer_admin", "name": "catalogue"});
    let made = client.post(format!("{base}/v1/tokens")).bearer_auth(TOKEN).json(&asked).send().await?;
    let token = made.json::<serde_json::Value>().await?["token"].as_str().context("a token")?.to_owned();
    let caller = Caller { client, base, token };

    let before = resident();
    let (mut bytes, mut took) = (0, 0.0);
    for from in (0..products).step_by(PART) {
        let mut lines = String::new();
        (from..products.min(from + PART)).for_each(|n| line(n, 1990, &mut lines));
        bytes += lines.len();
        let started = Instant::now();
        let changed = caller.import(lines).await?;
        took += started.elapsed().as_secs_f64();
        ensure!(changed as usize == PART.min(products - from), "{changed} changed");
    }
    let grown = resident().saturating_sub(before);
    println!(
        "{products} products ({} MiB of lines) imported in {took:.1} s: {:.0}/s",
        bytes >> 20,
        products as f64 / took
    );
    println!(
        "  memory grew by {} MiB: {:.2} of the lines, {} bytes a product",
        grown >> 20,
        grown as f64 / bytes as f64,
        grown / products.max(1)
    );
    let started = Instant::now();
    let mut lines = String::new();
    (0..products).step_by(10).for_each(|n| line(n, 2090, &mut lines));
    let changed = caller.import(lines).await?;
    println!("  every tenth changed: {changed} in {:.1} s", started.elapsed().as_secs_f64());
    look_up(&gateway, products)?;
    gateway.drain().await;
    Ok(())
}

fn look_up(gateway: &Gateway, products: usize) -> Result<()> {
    let rules = gateway.app().rules();
    let (retailer, model) = (RetailerId::new("shop-a")?, ModelId::new("th-200")?);
    let rounds = 10_000;
    let slots: Vec<SlotId> =
        (0..rounds).map(|n| SlotId::new(format!("slot-{:04}", n * 7 % SLOTS))).collect::<Result<_, _>>()?;
    let time = |what: &str, each: &dyn Fn(&SlotId) -> usize| {
        let started = Instant::now();
        let found: usize = slots.iter().map(each).sum();
        let micros = started.elapsed().as_secs_f64() * 1e6 / rounds as f64;
        println!("  {what}: {micros:.1} µs, {} found each time", found / rounds);
    };
    time("the first product that fits a slot, read", &|slot| {
        let first = rules.products.first_fitting(&retailer, &model, slot);
        usize::from(first.and_then(|id| rules.product(&retailer, &id)).is_some())
    });
    time("the article numbers of all that fit", &|slot| rules.products.fitting(&retailer, &model, slot).len());
    ensure!(gateway.app().products_kept(&retailer).products >= products);
    Ok(())
}

async fn open_again(products: usize, directory: &Path) -> Result<()> {
    let started = Instant::now();
    let gateway = Gateway::open(&config(directory)?, Arc::new(SystemClock)).await?;
    println!("  opened again in {:.1} s", started.elapsed().as_secs_f64());
    let kept = gateway.app().products_kept(&RetailerId::new("shop-a")?);
    ensure!(kept.products >= products);
    println!("  {} bytes a product are its value", kept.bytes / kept.products.max(1));
    gateway.drain().await;
    Ok(())
}

/// Bytes of memory that this process holds.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or_default() << 10
}
