//! MQTT in WebSocket frames: path `/mqtt`, subprotocol `mqtt`, for clients that live in a browser.
//!
//! The only file that names tungstenite. Frames become bytes and bytes become frames; where a
//! packet begins and ends is no concern of this module, as the standard has it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::limits::{TLS_HANDSHAKE_LIMIT, WEBSOCKET_FRAME_BYTES_MAX, WEBSOCKET_READ_BYTES, WEBSOCKET_WRITE_BYTES};
use super::metrics as names;
use super::transport::Transport;

/// Where MQTT is to be found.
pub const PATH: &str = "/mqtt";
/// The subprotocol that the standard names.
const SUBPROTOCOL: &str = "mqtt";

/// How the WebSocket endpoint is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// Where to listen; port 0 takes a free one.
    pub address: std::net::SocketAddr,
    /// Over TLS, with the certificate of the TLS endpoint.
    pub tls: bool,
}

/// Does the opening handshake; none when the client asked for something else.
pub(super) async fn accept<S: Transport>(stream: S) -> Option<Frames<S>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(WEBSOCKET_READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WEBSOCKET_FRAME_BYTES_MAX)
        .max_frame_size(Some(WEBSOCKET_FRAME_BYTES_MAX))
        .max_message_size(Some(WEBSOCKET_FRAME_BYTES_MAX));
    // As long as a TLS handshake may take: nobody is known yet.
    let reason = match timeout(TLS_HANDSHAKE_LIMIT, accept_hdr_async_with_config(stream, welcome, Some(config))).await {
        Ok(Ok(frames)) => return Some(Frames { frames, left: Bytes::new() }),
        Ok(Err(Error::Http(_))) => "websocket_request",
        Ok(Err(_)) => "websocket",
        Err(_) => {
            crate::observe::limits::hit(crate::observe::limits::Limit::HandshakeTime);
            "timeout"
        }
    };
    counter!(names::REFUSED, "reason" => reason).increment(1);
    None
}

/// Lets a request through that asks for MQTT at its place.
#[allow(clippy::result_large_err)] // the library's own type for this callback
fn welcome(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status: StatusCode, text: &str| {
        let mut refusal = ErrorResponse::new(Some(format!("{text}\n")));
        *refusal.status_mut() = status;
        refusal
    };
    if request.uri().path() != PATH {
        return Err(refuse(StatusCode::NOT_FOUND, "MQTT is served at /mqtt"));
    }
    let asked = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut asked = asked.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !asked.any(|name| name.trim() == SUBPROTOCOL) {
        return Err(refuse(StatusCode::BAD_REQUEST, "ask for the subprotocol `mqtt`"));
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// The bytes in a client's frames.
pub(super) struct Frames<S> {
    frames: WebSocketStream<S>,
    /// The rest of a frame that has not been read.
    left: Bytes,
}

impl<S: Transport> AsyncRead for Frames<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.left.is_empty() {
            match ready!(Pin::new(&mut this.frames).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => this.left = bytes,
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "MQTT comes in binary frames")));
                }
                // The library answers pings by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
            }
        }
        let bytes = this.left.split_to(this.left.len().min(room.remaining()));
        room.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> AsyncWrite for Frames<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut frames = Pin::new(&mut self.get_mut().frames);
        ready!(frames.as_mut().poll_ready(context)).map_err(as_io)?;
        let bytes = &bytes[..bytes.len().min(WEBSOCKET_WRITE_BYTES)];
        frames.start_send(Message::Binary(Bytes::copy_from_slice(bytes))).map_err(as_io)?;
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().frames).poll_flush(context).map_err(as_io)
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().frames).poll_close(context).map_err(as_io)
    }
}

fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
