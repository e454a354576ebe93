//! The `nesa` command.

/// Large vectors come and go in proofs and prefills; the system's allocator maps and clears their pages anew each time,
/// which cost a third of a verification.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    nesa_cli::main()
}
