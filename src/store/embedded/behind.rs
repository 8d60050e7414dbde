//! Writing behind: what a turn of the journal holds goes into the database, in a thread of its own,
//! while the next turn goes on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::StoreError;
use super::super::sled::Reached;
use super::overlay::Overlay;
use super::{Inner, Writer, space};

/// How long a commit waits for the turn before to be over.
const TURN_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often a full disk is looked at again.
const DISK_AGAIN: Duration = Duration::from_secs(1);
/// The database may grow by so many times what is written behind, and needs so much beside.
const DISK_FACTOR: u64 = 4;
const DISK_SPARE_BYTES: u64 = 32 * 1024 * 1024;
/// A pause between some rows, so that commits are not held up on a small machine.
const PAUSE: Duration = Duration::from_micros(200);

/// A turn that is over and must be written behind.
struct Turn {
    rows: Arc<Overlay>,
    reached: Reached,
}

/// The turn that is being written behind, if one is.
#[derive(Default)]
pub(super) struct Behind {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    turn: Option<Turn>,
    stopping: bool,
    /// Somebody waits: no more pauses.
    hurry: bool,
    /// The disk is too full to write behind.
    no_room: Option<StoreError>,
}

impl Behind {
    /// Waits until no turn is being written behind.
    pub(super) fn wait(&self, inner: &Inner) -> Result<(), StoreError> {
        let until = Instant::now() + TURN_WAIT_MAX;
        let mut state = self.lock();
        state.hurry = true;
        while state.turn.is_some() {
            inner.health()?;
            if let Some(error) = &state.no_room {
                return Err(error.clone());
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                let cause = format!("the rows of the last turn are not written after {} s", TURN_WAIT_MAX.as_secs());
                return Err(StoreError::Failed { doing: "waiting for the database", cause });
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hurry = false;
        inner.health()
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Ends a turn of the journal: its rows are handed to the thread, and the other file is taken.
    pub(super) fn begin_turn(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.turn.wait(self)?;
        let reached = self.reached(writer);
        let rows = {
            let mut shown = self.shown_mut();
            let rows = Arc::new(std::mem::take(&mut shown.active));
            shown.behind = Some(Arc::clone(&rows));
            rows
        };
        writer.journal.turn();
        self.turn.lock().turn = Some(Turn { rows, reached });
        self.turn.changed.notify_all();
        Ok(())
    }

    /// Makes a turn's rows durable in the database; what they replace in the journal may go.
    pub(super) fn write_behind(
        &self,
        overlay: &Overlay,
        reached: Reached,
        pause: impl FnMut(),
    ) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed { doing: "syncing the logs", cause: error.to_string() };
        self.logs.sync().map_err(failed)?;
        self.rows.write(&overlay.rows(), |last| last.value(&self.halves), reached, pause)?;
        self.logs.cut(reached.logs_end, self.options.logs_bytes_max).map_err(failed)
    }

    /// The database panics or fails for good where the disk is full: it is asked before.
    fn check_disk(&self, overlay: &Overlay) -> Result<(), StoreError> {
        let needed = DISK_FACTOR * overlay.bytes as u64 + DISK_SPARE_BYTES;
        let free = space::free(&self.directory.rows_path());
        match free {
            Ok(free) if free < needed => Err(StoreError::Failed {
                doing: "writing behind",
                cause: format!("the disk has {} MiB left, and {} MiB are needed", free >> 20, needed >> 20),
            }),
            // Whoever cannot say how full it is may still write.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Starts the thread. It ends when told, after the turn it is at.
pub(super) fn start(inner: Arc<Inner>) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name("behind".to_owned());
    thread.spawn(move || run(&inner)).map_err(|error| StoreError::Failed {
        doing: "starting the thread that writes behind",
        cause: error.to_string(),
    })
}

fn run(inner: &Inner) {
    let behind = &inner.turn;
    let mut state = behind.lock();
    loop {
        let Some(turn) = &state.turn else {
            if state.stopping {
                return;
            }
            state = behind.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let (rows, reached) = (Arc::clone(&turn.rows), turn.reached);
        if let Err(error) = inner.check_disk(&rows) {
            if state.stopping {
                return;
            }
            if state.no_room.is_none() {
                tracing::warn!(%error, "Rows stay in the journal until the disk has room: {error}");
            }
            state.no_room = Some(error);
            behind.changed.notify_all();
            state = behind.changed.wait_timeout(state, DISK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        state.no_room = None;
        drop(state);
        let pause = || {
            if !behind.lock().hurry {
                std::thread::sleep(PAUSE);
            }
        };
        let written = inner.write_behind(&rows, reached, pause);
        if let Err(error) = written {
            inner.fail(error);
        } else {
            inner.shown_mut().behind = None;
        }
        state = behind.lock();
        state.turn = None;
        behind.changed.notify_all();
        if inner.health().is_err() {
            return;
        }
    }
}
