//! When the gateway is asked to end, and in which order it does.
//!
//! The order is that of the promises: first nobody new is let in (listeners), then what was let
//! in is decided and committed (engine, with its outbox), last the store closes. What was
//! acknowledged is on disk before any of this, so an impatient second signal loses nothing.

use std::time::Duration;

/// How long connections and requests have to end by themselves.
pub const DRAIN_SECONDS_MAX: Duration = Duration::from_secs(10);

/// Resolves when the process is asked to end: Ctrl-C or SIGTERM.
pub async fn asked() -> std::io::Result<&'static str> {
    Ok(Requests::listen()?.next().await)
}

/// Requests to end, heard from the moment this is made: one that comes between the first word of the
/// gateway and the wait for its end must not be a kill.
#[derive(Debug)]
pub struct Requests {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Requests {
    /// Listens. From here on SIGHUP ends nothing either: it asks whoever has files to read them again,
    /// and where there is nobody it must not be a kill.
    pub fn listen() -> std::io::Result<Requests> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            // The handler stays when its listener goes.
            drop(signal(SignalKind::hangup())?);
            Ok(Requests { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Requests {})
    }

    /// The next one.
    pub async fn next(&mut self) -> &'static str {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
        }
        #[cfg(not(unix))]
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            // Nobody can ask any more; the process is ended from outside.
            Err(_) => std::future::pending().await,
        }
    }
}
