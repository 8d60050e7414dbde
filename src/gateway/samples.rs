//! Puts the sample shop into a running gateway, by the calls that any client would make.

use std::collections::BTreeMap;

use miette::Diagnostic;
use serde_json::{Value, json};

use crate::config::samples::{Call, SampleError};

/// How long one call may take.
const CALL_SECONDS_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Why the samples are not in the gateway.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum LoadError {
    /// The files are not there or not right.
    #[error(transparent)]
    Files(#[from] SampleError),
    /// The gateway refused one.
    #[error("{what}: {answer}")]
    Refused {
        /// The call, with its file where it has one.
        what: String,
        /// What the gateway said.
        answer: String,
    },
}

/// A client with a token.
#[derive(Clone)]
pub struct Client {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Client {
    /// A client of the gateway at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>, token: impl Into<String>) -> Client {
        Client { base: base.into(), token: token.into(), client: reqwest::Client::new() }
    }

    /// Makes a call; anything but success is an error that says what the gateway said.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, LoadError> {
        let refused = |answer: String| LoadError::Refused { what: format!("{method} {path}"), answer };
        let verb = reqwest::Method::from_bytes(method.as_bytes()).map_err(|e| refused(e.to_string()))?;
        let request = self.client.request(verb, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        let response = request.timeout(CALL_SECONDS_MAX).send().await.map_err(|e| refused(e.to_string()))?;
        let is_success = response.status().is_success();
        let text = response.text().await.map_err(|e| refused(e.to_string()))?;
        if !is_success {
            return Err(refused(text));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A client for the same gateway with another token.
    pub fn with_token(&self, token: impl Into<String>) -> Client {
        Client { base: self.base.clone(), token: token.into(), client: self.client.clone() }
    }

    /// A token of a retailer's administrator, made by the operator's.
    pub async fn retailer_token(&self, retailer: &str, name: &str) -> Result<String, LoadError> {
        let asked = json!({"tenant": retailer, "role": "retailer_admin", "name": name});
        let made = self.call("POST", "/v1/tokens", &asked).await?;
        Ok(made["token"].as_str().unwrap_or_default().to_owned())
    }
}

/// Makes the calls with the operator's token and gives each sample retailer's token.
pub async fn load(operator: &Client, calls: &[Call]) -> Result<BTreeMap<String, String>, LoadError> {
    let mut tokens = BTreeMap::new();
    for call in calls {
        let client = match &call.retailer {
            None => operator.clone(),
            Some(retailer) => {
                if !tokens.contains_key(retailer) {
                    tokens.insert(retailer.clone(), operator.retailer_token(retailer, "samples").await?);
                }
                operator.with_token(&tokens[retailer])
            }
        };
        make(&client, call).await?;
    }
    Ok(tokens)
}

async fn make(client: &Client, call: &Call) -> Result<(), LoadError> {
    match client.call(call.method, &call.path, &call.body).await {
        Ok(_) => Ok(()),
        Err(LoadError::Refused { what, answer }) => {
            Err(LoadError::Refused { what: format!("`{}`: {what}", call.from.display()), answer })
        }
        Err(other) => Err(other),
    }
}
