//! `hearthway replay`: every decision taken again, and compared with what was kept of it.

use std::process::ExitCode;

use anyhow::Context;
use hearthway_core::id::HouseholdId;
use hearthway_core::time::Timestamp;
use sha2::{Digest, Sha256};

use super::{at_rest, bar};
use crate::engine::{Past, Window};

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str = "A replay reads a data directory at rest. Of a running gateway, replay a copy: \
    `hearthway backup --from http://127.0.0.1:8080 --out FILE`, then `hearthway restore FILE` into another directory";

/// Decides the input log again, with the rules as they were, and compares with the stored traces.
///
/// Exits with 1 where a decision comes out otherwise than it did. The same log gives the same
/// lines, byte for byte.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Only this household.
    #[arg(long, value_name = "ID")]
    pub household: Option<HouseholdId>,
    /// Only inputs from this instant on, as RFC 3339 has it.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    pub from: Option<Timestamp>,
    /// Only inputs before this instant.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    pub to: Option<Timestamp>,
    /// Which data.
    #[command(flatten)]
    pub place: at_rest::Place,
}

/// What all households together came to.
#[derive(Default)]
struct Sum {
    households: u64,
    inputs: u64,
    cut: u64,
    erased: u64,
    since: Option<Timestamp>,
    differences: u64,
    digest: Sha256,
}

impl Replay {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let done = self.place.open(WHEN_IT_RUNS).and_then(|past| self.replay(&past)).context("no replay");
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// `true` where nothing differs.
    fn replay(&self, past: &Past) -> anyhow::Result<bool> {
        let window = Window { from: self.from, until: self.to };
        let mut sum = Sum::default();
        match self.household {
            Some(household) => sum.add(past, household, window),
            None => {
                let mut number = 0;
                past.households(|_| {
                    number += 1;
                    Ok(())
                })?;
                let bar = bar::counted("replaying", number, "households");
                past.households(|household| {
                    bar.suspend(|| sum.add(past, household, window));
                    bar.inc(1);
                    Ok(())
                })?;
                bar.finish_and_clear();
            }
        }
        let Sum { households, inputs, cut, erased, since, differences, digest } = sum;
        if self.household.is_some() && inputs + cut + erased + differences == 0 {
            anyhow::bail!("that household has no input in this time");
        }
        let digest = data_encoding::HEXLOWER.encode(&digest.finalize());
        let since = since.map_or_else(|| "-".to_owned(), |since| since.to_string());
        super::say(&format!(
            "replayed households={households} inputs={inputs} too_old={cut} erased={erased} history_from={since} differences={differences} digest={digest}\n"
        ));
        Ok(differences == 0)
    }
}

impl Sum {
    /// One household. What cannot be read is a difference as well: the others are still replayed.
    fn add(&mut self, past: &Past, household: HouseholdId, window: Window) {
        self.households += 1;
        match past.replay(household, window) {
            Ok(replayed) => {
                self.inputs += replayed.inputs;
                self.cut += replayed.cut;
                self.erased += replayed.erased;
                self.since = self.since.into_iter().chain(replayed.since).min();
                self.differences += replayed.differences.len() as u64 + replayed.further;
                self.digest.update(household.bytes());
                self.digest.update(replayed.digest);
                let lines = replayed.differences.iter().map(|difference| format!("{household}: {difference}\n"));
                super::say(&lines.collect::<String>());
                if replayed.further > 0 {
                    super::say(&format!("{household}: and {} more\n", replayed.further));
                }
            }
            Err(error) => {
                self.differences += 1;
                super::say(&format!("{household}: cannot be replayed: {error}\n"));
            }
        }
    }
}
