//! Load: many devices that report and hardly think. Prepares its own world over HTTP, sends
//! readings of which every tenth crosses a threshold, and measures what comes back.

mod crowd;
mod device;
mod drive;
mod fairness;
mod measure;
mod process;
mod world;

use std::net::IpAddr;
use std::time::Duration;

pub use crowd::{CrowdPlan, CrowdReport, crowd};
pub use fairness::{FairnessPlan, FairnessReport, fairness};
pub use measure::{Latency, Report};

/// Devices that one load plays at most.
pub const DEVICES_MAX: u32 = 50_000;
/// Connections at most: file descriptors of a usual shell.
pub const CONNECTIONS_MAX: u32 = 20_000;
/// Seconds at most: a load is a measurement and not a soak.
pub const SECONDS_MAX: u64 = 600;
/// Readings at most, so that a mistyped rate ends too.
pub const READINGS_MAX: u64 = 10_000_000;
/// As many as a retailer may have live.
const TRIGGERS_MAX: u32 = 10_000;
/// Every so many readings of a device, one crosses a threshold.
pub const READINGS_PER_OFFER: u64 = 10;

/// What a load does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Base address of the gateway's HTTP API.
    pub http: String,
    /// Host and port of its device endpoint.
    pub mqtt: (String, u16),
    /// The operator's token.
    pub operator_token: String,
    /// How many devices.
    pub devices: u32,
    /// Over how many bridge connections; 0 is one connection per device.
    pub bridges: u32,
    /// How long.
    pub seconds: u64,
    /// Readings per second altogether; none is as many as are acknowledged.
    pub rate: Option<f64>,
    /// Readings under way per connection at most.
    pub window: u16,
    /// How many readings at most.
    pub readings: u64,
    /// How many triggers; readings cross the first two hundred.
    pub triggers: u32,
    /// The gateway's process, whose CPU time and memory are read.
    pub pid: Option<u32>,
    /// MQTT version.
    pub protocol: crate::link::Protocol,
}

/// Why a load cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A bound or an address.
    #[error("{0}")]
    Usage(String),
    /// The gateway refused the preparation.
    #[error("preparing the load: {0}")]
    World(String),
    /// A connection did not come about.
    #[error("connecting the load: {0}")]
    Connect(String),
}

impl Plan {
    /// Checks the bounds, and that everything stays on this machine.
    pub fn check(&self) -> Result<(), LoadError> {
        let usage = |text: String| Err(LoadError::Usage(text));
        let http_host = host_of(&self.http).unwrap_or_default();
        for host in [self.mqtt.0.as_str(), http_host.as_str()] {
            // A path is a relay's; where that leads was checked before it was started.
            if !is_loopback(host) && !host.starts_with('/') {
                return usage(format!(
                    "`{host}` is not this machine; a load is only run against 127.0.0.1, ::1 or localhost"
                ));
            }
        }
        if !(1..=DEVICES_MAX).contains(&self.devices) {
            return usage(format!("--devices takes 1 to {DEVICES_MAX}"));
        }
        let connections = if self.bridges == 0 { self.devices } else { self.bridges };
        if connections > CONNECTIONS_MAX {
            return usage(format!("{connections} connections are more than {CONNECTIONS_MAX}; use --bridges"));
        }
        if self.bridges > self.devices {
            return usage("--bridges must not exceed --devices".into());
        }
        if !(1..=SECONDS_MAX).contains(&self.seconds) {
            return usage(format!("--seconds takes 1 to {SECONDS_MAX}"));
        }
        if !(1..=READINGS_MAX).contains(&self.readings) {
            return usage(format!("--readings takes 1 to {READINGS_MAX}"));
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e6)) {
            return usage("--rate takes `max` or a number above 0, up to 1000000".into());
        }
        if !(1..=1_024).contains(&self.window) {
            return usage("--window takes 1 to 1024".into());
        }
        if !(2..=TRIGGERS_MAX).contains(&self.triggers) {
            return usage(format!("--triggers takes 2 to {TRIGGERS_MAX}"));
        }
        Ok(())
    }
}

/// Prepares, sends, waits for what is owed, and reports.
pub async fn load(plan: &Plan, progress: impl Fn(&str, u64)) -> Result<Report, LoadError> {
    plan.check()?;
    progress("preparing the shop, the triggers and the devices", 0);
    let world = world::prepare(plan).await.map_err(LoadError::World)?;
    progress("connecting", 0);
    let before = plan.pid.and_then(process::usage);
    let report = drive::drive(plan, &world, &progress).await?;
    let after = plan.pid.and_then(process::usage);
    Ok(report.with_usage(before, after))
}

/// How long the gateway has to answer what is under way when the sending ends.
const SETTLE: Duration = Duration::from_secs(10);

fn host_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let authority = rest.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    Some(host.to_owned())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            http: "http://127.0.0.1:8080".into(),
            mqtt: ("127.0.0.1".into(), 1883),
            operator_token: "t".into(),
            devices: 100,
            bridges: 2,
            seconds: 5,
            rate: None,
            window: 64,
            readings: 1_000,
            triggers: 100,
            pid: None,
            protocol: crate::link::Protocol::V5,
        }
    }

    #[test]
    fn a_load_stays_on_this_machine() {
        assert!(plan().check().is_ok());
        assert!(Plan { http: "http://[::1]:8080".into(), ..plan() }.check().is_ok());
        assert!(Plan { http: "http://example.org".into(), ..plan() }.check().is_err());
        assert!(Plan { http: "http://127.0.0.1.example.org".into(), ..plan() }.check().is_err());
        assert!(Plan { mqtt: ("10.0.0.1".into(), 1883), ..plan() }.check().is_err());
    }

    #[test]
    fn a_load_is_bounded() {
        assert!(Plan { devices: DEVICES_MAX + 1, ..plan() }.check().is_err());
        assert!(Plan { devices: CONNECTIONS_MAX + 1, bridges: 0, ..plan() }.check().is_err());
        assert!(Plan { seconds: SECONDS_MAX + 1, ..plan() }.check().is_err());
        assert!(Plan { readings: READINGS_MAX + 1, ..plan() }.check().is_err());
        assert!(Plan { rate: Some(f64::NAN), ..plan() }.check().is_err());
    }
}
