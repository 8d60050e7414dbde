//! How long a gateway with many devices takes from its start to the first message, and what each
//! device holds in memory: `cargo run --release --example restart [devices] [directory]`.
//!
//! Builds a gateway, registers the devices through what the API calls, stops it, and opens it again
//! in processes of their own: an empty one for comparison, the store alone, the whole gateway. A
//! directory that is named is kept, and used again where it has been filled before.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use hearthway::app::registry::NewDevice;
use hearthway::clock::SystemClock;
use hearthway::config::{Config, OperatorToken};
use hearthway::gateway::Gateway;
use hearthway::store::embedded::{EmbeddedOptions, EmbeddedStore};

/// As in the program: memory is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DEVICES: u64 = 100_000;
const TOKEN: &str = "operator-token-of-the-restart";
/// Registrations on their way at once, so that groups are large.
const REGISTERING: u64 = 256;
/// Which part this process plays; none starts the others.
const PART: &str = "HEARTHWAY_RESTART_PART";

fn main() -> Result<()> {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let arguments: Vec<String> = env::args().skip(1).collect();
    let devices = match arguments.first() {
        Some(text) => text.parse().with_context(|| format!("`{text}` is no number of devices"))?,
        None => DEVICES,
    };
    let directory = arguments.get(1).map(PathBuf::from);
    match (env::var(PART).as_deref(), directory) {
        (Ok("fill"), Some(directory)) => within_tokio(fill(devices, &directory)),
        (Ok("store"), Some(directory)) => open_store(&directory),
        (Ok("gateway"), Some(directory)) => within_tokio(open_gateway(devices, &directory)),
        (Ok(part), _) => bail!("`{PART}` is `{part}`, which this example sets itself"),
        (Err(_), directory) => measure(devices, directory),
    }
}

fn measure(devices: u64, directory: Option<PathBuf>) -> Result<()> {
    let temporary = tempfile::tempdir_in(".").context("making a directory here")?;
    let directory = directory.unwrap_or_else(|| temporary.path().join("full"));
    let empty = temporary.path().join("empty");
    run("fill", 0, &empty)?;
    if !directory.join("filled").exists() {
        run("fill", devices, &directory)?;
        std::fs::write(directory.join("filled"), devices.to_string())?;
    }
    println!("a gateway without devices, then {devices} devices:");
    for (part, devices, directory) in
        [("gateway", 0, &empty), ("store", devices, &directory), ("gateway", devices, &directory)]
    {
        run(part, devices, directory)?;
    }
    Ok(())
}

fn run(part: &str, devices: u64, directory: &Path) -> Result<()> {
    let mut command = Command::new(env::current_exe()?);
    let status = command.arg(devices.to_string()).arg(directory).env(PART, part).status()?;
    if !status.success() {
        bail!("the part `{part}` ended with {status}");
    }
    Ok(())
}

fn within_tokio(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

fn config(directory: &Path) -> Result<Config> {
    let mut config = Config::default();
    config.data.dir = directory.to_owned();
    config.http.bind = "127.0.0.1:0".parse()?;
    config.mqtt.bind = "127.0.0.1:0".parse()?;
    config.operator_token = Some(OperatorToken::new(TOKEN).map_err(|problem| anyhow!(problem))?);
    Ok(config)
}

/// Makes a gateway with the samples' models and registers devices of one of them.
async fn fill(devices: u64, directory: &Path) -> Result<()> {
    let mut config = config(directory)?;
    config.samples.load = true;
    let gateway = Gateway::open(&config, Arc::new(SystemClock)).await?;
    gateway.load_samples(&config).await?;
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..REGISTERING {
        let app = gateway.app().clone();
        let operator = app.caller(TOKEN).context("the operator's token opens")?;
        workers.spawn(async move {
            for n in (worker..devices).step_by(REGISTERING as usize) {
                let new = NewDevice {
                    maker: Some("acme".parse().map_err(|problem| anyhow!("{problem}"))?),
                    device: format!("thermostat-{n:07}").parse().map_err(|problem| anyhow!("{problem}"))?,
                    model: "th-200".parse().map_err(|problem| anyhow!("{problem}"))?,
                    serial: Some(format!("TH-{n:09}")),
                };
                app.register_device(&operator, new).await.map_err(|failure| anyhow!("{failure:?}"))?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    gateway.drain().await;
    if devices > 0 {
        println!("{devices} devices registered in {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn open_store(directory: &Path) -> Result<()> {
    // The store says how long it added up its rows.
    tracing_subscriber::fmt()
        .with_env_filter("off,hearthway::store=debug")
        .with_writer(io::stdout)
        .with_ansi(false)
        .init();
    let started = Instant::now();
    let store = EmbeddedStore::open(&directory.join("store"), EmbeddedOptions::default())?;
    report("the store alone", started.elapsed())?;
    let rows = store.count_rows()?;
    println!("  it holds {rows} rows in {} MiB of files", store.size_on_disk()? >> 20);
    Ok(())
}

async fn open_gateway(devices: u64, directory: &Path) -> Result<()> {
    let started = Instant::now();
    let gateway = Gateway::open(&config(directory)?, Arc::new(SystemClock)).await?;
    let took = started.elapsed();
    report("the gateway, from its start until it listens", took)?;
    // Counted last, because the count takes memory of its own.
    let found = gateway.engine().devices(None, usize::MAX).len() as u64;
    if found != devices {
        bail!("it has {found} devices instead of {devices}");
    }
    gateway.drain().await;
    Ok(())
}

fn report(what: &str, took: Duration) -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    let (now, peak) = (kib("VmRSS:"), kib("VmHWM:"));
    println!("  {what}: {:.2} s, {now} KiB resident, {peak} KiB at its peak", took.as_secs_f64());
    Ok(())
}
