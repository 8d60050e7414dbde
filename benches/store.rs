//! What a durable commit costs by the size of its group: `cargo bench --bench store`.
//!
//! The database lies in `HEARTHWAY_BENCH_DIR`, else in the build's own folder, so that the disk
//! is the one that counts and not a `tmpfs`. Groups of 1 mostly measure the disk's sync, which
//! `cargo run --release --example fdatasync_p50` measures alone.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use divan::counter::ItemsCount;
use hearthway::store::codec::{self, KeyId, Schema};
use hearthway::store::embedded::{EmbeddedOptions, EmbeddedStore};
use hearthway::store::keys::Key;
use hearthway::store::memory::MemoryStore;
use hearthway::store::sealed::{Making, SealedStore, SealingSecrets, Subject};
use hearthway::store::{Commit, Store, Write};
use hearthway_core::id::HouseholdId;

fn main() {
    divan::main();
}

const GROUPS: [usize; 3] = [1, 16, 256];
const VALUE_BYTES: usize = 600;

fn key(table: u8, numbers: &[u64]) -> Key {
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    Key(std::iter::once(table).chain([0; 7]).chain(numbers).collect())
}

/// The writes of one message: the household's record, an item of its input log, and in one of ten
/// a row of the outbox.
fn commit(n: u64, households: u64) -> Commit {
    let household = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % households;
    let value = || n.to_le_bytes().repeat(VALUE_BYTES / 8);
    let mut writes =
        vec![Write::Put(key(b'H', &[household]), value()), Write::Append(key(b'L', &[household]), value())];
    if n.is_multiple_of(10) {
        writes.push(Write::Put(key(b'O', &[household, n]), value()));
    }
    Commit { preconditions: Vec::new(), writes }
}

fn bench_groups(bencher: divan::Bencher, size: usize, store: &impl Store, households: u64) {
    let next = Cell::new(0u64);
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| {
            let first = next.get();
            next.set(first + size as u64);
            (first..next.get()).map(|n| commit(n, households)).collect::<Vec<_>>()
        })
        .bench_local_refs(|group| store.commit(group).expect("the disk of the benchmark works"));
}

/// Ten thousand homes that report again and again.
#[divan::bench(args = GROUPS, sample_count = 1_000, sample_size = 1)]
fn embedded_10_000_households(bencher: divan::Bencher, size: usize) {
    bench_embedded(bencher, size, 10_000);
}

/// A home is hardly ever heard twice in a turn of the journal: every message is written behind.
#[divan::bench(args = GROUPS, sample_count = 1_000, sample_size = 1)]
fn embedded_a_million_households(bencher: divan::Bencher, size: usize) {
    bench_embedded(bencher, size, 1_000_000);
}

#[divan::bench(args = GROUPS, sample_count = 1_000, sample_size = 1)]
fn memory(bencher: divan::Bencher, size: usize) {
    bench_groups(bencher, size, &MemoryStore::new(), 10_000);
}

/// What sealing adds: the writes of a reading, an item of the log of 300 bytes and a tail of 700, in a store that
/// costs nothing else.
#[divan::bench(args = [false, true], sample_count = 1_000, sample_size = 1)]
fn a_message_in_memory_sealed(bencher: divan::Bencher, is_sealed: bool) {
    const MESSAGES: usize = 64;
    let (_place, store) = sealed_store();
    let vault = store.vault().expect("this store is sealed");
    let group: Vec<Commit> = (0..MESSAGES as u64)
        .map(|n| {
            let own = match is_sealed {
                true => vault.key_for(home(n)).expect("a new key is made"),
                false => codec::NOT_SEALED,
            };
            let writes = vec![
                Write::Append(key(b'L', &[n]), value_for(own, 300)),
                Write::Put(key(b'H', &[n]), value_for(own, 700)),
            ];
            Commit { preconditions: Vec::new(), writes }
        })
        .collect();
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .with_inputs(|| group.clone())
        .bench_local_refs(|group| store.commit(group).expect("memory takes what it is given"));
}

/// A record of 3 kB is read and opened.
#[divan::bench]
fn a_sealed_record_is_read(bencher: divan::Bencher) {
    let (_place, store) = sealed_store();
    let own = store.vault().expect("this store is sealed").key_for(home(1)).expect("a new key is made");
    let at = key(b'H', &[1]);
    let writes = vec![Write::Put(at.clone(), value_for(own, 3_000))];
    store.commit(&[Commit { preconditions: Vec::new(), writes }]).expect("memory takes what it is given");
    bencher.bench_local(|| store.get(&at).expect("it was written just now"));
}

fn sealed_store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let place = tempfile::tempdir().expect("a directory can be made");
    let secrets = SealingSecrets { wrapping: [1; 32], blinding: [2; 32] };
    let file = place.path().join("customers.keys");
    let store = SealedStore::open(Arc::new(MemoryStore::new()), &file, secrets, Making::Allowed);
    (place, store.expect("a new store opens"))
}

fn home(n: u64) -> Subject {
    Subject::household(HouseholdId::derived(&[&n.to_be_bytes()]))
}

/// A value of so many bytes that belongs to somebody.
fn value_for(own: KeyId, bytes: usize) -> Vec<u8> {
    let mut value = codec::encode(Schema::Offer, &"x".repeat(bytes));
    codec::belong_to(own, &mut value);
    value
}

fn bench_embedded(bencher: divan::Bencher, size: usize, households: u64) {
    let parent = std::env::var_os("HEARTHWAY_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("the directory of the benchmark can be written");
    let store = EmbeddedStore::open(directory.path(), EmbeddedOptions::default()).expect("a new store opens");
    bench_groups(bencher, size, &store, households);
}
