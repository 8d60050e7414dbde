//! Logs and metrics: an interface for the people who run the gateway.
//!
//! Logs go to stderr, so that stdout carries only what a program may wait for. Metrics are
//! declared where they are counted (`pub const METRICS` of each area) and collected here; a test
//! walks the declarations and the sources.

pub mod limits;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// One area's metrics: name, unit, meaning.
pub type Declared = &'static [(&'static str, &'static str, &'static str)];

/// The metrics of this area.
pub const METRICS: Declared = &[("gateway_ready_count", "gateways", "1 from the moment that traffic is taken")];

/// Every metric of the gateway, by area.
pub const ALL: &[Declared] = &[
    METRICS,
    limits::METRICS,
    crate::engine::metrics::METRICS,
    crate::mqtt::metrics::METRICS,
    crate::broker::metrics::METRICS,
    crate::webhook::metrics::METRICS,
    crate::app::audit::METRICS,
];

/// How often histograms are folded. Between two folds every sample is kept, so the memory of a
/// busy gateway is bounded by this.
pub const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Bounds of the buckets of durations, seconds: from a decision (microseconds) to a slow disk.
const DURATION_BUCKETS: &[f64] = &[
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 5.0,
];
/// Bounds of the buckets of sizes and counts: powers of two up to a full group.
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0];

/// Sends logs to stderr. `level` such as `info` or `hearthway=debug` goes before `RUST_LOG`;
/// without both it is `info`.
pub fn log_to_stderr(level: Option<&str>) -> Result<(), String> {
    let filter = match level {
        Some(level) => EnvFilter::try_new(level).map_err(|e| format!("`{level}` is not a log level: {e}"))?,
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let set = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    set.try_init().map_err(|e| e.to_string())
}

/// The process's metrics. The `metrics` crate has one recorder per process, so this is the one
/// thing that two gateways in one process share.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts recording, or joins the recording that was started.
    pub fn of_the_process() -> Metrics {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let start = || {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATION_BUCKETS)
                .and_then(|builder| builder.set_buckets(COUNT_BUCKETS));
            let recorder = builder.expect("the bucket lists are constants and not empty").build_recorder();
            let handle = recorder.handle();
            // Refused only when a test installed its own recorder first; then ours stays silent.
            if metrics::set_global_recorder(recorder).is_ok() {
                describe_all();
            }
            handle
        };
        Metrics(HANDLE.get_or_init(start).clone())
    }

    /// The page that Prometheus reads.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what was recorded since the last time; called every [`FOLD_EVERY`].
    pub fn fold(&self) {
        self.0.run_upkeep();
    }
}

/// Gives every metric its HELP line. The exporter keeps one text per name, whatever its kind.
fn describe_all() {
    for (name, unit, meaning) in ALL.iter().copied().flatten() {
        metrics::describe_gauge!(*name, format!("{meaning} ({unit})"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_a_unit_and_a_meaning_and_is_declared_once() {
        let mut seen = BTreeSet::new();
        for (name, unit, meaning) in ALL.iter().copied().flatten() {
            assert!(seen.insert(name), "{name} is declared twice");
            assert!(name.split('_').count() >= 2, "{name}: write <area>_<noun>_<unit>[_total]");
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}: lower case and _ only");
            assert!(!unit.is_empty() && meaning.len() >= 10, "{name}: say the unit and the meaning");
        }
    }

    #[test]
    fn what_is_counted_is_on_the_page() {
        let metrics = Metrics::of_the_process();
        metrics::gauge!("gateway_ready_count").set(1.0);
        let page = metrics.render();
        assert!(page.contains("# HELP gateway_ready_count"), "{page}");
        assert!(page.contains("gateway_ready_count 1"), "{page}");
    }
}
