//! A crowd of devices that say nothing: what a connection costs the gateway in memory, and how
//! long it takes until all are back when all were cut at once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

use super::device::{self, Connected, Identity, Way};
use super::measure::{Durations, Latency};
use super::{LoadError, Plan, process, world};

/// Devices that connect at the same time while the crowd gathers.
const GATHERING_AT_ONCE: usize = 64;
/// How long the gateway's memory is looked at until it stays the same: its allocator gives back what
/// is free after ten seconds.
const STEADY_WITHIN: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many looks of the same memory make it steady.
const STEADY_LOOKS: usize = 24;
/// What may change between them, bytes.
const STEADY_BYTES: u64 = 128 * 1_024;
/// How often the peak is looked for while all come back.
const PEAK_EVERY: Duration = Duration::from_millis(10);
/// All must be back by then.
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// The pause before a device tries again; twice as long each time up to the longest, as a device does it.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(4);

/// What a crowd does.
#[derive(Debug, Clone)]
pub struct CrowdPlan {
    /// Base address of the gateway's HTTP API.
    pub http: String,
    /// Host and port of its device endpoint.
    pub mqtt: (String, u16),
    /// The authority of the gateway's certificate, where the endpoint is TLS.
    pub tls_ca: Option<PathBuf>,
    /// The operator's token.
    pub operator_token: String,
    /// How many devices, each with a connection of its own.
    pub devices: u32,
    /// The gateway's process, whose memory is read.
    pub pid: u32,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct CrowdReport {
    /// Connections that were open at the same time.
    pub connections: u64,
    /// Whether over TLS.
    pub is_tls: bool,
    /// Resident memory of the gateway with all devices registered and none connected, bytes.
    pub rss_before_bytes: u64,
    /// With all of them connected and subscribed.
    pub rss_connected_bytes: u64,
    /// The difference for each connection.
    pub bytes_per_connection: u64,
    /// Until the last was back after all were cut, seconds.
    pub back_seconds: f64,
    /// From the cut to each device's subscription.
    pub back: Latency,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// The most resident memory of the gateway meanwhile.
    pub rss_peak_bytes: u64,
    /// CPU seconds of the gateway meanwhile.
    pub back_cpu_seconds: f64,
}

impl fmt::Display for CrowdReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let carrier = if self.is_tls { "TLS" } else { "plain" };
        writeln!(f, "{} devices connected and silent, {carrier}", self.connections)?;
        writeln!(
            f,
            "  {:<20} {:.1} MiB before, {:.1} MiB with all: {:.1} KiB per connection",
            "gateway's memory",
            mib(self.rss_before_bytes),
            mib(self.rss_connected_bytes),
            self.bytes_per_connection as f64 / 1_024.0
        )?;
        writeln!(
            f,
            "  {:<20} {:.2} s, {} attempts made again, {:.2} s CPU of the gateway, {:.1} MiB at most",
            "all cut, all back",
            self.back_seconds,
            self.retries,
            self.back_cpu_seconds,
            mib(self.rss_peak_bytes)
        )?;
        write!(f, "  {:<20} {}", "each of them", self.back)
    }
}

impl CrowdPlan {
    /// The load that prepares such a world: few triggers, for nothing is read.
    fn as_load(&self) -> Plan {
        Plan {
            http: self.http.clone(),
            mqtt: self.mqtt.clone(),
            operator_token: self.operator_token.clone(),
            devices: self.devices,
            bridges: 0,
            seconds: 1,
            rate: None,
            window: 1,
            readings: 1,
            triggers: 2,
            pid: Some(self.pid),
            protocol: crate::link::Protocol::V3,
        }
    }
}

/// Registers the devices, connects them, cuts them and lets them come back.
pub async fn crowd(plan: &CrowdPlan, progress: impl Fn(&str, u64)) -> Result<CrowdReport, LoadError> {
    let load = plan.as_load();
    load.check()?;
    if process::usage(plan.pid).is_none() {
        return Err(LoadError::Usage(format!("--pid {}: there is no such process to read the memory of", plan.pid)));
    }
    let way = way(plan)?;
    progress("preparing the devices", 0);
    let world = world::prepare(&load).await.map_err(LoadError::World)?;
    let identities: Vec<Arc<Identity>> = world.devices.into_iter().map(identity).collect();
    progress("waiting for the gateway's memory to be steady", 0);
    let rss_before_bytes = steady(plan.pid).await?;
    let connected = gather(&way, &identities, &progress).await?;
    progress("waiting for the gateway's memory to be steady", 0);
    let rss_connected_bytes = steady(plan.pid).await?;
    progress("all are cut", 0);
    let back = come_back(plan.pid, &way, &identities, connected).await?;
    let n = identities.len() as u64;
    Ok(CrowdReport {
        connections: n,
        is_tls: plan.tls_ca.is_some(),
        rss_before_bytes,
        rss_connected_bytes,
        bytes_per_connection: rss_connected_bytes.saturating_sub(rss_before_bytes) / n,
        back_seconds: f64::from(back.each.max_us) / 1e6,
        back: back.each,
        retries: back.retries,
        rss_peak_bytes: back.rss_peak_bytes,
        back_cpu_seconds: back.cpu_seconds,
    })
}

fn way(plan: &CrowdPlan) -> Result<Way, LoadError> {
    let (host, port) = plan.mqtt.clone();
    let Some(authority) = &plan.tls_ca else { return Ok(Way { host, port, tls: None }) };
    let usage = |error: String| LoadError::Usage(error);
    let mut config = crate::relay::client_config(authority, None).map_err(|error| usage(format!("{error:#}")))?;
    // Every handshake is a whole one: a device that was cut may have forgotten its ticket.
    config.resumption = rustls::client::Resumption::disabled();
    let name = rustls::pki_types::ServerName::try_from(host.clone());
    let name = name.map_err(|error| usage(format!("`{host}` as a TLS name: {error}")))?;
    Ok(Way { host, port, tls: Some((Arc::new(config), name)) })
}

fn identity([client_id, username, secret]: [String; 3]) -> Arc<Identity> {
    let filter = format!("chan/v1/{username}/down/#");
    Arc::new(Identity { client_id, username, secret, filter })
}

/// The gateway's resident memory once it stays the same, or at the end of the patience.
async fn steady(pid: u32) -> Result<u64, LoadError> {
    let until = Instant::now() + STEADY_WITHIN;
    let mut looks = Vec::new();
    loop {
        looks.push(rss(pid)?);
        let last = &looks[looks.len().saturating_sub(STEADY_LOOKS)..];
        let (least, most) = (last.iter().min().copied().unwrap_or(0), last.iter().max().copied().unwrap_or(0));
        if (last.len() == STEADY_LOOKS && most - least <= STEADY_BYTES) || Instant::now() > until {
            return rss(pid);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn rss(pid: u32) -> Result<u64, LoadError> {
    process::resident_bytes(pid).ok_or_else(|| LoadError::Connect("the gateway's process is gone".into()))
}

async fn gather(
    way: &Way,
    identities: &[Arc<Identity>],
    progress: &impl Fn(&str, u64),
) -> Result<Vec<Connected>, LoadError> {
    let at_once = Arc::new(Semaphore::new(GATHERING_AT_ONCE));
    let mut opening = JoinSet::new();
    for identity in identities.iter().cloned() {
        let (way, at_once) = (way.clone(), at_once.clone());
        opening.spawn(async move {
            let _turn = at_once.acquire_owned().await;
            device::connect(&way, &identity).await.map_err(|why| format!("`{}`: {why}", identity.client_id))
        });
    }
    let mut connected = Vec::with_capacity(identities.len());
    while let Some(opened) = opening.join_next().await {
        let opened = opened.map_err(|error| error.to_string()).and_then(|opened| opened);
        connected.push(opened.map_err(LoadError::Connect)?);
        progress("connecting", connected.len() as u64);
    }
    Ok(connected)
}

struct Back {
    each: Latency,
    retries: u64,
    rss_peak_bytes: u64,
    cpu_seconds: f64,
}

/// Cuts everybody and measures from that moment.
async fn come_back(
    pid: u32,
    way: &Way,
    identities: &[Arc<Identity>],
    connected: Vec<Connected>,
) -> Result<Back, LoadError> {
    let gone = || LoadError::Connect("the gateway's process is gone".into());
    let retries = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(identities.len() + 1));
    let mut coming = JoinSet::new();
    for (identity, old) in identities.iter().cloned().zip(connected) {
        let (way, retries, start) = (way.clone(), retries.clone(), start.clone());
        coming.spawn(async move {
            start.wait().await;
            let begun = Instant::now();
            drop(old);
            let mut pause = RETRY_FIRST;
            loop {
                match device::connect(&way, &identity).await {
                    Ok(connected) => return Ok((connected, begun.elapsed())),
                    Err(why) if begun.elapsed() > BACK_WITHIN => {
                        return Err(format!("`{}` is not back after {BACK_WITHIN:?}: {why}", identity.client_id));
                    }
                    Err(_) => {
                        retries.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(RETRY_LONGEST);
                    }
                }
            }
        });
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(peak(pid, is_over.clone()));
    let before = process::usage(pid).ok_or_else(gone)?;
    start.wait().await;
    let (mut each, mut all) = (Durations::default(), Vec::with_capacity(identities.len()));
    while let Some(back) = coming.join_next().await {
        let back = back.map_err(|error| error.to_string()).and_then(|back| back);
        let (connected, took) = back.map_err(LoadError::Connect)?;
        each.add(took);
        all.push(connected);
    }
    let after = process::usage(pid).ok_or_else(gone)?;
    is_over.store(true, Ordering::Relaxed);
    let rss_peak_bytes = watching.await.map_err(|error| LoadError::Connect(error.to_string()))?;
    Ok(Back {
        each: each.percentiles(),
        retries: retries.load(Ordering::Relaxed),
        rss_peak_bytes,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
    })
}

/// The most resident memory until it is over. The kernel's own mark would remember what was before.
async fn peak(pid: u32, is_over: Arc<AtomicBool>) -> u64 {
    let mut most = 0;
    while !is_over.load(Ordering::Relaxed) {
        most = most.max(process::resident_bytes(pid).unwrap_or(0));
        tokio::time::sleep(PEAK_EVERY).await;
    }
    most
}
