//! The gateway as a whole: built from its parts, nothing global.
//!
//! Order of building: store, rules, engine, application, then the two listeners; traffic is taken
//! when both listen. Order of draining: the reverse, see [`crate::shutdown`].

pub mod samples;
mod seams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hearthway_core::time::Span;
use miette::Diagnostic;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::backups::Backups;
use crate::app::{self, App, BrokerAddress, BrokerAddresses, Failure, Rulebook};
use crate::broker::BrokerLink;
use crate::broker::relay::{self, RelayError};
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError};
use crate::engine::sweep::Sweeper;
use crate::engine::{self, Engine, Link};
use crate::http;
use crate::mqtt::credentials::{MasterKey, MasterKeyError};
use crate::mqtt::flood::{Flood, FloodSettings};
use crate::mqtt::login::Door;
use crate::mqtt::tls::{Tls, TlsError, TlsSettings};
use crate::mqtt::websocket::WebSocketSettings;
use crate::mqtt::{self, Endpoint, EndpointError, Intake};
use crate::observe::{self, Metrics};
use crate::shutdown::DRAIN_SECONDS_MAX;
use crate::store::backup::Watched;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::sealed::{Making, SealedStore};
use crate::store::{Store, StoreError};
use crate::webhook::{AuthoritiesError, Courier};

/// How many times as large the burst of a device behind a broker is: what waited there while the
/// gateway was away, a day of a reading each minute, comes all at once and is no flood.
const BROKER_BACKLOG: u32 = 20;

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
        // What a backup reads is under the seal.
        let watched = Arc::new(Watched::new(store));
        let keys = config.data.customer_keys_path();
        let store = SealedStore::open(watched.clone(), &keys, master.sealing_secrets(), Making::Allowed)?;
        Gateway::assemble(config, clock, store, watched, master).await
    }

    /// Builds a gateway on a store of one's own, which is not sealed, and takes traffic.
    pub async fn build(
        config: &Config,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        master: MasterKey,
    ) -> Result<Gateway, StartError> {
        let watched = Arc::new(Watched::new(store));
        Gateway::assemble(config, clock, watched.clone(), watched, master).await
    }

    async fn assemble(
        config: &Config,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        watched: Arc<Watched>,
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
        let courier = seams::courier(&engine, &config.webhooks, master.clone())?;
        app.set_courier(courier.clone());
        let watched_courier = courier.clone();
        app.watch(app::Watched { part: "webhooks", complaints: Arc::new(move || watched_courier.complaints()) });
        app.set_backups(Backups { gateway: master.fingerprint(), store: watched });

        let registry = Arc::new(seams::Registry(app.clone()));
        let door = Arc::new(Door::new(master.clone(), Arc::new(engine.clone()), registry.clone()));
        let broker = config.broker.settings()?;
        let flood = flood_settings(config);
        let device_burst = flood.device_burst.saturating_mul(BROKER_BACKLOG);
        let flood = Arc::new(Flood::new(FloodSettings { device_burst, ..flood }));
        let broker = broker.map(|settings| seams::broker_link(settings, &engine, door.clone(), &app, master, flood));
        let broker = broker.transpose()?;
        let intake: Arc<dyn Intake> = match &broker {
            Some(broker) => Arc::new(seams::BesideBroker { engine: engine.clone(), broker: broker.clone() }),
            None => Arc::new(engine.clone()),
        };
        let endpoint = Endpoint::bind(mqtt_settings(config)?, intake, door, registry).await;
        let endpoint = endpoint.map_err(endpoint_error)?;
        let link: Arc<dyn Link> = match &broker {
            Some(broker) => Arc::new(seams::BothWays { endpoint: endpoint.link(), broker: broker.link() }),
            None => endpoint.link(),
        };
        engine.set_link(link);
        app.set_broker(BrokerAddresses {
            plain: broker_address(config, endpoint.local_addr(), false),
            secure: endpoint.tls_addr().map(|address| broker_address(config, address, true)),
        });

        let closing = watch::Sender::new(false);
        let mut tasks = vec![
            tokio::spawn(serve_http(
                listener,
                http::router(app.clone(), render_of(&metrics)),
                config.limits.http_connections_max,
                closing.subscribe(),
            )),
            tokio::spawn({
                let endpoint = endpoint.clone();
                async move { endpoint.run().await }
            }),
            tokio::spawn(fold_metrics(metrics, closing.subscribe())),
            tokio::spawn(learn_chances(Arc::clone(&app), closing.subscribe())),
            tokio::spawn(end_what_lapses(Arc::clone(&app), closing.subscribe())),
            tokio::spawn(keep_up(Arc::clone(&app), closing.subscribe())),
            tokio::spawn(keep_log(engine.clone(), config.log.age_days_max, closing.subscribe())),
            tokio::spawn(sweep(
                Sweeper::new(engine.clone(), config.engine.activate_homes_per_second),
                closing.subscribe(),
            )),
        ];
        tasks.push(tokio::spawn(tell_events(courier, closing.subscribe())));
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
    /// Where MQTT over TLS listens.
    pub fn mqtts_address(&self) -> Option<SocketAddr> {
        self.endpoint.tls_addr()
    }
    /// Where MQTT over WebSocket is to be found.
    pub fn websocket_url(&self) -> Option<String> {
        self.endpoint.websocket_url()
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
        self.app.end_trail().await;
        self.engine.drain().await;
        // The last clones of the engine go here, and with them the store.
    }
}

/// Where the store is in the data directory.
pub(crate) const STORE: &str = "store";
/// Where a store is while it is restored: once it is whole it is moved to its place.
pub(crate) const RESTORING: &str = "store.restoring";

/// Opens store and master key. The key is made together with the store and never after it.
fn open_data(config: &Config, clock: &dyn Clock) -> Result<(Arc<dyn Store>, MasterKey), StartError> {
    let dir = &config.data.dir;
    std::fs::create_dir_all(dir).map_err(|cause| StartError::DataDirectory { path: dir.clone(), cause })?;
    let (store_path, key_path) = (dir.join(STORE), config.data.master_key_path());
    if dir.join(RESTORING).exists() {
        return Err(StartError::RestoreUnfinished { path: dir.join(RESTORING) });
    }
    if store_path.exists() && !key_path.exists() {
        return Err(StartError::MasterKeyMissing { path: key_path });
    }
    let master = MasterKey::load_or_create(&key_path)?;
    let options = EmbeddedOptions {
        gateway: Some(master.fingerprint()),
        created_at: Some(clock.now()),
        logs_bytes_max: config.log.size_mib_max * 1024 * 1024,
        overlay_bytes: config.data.waiting_rows_mib_max * 1024 * 1024,
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(&store_path, options)?;
    Ok((Arc::new(store), master))
}

/// Whether the files that a configuration names can be used, without using them, and what else
/// only shows when keys are seen together.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    if let Some(broker) = config.broker.settings()? {
        relay::check(&broker.address, &broker.tls)?;
    }
    let settings = mqtt_settings(config)?;
    let tls = settings.tls.map(Tls::open).transpose()?;
    match settings.websocket {
        Some(websocket) if websocket.tls && tls.is_none() => Err(StartError::WebSocketWithoutTls),
        Some(_) | None => Ok(()),
    }
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

fn mqtt_settings(config: &Config) -> Result<mqtt::Settings, StartError> {
    let websocket = config.mqtt.websocket.bind;
    Ok(mqtt::Settings {
        address: config.mqtt.bind,
        connections_max: config.limits.mqtt_connections_max,
        connect_timeout: std::time::Duration::from_secs(config.limits.mqtt_connect_seconds_max),
        slow_consumer_limit: mqtt::limits::SLOW_CONSUMER_LIMIT,
        handshakes_max: config.limits.mqtt_handshakes_max,
        publishes_per_second: config.limits.mqtt_publishes_per_second,
        bridge_publishes_per_second: config.limits.mqtt_bridge_publishes_per_second,
        flood: flood_settings(config),
        connects_per_minute: config.limits.mqtt_connects_per_minute,
        connects_burst: config.limits.mqtt_connects_burst,
        tls: tls_settings(&config.mqtt.tls)?,
        websocket: websocket.map(|address| WebSocketSettings { address, tls: config.mqtt.websocket.tls }),
    })
}

fn flood_settings(config: &Config) -> FloodSettings {
    FloodSettings {
        device_per_second: config.limits.device_messages_per_second,
        device_burst: config.limits.device_messages_burst,
        maker_per_second: config.limits.maker_messages_per_second,
    }
}

fn tls_settings(tls: &config::MqttTls) -> Result<Option<TlsSettings>, StartError> {
    let Some(address) = tls.bind else { return Ok(None) };
    let needed = |key, file: &Option<PathBuf>| file.clone().ok_or(StartError::TlsIncomplete { key });
    Ok(Some(TlsSettings {
        address,
        certificate_file: needed("certificate_file", &tls.certificate_file)?,
        key_file: needed("key_file", &tls.key_file)?,
        client_certificates: tls.client_certificates,
        client_ca_file: tls.client_ca_file.clone(),
        client_ca_dir: tls.client_ca_dir.clone(),
        revoked_file: tls.revoked_file.clone(),
    }))
}

fn app_settings(config: &Config, master: Arc<MasterKey>) -> app::Settings {
    app::Settings {
        operator_token: config.operator_token.as_ref().map(|token| token.reveal().to_owned()),
        identity_key: master.identity_key(),
        secrets: Arc::new(seams::secrets_of(master)),
        broker: broker_address(config, config.mqtt.bind, false),
        telemetry_s: config.mqtt.telemetry_seconds,
        devices_per_maker_max: config.limits.devices_per_maker_max,
        calls_per_second: config.limits.http_calls_per_second,
        order_retention: Span::days(config.privacy.order_retention_days.into()),
        publish_reach_max_alone: config.triggers.publish_reach_max_alone,
    }
}

fn broker_address(config: &Config, listens: SocketAddr, tls: bool) -> BrokerAddress {
    let host = config.mqtt.public_host.clone().unwrap_or_else(|| listens.ip().to_string());
    BrokerAddress { host, port: listens.port(), tls }
}

async fn serve_http(
    listener: TcpListener,
    router: axum::Router,
    connections_max: usize,
    mut closing: watch::Receiver<bool>,
) {
    let asked = async move {
        let _ = closing.wait_for(|is_closing| *is_closing).await;
    };
    http::serve(listener, router, connections_max, asked).await;
}

fn render_of(metrics: &Metrics) -> http::RenderMetrics {
    let metrics = metrics.clone();
    Arc::new(move || metrics.render())
}

async fn keep_log(engine: Engine, days: u32, mut closing: watch::Receiver<bool>) {
    tokio::select! {
        () = engine.keep_log(Span::days(days.into())) => {}
        _ = closing.wait_for(|is_closing| *is_closing) => {}
    }
}

/// How often it is learned how likely offers are accepted.
const LEARN_EVERY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

async fn learn_chances(app: Arc<App>, mut closing: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEARN_EVERY) => {}
            _ = closing.wait_for(|is_closing| *is_closing) => return,
        }
        match app.learn_all_chances().await {
            Ok(retailers) => tracing::info!(retailers, "Learned how likely offers are accepted"),
            Err(failure) => tracing::warn!("It was not learned how likely offers are accepted: {failure}"),
        }
    }
}

/// Ends with the gateway, wherever it is: what is over stands on disk.
async fn end_what_lapses(app: Arc<App>, mut closing: watch::Receiver<bool>) {
    tokio::select! {
        () = app.end_what_lapses() => {}
        _ = closing.wait_for(|is_closing| *is_closing) => {}
    }
}

/// Ends with the gateway, wherever it is: the next start looks again.
async fn keep_up(app: Arc<App>, mut closing: watch::Receiver<bool>) {
    tokio::select! {
        () = app.keep_up() => {}
        _ = closing.wait_for(|is_closing| *is_closing) => {}
    }
}

/// Ends with the gateway, wherever it is: how far it came is on disk.
async fn sweep(sweeper: Sweeper, mut closing: watch::Receiver<bool>) {
    tokio::select! {
        () = sweeper.run() => {}
        _ = closing.wait_for(|is_closing| *is_closing) => {}
    }
}

/// Ends with the gateway, wherever it is: what is not told waits on disk.
async fn tell_events(courier: Courier, mut closing: watch::Receiver<bool>) {
    tokio::select! {
        () = courier.run() => {}
        _ = closing.wait_for(|is_closing| *is_closing) => {}
    }
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
    /// TLS cannot be served.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tls(#[from] TlsError),
    /// TLS is to be served, and a file is not named.
    #[error("`bind` is set in `[mqtt.tls]`, and `{key}` is not")]
    #[diagnostic(help("name the file, or leave `bind` out; `hearthway pki init` makes certificates to try it with"))]
    TlsIncomplete {
        /// Which key.
        key: &'static str,
    },
    /// WebSocket over TLS, without TLS.
    #[error("`tls` is true in `[mqtt.websocket]`, and `[mqtt.tls]` has no `bind`")]
    #[diagnostic(help("set up `[mqtt.tls]`: its certificate serves both"))]
    WebSocketWithoutTls,
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
    /// A restore did not come to its end.
    #[error("`{path}` is what a restore left that was cut short")]
    #[diagnostic(help("remove that directory and run `hearthway restore` again"))]
    RestoreUnfinished {
        /// What it left.
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
    /// The authorities of webhooks cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// Signals cannot be heard.
    #[error("listening for Ctrl-C and SIGTERM: {0}")]
    Signals(std::io::Error),
}

fn endpoint_error(error: EndpointError) -> StartError {
    match error {
        EndpointError::Bind { what, address, cause } => bind_error(what, address, cause),
        EndpointError::Tls(error) => error.into(),
        EndpointError::WebSocketWithoutTls => StartError::WebSocketWithoutTls,
    }
}

/// Says which flag, variable and key choose another address.
fn bind_error(what: &'static str, address: SocketAddr, cause: std::io::Error) -> StartError {
    let port = address.port();
    let place = match what {
        "MQTTS" => "HEARTHWAY_MQTTS_BIND and `bind` in `[mqtt.tls]`".to_owned(),
        "WebSocket" => "`bind` in `[mqtt.websocket]`".to_owned(),
        what => {
            let word = what.to_lowercase();
            format!("`--{word}-bind`, HEARTHWAY_{what}_BIND and `bind` in `[{word}]`")
        }
    };
    let mend = format!("choose another address, such as {}:0 for a free port, by {place}", address.ip());
    let help = match cause.kind() {
        std::io::ErrorKind::AddrInUse => format!("port {port} is in use by another program; {mend}"),
        std::io::ErrorKind::PermissionDenied => format!("port {port} needs more rights than this program has; {mend}"),
        _ => mend,
    };
    StartError::Bind { what, address, cause, help }
}
