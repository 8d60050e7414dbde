//! The thin shell of threads round the state machines: one per shard, one that writes, one for
//! time. Without them (`Engine::unmanned`) a test moves every part by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hearthway_core::time::Span;
use tokio::sync::mpsc;

use super::job::{Job, retry};
use super::poison::guarded;
use super::writer::Work;
use super::{Inner, StoreError};

/// How often acknowledged rows are deleted and stalled arrivals tried again, when nothing else
/// moves the writer.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How far ahead the time keeper looks when no deadline stands.
const FAR: Span = Span::hours(1);

/// Starts the threads.
pub(super) fn start(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let mut threads = Vec::new();
    let mut spawn = |name: String, run: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name).spawn(run);
        threads.push(thread.map_err(|error| StoreError::Failed {
            doing: "starting the engine's threads",
            cause: error.to_string(),
        })?);
        Ok::<_, StoreError>(())
    };
    if let Some(works) = super::house::lock(&inner.works).take() {
        let inner = Arc::clone(inner);
        spawn("writer".into(), Box::new(move || write(&inner, works)))?;
    }
    for shard in 0..inner.house.inboxes.len() {
        if let Some(jobs) = super::house::lock(&inner.queues[shard]).take() {
            let inner = Arc::clone(inner);
            spawn(format!("shard-{shard}"), Box::new(move || take(&inner, shard, jobs)))?;
        }
    }
    let keeper = Arc::clone(inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime
        .map_err(|error| StoreError::Failed { doing: "starting the engine's time keeper", cause: error.to_string() })?;
    spawn("time-keeper".into(), Box::new(move || runtime.block_on(keep_time(&keeper))))?;
    super::house::lock(&inner.threads).extend(threads);
    Ok(())
}

/// Ends the threads after what they have begun.
pub(super) fn stop(inner: &Inner) -> Vec<JoinHandle<()>> {
    inner.stopping.store(true, Ordering::Release);
    inner.house.timers.nearer.notify_one();
    for shard in 0..inner.house.inboxes.len() {
        inner.house.inboxes.wake(shard);
    }
    let _ = inner.works_in.try_send(Work::Flush(None));
    std::mem::take(&mut *super::house::lock(&inner.threads))
}

fn take(inner: &Arc<Inner>, shard: usize, mut jobs: mpsc::Receiver<Job>) {
    while !inner.stopping.load(Ordering::Acquire) {
        let urgent = inner.house.inboxes.take_urgent(shard);
        let Some(job) = urgent.or_else(|| jobs.blocking_recv()) else { return };
        // Rules are guarded where they are called. This is for everything else: what fails is not
        // acknowledged, and the shard lives on for its other households.
        let Some(step) = guarded(|| super::house::lock(&inner.shards[shard]).take(job)) else {
            inner.house.meters.poison.increment(1);
            tracing::error!(shard, "A shard failed on an input; what it had not yet made durable is decided again");
            let repeats = super::house::lock(&inner.shards[shard]).failed();
            for repeat in repeats {
                repeat.answer(retry("the gateway failed on it"));
            }
            continue;
        };
        if let Some(work) = inner.finish(step) {
            // Waits here while the writer is behind: that holds the queue, and so the senders.
            let _ = inner.works_in.blocking_send(work);
        }
    }
}

fn write(inner: &Arc<Inner>, mut works: mpsc::Receiver<Work>) {
    let mut group = Vec::new();
    while !inner.stopping.load(Ordering::Acquire) {
        let Some(first) = works.blocking_recv() else { return };
        group.push(first);
        while group.len() < inner.house.settings.group_commits_max
            && let Ok(work) = works.try_recv()
        {
            group.push(work);
        }
        inner.writer.commit(std::mem::take(&mut group));
    }
}

async fn keep_time(inner: &Arc<Inner>) {
    let house = &inner.house;
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    while !inner.stopping.load(Ordering::Acquire) {
        let now = house.clock.now();
        while let Some((household, deadline)) = house.timers.due(now) {
            let shard = house.inboxes.shard_of(household);
            let _ = house.inboxes.queue(shard).send(Job::Timer { household, deadline }).await;
        }
        let next = house.timers.soonest().unwrap_or(now + FAR);
        tokio::select! {
            () = house.clock.sleep_until(next) => {}
            () = house.timers.nearer.notified() => {}
            _ = housekeeping.tick() => inner.tend(),
        }
    }
}
