//! `hearthway triggers learn`: how likely offers are accepted, learned anew by a running gateway.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::gateway_client::GatewayClient;
use super::{on_runtime, say};

/// Learns anew how likely each trigger's offers are accepted, from what the gateway counted.
///
/// Of triggers with one priority the one with the greater margin times chance speaks; the products' `margin` says
/// what the shop earns. A gateway learns once a day by itself.
#[derive(Debug, clap::Args)]
pub struct Learn {
    /// Tries offers of which little is known: their chance is drawn from what is believed (Thompson sampling).
    #[arg(long, conflicts_with = "no_explore")]
    explore: bool,
    /// Takes the means again.
    #[arg(long)]
    no_explore: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// The running gateway's HTTP address; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
}

impl Learn {
    pub(super) fn run(self) -> ExitCode {
        let explore = (self.explore || self.no_explore).then_some(self.explore);
        let learned = on_runtime(async {
            let gateway = GatewayClient::new(&self.url)?;
            let body = explore.map_or(json!({}), |explore| json!({"explore": explore}));
            gateway.call("POST", "/v1/chances:learn", Some(&body)).await
        });
        match learned {
            Ok(learned) if self.json => say(&format!("{learned:#}")),
            Ok(learned) => say(&table(&learned)),
            Err(error) => {
                eprintln!("Error: {error:#}");
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}

fn table(learned: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let how = if learned["explore"] == true { "drawn from what is believed" } else { "means" };
    let mut lines =
        vec![format!("{} offers seen, {} accepted; chances are {how}", learned["seen"], learned["accepted"])];
    lines.push(format!("{:<32} {:<16} {:>8} {:>9} {:>8}", "trigger", "model", "seen", "accepted", "chance"));
    for row in learned["items"].as_array().into_iter().flatten() {
        let model = if row["model"].is_null() { "all".to_owned() } else { text(&row["model"]) };
        let chance = 100.0 * row["chance"].as_f64().unwrap_or(0.0);
        let (seen, accepted) = (row["seen"].to_string(), row["accepted"].to_string());
        lines.push(format!("{:<32} {model:<16} {seen:>8} {accepted:>9} {chance:>6.1} %", text(&row["trigger"])));
    }
    lines.join("\n")
}
