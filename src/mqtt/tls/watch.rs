//! Files that change while the gateway runs, and the time that the certificate has left.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics::{counter, gauge};
use tokio::time::{MissedTickBehavior, interval};

use super::files::{self, Content, TlsError};
use super::{Tls, days_warned, now};
use crate::mqtt::limits::{TLS_FILES_EVERY, TLS_REVOKED_EVERY};
use crate::mqtt::metrics as names;

/// What has been told already, so that a state is told once and not at every look.
#[derive(Default)]
pub(super) struct Told {
    /// Files that were refused.
    refused: Option<Content>,
    /// Files that could not be read.
    unreadable: bool,
    /// The revoked file that was read, by its outside.
    revoked: Option<Outside>,
    /// That file looked the same twice.
    is_settled: bool,
    /// The days of the last warning; 0 that it has expired.
    days: Option<u64>,
}

/// What a file looks like without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    bytes: u64,
    changed: Option<SystemTime>,
    file: u64,
}

impl Outside {
    fn of(path: &Path) -> Option<Outside> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let file = 0;
        Some(Outside { bytes: metadata.len(), changed: metadata.modified().ok(), file })
    }
}

impl Tls {
    /// Looks after the files until the endpoint ends: the list of revoked certificates twice a
    /// second, everything every few seconds, and all of it at once on SIGHUP.
    pub(crate) async fn keep(self: Arc<Tls>) {
        let mut hangup = Hangup::listen();
        let mut told = Told { revoked: self.revoked.path().and_then(Outside::of), ..Told::default() };
        // What `open` has read may have changed since: the first look at everything is at once.
        let (mut revoked, mut everything) = (interval(TLS_REVOKED_EVERY), interval(TLS_FILES_EVERY));
        revoked.set_missed_tick_behavior(MissedTickBehavior::Delay);
        everything.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_whole = tokio::select! {
                _ = revoked.tick(), if self.revoked.path().is_some() => false,
                _ = everything.tick() => true,
                () = hangup.heard() => true,
            };
            let tls = self.clone();
            // Files may lie on a disk that hangs; then this waits, and nobody else.
            let looked = tokio::task::spawn_blocking(move || {
                tls.look_at_revoked(&mut told, is_whole);
                if is_whole {
                    tls.look_at_files(&mut told);
                    tls.tell_time_left(&mut told);
                }
                told
            });
            match looked.await {
                Ok(back) => told = back,
                Err(_) => return, // the runtime ends
            }
        }
    }

    fn look_at_revoked(&self, told: &mut Told, is_whole: bool) {
        let Some(path) = self.revoked.path() else { return };
        let outside = Outside::of(path);
        let is_changed = outside != told.revoked;
        if !is_changed && told.is_settled && !is_whole {
            return;
        }
        told.revoked = outside;
        // The same at two looks: nobody is writing it.
        told.is_settled = !is_changed;
        match self.revoked.reload(told.is_settled) {
            Ok(ended) if is_changed || ended > 0 => {
                counter!(names::TLS_RELOADS, "what" => "revoked", "result" => "taken").increment(1);
                tracing::info!(connections.ended = ended, "Read the revoked certificates of `{}`", path.display());
            }
            Ok(_) => {}
            Err(error) if is_changed => {
                counter!(names::TLS_RELOADS, "what" => "revoked", "result" => "refused").increment(1);
                tracing::warn!("Kept the revoked certificates that were read before: {error}");
            }
            Err(_) => {}
        }
    }

    fn look_at_files(&self, told: &mut Told) {
        let raw = match files::raw(&self.settings) {
            Ok(raw) => raw,
            Err(error) => {
                if !std::mem::replace(&mut told.unreadable, true) {
                    self.kept(&error);
                }
                return;
            }
        };
        told.unreadable = false;
        if raw.content == self.devices.load().content {
            told.refused = None;
            return;
        }
        if told.refused.as_ref() == Some(&raw.content) {
            return;
        }
        let content = raw.content.clone();
        let built = files::build(&self.settings, raw, &self.tickets, &self.revoked);
        match built.and_then(|current| if current.not_after > now() { Ok(current) } else { Err(self.expired()) }) {
            Ok(current) => {
                self.devices.store(Arc::new(current));
                told.refused = None;
                told.days = None;
                counter!(names::TLS_RELOADS, "what" => "certificate", "result" => "taken").increment(1);
                tracing::info!("Took the new TLS files; live connections go on");
            }
            Err(error) => {
                told.refused = Some(content);
                self.kept(&error);
            }
        }
    }

    fn kept(&self, error: &TlsError) {
        counter!(names::TLS_RELOADS, "what" => "certificate", "result" => "refused").increment(1);
        tracing::warn!("Kept the TLS files that were read before: {error}");
    }

    fn expired(&self) -> TlsError {
        files::unusable(&self.settings.certificate_file, "has expired")
    }

    /// Warns 30, 14 and 3 days before the gateway's certificate ends, and when it has.
    pub(super) fn tell_time_left(&self, told: &mut Told) {
        let left = self.devices.load().not_after.as_secs().saturating_sub(now().as_secs());
        gauge!(names::TLS_LEFT).set(left as f64);
        let days = if left == 0 { Some(0) } else { days_warned(Duration::from_secs(left)) };
        if days == told.days {
            return;
        }
        told.days = days;
        let path = self.settings.certificate_file.display();
        match days {
            Some(0) => tracing::error!("The certificate `{path}` has expired: devices refuse to connect; replace it"),
            Some(days) => tracing::warn!("The certificate `{path}` expires within {days} days; replace it"),
            None => {}
        }
    }
}

/// SIGHUP, where there is such a thing.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn listen() -> Hangup {
        #[cfg(unix)]
        {
            let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
            if let Err(error) = &signal {
                tracing::warn!("SIGHUP cannot be heard ({error}); files are looked at every few seconds all the same");
            }
            Hangup { signal: signal.ok() }
        }
        #[cfg(not(unix))]
        Hangup {}
    }

    async fn heard(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
