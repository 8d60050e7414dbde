//! `hearthway demo`: the whole house in one terminal, with homes that live days in minutes.
//!
//! The gateway is the real one, with its store in a temporary directory; the homes are
//! `device-sim`, over real MQTT connections and the HTTP API.

mod clock;
mod story;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use device_sim::shop::Shop;
use device_sim::{Fleet, Summary, Target};
use hearthway_core::id::DeviceKey;
use hearthway_core::time::{Span, Timestamp, Zone};
use jiff::civil;
use miette::Diagnostic;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::clock::StoryClock;
use self::story::Story;
use super::serve::Place;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Data, OperatorToken, samples};
use crate::gateway::samples::{Client, LoadError};
use crate::gateway::{Gateway, StartError};
use crate::mqtt::credentials::MasterKey;
use crate::{gateway, observe, shutdown};

/// The homes, inside the program: the demo needs no file.
const FLEET: &str = include_str!("../../../config/fleets/demo.toml");
/// Happenings that wait to be told; the homes wait when the terminal is slower.
const HAPPENINGS_QUEUE_MAX: usize = 1024;
/// The retailer of the sample shop.
const RETAILER: &str = "shop-a";
/// The demo's operator: its gateway lives as long as the demo and listens on this machine.
const OPERATOR_TOKEN: &str = "demo-operator-token";

/// Shows everything at work: a gateway, a shop, and homes that live days in minutes.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// How many times as fast as real time the homes live; 2880 makes a day of 30 seconds.
    #[arg(long, default_value_t = 2880, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub speed: u32,
    /// How many homes.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=122))]
    pub homes: u32,
    /// Ends after the story instead of serving on; exits with 1 where the simulator found fault.
    #[arg(long)]
    pub exit: bool,
    /// Where to listen, and how much to say.
    #[command(flatten)]
    pub place: Place,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum DemoError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadError),
    #[error("the demo's homes: {0}")]
    Fleet(String),
    #[error("a temporary directory: {0}")]
    Directory(std::io::Error),
}

impl Demo {
    /// Does it.
    pub fn run(self) -> ExitCode {
        // The story has the terminal to itself; only what needs attention comes between.
        if let Err(problem) = observe::log_to_stderr(self.place.log.as_deref().or(Some("error"))) {
            eprintln!("error: --log: {problem}");
            return ExitCode::FAILURE;
        }
        match super::on_runtime(self.play()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => super::failed(error),
        }
    }

    async fn play(self) -> Result<bool, DemoError> {
        let fleet = fleet_of(self.homes)?;
        let directory = tempfile::tempdir().map_err(DemoError::Directory)?;
        let config = self.config(directory.path())?;
        let clock = Arc::new(StoryClock::start(morning(&fleet), self.speed));
        let gateway = Gateway::open(&config, clock.clone()).await?;
        let operator = Client::new(format!("http://{}", gateway.http_address()), OPERATOR_TOKEN);
        let shipped = samples::shipped().map_err(LoadError::Files)?;
        let tokens = gateway::samples::load(&operator, &shipped).await?;
        let shop_token = tokens.get(RETAILER).cloned().unwrap_or_default();
        let stage = Stage { clock, operator, shop_token };
        println!("{}", self.opening(&gateway, &fleet, directory.path()));

        let told = tokio::select! {
            told = stage.play(&gateway, fleet) => Some(told?),
            _ = shutdown::asked() => None,
        };
        let is_good = match told {
            Some((summary, story)) => {
                println!("\n{summary}\n");
                if !self.exit {
                    stage.clock.slow_down();
                    println!("{}", closing(&gateway, &stage.shop_token, &story, &config));
                    let _ = shutdown::asked().await;
                }
                summary.is_good()
            }
            None => true,
        };
        eprintln!("Draining.");
        gateway.drain().await;
        Ok(is_good)
    }

    fn config(&self, directory: &std::path::Path) -> Result<Config, DemoError> {
        let operator_token = OperatorToken::new(OPERATOR_TOKEN).map_err(DemoError::Fleet)?;
        let data = Data { dir: directory.join("data"), ..Data::default() };
        let mut config = Config { data, operator_token: Some(operator_token), ..Config::default() };
        // Who tries it out listens on the same machine.
        config.webhooks.allow_loopback = true;
        // A simulated device that is reset or loses its network comes back in milliseconds of real time.
        config.limits.mqtt_connects_per_minute = 60_000;
        config.limits.mqtt_connects_burst = 60_000;
        config.limits.mqtt_publishes_per_second = 10_000;
        config.limits.device_messages_per_second = 10_000;
        config.limits.device_messages_burst = 10_000;
        self.place.apply_to(&mut config);
        Ok(config)
    }

    fn opening(&self, gateway: &Gateway, fleet: &Fleet, directory: &std::path::Path) -> String {
        let real_seconds = fleet.length.0 / 1000 / i64::from(self.speed);
        format!(
            "Hearthway demo: {} with {} live {} in about {} s ({} times as fast).\n\
             HTTP http://{}   MQTT mqtt://{}   data in {} (removed at the end)\n\
             Each line is one thing that happened; a decision says why.\n",
            counted(fleet.homes.len(), "home"),
            counted(fleet.devices(), "device"),
            fleet.length,
            real_seconds,
            self.speed,
            gateway.http_address(),
            gateway.mqtt_address(),
            directory.display(),
        )
    }
}

fn counted(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// The first `homes` of the demo's fleet: those with a story of their own, then each kind in turn.
fn fleet_of(homes: u32) -> Result<Fleet, DemoError> {
    let mut fleet = Fleet::parse("demo.toml", FLEET).map_err(|e| DemoError::Fleet(e.to_string()))?;
    let number = |id: &str| id.rsplit('-').next().and_then(|end| end.parse::<u32>().ok()).unwrap_or(0);
    fleet.homes.sort_by_key(|home| (number(&home.id), home.id.clone()));
    fleet.homes.truncate(homes as usize);
    Ok(fleet)
}

/// The last time that it was six in the morning: days that begin at dawn are easier to follow.
fn morning(fleet: &Fleet) -> Timestamp {
    let yesterday = SystemClock.now() - Span::days(1);
    let six = civil::time(6, 0, 0, 0);
    fleet.homes.first().map_or(yesterday, |home| home.zone.next(yesterday, six))
}

/// What the story needs.
struct Stage {
    clock: Arc<StoryClock>,
    operator: Client,
    shop_token: String,
}

impl Stage {
    async fn play(&self, gateway: &Gateway, fleet: Fleet) -> Result<(Summary, Story), DemoError> {
        let target = self.target(gateway, &fleet).await?;
        let base = format!("http://{}", gateway.http_address());
        let shop = Shop::new(&base, &self.shop_token).map_err(|e| DemoError::Fleet(e.to_string()))?;
        let shop = Arc::new(shop);
        let target = Target { witness: Some(shop.clone()), ..target };

        let zone = fleet.homes.first().map(|home| home.zone.clone());
        let zone = zone.map_or_else(|| Zone::new("UTC").map_err(DemoError::Fleet), Ok)?;
        let mut story = Story::begin(gateway.engine().clone(), zone, Clock::now(&*self.clock), fleet.length);
        let (events, mut happenings) = mpsc::channel(HAPPENINGS_QUEUE_MAX);
        let telling = async {
            while let Some(happening) = happenings.recv().await {
                story.tell(&happening);
            }
            story.end();
            story
        };
        let (summary, story) = tokio::join!(device_sim::run(fleet, target, shop, self.clock.clone(), events), telling);
        Ok((summary, story))
    }

    /// The gateway as the homes see it, with a bootstrap secret per maker.
    async fn target(&self, gateway: &Gateway, fleet: &Fleet) -> Result<Target, DemoError> {
        let mut bootstrap = BTreeMap::new();
        for device in fleet.homes.iter().flat_map(|home| &home.devices) {
            let maker = device.known.maker;
            if !bootstrap.contains_key(maker) {
                let key = self.operator.call("POST", "/v1/bootstrap-keys", &json!({"maker": maker})).await?;
                bootstrap.insert(maker.to_owned(), text(&key["secret"]));
            }
        }
        let address = gateway.mqtt_address();
        Ok(Target { bootstrap, shares_clock: true, host: address.ip().to_string(), ..Target::local(address.port()) })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What to try next: lines that work as pasted, for a device and a decision of this very run.
fn closing(gateway: &Gateway, shop_token: &str, story: &Story, config: &Config) -> String {
    let http = gateway.http_address();
    let mut lines = vec![
        "The gateway serves on, at real time now. In another terminal:".to_owned(),
        String::new(),
        format!("  curl -s -H 'Authorization: Bearer {shop_token}' http://{http}/v1/orders"),
    ];
    if let Some(example) = &story.example {
        let (household, trigger) = (example.household, &example.trigger);
        // What the retailer's guide begins with.
        lines.push(format!(
            "  export HEARTHWAY_URL=http://{http} HEARTHWAY_TOKEN={shop_token} HOUSEHOLD={household} TRIGGER={trigger}"
        ));
        lines.push(format!(
            "  curl -s -H 'Authorization: Bearer {shop_token}' 'http://{http}/v1/explain?household={household}&trigger={trigger}'"
        ));
        lines.extend(device_lines(gateway, &example.device, config));
        let name = &example.device.device;
        lines.push(format!("  curl -s -H 'Authorization: Bearer {shop_token}' http://{http}/v1/devices/{name}/state"));
    }
    lines.push(format!("  curl -s http://{http}/metrics"));
    lines.push(String::new());
    lines.push("Ctrl-C ends it, and removes its data directory.".to_owned());
    lines.join("\n")
}

fn device_lines(gateway: &Gateway, device: &DeviceKey, config: &Config) -> Vec<String> {
    let Some(route) = gateway.engine().route(device) else { return Vec::new() };
    let Ok(master) = MasterKey::load_or_create(&config.data.master_key_path()) else { return Vec::new() };
    let secret = master.device_secret(device, route.generation);
    let address = gateway.mqtt_address();
    let who = format!("-h {} -p {} -u {}/{} -P {secret}", address.ip(), address.port(), device.maker, device.device);
    let root = format!("chan/v1/{}/{}", device.maker, device.device);
    vec![
        format!("  mosquitto_sub {who} -q 1 -t '{root}/down/#' -v"),
        format!("  mosquitto_pub {who} -q 1 -t {root}/up/sync -m '{{\"want\":[]}}'"),
    ]
}
