//! Automate anything that needs more than one command.
fn main() {}
