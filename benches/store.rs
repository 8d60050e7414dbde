//! What a durable commit costs by the size of its group: `cargo bench --bench store`.
//!
//! The database lies in `HEARTHWAY_BENCH_DIR`, else in the build's own folder, so that the disk
//! is the one that counts and not a `tmpfs`. Groups of 1 mostly measure the disk's sync, which
//! `cargo run --release --example fdatasync_p50` measures alone.

use std::cell::Cell;
use std::path::PathBuf;

use divan::counter::ItemsCount;
use hearthway::store::keys::Key;
use hearthway::store::memory::MemoryStore;
use hearthway::store::sled::{SledOptions, SledStore};
use hearthway::store::{Commit, Store, Write};

fn main() {
    divan::main();
}

const GROUPS: [usize; 3] = [1, 16, 256];
const HOUSEHOLDS: u64 = 10_000;
const VALUE_BYTES: usize = 600;

/// Where the rows that are only ever added (input log, message ids, outbox) lie.
#[derive(Clone, Copy)]
enum Added {
    /// Beside those of the same household: each touches another page.
    ByHousehold,
    /// In the order of arrival: all touch the last page.
    ByArrival,
}

/// The four writes of one message: the household's record, a row of its input log, a message id
/// and a row of the outbox.
fn commit(n: u64, added: Added) -> Commit {
    let household = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % HOUSEHOLDS;
    let key = |table: u8, numbers: &[u64]| {
        let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
        Key(std::iter::once(table).chain([0; 7]).chain(numbers).collect())
    };
    let place = |number: u64| match added {
        Added::ByHousehold => [household, number],
        Added::ByArrival => [n, household],
    };
    let value = || n.to_le_bytes().repeat(VALUE_BYTES / 8);
    let writes = vec![
        Write::Put(key(b'H', &[household]), value()),
        Write::Put(key(b'I', &place(n)), value()),
        Write::Put(key(b'M', &place(n.wrapping_mul(0x2545_f491_4f6c_dd1d))), value()),
        Write::Put(key(b'O', &place(n)), value()),
    ];
    Commit { preconditions: Vec::new(), writes }
}

/// The default cache, or `HEARTHWAY_BENCH_CACHE_MIB`: leaves outside it are read from the file
/// for each write, and that costs more than all else.
fn cache_bytes() -> u64 {
    let mib = std::env::var("HEARTHWAY_BENCH_CACHE_MIB").ok().and_then(|mib| mib.parse::<u64>().ok());
    mib.map_or(SledOptions::default().cache_bytes, |mib| mib * 1024 * 1024)
}

fn bench_groups(bencher: divan::Bencher, size: usize, store: &impl Store, added: Added) {
    let next = Cell::new(0u64);
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| {
            let first = next.get();
            next.set(first + size as u64);
            (first..next.get()).map(|n| commit(n, added)).collect::<Vec<_>>()
        })
        .bench_local_refs(|group| store.commit(group).expect("the disk of the benchmark works"));
}

#[divan::bench(args = GROUPS, sample_count = 200, sample_size = 1)]
fn sled_by_household(bencher: divan::Bencher, size: usize) {
    bench_sled(bencher, size, Added::ByHousehold);
}

#[divan::bench(args = GROUPS, sample_count = 200, sample_size = 1)]
fn sled_by_arrival(bencher: divan::Bencher, size: usize) {
    bench_sled(bencher, size, Added::ByArrival);
}

#[divan::bench(args = GROUPS, sample_count = 200, sample_size = 1)]
fn memory(bencher: divan::Bencher, size: usize) {
    bench_groups(bencher, size, &MemoryStore::new(), Added::ByHousehold);
}

fn bench_sled(bencher: divan::Bencher, size: usize, added: Added) {
    let parent = std::env::var_os("HEARTHWAY_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("the directory of the benchmark can be written");
    let options = SledOptions { cache_bytes: cache_bytes(), ..SledOptions::default() };
    let store = SledStore::open(directory.path(), options).expect("a new store opens");
    bench_groups(bencher, size, &store, added);
}
