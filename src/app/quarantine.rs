//! What a maker's devices sent and nobody understood.

use data_encoding::BASE32_NOPAD;
use hearthway_core::id::MakerId;
use hearthway_core::model::Tenant;

use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};
use crate::engine::QuarantineRow;
use crate::store::keys::{self, Key};

/// Bytes of a key behind the maker's name: a time and a number.
const PLACE_BYTES: usize = 16;

impl App {
    /// A page of a maker's quarantine, newest first. Another maker's looks like none.
    pub fn quarantine(&self, who: &Caller, maker: &str, page: &PageQuery) -> Result<Page<QuarantineRow>, Failure> {
        who.may(Scope::DevicesRegister)?;
        let named = MakerId::new(maker).map_err(|_| Failure::not_found("maker", maker))?;
        let may_see = match who.tenant() {
            Tenant::Operator => self.rulebook_knows(&named),
            Tenant::Maker(own) => *own == named,
            Tenant::Retailer(_) => false,
        };
        if !may_see {
            return Err(Failure::not_found("maker", maker));
        }
        let before = page.cursor.as_deref().map(|cursor| place(&named, cursor)).transpose()?;
        let mut rows = self.engine.quarantined(&named, before.as_ref(), page.limit + 1)?;
        let has_more = rows.len() > page.limit;
        rows.truncate(page.limit);
        let next = rows.last().filter(|_| has_more).map(|(key, _)| cursor(key));
        Ok(Page { items: rows.into_iter().map(|(_, row)| row).collect(), next })
    }

    fn rulebook_knows(&self, maker: &MakerId) -> bool {
        self.engine.rules().makers.contains_key(maker)
    }
}

fn cursor(key: &Key) -> String {
    let place = key.0.last_chunk::<PLACE_BYTES>();
    BASE32_NOPAD.encode(place.map_or(&[][..], |place| place)).to_ascii_lowercase()
}

fn place(maker: &MakerId, cursor: &str) -> Result<Key, Failure> {
    let bytes = BASE32_NOPAD.decode(cursor.to_ascii_uppercase().as_bytes()).ok();
    let bytes = bytes.filter(|bytes| bytes.len() == PLACE_BYTES);
    let bytes = bytes.ok_or_else(|| Failure::invalid("", "the parameter `cursor` is not one of ours"))?;
    Ok(Key([keys::quarantine_of(maker), bytes].concat()))
}
