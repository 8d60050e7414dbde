//! Work that takes long goes on beside the threads that serve connections.

use hearthway_core::code::{Code, Refusal};

use super::Failure;

/// Works through something long on a thread that nobody else waits for.
pub(super) async fn aside<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let failed = |error| Refusal::new(Code::InternalRetry, format!("{doing} ended early: {error}; send it again"));
    Ok(tokio::task::spawn_blocking(work).await.map_err(failed)?)
}
