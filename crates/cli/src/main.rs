//! The `nesa` command.

fn main() -> std::process::ExitCode {
    nesa_cli::main()
}
