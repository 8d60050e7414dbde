//! `hearthway verify-audit`: each entry of the audit trail against its hash and the one before.

use std::process::ExitCode;

use anyhow::Context;

use super::at_rest;
use crate::app::audit::{Verified, verify};
use crate::config::Config;

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str = "The audit trail is verified in a data directory at rest. Of a running gateway, verify a copy: \
    `hearthway backup --from http://127.0.0.1:8080 --out FILE`, then `hearthway restore FILE` into another directory";

/// Looks whether the audit trail is as it was written: no entry changed, removed or slipped in.
///
/// Prints the number of entries and the hash of the last. Who keeps that line elsewhere can tell later
/// whether the trail before it is still the same. Exits with 1 where the chain is broken.
#[derive(Debug, clap::Args)]
pub struct VerifyAudit {
    /// Which data.
    #[command(flatten)]
    pub place: at_rest::Place,
}

impl VerifyAudit {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self.verify().context("the audit trail was not verified") {
            Ok(Verified::Whole(head)) => {
                let hash = data_encoding::HEXLOWER.encode(&head.hash);
                super::say(&format!("audit entries={} head={hash}\n", head.entries));
                ExitCode::SUCCESS
            }
            Ok(Verified::Broken { at, why }) => {
                super::say(&format!("audit broken at entry {at}: {why}\n"));
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn verify(&self) -> anyhow::Result<Verified> {
        let mut config = Config::load_here(self.place.config.as_deref())?;
        if let Some(data) = &self.place.data {
            config.data.dir = data.clone();
        }
        let (store, _) = at_rest::open(&config, WHEN_IT_RUNS)?;
        Ok(verify(&*store)?)
    }
}
