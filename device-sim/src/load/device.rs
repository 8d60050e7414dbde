//! A device that only connects and listens, in a few hundred bytes of our own memory: thousands of
//! them must not weigh on the machine that measures the gateway.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Seconds without a word that the gateway accepts: longer than any measurement, so that nobody pings.
const KEEP_ALIVE_SECONDS: u16 = 1_200;
/// How long a device waits for the gateway before it tries again.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// An answer to CONNECT or SUBSCRIBE is a few bytes, a message in between below the contract's bound.
const PACKET_BYTES_MAX: usize = 64 * 1_024;

/// What carries the bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How devices reach the gateway.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) host: String,
    pub(super) port: u16,
    /// None is plain.
    pub(super) tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

/// Who connects.
pub(super) struct Identity {
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) secret: String,
    /// What it subscribes.
    pub(super) filter: String,
}

/// A device that is connected and subscribed; dropped, it is gone without a word.
pub(super) struct Connected(#[expect(dead_code, reason = "held so that the connection stays")] Box<dyn Stream>);

/// Connects in MQTT 3.1.1 and subscribes.
pub(super) async fn connect(way: &Way, identity: &Identity) -> Result<Connected, String> {
    timeout(ANSWER_MAX, hello(way, identity)).await.map_err(|_| format!("no answer in {ANSWER_MAX:?}"))?
}

async fn hello(way: &Way, identity: &Identity) -> Result<Connected, String> {
    let failed = |error: std::io::Error| error.to_string();
    let tcp = TcpStream::connect((way.host.as_str(), way.port)).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    let mut stream: Box<dyn Stream> = match &way.tls {
        None => Box::new(tcp),
        Some((config, name)) => {
            Box::new(TlsConnector::from(config.clone()).connect(name.clone(), tcp).await.map_err(failed)?)
        }
    };
    say(&mut stream, &connect_packet(identity)).await.map_err(failed)?;
    match answer(&mut stream, 0x20).await.map_err(failed)?.as_slice() {
        [_, 0] => {}
        other => return Err(format!("CONNACK {other:02x?}")),
    }
    say(&mut stream, &subscribe_packet(&identity.filter)).await.map_err(failed)?;
    match answer(&mut stream, 0x90).await.map_err(failed)?.as_slice() {
        [_, _, granted] if *granted < 0x80 => Ok(Connected(stream)),
        other => Err(format!("SUBACK {other:02x?}")),
    }
}

async fn say(stream: &mut Box<dyn Stream>, packet: &[u8]) -> std::io::Result<()> {
    stream.write_all(packet).await?;
    stream.flush().await
}

/// The body of the first packet of a kind; what comes before it is passed over.
async fn answer(stream: &mut Box<dyn Stream>, wanted: u8) -> std::io::Result<Vec<u8>> {
    loop {
        let header = stream.read_u8().await?;
        let mut length = 0;
        for place in 0..4 {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if length > PACKET_BYTES_MAX {
            return Err(std::io::Error::other("a packet above the bound"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if header & 0xf0 == wanted {
            return Ok(body);
        }
    }
}

fn connect_packet(identity: &Identity) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    // MQTT 3.1.1; user name, password, clean session.
    body.extend([4, 0b1100_0010]);
    body.extend(KEEP_ALIVE_SECONDS.to_be_bytes());
    for part in [&identity.client_id, &identity.username, &identity.secret] {
        text(&mut body, part);
    }
    packet(0x10, &body)
}

fn subscribe_packet(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    text(&mut body, filter);
    body.push(1);
    packet(0x82, &body)
}

fn text(body: &mut Vec<u8>, text: &str) {
    // Names and secrets of the contract are far below this bound.
    body.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(text.as_bytes());
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![header];
    let mut left = body.len();
    while left > 0x7f {
        packet.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    packet.push(left as u8);
    packet.extend(body);
    packet
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn identity() -> Identity {
        let (client_id, username, secret) = ("d-1".into(), "acme/d-1".into(), "s".repeat(120));
        Identity { client_id, username, secret, filter: "chan/v1/acme/d-1/down/#".into() }
    }

    #[test]
    fn a_packet_says_its_length_in_as_many_bytes_as_it_takes() {
        assert_eq!(packet(0x10, &[7; 3]), [0x10, 3, 7, 7, 7]);
        assert_eq!(packet(0x10, &[0; 200])[..3], [0x10, 0xc8, 1]);
        let connect = connect_packet(&identity());
        assert_eq!(connect.len() - 3, usize::from(connect[1] & 0x7f) + 128 * usize::from(connect[2]));
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_what_comes_before_an_answer_is_passed_over() {
        let (mut near, far) = tokio::io::duplex(1_024);
        near.write_all(&[0x30, 3, 0, 1, b't', 0x90, 3, 0, 1, 0x80]).await.unwrap();
        let mut far: Box<dyn Stream> = Box::new(far);
        assert_eq!(answer(&mut far, 0x90).await.unwrap(), [0, 1, 0x80]);
    }
}
