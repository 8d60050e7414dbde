//! `hearthway openapi`: the document of the HTTP API, as `/openapi.json` serves it.

use std::process::ExitCode;

/// Prints the OpenAPI document of the HTTP API.
#[derive(Debug, clap::Args)]
pub struct OpenApi {}

impl OpenApi {
    /// Does it.
    pub fn run(self) -> ExitCode {
        super::say(&format!("{}\n", crate::http::openapi()));
        ExitCode::SUCCESS
    }
}
