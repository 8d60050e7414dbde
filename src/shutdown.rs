//! When the gateway is asked to end, and in which order it does.
//!
//! The order is that of the promises: first nobody new is let in (listeners), then what was let
//! in is decided and committed (engine, with its outbox), last the store closes. What was
//! acknowledged is on disk before any of this, so an impatient second signal loses nothing.

use std::time::Duration;

/// How long connections and requests have to end by themselves.
pub const DRAIN_SECONDS_MAX: Duration = Duration::from_secs(10);

/// From here on SIGHUP ends nothing: it asks whoever has files to read them again, and where there is
/// nobody it must not be a kill.
pub fn stay_on_hangup() -> std::io::Result<()> {
    // The handler stays when its listener goes.
    #[cfg(unix)]
    drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?);
    Ok(())
}

/// Resolves when the process is asked to end: Ctrl-C or SIGTERM.
pub async fn asked() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "Ctrl-C"),
            _ = terminate.recv() => Ok("SIGTERM"),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}
