//! `hearthway serve`: runs the gateway until it is asked to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::config::{Config, parse_bind};
use crate::gateway::samples::LoadError;
use crate::gateway::{Gateway, StartError};
use crate::{observe, shutdown};

/// Runs the gateway until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The configuration file; without it, the defaults and the environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen, and how much to say.
    #[command(flatten)]
    pub place: Place,
}

/// Where a gateway listens and what it logs. A flag goes before the environment and the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Place {
    /// Where HTTP listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_bind)]
    pub http_bind: Option<SocketAddr>,
    /// Where MQTT listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_bind)]
    pub mqtt_bind: Option<SocketAddr>,
    /// What is logged, such as `info` or `hearthway=debug`; without it, RUST_LOG, else `info`.
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

impl Place {
    /// Lays the flags over a configuration.
    pub fn apply_to(&self, config: &mut Config) {
        config.http.bind = self.http_bind.unwrap_or(config.http.bind);
        config.mqtt.bind = self.mqtt_bind.unwrap_or(config.mqtt.bind);
    }
}

impl Serve {
    /// Does it.
    pub fn run(self) -> ExitCode {
        if let Err(problem) = observe::log_to_stderr(self.place.log.as_deref()) {
            eprintln!("error: --log: {problem}");
            return ExitCode::FAILURE;
        }
        let mut config = match Config::load_here(self.config.as_deref()) {
            Ok(config) => config,
            Err(error) => return super::failed(error),
        };
        self.place.apply_to(&mut config);
        match super::on_runtime(serve(config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => super::failed(error),
        }
    }
}

async fn serve(config: Config) -> Result<(), StartError> {
    let mut requests = shutdown::Requests::listen().map_err(StartError::Signals)?;
    // What cannot be read is told before there is anything: the next start would find a gateway without its samples.
    if config.samples.load {
        crate::config::samples::load(&config.samples.dir).map_err(LoadError::Files)?;
    }
    let gateway = Gateway::open(&config, Arc::new(SystemClock)).await?;
    if let Some(token) = gateway.fresh_operator_token() {
        eprintln!("The operator's token, shown this once: {token}");
    }
    gateway.load_samples(&config).await?;
    // One line, with the real ports, once traffic is taken: programs wait for it.
    let (http, mqtt) = (gateway.http_address(), gateway.mqtt_address());
    let mqtts = gateway.mqtts_address().map(|address| format!(" mqtts=mqtts://{address}")).unwrap_or_default();
    let websocket = gateway.websocket_url().map(|url| format!(" websocket={url}")).unwrap_or_default();
    super::say(&format!("ready http=http://{http} mqtt=mqtt://{mqtt}{mqtts}{websocket}\n"));
    let asked_by = requests.next().await;
    tracing::info!("{asked_by}: draining; a second one ends at once");
    tokio::select! {
        () = gateway.drain() => tracing::info!("Drained; everything acknowledged is on disk"),
        _ = requests.next() => tracing::warn!("Ended before the drain was over; everything acknowledged is on disk"),
    }
    Ok(())
}
