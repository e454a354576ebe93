//! The program `nesad`: one compute node.

mod args;
mod chain;
mod earn;
mod run;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::main(args::Cli::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("nesad: {e:#}");
            ExitCode::FAILURE
        }
    }
}
