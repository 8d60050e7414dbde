//! What a person may have left in rows of homes where others live.

use std::collections::BTreeMap;

use hearthway_core::id::{HouseholdId, ProfileId};

use crate::app::Failure;
use crate::engine::rows::{OrderRow, OutboxRow};
use crate::store::codec::{self, KeyId, Schema};
use crate::store::keys::{Key, table};

/// What a person may have left in rows of homes.
pub(super) struct LeftBehind {
    pub(super) profile: ProfileId,
    pub(super) display_name: String,
    pub(super) old: BTreeMap<KeyId, Option<HouseholdId>>,
}

impl LeftBehind {
    /// A row of a home where others live, without the person; none where it has to go.
    pub(super) fn without_person(&self, key: &Key, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match key.0.first().copied().unwrap_or_default() {
            table::ORDER => {
                let mut row: OrderRow = codec::decode(Schema::Order, key, bytes)?;
                if row.order.profile.as_ref() == Some(&self.profile) {
                    row.order.profile = None;
                }
                Ok(Some(codec::encode(Schema::Order, &row)))
            }
            table::OUTBOX => {
                let row: OutboxRow = codec::decode(Schema::Outbox, key, bytes)?;
                Ok((!self.is_named_in(&row.payload)).then(|| bytes.to_vec()))
            }
            // A tail from before: the record has been written anew. What repeats of old messages are told
            // may greet the person; a repeat is then told nothing.
            table::HOUSEHOLD | table::TOLD => Ok(None),
            // Whatever else a home has: what names the person goes.
            _ => Ok((!self.is_named_in(bytes)).then(|| bytes.to_vec())),
        }
    }

    fn is_named_in(&self, bytes: &[u8]) -> bool {
        [self.profile.as_str(), self.display_name.as_str()].iter().any(|name| contains(bytes, name.as_bytes()))
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text)
}
