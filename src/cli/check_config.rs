//! `hearthway check-config`: says what is wrong with a configuration, or what it comes to.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Config, keys};

/// Checks a configuration file and shows every key as it would be used.
#[derive(Debug, clap::Args)]
pub struct CheckConfig {
    /// The file; without it, the defaults and the environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Prints the documented file with every default, and checks nothing.
    #[arg(long)]
    pub print_default: bool,
}

impl CheckConfig {
    /// Does it.
    pub fn run(self) -> ExitCode {
        if self.print_default {
            super::say(&keys::render());
            return ExitCode::SUCCESS;
        }
        match Config::load_here(self.config.as_deref()) {
            Ok(config) => {
                super::say(&shown(&config));
                match crate::gateway::check_files(&config) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => super::failed(error),
                }
            }
            Err(error) => super::failed(error),
        }
    }
}

/// The settings as TOML; the token only as present or not.
fn shown(config: &Config) -> String {
    let settings = toml::to_string(config).unwrap_or_else(|e| format!("# cannot be shown: {e}\n"));
    let token = match config.operator_token {
        Some(_) => "from the environment",
        None => "drawn and printed once, at the first start",
    };
    format!("# operator token: {token}\n# master key: {}\n{settings}", config.data.master_key_path().display())
}
