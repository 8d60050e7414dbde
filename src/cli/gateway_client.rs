//! Calls of the HTTP API of a running gateway, for commands with `--url`.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::config::Environment;

/// What a gateway says to a call.
pub(super) enum Answer {
    /// It was done.
    Done(Value),
    /// It was refused, with the problem's body.
    Refused(Value),
}

/// A gateway, and the token to speak to it.
pub(super) struct GatewayClient {
    url: String,
    token: String,
    language: Option<&'static str>,
    client: reqwest::Client,
}

impl GatewayClient {
    /// The token is taken from `HEARTHWAY_TOKEN`.
    pub(super) fn new(url: &str) -> anyhow::Result<GatewayClient> {
        let token = Environment::of_the_process()?.token;
        let token = token.context("the retailer's token is needed: set HEARTHWAY_TOKEN, or HEARTHWAY_TOKEN_FILE")?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(GatewayClient { url, token, language: None, client: reqwest::Client::new() })
    }

    /// Asks for texts in this language.
    pub(super) fn in_language(self, tag: &'static str) -> GatewayClient {
        GatewayClient { language: Some(tag), ..self }
    }

    /// Makes a call; a refusal is told in the gateway's words.
    pub(super) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let method = reqwest::Method::from_bytes(method.as_bytes()).context("the method")?;
        let mut request = self.client.request(method, &url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(language) = self.language {
            request = request.header("accept-language", language);
        }
        let answer = request.send().await.with_context(|| format!("calling {url}"))?;
        let status = answer.status();
        let json: Value = answer.json().await.unwrap_or_default();
        if !status.is_success() {
            let detail = json["detail"].as_str().unwrap_or("and says no more");
            let problems = json["problems"].as_array().into_iter().flatten();
            let problems: String = problems.map(|problem| format!("\n  {}", told(problem))).collect();
            bail!("{url} answers {status}: {detail}{problems}");
        }
        Ok(json)
    }

    /// Sends JSON Lines; a refusal is given as it came.
    pub(super) async fn post_lines(&self, path: &str, lines: String) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.url);
        let request = self.client.post(&url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/x-ndjson").body(lines);
        let answer = request.send().await.with_context(|| format!("calling {url}"))?;
        let is_done = answer.status().is_success();
        let json: Value = answer.json().await.unwrap_or_default();
        Ok(if is_done { Answer::Done(json) } else { Answer::Refused(json) })
    }

    /// Sends lines, and gives the lines of the answer.
    pub(super) async fn send_lines(&self, path: &str, kind: &str, lines: Vec<u8>) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}{path}", self.url);
        let request = self.client.post(&url).bearer_auth(&self.token).header("content-type", kind).body(lines);
        let answer = request.send().await.with_context(|| format!("calling {url}"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("reading the answer of {url}"))?;
        if !status.is_success() {
            let json: Value = serde_json::from_str(&text).unwrap_or_default();
            let detail = json["detail"].as_str().unwrap_or("and says no more");
            bail!("{url} answers {status}: {detail}");
        }
        text.lines().map(|line| serde_json::from_str(line).context("the answer broke off")).collect()
    }

    /// Reads an answer of any length, piece by piece.
    pub(super) async fn read_bytes(
        &self,
        path: &str,
        mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.url);
        let request = self.client.get(&url).bearer_auth(&self.token);
        let mut answer = request.send().await.with_context(|| format!("calling {url}"))?;
        if !answer.status().is_success() {
            bail!("{url} answers {}", answer.status());
        }
        while let Some(piece) = answer.chunk().await.with_context(|| format!("reading the answer of {url}"))? {
            each(&piece).context("writing what came")?;
        }
        Ok(())
    }
}

fn told(problem: &Value) -> String {
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let help = problem["help"].as_str().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}: {}{help}", text("pointer"), text("message"))
}

/// A name in a path or query. What has a meaning there is written as its bytes, so that a name that
/// is none is refused as it was typed, and never taken for another.
pub(super) fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_name_that_is_none_is_asked_for_as_it_was_typed() {
        assert_eq!(encoded("hh_01-a.b~c"), "hh_01-a.b~c");
        assert_eq!(encoded("hh/abc"), "hh%2Fabc");
        assert_eq!(encoded("a&trigger=b %é"), "a%26trigger%3Db%20%25%C3%A9");
    }
}
