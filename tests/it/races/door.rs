//! How the clients of a race reach a gateway that is killed and comes back at another address.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use crate::gateway::{Gateway, STEP_SECONDS_MAX};

/// The pause before a call that got no answer is made again: the gateway may be starting.
const PAUSE: Duration = Duration::from_millis(15);

/// Where a gateway is.
#[derive(Clone, PartialEq)]
pub struct Address {
    pub http: String,
    pub mqtt: (String, u16),
}

impl Address {
    pub fn of(gateway: &Gateway) -> Address {
        Address { http: gateway.http.clone(), mqtt: gateway.mqtt.clone() }
    }
}

/// From when to when something took effect, at some instant in between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub from: Duration,
    pub to: Duration,
}

/// What a call came to.
pub struct Told {
    pub status: u16,
    pub body: Value,
    /// From its first try to its answer.
    pub window: Window,
    /// More than one where a kill took an answer away.
    pub tries: u32,
}

impl Told {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    pub fn word(&self, name: &str) -> Option<String> {
        self.body[name].as_str().map(str::to_owned)
    }
}

/// The way in, for everybody.
#[derive(Clone)]
pub struct Door {
    client: reqwest::Client,
    token: String,
    address: watch::Receiver<Address>,
    begun: Instant,
}

impl Door {
    pub fn new(token: String, address: watch::Receiver<Address>) -> Door {
        Door { client: reqwest::Client::new(), token, address, begun: Instant::now() }
    }

    /// Since the race began.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whose way in it is.
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn mqtt(&self) -> (String, u16) {
        self.address.borrow().mqtt.clone()
    }

    /// A call that is made until it is answered: a kill in between makes the client say it again, with
    /// the same key as a client should.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>, key: &str) -> Told {
        let from = self.now();
        for tries in 1.. {
            let url = format!("{}{path}", self.address.borrow().http);
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = self.client.request(method, url).bearer_auth(&self.token).timeout(STEP_SECONDS_MAX);
            if !key.is_empty() {
                request = request.header("idempotency-key", key);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            if let Ok(response) = request.send().await {
                let status = response.status().as_u16();
                // Cut in the middle of the answer, or a gateway that is about to end.
                if let Ok(text) = response.text().await
                    && status != 503
                {
                    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
                    return Told { status, body, window: Window { from, to: self.now() }, tries };
                }
            }
            assert!(self.now() - from < STEP_SECONDS_MAX, "{path} is never answered");
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!()
    }

    /// A read that must succeed.
    pub async fn get(&self, path: &str) -> Value {
        let told = self.call("GET", path, None, "").await;
        assert_eq!(told.status, 200, "{path}: {}", told.body);
        told.body
    }
}
