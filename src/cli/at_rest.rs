//! The data of a gateway that does not run, opened for reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{anyhow, bail};
use hearthway_core::id::RetailerId;

use crate::app::Rulebook;
use crate::config::{Config, Environment};
use crate::engine::Past;
use crate::gateway::STORE;
use crate::mqtt::credentials::MasterKey;
use crate::store::Store;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::sealed::{Making, SealedStore};

/// Which data directory.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Place {
    /// The data directory of a gateway that does not run; without it, the one that the
    /// configuration names.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The configuration file that names the data directory; without it, the defaults and the
    /// environment.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub config: Option<PathBuf>,
}

impl Place {
    /// The running gateway that is to be asked: the one that is named, else, where no data is, that of the environment.
    pub(super) fn gateway(&self, url: Option<&String>, is_of_data: bool) -> anyhow::Result<Option<String>> {
        if url.is_some() || is_of_data || self.data.is_some() || self.config.is_some() {
            return Ok(url.cloned());
        }
        Ok(Environment::of_the_process()?.url)
    }
    /// Opens it; `when_it_runs` says what to do where a gateway is at work on it.
    pub(super) fn open(&self, when_it_runs: &'static str) -> anyhow::Result<Past> {
        let mut config = Config::load_here(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.data.dir = data.clone();
        }
        let (store, master) = open(&config, when_it_runs)?;
        let keys = config.data.customer_keys_path();
        let store = SealedStore::open(store, &keys, master.sealing_secrets(), Making::Refused)?;
        let rulebook = Rulebook::open(store.clone())?;
        Ok(Past::at_rest(store, rulebook))
    }
}

/// The retailer that is meant: the one that is named, or the only one.
pub(super) fn retailer_of(past: &Past, named: Option<&RetailerId>) -> anyhow::Result<RetailerId> {
    let rules = past.rules();
    let known: Vec<&str> = rules.retailers.keys().map(RetailerId::as_str).collect();
    match (named, known.as_slice()) {
        (Some(named), _) if rules.retailers.contains_key(named) => Ok(named.clone()),
        (Some(named), _) => bail!("there is no retailer `{named}`; there is {}", known.join(", ")),
        (None, [only]) => Ok(RetailerId::new(only)?),
        (None, []) => bail!("this gateway has no retailer"),
        (None, _) => bail!("say which retailer is meant by `--retailer`: {}", known.join(", ")),
    }
}

/// Opens a data directory that no gateway uses, with customers' values as they stand on disk: sealed. Nothing is made where there is none, and nothing is
/// cut.
pub(super) fn open(config: &Config, when_it_runs: &'static str) -> anyhow::Result<(Arc<dyn Store>, MasterKey)> {
    let store_path = config.data.dir.join(STORE);
    refuse_where_nothing_is(&store_path, &config.data.dir)?;
    let key_path = config.data.master_key_path();
    let master = MasterKey::load_existing(&key_path)?;
    let master = master.ok_or_else(|| anyhow!("the master key `{}` is missing", key_path.display()))?;
    let options = EmbeddedOptions {
        gateway: Some(master.fingerprint()),
        logs_bytes_max: u64::MAX, // Nothing is cut before it is read.
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(&store_path, options).map_err(|error| {
        let is_running = error.to_string().contains("another process has it open");
        let error = anyhow!(error);
        if is_running { error.context(when_it_runs) } else { error }
    })?;
    Ok((Arc::new(store), master))
}

fn refuse_where_nothing_is(store: &Path, data: &Path) -> anyhow::Result<()> {
    if !store.join("identity.json").exists() {
        bail!(
            "there is no gateway's data in `{}`; for a running gateway name its address by `--url` or HEARTHWAY_URL",
            data.display()
        );
    }
    Ok(())
}
