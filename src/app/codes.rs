//! A retailer's unique codes: imported into pools, and counted.

use hearthway_core::id::{PoolId, UniqueCode};
use hearthway_core::model::CodeState;
use serde_json::{Value, json};

use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::engine::codes::PoolCounts;
use crate::engine::rows::CodeRow;
use crate::store::codec::Schema;
use crate::store::keys;

/// Codes of one pool: what a campaign gives out, at some hundred bytes of memory each.
const CODES_PER_POOL_MAX: usize = 100_000;
/// Pools of one retailer: as many campaigns as anybody runs at once, and those of the years before.
const POOLS_PER_RETAILER_MAX: usize = 200;
/// Codes of one call: as many as its body has room for.
const CODES_PER_IMPORT_MAX: usize = 50_000;
/// Codes written in one commit.
const CODES_PER_COMMIT: usize = 1_000;

/// What became of the codes of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// New ones.
    pub added: usize,
    /// Ones that the pool had, or that stood twice in the call.
    pub known: usize,
}

impl Imported {
    /// As JSON.
    pub fn to_json(&self, pool: &PoolId) -> Value {
        json!({"pool": pool.as_str(), "added": self.added, "known": self.known})
    }
}

/// A pool as its retailer sees it.
pub fn pool_json(pool: &PoolId, counts: &PoolCounts) -> Value {
    json!({
        "pool": pool.as_str(), "total": counts.total(), "left": counts.free, "reserved": counts.reserved,
        "shown": counts.shown, "used": counts.used,
    })
}

impl App {
    /// Adds codes to a pool; those that it has are counted and left as they are.
    pub async fn import_codes(&self, who: &Caller, pool: &PoolId, codes: &[String]) -> Result<Imported, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        if codes.len() > CODES_PER_IMPORT_MAX {
            let message = format!("one call imports {CODES_PER_IMPORT_MAX} codes at most; it has {}", codes.len());
            return Err(Failure::invalid("/codes", message));
        }
        let mut read = Vec::with_capacity(codes.len());
        for (n, code) in codes.iter().enumerate() {
            let code = UniqueCode::new(code);
            read.push(code.map_err(|error| Failure::invalid(&format!("/codes/{n}"), error.to_string()))?);
        }
        // One import at a time, so that two of the same codes do not both find them new.
        let _importing = self.importing_codes.lock().await;
        let had = self.engine.codes_of_pool(retailer, pool);
        if had == 0 && self.engine.code_pools(retailer) >= POOLS_PER_RETAILER_MAX {
            return Err(Failure::Conflict(format!(
                "{POOLS_PER_RETAILER_MAX} pools are the most; use one that is there"
            )));
        }
        let given = read.len();
        read.sort();
        read.dedup();
        let mut new = Vec::with_capacity(read.len());
        for code in read {
            if self.engine.store().get(&keys::code(retailer, pool, &code))?.is_none() {
                new.push(code);
            }
        }
        if had + new.len() > CODES_PER_POOL_MAX {
            let message = format!("a pool has {CODES_PER_POOL_MAX} codes at most; this one has {had} already");
            return Err(Failure::Conflict(message));
        }
        let imported = Imported { added: new.len(), known: given - new.len() };
        for part in new.chunks(CODES_PER_COMMIT) {
            let free = CodeRow { state: CodeState::Free, offer: None };
            let put = |code| rows::put(Schema::Code, keys::code(retailer, pool, code), &free);
            rows::write(&self.engine, part.iter().map(put).collect()).await?;
            // What is on disk may be given out at once, also when a later part fails.
            self.engine.codes_imported(retailer, pool, part.to_vec());
        }
        Ok(imported)
    }

    /// How many codes of a pool are where.
    pub fn code_pool(&self, who: &Caller, pool: &PoolId) -> Result<PoolCounts, Failure> {
        let retailer = who.retailer(Scope::TriggersRead)?;
        if self.engine.codes_of_pool(retailer, pool) == 0 {
            return Err(Failure::not_found("code pool", pool));
        }
        Ok(self.engine.pool_counts(retailer, pool)?)
    }
}
