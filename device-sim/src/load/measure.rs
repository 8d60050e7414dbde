//! Percentiles and the report of a load.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::process::Usage;

/// Durations gathered, exact: a load is bounded, so that all of them fit.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations(Vec<u32>);

impl Durations {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }
    pub(super) fn absorb(&mut self, other: Durations) {
        self.0.extend(other.0);
    }
    pub(super) fn percentiles(mut self) -> Latency {
        self.0.sort_unstable();
        let at = |share: f64| {
            let last = self.0.len().saturating_sub(1);
            self.0.get(((last as f64) * share).round() as usize).copied().unwrap_or(0)
        };
        Latency {
            count: self.0.len() as u64,
            p50_us: at(0.50),
            p90_us: at(0.90),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
        }
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half are faster.
    pub p50_us: u32,
    /// Nine in ten are faster.
    pub p90_us: u32,
    /// 99 in 100 are faster.
    pub p99_us: u32,
    /// 999 in 1000 are faster.
    pub p999_us: u32,
    /// The slowest.
    pub max_us: u32,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u32| f64::from(us) / 1_000.0;
        let (a, b, c, d) = (ms(self.p50_us), ms(self.p90_us), ms(self.p99_us), ms(self.max_us));
        write!(f, "p50 {a:.2} ms, p90 {b:.2} ms, p99 {c:.2} ms, max {d:.2} ms ({} measured)", self.count)
    }
}

/// What came of a load.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Devices.
    pub devices: u64,
    /// Connections.
    pub connections: u64,
    /// Seconds from the first reading to the last acknowledgement.
    pub seconds: f64,
    /// Readings sent.
    pub sent: u64,
    /// Readings acknowledged.
    pub acknowledged: u64,
    /// Readings that were refused in their acknowledgement.
    pub refused: u64,
    /// Messages on `down/error`.
    pub errors: u64,
    /// The first of them, as it came.
    pub first_error: Option<String>,
    /// Acknowledged readings per second.
    pub per_second: f64,
    /// Readings that crossed a threshold.
    pub crossings: u64,
    /// Offers that came for them.
    pub offers: u64,
    /// Crossings acknowledged whose offer did not come.
    pub lost: u64,
    /// Readings that were never acknowledged.
    pub unacknowledged: u64,
    /// Offers that came twice, or without a crossing.
    pub doubled: u64,
    /// Messages that came to a connection that does not speak for their device.
    pub misrouted: u64,
    /// Connections that broke.
    pub broken: u64,
    /// From publish to PUBACK.
    pub puback: Latency,
    /// From publish to the offer.
    pub offer: Latency,
    /// CPU seconds of the gateway during the load.
    pub gateway_cpu_seconds: Option<f64>,
    /// The same per acknowledged reading, microseconds.
    pub gateway_cpu_us_per_reading: Option<f64>,
    /// Peak resident memory of the gateway, bytes.
    pub gateway_peak_rss_bytes: Option<u64>,
}

impl Report {
    /// Whether nothing was lost, doubled or misrouted.
    pub fn is_good(&self) -> bool {
        self.lost + self.doubled + self.misrouted + self.unacknowledged + self.broken == 0 && self.acknowledged > 0
    }

    pub(super) fn with_usage(mut self, before: Option<Usage>, after: Option<Usage>) -> Report {
        let Some((before, after)) = before.zip(after) else { return self };
        let cpu = after.cpu_seconds - before.cpu_seconds;
        self.gateway_cpu_seconds = Some(cpu);
        self.gateway_cpu_us_per_reading = (self.acknowledged > 0).then(|| cpu * 1e6 / self.acknowledged as f64);
        self.gateway_peak_rss_bytes = Some(after.peak_rss_bytes);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { devices, connections, seconds, .. } = self;
        writeln!(f, "Load of {devices} devices over {connections} connections for {seconds:.1} s")?;
        writeln!(
            f,
            "  {:<20} {} sent, {} acknowledged, {:.0} per second",
            "readings", self.sent, self.acknowledged, self.per_second
        )?;
        writeln!(f, "  {:<20} {}", "reading → PUBACK", self.puback)?;
        writeln!(f, "  {:<20} {}", "reading → offer", self.offer)?;
        writeln!(f, "  {:<20} {} crossings, {} offers", "offers", self.crossings, self.offers)?;
        let Report { lost, doubled, misrouted, unacknowledged, broken, refused, errors, .. } = self;
        writeln!(
            f,
            "  {:<20} {lost} lost, {doubled} doubled, {misrouted} misrouted, {unacknowledged} unacknowledged",
            "must be 0"
        )?;
        write!(f, "  {:<20} {refused} refused, {errors} errors, {broken} broken connections", "")?;
        if let Some(first) = &self.first_error {
            write!(f, "\n  {:<20} {first}", "first error")?;
        }
        if let (Some(cpu), Some(rss)) = (self.gateway_cpu_seconds, self.gateway_peak_rss_bytes) {
            let each = self.gateway_cpu_us_per_reading.unwrap_or(0.0);
            let rss = rss as f64 / 1_048_576.0;
            write!(f, "\n  {:<20} {cpu:.2} s CPU ({each:.1} µs per reading), {rss:.1} MiB at most", "gateway")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_durations() {
        let mut durations = Durations::default();
        for n in (1..=1_000).rev() {
            durations.add(Duration::from_micros(n));
        }
        let latency = durations.percentiles();
        assert_eq!((latency.p50_us, latency.p90_us, latency.max_us), (501, 900, 1_000));
        assert_eq!(Durations::default().percentiles(), Latency::default());
    }

    #[test]
    fn one_lost_offer_makes_a_bad_report() {
        let good = Report { acknowledged: 10, ..Report::default() };
        assert!(good.is_good());
        assert!(!Report { lost: 1, ..good.clone() }.is_good());
        assert!(!Report { misrouted: 1, ..good }.is_good());
        assert!(!Report::default().is_good(), "nothing acknowledged proves nothing");
    }
}
