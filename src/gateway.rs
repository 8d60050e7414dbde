//! The gateway as a whole: built from its parts, nothing global.
//!
//! Order of building: store, rules, engine, application, then the two listeners; traffic is taken
//! when both listen. Order of draining: the reverse, see [`crate::shutdown`].

pub mod samples;
mod seams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use miette::Diagnostic;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{self, App, BrokerAddress, Failure, Rulebook};
use crate::broker::BrokerLink;
use crate::broker::relay::RelayError;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::engine::{self, Engine, Link};
use crate::http;
use crate::mqtt::credentials::{MasterKey, MasterKeyError};
use crate::mqtt::login::Door;
use crate::mqtt::{self, Endpoint, Intake};
use crate::observe::{self, Metrics};
use crate::shutdown::DRAIN_SECONDS_MAX;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::{Store, StoreError};

/// A gateway that takes traffic.
pub struct Gateway {
    engine: Engine,
    app: Arc<App>,
    endpoint: Endpoint,
    broker: Option<BrokerLink>,
    http_address: SocketAddr,
    fresh_operator_token: Option<String>,
    closing: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Opens the data directory and builds a gateway on it.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Gateway, StartError> {
        let (store, master) = open_data(config, &*clock)?;
        Gateway::build(config, clock, store, master).await
    }

    /// Builds a gateway on a store and takes traffic.
    pub async fn build(
        config: &Config,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        master: MasterKey,
    ) -> Result<Gateway, StartError> {
        // First, because whoever counts takes its counters when it is built.
        let metrics = Metrics::of_the_process();
        let listener = TcpListener::bind(config.http.bind).await;
        let listener = listener.map_err(|cause| bind_error("HTTP", config.http.bind, cause))?;
        let http_address = listener.local_addr().map_err(|cause| bind_error("HTTP", config.http.bind, cause))?;

        let rulebook = Rulebook::open(store.clone())?;
        let engine = Engine::start(engine_settings(config), clock, store, rulebook.clone())?;
        let master = Arc::new(master);
        let started = App::start(engine.clone(), rulebook, app_settings(config, master.clone())).await?;
        let app = started.app;

        let registry = Arc::new(seams::Registry(app.clone()));
        let door = Arc::new(Door::new(master.clone(), Arc::new(engine.clone()), registry.clone()));
        let broker = config.broker.settings()?;
        let broker = broker.map(|settings| seams::broker_link(settings, &engine, door.clone(), &app, master));
        let broker = broker.transpose()?;
        let intake: Arc<dyn Intake> = match &broker {
            Some(broker) => Arc::new(seams::BesideBroker { engine: engine.clone(), broker: broker.clone() }),
            None => Arc::new(engine.clone()),
        };
        let endpoint = Endpoint::bind(mqtt_settings(config), intake, door, registry).await;
        let endpoint = endpoint.map_err(|cause| bind_error("MQTT", config.mqtt.bind, cause))?;
        let link: Arc<dyn Link> = match &broker {
            Some(broker) => Arc::new(seams::BothWays { endpoint: endpoint.link(), broker: broker.link() }),
            None => endpoint.link(),
        };
        engine.set_link(link);
        app.set_broker(broker_address(config, endpoint.local_addr()));

        let closing = watch::Sender::new(false);
        let mut tasks = vec![
            tokio::spawn(serve_http(listener, http::router(app.clone(), render_of(&metrics)), closing.subscribe())),
            tokio::spawn({
                let endpoint = endpoint.clone();
                async move { endpoint.run().await }
            }),
            tokio::spawn(fold_metrics(metrics, closing.subscribe())),
        ];
        if let Some(broker) = &broker {
            let broker = broker.clone();
            tasks.push(tokio::spawn(async move { broker.run().await }));
        }
        metrics::gauge!("gateway_ready_count").set(1.0);
        let fresh_operator_token = started.fresh_operator_token;
        Ok(Gateway { engine, app, endpoint, broker, http_address, fresh_operator_token, closing, tasks })
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }
    /// Where MQTT listens.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }
    /// The operator's token, when this start made it.
    pub fn fresh_operator_token(&self) -> Option<&str> {
        self.fresh_operator_token.as_deref()
    }
    /// What the edges ask.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }
    /// What decides.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Puts the samples into the gateway where the configuration asks for it. Needs the operator's
    /// token in plain: given by the environment, or drawn at this, the first, start.
    pub async fn load_samples(&self, config: &Config) -> Result<(), StartError> {
        if !config.samples.load {
            return Ok(());
        }
        let given = config.operator_token.as_ref().map(|token| token.reveal());
        let Some(token) = given.or(self.fresh_operator_token()) else {
            tracing::warn!("Samples are loaded at the first start, or with HEARTHWAY_OPERATOR_TOKEN; not at this one");
            return Ok(());
        };
        let calls = crate::config::samples::load(&config.samples.dir).map_err(samples::LoadError::Files)?;
        let operator = samples::Client::new(format!("http://{}", self.http_address), token);
        samples::load(&operator, &calls).await?;
        tracing::info!("Loaded the samples of `{}`", config.samples.dir.display());
        Ok(())
    }

    /// Ends in order: listeners, engine with its outbox, store.
    pub async fn drain(self) {
        metrics::gauge!("gateway_ready_count").set(0.0);
        self.closing.send_replace(true);
        if let Some(broker) = &self.broker {
            broker.shutdown().await;
        }
        self.endpoint.shutdown().await;
        for task in self.tasks {
            if tokio::time::timeout(DRAIN_SECONDS_MAX, task).await.is_err() {
                tracing::warn!("A listener did not end within {} s", DRAIN_SECONDS_MAX.as_secs());
            }
        }
        self.engine.drain().await;
        // The last clones of the engine go here, and with them the store.
    }
}

/// Opens store and master key. The key is made together with the store and never after it.
fn open_data(config: &Config, clock: &dyn Clock) -> Result<(Arc<dyn Store>, MasterKey), StartError> {
    let dir = &config.data.dir;
    std::fs::create_dir_all(dir).map_err(|cause| StartError::DataDirectory { path: dir.clone(), cause })?;
    let (store_path, key_path) = (dir.join("store"), config.data.master_key_path());
    if store_path.exists() && !key_path.exists() {
        return Err(StartError::MasterKeyMissing { path: key_path });
    }
    let master = MasterKey::load_or_create(&key_path)?;
    let options = EmbeddedOptions {
        created_at: Some(clock.now()),
        logs_bytes_max: config.log.size_mib_max * 1024 * 1024,
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(&store_path, options)?;
    Ok((Arc::new(store), master))
}

fn engine_settings(config: &Config) -> engine::Settings {
    engine::Settings {
        shards: config.engine.shards,
        group_commits_max: config.engine.group_commits_max,
        shard_queue_inputs_max: config.engine.shard_queue_inputs_max,
        cached_households_max: config.engine.cached_households_max,
        ..engine::Settings::default()
    }
}

fn mqtt_settings(config: &Config) -> mqtt::Settings {
    mqtt::Settings {
        address: config.mqtt.bind,
        connections_max: config.limits.mqtt_connections_max,
        connect_timeout: std::time::Duration::from_secs(config.limits.mqtt_connect_seconds_max),
        publishes_per_second: config.limits.mqtt_publishes_per_second,
        bridge_publishes_per_second: config.limits.mqtt_bridge_publishes_per_second,
        connects_per_minute: config.limits.mqtt_connects_per_minute,
    }
}

fn app_settings(config: &Config, master: Arc<MasterKey>) -> app::Settings {
    app::Settings {
        operator_token: config.operator_token.as_ref().map(|token| token.reveal().to_owned()),
        secrets: Arc::new(seams::secrets_of(master)),
        broker: broker_address(config, config.mqtt.bind),
        telemetry_s: config.mqtt.telemetry_seconds,
        devices_per_maker_max: config.limits.devices_per_maker_max,
    }
}

fn broker_address(config: &Config, listens: SocketAddr) -> BrokerAddress {
    let host = config.mqtt.public_host.clone().unwrap_or_else(|| listens.ip().to_string());
    BrokerAddress { host, port: listens.port(), tls: false }
}

async fn serve_http(listener: TcpListener, router: axum::Router, mut closing: watch::Receiver<bool>) {
    let asked = async move {
        let _ = closing.wait_for(|is_closing| *is_closing).await;
    };
    if let Err(error) = http::serve(listener, router, asked).await {
        tracing::error!("HTTP ended: {error}");
    }
}

fn render_of(metrics: &Metrics) -> http::RenderMetrics {
    let metrics = metrics.clone();
    Arc::new(move || metrics.render())
}

async fn fold_metrics(metrics: Metrics, mut closing: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(observe::FOLD_EVERY) => metrics.fold(),
            _ = closing.wait_for(|is_closing| *is_closing) => return,
        }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StartError {
    /// A listener cannot have its address.
    #[error("{what} cannot listen on {address}: {cause}")]
    Bind {
        /// `HTTP` or `MQTT`.
        what: &'static str,
        /// Where it wanted to listen.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
        /// How to mend it.
        #[help]
        help: String,
    },
    /// The store does not open, or does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key cannot be used.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The application does not start.
    #[error("starting: {0}")]
    App(#[from] Failure),
    /// The store is there, the key to its devices is not.
    #[error("the master key `{path}` is missing, and the data directory has been used with one")]
    #[diagnostic(help("restore the key from its backup; with a new one no device could log in any more"))]
    MasterKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The data directory cannot be made.
    #[error("making the data directory `{path}`: {cause}")]
    DataDirectory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The samples are not right.
    #[error("loading the samples: {0}")]
    Samples(#[from] samples::LoadError),
    /// The configuration does not fit together.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] ConfigError),
    /// There is no TLS to the broker.
    #[error(transparent)]
    #[diagnostic(help("mend the `ca_file`, `certificate_file` or `key_file` of `[broker]`: each is a PEM file"))]
    BrokerTls(#[from] RelayError),
    /// Signals cannot be heard.
    #[error("listening for Ctrl-C and SIGTERM: {0}")]
    Signals(std::io::Error),
}

/// Says which flag, variable and key choose another address.
fn bind_error(what: &'static str, address: SocketAddr, cause: std::io::Error) -> StartError {
    let word = what.to_lowercase();
    let port = address.port();
    let mend = format!(
        "choose another address: `--{word}-bind {}:0` takes a free port; so do HEARTHWAY_{what}_BIND and `bind` in `[{word}]`",
        address.ip()
    );
    let help = match cause.kind() {
        std::io::ErrorKind::AddrInUse => format!("port {port} is in use by another program; {mend}"),
        std::io::ErrorKind::PermissionDenied => format!("port {port} needs more rights than this program has; {mend}"),
        _ => mend,
    };
    StartError::Bind { what, address, cause, help }
}
