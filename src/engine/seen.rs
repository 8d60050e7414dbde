//! Message ids that were seen: the key, the row, and letting old ones go.

use hearthway_core::decision::{Decision, Effect};
use hearthway_core::id::{DeviceKey, MessageId, derive_bytes};
use hearthway_core::input::{Input, What};
use hearthway_core::limits::{SEEN_AGE_MAX, SEEN_IDS_PER_DEVICE};
use hearthway_core::time::Timestamp;

use super::rows::{self, SeenRow};
use super::speak;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::{Store, StoreError, Write};

/// Inputs of a household between two sweeps of its devices' ids: with as many ids kept, a sweep
/// reads two rows for each message, and never more than twice the ids stand on disk.
pub(super) const SWEEP_EVERY_INPUTS: u64 = SEEN_IDS_PER_DEVICE as u64;

/// A device and the hash of one of its message ids.
pub(super) type Mark = (DeviceKey, [u8; 8]);

/// What a message is remembered by; none for what has no message id.
pub(super) fn mark(input: &Input) -> Option<Mark> {
    let (What::Device(_), Some(device), Some(message)) = (&input.what, &input.device, &input.message) else {
        return None;
    };
    Some((device.clone(), hash(message)))
}

fn hash(message: &MessageId) -> [u8; 8] {
    let bytes = derive_bytes("message", &[message.as_str().as_bytes()]);
    *bytes.first_chunk().expect("a hash is longer than 8 bytes")
}

/// The row of an id, written in the same commit as what the message changed.
pub(super) fn row(input: &Input, decision: &Decision) -> SeenRow {
    let told = decision.effects.iter().filter_map(|effect| match effect {
        Effect::Down { device, message, .. } if input.device.as_ref() == Some(device) => speak::told_again(message),
        _ => None,
    });
    SeenRow { at: input.received_at, told: told.collect(), refusal: decision.reply.as_ref().err().cloned() }
}

/// Removes ids of a device beyond the newest [`SEEN_IDS_PER_DEVICE`], and those of another week.
pub(super) fn sweep(
    store: &dyn Store,
    device: &DeviceKey,
    now: Timestamp,
    writes: &mut Vec<Write>,
) -> Result<(), StoreError> {
    let mut ids: Vec<(Timestamp, Key)> = Vec::new();
    rows::walk(store, &keys::all_seen(device), |key, bytes| {
        ids.push((codec::decode::<SeenRow>(Schema::Seen, key, bytes)?.at, key.clone()));
        Ok(true)
    })?;
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let gone = ids.into_iter().enumerate();
    let gone = gone.filter(|(rank, (at, _))| *rank >= SEEN_IDS_PER_DEVICE || *at < now - SEEN_AGE_MAX);
    writes.extend(gone.map(|(_, (_, key))| Write::Delete(key)));
    Ok(())
}
