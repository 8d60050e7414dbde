//! What a set of rows adds up to: so that a row that is missing, or is as it was before, is noticed
//! without a second copy of all rows.
//!
//! The sum of the rows' hashes does not depend on their order, and a row is taken out of it as it
//! was put in. The hash is on disk: it must stay as it is. It guards against damage, not against
//! somebody who writes into the file.

use serde::{Deserialize, Serialize};

/// The number of rows and the wrapping sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// How many rows.
    pub(super) rows: u64,
    sum: u64,
}

impl Tally {
    /// Counts a row in.
    pub(super) fn add(&mut self, key: &[u8], row: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, row));
    }

    /// Takes out a row that was counted in.
    pub(super) fn remove(&mut self, key: &[u8], row: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, row));
    }
}

/// An odd number with its bits well spread: multiplying by it loses nothing.
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// Key and row with their lengths, eight bytes a step. Every step is reversible, so two rows that
/// differ in one step never meet; the end spreads the difference over all bits of the sum.
fn hash(key: &[u8], row: &[u8]) -> u64 {
    let lengths = FACTOR ^ (key.len() as u64) << 32 ^ row.len() as u64;
    let state = absorb(absorb(lengths.wrapping_mul(FACTOR), key), row);
    let state = (state ^ state >> 32).wrapping_mul(FACTOR);
    let state = (state ^ state >> 29).wrapping_mul(FACTOR);
    state ^ state >> 32
}

fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let step = |state: u64, word: u64| (state.rotate_left(25) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(state, |state, word| step(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(state, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_stays_as_it_is() {
        let sums = [(b"".as_slice(), b"".as_slice()), (b"H", b"x"), (b"Hhome", &[7; 100])].map(|(k, r)| hash(k, r));
        assert_eq!(sums, [3_044_124_450_224_428_656, 636_162_575_611_010_531, 12_039_695_353_718_563_339]);
    }

    proptest! {
        #[test]
        fn every_changed_byte_changes_the_sum(key: Vec<u8>, row in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, bit in 0..8u8) {
            let mut changed = row.clone();
            changed[at.index(row.len())] ^= 1 << bit;
            prop_assert_ne!(hash(&key, &changed), hash(&key, &row));
        }

        #[test]
        fn what_moves_between_key_and_row_changes_the_sum(key in prop::collection::vec(any::<u8>(), 1..20), row: Vec<u8>) {
            let (last, shorter) = key.split_last().expect("it has a byte");
            prop_assert_ne!(hash(shorter, &[&[*last], row.as_slice()].concat()), hash(&key, &row));
            prop_assert_ne!(hash(&key, &[row.as_slice(), &[0]].concat()), hash(&key, &row));
        }

        #[test]
        fn order_does_not_count_and_what_is_taken_out_leaves_the_rest(rows: Vec<(Vec<u8>, Vec<u8>)>, gone in 0..10usize) {
            let of = |rows: &mut dyn Iterator<Item = &(Vec<u8>, Vec<u8>)>| {
                let mut tally = Tally::default();
                rows.for_each(|(key, row)| tally.add(key, row));
                tally
            };
            let mut all = of(&mut rows.iter());
            prop_assert_eq!(all, of(&mut rows.iter().rev()));
            rows.iter().take(gone).for_each(|(key, row)| all.remove(key, row));
            prop_assert_eq!(all, of(&mut rows.iter().skip(gone)));
        }
    }
}
