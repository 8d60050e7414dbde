//! The command line: one subcommand per file.
//!
//! stdout carries results (the `ready` line, a check's findings, a document); stderr carries logs
//! and errors. Exit codes: 0 done, 1 found something wrong, 2 not understood (clap's own).

pub mod check_config;
pub mod triggers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every device in a home becomes a sales channel that its owner controls.
#[derive(Debug, Parser)]
#[command(name = "hearthway", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks a configuration file and shows every key as it would be used.
    CheckConfig(check_config::CheckConfig),
    /// Works on trigger files.
    #[command(subcommand)]
    Triggers(triggers::Triggers),
}

/// Reads the command line and does it.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::CheckConfig(command) => command.run(),
        Command::Triggers(command) => command.run(),
    }
}

/// Prints a failure with its help on stderr.
fn failed(report: impl Into<miette::Report>) -> ExitCode {
    eprintln!("{:?}", report.into());
    ExitCode::FAILURE
}
