//! Runs the attack lab and prints its tables or JSON; `cargo xtask leakage` calls it.

use nesa_attack::report::{json, markdown};
use nesa_attack::traffic::Shaping;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shaping = Shaping {
        prompt_buckets: vec![16, 32, 64, 128, 256],
        flight_buckets: vec![16, 32, 64, 128, 256],
        width: 4,
    };
    let report = nesa_attack::fast::measure(&shaping)?;
    if std::env::args().any(|a| a == "--json") {
        println!("{:#}", json(&report));
    } else {
        println!("{}", markdown(&report));
    }
    for failure in report.failures() {
        eprintln!("{failure}");
    }
    Ok(())
}
