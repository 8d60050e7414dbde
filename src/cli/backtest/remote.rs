//! A backtest that a running gateway makes: asked for, watched, fetched.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::{BacktestCommand, Report};
use crate::cli::gateway_client::GatewayClient;
use crate::cli::{bar, triggers};

/// How often the gateway is asked how far it is.
const ASKED_EVERY: Duration = Duration::from_millis(300);

pub(super) async fn run(command: &BacktestCommand, url: &str) -> anyhow::Result<Report> {
    let gateway = GatewayClient::new(url)?;
    let body = json!({
        "triggers": triggers::definitions(&command.paths)?,
        "live": command.live,
        "from": command.from.map(|from| from.to_string()),
        "to": command.to.map(|to| to.to_string()),
    });
    let begun = gateway.call("POST", "/v1/backtests", Some(&body)).await?;
    let id = begun["backtest"].as_str().context("the gateway names no backtest")?.to_owned();
    let bar = bar::counted("decided", 0, "households");
    let report = loop {
        let state = gateway.call("GET", &format!("/v1/backtests/{id}"), None).await?;
        match state["state"].as_str() {
            Some("done") => break state["report"].clone(),
            Some("running") => {}
            _ => bail!("the gateway could not make it: {}", state["detail"].as_str().unwrap_or("it says no more")),
        }
        bar.set_length(state["households_total"].as_u64().unwrap_or(0));
        bar.set_position(state["households"].as_u64().unwrap_or(0));
        tokio::time::sleep(ASKED_EVERY).await;
    };
    bar.finish_and_clear();
    serde_json::from_value(report).context("reading the report")
}
