//! The shop's side over HTTP: confirms claims, ships orders, and looks into the gateway.

use serde_json::{Value, json};

use crate::clock::Soon;
use crate::customer::{Customer, Witness};
use crate::fleet::Home;

/// How long one call may take.
const CALL_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// A retailer's token at a gateway.
#[derive(Clone)]
pub struct Shop {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Shop {
    /// A shop that speaks to `base`, such as `http://127.0.0.1:8080`, with a retailer's token.
    pub fn new(base: &str, token: &str) -> Result<Shop, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(CALL_MAX).build()?;
        Ok(Shop { base: base.trim_end_matches('/').to_owned(), token: token.to_owned(), client })
    }

    /// Calls with a JSON body; anything but 2xx is an error that quotes the problem's code.
    pub async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        answer(&method, path, request).await.map(|text| serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Posts lines of JSON and gives the lines that come back.
    pub async fn call_lines(&self, path: &str, lines: String) -> Result<Vec<Value>, String> {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = request.header("content-type", "application/x-ndjson").body(lines);
        let text = answer(&reqwest::Method::POST, path, request).await?;
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str(line).map_err(|error| format!("POST {path}: unreadable line: {error}")))
            .collect()
    }
}

async fn answer(method: &reqwest::Method, path: &str, request: reqwest::RequestBuilder) -> Result<String, String> {
    let failed = |error: reqwest::Error| format!("{method} {path}: {error}");
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let text = response.text().await.map_err(failed)?;
    if status.is_success() {
        return Ok(text);
    }
    let problem: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let word = |name: &str| problem[name].as_str().unwrap_or("").to_owned();
    Err(format!("{method} {path}: {} {} {}", status.as_u16(), word("code"), word("detail")).trim_end().to_owned())
}

impl Customer for Shop {
    fn confirm<'a>(&'a self, code: &'a str, home: &'a Home) -> Soon<'a, Result<(), String>> {
        Box::pin(async move {
            let preview = json!({"code": code});
            self.call(reqwest::Method::POST, "/v1/claims/preview", Some(&preview)).await?;
            let consents: Vec<Value> = home
                .consents
                .iter()
                .map(|purpose| json!({"purpose": purpose, "granted": true, "text_id": "t1"}))
                .collect();
            let confirm = json!({
                "code": code, "profile": home.id, "display_name": home.id,
                "tz": home.zone.as_str(), "locale": home.locale, "consents": consents,
            });
            self.call(reqwest::Method::POST, "/v1/claims/confirm", Some(&confirm)).await.map(|_| ())
        })
    }

    fn advance<'a>(&'a self, order: &'a str, rev: u32, state: &'a str) -> Soon<'a, Result<(), String>> {
        Box::pin(async move {
            let body = json!({"rev": rev, "state": state});
            self.call(reqwest::Method::POST, &format!("/v1/orders/{order}/status"), Some(&body)).await.map(|_| ())
        })
    }
}

impl Witness for Shop {
    fn slots<'a>(&'a self, device: &'a str) -> Soon<'a, Result<Vec<Value>, String>> {
        Box::pin(async move {
            let path = format!("/v1/devices/{device}/slots");
            let answer = self.call(reqwest::Method::GET, &path, None).await?;
            Ok(answer["items"].as_array().cloned().unwrap_or_default())
        })
    }
}

/// Nobody confirms and nobody ships: what a run without `--shop-url` uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoShop;

impl Customer for NoShop {
    fn confirm<'a>(&'a self, _code: &'a str, _home: &'a Home) -> Soon<'a, Result<(), String>> {
        Box::pin(async { Err("nobody confirms claims: no --shop-url and --shop-token were given".to_owned()) })
    }
}
