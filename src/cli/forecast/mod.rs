//! `hearthway forecast`: what is foreseen, drawn, and compared with the rule of a threshold.

mod compare;
mod fleet;
mod plot;
mod refit;
mod svg;

use std::process::ExitCode;

use clap::Subcommand;

/// What can be done with forecasts.
#[derive(Debug, Subcommand)]
pub enum Forecast {
    /// Draws a slot of a device: level, refills, decisions, and the fan of what is foreseen.
    Plot(plot::Plot),
    /// Fits what is known of products anew over the fleet, and says what changed.
    Refit(refit::Refit),
    /// Plays a year of many homes twice, by forecast and by threshold, and compares run-outs and parcels.
    Compare(compare::Compare),
}

impl Forecast {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self {
            Forecast::Plot(command) => command.run(),
            Forecast::Refit(command) => command.run(),
            Forecast::Compare(command) => command.run(),
        }
    }
}
