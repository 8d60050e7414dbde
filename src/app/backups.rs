//! Backups of a gateway that goes on working meanwhile.

use std::io::Write;
use std::sync::Arc;

use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::store::backup::{self, BackupError, Header, Watched};

/// Of what backups are taken.
pub struct Backups {
    /// The gateway, by the fingerprint of its master key.
    pub gateway: String,
    /// Its store.
    pub store: Arc<Watched>,
}

impl App {
    /// Tells of what backups can be taken.
    pub fn set_backups(&self, backups: Backups) {
        let _ = self.backups.set(backups);
    }

    /// Whether this caller may take a backup here.
    pub fn may_back_up(&self, who: &Caller) -> Result<(), Failure> {
        who.may(Scope::BackupsRead)?;
        self.backups().map(drop)
    }

    /// Writes a backup. It takes as long as it takes, and waits while `out` does: not for a thread
    /// that others wait for.
    pub fn back_up(&self, out: impl Write) -> Result<(), Failure> {
        let Backups { gateway, store } = self.backups()?;
        let header = Header::new(gateway.clone(), self.now());
        match backup::take(store, &header, out, |_| {}) {
            Ok(counts) => {
                let (rows, items) = (counts.rows, counts.items);
                tracing::info!(rows, items, "Took a backup of {rows} rows and {items} items of logs");
                Ok(())
            }
            Err(BackupError::Busy) => Err(Failure::Conflict(BackupError::Busy.to_string())),
            Err(BackupError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "A backup was not ended: {error}");
                Err(Failure::Conflict(error.to_string()))
            }
        }
    }

    fn backups(&self) -> Result<&Backups, Failure> {
        self.backups.get().ok_or_else(|| Failure::Conflict("this gateway keeps nothing on disk".into()))
    }
}
