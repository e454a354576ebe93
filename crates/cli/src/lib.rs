//! Ask, chat, verify and manage models from one command.
//!
//! One file per command in [`cmd`]; all of them print data through [`Out`] (stdout, JSON with
//! `--json`), report progress on stderr, and fail with a [`Failure`] that names the next step.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | the command line or the configuration is wrong |
//! | 3 | something that the command needs cannot be reached |
//! | 4 | verification failed |

mod cmd;
mod failure;
mod keys;
mod ledger;
pub mod net;
mod output;
mod signer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nesa_config::{Config, Flags};
use nesa_storage::Home;

pub(crate) use failure::Failure;
pub(crate) use output::Out;

/// Ask a language model on machines that cannot read your question.
#[derive(Debug, Parser)]
#[command(name = "nesa", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: cmd::Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct Global {
    /// Folder with models, keys and receipts [default: $NESA_HOME, else ~/.nesa]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print one JSON value on standard output
    #[arg(long, global = true)]
    json: bool,
    /// No progress on standard error
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More about what happens
    #[arg(long, short, global = true)]
    verbose: bool,
    /// Threads for computation [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// SIMD level: auto, scalar, avx2 or avx512
    #[arg(long, global = true, value_name = "LEVEL")]
    simd: Option<String>,
}

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// Settings.
    pub(crate) config: Config,
    /// The home folder.
    pub(crate) home: Home,
    /// Where results and progress go.
    pub(crate) out: Out,
}

/// Reads the command line, runs the command and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(&cli.global);
    match run(cli, &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli, out: &Out) -> Result<(), Failure> {
    if let cmd::Command::Completions(c) = &cli.command {
        return cmd::completions::run(c, out);
    }
    let config = Config::load(&Flags {
        home: cli.global.home,
        threads: cli.global.threads,
        simd: cli.global.simd,
        ..Flags::default()
    })?;
    // Fails only when the pool exists already, which is as good.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build_global();
    let home = Home::open(&config.home)?;
    let out = out.clone();
    out.note(&format!(
        "home {}, {} threads",
        config.home.display(),
        config.threads
    ));
    cli.command.run(&Context { config, home, out })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
