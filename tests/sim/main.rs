//! A seeded simulation of the whole house behind its seams; `fault_model.md` says what it suffers.
//!
//! `HEARTHWAY_SIM_SEEDS=n` plays n seeds (2 000 under `CI`, else 200), `HEARTHWAY_SIM_SEED=s`
//! plays one.
#![allow(clippy::unwrap_used, missing_docs)]

mod log_index;
mod random;
mod recount;
mod seams;
mod shop;
mod told;
mod witness;
mod world;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use witness::Counts;
use world::World;

/// From so many seeds on the averages mean something.
const ENOUGH_SEEDS: u64 = 100;

/// ERROR lines logged so far.
static ERRORS: AtomicU64 = AtomicU64::new(0);

pub fn errors() -> u64 {
    ERRORS.load(Ordering::Relaxed)
}

/// Counts ERROR lines; everything else is silent.
struct ErrorCount;

impl tracing::Subscriber for ErrorCount {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        eprintln!("ERROR: {event:?}");
        ERRORS.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The value of a future that never waits.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing in the simulation waits"),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seeded_world_keeps_every_promise() {
    let _ = tracing::subscriber::set_global_default(ErrorCount);
    let seeds = match number("HEARTHWAY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let many = if std::env::var_os("CI").is_some() { 2_000 } else { 200 };
            1..number("HEARTHWAY_SIM_SEEDS").unwrap_or(many) + 1
        }
    };
    let many = seeds.end - seeds.start;
    let tell = number("HEARTHWAY_SIM_SEED").is_some();
    let rules = Arc::new(shop::rules());
    let mut counts = Counts::default();
    for seed in seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed, Arc::clone(&rules), tell);
            world.run();
            world.counts()
        }));
        match run {
            Ok(counted) => counts += counted,
            Err(_) => {
                panic!(
                    "seed {seed} broke a promise; again with: HEARTHWAY_SIM_SEED={seed} cargo test --test sim -- --nocapture"
                )
            }
        }
    }
    println!("{many} seeds: {counts:?}");
    assert!(counts.acknowledgements > 0, "a world in which nothing happens proves nothing");
    if many >= ENOUGH_SEEDS {
        assert!(counts.offers_delivered > 3 * many, "worlds with few offers prove little");
        assert!(counts.ends > many, "worlds in which nobody ends anything prove nothing about silence");
        assert!(counts.orders > many / 2, "worlds in which nothing is sold prove nothing about selling once");
        assert!(counts.claims > many / 4, "worlds in which no code is typed prove nothing about claims");
        assert!(counts.exhausted > many / 20, "worlds whose budget nobody exhausts prove nothing about budgets");
        assert!(counts.explained > many, "worlds without traces explain nothing");
        assert!(counts.reported > many, "worlds without looks report nothing");
    }
}
