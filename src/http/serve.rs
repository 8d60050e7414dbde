//! From the listening socket to the router: a bounded number of connections, none of which may take
//! long to say what it wants or to take its answer. A body that stops half-way is bounded by its
//! call's time, that of a bulk call in `lines`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::steady::{STALL_MAX, Steady};
use crate::observe::limits::{Limit, hit};

/// How long a connection may take to say what it wants, from its start or its last answer on.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head: the longest path and token have a tenth.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long to wait when the system has no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until `shutdown` resolves, then lets running calls end. Above `connections_max` the next
/// client waits in the system's backlog.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let running = GracefulShutdown::new();
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    loop {
        if places.available_permits() == 0 {
            hit(Limit::HttpConnections);
        }
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            (place, accept(&listener).await)
        };
        let (place, stream) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let connection = protocol
            .serve_connection(TokioIo::new(Steady::new(stream, STALL_MAX)), TowerToHyperService::new(router.clone()));
        let connection = running.watch(connection);
        tokio::spawn(async move {
            match connection.await {
                Err(error) if error.is_timeout() => hit(Limit::HttpHeadTime),
                Err(error) => tracing::debug!("A connection over HTTP ended: {error}"),
                Ok(()) => {}
            }
            drop(place);
        });
    }
    drop(listener);
    running.shutdown().await;
}

/// The next client. One that is gone before it is taken is nobody's trouble; when the system has no
/// sockets left, time makes room.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for the next segment.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("A connection keeps Nagle's algorithm: {error}");
                }
                return stream;
            }
            Err(error) if is_about_the_client(&error) => {}
            Err(error) => {
                tracing::error!("HTTP cannot take another connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}
