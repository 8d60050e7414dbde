//! `hearthway triggers publish`: makes the triggers of files live in a running gateway, and with
//! `--watch` keeps them so.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use hearthway_core::trigger::SourceFile;
use serde_json::Value;

use super::gateway_client::{Answer, GatewayClient};
use super::triggers;

/// How often the files are looked at: a change is live within the second after that.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Makes trigger files live.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  export HEARTHWAY_TOKEN=...                       # the retailer's
  hearthway triggers publish triggers/ --pause-others --watch

The gateway checks all files against its own models and products and plays their cases. Where anything
is wrong with one of them, nothing changes: what was live stays live.")]
pub struct Publish {
    /// Files, or directories of `*.toml`.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Pauses every live trigger that the files do not have.
    #[arg(long)]
    pub pause_others: bool,
    /// Goes on: looks at the files twice a second and publishes what changed. Ctrl-C ends it.
    #[arg(long)]
    pub watch: bool,
    /// The running gateway's HTTP address; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
}

impl Publish {
    pub(super) fn run(self) -> ExitCode {
        let done = super::on_runtime(async move {
            let gateway = GatewayClient::new(&self.url)?;
            let mut files = self.read();
            let first = self.publish(&gateway, &files).await;
            if !self.watch {
                return first;
            }
            tell(first);
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let now = self.read();
                if now != files {
                    files = now;
                    tell(self.publish(&gateway, &files).await);
                }
            }
        });
        let is_done = done.is_ok();
        tell(done);
        if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The files as they are, or why they cannot be read.
    fn read(&self) -> Result<Vec<SourceFile>, String> {
        triggers::read_sources(&self.paths).map_err(|error| error.to_string())
    }

    async fn publish(&self, gateway: &GatewayClient, files: &Result<Vec<SourceFile>, String>) -> anyhow::Result<()> {
        let files = files.as_ref().map_err(|error| anyhow!("{error}"))?;
        let definitions = triggers::definitions_of(files)?;
        let lines: String = definitions.iter().map(|(_, definition)| format!("{definition}\n")).collect();
        let others = if self.pause_others { "pause" } else { "keep" };
        match gateway.post_lines(&format!("/v1/triggers:publish?others={others}"), lines).await? {
            Answer::Done(done) => {
                let count = |name: &str| done[name].as_u64().unwrap_or(0);
                let (published, unchanged, paused) = (count("published"), count("unchanged"), count("paused"));
                super::say(&format!("{published} published, {unchanged} unchanged, {paused} paused\n"));
                for held in done["held"].as_array().into_iter().flatten().filter_map(|held| held.as_str()) {
                    super::say(&format!(
                        "{held} stays silent: a number without a unit, and the model tells another unit since; \
                         publish it by itself to say that the new one is meant\n"
                    ));
                }
                Ok(())
            }
            Answer::Refused(problem) => {
                let told: String =
                    problem["problems"].as_array().into_iter().flatten().map(|p| told(p, &definitions)).collect();
                let detail = problem["detail"].as_str().unwrap_or("the gateway says no more");
                if told.is_empty() {
                    bail!("nothing was published: {detail}");
                }
                bail!("nothing was published; what is live stays live:{told}")
            }
        }
    }
}

fn tell(outcome: anyhow::Result<()>) {
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
    }
}

/// A problem with its file: the gateway names the line of the set, which is the trigger's number.
fn told(problem: &Value, definitions: &[(String, Value)]) -> String {
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let pointer = text("pointer");
    let (at, rest) = pointer.trim_start_matches('/').split_once('/').unwrap_or((pointer.trim_start_matches('/'), ""));
    let file = at.parse().ok().and_then(|at: usize| definitions.get(at)).map_or("", |(file, _)| file.as_str());
    let help = problem["help"].as_str().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("\n  {file}: {}: {}{help}", rest, text("message"))
}
