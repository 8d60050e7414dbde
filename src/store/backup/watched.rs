//! A store in use, of which a backup can be made: it notes the rows that change meanwhile, so that
//! nobody has to stand still for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::keys::Key;
use super::super::{AllItems, Commit, Items, Mark, Outcome, Rows, Store, StoreError, Write, reads_pass_through};
use super::BackupError;

/// Bytes of rows that may change while one part of a backup is on its way to its reader.
pub(super) const CAPTURED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The last write of each row; none removes it.
pub(super) type Changed = BTreeMap<Key, Option<Vec<u8>>>;

/// A store around another.
pub struct Watched {
    store: Arc<dyn Store>,
    /// Locked over each commit, so that what is noted is in the order of the commits. There is one
    /// writer: it waits here for nobody but a backup that takes what was noted.
    capture: Mutex<Option<Capture>>,
}

#[derive(Default)]
struct Capture {
    changed: Changed,
    bytes: usize,
    broken: bool,
}

impl Watched {
    /// Around a store.
    pub fn new(store: Arc<dyn Store>) -> Watched {
        Watched { store, capture: Mutex::default() }
    }

    /// Notes what changes from here on, until the guard is dropped.
    pub(super) fn watch(&self) -> Result<Watching<'_>, BackupError> {
        let mut capture = self.capture();
        if capture.is_some() {
            return Err(BackupError::Busy);
        }
        *capture = Some(Capture::default());
        Ok(Watching { watched: self })
    }

    fn capture(&self) -> MutexGuard<'_, Option<Capture>> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A backup is being made.
pub(super) struct Watching<'a> {
    watched: &'a Watched,
}

impl Watching<'_> {
    /// The rows that changed since this was asked last.
    pub(super) fn changed(&self) -> Result<Changed, BackupError> {
        drain(&mut self.watched.capture())
    }

    /// The same, with what `last` reads while no commit passes: the two are of one moment.
    pub(super) fn at_rest<T>(
        &self,
        last: impl FnOnce() -> Result<T, BackupError>,
    ) -> Result<(Changed, T), BackupError> {
        let mut capture = self.watched.capture();
        let read = last()?;
        Ok((drain(&mut capture)?, read))
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self.watched.capture() = None;
    }
}

fn drain(capture: &mut Option<Capture>) -> Result<Changed, BackupError> {
    let capture = capture.get_or_insert_default();
    if capture.broken {
        return Err(BackupError::TooSlow);
    }
    capture.bytes = 0;
    Ok(std::mem::take(&mut capture.changed))
}

impl Capture {
    fn note(&mut self, group: &[Commit], outcomes: &[Outcome]) {
        let committed = group.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Outcome::Committed);
        for write in committed.flat_map(|(commit, _)| &commit.writes) {
            let (key, value) = match write {
                Write::Put(key, value) => (key, Some(value.clone())),
                Write::Delete(key) => (key, None),
                // Items stay where they are: the backup reads the logs up to its end.
                Write::Append(..) => continue,
            };
            let bytes = |value: &Option<Vec<u8>>| key.0.len() + value.as_ref().map_or(0, Vec::len);
            self.bytes += bytes(&value);
            if let Some(before) = self.changed.insert(key.clone(), value) {
                self.bytes -= bytes(&before);
            }
        }
        if self.bytes > CAPTURED_BYTES_MAX {
            *self = Capture { broken: true, ..Capture::default() };
        }
    }
}

impl Store for Watched {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut capture = self.capture();
        let outcomes = self.store.commit(group)?;
        if let Some(capture) = capture.as_mut().filter(|capture| !capture.broken) {
            capture.note(group, &outcomes);
        }
        Ok(outcomes)
    }
    reads_pass_through!(self => self.store);
}
