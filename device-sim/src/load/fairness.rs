//! One device that floods beside many that do not: how much later the others are acknowledged.
//!
//! Rounds with and without the flood take turns over the same connections, so that whatever else
//! the machine does falls on both.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::drive::{Lane, Pace, connect};
use super::measure::{Durations, Latency};
use super::{LoadError, Plan, world};

/// Rounds of each kind at most.
const ROUNDS_MAX: u32 = 50;

/// What is measured.
#[derive(Debug, Clone)]
pub struct FairnessPlan {
    /// Address, token and protocol; `devices` are the quiet ones, `rate` is theirs together, `seconds`
    /// those of one round.
    pub load: Plan,
    /// Readings per second of the loud device.
    pub loud_rate: f64,
    /// Rounds with and as many without it.
    pub rounds: u32,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct FairnessReport {
    /// Quiet devices.
    pub devices: u32,
    /// Their readings per second together.
    pub rate: f64,
    /// What the loud device wanted to send per second.
    pub loud_rate: f64,
    /// What was acknowledged to it per second.
    pub loud_acknowledged: f64,
    /// From publish to PUBACK of the quiet ones, alone.
    pub alone: Latency,
    /// The same beside the loud one.
    pub beside: Latency,
    /// Readings of quiet devices that were not acknowledged.
    pub unacknowledged: u64,
    /// Connections that broke.
    pub broken: u64,
}

impl FairnessReport {
    /// By how many percent the 99th percentile of the others is later.
    pub fn p99_moved_percent(&self) -> f64 {
        (f64::from(self.beside.p99_us) / f64::from(self.alone.p99_us.max(1)) - 1.0) * 100.0
    }

    /// Whether every reading of a quiet device was acknowledged.
    pub fn is_good(&self) -> bool {
        self.unacknowledged + self.broken == 0 && self.alone.count > 0 && self.beside.count > 0
    }
}

impl fmt::Display for FairnessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FairnessReport { devices, rate, loud_rate, loud_acknowledged, .. } = self;
        writeln!(f, "{devices} devices at {rate:.0} readings a second, beside one at {loud_rate:.0}")?;
        writeln!(f, "  {:<20} {}", "alone", self.alone)?;
        writeln!(f, "  {:<20} {}", "beside the loud one", self.beside)?;
        writeln!(f, "  {:<20} {:+.1} %", "p99 moved by", self.p99_moved_percent())?;
        write!(
            f,
            "  {:<20} {loud_acknowledged:.0} a second acknowledged; of the others {} unacknowledged, {} broken",
            "the loud one", self.unacknowledged, self.broken
        )
    }
}

/// Connects all, and lets rounds without and with the loud device take turns.
pub async fn fairness(plan: &FairnessPlan, progress: impl Fn(&str, u64)) -> Result<FairnessReport, LoadError> {
    let load = Plan { devices: plan.load.devices.saturating_add(1), bridges: 0, ..plan.load.clone() };
    load.check()?;
    let rate = load.rate.ok_or_else(|| LoadError::Usage("the quiet devices need a rate".into()))?;
    if !(plan.loud_rate > 0.0 && plan.loud_rate <= 100_000.0) {
        return Err(LoadError::Usage("--loud-rate takes a number above 0, up to 100000".into()));
    }
    if !(1..=ROUNDS_MAX).contains(&plan.rounds) {
        return Err(LoadError::Usage(format!("--rounds takes 1 to {ROUNDS_MAX}")));
    }
    progress("preparing the shop, the triggers and the devices", 0);
    let world = world::prepare(&load).await.map_err(LoadError::World)?;
    progress("connecting", 0);
    let mut quiet = connect(&load, &world).await?;
    let mut loud = quiet.pop().ok_or_else(|| LoadError::Connect("no connection".into()))?;
    loud.never_crosses();

    let until = Duration::from_secs(load.seconds);
    let every = Duration::from_secs_f64(quiet.len() as f64 / rate);
    let steady = Arc::new(Pace::new(load.window, Some(every), load.readings, until));
    let (mut alone, mut beside) = (Durations::default(), Durations::default());
    let (mut unacknowledged, mut broken, mut loud_seconds) = (0, 0, 0.0);
    for round in 0..u64::from(plan.rounds) {
        progress("alone, round", round + 1);
        quiet = play(quiet, &steady, &mut alone).await;
        progress("beside the loud one, round", round + 1);
        let flood = Pace::new(load.window, Some(Duration::from_secs_f64(1.0 / plan.loud_rate)), u64::MAX, until);
        let flooding = tokio::spawn(async move { loud.play(&flood).await });
        quiet = play(quiet, &steady, &mut beside).await;
        loud = flooding.await.map_err(|error| LoadError::Connect(error.to_string()))?;
        loud_seconds += loud.report.seconds;
        for lane in &quiet {
            unacknowledged += lane.report.unacknowledged;
            broken += lane.report.broken;
        }
    }
    Ok(FairnessReport {
        devices: plan.load.devices,
        rate,
        loud_rate: plan.loud_rate,
        loud_acknowledged: loud.report.acknowledged as f64 / loud_seconds.max(f64::MIN_POSITIVE),
        alone: alone.percentiles(),
        beside: beside.percentiles(),
        unacknowledged,
        broken,
    })
}

/// One round of the quiet devices; no two beat in one rhythm.
async fn play(lanes: Vec<Lane>, pace: &Arc<Pace>, into: &mut Durations) -> Vec<Lane> {
    let n = lanes.len();
    let mut playing = JoinSet::new();
    for (place, lane) in lanes.into_iter().enumerate() {
        let pace = pace.clone();
        playing.spawn(async move {
            tokio::time::sleep(pace.offset(place, n)).await;
            lane.play(&pace).await
        });
    }
    let mut lanes = Vec::with_capacity(n);
    while let Some(Ok(mut lane)) = playing.join_next().await {
        into.absorb(lane.take_puback());
        lanes.push(lane);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(alone: u32, beside: u32) -> FairnessReport {
        let latency = |p99_us| Latency { count: 1, p99_us, ..Latency::default() };
        FairnessReport {
            devices: 200,
            rate: 200.0,
            loud_rate: 1_000.0,
            loud_acknowledged: 10.0,
            alone: latency(alone),
            beside: latency(beside),
            unacknowledged: 0,
            broken: 0,
        }
    }

    #[test]
    fn the_move_of_the_99th_percentile_is_told_in_percent() {
        assert!((report(1_000, 1_200).p99_moved_percent() - 20.0).abs() < 1e-9);
        assert!((report(1_000, 900).p99_moved_percent() + 10.0).abs() < 1e-9);
        assert!(report(1, 1).is_good());
        assert!(!FairnessReport { unacknowledged: 1, ..report(1, 1) }.is_good());
    }
}
