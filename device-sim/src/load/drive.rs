//! Sends readings over the connections of a load and pairs what comes back with what was sent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

use super::measure::{Durations, Report};
use super::world::{CROSSED_MAX, STEP, World, maker, threshold};
use super::{LoadError, Plan, READINGS_PER_OFFER, SETTLE};
use crate::link::{Dial, Heard, Link};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// Connections that are opened at the same time, so that the listener's queue is not the measurement.
const OPENING_MAX: usize = 64;

/// One device: what it measured last, and the crossing whose offer it waits for.
struct Device {
    name: String,
    topic: String,
    readings: u64,
    trigger: u32,
    triggers: u32,
    /// Whether every tenth reading crosses.
    crosses: bool,
    waiting: VecDeque<Instant>,
}

impl Device {
    fn new(maker: &str, name: &str, index: u32, triggers: u32) -> Device {
        Device {
            name: name.to_owned(),
            topic: format!("chan/v1/{maker}/{name}/up/telemetry"),
            readings: 0,
            // Devices start on different triggers of the lower half; each crossing moves one up.
            trigger: index % (triggers / 2).max(1),
            triggers,
            crosses: true,
            waiting: VecDeque::new(),
        }
    }

    /// The next temperature, and whether it crosses. A device stays just above a threshold, dips
    /// below it every tenth time, and goes on to the next one: upwards nothing fires.
    fn next(&mut self) -> (f64, bool) {
        self.readings += 1;
        let dips = self.crosses && self.readings.is_multiple_of(READINGS_PER_OFFER);
        let base = threshold(self.trigger);
        if dips {
            if self.trigger + 1 < self.triggers {
                self.trigger += 1;
            }
            return (base - STEP / 5.0, true);
        }
        let wobble = (self.readings % 3) as f64 * STEP / 10.0;
        (base + STEP / 2.0 + wobble, false)
    }
}

/// A reading that is not acknowledged yet.
struct UnderWay {
    device: usize,
    sent: Instant,
    crosses: bool,
}

/// One connection and the devices it speaks for.
pub(super) struct Lane {
    link: Link,
    heard: mpsc::Receiver<Heard>,
    devices: Vec<Device>,
    by_name: HashMap<String, usize>,
    under_way: HashMap<u64, UnderWay>,
    next_ticket: u64,
    seen_offers: HashSet<String>,
    puback: Durations,
    offer: Durations,
    pub(super) report: Report,
    run: String,
}

/// What the lanes share.
pub(super) struct Pace {
    window: usize,
    /// Time between two readings of one lane; none is as fast as the window allows.
    every: Option<Duration>,
    left: AtomicU64,
    until: Duration,
}

impl Pace {
    pub(super) fn new(window: u16, every: Option<Duration>, readings: u64, until: Duration) -> Pace {
        Pace { window: usize::from(window), every, left: AtomicU64::new(readings), until }
    }

    /// When a lane begins: those with a rate do not beat in one rhythm.
    pub(super) fn offset(&self, place: usize, lanes: usize) -> Duration {
        self.every.map(|every| every.mul_f64(place as f64 / lanes as f64)).unwrap_or_default()
    }
}

pub(super) async fn drive(plan: &Plan, world: &World, progress: &impl Fn(&str, u64)) -> Result<Report, LoadError> {
    let lanes = connect(plan, world).await?;
    let connections = lanes.len();
    progress("sending", 0);
    let every = plan.rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
    let pace = Arc::new(Pace::new(plan.window, every, plan.readings, Duration::from_secs(plan.seconds)));
    let ready = Arc::new(Barrier::new(connections));
    let mut running = JoinSet::new();
    for (n, lane) in lanes.into_iter().enumerate() {
        let (pace, ready) = (pace.clone(), ready.clone());
        let offset = pace.offset(n, connections);
        running.spawn(async move {
            ready.wait().await;
            tokio::time::sleep(offset).await;
            lane.play(&pace).await
        });
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let (mut report, mut puback, mut offer) = (Report::default(), Durations::default(), Durations::default());
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok(lane)) => {
                    report = added(report, &lane.report);
                    puback.absorb(lane.puback);
                    offer.absorb(lane.offer);
                }
                Some(Err(_)) => report.broken += 1,
                None => break,
            },
            _ = ticks.tick() => progress("sending", plan.readings - pace.left.load(Ordering::Relaxed)),
        }
    }
    report.devices = u64::from(plan.devices);
    report.connections = connections as u64;
    report.per_second = if report.seconds > 0.0 { report.acknowledged as f64 / report.seconds } else { 0.0 };
    report.puback = puback.percentiles();
    report.offer = offer.percentiles();
    Ok(report)
}

fn added(mut sum: Report, lane: &Report) -> Report {
    sum.seconds = sum.seconds.max(lane.seconds);
    sum.sent += lane.sent;
    sum.acknowledged += lane.acknowledged;
    sum.refused += lane.refused;
    sum.errors += lane.errors;
    sum.crossings += lane.crossings;
    sum.offers += lane.offers;
    sum.lost += lane.lost;
    sum.unacknowledged += lane.unacknowledged;
    sum.doubled += lane.doubled;
    sum.misrouted += lane.misrouted;
    sum.broken += lane.broken;
    sum.first_error = sum.first_error.or_else(|| lane.first_error.clone());
    sum
}

pub(super) async fn connect(plan: &Plan, world: &World) -> Result<Vec<Lane>, LoadError> {
    let lanes = if plan.bridges == 0 { plan.devices } else { plan.bridges } as usize;
    let mut shares: Vec<Vec<Device>> = (0..lanes).map(|_| Vec::new()).collect();
    for (n, [name, _, _]) in world.devices.iter().enumerate() {
        let maker = maker(if plan.bridges == 0 { 0 } else { n % lanes });
        shares[n % lanes].push(Device::new(&maker, name, n as u32, plan.triggers.min(CROSSED_MAX)));
    }
    let (mut open, mut waiting) = (Vec::with_capacity(lanes), JoinSet::new());
    for (n, devices) in shares.into_iter().enumerate() {
        if waiting.len() >= OPENING_MAX {
            collect(&mut waiting, &mut open).await?;
        }
        let (client_id, username, password) = match plan.bridges {
            0 => world.devices[n].clone().into(),
            _ => (format!("load-bridge-{n}"), world.bridges[n].0.clone(), world.bridges[n].1.clone()),
        };
        let filter = match plan.bridges {
            0 => format!("chan/v1/{}/{client_id}/down/#", maker(0)),
            _ => format!("chan/v1/{}/+/down/#", maker(n)),
        };
        let dial = Dial {
            host: plan.mqtt.0.clone(),
            port: plan.mqtt.1,
            protocol: plan.protocol,
            client_id,
            username,
            password,
            will: None,
            clean: true,
            window: plan.window,
        };
        waiting.spawn(async move { lane(dial, filter, devices).await });
    }
    while !waiting.is_empty() {
        collect(&mut waiting, &mut open).await?;
    }
    Ok(open)
}

async fn collect(waiting: &mut JoinSet<Result<Lane, String>>, open: &mut Vec<Lane>) -> Result<(), LoadError> {
    if let Some(ended) = waiting.join_next().await {
        let lane = ended.map_err(|error| error.to_string()).and_then(|lane| lane).map_err(LoadError::Connect)?;
        open.push(lane);
    }
    Ok(())
}

async fn lane(dial: Dial, filter: String, devices: Vec<Device>) -> Result<Lane, String> {
    let who = dial.client_id.clone();
    let run = format!("{:x}", crate::clock::wall_now().0);
    let (mut link, mut heard) = Link::open(dial);
    let wait = async {
        while let Some(it) = heard.recv().await {
            match it {
                Heard::Open => link.subscribe(&filter).map_err(|error| error.to_string())?,
                Heard::Subscribed { granted: true } => return Ok(()),
                Heard::Subscribed { granted: false } => return Err(format!("`{who}` may not subscribe {filter}")),
                Heard::Closed { why } => return Err(format!("`{who}`: {why}")),
                Heard::Acked { .. } | Heard::Message { .. } => {}
            }
        }
        Err(format!("`{who}`: the connection ended"))
    };
    tokio::time::timeout(CONNECT_MAX, wait).await.map_err(|_| format!("`{who}`: no answer in {CONNECT_MAX:?}"))??;
    let by_name = devices.iter().enumerate().map(|(n, device)| (device.name.clone(), n)).collect();
    Ok(Lane {
        link,
        heard,
        devices,
        by_name,
        under_way: HashMap::new(),
        next_ticket: 0,
        seen_offers: HashSet::new(),
        puback: Durations::default(),
        offer: Durations::default(),
        report: Report::default(),
        run,
    })
}

impl Lane {
    /// Its devices say nothing that makes an offer.
    pub(super) fn never_crosses(&mut self) {
        self.devices.iter_mut().for_each(|device| device.crosses = false);
    }

    /// The times to the acknowledgements since the last call.
    pub(super) fn take_puback(&mut self) -> Durations {
        std::mem::take(&mut self.puback)
    }

    /// Sends until the time or the readings are over, then waits for what is owed.
    pub(super) async fn play(mut self, pace: &Pace) -> Lane {
        let began = Instant::now();
        let mut next = 0;
        let mut due = tokio::time::Instant::now();
        let mut open = true;
        let mut last_ack = began;
        while open && began.elapsed() < pace.until {
            let free = self.under_way.len() < pace.window;
            let ends_in = pace.until.saturating_sub(began.elapsed());
            tokio::select! {
                biased;
                it = self.heard.recv() => {
                    if matches!(it, Some(Heard::Acked { .. })) {
                        last_ack = Instant::now();
                    }
                    open = self.hear(it);
                }
                () = tokio::time::sleep_until(due), if free => {
                    if !take_one(&pace.left) || !self.send(&mut next) {
                        break;
                    }
                    due = pace.every.map_or(due, |every| due + every);
                }
                () = tokio::time::sleep(ends_in) => break,
            }
        }
        let settle = tokio::time::Instant::now() + SETTLE;
        while open && self.owes() {
            match tokio::time::timeout_at(settle, self.heard.recv()).await {
                Ok(it) => {
                    if matches!(it, Some(Heard::Acked { .. })) {
                        last_ack = Instant::now();
                    }
                    open = self.hear(it);
                }
                Err(_) => break,
            }
        }
        self.report.seconds = (last_ack - began).as_secs_f64();
        self.report.unacknowledged = self.under_way.len() as u64;
        self.report.lost = self.devices.iter().map(|device| device.waiting.len() as u64).sum();
        self.report.broken = u64::from(!open);
        self
    }

    fn owes(&self) -> bool {
        !self.under_way.is_empty() || self.devices.iter().any(|device| !device.waiting.is_empty())
    }

    fn send(&mut self, next: &mut usize) -> bool {
        let index = *next;
        *next = (*next + 1) % self.devices.len();
        let device = &mut self.devices[index];
        let (temperature, crosses) = device.next();
        self.next_ticket += 1;
        let id = format!("{}-{}-{}", self.run, index, device.readings);
        let body = json!({"v": "1.0", "id": id, "body": {"samples": [{"f": {"temperature": temperature}}]}});
        let sent = Instant::now();
        if self.link.publish(&device.topic, body.to_string().into_bytes(), self.next_ticket).is_err() {
            return false;
        }
        if crosses {
            device.waiting.push_back(sent);
            self.report.crossings += 1;
        }
        self.under_way.insert(self.next_ticket, UnderWay { device: index, sent, crosses });
        self.report.sent += 1;
        true
    }

    /// False when the connection is over.
    fn hear(&mut self, heard: Option<Heard>) -> bool {
        match heard {
            Some(Heard::Acked { ticket, refused }) => {
                let Some(reading) = self.under_way.remove(&ticket) else { return true };
                self.puback.add(reading.sent.elapsed());
                self.report.acknowledged += 1;
                if refused.is_some() {
                    self.report.refused += 1;
                    if reading.crosses {
                        self.devices[reading.device].waiting.retain(|at| *at != reading.sent);
                    }
                }
            }
            Some(Heard::Message { topic, payload }) => self.message(&topic, &payload),
            Some(Heard::Open | Heard::Subscribed { .. }) => {}
            Some(Heard::Closed { .. }) | None => return false,
        }
        true
    }

    fn message(&mut self, topic: &str, payload: &[u8]) {
        let arrived = Instant::now();
        let mut levels = topic.split('/').skip(3);
        let (name, tail) = (levels.next().unwrap_or(""), levels.nth(1).unwrap_or(""));
        if tail == "error" {
            self.report.errors += 1;
            let text = || String::from_utf8_lossy(payload).chars().take(300).collect();
            self.report.first_error.get_or_insert_with(text);
            return;
        }
        if tail != "offer" {
            return;
        }
        let Ok(message) = serde_json::from_slice::<Value>(payload) else { return };
        if message["body"]["op"] != "put" {
            return;
        }
        let Some(device) = self.by_name.get(name).map(|n| &mut self.devices[*n]) else {
            self.report.misrouted += 1;
            return;
        };
        let id = message["body"]["offer"]["id"].as_str().unwrap_or("").to_owned();
        match device.waiting.pop_front() {
            Some(sent) if self.seen_offers.insert(id) => {
                self.offer.add(arrived - sent);
                self.report.offers += 1;
            }
            Some(sent) => {
                device.waiting.push_front(sent);
                self.report.doubled += 1;
            }
            None => self.report.doubled += 1,
        }
    }
}

/// Takes one of the readings that may still be sent.
fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_in_ten_crosses_exactly_one_threshold_downwards() {
        let mut device = Device::new("m", "d", 3, 100);
        let (mut last, mut crossings) = (None::<f64>, 0);
        for _ in 0..900 {
            let (value, crosses) = device.next();
            let passed =
                last.map_or(0, |last| (0..100).filter(|n| last >= threshold(*n) && value < threshold(*n)).count());
            assert_eq!(passed, usize::from(crosses), "{last:?} → {value}");
            crossings += passed;
            last = Some(value);
        }
        assert_eq!(crossings, 90);
    }

    #[test]
    fn a_budget_of_readings_ends() {
        let left = AtomicU64::new(2);
        assert_eq!([take_one(&left), take_one(&left), take_one(&left)], [true, true, false]);
    }
}
