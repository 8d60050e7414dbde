//! The command line: one subcommand per file.
//!
//! stdout carries results (the `ready` line, a check's findings, a document); stderr carries logs
//! and errors. Exit codes: 0 done, 1 found something wrong, 2 not understood (clap's own).

pub mod at_rest;
pub mod backtest;
pub mod backup;
mod bar;
pub mod check_config;
pub mod demo;
pub mod explain;
pub mod forecast;
mod gateway_client;
pub mod learn;
mod live;
pub mod openapi;
pub mod pki;
pub mod products;
mod publish;
pub mod reach;
pub mod replay;
pub mod report;
pub mod restore;
pub mod serve;
pub mod triggers;
mod verify_audit;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hearthway_core::time::Timestamp;

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
    /// Runs the gateway until Ctrl-C or SIGTERM.
    Serve(serve::Serve),
    /// Shows everything at work: a gateway, a shop, and homes that live days in minutes.
    Demo(demo::Demo),
    /// Checks a configuration file and shows every key as it would be used.
    CheckConfig(check_config::CheckConfig),
    /// Works on trigger files.
    #[command(subcommand)]
    Triggers(triggers::Triggers),
    /// Takes a catalogue of products in, and writes it out.
    #[command(subcommand)]
    Products(products::Products),
    /// Makes certificates to try TLS with, and revokes them.
    #[command(subcommand)]
    Pki(pki::Pki),
    /// Writes everything that a gateway keeps into one file, also while it runs.
    Backup(backup::Backup),
    /// Fills an empty data directory from a backup.
    Restore(restore::Restore),
    /// Decides the input log again and compares with what was decided.
    Replay(replay::Replay),
    /// Runs the input log through other triggers: what would have been sent, and what not.
    Backtest(backtest::BacktestCommand),
    /// Tells what became of triggers: how far they came, what they sold, whom they drove away.
    Report(report::ReportCommand),
    /// Says why a trigger did or did not send in a household.
    Explain(explain::Explain),
    /// Draws what is foreseen, and compares it with the rule of a threshold.
    #[command(subcommand)]
    Forecast(forecast::Forecast),
    /// Looks whether the audit trail is as it was written.
    VerifyAudit(verify_audit::VerifyAudit),
    /// Prints the OpenAPI document of the HTTP API.
    Openapi(openapi::OpenApi),
}

/// Reads the command line and does it.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::CheckConfig(command) => command.run(),
        Command::Triggers(command) => command.run(),
        Command::Products(command) => command.run(),
        Command::Pki(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Backtest(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Forecast(command) => command.run(),
        Command::VerifyAudit(command) => command.run(),
        Command::Openapi(command) => command.run(),
    }
}

/// Prints a failure with its help on stderr.
fn failed(report: impl Into<miette::Report>) -> ExitCode {
    eprintln!("{:?}", report.into());
    ExitCode::FAILURE
}

/// Writes a result on stdout. A reader who has seen enough (`| head`) is no failure.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// An instant of the command line.
fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong = || "write an instant as RFC 3339 has it, such as 2026-11-10T18:00:00Z".to_owned();
    Timestamp::parse_rfc3339(text).ok_or_else(wrong)
}

/// Runs a future on a runtime of its own; its worker threads are as many as the machine's cores.
fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("the machine gives a thread and a timer").block_on(future)
}
