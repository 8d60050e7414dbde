use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body::Frame;
use tokio::sync::mpsc;

use super::Shared;
use super::error::{ApiError, ApiResult, HttpCode};
use super::request::Who;

/// Bytes that leave at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that wait for a slow reader; then the backup waits.
const CHUNKS_MAX: usize = 4;

pub(super) async fn take(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    shared.app.may_back_up(&who)?;
    let (chunks, mut rest) = mpsc::channel(CHUNKS_MAX);
    let making = tokio::task::spawn_blocking(move || {
        let mut out = Chunks { buffer: Vec::with_capacity(CHUNK_BYTES), chunks };
        shared.app.back_up(&mut out)
    });
    // What keeps a backup from beginning is told as with every other call; later it can only be
    // the last thing in the file.
    let Some(first) = rest.recv().await else {
        let refused =
            making.await.map_err(|_| ApiError::new(HttpCode::Conflict, "the backup ended before it began"))?;
        refused?;
        return Err(ApiError::new(HttpCode::Conflict, "the backup is empty"));
    };
    let mut response = Response::new(Body::new(Stream { first: Some(first), rest }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// Bytes on their way from the thread that makes the backup.
struct Chunks {
    buffer: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone");
        self.chunks.blocking_send(full.into()).map_err(gone)
    }
}

/// Bytes as they come to be.
pub(super) struct Stream {
    /// What leaves before all else.
    pub(super) first: Option<Bytes>,
    /// The rest.
    pub(super) rest: mpsc::Receiver<Bytes>,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => self.rest.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk)))),
        }
    }
}
