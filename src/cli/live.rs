//! `hearthway triggers list`, `versions`, `pause`, `resume`, `roll-back` and `stop`: what is live at a running
//! gateway, and what is silenced or brought back.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::gateway_client::{GatewayClient, encoded};
use super::{on_runtime, say};

/// Triggers asked for at once.
const PAGE_TRIGGERS: usize = 200;
/// Triggers that one command names at most: a slip of the shell should not silence a shop.
const NAMED_MAX: usize = 10_000;

/// Which gateway.
#[derive(Debug, clap::Args)]
pub struct At {
    /// The running gateway's HTTP address; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
}

/// How a trigger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum State {
    /// Written, and never published.
    Draft,
    /// Live.
    Published,
    /// Live, and silent while it does not agree with today's models and products.
    Held,
    /// Silenced by somebody.
    Paused,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Published => "published",
            State::Held => "held",
            State::Paused => "paused",
        }
    }
}

/// Lists the shop's triggers: which are live, in which version, and which are silenced.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, after `hearthway triggers stop --all`:
  hearthway triggers list --state paused --ids | xargs hearthway triggers resume")]
pub struct List {
    /// Only those that stand so.
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only their ids, one per line, for other commands.
    #[arg(long, conflicts_with = "json")]
    pub ids: bool,
    /// One JSON object per trigger on stdout, as the gateway gives it.
    #[arg(long)]
    pub json: bool,
    /// Which gateway.
    #[command(flatten)]
    pub at: At,
}

/// Lists what was published of a trigger, newest first: the numbers that `roll-back --to` takes.
#[derive(Debug, clap::Args)]
pub struct Versions {
    /// The trigger's id.
    #[arg(value_name = "ID")]
    pub trigger: String,
    /// One JSON object per version on stdout, with its text.
    #[arg(long)]
    pub json: bool,
    /// Which gateway.
    #[command(flatten)]
    pub at: At,
}

/// Silences live triggers, from the next decision on. `resume` brings them back.
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// The triggers' ids.
    #[arg(required = true, value_name = "ID", num_args = 1..=NAMED_MAX)]
    pub triggers: Vec<String>,
    /// Which gateway.
    #[command(flatten)]
    pub at: At,
}

/// Lets paused triggers speak again, in the version that was paused. A draft that was changed meanwhile stays a draft.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The triggers' ids.
    #[arg(required = true, value_name = "ID", num_args = 1..=NAMED_MAX)]
    pub triggers: Vec<String>,
    /// Which gateway.
    #[command(flatten)]
    pub at: At,
}

/// Makes an earlier version of a trigger live again: the one before, or the one named.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "rollback",
    after_help = "The draft stays as it is: publishing it brings again what was rolled back. Versions of which the models
or products of today allow no offer are refused; `hearthway triggers versions ID` shows which there are."
)]
pub struct RollBack {
    /// The trigger's id.
    #[arg(value_name = "ID")]
    pub trigger: String,
    /// This version; without it, the one before the live one.
    #[arg(long, value_name = "VERSION")]
    pub to: Option<u64>,
    /// Which gateway.
    #[command(flatten)]
    pub at: At,
}

/// The kill switch: silences all of the shop's live triggers at once, from the next decision on.
#[derive(Debug, clap::Args)]
#[command(after_help = "One trigger is silenced by `hearthway triggers pause ID`.
What is paused then: `hearthway triggers list --state paused`; each speaks again by `hearthway triggers resume ID`.")]
pub struct Stop {
    /// Says that all of them are meant.
    #[arg(long)]
    pub all: bool,
    /// Which gateway.
    #[command(flatten)]
    pub at: At,
}

impl List {
    pub(super) fn run(self) -> ExitCode {
        told(on_runtime(async {
            let gateway = GatewayClient::new(&self.at.url)?;
            let mut path = format!("/v1/triggers?limit={PAGE_TRIGGERS}");
            loop {
                let page = gateway.call("GET", &path, None).await?;
                let items = page["items"].as_array().into_iter().flatten();
                let wanted = items.filter(|item| self.state.is_none_or(|state| item["state"] == state.as_str()));
                say(&wanted.map(|item| self.line(item)).collect::<String>());
                let Some(next) = page["next"].as_str() else { return Ok(()) };
                path = format!("/v1/triggers?limit={PAGE_TRIGGERS}&cursor={}", encoded(next));
            }
        }))
    }

    fn line(&self, item: &Value) -> String {
        let id = item["trigger"].as_str().unwrap_or_default();
        if self.json {
            return format!("{item}\n");
        }
        if self.ids {
            return format!("{id}\n");
        }
        let version = item["version"].as_u64().map_or_else(|| "-".to_owned(), |version| format!("v{version}"));
        let mut line = format!("{id:<32} {:<9} {version:>4}", item["state"].as_str().unwrap_or_default());
        if !item["version"].is_null() && item["draft_differs"] == true {
            line += "  the draft differs";
        }
        for problem in item["problems"].as_array().into_iter().flatten() {
            line += &format!("\n  {}", problem["message"].as_str().unwrap_or_default());
        }
        line + "\n"
    }
}

impl Versions {
    pub(super) fn run(self) -> ExitCode {
        told(on_runtime(async {
            let gateway = GatewayClient::new(&self.at.url)?;
            let path = format!("/v1/triggers/{}/versions", encoded(&self.trigger));
            let found = gateway.call("GET", &path, None).await.with_context(|| unknown(&self.trigger))?;
            let versions = found["items"].as_array().cloned().unwrap_or_default();
            ensure!(!versions.is_empty(), "`{}` was never published; it is a draft", self.trigger);
            for (at, version) in versions.iter().enumerate() {
                if self.json {
                    say(&format!("{version}\n"));
                    continue;
                }
                let is_live = if at == 0 { "live" } else { "" };
                let state = if version["paused"] == true { "paused" } else { is_live };
                let when = version["at"].as_str().unwrap_or_default();
                say(&format!("v{:<4} {when}  {state}\n", version["version"]));
            }
            Ok(())
        }))
    }
}

impl Pause {
    pub(super) fn run(self) -> ExitCode {
        let each = async |gateway: &GatewayClient, id: &str| {
            let path = format!("/v1/triggers/{}/pause", encoded(id));
            let view = gateway.call("POST", &path, Some(&json!({}))).await?;
            Ok(format!("{id} v{} is paused; `hearthway triggers resume {id}` lets it speak again", view["version"]))
        };
        on_runtime(of_each(&self.at, &self.triggers, each))
    }
}

impl Resume {
    pub(super) fn run(self) -> ExitCode {
        let each = async |gateway: &GatewayClient, id: &str| {
            let path = format!("/v1/triggers/{}", encoded(id));
            let view = gateway.call("GET", &path, None).await?;
            let version = view["version"].clone();
            match view["state"].as_str() {
                Some("paused") => {}
                Some("draft") => bail!("it was never published; publish it"),
                Some("held") => bail!(
                    "it is live as v{version}, and held: it does not agree with today's models or products{}",
                    problems(&view)
                ),
                _ => return Ok(format!("{id} v{version} is live already")),
            }
            // The version that was paused, and not the draft, which `publish` would take.
            let body = json!({"version": version});
            let view = gateway.call("POST", &format!("{path}/rollback"), Some(&body)).await?;
            Ok(format!("{id} v{} is live", view["version"]))
        };
        on_runtime(of_each(&self.at, &self.triggers, each))
    }
}

impl RollBack {
    pub(super) fn run(self) -> ExitCode {
        told(on_runtime(async {
            let gateway = GatewayClient::new(&self.at.url)?;
            let path = format!("/v1/triggers/{}/rollback", encoded(&self.trigger));
            let body = self.to.map_or(json!({}), |to| json!({"version": to}));
            let view = gateway.call("POST", &path, Some(&body)).await?;
            say(&format!("{} v{} is live\n", self.trigger, view["version"]));
            if view["draft_differs"] == true {
                say("the draft differs from it: publishing the draft would bring the draft's text\n");
            }
            Ok(())
        }))
    }
}

impl Stop {
    pub(super) fn run(self) -> ExitCode {
        told(on_runtime(async {
            ensure!(
                self.all,
                "this silences every trigger of the shop: say `--all` where that is meant; \
                 `hearthway triggers pause ID` silences one"
            );
            let gateway = GatewayClient::new(&self.at.url)?;
            let stopped = gateway.call("POST", "/v1/triggers:stop", Some(&json!({}))).await?;
            say(&format!("{} stopped: every trigger of the shop is silent\n", stopped["stopped"]));
            Ok(())
        }))
    }
}

/// Does it to each; what fails of one is told, and the rest is done.
async fn of_each(
    at: &At,
    triggers: &[String],
    each: impl AsyncFn(&GatewayClient, &str) -> anyhow::Result<String>,
) -> ExitCode {
    let gateway = match GatewayClient::new(&at.url) {
        Ok(gateway) => gateway,
        Err(error) => return told(Err(error)),
    };
    let mut code = ExitCode::SUCCESS;
    for id in triggers {
        match each(&gateway, id).await {
            Ok(line) => say(&format!("{line}\n")),
            Err(error) => code = told(Err(error.context(unknown(id)))),
        }
    }
    code
}

fn unknown(id: &str) -> String {
    format!("`{id}` (`hearthway triggers list` shows how each of the shop's triggers stands)")
}

fn problems(view: &Value) -> String {
    let items = view["problems"].as_array().into_iter().flatten();
    items.map(|problem| format!("\n  {}", problem["message"].as_str().unwrap_or_default())).collect()
}

fn told(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
