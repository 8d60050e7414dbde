//! The command line: `run`, `check`, `load`, `crowd`, `fairness`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use crate::clock::{PacedClock, SPEED_MAX, SimClock, wall_now};
use crate::customer::{Customer, Witness};
use crate::fleet::Fleet;
use crate::happening::Happening;
use crate::link::Protocol;
use crate::load::{CrowdPlan, FairnessPlan, LoadError, Plan, crowd, fairness, load};
use crate::relay::Relay;
use crate::run::{Target, run};
use crate::shop::{NoShop, Shop};

/// Happenings that wait to be printed.
const EVENTS_QUEUE_MAX: usize = 1_024;
/// Exit codes: all good; a finding or an unmet expectation; a mistake in the call or a file.
const GOOD: u8 = 0;
const FOUND: u8 = 1;
const USAGE: u8 = 2;
/// Readings under way per connection of `fairness`: what a flood may have in flight, as in `load`.
const FAIRNESS_WINDOW: u16 = 64;
/// Triggers of `fairness`: as in the figures of `load`.
const FAIRNESS_TRIGGERS: u32 = 100;

/// Plays homes full of devices against a Hearthway gateway, and checks what it promises.
#[derive(Debug, Parser)]
#[command(
    name = "device-sim",
    version,
    about,
    after_help = "\
Exit codes: 0 nothing found and every expectation holds; 1 a finding or an unmet expectation; 2 a mistake in the call or a file."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a fleet: devices register, are claimed, report, are offered things, and people answer.
    #[command(after_help = "\
Example:
  device-sim run config/fleets/quick.toml --bootstrap acme=SECRET --bootstrap brewco=SECRET \\
      --shop-url http://127.0.0.1:8080 --shop-token hw_… --speed 3600

The bootstrap secrets come from POST /v1/bootstrap-keys, the shop's token from POST /v1/tokens with
the role retailer_admin. Without a shop nobody confirms claims, so that no offer comes.")]
    Run(Box<RunArgs>),
    /// Check fleet files and tell every mistake with its line.
    Check {
        /// The fleet files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Measure a gateway on this machine with many devices. One reading in ten makes an offer.
    #[command(after_help = "\
Example:
  device-sim load --operator-token \"$HEARTHWAY_OPERATOR_TOKEN\" --http http://127.0.0.1:8080 --mqtt 127.0.0.1:1883 \\
      --devices 10000 --bridges 8 --seconds 20 --rate max --pid \"$(pgrep -x hearthway)\"

It makes its own makers (loadlab-…), retailer (load-shop), models, product, triggers, devices and
links over HTTP, and leaves them there: use a data directory of its own.")]
    Load(Box<LoadArgs>),
    /// Measure what silent connections cost a gateway on this machine in memory, then cut all of them
    /// and measure until all are back.
    #[command(after_help = "\
Example:
  device-sim crowd --operator-token \"$HEARTHWAY_OPERATOR_TOKEN\" --devices 5000 --pid \"$(pgrep -x hearthway)\" \\
      --mqtt mqtts://localhost:8883 --tls-ca pki/ca.pem

It prepares a world as `load` does. Each connection takes a file descriptor here and one in the gateway
(`ulimit -n`).")]
    Crowd(Box<CrowdArgs>),
    /// Measure how much later many steady devices are acknowledged beside one that floods, in rounds
    /// without and with it.
    #[command(after_help = "\
Example:
  device-sim fairness --operator-token \"$HEARTHWAY_OPERATOR_TOKEN\" --devices 200 --rate 200 --loud-rate 1000

It prepares a world as `load` does.")]
    Fairness(Box<FairnessArgs>),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The fleet file.
    fleet: PathBuf,
    /// Where devices connect: the gateway's endpoint, or a broker that the gateway is linked to, as
    /// `host:port` or `mqtt://host:port`; `mqtts://` before it for TLS.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883", value_parser = endpoint)]
    broker: Endpoint,
    /// PEM: the authority of the certificate of the gateway or broker.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// A maker's bootstrap secret; once per maker.
    #[arg(long, value_name = "MAKER=SECRET", value_parser = maker_and_secret)]
    bootstrap: Vec<(String, String)>,
    /// The gateway's HTTP API, through which claims are confirmed and orders are shipped.
    #[arg(long, value_name = "URL", requires = "shop_token")]
    shop_url: Option<String>,
    /// The retailer's token.
    #[arg(long, value_name = "TOKEN", env = "DEVICE_SIM_SHOP_TOKEN", hide_env_values = true, requires = "shop_url")]
    shop_token: Option<String>,
    /// How many times faster than real time the homes live: 3600 plays a day in 24 s.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(SPEED_MAX)))]
    speed: u32,
    /// Instead of the fleet's seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Instead of the fleet's days.
    #[arg(long)]
    days: Option<f64>,
    /// The MQTT version: v5, or v3 for 3.1.1.
    #[arg(long, value_enum, default_value = "v5")]
    protocol: Version,
    /// Tells this run's devices apart from those of other runs against the same gateway, 0 to 12 of
    /// a-z and 0-9; drawn from the time of day where it is left out.
    #[arg(long, value_parser = tag)]
    tag: Option<String>,
    /// Print each happening, one line each, on stderr.
    #[arg(long)]
    story: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LoadArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// How many devices.
    #[arg(long, default_value_t = 1_000)]
    devices: u32,
    /// Over how many bridge connections; 0 is one connection per device.
    #[arg(long, default_value_t = 8)]
    bridges: u32,
    /// How long to send.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Readings per second altogether, or `max` for as many as are acknowledged.
    #[arg(long, default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Readings under way per connection at most.
    #[arg(long, default_value_t = 64)]
    window: u16,
    /// How many readings at most.
    #[arg(long, default_value_t = 2_000_000)]
    readings: u64,
    /// How many triggers, 10000 at most; readings cross the first two hundred.
    #[arg(long, default_value_t = 100)]
    triggers: u32,
    /// The gateway's process: its CPU time and memory are read from /proc.
    #[arg(long)]
    pid: Option<u32>,
    /// The MQTT version: v5, or v3 for 3.1.1.
    #[arg(long, value_enum, default_value = "v5")]
    protocol: Version,
}

/// Where the gateway of a measurement is.
#[derive(Debug, Args)]
struct GatewayArgs {
    /// The operator's token.
    #[arg(long, value_name = "TOKEN", env = "HEARTHWAY_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: String,
    /// The gateway's HTTP API, on this machine.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    http: String,
    /// The gateway's device endpoint, on this machine; `mqtts://` before it for TLS.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883", value_parser = endpoint)]
    mqtt: Endpoint,
    /// PEM: the authority of the gateway's certificate.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CrowdArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// How many devices.
    #[arg(long, default_value_t = 5_000)]
    devices: u32,
    /// The gateway's process: its memory and CPU time are read from /proc.
    #[arg(long)]
    pid: u32,
}

#[derive(Debug, Args)]
struct FairnessArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// How many steady devices.
    #[arg(long, default_value_t = 200)]
    devices: u32,
    /// Their readings per second altogether.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Readings per second of the device that floods.
    #[arg(long, default_value_t = 1_000.0)]
    loud_rate: f64,
    /// How many rounds without it, and as many with it.
    #[arg(long, default_value_t = 6)]
    rounds: u32,
    /// Seconds of one round.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The MQTT version: v5, or v3 for 3.1.1.
    #[arg(long, value_enum, default_value = "v5")]
    protocol: Version,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    V5,
    V3,
}

impl From<Version> for Protocol {
    fn from(version: Version) -> Protocol {
        match version {
            Version::V5 => Protocol::V5,
            Version::V3 => Protocol::V3,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Rate(Option<f64>);

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate(None)),
        number => number.parse().map(|rate| Rate(Some(rate))).map_err(|_| "write `max` or a number such as 200".into()),
    }
}

/// A device endpoint as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    host: String,
    port: u16,
    is_tls: bool,
}

impl Endpoint {
    /// What links dial: the endpoint itself, or a relay that must live as long as they do.
    fn dialled(self, authority: Option<&std::path::Path>) -> anyhow::Result<(String, u16, Option<Relay>)> {
        match (self.is_tls, authority) {
            (false, None) => Ok((self.host, self.port, None)),
            (false, Some(_)) => {
                anyhow::bail!("--tls-ca is for TLS; write `mqtts://` before {}:{}", self.host, self.port)
            }
            (true, None) => anyhow::bail!("TLS needs the authority of the gateway's certificate: --tls-ca FILE"),
            (true, Some(authority)) => {
                let relay = Relay::start(&self.host, self.port, authority)?;
                Ok((relay.path().display().to_string(), self.port, Some(relay)))
            }
        }
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (is_tls, url) = match text.strip_prefix("mqtts://") {
        Some(rest) => (true, Some(rest)),
        None => (false, text.strip_prefix("mqtt://")),
    };
    let place = url.map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let (host, port) = host_and_port(place).ok_or_else(|| {
        format!(
            "`{text}` is not a host and port; write `127.0.0.1:1883`, `mqtt://127.0.0.1:1883` or `mqtts://localhost:8883`"
        )
    })?;
    Ok(Endpoint { host, port, is_tls })
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('/') {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}

fn maker_and_secret(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((maker, secret)) if !maker.is_empty() && !secret.is_empty() => Ok((maker.to_owned(), secret.to_owned())),
        Some(_) | None => Err("write `maker=secret`, such as `acme=bk_…`".into()),
    }
}

fn tag(text: &str) -> Result<String, String> {
    let fine = text.len() <= 12 && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if fine { Ok(text.to_owned()) } else { Err("takes 0 to 12 of a-z and 0-9".into()) }
}

/// Reads the command line, does what it says, and gives the exit code.
pub async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => play(*args).await,
        Command::Check { files } => check(&files),
        Command::Load(args) => measure(*args).await,
        Command::Crowd(args) => gather(*args).await,
        Command::Fairness(args) => compare(*args).await,
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        eprintln!("device-sim: {error:#}");
        USAGE
    }))
}

fn check(files: &[PathBuf]) -> anyhow::Result<u8> {
    let mut worst = GOOD;
    for file in files {
        match Fleet::read(file) {
            Ok(fleet) => {
                let (homes, devices, expects) = (fleet.homes.len(), fleet.devices(), fleet.expects.len());
                println!(
                    "{}: {homes} homes, {devices} devices, {} played, {expects} expectations",
                    file.display(),
                    fleet.length
                );
                fleet.notes.iter().for_each(|note| println!("  note: {note}"));
            }
            Err(error) => {
                eprintln!("{error:#}");
                worst = USAGE;
            }
        }
    }
    Ok(worst)
}

async fn play(args: RunArgs) -> anyhow::Result<u8> {
    let mut fleet = Fleet::read(&args.fleet)?;
    fleet.seed = args.seed.unwrap_or(fleet.seed);
    if let Some(days) = args.days {
        anyhow::ensure!(days > 0.0 && days <= 400.0, "--days takes a number above 0, up to 400");
        fleet.length = hearthway_core::time::Span((days * 86_400_000.0) as i64);
    }
    let shop = match (&args.shop_url, &args.shop_token) {
        (Some(url), Some(token)) => Some(Arc::new(Shop::new(url, token).context("setting up the shop's HTTP client")?)),
        _ => None,
    };
    let customer: Arc<dyn Customer> = match &shop {
        Some(shop) => shop.clone(),
        None => Arc::new(NoShop),
    };
    // At speed 1 from now on, the homes live in the gateway's time.
    let shares_clock = args.speed == 1;
    let start = fleet.start.filter(|_| !shares_clock).unwrap_or_else(wall_now);
    let clock = Arc::new(PacedClock::start(start, args.speed));
    let (host, port, _relay) = args.broker.dialled(args.tls_ca.as_deref())?;
    let target = Target {
        host,
        port,
        protocol: args.protocol.into(),
        bootstrap: args.bootstrap.into_iter().collect::<BTreeMap<_, _>>(),
        credentials: BTreeMap::new(),
        tag: args.tag.unwrap_or_else(|| format!("{:x}", (wall_now().0 / 1_000) & 0xFFF_FFFF)),
        shares_clock,
        witness: shop.map(|shop| shop as Arc<dyn Witness>),
    };
    let (events, happenings) = mpsc::channel(EVENTS_QUEUE_MAX);
    let bar = bar(u64::try_from(fleet.length.0 / 60_000).unwrap_or(0).max(1), "{bar:40} {percent:>3}% {msg}");
    let telling = tokio::spawn(tell(happenings, bar.clone(), clock.clone(), start, args.story));
    let summary = tokio::select! {
        summary = run(fleet, target, customer, clock, events) => summary,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted; the run proves nothing"),
    };
    let _ = telling.await;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!("{summary}");
    }
    Ok(if summary.is_good() { GOOD } else { FOUND })
}

/// Prints the story and keeps the bar, until the run closes the queue.
async fn tell(
    mut happenings: mpsc::Receiver<Happening>,
    bar: ProgressBar,
    clock: Arc<PacedClock>,
    start: hearthway_core::time::Timestamp,
    story: bool,
) {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let (mut offers, mut orders) = (0u64, 0u64);
    loop {
        tokio::select! {
            happening = happenings.recv() => {
                let Some(happening) = happening else { return };
                match &happening {
                    Happening::OfferShown { .. } => offers += 1,
                    Happening::OrderChanged { state, .. } if state == "submitted" => orders += 1,
                    _ => {}
                }
                if story {
                    let scene = happening.scene();
                    bar.suspend(|| eprintln!("{} {:<12} {:<16} {happening}", scene.at, scene.home, scene.device));
                }
            }
            _ = ticks.tick() => {
                bar.set_position(u64::try_from((clock.now() - start).0 / 60_000).unwrap_or(0));
                bar.set_message(format!("{} · {offers} offers shown, {orders} orders", clock.now()));
            }
        }
    }
}

/// A bar on stderr; nothing where stderr is no terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}

async fn measure(args: LoadArgs) -> anyhow::Result<u8> {
    let at = args.gateway;
    let mut plan = Plan {
        http: at.http,
        mqtt: (at.mqtt.host.clone(), at.mqtt.port),
        operator_token: at.operator_token,
        devices: args.devices,
        bridges: args.bridges,
        seconds: args.seconds,
        rate: args.rate.0,
        window: args.window,
        readings: args.readings,
        triggers: args.triggers,
        pid: args.pid,
        protocol: args.protocol.into(),
    };
    // Before a relay hides where it leads: a load stays on this machine.
    plan.check()?;
    let (host, port, _relay) = at.mqtt.dialled(at.tls_ca.as_deref())?;
    plan.mqtt = (host, port);
    let bar = told(plan.readings);
    let result = load(&plan, |what, done| tell_bar(&bar, what, done)).await;
    bar.finish_and_clear();
    reported(result, at.json, crate::load::Report::is_good)
}

async fn gather(args: CrowdArgs) -> anyhow::Result<u8> {
    let at = args.gateway;
    anyhow::ensure!(
        at.mqtt.is_tls == at.tls_ca.is_some(),
        "TLS takes both: `mqtts://` in --mqtt, and the authority of the gateway's certificate in --tls-ca FILE"
    );
    let plan = CrowdPlan {
        http: at.http,
        mqtt: (at.mqtt.host, at.mqtt.port),
        tls_ca: at.tls_ca,
        operator_token: at.operator_token,
        devices: args.devices,
        pid: args.pid,
    };
    let bar = told(u64::from(plan.devices));
    let result = crowd(&plan, |what, done| tell_bar(&bar, what, done)).await;
    bar.finish_and_clear();
    // A device that does not come back is an error and no report.
    reported(result, at.json, |_| true)
}

async fn compare(args: FairnessArgs) -> anyhow::Result<u8> {
    let at = args.gateway;
    let mut load = Plan {
        http: at.http,
        mqtt: (at.mqtt.host.clone(), at.mqtt.port),
        operator_token: at.operator_token,
        devices: args.devices,
        bridges: 0,
        seconds: args.seconds,
        rate: Some(args.rate),
        window: FAIRNESS_WINDOW,
        readings: crate::load::READINGS_MAX,
        triggers: FAIRNESS_TRIGGERS,
        pid: None,
        protocol: args.protocol.into(),
    };
    load.check()?;
    let (host, port, _relay) = at.mqtt.dialled(at.tls_ca.as_deref())?;
    load.mqtt = (host, port);
    let bar = told(u64::from(args.rounds));
    let plan = FairnessPlan { load, loud_rate: args.loud_rate, rounds: args.rounds };
    let result = fairness(&plan, |what, done| tell_bar(&bar, what, done)).await;
    bar.finish_and_clear();
    reported(result, at.json, crate::load::FairnessReport::is_good)
}

fn told(length: u64) -> ProgressBar {
    bar(length, "{spinner} {elapsed} {msg} {pos}")
}

fn tell_bar(bar: &ProgressBar, what: &str, done: u64) {
    bar.set_message(what.to_owned());
    bar.set_position(done);
    bar.tick();
}

/// Prints what was measured; a mistake in the call goes up, a failure on the way is a finding.
fn reported<R: std::fmt::Display + serde::Serialize>(
    result: Result<R, LoadError>,
    json: bool,
    is_good: impl Fn(&R) -> bool,
) -> anyhow::Result<u8> {
    let report = match result {
        Ok(report) => report,
        Err(error @ LoadError::Usage(_)) => return Err(error.into()),
        Err(error) => {
            eprintln!("device-sim: {error}");
            return Ok(FOUND);
        }
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if is_good(&report) { GOOD } else { FOUND })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_secrets_and_tags_are_read() {
        assert_eq!(host_and_port("[::1]:1883"), Some(("::1".into(), 1883)));
        assert!(host_and_port("1883").is_none());
        let tls = Endpoint { host: "localhost".into(), port: 8883, is_tls: true };
        assert_eq!(endpoint("mqtts://localhost:8883"), Ok(tls.clone()));
        assert!(tls.dialled(None).is_err_and(|error| error.to_string().contains("--tls-ca")));
        assert!(endpoint("mqtt://127.0.0.1:1883").is_ok_and(|endpoint| !endpoint.is_tls));
        assert!(
            endpoint("mqtt://hub:1884/").is_ok_and(|endpoint| (endpoint.host.as_str(), endpoint.port) == ("hub", 1884))
        );
        for wrong in ["hub:1884/", "mqtt://hub:1884/x", "http://hub:1884", "mqtts://"] {
            assert!(endpoint(wrong).is_err_and(|why| why.contains(wrong)), "{wrong}");
        }
        assert_eq!(maker_and_secret("acme=a=b"), Ok(("acme".into(), "a=b".into())));
        assert!(maker_and_secret("acme").is_err());
        assert!(tag("Run 1").is_err());
    }
}
