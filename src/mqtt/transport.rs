//! What a client is served over: any stream of bytes.
//!
//! The connection's loop is compiled once for each kind of stream, so a plain socket pays nothing
//! for TLS and WebSocket: its reads and writes are the system calls and no more.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::limits::READ_BYTES;
use super::metrics as names;

/// A stream of bytes in both directions.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for S {}

/// What the stream did while it was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It gave so many bytes; none means that the client closed it.
    Read(usize),
    /// It took something and may take more.
    Written,
}

/// Bytes on their way out: written from `written` on, and handed on by the stream once flushed.
#[derive(Debug)]
pub(super) struct Out {
    /// What is to be written.
    pub(super) bytes: Vec<u8>,
    /// How many of them the stream has taken.
    pub(super) written: usize,
    /// The stream took bytes that it may still hold: a TLS record, a WebSocket frame.
    holds_back: bool,
    /// When the stream last took something.
    pub(super) progress_at: Instant,
}

impl Out {
    /// Nothing to write.
    pub(super) fn new(now: Instant) -> Out {
        Out { bytes: Vec::new(), written: 0, holds_back: false, progress_at: now }
    }

    /// Bytes that the stream has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Nothing is left to write or to flush.
    pub(super) fn is_done(&self) -> bool {
        self.waiting() == 0 && !self.holds_back
    }

    /// Writes what the stream takes at once.
    pub(super) async fn push<S: Transport>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.is_done() {
            return Ok(());
        }
        poll_fn(|context| match self.poll_push(stream, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await?;
        if self.waiting() == 0 {
            self.bytes.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Ready when everything is written and flushed.
    fn poll_push<S: Transport>(&mut self, stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            match Pin::new(&mut *stream).poll_write(context, &self.bytes[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    self.holds_back = true;
                    self.progress_at = Instant::now();
                    counter!(names::BYTES_OUT).increment(bytes as u64);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.holds_back {
            match Pin::new(stream).poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.holds_back = false;
                    self.progress_at = Instant::now();
                }
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the memory back when there is nothing to write.
    pub(super) fn give_back_idle_memory(&mut self) {
        if self.waiting() == 0 {
            self.bytes = Vec::new();
            self.written = 0;
        }
    }
}

/// Waits until the stream gives something, where it `may_read`, or takes some of the output.
pub(super) async fn moved<S: Transport>(
    stream: &mut S,
    may_read: bool,
    unread: &mut Vec<u8>,
    out: &mut Out,
) -> io::Result<Moved> {
    poll_fn(|context| {
        if !out.is_done() {
            let before = out.written;
            let pushed = out.poll_push(stream, context)?;
            if pushed.is_ready() || out.written > before {
                return Poll::Ready(Ok(Moved::Written));
            }
        }
        if may_read {
            return poll_read(stream, context, unread).map_ok(Moved::Read);
        }
        Poll::Pending
    })
    .await
}

fn poll_read<S: Transport>(stream: &mut S, context: &mut Context<'_>, unread: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    // Lent on the stack, so that a connection from which nothing comes holds no buffer.
    let mut room = [MaybeUninit::uninit(); READ_BYTES];
    let mut room = ReadBuf::uninit(&mut room);
    let polled = Pin::new(stream).poll_read(context, &mut room);
    unread.extend_from_slice(room.filled());
    polled.map_ok(|()| room.filled().len())
}
