//! Bulk calls: JSON Lines in, JSON Lines out, one answer per line in the order of the lines.
//!
//! Lines are worked on while the body arrives, a bounded number at once, so that many share one
//! durable flush; answers leave as they are known. Reading never waits for a client that sends
//! everything before it reads: the answers of the most lines that a body may have are queued.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hearthway_core::code::{Code, Refusal};
use http_body::Frame;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::{ApiError, ApiResult, HttpCode};
use super::steady::STALL_MAX;
use crate::observe::limits::{Limit, hit};

/// Bytes of a whole bulk body.
pub const BULK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Lines of one bulk body.
const LINES_MAX: usize = 200_000;
/// Bytes of one line: a link with all its consents has a tenth.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines worked on at once: half of the moves that the engine has under way at most, so that one
/// stream of links leaves room for people who claim meanwhile.
const AT_ONCE_MAX: usize = 128;

/// Answers the body line by line with what `work` says of each.
pub fn answer<W, F>(body: Body, work: W) -> Response
where
    W: Fn(Vec<u8>) -> F + Send + 'static,
    F: Future<Output = ApiResult<Value>> + Send + 'static,
{
    answer_patiently(body, work, STALL_MAX)
}

/// The same; a body of which nothing comes for so long is over.
fn answer_patiently<W, F>(body: Body, work: W, patience: Duration) -> Response
where
    W: Fn(Vec<u8>) -> F + Send + 'static,
    F: Future<Output = ApiResult<Value>> + Send + 'static,
{
    let (out, lines) = mpsc::channel(LINES_MAX + 1);
    tokio::spawn(run(body, work, out, patience));
    streamed(lines, "application/x-ndjson")
}

/// An answer whose lines leave as they are known.
pub fn streamed(lines: mpsc::Receiver<Bytes>, kind: &'static str) -> Response {
    let mut response = Response::new(Body::new(Answers(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// All lines of a body whose call takes them all or none.
pub async fn whole(body: Body) -> Result<Bytes, ApiError> {
    let whole = timeout(STALL_MAX, axum::body::to_bytes(body, BULK_BYTES_MAX)).await;
    let whole = whole.map_err(|_| {
        hit(Limit::HttpStalled);
        ApiError::new(HttpCode::Timeout, "the body did not end within 30 s")
    })?;
    whole.map_err(|_| ApiError::too_large(format!("a bulk body has at most {BULK_BYTES_MAX} bytes")))
}

/// The answers on their way out.
struct Answers(mpsc::Receiver<Bytes>);

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

async fn run<W, F>(mut body: Body, work: W, out: mpsc::Sender<Bytes>, patience: Duration)
where
    W: Fn(Vec<u8>) -> F,
    F: Future<Output = ApiResult<Value>> + Send + 'static,
{
    let mut pending: VecDeque<JoinHandle<ApiResult<Value>>> = VecDeque::new();
    let mut line: Vec<u8> = Vec::new();
    let (mut bytes, mut lines) = (0, 0);
    let stopped = loop {
        let frame = timeout(patience, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await;
        let Ok(frame) = frame else {
            hit(Limit::HttpStalled);
            break Some(ApiError::new(
                HttpCode::Timeout,
                format!("nothing more of the body came for {} s; send the rest by itself", patience.as_secs()),
            ));
        };
        let Some(frame) = frame else { break None };
        let Ok(frame) = frame else { break Some(ApiError::too_large("the body ended before its length")) };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        if bytes > BULK_BYTES_MAX {
            let why = format!("a bulk body has at most {BULK_BYTES_MAX} bytes; send the rest by itself");
            break Some(ApiError::too_large(why));
        }
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            if line.len() <= LINE_BYTES_MAX {
                line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                start(&work, std::mem::take(&mut line), &mut pending, &mut lines);
            }
            while pending.len() > AT_ONCE_MAX {
                if !tell(&mut pending, &out).await {
                    return;
                }
            }
        }
        if lines > LINES_MAX {
            let why = format!("a bulk body has at most {LINES_MAX} lines; send the rest by itself");
            break Some(ApiError::too_large(why));
        }
    };
    if stopped.is_none() {
        start(&work, line, &mut pending, &mut lines);
    }
    while !pending.is_empty() {
        if !tell(&mut pending, &out).await {
            return;
        }
    }
    if let Some(why) = stopped {
        let _ = out.send(text(&why.to_line())).await;
    }
}

/// Begins the work on one line; empty lines are nothing.
fn start<W, F>(work: &W, line: Vec<u8>, pending: &mut VecDeque<JoinHandle<ApiResult<Value>>>, lines: &mut usize)
where
    W: Fn(Vec<u8>) -> F,
    F: Future<Output = ApiResult<Value>> + Send + 'static,
{
    if line.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    *lines += 1;
    if line.len() > LINE_BYTES_MAX {
        let error = ApiError::too_large(format!("a line has at most {LINE_BYTES_MAX} bytes"));
        pending.push_back(tokio::spawn(std::future::ready(Err(error))));
    } else {
        pending.push_back(tokio::spawn(work(line)));
    }
}

/// Waits for the first line's work and queues its answer; false when nobody reads any more.
async fn tell(pending: &mut VecDeque<JoinHandle<ApiResult<Value>>>, out: &mpsc::Sender<Bytes>) -> bool {
    let Some(first) = pending.pop_front() else { return true };
    let answer = match first.await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => error.to_line(),
        Err(_) => ApiError::from(Refusal::new(Code::InternalRetry, "this line failed; send it again")).to_line(),
    };
    out.send(text(&answer)).await.is_ok()
}

fn text(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::to_bytes;

    /// A body that says one line and a half, and then nothing.
    struct Stops(bool);

    impl HttpBody for Stops {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match std::mem::replace(&mut self.0, true) {
                false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{\"a\":1}\n{\"b\""))))),
                true => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_stops_is_answered_as_far_as_it_came_and_told_so() {
        let echo = |line: Vec<u8>| async move { Ok(serde_json::from_slice(&line).unwrap()) };
        let response = answer_patiently(Body::new(Stops(false)), echo, Duration::from_millis(20));
        let told = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let told: Vec<Value> =
            told.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], serde_json::json!({"a": 1}));
        assert_eq!(told[1]["error"]["code"], "request.timeout", "{}", told[1]);
    }
}
