//! `nesa completions SHELL`.

use clap::CommandFactory;

use crate::{Cli, Failure, Out};

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  nesa completions bash > ~/.local/share/bash-completion/completions/nesa"
)]
pub(crate) struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) fn run(what: &Completions, out: &Out) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(what.shell, &mut Cli::command(), "nesa", &mut script);
    out.print(&String::from_utf8_lossy(&script));
    Ok(())
}
