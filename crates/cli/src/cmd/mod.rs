//! The commands, one file each.

pub(crate) mod completions;
mod doctor;
mod model;

use crate::{Context, Failure};

/// What `nesa` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Get, list, inspect, measure and remove models
    #[command(subcommand)]
    Model(model::Model),
    /// Check this machine and say what to fix
    Doctor(doctor::Doctor),
    /// Print the completions of a shell
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Model(m) => m.run(context),
            Self::Doctor(d) => doctor::run(&d, context),
            Self::Completions(c) => completions::run(&c, &context.out),
        }
    }
}
