//! A receiver of webhooks for tests: a socket on loopback that answers as it is told, also as no
//! web server would.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) event: Value,
    /// Whether it was answered with a whole 2xx.
    pub(crate) was_taken: bool,
}

impl Heard {
    pub(crate) fn id(&self) -> &str {
        self.event["id"].as_str().unwrap()
    }
    pub(crate) fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap()
    }
    pub(crate) fn subject(&self) -> &str {
        self.event["subject"].as_str().unwrap()
    }
    /// Whether one of its signatures is the one of this secret, as the receiver's library would see it.
    pub(crate) fn is_signed_by(&self, secret: &str) -> bool {
        let secret = data_encoding::BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap();
        let timestamp: i64 = self.headers["webhook-timestamp"].parse().unwrap();
        let wanted = super::sign::signature(&secret, &self.headers["webhook-id"], timestamp, &self.body);
        self.headers["webhook-signature"].split(' ').any(|signature| signature == wanted)
    }
}

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Say {
    /// A status.
    Status(u16),
    /// A status with one more header.
    With(u16, &'static str, String),
    /// More body than anybody wants.
    Huge,
    /// The connection ends in the middle of a 200.
    BreakOff,
    /// The connection ends without a word.
    HangUp,
    /// No answer, ever.
    Stall,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    number: watch::Receiver<usize>,
    /// Requests that were read, answered or not.
    begun: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers each request as `answer` says, which gets the number of requests before.
    pub(crate) async fn start(answer: impl Fn(usize, &Heard) -> Say + Send + Sync + 'static) -> Receiver {
        Receiver::listen(answer, None).await
    }

    /// The same over TLS.
    pub(crate) async fn start_tls(
        answer: impl Fn(usize, &Heard) -> Say + Send + Sync + 'static,
        certificate: &Path,
        key: &Path,
    ) -> Receiver {
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        Receiver::listen(answer, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(
        answer: impl Fn(usize, &Heard) -> Say + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (counted, number) = watch::channel(0);
        let begun: Arc<AtomicUsize> = Arc::default();
        let (answer, book, counted, begins) = (Arc::new(answer), heard.clone(), Arc::new(counted), begun.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, book, counted, begins) = (answer.clone(), book.clone(), counted.clone(), begins.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    let note = || {
                        begins.fetch_add(1, Ordering::Relaxed);
                    };
                    match tls {
                        None => serve(stream, &*answer, &book, note).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &*answer, &book, note).await;
                            }
                        }
                    }
                    counted.send_modify(|number| *number += 1);
                });
            }
        });
        Receiver { address, heard, number, begun }
    }

    /// How many requests have been read, answered or not.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?from=hearthway", self.address)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until so many of what was heard is wanted.
    pub(crate) async fn until(&self, number: usize, wanted: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut changed = self.number.clone();
        let waited = async {
            loop {
                let found: Vec<Heard> = self.heard().into_iter().filter(|heard| wanted(heard)).collect();
                if found.len() >= number {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), waited).await;
        waited.unwrap_or_else(|_| panic!("waits for {number}; heard {:#?}", self.heard()))
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &(dyn Fn(usize, &Heard) -> Say + Send + Sync),
    book: &Mutex<Vec<Heard>>,
    note: impl Fn(),
) {
    let Some(mut heard) = read(&mut stream).await else { return };
    note();
    let say = {
        let mut book = book.lock().unwrap();
        let say = answer(book.len(), &heard);
        heard.was_taken = matches!(say, Say::Huge)
            || matches!(say, Say::Status(status) | Say::With(status, ..) if (200..300).contains(&status));
        book.push(heard);
        say
    };
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} As told\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n")
    };
    let _ = match say {
        Say::Status(status) => stream.write_all(head(status, "", 0).as_bytes()).await,
        Say::With(status, name, value) => {
            stream.write_all(head(status, &format!("{name}: {value}\r\n"), 0).as_bytes()).await
        }
        Say::Huge => {
            let _ = stream.write_all(head(200, "", 1 << 30).as_bytes()).await;
            let piece = vec![b'x'; 64 * 1024];
            while stream.write_all(&piece).await.is_ok() {}
            Ok(())
        }
        Say::BreakOff => stream.write_all(format!("{}{{\"ok\":", head(200, "", 100)).as_bytes()).await,
        Say::HangUp => Ok(()),
        Say::Stall => {
            let mut nothing = [0; 1];
            let _ = stream.read(&mut nothing).await;
            Ok(())
        }
    };
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = bytes[end..].to_vec();
    let event = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Heard { path, headers, body, event, was_taken: false })
}
