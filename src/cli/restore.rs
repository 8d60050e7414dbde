//! `hearthway restore`: fills an empty data directory from a backup.
//!
//! The store is built beside its place, read back and compared, and then moved there: whatever
//! happens on the way, no gateway ever opens half of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::backup::{open, sync_parent};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::gateway::{RESTORING, STORE};
use crate::mqtt::credentials::MasterKey;
use crate::store::backup::{self, Header, Reader};
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::{Store, keys};

/// Fills an empty data directory from a backup.
///
/// The directory may hold the master key and the customers' keys, and nothing else: no backup holds them.
/// Without the customers' keys the gateway does not start; with an older copy of that file than the backup
/// it says so.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration file that names the data directory; without it, the defaults and the
    /// environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Restore {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self.restore().with_context(|| format!("`{}` is not restored", self.file.display())) {
            Ok(said) => {
                super::say(&said);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn restore(&self) -> anyhow::Result<String> {
        let config = Config::load_here(self.config.as_deref())?;
        let (dir, key_path) = (&config.data.dir, config.data.master_key_path());
        let keys_path = config.data.customer_keys_path();
        refuse_what_is_there(dir, &[&key_path, &keys_path])?;
        let (source, bar) = open(&self.file, "restoring")?;
        let mut reader = Reader::open(source)?;
        let header = reader.header().clone();
        let has_key = check_key(&key_path, &header)?;

        fs::create_dir_all(dir).with_context(|| format!("making `{}`", dir.display()))?;
        let (building, place) = (dir.join(RESTORING), dir.join(STORE));
        let restored = fill(&mut reader, &building, &header).and_then(|counted| {
            fs::rename(&building, &place)
                .and_then(|()| sync_parent(&place))
                .context("moving the store to its place")?;
            Ok(counted)
        });
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => {
                // What is left would only be in the way of the next try.
                let _ = fs::remove_dir_all(&building);
                return Err(error);
            }
        };
        bar.finish_and_clear();
        let (rows, items) = restored.rows_and_items;
        let mut missing = Vec::new();
        if !has_key {
            missing.push(format!("the master key of {} at `{}`", header.gateway, key_path.display()));
        }
        if !keys_path.exists() && restored.has_keys_file {
            missing.push(format!("the newest copy of its customers' keys at `{}`", keys_path.display()));
        }
        let next = match missing.is_empty() {
            true => "the gateway can be started".to_owned(),
            false => format!("put {}, then start the gateway", missing.join(" and ")),
        };
        Ok(format!(
            "restored gateway={} made_at={} rows={rows} items={items}\n{next}\n",
            header.gateway, header.made_at
        ))
    }
}

fn refuse_what_is_there(dir: &Path, keys: &[&Path]) -> anyhow::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("listing `{}`", dir.display()))?,
    };
    for entry in entries {
        let path = entry.with_context(|| format!("listing `{}`", dir.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if keys.contains(&path.as_path()) || name == "lost+found" {
            continue;
        }
        if name == RESTORING {
            bail!("`{}` is what a restore left that was cut short; remove that directory", path.display());
        }
        bail!(
            "the data directory `{}` is not empty: it holds `{name}`. Move it aside; only the master key and the customers' keys may be there",
            dir.display()
        );
    }
    Ok(())
}

/// Whether the key is there; it must be the one that the devices of the backup were let in with.
fn check_key(path: &Path, header: &Header) -> anyhow::Result<bool> {
    let Some(key) = MasterKey::load_existing(path)? else { return Ok(false) };
    if key.fingerprint() != header.gateway {
        bail!(
            "it is a backup of the gateway {}, and the master key `{}` is of {}: with it no device could log in",
            header.gateway,
            path.display(),
            key.fingerprint()
        );
    }
    Ok(true)
}

/// What stands in the new store.
struct Restored {
    rows_and_items: (u64, u64),
    /// Its customers' values are sealed.
    has_keys_file: bool,
}

fn fill(reader: &mut Reader<impl std::io::Read>, building: &Path, header: &Header) -> anyhow::Result<Restored> {
    let options = EmbeddedOptions {
        gateway: Some(header.gateway.clone()),
        created_at: Some(SystemClock.now()),
        logs_bytes_max: u64::MAX, // The gateway cuts them to what its configuration says.
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(building, options.clone())?;
    let expected = backup::restore(reader, &store, |_| {})?;
    store.settle()?;
    drop(store);
    // Opened again: what counts is what the disk gives back.
    let store = EmbeddedStore::open(building, options)?;
    expected.compare(&store)?;
    let has_keys_file = store.get(&keys::keys_file())?.is_some();
    Ok(Restored { rows_and_items: expected.rows_and_items(), has_keys_file })
}
