//! `hearthway triggers`.

use std::process::ExitCode;

/// Works on trigger files.
#[derive(Debug, clap::Subcommand)]
pub enum Triggers {}

impl Triggers {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self {}
    }
}
