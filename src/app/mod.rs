//! What people and their systems ask of the gateway: load, decide through the engine, answer.
//!
//! A noun per file, each an `impl App` of what can be asked about it. Nothing here knows HTTP;
//! nothing here holds a rule about offers: those live in `hearthway_core`.
//!
//! Start order: [`Rulebook::open`] (the documents become the first rule set), then
//! `Engine::start` with that rule book, then [`App::start`] with that engine.

mod aside;
pub mod audiences;
pub mod audit;
pub mod backtests;
pub mod backups;
pub mod broker;
pub mod budgets;
pub mod catalog;
mod chances;
pub mod claims;
pub mod codes;
pub mod consent_texts;
pub mod consents;
pub mod context;
pub mod customer_tokens;
pub mod decisions;
pub mod devices;
pub mod documents;
pub mod erasures;
pub mod events;
pub mod export;
/// Why something was not done.
pub mod failure;
pub mod flags;
pub mod grants;
pub mod idempotency;
pub mod identities;
pub mod links;
pub mod mandates;
pub mod me;
pub mod members;
pub mod merges;
pub mod offers;
pub mod orders;
pub(crate) mod plain_words;
pub mod preferences;
pub mod profiles;
pub mod provisioning;
pub mod quarantine;
pub mod readings;
pub mod registry;
pub mod reports;
pub mod roles;
pub mod rows;
mod second_person;
pub mod stays;
mod stolen;
/// Retailers and makers.
pub mod tenants;
mod tenure;
pub mod timeline;
pub mod tokens;
pub mod tries;
pub mod triggers;
mod upkeep;
pub mod webhooks;
pub(crate) mod wrong_codes;

use std::sync::{Arc, RwLock};

use hearthway_core::id::DeviceKey;
use hearthway_core::input::{Command, Input};
use hearthway_core::time::Timestamp;

pub use documents::Rulebook;
pub use failure::{Failure, ItemProblem};

use crate::engine::{Engine, entropy};
use crate::store::StoreError;

/// Where a device's secret comes from. The device endpoint implements it from the master key.
pub trait SecretSource: Send + Sync + 'static {
    /// The secret of one generation (from 1) of a device.
    fn secret(&self, device: &DeviceKey, generation: u32) -> String;
}

impl<F: Fn(&DeviceKey, u32) -> String + Send + Sync + 'static> SecretSource for F {
    fn secret(&self, device: &DeviceKey, generation: u32) -> String {
        self(device, generation)
    }
}

/// Where devices are told to connect, in the answer to provisioning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Host name or address that devices can reach.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// The device endpoint's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddresses {
    /// For devices that speak plain MQTT.
    pub plain: BrokerAddress,
    /// For devices that asked over TLS.
    pub secure: Option<BrokerAddress>,
}

/// What the operator sets.
#[derive(Clone)]
pub struct Settings {
    /// The operator's token, where the environment gives it; else one is made at the first start.
    pub operator_token: Option<String>,
    /// Where the secrets of devices come from.
    pub secrets: Arc<dyn SecretSource>,
    /// Under which identities of persons are hashed.
    pub identity_key: [u8; 32],
    /// Where devices are told to connect.
    pub broker: BrokerAddress,
    /// How often a newly provisioned device should report, seconds.
    pub telemetry_s: u32,
    /// Devices that one maker may have.
    pub devices_per_maker_max: usize,
    /// Calls a second of one token.
    pub calls_per_second: u32,
    /// How long the bare lines of an order outlive the erasure of who bought.
    pub order_retention: hearthway_core::time::Span,
    /// Homes that a marketer may reach with a trigger without a second person.
    pub publish_reach_max_alone: u64,
}

/// The longest until it is looked again for what is over: also where a clock jumped, or the store failed.
const LOOK_FOR_LAPSED: hearthway_core::time::Span = hearthway_core::time::Span::minutes(5);

/// Everything that the edges can ask.
pub struct App {
    pub(crate) engine: Engine,
    pub(crate) rulebook: Arc<Rulebook>,
    pub(crate) tokens: tokens::Tokens,
    customer_tokens: customer_tokens::CustomerTokens,
    grants: grants::Grants,
    pub(crate) registry: registry::Registry,
    pub(crate) wrong_codes: wrong_codes::WrongCodes,
    /// Who asked about serial numbers that nobody could claim.
    asked_serials: wrong_codes::WrongCodes,
    pub(crate) idempotency: idempotency::Idempotency,
    secrets: Arc<dyn SecretSource>,
    identity_key: [u8; 32],
    broker: RwLock<BrokerAddresses>,
    watched: RwLock<Vec<Watched>>,
    brokers: broker::Brokers,
    backtests: backtests::Backtests,
    reports: reports::Reports,
    backups: std::sync::OnceLock<backups::Backups>,
    telemetry_s: u32,
    calls_per_second: u32,
    publish_reach_max_alone: u64,
    /// Held over an import of unique codes.
    importing_codes: tokio::sync::Mutex<()>,
    /// Held over a count of stock.
    counting_stock: tokio::sync::Mutex<()>,
    /// Something ends by itself, perhaps before all else that does.
    lapses: tokio::sync::Notify,
    /// Held while a mandate and the row that finds it change.
    mandates: tokio::sync::Mutex<()>,
    /// Held while a webhook changes.
    webhooks: tokio::sync::Mutex<()>,
    courier: std::sync::OnceLock<crate::webhook::Courier>,
    /// Held over a merge and its undoing.
    merging: tokio::sync::Mutex<()>,
    /// Held to write by who changes which audiences there are, to read by who names one.
    naming_audiences: tokio::sync::RwLock<()>,
    /// A count of the homes that a trigger reaches.
    pub(crate) counting_homes: Arc<tokio::sync::Semaphore>,
    /// Exports that customers ask for themselves.
    own_exports: tokio::sync::Semaphore,
    /// What devices reported, on its way to whoever asked.
    readings_at_once: Arc<tokio::sync::Semaphore>,
    /// Pages of that which are being read.
    pages_at_once: tokio::sync::Semaphore,
    trail: audit::Trail,
    erasures: erasures::Erasures,
    invitations: members::Invitations,
}

/// A part of the gateway that can be in trouble without keeping it from its work.
pub struct Watched {
    /// Its name on the health page.
    pub part: &'static str,
    /// What somebody should look at.
    pub complaints: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// The started application, and what must be shown to the operator once.
pub struct Started {
    /// The application.
    pub app: Arc<App>,
    /// The operator's token, when this start made it. Shown once; only its hash is kept.
    pub fresh_operator_token: Option<String>,
}

impl App {
    /// Loads tokens and keys. `rulebook` is the one that the engine was started with.
    pub async fn start(engine: Engine, rulebook: Arc<Rulebook>, settings: Settings) -> Result<Started, Failure> {
        let (tokens, fresh_operator_token) = tokens::Tokens::open(&engine, settings.operator_token.as_deref()).await?;
        let customer_tokens = customer_tokens::CustomerTokens::open(&engine)?;
        let grants = grants::Grants::open(&engine)?;
        let registry = registry::Registry::open(&engine, settings.devices_per_maker_max);
        let idempotency = idempotency::Idempotency::open(&engine).await?;
        let trail = audit::Trail::open(&engine)?;
        let app = Arc::new(App {
            engine,
            rulebook,
            tokens,
            customer_tokens,
            grants,
            registry,
            wrong_codes: wrong_codes::WrongCodes::default(),
            asked_serials: wrong_codes::WrongCodes::default(),
            idempotency,
            secrets: settings.secrets,
            identity_key: settings.identity_key,
            broker: RwLock::new(BrokerAddresses { plain: settings.broker, secure: None }),
            watched: RwLock::default(),
            brokers: broker::Brokers::default(),
            backtests: backtests::Backtests::default(),
            reports: reports::Reports::default(),
            backups: std::sync::OnceLock::new(),
            telemetry_s: settings.telemetry_s,
            calls_per_second: settings.calls_per_second,
            publish_reach_max_alone: settings.publish_reach_max_alone,
            importing_codes: tokio::sync::Mutex::default(),
            counting_stock: tokio::sync::Mutex::default(),
            lapses: tokio::sync::Notify::new(),
            mandates: tokio::sync::Mutex::default(),
            webhooks: tokio::sync::Mutex::default(),
            courier: std::sync::OnceLock::new(),
            merging: tokio::sync::Mutex::default(),
            naming_audiences: tokio::sync::RwLock::default(),
            counting_homes: Arc::new(tokio::sync::Semaphore::new(1)),
            own_exports: tokio::sync::Semaphore::new(me::OWN_EXPORTS_AT_ONCE),
            readings_at_once: Arc::new(tokio::sync::Semaphore::new(readings::READINGS_MAX)),
            pages_at_once: tokio::sync::Semaphore::new(readings::PAGES_AT_ONCE),
            trail,
            erasures: erasures::Erasures::new(settings.order_retention),
            invitations: members::Invitations::default(),
        });
        let merges = merges::resume(&app)?;
        app.resume_erasures(merges)?;
        Ok(Started { app, fresh_operator_token })
    }

    /// Removes what goes once a day, for as long as it is let. It may take long: nothing that ends at its minute
    /// waits for it.
    pub async fn keep_up(&self) {
        if let Err(failure) = self.watch_known_homes().await {
            tracing::warn!(reason = failure.kind(), "Homes of people with several were not all looked for");
        }
        let mut upkeep = upkeep::Upkeep::default();
        while !self.engine.is_closed() {
            if upkeep.is_due(self.now()) {
                self.upkeep().await;
            }
            self.engine.clock().sleep_until(self.now() + LOOK_FOR_LAPSED).await;
        }
    }

    /// Ends what ends by itself, for as long as it is let: reservations, and the keys of days that are over.
    pub async fn end_what_lapses(&self) {
        while !self.engine.is_closed() {
            let next = match self.end_lapsed_reservations().await {
                Ok(next) => next,
                Err(failure) => {
                    tracing::warn!("Reservations that are over could not be ended, and are tried again: {failure}");
                    None
                }
            };
            if let Err(failure) = self.idempotency.end_days(&self.engine, self.now()) {
                tracing::warn!("The keys of days that are over could not be destroyed, and are tried again: {failure}");
            }
            let (now, clock) = (self.now(), self.engine.clock());
            let latest = now + LOOK_FOR_LAPSED;
            tokio::select! {
                () = clock.sleep_until(next.unwrap_or(latest).min(latest)) => {}
                () = self.lapses.notified() => {}
            }
        }
    }

    /// Tells where devices are to connect, once the listeners have their real ports.
    pub fn set_broker(&self, broker: BrokerAddresses) {
        *self.broker.write().expect("no holder of this lock panics") = broker;
    }

    /// The rules as they are.
    pub fn rules(&self) -> Arc<hearthway_core::rules::RuleSet> {
        self.engine.rules()
    }

    /// The time by the gateway's clock.
    pub fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// A command as an input of its own. People may ask for the same thing twice and mean it
    /// twice, so the time and a drawn number are part of its cause. Where the caller named the call,
    /// the home knows it by that.
    pub(crate) fn command(&self, device: Option<&DeviceKey>, word: &str, about: &[u8], what: Command) -> Input {
        let named = device.map(ToString::to_string).unwrap_or_default();
        let (at, drawn) = (self.now().0.to_be_bytes(), entropy::draw().to_be_bytes());
        let cause: [&[u8]; 5] = [word.as_bytes(), about, named.as_bytes(), &at, &drawn];
        Input { message: idempotency::call(), ..self.engine.command(device.cloned(), &cause, what) }
    }

    /// Lets the health page speak of a part.
    pub fn watch(&self, part: Watched) {
        self.watched.write().expect("no holder of this lock panics").push(part);
    }

    /// What somebody should look at although work is taken: the part, and what is the matter.
    pub fn complaints(&self) -> Vec<(&'static str, String)> {
        let watched = self.watched.read().expect("no holder of this lock panics");
        watched.iter().flat_map(|watched| (watched.complaints)().into_iter().map(|said| (watched.part, said))).collect()
    }

    /// Calls a second of one token.
    pub fn calls_per_second(&self) -> u32 {
        self.calls_per_second
    }

    /// Whether the gateway can take work, and why not.
    pub fn health(&self) -> Result<(), StoreError> {
        self.engine.health()
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// At most so many rows.
    pub limit: usize,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// Rows of a list where the caller does not say.
pub const PAGE_ROWS_DEFAULT: usize = 50;
/// Rows of a list at most: a page stays below about a megabyte.
pub const PAGE_ROWS_MAX: usize = 1000;
